//! Names in DNS, which may hold more than the names of certificates: `_acme-challenge`.

use std::fmt;

use super::name::BadName;

/// A name in lower case without the last dot; the root is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    pub const ROOT: Self = Self(String::new());
    /// Longest name in octets, RFC 1035 §2.3.4 less the root label.
    pub const MAX: usize = 253;
    /// What stands before a name in dns-01 (RFC 8555 §8.4).
    pub const CHALLENGE: &str = "_acme-challenge";

    /// Takes a dot at the end.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self(String::new()));
        }
        if text.len() > Self::MAX {
            return Err(BadName("a DNS name has at most 253 characters"));
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(BadName("a label between dots has 1 to 63 characters"));
            }
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'/');
            if !label.bytes().all(fits) {
                return Err(BadName("only letters, digits, '-', '_', '*' and '/' belong in a DNS name here"));
            }
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Where dns-01 looks for the proof of `base`, a name without its star.
    pub fn challenge_of(base: &str) -> Result<Self, BadName> {
        Self::parse(&format!("{}.{base}", Self::CHALLENGE))
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.').filter(|label| !label.is_empty())
    }

    /// The name one label up; of the root there is none.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.split_once('.').map_or_else(String::new, |(_, rest)| rest.to_owned())))
    }

    /// Whether it is `other` or lies below it.
    pub fn lies_in(&self, other: &Self) -> bool {
        let rest = self.0.strip_suffix(&other.0);
        rest.is_some_and(|rest| rest.is_empty() || other.is_root() || rest.ends_with('.'))
    }

    /// The labels before `zone`, as providers' interfaces want them; `None` outside of it.
    pub fn relative_to(&self, zone: &Self) -> Option<&str> {
        if !self.lies_in(zone) {
            return None;
        }
        self.0.strip_suffix(&zone.0).map(|rest| rest.trim_end_matches('.'))
    }

    /// `_acme-challenge.example.com.`
    pub fn absolute(&self) -> String {
        format!("{}.", self.0)
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn a_name_knows_what_it_lies_in() {
        let shop = name("_ACME-Challenge.shop.example.com.");
        assert_eq!(shop.to_string(), "_acme-challenge.shop.example.com");
        assert!(shop.lies_in(&name("example.com")) && shop.lies_in(&name(".")) && shop.lies_in(&shop));
        assert!(!name("badexample.com").lies_in(&name("example.com")));
        assert_eq!(shop.relative_to(&name("example.com")), Some("_acme-challenge.shop"));
        assert_eq!(name("a.b").relative_to(&name("a.b")), Some(""));
        assert_eq!(name("a.b").relative_to(&name("c")), None);
        assert_eq!(name("a").parent(), Some(name("")));
        assert_eq!(name("").parent(), None);
    }

    #[test]
    fn t10_what_no_zone_of_ours_holds_is_refused() {
        for text in ["a..b", ".a", "a b", "a\0", "a;b", "ä.example", &"a".repeat(64), &"a.".repeat(200)] {
            assert!(DomainName::parse(text).is_err(), "{text:?}");
        }
    }
}
