//! Whether the clock can be believed. Files tell when it is behind: none was written in the
//! future. Only a CA tells when it is ahead.

use std::path::Path;

use crate::core::finding::Finding;
use crate::core::time::{Span, Timestamp};

/// Files may come from a host whose clock was a little ahead, or from another time zone's build.
const TOLERATED_BEHIND: Span = Span::DAY;
/// Signatures and validity tolerate this much.
const TOLERATED: Span = Span::minutes(5);
/// From here on new certificates are not valid yet, or answers look expired.
const GRAVE: Span = Span::HOUR;
const FIX: &str = "set the clock and keep it set: timedatectl set-ntp true";

/// When a file was written, as far as it can be told.
pub fn written(path: &Path) -> Option<Timestamp> {
    let at = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?))
}

/// `witnesses` are files with the moment at which each was written.
pub fn behind(now: Timestamp, witnesses: &[(String, Timestamp)]) -> Option<Finding> {
    let (name, latest) = witnesses.iter().max_by_key(|(_, at)| *at)?;
    let late = latest.since(now);
    (late > TOLERATED_BEHIND).then(|| {
        Finding::error("clock-behind", format!("this host's clock is at least {late} behind"))
            .seen(format!("now {now}, but {name} was written {latest}"))
            .fix(FIX)
    })
}

/// `date` is what the CA said a moment ago.
pub fn against_ca(now: Timestamp, ca: &str, date: Timestamp) -> Option<Finding> {
    let (off, word) = if now >= date { (now.since(date), "ahead") } else { (date.since(now), "behind") };
    if off <= TOLERATED {
        return None;
    }
    let words = format!("this host's clock is {off} {word} of {ca}");
    let code = format!("clock-{word}");
    let finding = if off > GRAVE { Finding::error(&code, words) } else { Finding::warning(&code, words) };
    Some(finding.seen(format!("here {now}, there {date}")).fix(FIX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::finding::Weight;

    #[test]
    fn f25_a_clock_that_is_off_is_told() {
        let now = Timestamp::from_secs(1_800_000_000);
        let file = |at: Timestamp| vec![("/usr/bin/nolapse".to_owned(), at)];
        assert_eq!(behind(now, &[]), None);
        assert_eq!(behind(now, &file(now + Span::HOUR)), None);
        assert!(behind(now, &file(now + Span::days(400))).is_some_and(|f| f.code == "clock-behind"));
        for (off, weight) in [
            (Span::secs(30), None),
            (Span::minutes(20), Some(Weight::Warning)),
            (Span::days(800), Some(Weight::Error)),
        ] {
            assert_eq!(against_ca(now, "ca", now + off).map(|f| f.weight), weight);
            assert_eq!(against_ca(now, "ca", now - off).map(|f| f.weight), weight);
        }
    }
}
