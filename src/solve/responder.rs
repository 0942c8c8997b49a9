//! The http-01 listener: a web server that knows one path. It answers from the store, so it
//! serves challenges of every nolapse process on this state directory.
//!
//! It is open to the whole internet while it runs: nothing a stranger sends makes it keep more
//! than [`CONNECTIONS`] × [`HEADER_BYTES`], wait longer than [`CONNECTION_LIFE`], touch a file
//! named by the stranger, or send the stranger's words back (threats T03, T11).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::socket;
use crate::core::failure::Failure;
use crate::core::name::Token;
use crate::core::spec::Listen;
use crate::core::time::Span;
use crate::ports::{Key, Store};
use crate::sys::clock::Clock;

/// Where RFC 8555 §8.3 wants the answer.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// Connections kept at a time; one more ends the oldest, so that idle ones can't keep a CA out.
pub const CONNECTIONS: usize = 256;
/// Largest request line and headers together; hyper takes no smaller number.
pub const HEADER_BYTES: usize = 8 * 1024;
/// Time for a client to send its request.
pub const HEADER_TIME: Span = Span::secs(10);
/// Time for a whole connection.
pub const CONNECTION_LIFE: Span = Span::secs(30);
/// Pause after the system refused a connection (no descriptors left).
const ACCEPT_PAUSE: Span = Span::from_millis(100);

/// Answers until dropped.
pub struct Responder {
    addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Responder {
    /// Listens and answers from `store`. Needs a tokio runtime.
    ///
    /// Codes: those of [`socket::open`].
    pub async fn bind(listen: &Listen, store: Arc<dyn Store>, clock: &Clock) -> Result<Self, Failure> {
        let listeners = socket::open(listen).await?;
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let answers = Arc::new(Answers { store, failing: AtomicBool::new(false) });
        let tasks = listeners
            .into_iter()
            .map(|listener| tokio::spawn(serve(listener, Arc::clone(&answers), clock.clone())))
            .collect();
        Ok(Self { addresses, tasks })
    }

    /// Stops answering; the port is free when this returns, which a drop does not promise.
    pub async fn close(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Nothing but the news that it was aborted.
            let _ = task.await;
        }
    }

    /// Where it really listens: a port 0 is told as the port that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn serve(listener: TcpListener, answers: Arc<Answers>, clock: Clock) {
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.admit(converse(stream, Arc::clone(&answers), clock.clone())),
                // The client went away before it was let in.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(_) => clock.sleep(ACCEPT_PAUSE).await,
            },
            () = connections.one_ended() => {}
        }
    }
}

/// Open connections, the oldest first. Dropping it ends them.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    pub(super) fn admit(&mut self, conversation: impl Future<Output = ()> + Send + 'static) {
        self.by_age.retain(|task| !task.is_finished());
        if self.by_age.len() >= CONNECTIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        self.by_age.push_back(self.tasks.spawn(conversation));
    }

    pub(super) async fn one_ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
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
