//! How a channel does, and how much more it may be told today.

use serde::{Deserialize, Serialize};

use crate::core::time::{Span, Timestamp};

/// Of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Note {
    /// In a row.
    pub failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Messages of the last day, oldest first, at most [`Note::MESSAGES_A_DAY`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sent {
    pub at: Timestamp,
    pub kind: SentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentKind {
    Page,
    Other,
    Digest,
}

/// Least time between two digests.
const DIGEST_EVERY: Span = Span::HOUR;

impl Note {
    /// Messages about something that is or was a page, one by one, in any 24 hours.
    pub const PAGES_A_DAY: usize = 30;
    /// Other messages, one by one.
    pub const OTHERS_A_DAY: usize = 30;
    /// Messages that tell of several alerts at once, as there were too many.
    pub const DIGESTS_A_DAY: usize = 24;
    /// All of them.
    pub const MESSAGES_A_DAY: usize = Self::PAGES_A_DAY + Self::OTHERS_A_DAY + Self::DIGESTS_A_DAY;

    pub(super) fn room(&self, kind: SentKind, now: Timestamp) -> usize {
        let most = match kind {
            SentKind::Page => Self::PAGES_A_DAY,
            SentKind::Other => Self::OTHERS_A_DAY,
            SentKind::Digest => Self::DIGESTS_A_DAY,
        };
        most.saturating_sub(self.recent(now).filter(|sent| sent.kind == kind).count())
    }

    pub(super) fn recent(&self, now: Timestamp) -> impl Iterator<Item = &Sent> {
        // What a clock that was put back since calls tomorrow counts too.
        self.sent.iter().filter(move |sent| now.since(sent.at) < Span::DAY)
    }

    /// When a digest may go out.
    pub(super) fn digest_from(&self, now: Timestamp) -> Timestamp {
        let last = self.sent.iter().rev().find(|sent| sent.kind == SentKind::Digest);
        let first = self.recent(now).filter(|sent| sent.kind == SentKind::Digest).map(|sent| sent.at).min();
        let spaced = last.map_or(now, |last| (last.at + DIGEST_EVERY).min(now + DIGEST_EVERY));
        match first {
            Some(first) if self.room(SentKind::Digest, now) == 0 => spaced.max(first + Span::DAY),
            _ => spaced,
        }
    }
}
