//! One HTTP request on the way of an http-01 validation, and where a redirect leads from it.

use std::fmt;
use std::net::IpAddr;
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
use crate::core::time::Span;

/// Redirects followed, as many as Let's Encrypt's Boulder follows.
pub(super) const REDIRECTS: usize = 10;
/// Time for one request with its connection.
pub(super) const HOP_TIME: Span = Span::secs(10);
/// Most of a body that is read; a key authorization has under 200 octets.
const BODY_MAX: usize = 8 * 1024;
/// Most characters of a stranger's text shown in a failure.
pub(super) const SHOWN: usize = 120;

/// One request of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// As in the `Host` header: an IPv6 address has brackets.
    pub host: String,
    pub https: bool,
    /// With the query.
    pub path: String,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        f.write_str(&plain(&format!("{scheme}://{}{}", self.host, self.path), 2 * SHOWN))
    }
}

impl Hop {
    pub fn first(name: &SubjectName, token: &str) -> Self {
        let host = match name {
            SubjectName::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            SubjectName::Ip(ip) => ip.to_string(),
            SubjectName::Dns(name) | SubjectName::Wildcard(name) => name.clone(),
        };
        Self { host, https: false, path: format!("{PATH}{token}") }
    }

    pub fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// Where a `Location` leads, by the rules of Let's Encrypt: http on 80 or https on 443.
    pub fn redirected(&self, location: &str) -> Result<Self, &'static str> {
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

    /// Asks over a connection that stands; by TLS where the hop says so, trusting any certificate.
    pub async fn over(&self, stream: TcpStream) -> Result<Answer, String> {
        if !self.https {
            return self.ask(stream).await;
        }
        let config = any_certificate().map_err(|error| error.to_string())?;
        let name = ServerName::try_from(self.bare_host().to_owned())
            .map_err(|_| "the redirect's host is no server name".to_owned())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS: {error}"))?;
        self.ask(stream).await
    }

    async fn ask<S>(&self, stream: S) -> Result<Answer, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let words = |error: &dyn fmt::Display| error.to_string();
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
            body.map_err(|error| format!("the body: {error}"))?.to_bytes()
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

pub(super) struct Answer {
    pub status: StatusCode,
    pub location: Option<String>,
    pub server: Option<String>,
    /// Of a status 200 only.
    pub body: Bytes,
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
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
}
