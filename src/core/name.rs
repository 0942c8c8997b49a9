//! Names that were parsed once and are trusted ever after. None of them can hold a path
//! separator, a leading dash, a control character or `..`, so each is safe as a file name, as
//! an argument and on a terminal (threat T04).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::text::stored_as_text;

/// Why a text is not the name it should be. The text itself is kept apart, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(pub &'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadName {}

/// What a certificate speaks for: a DNS name in its ASCII form, a wildcard, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    /// Lower-case A-labels without a trailing dot.
    Dns(String),
    /// The base of `*.base`, in the same form.
    Wildcard(String),
    Ip(IpAddr),
}

impl SubjectName {
    /// Longest DNS name in octets, RFC 1035 §2.3.4 less the root label.
    pub const DNS_MAX: usize = 253;

    /// Reads an ASCII name; Unicode must have gone through IDNA before.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        // The last label of a DNS name is never a number, and no address ends with another letter.
        let may_be_ip = text.contains(':') || text.ends_with(|last: char| last.is_ascii_digit());
        if may_be_ip && let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(ip));
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'))
            && let Ok(ip) = inner.parse::<Ipv6Addr>()
        {
            return Ok(Self::Ip(IpAddr::V6(ip)));
        }
        match text.strip_prefix("*.") {
            Some(base) => {
                let base = dns_name(base)?;
                if !base.contains('.') {
                    return Err(BadName("a wildcard needs at least two labels after the star"));
                }
                Ok(Self::Wildcard(base))
            }
            None => dns_name(text).map(Self::Dns),
        }
    }

    /// The DNS name without the star, or `None` for an address.
    pub fn base(&self) -> Option<&str> {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => Some(name),
            Self::Ip(_) => None,
        }
    }

    /// Whether it lies where the world's DNS has nothing (RFC 6761 §6), whatever a resolver makes of it:
    /// only a CA with a DNS of its own can prove such a name.
    pub fn is_of_no_world(&self) -> bool {
        let within = |name: &str, domain: &str| {
            name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.base().is_some_and(|base| RESERVED.iter().any(|domain| within(base, domain)))
    }

    pub const fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// Whether a certificate for this name is good for a client that asks for `host`
    /// (RFC 9525 §6.3: a star stands for exactly the leftmost label).
    pub fn covers(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Wildcard(base), Self::Dns(host)) => {
                host.split_once('.').is_some_and(|(_, rest)| rest == base)
            }
            _ => self == host,
        }
    }
}

/// Domains set apart for tests, documentation and one host.
const RESERVED: [&str; 7] =
    ["test", "example", "invalid", "localhost", "example.com", "example.net", "example.org"];

fn dns_name(text: &str) -> Result<String, BadName> {
    if text.is_empty() {
        return Err(BadName("a name is empty"));
    }
    if text.len() > SubjectName::DNS_MAX {
        return Err(BadName("a DNS name has at most 253 characters"));
    }
    if text.ends_with('.') {
        return Err(BadName("a name must not end with a dot"));
    }
    for label in text.split('.') {
        if label.is_empty() {
            return Err(BadName("two dots follow each other, or the name starts with one"));
        }
        if label.len() > 63 {
            return Err(BadName("a label between dots has at most 63 characters"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(BadName("a label must not start or end with a dash"));
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(BadName("only letters, digits, dashes and dots belong in a DNS name"));
        }
    }
    if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err(BadName("the last label must not be a number (is it a mistyped IP address?)"));
    }
    Ok(text.to_ascii_lowercase())
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Wildcard(base) => write!(f, "*.{base}"),
            Self::Ip(ip) => write!(f, "{ip}"),
        }
    }
}

stored_as_text!(SubjectName, "a DNS name or an IP address", SubjectName::parse);

/// The one rule for names that we give to things: they become file names and arguments.
fn slug(text: &str, allow_dot: bool) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName("a name is empty"));
    }
    if text.len() > SLUG_MAX {
        return Err(BadName("a name has at most 200 characters"));
    }
    if text.starts_with(['-', '.']) || text.ends_with('.') {
        return Err(BadName("a name must not start with a dash or a dot, nor end with a dot"));
    }
    if text.as_bytes().windows(2).any(|pair| pair == b"..") {
        return Err(BadName("a name must not contain two dots in a row"));
    }
    let fits = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_' || (allow_dot && b == b'.')
    };
    if !text.bytes().all(fits) {
        return Err(BadName(if allow_dot {
            "only lower-case letters, digits, '-', '_' and '.' belong in a name"
        } else {
            "only lower-case letters, digits, '-' and '_' belong in a name"
        }));
    }
    Ok(())
}

/// Longest lineage, issuer, solver or hook name, in octets: leaves room for suffixes in the
/// 255 octets of a file name.
const SLUG_MAX: usize = 200;

