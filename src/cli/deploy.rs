//! `nolapse deploy`: pay what is owed, without a new order.

use crate::cli::args::Deploy;
use crate::cli::{Exit, Stop, renew, select};
use crate::core::decide::Request;
use crate::wire::Places;
use crate::wire::{Role, Wired};

pub fn run(places: &Places, deploy: &Deploy) -> Result<Exit, Stop> {
    let skip = select::hook(deploy.skip.as_deref())?;
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let ids = select::configured(&wired.agent.scene(), &deploy.names)?;
        if let Some(hook) = &skip {
            select::of_any(&wired.agent.scene().wanted, &ids, hook)?;
        }
        let request = Request {
            upkeep_only: true,
            hurry: true,
            take_back: deploy.take_back,
            skip,
            ..Request::default()
        };
        let summary = renew::pass(&wired, ids, &request, deploy.wait, deploy.json).await?;
        Ok(renew::exit(&summary, false, false))
    })
}
