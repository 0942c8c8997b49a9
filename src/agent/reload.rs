//! One reload for many: certificates renewed together tell a service once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, oneshot};

use crate::agent::{Agent, Scene};
use crate::core::event::{Deployed, Deployment, Moment};
use crate::core::failure::{Failure, Fault};
use crate::core::name::{HookId, LineageId};
use crate::core::time::{Span, Timestamp};
use crate::ports::Hook;

/// Longest that a service waits for other certificates that are on their way.
const GATHER_MOST: Span = Span::secs(30);
/// How long the answer of a check from before a change is good for others.
const BEFORE_AGE_MOST: Span = Span::MINUTE;
/// How often the wait looks whether the others have come.
const GATHER_LOOK: Span = Span::from_millis(20);

/// Who waits for which service, in this process.
#[derive(Default)]
pub struct Reloads {
    services: Mutex<BTreeMap<HookId, Service>>,
}

#[derive(Default)]
struct Service {
    /// Lineages that are being renewed and will tell this service when they are done.
    coming: BTreeSet<LineageId>,
    waiting: Vec<(Deployed, oneshot::Sender<Told>)>,
    /// Somebody gathers already.
    led: bool,
    /// What the check said before the first of a batch was shown, and when it was asked.
    before: Option<(Timestamp, Arc<OnceCell<bool>>)>,
}

impl Service {
    /// Somebody is on the way who has not arrived.
    fn awaits(&self) -> bool {
        self.coming.iter().any(|id| self.waiting.iter().all(|(deployed, _)| deployed.lineage != *id))
    }
}

/// A check that was killed, timed out or is missing says nothing about the pair.
fn is_refusal(failure: &Failure) -> bool {
    failure.code == "check-failed"
}

/// How one telling went.
#[derive(Clone, Debug)]
pub enum Told {
    Done,
    /// The check did not pass, so nothing was told. `refuses`: it ran to its end and said no.
    CheckFailed {
        failure: Failure,
        refuses: bool,
    },
    /// The call failed. `refuses`: the check, asked again after it, said no.
    CallFailed {
        failure: Failure,
        refuses: bool,
    },
}

/// A lineage on its way to its services; dropped when it has arrived or given up.
pub struct Coming<'a> {
    reloads: &'a Reloads,
    id: LineageId,
    hooks: Vec<HookId>,
}

impl Reloads {
    fn with<T>(&self, hook: &HookId, act: impl FnOnce(&mut Service) -> T) -> T {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        act(services.entry(hook.clone()).or_default())
    }

    /// Whether the service's check passes before anything of a batch is shown: asked once, for all
    /// that come before the service is told.
    pub async fn passes_before(&self, id: &HookId, hook: &dyn Hook, now: Timestamp) -> bool {
        let cell = self.with(id, |service| {
            let fresh = service.before.take().filter(|(at, _)| now.since(*at) < BEFORE_AGE_MOST);
            service.before.insert(fresh.unwrap_or_else(|| (now, Arc::default()))).1.clone()
        });
        *cell.get_or_init(async || hook.check().await.is_none_or(|answer| answer.is_ok())).await
    }

    /// Says that a lineage will tell these services before long.
    pub fn announce(&self, id: &LineageId, hooks: &[HookId]) -> Coming<'_> {
        for hook in hooks {
            self.with(hook, |service| service.coming.insert(id.clone()));
        }
        Coming { reloads: self, id: id.clone(), hooks: hooks.to_vec() }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        for hook in &self.hooks {
            self.reloads.with(hook, |service| service.coming.remove(&self.id));
        }
    }
}

impl Agent {
    /// Tells `hook` about one lineage, together with others that are due within half a minute, or
    /// at once where it goes ahead of them.
    pub(super) async fn tell_hook(
        &self,
        scene: &Scene,
        hook: &HookId,
        deployed: Deployed,
        ahead: bool,
    ) -> Told {
        let (sender, receiver) = oneshot::channel();
        let lead = self.reloads.with(hook, |service| {
            service.waiting.push((deployed, sender));
            !std::mem::replace(&mut service.led, true)
        });
        if lead {
            self.lead(scene, hook, ahead).await;
        }
        receiver.await.unwrap_or_else(|_| {
            // The leader's task ended before it could answer; the debt stays.
            Told::CallFailed {
                failure: Failure::transient(
                    Fault::Ours,
                    "reload-interrupted",
                    "the shared reload was interrupted",
                ),
                refuses: false,
            }
        })
    }

    async fn lead(&self, scene: &Scene, hook: &HookId, ahead: bool) {
        let until = self.clock.now() + GATHER_MOST;
        while !ahead && self.clock.now() < until && self.reloads.with(hook, |service| service.awaits()) {
            self.clock.sleep_until(self.clock.now() + GATHER_LOOK).await;
        }
        let batch = self.reloads.with(hook, |service| {
            service.led = false;
            service.before = None;
            let batch = std::mem::take(&mut service.waiting);
            for (deployed, _) in &batch {
                service.coming.remove(&deployed.lineage);
            }
            batch
        });
        let lineages = batch.iter().map(|(deployed, _)| deployed.clone()).collect();
        let told = self.call(scene, hook, lineages).await;
        for (_, sender) in batch {
            // A waiter that is gone keeps its debt and asks again.
            let _ = sender.send(told.clone());
        }
    }

    async fn call(&self, scene: &Scene, id: &HookId, lineages: Vec<Deployed>) -> Told {
        let Some(hook) = scene.hooks.get(id) else {
            return Told::CallFailed {
                failure: Failure::refused(
                    Fault::Config,
                    "no-such-hook",
                    format!("{id} is neither a service nor a hook in the configuration"),
                ),
                refuses: false,
            };
        };
        match hook.check().await {
            None | Some(Ok(())) => {}
            Some(Err(failure)) => {
                let refuses = is_refusal(&failure);
                return Told::CheckFailed { failure, refuses };
            }
        }
        let deployment = Deployment {
            version: 1,
            event: Moment::Deploy,
            hook: id.clone(),
            at: self.clock.now(),
            lineages,
        };
        match hook.call(&deployment).await {
            Ok(()) => Told::Done,
            Err(failure) => {
                let refuses = matches!(hook.check().await, Some(Err(failure)) if is_refusal(&failure));
                Told::CallFailed { failure, refuses }
            }
        }
    }
}
