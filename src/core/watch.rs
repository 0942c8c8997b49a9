//! What the operator wants to have looked at: certificates that somebody else renews, or nobody.

use super::endpoint::Endpoint;
use super::labels::Labels;
use super::leaf::seed_of;
use super::name::{SubjectName, WatchId};
use super::spec::Origin;
use super::time::{Span, Timestamp};

/// One table of `[watch.NAME]`, every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    pub id: WatchId,
    /// Absolute paths; a star, a question mark or brackets in them make a pattern.
    pub files: Vec<String>,
    /// Directories that are walked.
    pub trees: Vec<String>,
    pub endpoints: Vec<Endpoint>,
    /// Names that each certificate must be for; none: nothing is asked.
    pub names: Vec<SubjectName>,
    /// The key of the only file, where it does not lie beside it.
    pub key: Option<String>,
    /// From one look at the endpoints to the next.
    pub every: Span,
    /// Bound on one look at one endpoint.
    pub timeout: Span,
    pub thresholds: Thresholds,
    /// Passed on with what people are told.
    pub labels: Labels,
    pub origin: Origin,
}

/// What is left of a life when somebody should be told; `None`: by its share, see [`Thresholds`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    pub ticket: Option<Span>,
    pub page: Option<Span>,
}

/// Where nothing is said: a fifth of its life, at most 30 days; a tenth of it, at most 7.
const TICKET_SHARE: i64 = 5;
const TICKET_MOST: Span = Span::days(30);
const PAGE_SHARE: i64 = 10;
const PAGE_MOST: Span = Span::days(7);

/// From one look at files to the next: they are asked of the kernel alone unless they changed.
pub const FILES_EVERY: Span = Span::minutes(10);
/// The wait after a look that found an endpoint wrong or silent, where `every` is longer.
const AGAIN: Span = Span::minutes(15);
/// A tenth of the wait is up to chance, so that a fleet does not knock at one door at once.
const JITTER_SHARE: i64 = 10;

impl Thresholds {
    /// Below what is left of a life of this length somebody should act within days.
    pub fn ticket_below(&self, life: Span) -> Span {
        self.ticket.unwrap_or_else(|| life.over(TICKET_SHARE).min(TICKET_MOST))
    }

    /// Below this, now.
    pub fn page_below(&self, life: Span) -> Span {
        self.page.unwrap_or_else(|| life.over(PAGE_SHARE).min(PAGE_MOST))
    }
}

impl WatchSpec {
    /// When its endpoints are looked at again after a look at `at`: always the same for one watch
    /// and one `round`.
    pub fn next_look(&self, at: Timestamp, well: bool, round: u64) -> Timestamp {
        let wait = if well { self.every } else { self.every.min(AGAIN) };
        let draw = seed_of(&format!("{} {round}", self.id)) % 1_000_000;
        at + (wait - wait.over(JITTER_SHARE).millionths(u32::try_from(draw).unwrap_or(0)))
    }

    /// Whether anything of it lies in files.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty() || !self.trees.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// A watch of nothing, for tables.
    pub(crate) fn spec(name: &str) -> WatchSpec {
        WatchSpec {
            id: WatchId::parse(name).unwrap(),
            files: Vec::new(),
            trees: Vec::new(),
            endpoints: Vec::new(),
            names: Vec::new(),
            key: None,
            every: Span::hours(6),
            timeout: Span::secs(10),
            thresholds: Thresholds::default(),
            labels: crate::core::labels::Labels::default(),
            origin: Origin::default(),
        }
    }

    #[test]
    fn thresholds_follow_the_life_and_stop_at_a_month_and_a_week() {
        let usual = Thresholds::default();
        for (row, life, ticket, page) in [
            ("bought for two years", Span::days(730), Span::days(30), Span::days(7)),
            ("of Let's Encrypt", Span::days(90), Span::days(18), Span::days(7)),
            ("of 45 days", Span::days(45), Span::days(9), Span::hours(108)),
            ("of six days", Span::days(6), Span::minutes(1728), Span::minutes(864)),
        ] {
            assert_eq!((usual.ticket_below(life), usual.page_below(life)), (ticket, page), "{row}");
        }
        let own = Thresholds { ticket: Some(Span::days(60)), page: Some(Span::days(14)) };
        assert_eq!(own.ticket_below(Span::days(90)), Span::days(60));
        assert_eq!(own.page_below(Span::days(730)), Span::days(14));
    }

    proptest::proptest! {
        #[test]
        fn looks_are_neither_hot_nor_later_than_asked_for(minutes in 1i64..100_000, round: u64, well: bool) {
            let watch = WatchSpec { every: Span::minutes(minutes), ..spec("bought") };
            let wait = watch.next_look(Timestamp::EPOCH, well, round).since(Timestamp::EPOCH);
            let most = if well { watch.every } else { watch.every.min(AGAIN) };
            proptest::prop_assert!(wait <= most);
            proptest::prop_assert!(wait.times(10) >= most.times(9));
            proptest::prop_assert_eq!(wait, watch.next_look(Timestamp::EPOCH, well, round).since(Timestamp::EPOCH));
        }
    }
}
