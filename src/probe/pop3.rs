//! As much of POP3 as leads to TLS and out again (RFC 2595 §4, RFC 2449 §5).

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Talk;
use super::unseen::Unseen;
use crate::core::silence::Silence;

/// Ends the session.
pub const QUIT: &[u8] = b"QUIT\r\n";

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<S, Unseen> {
    let mut talk = Talk::new(stream, "the POP3 server");
    let greeting = talk.hear("greeting").await?;
    match () {
        () if greeting.starts_with("+OK") => {}
        () if greeting.starts_with("-ERR") => {
            return Err(talk.answered(Silence::NotReady, "greeting", &greeting));
        }
        () => return Err(talk.answered(Silence::NotSpoken, "greeting", &greeting)),
    }
    talk.say("CAPA\r\n").await?;
    // A server without CAPA may know STLS all the same.
    let mut offered = true;
    if talk.hear("CAPA").await?.starts_with("+OK") {
        offered = false;
        loop {
            let line = talk.hear("CAPA").await?;
            if line == "." {
                break;
            }
            offered |= line.eq_ignore_ascii_case("STLS");
        }
    }
    if !offered {
        let _ = talk.say("QUIT\r\n").await;
        return Err(talk.not_offered());
    }
    talk.say("STLS\r\n").await?;
    let answer = talk.hear("STLS").await?;
    if !answer.starts_with("+OK") {
        let _ = talk.say("QUIT\r\n").await;
        return Err(talk.answered(Silence::NotReady, "STLS", &answer));
    }
    talk.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};

    const GREETING: &[u8] = b"+OK ready\r\n";

    #[tokio::test]
    async fn the_way_to_tls() {
        for offer in [&b"+OK list\r\nUIDL\r\nSTLS\r\n.\r\n"[..], b"-ERR what is CAPA?\r\n"] {
            let ready = told(&[GREETING, offer, b"+OK begin\r\n"], start_tls).await;
            assert_eq!(ready, Told::Ready("CAPA\r\nSTLS\r\n".into()));
        }
    }

    #[tokio::test]
    async fn t11_hostile_servers_get_nowhere() {
        let endless = format!("+OK\r\n{}", "UIDL\r\n".repeat(3000));
        for (script, why) in [
            (vec![GREETING, endless.as_bytes()], Silence::NotSpoken),
            (vec![b"-ERR in use\r\n"], Silence::NotReady),
            (vec![b"SSH-2.0-OpenSSH\r\n"], Silence::NotSpoken),
            (vec![GREETING, b"+OK\r\nUIDL\r\n.\r\n"], Silence::NotOffered),
            (vec![GREETING, b"+OK\r\nSTLS\r\n.\r\n", b"-ERR no key\r\n"], Silence::NotReady),
            (vec![GREETING, b"+OK\r\nSTLS\r\n.\r\n", b"+OK\r\n+OK injected\r\n"], Silence::NotReady),
            (vec![GREETING, b"+OK\r\nSTLS\r\n"], Silence::BrokenOff),
        ] {
            match told(&script, start_tls).await {
                Told::Unseen(found, words) => assert_eq!(found, why, "{words}"),
                ready @ Told::Ready(_) => panic!("{ready:?}"),
            }
        }
    }
}
