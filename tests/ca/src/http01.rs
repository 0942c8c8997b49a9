//! http-01 validation (RFC 8555 §8.3): fetch the key authorization over plain HTTP, following redirects.

use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority as HostAndPort, Scheme};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::challenge::Subject;
use crate::problem::Problem;

/// A key authorization has under a hundred octets; whoever sends this much sends something else.
const BODY_LIMIT: usize = 4096;
const REDIRECT_LIMIT: usize = 10;

pub(crate) async fn validate(ca: &Authority, subject: &Subject) -> Result<(), Problem> {
    let limit = ca.config.validation_timeout;
    match tokio::time::timeout(limit, fetch_and_compare(ca, subject)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(failed(format!("{}: no answer within {limit:?}", subject.identifier))),
    }
}

async fn fetch_and_compare(ca: &Authority, subject: &Subject) -> Result<(), Problem> {
    let host = match &subject.identifier {
        crate::identifier::Identifier::Ip(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        other => other.to_string(),
    };
    let first = format!("http://{host}/.well-known/acme-challenge/{}", subject.token);
    let mut target: Uri = first.parse().map_err(|_| failed(format!("{first} is not a URL")))?;
    for _ in 0..=REDIRECT_LIMIT {
        match fetch(ca, &target).await? {
            Fetched::Body(body) => return compare(&target, &body, &subject.key_authorization),
            Fetched::Redirect(location) => target = join(&target, &location)?,
        }
    }
    Err(failed(format!("{first}: more than {REDIRECT_LIMIT} redirects")))
}

enum Fetched {
    Body(Bytes),
    Redirect(String),
}

async fn fetch(ca: &Authority, target: &Uri) -> Result<Fetched, Problem> {
    let broken = |error: &dyn std::fmt::Display| failed(format!("{target}: {error}"));
    let authority = target.authority().ok_or_else(|| broken(&"the URL has no host"))?;
    let (address, port) = {
        let state = ca.state();
        (state.resolver.lookup(authority.host())?, state.http_port)
    };
    // The standard's port 80 is played by a port the test can bind; it may also be named outright.
    match authority.port_u16() {
        None | Some(80) => {}
        Some(named) if named == port => {}
        Some(named) => return Err(broken(&format!("port {named} is not used for validation"))),
    }
    let stream = TcpStream::connect((address, port)).await.map_err(|error| broken(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let request = Request::get(target.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, host_header(authority))
        .header(header::USER_AGENT, "test-ca (http-01 validation)")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| broken(&"a redirect without a Location"))?;
            return Ok(Fetched::Redirect(location.to_owned()));
        }
        if status != StatusCode::OK {
            return Err(Problem::unauthorized(format!("{target}: answered {status}")));
        }
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
        let body = body.map_err(|error| broken(&error))?;
        Ok(Fetched::Body(body.to_bytes()))
    };
    // The connection is driven here, not in a task of its own, so that nothing outlives the validation.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            fetched = &mut exchange => return fetched,
            _ = &mut connection, if !closed => closed = true,
        }
    }
}

/// RFC 8555 §8.3: white space at the end is ignored, nothing else.
fn compare(target: &Uri, body: &[u8], expected: &str) -> Result<(), Problem> {
    let text = String::from_utf8_lossy(body);
    if text.trim_end() == expected {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Problem::unauthorized(format!("{target}: expected {expected:?}, found {shown:?}")))
}

/// Resolves a Location against the URL it came from; absolute URLs and absolute paths are enough here.
fn join(base: &Uri, location: &str) -> Result<Uri, Problem> {
    let refuse = |why: &str| failed(format!("redirect to {location:?}: {why}"));
    let location: Uri = location.parse().map_err(|_| refuse("not a URL"))?;
    match location.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => Ok(location),
        Some(scheme) => Err(refuse(&format!("{scheme} is not followed"))),
        None if location.path().starts_with('/') => {
            let mut parts = base.clone().into_parts();
            parts.path_and_query = location.into_parts().path_and_query;
            Uri::from_parts(parts).map_err(|_| refuse("not a URL"))
        }
        None => Err(refuse("relative paths are not followed")),
    }
}

/// The host as it stands in the URL; a default port is left out (RFC 9110 §7.2).
fn host_header(authority: &HostAndPort) -> String {
    match authority.port_u16() {
        Some(port) if port != 80 => format!("{}:{port}", authority.host()),
        _ => authority.host().to_owned(),
    }
}

fn failed(detail: String) -> Problem {
    Problem::new("connection", 400, detail)
}

/// How long a whole validation may take unless a test says otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
