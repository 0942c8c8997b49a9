//! tls-alpn-01, and addresses: a certificate that may hold nothing but the proof.

mod client;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use client::{Client, Web, csr, problem};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::{Value, json};
use test_ca::{Ca, ChallengeKind};
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

/// Bends the honest certificate.
type Bend = fn(&mut CertificateParams);

/// An applicant's TLS server.
struct Applicant {
    port: u16,
    /// The name and the key authorization that it proves.
    proof: Arc<Mutex<(String, String)>>,
    /// Server names it was asked with.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Applicant {
    async fn start(bend: Bend, alpn: &'static [&'static [u8]]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (proof, asked) =
            (Arc::<Mutex<(String, String)>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (shown, heard) = (Arc::clone(&proof), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let greeted = LazyConfigAcceptor::new(Acceptor::default(), stream).await.unwrap();
                let hello = greeted.client_hello();
                assert_eq!(hello.alpn().unwrap().collect::<Vec<_>>(), [b"acme-tls/1"]);
                heard.lock().unwrap().push(hello.server_name().unwrap().to_owned());
                let (name, key_authorization) = shown.lock().unwrap().clone();
                let config = config(&name, &key_authorization, bend, alpn);
                // The CA may break off.
                let _ = greeted.into_stream(Arc::new(config)).await;
            }
        });
        Self { port, proof, asked }
    }
}

fn config(name: &str, key_authorization: &str, bend: Bend, alpn: &[&[u8]]) -> ServerConfig {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    bend(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateDer::from(params.self_signed(&key).unwrap().der().to_vec());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let signer = provider.key_provider.load_private_key(PrivatePkcs8KeyDer::from(key.serialize_der()).into());
    let pair = CertifiedKey::new(vec![certificate], signer.unwrap());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

const HONEST: &[&[u8]] = &[b"acme-tls/1"];

/// How one name fares: the authorization, decided.
async fn decided(client: &Client, applicant: &Applicant, name: &str) -> Value {
    let order = client.order(&[name]).await;
    let url = order.json["authorizations"][0].as_str().unwrap();
    let authorization = client.post_as_get(url).await.ok().json();
    let challenge = &authorization["challenges"][0];
    assert_eq!(challenge["type"], "tls-alpn-01");
    let key_authorization = format!("{}.{}", challenge["token"].as_str().unwrap(), client.key.thumbprint());
    *applicant.proof.lock().unwrap() = (name.to_owned(), key_authorization);
    client.respond(url, challenge).await
}

async fn started(applicant: &Applicant) -> Ca {
    let ca = Ca::builder().challenges(&[ChallengeKind::TlsAlpn01]).tls_port(applicant.port);
    ca.resolve_all(Ipv4Addr::LOCALHOST).start().await.unwrap()
}

#[tokio::test]
async fn names_and_addresses_are_proven_and_certified() {
    let applicant = Applicant::start(|_| {}, HONEST).await;
    let ca = started(&applicant).await;
    let client = Client::registered(&ca).await;
    for (name, asked) in [
        ("a.test", "a.test"),
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ] {
        let order = client.order(&[name]).await;
        let url = order.json["authorizations"][0].as_str().unwrap();
        let authorization = client.post_as_get(url).await.ok().json();
        let kind = if name.contains("test") { "dns" } else { "ip" };
        assert_eq!(authorization["identifier"], json!({ "type": kind, "value": name }));
        let challenge = &authorization["challenges"][0];
        let key_authorization =
            format!("{}.{}", challenge["token"].as_str().unwrap(), client.key.thumbprint());
        *applicant.proof.lock().unwrap() = (name.to_owned(), key_authorization);
        assert_eq!(client.respond(url, challenge).await["status"], "valid", "{name}");
        assert_eq!(applicant.asked.lock().unwrap().pop().unwrap(), asked);
        let key = KeyPair::generate().unwrap();
        let done = client.finalize(&order, &csr(&[name], &key)).await.ok().json();
        assert_eq!(done["status"], "valid", "{done}");
        assert_eq!(ca.issued().pop().unwrap().names, [name]);
    }
}

#[tokio::test]
async fn what_boulder_refuses_is_refused() {
    let rows: [(&str, Bend, &str, &str); 8] = [
        (
            "a second name",
            |p| p.subject_alt_names.push(SanType::DnsName("b.test".try_into().unwrap())),
            "unauthorized",
            "alone",
        ),
        (
            "another name",
            |p| p.subject_alt_names = vec![SanType::DnsName("b.test".try_into().unwrap())],
            "unauthorized",
            "alone",
        ),
        (
            "an address as text",
            |p| p.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())],
            "unauthorized",
            "alone",
        ),
        ("no name", |p| p.subject_alt_names.clear(), "unauthorized", "2.5.29.17 is missing"),
        ("no proof", |p| p.custom_extensions.clear(), "unauthorized", "is missing"),
        (
            "another digest",
            |p| p.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])],
            "unauthorized",
            "not the digest",
        ),
        (
            "a proof that clients may pass over",
            |p| {
                let content = p.custom_extensions[0].content().to_vec();
                p.custom_extensions =
                    vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 31], content)];
            },
            "unauthorized",
            "not critical",
        ),
        (
            "the proof twice",
            |p| p.custom_extensions.push(CustomExtension::new_acme_identifier(&[7; 32])),
            "unauthorized",
            "",
        ),
    ];
    for (row, bend, kind, words) in rows {
        let applicant = Applicant::start(bend, HONEST).await;
        let ca = started(&applicant).await;
        let client = Client::registered(&ca).await;
        let found = decided(&client, &applicant, "a.test").await;
        assert_eq!(found["status"], "invalid", "{row}");
        let error = &found["challenges"][0]["error"];
        assert!(error["type"].as_str().unwrap().ends_with(kind), "{row}: {error}");
        assert!(error["detail"].as_str().unwrap().contains(words), "{row}: {error}");
    }
    // A subject is no part of what is compared.
    let applicant = Applicant::start(|p| p.distinguished_name.push(DnType::CommonName, "x"), HONEST).await;
    let ca = started(&applicant).await;
    let client = Client::registered(&ca).await;
    assert_eq!(decided(&client, &applicant, "a.test").await["status"], "valid");
}

