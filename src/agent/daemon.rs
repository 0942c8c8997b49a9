//! The loop that sleeps until the earliest date on the agenda.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::agent::book::store_failure;
use crate::agent::count::row;
use crate::agent::tick::{Outcome, at_rest};
use crate::agent::{Agent, Scene};
use crate::core::agenda::Agenda;
use crate::core::census::{Census, Row};
use crate::core::decide::{Foresight, Request, decide};
use crate::core::event::Event;
use crate::core::failure::Failure;
use crate::core::ladder::Ladder;
use crate::core::name::LineageId;
use crate::core::time::{Span, Timestamp};
use crate::core::watched::Watched;
use crate::ports::{Key, Shelf};

/// What the outside asks of a running daemon.
pub enum Signal {
    /// A new configuration, whole and checked.
    Enter(Box<Scene>),
    /// Look at everything now, whatever the agenda says.
    LookAtAll,
    Stop,
}

/// Where the loop is, told after each step of it.
#[derive(Debug)]
pub struct Pass<'a> {
    pub census: &'a Arc<Census>,
    /// Every lineage was judged at least once: the agent is ready.
    pub complete: bool,
    pub next_wake: Timestamp,
}

/// Least time between two looks at one lineage, against a plan that wakes at once for ever.
const LOOK_LEAST: Span = Span::from_millis(100);
/// Longest that a stop waits for what is under way; the rest is resumed at the next start.
const STOP_GRACE: Span = Span::secs(10);
/// Longest that a tick may keep the loop waiting: the longest hook.
const BUSY_MOST: Span = Span::HOUR;
/// A clock that moved by less against the time that passed was not set, only corrected.
const CORRECTION_MOST: Span = Span::MINUTE;
/// Age from which a count is made again with the next tick even where nothing moved. Ten thousand
/// lineages are looked at every few seconds, and each count writes the status of all of them.
const COUNT_AGE_MOST: Span = Span::minutes(10);
/// Lineages judged between two turns of the loop at the start.
const JUDGED_AT_ONCE: usize = 256;

