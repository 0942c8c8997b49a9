//! Certificates that are the same in every run: Ed25519 signs without dice.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use nolapse::codec::pem;
use nolapse::core::leaf::mix;
use nolapse::core::name::SubjectName;
use nolapse::core::time::{Interval, Span, Timestamp};

/// A root and an intermediate that signs leaves.
pub struct Mint {
    intermediate: Issuer<'static, KeyPair>,
    intermediate_pem: String,
}

/// What a CSR asks for, its signature checked.
pub struct Wish {
    pub names: Vec<SubjectName>,
    pub key: PublicKey,
}

/// An uncompressed P-256 point.
#[derive(Clone)]
pub struct PublicKey(Vec<u8>);

impl Mint {
    /// Signed once for all worlds; what they issue differs by its serial numbers.
    pub fn shared(epoch: Timestamp) -> Arc<Self> {
        static MINT: OnceLock<Arc<Mint>> = OnceLock::new();
        MINT.get_or_init(|| Arc::new(Self::new(epoch))).clone()
    }

    fn new(epoch: Timestamp) -> Self {
        let validity = Interval::new(epoch - Span::days(365), epoch + Span::days(20 * 365));
        let root_key = ed25519(1);
        let root = Issuer::new(authority("Simulated Root", 1, validity), root_key);
        let params = authority("Simulated Intermediate", 2, validity);
        let key = ed25519(2);
        let certificate = params.signed_by(&key, &root).unwrap();
        let intermediate_pem = pem::encode("CERTIFICATE", certificate.der());
        Self { intermediate: Issuer::new(params, key), intermediate_pem }
    }

    /// Leaf and intermediate in PEM.
    pub fn chain(&self, key: &PublicKey, names: &[SubjectName], validity: Interval, serial: u64) -> String {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = date(validity.start);
        params.not_after = date(validity.end);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(key, &self.intermediate).unwrap();
        pem::encode("CERTIFICATE", leaf.der()) + &self.intermediate_pem
    }
}

impl Wish {
    /// Panics on a CSR that no CA would take: that is a bug of the agent.
    pub fn read(csr: &[u8]) -> Self {
        let (_, csr) = X509CertificationRequest::from_der(csr).expect("the CSR is DER");
        csr.verify_signature().expect("the CSR is signed by its own key");
        let info = &csr.certification_request_info;
        let names = csr
            .requested_extensions()
            .expect("the CSR has extensions")
            .filter_map(|extension| match extension {
                ParsedExtension::SubjectAlternativeName(san) => Some(san),
                _ => None,
            })
            .flat_map(|san| &san.general_names)
            .map(|name| match name {
                GeneralName::DNSName(text) => SubjectName::parse(text).unwrap(),
                other => panic!("the CSR asks for {other:?}"),
            })
            .collect();
        Self { names, key: PublicKey(info.subject_pki.subject_public_key.data.to_vec()) }
    }
}

impl PublicKey {
    /// The key of somebody else.
    pub fn stranger() -> Self {
        // The generator of P-256 is a point on it.
        const G: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                         4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
        let digits: Vec<_> = G.chars().map(|c| c.to_digit(16).unwrap()).collect();
        Self(digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect())
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn authority(name: &str, serial: u64, validity: Interval) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date(validity.start);
    params.not_after = date(validity.end);
    params
}

fn ed25519(seed: u64) -> KeyPair {
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip(0u64..) {
        place.copy_from_slice(&mix(&[seed, word]).to_be_bytes());
    }
    let pair = Ed25519KeyPair::from_seed_unchecked(&bytes).unwrap();
    KeyPair::try_from(pair.to_pkcs8().unwrap().as_ref()).unwrap()
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.secs()).unwrap()
}
