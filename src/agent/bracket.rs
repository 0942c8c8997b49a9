//! Hooks around attempts at the CA: the first of several certificates runs those before for all,
//! the last those afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as Turn;

use crate::agent::{Agent, Scene};
use crate::core::event::{Deployment, Event, Moment};
use crate::core::name::{HookId, LineageId};
use crate::core::spec::{Around, LineageSpec};

/// The gates of this process, by the hooks that open and close them.
#[derive(Default)]
pub struct Brackets(Mutex<BTreeMap<Around, Arc<Gate>>>);

/// Opened by the first attempt that comes, closed by the last that goes.
#[derive(Default)]
struct Gate {
    /// Held while hooks run, so that nobody comes in beside a closing.
    turn: Turn<()>,
    inside: AtomicUsize,
    /// The last went without closing: its task was ended.
    left_open: AtomicBool,
}

/// An attempt that may have opened a gate; counted out when dropped.
#[derive(Default)]
pub struct Bracket(Option<Arc<Gate>>);

impl Drop for Bracket {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take()
            && gate.inside.fetch_sub(1, Ordering::SeqCst) == 1
        {
            gate.left_open.store(true, Ordering::SeqCst);
        }
    }
}

impl Agent {
    /// Runs what comes before an attempt, unless another attempt has had it run and is not over.
    ///
    /// A hook that fails is told of and keeps nothing back: a broken helper must not cost a
    /// certificate that could have been renewed.
    pub(super) async fn open_bracket(&self, scene: &Scene, spec: &LineageSpec, bracket: &mut Bracket) {
        if spec.around == Around::default() || bracket.0.is_some() {
            return;
        }
        let gate = {
            let mut gates = self.brackets.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.entry(spec.around.clone()).or_default().clone()
        };
        let _turn = gate.turn.lock().await;
        let first = gate.inside.fetch_add(1, Ordering::SeqCst) == 0;
        *bracket = Bracket(Some(gate.clone()));
        if first {
            for hook in &spec.around.before {
                self.run_around(scene, &spec.id, hook, Moment::Pre).await;
            }
        }
    }

    /// Runs what comes after an attempt, unless another is still under way.
    pub(super) async fn close_bracket(&self, scene: &Scene, spec: &LineageSpec, mut bracket: Bracket) {
        let Some(gate) = bracket.0.clone() else { return };
        let _turn = gate.turn.lock().await;
        bracket.0 = None;
        let last = gate.inside.fetch_sub(1, Ordering::SeqCst) == 1;
        if last {
            gate.left_open.store(true, Ordering::SeqCst);
            for hook in &spec.around.afterwards {
                self.run_around(scene, &spec.id, hook, Moment::Post).await;
            }
            gate.left_open.store(false, Ordering::SeqCst);
        }
    }

    /// Closes what attempts left open that were ended in their middle. For the end of a process.
    pub async fn close_what_is_open(&self) {
        // Tasks that were told to end do so when they are next looked at.
        tokio::task::yield_now().await;
        let scene = self.scene();
        let gates: Vec<_> = {
            let gates = self.brackets.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.iter().map(|(around, gate)| (around.clone(), gate.clone())).collect()
        };
        for (around, gate) in gates {
            if !gate.left_open.swap(false, Ordering::SeqCst) || gate.inside.load(Ordering::SeqCst) > 0 {
                continue;
            }
            let Some(lineage) = scene.wanted.lineages.values().find(|spec| spec.around == around) else {
                continue;
            };
            for hook in &around.afterwards {
                self.run_around(&scene, &lineage.id, hook, Moment::Post).await;
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
