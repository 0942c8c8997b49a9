//! A way to reach people, as the configuration wants it, and what is sent on it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::gravity::Gravity;
use super::labels::Labels;
use super::name::ChannelId;
use super::spec::SecretSource;
use super::time::{Span, Timestamp};

/// One `[alert.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    pub id: ChannelId,
    /// What weighs less is not sent.
    pub least: Gravity,
    /// Only what bears all of these is sent; all where there are none.
    pub labels: Labels,
    /// Bound on sending one message.
    pub timeout: Span,
    pub kind: ChannelKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// A program, with the message as JSON on standard input.
    Exec {
        argv: Vec<String>,
    },
    Webhook(Webhook),
    Email(Box<Email>),
    /// RFC 5424 to the datagram socket of this host's log service.
    Syslog {
        socket: String,
    },
    /// systemd's journal by its own protocol.
    Journal {
        socket: String,
    },
}

impl ChannelKind {
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Exec { .. } => "exec",
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Syslog { .. } => "syslog",
            Self::Journal { .. } => "journal",
        }
    }
}

/// An HTTP request. In URL, headers and body `${secret}` stands for the secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// A text with placeholders; the message itself as JSON where there is none.
    pub body: Option<String>,
    pub secret: Option<SecretSource>,
    /// PEM file of the roots that vouch for the server, in place of the system's.
    pub ca_file: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub from: String,
    pub to: Vec<String>,
    /// User, and where the password is.
    pub login: Option<(String, SecretSource)>,
    pub ca_file: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS, and nothing without it.
    Starttls,
    /// In the clear: on this host only.
    None,
}

impl MailTls {
    pub const ALL: [Self; 3] = [Self::Implicit, Self::Starttls, Self::None];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::Starttls => "starttls",
            Self::None => "none",
        }
    }
}

/// `[heartbeat]`: who is told that the agent lives, so that silence is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatSpec {
    pub how: Beat,
    pub every: Span,
    pub timeout: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    Url {
        ping: String,
        fail: Option<String>,
        secret: Option<SecretSource>,
    },
    /// A program; its first argument after these is `ok` or `fail`.
    Exec {
        argv: Vec<String>,
    },
}

/// Why a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    Raised,
    /// It weighs more than before.
    Escalated,
    /// It concerns many more than before.
    Grown,
    /// It still stands.
    Reminder,
    Recovered,
    /// Several at once, as there were too many to send one by one.
    Digest,
    Test,
}

impl Occasion {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Grown => "grown",
            Self::Reminder => "reminder",
            Self::Recovered => "recovered",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }
}

/// One message to people. All texts are safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Message {
    /// 1; raised when a field changes its meaning.
    pub version: u32,
    pub occasion: Occasion,
    pub gravity: Gravity,
    /// The same for everything about one cause on one host, so that a receiver can put it together.
    pub key: String,
    pub host: String,
    /// What kind of concern: stable and kebab-case.
    pub code: String,
    /// In one line.
    pub title: String,
    /// In full, several lines.
    pub text: String,
    /// How many certificates or other things are concerned.
    pub count: u32,
    /// The first few of them.
    pub subjects: Vec<String>,
    pub advice: String,
    pub labels: BTreeMap<String, String>,
    pub since: Timestamp,
    pub at: Timestamp,
    /// When it was over; `None` while it stands.
    pub ended_at: Option<Timestamp>,
    /// When it is told again at the latest, if it still stands.
    pub again_at: Timestamp,
}

impl Message {
    /// Whether a receiver should open what it keeps about the cause, or close it.
    pub const fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_called_by_its_type() {
        for (kind, word) in [
            (ChannelKind::Exec { argv: Vec::new() }, "exec"),
            (ChannelKind::Webhook(Webhook::default()), "webhook"),
            (ChannelKind::Syslog { socket: "/dev/log".into() }, "syslog"),
            (ChannelKind::Journal { socket: "/run/x".into() }, "journal"),
        ] {
            assert_eq!(kind.word(), word);
        }
    }
}
