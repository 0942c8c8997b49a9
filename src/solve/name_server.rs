//! The sockets of a name server of ours: UDP and TCP on each address, answers by
//! [`Zones`].
//!
//! It is open to the whole internet while it runs: nothing a stranger sends makes it keep more than
//! [`MESSAGE_MAX`] for each of its connections, wait longer than [`CONNECTION_LIFE`], or send more
//! than the [`throttle`](super::throttle) lets through (threats T03, T11).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::listener::Listener;
use super::socket;
use super::texts::StandingTexts;
use super::throttle::{Throttle, Turn};
use crate::codec::dns::Zones;
use crate::codec::dns::zone::Path;
use crate::core::failure::{Failure, Fault};
use crate::core::spec::Listen;
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// Longest question taken, in octets: a longest name and EDNS need 300.
pub const MESSAGE_MAX: usize = 1232;
/// Questions of one connection.
pub const QUESTIONS_MAX: usize = 100;
/// Time between two questions of one connection, and for taking an answer (RFC 7766 §6.2.3).
pub const IDLE: Span = Span::secs(5);
/// Time for a whole connection.
pub const CONNECTION_LIFE: Span = Span::secs(30);
/// Pause after the system refused a datagram.
const PAUSE: Span = Span::from_millis(100);

const WAY_OUT: &str = "let the solver's `dns-listen` name an address that the other one leaves free (a resolver on \
                       127.0.0.53 needs port 53 of that address alone), or stop it";

/// Answers until dropped.
pub struct NameServer {
    addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    listeners: Vec<Listener>,
}

/// What all sockets share.
pub struct Tongue {
    pub zones: Zones,
    pub texts: Arc<StandingTexts>,
    pub clock: Clock,
}

impl NameServer {
    /// Listens by UDP and TCP. Needs a tokio runtime.
    ///
    /// Codes: those of [`socket::open`].
    pub async fn bind(listen: &[Listen], tongue: Arc<Tongue>) -> Result<Self, Failure> {
        let mut server = Self { addresses: Vec::new(), tasks: Vec::new(), listeners: Vec::new() };
        for listen in listen {
            let (streams, datagrams) = sockets(listen).await?;
            server.addresses.extend(datagrams.iter().filter_map(|socket| socket.local_addr().ok()));
            let shared = Arc::clone(&tongue);
            let converse = move |stream| converse(stream, Arc::clone(&shared));
            server.listeners.push(Listener::start(streams, &tongue.clock, converse));
            for socket in datagrams {
                server.tasks.push(tokio::spawn(answer(socket, Arc::clone(&tongue))));
            }
        }
        Ok(server)
    }

    /// Where it listens by UDP.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops answering; the ports are free when this returns, which a drop does not promise.
    pub async fn close(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Nothing but the news that it was aborted.
            let _ = task.await;
        }
        for listener in self.listeners.drain(..) {
            listener.close().await;
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Both kinds at one address. What systemd hands over must hold at least UDP: without it no resolver asks.
pub async fn sockets(listen: &Listen) -> Result<(Vec<TcpListener>, Vec<UdpSocket>), Failure> {
    let datagrams = socket::open_datagrams(listen, WAY_OUT).await?;
    let streams = match socket::open_or(listen, WAY_OUT).await {
        // One name may be given to a unit for UDP alone; long answers are lost then, and no others.
        Err(failure) if failure.code == "socket-missing" && !datagrams.is_empty() => Vec::new(),
        streams => streams?,
    };
    if datagrams.is_empty() {
        let words = "systemd handed over no UDP socket by that name; the socket unit needs ListenDatagram= \
                     beside ListenStream=";
        return Err(Failure::refused(Fault::Host, "socket-missing", words));
    }
    Ok((streams, datagrams))
}

async fn answer(socket: UdpSocket, tongue: Arc<Tongue>) {
    let mut throttle = Throttle::default();
    let mut buffer = vec![0; MESSAGE_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            tongue.clock.sleep(PAUSE).await;
            continue;
        };
        let path = match throttle.turn(from.ip(), tongue.clock.monotonic()) {
            Turn::Answer => Path::Udp,
            Turn::ByTcp => Path::UdpInHaste,
            Turn::Silence => continue,
        };
        if let Some(answer) = tongue.tell(&buffer[..length], path).await {
            // Whether it arrives is the asker's business: it asks again.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn converse(mut stream: TcpStream, tongue: Arc<Tongue>) {
    let clock = tongue.clock.clone();
    let conversation = async {
        for _ in 0..QUESTIONS_MAX {
            let asked = tongue.clock.timeout(IDLE, question(&mut stream)).await;
            let Some(Ok(Some(message))) = asked else { return };
            // After what can't be read nothing can be trusted to be in step.
            let Some(answer) = tongue.tell(&message, Path::Tcp).await else { return };
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            let framed = [&length.to_be_bytes()[..], &answer].concat();
            let Some(Ok(())) = tongue.clock.timeout(IDLE, stream.write_all(&framed)).await else { return };
        }
    };
    // How a stranger's connection ended is the stranger's business.
    let _ = clock.timeout(CONNECTION_LIFE, conversation).await;
}

/// The next message; `None` for one that is too long to be a question.
async fn question(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_MAX {
        return Ok(None);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

impl Tongue {
    async fn tell(&self, message: &[u8], path: Path) -> Option<Vec<u8>> {
        let texts = self.texts.all().await;
        self.zones.answer(message, texts.as_deref(), path)
    }
}
