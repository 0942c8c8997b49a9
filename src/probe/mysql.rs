//! As much of MySQL's and MariaDB's protocol as leads to TLS: the server greets, we answer with
//! the short form of the login packet.
//!
//! A connection that ends there counts as an aborted one, and from another host a server blocks
//! who aborts `max_connect_errors` times in a row (100) without a login between. It does not count
//! connections over loopback.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::unseen::Unseen;
use crate::core::failure::plain;
use crate::core::silence::Silence;

/// Longest greeting taken, in bytes; those of today's servers have some hundred.
const GREETING_MAX: usize = 4096;
/// Most characters of a server's text shown.
const SHOWN: usize = 120;

/// The protocol's version in every greeting since MySQL 3.21.
const VERSION: u8 = 10;
const ERROR: u8 = 0xff;
/// `CLIENT_SSL` among what a server can do.
const CAN_TLS: u16 = 0x0800;

/// Capabilities `PROTOCOL_41 | SSL | SECURE_CONNECTION | PLUGIN_AUTH`, packets of 16 MiB, utf8mb4, 23
/// octets of nothing; before it its length and its number.
const REQUEST: [u8; 36] = {
    let mut packet = [0; 36];
    packet[0] = 32;
    packet[3] = 1;
    (packet[5], packet[6]) = (0x8a, 0x08);
    packet[11] = 1;
    packet[12] = 45;
    packet
};

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<S, Unseen> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    if length == 0 || length > GREETING_MAX || head[3] > 1 {
        return Err(Unseen::new(Silence::NotSpoken, "this is no MySQL server"));
    }
    let mut greeting = vec![0; length];
    stream.read_exact(&mut greeting).await?;
    if !can_tls(&greeting)? {
        return Err(Unseen::new(Silence::NotOffered, "the MySQL server does not offer TLS"));
    }
    stream.write_all(&REQUEST).await?;
    stream.flush().await?;
    Ok(stream)
}

/// Reads the greeting: version, the server's own version up to a zero, the connection's number (4),
/// half a challenge (8), a zero, half of what the server can do (2).
fn can_tls(greeting: &[u8]) -> Result<bool, Unseen> {
    let strange = || Unseen::new(Silence::NotSpoken, "this is no MySQL server");
    match greeting.split_first() {
        Some((&VERSION, rest)) => {
            let end = rest.iter().position(|octet| *octet == 0).ok_or_else(strange)?;
            let flags = rest.get(end + 14..end + 16).ok_or_else(strange)?;
            Ok(u16::from_le_bytes([flags[0], flags[1]]) & CAN_TLS != 0)
        }
        // Too many connections, or this host is blocked: a number, then words.
        Some((&ERROR, rest)) => {
            let words = String::from_utf8_lossy(rest.get(2..).unwrap_or_default()).into_owned();
            let words = format!("the MySQL server answered: {}", plain(&words, SHOWN));
            Err(Unseen::new(Silence::NotReady, words))
        }
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};
    use proptest::prelude::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        [&[u8::try_from(payload.len()).unwrap_or(255), 0, 0, 0], payload].concat()
    }

    fn greeting(flags: u16) -> Vec<u8> {
        let tail = [0x21, 2, 0, 0xff, 0xc1, 21];
        packet(&[b"\x0a8.0.36\0abcd12345678\0", &flags.to_le_bytes()[..], &tail].concat())
    }

    #[tokio::test]
    async fn the_way_to_tls() {
        let (ours, mut theirs) = tokio::io::duplex(512);
        theirs.write_all(&greeting(0xffff)).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(start_tls(ours).await.is_ok());
        let mut request = Vec::new();
        let _ = theirs.read_to_end(&mut request).await;
        assert_eq!((request.len(), &request[..9]), (36, &[32, 0, 0, 1, 0, 0x8a, 8, 0, 0][..]));
    }

    #[tokio::test]
    async fn t11_hostile_servers_get_nowhere() {
        let blocked = packet(b"\xff\x69\x04Host '10.0.0.1' is blocked\x1b");
        for (says, why) in [
            (greeting(0x7ff), Silence::NotOffered),
            (blocked, Silence::NotReady),
            (packet(b"\x0anever ends"), Silence::NotSpoken),
            (packet(b"\x0a8\0cut"), Silence::NotSpoken),
            (b"220 mail.example.com ESMTP\r\n".to_vec(), Silence::NotSpoken),
            (vec![0; 64], Silence::NotSpoken),
            (b"\x20\0\0\0short".to_vec(), Silence::BrokenOff),
        ] {
            match told(&[&says], start_tls).await {
                Told::Unseen(found, words) => assert_eq!(found, why, "{words}"),
                ready @ Told::Ready(_) => panic!("{ready:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_greeting_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = can_tls(&octets);
            let _ = can_tls(&[&[VERSION], &octets[..]].concat());
        }
    }
}
