//! How tls-alpn-01 is asked and answered (RFC 8737, RFC 8738 §6): the server name that a CA asks
//! with, what stands in the store for it, and what the certificate must hold.

use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;

use super::digest::sha256;
use super::x509::{self, Answering};
use crate::core::leaf::Fingerprint;
use crate::core::name::{SubjectName, Token};

/// The application protocol of a CA that validates, and of nobody else (RFC 8737 §6.2).
pub const ALPN: &[u8] = b"acme-tls/1";

/// How keys of entries begin. A CA's own tokens are random; one that looked like this would only
/// put that CA's own answer out of the way.
const ENTRY: &str = "tls-alpn-01-";

/// The name in the CA's handshake: the DNS name itself, or an address as it is written in reverse
/// DNS. `None` for a wildcard, which this kind can't prove (RFC 8737 §3).
pub fn server_name(name: &SubjectName) -> Option<String> {
    match name {
        SubjectName::Dns(name) => Some(name.clone()),
        SubjectName::Wildcard(_) => None,
        SubjectName::Ip(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            Some(format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
        }
        SubjectName::Ip(IpAddr::V6(ip)) => {
            let mut text = String::with_capacity(72);
            for octet in ip.octets().iter().rev() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            text.push_str("ip6.arpa");
            Some(text)
        }
    }
}

/// Under which token the answer for a server name lies among the challenges. A stranger's name
/// becomes a file name only through a hash. `None` for what is no server name.
pub fn entry_token(server_name: &str) -> Option<Token> {
    let sound = !server_name.is_empty() && server_name.len() <= SubjectName::DNS_MAX;
    let lower = server_name.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    sound.then(|| Token::parse(&format!("{ENTRY}{}", sha256(lower.as_bytes()))).ok())?
}

/// An answer as the store keeps it: the name, a space, the key authorization.
#[derive(Clone, PartialEq, Eq)]
pub struct Standing {
    pub name: SubjectName,
    pub key_authorization: String,
}

impl Standing {
    /// Longest entry read, in bytes.
    const MAX: usize = 1024;

    pub fn to_text(&self) -> String {
        format!("{} {}", self.name, self.key_authorization)
    }

    /// `None` for anything but an answer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= Self::MAX)?;
        let (name, key_authorization) = text.split_once(' ')?;
        let name = SubjectName::parse(name).ok()?;
        let (token, thumbprint) = key_authorization.split_once('.')?;
        // Both halves are base64url text (RFC 8555 §8.1).
        Token::parse(token).and(Token::parse(thumbprint)).ok()?;
        Some(Self { name, key_authorization: key_authorization.to_owned() })
    }

    /// The token of the challenge that it answers.
    pub fn token(&self) -> Option<Token> {
        Token::parse(self.key_authorization.split_once('.')?.0).ok()
    }

    pub fn is_of(&self, token: &Token) -> bool {
        self.token().as_ref() == Some(token)
    }

    /// What the certificate shows of it.
    pub fn digest(&self) -> Fingerprint {
        sha256(self.key_authorization.as_bytes())
    }

    /// Checks a certificate as a CA does (RFC 8737 §3, as Boulder reads it).
    pub fn recognise(&self, der: &[u8]) -> Result<(), Flaw> {
        let Answering { names, odd_names, identifier, self_signed } =
            x509::answering(der).map_err(|error| Flaw::Unreadable(error.to_string()))?;
        let Some((critical, content)) = identifier else {
            return Err(Flaw::Ordinary(names.iter().map(ToString::to_string).take(SHOWN).collect()));
        };
        if odd_names != 0 || names != [self.name.clone()] {
            return Err(Flaw::OtherName(names.iter().map(ToString::to_string).take(SHOWN).collect()));
        }
        if !self_signed {
            return Err(Flaw::NotSelfSigned);
        }
        if !critical {
            return Err(Flaw::NotCritical);
        }
        let octets = [&[4, 32], &self.digest().0[..]].concat();
        if content != octets {
            return Err(Flaw::OtherAnswer);
        }
        Ok(())
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an answer for {}", self.name)
    }
}

/// Most names of a stranger's certificate that are told.
const SHOWN: usize = 3;

/// Why a certificate does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    Unreadable(String),
    /// A server's usual certificate, for these names.
    Ordinary(Vec<String>),
    OtherName(Vec<String>),
    NotSelfSigned,
    NotCritical,
    /// It answers another challenge for the same name.
    OtherAnswer,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
        };
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::Ordinary(names) => {
                write!(f, "it shows an ordinary certificate for {}, and no validation", list(names))
            }
            Self::OtherName(names) => write!(f, "it shows a validation for {}", list(names)),
            Self::NotSelfSigned => f.write_str("its validation certificate is not self-signed"),
            Self::NotCritical => f.write_str("acmeIdentifier is not critical in its certificate"),
            Self::OtherAnswer => f.write_str("it answers another challenge for this name"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> SubjectName {
        SubjectName::parse(text).unwrap()
    }

    #[test]
    fn a_ca_asks_with_the_name_or_with_the_reversed_address() {
        for (text, asked) in [
            ("shop.example", Some("shop.example")),
            ("192.0.2.7", Some("7.2.0.192.in-addr.arpa")),
            ("2001:db8::1", Some("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")),
            ("*.shop.example", None),
        ] {
            assert_eq!(server_name(&name(text)).as_deref(), asked, "{text}");
        }
    }

    #[test]
    fn t03_what_a_stranger_asks_with_is_hashed_before_it_is_a_file_name() {
        let plain = entry_token("shop.example").unwrap();
        assert!(plain.as_str().starts_with(ENTRY) && plain.as_str().len() <= Token::MAX);
        assert_eq!(entry_token("SHOP.Example.").unwrap(), plain, "case and the root dot mean nothing");
        assert_ne!(entry_token("shop.examplf").unwrap(), plain);
        for odd in ["../../x", "a/b", "\0", &"a".repeat(253)] {
            assert!(!entry_token(odd).unwrap().as_str().contains(['/', '\0', '.']), "{odd:?}");
        }
        assert_eq!(entry_token(""), None);
        assert_eq!(entry_token(&"a".repeat(254)), None);
    }

    #[test]
    fn an_entry_reads_back_and_anything_else_is_none() {
        for text in ["shop.example", "192.0.2.7", "2001:db8::1"] {
            let standing = Standing { name: name(text), key_authorization: "token-1.thumb_print".into() };
            assert_eq!(Standing::parse(standing.to_text().as_bytes()), Some(standing.clone()));
            assert!(standing.is_of(&Token::parse("token-1").unwrap()));
            assert!(!standing.is_of(&Token::parse("token").unwrap()));
        }
        for text in [
            "",
            "token-1.thumbprint",
            "shop.example",
            "shop.example token",
            "shop.example .x",
            "shop.example token.",
            "shop.example a.b c",
            "../x a.b",
            &format!("shop.example {}.x", "a".repeat(2000)),
        ] {
            assert_eq!(Standing::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Standing::parse(b"shop.example a.\xff"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_server_name_is_hashed_or_refused(text in "\\PC{0,300}") {
            if let Some(token) = entry_token(&text) {
                proptest::prop_assert!(Token::parse(token.as_str()).is_ok());
            }
        }

        #[test]
        fn any_bytes_are_an_entry_or_none(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            if let Some(standing) = Standing::parse(&bytes) {
                proptest::prop_assert_eq!(Standing::parse(standing.to_text().as_bytes()), Some(standing));
            }
        }
    }
}
