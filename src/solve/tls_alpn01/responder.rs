//! The tls-alpn-01 listener: a TLS server that speaks with CAs only. It answers from the store, so
//! it serves challenges of every nolapse process on this state directory.
//!
//! Whoever does not offer `acme-tls/1` and nothing else, or asks for a name without a challenge, is
//! left without a byte in answer: all of them see the same closed connection (who speaks no TLS at all
//! gets the alert that says so). Nothing outlives
//! [`CONVERSATION`], which is where Traefik's GHSA-cwjm-3f7h-9hwq came from (threat T11). One
//! greeting takes 64 KiB at most, so 256 of them take 16 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::super::listener::Listener;
use super::super::socket;
use crate::codec::validation::{ALPN, Standing, entry_token, server_name};
use crate::core::failure::Failure;
use crate::core::spec::{KeyKind, Listen};
use crate::core::time::{Interval, Span};
use crate::ports::{Key, Store};
use crate::sys::clock::Clock;
use crate::sys::keys::Keys;

/// Time for a whole connection, from the first byte to the last.
pub const CONVERSATION: Span = Span::secs(10);
/// Validity of a certificate that answers, before and after now: for CAs with another clock, who
/// are not asked to look at it.
const VALIDITY: Span = Span::hours(24);

const WAY_OUT: &str = "let that server pass connections with the ALPN protocol acme-tls/1 on to a loopback \
                       listener of ours, prove by another kind, or stop it";

/// Listens and answers from `store` until dropped. Needs a tokio runtime.
///
/// Codes: those of [`socket::open`].
pub async fn answer(listen: &Listen, store: Arc<dyn Store>, clock: &Clock) -> Result<Listener, Failure> {
    let sockets = socket::open_or(listen, WAY_OUT).await?;
    let answers = Arc::new(Answers { store, failing: AtomicBool::new(false), clock: clock.clone() });
    let converse = move |stream| {
        let answers = Arc::clone(&answers);
        async move {
            // How a stranger's connection ended is the stranger's business.
            let _ = answers.clock.timeout(CONVERSATION, answers.converse(stream)).await;
        }
    };
    Ok(Listener::start(sockets, clock, converse))
}

/// What is answered to whom.
struct Answers {
    store: Arc<dyn Store>,
    /// The last load failed: told once, not once for each stranger's greeting.
    failing: AtomicBool,
    clock: Clock,
}

impl Answers {
    /// `None`: there was nothing to say, or the other side broke off.
    async fn converse(&self, stream: TcpStream) -> Option<()> {
        let greeted = LazyConfigAcceptor::new(Acceptor::default(), stream).await.ok()?;
        let asked = asked_name(&greeted.client_hello())?;
        let standing = self.standing(&asked).await?;
        let config = match self.shown(&standing).await {
            Ok(config) => config,
            Err(failure) => {
                tracing::warn!(name = %standing.name, %failure, "a challenge could not be answered");
                return None;
            }
        };
        let mut stream = greeted.into_stream(Arc::new(config)).await.ok()?;
        // The handshake was the answer; no data is ever exchanged (RFC 8737 §3).
        stream.shutdown().await.ok()
    }

    async fn standing(&self, asked: &str) -> Option<Standing> {
        let loaded = self.store.load(&Key::Challenge(entry_token(asked)?)).await;
        let failed_before = self.failing.swap(loaded.is_err(), Ordering::Relaxed);
        match loaded {
            Ok(entry) => {
                let standing = Standing::parse(entry?.content.bytes())?;
                (server_name(&standing.name)?.eq_ignore_ascii_case(asked)).then_some(standing)
            }
            Err(error) => {
                if !failed_before {
                    tracing::warn!(%error, "the tls-alpn-01 listener can't read its answers");
                }
                None
            }
        }
    }

    /// A key and a certificate for one handshake; neither is ever written anywhere.
    async fn shown(&self, standing: &Standing) -> Result<ServerConfig, Failure> {
        let key = Keys::random().make(KeyKind::EcdsaP256).await?;
        let now = self.clock.now();
        let validity = Interval::new(now - VALIDITY, now + VALIDITY);
        let certificate = key.validation(&standing.name, &standing.digest(), validity)?;
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::broken("key-making-failed", format!("the validation certificate: {error}"))
        };
        let private =
            PrivateKeyDer::try_from(key.der().bytes().to_vec()).map_err(|error| unusable(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let signer = provider.key_provider.load_private_key(private).map_err(|error| unusable(&error))?;
        // Not `with_single_cert`: that reads the certificate as a client would, and no client knows
        // its critical extension.
        let pair = CertifiedKey::new(vec![CertificateDer::from(certificate)], signer);
        let mut config = ServerConfig::builder_with_provider(provider)
            // TLS 1.2 and 1.3; RFC 8737 §3 wants nothing older.
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// The name that a CA asks with; `None` for whoever is none: RFC 8737 §3 has a CA offer this one
/// protocol alone.
fn asked_name(hello: &ClientHello<'_>) -> Option<String> {
    let mut offered = hello.alpn()?;
    let alone = offered.next() == Some(ALPN) && offered.next().is_none();
    alone.then(|| hello.server_name().map(str::to_owned))?
}
