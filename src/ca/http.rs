//! The way to the CA: one client per CA, with deadlines and caps, that never follows the CA away
//! from the directory's origin (T06).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::Method;
use ::http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use bytes::Bytes;
use reqwest::Url;
use rustls::{CertificateError, RootCertStore};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::directory::Directory;
use super::nonce::Nonces;
use super::problem::{Call, Document};
use super::shared::Shared;
use super::tidy::tidy;
use super::trust::{read_roots, tls, tls_error};
use crate::core::failure::{Failure, Fault, plain};
use crate::core::layout::Content;
use crate::core::spec::IssuerSpec;
use crate::core::time::{Span, Timestamp};
use crate::sys::clock::Clock;

const USER_AGENT: &str = concat!(
    "nolapse/",
    env!("CARGO_PKG_VERSION"),
    " (+https://github.com/nolapse/nolapse) instant-acme/0.8.5"
);
/// Longest wait for a TCP connection and its TLS handshake.
const CONNECT_MOST: Duration = Duration::from_secs(10);
/// Longest time that one request may take, its body included.
const REQUEST_MOST: Duration = Duration::from_secs(60);
/// A connection unused for so long is closed, so that an agent at rest holds none.
const IDLE_MOST: Duration = Duration::from_secs(30);
/// Calls under way to one CA at a time; others wait for their turn. Each call holds one nonce and
/// brings one back, so that this is also how many are ever fetched at once.
const CALLS_MOST: usize = 16;
/// Redirects followed, for reads only.
const REDIRECTS_MOST: usize = 3;
/// Largest certificate chain, in octets.
const CHAIN_MOST: usize = 256 * 1024;
/// Largest answer of any other kind, in octets.
const JSON_MOST: usize = 64 * 1024;
/// All headers of one answer, in octets.
const HEADERS_MOST: usize = 16 * 1024;
/// Longest Retry-After believed; what it is used for narrows it further.
const WISH_MOST: Span = Span::days(30);
/// Longest remote URL repeated to people, in characters.
const URL_SHOWN: usize = 300;

pub(super) const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// One CA's HTTP client. Makes no connection, and reads no system file, before the first request.
pub(super) struct Transport {
    client: OnceLock<Result<reqwest::Client, Failure>>,
    roots: Option<RootCertStore>,
    proxy: Option<reqwest::Proxy>,
    directory_url: Url,
    insecure_http: bool,
    ca_file: Option<String>,
    turn: Semaphore,
    pub(super) nonces: Nonces,
    directory: Shared<Directory>,
    clock: Clock,
}

/// What came back, whole and within bounds.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Resolved against the request's URL.
    pub(super) location: Option<String>,
    /// Between zero and [`WISH_MOST`].
    pub(super) retry_after: Option<Span>,
    pub(super) date: Option<Timestamp>,
    pub(super) nonce: Option<String>,
    content_type: String,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// The body as JSON, put right; `None` where it is none.
    pub(super) fn json(&self) -> Option<Value> {
        json(&self.body)
    }

    /// The problem document of a refusal, made up where the server sent none.
    pub(super) fn problem(&self) -> Document {
        Document::of(self.status, &self.body)
    }

    pub(super) fn failure(&self, call: Call, now: Timestamp) -> Failure {
        self.problem().failure(call, self.retry_after, now)
    }
}

