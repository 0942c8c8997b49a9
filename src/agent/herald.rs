//! Who tells people: takes each count, keeps the ledger, sends what is due. It runs beside the loop
//! and never holds it up.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::agent::daemon::Signal;
use crate::agent::woes::Woes;
use crate::agent::{Agent, Scene};
use crate::codec::state::{self, StateError};
use crate::core::ack::Acks;
use crate::core::alert::{Due, Ledger, Patience};
use crate::core::census::Census;
use crate::core::channel::ChannelSpec;
use crate::core::concern::{Concern, Concerns};
use crate::core::failure::{Failure, Fault};
use crate::core::gravity::Gravity;
use crate::core::name::ChannelId;
use crate::core::time::{Span, Timestamp};
use crate::ports::{Channel, Expect, Heart, Key, Revision, Store, StoreError};
use crate::sys::clock::Clock;
use crate::sys::disk::{Disk, LockGuard};

/// The ways out, as configured.
#[derive(Default)]
pub struct Ways {
    pub channels: Vec<(ChannelSpec, Arc<dyn Channel>)>,
    pub heart: Option<Rhythm>,
}

/// Who hears that the agent lives, and how often.
#[derive(Clone)]
pub struct Rhythm {
    pub heart: Arc<dyn Heart>,
    pub every: Span,
    /// Bound on one beat.
    pub timeout: Span,
}

pub struct Herald {
    store: Arc<dyn Store>,
    disk: Disk,
    clock: Clock,
    /// Held while alerts are sent; two that send would send all twice.
    lock: PathBuf,
    host: String,
    ways: RwLock<Arc<Ways>>,
    pub woes: Arc<Woes>,
    show: Show,
}

/// Told after each round how many alerts of each gravity stand, the lightest first.
pub type Show = Box<dyn Fn([usize; 3]) + Send + Sync>;

/// What a round left behind, for the next one of the same process.
#[derive(Default)]
struct Desk {
    ledger: Option<Ledger>,
    revision: Option<Revision>,
    guard: Option<LockGuard>,
    /// What is known was written by another release, and stays as it is.
    untouchable: bool,
    probed_at: Option<Timestamp>,
}

/// Counts that come together are told together.
const SETTLE: Span = Span::secs(5);
/// Longest time that one channel may take in one round; the rest is sent in the next one.
const ROUND_MOST: Span = Span::minutes(2);
/// Between two rounds of which the first was cut short, or could not be held.
const ROUND_AGAIN: Span = Span::MINUTE;
/// How often it is tried whether the state could be written.
const PROBE_EVERY: Span = Span::HOUR;
/// Waits after a heartbeat that was not taken.
const BEAT_AGAIN: Span = Span::MINUTE;
/// Heartbeats that are not taken in a row before people are told.
const BEATS_MISSED: u32 = 3;

impl Herald {
    pub fn new(agent: &Agent, woes: Arc<Woes>, lock: PathBuf, host: String, ways: Ways) -> Self {
        Self {
            store: agent.store.clone(),
            disk: agent.disk.clone(),
            clock: agent.clock.clone(),
            lock,
            host,
            ways: RwLock::new(Arc::new(ways)),
            woes,
            show: Box::new(|_| {}),
        }
    }

    /// Passes on how many alerts stand.
    #[must_use]
    pub fn showing(mut self, show: Show) -> Self {
        self.show = show;
        self
    }

