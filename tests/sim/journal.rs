//! What happened in a world, line by line, and which laws were broken.

use std::fmt;
use std::sync::{Arc, Mutex};

use nolapse::core::leaf::mix;
use nolapse::sys::clock::Clock;

/// Lines kept for a failure.
const LINES_MAX: usize = 400;

/// What must be true at every instant, whatever the script does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Q: readers see one complete, matching generation, never an older one save by a rollback.
    Whole,
    /// P: with one good hour the served certificate is replaced before it ends.
    Served,
    /// A revoked certificate is replaced soon after the CA says so.
    Revoked,
    /// At most one order is open, and no certificate is issued that nothing asked for.
    Orders,
    /// What the CA limits is asked for no more often, and never before its Retry-After.
    Limits,
    /// A CA that fails is asked ever more rarely.
    Hammer,
    /// A hook that is noted as done was told, or the new certificate was seen served.
    Hooks,
    /// Every plan and the loop itself wake after now, and the loop does not spin.
    Wake,
    /// The same inputs give the same plan, and the instant to renew is drawn once.
    Plan,
    /// No private key and no key authorization is in any event or record.
    Secret,
    /// What clients see amiss, somebody is told.
    Told,
    /// When faults stop, nothing is owed within a bound.
    Settles,
    /// The agent starts, and does not panic.
    Runs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    pub law: Law,
    pub words: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.words)
    }
}

/// One for all nodes of a world; clones share it.
#[derive(Clone)]
pub struct Journal {
    truth: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    keeps_all: bool,
    hash: u64,
    count: u64,
    broken: Option<Breach>,
}

impl Journal {
    pub fn new(truth: Clock) -> Self {
        Self { truth, state: Arc::default() }
    }

    /// From now on no line is let go.
    pub fn keep_all(&self) {
        self.state.lock().unwrap().keeps_all = true;
    }

    pub fn note(&self, line: &str) {
        let line = format!("{}  {line}", self.truth.now());
        let mut state = self.state.lock().unwrap();
        state.hash = folded(state.hash, line.as_bytes());
        state.count += 1;
        state.lines.push(line);
        if !state.keeps_all && state.lines.len() > 2 * LINES_MAX {
            state.lines.drain(..LINES_MAX);
        }
    }

    pub fn breach(&self, law: Law, words: &str) {
        self.note(&format!("LAW BROKEN: {law:?}: {words}"));
        self.state.lock().unwrap().broken.get_or_insert_with(|| Breach { law, words: words.to_owned() });
    }

    /// The first law broken, if any.
    pub fn broken(&self) -> Option<Breach> {
        self.state.lock().unwrap().broken.clone()
    }

    pub fn tail(&self) -> String {
        self.state.lock().unwrap().lines.join("\n")
    }

    /// A number for all lines so far, and how many there were.
    pub fn digest(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.hash, state.count)
    }
}

/// Eight octets at a time: there are hundreds of millions of lines in a night.
fn folded(hash: u64, bytes: &[u8]) -> u64 {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let folded = bytes.chunks(8).fold(hash ^ bytes.len() as u64, |hash, chunk| {
        (hash ^ word(chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    mix(&[folded])
}
