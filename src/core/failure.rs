//! What went wrong, as the questions an operator and the scheduler ask: whose fault, when again,
//! who must act. And how long to wait.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::SubjectName;
use super::time::{Span, Timestamp};

/// What the scheduler does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Class {
    /// May well pass by itself.
    Transient,
    /// The other side named a time; asking earlier is forbidden, even to last resort.
    Limited { until: Timestamp },
    /// Will fail again until someone changes something.
    Refused,
    /// Our bug, or our state is damaged.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    Ours,
    Ca,
    Network,
    Config,
    /// The host: full disk, missing right, port taken.
    Host,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "nolapse",
            Self::Ca => "CA",
            Self::Network => "network",
            Self::Config => "configuration",
            Self::Host => "this host",
        })
    }
}

/// One failed try, as kept in the record and shown by `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failure {
    pub class: Class,
    pub fault: Fault,
    /// Stable and kebab-case: `ca-down`, `rate-limited`, `challenge-failed`.
    pub code: String,
    /// What happened and what to do next, for people; remote text in it is already made safe.
    pub words: String,
    /// The name to blame, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<SubjectName>,
    /// Further names that failed in the same try, at most [`Failure::OTHERS_MAX`].
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub others: Box<[SubjectName]>,
    /// The CA looked at a challenge: this counts towards its limit on failed validations.
    #[serde(default)]
    pub reached_validation: bool,
}

impl Failure {
    /// Longest text kept from one failure, in characters.
    pub const WORDS_MAX: usize = 1000;
    /// As many names as a certificate of a public CA has.
    pub const OTHERS_MAX: usize = 100;

    pub fn new(class: Class, fault: Fault, code: &str, words: impl AsRef<str>) -> Self {
        Self {
            class,
            fault,
            code: code.to_owned(),
            words: plain(words.as_ref(), Self::WORDS_MAX),
            name: None,
            others: Box::default(),
            reached_validation: false,
        }
    }

    pub fn transient(fault: Fault, code: &str, words: impl AsRef<str>) -> Self {
        Self::new(Class::Transient, fault, code, words)
    }

    pub fn refused(fault: Fault, code: &str, words: impl AsRef<str>) -> Self {
        Self::new(Class::Refused, fault, code, words)
    }

    pub fn broken(code: &str, words: impl AsRef<str>) -> Self {
        Self::new(Class::Broken, Fault::Ours, code, words)
    }

    pub fn blaming(mut self, name: Option<SubjectName>) -> Self {
        self.name = name;
        self
    }

    /// Blames all of `names`, the first in its own words.
    pub fn blaming_all(mut self, names: impl IntoIterator<Item = SubjectName>) -> Self {
        let mut names = names.into_iter();
        self.name = names.next();
        self.others = names.take(Self::OTHERS_MAX).collect();
        self
    }

    /// Names that the CA itself refused: not those for which something of ours, or of the CA's, failed.
    pub fn refused_names(&self) -> impl Iterator<Item = &SubjectName> {
        let by_the_ca = self.reached_validation || matches!(self.code.as_str(), "rejected-name" | "caa");
        self.names().filter(move |_| by_the_ca && self.fault != Fault::Ca)
    }

    /// Every name to blame.
    pub fn names(&self) -> impl Iterator<Item = &SubjectName> {
        self.name.iter().chain(&self.others)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.words, self.code)
    }
}

impl std::error::Error for Failure {}

