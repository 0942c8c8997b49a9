//! What `status` shows and the daemon publishes for everybody.

use crate::agent::{View, read_acks};
use crate::cli::report::{Line, Report};
use crate::cli::sheet::Sheet;
use crate::cli::status::is_stale;
use crate::config::AgentSettings;
use crate::core::failure::Failure;
use crate::core::name::LineageId;
use crate::core::time::Span;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::wire::{Loaded, Places, Wired};

/// Under the run directory; readable by everybody.
pub const STATUS_FILE: &str = "status.json";
/// Longest time between two writes of the public status file while nothing changes for it.
pub const STATUS_EVERY: Span = Span::MINUTE;
/// Largest status file, in bytes: 10,000 certificates take about 15 MiB.
const STATUS_MAX: usize = 64 << 20;

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

/// What the daemon last published, for users who may not read the state.
pub fn read(places: &Places, loaded: Option<&Loaded>) -> Option<Report> {
    let run_dir = loaded
        .map(|loaded| loaded.settings.run_dir.clone())
        .or_else(|| places.run_dir.clone())
        .unwrap_or_else(|| AgentSettings::default().run_dir);
    let content = Disk::real().read(&run_dir.join(STATUS_FILE), STATUS_MAX).ok()?;
    let report: Report = serde_json::from_slice(content.bytes()).ok()?;
    let stale = is_stale(report.at, Clock::wall().now());
    (!stale).then_some(report)
}
