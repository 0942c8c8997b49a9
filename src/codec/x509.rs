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
mod tests {
    use super::*;
}
