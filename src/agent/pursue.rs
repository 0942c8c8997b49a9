//! Carrying an attempt from a key to a generation. The core says each next move; here it is
//! stored, done and reported back.

use crate::agent::book::{Book, store_failure};
use crate::agent::bracket::Bracket;
use crate::agent::clean_up::owe;
use crate::agent::gather::World;
use crate::agent::{Agent, Scene};
use crate::codec::bundle::{Bundle, Expected};
use crate::core::attempt::{Action, Attempt, Observation, Phase, Sitting, step};
use crate::core::decide::{Foresight, Request, backoff};
use crate::core::event::Event;
use crate::core::failure::{Backoff, Class, Failure, Fault};
use crate::core::name::{LineageId, SubjectName};
use crate::core::order::{ChallengeTask, Offer, Terms};
use crate::core::persist::ABSENT;
use crate::core::record::{LineageRecord, Miss, Receipt};
use crate::core::spec::LineageSpec;
use crate::core::time::Timestamp;
use crate::core::trouble::Tried;
use crate::core::window::last_resort;
use crate::ports::{Ca, Expect, Key};
use crate::sys::keys::PrivateKey;

pub(super) use crate::ports::PATIENCE as SOLVE_TIMEOUT;
/// Moves in one sitting: far above what polling for [`Attempt::SITTING`] needs.
const MOVES_MAX: u32 = 20_000;

impl Agent {
    /// Opens a fresh attempt for `names`: the key is in the store before anything goes outward.
    /// Answers with that key.
    pub(super) async fn prepare(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        names: &[SubjectName],
        request: &Request,
        bracket: &mut Bracket,
    ) -> Result<PrivateKey, Failure> {
        let dropped = self.drop_attempt(world);
        self.rights_known(spec)?;
        self.storable().await?;
        self.showable(scene, spec, world)?;
        self.provable(scene, spec, world).await?;
        self.foretell(scene, spec, &world.record.value, names, request).await?;
        self.open_bracket(scene, spec, bracket).await;
        let issuer = spec.issuer().cloned().ok_or_else(|| {
            Failure::refused(Fault::Config, "no-such-issuer", "no issuer is configured for this certificate")
        })?;
        let key = self.leaf_key(spec, world).await?;
        let expect = Expect::Anything;
        let leaf_key = Key::LeafKey(key.fingerprint());
        self.store.swap(&leaf_key, expect, key.pem()).await.map_err(|error| store_failure(&error))?;
        let now = self.clock.now();
        let scale = backoff(&world.record.value);
        let record = &mut world.record.value;
        let replaces = record
            .current
            .as_ref()
            .filter(|current| current.issuer.as_ref() == Some(&issuer) && current.leaf.valid_at(now))
            .and_then(|current| current.leaf.ari_id.clone());
        if *record.names != *spec.names {
            // What was tried for another set is no history of this one.
            record.trouble = None;
            record.names = spec.names.to_vec();
        }
        record.attempt = Some(Attempt {
            started: now,
            deadline: now + scale.scaled(Attempt::LIFE).max(Attempt::LIFE_LEAST),
            issuer: issuer.clone(),
            names: names.to_vec(),
            profile: spec.profile.clone(),
            key_kind: key.kind(),
            key: key.fingerprint(),
            replaces,
            phase: Phase::Prepared,
            order: None,
            receipts: Vec::new(),
            sitting: Sitting::default(),
        });
        Book::new(&*self.store).save_record(&mut world.record).await?;
        self.let_go(scene, dropped).await;
        self.tell(&Event::AttemptStarted {
            lineage: spec.id.clone(),
            issuer: issuer.to_string(),
            names: names.iter().map(ToString::to_string).collect(),
        });
        Ok(key)
    }

