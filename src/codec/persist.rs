//! The text of dns-persist-01 (draft-ietf-acme-dns-persist): a lasting word of the domain's owner that one
//! account at one CA may prove the name, in the shape of a CAA value (RFC 8659 §4.2).
//!
//! Drafts 00 and 01 name the account by its URL, draft 02 by a digest; [`hashed_accounts`] makes that.

use std::fmt::{self, Write as _};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::digest::sha256;
use crate::core::domain_name::DomainName;
use crate::core::order::PersistTerms;
use crate::core::time::Timestamp;

/// What stands before the name that is proved.
pub const LABEL: &str = "_validation-persist";
/// Most names of one CA in a challenge; a client must refuse more (draft 02 §4).
pub const ISSUERS_MAX: usize = 10;
/// Longest name of an account taken, in octets.
const ACCOUNT_MAX: usize = 1024;
/// Octets of one string inside a TXT record (RFC 1035 §3.3.14).
const STRING_MAX: usize = 255;
/// Longest text looked at, in octets.
const TEXT_MAX: usize = 4096;

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistRecord {
    pub issuer: String,
    pub account: String,
    /// It holds for `*.NAME`, too.
    pub wildcard: bool,
    pub until: Option<Timestamp>,
}

/// Why a text is none of ours. Holds nothing of a stranger's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub &'static str);

impl PersistRecord {
    /// Reads strictly, as CAs do: what one of them would refuse is refused here.
    pub fn parse(text: &[u8]) -> Result<Self, BadRecord> {
        if text.len() > TEXT_MAX {
            return Err(BadRecord("it is too long"));
        }
        let text = std::str::from_utf8(text).map_err(|_| BadRecord("it is no ASCII text"))?;
        let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
        let issuer = issuer_name(parts.next().unwrap_or_default())
            .ok_or(BadRecord("it does not begin with the domain name of a CA"))?;
        let (mut account, mut policy, mut until) = (None, None, None);
        for part in parts {
            let (tag, value) = part.split_once('=').ok_or(BadRecord("a part between its `;` has no `=`"))?;
            let (tag, value) = (tag.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
            if tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(BadRecord(
                    "the name of a parameter has other characters than letters, digits and `-`",
                ));
            }
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(BadRecord("a parameter is empty, or holds a space"));
            }
            let place = match tag.to_ascii_lowercase().as_str() {
                "accounturi" => &mut account,
                "policy" => &mut policy,
                "persistuntil" => &mut until,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(BadRecord("a parameter stands there twice"));
            }
        }
        let until = match until {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                let seconds = digits.parse::<i64>().map_err(|_| BadRecord("its persistUntil is no time"))?;
                // The last second there is: what is written again has no parts of one.
                Some(Timestamp::from_secs(seconds.min(Timestamp::MAX.secs())))
            }
            Some(_) => return Err(BadRecord("its persistUntil is no number of seconds")),
            None => None,
        };
        Ok(Self {
            issuer,
            account: account.ok_or(BadRecord("it names no account (accounturi)"))?.to_owned(),
            wildcard: policy.is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")),
            until,
        })
    }

    /// What it is worth for a name, at a time.
    pub fn judge(&self, terms: &PersistTerms, wildcard: bool, now: Timestamp) -> Worth {
        if !terms.issuers.iter().any(|issuer| issuer_name(issuer).as_ref() == Some(&self.issuer)) {
            return Worth::OtherIssuer;
        }
        // Simple String Comparison (RFC 3986 §6.2.1): nothing is put right.
        if !terms.accounts.contains(&self.account) {
            return Worth::OtherAccount;
        }
        if self.until.is_some_and(|until| until <= now) {
            return Worth::Ended;
        }
        if wildcard && !self.wildcard { Worth::NoWildcard } else { Worth::Good }
    }

    /// As a zone file has it: strings of at most 255 octets, all of one record.
    pub fn zone_line(&self, name: &DomainName) -> String {
        let text = self.to_string();
        let mut line = format!("{} IN TXT", name.absolute());
        // Nothing in it needs an escape: no quote, no backslash, see `is_account`.
        for part in text.as_bytes().chunks(STRING_MAX) {
            let _ = write!(line, " \"{}\"", String::from_utf8_lossy(part));
        }
        line
    }
}

impl fmt::Display for PersistRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; accounturi={}", self.issuer, self.account)?;
        if self.wildcard {
            f.write_str("; policy=wildcard")?;
        }
        match self.until {
            Some(until) => write!(f, "; persistUntil={}", until.secs()),
            None => Ok(()),
        }
    }
}

/// What one text is worth, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    OtherIssuer,
    OtherAccount,
    Ended,
    NoWildcard,
    Good,
}

/// Where the text for `base` stands, a name without its star.
pub fn place_of(base: &str) -> Option<DomainName> {
    DomainName::parse(&format!("{LABEL}.{base}")).ok()
}

/// Draft 02: what stands for the account in the text at `domain`, and what stands for it anywhere.
/// `thumbprint` is that of RFC 7638 in base64url.
pub fn hashed_accounts(prefix: &str, domain: &str, thumbprint: &str, account: &str) -> Vec<String> {
    [domain, "*"]
        .into_iter()
        .filter_map(|scope| {
            // A domain has at most 253 octets.
            let length = u8::try_from(scope.len()).ok()?;
            let hashed = [&[length], scope.as_bytes(), thumbprint.as_bytes(), account.as_bytes()].concat();
            Some(format!("{prefix}sha-256/{}", URL_SAFE_NO_PAD.encode(sha256(&hashed).0)))
        })
        .collect()
}

