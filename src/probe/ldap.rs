//! As much of LDAP as leads to TLS and out again (RFC 4511 §4.14).

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::unseen::Unseen;
use crate::core::silence::Silence;

/// Message 1, an extended request for `1.3.6.1.4.1.1466.20037`.
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// Message 2, an unbind request: ends the session.
pub const UNBIND: &[u8] = b"\x30\x05\x02\x01\x02\x42\x00";

/// Longest answer taken, in bytes.
const ANSWER_MAX: usize = 4096;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
/// `[APPLICATION 24]`, constructed.
const EXTENDED_RESPONSE: u8 = 0x78;

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<S, Unseen> {
    stream.write_all(REQUEST).await?;
    stream.flush().await?;
    let answer = message(&mut stream).await?;
    match result_code(&answer).ok_or_else(strange)? {
        0 => Ok(stream),
        // protocolError: the server does not know the operation.
        2 => Err(Unseen::new(Silence::NotOffered, "the LDAP server does not offer StartTLS")),
        code => {
            let words = format!("the LDAP server answered to StartTLS: result code {code}");
            Err(Unseen::new(Silence::NotReady, words))
        }
    }
}

fn strange() -> Unseen {
    Unseen::new(Silence::NotSpoken, "this is no LDAP server")
}

/// The content of one message, whose length comes first.
async fn message<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Unseen> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    if head[0] != SEQUENCE {
        return Err(strange());
    }
    let length = match head[1] {
        short @ 0..=0x7f => usize::from(short),
        // Active Directory writes four octets whatever the length.
        long @ 0x81..=0x84 => {
            let mut length = 0;
            for _ in 0..long & 0x7f {
                length = length << 8 | usize::from(stream.read_u8().await?);
            }
            length
        }
        _ => return Err(strange()),
    };
    if length > ANSWER_MAX {
        return Err(strange());
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    Ok(content)
}

/// The result code of the answer to message 1.
fn result_code(content: &[u8]) -> Option<u8> {
    let (number, rest) = element(content, INTEGER)?;
    let (response, _) = element(rest, EXTENDED_RESPONSE)?;
    let (code, _) = element(response, ENUMERATED)?;
    match (number, code) {
        ([1], [code]) => Some(*code),
        _ => None,
    }
}

/// The content of the element at the front, if it has this tag, and what follows it.
fn element(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = octets.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0usize, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};
    use proptest::prelude::*;

    #[tokio::test]
    async fn the_way_to_tls() {
        for answer in [
            // OpenLDAP
            &b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"[..],
            // Active Directory, with lengths of four octets
            b"\x30\x84\0\0\0\x14\x02\x01\x01\x78\x84\0\0\0\x0b\x0a\x01\0\x04\0\x04\0\x8a\x02ok",
        ] {
            let ready = told(&[b"", answer], start_tls).await;
            assert!(matches!(ready, Told::Ready(_)), "{ready:?}");
        }
        assert_eq!(REQUEST.len(), 2 + 0x1d);
    }

    #[tokio::test]
    async fn t11_hostile_servers_get_nowhere() {
        for (answer, why) in [
            (&b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"[..], Silence::NotOffered),
            (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00", Silence::NotReady),
            (b"\x30\x0c\x02\x01\x09\x78\x07\x0a\x01\x00\x04\x00\x04\x00", Silence::NotSpoken),
            (b"\x30\x84\xff\xff\xff\xff", Silence::NotSpoken),
            (b"\x30\x80", Silence::NotSpoken),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Silence::NotSpoken),
            (b"\x30\x0c\x02", Silence::BrokenOff),
            (b"", Silence::BrokenOff),
        ] {
            match told(&[b"", answer], start_tls).await {
                Told::Unseen(found, words) => assert_eq!(found, why, "{words}"),
                ready @ Told::Ready(_) => panic!("{ready:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = result_code(&octets);
            let _ = result_code(&[&[INTEGER, 1, 1, EXTENDED_RESPONSE], &octets[..]].concat());
        }
    }
}
