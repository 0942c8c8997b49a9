//! Running the real hooks of a lineage against what is installed, without noting anything: what
//! `test-hook` shows before a renewal depends on it.

use crate::agent::Agent;
use crate::agent::gather::World;
use crate::agent::look::weighed;
use crate::agent::notify::deployed;
use crate::core::decide::Placement;
use crate::core::endpoint::Endpoint;
use crate::core::event::{Deployment, Moment};
use crate::core::failure::{Failure, Fault};
use crate::core::name::{HookId, LineageId};
use crate::core::record::Sight;
use crate::core::tally::Tally;
use crate::core::time::Span;
use crate::ports::Seen;

/// What one step of a trial came to.
#[derive(Debug)]
pub enum Trial {
    /// The check before the call; `None` where the hook has none.
    Checked {
        hook: HookId,
        result: Option<Result<(), Failure>>,
        took: Span,
    },
    Called {
        hook: HookId,
        result: Result<(), Failure>,
        took: Span,
    },
    Looked {
        endpoint: Endpoint,
        sight: Sight,
        /// The installed certificate in every handshake, or one that will do.
        fine: bool,
        words: Option<String>,
    },
}

impl Trial {
    pub const fn passed(&self) -> bool {
        match self {
            Self::Checked { result, .. } => !matches!(result, Some(Err(_))),
            Self::Called { result, .. } => result.is_ok(),
            Self::Looked { fine, .. } => *fine,
        }
    }
}

impl Agent {
    /// Checks and calls the hooks of `id` in their order, `only` one where it is given, and then
    /// looks at its endpoints. A hook whose check fails is not called. What is owed stays owed.
    ///
    /// Codes: `not-installed`, `no-such-hook`, and those of the store.
    pub async fn try_hooks(
        &self,
        id: &LineageId,
        only: Option<&HookId>,
        mut each: impl FnMut(Trial),
    ) -> Result<(), Failure> {
        let scene = self.scene();
        let World { record, disk, .. } = self.gather(&scene, id).await?;
        let Some(spec) = scene.wanted.lineages.get(id) else { return Ok(()) };
        let Placement::Shows(number) = disk.live else {
            let words = format!("{id} has no certificate of ours installed; nolapse renew {id} gets one");
            return Err(Failure::refused(Fault::Host, "not-installed", words));
        };
        let Some(issued) = record.value.issued(number) else { return Ok(()) };
        if let Some(only) = only.filter(|only| !spec.hooks.contains(only)) {
            let known: Vec<_> = spec.hooks.iter().map(ToString::to_string).collect();
            let words = format!("{only} is no hook of {id}; it has {}", known.join(", "));
            return Err(Failure::refused(Fault::Config, "no-such-hook", words));
        }
        for hook_id in spec.hooks.iter().filter(|hook| only.is_none_or(|only| only == *hook)) {
            let Some(hook) = scene.hooks.get(hook_id) else { continue };
            let begun = self.clock.monotonic();
            let result = hook.check().await;
            let took = self.clock.monotonic() - begun;
            let checked = Trial::Checked { hook: hook_id.clone(), result, took };
            let goes_on = checked.passed();
            each(checked);
            if !goes_on {
                continue;
            }
            let deployment = Deployment {
                version: 1,
                event: Moment::Deploy,
                hook: hook_id.clone(),
                at: self.clock.now(),
                lineages: vec![deployed(&scene, id, issued)],
            };
            let begun = self.clock.monotonic();
            let result = hook.call(&deployment).await;
            let took = self.clock.monotonic() - begun;
            each(Trial::Called { hook: hook_id.clone(), result, took });
        }
        for endpoint in &spec.endpoints {
            let sightings = self.probe.look(endpoint, spec.observe_timeout).await;
            let judged = weighed(endpoint, &sightings, &record.value, &issued.leaf, self.clock.now());
            let Some((worst, tally)) = Tally::of(&judged) else { continue };
            let (Some(judged), Some(sighting)) = (judged.get(worst), sightings.get(worst)) else { continue };
            let said = match &sighting.seen {
                Seen::Served(served) => served.distrust.as_ref().map(|distrust| distrust.words.clone()),
                Seen::Nothing { words, .. } => Some(words.clone()),
            };
            let words: Vec<_> = tally.words().into_iter().chain(said).collect();
            each(Trial::Looked {
                endpoint: endpoint.clone(),
                sight: judged.sight,
                fine: judged.fine(),
                words: (!words.is_empty()).then(|| words.join("; ")),
            });
        }
        Ok(())
    }
}
