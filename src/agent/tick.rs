//! One pass over one lineage: decide, act, decide again, until nothing is left to do now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::agent::book::{Book, store_failure};
use crate::agent::bracket::Bracket;
use crate::agent::canary::{First, Turn};
use crate::agent::gather::World;
use crate::agent::hands::Hand;
use crate::agent::recall::View;
use crate::agent::reload::Coming;
use crate::agent::survey::Survey;
use crate::agent::{Agent, Scene};
use crate::core::census::Row;
use crate::core::decide::{Issuance, Placement, Plan, Reason, Request, Upkeep, decide, may_wait};
use crate::core::event::Event;
use crate::core::failure::{Class, Failure};
use crate::core::ladder::Ladder;
use crate::core::leaf::{Brief, Fingerprint, Leaf};
use crate::core::name::LineageId;
use crate::core::record::{GenerationNumber, HeldBack, Trouble};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};
use crate::ports::Claim;

/// How a pass over a lineage ended.
#[derive(Debug)]
pub struct Outcome {
    pub id: LineageId,
    /// A new generation was issued in this pass.
    pub renewed: bool,
    /// What kept the pass from its end, if anything.
    pub failure: Option<Failure>,
    /// It is of an earlier pass, and this one was not to try again.
    pub stands: bool,
    /// Not even that could be noted, so the next pass would begin where this one did.
    pub broke: bool,
    /// Another process holds the lineage; who.
    pub busy: Option<String>,
    pub ladder: Option<Ladder>,
    pub leaf: Option<Brief>,
    /// For the census of the whole agent.
    pub row: Option<Row>,
    /// All that was found at the end, for the status file. Not kept with many outcomes.
    pub view: Option<View>,
    /// What the last decision said.
    pub verdict: &'static str,
    pub reason: &'static str,
    pub wake_at: Timestamp,
}

/// What one pass has to do with the others.
pub(super) struct Course<'a> {
    pub hand: Hand<'a>,
    /// Until when another process that holds the lineage is waited for.
    deadline: Timestamp,
    /// While it is renewed, others that tell the same services wait for it a little.
    coming: Option<Coming<'a>>,
    /// It goes ahead of others at its services.
    pub first: Option<First<'a>>,
    /// Another has gone ahead and works.
    follows: bool,
}

/// Rounds of deciding and acting in one pass; a whole first issuance takes about ten.
const ROUNDS_MAX: u32 = 64;
/// Conflicts with other agents in one pass that are met by deciding again at once. A store that
/// answers with old values gives one each time, and the CA may have been asked something before.
const CONFLICTS_MAX: u32 = 2;
/// When to look again after a pass that could not even read or write its state.
const AFTER_BREAKAGE: Span = Span::MINUTE;
/// Such passes, one after another, after which nobody seems to be freeing space right now.
const BROKEN_SOON: u32 = 10;
/// And when to look again then: no look can end such trouble, and it may last for weeks.
const AFTER_LONG_BREAKAGE: Span = Span::minutes(5);
/// When to look again after meeting another process's claim.
const AFTER_BUSY: Span = Span::secs(10);

