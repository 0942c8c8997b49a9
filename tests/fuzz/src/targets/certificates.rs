//! Certificates and keys.

use nolapse::codec::{bundle, key, pem, x509};
use nolapse::core::name::SubjectName;

use super::safe;

pub const PEM_WORDS: &[&str] = &[
    "-----BEGIN CERTIFICATE-----",
    "-----END CERTIFICATE-----\n",
    "-----BEGIN PRIVATE KEY-----",
    "ENCRYPTED",
    "===",
    "MIIB",
];

/// What is read strictly is read leniently too, and reads back once it is written.
pub fn pem(input: &[u8]) -> String {
    let strict = pem::certificates(input);
    let lenient = pem::lenient_certificates(input);
    if let Ok(chain) = &strict {
        assert_eq!(lenient.as_ref().ok(), Some(chain), "what is taken strictly is taken leniently");
        assert!((1..=pem::CERTIFICATES_MAX).contains(&chain.len()));
        let again: String = chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        assert_eq!(pem::certificates(again.as_bytes()).as_ref(), Ok(chain), "written and read again");
    }
    let key = pem::private_key(input);
    if let Ok(key) = &key {
        let again = pem::private_key(pem::encode_key(key).bytes());
        assert!(again.is_ok_and(|again| again == *key), "a key written and read again");
        let _ = key::public_half(key);
    }
    for error in [strict.as_ref().err(), lenient.as_ref().err(), key.as_ref().err()].into_iter().flatten() {
        safe(&error.to_string(), 500);
    }
    let kind = |error: Option<&pem::PemError>| {
        error.map(|error| error.to_string().chars().take(24).collect::<String>())
    };
    format!(
        "{:?} {:?} {:?}",
        kind(strict.as_ref().err()),
        kind(lenient.as_ref().err()),
        kind(key.as_ref().err())
    )
}

pub const CHAIN_WORDS: &[&str] = &["\u{30}\u{2}", "\u{6}\u{3}\u{55}\u{1d}\u{11}"];

/// One certificate or several: every reader of one agrees with the others.
pub fn chain(input: &[u8]) -> String {
    // Several certificates follow each other where the input says so.
    let members: Vec<Vec<u8>> = split_der(input);
    let first = members.first().map_or(&[][..], Vec::as_slice);
    let leaf = x509::leaf(first);
    assert_eq!(x509::leaf(first), leaf);
    let links = x509::verify_links(&members);
    let authority = x509::is_ca(first);
    let validity = x509::validity(first);
    if let Ok(leaf) = &leaf {
        assert_eq!(validity.as_ref().ok(), Some(&leaf.validity()));
        assert_eq!(x509::spki_fingerprint(first).ok(), Some(leaf.key));
        safe(&leaf.serial, 200);
        for name in &leaf.names {
            assert_eq!(SubjectName::parse(&name.to_string()).as_ref(), Ok(name));
        }
        if let Some(id) = &leaf.ari_id {
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{id}");
        }
        let text = pem::encode("CERTIFICATE", first);
        assert_eq!(bundle::leaf_of(text.as_bytes()).ok().as_ref(), Some(leaf));
    }
    for error in [leaf.as_ref().err(), links.as_ref().err(), authority.as_ref().err()].into_iter().flatten() {
        safe(&error.to_string(), 500);
    }
    let words = |text: String| text.chars().take(20).collect::<String>();
    format!(
        "{:?} {:?} {}",
        leaf.as_ref().err().map(|e| words(e.to_string())),
        links.err().map(|e| words(e.to_string())),
        members.len().min(4)
    )
}

/// Outer sequences with two octets of length, as every real certificate is; the rest is one piece.
fn split_der(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    while let [0x30, 0x82, high, low, ..] = *input
        && members.len() < 8
    {
        let length = 4 + usize::from(high) * 256 + usize::from(low);
        let (member, rest) = input.split_at(length.min(input.len()));
        members.push(member.to_vec());
        input = rest;
    }
    if !input.is_empty() {
        members.push(input.to_vec());
    }
    members
}
