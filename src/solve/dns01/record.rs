//! The one record that proves a name, and how a receipt tells of it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::codec::digest::sha256;
use crate::codec::dns::DomainName;
use crate::core::failure::Failure;

/// A text at a name. Not a secret: the whole world may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRecord {
    /// Where aliases lead to.
    pub name: DomainName,
    pub value: String,
    /// The zone it lies in, where that was found.
    pub zone: Option<DomainName>,
}

impl ProofRecord {
    /// Reads what a receipt says.
    ///
    /// Code: `receipt-damaged`.
    pub fn parse(place: &str) -> Result<Self, Failure> {
        let damaged = || {
            let words =
                format!("the receipt's place {place} is no record; take it away by hand, if it is there");
            Failure::broken("receipt-damaged", words)
        };
        let words: Vec<_> = place.split(' ').collect();
        let (name, value, zone) = match words[..] {
            [name, "TXT", value] => (name, value, None),
            [name, "TXT", value, "in", zone] => (name, value, Some(zone)),
            _ => return Err(damaged()),
        };
        let name = DomainName::parse(name).map_err(|_| damaged())?;
        let zone = zone.map(DomainName::parse).transpose().map_err(|_| damaged())?;
        let is_value = !value.is_empty() && value.len() <= 255 && value.bytes().all(|b| b.is_ascii_graphic());
        if name.is_root() || !is_value {
            return Err(damaged());
        }
        Ok(Self { name, value: value.to_owned(), zone })
    }
}

impl fmt::Display for ProofRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TXT {}", self.name.absolute(), self.value)?;
        match &self.zone {
            Some(zone) => write!(f, " in {}", zone.absolute()),
            None => Ok(()),
        }
    }
}

/// RFC 8555 §8.4: base64url of SHA-256 of the key authorization.
pub fn value_of(key_authorization: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(key_authorization.as_bytes()).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_the_digest_of_the_key_authorization() {
        // The key authorization of RFC 8555 §8.1 with the digest as `openssl dgst -sha256` gives it.
        let authorization =
            "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ";
        assert_eq!(value_of(authorization), VECTOR);
    }

    const VECTOR: &str = "NGwKoXBgCT8JhEa0bK7AwfSqHyu_ZWeugV07fLGIVq0";

    #[test]
    fn a_receipt_leads_back_to_its_record() {
        let name = |text| DomainName::parse(text).unwrap();
        for zone in [None, Some(name("example.com"))] {
            let record =
                ProofRecord { name: name("_acme-challenge.a.example.com"), value: "v-_1".into(), zone };
            assert_eq!(ProofRecord::parse(&record.to_string()).unwrap(), record);
        }
        for place in ["", "a TXT", "a. TXT v in", "a. A v", ". TXT v", "a. TXT v in b. c", "a. TXT \u{7}"] {
            assert_eq!(ProofRecord::parse(place).unwrap_err().code, "receipt-damaged", "{place:?}");
        }
    }
}
