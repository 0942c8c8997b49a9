//! Hooks around attempts at the CA: the first of several certificates runs those before for all,
//! the last those afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as Turn;

use crate::agent::{Agent, Scene};
use crate::core::event::{Deployment, Event, Moment};
use crate::core::name::{HookId, LineageId};
use crate::core::spec::LineageSpec;

/// How many attempts are under way between each hook's two moments, in this process.
#[derive(Default)]
pub struct Brackets(Mutex<BTreeMap<(Moment, HookId), Count>>);

/// Held while the hook runs, so that others wait for it.
type Count = Arc<Turn<usize>>;

impl Brackets {
    fn count(&self, moment: Moment, hook: &HookId) -> Count {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.entry((moment, hook.clone())).or_default().clone()
    }
}

impl Agent {
    /// Runs what comes before an attempt, unless another attempt has had it run and is not over.
    ///
    /// A hook that fails is told of and keeps nothing back: a broken helper must not cost a
    /// certificate that could have been renewed.
    pub(super) async fn open_bracket(&self, scene: &Scene, spec: &LineageSpec) {
        for hook in &spec.around.before {
            let count = self.brackets.count(Moment::Pre, hook);
            let mut count = count.lock().await;
            if *count == 0 {
                self.run_around(scene, &spec.id, hook, Moment::Pre).await;
            }
            *count += 1;
        }
        for hook in &spec.around.afterwards {
            *self.brackets.count(Moment::Post, hook).lock().await += 1;
        }
    }

    /// Runs what comes after an attempt, unless another is still under way.
    pub(super) async fn close_bracket(&self, scene: &Scene, spec: &LineageSpec) {
        for hook in &spec.around.before {
            let count = self.brackets.count(Moment::Pre, hook);
            let mut count = count.lock().await;
            *count = count.saturating_sub(1);
        }
        for hook in &spec.around.afterwards {
            let count = self.brackets.count(Moment::Post, hook);
            let mut count = count.lock().await;
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.run_around(scene, &spec.id, hook, Moment::Post).await;
            }
        }
    }

    async fn run_around(&self, scene: &Scene, lineage: &LineageId, hook: &HookId, event: Moment) {
        let Some(port) = scene.hooks.get(hook) else { return };
        let at = self.clock.now();
        let deployment = Deployment { version: 1, event, hook: hook.clone(), at, lineages: Vec::new() };
        if let Err(failure) = port.call(&deployment).await {
            let (lineage, hook) = (lineage.clone(), hook.clone());
            self.tell(&Event::AroundFailed { lineage, hook, moment: event, words: failure.to_string() });
        }
    }
}
