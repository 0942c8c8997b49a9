//! dns-01 by HTTP services: a webhook as lego's httpreq knows it, and acme-dns.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use nolapse::codec::dns::DomainName;
use nolapse::core::failure::Class;
use nolapse::core::layout::Content;
use nolapse::core::name::Token;
use nolapse::core::spec::{SecretSource, SolverWebhook};
use nolapse::ports::Secrets;
use nolapse::solve::dns01::acme_dns::AcmeDns;
use nolapse::solve::dns01::webhook::Webhook;
use nolapse::solve::dns01::{Entry, ProofRecord, Provider};
use nolapse::sys::clock::Clock;
use serde_json::{Value, json};

/// What was asked of the service: path, one header, body.
type Heard = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A service that notes all it hears, and lets in whoever says the right words.
struct Service {
    url: String,
    heard: Heard,
}

impl Service {
    /// `header` must say `expected`.
    async fn start(header: &'static str, expected: &'static str) -> Self {
        let heard = Heard::default();
        let noted = Arc::clone(&heard);
        let answer = move |State(heard): State<Heard>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let said = headers.get(header).map_or("", |value| value.to_str().unwrap()).to_owned();
            let right = said == expected;
            heard.lock().unwrap().push((uri.path().to_owned(), said, serde_json::from_slice(&body).unwrap()));
            if right { (StatusCode::OK, "{}") } else { (StatusCode::UNAUTHORIZED, "who are you?") }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/dns", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(noted);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, heard }
    }

    fn heard(&self) -> Vec<(String, String, Value)> {
        self.heard.lock().unwrap().clone()
    }
}

fn secrets(text: &'static str) -> Secrets {
    Arc::new(move |_| Ok(Content::new(text.as_bytes().to_vec())))
}

fn record(name: &str) -> ProofRecord {
    ProofRecord { name: DomainName::parse(name).unwrap(), value: "proof".into(), zone: None }
}

fn entry<'a>(domain: &'a str, token: &'a Token, record: &'a ProofRecord) -> Entry<'a> {
    Entry { domain, token, record, key_authorization: None }
}

#[tokio::test]
async fn a_webhook_hears_what_legos_httpreq_says() {
    let token = Token::parse("tok").unwrap();
    let record = record("_acme-challenge.a.example");
    let secret = SecretSource::Env("HUSH".into());
    for (header, call) in [
        ("Bearer hush-hush", (Some(secret.clone()), None)),
        ("Basic dXNlcjpodXNoLWh1c2g=", (None, Some(("user".to_owned(), secret)))),
    ] {
        let service = Service::start("authorization", header).await;
        let (bearer, login) = call;
        let spec = SolverWebhook { url: service.url.clone(), token: bearer, login };
        let webhook = Webhook::new(spec.clone(), secrets("hush-hush"), &Clock::wall());
        webhook.able().await.unwrap();
        let entry = entry("a.example", &token, &record);
        webhook.add(&entry).await.unwrap();
        webhook.remove(&entry).await.unwrap();
        let body = json!({ "fqdn": "_acme-challenge.a.example.", "value": "proof" });
        let paths: Vec<_> = service.heard().into_iter().map(|(path, _, said)| (path, said)).collect();
        assert_eq!(paths, [("/dns/present".to_owned(), body.clone()), ("/dns/cleanup".to_owned(), body)]);
        // Another secret: a no that tells what the service said, and not what we said.
        let failure =
            Webhook::new(spec, secrets("wrong-secret"), &Clock::wall()).add(&entry).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "dns-refused"));
        assert!(failure.words.contains("who are you?") && !failure.words.contains("secret"), "{failure}");
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_told_by_its_origin_alone() {
    let spec = SolverWebhook { url: "http://127.0.0.1:9/secret-path".into(), token: None, login: None };
    let (token, record) = (Token::parse("tok").unwrap(), record("_acme-challenge.a.example"));
    let webhook = Webhook::new(spec, secrets(""), &Clock::wall());
    let failure = webhook.add(&entry("a.example", &token, &record)).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "dns-unreachable"));
    assert!(
        failure.words.contains("http://127.0.0.1:9") && !failure.words.contains("secret-path"),
        "{failure}"
    );
}

#[tokio::test]
async fn acme_dns_is_told_by_the_account_of_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("accounts.json");
    let service = Service::start("x-api-key", "pass").await;
    let account = |url: Option<&str>| {
        let mut account = json!({ "username": "user", "password": "pass", "fulldomain": "sub.auth.example",
            "subdomain": "sub", "allowfrom": [] });
        if let Some(url) = url {
            account["server_url"] = url.into();
        }
        account
    };
    let write = |accounts: Value| std::fs::write(&file, accounts.to_string()).unwrap();
    let path = file.to_str().unwrap();
    let token = Token::parse("tok").unwrap();
    // As lego and acme-dns-client write it, and as certbot's hook does, which knows one server.
    for (server, accounts) in [
        (None, json!({ "a.example": account(Some(&service.url)) })),
        (Some(service.url.clone()), json!({ "a.example": account(None), "b.example": account(None) })),
    ] {
        write(accounts);
        let provider = AcmeDns::new(path, server, &Clock::wall());
        provider.able().await.unwrap();
        let record = record("sub.auth.example");
        let entry = entry("a.example", &token, &record);
        provider.add(&entry).await.unwrap();
        provider.remove(&entry).await.unwrap();
        let (path, _, said) = service.heard().pop().unwrap();
        assert_eq!((path.as_str(), said), ("/dns/update", json!({ "subdomain": "sub", "txt": "proof" })));
    }
    assert_eq!(service.heard().len(), 2, "nothing is taken away there");
    let provider = AcmeDns::new(path, None, &Clock::wall());
    let elsewhere = record("other.auth.example");
    for (domain, record, accounts, code, says) in [
        (
            "c.example",
            &elsewhere,
            json!({ "a.example": account(None) }),
            "dns-credentials",
            "none is for c.example",
        ),
        (
            "a.example",
            &elsewhere,
            json!({ "a.example": account(Some("http://127.0.0.1:9")) }),
            "dns-alias",
            "set: _acme-challenge.a.example CNAME sub.auth.example.",
        ),
        (
            "a.example",
            &elsewhere,
            json!({ "a.example": account(None) }),
            "dns-credentials",
            "no server is named",
        ),
        ("a.example", &elsewhere, json!(["hush"]), "dns-credentials", "not what a registration looks like"),
    ] {
        write(accounts);
        let failure = provider.add(&entry(domain, &token, record)).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, code), "{failure}");
        assert!(failure.words.contains(says) && !failure.words.contains("pass"), "{failure}");
    }
}
