//! What `status` shows and the daemon publishes for everybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::agent::{View, read_acks};
use crate::cli::report::{Line, Report};
use crate::cli::sheet::Sheet;
use crate::cli::status::is_stale;
use crate::cli::watched::{self, WatchReport};
use crate::config::AgentSettings;
use crate::core::failure::Failure;
use crate::core::name::LineageId;
use crate::core::time::Span;
use crate::core::watched::Watched;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::sys::spool::{Part, Spool};
use crate::wire::{Loaded, Places, Wired};

/// Under the run directory; readable by everybody.
pub const STATUS_FILE: &str = "status.json";
/// Longest time between two writes of the public status file while nothing changes for it.
pub const STATUS_EVERY: Span = Span::MINUTE;
/// Largest status file, in bytes: 10,000 certificates take about 15 MiB.
const STATUS_MAX: usize = 64 << 20;

/// Under the run directory; readable by everybody.
pub const WATCHED_FILE: &str = "watched.json";
/// Least time between two writes of it.
pub const WATCHED_EVERY: Span = Span::secs(5);
/// Mode of files for everybody.
const STATUS_MODE: u32 = 0o644;
/// Age up to which what is watched is taken from the public file. An agent writes it every few
/// minutes.
const WATCHED_FRESH: Span = Span::HOUR;

/// How everything stands.
pub async fn report(wired: &Wired) -> Result<Report, Failure> {
    let mut lines = Vec::new();
    judge_rest(wired, &[], |_, found| {
        lines.push(match found {
            Found::Line(line) => *line,
            Found::View(view) => Line::of(&view),
        });
    })
    .await?;
    let now = wired.agent.clock.now();
    let mut report = Report::new(now, lines);
    // Without them the rest is as true.
    if let Ok((known, _)) = read_acks(&*wired.agent.store).await {
        report.acks = known.acks.into_iter().filter(|ack| ack.until > now).collect();
    }
    Ok(report)
}

/// What there is to say of a lineage.
enum Found {
    View(View),
    /// Of one that could not be looked at.
    Line(Box<Line>),
}

/// Looks at every lineage that is not among `judged`, which are sorted.
async fn judge_rest(
    wired: &Wired,
    judged: &[LineageId],
    mut take: impl FnMut(LineageId, Found),
) -> Result<(), Failure> {
    let _belief = wired.agent.believe();
    let scene = wired.agent.scene();
    let mut ids: Vec<_> = scene.wanted.lineages.keys().chain(scene.wanted.broken.keys()).cloned().collect();
    ids.extend(wired.known().await?.into_iter().filter(|id| !scene.wanted.lineages.contains_key(id)));
    ids.sort_unstable();
    ids.dedup();
    for id in ids.into_iter().filter(|id| judged.binary_search(id).is_err()) {
        let found = if let Some(why) = scene.wanted.broken.get(&id) {
            Found::Line(Box::new(Line::broken(id.as_str(), why)))
        } else {
            match wired.agent.view(&id).await {
                Ok(view) => Found::View(view),
                Err(failure) => Found::Line(Box::new(Line::unreadable(id.as_str(), &failure))),
            }
        };
        take(id, found);
    }
    Ok(())
}

/// A sheet for the public status file, where there is a place for it.
pub fn sheet(wired: &Wired) -> Sheet {
    Sheet::below(&wired.settings.run_dir, wired.agent.scene().wanted.lineages.len())
}

/// As [`write()`], of what is looked at now.
pub async fn write_anew(wired: &Wired) {
    write(wired, sheet(wired)).await;
}

/// Writes the public status file and the metrics file, where there is a place for them. Neither
/// is worth failing for. What stands in `sheet` is of a pass that has just ended, and is not read
/// again.
pub async fn write(wired: &Wired, mut sheet: Sheet) {
    if sheet.is_wanted()
        && let judged = sheet.names()
        && judge_rest(wired, &judged, |id, found| match found {
            Found::View(view) => sheet.push_view(id, &view),
            Found::Line(line) => sheet.push(id, &line),
        })
        .await
        .is_ok()
    {
        let (path, at) = (wired.settings.run_dir.join(STATUS_FILE), wired.agent.clock.now());
        let written = tokio::task::spawn_blocking(move || sheet.write(&path, at)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::debug!(%error, "the public status file was not written");
        }
    }
    wired.write_metrics().await;
}

/// Writes what is watched for everybody to read, where there is a place for it. Not worth failing
/// for.
pub fn write_watched(run_dir: &Path, report: &WatchReport) {
    let written = Spool::new(run_dir).and_then(|spool| {
        let text = serde_json::to_vec(report)?;
        spool.replace(&run_dir.join(WATCHED_FILE), STATUS_MODE, [Part::Text(text)])
    });
    if let Err(error) = written {
        tracing::debug!(%error, "the public file of what is watched was not written");
    }
}

/// As [`write_watched`], of what a running agent found last.
pub async fn publish_watched(wired: &Wired, watched: &[Watched]) {
    let run_dir = wired.settings.run_dir.clone();
    // What was watched once is not left standing.
    if watched.is_empty() && !run_dir.join(WATCHED_FILE).exists() {
        return;
    }
    let report = WatchReport::new(wired.agent.clock.now(), watched);
    let written = tokio::task::spawn_blocking(move || write_watched(&run_dir, &report)).await;
    if let Err(error) = written {
        tracing::debug!(%error, "the public file of what is watched was not written");
    }
}

/// What is known of what is watched: from the public file while that is fresh, else from the files
/// themselves. Asks no network.
pub async fn watched(places: &Places, loaded: Option<&Loaded>) -> Vec<watched::Line> {
    let wanted = loaded.map(|loaded| &loaded.resolved.wanted.watches);
    if wanted.is_some_and(BTreeMap::is_empty) {
        return Vec::new();
    }
    let clock = Clock::wall();
    let known = Disk::real().read(&run_dir(places, loaded).join(WATCHED_FILE), STATUS_MAX).ok();
    let known: Option<WatchReport> = known.and_then(|content| serde_json::from_slice(content.bytes()).ok());
    if let Some(report) = known.filter(|report| clock.now().since(report.at) <= WATCHED_FRESH) {
        let mut lines = report.watched;
        // What left the configuration since then is no business of ours any more.
        lines.retain(|line| wanted.is_none_or(|wanted| wanted.keys().any(|id| id.as_str() == line.watch)));
        return lines;
    }
    match wanted {
        Some(wanted) => {
            let found = crate::wire::lookout(&clock).look_at_files(wanted).await;
            WatchReport::new(clock.now(), &found).watched
        }
        None => Vec::new(),
    }
}

fn run_dir(places: &Places, loaded: Option<&Loaded>) -> PathBuf {
    loaded
        .map(|loaded| loaded.settings.run_dir.clone())
        .or_else(|| places.run_dir.clone())
        .unwrap_or_else(|| AgentSettings::default().run_dir)
}

/// What the daemon last published, for users who may not read the state.
pub fn read(places: &Places, loaded: Option<&Loaded>) -> Option<Report> {
    let content = Disk::real().read(&run_dir(places, loaded).join(STATUS_FILE), STATUS_MAX).ok()?;
    let report: Report = serde_json::from_slice(content.bytes()).ok()?;
    let stale = is_stale(report.at, Clock::wall().now());
    (!stale).then_some(report)
}
