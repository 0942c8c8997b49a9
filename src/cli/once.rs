//! `nolapse once`: for init containers. Ends well as soon as every lineage has a usable pair.

use crate::cli::args::Once;
use crate::cli::{Exit, Stop, print, publish, renew, select};
use crate::core::decide::{Foresight, Request};
use crate::core::time::Span;
use crate::wire::Places;
use crate::wire::{Role, Wired};

pub fn run(places: &Places, once: &Once) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let ids = select::configured(&wired.agent.scene(), &[])?;
        let clock = wired.agent.clock.clone();
        let deadline = clock.now() + once.deadline;
        let request = Request { foresight: Foresight::Skipped, ..Request::default() };
        let pass = wired
            .agent
            .pass_over(ids.clone(), &request, once.deadline, |outcome| renew::told(outcome, once.json));
        let summary = clock.timeout(once.deadline, pass).await;
        // A deadline of nothing asks for nothing.
        if summary.is_none() && once.deadline > Span::ZERO {
            print::note("the deadline has come; what is under way is resumed by the next start");
        }
        let mut unusable = Vec::new();
        for id in &ids {
            if wired.agent.usable(id, once.placeholder).await? {
                continue;
            }
            // A moment past the deadline is allowed for a local file.
            let patience = deadline.since(clock.now()).max(LOCAL_WORK);
            if once.placeholder && wired.agent.placeholder(id, patience).await? {
                print::note(&format!(
                    "{id}  has a self-signed placeholder; its first certificate takes the place"
                ));
            } else {
                unusable.push(id.to_string());
            }
        }
        if summary.is_none() {
            let _ = clock.timeout(CLOSING_MOST, wired.agent.close_what_is_open()).await;
        }
        publish::write_anew(&wired).await;
        crate::cli::alert::tell(&wired).await;
        if once.json {
            print::json(&renew::Told::of(&summary.unwrap_or_default()))?;
        }
        if unusable.is_empty() && wired.agent.scene().wanted.broken.is_empty() {
            return Ok(Exit::Fine);
        }
        if !unusable.is_empty() {
            print::error(&format!("no usable certificate: {}", unusable.join(", ")));
        }
        Ok(Exit::Failed)
    })
}

/// Longest that hooks after an attempt may take which the deadline has ended.
const CLOSING_MOST: Span = Span::secs(10);
/// Longest wait for another process before a placeholder is written.
const LOCAL_WORK: Span = Span::secs(2);
