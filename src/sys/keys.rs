//! Private keys: made, read, and put to their uses: a CSR, a placeholder certificate, an answer to
//! a challenge. The only file that names `rcgen`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData,
    RsaKeySize, SanType,
};
use time::OffsetDateTime;
use zeroize::Zeroize;

use crate::codec::digest::sha256;
use crate::codec::key::{self, PublicHalf};
use crate::codec::pem::{self, KeyDer, KeyForm};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::leaf::Fingerprint;
use crate::core::name::SubjectName;
use crate::core::spec::KeyKind;
use crate::core::time::{Interval, Timestamp};

/// The subject and issuer of a placeholder, so that it is recognised wherever it is met.
pub const PLACEHOLDER_ISSUER: &str = "nolapse placeholder";

/// Where new keys come from.
#[derive(Clone)]
pub struct Keys(Source);

#[derive(Clone)]
enum Source {
    Random,
    Pool(Arc<BTreeMap<KeyKind, Shelf>>),
}

struct Shelf {
    keys: Vec<PrivateKey>,
    next: AtomicUsize,
}

impl Keys {
    /// Fresh keys from the system's randomness.
    pub fn random() -> Self {
        Self(Source::Random)
    }

    /// Keys made beforehand, handed out in order and then again from the first: for simulations,
    /// which must run the same way twice and cannot wait for RSA.
    pub fn pool(pems: &[Content]) -> Result<Self, Failure> {
        let mut shelves = BTreeMap::new();
        for pem in pems {
            let key = PrivateKey::from_pem(pem)?;
            let shelf = shelves
                .entry(key.kind())
                .or_insert_with(|| Shelf { keys: Vec::new(), next: AtomicUsize::new(0) });
            shelf.keys.push(key);
        }
        Ok(Self(Source::Pool(Arc::new(shelves))))
    }

    /// A key of this kind. RSA takes up to seconds and is made on a thread of the blocking pool.
    pub async fn make(&self, kind: KeyKind) -> Result<PrivateKey, Failure> {
        match &self.0 {
            Source::Pool(shelves) => {
                let shelf = shelves.get(&kind).filter(|shelf| !shelf.keys.is_empty());
                let shelf = shelf.ok_or_else(|| {
                    Failure::broken("key-pool-empty", format!("the pool has no {} key", kind.word()))
                })?;
                let turn = shelf.next.fetch_add(1, Ordering::Relaxed);
                Ok(shelf.keys[turn % shelf.keys.len()].clone())
            }
            Source::Random => match kind {
                KeyKind::EcdsaP256 | KeyKind::EcdsaP384 => generate(kind),
                KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
                    tokio::task::spawn_blocking(move || generate(kind))
                        .await
                        .map_err(|error| Failure::broken("key-making-failed", error.to_string()))?
                }
            },
        }
    }
}

/// A private key that certificates can be asked for with. Cheap to clone; printing it shows its
/// public half.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    pair: KeyPair,
    key: KeyDer,
    kind: KeyKind,
    fingerprint: Fingerprint,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // rcgen does this only when asked. The library below it clears its own copy.
        self.pair.zeroize();
    }
}

impl PrivateKey {
    /// Reads PKCS#8, SEC1 or PKCS#1. A key of a kind that no public CA takes is refused.
    pub fn from_pem(text: &Content) -> Result<Self, Failure> {
        let key = pem::private_key(text.bytes())
            .map_err(|error| Failure::broken("key-unreadable", error.to_string()))?;
        Self::from_der(key)
    }

    fn from_der(key: KeyDer) -> Result<Self, Failure> {
        let PublicHalf { fingerprint, kind } =
            key::public_half(&key).map_err(|error| Failure::broken("key-unreadable", error.to_string()))?;
        let kind = kind.ok_or_else(|| {
            let kinds: Vec<_> = KeyKind::ALL.iter().map(|kind| kind.word()).collect();
            let words =
                format!("the private key is of a kind that no public CA takes; use {}", kinds.join(", "));
            Failure::refused(Fault::Config, "key-kind", words)
        })?;
        let pair = KeyPair::try_from(key.der.bytes())
            .map_err(|error| Failure::broken("key-unreadable", error.to_string()))?;
        Ok(Self(Arc::new(Inner { pair, key, kind, fingerprint })))
    }

