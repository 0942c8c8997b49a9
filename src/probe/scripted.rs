//! A server for tests that says its lines in turn, one after each of ours.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::unseen::Unseen;
use crate::core::silence::Silence;

/// What a dialogue came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// The next byte is TLS; what the server had heard until then.
    Ready(String),
    Unseen(Silence, String),
}

/// Longest answer of a script in one piece.
const PIECE: usize = 64 * 1024;

/// Lets `talk` meet a server that says the first of `script`, waits to hear something, says the
/// next, and closes after the last one was answered.
pub async fn told<F, W>(script: &[&[u8]], talk: F) -> Told
where
    F: FnOnce(DuplexStream) -> W,
    W: Future<Output = Result<DuplexStream, Unseen>>,
{
    let (ours, mut theirs) = tokio::io::duplex(PIECE);
    let script: Vec<Vec<u8>> = script.iter().map(|says| says.to_vec()).collect();
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        for (at, says) in script.iter().enumerate() {
            // An empty first line lets the client speak first.
            if theirs.write_all(says).await.is_err() || at + 1 == script.len() {
                break;
            }
            let mut piece = [0; 1024];
            match theirs.read(&mut piece).await {
                Ok(read) if read > 0 => heard.extend_from_slice(&piece[..read]),
                _ => break,
            }
        }
        heard
    });
    let end = talk(ours).await;
    let heard = server.await.unwrap_or_else(|error| panic!("{error}"));
    match end {
        Ok(_) => Told::Ready(String::from_utf8_lossy(&heard).into_owned()),
        Err(unseen) => Told::Unseen(unseen.why, unseen.words),
    }
}
