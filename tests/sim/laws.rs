//! What must be true at every instant, whatever the script does.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use nolapse::agent::Book;
use nolapse::codec::bundle;
use nolapse::codec::digest::sha256;
use nolapse::core::event::Event;
use nolapse::core::layout::{CURRENT, Content, PLACEHOLDER, generation_of};
use nolapse::core::leaf::{Fingerprint, Leaf};
use nolapse::core::name::LineageId;
use nolapse::core::record::{GenerationNumber, Installed, LineageRecord};
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::Sink;
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::{Disk, Model};

use crate::ca::Authority;
use crate::hook::Reload;

/// Largest file read, in bytes.
const FILE_MAX: usize = 1 << 20;
/// Turns of the agent's loop at one instant before it counts as spinning.
const TURNS_MAX: u32 = 1000;
/// Lines of the journal kept for a failure.
const LINES_MAX: usize = 400;

/// The observer of one lineage on one node: takes its events and checks the laws after each.
pub struct Laws {
    pub id: LineageId,
    pub disk: Disk,
    pub model: Model,
    pub live_dir: PathBuf,
    pub state_dir: PathBuf,
    pub clock: Clock,
    pub truth: Clock,
    pub authority: Arc<Authority>,
    pub reload: Arc<Reload>,
    pub canaries: Vec<String>,
    /// Something happened.
    pub moved: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    journal: Vec<String>,
    events: Vec<Event>,
    broken: Vec<String>,
    /// The newest generation that a reader ever saw.
    shown: Option<GenerationNumber>,
    /// Texts that were found to be one whole generation.
    verified: BTreeMap<Fingerprint, Leaf>,
    turns: (Option<Timestamp>, u32),
    /// For each leaf served: whether there was a good hour to renew it in.
    good: BTreeMap<Fingerprint, bool>,
    quiet_since: Option<Timestamp>,
    records: Option<Fingerprint>,
    steps: Option<u64>,
}

/// What surrounds one look at the world.
pub struct Weather {
    pub quiet: bool,
    pub running: bool,
    pub served: Option<Leaf>,
}

impl Laws {
    #[expect(clippy::too_many_arguments, reason = "one place makes it")]
    pub fn new(
        id: LineageId,
        disk: Disk,
        model: Model,
        live_dir: &Path,
        state_dir: &Path,
        clock: Clock,
        authority: Arc<Authority>,
        reload: Arc<Reload>,
        canaries: Vec<String>,
    ) -> Self {
        Self {
            id,
            disk,
            model,
            live_dir: live_dir.to_owned(),
            state_dir: state_dir.to_owned(),
            clock,
            truth: authority.truth.clone(),
            authority,
            reload,
            canaries,
            moved: Notify::new(),
            state: Mutex::default(),
        }
    }

    pub fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    /// The first law broken, if any.
    pub fn broken(&self) -> Option<String> {
        self.state.lock().unwrap().broken.first().cloned()
    }

    pub fn note(&self, line: &str) {
        let line = format!("{}  {line}", self.truth.now());
        let mut state = self.state.lock().unwrap();
        state.journal.push(line);
        let surplus = state.journal.len().saturating_sub(LINES_MAX);
        state.journal.drain(..surplus);
    }

    pub fn tail(&self) -> String {
        self.state.lock().unwrap().journal.join("\n")
    }

    fn breach(&self, words: String) {
        self.note(&format!("LAW BROKEN: {words}"));
        self.state.lock().unwrap().broken.push(words);
    }

    /// All laws that can be judged from outside at any instant.
    pub fn check(&self) {
        if self.disk.stat(Path::new("/")).is_err() {
            return;
        }
        self.one_order_at_most();
        // What nobody wrote to is as it was.
        let steps = Some(self.model.steps());
        if std::mem::replace(&mut self.state.lock().unwrap().steps, steps) == steps {
            return;
        }
        self.readers_see_one_generation();
        self.records_are_true_and_hold_no_secret();
    }

    /// The disk may be another one now, as after a power cut.
    pub fn look_again(&self) {
        self.state.lock().unwrap().steps = None;
        self.check();
    }

    /// Law Q: what readers see is one complete, matching generation, never an older one than
    /// before save by a rollback.
    fn readers_see_one_generation(&self) {
        let dir = self.live_dir.join(self.id.as_str());
        let shown = match self.disk.read_link(&dir.join(CURRENT)) {
            Ok(target) => target.to_str().and_then(generation_of),
            Err(_) => None,
        };
        let before = self.state.lock().unwrap().shown;
        let Some(shown) = shown else {
            if before.is_some() {
                self.breach("live/ showed a generation and shows none now".into());
            }
            return;
        };
        if before.is_some_and(|before| shown < before) && !self.rolled_back_to(shown) {
            self.breach(format!("live/ went from generation {before:?} back to {shown}"));
        }
        self.state.lock().unwrap().shown = Some(shown);
        let read = |name: &str| self.disk.read(&dir.join(name), FILE_MAX);
        let parts: Result<Vec<Content>, _> =
            ["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem", "combined.pem"]
                .map(read)
                .into_iter()
                .collect();
        let parts = match parts {
            Ok(parts) => parts,
            Err(error) => return self.breach(format!("a reader of live/ fails: {error}")),
        };
        let all: Vec<u8> = parts.iter().flat_map(|part| part.bytes().iter().copied()).collect();
        let hash = sha256(&all);
        if self.state.lock().unwrap().verified.contains_key(&hash) {
            return;
        }
        match whole(&parts) {
            Ok(leaf) => {
                if shown != PLACEHOLDER && self.authority.issued(&leaf.fingerprint).is_none() {
                    self.breach("live/ shows a certificate that the CA never issued".into());
                }
                self.state.lock().unwrap().verified.insert(hash, leaf);
            }
            Err(why) => self.breach(format!("live/ is not one generation: {why}")),
        }
    }

