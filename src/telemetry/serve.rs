//! The HTTP side of metrics and health, on a loopback address or a Unix socket. It never holds
//! the agent up: connections are few, short, and answered from memory.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::health::{Answer, Health};
use super::metrics::Metrics;
use super::page::{self, StatusPage};
use crate::core::failure::{Failure, Fault};
use crate::core::time::Span;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Tcp(SocketAddr),
    /// A socket file, readable and writable by owner and group alone.
    Unix(PathBuf),
}

/// A bound server that does not answer yet.
pub struct Server {
    listener: Bound,
}

enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Server {
    /// Connections served at once; more wait in the kernel's queue.
    pub const CONNECTIONS_MAX: usize = 16;
    /// How long one connection may last, request and answer together.
    pub const CONNECTION_MAX: Span = Span::secs(15);
    /// Permissions of a socket file.
    pub const SOCKET_MODE: u32 = 0o660;

    /// Binds, so that a taken port is a clear error before anything else starts.
    pub async fn bind(place: &Place) -> Result<Self, Failure> {
        let bound = match place {
            Place::Tcp(address) => TcpListener::bind(address).await.map(Bound::Tcp),
            Place::Unix(path) => bind_unix(path).await.map(Bound::Unix),
        };
        bound.map(|listener| Self { listener }).map_err(|error| unable(place, &error))
    }

    /// The address in use; `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Bound::Tcp(listener) => listener.local_addr().ok(),
            Bound::Unix(_) => None,
        }
    }

    /// Answers until `stop` is ready; connections that are open then are dropped. Without a `page`
    /// there is none.
    pub async fn run(
        self,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        page: Option<StatusPage>,
        stop: impl Future<Output = ()> + Send,
    ) {
        let app = router(metrics, health, page);
        let serving: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match self.listener {
            Bound::Tcp(listener) => Box::pin(axum::serve(Few::new(listener), app).into_future()),
            Bound::Unix(listener) => Box::pin(axum::serve(Few::new(listener), app).into_future()),
        };
        tokio::select! {
            () = stop => {}
            ended = serving => {
                // axum's loop retries failed accepts itself and does not end.
                tracing::error!(?ended, "the metrics listener ended");
            }
        }
    }
}

fn router(metrics: Arc<Metrics>, health: Arc<Health>, page: Option<StatusPage>) -> Router {
    let probes = Router::new()
        .route("/livez", get(|State(health): State<Arc<Health>>| async move { reply(&health.live()) }))
        .route("/readyz", get(|State(health): State<Arc<Health>>| async move { reply(&health.ready()) }))
        .route("/healthz", get(|State(health): State<Arc<Health>>| async move { reply(&health.healthy()) }))
        .with_state(health);
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(metrics)
        .merge(probes)
        .merge(page.map(page::router).unwrap_or_default())
        .layer(axum::middleware::map_response(farewell))
}

/// One request a connection: an idle client keeps no place.
async fn farewell(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, OPEN_METRICS)], metrics.open_metrics())
}

fn reply(answer: &Answer) -> impl IntoResponse + use<> {
    let status = if answer.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    // Names and numbers always make JSON; an empty body would still carry the status.
    let mut text = serde_json::to_string(answer).unwrap_or_default();
    text.push('\n');
    (status, headers, text)
}

/// A leftover of a killed process must not keep us from starting, and a living process must
/// not lose its socket to us.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else lies there"));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Until here the umask alone decides; connecting needs the write bit, which it takes from
    // group and others in every setting we ship.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(Server::SOCKET_MODE))?;
    Ok(listener)
}

fn unable(place: &Place, error: &io::Error) -> Failure {
    let place = match place {
        Place::Tcp(address) => address.to_string(),
        Place::Unix(path) => path.display().to_string(),
    };
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; choose another place in [agent] metrics",
        io::ErrorKind::PermissionDenied => {
            "nolapse may not listen there; choose another place in [agent] metrics"
        }
        _ => "see [agent] metrics in the configuration",
    };
    let words = format!("can't serve metrics on {place}: {error}; {advice}");
    Failure::refused(Fault::Host, "metrics-listener", words)
}

/// A listener with few and short connections.
struct Few<L> {
    inner: L,
    places: Arc<Semaphore>,
}

impl<L> Few<L> {
    fn new(inner: L) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(Server::CONNECTIONS_MAX)) }
    }
}

