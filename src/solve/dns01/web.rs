//! HTTP calls of providers: JSON there and back, bounded, redirects refused, nothing of the URL's path
//! and no header ever in words.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::core::failure::{Class, Failure, Fault, plain};
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// Most bytes read of an answer.
const BODY_MAX: usize = 1 << 20;
/// Characters of an answer kept in a failure.
const SHOWN: usize = 300;
/// Time for one call.
const CALL_TIME: Span = Span::secs(30);

/// One service's interface below a URL.
pub struct Web {
    client: Client,
    base: Url,
    headers: HeaderMap,
    clock: Clock,
}

impl Web {
    /// Headers may hold secrets.
    ///
    /// Code: `dns-credentials` for a URL or header that can't be sent.
    pub fn new(base: &str, headers: &[(&str, String)], clock: &Clock) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::refused(Fault::Config, "dns-credentials", why);
        let mut base: Url = base.parse().map_err(|_| bad("the provider's URL can't be read"))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad("a provider's URL starts with http:// or https://"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = crate::sys::http::client()
            .tls_backend_preconfigured(tls(base.scheme() == "https")?)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("nolapse/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::broken("dns-client", error.to_string()))?;
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| bad("a header's name can't be sent"))?;
            let mut value: HeaderValue =
                value.parse().map_err(|_| bad("a credential has characters that no header can hold"))?;
            value.set_sensitive(true);
            sent.insert(name, value);
        }
        Ok(Self { client, base, headers: sent, clock: clock.clone() })
    }

    /// Calls `path` below the base; the answer of a 2xx.
    ///
    /// Codes: `dns-unreachable`, `dns-refused` (401, 403, and what else the service says no to),
    /// `dns-change-failed`.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Vec<u8>, Failure> {
        let answered = self.clock.timeout(CALL_TIME, self.exchange(method.clone(), path, body)).await;
        answered.unwrap_or_else(|| {
            let words = format!("{} did not answer within {CALL_TIME}", self.place(&method));
            Err(Failure::transient(Fault::Network, "dns-unreachable", words))
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Vec<u8>, Failure> {
        let url = self
            .base
            .join(path)
            .map_err(|_| Failure::broken("dns-client", "a provider's path can't be joined to its URL"))?;
        let mut request = self.client.request(method.clone(), url).headers(self.headers.clone());
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(&method, &error))?;
        let status = response.status();
        let mut read = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&method, &error))? {
            if read.len() + chunk.len() > BODY_MAX {
                let words = format!("{} answered with more than {} KiB", self.place(&method), BODY_MAX >> 10);
                return Err(Failure::transient(Fault::Network, "dns-change-failed", words));
            }
            read.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(read);
        }
        let text = plain(String::from_utf8_lossy(&read).trim(), SHOWN);
        let said = if text.is_empty() { text } else { format!(": {text}") };
        let place = self.place(&method);
        let number = status.as_u16();
        Err(match number {
            401 | 403 => Failure::refused(
                Fault::Config,
                "dns-refused",
                format!(
                    "{place} refuses the credentials ({number}){said}; compare them, and what they may do"
                ),
            ),
            429 => {
                let words = format!("{place} asks for patience (429){said}");
                Failure::new(Class::Transient, Fault::Network, "dns-change-failed", words)
            }
            400..=499 => {
                Failure::refused(Fault::Config, "dns-refused", format!("{place} says no ({number}){said}"))
            }
            _ => {
                let words = format!("{place} answered with status {number}{said}");
                Failure::transient(Fault::Network, "dns-change-failed", words)
            }
        })
    }

    fn place(&self, method: &Method) -> String {
        format!("{method} {}", self.base.origin().ascii_serialization())
    }

    fn unreachable(&self, method: &Method, error: &reqwest::Error) -> Failure {
        // The innermost cause is the one with the news; the outer ones repeat the URL.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let words =
            format!("{} could not be reached: {}", self.place(method), plain(&cause.to_string(), SHOWN));
        Failure::transient(Fault::Network, "dns-unreachable", words)
    }
}

/// The system's roots, or those compiled in where it has none; none at all where nothing is encrypted.
fn tls(encrypted: bool) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::broken("dns-client", error.to_string()))?;
    if !encrypted {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    if let Ok(trusting) = builder.clone().with_platform_verifier() {
        return Ok(trusting.with_no_client_auth());
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
