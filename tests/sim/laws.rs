//! What must be true of one certificate at every instant on one node, whatever the script does.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use nolapse::codec::bundle;
use nolapse::codec::digest::sha256;
use nolapse::core::event::Event;
use nolapse::core::layout::{CURRENT, Content, PLACEHOLDER, generation_of};
use nolapse::core::leaf::{Fingerprint, Leaf};
use nolapse::core::record::{GenerationNumber, Installed, LineageRecord};
use nolapse::core::time::{Interval, Timestamp};
use nolapse::sys::disk::Model;

use crate::ca::Authority;
use crate::hook::Reload;
use crate::journal::{Journal, Law};
use crate::keys::Canaries;
use crate::peek::{Mark, Shelves};
use crate::sky::Sky;
use crate::voice::Voice;

/// Largest file read, in bytes.
const FILE_MAX: usize = 1 << 20;
/// What readers read.
const PARTS: [&str; 5] = ["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem", "combined.pem"];

/// The observer of one lineage on one node.
pub struct Laws {
    node: usize,
    /// The place of its site.
    pub site: usize,
    pub shelves: Shelves,
    model: Model,
    live: PathBuf,
    authority: Arc<Authority>,
    reload: Arc<Reload>,
    canaries: Arc<Canaries>,
    journal: Journal,
    pub sky: Sky,
    pub voice: Voice,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    news: bool,
    /// Generations that were gone back to.
    returned_to: BTreeSet<GenerationNumber>,
    /// Somebody else wrote to the files, and nobody has put it right.
    harmed: bool,
    /// The newest generation that a reader ever saw.
    shown: Option<GenerationNumber>,
    /// Texts that were found to be one whole generation.
    verified: BTreeMap<Fingerprint, Leaf>,
    /// Which files readers saw last, and as of which change.
    seen: Option<[Option<(u64, u64)>; PARTS.len()]>,
    /// Which entries were judged last, record and note.
    entries: Option<[Mark; 2]>,
    /// What they said.
    known: Option<LineageRecord>,
    note: Option<Installed>,
    /// The instant to renew, by leaf and window.
    points: BTreeMap<(Fingerprint, Timestamp, Timestamp), Timestamp>,
    steps: Option<u64>,
}

impl Laws {
    #[expect(clippy::too_many_arguments, reason = "one place makes it")]
    pub fn new(
        node: usize,
        site: usize,
        shelves: Shelves,
        model: Model,
        live: PathBuf,
        authority: Arc<Authority>,
        reload: Arc<Reload>,
        canaries: Arc<Canaries>,
        journal: Journal,
    ) -> Self {
        Self {
            node,
            site,
            shelves,
            model,
            live,
            authority,
            reload,
            canaries,
            journal,
            sky: Sky::default(),
            voice: Voice::default(),
            state: Mutex::default(),
        }
    }

    fn breach(&self, law: Law, words: &str) {
        self.journal.breach(law, &format!("node {}, {}: {words}", self.node, self.shelves.id));
    }

    /// What was made of the record when it was read last; `None` where it never was.
    pub fn known<T>(&self, make: impl FnOnce(&LineageRecord) -> T) -> Option<T> {
        self.state.lock().unwrap().known.as_ref().map(make)
    }

