//! Running the real hooks of a lineage against what is installed, without noting anything: what
//! `test-hook` shows before a renewal depends on it.

use crate::agent::Agent;
use crate::agent::gather::World;
use crate::agent::notify::deployed;
use crate::core::decide::Placement;
use crate::core::endpoint::Endpoint;
use crate::core::event::{Deployment, Moment};
use crate::core::failure::{Failure, Fault};
use crate::core::ladder::judge;
use crate::core::name::{HookId, LineageId, SubjectName};
use crate::core::record::Sight;
use crate::core::time::Span;
use crate::ports::Sighting;

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
        words: Option<String>,
    },
}

impl Trial {
    pub const fn passed(&self) -> bool {
        match self {
            Self::Checked { result, .. } => !matches!(result, Some(Err(_))),
            Self::Called { result, .. } => result.is_ok(),
            Self::Looked { sight, .. } => matches!(sight, Sight::New),
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
            let (sight, words) = match self.probe.look(endpoint, spec.observe_timeout).await {
                Sighting::Served { leaf, distrust, .. } => {
                    let asked = SubjectName::parse(&endpoint.server_name()).ok();
                    let asked = asked.filter(|name| matches!(name, SubjectName::Dns(_)));
                    let now = self.clock.now();
                    (judge(&leaf, asked.as_ref(), &record.value, &issued.leaf, now), distrust)
                }
                Sighting::Unreachable(words) => (Sight::Unreachable, Some(words)),
            };
            each(Trial::Looked { endpoint: endpoint.clone(), sight, words });
        }
        Ok(())
    }
}
