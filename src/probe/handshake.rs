//! One TLS handshake that takes every certificate, and remembers it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::prelude::farewell;
use super::unseen::{Unseen, tls_error};
use crate::core::endpoint::Protocol;
use crate::core::manner::{KeyFamily, Manner, TlsVersion};
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// What was sent, the leaf first.
pub type Chain = Vec<CertificateDer<'static>>;

/// Time for a polite end after the certificate was seen.
const FAREWELL: Span = Span::secs(1);
/// Bytes read and dropped while ending.
const FAREWELL_BYTES: u64 = 64 * 1024;
/// Most of an answer to a farewell.
const ANSWER_MAX: usize = 512;

/// A connection whose certificate has been seen, to be ended politely.
pub struct Parting {
    stream: TlsStream<TcpStream>,
    protocol: Protocol,
}

impl Parting {
    /// Takes a second at most. Manners, not a condition: nothing depends on how it ends.
    pub async fn end(self, clock: &Clock) {
        let _ = clock.timeout(FAREWELL, say_goodbye(self.stream, self.protocol)).await;
    }
}

/// Shakes hands; the connection is at the point where the next byte is TLS. What there is to end
/// afterwards comes with it.
pub async fn shake(
    provider: &Arc<CryptoProvider>,
    stream: TcpStream,
    protocol: Protocol,
    name: ServerName<'static>,
    manner: &Manner,
) -> Result<(Chain, Option<Parting>), Unseen> {
    let provider = offering(provider, manner.key);
    let seen = Arc::new(Seen { provider: Arc::clone(&provider), key: manner.key, chain: Mutex::default() });
    let config = config(provider, Arc::clone(&seen), manner.tls).map_err(|error| Unseen::from(&error))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let chain = seen.taken();
    match connected {
        Ok(stream) => Ok((chain, Some(Parting { stream, protocol }))),
        // The server wants a certificate of ours; its own it has shown and proved.
        Err(error) if !chain.is_empty() && server_gave_up(&error) => Ok((chain, None)),
        Err(error) => Err(error.into()),
    }
}

/// In TLS 1.2 the kind of key also follows from the cipher suite.
fn offering(provider: &Arc<CryptoProvider>, key: Option<KeyFamily>) -> Arc<CryptoProvider> {
    let Some(key) = key else { return Arc::clone(provider) };
    let mut narrowed = CryptoProvider::clone(provider);
    let other = match key {
        KeyFamily::Ecdsa => "ECDHE_RSA_",
        KeyFamily::Rsa => "ECDHE_ECDSA_",
    };
    narrowed.cipher_suites.retain(|suite| !format!("{:?}", suite.suite()).contains(other));
    Arc::new(narrowed)
}

fn config(
    provider: Arc<CryptoProvider>,
    seen: Arc<Seen>,
    tls: Option<TlsVersion>,
) -> Result<ClientConfig, rustls::Error> {
    let versions: &[&'static SupportedProtocolVersion] = match tls {
        Some(TlsVersion::V12) => &[&rustls::version::TLS12],
        Some(TlsVersion::V13) => &[&rustls::version::TLS13],
        None => rustls::DEFAULT_VERSIONS,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(seen)
        .with_no_client_auth();
    // A resumed session shows no certificate.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Ends both layers and reads the rest, as unread bytes (TLS 1.3 tickets) turn a close into a
/// reset that the server would log.
async fn say_goodbye(mut stream: TlsStream<TcpStream>, protocol: Protocol) -> io::Result<()> {
    if let Some((words, answered)) = farewell(protocol) {
        stream.write_all(words).await?;
        stream.flush().await?;
        if answered {
            let _ = stream.read(&mut [0; ANSWER_MAX]).await?;
        }
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

/// A verifier that takes every certificate and remembers it. That the server holds the
/// certificate's key is still demanded: else the sighting would prove nothing.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    key: Option<KeyFamily>,
    chain: Mutex<Chain>,
}

impl Seen {
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

    /// Sent as `signature_algorithms`, by which a server with a certificate of each kind chooses.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        let family = |scheme: &SignatureScheme| {
            let word = format!("{scheme:?}");
            if word.starts_with("RSA") {
                Some(KeyFamily::Rsa)
            } else {
                word.starts_with("ECDSA").then_some(KeyFamily::Ecdsa)
            }
        };
        schemes.retain(|scheme| self.key.is_none() || family(scheme) == self.key);
        schemes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_of_key_is_asked_for_by_suites_and_signatures() {
        let whole = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        for (key, ours, other) in [(KeyFamily::Rsa, "RSA", "ECDSA"), (KeyFamily::Ecdsa, "ECDSA", "RSA")] {
            let provider = offering(&whole, Some(key));
            let suites: Vec<_> = provider.cipher_suites.iter().map(|s| format!("{:?}", s.suite())).collect();
            assert!(suites.iter().all(|suite| !suite.contains(&format!("ECDHE_{other}_"))), "{suites:?}");
            assert!(suites.iter().any(|suite| suite.contains(&format!("ECDHE_{ours}_"))), "{suites:?}");
            assert!(suites.iter().any(|suite| suite.starts_with("TLS13_")), "{suites:?}");
            let seen = Seen { provider, key: Some(key), chain: Mutex::default() };
            let schemes: Vec<_> =
                seen.supported_verify_schemes().iter().map(|scheme| format!("{scheme:?}")).collect();
            assert!(!schemes.is_empty() && schemes.iter().all(|word| word.starts_with(ours)), "{schemes:?}");
        }
        assert_eq!(offering(&whole, None).cipher_suites.len(), whole.cipher_suites.len());
    }
}