impl Agent {
    /// Looks at `id` and does what is to be done now. Waits for another process that holds it
    /// until `patience` at most. Never fails: what went wrong is in the outcome.
    pub async fn tick(&self, id: &LineageId, request: Request, patience: Span) -> Outcome {
        let scene = self.scene();
        let mut outcome = Outcome::begun(id, self.clock.now() + AFTER_BREAKAGE);
        let hand = self.hands.take().await;
        let deadline = self.clock.now() + patience;
        let done = match self.look_first(&scene, id, &request, &mut outcome).await {
            Ok(None) => Ok(()),
            // All that work may need is a large piece of memory, and most ticks have none.
            Ok(Some(seen)) => {
                let course = Course { hand, deadline, coming: None, first: None, follows: false };
                Box::pin(self.pass(&scene, id, request, seen, &mut outcome, course)).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            if outcome.failure.is_none() {
                self.tell(&Event::TickFailed { lineage: id.clone(), words: failure.to_string() });
            }
            outcome.failure = Some(failure);
            outcome.broke = true;
        }
        outcome
    }

    /// As [`Agent::tick`] of a lineage that is held without reading anything; `None` where it has to
    /// be looked at.
    pub(super) fn tick_held(&self, scene: &Arc<Scene>, id: &LineageId) -> Option<Outcome> {
        let held = self.recall(scene, id)?;
        let mut outcome = Outcome::begun(id, held.at);
        let plan = held.memo.plan(held.at);
        outcome.decided(&plan);
        if !is_routine(&plan) {
            // Once in a pass: what was told of ten thousand is not worth its memory.
            self.tell(&decided(id, &plan));
        }
        outcome.ladder = Some(held.memo.ladder());
        outcome.leaf = Some(held.memo.leaf.clone());
        outcome.row = held.spec().map(|spec| held.memo.row(spec));
        outcome.view = Some(View::Held(Box::new(held)));
        Some(outcome)
    }

    /// What is there and what to do about it; `None` where that is nothing, and all is said.
    async fn look_first(
        &self,
        scene: &Arc<Scene>,
        id: &LineageId,
        request: &Request,
        outcome: &mut Outcome,
    ) -> Result<Option<(World, Plan)>, Failure> {
        if self.stopping.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let world = self.gather(scene, id).await?;
        let now = self.clock.now();
        let plan = decide(&world.situation(scene.wanted.lineages.get(id), request, now));
        if !at_rest(&plan) || request.hurry || is_stale(world.record.value.trouble.as_ref(), &plan, now) {
            return Ok(Some((world, plan)));
        }
        self.report(id, &plan, outcome);
        self.conclude(scene, world, plan, outcome);
        Ok(None)
    }

    async fn pass(
        &self,
        scene: &Arc<Scene>,
        id: &LineageId,
        mut request: Request,
        seen: (World, Plan),
        outcome: &mut Outcome,
        mut course: Course<'_>,
    ) -> Result<(), Failure> {
        let spec = scene.wanted.lineages.get(id);
        let mut guard = None;
        let mut hurry = request.hurry;
        // One pass tries once, whatever the next decision would allow.
        let mut tried = false;
        let mut seen = Some(seen);
        let mut conflicts = 0;
        for _ in 0..ROUNDS_MAX {
            if self.stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            let (mut world, plan) = if let Some(seen) = seen.take() {
                seen
            } else {
                let world = self.gather_again(scene, id).await?;
                let plan = decide(&world.situation(spec, &request, self.clock.now()));
                (world, plan)
            };
            self.report(id, &plan, outcome);
            let spent = tried && plan.upkeep == Upkeep::Hold;
            let stale = is_stale(world.record.value.trouble.as_ref(), &plan, self.clock.now());
            if (at_rest(&plan) || spent) && !hurry && !stale {
                // What failed is due again at once: that it failed could not be noted.
                outcome.broke = !at_rest(&plan);
                self.conclude(scene, world, plan, outcome);
                self.speak_for_others(outcome, course.first.take());
                return match &outcome.view {
                    Some(View::Read(survey)) if guard.is_some() => self.prune(scene, &survey.world).await,
                    _ => Ok(()),
                };
            }
            if guard.is_none() {
                match self.claim(id, course.deadline).await? {
                    Claim::Held(held) => {
                        guard = Some(held);
                        // Whoever held it may have done the work: look again.
                        continue;
                    }
                    Claim::Busy(holder) => {
                        outcome.busy = Some(holder);
                        outcome.wake_at = self.clock.now() + AFTER_BUSY;
                        return Ok(());
                    }
                }
            }
            if stale {
                world.record.value.trouble = None;
                Book::new(&*self.store).save_record(&mut world.record).await?;
                continue;
            }
            if std::mem::take(&mut hurry) {
                self.hurry(id, &mut world).await?;
                continue;
            }
            let Some(spec) = spec else {
                self.clean_up(scene, None, &mut world).await?;
                continue;
            };
            if plan.upkeep != Upkeep::Hold {
                if let Upkeep::Install { generation, why: Reason::NewGeneration } = plan.upkeep
                    && self.waits_for_its_turn(spec, &mut world, generation, &request, &mut course).await?
                {
                    continue;
                }
                let installs = match plan.upkeep {
                    Upkeep::Install { generation, .. } => Some(generation),
                    _ => None,
                };
                self.keep_up(scene, spec, &mut world, &request, plan.upkeep, &mut course).await?;
                if let (Some(generation), Some(first)) = (installs, &mut course.first)
                    && first.shown().is_none()
                {
                    first.shows(generation);
                }
                continue;
            }
            if matches!(plan.issuance, Issuance::Issue { .. } | Issuance::Renew { .. } | Issuance::Resume) {
                course.coming.get_or_insert_with(|| self.reloads.announce(id, &spec.hooks));
            }
            let issued = self.issue(scene, spec, &mut world, plan.issuance, &request).await;
            match issued {
                Ok(true) => {
                    outcome.renewed = true;
                    request.force = false;
                    request.by_hand = false;
                }
                Ok(false) => {}
                // Somebody else was faster: their state is decided on, not ours.
                Err(failure) if failure.code == "state-changed" && conflicts < CONFLICTS_MAX => {
                    conflicts += 1;
                }
                Err(failure) => {
                    course.coming = None;
                    // By hand means one try now, not one after another.
                    request.force = false;
                    request.by_hand = false;
                    tried = true;
                    outcome.failure = Some(failure);
                }
            }
        }
        Err(Failure::broken(
            "tick-endless",
            format!("{id} was decided {ROUNDS_MAX} times without coming to rest"),
        ))
    }

    async fn keep_up(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        request: &Request,
        upkeep: Upkeep,
        course: &mut Course<'_>,
    ) -> Result<(), Failure> {
        if request.wary && matches!(upkeep, Upkeep::Notify { .. } | Upkeep::Observe { .. }) {
            self.storable().await?;
        }
        match upkeep {
            Upkeep::Hold => Ok(()),
            Upkeep::CleanUp => self.clean_up(scene, Some(spec), world).await,
            Upkeep::Unpin { generation } => self.unpin(world, generation).await,
            Upkeep::Install { generation, why } => {
                self.install(scene, spec, world, request, generation, why).await
            }
            Upkeep::Settle { hook, generation } => self.settle(spec, world, &hook, generation).await,
            Upkeep::Notify { hook, generation } => {
                self.notify(scene, spec, world, &hook, generation, course).await
            }
            Upkeep::Observe { generation, endpoints } => {
                self.observe(spec, world, &endpoints, generation).await
            }
        }
    }

    /// Before something that works is replaced: of those that come to a service together the first
    /// goes ahead. `true`: time has passed or it is held back, so look again.
    async fn waits_for_its_turn<'a>(
        &'a self,
        spec: &LineageSpec,
        world: &mut World,
        generation: GenerationNumber,
        request: &Request,
        course: &mut Course<'a>,
    ) -> Result<bool, Failure> {
        let can_wait = may_wait(&world.record.value, &world.disk, self.clock.now());
        if spec.hooks.is_empty() || request.hurry || !can_wait || course.first.is_some() || course.follows {
            return Ok(false);
        }
        // Nobody waits for one that waits itself.
        course.coming = None;
        let turn = self.canaries.turn(&self.clock, &spec.id, &spec.hooks);
        let turn = course.hand.rest(turn).await;
        if self.stopping.load(Ordering::Relaxed) {
            // Whoever went ahead was stopped too, and says nothing.
            return Ok(true);
        }
        match turn {
            Turn::First(first) => course.first = Some(first),
            Turn::Follows => {
                course.follows = true;
                course.coming = Some(self.reloads.announce(&spec.id, &spec.hooks));
            }
            Turn::HeldBack { by, until } => {
                let at = self.clock.now();
                self.tell(&Event::HeldBack { lineage: spec.id.clone(), generation, by: by.clone(), until });
                world.installed.value.held_back = Some(HeldBack { generation, by, at, until });
                Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await?;
            }
        }
        Ok(true)
    }

