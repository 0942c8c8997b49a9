//! As much of IMAP as leads to TLS and out again (RFC 9051 §6.2.1).

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Talk;
use super::unseen::Unseen;
use crate::core::silence::Silence;

/// Ends the session.
pub const LOGOUT: &[u8] = b"a3 LOGOUT\r\n";

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<S, Unseen> {
    let mut talk = Talk::new(stream, "the IMAP server");
    let greeting = talk.hear("greeting").await?;
    match word(&greeting, 1).as_str() {
        "OK" if word(&greeting, 0) == "*" => {}
        "BYE" if word(&greeting, 0) == "*" => {
            return Err(talk.answered(Silence::NotReady, "greeting", &greeting));
        }
        // A session that is logged in already may not begin TLS any more.
        "PREAUTH" if word(&greeting, 0) == "*" => return Err(talk.not_offered()),
        _ => return Err(talk.answered(Silence::NotSpoken, "greeting", &greeting)),
    }
    talk.say("a1 CAPABILITY\r\n").await?;
    let mut offered = false;
    loop {
        let line = talk.hear("CAPABILITY").await?;
        if word(&line, 0) == "A1" {
            break;
        }
        offered |= line.split_ascii_whitespace().any(|can| can.eq_ignore_ascii_case("STARTTLS"));
    }
    if !offered {
        let _ = talk.say("a2 LOGOUT\r\n").await;
        return Err(talk.not_offered());
    }
    talk.say("a2 STARTTLS\r\n").await?;
    loop {
        let line = talk.hear("STARTTLS").await?;
        if word(&line, 0) != "A2" {
            continue;
        }
        if word(&line, 1) != "OK" {
            return Err(talk.answered(Silence::NotReady, "STARTTLS", &line));
        }
        return talk.end();
    }
}

/// A word of a line in capitals; empty where there is none.
fn word(line: &str, at: usize) -> String {
    line.split_ascii_whitespace().nth(at).unwrap_or_default().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};

    const GREETING: &[u8] = b"* OK ready\r\n";
    const OFFER: &[u8] = b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK done\r\n";

    #[tokio::test]
    async fn the_way_to_tls() {
        let ready = told(&[GREETING, OFFER, b"a2 OK begin TLS\r\n"], start_tls).await;
        assert_eq!(ready, Told::Ready("a1 CAPABILITY\r\na2 STARTTLS\r\n".into()));
        let chatty = told(&[GREETING, OFFER, b"* 3 EXISTS\r\nA2 ok\r\n"], start_tls).await;
        assert!(matches!(chatty, Told::Ready(_)), "{chatty:?}");
    }

    #[tokio::test]
    async fn t11_hostile_servers_get_nowhere() {
        let endless = "* x\r\n".repeat(3000);
        for (script, why) in [
            (vec![GREETING, endless.as_bytes()], Silence::NotSpoken),
            (vec![&[b'*'; 9000][..]], Silence::NotSpoken),
            (vec![b"220 an SMTP server\r\n"], Silence::NotSpoken),
            (vec![b"\r\n"], Silence::NotSpoken),
            (vec![b"* BYE too many\r\n"], Silence::NotReady),
            (vec![b"* PREAUTH hello\r\n"], Silence::NotOffered),
            (vec![GREETING, b"* CAPABILITY IMAP4rev1\r\na1 OK\r\n"], Silence::NotOffered),
            (vec![GREETING, OFFER, b"a2 NO TLS init failed\r\n"], Silence::NotReady),
            (vec![GREETING, OFFER, b"a2 OK\r\n* OK injected\r\n"], Silence::NotReady),
            (vec![GREETING, OFFER], Silence::BrokenOff),
            (vec![], Silence::BrokenOff),
        ] {
            match told(&script, start_tls).await {
                Told::Unseen(found, words) => assert_eq!(found, why, "{words}"),
                ready @ Told::Ready(_) => panic!("{ready:?}"),
            }
        }
    }
}