    fn rolled_back_to(&self, number: GenerationNumber) -> bool {
        let state = self.state.lock().unwrap();
        state.events.iter().any(|event| matches!(event, Event::RolledBack { to, .. } if *to == number))
    }

    fn one_order_at_most(&self) {
        let open = self.authority.open();
        if open.len() > 1 {
            self.breach(format!("{} orders are open at once: {}", open.len(), open.join(" ")));
        }
        if self.authority.breaches() > 0 {
            self.breach("an order was placed before the CA's Retry-After".into());
        }
    }

    /// Hooks follow installs and are never lost: a hook noted as done was told, or the new leaf
    /// was seen served. And no record holds a secret.
    fn records_are_true_and_hold_no_secret(&self) {
        let read = |shelf: &str| self.disk.read(&self.state_dir.join(shelf).join(self.id.as_str()), FILE_MAX);
        let raw = [read("lineages"), read("installed")].into_iter().flatten();
        let raw: Vec<u8> = raw.flat_map(|content| content.bytes().to_vec()).collect();
        let hash = sha256(&raw);
        if self.state.lock().unwrap().records.replace(hash) == Some(hash) {
            return;
        }
        self.no_secret("a record", &String::from_utf8_lossy(&raw));
        let Some((record, installed)) = self.records() else { return };
        for (hook, note) in &installed.hooks {
            let seen = record.issued(note.done).is_none_or(|issued| {
                self.reload.server.loaded(&issued.leaf.fingerprint) || self.reload.succeeded(note.done) > 0
            });
            if note.done > 0 && !seen {
                self.breach(format!("{hook} is noted as done for {} and was never told", note.done));
            }
        }
    }

    /// What the store says, read without touching it.
    pub fn records(&self) -> Option<(LineageRecord, Installed)> {
        let store = DirStore::open_to_read(self.disk.clone(), &self.state_dir).ok()?;
        let book = Book::new(&store);
        let record = at_once(book.record(&self.id)).ok()?.value;
        let installed = at_once(book.installed(&self.id)).ok()?.value;
        Some((*record, *installed))
    }

    fn no_secret(&self, place: &str, text: &str) {
        if self.canaries.iter().any(|canary| text.contains(canary)) {
            self.breach(format!("{place} holds a secret: {text}"));
        }
    }

    /// After each turn of the agent's loop.
    pub fn turned(&self, next_wake: Timestamp) {
        let now = self.clock.now();
        if next_wake <= now {
            self.breach(format!("the next wake {next_wake} is not after now, {now}"));
        }
        let spinning = {
            let mut state = self.state.lock().unwrap();
            let (at, turns) = state.turns;
            state.turns = if at == Some(now) { (at, turns + 1) } else { (Some(now), 0) };
            state.turns.1 == TURNS_MAX
        };
        if spinning {
            self.breach(format!("the loop spins: {TURNS_MAX} turns at one instant"));
        }
    }

    /// Law P, as far as one CA goes: with one quiet hour between renewal point and two hours
    /// before the end, the served certificate is replaced before it ends.
    pub fn look_at_the_sky(&self, weather: &Weather) {
        let now = self.truth.now();
        let good_hour = {
            let mut state = self.state.lock().unwrap();
            if weather.quiet && weather.running {
                now.since(*state.quiet_since.get_or_insert(now)) >= Span::HOUR
            } else {
                state.quiet_since = None;
                false
            }
        };
        let Some(leaf) = &weather.served else { return };
        let Some(validity) = self.authority.issued(&leaf.fingerprint) else { return };
        // From the end of the lifetime window on: ARI may move the point, never past this.
        let kept = if validity.length() < Span::days(10) {
            validity.length().over(2)
        } else {
            validity.length().over(3)
        };
        let from = validity.end - kept + Span::HOUR;
        let lapsed = {
            let mut state = self.state.lock().unwrap();
            let good = state.good.entry(leaf.fingerprint).or_default();
            *good |= good_hour && from <= now && now < validity.end - Span::hours(2);
            *good && now >= validity.end
        };
        if lapsed {
            self.breach("the served certificate lapsed although there was a good hour".into());
        }
    }
}

impl Sink for Laws {
    fn take(&self, event: &Event) {
        let json = serde_json::to_string(event).unwrap();
        self.note(&json);
        self.no_secret("an event", &json);
        if let Event::Decided { wake_at, .. } = event
            && *wake_at <= self.clock.now()
        {
            self.breach(format!("a plan wakes at {wake_at}, which is not after now"));
        }
        self.state.lock().unwrap().events.push(event.clone());
        self.check();
        self.moved.notify_one();
    }
}

/// The leaf of five texts that are one generation.
fn whole(parts: &[Content]) -> Result<Leaf, String> {
    let [fullchain, key, cert, chain, combined] = parts else { return Err("parts are missing".into()) };
    let leaf = bundle::pair_of(fullchain.bytes(), key.bytes()).map_err(|error| error.to_string())?;
    if [cert.bytes(), chain.bytes()].concat() != fullchain.bytes() {
        return Err("cert.pem and chain.pem are not fullchain.pem".into());
    }
    if [fullchain.bytes(), key.bytes()].concat() != combined.bytes() {
        return Err("combined.pem is not the others".into());
    }
    Ok(leaf)
}

/// Runs what never waits on a model disk.
pub fn at_once<T>(work: impl Future<Output = T>) -> T {
    match std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a read of the model disk waited"),
    }
}
