//! `nolapse rollback` and `nolapse unpin`: an earlier generation by hand, and the way back.

use std::collections::BTreeSet;

use crate::cli::args::{Rollback, Unpin};
use crate::cli::{Exit, Stop, print, renew, select};
use crate::core::decide::Request;
use crate::core::name::LineageId;
use crate::core::time::Span;
use crate::ports::Claim;
use crate::wire::{Places, Role, Wired};

pub fn run(places: &Places, rollback: &Rollback) -> Result<Exit, Stop> {
    with_lineage(places, &rollback.name, async |wired, id| {
        match wired.agent.hold(&id, rollback.wait).await? {
            Claim::Busy(holder) => return Ok(busy(&id, &holder)),
            Claim::Held(_guard) => {
                let pinned = wired.agent.pin(&id, rollback.to, &rollback.reason).await?;
                print::note(&format!(
                    "{id} is pinned to generation {}, which ends {}; it is renewed as ever, but nothing newer \
                     is shown until  nolapse unpin {id}",
                    pinned.number,
                    pinned.leaf.not_after.brief()
                ));
            }
        }
        deploy(wired, id, rollback.wait, rollback.json).await
    })
}

pub fn unpin(places: &Places, unpin: &Unpin) -> Result<Exit, Stop> {
    with_lineage(places, &unpin.name, async |wired, id| {
        match wired.agent.hold(&id, unpin.wait).await? {
            Claim::Busy(holder) => return Ok(busy(&id, &holder)),
            Claim::Held(_guard) => match wired.agent.take_pin_back(&id).await? {
                Some(number) => print::note(&format!("{id} is no longer pinned to generation {number}")),
                None => print::note(&format!("{id} was not pinned")),
            },
        }
        deploy(wired, id, unpin.wait, unpin.json).await
    })
}

fn with_lineage(
    places: &Places,
    name: &str,
    act: impl AsyncFnOnce(&Wired, LineageId) -> Result<Exit, Stop>,
) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let id = select::one(&wired.agent.scene().wanted, &BTreeSet::new(), name)?;
        act(&wired, id).await
    })
}

/// Shows what is now to be shown, tells the services and looks, as `deploy` does.
async fn deploy(wired: &Wired, id: LineageId, wait: Span, json: bool) -> Result<Exit, Stop> {
    let request = Request { upkeep_only: true, hurry: true, ..Request::default() };
    let summary = renew::pass(wired, vec![id], &request, wait, json).await?;
    Ok(renew::exit(&summary, false, false))
}

fn busy(id: &LineageId, holder: &str) -> Exit {
    print::error(&format!("{holder} works on {id}; nothing was changed"));
    Exit::Busy
}
