//! What a certificate may name: DNS names (RFC 8555 §9.7.7) and IP addresses (RFC 8738 §3).

use std::fmt;
use std::net::IpAddr;

use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Identifier {
    /// Lower case; may start with `*.` in an order, never in an authorization.
    Dns(String),
    Ip(IpAddr),
}

impl Identifier {
    /// Reads a `type` and `value` pair; the error is a detail for the applicant.
    pub(crate) fn parse(kind: &str, value: &str) -> Result<Self, String> {
        match kind {
            "dns" => {
                let name = value.to_ascii_lowercase();
                let base = name.strip_prefix("*.").unwrap_or(&name);
                if is_host_name(base) {
                    Ok(Self::Dns(name))
                } else {
                    Err(format!("{value:?} is not a DNS name"))
                }
            }
            // RFC 8738 §3 demands the RFC 5952 text form, which is what Rust prints.
            "ip" => match value.parse::<IpAddr>() {
                Ok(address) if address.to_string() == value => Ok(Self::Ip(address)),
                _ => Err(format!("{value:?} is not an IP address in its canonical form")),
            },
            _ => Err(format!("identifier type {kind:?} is not supported")),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Dns(name) => json!({ "type": "dns", "value": name }),
            Self::Ip(address) => json!({ "type": "ip", "value": address.to_string() }),
        }
    }

    /// The name to be proven and whether the proof is for a wildcard (RFC 8555 §7.1.4).
    pub(crate) fn base(&self) -> (Self, bool) {
        match self {
            Self::Dns(name) => match name.strip_prefix("*.") {
                Some(base) => (Self::Dns(base.to_owned()), true),
                None => (self.clone(), false),
            },
            Self::Ip(_) => (self.clone(), false),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Letters, digits and hyphens (RFC 1123 §2.1), one label or more, and not an address in disguise.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.parse::<IpAddr>().is_err()
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_checked() {
        assert_eq!(Identifier::parse("dns", "WWW.Example.test").unwrap().to_string(), "www.example.test");
        assert_eq!(
            Identifier::parse("dns", "*.example.test").unwrap().base(),
            (Identifier::Dns("example.test".into()), true)
        );
        for bad in ["", "a..b", "-a.test", "a_b.test", "*.*.test", "a.*.test", "127.0.0.1", "bücher.test"] {
            assert!(Identifier::parse("dns", bad).is_err(), "{bad}");
        }
        assert!(Identifier::parse("ip", "::1").is_ok());
        assert!(Identifier::parse("ip", "0:0:0:0:0:0:0:1").is_err(), "not RFC 5952");
        assert!(Identifier::parse("email", "a@example.test").is_err());
    }
}
