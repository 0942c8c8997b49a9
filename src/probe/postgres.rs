//! As much of PostgreSQL's protocol as leads to TLS: one request, one octet back. A connection
//! that ends before it has named a user is no line in the server's log.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::unseen::Unseen;
use crate::core::failure::plain;
use crate::core::silence::Silence;

/// `SSLRequest`: its own length, then a number that is no version of the protocol.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Talks up to the point where the next byte is TLS. One octet is read and no more: what somebody
/// put behind it would have to be TLS (CVE-2021-23222).
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<S, Unseen> {
    stream.write_all(&REQUEST).await?;
    stream.flush().await?;
    match stream.read_u8().await? {
        b'S' => Ok(stream),
        b'N' => Err(Unseen::new(Silence::NotOffered, "the PostgreSQL server does not offer TLS (ssl = off)")),
        b'E' => Err(Unseen::new(Silence::NotReady, "the PostgreSQL server answered with an error")),
        other => {
            let shown = plain(&char::from(other).to_string(), 12);
            let words = format!("this is no PostgreSQL server: it answered with \"{shown}\"");
            Err(Unseen::new(Silence::NotSpoken, words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};

    #[tokio::test]
    async fn one_octet_decides() {
        assert!(matches!(told(&[b"", b"S"], start_tls).await, Told::Ready(_)));
        for (answer, why) in [
            (&b"N"[..], Silence::NotOffered),
            (b"Esomething", Silence::NotReady),
            (b"HTTP/1.1 400 Bad Request\r\n", Silence::NotSpoken),
            (b"\x1b[31m", Silence::NotSpoken),
            (b"", Silence::BrokenOff),
        ] {
            match told(&[b"", answer], start_tls).await {
                Told::Unseen(found, words) => assert_eq!(found, why, "{words}"),
                ready @ Told::Ready(_) => panic!("{ready:?}"),
            }
        }
    }
}