    /// Tells the others of a service what became of one that went ahead: in the pass in which it
    /// did, or in a later one that found all of it paid.
    fn speak_for_others(&self, outcome: &Outcome, first: Option<First<'_>>) {
        let Some(View::Read(survey)) = &outcome.view else { return };
        let shown = match survey.world.disk.live {
            Placement::Shows(number) => Some(number),
            _ => None,
        };
        let current = survey.world.record.value.current.as_ref().map(|issued| issued.number);
        if !survey.ladder.paid() || shown != current {
            return;
        }
        match first {
            Some(first) if first.shown() == shown => first.passed(),
            Some(_) => {}
            None => self.canaries.vouch(&outcome.id, self.clock.now()),
        }
    }

    /// `Ok(true)`: there is a new generation.
    async fn issue(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        issuance: Issuance,
        request: &Request,
    ) -> Result<bool, Failure> {
        match issuance {
            Issuance::Hold(_) | Issuance::Suspend { .. } => Ok(false),
            Issuance::Refresh => {
                self.storable().await?;
                self.refresh(scene, spec, world).await.map(|()| false)
            }
            Issuance::Probe { .. } => self.free_look(scene, spec, world).await.map(|()| false),
            Issuance::Resume => {
                self.storable().await?;
                let mut bracket = Bracket::default();
                self.open_bracket(scene, spec, &mut bracket).await;
                let issued = self.pursue(scene, spec, world, None, request).await;
                self.close_bracket(scene, spec, bracket).await;
                issued.map(|()| true)
            }
            Issuance::Issue { names, .. } | Issuance::Renew { names, .. } => {
                let mut bracket = Bracket::default();
                let issued = match self.prepare(scene, spec, world, &names, request, &mut bracket).await {
                    Ok(key) => self.pursue(scene, spec, world, Some(key), request).await.map(|()| true),
                    Err(failure) => {
                        self.fail_for(scene, spec, world, &names, failure, true).await.map(|()| false)
                    }
                };
                self.close_bracket(scene, spec, bracket).await;
                issued
            }
        }
    }

