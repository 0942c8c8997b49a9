//! A service that is told by an HTTP request.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use super::check::Check;
use super::exec::json;
use crate::core::event::Deployment;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::layout::Content;
use crate::core::spec::{HookSpec, HttpCall};
use crate::core::time::Span;
use crate::ports::{Hook, Reply};
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;

/// Sends one request for each deployment; any 2xx is success. The body of a `POST`, `PUT` or
/// `PATCH` is the [`Deployment`] as JSON, or a file: Caddy is told to reload by its own
/// configuration. Redirects are not followed.
pub struct HttpHook {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body_file: Option<String>,
    disk: Disk,
    timeout: Span,
    check: Check,
    clock: Clock,
}

/// Most bytes read of an answer; only its first words are kept.
const BODY_MAX: usize = 16 * 1024;
/// Largest file that is sent, in bytes.
const FILE_MAX: usize = 4 << 20;
/// Characters of an answer kept in a failure.
const SHOWN: usize = 300;

impl HttpHook {
    /// Code: `hook-url`.
    pub fn new(spec: &HookSpec, call: &HttpCall, clock: &Clock) -> Result<Self, Failure> {
        let HttpCall { method, url, body_file, headers } = call;
        let bad = |why: &str| Failure::refused(Fault::Config, "hook-url", why);
        let method: Method = method
            .to_ascii_uppercase()
            .parse()
            .ok()
            .filter(|method| KNOWN.contains(method))
            .ok_or_else(|| bad("the method of a hook is GET, POST, PUT or PATCH"))?;
        // The text itself is not shown: a webhook's URL is its secret.
        let url: Url = url.parse().map_err(|_| bad("the hook's URL can't be read"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("a hook's URL starts with http:// or https://"));
        }
        let tls = if url.scheme() == "https" { trusting()? } else { trusting_nobody()? };
        let client = crate::sys::http::client()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("nolapse/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::broken("hook-client", error.to_string()))?;
        let mut sent = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| bad("a header's name can't be sent"))?;
            sent.insert(name, value.parse().map_err(|_| bad("a header's value can't be sent"))?);
        }
        Ok(Self {
            client,
            method,
            url,
            headers: sent,
            body_file: body_file.clone(),
            disk: Disk::real(),
            timeout: spec.timeout,
            check: Check::of(spec, clock),
            clock: clock.clone(),
        })
    }

    async fn request(&self, deployment: &Deployment) -> Result<(), Failure> {
        let mut request = self.client.request(self.method.clone(), self.url.clone());
        if self.method != Method::GET {
            request = request.headers(self.headers.clone()).body(self.body(deployment)?);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let said = first_words(response).await;
        Err(Failure::transient(
            Fault::Host,
            "hook-failed",
            format!("{} answered with status {}{said}", self.place(), status.as_u16()),
        ))
    }

    fn body(&self, deployment: &Deployment) -> Result<Vec<u8>, Failure> {
        let Some(path) = &self.body_file else { return json(deployment) };
        let read = self.disk.read(Path::new(path), FILE_MAX);
        read.map(Content::into_bytes).map_err(|error| {
            Failure::transient(
                Fault::Host,
                "hook-body",
                format!(
                    "{} can't be sent: {error}; put it there, or let this user read it",
                    plain(path, SHOWN)
                ),
            )
        })
    }

    /// Where the request goes, without path, query and password, which may be secrets.
    fn place(&self) -> String {
        let origin = self.url.origin().ascii_serialization();
        format!("{} {origin}", self.method)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        // The innermost cause is the one with the news; the outer ones repeat the URL.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Failure::transient(
            Fault::Host,
            "hook-unreachable",
            format!("{} could not be reached: {}", self.place(), plain(&cause.to_string(), SHOWN)),
        )
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const KNOWN: [Method; 4] = [Method::GET, Method::POST, Method::PUT, Method::PATCH];

impl Hook for HttpHook {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(self.check.run())
    }

    /// Codes: `hook-failed`, `hook-timeout`, `hook-unreachable`, `hook-body`.
    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.clock.timeout(self.timeout, self.request(deployment)).await.unwrap_or_else(|| {
                Err(Failure::transient(
                    Fault::Host,
                    "hook-timeout",
                    format!("{} did not answer within {}", self.place(), self.timeout),
                ))
            })
        })
    }
}

async fn first_words(mut response: Response) -> String {
    let mut body = Vec::new();
    // A body that breaks off leaves the words that came.
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = BODY_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    let text = plain(String::from_utf8_lossy(&body).trim(), SHOWN);
    if text.is_empty() { text } else { format!(": {text}") }
}

/// The system's roots, or those compiled in where it has none.
fn trusting() -> Result<ClientConfig, Failure> {
    let builder = builder()?;
    if let Ok(trusting) = builder.clone().with_platform_verifier() {
        return Ok(trusting.with_no_client_auth());
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// For URLs without TLS: reading some hundred roots would be for nothing.
fn trusting_nobody() -> Result<ClientConfig, Failure> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Failure> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::broken("hook-client", error.to_string()))
}
