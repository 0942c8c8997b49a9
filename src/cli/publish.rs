//! What `status` shows and the daemon publishes for everybody.

use std::collections::BTreeSet;

use crate::cli::report::{Line, Report, Sheet};
use crate::cli::status::is_stale;
use crate::config::AgentSettings;
use crate::core::failure::Failure;
use crate::core::layout::{self, Content, FileRights};
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
    judge_rest(wired, &BTreeSet::new(), |line| lines.push(line)).await?;
    Ok(Report::new(wired.agent.clock.now(), lines))
}

/// Looks at every lineage that is not among `judged`.
async fn judge_rest(
    wired: &Wired,
    judged: &BTreeSet<String>,
    mut take: impl FnMut(Line),
) -> Result<(), Failure> {
    let scene = wired.agent.scene();
    let mut ids: BTreeSet<_> = scene.wanted.lineages.keys().cloned().collect();
    ids.extend(wired.known().await?);
    ids.extend(scene.wanted.broken.keys().cloned());
    for id in ids.into_iter().filter(|id| !judged.contains(id.as_str())) {
        take(if let Some(why) = scene.wanted.broken.get(&id) {
            Line::broken(id.as_str(), why)
        } else {
            match wired.agent.survey(&id).await {
                Ok(survey) => Line::of(&survey),
                Err(failure) => Line::unreadable(id.as_str(), &failure),
            }
        });
    }
    Ok(())
}

/// Writes the public status file and the metrics file, where there is a place for them. Neither
/// is worth failing for. What stands in `sheet` is of a pass that has just ended, and is not read
/// again.
pub async fn write(wired: &Wired, mut sheet: Sheet) {
    if wired.agent.disk.stat(&wired.settings.run_dir).is_ok()
        && judge_rest(wired, &sheet.names(), |line| sheet.push(&line)).await.is_ok()
    {
        let path = wired.settings.run_dir.join(STATUS_FILE);
        let text = sheet.into_report(wired.agent.clock.now());
        let ops = layout::publish(&path, Content::new(text), FileRights::mode(0o644));
        if let Err(error) = wired.agent.disk.run(ops).await {
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