#[tokio::test]
async fn a_server_that_does_not_speak_the_protocol_proves_nothing() {
    let silent: &[&[u8]] = &[];
    let other: &[&[u8]] = &[b"http/1.1"];
    for (alpn, kind, words) in [(silent, "unauthorized", "not negotiated"), (other, "tls", "")] {
        let applicant = Applicant::start(|_| {}, alpn).await;
        let ca = started(&applicant).await;
        let client = Client::registered(&ca).await;
        let found = decided(&client, &applicant, "a.test").await;
        let error = &found["challenges"][0]["error"];
        assert!(error["type"].as_str().unwrap().ends_with(kind), "{error}");
        assert!(error["detail"].as_str().unwrap().contains(words), "{error}");
    }
}

#[tokio::test]
async fn wildcards_are_not_proven_this_way_and_addresses_not_by_dns() {
    for (kinds, name) in
        [(&[ChallengeKind::TlsAlpn01][..], "*.a.test"), (&[ChallengeKind::Dns01], "192.0.2.7")]
    {
        let ca = Ca::builder().challenges(kinds).start().await.unwrap();
        let client = Client::registered(&ca).await;
        let refused = client.try_order(&[name], json!({})).await;
        assert_eq!(refused.problem(), problem("rejectedIdentifier", 400), "{name}");
    }
}

#[tokio::test]
async fn an_address_is_proven_by_http_at_itself() {
    let web = Web::start().await;
    let ca = Ca::builder().http_port(web.port).start().await.unwrap();
    let client = Client::registered(&ca).await;
    client.obtain(&web, &["127.0.0.1"], json!({})).await;
    assert_eq!(ca.issued().pop().unwrap().names, ["127.0.0.1"]);
}
