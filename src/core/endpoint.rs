//! Where a certificate is seen by clients: `[proto://][SNI@]host:port[?settings]`, dialled as
//! written.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::manner::Manner;
use super::name::{BadName, SubjectName};
use super::text::stored_as_text;

/// How a connection turns into a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TLS from the first byte (https, smtps, imaps).
    Tls,
    /// Plain SMTP, then STARTTLS (RFC 3207).
    Smtp,
    /// Plain IMAP, then STARTTLS (RFC 9051 §6.2.1).
    Imap,
    /// Plain POP3, then STLS (RFC 2595 §4).
    Pop3,
    /// `SSLRequest` of PostgreSQL's protocol.
    Postgres,
    /// The SSL request packet of MySQL's and MariaDB's protocol.
    Mysql,
    /// Plain LDAP, then the StartTLS operation (RFC 4511 §4.14).
    Ldap,
    /// Plain FTP, then `AUTH TLS` (RFC 4217).
    Ftp,
}

/// The words before `://`; the first of each protocol is the one that is printed.
const WORDS: [(&str, Protocol); 16] = [
    ("https", Protocol::Tls),
    ("tls", Protocol::Tls),
    ("smtps", Protocol::Tls),
    ("imaps", Protocol::Tls),
    ("pop3s", Protocol::Tls),
    ("ldaps", Protocol::Tls),
    ("ftps", Protocol::Tls),
    ("smtp", Protocol::Smtp),
    ("imap", Protocol::Imap),
    ("pop3", Protocol::Pop3),
    ("postgres", Protocol::Postgres),
    ("postgresql", Protocol::Postgres),
    ("mysql", Protocol::Mysql),
    ("mariadb", Protocol::Mysql),
    ("ldap", Protocol::Ldap),
    ("ftp", Protocol::Ftp),
];

impl Protocol {
    /// `https`, `tls`, `imaps` and their like all mean TLS from the first byte; `None` for an
    /// unknown word.
    pub fn parse(word: &str) -> Option<Self> {
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, protocol)| *protocol)
    }

    /// As it stands before `://`.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(_, protocol)| *protocol == self).map_or("", |(word, _)| word)
    }
}

/// One place to look at with a TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub protocol: Protocol,
    /// The server name sent in the handshake; the host when left out and the host is a name.
    pub sni: Option<SubjectName>,
    /// A DNS name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub manner: Manner,
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let (text, manner) = match text.split_once('?') {
            Some((place, settings)) => (place, Manner::parse(settings)?),
            None => (text, Manner::default()),
        };
        let (protocol, rest) = match text.split_once("://") {
            Some((word, rest)) => (
                Protocol::parse(word).ok_or(BadName(
                    "the protocol before :// is https, tls, smtp, imap, pop3, postgres, mysql or ldap",
                ))?,
                rest,
            ),
            None => (Protocol::Tls, text),
        };
        let (sni, address) = match rest.split_once('@') {
            Some((sni, address)) => {
                let sni = SubjectName::parse(sni)?;
                if sni.is_wildcard() {
                    return Err(BadName("a handshake asks for one name, not for a wildcard"));
                }
                (Some(sni), address)
            }
            None => (None, rest),
        };
        let (host, port) = address.rsplit_once(':').ok_or(BadName("an endpoint ends with :PORT"))?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(BadName("a port is a number from 1 to 65535"))?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => inner
                .parse::<Ipv6Addr>()
                .map_err(|_| BadName("between brackets stands an IPv6 address"))?
                .to_string(),
            None if host.contains(':') => {
                return Err(BadName("an IPv6 address is written in brackets: [::1]:443"));
            }
            None => match SubjectName::parse(host)? {
                SubjectName::Wildcard(_) => {
                    return Err(BadName("an endpoint is one host, not a wildcard"));
                }
                name => name.to_string(),
            },
        };
        Ok(Self { protocol, sni, host, port, manner })
    }

    /// This endpoint asked for `name`, unless the configuration already says which name.
    pub fn for_name(&self, name: &SubjectName) -> Self {
        let sni = self.sni.clone().or_else(|| Some(name.clone()));
        Self { sni, ..self.clone() }
    }

    /// The DNS name that a handshake asks for; an address is none (RFC 6066 §3).
    pub fn asked(&self) -> Option<SubjectName> {
        SubjectName::parse(&self.server_name()).ok().filter(|name| matches!(name, SubjectName::Dns(_)))
    }

    /// The server name for the handshake.
    pub fn server_name(&self) -> String {
        self.sni.as_ref().map_or_else(|| self.host.clone(), ToString::to_string)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.word())?;
        if let Some(sni) = &self.sni {
            write!(f, "{sni}@")?;
        }
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port)?,
            _ => write!(f, "{}:{}", self.host, self.port)?,
        }
        self.manner.fmt(f)
    }
}

stored_as_text!(Endpoint, "an endpoint", Endpoint::parse);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_and_print() {
        for (text, shown) in [
            ("127.0.0.1:443", "https://127.0.0.1:443"),
            ("[::1]:443", "https://[::1]:443"),
            ("shop.example.com@127.0.0.1:8443", "https://shop.example.com@127.0.0.1:8443"),
            ("smtp://mail.example.com:25", "smtp://mail.example.com:25"),
            ("tls://a.example:1", "https://a.example:1"),
            ("imaps://a.example:993", "https://a.example:993"),
            ("postgresql://db.example.com:5432", "postgres://db.example.com:5432"),
            ("ldap://127.0.0.1:389", "ldap://127.0.0.1:389"),
            (
                "a.example@lb.example.com:443?tls=1.2&samples=8&addresses=all",
                "https://a.example@lb.example.com:443?addresses=all&samples=8&tls=1.2",
            ),
            ("[::1]:443?samples=1", "https://[::1]:443"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(Endpoint::parse(shown).unwrap(), endpoint);
        }
    }

    #[test]
    fn wrong_endpoints_are_refused() {
        for text in [
            "",
            "host",
            "host:0",
            "host:70000",
            "::1:443",
            "gopher://a:1",
            "*.a.b@c:1",
            "a@@b:1",
            "-x:1",
            "a:1?",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
