//! PEM text to DER and back; the only file that names `rustls-pemfile`.
//!
//! That crate is archived (RUSTSEC-2025-0134, 2025-08): no flaw is known, but none would be mended.
//! Its code lives on as `PemObject` in `rustls-pki-types`, which it calls itself. The way out is
//! this one file: replace `blocks` by `(SectionKind, Vec<u8>)::pem_slice_iter`, nothing else knows.
//!
//! The crate reads what it can and steps over the rest, also over a block whose end is missing when
//! another begins. So every `-----BEGIN ` is counted here first, and each must come out as a block.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pemfile::Item;
use zeroize::Zeroize;

use crate::core::failure::plain;
use crate::core::layout::Content;

/// Longest text read, in bytes. A chain of ten RSA-4096 certificates with 100 names each is a
/// third of it.
pub const TEXT_MAX: usize = 256 * 1024;

/// Most certificates in one text.
pub const CERTIFICATES_MAX: usize = 10;

/// Longest label quoted in an error, in characters.
const LABEL_MAX: usize = 40;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// How many of them both begin with.
const DASHES: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    #[error("the PEM text is longer than {} KiB", TEXT_MAX / 1024)]
    TooLong,
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("there are more than {CERTIFICATES_MAX} certificates in it")]
    TooMany,
    /// RFC 8555 §11.4: a CA that sends anything but certificates may be trying to plant a key.
    #[error("it holds a block \"{0}\" where only certificates belong")]
    Unexpected(String),
    #[error("a block is cut off or damaged: {0}")]
    Damaged(String),
    #[error("there is no private key in it")]
    NoKey,
    #[error("there is more than one private key in it")]
    SeveralKeys,
    #[error(
        "the private key is encrypted; nolapse has no passphrase for it, store it unencrypted with mode 0600"
    )]
    EncryptedKey,
}

/// How a private key is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// Any algorithm; RFC 5958.
    Pkcs8,
    /// Elliptic curves; RFC 5915.
    Sec1,
    /// RSA; RFC 8017.
    Pkcs1,
}

impl KeyForm {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pkcs8 => "PRIVATE KEY",
            Self::Sec1 => "EC PRIVATE KEY",
            Self::Pkcs1 => "RSA PRIVATE KEY",
        }
    }
}

/// A private key in DER, as yet unjudged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDer {
    pub form: KeyForm,
    pub der: Content,
}

/// The certificates of a text that may hold nothing else, in order: 1 to [`CERTIFICATES_MAX`].
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if let Some(label) = labels(text).find(|label| *label != b"CERTIFICATE") {
        return Err(PemError::Unexpected(plain(&String::from_utf8_lossy(label), LABEL_MAX)));
    }
    lenient_certificates(text)
}

/// The certificates of a file found in place, which may hold a key or parameters as well.
pub fn lenient_certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if labels(text).filter(|label| *label == b"CERTIFICATE").count() > CERTIFICATES_MAX {
        return Err(PemError::TooMany);
    }
    let mut found = Vec::new();
    for item in blocks(text)? {
        match item {
            Item::X509Certificate(der) => found.push(der.as_ref().to_vec()),
            other => drop(secret(other)),
        }
    }
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The one private key of a text, which may hold certificates or parameters as well.
pub fn private_key(text: &[u8]) -> Result<KeyDer, PemError> {
    // Both the PKCS#8 label and the older `Proc-Type: 4,ENCRYPTED` header say so in clear.
    if text.len() <= TEXT_MAX && contains(text, b"ENCRYPTED") {
        return Err(PemError::EncryptedKey);
    }
    let mut keys = blocks(text)?.into_iter().filter_map(secret);
    let key = keys.next().ok_or(PemError::NoKey)?;
    if keys.next().is_some() { Err(PemError::SeveralKeys) } else { Ok(key) }
}

/// Lines of 64 characters that end with a line feed, as RFC 7468 §2 has them.
pub fn encode(label: &str, der: &[u8]) -> String {
    // Every byte is ASCII: the label is ours and base64 has no other.
    String::from_utf8(armour(label, der)).unwrap_or_default()
}

/// [`encode`] for a key: made in one piece of memory that is overwritten when dropped.
pub fn encode_key(key: &KeyDer) -> Content {
    Content::new(armour(key.form.label(), key.der.bytes()))
}