impl Transport {
    /// Fails where the issuer's URLs or roots can't be used at all.
    pub(super) fn new(spec: &IssuerSpec, roots: Option<&Content>, clock: Clock) -> Result<Self, Failure> {
        let directory_url = Url::parse(&spec.directory).map_err(|error| {
            let words = format!("`directory` of issuer {} is no URL: {error}", spec.id);
            Failure::refused(Fault::Config, "directory-url", words)
        })?;
        if !secure(&directory_url, spec.insecure_http) {
            let words = format!(
                "`directory` of issuer {} must be an https:// URL; plain http is for a CA on this host alone, with \
                 `insecure-http = true`",
                spec.id
            );
            return Err(Failure::refused(Fault::Config, "directory-insecure", words));
        }
        let roots = roots.map(|pem| read_roots(pem, spec)).transpose()?;
        let proxy = spec.proxy.as_ref().map(reqwest::Proxy::all).transpose().map_err(|_| {
            let words = format!("`proxy` for issuer {} is no URL like http://proxy.example:3128", spec.id);
            Failure::refused(Fault::Config, "proxy-url", words)
        })?;
        Ok(Self {
            client: OnceLock::new(),
            roots,
            proxy,
            directory_url,
            insecure_http: spec.insecure_http,
            ca_file: spec.ca_file.clone(),
            turn: Semaphore::new(CALLS_MOST),
            nonces: Nonces::default(),
            directory: Shared::new(),
            clock,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits for a turn; one call to the CA may be made while it is held. Calls never nest.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // `None` only if the semaphore were closed, which nobody does.
        self.turn.acquire().await.ok()
    }

    pub(super) fn directory_url(&self) -> &str {
        self.directory_url.as_str()
    }

    /// The directory, read again daily and when it is no longer trusted.
    pub(super) async fn directory(&self) -> Result<Arc<Directory>, Failure> {
        let now = self.now();
        self.directory.obtain(|directory| directory.is_fresh(now), self.fetch_directory()).await
    }

    /// The directory as it was read last, if ever.
    pub(super) async fn directory_in_hand(&self) -> Option<Arc<Directory>> {
        self.directory.peek().await
    }

    /// Reads the directory now.
    pub(super) async fn read_directory(&self) -> Result<Arc<Directory>, Failure> {
        self.directory.obtain(|_| false, self.fetch_directory()).await
    }

    async fn fetch_directory(&self) -> Result<Directory, Failure> {
        let _turn = self.turn().await;
        let answer = self.send(Method::GET, self.directory_url(), None).await?;
        if !answer.is_success() {
            return Err(answer.failure(Call::Directory, self.now()));
        }
        let permitted = |url: &str| self.permitted(url);
        Directory::read(answer.json(), permitted, self.now(), answer.date)
    }

    /// A nonce in hand, or else a new one from the CA.
    pub(super) async fn nonce(&self, new_nonce: &str) -> Result<String, Failure> {
        if let Some(nonce) = self.nonces.take(self.now()) {
            return Ok(nonce);
        }
        // RFC 8555 §7.2: HEAD answers 200 and GET 204, but servers mix them up.
        let mut last = None;
        for method in [Method::HEAD, Method::GET] {
            let answer = self.exchange(method, new_nonce, None).await?;
            match answer.nonce.clone() {
                Some(nonce) if answer.status < 400 => return Ok(nonce),
                _ => last = Some(answer),
            }
        }
        Err(match last {
            Some(answer) if answer.status >= 400 => answer.failure(Call::NewNonce, self.now()),
            _ => {
                Failure::transient(Fault::Ca, "ca-answer", "the CA's new-nonce answer holds no usable nonce")
            }
        })
    }

    /// One request; its nonce goes to the pool. One that came with `badNonce` stays in the
    /// answer: it is for the next try of the same request (RFC 8555 §6.5).
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let mut answer = self.exchange(method, url, body).await?;
        let refused = answer.status == 400 && answer.problem().is("badNonce");
        if !refused && let Some(nonce) = answer.nonce.take() {
            self.nonces.put(&nonce, self.now());
        }
        Ok(answer)
    }

    /// The URL if it is one that we may ask: secure, and on the directory's origin.
    pub(super) fn permitted(&self, url: &str) -> Result<Url, Failure> {
        let foreign = |why: &str| {
            let words = format!(
                "the CA points to {}, {why}; it is not followed; if that is the CA's real address, use it in the \
                 issuer's `directory`",
                plain(url, URL_SHOWN)
            );
            Failure::refused(Fault::Ca, "foreign-url", words)
        };
        let parsed = Url::parse(url).map_err(|_| foreign("which is no URL"))?;
        if !secure(&parsed, self.insecure_http) {
            return Err(foreign("which is not https"));
        }
        // `instant-acme` panics on a directory URL that the `http` crate does not take.
        if parsed.as_str().parse::<::http::Uri>().is_err() {
            return Err(foreign("which is no URL"));
        }
        // Scheme, host and port; never `null` after the checks above.
        if parsed.origin() != self.directory_url.origin() {
            return Err(foreign("which is not on the directory's host"));
        }
        Ok(parsed)
    }

    async fn exchange(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let url = self.permitted(url)?;
        let client = self.client()?;
        tokio::time::timeout(REQUEST_MOST, self.follow(client, method, url, body)).await.unwrap_or_else(
            |_| {
                let words = format!("the CA gave no answer within {} s", REQUEST_MOST.as_secs());
                Err(Failure::transient(Fault::Ca, "ca-down", words))
            },
        )
    }

    async fn follow(
        &self,
        client: &reqwest::Client,
        method: Method,
        mut url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let mut redirects = 0;
        let mut again = false;
        loop {
            let mut request = client.request(method.clone(), url.clone());
            if let Some(body) = body.clone() {
                request = request.header("Content-Type", "application/jose+json").body(body);
            }
            let response = match request.send().await {
                Ok(response) => response,
                // A connection that was kept and has ended meanwhile. Where the CA did see the
                // request, it refuses the nonce; who had to ask again later would ask the same.
                Err(error) if !again && !error.is_connect() && !error.is_timeout() => {
                    again = true;
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error)),
            };
            let answer = self.receive(&url, response).await?;
            if !matches!(answer.status, 300..400) {
                return Ok(answer);
            }
            let target = answer.location.unwrap_or_default();
            if method == Method::POST || redirects == REDIRECTS_MOST {
                let words = format!(
                    "the CA redirects a request ({}) to {}; a signed request is never sent elsewhere; check the \
                     issuer's `directory`",
                    answer.status,
                    plain(&target, URL_SHOWN)
                );
                return Err(Failure::refused(Fault::Ca, "redirected", words));
            }
            url = self.permitted(&target)?;
            redirects += 1;
        }
    }

