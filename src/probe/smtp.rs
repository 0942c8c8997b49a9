//! As much of SMTP as leads to TLS and out again (RFC 3207).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Talk;
use super::unseen::Unseen;
use crate::core::silence::Silence;

/// Ends the session.
pub const QUIT: &[u8] = b"QUIT\r\n";

/// Talks up to the point where the next byte is TLS. `own` is our address on this connection.
pub async fn start_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S, own: IpAddr) -> Result<S, Unseen> {
    let mut talk = Talk::new(stream, "the SMTP server");
    expect(&mut talk, "220", "greeting").await?;
    talk.say(&hello(own)).await?;
    let offers = expect(&mut talk, "250", "EHLO").await?;
    // A line is the code, a dash or a blank, and the keyword.
    if !offers
        .iter()
        .any(|line| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS")))
    {
        let _ = talk.say("QUIT\r\n").await;
        return Err(talk.not_offered());
    }
    talk.say("STARTTLS\r\n").await?;
    if let Err(unseen) = expect(&mut talk, "220", "STARTTLS").await {
        // The reason counts, not whether the farewell got through.
        let _ = talk.say("QUIT\r\n").await;
        return Err(unseen);
    }
    talk.end()
}

/// An address literal is right wherever we run; our host's name may not be (RFC 5321 §4.1.3).
fn hello(own: IpAddr) -> String {
    match own.to_canonical() {
        IpAddr::V4(ip) => format!("EHLO [{ip}]\r\n"),
        IpAddr::V6(ip) => format!("EHLO [IPv6:{ip}]\r\n"),
    }
}

/// Reads one reply of any number of lines and demands its code.
async fn expect<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
    code: &str,
    to: &str,
) -> Result<Vec<String>, Unseen> {
    let mut lines = Vec::new();
    loop {
        let text = talk.hear(to).await?;
        if !text.starts_with(code) {
            // A server that means it begins with a code; 4xx and 5xx say "not now" and "no".
            let refuses = text.starts_with(['4', '5']) && text.get(..3).is_some_and(is_number);
            let why = if refuses { Silence::NotReady } else { Silence::NotSpoken };
            return Err(talk.answered(why, to, &text));
        }
        let last = text.as_bytes().get(3) != Some(&b'-');
        lines.push(text);
        if last {
            return Ok(lines);
        }
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::scripted::{Told, told};

    async fn told_of(script: &[&[u8]]) -> Told {
        told(script, |stream| start_tls(stream, IpAddr::from([127, 0, 0, 1]))).await
    }

    const GREETING: &[u8] = b"220 mx ESMTP\r\n";

    #[tokio::test]
    async fn the_way_to_tls() {
        let ready = told_of(&[GREETING, b"250-mx\r\n250-SIZE 1\r\n250 STARTTLS\r\n", b"220 go\r\n"]).await;
        assert_eq!(ready, Told::Ready("EHLO [127.0.0.1]\r\nSTARTTLS\r\n".into()));
        // A last line only counts when it has a blank or nothing behind its code.
        assert!(matches!(
            told_of(&[GREETING, b"250-only\r\n250\r\n"]).await,
            Told::Unseen(Silence::NotOffered, _)
        ));
    }

    #[tokio::test]
    async fn t11_replies_are_bounded() {
        let endless_line = ["250-".as_bytes(), &[b'x'; 10_000]].concat();
        let endless_reply = "250-x\r\n".repeat(1000);
        for says in [&endless_line, endless_reply.as_bytes()] {
            let words = "the SMTP server's EHLO reply is too long".to_owned();
            assert_eq!(told_of(&[GREETING, says]).await, Told::Unseen(Silence::NotSpoken, words));
        }
    }

    #[tokio::test]
    async fn t09_a_refusal_is_told_and_escaped() {
        let words = "the SMTP server answered to greeting: 554 go \\u{1b}[31maway".to_owned();
        assert_eq!(told_of(&[b"554 go \x1b[31maway\r\n"]).await, Told::Unseen(Silence::NotReady, words));
    }

    #[tokio::test]
    async fn t11_hostile_servers_get_nowhere() {
        for (script, why, words) in [
            (
                vec![&b"* OK IMAP here\r\n"[..]],
                Silence::NotSpoken,
                "the SMTP server answered to greeting: * OK IMAP here",
            ),
            (
                vec![GREETING, b"250 STARTTLS\r\n", b"454 TLS not available\r\n"],
                Silence::NotReady,
                "the SMTP server answered to STARTTLS: 454 TLS not available",
            ),
            (
                vec![GREETING, b"250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"],
                Silence::NotReady,
                "the SMTP server sent more after its answer to STARTTLS",
            ),
            (
                vec![],
                Silence::BrokenOff,
                "the SMTP server closed the connection instead of its greeting reply",
            ),
        ] {
            assert_eq!(told_of(&script).await, Told::Unseen(why, words.into()));
        }
    }

    #[test]
    fn the_greeting_is_an_address_literal() {
        for (own, line) in [
            (IpAddr::from([127, 0, 0, 1]), "EHLO [127.0.0.1]\r\n"),
            (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), "EHLO [IPv6:::1]\r\n"),
            (IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]), "EHLO [127.0.0.1]\r\n"),
        ] {
            assert_eq!(hello(own), line);
        }
    }
}
