//! As much of SMTP as leads to TLS and out again (RFC 3207).

use std::io;
use std::net::IpAddr;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;

use crate::core::failure::plain;

/// Longest line taken, in bytes; RFC 5321 §4.5.3.1.5 allows 512.
const LINE_MAX: u64 = 2048;
/// Most lines of one reply.
const LINES_MAX: usize = 100;
/// Most characters of a server's text shown.
const SHOWN: usize = 120;

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls(stream: TcpStream) -> Result<TcpStream, String> {
    let greeting = greeting(stream.local_addr().map_err(|error| error.to_string())?.ip());
    let mut stream = BufReader::new(stream);
    expect(&mut stream, "220", "greeting").await?;
    say(&mut stream, &greeting).await?;
    let offers = expect(&mut stream, "250", "EHLO").await?;
    // A line is the code, a dash or a blank, and the keyword.
    if !offers
        .iter()
        .any(|line| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS")))
    {
        say(&mut stream, "QUIT\r\n").await?;
        return Err("the SMTP server does not offer STARTTLS".into());
    }
    say(&mut stream, "STARTTLS\r\n").await?;
    if let Err(words) = expect(&mut stream, "220", "STARTTLS").await {
        // The reason counts, not whether the farewell got through.
        let _ = say(&mut stream, "QUIT\r\n").await;
        return Err(words);
    }
    // Plain text after the go-ahead would be taken for TLS: someone in between put it there.
    if !stream.buffer().is_empty() {
        return Err("the SMTP server sent more after its answer to STARTTLS".into());
    }
    Ok(stream.into_inner())
}

/// Ends the session inside TLS, so that the server's log holds no lost connection.
pub async fn quit<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(b"QUIT\r\n").await?;
    stream.flush().await?;
    let mut reply = [0; 512];
    stream.read(&mut reply).await.map(|_| ())
}

/// An address literal is right wherever we run; our host's name may not be (RFC 5321 §4.1.3).
fn greeting(own: IpAddr) -> String {
    match own.to_canonical() {
        IpAddr::V4(ip) => format!("EHLO [{ip}]\r\n"),
        IpAddr::V6(ip) => format!("EHLO [IPv6:{ip}]\r\n"),
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, line: &str) -> Result<(), String> {
    stream.write_all(line.as_bytes()).await.map_err(|error| error.to_string())
}

/// Reads one reply of any number of lines and demands its code.
async fn expect<S: AsyncBufRead + Unpin>(
    stream: &mut S,
    code: &str,
    to: &str,
) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        (&mut *stream)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .await
            .map_err(|error| error.to_string())?;
        if line.is_empty() {
            return Err(format!("the SMTP server closed the connection instead of its {to} reply"));
        }
        if !line.ends_with(b"\n") || lines.len() == LINES_MAX {
            return Err(format!("the SMTP server's {to} reply is too long"));
        }
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        if !text.starts_with(code) {
            return Err(format!("the SMTP server answered to {to}: {}", plain(&text, SHOWN)));
        }
        let last = text.as_bytes().get(3) != Some(&b'-');
        lines.push(text);
        if last {
            return Ok(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn reply(text: &str) -> Result<Vec<String>, String> {
        expect(&mut BufReader::new(text.as_bytes()), "250", "EHLO").await
    }

    #[tokio::test]
    async fn replies_are_read_line_by_line() {
        assert_eq!(reply("250-a\r\n250-STARTTLS\r\n250 b\r\n").await.unwrap().len(), 3);
        assert_eq!(reply("250 only\nnext").await.unwrap(), ["250 only"]);
    }

    #[tokio::test]
    async fn t11_replies_are_bounded() {
        let endless_line = "250-".to_owned() + &"x".repeat(10_000);
        let endless_reply = "250-x\r\n".repeat(1000);
        for text in [endless_line, endless_reply] {
            assert!(reply(&text).await.unwrap_err().contains("too long"));
        }
    }

    #[tokio::test]
    async fn t09_a_refusal_is_told_and_escaped() {
        let words = reply("554 go \u{1b}[31maway\r\n").await.unwrap_err();
        assert_eq!(words, "the SMTP server answered to EHLO: 554 go \\u{1b}[31maway");
        assert!(reply("").await.unwrap_err().contains("closed"));
    }

    #[test]
    fn the_greeting_is_an_address_literal() {
        assert_eq!(greeting("127.0.0.1".parse().unwrap()), "EHLO [127.0.0.1]\r\n");
        assert_eq!(greeting("::1".parse().unwrap()), "EHLO [IPv6:::1]\r\n");
        assert_eq!(greeting("::ffff:127.0.0.1".parse().unwrap()), "EHLO [127.0.0.1]\r\n");
    }
}
