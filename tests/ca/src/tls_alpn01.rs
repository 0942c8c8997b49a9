//! tls-alpn-01 validation (RFC 8737 §3, RFC 8738 §6): a handshake with a protocol of its own, and a certificate
//! that may hold nothing but the proof. As strict as Let's Encrypt's Boulder.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;

use crate::authority::Authority;
use crate::challenge::Subject;
use crate::identifier::Identifier;
use crate::problem::Problem;

const ALPN: &[u8] = b"acme-tls/1";
const SUBJECT_ALTERNATIVE_NAME: &str = "2.5.29.17";
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

pub(crate) async fn validate(ca: &Authority, subject: &Subject) -> Result<(), Problem> {
    let limit = ca.config.validation_timeout;
    match tokio::time::timeout(limit, handshake(ca, subject)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(broken(format!("{}: no handshake within {limit:?}", subject.identifier))),
    }
}

async fn handshake(ca: &Authority, subject: &Subject) -> Result<(), Problem> {
    let identifier = &subject.identifier;
    let (address, port) = {
        let state = ca.state();
        (state.resolver.lookup(&identifier.to_string())?, state.tls_port)
    };
    let asked = server_name(identifier);
    let name =
        ServerName::try_from(asked.clone()).map_err(|_| broken(format!("{asked} can not be asked for")))?;
    let stream = TcpStream::connect((address, port))
        .await
        .map_err(|error| broken(format!("{identifier}: {error}")))?;
    let connected = TlsConnector::from(Arc::new(config()?)).connect(name, stream).await;
    let stream = connected.map_err(|error| tls(format!("{identifier}: {error}")))?;
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Problem::unauthorized(format!(
            "{identifier}: the protocol acme-tls/1 was not negotiated"
        )));
    }
    let leaf = session.peer_certificates().and_then(|sent| sent.first());
    let leaf =
        leaf.ok_or_else(|| Problem::unauthorized(format!("{identifier}: no certificate was shown")))?;
    judge(leaf, identifier, &subject.key_authorization).map_err(|why| {
        Problem::unauthorized(format!("{identifier}: incorrect validation certificate: {why}"))
    })
}

/// What is in the handshake: an address goes by its name in reverse DNS.
fn server_name(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.clone(),
        Identifier::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.fold(String::new(), |mut name, nibble| {
                let _ = write!(name, "{nibble:x}.");
                name
            }) + "ip6.arpa"
        }
    }
}

fn judge(der: &[u8], identifier: &Identifier, key_authorization: &str) -> Result<(), String> {
    let (rest, leaf) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("octets follow after its end".to_owned());
    }
    if leaf.subject().as_raw() != leaf.issuer().as_raw() || leaf.verify_signature(None).is_err() {
        return Err("it is not self-signed".to_owned());
    }
    let names = only(&leaf, SUBJECT_ALTERNATIVE_NAME)?;
    if names.value != alternative_name(identifier) {
        return Err(format!("its alternative names are not {identifier} alone"));
    }
    let proof = only(&leaf, ACME_IDENTIFIER)?;
    if !proof.critical {
        return Err("acmeIdentifier is not critical".to_owned());
    }
    let expected = digest(&SHA256, key_authorization.as_bytes());
    // An OCTET STRING of 32 octets, in DER.
    if proof.value != [&[0x04, 0x20], expected.as_ref()].concat() {
        return Err("acmeIdentifier is not the digest of the key authorization".to_owned());
    }
    Ok(())
}

/// The extension with this identifier, which must be there exactly once.
fn only<'a, 'b>(
    leaf: &'a X509Certificate<'b>,
    oid: &str,
) -> Result<&'a x509_parser::extensions::X509Extension<'b>, String> {
    let mut found = leaf.extensions().iter().filter(|extension| extension.oid.to_id_string() == oid);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(format!("extension {oid} is missing")),
        _ => Err(format!("extension {oid} is there twice")),
    }
}

/// `SEQUENCE { [2] name }` or `SEQUENCE { [7] octets }`, in DER: the one value that is taken.
fn alternative_name(identifier: &Identifier) -> Vec<u8> {
    let (tag, content) = match identifier {
        Identifier::Dns(name) => (0x82, name.clone().into_bytes()),
        Identifier::Ip(IpAddr::V4(address)) => (0x87, address.octets().to_vec()),
        Identifier::Ip(IpAddr::V6(address)) => (0x87, address.octets().to_vec()),
    };
    tagged(0x30, &tagged(tag, &content))
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    // A name has 253 octets at most, so one octet of length, or the mark of one and that one, do.
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [&head, content].concat()
}

fn config() -> Result<ClientConfig, Problem> {
    let provider = Arc::new(provider::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        // TLS 1.2 and 1.3, as RFC 8737 §3 demands.
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::new("serverInternal", 500, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Applicant(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Takes any certificate, as long as whoever shows it holds its key.
#[derive(Debug)]
struct Applicant(Arc<CryptoProvider>);

impl Applicant {
    /// By the bare key: what reads certificates for clients refuses the critical extension.
    fn verify(
        &self,
        message: &[u8],
        leaf: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let refused = |error: rustls::CertificateError| rustls::Error::InvalidCertificate(error);
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| refused(rustls::CertificateError::BadEncoding))?;
        let key = leaf.public_key().subject_public_key.data.as_ref();
        let known = self.0.signature_verification_algorithms.mapping;
        let fitting = known.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let mut algorithms = fitting.flat_map(|(_, algorithms)| algorithms.iter());
        if algorithms.any(|algorithm| algorithm.verify_signature(key, message, signed.signature()).is_ok()) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(refused(rustls::CertificateError::BadSignature))
    }
}

impl ServerCertVerifier for Applicant {
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
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn broken(detail: String) -> Problem {
    Problem::new("connection", 400, detail)
}

fn tls(detail: String) -> Problem {
    Problem::new("tls", 400, detail)
}
