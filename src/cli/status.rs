//! `nolapse status`: how things stand, for people and monitoring plugins.

use std::fmt::Write as _;

use crate::cli::args::Status;
use crate::cli::report::{Line, Report, Severity};
use crate::cli::{Exit, Stop, print, publish, rival, watched};
use crate::core::failure::Fault;
use crate::core::tally::Tally;
use crate::core::time::{Span, Timestamp};
use crate::sys::clock::Clock;
use crate::wire::{Loaded, Places, Role, Wired};

/// Codes of monitoring plugins.
pub const UNKNOWN: u8 = 3;
/// A public status file older than this is no news.
const STALE: Span = Span::days(2);

pub fn run(places: &Places, status: &Status) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places);
    let runtime = crate::wire::runtime()?;
    let report = runtime.block_on(async {
        match &loaded {
            Ok(loaded) => match Wired::new(loaded, Role::Reader).await {
                Ok(wired) => publish::report(&wired).await.map(rival::note),
                // Whoever only watches needs no state.
                Err(failure) if failure.code == "state-unreadable" && watches_alone(loaded) => {
                    Ok(Report::new(Clock::wall().now(), Vec::new()))
                }
                Err(failure) => Err(failure),
            },
            // The configuration may be unreadable to this user, the public file is for everybody.
            Err(_) => Err(crate::core::failure::Failure::refused(
                Fault::Config,
                "configuration-unreadable",
                "the configuration can't be used",
            )),
        }
    });
    let mut report = match report {
        Ok(report) => report,
        Err(failure) => {
            // The public file is for those who may not look, not for a state that can't be read.
            let code = failure.code.as_str();
            let closed = matches!(code, "state-permission" | "configuration-unreadable" | "ca-file");
            let published = closed.then(|| publish::read(places, loaded.as_ref().ok())).flatten();
            let Some(report) = published else {
                print::error(&failure.to_string());
                return Ok(Exit::Plugin(UNKNOWN));
            };
            report
        }
    };
    report = report.beside(runtime.block_on(publish::watched(places, loaded.as_ref().ok())));
    if !status.names.is_empty() {
        let asked =
            |line: &Line| status.names.iter().any(|name| *name == line.name || line.names.contains(name));
        let lines: Vec<_> = report.lineages.into_iter().filter(asked).collect();
        let mut watched = report.watched;
        watched.retain(|line| line.is_asked(&status.names));
        if lines.is_empty() && watched.is_empty() {
            print::error("none of these certificates is known");
            return Ok(Exit::Plugin(UNKNOWN));
        }
        report = Report { acks: report.acks, ..Report::new(report.at, lines).beside(watched) };
    }
    if status.json {
        print::json(&report)?;
    } else {
        show(&report, status.all || !status.names.is_empty());
    }
    Ok(plugin(report.severity))
}

/// As monitoring plugins say it.
pub const fn plugin(severity: Severity) -> Exit {
    Exit::Plugin(match severity {
        Severity::Ok => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    })
}

/// The first word of an answer.
pub const fn head(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "OK   ",
        Severity::Warning => "WARN ",
        Severity::Critical => "CRIT ",
    }
}

fn watches_alone(loaded: &Loaded) -> bool {
    let wanted = &loaded.resolved.wanted;
    !wanted.watches.is_empty() && wanted.lineages.is_empty() && wanted.broken.is_empty()
}

/// Whether a file written at `at` is too old to be believed.
pub fn is_stale(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) > STALE
}

fn show(report: &Report, all: bool) {
    let total = report.lineages.len();
    let bad = report.lineages.iter().filter(|line| line.severity > Severity::Ok).count();
    let observed = report.lineages.iter().filter(|line| line.rungs.observed == Some(true)).count();
    let head = head(report.severity);
    let noun = if total == 1 { "certificate" } else { "certificates" };
    if total == 0 && !report.watched.is_empty() {
        print::line(&format!("{head} {}", watched::summary(&report.watched)));
    } else if bad == 0 {
        print::line(&format!("{head} {total} {noun}, {observed} observed as installed"));
        outlook(report);
    } else {
        let verb = if total == 1 { "needs" } else { "need" };
        print::line(&format!("{head} {bad} of {total} {noun} {verb} a look"));
    }
    let shown: Vec<_> =
        report.lineages.iter().filter(|line| all || line.severity > Severity::Ok || total <= FEW).collect();
    if total > 0 && !report.watched.is_empty() {
        print::line(&format!("      {}", watched::summary(&report.watched)));
    }
    for ack in &report.acks {
        print::line(&format!(
            "      acknowledged: {} until {} ({})",
            ack.subject,
            ack.until.brief(),
            ack.reason
        ));
    }
    lineages(&shown);
    watched::show(&report.watched, all);
}

