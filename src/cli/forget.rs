//! `nolapse forget`: drop what is known of a certificate that left the configuration.

use crate::cli::args::Forget;
use crate::cli::{Exit, Stop, print, publish};
use crate::core::failure::{Failure, Fault};
use crate::core::layout;
use crate::core::layout::FsOp;
use crate::core::name::LineageId;
use crate::core::spec::Part;
use crate::ports::{Claim, Key};
use crate::wire::Places;
use crate::wire::{Role, Wired};

pub fn run(places: &Places, forget: &Forget) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let scene = wired.agent.scene();
        let known = wired.known().await?;
        let Some(id) = LineageId::from_table_name(&forget.name).ok().filter(|id| known.contains(id)) else {
            print::error(&format!("nothing is known of {:?}", forget.name));
            return Ok(Exit::Usage);
        };
        if scene.wanted.lineages.contains_key(&id) || scene.wanted.broken.contains_key(&id) {
            print::error(&format!("{id} is in the configuration; take it out first, then forget it"));
            return Ok(Exit::Usage);
        }
        let store = &wired.agent.store;
        let Claim::Held(_guard) = store.claim(&id).await.map_err(failed)? else {
            print::error(&format!("{id} is being worked on; try again"));
            return Ok(Exit::Busy);
        };
        let mut numbers = store.generations(&id).await.map_err(failed)?;
        for number in &numbers {
            store.remove(&Key::Generation(id.clone(), *number)).await.map_err(failed)?;
        }
        if forget.with_files {
            let dir = scene.live_dir.join(id.as_str());
            numbers.push(layout::PLACEHOLDER);
            let mut ops: Vec<_> =
                Part::ALL.iter().map(|part| FsOp::Discard { path: dir.join(part.file_name()) }).collect();
            ops.push(FsOp::Discard { path: dir.join(layout::CURRENT) });
            for number in numbers {
                ops.extend(layout::discard_generation(&dir, number));
            }
            ops.push(FsOp::DiscardDir { path: dir.clone() });
            wired.agent.disk.run(ops).await.map_err(|error| {
                Failure::transient(
                    Fault::Host,
                    "forget-failed",
                    format!("{error}; what is left under {} is yours to remove", dir.display()),
                )
            })?;
        }
        // The record goes last: until then the lineage is still known and can be forgotten again.
        store.remove(&Key::Installed(id.clone())).await.map_err(failed)?;
        store.remove(&Key::Lineage(id.clone())).await.map_err(failed)?;
        print::line(&format!("{id} is forgotten"));
        publish::write_anew(&wired).await;
        Ok(Exit::Fine)
    })
}

fn failed(error: impl std::borrow::Borrow<crate::ports::StoreError>) -> Failure {
    crate::agent::store_failure(error.borrow())
}
