//! Messages by HTTP.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use super::template::{body, with_secret};
use super::{exec, tls};
use crate::core::channel::{Message, Webhook};
use crate::core::failure::{Failure, Fault, plain};
use crate::ports::{Channel, Reply, Secrets};

pub struct WebhookChannel {
    spec: Webhook,
    secrets: Secrets,
}

/// Most bytes read of an answer; only its first words are kept.
const ANSWER_MAX: usize = 16 * 1024;
/// Characters of an answer kept in a failure.
const SHOWN: usize = 200;

impl WebhookChannel {
    pub fn new(spec: &Webhook, secrets: &Secrets) -> Self {
        Self { spec: spec.clone(), secrets: secrets.clone() }
    }
}

impl Channel for WebhookChannel {
    /// Any 2xx is success; redirects are not followed. Codes: `alert-unreachable`,
    /// `alert-refused`, `alert-url`, `secret-missing`.
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let secret = secret(self.spec.secret.as_ref(), &self.secrets)?;
            let secret = secret.as_deref();
            let text = match &self.spec.body {
                Some(template) => body(template, message, secret).into_bytes(),
                None => exec::json(message)?,
            };
            let mut headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            for (name, value) in &self.spec.headers {
                let name: HeaderName = name.parse().map_err(|_| unusable("a header's name can't be sent"))?;
                let mut value: HeaderValue = with_secret(value, secret)
                    .parse()
                    .map_err(|_| unusable("a header's value can't be sent"))?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            let url = url(&self.spec.url, secret)?;
            let request = client(&url, self.spec.ca_file.as_deref())?.post(url.clone());
            answered(&url, request.headers(headers).body(text).send().await).await
        })
    }
}

/// The text of a secret, where there is one.
pub(super) fn secret(
    source: Option<&crate::core::spec::SecretSource>,
    secrets: &Secrets,
) -> Result<Option<String>, Failure> {
    let Some(source) = source else { return Ok(None) };
    let content = secrets(source)?;
    std::str::from_utf8(content.bytes())
        .map(|text| Some(text.to_owned()))
        .map_err(|_| Failure::refused(Fault::Config, "secret-missing", "the secret is not text"))
}

fn unusable(why: &str) -> Failure {
    Failure::refused(Fault::Config, "alert-url", why)
}

/// The address, which may be a secret itself and is not shown.
pub(super) fn url(template: &str, secret: Option<&str>) -> Result<Url, Failure> {
    let url: Url = with_secret(template, secret).parse().map_err(|_| unusable("the URL can't be read"))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(unusable("a URL is http:// or https://"))
    }
}

/// Built for each message: they are few, and a client's roots take memory.
pub(super) fn client(url: &Url, ca_file: Option<&str>) -> Result<Client, Failure> {
    let trusted = if url.scheme() == "https" { tls::trusting(ca_file)? } else { tls::trusting_nobody()? };
    crate::sys::http::client()
        .tls_backend_preconfigured(trusted)
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent(concat!("nolapse/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::broken("alert-tls", error.to_string()))
}

pub(super) async fn answered(url: &Url, sent: reqwest::Result<Response>) -> Result<(), Failure> {
    let place = url.origin().ascii_serialization();
    let mut response = sent.map_err(|error| {
        // The innermost cause is the one with the news; the outer ones repeat the URL.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let words = format!("{place} could not be reached: {}", plain(&cause.to_string(), SHOWN));
        Failure::transient(Fault::Network, "alert-unreachable", words)
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let mut answer = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = ANSWER_MAX - answer.len();
        answer.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    let said = plain(String::from_utf8_lossy(&answer).trim(), SHOWN);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let words = format!("{place} answered with status {}{said}", status.as_u16());
    Err(Failure::transient(Fault::Network, "alert-refused", words))
}
