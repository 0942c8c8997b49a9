//! Certificates in DER to facts; the only file that names `x509-parser`.
//!
//! This reads and compares; it is no path validation. Whether clients trust a chain is what a
//! handshake shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error as ParserError;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::digest::sha256;
use super::key::rsa_kind;
use crate::core::chain::{Member, Weakness};
use crate::core::failure::plain;
use crate::core::leaf::{Fingerprint, Leaf};
use crate::core::name::SubjectName;
use crate::core::spec::KeyKind;
use crate::core::time::{Interval, Timestamp};

/// Longest certificate read, in bytes. The largest in public logs, with hundreds of names, are
/// near 30 KiB.
pub const DER_MAX: usize = 64 * 1024;

/// Longest serial number and key identifier taken, in octets; RFC 5280 §4.1.2.2 allows 20. Both
/// end up in records and on terminals.
const ID_MAX: usize = 64;

/// Most names taken from one certificate. Public CAs stop at 100 to 1,000.
const NAMES_MAX: usize = 2_000;

/// Longest issuer name shown, in characters.
const ISSUER_MAX: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    #[error("a certificate is larger than {} KiB", DER_MAX / 1024)]
    TooLarge,
    #[error("a certificate cannot be read: {0}")]
    Malformed(String),
    #[error("certificate {place} of the chain is not issued by the one after it: the names differ")]
    NotIssuedByNext { place: usize },
    #[error("the signature on certificate {place} of the chain is not by the one after it")]
    BadSignature { place: usize },
    /// Our limit, not the CA's fault.
    #[error("certificate {place} of the chain is signed with {algorithm}, which this build cannot check")]
    UnknownAlgorithm { place: usize, algorithm: String },
    #[error("certificate {place} of the chain is not a CA certificate")]
    NotCa { place: usize },
}

/// The facts of a certificate.
///
/// Only DNS names and addresses count as names; a name that no certificate for TLS should have
/// (an underscore, an inner star) is left out, so it never covers anything.
pub fn leaf(der: &[u8]) -> Result<Leaf, X509Error> {
    let certificate = parse(der)?;
    let serial = certificate.raw_serial();
    if serial.len() > ID_MAX {
        return Err(X509Error::Malformed(format!("its serial number is longer than {ID_MAX} octets")));
    }
    let validity = validity_of(&certificate);
    Ok(Leaf {
        names: names(&certificate)?,
        not_before: validity.start,
        not_after: validity.end,
        serial: hex(without_sign(serial)),
        fingerprint: sha256(der),
        key: sha256(certificate.public_key().raw),
        key_kind: key_kind(certificate.public_key()),
        ari_id: ari_id(&certificate),
        issuer: display_name(certificate.issuer()),
        self_signed: linked(&certificate, &certificate) && signed_by(&certificate, &certificate).is_ok(),
    })
}

/// The facts of certificates that a server sent together, the leaf first, and who signed whom among
/// them. Costs a signature check for each pair whose names fit.
pub fn members(sent: &[&[u8]]) -> Result<Vec<Member>, X509Error> {
    let read = sent.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    let signed =
        |by: &X509Certificate<'_>, it: &X509Certificate<'_>| linked(by, it) && signed_by(by, it).is_ok();
    let signer = |it: &X509Certificate<'_>| read.iter().position(|by| signed(by, it));
    Ok(read
        .iter()
        .map(|it| Member {
            subject: display_name(it.subject()),
            validity: validity_of(it),
            signer: signer(it),
            weakness: weakness(it),
        })
        .collect())
}

/// Whether `issuer` signed `subject` and is named in it. Says nothing of dates or rights.
pub fn vouches(issuer_der: &[u8], subject_der: &[u8]) -> bool {
    match (parse(issuer_der), parse(subject_der)) {
        (Ok(issuer), Ok(subject)) => linked(&issuer, &subject) && signed_by(&issuer, &subject).is_ok(),
        _ => false,
    }
}

/// Checks that each certificate is issued by the one after it, and that all but the first may
/// issue. Places in errors count from 1. A root at the end is welcome, its absence is normal.
pub fn verify_links(chain: &[Vec<u8>]) -> Result<(), X509Error> {
    let certificates = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
    for (index, pair) in certificates.windows(2).enumerate() {
        let ([subject, issuer], place) = (pair, index + 1) else { continue };
        if !linked(issuer, subject) {
            return Err(X509Error::NotIssuedByNext { place });
        }
        signed_by(issuer, subject).map_err(|reason| match reason {
            Unsigned::Wrong => X509Error::BadSignature { place },
            Unsigned::Unknown(algorithm) => X509Error::UnknownAlgorithm { place, algorithm },
        })?;
        // Old roots have no extensions at all; clients look only at their key.
        if !issuer.is_ca() && !linked(issuer, issuer) {
            return Err(X509Error::NotCa { place: place + 1 });
        }
    }
    Ok(())
}

