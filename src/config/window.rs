//! `deploy-window`: `[DAYS] HH:MM-HH:MM [ZONE]`, one or several.

use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::nearest::nearest;
use super::problem::Problems;
use super::raw::{Section, Word};
use crate::core::deploy_window::{Opening, Zone, day_named};
use crate::core::time::{Span, Timestamp};

/// Openings of one certificate.
const OPENINGS_MAX: usize = 16;
/// Clock changes that are looked up, two a year: from a while ago to the end of this century.
const CHANGES_MAX: usize = 160;
/// From when on clock changes matter: this program is younger.
const CHANGES_FROM: i64 = 1_767_225_600;

/// The openings, none where nothing is said. `None`: they can't be used, which was reported.
pub(super) fn openings(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<Opening>> {
    if section.find("deploy-window").is_none() {
        return Some(Vec::new());
    }
    let words = section.texts("deploy-window", problems)?;
    if words.len() > OPENINGS_MAX {
        let words = format!("`deploy-window` has at most {OPENINGS_MAX} entries");
        problems.error(&section.head, "too-many", words);
        return None;
    }
    words.iter().map(|word| opening(word, problems)).collect()
}

fn opening(word: &Word<'_>, problems: &mut Problems) -> Option<Opening> {
    let mut wrong = |words: String, hint: String| {
        problems.error_hint(&word.spot, "bad-window", words, hint);
        None
    };
    let form = || "write it like \"Mon-Fri 02:00-05:00 Europe/Berlin\"".to_owned();
    let parts: Vec<&str> = word.text.split_whitespace().collect();
    let (days, hours, zone) = match parts[..] {
        [hours] => (None, hours, None),
        [hours, zone] if hours.starts_with(|c: char| c.is_ascii_digit()) => (None, hours, Some(zone)),
        [days, hours] => (Some(days), hours, None),
        [days, hours, zone] => (Some(days), hours, Some(zone)),
        _ => return wrong(format!("{:?} is no window", word.text), form()),
    };
    let Some(days) = days.map_or(Some([true; 7]), mask) else {
        return wrong(
            format!("{:?} are no days", days.unwrap_or_default()),
            "days are like Mon-Fri or Sat,Sun".into(),
        );
    };
    let times = hours.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
    let Some((from, to)) = times.filter(|(from, to)| *from < 1440 && *to > 0 && from != to) else {
        return wrong(format!("{hours:?} is no time of day from one to another"), form());
    };
    let known = TimeZoneDatabase::bundled();
    let zone = match zone.map(|name| (name, known.get(name))) {
        None => Zone::utc(),
        Some((name, Ok(found))) => of(name, &found),
        Some((name, Err(_))) => {
            let names: Vec<String> = known.available().map(|zone| zone.to_string()).collect();
            let near = nearest(name, names.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "zones are like Europe/Berlin, America/New_York or UTC".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            );
            return wrong(format!("there is no time zone {name:?}"), hint);
        }
    };
    Some(Opening { days, from, to, zone: Arc::new(zone) })
}

/// `Mon-Fri`, `Sat,Sun`, `Fri-Mon,Wed`.
fn mask(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day_named(first)?, day_named(last)?),
            None => (day_named(part)?, day_named(part)?),
        };
        // From Friday to Monday goes over the end of the week.
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|step| days[(first + step) % 7] = true);
    }
    Some(days)
}

/// `02:00` to `24:00`, as minutes.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= 1440).then_some(hour * 60 + minute)
}

/// What the database says, from now to the end of this century.
fn of(name: &str, zone: &TimeZone) -> Zone {
    let seconds = |offset: jiff::tz::Offset| Span::secs(offset.seconds().into());
    let Ok(begin) = jiff::Timestamp::from_second(CHANGES_FROM) else { return Zone::utc() };
    let changes = zone
        .following(begin)
        .take(CHANGES_MAX)
        .map(|change| (Timestamp::from_secs(change.timestamp().as_second()), seconds(change.offset())));
    Zone { name: name.to_owned(), first: seconds(zone.to_offset(begin)), changes: changes.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_read_as_people_write_them() {
        let named = |text| mask(text).map(|days| (0..7).filter(|day| days[*day]).collect::<Vec<_>>());
        for (text, days) in [
            ("Mon-Fri", Some(vec![0, 1, 2, 3, 4])),
            ("sat,SUN", Some(vec![5, 6])),
            ("Fri-Mon,Wed", Some(vec![0, 2, 4, 5, 6])),
            ("Sun", Some(vec![6])),
            ("Monday", None),
            ("Mon-", None),
            ("", None),
        ] {
            assert_eq!(named(text), days, "{text}");
        }
        for (text, expected) in [
            ("02:00", Some(120)),
            ("24:00", Some(1440)),
            ("24:01", None),
            ("2:00", None),
            ("02:60", None),
            ("+2:00", None),
            ("0200", None),
        ] {
            assert_eq!(minute(text), expected, "{text}");
        }
    }

    #[test]
    fn zones_follow_their_clock_changes_to_the_end_of_the_century() {
        let berlin = of("Europe/Berlin", &TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap());
        assert_eq!((berlin.first, berlin.changes.len()), (Span::hours(1), CHANGES_MAX));
        let first = berlin.changes[0];
        assert_eq!((first.0.to_string().as_str(), first.1), ("2026-03-29T01:00:00Z", Span::hours(2)));
        let tokyo = of("Asia/Tokyo", &TimeZoneDatabase::bundled().get("Asia/Tokyo").unwrap());
        assert_eq!((tokyo.first, tokyo.changes.len()), (Span::hours(9), 0));
    }
}