    /// Puts a new configuration into force.
    pub fn enter(&self, ways: Ways) {
        *self.ways.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ways);
    }

    fn ways(&self) -> Arc<Ways> {
        self.ways.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is anybody to tell.
    pub fn is_wanted(&self) -> bool {
        let ways = self.ways();
        !ways.channels.is_empty() || ways.heart.is_some()
    }

    /// For as long as a daemon runs. `counted` brings each new count; `ask` makes the loop look at
    /// everything, when a heartbeat is due and nothing moved since the last one.
    pub async fn run(
        &self,
        agent: &Agent,
        mut counted: watch::Receiver<Option<Arc<Census>>>,
        ask: mpsc::Sender<Signal>,
    ) {
        let mut desk = Desk::default();
        let mut pulse = Beats::default();
        let mut next = None;
        loop {
            let now = self.clock.now();
            let wake = [next, pulse.wakes_at(&self.ways())].into_iter().flatten().min();
            let wake = wake.unwrap_or(now + Span::DAY).max(now + SETTLE);
            tokio::select! {
                changed = counted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.clock.sleep(SETTLE).await;
                }
                () = self.woes.moved() => self.clock.sleep(SETTLE).await,
                _ = self.clock.sleep_until(wake) => {}
            }
            let Some(census) = counted.borrow_and_update().clone() else { continue };
            let scene = agent.scene();
            next = self.round(&mut desk, &census, &scene, Patience::Watching).await;
            self.beat(&mut pulse, &desk, &census, &ask).await;
        }
    }

    /// Whether no other process sends. By the time of the next step it may.
    pub fn is_free(&self) -> bool {
        self.disk.lock(&self.lock, None).is_ok_and(|guard| guard.is_some())
    }

    /// What a process by a timer does at its end. `Ok(false)`: another one sends.
    pub async fn once(&self, census: &Census, scene: &Scene) -> Result<bool, Failure> {
        let mut desk = Desk::default();
        self.round(&mut desk, census, scene, Patience::Once).await;
        if desk.guard.is_none() {
            return Ok(false);
        }
        if let Some(rhythm) = &self.ways().heart {
            self.beat_once(rhythm, &desk).await?;
        }
        Ok(true)
    }

    /// Sends each channel, or the one that is named, a test. In the order of the configuration.
    pub async fn test(
        &self,
        only: Option<&ChannelId>,
    ) -> Vec<(ChannelId, &'static str, Result<(), Failure>)> {
        let mut results = Vec::new();
        for (spec, channel) in &self.ways().channels {
            if only.is_some_and(|only| *only != spec.id) {
                continue;
            }
            let message = crate::core::alert::test_message(&spec.id, &self.host, self.clock.now());
            let sent = self.send(spec, &**channel, &message).await;
            results.push((spec.id.clone(), spec.kind.word(), sent));
        }
        results
    }

    async fn send(
        &self,
        spec: &ChannelSpec,
        channel: &dyn Channel,
        message: &crate::core::channel::Message,
    ) -> Result<(), Failure> {
        sent_within(&self.clock, spec, channel, message).await
    }

    /// Takes what is so, sends what is due, keeps what was told. When to come again.
    async fn round(
        &self,
        desk: &mut Desk,
        census: &Census,
        scene: &Scene,
        patience: Patience,
    ) -> Option<Timestamp> {
        if desk.guard.is_none() {
            match self.disk.lock(&self.lock, Some(self.clock.now())) {
                Ok(Some(guard)) => desk.guard = Some(guard),
                // Another process sends just now.
                Ok(None) | Err(_) => return Some(self.clock.now() + ROUND_AGAIN),
            }
        }
        self.open(desk).await;
        self.probe(desk).await;
        let now = self.clock.now();
        let acks = self.acks().await;
        let concerns = self.concerns(census, scene, now);
        let ways = self.ways();
        let specs: Vec<_> = ways.channels.iter().map(|(spec, _)| spec.clone()).collect();
        let ledger = desk.ledger.get_or_insert_default();
        let before = ledger.clone();
        ledger.take(&concerns, &acks, now, patience);
        let cut_short = self.deliver(ledger, &ways, now).await;
        ledger.tidy(&specs);
        let next = ledger.next(&concerns, &acks, &specs, self.clock.now());
        let standing = ledger.standing();
        (self.show)([Gravity::Notice, Gravity::Ticket, Gravity::Page].map(|gravity| {
            standing.iter().filter(|(_, alert)| alert.gravity == gravity && !alert.silenced).count()
        }));
        if *ledger != before {
            self.keep(desk).await;
        }
        if cut_short { Some(self.clock.now() + SETTLE) } else { next }
    }

    fn concerns(&self, census: &Census, scene: &Scene, now: Timestamp) -> Concerns {
        let labels = |id: &_| scene.wanted.lineages.get(id).map(|spec| &spec.labels);
        let watch_labels = |id: &_| scene.wanted.watches.get(id).map(|spec| &spec.labels);
        let mut concerns = Concerns::of(census, labels, watch_labels, now);
        let (own, next) = self.woes.standing(now);
        concerns.all.extend(own);
        concerns.next_at = concerns.next_at.into_iter().chain(next).min();
        for (id, why) in &scene.wanted.broken {
            concerns.all.push(Concern {
                subject: id.to_string(),
                code: "entry-broken".into(),
                cause: "entry-broken".into(),
                ..Concern::own(
                    "entry-broken",
                    Gravity::Ticket,
                    &format!("its entry in the configuration is not used: {why}"),
                    "mend the entry; nolapse check shows where",
                    Timestamp::MAX,
                )
            });
        }
        concerns
    }

    /// All channels side by side, each in its own time. Whether any had more than that.
    async fn deliver(&self, ledger: &mut Ledger, ways: &Ways, now: Timestamp) -> bool {
        let mut sending = JoinSet::new();
        for (spec, channel) in &ways.channels {
            let due = ledger.due(spec, &self.host, now);
            if !due.is_empty() {
                let (spec, channel, clock) = (spec.clone(), channel.clone(), self.clock.clone());
                sending.spawn(async move { send_all(&clock, spec, channel, due).await });
            }
        }
        let mut cut_short = false;
        while let Some(done) = sending.join_next().await {
            // A panic in an adapter: what it had to send is still owed.
            let Ok(done) = done else { continue };
            for (due, at) in &done.told {
                ledger.told(&done.id, due, *at);
            }
            if let Some((failure, at)) = &done.failed {
                tracing::warn!(channel = %done.id, %failure, "an alert was not sent; it is tried again");
                ledger.failed(&done.id, &failure.to_string(), *at);
            }
            cut_short |= done.cut_short;
        }
        cut_short
    }

    async fn open(&self, desk: &mut Desk) {
        if desk.ledger.is_some() {
            return;
        }
        match read_ledger(&*self.store).await {
            Ok((ledger, revision)) => {
                desk.ledger = Some(ledger);
                desk.revision = revision;
            }
            Err(failure) => {
                // Told anew rather than not at all.
                desk.untouchable = true;
                desk.ledger = Some(Ledger::default());
                self.unkept(&failure.to_string());
            }
        }
    }

    async fn keep(&self, desk: &mut Desk) {
        let Some(ledger) = desk.ledger.as_ref().filter(|_| !desk.untouchable) else { return };
        let content = match state::encode_ledger(ledger) {
            Ok(content) => content,
            Err(error) => return self.unkept(&error.to_string()),
        };
        let expect = desk.revision.clone().map_or(Expect::Absent, Expect::At);
        match self.store.swap(&Key::Told, expect, content).await {
            Ok(revision) => {
                desk.revision = Some(revision);
                self.woes.clear("alerts-not-kept");
            }
            Err(error) => self.unkept(&error.to_string()),
        }
    }

    fn unkept(&self, why: &str) {
        tracing::warn!(why, "what people were told can't be kept");
        self.woes.set(
            "alerts-not-kept",
            Gravity::Ticket,
            &format!("what people were told can't be kept, so they may be told twice: {why}"),
            "look at the state directory: nolapse check",
        );
    }

    async fn probe(&self, desk: &mut Desk) {
        let now = self.clock.now();
        if desk.probed_at.is_some_and(|at| now.since(at).between(Span::ZERO, Span::MAX) < PROBE_EVERY) {
            return;
        }
        desk.probed_at = Some(now);
        match self.store.writable().await {
            Ok(()) => self.woes.clear("state-not-writable"),
            Err(error) => self.woes.set(
                "state-not-writable",
                Gravity::Page,
                &format!("nothing can be renewed, as the state can't be written: {error}"),
                "make room, or put the rights right: nolapse check",
            ),
        }
    }

    async fn acks(&self) -> Acks {
        match read_acks(&*self.store).await {
            Ok((acks, _)) => acks,
            Err(failure) => {
                tracing::warn!(%failure, "what was acknowledged can't be read");
                Acks::default()
            }
        }
    }

    /// Beats where the loop moved since the last time, and asks it to where it did not.
    async fn beat(&self, pulse: &mut Beats, desk: &Desk, census: &Census, ask: &mpsc::Sender<Signal>) {
        let now = self.clock.now();
        let Some(rhythm) = self.ways().heart.clone() else { return };
        if pulse.due_at(&rhythm) > now {
            return;
        }
        if pulse.progress == Some(census.at) {
            // Silence until the loop answers: that is what a heartbeat is for.
            if !pulse.asked {
                pulse.asked = ask.try_send(Signal::LookAtAll).is_ok();
                pulse.asked_at = Some(now);
            }
            return;
        }
        match self.beat_once(&rhythm, desk).await {
            Ok(()) => {
                *pulse = Beats { progress: Some(census.at), last: Some(now), ..Beats::default() };
                self.woes.clear("heartbeat-failing");
            }
            Err(failure) => {
                tracing::warn!(%failure, "the heartbeat was not taken");
                pulse.failures = pulse.failures.saturating_add(1);
                pulse.retry_at = Some(now + BEAT_AGAIN.times(i64::from(pulse.failures.min(30))));
                if pulse.failures >= BEATS_MISSED {
                    self.woes.set(
                        "heartbeat-failing",
                        Gravity::Ticket,
                        &format!("nobody hears that the agent lives: {failure}"),
                        "look at the heartbeat's URL or program: nolapse alert test",
                    );
                }
            }
        }
    }

    async fn beat_once(&self, rhythm: &Rhythm, desk: &Desk) -> Result<(), Failure> {
        let standing = desk.ledger.as_ref().map(Ledger::standing).unwrap_or_default();
        let pages: Vec<_> = standing
            .iter()
            .filter(|(_, alert)| alert.gravity == Gravity::Page && !alert.silenced)
            .take(PAGES_TOLD)
            .map(|(_, alert)| format!("{}: {}", alert.subjects.join(", "), alert.words))
            .collect();
        let words = pages.join("\n");
        let trouble = (!words.is_empty()).then_some(words.as_str());
        self.clock.timeout(rhythm.timeout, rhythm.heart.beat(trouble)).await.unwrap_or_else(|| {
            Err(Failure::transient(
                Fault::Network,
                "alert-timeout",
                format!("it was not taken within {}", rhythm.timeout),
            ))
        })
    }

    /// One beat by hand.
    pub async fn test_heart(&self) -> Option<Result<(), Failure>> {
        let rhythm = self.ways().heart.clone()?;
        Some(self.beat_once(&rhythm, &Desk::default()).await)
    }
}

