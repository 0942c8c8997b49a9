//! Several handshakes with one endpoint, and what they come to: the worst of them, with how many
//! there were. One worker or backend that was left behind is a client's bad day.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::record::Sight;

/// How many handshakes showed something else than they should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tally {
    /// Handshakes tried.
    pub made: u32,
    /// Those that did not show what they should.
    pub off: u32,
    /// Addresses with such a one, where there are several; at most [`Tally::AT_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<IpAddr>,
}

/// One handshake, judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub sight: Sight,
    /// Not the installed certificate, and good enough all the same.
    pub accepted: bool,
    pub from: Option<IpAddr>,
}

impl Judged {
    pub fn fine(&self) -> bool {
        self.sight == Sight::New || self.accepted
    }

    /// What a client would rather not meet weighs more. Silence beside answers weighs least:
    /// most clients try again.
    fn gravity(&self) -> u8 {
        match self.sight {
            Sight::New => 0,
            _ if self.accepted => 1,
            Sight::Unreachable => 2,
            Sight::OtherValid => 3,
            Sight::Old => 4,
            Sight::Wrong => 5,
        }
    }
}

impl Tally {
    pub const AT_MAX: usize = 4;

    /// Which of `samples` counts, and how many are off. `None` of none.
    pub fn of(samples: &[Judged]) -> Option<(usize, Self)> {
        let worst = (0..samples.len()).rev().max_by_key(|at| samples.get(*at).map(Judged::gravity))?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut at = Vec::new();
        let several =
            samples.iter().any(|sample| sample.from != samples.first().and_then(|first| first.from));
        for ip in samples.iter().filter(|sample| several && !sample.fine()).filter_map(|sample| sample.from) {
            if at.len() < Self::AT_MAX && !at.contains(&ip) {
                at.push(ip);
            }
        }
        let off = samples.iter().filter(|sample| !sample.fine()).count();
        Some((worst, Self { made: count(samples.len()), off: count(off), at }))
    }

    /// Some are as they should be and some are not.
    pub const fn is_mixed(&self) -> bool {
        0 < self.off && self.off < self.made
    }

    /// `2 of 8, at 10.0.0.2`; nothing where one handshake or all of them tell the same.
    pub fn words(&self) -> Option<String> {
        if !self.is_mixed() {
            return None;
        }
        let places: Vec<_> = self.at.iter().map(ToString::to_string).collect();
        let places = if places.is_empty() { String::new() } else { format!(", at {}", places.join(" and ")) };
        Some(format!("{} of {}{places}", self.off, self.made))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: [u8; 4] = [10, 0, 0, 1];
    const B: [u8; 4] = [10, 0, 0, 2];

    fn seen(sight: Sight, from: [u8; 4]) -> Judged {
        Judged { sight, accepted: false, from: Some(from.into()) }
    }

    #[test]
    fn one_that_was_left_behind_counts_for_all() {
        use Sight::{New, Old, OtherValid, Unreachable, Wrong};
        let table: [(&str, Vec<Judged>, Sight, Option<&str>); 7] = [
            ("one handshake, new", vec![seen(New, A)], New, None),
            ("one handshake, old", vec![seen(Old, A)], Old, None),
            ("all old", vec![seen(Old, A), seen(Old, A)], Old, None),
            (
                "one old worker among four",
                vec![seen(New, A), seen(Old, A), seen(New, A), seen(New, A)],
                Old,
                Some("1 of 4"),
            ),
            (
                "one old backend of two",
                vec![seen(New, A), seen(New, A), seen(Old, B), seen(Old, B)],
                Old,
                Some("2 of 4, at 10.0.0.2"),
            ),
            (
                "a silent backend",
                vec![seen(New, A), seen(Unreachable, B)],
                Unreachable,
                Some("1 of 2, at 10.0.0.2"),
            ),
            (
                "the worst of several kinds",
                vec![seen(OtherValid, A), seen(Wrong, A), seen(Old, A), seen(New, A)],
                Wrong,
                Some("3 of 4"),
            ),
        ];
        for (situation, samples, sight, words) in table {
            let (worst, tally) = Tally::of(&samples).unwrap();
            assert_eq!((samples[worst].sight, tally.words().as_deref()), (sight, words), "{situation}");
        }
        assert_eq!(Tally::of(&[]), None);
    }

    #[test]
    fn what_is_accepted_is_not_off() {
        let edge = Judged { accepted: true, ..seen(Sight::OtherValid, A) };
        let (worst, tally) = Tally::of(&[seen(Sight::New, A), edge]).unwrap();
        assert_eq!((worst, tally.off), (1, 0));
    }

    proptest! {
        #[test]
        fn fine_is_only_what_is_fine_in_every_handshake(kinds in proptest::collection::vec(0usize..5, 1..20)) {
            let all = [Sight::New, Sight::Old, Sight::OtherValid, Sight::Wrong, Sight::Unreachable];
            let samples: Vec<_> = kinds.iter().map(|kind| seen(all[*kind], A)).collect();
            let (worst, tally) = Tally::of(&samples).unwrap();
            prop_assert_eq!(samples[worst].fine(), samples.iter().all(Judged::fine));
            prop_assert_eq!(tally.off == 0, samples[worst].fine());
        }
    }
}