/// Whether it can stand in a text unharmed.
pub fn is_account(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b';' | b'"' | b'\\');
    !text.is_empty() && text.len() <= ACCOUNT_MAX && text.bytes().all(fits)
}

/// Lower case, without a dot at the end; `None` for what is no name of a host.
pub fn issuer_name(text: &str) -> Option<String> {
    let name = DomainName::parse(text).ok().filter(|name| !name.is_root())?;
    let is_host = name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    is_host.then(|| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://ca.example/acct/123";

    fn terms() -> PersistTerms {
        PersistTerms { issuers: vec!["ca.example".into(), "CA2.example.".into()], accounts: vec![URL.into()] }
    }

    #[test]
    fn digests_of_draft_02() {
        let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(
            hashed_accounts("https://ca.example/h/", "example.com", thumbprint, URL),
            [
                "https://ca.example/h/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw",
                "https://ca.example/h/sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug",
            ]
        );
    }

    #[test]
    fn what_a_text_is_worth() {
        let now = Timestamp::from_secs(1_800_000_000);
        for (text, star, worth) in [
            ("ca.example; accounturi=https://ca.example/acct/123", false, Worth::Good),
            ("CA.Example. ;\taccounturi = https://ca.example/acct/123;unknown=1", false, Worth::Good),
            ("ca2.example;ACCOUNTURI=https://ca.example/acct/123;policy=Wildcard", true, Worth::Good),
            ("ca.example; accounturi=https://ca.example/acct/123", true, Worth::NoWildcard),
            ("ca.example; accounturi=https://ca.example/acct/123; policy=other", true, Worth::NoWildcard),
            (
                "ca.example; accounturi=https://ca.example/acct/123; persistUntil=1800000001",
                false,
                Worth::Good,
            ),
            (
                "ca.example; accounturi=https://ca.example/acct/123; persistUntil=1800000000",
                false,
                Worth::Ended,
            ),
            ("ca.example; accounturi=https://ca.example/acct/124", false, Worth::OtherAccount),
            ("ca.example; accounturi=https://CA.example/acct/123", false, Worth::OtherAccount),
            ("other.example; accounturi=https://ca.example/acct/123", false, Worth::OtherIssuer),
        ] {
            let record = PersistRecord::parse(text.as_bytes()).unwrap();
            assert_eq!(record.judge(&terms(), star, now), worth, "{text}");
        }
    }

    #[test]
    fn t10_what_a_ca_would_refuse_is_refused_here() {
        for text in [
            "",
            ";",
            "ca.example",
            "ca.example;",
            "ca.example; accounturi=a;",
            "ca.example; accounturi=a; ; policy=wildcard",
            "ca.example; accounturi=",
            "ca.example; accounturi=a b",
            "ca.example; accounturi=a; accounturi=a",
            "ca.example; accounturi=a; policy=wildcard; Policy=wildcard",
            "ca.example; accounturi=a; persistUntil=tomorrow",
            "ca.example; accounturi=a; persistUntil=-1",
            "ca.example; accounturi=a; persistUntil=99999999999999999999999",
            "ca.example; acc_ounturi=a",
            "no name; accounturi=a",
            "ca.example; accounturi=\u{e4}",
        ] {
            assert!(PersistRecord::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(PersistRecord::parse(&[b'a', 0xff]).is_err());
        assert!(PersistRecord::parse(&[b'a'; TEXT_MAX + 1]).is_err());
    }

    #[test]
    fn a_text_that_holds_after_all_time_reads_back_as_it_is_written() {
        let text = b"ca.example; accounturi=a; persistUntil=9223372036854775807";
        let record = PersistRecord::parse(text).unwrap();
        assert_eq!(record.to_string(), "ca.example; accounturi=a; persistUntil=253402300799");
        assert_eq!(PersistRecord::parse(record.to_string().as_bytes()).as_ref(), Ok(&record));
    }

    #[test]
    fn a_long_text_is_several_strings_of_one_record() {
        let record = PersistRecord {
            issuer: "ca.example".into(),
            account: format!("https://ca.example/{}", "a".repeat(400)),
            wildcard: true,
            until: Some(Timestamp::from_secs(1_900_000_000)),
        };
        assert_eq!(PersistRecord::parse(record.to_string().as_bytes()).unwrap(), record);
        let line = record.zone_line(&place_of("example.com").unwrap());
        assert!(line.starts_with("_validation-persist.example.com. IN TXT \"ca.example; accounturi=https:"));
        let strings: Vec<_> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.concat(), record.to_string());
        assert!(strings.len() == 2 && strings.iter().all(|string| string.len() <= STRING_MAX));
    }

    #[test]
    fn t10_nothing_of_a_ca_leaves_its_place_in_the_text() {
        for hostile in ["a;policy=wildcard", "a\"", "a\\", "a b", "a\n", "", &"a".repeat(ACCOUNT_MAX + 1)] {
            assert!(!is_account(hostile), "{hostile:?}");
        }
        for hostile in ["a;b", "", ".", "a b", "_a.example", "*.example", "a/b", "a\n.example"] {
            assert_eq!(issuer_name(hostile), None, "{hostile:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn t10_no_text_makes_it_panic_and_what_was_read_is_read_again(text in "[ -~\t]{0,80}", octets in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = PersistRecord::parse(&octets);
            if let Ok(record) = PersistRecord::parse(format!("ca.example; accounturi=x; {text}").as_bytes()) {
                proptest::prop_assert_eq!(PersistRecord::parse(record.to_string().as_bytes()).unwrap(), record);
            }
        }
    }
}
