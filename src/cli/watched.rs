//! What is watched, as values: what `watch --json`, `status --json` and the public file hold. The
//! schema is described in docs/guide/status.md.

use serde::{Deserialize, Serialize};

use crate::cli::print;
use crate::cli::report::Severity;
use crate::core::gravity::Gravity;
use crate::core::time::{Span, Timestamp};
use crate::core::watched::{self as core_watched, Watched};

pub const VERSION: u32 = 1;

/// One look at what is watched.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WatchReport {
    pub version: u32,
    pub at: Timestamp,
    pub severity: Severity,
    pub watched: Vec<Line>,
}

/// One place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    pub watch: String,
    pub place: String,
    pub severity: Severity,
    pub names: Vec<String>,
    pub fingerprint: Option<String>,
    pub not_before: Option<Timestamp>,
    /// The first end among leaf and chain.
    pub not_after: Option<Timestamp>,
    pub headroom_seconds: Option<i64>,
    pub percent_left: Option<i64>,
    pub seen_at: Timestamp,
    pub blemishes: Vec<Blemish>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blemish {
    pub code: String,
    pub gravity: Gravity,
    pub words: String,
    pub advice: String,
}

impl WatchReport {
    pub fn new(at: Timestamp, watched: &[Watched]) -> Self {
        let mut lines: Vec<_> = watched.iter().map(|watched| Line::of(watched, at)).collect();
        lines.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then_with(|| (&a.watch, &a.place).cmp(&(&b.watch, &b.place)))
        });
        Self { version: VERSION, at, severity: worst(&lines), watched: lines }
    }
}

impl Blemish {
    pub fn of(blemish: &core_watched::Blemish) -> Self {
        Self {
            code: blemish.code.to_owned(),
            gravity: blemish.gravity,
            words: blemish.words.clone(),
            advice: blemish.advice.clone(),
        }
    }
}

impl Line {
    fn of(watched: &Watched, now: Timestamp) -> Self {
        Self {
            watch: watched.watch.to_string(),
            place: watched.place.clone(),
            severity: match watched.gravity() {
                Some(Gravity::Page) => Severity::Critical,
                Some(Gravity::Ticket) => Severity::Warning,
                Some(Gravity::Notice) | None => Severity::Ok,
            },
            names: watched.names.clone(),
            fingerprint: watched.fingerprint.map(|fingerprint| fingerprint.to_string()),
            not_before: watched.begins,
            not_after: watched.ends,
            headroom_seconds: watched.headroom(now).map(Span::whole_secs),
            percent_left: watched.percent_left(now),
            seen_at: watched.seen_at,
            blemishes: watched.blemishes.iter().map(Blemish::of).collect(),
        }
    }

    /// Whether a name from the command line means it.
    pub fn is_asked(&self, names: &[String]) -> bool {
        names.iter().any(|name| *name == self.watch || self.names.contains(name))
    }
}

/// The gravest of all lines.
pub fn worst(lines: &[Line]) -> Severity {
    lines.iter().map(|line| line.severity).max().unwrap_or(Severity::Ok)
}

/// Up to this many rows are shown without being asked for.
const FEW: usize = 5;

/// A table of what needs a look, or of everything, and what is wrong with each.
pub fn show(lines: &[Line], all: bool) {
    let shown: Vec<_> =
        lines.iter().filter(|line| all || line.severity > Severity::Ok || lines.len() <= FEW).collect();
    if shown.is_empty() {
        return;
    }
    let mut rows = vec![["WATCH", "PLACE", "NAMES", "ENDS", "LEFT"].map(ToOwned::to_owned).to_vec()];
    rows.extend(shown.iter().map(|line| row(line)));
    print::table(&rows);
    for line in shown {
        for blemish in &line.blemishes {
            print::line(&format!(
                "  {}: {} {}  [{}]",
                line.place, blemish.gravity, blemish.words, blemish.code
            ));
        }
        if let Some(blemish) = line.blemishes.first() {
            print::line(&format!("  do: {}", blemish.advice));
        }
    }
}

/// `12 watched places, 2 need a look`
pub fn summary(lines: &[Line]) -> String {
    let bad = lines.iter().filter(|line| line.severity > Severity::Ok).count();
    let noun = if lines.len() == 1 { "place" } else { "places" };
    let verb = if bad == 1 { "needs" } else { "need" };
    match bad {
        0 => format!("{} watched {noun}, nothing wrong", lines.len()),
        bad => format!("{} watched {noun}, {bad} {verb} a look", lines.len()),
    }
}

fn row(line: &Line) -> Vec<String> {
    let dash = || "—".to_owned();
    let names = match &line.names[..] {
        [] => dash(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    };
    let left = line.headroom_seconds.map_or_else(dash, |left| Span::secs(left).to_string());
    vec![
        line.watch.clone(),
        line.place.clone(),
        names,
        line.not_after.map_or_else(dash, Timestamp::brief),
        left,
    ]
}
