//! dns-01 by vendors' interfaces: `PowerDNS` as Debian ships it, and imitations of four others. Those with
//! a fixed address are met in a process of its own, whose environment leads it to a proxy of ours.

mod imitation;

use std::sync::Arc;

use imitation::{Asked, Imitation, Interface, Text};
use nolapse::codec::dns::DomainName;
use nolapse::core::failure::{Class, Failure};
use nolapse::core::layout::Content;
use nolapse::core::name::Token;
use nolapse::core::spec::{SecretSource, SolverVendor};
use nolapse::core::time::Span;
use nolapse::core::vendor::{FieldKind, Vendor};
use nolapse::ports::Secrets;
use nolapse::solve::dns01::hosted::Hosted;
use nolapse::solve::dns01::{Entry, ProofRecord, Provider};
use nolapse::sys::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::powerdns::{API_KEY, PowerDns};

const AT: &str = "_acme-challenge.example.test";
/// What every secret is unless a test says otherwise.
const HUSH: &str = "hush-hush";
const OTHER: &str = "another program's";

/// An account; `values` are its plain ones, and each secret that the vendor needs is `secret`.
fn account(word: &str, values: &[(&'static str, &str)], secret: &'static str) -> Hosted {
    let vendor = Vendor::of(word).unwrap();
    let account = SolverVendor {
        vendor,
        plain: values.iter().map(|(stem, value)| (*stem, (*value).to_owned())).collect(),
        secrets: vendor
            .needs
            .iter()
            .filter(|field| field.kind == FieldKind::Secret)
            .map(|field| (field.stem, SecretSource::Env("HUSH".into())))
            .collect(),
    };
    let secrets: Secrets = Arc::new(move |_| Ok(Content::new(secret.as_bytes().to_vec())));
    Hosted::new(account, Span::secs(120), secrets, &Clock::wall())
}

fn record(value: &str) -> ProofRecord {
    let zone = DomainName::parse("example.test").unwrap();
    ProofRecord { name: DomainName::parse(AT).unwrap(), value: value.into(), zone: Some(zone) }
}

async fn change(hosted: &Hosted, value: &str, there: bool) -> Result<(), Failure> {
    let (token, record) = (Token::parse("tok").unwrap(), record(value));
    let entry = Entry { domain: "example.test", token: &token, record: &record, key_authorization: None };
    if there { hosted.add(&entry).await } else { hosted.remove(&entry).await }
}

/// Apex and wildcard side by side, each twice, beside the text of another program.
async fn comes_and_goes_by_value(hosted: &Hosted, texts: impl Fn() -> Vec<String>) {
    hosted.able().await.unwrap();
    assert_eq!(texts(), [OTHER]);
    let (apex, star) = tokio::join!(change(hosted, "apex", true), change(hosted, "star", true));
    apex.unwrap();
    star.unwrap();
    assert_eq!(texts(), [OTHER, "apex", "star"]);
    change(hosted, "star", true).await.unwrap();
    assert_eq!(texts(), [OTHER, "apex", "star"], "what is there is not added twice");
    change(hosted, "apex", false).await.unwrap();
    assert_eq!(texts(), [OTHER, "star"]);
    change(hosted, "star", false).await.unwrap();
    change(hosted, "star", false).await.unwrap();
    assert_eq!(texts(), [OTHER], "what is gone is no error");
}

fn refused(failure: &Failure, secret: &str) {
    assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "dns-refused"), "{failure}");
    assert!(failure.words.contains("refuses the credentials"), "{failure}");
    assert!(!failure.words.contains(secret), "a secret is shown: {failure}");
}

#[tokio::test]
async fn powerdns_as_debian_ships_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = PowerDns::start(&dir.path().join("pdns")) else { return };
    server.set_texts(AT, &[OTHER]);
    let url = server.url();
    comes_and_goes_by_value(&account("powerdns", &[("url", &url)], API_KEY), || server.texts(AT)).await;

    // The name's only text: its set goes with it.
    server.set_texts(AT, &[]);
    let hosted = account("powerdns", &[("url", &url), ("server-id", "localhost")], API_KEY);
    change(&hosted, "alone", true).await.unwrap();
    assert_eq!(server.texts(AT), ["alone"]);
    change(&hosted, "alone", false).await.unwrap();
    assert!(server.texts(AT).is_empty());

    let wrong = account("powerdns", &[("url", &url)], "not-the-key");
    refused(&change(&wrong, "x", true).await.unwrap_err(), "not-the-key");
    let elsewhere = account("powerdns", &[("url", &url), ("server-id", "nobody")], API_KEY);
    let failure = change(&elsewhere, "x", true).await.unwrap_err();
    assert!(failure.words.contains("does not have it (404)"), "{failure}");
}

#[tokio::test]
async fn infoblox_by_single_records() {
    let service = Imitation::of(imitation::infoblox, AT);
    let url = service.start().await;
    let hosted = account("infoblox", &[("url", &url), ("login", "user")], HUSH);
    comes_and_goes_by_value(&hosted, || service.values()).await;
    change(&hosted, "apex", true).await.unwrap();
    assert_eq!(service.ttl_of("apex"), Some(120));
    let wrong = account("infoblox", &[("url", &url), ("login", "user")], "not-the-word");
    refused(&change(&wrong, "x", true).await.unwrap_err(), "not-the-word");
}

#[tokio::test]
async fn route53_by_sets_that_are_merged() {
    let service = Imitation::of(imitation::route53, AT);
    let url = service.start().await;
    let hosted = account("route53", &[("url", &url), ("access-key", "AKIAKNOWN")], HUSH);
    comes_and_goes_by_value(&hosted, || service.values()).await;
    let wrong = account("route53", &[("url", &url), ("access-key", "AKIAWRONG")], HUSH);
    refused(&change(&wrong, "x", true).await.unwrap_err(), HUSH);
}