    /// The CA is asked nothing whose answer could not be stored: it would be asked again each time
    /// that somebody looks (F01, F06, F12).
    pub(super) async fn storable(&self) -> Result<(), Failure> {
        self.store.writable().await.map_err(|error| store_failure(&error))
    }

    /// `deploy`: what waits for its next try is tried now.
    async fn hurry(&self, id: &LineageId, world: &mut World) -> Result<(), Failure> {
        let now = self.clock.now();
        let installed = &mut world.installed.value;
        for note in installed.hooks.values_mut() {
            note.next_at = None;
        }
        for note in installed.endpoints.values_mut() {
            note.next_at = now;
        }
        if let Some(refused) = &mut installed.refused {
            refused.until = now;
        }
        Book::new(&*self.store).save_installed(id, &mut world.installed).await
    }

    fn conclude(&self, scene: &Arc<Scene>, world: World, plan: Plan, outcome: &mut Outcome) {
        let survey = Survey::of(scene.clone(), world, plan, self.clock.now());
        self.remember(survey.spec(), &survey.world, &survey.row, &survey.ladder);
        let record = &survey.world.record.value;
        outcome.ladder = Some(survey.ladder.clone());
        outcome.leaf = record.leaf().map(Leaf::brief);
        outcome.row = Some(survey.row.clone());
        if outcome.failure.is_none()
            && let Some(trouble) = &record.trouble
        {
            outcome.failure = Some(trouble.failure.clone());
            outcome.stands = true;
        }
        if let Placement::Foreign(leaf) = &survey.world.disk.live {
            self.tell_once(outcome, "foreign", Said::Found(leaf.fingerprint), || Event::ForeignFound {
                lineage: record.id.clone(),
                path: scene.live_dir.join(record.id.as_str()).display().to_string(),
                leaf: leaf.clone(),
            });
        }
        outcome.view = Some(View::Read(Box::new(survey)));
    }

    fn report(&self, id: &LineageId, plan: &Plan, outcome: &mut Outcome) {
        outcome.decided(plan);
        if !is_routine(plan) {
            let said = Said::Decided(outcome.verdict, outcome.reason);
            self.tell_once(outcome, "decided", said, || decided(id, plan));
        }
    }

