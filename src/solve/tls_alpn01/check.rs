//! Looking for our own answer as the CA will, but from this host: a handshake on loopback with the
//! name and `acme-tls/1`, and the certificate read as a CA reads it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, Error as TlsError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::self_check::any_certificate;
use crate::codec::validation::{ALPN, Flaw, Standing, server_name};
use crate::core::failure::plain;
use crate::core::spec::Listen;
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// Time for one look.
const LOOK_TIME: Span = Span::secs(10);
/// Most characters of a stranger's text shown in a failure.
const SHOWN: usize = 120;

/// A look at one port of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeCheck {
    pub port: u16,
    /// Asked in this order until one is connected.
    addresses: Vec<IpAddr>,
}

/// Why the answer was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nobody listens there.
    Nobody { port: u16 },
    /// A connection that broke, or a handshake that never ended.
    Broken { port: u16, why: String },
    /// The connection was closed as our own listener closes it to strangers: it has no challenge
    /// for this name, or the server in between knows no such protocol.
    Closed { port: u16 },
    /// A TLS server that does not speak the protocol.
    OtherProtocol { port: u16 },
    /// A certificate that does not answer.
    Flawed { port: u16, flaw: Flaw },
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody { port } => write!(f, "nobody answers on port {port} of this host"),
            Self::Broken { port, why } => write!(f, "the handshake on port {port} failed: {why}"),
            Self::Closed { port } => write!(
                f,
                "port {port} closed the handshake: whoever listens there has no answer for this name"
            ),
            Self::OtherProtocol { port } => {
                write!(f, "the server on port {port} does not speak acme-tls/1")
            }
            Self::Flawed { port, flaw } => write!(f, "the server on port {port}: {flaw}"),
        }
    }
}

impl HandshakeCheck {
    /// At loopback; a listener that has an address of its own is asked there.
    pub fn of(listen: &Listen, port: u16) -> Self {
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        if let Listen::Address(own) = listen
            && own.port() == port
            && !own.ip().is_unspecified()
        {
            addresses.retain(|ip| *ip != own.ip());
            addresses.insert(0, own.ip());
        }
        Self { port, addresses }
    }

    /// Makes the CA's handshake and compares.
    pub async fn look(&self, standing: &Standing, clock: &Clock) -> Result<(), Miss> {
        match clock.timeout(LOOK_TIME, self.handshake(standing)).await {
            Some(seen) => seen,
            None => Err(self.broken(&format!("no end within {LOOK_TIME}"))),
        }
    }

    async fn handshake(&self, standing: &Standing) -> Result<(), Miss> {
        let asked = server_name(&standing.name).and_then(|asked| ServerName::try_from(asked).ok());
        let asked = asked.ok_or_else(|| self.broken(&"the name is no server name"))?;
        let mut config = any_certificate().map_err(|error| self.broken(&error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let stream = self.connect().await?;
        let connected = TlsConnector::from(Arc::new(config)).connect(asked, stream).await;
        let stream = connected.map_err(|error| self.told(&error))?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN) {
            return Err(Miss::OtherProtocol { port: self.port });
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let leaf = leaf.ok_or_else(|| self.broken(&"it showed no certificate"))?;
        standing.recognise(leaf).map_err(|flaw| Miss::Flawed { port: self.port, flaw })
    }

    async fn connect(&self) -> Result<TcpStream, Miss> {
        let mut first = None;
        for ip in &self.addresses {
            match TcpStream::connect(SocketAddr::new(*ip, self.port)).await {
                Ok(stream) => return Ok(stream),
                // A host without IPv6 is no news; the first refusal is.
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(match first {
            Some(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => self.broken(&error),
            _ => Miss::Nobody { port: self.port },
        })
    }

    fn told(&self, error: &std::io::Error) -> Miss {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let port = self.port;
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        match alert {
            Some(TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                Miss::OtherProtocol { port }
            }
            _ if matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe) => {
                Miss::Closed { port }
            }
            _ => self.broken(error),
        }
    }

    fn broken(&self, why: &dyn fmt::Display) -> Miss {
        Miss::Broken { port: self.port, why: plain(&why.to_string(), SHOWN) }
    }
}
