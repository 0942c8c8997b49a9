//! One handshake with one endpoint, dialled as written, and what was served in it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::smtp;
use super::trust::Trust;
use crate::codec::x509;
use crate::core::endpoint::{Endpoint, Protocol};
use crate::core::failure::plain;
use crate::core::time::Span;
use crate::ports::{Probe, Reply, Sighting};
use crate::sys::clock::Clock;

/// Looks with rustls (TLS 1.2 and 1.3). Sees every certificate, whoever vouches for it.
pub struct TlsProbe {
    clock: Clock,
    provider: Arc<CryptoProvider>,
    trust: Arc<Trust>,
}

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 16;
/// Time for a polite end after the certificate was seen.
const FAREWELL: Span = Span::secs(1);
/// Bytes read and dropped while ending.
const FAREWELL_BYTES: u64 = 64 * 1024;
/// Longest reason, in characters.
const REASON_MAX: usize = 200;

impl TlsProbe {
    /// `extra_roots` vouch besides the system's, so that a private CA is not reported as
    /// distrusted.
    pub fn new(clock: Clock, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = Arc::new(Trust::new(Arc::clone(&provider), extra_roots));
        Self { clock, provider, trust }
    }

    async fn chain(
        &self,
        endpoint: &Endpoint,
        name: ServerName<'static>,
        within: Span,
    ) -> Result<Chain, String> {
        let stream = match endpoint.protocol {
            Protocol::Tls => self.dial(endpoint, within).await?,
            Protocol::Smtp => smtp::start_tls(self.dial(endpoint, within).await?).await?,
        };
        let seen = Arc::new(Seen::new(Arc::clone(&self.provider)));
        let config = self.config(Arc::clone(&seen)).map_err(|error| words_of_tls(&error))?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let chain = seen.taken();
        match connected {
            Ok(stream) => {
                // Manners, not a condition: the certificate has been seen.
                let _ = self.clock.timeout(FAREWELL, say_goodbye(stream, endpoint.protocol)).await;
                Ok(chain)
            }
            // The server wants a certificate of ours; its own it has shown and proved.
            Err(error) if !chain.is_empty() && server_gave_up(&error) => Ok(chain),
            Err(error) => Err(words_of(&error)),
        }
    }