/// Causes told of in a heartbeat.
const PAGES_TOLD: usize = 5;

/// What was heard outside.
#[derive(Default)]
struct Beats {
    last: Option<Timestamp>,
    /// The count that the last beat stood for.
    progress: Option<Timestamp>,
    asked: bool,
    asked_at: Option<Timestamp>,
    failures: u32,
    retry_at: Option<Timestamp>,
}

impl Beats {
    fn due_at(&self, rhythm: &Rhythm) -> Timestamp {
        let next = self.last.map_or(Timestamp::EPOCH, |last| last + rhythm.every);
        self.retry_at.map_or(next, |retry| retry.max(next))
    }

    fn wakes_at(&self, ways: &Ways) -> Option<Timestamp> {
        // Who has asked the loop is woken by its answer.
        ways.heart.as_ref().filter(|_| !self.asked).map(|rhythm| self.due_at(rhythm))
    }
}

/// What became of the messages of one channel.
struct Delivered {
    id: ChannelId,
    told: Vec<(Due, Timestamp)>,
    failed: Option<(Failure, Timestamp)>,
    cut_short: bool,
}

async fn send_all(clock: &Clock, spec: ChannelSpec, channel: Arc<dyn Channel>, due: Vec<Due>) -> Delivered {
    let end = clock.now() + ROUND_MOST;
    let mut done = Delivered { id: spec.id.clone(), told: Vec::new(), failed: None, cut_short: false };
    for due in due {
        if clock.now() >= end {
            done.cut_short = true;
            break;
        }
        match sent_within(clock, &spec, &*channel, &due.message).await {
            Ok(()) => done.told.push((due, clock.now())),
            Err(failure) => {
                done.failed = Some((failure, clock.now()));
                break;
            }
        }
    }
    done
}