    /// A first certificate whose names can't be proved from here costs no order. A renewal is
    /// tried all the same: the CA may still know the names as proved.
    async fn provable(&self, scene: &Scene, spec: &LineageSpec, world: &World) -> Result<(), Failure> {
        if world.record.value.current.is_some() {
            return Ok(());
        }
        let mut refusal = None;
        for id in &spec.solvers {
            match scene.solver(id)?.able().await {
                Err(failure) if failure.class == Class::Refused => refusal = refusal.or(Some(failure)),
                Ok(()) | Err(_) => return Ok(()),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    async fn leaf_key(&self, spec: &LineageSpec, world: &World) -> Result<PrivateKey, Failure> {
        if spec.reuse_key
            && let Some(current) = world.record.value.current.as_ref()
            && current.key_kind == spec.key
            && let Some(kept) = Book::new(&*self.store).generation(&spec.id, current.number).await?
        {
            return PrivateKey::from_pem(&kept.key_pem());
        }
        self.keys.make(spec.key).await
    }

    /// Takes an attempt that is no longer wanted out of the record: its answers become debts.
    /// What it leaves elsewhere goes with [`Self::let_go`].
    pub(super) fn drop_attempt(&self, world: &mut World) -> Option<Attempt> {
        let attempt = world.record.value.attempt.take()?;
        owe(&mut world.record.value.debts, attempt.receipts.clone(), self.clock.now());
        Some(attempt)
    }

    /// Gives up the order and the key of an attempt that the stored record no longer has. Before
    /// that a crash would leave an attempt whose key is gone.
    pub(super) async fn let_go(&self, scene: &Scene, attempt: Option<Attempt>) {
        let Some(attempt) = attempt else { return };
        if let (Some(order), Ok(ca)) = (attempt.order, scene.ca(&attempt.issuer)) {
            // Only politeness: the order ends by itself.
            let _ = ca.abandon(&order).await;
        }
        // Nothing refers to this key any more. One that stays behind is unused, not harmful.
        let _ = self.store.remove(&Key::LeafKey(attempt.key)).await;
    }

    /// Drives the open attempt to its end, or parks it; its key is read again where it is not in
    /// hand. `Ok`: there is a new generation.
    pub(super) async fn pursue(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        key: Option<PrivateKey>,
        request: &Request,
    ) -> Result<(), Failure> {
        let Some(mut attempt) = world.record.value.attempt.clone() else { return Ok(()) };
        let done = self.drive(scene, spec, world, &mut attempt, key, request.foresight).await;
        if done.as_ref().is_err_and(|failure| failure.code == "state-changed") {
            self.yield_to_others(scene, &spec.id, attempt).await;
        }
        done
    }

    /// Somebody else went on with the lineage while we worked, as when this host slept for longer
    /// than its claim lasts. What only we know of, an order or answers, is undone: nobody else will.
    async fn yield_to_others(&self, scene: &Scene, id: &LineageId, attempt: Attempt) {
        let Ok(held) = Book::new(&*self.store).record(id).await else { return };
        let open = held.value.attempt.as_ref().and_then(|open| open.order.as_ref());
        if open.is_some() && open == attempt.order.as_ref() {
            return;
        }
        for receipt in &attempt.receipts {
            let _ = self.undo(scene, receipt).await;
        }
        let finished = held.value.current.as_ref().map(|current| &current.order);
        if let (Some(order), Ok(ca)) = (&attempt.order, scene.ca(&attempt.issuer))
            && finished != Some(order)
        {
            let _ = ca.abandon(order).await;
        }
    }

    /// `attempt` is kept as far as it has come, also where that could not be stored.
    async fn drive(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        attempt: &mut Attempt,
        key: Option<PrivateKey>,
        foresight: Foresight,
    ) -> Result<(), Failure> {
        let ca = match scene.ca(&attempt.issuer) {
            Ok(ca) => ca.clone(),
            Err(failure) => return self.fail(scene, spec, world, failure, true).await,
        };
        let key = match key {
            Some(key) => Ok(key),
            None => self.stored_key(attempt).await,
        };
        let key = match key {
            Ok(key) => key,
            Err(failure) => return self.fail(scene, spec, world, failure, true).await,
        };
        let offers = offers(scene, spec);
        let scale = backoff(&world.record.value);
        let may_wait =
            foresight == Foresight::Heeded && may_wait_for_texts(&world.record.value, self.clock.now());
        let mut seen = Observation::Started;
        for _ in 0..MOVES_MAX {
            let (next, action) = step(attempt.clone(), seen, self.clock.now());
            let moved = next.order != attempt.order
                || next.receipts != attempt.receipts
                || next.replaces != attempt.replaces;
            let ordered = next.order.clone().filter(|_| attempt.order.is_none());
            *attempt = next;
            if moved {
                world.record.value.attempt = Some(attempt.clone());
                Book::new(&*self.store).save_record(&mut world.record).await?;
                if let Some(order) = ordered {
                    self.tell(&Event::Ordered { lineage: spec.id.clone(), order });
                }
            }
            seen = match action {
                Action::Park(failure) => {
                    world.record.value.attempt = Some(attempt.clone());
                    return self.fail(scene, spec, world, failure, false).await;
                }
                Action::GiveUp(failure) => {
                    world.record.value.attempt = Some(attempt.clone());
                    return self.fail(scene, spec, world, failure, true).await;
                }
                Action::Download => match ca.download(attempt.order.as_deref().unwrap_or_default()).await {
                    Ok(chain) => {
                        let date = self.date_of_issue(&*ca, scale).await;
                        let failure = match receive(&chain, attempt, &key, date) {
                            Ok(bundle) => return self.accept(scene, spec, world, attempt, bundle).await,
                            Err(failure) => failure,
                        };
                        // The same order delivers the same again. Only time mends a date.
                        let over = !matches!(failure.code.as_str(), "not-yet-valid" | "already-expired");
                        world.record.value.attempt = Some(attempt.clone());
                        return self.fail(scene, spec, world, failure, over).await;
                    }
                    Err(failure) => Observation::Failed(failure),
                },
                action => {
                    note_terms(&mut world.record.value, &action);
                    let misses = &world.record.value.misses;
                    let hand = Hand {
                        ca: &*ca,
                        attempt,
                        key: &key,
                        offers: &offers,
                        misses,
                        scale,
                        may_wait,
                        lineage: &spec.id,
                    };
                    let looked_for =
                        if let Action::Confirm(tasks) = &action { tasks.clone() } else { Vec::new() };
                    let seen = self.act(scene, &hand, action).await;
                    for task in looked_for {
                        let solver = scene.solvers.get(&task.solver);
                        if let Some(showing) = solver.and_then(|solver| solver.showing(&task)) {
                            world.record.value.note_showing(showing);
                        }
                    }
                    seen
                }
            };
            if let Observation::Unsolved { name, solver, failure } = &seen {
                let lineage = spec.id.clone();
                let words = format!("solver {solver}: {failure}; another one is tried");
                self.tell(&Event::AnswerUnseen { lineage, name: name.to_string(), words });
                world.record.value.note_miss(name.clone(), solver.clone(), self.clock.now());
            }
        }
        let failure = Failure::broken("attempt-endless", "the order went in circles and is abandoned");
        self.fail(scene, spec, world, failure, true).await
    }

    async fn stored_key(&self, attempt: &Attempt) -> Result<PrivateKey, Failure> {
        match self.store.load(&Key::LeafKey(attempt.key)).await {
            Ok(Some(entry)) => PrivateKey::from_pem(&entry.content),
            Ok(None) => {
                Err(Failure::broken("key-lost", "the key of the open order is gone; a new order follows"))
            }
            Err(error) => Err(store_failure(&error)),
        }
    }

    async fn act(&self, scene: &Scene, hand: &Hand<'_>, action: Action) -> Observation {
        let Hand { ca, attempt, key, offers, misses, scale, .. } = *hand;
        let order = attempt.order.as_deref().unwrap_or_default();
        let seen = match action {
            Action::Order(request) => match self.agree_on_date(ca, scale).await {
                Ok(()) => ca.order(&request).await.map(Observation::Order),
                Err(failure) => Err(failure),
            },
            Action::View => ca.view(order).await.map(Observation::Order),
            Action::Authorizations => ca.authorizations(order).await.map(|views| {
                Observation::Authorizations { views, offers: offers.to_vec(), misses: misses.to_vec() }
            }),
            Action::Reserve(tasks) => self.reserve(scene, hand, tasks).await,
            Action::Present(tasks) => self.present(scene, hand, tasks).await,
            Action::Confirm(tasks) => self.confirm(scene, hand, tasks).await,
            Action::Tell(tasks) => tell_ready(ca, order, &tasks).await,
            Action::Wait(until) => {
                self.clock.sleep_until(until).await;
                Ok(Observation::Waited)
            }
            Action::Finalize => match key.csr(&attempt.names) {
                Ok(csr) => ca.finalize(order, &csr).await.map(Observation::Order),
                Err(failure) => Err(failure),
            },
            // Handled by the caller.
            Action::Download | Action::Park(_) | Action::GiveUp(_) => {
                Err(Failure::broken("move-out-of-order", "a move was asked for at the wrong place"))
            }
        };
        seen.unwrap_or_else(Observation::Failed)
    }

    async fn reserve(
        &self,
        scene: &Scene,
        hand: &Hand<'_>,
        tasks: Vec<ChallengeTask>,
    ) -> Result<Observation, Failure> {
        let mut receipts = Vec::with_capacity(tasks.len());
        for task in &tasks {
            let reserving = scene.solver(&task.solver)?.receipt(task);
            match self.clock.timeout(SOLVE_TIMEOUT, reserving).await.unwrap_or_else(|| Err(slow(task))) {
                Ok(receipt) => receipts.push(Receipt { by: scene.way_of(&task.solver), ..receipt }),
                Err(failure) => return hand.unsolved(task, failure),
            }
        }
        Ok(Observation::Reserved { tasks, receipts })
    }

    async fn present(
        &self,
        scene: &Scene,
        hand: &Hand<'_>,
        tasks: Vec<ChallengeTask>,
    ) -> Result<Observation, Failure> {
        for task in &tasks {
            let presenting = scene.solver(&task.solver)?.present(task);
            let done = self.clock.timeout(SOLVE_TIMEOUT, presenting).await;
            if let Err(failure) = done.unwrap_or_else(|| Err(slow(task))) {
                return hand.unsolved(task, failure);
            }
        }
        Ok(Observation::Presented(tasks))
    }

    /// A look from here is advice: the CA may see what we can't (F35). Only a solver that knows
    /// that it can't work is believed.
    async fn confirm(
        &self,
        scene: &Scene,
        hand: &Hand<'_>,
        tasks: Vec<ChallengeTask>,
    ) -> Result<Observation, Failure> {
        let mut kept = Vec::new();
        for task in &tasks {
            let solver = scene.solver(&task.solver)?;
            let unseen = match self.clock.timeout(solver.patience(), solver.confirm(task)).await {
                Some(Err(failure)) if failure.class == Class::Refused => return hand.unsolved(task, failure),
                Some(Ok(())) => continue,
                Some(Err(failure)) if failure.code == ABSENT && hand.may_wait => {
                    return hand.unsolved(task, failure);
                }
                Some(Err(failure)) => failure,
                None => slow(task),
            };
            kept.push((task.name.clone(), unseen.words.clone()));
            self.tell(&Event::AnswerUnseen {
                lineage: hand.lineage.clone(),
                name: task.name.to_string(),
                words: unseen.to_string(),
            });
        }
        Ok(Observation::Confirmed { tasks, unseen: kept })
    }

    /// Notes a failure and when to try again; `over` ends the attempt.
    pub(super) async fn fail(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        failure: Failure,
        over: bool,
    ) -> Result<(), Failure> {
        self.fail_for(scene, spec, world, &spec.names, failure, over).await
    }

    /// As [`Self::fail`], of a try that was to be for `names` where it came to no attempt.
    pub(super) async fn fail_for(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        names: &[SubjectName],
        failure: Failure,
        over: bool,
    ) -> Result<(), Failure> {
        let failure = self.with_foresight(scene, spec, failure).await;
        let now = self.clock.now();
        let attempt = world.record.value.attempt.clone();
        if failure.reached_validation
            && let Some(attempt) = &attempt
        {
            for name in failure.names() {
                if let Some(receipt) = attempt.receipts.iter().rfind(|receipt| receipt.name == *name) {
                    world.record.value.note_miss(name.clone(), receipt.solver.clone(), now);
                }
            }
        }
        let dropped = if over { self.drop_attempt(world) } else { None };
        let tried = Tried {
            names: attempt.as_ref().map_or_else(|| names.to_vec(), |attempt| attempt.names.clone()),
            wanted: spec.names.to_vec(),
            issuer: attempt.map(|attempt| attempt.issuer).or_else(|| spec.issuer().cloned()),
        };
        let (count, next_at) = world.record.value.note_failure(tried, &failure, now);
        Book::new(&*self.store).save_record(&mut world.record).await?;
        self.let_go(scene, dropped).await;
        self.tell(&Event::AttemptFailed {
            lineage: world.record.value.id.clone(),
            failure: failure.clone(),
            count,
            next_at,
        });
        Err(failure)
    }
}

/// What a move is made with.
struct Hand<'a> {
    ca: &'a dyn Ca,
    attempt: &'a Attempt,
    key: &'a PrivateKey,
    offers: &'a [Offer],
    misses: &'a [Miss],
    scale: Backoff,
    /// A text that nobody seems to have set yet may hold the attempt up, once.
    may_wait: bool,
    lineage: &'a LineageId,
}

impl Hand<'_> {
    /// A solver failed for a name: another one that had no turn yet in this attempt has it now.
    fn unsolved(&self, task: &ChallengeTask, failure: Failure) -> Result<Observation, Failure> {
        let failure = failure.blaming(Some(task.name.clone()));
        let had_its_turn = |offer: &Offer| {
            self.misses.iter().any(|miss| {
                miss.solver == offer.solver && miss.name == task.name && miss.at >= self.attempt.started
            })
        };
        let other = |offer: &&Offer| offer.solver != task.solver && offer.is_for(&task.name);
        if self.offers.iter().filter(other).any(|offer| !had_its_turn(offer)) {
            return Ok(Observation::Unsolved {
                name: task.name.clone(),
                solver: task.solver.clone(),
                failure,
            });
        }
        Err(failure)
    }
}

fn offers(scene: &Scene, spec: &LineageSpec) -> Vec<Offer> {
    spec.solvers
        .iter()
        .filter_map(|id| {
            let solver = scene.solvers.get(id)?;
            let names = scene.wanted.solvers.get(id).map(|spec| spec.names.clone()).unwrap_or_default();
            Some(Offer { solver: id.clone(), kinds: solver.kinds().to_vec(), names })
        })
        .collect()
}

fn receive(chain: &str, attempt: &Attempt, key: &PrivateKey, now: Timestamp) -> Result<Bundle, Failure> {
    Bundle::receive(chain, &key.pem(), &Expected { names: &attempt.names, now })
}

async fn tell_ready(ca: &dyn Ca, order: &str, tasks: &[ChallengeTask]) -> Result<Observation, Failure> {
    for task in tasks {
        ca.ready(order, task).await?;
    }
    Ok(Observation::Told)
}

/// The order waits for a text once: what is not seen from here may stand where the CA looks (F35).
fn may_wait_for_texts(record: &LineageRecord, now: Timestamp) -> bool {
    let waited = record.trouble.as_ref().is_some_and(|trouble| trouble.failure.code == ABSENT);
    let late = record.leaf().is_some_and(|leaf| now >= last_resort(leaf));
    !waited && !late
}

/// A text that proves by standing is looked for between renewals, too; and `dns-persist` tells it.
fn note_terms(record: &mut LineageRecord, action: &Action) {
    let Action::Reserve(tasks) = action else { return };
    for task in tasks {
        if let Terms::Persist(terms) = &task.terms {
            record.note_persist_terms(&task.name, terms);
        }
    }
}

fn slow(task: &ChallengeTask) -> Failure {
    Failure::transient(
        Fault::Host,
        "solver-slow",
        format!("solver {} did not set up the answer for {} within {SOLVE_TIMEOUT}", task.solver, task.name),
    )
    .blaming(Some(task.name.clone()))
}
