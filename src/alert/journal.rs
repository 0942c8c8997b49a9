//! Messages to systemd's journal, by its native protocol: fields that can be searched for.

use super::syslog::{datagram, priority};
use crate::core::channel::Message;
use crate::core::failure::Failure;
use crate::ports::{Channel, Reply};

pub struct Journal {
    socket: String,
}

impl Journal {
    pub fn new(socket: &str) -> Self {
        Self { socket: socket.to_owned() }
    }
}

impl Channel for Journal {
    /// Code: `alert-socket`.
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move { datagram(&self.socket, &entry(message)).await })
    }
}

fn entry(message: &Message) -> Vec<u8> {
    let number = priority(message.gravity, message.is_over()).to_string();
    let text = format!("{}\n{}", message.title, message.text);
    let mut entry = Vec::new();
    for (name, value) in [
        ("MESSAGE", text.as_str()),
        ("PRIORITY", &number),
        ("SYSLOG_IDENTIFIER", "nolapse"),
        ("NOLAPSE_ALERT_KEY", &message.key),
        ("NOLAPSE_ALERT_OCCASION", message.occasion.word()),
        ("NOLAPSE_ALERT_GRAVITY", message.gravity.word()),
        ("NOLAPSE_ALERT_CODE", &message.code),
        ("NOLAPSE_ALERT_SUBJECTS", &message.subjects.join(" ")),
    ] {
        put(&mut entry, name, value);
    }
    entry
}

/// A value with a line feed goes with its length, or it would begin another field.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}