    async fn receive(&self, url: &Url, mut response: reqwest::Response) -> Result<Answer, Failure> {
        let headers = response.headers();
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > HEADERS_MOST {
            return Err(oversized("headers", HEADERS_MOST));
        }
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text(::http::header::DATE).and_then(http_date);
        let content_type = text(::http::header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        let mut answer = Answer {
            status: response.status().as_u16(),
            location: text(LOCATION).and_then(|l| url.join(l).ok()).map(String::from),
            retry_after: text(RETRY_AFTER).and_then(|wish| retry_after(wish, date.unwrap_or(self.now()))),
            date,
            nonce: text(REPLAY_NONCE).filter(|nonce| Nonces::well_formed(nonce)).map(str::to_owned),
            content_type,
            body: Bytes::new(),
        };
        let most = if answer.content_type.contains("pem-certificate-chain") { CHAIN_MOST } else { JSON_MOST };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > most {
                // Which refusal it was still counts when its page is long.
                if answer.status >= 400 {
                    body.clear();
                    break;
                }
                return Err(oversized("body", most));
            }
            body.extend_from_slice(&chunk);
        }
        answer.body = Bytes::from(body);
        Ok(answer)
    }

    fn client(&self) -> Result<&reqwest::Client, Failure> {
        self.client.get_or_init(|| self.build()).as_ref().map_err(Clone::clone)
    }

