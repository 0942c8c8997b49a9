//! Looking for our own answer the way the CA will, but from this host: through the web server's
//! port on loopback, with the name as host, following redirects, trusting any certificate.
//!
//! Every connection goes to loopback, whatever a redirect says: a hostile redirect can't make us
//! call anybody else (threat T06).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::StatusCode;
use tokio::net::TcpStream;

use super::hop::{Answer, HOP_TIME, Hop, REDIRECTS, SHOWN};
use crate::core::failure::plain;
use crate::core::order::ChallengeTask;
use crate::sys::clock::Clock;

/// A look through the web server's ports on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfCheck {
    /// Where `http` without a port leads.
    pub http: u16,
    /// Where `https` without a port leads.
    pub https: u16,
}

impl Default for SelfCheck {
    fn default() -> Self {
        Self { http: 80, https: 443 }
    }
}

/// Why the answer was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nobody listens on loopback there.
    Nobody { port: u16 },
    /// A connection that failed or a request that was never answered.
    Broken { at: String, why: String },
    /// Somebody answered something else.
    Other { at: String, server: Option<String>, status: u16, start: String },
    /// A redirect that the CA would not follow.
    Astray { at: String, to: String, why: &'static str },
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody { port } => {
                write!(f, "nobody answers on port {port} of this host's loopback address")
            }
            Self::Broken { at, why } => write!(f, "{at} could not be read: {why}"),
            Self::Other { at, server, status, start } => {
                write!(
                    f,
                    "{at} was answered by {} with status {status}",
                    server.as_deref().unwrap_or("a server")
                )?;
                if *status == 200 {
                    write!(f, " and another text, starting {start:?}")?;
                }
                Ok(())
            }
            Self::Astray { at, to, why } => write!(f, "{at} redirects to {to}: {why}"),
        }
    }
}

impl SelfCheck {
    /// Asks for the task's answer and compares it.
    pub async fn look(self, task: &ChallengeTask, clock: &Clock) -> Result<(), Miss> {
        let mut hop = Hop::first(&task.name, task.token.as_str());
        for _ in 0..=REDIRECTS {
            let answer = self.fetch(&hop, clock).await?;
            match answer.status {
                StatusCode::OK if trimmed(&answer.body) == task.key_authorization.as_bytes() => return Ok(()),
                status if status.is_redirection() && answer.location.is_some() => {
                    let to = answer.location.unwrap_or_default();
                    hop = hop.redirected(&to).map_err(|why| Miss::Astray {
                        at: hop.to_string(),
                        to: plain(&to, SHOWN),
                        why,
                    })?;
                }
                status => {
                    return Err(Miss::Other {
                        at: hop.to_string(),
                        server: answer.server,
                        status: status.as_u16(),
                        start: plain(&String::from_utf8_lossy(&answer.body), SHOWN),
                    });
                }
            }
        }
        Err(Miss::Astray { at: hop.to_string(), to: "itself".into(), why: "more than 10 redirects" })
    }

    /// Whether anybody speaks HTTP on the port.
    pub async fn somebody_answers(self, clock: &Clock) -> Result<(), Miss> {
        let hop = Hop { host: "localhost".into(), https: false, path: "/".into() };
        self.fetch(&hop, clock).await.map(|_| ())
    }

    async fn fetch(self, hop: &Hop, clock: &Clock) -> Result<Answer, Miss> {
        let broken = |why: String| Miss::Broken { at: hop.to_string(), why: plain(&why, SHOWN) };
        match clock.timeout(HOP_TIME, self.fetch_unbounded(hop)).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(Trouble::Nobody(port))) => Err(Miss::Nobody { port }),
            Some(Err(Trouble::Words(why))) => Err(broken(why)),
            None => Err(broken(format!("no answer within {HOP_TIME}"))),
        }
    }

    async fn fetch_unbounded(self, hop: &Hop) -> Result<Answer, Trouble> {
        let port = if hop.https { self.https } else { self.http };
        hop.over(connect(port).await?).await.map_err(Trouble::Words)
    }
}

enum Trouble {
    Nobody(u16),
    Words(String),
}

async fn connect(port: u16) -> Result<TcpStream, Trouble> {
    let mut last = None;
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match TcpStream::connect(SocketAddr::new(ip, port)).await {
            Ok(stream) => return Ok(stream),
            // A host without IPv6 is no news; the first refusal is.
            Err(error) => last = last.or(Some(error)),
        }
    }
    match last {
        Some(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
            Err(Trouble::Words(error.to_string()))
        }
        _ => Err(Trouble::Nobody(port)),
    }
}

/// CAs ignore white space after the key authorization (RFC 8555 §8.3).
fn trimmed(body: &[u8]) -> &[u8] {
    body.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_told_in_words() {
        let miss = Miss::Other {
            at: "http://a.example/x".into(),
            server: Some("nginx/1.22".into()),
            status: 404,
            start: String::new(),
        };
        assert_eq!(miss.to_string(), "http://a.example/x was answered by nginx/1.22 with status 404");
    }
}
