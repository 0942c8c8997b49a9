//! The observer of one node: takes the events of its agents, and has each certificate's laws
//! checked after those that concern it.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use nolapse::core::event::Event;
use nolapse::core::time::Timestamp;
use nolapse::ports::Sink;
use nolapse::sys::clock::Clock;

use crate::journal::{Journal, Law};
use crate::keys::Canaries;
use crate::laws::Laws;

/// Turns of the agent's loop at one instant before it counts as spinning.
const TURNS_MAX: u32 = 1000;

pub struct Witness {
    pub node: usize,
    /// The node's own.
    pub clock: Clock,
    pub journal: Journal,
    /// Told that something happened.
    pub stir: Arc<Notify>,
    /// What must turn up in no event.
    pub canaries: Arc<Canaries>,
    /// Events are kept for stories to ask about.
    pub keeps: bool,
    /// Those of each certificate, the first one's first.
    pub laws: Vec<Arc<Laws>>,
    pub state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    events: Vec<Event>,
    turns: (Option<Timestamp>, u32),
}

impl Witness {
    pub fn events(&self) -> Vec<Event> {
        self.state.lock().unwrap().events.clone()
    }

    pub fn note(&self, line: &str) {
        self.journal.note(&format!("[{}] {line}", self.node));
    }

    fn breach(&self, law: Law, words: &str) {
        self.journal.breach(law, &format!("node {}: {words}", self.node));
    }

    /// The disk may be another one now, as after a power cut.
    pub fn look_again(&self) {
        self.laws.iter().for_each(|laws| laws.look_again());
    }

    /// The host slept.
    pub fn slept(&self) {
        for laws in &self.laws {
            laws.sky.slept();
            laws.voice.slept();
        }
    }

    /// How often somebody had to be told of something.
    pub fn heard(&self) -> u64 {
        self.laws.iter().map(|laws| laws.voice.heard()).sum()
    }

    /// After each turn of the agent's loop.
    pub fn turned(&self, next_wake: Timestamp) {
        let now = self.clock.now();
        if next_wake <= now {
            self.breach(Law::Wake, &format!("the next wake {next_wake} is not after now, {now}"));
        }
        let spinning = {
            let mut state = self.state.lock().unwrap();
            let (at, turns) = state.turns;
            state.turns = if at == Some(now) { (at, turns + 1) } else { (Some(now), 0) };
            state.turns.1 == TURNS_MAX
        };
        if spinning {
            self.breach(Law::Wake, &format!("the loop spins: {TURNS_MAX} turns at one instant"));
        }
    }
}

impl Sink for Witness {
    fn take(&self, event: &Event) {
        let json = serde_json::to_string(event).unwrap();
        self.note(&json);
        if self.canaries.sing_in(json.as_bytes()) {
            self.breach(Law::Secret, &format!("an event holds a secret: {json}"));
        }
        if let Event::Decided { wake_at, .. } = event
            && *wake_at <= self.clock.now()
        {
            self.breach(Law::Wake, &format!("a plan wakes at {wake_at}, which is not after now"));
        }
        if self.keeps {
            self.state.lock().unwrap().events.push(event.clone());
        }
        for laws in &self.laws {
            if event.lineage() == Some(&laws.shelves.id) {
                laws.take(event);
            }
        }
        self.stir.notify_one();
    }
}
