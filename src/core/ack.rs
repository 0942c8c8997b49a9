//! Somebody knows: what was told to people who said that they need not be told again for a while.

use serde::{Deserialize, Serialize};

use super::time::{Span, Timestamp};

/// All that were said and have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Acks {
    /// By subject, at most [`Acks::MOST`].
    pub acks: Vec<Ack>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ack {
    /// As alerts name it: a certificate, `watch/NAME`, `channel/NAME` or `agent`.
    pub subject: String,
    pub until: Timestamp,
    pub reason: String,
    pub at: Timestamp,
}

impl Acks {
    pub const MOST: usize = 500;
    /// The longest that anything can be silenced at once.
    pub const SPAN_MAX: Span = Span::days(30);

    /// The one that silences `subject` now. That of a watch silences all its places.
    pub fn of(&self, subject: &str, now: Timestamp) -> Option<&Ack> {
        self.acks.iter().find(|ack| ack.until > now && ack.covers(subject))
    }

    /// Puts one in the place of an earlier one of the same subject, and drops those that ended.
    /// False where there are too many.
    pub fn put(&mut self, ack: Ack, now: Timestamp) -> bool {
        self.acks.retain(|known| known.until > now && known.subject != ack.subject);
        if self.acks.len() >= Self::MOST {
            return false;
        }
        if ack.until > now {
            let at = self.acks.partition_point(|known| known.subject < ack.subject);
            self.acks.insert(at, ack);
        }
        true
    }

    /// When the next one ends.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.acks.iter().map(|ack| ack.until).filter(|until| *until > now).min()
    }
}

impl Ack {
    fn covers(&self, subject: &str) -> bool {
        subject
            .strip_prefix(self.subject.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn ack(subject: &str, span: Span) -> Ack {
        Ack { subject: subject.into(), until: NOW + span, reason: "known".into(), at: NOW }
    }

    #[test]
    fn an_ack_ends_by_itself_and_covers_one_subject() {
        let mut acks = Acks::default();
        assert!(acks.put(ack("shop.example.com", Span::DAY), NOW));
        assert!(acks.put(ack("watch/bought", Span::HOUR), NOW));
        let silenced = |subject: &str, at| acks.of(subject, at).is_some();
        assert!(silenced("shop.example.com", NOW));
        assert!(!silenced("shop.example.com.example", NOW));
        assert!(silenced("watch/bought /etc/ssl/shop.pem", NOW));
        assert!(!silenced("watch/bought", NOW + Span::HOUR), "it has ended");
        assert_eq!(acks.next_end(NOW), Some(NOW + Span::HOUR));
        assert!(acks.put(ack("shop.example.com", Span::ZERO), NOW));
        assert!(acks.of("shop.example.com", NOW).is_none(), "taken back");
    }

    #[test]
    fn acks_lie_in_order_one_a_subject_and_no_more_than_fit() {
        let mut acks = Acks::default();
        for subject in ["b", "c", "a", "b"] {
            assert!(acks.put(ack(subject, Span::DAY), NOW));
        }
        let subjects: Vec<_> = acks.acks.iter().map(|ack| ack.subject.as_str()).collect();
        assert_eq!(subjects, ["a", "b", "c"]);
        for n in 0..Acks::MOST - 3 {
            assert!(acks.put(ack(&format!("d{n}"), Span::HOUR), NOW), "{n}");
        }
        assert!(!acks.put(ack("one too many", Span::DAY), NOW));
        assert!(acks.put(ack("one too many", Span::DAY), NOW + Span::HOUR), "the others have ended");
        assert_eq!(acks.acks.len(), 4);
    }
}
