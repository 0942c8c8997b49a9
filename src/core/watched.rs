//! A certificate that somebody else renews, or nobody: looked at, never touched.

use super::gravity::Gravity;
use super::leaf::Fingerprint;
use super::name::WatchId;
use super::time::{Span, Timestamp};

/// What was found at one place that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The table of `[watch.NAME]` that led there.
    pub watch: WatchId,
    /// The file or the endpoint, as an operator would name it; safe to print.
    pub place: String,
    /// When it was looked at.
    pub seen_at: Timestamp,
    /// Names of the leaf, safe to print; empty where none was read.
    pub names: Vec<String>,
    /// Which certificate it is; `None` where none was read.
    pub fingerprint: Option<Fingerprint>,
    /// Beginning of the leaf's validity; `None` where no certificate was read.
    pub begins: Option<Timestamp>,
    /// The earliest end among the leaf and what stands above it; `None` where none was read.
    pub ends: Option<Timestamp>,
    /// What is wrong there, the gravest first.
    pub blemishes: Vec<Blemish>,
}

/// One thing that is wrong with a watched certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blemish {
    /// Stable and kebab-case.
    pub code: &'static str,
    pub gravity: Gravity,
    /// What is wrong, in words; safe to print.
    pub words: String,
    /// The one next step.
    pub advice: String,
}

impl Watched {
    /// The share of its life that is left, from 0 to 100 percent, rounded down; `None` where no
    /// certificate was read, 0 after its end and where its dates make no sense.
    pub fn percent_left(&self, now: Timestamp) -> Option<i64> {
        let (begins, ends) = (self.begins?, self.ends?);
        let (life, left) = (ends.since(begins), ends.since(now));
        if !life.is_positive() || !left.is_positive() {
            return Some(0);
        }
        Some((left.times(100).millis() / life.millis()).min(100))
    }

    /// Time until the first of its certificates ends; negative after.
    pub fn headroom(&self, now: Timestamp) -> Option<Span> {
        self.ends.map(|end| end.since(now))
    }

    /// Of the gravest blemish.
    pub fn gravity(&self) -> Option<Gravity> {
        self.blemishes.iter().map(|blemish| blemish.gravity).max()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_life_is_told_in_percent() {
        let begins = Timestamp::from_secs(1_700_000_000);
        let found = |begins: Option<Timestamp>, ends: Option<Timestamp>| Watched {
            watch: WatchId::parse("bought").unwrap(),
            place: "/etc/ssl/shop.pem".into(),
            seen_at: Timestamp::EPOCH,
            names: Vec::new(),
            fingerprint: None,
            begins,
            ends,
            blemishes: Vec::new(),
        };
        let two_years = found(Some(begins), Some(begins + Span::days(800)));
        for (after, expected) in [(0, 100), (200, 75), (761, 4), (800, 0), (900, 0)] {
            assert_eq!(two_years.percent_left(begins + Span::days(after)), Some(expected), "{after} days in");
        }
        assert_eq!(two_years.percent_left(begins - Span::DAY), Some(100), "not valid yet");
        let reversed = found(Some(begins), Some(begins - Span::DAY));
        assert_eq!(reversed.percent_left(begins - Span::days(2)), Some(0));
        assert_eq!(found(None, None).percent_left(begins), None);
    }
}
