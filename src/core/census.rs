//! The state of every lineage after a pass, as values: what metrics, health answers and the
//! supervisor's status line are made from. Nobody has to ask the store a second time.

use super::name::{IssuerId, LineageId};
use super::plight::Plight;
use super::time::{Span, Timestamp};
use super::watched::Watched;

/// One count over all lineages of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// When the pass ended that found this.
    pub at: Timestamp,
    /// By lineage.
    pub rows: Vec<Row>,
    /// What is looked at and not managed, by watch and place.
    pub watched: Vec<Watched>,
}

/// What is true of one lineage on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub lineage: LineageId,
    /// The issuer of the current generation, or the one that is asked for the first.
    pub issuer: Option<IssuerId>,
    /// End of the pair that lies in `live/`; `None` where no usable pair lies there.
    pub not_after: Option<Timestamp>,
    /// The earliest end among the certificates last seen served; `None` where none was seen.
    pub served_until: Option<Timestamp>,
    /// Hooks that have not been told about the installed generation.
    pub owed: u32,
    /// Endpoints last seen with anything but the installed certificate, silent ones that
    /// answered before included.
    pub mismatched: u32,
    pub standing: Standing,
    /// The code of the standing failure, where the last attempt failed.
    pub trouble: Option<String>,
    /// What there is to be concerned about; `None` where all is well.
    pub plight: Option<Box<Plight>>,
}

/// How far a lineage has come on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No pair in `live/`.
    Absent,
    /// A self-signed pair that only lets a server start.
    Placeholder,
    /// A pair is installed; hooks or endpoints are owed.
    Installed,
    /// Installed and told; there is no endpoint to look at.
    Unverified,
    /// Every endpoint serves the installed certificate.
    Observed,
    /// Left the configuration: kept and watched, never a reason for alarm.
    Retired,
}

impl Standing {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Placeholder => "placeholder",
            Self::Installed => "installed",
            Self::Unverified => "unverified",
            Self::Observed => "observed",
            Self::Retired => "retired",
        }
    }
}

/// One thing that is wrong with one lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub lineage: LineageId,
    /// Stable and kebab-case.
    pub code: &'static str,
    pub words: String,
}

impl Row {
    /// Time until clients see an expired certificate: of what is installed or of what is served,
    /// whichever ends first. Negative after expiry.
    pub fn headroom(&self, now: Timestamp) -> Option<Span> {
        self.not_after.into_iter().chain(self.served_until).min().map(|end| end.since(now))
    }

    /// Whether a server could start with what is installed. A placeholder counts: a pod that
    /// waits for its first certificate must become ready, or no challenge would ever reach it.
    pub fn usable(&self, now: Timestamp) -> bool {
        self.standing != Standing::Absent && self.not_after.is_some_and(|end| end > now)
    }

    /// What an operator would want to know, the gravest first.
    pub fn wrongs(&self, now: Timestamp) -> Vec<Wrong> {
        if self.standing == Standing::Retired {
            return Vec::new();
        }
        let mut found = Vec::new();
        let wrong = |code, words| Wrong { lineage: self.lineage.clone(), code, words };
        match (self.standing, self.not_after) {
            (Standing::Absent, _) | (_, None) => {
                found.push(wrong("not-installed", "no usable pair is installed".into()));
            }
            (_, Some(end)) if end <= now => {
                found.push(wrong("expired", format!("the installed pair expired {end}")));
            }
            (Standing::Placeholder, _) => {
                found.push(wrong("placeholder", "a self-signed placeholder is installed".into()));
            }
            _ => {}
        }
        if let (Some(trouble), false) = (&self.trouble, found.is_empty()) {
            // Failures while all is well served are the scheduler's business, not an alarm.
            found.push(wrong("attempt-failed", format!("the last attempt failed [{trouble}]")));
        }
        if let Some(end) = self.served_until.filter(|end| *end <= now) {
            found.push(wrong(
                "served-expired",
                format!("an endpoint serves a certificate that expired {end}"),
            ));
        }
        if self.owed > 0 {
            let hooks = count(self.owed, "hook");
            found.push(wrong("deploy-owed", format!("{hooks} still to be told about the installed pair")));
        }
        if self.mismatched > 0 {
            let endpoints = count(self.mismatched, "endpoint");
            found.push(wrong("served-other", format!("{endpoints} without the installed certificate")));
        }
        found
    }
}

impl Census {
    /// Of lineages alone.
    pub const fn of(at: Timestamp, rows: Vec<Row>) -> Self {
        Self { at, rows, watched: Vec::new() }
    }

    pub fn row(&self, lineage: &LineageId) -> Option<&Row> {
        self.place(lineage).ok().and_then(|at| self.rows.get(at))
    }

    /// Adds a row, or puts it in the place of the one of the same lineage.
    pub fn put(&mut self, row: Row) {
        match self.place(&row.lineage) {
            Ok(at) => self.rows[at] = row,
            Err(at) => self.rows.insert(at, row),
        }
    }

    fn place(&self, lineage: &LineageId) -> Result<usize, usize> {
        self.rows.binary_search_by(|row| row.lineage.cmp(lineage))
    }