    /// The key in PEM, in the form that it was read in; PKCS#8 if made here.
    pub fn pem(&self) -> Content {
        pem::encode_key(&self.0.key)
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`; equals [`Leaf::key`](crate::core::leaf::Leaf::key).
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// A CSR in DER for these names, all as subject alternative names. The subject is empty: a
    /// common name holds at most 64 characters, and CAs stop taking one.
    pub fn csr(&self, names: &[SubjectName]) -> Result<Vec<u8>, Failure> {
        let mut params = with_names(names)?;
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&self.0.pair).map_err(|error| unable("the CSR", &error))?;
        Ok(csr.der().to_vec())
    }

    /// A self-signed certificate in PEM for these names, with which a server can start before a
    /// CA has answered. Clients don't trust it.
    pub fn placeholder(&self, names: &[SubjectName], validity: Interval) -> Result<String, Failure> {
        let mut params = with_names(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, PLACEHOLDER_ISSUER);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date(validity.start)?;
        params.not_after = date(validity.end)?;
        let certificate =
            params.self_signed(&self.0.pair).map_err(|error| unable("the placeholder", &error))?;
        Ok(pem::encode("CERTIFICATE", certificate.der()))
    }
}

impl PrivateKey {
    /// A self-signed certificate in DER that answers tls-alpn-01: one name, no subject, and the
    /// critical acmeIdentifier with `digest` (RFC 8737 §3).
    pub fn validation(
        &self,
        name: &SubjectName,
        digest: &Fingerprint,
        validity: Interval,
    ) -> Result<Vec<u8>, Failure> {
        let mut params = with_names(std::slice::from_ref(name))?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest.0)];
        params.not_before = date(validity.start)?;
        params.not_after = date(validity.end)?;
        let certificate =
            params.self_signed(&self.0.pair).map_err(|error| unable("the validation certificate", &error))?;
        Ok(certificate.der().to_vec())
    }

    /// The key in DER, in the form that it was read in; PKCS#8 if made here.
    pub fn der(&self) -> &Content {
        &self.0.key.der
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {}", self.0.kind.word(), self.0.fingerprint.short())
    }
}

fn generate(kind: KeyKind) -> Result<PrivateKey, Failure> {
    let made = match kind {
        KeyKind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyKind::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyKind::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
        KeyKind::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
    };
    let pair = made.map_err(|error| unable("a private key", &error))?;
    let key = KeyDer { form: KeyForm::Pkcs8, der: Content::new(pair.serialized_der().to_vec()) };
    let fingerprint = sha256(&pair.subject_public_key_info());
    Ok(PrivateKey(Arc::new(Inner { pair, key, kind, fingerprint })))
}

fn with_names(names: &[SubjectName]) -> Result<CertificateParams, Failure> {
    if names.is_empty() {
        return Err(Failure::broken("no-names", "a certificate was to be asked for without a name"));
    }
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(match name {
            SubjectName::Ip(ip) => SanType::IpAddress(*ip),
            dns => SanType::DnsName(
                Ia5String::try_from(dns.to_string()).map_err(|error| unable("a subject name", &error))?,
            ),
        });
    }
    Ok(params)
}

fn date(at: Timestamp) -> Result<OffsetDateTime, Failure> {
    OffsetDateTime::from_unix_timestamp(at.secs()).map_err(|error| unable("a date", &error))
}

fn unable(what: &str, error: &dyn fmt::Display) -> Failure {
    Failure::broken("key-making-failed", format!("{what} could not be made: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<SubjectName> {
        texts.iter().map(|text| SubjectName::parse(text).unwrap()).collect()
    }

    fn holds(der: &[u8], part: &[u8]) -> bool {
        der.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test]
    async fn a_key_made_reads_back_the_same() {
        for kind in KeyKind::ALL {
            let made = Keys::random().make(kind).await.unwrap();
            let read = PrivateKey::from_pem(&made.pem()).unwrap();
            assert_eq!((read.kind(), read.fingerprint()), (kind, made.fingerprint()));
            assert_eq!(read.pem(), made.pem());
            assert_ne!(
                Keys::random().make(KeyKind::EcdsaP256).await.unwrap().fingerprint(),
                made.fingerprint()
            );
        }
    }

    #[tokio::test]
    async fn a_csr_has_its_names_as_sans_and_an_empty_subject() {
        let key = Keys::random().make(KeyKind::EcdsaP256).await.unwrap();
        let long = format!("{}.example", "a".repeat(63));
        let der = key.csr(&names(&["a.example", "*.b.example", "192.0.2.7", "2001:db8::1", &long])).unwrap();
        // SEQUENCE { SEQUENCE { INTEGER 0, SEQUENCE {} …: version, then a subject without content.
        let version = der.windows(5).position(|window| window == [2, 1, 0, 0x30, 0]);
        assert!(version.is_some_and(|at| at < 12), "{der:02x?}");
        assert!(!holds(&der, &[0x55, 0x04, 0x03]), "it has a common name");
        for part in [
            &b"\x82\x09a.example"[..],
            b"\x82\x0b*.b.example",
            b"\x87\x04\xc0\x00\x02\x07",
            b"\x87\x10\x20\x01\x0d\xb8",
        ] {
            assert!(holds(&der, part), "{part:02x?}");
        }
        assert!(holds(&der, long.as_bytes()));
    }

    #[tokio::test]
    async fn a_csr_without_names_is_our_bug() {
        let key = Keys::random().make(KeyKind::EcdsaP256).await.unwrap();
        assert_eq!(key.csr(&[]).unwrap_err().code, "no-names");
    }

    #[tokio::test]
    async fn a_pool_hands_out_its_keys_in_order_and_again() {
        let mut pems = Vec::new();
        for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP256] {
            pems.push(Keys::random().make(kind).await.unwrap().pem());
        }
        let pool = Keys::pool(&pems).unwrap();
        let mut drawn = Vec::new();
        for _ in 0..3 {
            drawn.push(pool.clone().make(KeyKind::EcdsaP256).await.unwrap().pem());
        }
        assert_eq!(drawn, [pems[0].clone(), pems[2].clone(), pems[0].clone()]);
        assert_eq!(pool.make(KeyKind::Rsa2048).await.unwrap_err().code, "key-pool-empty");
    }

    #[test]
    fn keys_of_other_programs_are_read_or_refused_with_a_reason() {
        for (row, text, expected) in [
            (
                "SEC1, as openssl ecparam writes it",
                include_str!("../../tests/fixtures/keys/sec1.pem"),
                Ok(KeyKind::EcdsaP256),
            ),
            (
                "PKCS#1, as older tools write it",
                include_str!("../../tests/fixtures/keys/pkcs1.pem"),
                Ok(KeyKind::Rsa2048),
            ),
            ("Ed25519", include_str!("../../tests/fixtures/keys/ed25519.pem"), Err("key-kind")),
            ("P-521", include_str!("../../tests/fixtures/keys/p521.pem"), Err("key-kind")),
            (
                "RSA with 1024 bits",
                include_str!("../../tests/fixtures/keys/rsa1024.pem"),
                Err("key-unreadable"),
            ),
            (
                "with a passphrase",
                include_str!("../../tests/fixtures/keys/encrypted.pem"),
                Err("key-unreadable"),
            ),
            ("nothing", "", Err("key-unreadable")),
        ] {
            let read = PrivateKey::from_pem(&Content::new(text.into()));
            let read = read.as_ref().map(PrivateKey::kind).map_err(|failure| failure.code.as_str());
            assert_eq!(read, expected, "{row}");
            if let Ok(key) = PrivateKey::from_pem(&Content::new(text.into())) {
                assert!(key.csr(&names(&["a.example"])).is_ok(), "{row}");
            }
        }
    }
}
