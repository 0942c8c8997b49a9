//! Facts read from an end-entity certificate.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::SubjectName;
use super::spec::KeyKind;
use super::text::stored_as_text;
use super::time::{Interval, Span, Timestamp};

/// What a certificate says, without its bytes. Equality of certificates is `fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Leaf {
    /// Subject alternative names, sorted.
    pub names: Vec<SubjectName>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Lower-case hexadecimal without separators.
    pub serial: String,
    /// SHA-256 of the whole certificate.
    pub fingerprint: Fingerprint,
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    pub key: Fingerprint,
    /// `None` for a kind that we don't make.
    pub key_kind: Option<KeyKind>,
    /// The certificate's id for ARI (RFC 9773 §4.1); `None` without an AKI key identifier.
    pub ari_id: Option<String>,
    /// The issuer's common name, or its whole name; made safe for printing.
    pub issuer: String,
    pub self_signed: bool,
}

impl Leaf {
    pub const fn validity(&self) -> Interval {
        Interval::new(self.not_before, self.not_after)
    }

    pub const fn lifetime(&self) -> Span {
        self.not_after.since(self.not_before)
    }

    pub const fn left(&self, now: Timestamp) -> Span {
        self.not_after.since(now)
    }

    pub fn valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    pub fn covers(&self, host: &SubjectName) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }

    pub fn covers_all(&self, names: &[SubjectName]) -> bool {
        names.iter().all(|name| self.covers(name))
    }

    pub fn brief(&self) -> Brief {
        Brief {
            serial: self.serial.clone(),
            fingerprint: self.fingerprint,
            not_before: self.not_before,
            not_after: self.not_after,
            issuer: self.issuer.clone(),
        }
    }
}

/// What people are shown of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    pub serial: String,
    pub fingerprint: Fingerprint,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issuer: String,
}

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The first eight bytes as a number: a seed for choices that must not be drawn twice.
    pub fn seed(&self) -> u64 {
        self.0[..8].iter().fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
    }

    /// `05be…02`: enough to tell two apart in a table.
    pub fn short(&self) -> String {
        format!("{:02x}{:02x}…{:02x}", self.0[0], self.0[1], self.0[31])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A record is full of these: formatting byte by byte took half the time of writing one.
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// What each octet is worth as a hexadecimal digit; 255 where it is none. A record holds seven
/// fingerprints, and a look-up needs no branch.
const HEX_VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

stored_as_text!(Fingerprint, "a fingerprint", |text: &str| Self::try_from(text));

impl TryFrom<&str> for Fingerprint {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        const BAD: &str = "a fingerprint is 64 hexadecimal digits";
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(BAD);
        }
        let mut bytes = [0; 32];
        let mut strange = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
            strange |= high | low;
            *byte = (high << 4) | low;
        }
        if strange > 15 { Err(BAD) } else { Ok(Self(bytes)) }
    }
}

/// Mixes numbers into one seed. Our own few lines (FNV-1a, then a finaliser), as the standard
/// library's hash is not promised to stay the same and a stored choice must.
pub fn mix(parts: &[u64]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in parts.iter().flat_map(|part| part.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// [`mix`] for a text.
pub fn seed_of(text: &str) -> u64 {
    text.bytes().fold(mix(&[text.len() as u64]), |seed, byte| mix(&[seed, u64::from(byte)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_read_back() {
        let fingerprint = Fingerprint(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(Fingerprint::try_from(&*fingerprint.to_string()), Ok(fingerprint));
        let upper = fingerprint.to_string().to_uppercase();
        assert_eq!(Fingerprint::try_from(&*upper), Ok(fingerprint));
        let one_bad = format!("{}/", "0".repeat(63));
        for bad in ["", "zz", &one_bad, &"g".repeat(64), &"é".repeat(32)] {
            assert!(Fingerprint::try_from(bad).is_err());
        }
    }

    #[test]
    fn a_seed_never_changes_between_releases() {
        // Stored renewal points rely on these numbers: they may never change.
        assert_eq!(mix(&[]), mix(&[]));
        assert_ne!(mix(&[1]), mix(&[2]));
        assert_eq!(seed_of("shop.example.com"), seed_of("shop.example.com"));
    }
}
