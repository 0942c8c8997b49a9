//! As much of FTP as leads to TLS and out again (RFC 4217 §4, RFC 959 §4.2).

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Talk;
use super::unseen::Unseen;
use crate::core::silence::Silence;

/// Ends the session.
pub const QUIT: &[u8] = b"QUIT\r\n";

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<S, Unseen> {
    let mut talk = Talk::new(stream, "the FTP server");
    let greeting = reply(&mut talk, "greeting").await?;
    match code(&greeting) {
        220 => {}
        120 | 421 => return Err(talk.answered(Silence::NotReady, "greeting", &greeting)),
        _ => return Err(talk.answered(Silence::NotSpoken, "greeting", &greeting)),
    }
    talk.say("AUTH TLS\r\n").await?;
    let answer = reply(&mut talk, "AUTH TLS").await?;
    match code(&answer) {
        234 => talk.end(),
        refusal => {
            let _ = talk.say("QUIT\r\n").await;
            // RFC 4217 §4: unknown or unwanted by the server; anything else may pass.
            let is_final = matches!(refusal, 500 | 502 | 504 | 534);
            if is_final {
                return Err(talk.not_offered());
            }
            Err(talk.answered(Silence::NotReady, "AUTH TLS", &answer))
        }
    }
}

/// The last line of a reply; those before it begin with its code and a hyphen, or with anything.
async fn reply<S: AsyncRead + AsyncWrite + Unpin>(talk: &mut Talk<S>, to: &str) -> Result<String, Unseen> {
    let first = talk.hear(to).await?;
    let digits = first.get(..3).filter(|_| code(&first) > 0).unwrap_or_default();
    if digits.is_empty() || first.as_bytes().get(3) != Some(&b'-') {
        return Ok(first);
    }
    let last = format!("{digits} ");
    loop {
        let line = talk.hear(to).await?;
        if line.starts_with(&last) || line == digits {
            return Ok(line);
        }
    }
}

/// 0 for what is no reply.
fn code(reply: &str) -> u16 {
    reply.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};

    const GREETING: &[u8] = b"220 ready\r\n";

    #[tokio::test]
    async fn the_way_to_tls() {
        for greeting in [GREETING, b"220-Welcome\r\n 220 no end\r\nmore\r\n220 ready\r\n"] {
            let ready = told(&[greeting, b"234 begin\r\n"], start_tls).await;
            assert_eq!(ready, Told::Ready("AUTH TLS\r\n".into()));
        }
    }

    #[tokio::test]
    async fn t11_hostile_servers_get_nowhere() {
        let endless = format!("220-\r\n{}", "220-x\r\n".repeat(3000));
        for (script, why) in [
            (vec![endless.as_bytes()], Silence::NotSpoken),
            (vec![b"421 too many\r\n"], Silence::NotReady),
            (vec![b"SSH-2.0-OpenSSH\r\n"], Silence::NotSpoken),
            (vec![b"\xff\xff\xff\r\n"], Silence::NotSpoken),
            (vec![GREETING, b"500 AUTH?\r\n"], Silence::NotOffered),
            (vec![GREETING, b"431 no key\r\n"], Silence::NotReady),
            (vec![GREETING, b"234 ok\r\n230 injected\r\n"], Silence::NotReady),
            (vec![GREETING], Silence::BrokenOff),
            (vec![], Silence::BrokenOff),
        ] {
            match told(&script, start_tls).await {
                Told::Unseen(found, words) => assert_eq!(found, why, "{words}"),
                ready @ Told::Ready(_) => panic!("{ready:?}"),
            }
        }
    }
}
