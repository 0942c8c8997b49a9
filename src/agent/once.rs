//! One pass over chosen lineages, then an end: `renew`, `deploy`, `once`.

use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::agent::tick::Outcome;
use crate::core::decide::Request;
use crate::core::name::LineageId;
use crate::core::time::Span;

/// What one pass came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Those that the caller kept, by id: all that is known of ten thousand lineages would be much.
    pub outcomes: Vec<Outcome>,
    /// Whether any of them was renewed.
    pub renewed: bool,
    worst: Readiness,
}

/// The worst that a pass met, as exit codes know it (see the guide's table).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    #[default]
    Well,
    /// Renewed, but not installed, reloaded or observed.
    Owing,
    /// Another process holds a lineage.
    Busy,
    Failed,
}

impl Agent {
    /// Takes those out of `ids` that are held without reading anything, and tells `each` of them.
    pub fn skim(&self, ids: &mut Vec<LineageId>, mut each: impl FnMut(Outcome)) {
        let scene = self.scene();
        ids.retain(|id| match self.tick_held(&scene, id) {
            Some(outcome) => {
                each(outcome);
                false
            }
            None => true,
        });
    }

    /// Ticks each lineage once, a few side by side, in the order given. What `each` gives back is
    /// kept.
    pub async fn pass_over(
        self: &Arc<Self>,
        ids: Vec<LineageId>,
        request: &Request,
        patience: Span,
        mut each: impl FnMut(Outcome) -> Option<Outcome>,
    ) -> Summary {
        let _belief = self.believe();
        let mut waiting = ids.into_iter();
        let mut running = JoinSet::new();
        let mut summary = Summary::default();
        loop {
            while self.hands.free(running.len())
                && let Some(id) = waiting.next()
            {
                let (agent, request) = (self.clone(), request.clone());
                running.spawn(async move { agent.tick(&id, request, patience).await });
            }
            let ended = tokio::select! {
                biased;
                ended = running.join_next() => ended,
                () = self.hands.freed() => continue,
            };
            match ended {
                None => break,
                Some(Ok(outcome)) => {
                    summary.worst = summary.worst.max(outcome.readiness());
                    summary.renewed |= outcome.renewed;
                    summary.outcomes.extend(each(outcome));
                }
                // A panic is reported by its hook; the pass goes on and can't call itself well.
                Some(Err(_)) => summary.worst = Readiness::Failed,
            }
        }
        self.seen.save(&self.disk, self.clock.now()).await;
        summary.outcomes.sort_by(|a, b| a.id.cmp(&b.id));
        summary
    }
}

impl Summary {
    /// Puts outcomes that [`Agent::skim`] told of among the others.
    pub fn add_held(&mut self, held: Vec<Outcome>) {
        self.outcomes.extend(held);
        self.outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    }

    /// The worst that was met: failures first, then claims, then debts.
    pub const fn readiness(&self) -> Readiness {
        self.worst
    }
}

impl Outcome {
    pub fn readiness(&self) -> Readiness {
        if self.failure.is_some() {
            Readiness::Failed
        } else if self.busy.is_some() {
            Readiness::Busy
        } else if self.is_well() {
            Readiness::Well
        } else {
            Readiness::Owing
        }
    }
}