/// Remote text made safe for terminals and logs: control, bidirectional and other invisible
/// characters are escaped, and what comes of it has at most so many characters, and an ellipsis
/// where that was not all (threat T09).
pub fn plain(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    let mut left = most;
    for c in text.chars() {
        let invisible = c.is_control()
            || matches!(c,
                '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        let length = if invisible { c.escape_unicode().count() } else { 1 };
        if length > left {
            out.push('…');
            break;
        }
        left -= length;
        if invisible {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// How long to wait after failures, as fractions of what is left where lifetimes are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Lifetime of the certificate in hand, or of one expected.
    pub lifetime: Span,
}

impl Backoff {
    /// No wait is shorter, whatever the lifetime; also the invariant against overflow (F28).
    pub const FLOOR: Span = Span::secs(1);

    /// Times shrink with lifetimes under a day: a constant of an hour is 1/24 of a lifetime.
    pub fn scaled(self, span: Span) -> Span {
        if self.lifetime >= Span::DAY || !self.lifetime.is_positive() {
            return span;
        }
        let scaled =
            i128::from(span.millis()) * i128::from(self.lifetime.millis()) / i128::from(Span::DAY.millis());
        Span::from_millis(i64::try_from(scaled).unwrap_or(span.millis())).max(Self::FLOOR)
    }

    /// The wait after the `count`th failure in a row (from 1), with `left` until expiry:
    /// 1, 10, 100 minutes, then a day; never past 1/12 of what is left, or after expiry of what
    /// has passed since; at least a minute, and 15 after an attempt that reached validation (the CA
    /// allows 5 failures an hour per name).
    ///
    /// `seed` spreads the wait by up to a tenth, the same for the same try everywhere.
    pub fn after(self, count: u32, left: Span, reached_validation: bool, seed: u64) -> Span {
        let base = match count {
            0 | 1 => Span::MINUTE,
            2 => Span::minutes(10),
            3 => Span::minutes(100),
            _ => Span::DAY,
        };
        let base = self.scaled(base);
        let jitter = base.over(10).millionths(u32::try_from(seed % 1_000_000).unwrap_or(0));
        let floor = self.floor(reached_validation);
        (base + jitter).min(self.scaled(Span::DAY)).min(Self::twelfth(left)).max(floor)
    }

    /// A twelfth of what is left until expiry or, where `left` is negative, of what has passed
    /// since: a certificate that ended two years ago must not have its CA asked every minute.
    pub fn twelfth(left: Span) -> Span {
        left.max(Span::ZERO - left).over(12)
    }

    /// The least wait between two attempts; holds at last resort and after expiry too.
    pub fn floor(self, reached_validation: bool) -> Span {
        let floor = if reached_validation { Span::minutes(15) } else { Span::MINUTE };
        self.scaled(floor).max(Self::FLOOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t09_remote_text_cannot_steer_a_terminal() {
        assert_eq!(plain("\u{1b}[31mred\r\n", 100), "\\u{1b}[31mred\\u{d}\\u{a}");
        assert_eq!(plain("a\u{202e}b\u{200b}c", 100), "a\\u{202e}b\\u{200b}c");
        assert_eq!(plain("abcdef", 3), "abc…");
        assert_eq!(
            plain(&"\u{1b}".repeat(50), 14),
            "\\u{1b}\\u{1b}…",
            "what is escaped counts as it is printed"
        );
        assert_eq!(plain("grün", 100), "grün");
    }

    #[test]
    fn waits_grow_and_stop_growing() {
        let backoff = Backoff { lifetime: Span::days(90) };
        let waits: Vec<_> =
            (1..=6).map(|n| backoff.after(n, Span::days(30), false, 0).whole_secs()).collect();
        assert_eq!(waits, [60, 600, 6000, 86_400, 86_400, 86_400]);
    }

    #[test]
    fn little_time_left_shortens_the_wait_to_a_twelfth() {
        let backoff = Backoff { lifetime: Span::days(90) };
        assert_eq!(backoff.after(9, Span::hours(12), false, 0), Span::HOUR);
        assert_eq!(backoff.after(9, Span::minutes(12), false, 0), Span::MINUTE);
    }

    #[test]
    fn after_expiry_the_wait_grows_with_what_has_passed_since() {
        let backoff = Backoff { lifetime: Span::days(90) };
        let ended = |ago: Span, reached| backoff.after(9, Span::ZERO - ago, reached, 0);
        assert_eq!(ended(Span::minutes(3), false), Span::MINUTE);
        assert_eq!(ended(Span::minutes(3), true), Span::minutes(15));
        assert_eq!(ended(Span::hours(6), false), Span::minutes(30));
        assert_eq!(ended(Span::days(730), false), Span::DAY);
    }

    #[test]
    fn constants_shrink_with_short_lifetimes() {
        let backoff = Backoff { lifetime: Span::secs(60) };
        assert_eq!(backoff.floor(false), Backoff::FLOOR);
        assert!(backoff.after(4, Span::secs(40), false, 0) <= Span::secs(60));
    }

    proptest::proptest! {
        #[test]
        fn f28_no_history_makes_the_wait_zero(
            count: u32, left: i64, lifetime: i64, reached: bool, seed: u64
        ) {
            let backoff = Backoff { lifetime: Span::from_millis(lifetime) };
            let wait = backoff.after(count, Span::from_millis(left), reached, seed);
            proptest::prop_assert!(wait >= Backoff::FLOOR);
            proptest::prop_assert!(wait <= Span::DAY);
        }
    }

    #[test]
    fn waits_are_spread_by_a_tenth_at_most_the_same_for_the_same_seed() {
        let backoff = Backoff { lifetime: Span::days(90) };
        for (seed, wait) in [(0, 60_000), (500_000, 63_000), (1_000_000, 60_000), (7_500_000, 63_000)] {
            assert_eq!(backoff.after(1, Span::days(30), false, seed).millis(), wait, "{seed}");
        }
    }
}