    fn build(&self) -> Result<reqwest::Client, Failure> {
        let mut builder = crate::sys::http::client()
            .tls_backend_preconfigured(tls(self.roots.clone())?)
            .user_agent(USER_AGENT)
            .default_headers(HeaderMap::from_iter([(
                ::http::header::ACCEPT_LANGUAGE,
                HeaderValue::from_static("en"),
            )]))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_MOST)
            .pool_idle_timeout(IDLE_MOST);
        if let Some(proxy) = &self.proxy {
            builder = builder.no_proxy().proxy(proxy.clone());
        } else if is_loopback(&self.directory_url) {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| Failure::broken("http-client", describe(&error)))
    }

    /// No answer: which of the many reasons, and whose.
    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let host = self.directory_url.host_str().unwrap_or_default();
        if let Some(rustls::Error::InvalidCertificate(why)) = tls_error(error) {
            use CertificateError as Why;
            let passes = matches!(
                why,
                Why::Expired | Why::ExpiredContext { .. } | Why::NotValidYet | Why::NotValidYetContext { .. }
            );
            if passes {
                let words = format!(
                    "the certificate of {host} is not valid now ({why}); check this host's clock, else it is the CA's \
                     to mend"
                );
                return Failure::transient(Fault::Ca, "tls-untrusted", words);
            }
            let hint = match &self.ca_file {
                Some(file) => format!("`ca-file` {file} does not vouch for it"),
                None => "for a private CA set the issuer's `ca-file` to its root certificate".to_owned(),
            };
            let words = format!("the certificate of {host} is not trusted: {why}; {hint}");
            return Failure::refused(Fault::Config, "tls-untrusted", words);
        }
        let fault = if error.is_connect() { Fault::Network } else { Fault::Ca };
        let words = format!("{host} can't be reached: {}", describe(error));
        Failure::transient(fault, "ca-down", words)
    }
}

/// `https`, or `http` to this very host where that was asked for; and no credentials inside.
fn secure(url: &Url, insecure_http: bool) -> bool {
    let scheme = match url.scheme() {
        "https" => true,
        "http" => insecure_http && is_loopback(url),
        _ => false,
    };
    scheme && url.has_host() && url.username().is_empty() && url.password().is_none()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn oversized(what: &str, most: usize) -> Failure {
    let words = format!("the {what} of the CA's answer is larger than {most} octets and was not read");
    Failure::transient(Fault::Ca, "ca-answer", words)
}

/// The innermost reason: the outer ones only say that a request failed.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() && error.is_connect() {
        return format!("no connection within {} s", CONNECT_MOST.as_secs());
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    plain(&innermost.to_string(), URL_SHOWN)
}

pub(super) fn json(body: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    tidy(&mut value);
    Some(value)
}

/// RFC 9110 §5.6.7.
fn http_date(text: &str) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}

/// RFC 9110 §10.2.3: seconds, or a date, which is read against the server's own clock.
pub(super) fn retry_after(text: &str, server_now: Timestamp) -> Option<Span> {
    let text = text.trim();
    let wish = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_or(Span::MAX, Span::secs)
    } else {
        http_date(text)?.since(server_now)
    };
    Some(wish.between(Span::ZERO, WISH_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_wish_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 120 ", NOON), Some(Span::MINUTE.times(2)));
        assert_eq!(retry_after("99999999999999999999999", NOON), Some(WISH_MOST));
        assert_eq!(retry_after("Fri, 15 Jan 2027 08:01:00 GMT", NOON), Some(Span::MINUTE));
        assert_eq!(retry_after("Fri, 15 Jan 1999 08:01:00 GMT", NOON), Some(Span::ZERO), "long past");
        for nonsense in ["", "soon", "-1", "1.5", "+3"] {
            assert_eq!(retry_after(nonsense, NOON), None, "{nonsense}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_a_wish_out_of_bounds(text in "\\PC{0,40}") {
            if let Some(wish) = retry_after(&text, NOON) {
                proptest::prop_assert!((Span::ZERO..=WISH_MOST).contains(&wish));
            }
        }

        #[test]
        fn every_refusal_has_a_problem_the_library_reads(body: Vec<u8>, json in "[\\[\\]{}\":,a-z0-9]{0,60}", status in 400u16..=999) {
            for body in [body, json.into_bytes()] {
                let answer = Answer {
                    status,
                    location: None,
                    retry_after: None,
                    date: None,
                    nonce: None,
                    content_type: String::new(),
                    body: Bytes::from(body),
                };
                let read = serde_json::from_value::<instant_acme::Problem>(answer.problem().canonical());
                proptest::prop_assert_eq!(read.ok().and_then(|problem| problem.status), Some(status));
            }
        }
    }
}