/// What goes wrong, and what is made of it: a status, a body, and whether it may pass.
#[tokio::test]
async fn trouble_is_told_from_a_no() {
    fn asked_too_often(_: &mut Vec<Text>, _: &Asked) -> (u16, String) {
        (429, "calm down".into())
    }
    fn ill(_: &mut Vec<Text>, _: &Asked) -> (u16, String) {
        (500, "out of cheese".into())
    }
    fn forbids(_: &mut Vec<Text>, _: &Asked) -> (u16, String) {
        (403, "not yours".into())
    }
    fn babbles(_: &mut Vec<Text>, _: &Asked) -> (u16, String) {
        (200, "<html>hush-hush".into())
    }
    fn has_not(_: &mut Vec<Text>, _: &Asked) -> (u16, String) {
        (404, "who?".into())
    }
    fn parrots(_: &mut Vec<Text>, asked: &Asked) -> (u16, String) {
        (400, format!("you said {} {}", asked.head, asked.body))
    }
    let rows: [(Interface, Class, &str, &str); 6] = [
        (asked_too_often, Class::Transient, "dns-change-failed", "429"),
        (ill, Class::Transient, "dns-change-failed", "500"),
        (forbids, Class::Refused, "dns-refused", "403"),
        (babbles, Class::Transient, "dns-change-failed", "can't be read"),
        (has_not, Class::Refused, "dns-refused", "404"),
        (parrots, Class::Refused, "dns-refused", "you said"),
    ];
    // Those who ask again after a 429 wait some seconds before they do.
    let tried = rows.map(|(interface, class, code, words)| async move {
        let url = Imitation::of(interface, AT).start().await;
        let hosted = account("powerdns", &[("url", &url)], HUSH);
        let failure = change(&hosted, "x", true).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (class, code), "{failure}");
        assert!(failure.words.contains(words) && failure.words.contains("PowerDNS"), "{failure}");
        assert!(!failure.words.contains(HUSH), "a secret is shown: {failure}");
    });
    let mut tasks = tokio::task::JoinSet::new();
    for row in tried {
        tasks.spawn(row);
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Time jumps to the next timer whenever nothing else is to be done, so this takes none.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for (word, values) in [
        ("powerdns", vec![("url", url.as_str())]),
        // This one has no bound of its own.
        ("route53", vec![("url", url.as_str()), ("access-key", "AKIAKNOWN")]),
    ] {
        let failure = change(&account(word, &values, HUSH), "x", true).await.unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (Class::Transient, "dns-unreachable"),
            "{failure}"
        );
        assert!(!failure.words.contains(HUSH), "a secret is shown: {failure}");
    }
}

#[tokio::test]
async fn a_credential_that_no_header_can_hold_is_refused_before_anything_is_sent() {
    for secret in ["two\nlines", "ünlesbar"] {
        let hosted = account("cloudflare", &[], secret);
        let failure = hosted.able().await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "dns-credentials"), "{failure}");
        assert!(!failure.words.contains("lines") && !failure.words.contains("lesbar"), "{failure}");
    }
}

/// Runs `child`, one of the tests below, where the hosts of all vendors are `service`.
async fn met_by_proxy(service: &Imitation, hosts: &[&str], child: &str) {
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root.pem");
    std::fs::write(&root, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let served = service.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (served, acceptor) = (served.clone(), acceptor.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                assert!(head.starts_with(b"CONNECT "), "{}", String::from_utf8_lossy(&head));
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                // A client that does not trust us ends it here.
                if let Ok(stream) = acceptor.accept(stream).await {
                    served.serve(stream).await;
                }
            });
        }
    });
    let run = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("dns_hosted::{child}"), "--ignored", "--nocapture"])
        .env("HTTPS_PROXY", &proxy)
        .env("SSL_CERT_FILE", &root)
        .env_remove("NO_PROXY")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn cloudflare_by_single_records() {
    let service = Imitation::of(imitation::cloudflare, AT);
    met_by_proxy(&service, &["api.cloudflare.com"], "as_a_customer_of_cloudflare").await;
    assert_eq!(service.values(), [OTHER, "kept"]);
    assert_eq!(service.ttl_of("kept"), Some(120));
}

#[tokio::test]
async fn hetzner_by_actions_on_sets() {
    let service = Imitation::of(imitation::hetzner, AT);
    met_by_proxy(&service, &["api.hetzner.cloud"], "as_a_customer_of_hetzner").await;
    assert_eq!(service.values(), [OTHER, "kept"]);
    assert_eq!(service.ttl_of("kept"), Some(120));
}

#[tokio::test]
#[ignore = "run by the test above it, with a proxy in its environment"]
async fn as_a_customer_of_cloudflare() {
    as_a_customer("cloudflare").await;
}

#[tokio::test]
#[ignore = "run by the test above it, with a proxy in its environment"]
async fn as_a_customer_of_hetzner() {
    as_a_customer("hetzner").await;
}

async fn as_a_customer(word: &str) {
    let hosted = account(word, &[], HUSH);
    hosted.able().await.unwrap();
    let (apex, star) = tokio::join!(change(&hosted, "apex", true), change(&hosted, "star", true));
    apex.unwrap();
    star.unwrap();
    change(&hosted, "kept", true).await.unwrap();
    change(&hosted, "kept", true).await.unwrap();
    for gone in ["apex", "star", "star"] {
        change(&hosted, gone, false).await.unwrap();
    }
    let wrong = account(word, &[], "not-the-token");
    refused(&change(&wrong, "x", true).await.unwrap_err(), "not-the-token");
}
