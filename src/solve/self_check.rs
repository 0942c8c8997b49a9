//! Looking for our own answer the way the CA will, but from this host: through the web server's
//! port on loopback, with the name as host, following redirects, trusting any certificate.
//!
//! Every connection goes to loopback, whatever a redirect says: a hostile redirect can't make us
//! call anybody else (threat T06).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::responder::PATH;
use crate::core::failure::plain;
use crate::core::name::SubjectName;
use crate::core::order::ChallengeTask;
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// Redirects followed, as many as Let's Encrypt's Boulder follows.
const REDIRECTS: usize = 10;
/// Time for one request with its connection.
const HOP_TIME: Span = Span::secs(10);
/// Most of a body that is read; a key authorization has under 200 octets.
const BODY_MAX: usize = 8 * 1024;
/// Most characters of a stranger's text shown in a failure.
const SHOWN: usize = 120;

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
        let stream = connect(port).await?;
        if !hop.https {
            return hop.ask(stream).await;
        }
        let config = any_certificate().map_err(|error| Trouble::Words(error.to_string()))?;
        let name = ServerName::try_from(hop.bare_host().to_owned())
            .map_err(|_| Trouble::Words("the redirect's host is no server name".into()))?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| Trouble::Words(format!("TLS: {error}")))?;
        hop.ask(stream).await
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

/// One request of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hop {
    /// As in the `Host` header: an IPv6 address has brackets.
    host: String,
    https: bool,
    /// With the query.
    path: String,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        f.write_str(&plain(&format!("{scheme}://{}{}", self.host, self.path), 2 * SHOWN))
    }
}

impl Hop {
    fn first(name: &SubjectName, token: &str) -> Self {
        let host = match name {
            SubjectName::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            SubjectName::Ip(ip) => ip.to_string(),
            SubjectName::Dns(name) | SubjectName::Wildcard(name) => name.clone(),
        };
        Self { host, https: false, path: format!("{PATH}{token}") }
    }

    fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// Where a `Location` leads, by the rules of Let's Encrypt: http on 80 or https on 443.
    fn redirected(&self, location: &str) -> Result<Self, &'static str> {
        let uri: Uri = location.parse().map_err(|_| "that is no URL")?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let Some(host) = uri.host() else {
            // A relative path; one without a leading slash is rare enough to call unreadable.
            return if path.starts_with('/') && uri.scheme().is_none() {
                Ok(Self { path, ..self.clone() })
            } else {
                Err("that is no URL")
            };
        };
        let (https, usual) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err("a CA follows http and https only"),
        };
        if uri.port_u16().is_some_and(|port| port != usual) {
            return Err("a CA follows to ports 80 and 443 only");
        }
        Ok(Self { host: host.to_owned(), https, path })
    }

    async fn ask<S>(&self, stream: S) -> Result<Answer, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let words = |error: &dyn fmt::Display| Trouble::Words(error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(4 * BODY_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| words(&error))?;
        let connection = AbortOnDrop(tokio::spawn(connection));
        let request = Request::get(self.path.as_str())
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, concat!("nolapse/", env!("CARGO_PKG_VERSION"), " self-check"))
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| words(&error))?;
        let (parts, body) = sender.send_request(request).await.map_err(|error| words(&error))?.into_parts();
        let body = if parts.status == StatusCode::OK {
            let body = Limited::new(body, BODY_MAX).collect().await;
            body.map_err(|error| Trouble::Words(format!("the body: {error}")))?.to_bytes()
        } else {
            Bytes::new()
        };
        drop(connection);
        Ok(Answer {
            status: parts.status,
            location: text_of(&parts.headers, &header::LOCATION),
            server: text_of(&parts.headers, &header::SERVER).map(|text| plain(&text, SHOWN)),
            body,
        })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Answer {
    status: StatusCode,
    location: Option<String>,
    server: Option<String>,
    body: Bytes,
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// CAs ignore white space after the key authorization (RFC 8555 §8.3).
fn trimmed(body: &[u8]) -> &[u8] {
    body.trim_ascii_end()
}

pub(super) fn any_certificate() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Redirects to https must work before there is a good certificate: CAs don't look at it here,
/// and what we compare is public.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn redirects_lead_where_a_ca_would_go() {
        let hop = Hop { host: "a.example".into(), https: false, path: "/x".into() };
        let to = |location: &str| hop.redirected(location).map(|hop| hop.to_string());
        for (location, expected) in [
            ("https://b.example/y?z", Ok("https://b.example/y?z")),
            ("https://b.example", Ok("https://b.example/")),
            ("http://b.example:80/y", Ok("http://b.example/y")),
            ("/y", Ok("http://a.example/y")),
            ("http://[2001:db8::1]/y", Ok("http://[2001:db8::1]/y")),
            ("https://b.example:8443/y", Err("a CA follows to ports 80 and 443 only")),
            ("ftp://b.example/y", Err("a CA follows http and https only")),
            ("", Err("that is no URL")),
            ("\u{1b}[31m", Err("that is no URL")),
        ] {
            assert_eq!(to(location), expected.map(str::to_owned), "{location}");
        }
    }

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
