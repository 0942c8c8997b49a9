//! What `instant-acme` sends through: it gets the directory and its nonces from what we have in
//! hand, and every answer in a shape that it can read.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use serde_json::Value;

use super::http::{Answer, REPLAY_NONCE, Transport};
use super::jws::{AccountKey, BadKey};
use super::problem::Document;
use super::tidy::tidy_status;
use crate::core::failure::Failure;
use crate::core::time::Span;

/// What the last answer in a call said beside its body; `instant-acme` drops it.
#[derive(Clone, Debug, Default)]
pub(super) struct Exchange {
    pub(super) status: u16,
    pub(super) retry_after: Option<Span>,
    pub(super) location: Option<String>,
    /// Of a refusal.
    pub(super) problem: Option<Document>,
    /// Of an authorization: `instant-acme` drops what it does not know of them.
    pub(super) challenges: Vec<Value>,
}

impl Exchange {
    pub(super) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    pub(super) fn is_bad_nonce(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.is("badNonce"))
    }
}

tokio::task_local! {
    static EXCHANGE: Arc<Mutex<Exchange>>;
}

/// Runs a call of `instant-acme` and keeps what its last answer said.
pub(super) async fn recorded<F: Future>(transport: &Transport, call: F) -> (F::Output, Exchange) {
    let _turn = transport.turn().await;
    let kept = Arc::new(Mutex::new(Exchange::default()));
    let output = EXCHANGE.scope(kept.clone(), call).await;
    let exchange = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (output, exchange)
}

/// Status of the last answer in the call that is being recorded; 0 before the first.
pub(super) fn last_status() -> u16 {
    EXCHANGE.try_with(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).status).unwrap_or_default()
}

/// Challenges of the authorization that was the last answer.
pub(super) fn last_challenges() -> Vec<Value> {
    EXCHANGE
        .try_with(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).challenges.clone())
        .unwrap_or_default()
}

/// What `instant-acme` sends through.
pub(super) struct Courier {
    pub(super) transport: Arc<Transport>,
    /// Signs in place of the key that `instant-acme` was given, where that can't hold the account's.
    pub(super) signer: Option<Arc<AccountKey>>,
}

type Answered = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;

impl HttpClient for Courier {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answered {
        let (transport, signer) = (self.transport.clone(), self.signer.clone());
        Box::pin(async move {
            carry(&transport, signer.as_deref(), request)
                .await
                .map_err(|failure| instant_acme::Error::Other(Box::new(failure)))
        })
    }
}

async fn carry(
    transport: &Transport,
    signer: Option<&AccountKey>,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Failure> {
    let (parts, body) = request.into_parts();
    let url = parts.uri.to_string();
    // It reads the directory whenever an account is opened, just after we did.
    if parts.method == Method::GET
        && url == transport.directory_url()
        && let Some(directory) = transport.directory_in_hand().await
    {
        return Ok(answered(StatusCode::OK, HeaderMap::new(), Bytes::from(directory.document.to_string())));
    }
    // HEAD is how it asks for a nonce, and for nothing else.
    if parts.method == Method::HEAD {
        let nonce = transport.nonce(&url).await?;
        let value =
            HeaderValue::try_from(nonce).map_err(|_| Failure::broken("nonce", "a nonce is no header"))?;
        return Ok(answered(StatusCode::OK, HeaderMap::from_iter([(REPLAY_NONCE, value)]), Bytes::new()));
    }
    let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes().to_vec());
    let body = match signer.filter(|_| parts.method == Method::POST) {
        Some(signer) => signer
            .sign_again(&body)
            .map_err(|BadKey| Failure::broken("crypto", "signing with the account key failed"))?,
        None => body,
    };
    let answer = transport.send(parts.method, &url, Some(body)).await?;
    Ok(normalised(answer))
}

/// The answer as `instant-acme` should see it: no nonce (those live in the pool) save one for a
/// second try, a tame Retry-After, and a body it can parse.
fn normalised(answer: Answer) -> BytesResponse {
    let problem = (answer.status >= 400).then(|| answer.problem());
    let json = if problem.is_none() { answer.json() } else { None };
    let _ = EXCHANGE.try_with(|kept| {
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Exchange {
            status: answer.status,
            retry_after: answer.retry_after,
            location: answer.location.clone(),
            problem: problem.clone(),
            challenges: challenges(json.as_ref()),
        };
    });
    let mut headers = HeaderMap::new();
    if let Some(nonce) = answer.nonce.as_deref().and_then(|n| HeaderValue::from_str(n).ok()) {
        headers.insert(REPLAY_NONCE, nonce);
    }
    if let Some(location) = answer.location.as_deref().and_then(|l| HeaderValue::from_str(l).ok()) {
        headers.insert(LOCATION, location);
    }
    if let Some(wish) = answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wish.whole_secs()));
    }
    let body = match &problem {
        Some(problem) => Bytes::from(problem.canonical().to_string()),
        None => match json {
            Some(mut value) => {
                tidy_status(&mut value);
                Bytes::from(value.to_string())
            }
            None => answer.body,
        },
    };
    // Statuses beyond 599 exist in the wild; they are errors like any other.
    answered(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY), headers, body)
}

/// Challenges read of one authorization.
const CHALLENGES_MAX: usize = 32;

fn challenges(body: Option<&Value>) -> Vec<Value> {
    let list = body.and_then(|body| body.get("challenges")).and_then(Value::as_array);
    list.into_iter().flatten().take(CHALLENGES_MAX).cloned().collect()
}

fn answered(status: StatusCode, headers: HeaderMap, body: Bytes) -> BytesResponse {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    BytesResponse::from(response)
}
