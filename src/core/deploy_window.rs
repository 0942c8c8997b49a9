//! When something new may be shown to servers: weekly openings in the local time of a zone.

use std::fmt;
use std::sync::Arc;

use super::time::{Span, Timestamp};

/// The openings of one certificate, at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeployWindow(pub Vec<Opening>);

/// One stretch that comes again each week.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opening {
    /// On which it begins, Monday first.
    pub days: [bool; 7],
    /// Minute of the day on which it begins, 0 to 1439.
    pub from: u16,
    /// Minute at which it is over, 1 to 1440; on the next day where it is not after `from`.
    pub to: u16,
    pub zone: Arc<Zone>,
}

/// A time zone as it was, is and is planned to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    /// As the operator wrote it, safe to print.
    pub name: String,
    /// East of UTC before the first change.
    pub first: Span,
    /// When the difference to UTC changes, in order, and to what.
    pub changes: Vec<(Timestamp, Span)>,
}

const MINUTES_OF_DAY: i64 = 24 * 60;
/// How far ahead an opening is looked for: a week, and a day for a clock change that swallows one.
const DAYS_AHEAD: i64 = 8;

impl DeployWindow {
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.0.iter().any(|opening| opening.is_open(now))
    }

    /// When it opens next, after `now`. `None` only where a clock change swallows each opening of
    /// the coming week.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|opening| opening.next(now)).min()
    }
}

impl Opening {
    fn is_open(&self, now: Timestamp) -> bool {
        let (day, minute) = self.zone.local(now);
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        let begins = |day: i64| self.days[weekday(day)];
        if from < to {
            begins(day) && (from..to).contains(&minute)
        } else {
            begins(day) && minute >= from || begins(day - 1) && minute < to
        }
    }

    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let (today, _) = self.zone.local(now);
        (today..=today + DAYS_AHEAD)
            .filter(|day| self.days[weekday(*day)])
            .map(|day| self.zone.instant(day, i64::from(self.from)))
            .find(|at| *at > now && self.is_open(*at))
    }
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), first: Span::ZERO, changes: Vec::new() }
    }

    fn offset(&self, at: Timestamp) -> Span {
        let begun = self.changes.partition_point(|(from, _)| *from <= at);
        begun.checked_sub(1).map_or(self.first, |last| self.changes[last].1)
    }

    /// The local day, counted from 1 January 1970, and the minute of it.
    fn local(&self, at: Timestamp) -> (i64, i64) {
        let minutes = (at + self.offset(at)).secs().div_euclid(60);
        (minutes.div_euclid(MINUTES_OF_DAY), minutes.rem_euclid(MINUTES_OF_DAY))
    }

    /// The instant of a local time. Of one that comes twice, the first; one that is left out is
    /// taken as many minutes later as are left out.
    fn instant(&self, day: i64, minute: i64) -> Timestamp {
        let as_if_utc = Timestamp::from_secs((day * MINUTES_OF_DAY + minute) * 60);
        let before = self.offset(as_if_utc - Span::DAY);
        let guess = as_if_utc - before;
        if self.offset(guess) == before {
            return guess;
        }
        let later = as_if_utc - self.offset(guess);
        // A gap: neither is that minute, and the first shows the one that is as much later.
        if self.local(later) == (day, minute) { later } else { guess }
    }
}

/// 0 for Monday: 1 January 1970 was a Thursday.
fn weekday(day: i64) -> usize {
    usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
}

const DAY_NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let days: Vec<_> =
                DAY_NAMES.iter().zip(self.days).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
            write!(f, "{} ", days.join(","))?;
        }
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{}-{} {}", clock(self.from), clock(self.to), self.zone.name)
    }
}