fn lineages(shown: &[&Line]) {
    if shown.is_empty() {
        return;
    }
    let mut rows = vec![["NAME", "INSTALLED", "SERVED", "STATE", "LEFT"].map(ToOwned::to_owned).to_vec()];
    rows.extend(shown.iter().map(|line| row(line)));
    print::table(&rows);
    for line in shown {
        if line.severity > Severity::Ok {
            details(line);
        } else {
            notes(line);
        }
    }
}

/// Up to this many rows are shown without being asked for.
const FEW: usize = 5;

fn outlook(report: &Report) {
    let next = report.lineages.iter().filter_map(|line| Some((line.renews_at?, &line.name))).min();
    let tightest = report.lineages.iter().filter_map(|line| Some((line.headroom_seconds?, &line.name))).min();
    let mut parts = Vec::new();
    if let Some((at, name)) = next {
        parts.push(format!("next renewal {name} {} UTC", at.brief()));
    }
    if let Some((left, name)) = tightest {
        parts.push(format!("tightest {name} {}", Span::secs(left)));
    }
    if report.lineages.len() > FEW {
        parts.push("--all lists every row".into());
    }
    if !parts.is_empty() {
        print::line(&format!("      {}", parts.join(" · ")));
    }
}

fn row(line: &Line) -> Vec<String> {
    let date = |at: Timestamp| {
        let brief = at.brief();
        brief.rsplit_once(' ').map_or(brief.clone(), |(day, _)| day.to_owned())
    };
    let seen =
        |seen: &crate::cli::report::Seen| format!("{} → {}", seen.short_serial(), date(seen.not_after));
    let installed = line.installed.as_ref().map_or_else(|| "—".to_owned(), seen);
    let served = line
        .endpoints
        .iter()
        .filter(|place| place.served.is_some())
        .max_by_key(|place| place.owed)
        .and_then(|place| place.served.as_ref())
        .map_or_else(|| "—".to_owned(), seen);
    let mark = |done: bool| if done { "✓" } else { "✗" };
    let state = match line.standing.as_str() {
        "retired" | "broken" | "unreadable" | "absent" | "placeholder" => line.standing.clone(),
        _ => format!(
            "issued{} installed{} reloaded{} {}",
            mark(line.rungs.issued),
            mark(line.rungs.installed),
            mark(line.rungs.reloaded),
            line.rungs.observed.map_or("unverified".to_owned(), |seen| format!("observed{}", mark(seen)))
        ),
    };
    let left = line.headroom_seconds.map_or_else(|| "—".to_owned(), |left| Span::secs(left).to_string());
    vec![line.name.clone(), installed, served, state, left]
}

fn details(line: &Line) {
    let places: Vec<_> = line
        .endpoints
        .iter()
        .map(|place| {
            let sight = place.sight.as_deref().unwrap_or("not looked at");
            let mut sight = if place.owed { sight.to_uppercase() } else { sight.to_owned() };
            if let Some(words) = place.tally.as_ref().and_then(Tally::words) {
                let _ = write!(sight, " {words}");
            }
            if place.accepted {
                sight.push_str(" (accepted)");
            }
            match &place.words {
                Some(words) if place.owed => format!("{} {sight} ({words})", place.endpoint),
                _ => format!("{} {sight}", place.endpoint),
            }
        })
        .collect();
    if !places.is_empty() {
        print::line(&format!("  {}: {}", line.name, places.join(" · ")));
    }
    notes(line);
    if let Some(woe) = &line.trouble {
        print::line(&format!("  next try {}.   fault: {}  [{}]", woe.next_at.brief(), woe.fault, woe.code));
    }
    if let Some(advice) = &line.advice {
        let code = line.advice_code.as_ref().map(|code| format!("  [{code}]")).unwrap_or_default();
        print::line(&format!("  do: {advice}{code}"));
    }
}

fn notes(line: &Line) {
    for note in &line.notes {
        print::line(&format!("  {}: {note}", line.name));
    }
}
