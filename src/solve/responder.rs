//! The http-01 listener: a web server that knows one path. It answers from the store, so it
//! serves challenges of every nolapse process on this state directory.
//!
//! It is open to the whole internet while it runs: nothing a stranger sends makes it keep more
//! than [`CONNECTIONS`](super::listener::CONNECTIONS) × [`HEADER_BYTES`], wait longer than [`CONNECTION_LIFE`], touch a file
//! named by the stranger, or send the stranger's words back (threats T03, T11).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::listener::Listener;
use super::socket;
use crate::core::failure::Failure;
use crate::core::name::Token;
use crate::core::spec::Listen;
use crate::core::time::Span;
use crate::ports::{Key, Store};
use crate::sys::clock::Clock;

/// Where RFC 8555 §8.3 wants the answer.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// Largest request line and headers together; hyper takes no smaller number.
pub const HEADER_BYTES: usize = 8 * 1024;
/// Time for a client to send its request.
pub const HEADER_TIME: Span = Span::secs(10);
/// Time for a whole connection.
pub const CONNECTION_LIFE: Span = Span::secs(30);
/// Listens and answers from `store` until dropped. Needs a tokio runtime.
///
/// Codes: those of [`socket::open`].
pub async fn answer(listen: &Listen, store: Arc<dyn Store>, clock: &Clock) -> Result<Listener, Failure> {
    let sockets = socket::open(listen).await?;
    let answers = Arc::new(Answers { store, failing: AtomicBool::new(false) });
    let time = clock.clone();
    let converse = move |stream| converse(stream, Arc::clone(&answers), time.clone());
    Ok(Listener::start(sockets, clock, converse))
}

async fn converse(stream: TcpStream, answers: Arc<Answers>, clock: Clock) {
    let answering = service_fn(move |request: Request<Incoming>| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.to(request.method(), request.uri().path()).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME.to_std())
        .max_buf_size(HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answering);
    // How a stranger's connection ended is the stranger's business.
    let _ = clock.timeout(CONNECTION_LIFE, connection).await;
}

/// What is answered to whom.
struct Answers {
    store: Arc<dyn Store>,
    /// The last load failed: told once, not once for each stranger's request.
    failing: AtomicBool,
}

impl Answers {
    async fn to(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let Some(token) = path.strip_prefix(PATH).and_then(|text| Token::parse(text).ok()) else {
            return plain(StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n"));
        };
        if method != Method::GET && method != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"GET only\n"));
        }
        let loaded = self.store.load(&Key::Challenge(token.clone())).await;
        let failed_before = self.failing.swap(loaded.is_err(), Ordering::Relaxed);
        match loaded {
            // A key authorization starts with its token (RFC 8555 §8.1); nothing else goes out.
            Ok(Some(entry)) if belongs(entry.content.bytes(), &token) => {
                plain(StatusCode::OK, Bytes::copy_from_slice(entry.content.bytes()))
            }
            Ok(_) => plain(StatusCode::NOT_FOUND, Bytes::from_static(b"not found\n")),
            Err(error) => {
                if !failed_before {
                    tracing::warn!(%error, "the http-01 listener can't read its answers");
                }
                plain(StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(b"try again\n"))
            }
        }
    }
}

fn belongs(content: &[u8], token: &Token) -> bool {
    content.strip_prefix(token.as_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"."))
}

fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}