    /// Repeats are silent until something moves.
    fn tell_once(&self, outcome: &Outcome, kind: &'static str, what: Said, event: impl FnOnce() -> Event) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.insert((outcome.id.clone(), kind), what) != Some(what) {
            drop(told);
            self.tell(&event());
        }
    }
}

/// What was told last of a lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A verdict and its reason.
    Decided(&'static str, &'static str),
    /// Somebody else's certificate.
    Found(Fingerprint),
}

/// Nothing to do before the wake.
pub(super) fn at_rest(plan: &Plan) -> bool {
    plan.upkeep == Upkeep::Hold && matches!(plan.issuance, Issuance::Hold(_) | Issuance::Suspend { .. })
}

/// Whether a failure is no longer anybody's trouble: what was asked for in vain is not needed any
/// more, as after a change that was taken back. What the CA said of when to come back stands.
fn is_stale(trouble: Option<&Trouble>, plan: &Plan, now: Timestamp) -> bool {
    let Some(trouble) = trouble else { return false };
    let limited = matches!(trouble.failure.class, Class::Limited { until } if until > now);
    plan.issuance == Issuance::Hold(Reason::NotDue) && !limited
}

fn decided(id: &LineageId, plan: &Plan) -> Event {
    let (verdict, reason) = words(plan);
    Event::Decided { lineage: id.clone(), verdict, reason: reason.to_owned(), wake_at: plan.wake_at }
}

/// Looking, which is done many times a day and changes nothing that people would want to hear of.
const fn is_routine(plan: &Plan) -> bool {
    match plan.upkeep {
        Upkeep::Observe { .. } => true,
        Upkeep::Hold => matches!(plan.issuance, Issuance::Refresh | Issuance::Probe { .. }),
        _ => false,
    }
}

/// The verdict and reason to show: upkeep first.
pub(super) fn words(plan: &Plan) -> (&'static str, &'static str) {
    match (&plan.upkeep, &plan.issuance) {
        (Upkeep::Install { why, .. }, _) => ("install", why.code()),
        (Upkeep::Unpin { .. }, _) => ("unpin", Reason::PinOver.code()),
        (Upkeep::Hold, issuance) => {
            let reason = match issuance {
                Issuance::Hold(why)
                | Issuance::Issue { why, .. }
                | Issuance::Renew { why, .. }
                | Issuance::Suspend { why, .. } => why.code(),
                Issuance::Refresh => "ari-poll",
                Issuance::Resume => Reason::AttemptOpen.code(),
                Issuance::Probe { .. } => "free-look",
            };
            (issuance.verb(), reason)
        }
        (upkeep, _) => (upkeep.verb(), "owed"),
    }
}

impl Outcome {
    /// Of a pass that has found nothing yet.
    fn begun(id: &LineageId, wake_at: Timestamp) -> Self {
        Self {
            id: id.clone(),
            renewed: false,
            failure: None,
            stands: false,
            broke: false,
            busy: None,
            ladder: None,
            leaf: None,
            row: None,
            view: None,
            verdict: "hold",
            reason: Reason::NotDue.code(),
            wake_at,
        }
    }

    fn decided(&mut self, plan: &Plan) {
        (self.verdict, self.reason) = words(plan);
        self.wake_at = plan.wake_at;
    }

    /// When to look again, where this is the last of so many passes in a row that could note nothing.
    pub(super) fn wake_after(&self, broken: u32, now: Timestamp) -> Timestamp {
        if broken < BROKEN_SOON { self.wake_at } else { now + AFTER_LONG_BREAKAGE }
    }

    /// Nothing went wrong and nothing is owed.
    pub fn is_well(&self) -> bool {
        self.failure.is_none() && self.busy.is_none() && self.ladder.as_ref().is_some_and(Ladder::paid)
    }

    /// The failure is one that someone must act on.
    pub fn needs_somebody(&self) -> bool {
        self.failure.as_ref().is_some_and(|f| matches!(f.class, Class::Refused | Class::Broken))
    }
}
