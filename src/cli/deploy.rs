//! `nolapse deploy`: pay what is owed, without a new order.

use crate::cli::args::Deploy;
use crate::cli::{Exit, Stop, renew, select};
use crate::core::decide::Request;
use crate::core::failure::{Failure, Fault};
use crate::core::name::HookId;
use crate::wire::Places;
use crate::wire::{Role, Wired};

pub fn run(places: &Places, deploy: &Deploy) -> Result<Exit, Stop> {
    let skip = match &deploy.skip {
        Some(name) => Some(HookId::parse(name).map_err(|bad| {
            Failure::refused(
                Fault::Config,
                "no-such-hook",
                format!("{name:?} is not the name of a hook: {bad}"),
            )
        })?),
        None => None,
    };
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let ids = select::configured(&wired.agent.scene(), &deploy.names)?;
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