// Ids are in every list that an agent keeps; with ten thousand lineages it counts that a copy is
// the same text again.
macro_rules! slug_type {
    ($(#[$doc:meta])* $name:ident, $allow_dot:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, BadName> {
                slug(text, $allow_dot).map(|()| Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        stored_as_text!($name, "a name", $name::parse);

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}

slug_type!(
    /// One managed certificate through time. Also its file name in the store and under `live/`.
    LineageId,
    true
);
slug_type!(
    /// A table of `[alert.NAME]`.
    ChannelId,
    false
);
slug_type!(
    /// A table of `[issuer.NAME]`.
    IssuerId,
    false
);
slug_type!(
    /// A table of `[solver.NAME]`, or a built-in solver.
    SolverId,
    false
);
slug_type!(
    /// A table of `[service.NAME]` or `[hook.NAME]`: something told about a new generation.
    HookId,
    false
);
slug_type!(
    /// A table of `[watch.NAME]`: certificates that are looked at and never touched.
    WatchId,
    true
);

impl LineageId {
    /// The id of a certificate table named `text`: `*.` becomes `_wildcard.`, as a star is
    /// awkward in shells, and letters become lower-case.
    pub fn from_table_name(text: &str) -> Result<Self, BadName> {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("*.") {
            Some(base) => Self::parse(&format!("_wildcard.{base}")),
            None => Self::parse(&lower),
        }
    }
}

/// A number from a CA's token alphabet, checked before it becomes a file name or a URL path
/// (RFC 8555 §8.3; lego's CVE-2026-40611 was an unchecked one).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

impl Token {
    /// Longest token taken, in octets. CAs use 43.
    pub const MAX: usize = 128;

    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.is_empty() || text.len() > Self::MAX {
            return Err(BadName("a challenge token has 1 to 128 characters"));
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(BadName("a challenge token is base64url text only"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

stored_as_text!(Token, "a challenge token", Token::parse);

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_that_the_worlds_dns_does_not_have_are_known() {
        for (name, expected) in [
            ("a.test", true),
            ("*.example.com", true),
            ("example.org", true),
            ("www.shop.example", true),
            ("localhost", true),
            ("latest", false),
            ("notexample.com", false),
            ("shop.internal", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(SubjectName::parse(name).unwrap().is_of_no_world(), expected, "{name}");
        }
    }

    use super::*;

    #[test]
    fn names_an_operator_writes_are_taken() {
        for (text, shown) in [
            ("shop.example.com", "shop.example.com"),
            ("WWW.Example.COM", "www.example.com"),
            ("*.example.com", "*.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(SubjectName::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example", "abcdefgh.".repeat(40));
        for text in [
            "",
            "../x",
            "-o",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a\0b",
            "a\u{202e}b.example",
            "*.com",
            "*",
            "a.*.b",
            "x_y.example",
            "300.1.1.1",
            "a/b",
            &long_label,
            &long_name,
        ] {
            assert!(SubjectName::parse(text).is_err(), "{text:?} was taken");
            let fine_as_a_file = ["x_y.example", "300.1.1.1", "a.".trim_end_matches('.')].contains(&text);
            assert!(fine_as_a_file || text == long_label || LineageId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let star = SubjectName::parse("*.example.com").unwrap();
        let covers = |host: &str| star.covers(&SubjectName::parse(host).unwrap());
        assert!(covers("a.example.com") && covers("*.example.com"));
        assert!(!covers("example.com") && !covers("a.b.example.com"));
    }

    #[test]
    fn a_wildcard_table_becomes_a_plain_file_name() {
        assert_eq!(LineageId::from_table_name("*.Example.com").unwrap().as_str(), "_wildcard.example.com");
    }

    #[test]
    fn f54_hostile_tokens_are_refused() {
        for text in ["", "../../etc/passwd", "a/b", "a%2fb", "a\nb", "tok.en", &"x".repeat(129)] {
            assert!(Token::parse(text).is_err(), "{text:?} was taken");
        }
        assert!(Token::parse("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_is_a_safe_file_name(text in "\\PC{0,260}") {
            for taken in [
                LineageId::from_table_name(&text).map(String::from),
                SubjectName::parse(&text).map(|_| "x".to_owned()),
                Token::parse(&text).map(String::from),
            ].into_iter().flatten() {
                proptest::prop_assert!(!taken.contains(['/', '\\', '\0']));
                proptest::prop_assert!(!taken.starts_with('.') && !taken.contains(".."));
            }
        }
    }

    #[test]
    fn why_a_name_is_none_can_be_read() {
        let why = super::SubjectName::parse("*.com").map_err(|bad| bad.to_string());
        assert_eq!(why, Err("a wildcard needs at least two labels after the star".to_owned()));
    }
}
