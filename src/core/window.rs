//! When to renew: the interval, where it came from, and the one instant in it.

use serde::{Deserialize, Serialize};

use super::leaf::{Leaf, mix};
use super::time::{Interval, Span, Timestamp};

/// An interval in which to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenewalWindow {
    pub interval: Interval,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The CA's suggestion (RFC 9773).
    Ari,
    /// A fraction of the certificate's own lifetime.
    Lifetime,
    LastResort,
}

/// The chosen instant; stored so that no poll or restart draws it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenewalPoint {
    pub at: Timestamp,
    pub window: RenewalWindow,
}

/// Lifetimes under this renew at half-life, as there are few retries in a third of so little.
const SHORT: Span = Span::days(10);

impl RenewalWindow {
    /// Ends with 1/3 of life left (1/2 under 10 days) and is 1/50 of life long, so that
    /// certificates made together do not come back together.
    pub fn by_lifetime(leaf: &Leaf) -> Self {
        let lifetime = leaf.lifetime();
        let kept = if lifetime < SHORT { lifetime.over(2) } else { lifetime.over(3) };
        let end = leaf.not_after - kept;
        let start = end - lifetime.over(50);
        Self { interval: Interval::new(start, end), source: Source::Lifetime }
    }

    /// The CA's window, unless it is absurd: empty or backwards, wholly before the certificate
    /// began (a stale answer: cert-manager#8993), or starting when last resort already would.
    pub fn by_ari(leaf: &Leaf, suggested: Interval) -> Option<Self> {
        let sensible = suggested.start < suggested.end
            && suggested.end > leaf.not_before
            && suggested.start < last_resort(leaf);
        sensible.then_some(Self { interval: suggested, source: Source::Ari })
    }

    /// The instant in this window for this leaf: uniform over leaves, always the same for one.
    /// Never later than last resort.
    pub fn point(self, leaf: &Leaf) -> RenewalPoint {
        let draw = mix(&[leaf.fingerprint.seed()]) % 1_000_000;
        let into = self.interval.length().millionths(u32::try_from(draw).unwrap_or(0));
        let at = (self.interval.start + into).min(last_resort(leaf));
        RenewalPoint { at, window: self }
    }
}

/// When caution ends: 1/20 of life left.
pub fn last_resort(leaf: &Leaf) -> Timestamp {
    leaf.not_after - leaf.lifetime().over(20)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::leaf::Fingerprint;
    use crate::core::name::SubjectName;

    /// A leaf made for tables: starts at `start`, lives for `lifetime`.
    pub(crate) fn leaf(start: Timestamp, lifetime: Span, salt: u8) -> Leaf {
        Leaf {
            names: vec![SubjectName::Dns("a.example".into())],
            not_before: start,
            not_after: start + lifetime,
            serial: format!("{salt:02x}"),
            fingerprint: Fingerprint([salt; 32]),
            key: Fingerprint([salt; 32]),
            key_kind: Some(crate::core::spec::KeyKind::EcdsaP256),
            ari_id: Some(format!("aki.{salt}")),
            issuer: "Test CA".into(),
            self_signed: false,
        }
    }

    #[test]
    fn long_lives_renew_with_a_third_left_and_short_ones_with_half() {
        let start = Timestamp::from_secs(1_700_000_000);
        let long = RenewalWindow::by_lifetime(&leaf(start, Span::days(90), 1));
        assert_eq!(long.interval.end, start + Span::days(60));
        let short = RenewalWindow::by_lifetime(&leaf(start, Span::hours(160), 1));
        assert_eq!(short.interval.end, start + Span::hours(80));
    }

    #[test]
    fn f46_absurd_windows_are_ignored() {
        let start = Timestamp::from_secs(1_700_000_000);
        let leaf = leaf(start, Span::days(90), 1);
        let at = |days: i64| start + Span::days(days);
        for (row, from, to, taken) in [
            ("as a CA sends it", 59, 61, true),
            ("now, because of an incident", 2, 3, true),
            ("empty", 60, 60, false),
            ("backwards", 61, 60, false),
            ("of the certificate before", -9, -1, false),
            ("after the end of the certificate", 95, 99, false),
            ("in the last twentieth", 87, 88, false),
        ] {
            let window = RenewalWindow::by_ari(&leaf, Interval::new(at(from), at(to)));
            assert_eq!(window.is_some(), taken, "{row}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_point_is_in_the_window_and_before_last_resort(
            lifetime in 1i64..40_000_000_000, salt: u8, from in -9_000_000i64..9_000_000, long in 0i64..9_000_000
        ) {
            let start = Timestamp::from_secs(1_700_000_000);
            let leaf = leaf(start, Span::from_millis(lifetime), salt);
            let from = start + Span::from_millis(from);
            let window = RenewalWindow {
                interval: Interval::new(from, from + Span::from_millis(long)), source: Source::Ari,
            };
            let point = window.point(&leaf);
            proptest::prop_assert_eq!(point, window.point(&leaf));
            proptest::prop_assert!(point.at <= last_resort(&leaf));
            proptest::prop_assert!(point.at <= window.interval.end);
        }

        #[test]
        fn points_spread_over_the_window(salts in proptest::collection::hash_set(0u8.., 40)) {
            let start = Timestamp::from_secs(1_700_000_000);
            let points: std::collections::BTreeSet<_> = salts.iter().map(|salt| {
                let leaf = leaf(start, Span::days(90), *salt);
                RenewalWindow::by_lifetime(&leaf).point(&leaf).at
            }).collect();
            proptest::prop_assert!(points.len() > salts.len() / 2);
        }
    }
}