fn armour(label: &str, der: &[u8]) -> Vec<u8> {
    const LINE: usize = 48;
    let lines = der.len().div_ceil(LINE);
    // The right size at once: growing would leave copies of a key behind.
    let mut text = Vec::with_capacity(2 * label.len() + 32 + lines * 65);
    text.extend_from_slice(BEGIN);
    text.extend_from_slice(label.as_bytes());
    text.extend_from_slice(b"-----\n");
    let mut line = [0; 64];
    for bytes in der.chunks(LINE) {
        let length = STANDARD.encode_slice(bytes, &mut line).unwrap_or(0);
        text.extend_from_slice(&line[..length]);
        text.push(b'\n');
    }
    line.zeroize();
    text.extend_from_slice(END);
    text.extend_from_slice(label.as_bytes());
    text.extend_from_slice(b"-----\n");
    text
}

/// Every block of a kind that the crate knows, whole. Its buffer for base64 is not overwritten
/// when a key goes through it: best effort ends there.
fn blocks(text: &[u8]) -> Result<Vec<Item>, PemError> {
    if text.len() > TEXT_MAX {
        return Err(PemError::TooLong);
    }
    // A damaged BEGIN leaves its END behind.
    if labels(text).count() != places(text, END).count() {
        return Err(PemError::Damaged("the lines -----BEGIN and -----END do not pair up".to_owned()));
    }
    let expected = labels(text).filter(|label| KNOWN.contains(label)).count();
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        match rustls_pemfile::read_one_from_slice(rest) {
            Ok(Some((item, after))) => {
                found.push(item);
                rest = after;
            }
            Ok(None) => break,
            Err(error) => return Err(PemError::Damaged(describe(&error).to_owned())),
        }
    }
    if found.len() == expected {
        Ok(found)
    } else {
        Err(PemError::Damaged("a block begins before the one above it has ended".to_owned()))
    }
}

/// The labels that come out as items.
const KNOWN: [&[u8]; 7] = [
    b"CERTIFICATE",
    b"PRIVATE KEY",
    b"EC PRIVATE KEY",
    b"RSA PRIVATE KEY",
    b"PUBLIC KEY",
    b"X509 CRL",
    b"CERTIFICATE REQUEST",
];

/// What stands after each `-----BEGIN `.
fn labels(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = &text[..text.len().min(TEXT_MAX)];
    places(text, BEGIN).map(move |at| {
        let rest = &text[at + BEGIN.len()..];
        let line = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let end = rest[..line].windows(5).position(|window| window == b"-----").unwrap_or(line);
        &rest[..end]
    })
}

/// Where a marker stands, at the start of a line or not. Markers begin with [`DASHES`] dashes, so
/// one of every so many octets shows whether one may be near.
fn places(text: &[u8], marker: &'static [u8]) -> impl Iterator<Item = usize> {
    let near = (0..text.len()).step_by(DASHES).filter(|at| text[*at] == b'-');
    let starts = near.flat_map(|at| (at + 1).saturating_sub(DASHES)..=at);
    starts.filter(move |at| text[*at..].starts_with(marker))
}

fn secret(item: Item) -> Option<KeyDer> {
    let (form, der) = match item {
        Item::Pkcs8Key(mut key) => {
            let der = Content::new(key.secret_pkcs8_der().to_vec());
            key.zeroize();
            (KeyForm::Pkcs8, der)
        }
        Item::Sec1Key(mut key) => {
            let der = Content::new(key.secret_sec1_der().to_vec());
            key.zeroize();
            (KeyForm::Sec1, der)
        }
        Item::Pkcs1Key(mut key) => {
            let der = Content::new(key.secret_pkcs1_der().to_vec());
            key.zeroize();
            (KeyForm::Pkcs1, der)
        }
        _ => return None,
    };
    Some(KeyDer { form, der })
}

