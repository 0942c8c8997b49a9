//! A TLS server that knows what it loaded at its last reload, as nginx does: a reload is a file
//! that appears, so that any hook can ask for one.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// Longest handshake.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Server {
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves the pair that lies in `dir` when the bell rings, and nothing before.
    pub fn start(port: u16, dir: &Path, bell: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (dir, stopped, rung) = (dir.to_owned(), stop.clone(), bell.to_owned());
        let thread = std::thread::spawn(move || {
            let mut loaded = None;
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if std::fs::remove_file(&rung).is_ok() {
                    loaded = load(&dir).or(loaded);
                }
                if let (Ok(stream), Some(config)) = (stream, &loaded) {
                    greet(stream, config);
                }
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn load(dir: &Path) -> Option<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(dir.join("fullchain.pem")).ok()?.collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_file(dir.join("privkey.pem")).ok()?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain.ok()?, key)
        .ok()?;
    Some(Arc::new(config))
}

fn greet(mut stream: TcpStream, config: &Arc<ServerConfig>) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let Ok(mut connection) = ServerConnection::new(config.clone()) else { return };
    while connection.is_handshaking() || connection.wants_write() {
        if connection.complete_io(&mut stream).is_err() {
            return;
        }
    }
    // Until the client has read what it wanted.
    let _ = connection.complete_io(&mut stream);
}