impl<L: Listener> Listener for Few<L> {
    type Io = Short<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed; without a permit the connection is served all the same.
        let place = self.places.clone().acquire_owned().await.ok();
        let (io, address) = self.inner.accept().await;
        let end = Box::pin(tokio::time::sleep_until(Instant::now() + Server::CONNECTION_MAX.to_std()));
        (Short { io, end, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A connection with a deadline for everything.
struct Short<I> {
    io: I,
    end: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<I: Unpin> Short<I> {
    fn check(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Short<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(end) = self.check(context) {
            return Poll::Ready(end);
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Short<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(end)) = self.check(context) {
            return Poll::Ready(Err(end));
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(end) = self.check(context) {
            return Poll::Ready(end);
        }
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::core::census::Census;
    use crate::core::time::Timestamp;
    use crate::telemetry::Now;
    use crate::telemetry::pulse::Pulse;

    /// A server task that ends with the test.
    fn serve(server: Server) -> Arc<Health> {
        let now: Now = Arc::new(|| Timestamp::from_secs(1_800_000_000));
        let metrics = Arc::new(Metrics::new("1.2.3", now.clone()));
        let health = Arc::new(Health::new(Arc::new(Pulse::default()), now));
        tokio::spawn(server.run(metrics, health.clone(), Some(page()), std::future::pending()));
        health
    }

    fn page() -> StatusPage {
        let make = || Box::pin(async { Ok(Arc::from("<!doctype html>")) }) as page::Making;
        StatusPage { make: Arc::new(make), style: "p{}" }
    }

    async fn exchange(mut io: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
        io.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        exchange(TcpStream::connect(address).await.unwrap(), &request).await
    }

    #[tokio::test]
    async fn the_four_pages_answer() {
        let server = Server::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = server.address().unwrap();
        let health = serve(server);
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
        let early = get(address, "/readyz").await;
        assert!(early.starts_with("HTTP/1.1 503 ") && early.contains(r#""code":"starting""#), "{early}");
        health.set(Arc::new(Census::of(Timestamp::EPOCH, Vec::new())));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        assert!(get(address, "/healthz").await.contains(r#""last-pass":"1970-01-01T00:00:00Z""#));
        let scrape = get(address, "/metrics").await;
        assert!(scrape.contains("content-type: application/openmetrics-text; version=1.0.0"), "{scrape}");
        assert!(scrape.contains(r#"nolapse_build_info{version="1.2.3"} 1"#));
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404 "));
    }

    #[tokio::test]
    async fn the_status_page_forbids_a_browser_all_but_its_own_style() {
        let server = Server::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = server.address().unwrap();
        serve(server);
        let ask = async |path: &str, host: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            exchange(TcpStream::connect(address).await.unwrap(), &request).await
        };
        let shown = ask("/", "localhost").await;
        assert!(shown.starts_with("HTTP/1.1 200 ") && shown.ends_with("<!doctype html>"), "{shown}");
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "cache-control: no-store",
            "connection: close",
        ] {
            assert!(shown.contains(header), "{header} in {shown}");
        }
        assert!(ask("/status.css", "127.0.0.1").await.ends_with("p{}"));
        assert!(ask("/", "rebound.example").await.starts_with("HTTP/1.1 421 "));
        let posted = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        let posted = exchange(TcpStream::connect(address).await.unwrap(), posted).await;
        assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = Server::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let place = Place::Tcp(first.address().unwrap());
        let failure = Server::bind(&place).await.err().unwrap();
        assert_eq!(failure.code, "metrics-listener");
        assert!(failure.words.contains("another process listens there"), "{failure}");
    }

    #[tokio::test]
    async fn a_socket_is_for_owner_and_group_and_survives_a_killed_owner() {
        let dir = std::env::temp_dir().join(format!("nolapse-serve-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("metrics.sock");
        let place = Place::Unix(path.clone());
        // Dropped without removing its file, as a killed process does.
        drop(Server::bind(&place).await.unwrap());
        assert!(path.exists());
        let server = Server::bind(&place).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        serve(server);
        assert!(Server::bind(&place).await.is_err(), "a living owner keeps its socket");
        let request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = exchange(UnixStream::connect(&path).await.unwrap(), request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        let file = dir.join("precious.txt");
        std::fs::write(&file, "keep").unwrap();
        assert!(Server::bind(&Place::Unix(file.clone())).await.is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "keep");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_are_cut_and_make_room() {
        let server = Server::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = server.address().unwrap();
        serve(server);
        let mut silent = Vec::new();
        for _ in 0..Server::CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // Nothing is said, so the paused clock runs ahead to the deadline and the seventeenth
        // connection is answered.
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200 "));
        for mut io in silent {
            let mut rest = Vec::new();
            let _ = io.read_to_end(&mut rest).await;
        }
    }
}
