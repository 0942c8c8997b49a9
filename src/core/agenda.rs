//! The queue of wakes: which lineage is looked at next, and when.

use std::collections::{BTreeMap, BTreeSet};

use super::name::LineageId;
use super::time::Timestamp;

/// At most one date per lineage; the earliest comes first, the same order in every run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    dates: BTreeMap<LineageId, Timestamp>,
    order: BTreeSet<(Timestamp, LineageId)>,
}

impl Agenda {
    pub const fn new() -> Self {
        Self { dates: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Sets or moves the date of one lineage.
    pub fn put(&mut self, id: LineageId, at: Timestamp) {
        if let Some(old) = self.dates.insert(id.clone(), at) {
            self.order.remove(&(old, id.clone()));
        }
        self.order.insert((at, id));
    }

    pub fn forget(&mut self, id: &LineageId) {
        if let Some(old) = self.dates.remove(id) {
            self.order.remove(&(old, id.clone()));
        }
    }

    /// Forgets all that are not among `ids`, which are sorted.
    pub fn keep_only(&mut self, ids: &[LineageId]) {
        let kept = |id: &LineageId| ids.binary_search(id).is_ok();
        self.dates.retain(|id, _| kept(id));
        self.order.retain(|(_, id)| kept(id));
    }

    /// The earliest date.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first lineage whose date has come.
    pub fn take_due(&mut self, now: Timestamp) -> Option<LineageId> {
        let (at, id) = self.order.first()?.clone();
        if at > now {
            return None;
        }
        self.forget(&id);
        Some(id)
    }

    pub fn len(&self) -> usize {
        self.dates.len()
    }

    pub fn is_empty(&self) -> bool {
        self.dates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> LineageId {
        LineageId::parse(text).unwrap()
    }

    #[test]
    fn the_earliest_comes_first_and_a_moved_date_counts_once() {
        let at = Timestamp::from_secs;
        let mut agenda = Agenda::default();
        agenda.put(id("b"), at(20));
        agenda.put(id("a"), at(30));
        agenda.put(id("a"), at(10));
        assert_eq!((agenda.len(), agenda.next()), (2, Some(at(10))));
        assert_eq!(agenda.take_due(at(9)), None);
        assert_eq!(agenda.take_due(at(50)), Some(id("a")));
        assert_eq!(agenda.take_due(at(50)), Some(id("b")));
        assert!(agenda.is_empty());
    }
}
