//! `nolapse watch`: looks at what is watched, once and now.

use std::collections::BTreeMap;

use crate::cli::args::Watch;
use crate::cli::watched::{self, WatchReport};
use crate::cli::{Exit, Stop, print, publish, status};
use crate::core::name::WatchId;
use crate::core::watch::WatchSpec;
use crate::sys::clock::Clock;
use crate::wire::{self, Places};

pub fn run(places: &Places, watch: &Watch) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    let all = &loaded.resolved.wanted.watches;
    let Some(asked) = asked(all, &watch.names) else { return Ok(Exit::Plugin(status::UNKNOWN)) };
    let report = wire::runtime()?.block_on(async {
        let clock = Clock::wall();
        let found = wire::lookout(&clock).look(&asked).await;
        WatchReport::new(clock.now(), &found)
    });
    if asked.len() == all.len() {
        // For `status`, where no agent runs. Who may not write there may look all the same.
        publish::write_watched(&loaded.settings.run_dir, &report);
    }
    if watch.json {
        print::json(&report)?;
    } else {
        print::line(&format!("{} {}", status::head(report.severity), watched::summary(&report.watched)));
        watched::show(&report.watched, true);
    }
    Ok(status::plugin(report.severity))
}

/// The watches that are meant; `None` with the reason said where there is none.
fn asked(all: &BTreeMap<WatchId, WatchSpec>, names: &[String]) -> Option<BTreeMap<WatchId, WatchSpec>> {
    if all.is_empty() {
        print::error("nothing is watched; add a table [watch.NAME], or ask  nolapse discover --write");
        return None;
    }
    if let Some(name) = names.iter().find(|name| !all.keys().any(|id| id.as_str() == *name)) {
        let known: Vec<_> = all.keys().take(NAMES_SHOWN).map(WatchId::as_str).collect();
        print::error(&format!("there is no watch {name:?}; there is {}", known.join(", ")));
        return None;
    }
    let meant = |id: &WatchId| names.is_empty() || names.iter().any(|name| name == id.as_str());
    Some(all.iter().filter(|(id, _)| meant(id)).map(|(id, spec)| (id.clone(), spec.clone())).collect())
}

/// Most names listed in one message.
const NAMES_SHOWN: usize = 8;