/// SHA-256 of the certificate's `SubjectPublicKeyInfo`.
pub fn spki_fingerprint(der: &[u8]) -> Result<Fingerprint, X509Error> {
    Ok(sha256(parse(der)?.public_key().raw))
}

/// Whether the certificate claims the right to issue others.
pub fn is_ca(der: &[u8]) -> Result<bool, X509Error> {
    Ok(parse(der)?.is_ca())
}

/// From notBefore up to notAfter.
pub fn validity(der: &[u8]) -> Result<Interval, X509Error> {
    Ok(validity_of(&parse(der)?))
}

/// What a CA looks at in a certificate that answers tls-alpn-01 (RFC 8737 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    pub names: Vec<SubjectName>,
    /// Alternative names that are neither DNS names nor addresses, or are given twice.
    pub odd_names: usize,
    /// Whether the extension acmeIdentifier is critical, and its content; `None` unless it is there once.
    pub identifier: Option<(bool, Vec<u8>)>,
    pub self_signed: bool,
}

/// Reads a certificate for [`Answering`].
pub fn answering(der: &[u8]) -> Result<Answering, X509Error> {
    let certificate = parse(der)?;
    let names = names(&certificate)?;
    let listed = certificate.subject_alternative_name().ok().flatten();
    let listed = listed.map_or(0, |extension| extension.value.general_names.len());
    let mut identifiers =
        certificate.extensions().iter().filter(|extension| extension.oid.to_id_string() == ACME_IDENTIFIER);
    let identifier = match (identifiers.next(), identifiers.next()) {
        (Some(only), None) => Some((only.critical, only.value.to_vec())),
        _ => None,
    };
    Ok(Answering {
        odd_names: listed.saturating_sub(names.len()),
        names,
        identifier,
        self_signed: linked(&certificate, &certificate) && signed_by(&certificate, &certificate).is_ok(),
    })
}

/// id-pe-acmeIdentifier, RFC 8737 §3.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, X509Error> {
    if der.len() > DER_MAX {
        return Err(X509Error::TooLarge);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(X509Error::Malformed("bytes follow after its end".to_owned())),
        Err(error) => Err(X509Error::Malformed(plain(&error.to_string(), ISSUER_MAX))),
    }
}

