//! The status page over HTTP: who may ask for it, and what its answer forbids a browser to do.
//! What stands on it is made elsewhere.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::core::failure::Failure;

/// How a page comes about.
#[derive(Clone)]
pub struct StatusPage {
    /// The HTML of now.
    pub make: Make,
    /// Its style sheet.
    pub style: &'static str,
}

/// Called for each request; whether it makes a new page each time is its own matter.
pub type Make = Arc<dyn Fn() -> Making + Send + Sync>;
/// A page in the making.
pub type Making = Pin<Box<dyn Future<Output = Result<Arc<str>, Failure>> + Send>>;

/// No script, no frame, no picture, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
const HARD: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

pub(super) fn router(page: StatusPage) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/status.css", get(style))
        .with_state(page)
        .route_layer(axum::middleware::from_fn(known_host))
}

async fn show(State(page): State<StatusPage>) -> Response {
    match (page.make)().await {
        Ok(html) => (HARD, [(CONTENT_TYPE, "text/html; charset=utf-8")], html.to_string()).into_response(),
        Err(failure) => {
            let words = format!("there is no page now: {failure}\n");
            (StatusCode::SERVICE_UNAVAILABLE, HARD, [(CONTENT_TYPE, "text/plain; charset=utf-8")], words)
                .into_response()
        }
    }
}

async fn style(State(page): State<StatusPage>) -> Response {
    (HARD, [(CONTENT_TYPE, "text/css; charset=utf-8")], page.style).into_response()
}

/// A name that somebody else's DNS leads to this address would let a foreign page read ours in the
/// operator's browser (DNS rebinding). Addresses and `localhost` lead nowhere else.
async fn known_host(request: Request, next: Next) -> Response {
    if is_ours(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    let words = "ask for this page by address or as localhost; a proxy in front must set Host: localhost\n";
    (StatusCode::MISDIRECTED_REQUEST, HARD, words).into_response()
}

fn is_ours(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(host) = headers.get(HOST) else { return uri.host().is_none() };
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_given_to_addresses_and_localhost_alone() {
        for (host, ours) in [
            ("127.0.0.1:9464", true),
            ("[::1]:9464", true),
            ("192.0.2.7", true),
            ("localhost", true),
            ("LocalHost:9464", true),
            ("rebound.example", false),
            ("127.0.0.1.rebound.example:9464", false),
            ("localhost.rebound.example", false),
            ("", false),
            ("a b", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(is_ours(&headers, &Uri::from_static("/")), ours, "{host}");
        }
        assert!(is_ours(&HeaderMap::new(), &Uri::from_static("/")), "HTTP/1.0, as tools on a socket speak");
    }
}