/// Days by their English names, `Mon` to `Sun` in any case; `None` for another word.
pub fn day_named(word: &str) -> Option<usize> {
    DAY_NAMES.iter().position(|name| name.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Berlin's two changes of 2026.
    fn berlin() -> Arc<Zone> {
        Arc::new(Zone {
            name: "Europe/Berlin".into(),
            first: Span::hours(1),
            changes: vec![
                (at("2026-03-29T01:00:00Z"), Span::hours(2)),
                (at("2026-10-25T01:00:00Z"), Span::hours(1)),
            ],
        })
    }

    fn window(days: &[usize], from: u16, to: u16, zone: Arc<Zone>) -> DeployWindow {
        let mut mask = [false; 7];
        for day in days {
            mask[*day] = true;
        }
        DeployWindow(vec![Opening { days: mask, from: from * 60, to: to * 60, zone }])
    }

    #[test]
    fn windows_open_by_the_local_clock() {
        let working = || window(&[0, 1, 2, 3, 4], 2, 5, berlin());
        for (row, window, now, open, next) in [
            ("a Monday in winter", working(), "2026-01-05T01:30:00Z", true, "2026-01-06T01:00:00Z"),
            ("just before", working(), "2026-01-05T00:59:59Z", false, "2026-01-05T01:00:00Z"),
            ("just after", working(), "2026-01-05T04:00:00Z", false, "2026-01-06T01:00:00Z"),
            ("a Monday in summer", working(), "2026-07-06T00:30:00Z", true, "2026-07-07T00:00:00Z"),
            (
                "on Friday: not before Monday",
                working(),
                "2026-01-09T05:00:00Z",
                false,
                "2026-01-12T01:00:00Z",
            ),
            ("over the change to summer", working(), "2026-03-27T05:00:00Z", false, "2026-03-30T00:00:00Z"),
            (
                "over midnight, its second part",
                window(&[5], 23, 1, Arc::new(Zone::utc())),
                "2026-01-11T00:30:00Z",
                true,
                "2026-01-17T23:00:00Z",
            ),
            (
                "over midnight, not on the day after another",
                window(&[5], 23, 1, Arc::new(Zone::utc())),
                "2026-01-10T00:30:00Z",
                false,
                "2026-01-10T23:00:00Z",
            ),
            (
                "the hour that summer time leaves out: a week later",
                window(&[6], 2, 3, berlin()),
                "2026-03-28T12:00:00Z",
                false,
                "2026-04-05T00:00:00Z",
            ),
            (
                "an opening that begins in the hour left out",
                window(&[6], 2, 5, berlin()),
                "2026-03-28T12:00:00Z",
                false,
                "2026-03-29T01:00:00Z",
            ),
            (
                "the hour that comes twice: its first",
                window(&[6], 2, 3, berlin()),
                "2026-10-24T12:00:00Z",
                false,
                "2026-10-25T00:00:00Z",
            ),
        ] {
            let now = at(now);
            assert_eq!((window.is_open(now), window.next_opening(now)), (open, Some(at(next))), "{row}");
        }
    }

    #[test]
    fn an_opening_prints_as_it_is_written() {
        let window = window(&[0, 2], 2, 5, berlin());
        assert_eq!(window.0[0].to_string(), "Mon,Wed 02:00-05:00 Europe/Berlin");
        let daily = Opening { days: [true; 7], from: 0, to: 1440, zone: Arc::new(Zone::utc()) };
        assert_eq!(daily.to_string(), "00:00-24:00 UTC");
    }

    proptest::proptest! {
        #[test]
        fn it_is_open_when_it_opens_and_closed_until_then(
            days in proptest::array::uniform7(proptest::bool::ANY), from in 0u16..1440, to in 1u16..=1440,
            now in 1_760_000_000i64..1_800_000_000
        ) {
            proptest::prop_assume!(days.contains(&true));
            let window = DeployWindow(vec![Opening { days, from, to, zone: berlin() }]);
            let now = Timestamp::from_secs(now);
            if let Some(next) = window.next_opening(now) {
                proptest::prop_assert!(next > now && window.is_open(next));
                proptest::prop_assert!(next <= now + Span::days(9));
                if !window.is_open(now) {
                    for part in 1..20 {
                        let between = now + next.since(now).over(20).times(part);
                        // An hour that is left out may swallow the beginning of an opening.
                        let swallowed = next.since(between) <= Span::HOUR;
                        proptest::prop_assert!(swallowed || !window.is_open(between), "{}", between);
                    }
                }
            }
        }
    }
}