impl Agent {
    /// Runs until told to stop. `report` is called after each step, first when every lineage was
    /// judged.
    pub async fn run(
        self: &Arc<Self>,
        mut signals: mpsc::Receiver<Signal>,
        mut report: impl FnMut(&Pass<'_>) + Send,
    ) -> Result<(), Failure> {
        let mut desk = Desk::new();
        self.judge_all(&mut desk).await?;
        let mut ticks: JoinSet<Outcome> = JoinSet::new();
        // A task of its own: a look at what others keep never delays a lineage.
        let (teller, mut watched) = mpsc::channel(1);
        let mut watching = JoinSet::new();
        watching.spawn(self.clone().keep_watch(teller));
        loop {
            if desk.clock_was_set(self.clock.now(), self.clock.monotonic()) {
                // Dates on the agenda were reckoned by another clock (F25).
                self.judge_all(&mut desk).await?;
            }
            self.start_due(&mut desk, &mut ticks);
            // Judging may have taken weeks: the host slept meanwhile, or its store was slow.
            let now = self.clock.now();
            let next_wake = desk.agenda.next().unwrap_or(now + Span::DAY);
            // With all hands busy the next step is the end of a tick, and a hook may take its time.
            let heard_by =
                if self.hands.free(ticks.len()) { next_wake } else { next_wake.max(now + BUSY_MOST) };
            report(&Pass { census: &desk.counted, complete: true, next_wake: heard_by });
            tokio::select! {
                biased;
                signal = signals.recv() => match signal {
                    Some(Signal::Enter(scene)) => {
                        self.enter(*scene);
                        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
                        self.judge_all(&mut desk).await?;
                        self.look_out(false);
                    }
                    Some(Signal::LookAtAll) => {
                        self.look_out(true);
                        self.judge_all(&mut desk).await?;
                    }
                    Some(Signal::Stop) | None => break,
                },
                Some(done) = ticks.join_next(), if !ticks.is_empty() => self.finish(&mut desk, done),
                Some(found) = watched.recv() => desk.note_watched(&found, self.clock.now()),
                () = self.hands.freed(), if !ticks.is_empty() => {}
                _ = self.clock.sleep_until(next_wake), if self.hands.free(ticks.len()) => {}
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
        watching.abort_all();
        let _ = self.clock.timeout(STOP_GRACE, async { while ticks.join_next().await.is_some() {} }).await;
        ticks.abort_all();
        while ticks.join_next().await.is_some() {}
        let _ = self.clock.timeout(STOP_GRACE, self.close_what_is_open()).await;
        Ok(())
    }

    /// Reads and judges every lineage without acting: cheap, local, and what readiness means.
    async fn judge_all(self: &Arc<Self>, desk: &mut Desk) -> Result<(), Failure> {
        let scene = self.scene();
        let mut ids: Vec<LineageId> = scene.wanted.lineages.keys().cloned().collect();
        let listed = match self.store.list(Shelf::Lineages).await {
            Ok(keys) => keys,
            // Only a start may fail by it: a daemon goes on with what it knew.
            Err(_) if !desk.counted.rows.is_empty() => {
                desk.counted.rows.iter().map(|row| Key::Lineage(row.lineage.clone())).collect()
            }
            Err(error) => return Err(store_failure(&error)),
        };
        for key in listed {
            let Key::Lineage(id) = key else { continue };
            if scene.wanted.lineages.contains_key(&id) {
                continue;
            }
            ids.push(id.clone());
            if !scene.wanted.broken.contains_key(&id) {
                self.tell(&Event::Retired { lineage: id });
            }
        }
        ids.sort_unstable();
        desk.agenda.keep_only(&ids);
        desk.broken.retain(|id, _| ids.binary_search(id).is_ok());
        let belief = self.believe();
        // Put down when the marks are let go: what lives long would lie above what was theirs.
        let mut dates = Vec::with_capacity(ids.len());
        let request = Request::default();
        let mut rows = Vec::with_capacity(ids.len());
        for (count, id) in ids.into_iter().enumerate() {
            if count % JUDGED_AT_ONCE == JUDGED_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if desk.running.contains(&id) {
                // Its tick keeps the scene that it began with.
                rows.extend(desk.counted.row(&id).cloned());
                desk.again.insert(id);
                continue;
            }
            let now = self.clock.now();
            if let Some(held) = self.recall(&scene, &id) {
                rows.extend(held.spec().map(|spec| held.memo.row(spec)));
                dates.push((id, held.memo.plan(now).wake_at));
                continue;
            }
            let wake_at = if let Ok(world) = self.gather(&scene, &id).await {
                let spec = scene.wanted.lineages.get(&id);
                let plan = decide(&world.situation(spec, &request, now));
                let (record, installed) = (&world.record.value, &world.installed.value);
                let ladder = Ladder::of(spec, record, installed, &world.disk, now);
                let row = row(spec, &world, &ladder, now);
                self.remember(spec, &world, &row, &ladder);
                rows.push(row);
                if at_rest(&plan) { plan.wake_at } else { now }
            } else {
                // The tick meets the same trouble and reports it.
                rows.extend(desk.counted.row(&id).cloned());
                now
            };
            dates.push((id, wake_at));
        }
        self.seen.save(&self.disk, self.clock.now()).await;
        drop(belief);
        for (id, wake_at) in dates {
            desk.agenda.put(id, wake_at);
        }
        rows.shrink_to_fit();
        let mut watched = desk.counted.watched.clone();
        watched.retain(|watched| scene.wanted.watches.contains_key(&watched.watch));
        desk.counted = Arc::new(Census { watched, ..Census::of(self.clock.now(), rows) });
        Ok(())
    }

    fn start_due(self: &Arc<Self>, desk: &mut Desk, ticks: &mut JoinSet<Outcome>) {
        let now = self.clock.now();
        while self.hands.free(ticks.len())
            && let Some(id) = desk.agenda.take_due(now)
        {
            if !desk.running.insert(id.clone()) {
                continue;
            }
            let agent = self.clone();
            let wary = desk.broken.contains_key(&id);
            let request = Request { foresight: Foresight::Heeded, wary, ..Request::default() };
            ticks.spawn(async move { agent.tick(&id, request, Span::ZERO).await });
        }
    }

    fn finish(&self, desk: &mut Desk, done: Result<Outcome, tokio::task::JoinError>) {
        let now = self.clock.now();
        match done {
            Ok(outcome) => {
                desk.running.remove(&outcome.id);
                let broken = desk.broken.remove(&outcome.id).unwrap_or(0);
                let broken = if outcome.broke { broken.saturating_add(1) } else { 0 };
                if broken > 0 {
                    desk.broken.insert(outcome.id.clone(), broken);
                }
                let wake_at = outcome.wake_after(broken, now);
                if let Some(row) = outcome.row {
                    let same = desk.counted.row(&outcome.id) == Some(&row);
                    // What was counted keeps its date for a while, though all is as it was.
                    if !same || now.since(desk.counted.at) >= COUNT_AGE_MOST {
                        desk.count(row, now);
                    }
                }
                let at = if desk.again.remove(&outcome.id) { now } else { wake_at };
                desk.agenda.put(outcome.id, at.max(now + LOOK_LEAST));
            }
            // One lineage's panic is contained; it is looked at again with all that ran.
            Err(error) => {
                for id in std::mem::take(&mut desk.running) {
                    self.tell(&Event::TickFailed { lineage: id.clone(), words: error.to_string() });
                    desk.agenda.put(id, now + Span::MINUTE);
                }
            }
        }
    }
}

/// What the loop has before it.
struct Desk {
    agenda: Agenda,
    running: BTreeSet<LineageId>,
    /// Judged by what no longer holds while it was running: looked at once more.
    again: BTreeSet<LineageId>,
    /// Their last ticks could not read or write their state; how many of them.
    broken: BTreeMap<LineageId, u32>,
    /// Made anew only when something moved: a wake for one lineage is no work for all.
    counted: Arc<Census>,
    /// By how much the wall clock is ahead of the time since the start.
    ahead: Option<Span>,
}

impl Desk {
    fn new() -> Self {
        Self {
            agenda: Agenda::new(),
            running: BTreeSet::new(),
            again: BTreeSet::new(),
            broken: BTreeMap::new(),
            counted: Arc::new(Census::of(Timestamp::EPOCH, Vec::new())),
            ahead: None,
        }
    }

    /// Whether the wall clock and the time that passed disagree since the last question: it was
    /// set, or the host was suspended.
    fn clock_was_set(&mut self, now: Timestamp, passed: Span) -> bool {
        let ahead = now.since(Timestamp::EPOCH) - passed;
        let before = self.ahead.replace(ahead).unwrap_or(ahead);
        (ahead - before).max(before - ahead) > CORRECTION_MOST
    }

    /// Puts what is watched into a new count.
    fn note_watched(&mut self, found: &[Watched], now: Timestamp) {
        let census = Arc::make_mut(&mut self.counted);
        census.at = now;
        census.watched = found.to_vec();
    }

    /// Puts one row into a new count. The old one may still be read by others.
    fn count(&mut self, row: Row, now: Timestamp) {
        let census = Arc::make_mut(&mut self.counted);
        census.at = now;
        census.put(row);
    }
}