/// The crate's own words quote the text, and the text may be a key.
fn describe(error: &rustls_pemfile::Error) -> &'static str {
    match error {
        rustls_pemfile::Error::MissingSectionEnd { .. } => "the line -----END is missing",
        rustls_pemfile::Error::IllegalSectionStart { .. } => {
            "a line -----BEGIN does not end with five dashes"
        }
        rustls_pemfile::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    let first = word.first();
    text.iter().enumerate().any(|(at, byte)| Some(byte) == first && text[at..].starts_with(word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn block(label: &str, der: &[u8]) -> String {
        encode(label, der)
    }

    #[test]
    fn what_is_written_reads_back_in_order() {
        let text = format!("{}{}", block("CERTIFICATE", b"leaf"), block("CERTIFICATE", &[7; 200]));
        assert_eq!(certificates(text.as_bytes()), Ok(vec![b"leaf".to_vec(), vec![7; 200]]));
        assert!(text.lines().all(|line| line.len() <= 64));
        let windows = text.replace('\n', "\r\n");
        assert_eq!(certificates(windows.as_bytes()).map(|found| found.len()), Ok(2));
    }

    #[test]
    fn a_marker_is_found_wherever_it_stands() {
        for before in 0..12 {
            for text in [
                format!("{}-----BEGIN A-----", "x".repeat(before)),
                format!("{}-----BEGIN B", "-".repeat(before)),
            ] {
                let all: Vec<_> =
                    (0..text.len()).filter(|at| text[*at..].starts_with("-----BEGIN ")).collect();
                assert_eq!(places(text.as_bytes(), BEGIN).collect::<Vec<_>>(), all, "{text}");
            }
        }
        assert!(contains(b"EEENCRYPTED", b"ENCRYPTED") && !contains(b"ENCRYPTE", b"ENCRYPTED"));
    }

    #[test]
    fn a_chain_from_a_ca_holds_certificates_and_nothing_else() {
        let good = block("CERTIFICATE", b"leaf");
        for (row, text, error) in [
            ("an empty answer", String::new(), PemError::NoCertificate),
            ("a web page", "<html>".to_owned(), PemError::NoCertificate),
            (
                "a key planted behind the chain (RFC 8555 §11.4)",
                good.clone() + &block("PRIVATE KEY", b"key"),
                PemError::Unexpected("PRIVATE KEY".to_owned()),
            ),
            (
                "a label nobody knows",
                good.clone() + &block("CERTIFICATE2", b"x"),
                PemError::Unexpected("CERTIFICATE2".to_owned()),
            ),
            (
                "a label that would steer the terminal",
                block("\u{1b}[2J", b"x"),
                PemError::Unexpected("\\u{1b}[2J".to_owned()),
            ),
            ("eleven certificates", good.repeat(11), PemError::TooMany),
            ("a text without end", " ".repeat(TEXT_MAX + 1), PemError::TooLong),
        ] {
            assert_eq!(certificates(text.as_bytes()), Err(error), "{row}");
        }
    }

    #[test]
    fn a_truncated_block_is_an_error_not_silence() {
        let good = block("CERTIFICATE", &[1; 300]);
        let cut = &good[..good.len() / 2];
        for (row, text) in [
            ("cut at the end of the text", format!("{good}{cut}")),
            ("cut, and the next one begins", format!("{cut}\n{good}")),
            ("a BEGIN line that lost a letter", format!("{good}{}", good.replace("BEGIN", "BEGN"))),
            ("no dashes after the label", good.replace("CERTIFICATE-----", "CERTIFICATE")),
            ("not at the start of its line", format!("{good}x{good}")),
            ("a character that is not base64", good.replacen("AQEB", "AQ!B", 1)),
        ] {
            assert!(matches!(certificates(text.as_bytes()), Err(PemError::Damaged(_))), "{row}");
            assert!(matches!(lenient_certificates(text.as_bytes()), Err(PemError::Damaged(_))), "{row}");
        }
    }

    #[test]
    fn files_found_in_place_may_mix() {
        let text = format!(
            "subject=CN = a\n{}{}{}",
            block("EC PARAMETERS", b"curve"),
            block("EC PRIVATE KEY", b"key"),
            block("CERTIFICATE", b"leaf")
        );
        assert_eq!(lenient_certificates(text.as_bytes()), Ok(vec![b"leaf".to_vec()]));
        let key = private_key(text.as_bytes()).unwrap();
        assert_eq!((key.form, key.der.bytes()), (KeyForm::Sec1, b"key".as_slice()));
        assert_eq!(encode_key(&key).bytes(), block("EC PRIVATE KEY", b"key").as_bytes());
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        for (row, text, error) in [
            ("no key", block("CERTIFICATE", b"leaf"), PemError::NoKey),
            ("two keys", block("PRIVATE KEY", b"k").repeat(2), PemError::SeveralKeys),
            ("PKCS#8 with a passphrase", block("ENCRYPTED PRIVATE KEY", b"k"), PemError::EncryptedKey),
            (
                "the older way with a passphrase",
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
                    .to_owned(),
                PemError::EncryptedKey,
            ),
        ] {
            assert_eq!(private_key(text.as_bytes()).map(|_| ()), Err(error), "{row}");
        }
    }

    #[test]
    fn t12_errors_do_not_quote_a_key() {
        let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n";
        let error = private_key(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("c2Vj"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_der_reads_back(der in proptest::collection::vec(proptest::num::u8::ANY, 1..2000)) {
            let text = encode("CERTIFICATE", &der);
            proptest::prop_assert_eq!(certificates(text.as_bytes()), Ok(vec![der]));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = (certificates(&bytes), lenient_certificates(&bytes), private_key(&bytes));
        }

        #[test]
        fn no_damage_adds_a_certificate(at in 0usize..600, byte: u8) {
            let mut text = encode("CERTIFICATE", &[9; 150]).repeat(2).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(found) = certificates(&text) {
                proptest::prop_assert_eq!(found.len(), 2);
            }
        }
    }
}