    /// Lineages that should have a pair and have none that is valid now.
    pub fn unusable(&self, now: Timestamp) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.standing != Standing::Retired && !row.usable(now))
    }

    /// Everything that is wrong anywhere.
    pub fn wrongs(&self, now: Timestamp) -> impl Iterator<Item = Wrong> {
        self.rows.iter().flat_map(move |row| row.wrongs(now))
    }
}

fn count(number: u32, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn row() -> Row {
        Row {
            lineage: LineageId::parse("shop.example.com").unwrap(),
            issuer: None,
            not_after: Some(NOW + Span::days(30)),
            served_until: Some(NOW + Span::days(30)),
            owed: 0,
            mismatched: 0,
            standing: Standing::Observed,
            trouble: None,
            plight: None,
        }
    }

    #[test]
    fn what_is_wrong_reads_like_a_list_of_complaints() {
        let past = Some(NOW - Span::DAY);
        let table: [(&str, Row, &[&str]); 9] = [
            ("all is well", row(), &[]),
            ("failing with weeks left", Row { trouble: Some("ca-down".into()), ..row() }, &[]),
            (
                "nothing was ever issued",
                Row { not_after: None, served_until: None, standing: Standing::Absent, ..row() },
                &["not-installed"],
            ),
            (
                "nothing issued, and it says why",
                Row { not_after: None, standing: Standing::Absent, trouble: Some("ca-down".into()), ..row() },
                &["not-installed", "attempt-failed"],
            ),
            ("a placeholder", Row { standing: Standing::Placeholder, ..row() }, &["placeholder"]),
            (
                "expired on disk and served",
                Row { not_after: past, served_until: past, ..row() },
                &["expired", "served-expired"],
            ),
            (
                "renewed, never reloaded",
                Row { standing: Standing::Installed, owed: 1, mismatched: 2, ..row() },
                &["deploy-owed", "served-other"],
            ),
            ("an old one served to its end", Row { served_until: past, ..row() }, &["served-expired"]),
            (
                "retired and expired",
                Row { standing: Standing::Retired, not_after: past, owed: 3, ..row() },
                &[],
            ),
        ];
        for (situation, row, expected) in table {
            let codes: Vec<_> = row.wrongs(NOW).into_iter().map(|wrong| wrong.code).collect();
            assert_eq!(codes, expected, "{situation}");
        }
    }

    #[test]
    fn f59_headroom_is_of_what_clients_see() {
        let stale = Row { served_until: Some(NOW + Span::days(2)), ..row() };
        assert_eq!(stale.headroom(NOW), Some(Span::days(2)));
        let expired = Row { not_after: Some(NOW - Span::HOUR), served_until: None, ..row() };
        assert_eq!(expired.headroom(NOW), Some(Span::ZERO - Span::HOUR));
        assert_eq!(Row { not_after: None, served_until: None, ..row() }.headroom(NOW), None);
    }

    #[test]
    fn a_placeholder_is_usable_and_a_retired_lineage_never_counts() {
        let census = Census::of(
            NOW,
            vec![
                Row { standing: Standing::Placeholder, ..row() },
                Row { standing: Standing::Retired, not_after: None, ..row() },
            ],
        );
        assert_eq!(census.unusable(NOW).count(), 0);
        assert_eq!(census.unusable(NOW + Span::days(31)).count(), 1);
    }

    #[test]
    fn debts_are_counted_in_words() {
        let said = |owed, mismatched| -> Vec<String> {
            Row { owed, mismatched, ..row() }.wrongs(NOW).into_iter().map(|wrong| wrong.words).collect()
        };
        assert_eq!(said(1, 0), ["1 hook still to be told about the installed pair"]);
        assert_eq!(said(2, 0), ["2 hooks still to be told about the installed pair"]);
        assert_eq!(said(0, 1), ["1 endpoint without the installed certificate"]);
        assert_eq!(said(0, 12), ["12 endpoints without the installed certificate"]);
    }

    #[test]
    fn each_instant_is_on_one_side() {
        let at_its_end = NOW + Span::days(30);
        assert!(row().usable(at_its_end - Span::from_millis(1)) && !row().usable(at_its_end));
        assert!(!Row { standing: Standing::Absent, ..row() }.usable(NOW));
        let codes = |row: Row| row.wrongs(at_its_end).into_iter().map(|wrong| wrong.code).collect::<Vec<_>>();
        assert_eq!(codes(row()), ["expired", "served-expired"]);
        assert_eq!(codes(Row { not_after: Some(at_its_end + Span::DAY), ..row() }), ["served-expired"]);
    }

    #[test]
    fn a_row_is_found_by_its_lineage_and_put_in_its_place() {
        let of = |name: &str, owed| Row { lineage: LineageId::parse(name).unwrap(), owed, ..row() };
        let mut census = Census::of(NOW, Vec::new());
        for (name, owed) in [("b.example", 1), ("c.example", 1), ("a.example", 1), ("b.example", 2)] {
            census.put(of(name, owed));
        }
        let rows: Vec<_> = census.rows.iter().map(|row| (row.lineage.to_string(), row.owed)).collect();
        assert_eq!(rows, [("a.example".into(), 1), ("b.example".into(), 2), ("c.example".to_owned(), 1)]);
        let found = |name: &str| census.row(&LineageId::parse(name).unwrap()).map(|row| row.owed);
        assert_eq!((found("b.example"), found("x.example")), (Some(2), None));
        assert_eq!(census.wrongs(NOW).count(), 3);
    }
}
