//! One message to one server, and its answer.
//!
//! Every question goes out from a port of its own with an id of its own, and only the server that was
//! asked is heard (threat T10). An answer that did not fit is asked for again by TCP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::codec::dns::message::UDP_MAX;
use crate::codec::dns::{Answer, DomainName, Kind, Malformed, Query};
use crate::core::failure::plain;
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// How long each question by UDP is waited for; a packet that was lost is sent again.
const UDP_TIMES: [Span; 2] = [Span::from_millis(1500), Span::from_millis(2500)];
/// Time for a whole exchange by TCP.
const TCP_TIME: Span = Span::secs(6);
/// Characters of an error of the system's kept.
const SHOWN: usize = 120;

/// Why a server's answer is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mute {
    /// Nothing came in time.
    Silent,
    /// The way there is closed; in the system's words.
    Closed(String),
    Garbled(Malformed),
}

impl fmt::Display for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("does not answer"),
            Self::Closed(why) => write!(f, "can't be reached ({why})"),
            Self::Garbled(why) => write!(f, "sent what can't be read ({why})"),
        }
    }
}

impl Mute {
    fn closed(error: &std::io::Error) -> Self {
        Self::Closed(plain(&error.to_string(), SHOWN))
    }
}

/// Asks `server` one question.
pub async fn ask(
    server: SocketAddr,
    name: &DomainName,
    kind: Kind,
    recursion: bool,
    clock: &Clock,
) -> Result<Answer, Mute> {
    let question = Query { id: 0, name: name.clone(), kind, recursion, unchecked: false };
    ask_as(server, &question, clock).await
}

/// As [`ask`], in whatever manner the question says; its number is drawn anew.
pub async fn ask_as(server: SocketAddr, question: &Query, clock: &Clock) -> Result<Answer, Mute> {
    let mut last = Mute::Silent;
    for time in UDP_TIMES {
        let query = Query { id: fresh_id()?, ..question.clone() };
        match clock.timeout(time, by_udp(server, &query)).await {
            Some(Ok(answer)) if answer.truncated => {
                let bytes = by_tcp(server, &query.to_bytes(), clock).await?;
                return Answer::parse(&bytes, &query).map_err(Mute::Garbled);
            }
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(mute)) => last = mute,
            None => last = Mute::Silent,
        }
    }
    Err(last)
}

/// Sends one message by TCP and reads the one that comes back.
pub async fn by_tcp(server: SocketAddr, message: &[u8], clock: &Clock) -> Result<Vec<u8>, Mute> {
    let exchanged = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
        // Its length is in 16 bits, so an answer has its bound.
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match clock.timeout(TCP_TIME, exchanged).await {
        Some(answer) => answer.map_err(|error| Mute::closed(&error)),
        None => Err(Mute::Silent),
    }
}

/// A number that a stranger can't guess.
pub fn fresh_id() -> Result<u16, Mute> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| Mute::Closed("no random numbers".to_owned()))?;
    Ok(u16::from_be_bytes(id))
}

async fn by_udp(server: SocketAddr, query: &Query) -> Result<Answer, Mute> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(|error| Mute::closed(&error))?;
    socket.connect(server).await.map_err(|error| Mute::closed(&error))?;
    socket.send(&query.to_bytes()).await.map_err(|error| Mute::closed(&error))?;
    let mut buffer = vec![0; usize::from(UDP_MAX)];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| Mute::closed(&error))?;
        match Answer::parse(&buffer[..length], query) {
            Ok(answer) => return Ok(answer),
            // Forged, or late for an earlier question: the right one may still come.
            Err(Malformed::Stranger) => {}
            Err(why) => return Err(Mute::Garbled(why)),
        }
    }
}
