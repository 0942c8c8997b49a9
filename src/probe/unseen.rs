//! Why a look saw no certificate, with the words for people.

use std::io;

use crate::core::failure::plain;
use crate::core::silence::Silence;

/// Longest reason, in characters.
pub const REASON_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    pub why: Silence,
    /// Safe to print.
    pub words: String,
}

impl Unseen {
    /// `words` may hold what a server said.
    pub fn new(why: Silence, words: impl AsRef<str>) -> Self {
        Self { why, words: plain(words.as_ref(), REASON_MAX) }
    }
}

/// What befell a connection, or the TLS on it.
impl From<io::Error> for Unseen {
    fn from(error: io::Error) -> Self {
        if let Some(error) = tls_error(&error) {
            return Self::from(error);
        }
        let (why, words) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (Silence::Closed, "connection refused"),
            io::ErrorKind::ConnectionReset => (Silence::BrokenOff, "connection reset"),
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                (Silence::BrokenOff, "the server closed the connection during the handshake")
            }
            io::ErrorKind::TimedOut => (Silence::TimedOut, "timed out"),
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => {
                return Self::new(Silence::NoRoute, error.to_string());
            }
            _ => return Self::new(Silence::NotLooked, error.to_string()),
        };
        Self::new(why, words)
    }
}

impl From<&rustls::Error> for Unseen {
    fn from(error: &rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::AlertReceived(alert) => {
                Self::new(Silence::Refused, format!("TLS alert {}", snake_case(&format!("{alert:?}"))))
            }
            Error::InvalidMessage(_) => Self::new(Silence::NotSpoken, "the server does not speak TLS"),
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                Self::new(Silence::NoCertificate, format!("TLS: {error}"))
            }
            _ => Self::new(Silence::Refused, format!("TLS: {error}")),
        }
    }
}

/// What rustls said, where it was rustls.
pub fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The alert's name as RFC 8446 §6 writes it: `HandshakeFailure` becomes `handshake_failure`.
fn snake_case(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        use rustls::AlertDescription as Alert;
        for (alert, words) in [
            (Alert::HandshakeFailure, "TLS alert handshake_failure"),
            (Alert::UnrecognisedName, "TLS alert unrecognised_name"),
            (Alert::ProtocolVersion, "TLS alert protocol_version"),
        ] {
            assert_eq!(Unseen::from(&rustls::Error::AlertReceived(alert)).words, words);
        }
    }
}