    /// Whether there was an event of this lineage since this was asked last.
    pub fn has_news(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap().news)
    }

    /// After an event of this lineage.
    pub fn take(&self, event: &Event) {
        if let Event::RolledBack { to: number, .. } | Event::Pinned { generation: number, .. } = event {
            self.state.lock().unwrap().returned_to.insert(*number);
        }
        self.state.lock().unwrap().news = true;
        self.check();
    }

    /// All laws that can be judged from outside at any instant.
    pub fn check(&self) {
        if self.shelves.disk.stat(Path::new("/")).is_err() {
            return;
        }
        self.one_order_at_most();
        // What nobody wrote to is as it was.
        let shared = self.shelves.shared.as_ref().map_or(0, crate::shared::SharedStore::steps);
        let steps = Some(self.model.steps() + shared);
        if std::mem::replace(&mut self.state.lock().unwrap().steps, steps) == steps {
            return;
        }
        self.readers_see_one_generation();
        self.records_are_true_and_hold_no_secret();
    }

    /// The disk may be another one now, as after a power cut.
    pub fn look_again(&self) {
        {
            let mut state = self.state.lock().unwrap();
            (state.steps, state.seen, state.entries) = (None, None, None);
        }
        self.check();
    }

    /// The certificate that is to be served: the newest, or what an operator went back to.
    pub fn wanted(&self) -> Option<Fingerprint> {
        let state = self.state.lock().unwrap();
        let record = state.known.as_ref()?;
        let pinned = record.pin.as_ref().and_then(|pin| record.issued(pin.generation));
        Some(pinned.or(record.current.as_ref())?.leaf.fingerprint)
    }

    /// The instant chosen for the next renewal, and for which certificate.
    pub fn point(&self) -> Option<(Fingerprint, Timestamp)> {
        let state = self.state.lock().unwrap();
        let record = state.known.as_ref()?;
        Some((record.leaf()?.fingerprint, record.point?.at))
    }

    /// Somebody else writes to the files: readers may see that until the agent has put it right.
    pub fn harmed(&self) {
        let mut state = self.state.lock().unwrap();
        (state.harmed, state.seen, state.steps) = (true, None, None);
    }

    /// Files that somebody else wrote to are not put right yet.
    pub fn is_harmed(&self) -> bool {
        self.state.lock().unwrap().harmed
    }

    fn readers_see_one_generation(&self) {
        let seen = self.what_readers_see();
        let harmed = self.is_harmed();
        match seen {
            Ok(()) => self.state.lock().unwrap().harmed = false,
            Err(_) if harmed => self.state.lock().unwrap().seen = None,
            Err(why) => self.breach(Law::Whole, &why),
        }
    }

    /// Law Q: what readers see is one complete, matching generation, never an older one than
    /// before save by a rollback.
    fn what_readers_see(&self) -> Result<(), String> {
        let (dir, disk) = (&self.live, &self.shelves.disk);
        let shown = match disk.read_link(&dir.join(CURRENT)) {
            Ok(target) => target.to_str().and_then(generation_of),
            Err(_) => None,
        };
        let before = self.state.lock().unwrap().shown;
        let Some(shown) = shown else {
            return match before {
                Some(_) => Err("live/ showed a generation and shows none now".into()),
                None => Ok(()),
            };
        };
        if before.is_some_and(|before| shown < before) && !self.rolled_back_to(shown) {
            return Err(format!("live/ went from generation {before:?} back to {shown}"));
        }
        self.state.lock().unwrap().shown = Some(shown);
        // The same files with the same bytes were judged already.
        let seen = Some(PARTS.map(|name| self.model.stamp(&dir.join(name))));
        let whole_before = seen.is_some_and(|seen| seen.iter().all(Option::is_some));
        if std::mem::replace(&mut self.state.lock().unwrap().seen, seen) == seen && whole_before {
            return Ok(());
        }
        let read = |name: &str| disk.read(&dir.join(name), FILE_MAX);
        let parts: Result<Vec<Content>, _> = PARTS.map(read).into_iter().collect();
        let parts = parts.map_err(|error| format!("a reader of live/ fails: {error}"))?;
        let all = parts.iter().map(Content::bytes).collect::<Vec<_>>().concat();
        let hash = sha256(&all);
        if self.state.lock().unwrap().verified.contains_key(&hash) {
            return Ok(());
        }
        let leaf = whole(&parts).map_err(|why| format!("live/ is not one generation: {why}"))?;
        if shown != PLACEHOLDER && self.authority.issued(&leaf.fingerprint).is_none() {
            return Err("live/ shows a certificate that the CA never issued".into());
        }
        self.state.lock().unwrap().verified.insert(hash, leaf);
        Ok(())
    }

    fn rolled_back_to(&self, number: GenerationNumber) -> bool {
        self.state.lock().unwrap().returned_to.contains(&number)
    }

    fn one_order_at_most(&self) {
        let open = self.authority.open(self.site);
        if open.len() > 1 {
            self.breach(Law::Orders, &format!("{} orders are open at once: {}", open.len(), open.join(" ")));
        }
        if let Some(words) = self.authority.first_breach() {
            self.breach(Law::Limits, &words);
        }
    }

    /// Hooks follow installs and are never lost: a hook noted as done was told, or the new leaf
    /// was seen served. And no record holds a secret.
    fn records_are_true_and_hold_no_secret(&self) {
        let marks = self.shelves.marks(&self.model);
        let before = self.state.lock().unwrap().entries.replace(marks);
        let [other_record, other_note] =
            [0, 1].map(|place| before.is_none_or(|it| it[place] != marks[place]));
        if !other_record && !other_note {
            return;
        }
        if other_record {
            self.no_secret("a record", &self.shelves.raw_record());
            let Some(record) = self.shelves.record() else { return self.forget_entries() };
            self.drawn_once(&record);
            self.state.lock().unwrap().known = Some(record);
        }
        if other_note {
            self.no_secret("a note", &self.shelves.raw_note());
            let Some(note) = self.shelves.note() else { return self.forget_entries() };
            self.state.lock().unwrap().note = Some(note);
        }
        let state = self.state.lock().unwrap();
        let (Some(record), Some(installed)) = (&state.known, &state.note) else { return };
        for (hook, note) in &installed.hooks {
            let seen = record.issued(note.done).is_none_or(|issued| {
                self.reload.server.loaded(&issued.leaf.fingerprint)
                    || self.reload.succeeded(&self.shelves.id, note.done) > 0
            });
            if note.done > 0 && !seen {
                let words = format!("{hook} is noted as done for {} and was never told", note.done);
                self.breach(Law::Hooks, &words);
            }
        }
    }

    /// What can't be read now is read at the next look.
    fn forget_entries(&self) {
        self.state.lock().unwrap().entries = None;
    }

    /// The instant to renew is the same whenever it is chosen for one leaf and one window.
    fn drawn_once(&self, record: &LineageRecord) {
        let (Some(leaf), Some(point)) = (record.leaf(), record.point) else { return };
        let Interval { start, end } = point.window.interval;
        let before =
            *self.state.lock().unwrap().points.entry((leaf.fingerprint, start, end)).or_insert(point.at);
        if before != point.at {
            self.breach(Law::Plan, &format!("the instant to renew was {before} and is {} now", point.at));
        }
    }

    fn no_secret(&self, place: &str, bytes: &[u8]) {
        if self.canaries.sing_in(bytes) {
            let text = String::from_utf8_lossy(bytes);
            self.breach(Law::Secret, &format!("{place} holds a secret: {text}"));
        }
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