async fn sent_within(
    clock: &Clock,
    spec: &ChannelSpec,
    channel: &dyn Channel,
    message: &crate::core::channel::Message,
) -> Result<(), Failure> {
    clock.timeout(spec.timeout, channel.send(message)).await.unwrap_or_else(|| {
        let words = format!("{} did not take it within {}", spec.id, spec.timeout);
        Err(Failure::transient(Fault::Network, "alert-timeout", words))
    })
}

/// What people were told.
pub async fn read_ledger(store: &dyn Store) -> Result<(Ledger, Option<Revision>), Failure> {
    read(store, &Key::Told, state::decode_ledger).await
}

/// What people said that they know.
pub async fn read_acks(store: &dyn Store) -> Result<(Acks, Option<Revision>), Failure> {
    read(store, &Key::Acks, state::decode_acks).await
}

/// Changes what people said that they know; tried again where somebody else does at the same time.
pub async fn change_acks(store: &dyn Store, change: impl Fn(&mut Acks) -> bool) -> Result<bool, Failure> {
    for _ in 0..CHANGE_TRIES {
        let (mut acks, revision) = read_acks(store).await?;
        if !change(&mut acks) {
            return Ok(false);
        }
        let content =
            state::encode_acks(&acks).map_err(|error| Failure::broken("state-damaged", error.to_string()))?;
        match store.swap(&Key::Acks, revision.map_or(Expect::Absent, Expect::At), content).await {
            Ok(_) => return Ok(true),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(super::store_failure(&error)),
        }
    }
    Err(Failure::transient(
        Fault::Ours,
        "state-changed",
        "another process wrote at the same moment; say it again",
    ))
}

const CHANGE_TRIES: usize = 5;

async fn read<T: Default>(
    store: &dyn Store,
    key: &Key,
    decode: impl Fn(&crate::core::layout::Content) -> Result<T, StateError>,
) -> Result<(T, Option<Revision>), Failure> {
    let entry = match store.load(key).await {
        Ok(entry) => entry,
        // Moved aside and reported by the store.
        Err(StoreError::Corrupt { .. }) => None,
        Err(error) => return Err(super::store_failure(&error)),
    };
    let Some(entry) = entry else { return Ok((T::default(), None)) };
    match decode(&entry.content) {
        Ok(value) => Ok((value, Some(entry.revision))),
        Err(StateError::Damaged(_) | StateError::Unwritable(_)) => Ok((T::default(), Some(entry.revision))),
        Err(error @ (StateError::Newer { .. } | StateError::Strange(_))) => {
            Err(Failure::refused(Fault::Host, "state-newer", format!("{key}: {error}")))
        }
    }
}
