//! A tiny ACME client of the tests' own: it signs what it is told to, right or wrong.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use test_ca::Ca;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Only a hang meets it.
pub const LIMIT: Duration = Duration::from_mins(1);

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{} is not JSON", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn links(&self, relation: &str) -> Vec<String> {
        let end = format!(">;rel=\"{relation}\"");
        let links = self.headers.get_all("link").iter().map(|link| link.to_str().unwrap());
        links.filter_map(|link| Some(link.strip_suffix(&end)?[1..].to_owned())).collect()
    }

    /// The ACME error type without its prefix, and the HTTP status.
    pub fn problem(&self) -> (String, u16) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        (kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&kind).to_owned(), self.status)
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text());
        self
    }
}

pub fn problem(kind: &str, status: u16) -> (String, u16) {
    (kind.to_owned(), status)
}

/// An account key.
pub enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl Key {
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn rsa() -> Self {
        Self::Rsa(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap())
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Rsa(_) => "RS256",
        }
    }

    pub fn jwk(&self) -> Value {
        let ec = |curve: &str, key: &EcdsaKeyPair| {
            let point = &key.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({ "kty": "EC", "crv": curve, "x": b64(x), "y": b64(y) })
        };
        match self {
            Self::P256(key) => ec("P-256", key),
            Self::P384(key) => ec("P-384", key),
            Self::Rsa(key) => {
                let (n, e) = (key.public_key().modulus(), key.public_key().exponent());
                json!({
                    "kty": "RSA",
                    "n": b64(n.big_endian_without_leading_zero()),
                    "e": b64(e.big_endian_without_leading_zero()),
                })
            }
        }
    }

    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let names: &[&str] = if jwk["kty"] == "RSA" { &["e", "kty", "n"] } else { &["crv", "kty", "x", "y"] };
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":{}", jwk[name])).collect();
        let canonical = format!("{{{}}}", members.join(","));
        b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes()))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) | Self::P384(key) => {
                key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut out = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut out).unwrap();
                out
            }
        }
    }

    /// A flattened JWS over exactly these headers.
    pub fn jws(&self, protected: &Value, payload: &str) -> Value {
        let (protected, payload) = (b64(protected.to_string()), b64(payload));
        let signature = b64(self.sign(format!("{protected}.{payload}").as_bytes()));
        json!({ "protected": protected, "payload": payload, "signature": signature })
    }
}

pub struct Client {
    pub key: Key,
    pub kid: Option<String>,
    pub directory: Value,
    tls: tokio_rustls::TlsConnector,
}

