//! Looking at endpoints until they show what they should, or patience ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::core::endpoint::Endpoint;
use crate::core::event::Event;
use crate::core::failure::Failure;
use crate::core::ladder::{judge, next_look};
use crate::core::leaf::{Fingerprint, Leaf};
use crate::core::name::SubjectName;
use crate::core::record::{EndpointNote, GenerationNumber, LineageRecord, Sight};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};
use crate::ports::Sighting;

/// First wait before looking again at an endpoint that should be new by now; doubles.
const AGAIN_FIRST: Span = Span::from_millis(50);
const AGAIN_MOST: Span = Span::secs(2);
/// How long after a reload an endpoint that never answered may still be opening, where no other
/// of the lineage answers either: the first reload with a certificate often opens the port, and
/// programs return from a reload before they have done it.
const OPENING: Span = Span::secs(4);
/// Endpoints of one lineage looked at side by side.
const SIDE_BY_SIDE: usize = 16;

/// How long one round of looks may take.
#[derive(Clone)]
struct Patience {
    /// Bound on one look.
    within: Span,
    /// Until when an answer other than the new one may still turn.
    stale_until: Timestamp,
    /// Until when a port that was never open may still open.
    closed_until: Timestamp,
    /// An endpoint of this lineage answered in this round.
    anybody: Arc<AtomicBool>,
}

impl Agent {
    /// Looks at each endpoint. Just after a reload a stale answer is given time to turn new.
    pub(super) async fn observe(
        &self,
        spec: &LineageSpec,
        world: &mut World,
        endpoints: &[Endpoint],
        number: GenerationNumber,
    ) -> Result<(), Failure> {
        let Some(target) = world.record.value.issued(number).map(|issued| issued.leaf.clone()) else {
            return Ok(());
        };
        let within = spec.observe_timeout;
        // Only a reload that happened moments ago may still be under way.
        let now = self.clock.now();
        let reloaded_at = world.installed.value.hooks.values().filter_map(|note| note.done_at).max();
        let patience = Patience {
            within,
            stale_until: reloaded_at.map_or(now, |at| at + within),
            closed_until: reloaded_at.map_or(now, |at| at + OPENING.min(within)),
            anybody: Arc::default(),
        };
        for group in endpoints.chunks(SIDE_BY_SIDE) {
            let mut looks = JoinSet::new();
            for endpoint in group {
                let reached = world.installed.value.endpoints.get(endpoint).is_some_and(|note| note.reached);
                looks.spawn(self.look_until_new(
                    endpoint.clone(),
                    target.fingerprint,
                    reached,
                    patience.clone(),
                ));
            }
            while let Some(look) = looks.join_next().await {
                let (endpoint, sighting) =
                    look.map_err(|error| Failure::broken("look-panicked", error.to_string()))?;
                let note = self.judge(world, &endpoint, sighting, &target, number);
                self.tell(&Event::Observed {
                    lineage: spec.id.clone(),
                    endpoint: endpoint.clone(),
                    sight: note.sight,
                    words: note.words.clone(),
                });
                world.installed.value.endpoints.insert(endpoint, note);
            }
        }
        Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await
    }

    fn look_until_new(
        &self,
        endpoint: Endpoint,
        target: Fingerprint,
        reached: bool,
        patience: Patience,
    ) -> impl Future<Output = (Endpoint, Sighting)> + Send + use<> {
        let (probe, clock) = (self.probe.clone(), self.clock.clone());
        async move {
            let mut wait = AGAIN_FIRST;
            loop {
                let sighting = probe.look(&endpoint, patience.within).await;
                let until = match &sighting {
                    Sighting::Served { leaf, .. } => {
                        patience.anybody.store(true, Ordering::Relaxed);
                        (leaf.fingerprint != target).then_some(patience.stale_until)
                    }
                    Sighting::Unreachable(_) if reached => Some(patience.stale_until),
                    Sighting::Unreachable(_) if patience.anybody.load(Ordering::Relaxed) => None,
                    Sighting::Unreachable(_) => Some(patience.closed_until),
                };
                let now = clock.now();
                if until.is_none_or(|until| now + wait > until) {
                    return (endpoint, sighting);
                }
                clock.sleep_until(now + wait).await;
                wait = wait.times(2).min(AGAIN_MOST);
            }
        }
    }

    fn judge(
        &self,
        world: &World,
        endpoint: &Endpoint,
        sighting: Sighting,
        target: &Leaf,
        number: GenerationNumber,
    ) -> EndpointNote {
        let now = self.clock.now();
        let record: &LineageRecord = &world.record.value;
        let before = world.installed.value.endpoints.get(endpoint);
        let reached_before = before.is_some_and(|note| note.reached);
        let failures = before.filter(|note| note.generation == number).map_or(0, |note| note.failures);
        let (sight, leaf, words) = match sighting {
            Sighting::Served { leaf, distrust, .. } => {
                let asked = SubjectName::parse(&endpoint.server_name()).ok();
                let asked = asked.filter(|name| matches!(name, SubjectName::Dns(_)));
                (judge(&leaf, asked.as_ref(), record, target, now), Some(*leaf), distrust)
            }
            Sighting::Unreachable(words) => (Sight::Unreachable, None, Some(words)),
        };
        let mut note = EndpointNote {
            sight,
            at: now,
            next_at: now,
            generation: number,
            failures: if sight == Sight::New { 0 } else { failures.saturating_add(1) },
            reached: reached_before || leaf.is_some(),
            leaf,
            words,
        };
        note.next_at = now + next_look(&note, target.lifetime());
        note
    }
}
