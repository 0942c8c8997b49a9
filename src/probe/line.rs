//! Talking line by line before TLS begins, with a server that may say anything, and any amount.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::unseen::Unseen;
use crate::core::failure::plain;
use crate::core::silence::Silence;

/// Longest line taken, in bytes. SMTP and POP3 allow 512; lists of what an IMAP server can do are
/// longer.
const LINE_MAX: u64 = 4096;
/// Most lines of a whole dialogue.
const LINES_MAX: usize = 200;
/// Most characters of a server's text shown.
const SHOWN: usize = 120;

/// A connection that is still in plain text.
pub struct Talk<S> {
    stream: BufReader<S>,
    /// What the server is called in words for people: "the SMTP server".
    server: &'static str,
    lines: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub fn new(stream: S, server: &'static str) -> Self {
        Self { stream: BufReader::new(stream), server, lines: 0 }
    }

    pub async fn say(&mut self, line: &str) -> Result<(), Unseen> {
        self.stream.write_all(line.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// One line without its end; `to` names what it answers.
    pub async fn hear(&mut self, to: &str) -> Result<String, Unseen> {
        let server = self.server;
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            let words = format!("{server} closed the connection instead of its {to} reply");
            return Err(Unseen::new(Silence::BrokenOff, words));
        }
        self.lines += 1;
        if !line.ends_with(b"\n") || self.lines > LINES_MAX {
            let words = format!("{server}'s {to} reply is too long");
            return Err(Unseen::new(Silence::NotSpoken, words));
        }
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    /// The server's own words as the reason.
    pub fn answered(&self, why: Silence, to: &str, text: &str) -> Unseen {
        Unseen::new(why, format!("{} answered to {to}: {}", self.server, plain(text, SHOWN)))
    }

    pub fn not_offered(&self) -> Unseen {
        Unseen::new(Silence::NotOffered, format!("{} does not offer STARTTLS", self.server))
    }

    /// The connection, on which the next octet is TLS.
    pub fn end(self) -> Result<S, Unseen> {
        // Plain text after the go-ahead would be taken for TLS: someone in between put it there, or
        // the server found that it can't begin (Dovecot without a usable key).
        if !self.stream.buffer().is_empty() {
            let words = format!("{} sent more after its answer to STARTTLS", self.server);
            return Err(Unseen::new(Silence::NotReady, words));
        }
        Ok(self.stream.into_inner())
    }
}
