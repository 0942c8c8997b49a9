//! Instants and lengths of time in whole milliseconds. Every operation saturates: a hostile or
//! broken date can be absurd, it can never wrap (`mod_md`'s CVE-2025-55753 was a wrapped backoff).

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::stored_as_text;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
///
/// Kept inside the years 0000 to 9999, so that it always prints as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0000-01-01T00:00:00Z
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// 9999-12-31T23:59:59.999Z
    pub const MAX: Self = Self(253_402_300_799_999);
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch, clamped to the years 0000 to 9999.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// From seconds since the epoch, clamped to the years 0000 to 9999.
    pub const fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1000))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; negative when it is before.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// Year, month (1–12), day (1–31), hour, minute, second in UTC.
    pub fn civil(self) -> (i64, u8, u8, u8, u8, u8) {
        let days = self.secs().div_euclid(86_400);
        let rest = self.secs().rem_euclid(86_400);
        // Days to a date in the proleptic Gregorian calendar, counting years from March so that
        // the leap day comes last.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |n: i64| u8::try_from(n).unwrap_or(0);
        (year, small(month), small(day), small(rest / 3600), small(rest / 60 % 60), small(rest % 60))
    }

    /// For tables and sentences: `2 Dec 2026 04:17`, in UTC.
    pub fn brief(self) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day, hour, minute, _) = self.civil();
        let month = MONTHS.get(usize::from(month).saturating_sub(1)).unwrap_or(&"?");
        format!("{day} {month} {year} {hour:02}:{minute:02}")
    }

    fn from_civil(year: i64, month: i64, day: i64, secs_of_day: i64, millis: i64) -> Self {
        let shifted_year = year - i64::from(month <= 2);
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let shifted_month = (month + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Self::from_millis((days * 86_400 + secs_of_day) * 1000 + millis)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_millis(self.0.saturating_sub(span.0))
    }
}

/// RFC 3339 in UTC, with milliseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digit by digit: records and the status file are full of these, and `{:02}` six times
        // takes five times as long.
        let (year, month, day, hour, minute, second) = self.civil();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: std::ops::Range<usize>, mut number: i64| {
            for digit in text[at].iter_mut().rev() {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        };
        put(0..4, year);
        for (at, number) in [(5, month), (8, day), (11, hour), (14, minute), (17, second)] {
            put(at..at + 2, i64::from(number));
        }
        let millis = self.0.rem_euclid(1000);
        put(20..23, millis);
        let text = std::str::from_utf8(&text).unwrap_or_default();
        if millis == 0 {
            f.write_str(text.get(..19).unwrap_or_default())?;
            f.write_str("Z")
        } else {
            f.write_str(text)
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not an RFC 3339 date and time that this program can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTimestamp(pub String);

impl fmt::Display for BadTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a date and time like 2026-11-21T19:56:00Z", self.0)
    }
}

impl std::error::Error for BadTimestamp {}

/// Reads RFC 3339, any offset, any number of fractional digits.
impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        parse_rfc3339(text).ok_or_else(|| BadTimestamp(text.chars().take(64).collect()))
    }
}

