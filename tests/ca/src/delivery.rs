//! Answers that HTTP libraries rightly refuse to send, written to the socket by hand.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::effect::{Delivery, Stage};
use crate::reply::Reply;

/// Most octets of an endless answer: a client that never hangs up must not hold a test for ever.
const ENDLESS_MOST: usize = 1 << 30;

/// An answer and how it goes out.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) reply: Reply,
    pub(crate) delivery: Option<Delivery>,
    /// The request was a HEAD: the answer has no body.
    pub(crate) headless: bool,
}

impl Play {
    /// Writes the answer; the connection is of no use afterwards.
    pub(crate) async fn perform(self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let body = if self.headless { Vec::new() } else { self.reply.body().to_vec() };
        let head = |length: Option<u64>| self.reply.head(length);
        let length = Some(body.len() as u64);
        match self.delivery {
            None => {
                stream.write_all(&head(length)).await?;
                stream.write_all(&body).await?;
            }
            Some(Delivery::Cut(stage)) => {
                let head = head(length);
                let upto = match stage {
                    Stage::StatusLine => 6,
                    Stage::Headers => head.len() / 2,
                    Stage::Head | Stage::Body => head.len(),
                };
                stream.write_all(&head[..upto]).await?;
                if stage == Stage::Body {
                    stream.write_all(&body[..body.len() / 2]).await?;
                }
            }
            Some(Delivery::Slow { octets, every }) => {
                stream.write_all(&head(length)).await?;
                for piece in body.chunks(octets.max(1)) {
                    stream.write_all(piece).await?;
                    stream.flush().await?;
                    tokio::time::sleep(every).await;
                }
            }
            Some(Delivery::Endless) => {
                stream.write_all(&head(None)).await?;
                let piece = if body.is_empty() { vec![b' '; 4096] } else { body };
                repeat(stream, &piece).await?;
            }
            Some(Delivery::EndlessHead) => {
                let head = head(None);
                stream.write_all(&head[..head.len() - 2]).await?;
                repeat(stream, b"X-More: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").await?;
            }
            Some(Delivery::Open) => {
                stream.write_all(&head(None)).await?;
                stream.write_all(&body).await?;
                stream.flush().await?;
                std::future::pending::<()>().await;
            }
            Some(Delivery::Claim(claimed)) => {
                stream.write_all(&head(Some(claimed))).await?;
                stream.write_all(&body).await?;
            }
            Some(Delivery::Octets(octets)) => stream.write_all(&octets).await?,
        }
        stream.flush().await?;
        stream.shutdown().await
    }
}

async fn repeat(stream: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < ENDLESS_MOST {
        stream.write_all(piece).await?;
        sent += piece.len();
        // A socket that takes everything at once must not starve who shares this thread.
        tokio::task::yield_now().await;
    }
    Ok(())
}