fn validity_of(certificate: &X509Certificate<'_>) -> Interval {
    let validity = certificate.validity();
    Interval::new(
        Timestamp::from_secs(validity.not_before.timestamp()),
        Timestamp::from_secs(validity.not_after.timestamp()),
    )
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<SubjectName>, X509Error> {
    let unreadable = |error: ParserError| X509Error::Malformed(plain(&error.to_string(), ISSUER_MAX));
    let Some(extension) = certificate.subject_alternative_name().map_err(unreadable)? else {
        return Ok(Vec::new());
    };
    let general = &extension.value.general_names;
    if general.len() > NAMES_MAX {
        return Err(X509Error::Malformed(format!("it has more than {NAMES_MAX} names")));
    }
    let mut names: Vec<_> = general.iter().filter_map(subject_name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn subject_name(name: &GeneralName<'_>) -> Option<SubjectName> {
    match name {
        // An address written as a DNS name counts for nothing with clients.
        GeneralName::DNSName(text) => SubjectName::parse(text).ok().filter(|name| name.base().is_some()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
            let v6 = || <[u8; 16]>::try_from(*octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
            v4.or_else(|_| v6()).ok().map(SubjectName::Ip)
        }
        _ => None,
    }
}

fn key_kind(spki: &SubjectPublicKeyInfo<'_>) -> Option<KeyKind> {
    match spki.parsed().ok()? {
        PublicKey::RSA(rsa) => rsa_kind(without_sign(rsa.modulus).len().checked_mul(8)?),
        PublicKey::EC(_) => match curve(spki)?.as_str() {
            P256 => Some(KeyKind::EcdsaP256),
            P384 => Some(KeyKind::EcdsaP384),
            _ => None,
        },
        _ => None,
    }
}

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

fn curve(spki: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    Some(spki.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string())
}

/// Least length of an RSA modulus that clients take, in bits.
const RSA_LEAST: usize = 2048;
/// Signature algorithms with a broken hash.
const BROKEN_HASHES: [(&str, &str); 5] = [
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
];

fn weakness(certificate: &X509Certificate<'_>) -> Option<Weakness> {
    if let Ok(PublicKey::RSA(rsa)) = certificate.public_key().parsed() {
        let bits = without_sign(rsa.modulus).len().saturating_mul(8);
        if bits < RSA_LEAST {
            return Some(Weakness::ShortRsa(bits));
        }
    }
    // Nobody checks what a root says of itself: clients know its key.
    if linked(certificate, certificate) {
        return None;
    }
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    let (_, hash) = BROKEN_HASHES.iter().find(|(id, _)| *id == algorithm)?;
    Some(Weakness::Signature(hash))
}

/// RFC 9773 §4.1: the authority key identifier and the serial number's octets, as they stand in
/// the certificate, each in base64url, with a dot between.
fn ari_id(certificate: &X509Certificate<'_>) -> Option<String> {
    let extension = certificate.get_extension_unique(&OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER).ok()??;
    let ParsedExtension::AuthorityKeyIdentifier(authority) = extension.parsed_extension() else {
        return None;
    };
    let id = authority.key_identifier.as_ref()?.0;
    let fits = (1..=ID_MAX).contains(&id.len());
    fits.then(|| {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(id), URL_SAFE_NO_PAD.encode(certificate.raw_serial()))
    })
}

fn display_name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().find_map(|attribute| attribute.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), ToOwned::to_owned);
    plain(&text, ISSUER_MAX)
}

fn linked(issuer: &X509Certificate<'_>, subject: &X509Certificate<'_>) -> bool {
    // Octet by octet: RFC 5280 §7.1 would forgive case, clients mostly don't.
    issuer.subject().as_raw() == subject.issuer().as_raw()
}

/// Why a certificate does not count as signed by another.
enum Unsigned {
    Wrong,
    Unknown(String),
}

fn signed_by(issuer: &X509Certificate<'_>, subject: &X509Certificate<'_>) -> Result<(), Unsigned> {
    // RFC 5280 §4.1.1.2: both places must name the same algorithm.
    if subject.signature_algorithm != subject.signature {
        return Err(Unsigned::Wrong);
    }
    match subject.verify_signature(Some(issuer.public_key())) {
        Ok(()) => Ok(()),
        Err(ParserError::SignatureUnsupportedAlgorithm) => signed_by_larger_curve(issuer, subject),
        Err(_) => Err(Unsigned::Wrong),
    }
}

/// What the parser's own list leaves out and private CAs do use: P-521, and SHA-512 with ECDSA.
fn signed_by_larger_curve(
    issuer: &X509Certificate<'_>,
    subject: &X509Certificate<'_>,
) -> Result<(), Unsigned> {
    let signature = subject.signature_algorithm.algorithm.to_id_string();
    let key = issuer.public_key();
    let algorithm: &dyn VerificationAlgorithm = match (signature.as_str(), curve(key).as_deref()) {
        ("1.2.840.10045.4.3.4", Some(P256)) => &ECDSA_P256_SHA512_ASN1,
        ("1.2.840.10045.4.3.4", Some(P384)) => &ECDSA_P384_SHA512_ASN1,
        ("1.2.840.10045.4.3.4", Some(P521)) => &ECDSA_P521_SHA512_ASN1,
        ("1.2.840.10045.4.3.3", Some(P521)) => &ECDSA_P521_SHA384_ASN1,
        ("1.2.840.10045.4.3.2", Some(P521)) => &ECDSA_P521_SHA256_ASN1,
        _ => return Err(Unsigned::Unknown(plain(&signature, ID_MAX))),
    };
    UnparsedPublicKey::new(algorithm, &key.subject_public_key.data)
        .verify(subject.tbs_certificate.as_ref(), &subject.signature_value.data)
        .map_err(|_| Unsigned::Wrong)
}

/// DER puts a zero octet before a positive number whose first bit is set.
fn without_sign(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        _ => number,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::codec::pem;

    const EXAMPLE: &str = include_str!("../../tests/fixtures/rfc9773-a.pem");
    const P256: &str = include_str!("../../tests/fixtures/chains/p256.pem");

    fn chain(text: &str) -> Vec<Vec<u8>> {
        pem::certificates(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_certificate_of_rfc_9773_appendix_a() {
        let leaf = leaf(&chain(EXAMPLE)[0]).unwrap();
        assert_eq!(leaf.ari_id.as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert_eq!(leaf.serial, "87654321");
        assert_eq!(leaf.issuer, "Example CA");
        assert_eq!((leaf.names.len(), leaf.self_signed), (0, false));
        assert_eq!(leaf.not_after.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn the_facts_of_an_ordinary_leaf() {
        let chain = chain(P256);
        let leaf = leaf(&chain[0]).unwrap();
        let names: Vec<_> = leaf.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.example", "*.a.example", "192.0.2.7"], "no CA of ours may issue an underscore");
        assert_eq!(leaf.key_kind, Some(KeyKind::EcdsaP256));
        assert_eq!(leaf.issuer, "Root p256");
        assert_eq!(leaf.lifetime(), crate::core::time::Span::days(36_500));
        assert_eq!(leaf.key, spki_fingerprint(&chain[0]).unwrap());
        assert_eq!((is_ca(&chain[0]), is_ca(&chain[1])), (Ok(false), Ok(true)));
        let root = super::leaf(&chain[1]).unwrap();
        assert!(root.self_signed && !leaf.self_signed);
    }

    #[test]
    fn chains_of_every_algorithm_in_use_verify() {
        for (algorithm, text) in [
            ("p256", P256),
            ("p256-sha512", include_str!("../../tests/fixtures/chains/p256-sha512.pem")),
            ("p384", include_str!("../../tests/fixtures/chains/p384.pem")),
            ("p521", include_str!("../../tests/fixtures/chains/p521.pem")),
            ("rsa", include_str!("../../tests/fixtures/chains/rsa.pem")),
            ("rsa-pss", include_str!("../../tests/fixtures/chains/rsa-pss.pem")),
            ("ed25519", include_str!("../../tests/fixtures/chains/ed25519.pem")),
        ] {
            let chain = chain(text);
            assert_eq!(verify_links(&chain), Ok(()), "{algorithm}");
            assert!(vouches(&chain[1], &chain[0]) && vouches(&chain[1], &chain[1]), "{algorithm}");
            assert!(!vouches(&chain[0], &chain[1]), "{algorithm}");
        }
    }

    #[test]
    fn an_algorithm_that_cannot_be_checked_is_named() {
        let chain = chain(include_str!("../../tests/fixtures/chains/ed448.pem"));
        let algorithm = "1.3.101.113".to_owned();
        assert_eq!(verify_links(&chain), Err(X509Error::UnknownAlgorithm { place: 1, algorithm }));
    }

    #[test]
    fn f53_broken_chains_say_which_link() {
        let ours = chain(P256);
        let theirs = chain(include_str!("../../tests/fixtures/chains/p384.pem"));
        let mut forged = ours[0].clone();
        *forged.last_mut().unwrap() ^= 1;
        for (row, chain, error) in [
            (
                "issued by somebody else",
                vec![ours[0].clone(), theirs[1].clone()],
                X509Error::NotIssuedByNext { place: 1 },
            ),
            (
                "a stranger behind the root",
                vec![ours[0].clone(), ours[1].clone(), theirs[1].clone()],
                X509Error::NotIssuedByNext { place: 2 },
            ),
            (
                "the root first",
                vec![ours[1].clone(), ours[0].clone()],
                X509Error::NotIssuedByNext { place: 1 },
            ),
            ("a forged signature", vec![forged, ours[1].clone()], X509Error::BadSignature { place: 1 }),
        ] {
            assert_eq!(verify_links(&chain), Err(error), "{row}");
        }
        assert_eq!(verify_links(&ours[..1]), Ok(()), "a leaf alone");
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(leaf(&vec![0x30; DER_MAX + 1]), Err(X509Error::TooLarge));
        let mut long = chain(P256)[0].clone();
        long.push(0);
        assert!(matches!(leaf(&long), Err(X509Error::Malformed(_))));
    }

    #[test]
    fn every_truncation_of_a_certificate_is_an_error() {
        let der = &chain(P256)[0];
        for length in 0..der.len() {
            assert!(leaf(&der[..length]).is_err(), "{length} bytes were taken");
        }
    }

    #[test]
    fn no_flipped_bit_panics_or_passes_for_the_certificate() {
        let chain = chain(P256);
        let whole = leaf(&chain[0]).unwrap();
        for at in 0..chain[0].len() * 8 {
            let mut der = chain[0].clone();
            der[at / 8] ^= 1 << (at % 8);
            assert_ne!(leaf(&der).ok(), Some(whole.clone()), "bit {at}");
            // A signature covers what is signed; the wrapping around it has bits to spare.
            let signed = |der| parse(der).map(|certificate| certificate.tbs_certificate.as_ref().to_vec());
            assert!(!vouches(&chain[1], &der) || signed(&der) == signed(&chain[0]), "bit {at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = (leaf(&bytes), vouches(&bytes, &bytes), verify_links(&[bytes.clone(), bytes.clone()]));
        }

        #[test]
        fn no_splice_of_a_certificate_panics(
            at in 0usize..2000, cut in 0usize..40, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)
        ) {
            let mut der = chain(P256)[0].clone();
            let at = at % der.len();
            der.splice(at..(at + cut).min(der.len()), bytes);
            let _ = (leaf(&der), vouches(&der, &der));
        }
    }
}