stored_as_text!(Timestamp, "a date and time", str::parse::<Timestamp>);

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes.len() > 64 || !text.is_ascii() {
        return None;
    }
    // A record holds a dozen dates: digits are added up as they come, at most four at a time.
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        bytes.get(range)?.iter().try_fold(0, |number: i64, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let punctuated = bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && bytes[16] == b':';
    if !punctuated {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > longest || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut millis = 0;
    if bytes[at] == b'.' {
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let shown = digits.min(3);
        millis = number(at + 1..at + 1 + shown)? * [1, 100, 10, 1][shown];
        at += 1 + digits;
    }
    let offset = match text.get(at..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 && zone.as_bytes()[3] == b':' => {
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let secs = hours * 3600 + minutes * 60;
            match zone.as_bytes()[0] {
                b'+' => secs,
                b'-' => -secs,
                _ => return None,
            }
        }
        _ => return None,
    };
    let secs_of_day = hour * 3600 + minute * 60 + second.min(59) - offset;
    Some(Timestamp::from_civil(year, month, day, secs_of_day, millis))
}

/// A length of time in milliseconds; may be negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(i64::MAX);
    pub const MINUTE: Self = Self::secs(60);
    pub const HOUR: Self = Self::secs(3600);
    pub const DAY: Self = Self::secs(86_400);

    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    pub const fn minutes(minutes: i64) -> Self {
        Self::secs(minutes.saturating_mul(60))
    }

    pub const fn hours(hours: i64) -> Self {
        Self::secs(hours.saturating_mul(3600))
    }

    pub const fn days(days: i64) -> Self {
        Self::secs(days.saturating_mul(86_400))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    pub const fn whole_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub const fn times(self, factor: i64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// Divided by a positive whole number; 0 counts as 1.
    pub const fn over(self, divisor: i64) -> Self {
        if divisor > 0 { Self(self.0.div_euclid(divisor)) } else { self }
    }

    /// `part` millionths of this span.
    pub fn millionths(self, part: u32) -> Self {
        let scaled = i128::from(self.0) * i128::from(part) / 1_000_000;
        Self(i64::try_from(scaled).unwrap_or(i64::MAX))
    }

    pub fn between(self, least: Self, most: Self) -> Self {
        self.min(most).max(least)
    }

    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// For sleeping: zero when negative.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0).unwrap_or(0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// The largest one or two units: `3 d`, `2 h 51 m`, `40 s`, `120 ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let millis = self.0.unsigned_abs();
        let secs = millis / 1000;
        match secs {
            0 => write!(f, "{millis} ms"),
            1..60 => write!(f, "{secs} s"),
            60..3600 if secs.is_multiple_of(60) || secs >= 600 => write!(f, "{} m", secs / 60),
            60..3600 => write!(f, "{} m {} s", secs / 60, secs % 60),
            3600..86_400 if secs % 3600 < 60 => write!(f, "{} h", secs / 3600),
            3600..86_400 => write!(f, "{} h {} m", secs / 3600, secs / 60 % 60),
            86_400..259_200 if secs % 86_400 >= 3600 => {
                write!(f, "{} d {} h", secs / 86_400, secs / 3600 % 24)
            }
            _ => write!(f, "{} d", secs / 86_400),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// From `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Interval {
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    pub const fn length(self) -> Span {
        self.end.since(self.start)
    }

    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_print_and_read_back() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-21T19:56:00Z",
            "2024-02-29T23:59:59.250Z",
            "9999-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00Z",
            "1900-03-01T12:00:00Z",
            "2000-02-29T00:59:59Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn offsets_are_taken_off() {
        let utc: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!("2026-11-21T11:30:00+01:30".parse(), Ok(utc));
        assert_eq!("2026-11-21T08:00:00.000000-02:00".parse(), Ok(utc));
        assert_eq!("2026-11-22T09:59:00+23:59".parse(), Ok(utc));
        assert_eq!("2026-11-21t10:00:00z".parse(), Ok(utc));
        assert_eq!("2026-11-21 10:00:00Z".parse(), Ok(utc));
    }

    #[test]
    fn fractions_are_cut_to_milliseconds() {
        for (text, millis) in [("5", 500), ("07", 70), ("123", 123), ("9999999", 999), ("000", 0)] {
            let at: Timestamp = format!("1970-01-01T00:00:01.{text}Z").parse().unwrap();
            assert_eq!(at.millis(), 1000 + millis, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-12-32T00:00:00Z",
            "2026-11-00T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T10:60:00Z",
            "2026-11-21T10:00:61Z",
            "2026-11-21T10:00:00+24:00",
            "2026-11-21T10:00:00+00:60",
            "2026-11-21T10:00:00*01:00",
            "2026-11-21T10:00:00+01-00",
            "2026/11-21T10:00:00Z",
            "2026-11/21T10:00:00Z",
            "2026-11-21_10:00:00Z",
            "2026-11-21T10.00:00Z",
            "2026-11-21T10:00.00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T10:00:00",
            "2026-11-21T10:00:00.Z",
            "2026-11-21T10:00:00+1:00",
            "+026-11-21T10:00:00Z",
            "2026-11-21T10:00:00Zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Span::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Span::MAX, Timestamp::MIN);
        assert_eq!(Span::MAX + Span::MAX, Span::MAX);
        assert_eq!(Span::MAX.times(3), Span::MAX);
        assert_eq!(Span::MAX.millionths(1_000_000), Span::MAX);
        assert_eq!(Span::secs(5).over(0), Span::secs(5));
    }

    #[test]
    fn spans_read_like_an_operator_says_them() {
        let table = [
            (Span::from_millis(12), "12 ms"),
            (Span::secs(40), "40 s"),
            (Span::secs(150), "2 m 30 s"),
            (Span::hours(2) + Span::minutes(51), "2 h 51 m"),
            (Span::hours(26), "1 d 2 h"),
            (Span::days(31), "31 d"),
            (Span::ZERO - Span::hours(1), "-1 h"),
        ];
        for (span, text) in table {
            assert_eq!(span.to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn civil_agrees_with_the_time_crate(secs in -62_167_219_200i64..=253_402_300_799) {
            let theirs = time::OffsetDateTime::from_unix_timestamp(secs).unwrap();
            let ours = Timestamp::from_secs(secs).civil();
            proptest::prop_assert_eq!(
                ours,
                (
                    i64::from(theirs.year()),
                    u8::from(theirs.month()),
                    theirs.day(),
                    theirs.hour(),
                    theirs.minute(),
                    theirs.second()
                )
            );
        }

        #[test]
        fn every_instant_reads_back(millis in Timestamp::MIN.millis()..=Timestamp::MAX.millis()) {
            let at = Timestamp::from_millis(millis);
            proptest::prop_assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }

    #[test]
    fn tables_have_dates_as_people_write_them() {
        for (text, brief) in [
            ("2026-01-02T04:07:09Z", "2 Jan 2026 04:07"),
            ("2026-12-31T23:59:59Z", "31 Dec 2026 23:59"),
            ("0000-01-01T00:00:00Z", "1 Jan 0 00:00"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().brief(), brief);
        }
    }
}
