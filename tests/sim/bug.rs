//! Bugs that are put between an agent and its ports, to see that the search finds them. Each does
//! what a wrong line in the agent would do, without a line of the agent being wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use nolapse::codec::state;
use nolapse::core::layout::Content;
use nolapse::core::leaf::mix;
use nolapse::core::record::{HookNote, Sight};
use nolapse::core::time::{Span, Timestamp};
use nolapse::core::window::last_resort;
use nolapse::ports::{Entry, Key};
use nolapse::sys::disk::{Fault, Model, Step, Trouble};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The directory is not synced after a file in it is replaced: the disk answers and forgets.
    SyncRemoved,
    /// No least time between two issuances: when they were is not known.
    FloorRemoved,
    /// A hook that failed is noted as done.
    HookDebtDropped,
    /// The wait after a failure comes out as none at all, as in CVE-2025-55753.
    BackoffOverflows,
    /// The instant to renew is drawn anew each time the record is saved.
    WindowRedrawn,
    /// Whatever an endpoint shows is noted as the new certificate.
    SightInvented,
}

pub struct Bug {
    pub planted: Planted,
    draws: AtomicU64,
}

impl Bug {
    pub fn new(planted: Planted) -> Self {
        Self { planted, draws: AtomicU64::new(0) }
    }

    /// What a bug does to a disk; again after each time that its faults were cleared.
    pub fn on_disk(planted: Option<Planted>, model: &Model) {
        if planted == Some(Planted::SyncRemoved) {
            let fault =
                Fault { trouble: Trouble::Pretends, step: Some(Step::SyncDir), skip: 0, lasting: true };
            model.inject(fault);
        }
    }

    pub fn on_load(&self, key: &Key, entry: Entry) -> Entry {
        let Entry { content, revision } = entry;
        Entry { content: self.forget_times(key, &content).unwrap_or(content), revision }
    }

    pub fn on_save(&self, key: &Key, content: Content) -> Content {
        let changed = match self.planted {
            Planted::HookDebtDropped => drop_debt(key, &content),
            Planted::WindowRedrawn => self.redraw(key, &content),
            Planted::BackoffOverflows => overflow(key, &content),
            Planted::SightInvented => invent(key, &content),
            Planted::SyncRemoved | Planted::FloorRemoved => None,
        };
        changed.unwrap_or(content)
    }

    fn forget_times(&self, key: &Key, content: &Content) -> Option<Content> {
        if self.planted != Planted::FloorRemoved || !matches!(key, Key::Lineage(_)) {
            return None;
        }
        let mut record = state::decode_record(content).ok()?;
        for issued in [&mut record.current, &mut record.previous].into_iter().flatten() {
            issued.at = Timestamp::EPOCH;
        }
        state::encode_record(&record).ok()
    }

    fn redraw(&self, key: &Key, content: &Content) -> Option<Content> {
        let Key::Lineage(_) = key else { return None };
        let mut record = state::decode_record(content).ok()?;
        let end = record.leaf().map(last_resort)?;
        let point = record.point.as_mut()?;
        let draw = mix(&[self.draws.fetch_add(1, Ordering::SeqCst)]) % 1_000_000;
        let into = point.window.interval.length().millionths(u32::try_from(draw).unwrap());
        point.at = (point.window.interval.start + into).min(end);
        state::encode_record(&record).ok()
    }
}

fn drop_debt(key: &Key, content: &Content) -> Option<Content> {
    let Key::Installed(_) = key else { return None };
    let mut installed = state::decode_installed(content).ok()?;
    for note in installed.hooks.values_mut().filter(|note| note.failures > 0) {
        let owed = note.check_before.map_or(note.done + 1, |check| check.generation);
        *note = HookNote { done: owed, done_at: None, ..HookNote::never() };
    }
    state::encode_installed(&installed).ok()
}

fn overflow(key: &Key, content: &Content) -> Option<Content> {
    let Key::Lineage(_) = key else { return None };
    let mut record = state::decode_record(content).ok()?;
    let trouble = record.trouble.as_mut()?;
    // Doubled often enough, and cast down: the wait is gone, and with it when the last try was.
    trouble.next_at = trouble.last_at - Span::DAY;
    trouble.last_at = trouble.next_at;
    state::encode_record(&record).ok()
}

fn invent(key: &Key, content: &Content) -> Option<Content> {
    let Key::Installed(_) = key else { return None };
    let mut installed = state::decode_installed(content).ok()?;
    for note in installed.endpoints.values_mut() {
        (note.sight, note.silence, note.tally, note.words) = (Sight::New, None, None, None);
        (note.leaf, note.reached, note.failures) = (None, true, 0);
    }
    state::encode_installed(&installed).ok()
}
