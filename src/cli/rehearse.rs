//! `renew --dry-run`: the whole order against the issuer's staging directory, with an account of
//! its own there and nothing installed.

use crate::agent::Readiness;
use crate::cli::{Exit, Stop, print, renew};
use crate::core::decide::Request;
use crate::core::name::LineageId;
use crate::core::time::Span;
use crate::wire::{Loaded, Wired};

/// Longest rehearsal of one certificate's claim: there is no other holder to wait for.
const PATIENCE: Span = Span::ZERO;

pub async fn run(wired: &Wired, loaded: &Loaded, ids: Vec<LineageId>, json: bool) -> Result<Exit, Stop> {
    let rehearsal = wired.rehearsal(loaded, &ids)?;
    let mut failed = false;
    for (id, checked) in wired.check_locally(&rehearsal.without_staging).await {
        match checked {
            Ok(()) => print::note(&format!(
                "{id}: its issuer has no staging directory, so no order is rehearsed; the local checks pass"
            )),
            Err(failure) => {
                failed = true;
                print::error(&format!("{id}: {failure}"));
            }
        }
    }
    let request = Request { by_hand: true, ..Request::default() };
    let summary = rehearsal
        .agent
        .pass_over(rehearsal.ids, &request, PATIENCE, |outcome| {
            if json {
                return Some(outcome);
            }
            match &outcome.failure {
                Some(failure) => print::line(&format!("{}  rehearsal FAILED: {failure}", outcome.id)),
                None => print::line(&format!(
                    "{}  rehearsal passed: issued by {}, nothing installed",
                    outcome.id,
                    outcome.leaf.as_ref().map_or("the staging CA", |leaf| &leaf.issuer)
                )),
            }
            None
        })
        .await;
    if json {
        print::json(&renew::Told::of(&summary))?;
    }
    failed |= summary.readiness() == Readiness::Failed;
    Ok(if failed { Exit::Failed } else { Exit::Fine })
}
