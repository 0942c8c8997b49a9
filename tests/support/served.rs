//! Looking at certificates with rustls alone, so that no code under test judges itself.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Longest handshake or answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The leaf's DER that a server shows for `name`; `None` where there is no handshake.
pub fn leaf(port: u16, name: &str) -> Option<Vec<u8>> {
    let (connection, _) = connect(port, name)?;
    Some(connection.conn.peer_certificates()?.first()?.to_vec())
}

/// A connection whose handshake is done, and the leaf that was shown.
pub fn connect(port: u16, name: &str) -> Option<(StreamOwned<ClientConnection, TcpStream>, Vec<u8>)> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).ok()?;
    }
    let leaf = connection.peer_certificates()?.first()?.to_vec();
    Some((StreamOwned::new(connection, socket), leaf))
}

/// One request on an open connection that stays open; answers with the status line and headers.
pub fn ask(connection: &mut (impl Read + Write), name: &str) -> std::io::Result<String> {
    write!(connection, "GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")?;
    connection.flush()?;
    let mut answer = Vec::new();
    let mut byte = [0; 1];
    while !answer.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let length = answer
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(str::trim).map(str::to_owned)
        })
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(answer)
}

/// The first certificate of a PEM file, as DER.
pub fn leaf_of(path: &Path) -> Vec<u8> {
    leaf_in(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The first certificate of a PEM text, as DER.
pub fn leaf_in(text: &[u8]) -> Vec<u8> {
    CertificateDer::from_pem_slice(text).unwrap().to_vec()
}

/// What is wrong with a PEM file that holds a key and its chain, if anything.
pub fn unfit_combined(text: &[u8]) -> Option<String> {
    unfit(text, text)
}

/// What is wrong with a chain and its key, if anything.
pub fn unfit(chain: &[u8], key: &[u8]) -> Option<String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        other => return Some(format!("no chain: {other:?}")),
    };
    let key = match PrivateKeyDer::from_pem_slice(key) {
        Ok(key) => key,
        Err(error) => return Some(format!("no key: {error}")),
    };
    match CertifiedKey::from_der(chain, key, &default_provider()).map(|pair| pair.keys_match()) {
        Ok(Ok(())) => None,
        other => Some(format!("the key is not the leaf's: {other:?}")),
    }
}

/// Takes every certificate: what is asked is which one is shown.
#[derive(Debug)]
pub struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