impl Client {
    /// A client that has read the directory and has no account.
    pub async fn new(ca: &Ca, key: Key) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.api_root_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut client = Self { key, kid: None, directory: Value::Null, tls };
        client.directory = client.get(&ca.directory_url()).await.ok().json();
        client
    }

    /// A client with an account.
    pub async fn registered(ca: &Ca) -> Self {
        let mut client = Self::new(ca, Key::p256()).await;
        client.register(json!({ "termsOfServiceAgreed": true })).await.ok();
        client
    }

    pub fn url(&self, member: &str) -> String {
        self.directory[member].as_str().unwrap().to_owned()
    }

    pub fn kid(&self) -> &str {
        self.kid.as_deref().unwrap()
    }

    pub async fn register(&mut self, payload: Value) -> Response {
        let url = self.url("newAccount");
        let response = self.post_with_jwk(&url, &payload.to_string()).await;
        if response.status < 300 {
            self.kid = Some(response.header("location").to_owned());
        }
        response
    }

    pub async fn get(&self, url: &str) -> Response {
        self.send(Request::get(url).header("user-agent", "tests"), "").await.unwrap()
    }

    pub async fn nonce(&self) -> String {
        let request = Request::head(self.url("newNonce")).header("user-agent", "tests");
        self.send(request, "").await.unwrap().header("replay-nonce").to_owned()
    }

    pub async fn post(&self, url: &str, payload: &Value) -> Response {
        self.try_post(url, &payload.to_string()).await.unwrap()
    }

    pub async fn post_as_get(&self, url: &str) -> Response {
        self.try_post(url, "").await.unwrap()
    }

    pub async fn post_with_jwk(&self, url: &str, payload: &str) -> Response {
        let header = json!({
            "alg": self.key.algorithm(), "nonce": self.nonce().await, "url": url, "jwk": self.key.jwk(),
        });
        self.post_jws(url, &self.key.jws(&header, payload)).await.unwrap()
    }

    /// An error is a connection that ended without an answer.
    pub async fn try_post(&self, url: &str, payload: &str) -> Result<Response, hyper::Error> {
        let header = self.header(url).await;
        self.post_jws(url, &self.key.jws(&header, payload)).await
    }

    /// The protected header of an honest request.
    pub async fn header(&self, url: &str) -> Value {
        json!({ "alg": self.key.algorithm(), "nonce": self.nonce().await, "url": url, "kid": self.kid() })
    }

    pub async fn post_jws(&self, url: &str, jws: &Value) -> Result<Response, hyper::Error> {
        let request =
            Request::post(url).header("user-agent", "tests").header("content-type", "application/jose+json");
        self.send(request, &jws.to_string()).await
    }

    pub async fn send(&self, request: http::request::Builder, body: &str) -> Result<Response, hyper::Error> {
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let uri = request.uri().clone();
        let address = (uri.host().unwrap().to_owned(), uri.port_u16().unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        if uri.scheme_str() == Some("http") {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(uri.host().unwrap().to_owned()).unwrap();
        exchange(self.tls.connect(name, stream).await.unwrap(), request).await
    }

    /// An order, as it stands right after newOrder.
    pub async fn order(&self, names: &[&str]) -> Order {
        self.order_with(names, json!({})).await
    }

    /// An order with further members.
    pub async fn order_with(&self, names: &[&str], members: Value) -> Order {
        let response = self.try_order(names, members).await.ok();
        Order { url: response.header("location").to_owned(), json: response.json() }
    }

    pub async fn try_order(&self, names: &[&str], mut members: Value) -> Response {
        let identifiers = names.iter().map(|name| {
            let kind = if name.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
            json!({ "type": kind, "value": name })
        });
        members["identifiers"] = identifiers.collect();
        self.post(&self.url("newOrder"), &members).await
    }

    /// Shows the proofs and waits for the verdicts; gives the order as it then stands.
    pub async fn prove(&self, web: &Web, order: &Order) -> Value {
        for url in order.json["authorizations"].as_array().unwrap() {
            let url = url.as_str().unwrap();
            let authorization = self.post_as_get(url).await.ok().json();
            if authorization["status"] == "pending" {
                let challenge = http01(&authorization);
                web.show(challenge["token"].as_str().unwrap(), &self.key.thumbprint());
                self.respond(url, &challenge).await;
            }
        }
        self.post_as_get(&order.url).await.ok().json()
    }

    /// Asks for validation and gives the authorization once it is decided.
    pub async fn respond(&self, authorization: &str, challenge: &Value) -> Value {
        self.post(challenge["url"].as_str().unwrap(), &json!({})).await.ok();
        let deadline = tokio::time::Instant::now() + LIMIT;
        let mut found = Value::Null;
        while tokio::time::Instant::now() < deadline {
            found = self.post_as_get(authorization).await.ok().json();
            if found["status"] != "pending" {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("undecided: {found}");
    }

    pub async fn finalize(&self, order: &Order, csr: &[u8]) -> Response {
        self.post(order.json["finalize"].as_str().unwrap(), &json!({ "csr": b64(csr) })).await
    }

    /// The whole way from names to a chain.
    pub async fn obtain(&self, web: &Web, names: &[&str], members: Value) -> Obtained {
        let order = self.order_with(names, members).await;
        let ready = self.prove(web, &order).await;
        assert_eq!(ready["status"], "ready", "{ready}");
        let key = KeyPair::generate().unwrap();
        let done = self.finalize(&order, &csr(names, &key)).await.ok().json();
        assert_eq!(done["status"], "valid", "{done}");
        let response = self.post_as_get(done["certificate"].as_str().unwrap()).await.ok();
        Obtained { chain: response.text(), response, key, order }
    }
}

pub struct Order {
    pub url: String,
    pub json: Value,
}

pub struct Obtained {
    pub chain: String,
    pub response: Response,
    pub key: KeyPair,
    pub order: Order,
}

impl Obtained {
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        certificates(&self.chain)
    }
}

pub fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

pub fn csr(names: &[&str], key: &KeyPair) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub fn http01(authorization: &Value) -> Value {
    let challenges = authorization["challenges"].as_array().unwrap();
    challenges.iter().find(|challenge| challenge["type"] == "http-01").unwrap().clone()
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Full<Bytes>>,
) -> Result<Response, hyper::Error> {
    let uri = request.uri().clone();
    request.headers_mut().insert("host", uri.authority().unwrap().as_str().parse().unwrap());
    *request.uri_mut() = Uri::try_from(uri.path_and_query().unwrap().as_str()).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await;
    let result = match response {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
        }
        Err(error) => Err(error),
    };
    driver.abort();
    result
}

/// The applicant's web server.
pub struct Web {
    pub port: u16,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    pub seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
pub enum Page {
    Text(String),
    Redirect(String),
    /// Takes the request and says nothing.
    Silence,
}

impl Web {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Arc::new(Mutex::new(BTreeMap::<String, Page>::new()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (table, hosts) = (Arc::clone(&pages), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&table), Arc::clone(&hosts)));
            }
        });
        Self { port, pages, seen, task }
    }

    /// Shows a key authorization where http-01 looks for it.
    pub fn show(&self, token: &str, thumbprint: &str) {
        self.put(
            &format!("/.well-known/acme-challenge/{token}"),
            Page::Text(format!("{token}.{thumbprint}\n")),
        );
    }

    pub fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let host =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
    seen.lock().unwrap().push(format!("{}{path}", host.unwrap_or_default()));
    let page = pages.lock().unwrap().get(&path).cloned();
    let (status, extra, body) = match page {
        Some(Page::Text(text)) => (StatusCode::OK, String::new(), text),
        Some(Page::Redirect(to)) => (StatusCode::FOUND, format!("location: {to}\r\n"), String::new()),
        Some(Page::Silence) => std::future::pending().await,
        None => (StatusCode::NOT_FOUND, String::new(), "nothing here".to_owned()),
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{extra}\r\n{body}");
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A CA whose validation finds this web server under every name.
pub fn believing(web: &Web) -> test_ca::CaBuilder {
    Ca::builder().resolve_all(Ipv4Addr::LOCALHOST).http_port(web.port)
}