    /// The first address that takes the connection. Each gets its share of the time, so that a
    /// dead one leaves some for the next.
    async fn dial(&self, endpoint: &Endpoint, within: Span) -> Result<TcpStream, String> {
        let host = &endpoint.host;
        let found = tokio::net::lookup_host((host.as_str(), endpoint.port)).await;
        let found = found.map_err(|error| {
            format!("{host} can't be resolved: {}", plain(&error.to_string(), REASON_MAX))
        })?;
        let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
        let share = within.over(i64::try_from(addresses.len()).unwrap_or(1));
        let mut refusals = Vec::new();
        for address in &addresses {
            match self.clock.timeout(share, TcpStream::connect(address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => refusals.push((address, words_of(&error))),
                None => refusals.push((address, format!("timed out after {share}"))),
            }
        }
        match refusals.as_slice() {
            [] => Err(format!("{host} has no address")),
            [(_, words)] => Err(words.clone()),
            several => {
                let each: Vec<_> =
                    several.iter().map(|(to, words)| format!("{}: {words}", to.ip())).collect();
                Err(plain(&each.join(", "), REASON_MAX))
            }
        }
    }

    fn config(&self, seen: Arc<Seen>) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(seen)
            .with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    async fn judged(&self, chain: Chain, name: ServerName<'static>) -> Sighting {
        let (trust, now) = (Arc::clone(&self.trust), self.clock.now());
        // The first judgement reads the system's roots from disk.
        let judged = tokio::task::spawn_blocking(move || {
            let leaf = chain.first().map(|der| x509::leaf(der)).transpose();
            (leaf, trust.distrust(&chain, &name, now), chain.len())
        });
        match judged.await {
            Ok((Ok(Some(leaf)), distrust, chain)) => {
                Sighting::Served { leaf: Box::new(leaf), chain, distrust }
            }
            Ok((Ok(None), ..)) => Sighting::Unreachable("the server showed no certificate".into()),
            Ok((Err(error), ..)) => Sighting::Unreachable(plain(
                &format!("the server's certificate can't be read: {error}"),
                REASON_MAX,
            )),
            Err(error) => Sighting::Unreachable(format!("the look was broken off: {error}")),
        }
    }
}

impl Probe for TlsProbe {
    fn look<'a>(&'a self, endpoint: &'a Endpoint, within: Span) -> Reply<'a, Sighting> {
        Box::pin(async move {
            let Ok(name) = ServerName::try_from(endpoint.server_name()) else {
                return Sighting::Unreachable(format!("{} is no server name", endpoint.server_name()));
            };
            match self.clock.timeout(within, self.chain(endpoint, name.clone(), within)).await {
                Some(Ok(chain)) => self.judged(chain, name).await,
                Some(Err(words)) => Sighting::Unreachable(words),
                None => Sighting::Unreachable(format!("timed out after {within}")),
            }
        })
    }
}

type Chain = Vec<CertificateDer<'static>>;

/// Ends both layers and reads the rest, as unread bytes (TLS 1.3 tickets) turn a close into a
/// reset that the server would log.
async fn say_goodbye(mut stream: TlsStream<TcpStream>, protocol: Protocol) -> io::Result<()> {
    if protocol == Protocol::Smtp {
        smtp::quit(&mut stream).await?;
    }
    stream.shutdown().await?;
    let (tcp, _) = stream.into_inner();
    tokio::io::copy(&mut tcp.take(FAREWELL_BYTES), &mut tokio::io::sink()).await.map(|_| ())
}

/// Whether the other side ended a handshake that we would have gone on with.
fn server_gave_up(error: &io::Error) -> bool {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(_)) => true,
        Some(_) => false,
        None => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn words_of(error: &io::Error) -> String {
    match (tls_error(error), error.kind()) {
        (Some(error), _) => words_of_tls(error),
        (None, io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        (None, io::ErrorKind::ConnectionReset) => "connection reset".into(),
        (None, io::ErrorKind::UnexpectedEof) => {
            "the server closed the connection during the handshake".into()
        }
        (None, _) => plain(&error.to_string(), REASON_MAX),
    }
}

fn words_of_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::AlertReceived(alert) => format!("TLS alert {}", snake_case(&format!("{alert:?}"))),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".into(),
        _ => plain(&format!("TLS: {error}"), REASON_MAX),
    }
}

/// The alert's name as RFC 8446 §6 writes it: `HandshakeFailure` becomes `handshake_failure`.
fn snake_case(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// A verifier that takes every certificate and remembers it. That the server holds the
/// certificate's key is still demanded: else the sighting would prove nothing.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Chain>,
}

impl Seen {
    fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, chain: Mutex::default() }
    }

    fn taken(&self) -> Chain {
        std::mem::take(&mut self.chain.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A wrong signature counts; a certificate too odd for webpki to read (X.509 v1) does not, as it
/// must be seen to be reported.
fn lenient(
    verified: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    match verified {
        Err(error @ rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => Err(error),
        _ => Ok(HandshakeSignatureValid::assertion()),
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(leaf).chain(above).map(|der| der.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        lenient(verify_tls12_signature(
            message,
            leaf,
            signed,
            &self.provider.signature_verification_algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        lenient(verify_tls13_signature(
            message,
            leaf,
            signed,
            &self.provider.signature_verification_algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        use rustls::AlertDescription as Alert;
        for (alert, words) in [
            (Alert::HandshakeFailure, "TLS alert handshake_failure"),
            (Alert::UnrecognisedName, "TLS alert unrecognised_name"),
            (Alert::ProtocolVersion, "TLS alert protocol_version"),
        ] {
            assert_eq!(words_of_tls(&rustls::Error::AlertReceived(alert)), words);
        }
    }

    #[tokio::test]
    async fn every_address_that_refused_is_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{free}")).unwrap();
        let probe = TlsProbe::new(Clock::wall(), Vec::new());
        assert_eq!(probe.dial(&endpoint, Span::secs(9)).await.unwrap_err(), "connection refused");
    }
}
