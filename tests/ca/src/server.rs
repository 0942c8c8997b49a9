//! HTTP over TLS, or over plain TCP: connections in, `dispatch` in the middle.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::delivery::Play;
use crate::dispatch::{Request, answer};
use crate::hierarchy::ApiIdentity;
use crate::problem::Problem;

const BODY_LIMIT: usize = 256 * 1024;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Rest between failed accepts, so that a lack of descriptors does not become a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A TLS acceptor for the API; the provider is named so that the process default does not matter.
pub(crate) fn acceptor(identity: ApiIdentity) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Takes connections until the CA stops.
pub(crate) async fn accept(ca: Arc<Authority>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        // Small answers must not wait for each other's acknowledgements.
        let _ = stream.set_nodelay(true);
        let (serving, tls) = (Arc::clone(&ca), tls.clone());
        ca.spawn(async move {
            match tls {
                None => serve(serving, stream, peer.ip()).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
                        serve(serving, stream, peer.ip()).await;
                    }
                }
            }
        });
    }
}

/// Serves one connection. An answer that HTTP has no form for takes the connection over and is its last.
async fn serve(ca: Arc<Authority>, stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr) {
    let (odd, mut plays) = mpsc::channel(1);
    let service = service_fn(|request| respond(&ca, request, peer, odd.clone()));
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let play: Option<Play> = tokio::select! {
        // A client that goes away, or is sent away by a fault, is no error of ours.
        _ = &mut connection => None,
        play = plays.recv() => play,
    };
    if let Some(play) = play {
        let mut stream = connection.into_parts().io.into_inner();
        let _ = play.perform(&mut stream).await;
    }
}

async fn respond(
    ca: &Arc<Authority>,
    request: hyper::Request<Incoming>,
    peer: IpAddr,
    odd: mpsc::Sender<Play>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return Ok(Problem::malformed("the body is too long").with_status(413).into_reply().into_http());
    };
    let request = Request {
        path: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        content_type: text(&head.headers, &header::CONTENT_TYPE),
        user_agent: text(&head.headers, &header::USER_AGENT),
        method: head.method,
        body: body.to_bytes().to_vec(),
        peer,
    };
    let play = answer(ca, request).await?;
    if play.delivery.is_none() && play.reply.is_proper() {
        return Ok(play.reply.into_http());
    }
    let _ = odd.send(play).await;
    std::future::pending().await
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}
