//! Messages to this host's log service, as RFC 5424 has it, over its datagram socket.

use tokio::net::UnixDatagram;

use crate::core::channel::Message;
use crate::core::failure::{Failure, Fault};
use crate::core::gravity::Gravity;
use crate::ports::{Channel, Reply};

pub struct Syslog {
    socket: String,
}

/// `daemon` (RFC 5424 §6.2.1).
const FACILITY: u8 = 3;
/// Longest datagram, in bytes: what every receiver must take is 480, and most take 8 KiB.
const LINE_MAX: usize = 4096;

impl Syslog {
    pub fn new(socket: &str) -> Self {
        Self { socket: socket.to_owned() }
    }
}

impl Channel for Syslog {
    /// Code: `alert-socket`.
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let line = line(message);
            datagram(&self.socket, line.as_bytes()).await
        })
    }
}

pub(super) async fn datagram(socket: &str, bytes: &[u8]) -> Result<(), Failure> {
    let sent = async {
        let own = UnixDatagram::unbound()?;
        own.send_to(bytes, socket).await
    };
    sent.await.map(|_| ()).map_err(|error| {
        Failure::transient(Fault::Host, "alert-socket", format!("{socket} takes no messages: {error}"))
    })
}

pub(super) const fn priority(gravity: Gravity, over: bool) -> u8 {
    match gravity {
        _ if over => 5,
        Gravity::Page => 2,
        Gravity::Ticket => 4,
        Gravity::Notice => 5,
    }
}

fn line(message: &Message) -> String {
    let number = FACILITY * 8 + priority(message.gravity, message.is_over());
    let pairs = [
        ("key", message.key.as_str()),
        ("occasion", message.occasion.word()),
        ("gravity", message.gravity.word()),
        ("code", &message.code),
    ];
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    // The number 32473 is the one for examples (RFC 5612); we have none of our own.
    let mut line = format!(
        "<{number}>1 {} {} nolapse {} alert [nolapse@32473 {}] {}",
        message.at,
        printable(&message.host),
        std::process::id(),
        pairs.join(" "),
        message.title.replace('\n', " / ")
    );
    let mut end = line.len().min(LINE_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

/// RFC 5424 §6.3.3.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

/// `PRINTUSASCII`, or the nil value.
fn printable(host: &str) -> &str {
    if !host.is_empty() && host.len() <= 255 && host.bytes().all(|b| b.is_ascii_graphic()) {
        host
    } else {
        "-"
    }
}
