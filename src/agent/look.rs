//! Looking at endpoints until they show what they should, or patience ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::core::chain::{View, flaws};
use crate::core::endpoint::Endpoint;
use crate::core::event::Event;
use crate::core::failure::Failure;
use crate::core::ladder::{accepted, judge, next_look};
use crate::core::leaf::{Fingerprint, Leaf};
use crate::core::record::{EndpointNote, GenerationNumber, LineageRecord, Sight};
use crate::core::silence::Silence;
use crate::core::spec::{LineageSpec, Part};
use crate::core::tally::{Judged, Tally};
use crate::core::time::{Span, Timestamp};
use crate::ports::{Seen, Sighting};

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
                let (endpoint, sightings) =
                    look.map_err(|error| Failure::broken("look-panicked", error.to_string()))?;
                let note = self.judge(world, &endpoint, sightings, &target, number);
                self.tell(&Event::Observed {
                    lineage: spec.id.clone(),
                    endpoint: endpoint.clone(),
                    sight: note.sight,
                    fine: note.fine(),
                    words: words_of(&note),
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
    ) -> impl Future<Output = (Endpoint, Vec<Sighting>)> + Send + use<> {
        let (probe, clock) = (self.probe.clone(), self.clock.clone());
        async move {
            let mut wait = AGAIN_FIRST;
            loop {
                let sightings = probe.look(&endpoint, patience.within).await;
                let until = until_when(&endpoint, &sightings, target, reached, &patience, clock.now());
                let now = clock.now();
                if until.is_none_or(|until| now + wait > until) {
                    return (endpoint, sightings);
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
        sightings: Vec<Sighting>,
        target: &Leaf,
        number: GenerationNumber,
    ) -> EndpointNote {
        let now = self.clock.now();
        let record: &LineageRecord = &world.record.value;
        let before = world.installed.value.endpoints.get(endpoint);
        let reached_before = before.is_some_and(|note| note.reached);
        let failures = before.filter(|note| note.generation == number).map_or(0, |note| note.failures);
        let asked = endpoint.asked();
        let judged = weighed(endpoint, &sightings, record, target, now);
        let answered = sightings.iter().any(|sighting| matches!(sighting.seen, Seen::Served(_)));
        let (worst, tally) = Tally::of(&judged).map_or((0, None), |(worst, tally)| (worst, Some(tally)));
        let counts = judged.get(worst).copied();
        let mut note = EndpointNote {
            sight: counts.map_or(Sight::Unreachable, |judged| judged.sight),
            at: now,
            next_at: now,
            generation: number,
            failures: 0,
            reached: reached_before || answered,
            leaf: None,
            words: None,
            silence: None,
            tally: tally.filter(|tally| tally.made > 1),
            accepted: counts.is_some_and(|judged| judged.accepted && judged.sight != Sight::New),
            flaws: Vec::new(),
        };
        match sightings.into_iter().nth(worst).map(|sighting| sighting.seen) {
            Some(Seen::Served(served)) => {
                let chain = record.issued(number).and_then(|issued| issued.digests.get(&Part::Chain));
                let view = View {
                    now,
                    asked: asked.as_ref(),
                    as_installed: note.sight == Sight::New
                        && chain.is_none_or(|chain| *chain == served.above),
                    unrooted: served.distrust.as_ref().is_some_and(|distrust| distrust.unrooted),
                };
                note.flaws = flaws(&served.leaf, &served.sent, &view);
                note.words = served.distrust.map(|distrust| distrust.words);
                note.leaf = Some(served.leaf);
            }
            Some(Seen::Nothing { why, words }) => (note.silence, note.words) = (Some(why), Some(words)),
            None => note.silence = Some(Silence::NotLooked),
        }
        if !note.fine() {
            note.failures = failures.saturating_add(1);
        }
        note.next_at = now + next_look(&record.id, &note, target.lifetime());
        note
    }
}

/// Each sighting, judged.
pub(super) fn weighed(
    endpoint: &Endpoint,
    sightings: &[Sighting],
    record: &LineageRecord,
    target: &Leaf,
    now: Timestamp,
) -> Vec<Judged> {
    let asked = endpoint.asked();
    let weighed = |sighting: &Sighting| match &sighting.seen {
        Seen::Served(served) => Judged {
            sight: judge(&served.leaf, asked.as_ref(), record, target, now),
            accepted: accepted(endpoint, &served.leaf, served.distrust.is_none(), now),
            from: sighting.from,
        },
        Seen::Nothing { .. } => Judged { sight: Sight::Unreachable, accepted: false, from: sighting.from },
    };
    sightings.iter().map(weighed).collect()
}

/// What a log line says beside the sight.
fn words_of(note: &EndpointNote) -> Option<String> {
    let count = note.tally.as_ref().and_then(Tally::words);
    let flaws = note.flaws.iter().map(ToString::to_string);
    let words: Vec<_> = count.into_iter().chain(note.words.clone()).chain(flaws).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// Until when it is worth looking again after these sightings; `None` where they will do, or
/// where nothing is on its way.
fn until_when(
    endpoint: &Endpoint,
    sightings: &[Sighting],
    target: Fingerprint,
    reached: bool,
    patience: &Patience,
    now: Timestamp,
) -> Option<Timestamp> {
    let (mut all_fine, mut answered) = (true, false);
    for sighting in sightings {
        match &sighting.seen {
            Seen::Served(served) => {
                answered = true;
                all_fine &= served.leaf.fingerprint == target
                    || accepted(endpoint, &served.leaf, served.distrust.is_none(), now);
            }
            Seen::Nothing { .. } => all_fine = false,
        }
    }
    if answered {
        patience.anybody.store(true, Ordering::Relaxed);
    }
    match () {
        () if all_fine && answered => None,
        () if answered || reached => Some(patience.stale_until),
        () if patience.anybody.load(Ordering::Relaxed) => None,
        () => Some(patience.closed_until),
    }
}
