//! What is wrong with the agent itself: its files, its configuration, its bugs. Told to people as
//! any other concern.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::core::concern::Concern;
use crate::core::event::Event;
use crate::core::gravity::Gravity;
use crate::core::time::{Span, Timestamp};
use crate::ports::Sink;
use crate::sys::clock::Clock;

/// One of each code, until it is cleared or has been told of for long enough.
pub struct Woes {
    clock: Clock,
    known: Mutex<BTreeMap<&'static str, Woe>>,
    moved: Notify,
}

struct Woe {
    concern: Concern,
    /// When it ends by itself; a moment that has passed can't be mended.
    until: Option<Timestamp>,
}

/// How long people are told of something that happened once.
const MOMENT: Span = Span::DAY;

impl Woes {
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), known: Mutex::default(), moved: Notify::new() }
    }

    /// Something is wrong until it is cleared.
    pub fn set(&self, code: &'static str, gravity: Gravity, words: &str, advice: &str) {
        self.put(code, gravity, words, advice, None);
    }

    pub fn clear(&self, code: &'static str) {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(code).is_some() {
            self.moved.notify_one();
        }
    }

    fn put(&self, code: &'static str, gravity: Gravity, words: &str, advice: &str, until: Option<Timestamp>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let since = known.get(code).map_or_else(|| self.clock.now(), |woe| woe.concern.since);
        let concern = Concern::own(code, gravity, words, advice, since);
        // The same with other words is no news, or who tells people would wake himself for ever.
        if known.insert(code, Woe { concern, until }).is_none() {
            self.moved.notify_one();
        }
    }

    /// Resolves when something came or went.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// All that stand, and when the next one ends by itself.
    pub(super) fn standing(&self, now: Timestamp) -> (Vec<Concern>, Option<Timestamp>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, woe| woe.until.is_none_or(|until| until > now));
        let next = known.values().filter_map(|woe| woe.until).min();
        (known.values().map(|woe| woe.concern.clone()).collect(), next)
    }
}

impl Sink for Woes {
    fn take(&self, event: &Event) {
        let until = Some(self.clock.now() + MOMENT);
        match event {
            Event::Quarantined { key, moved_to, .. } => self.put(
                "state-damaged",
                Gravity::Ticket,
                &format!("{key} was damaged and moved to {moved_to}"),
                "look at the disk; the agent goes on with what it finds",
                until,
            ),
            Event::TickFailed { lineage, words } => self.put(
                "tick-failed",
                Gravity::Ticket,
                &format!("a pass over {lineage} broke off: {words}"),
                "mend what it names, or report it as a bug where nothing is amiss; the agent tries again",
                until,
            ),
            _ => {}
        }
    }
}
