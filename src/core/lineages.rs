//! All certificates that are wanted, by id. A sorted list rather than a tree of nodes, of which
//! one built in order stays half empty.

use super::name::LineageId;
use super::spec::LineageSpec;

/// At most one spec per id, in the order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineages(Vec<LineageSpec>);

impl Lineages {
    pub fn get(&self, id: &LineageId) -> Option<&LineageSpec> {
        self.place(id).ok().and_then(|at| self.0.get(at))
    }

    pub fn contains_key(&self, id: &LineageId) -> bool {
        self.place(id).is_ok()
    }

    /// Adds one, or puts it in the place of its namesake. Cheap at the end; anywhere else all that
    /// come later make room.
    pub fn insert(&mut self, spec: LineageSpec) {
        match self.place(&spec.id) {
            Ok(at) => self.0[at] = spec,
            Err(at) => self.0.insert(at, spec),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &LineageId> {
        self.0.iter().map(|spec| &spec.id)
    }

    pub fn values(&self) -> impl Iterator<Item = &LineageSpec> {
        self.0.iter()
    }

    /// For whoever changes what is wanted of them, but not their ids.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut LineageSpec> {
        self.0.iter_mut()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, id: &LineageId) -> Result<usize, usize> {
        // Entries are mostly added in order.
        match self.0.last() {
            Some(last) if last.id < *id => Err(self.0.len()),
            _ => self.0.binary_search_by(|spec| spec.id.cmp(id)),
        }
    }
}

/// In any order; of two with one id the first is kept.
impl From<Vec<LineageSpec>> for Lineages {
    fn from(mut specs: Vec<LineageSpec>) -> Self {
        // Sorting asks for as much memory again, needed or not.
        if !specs.is_sorted_by(|a, b| a.id < b.id) {
            specs.sort_by(|a, b| a.id.cmp(&b.id));
        }
        specs.dedup_by(|again, first| again.id == first.id);
        specs.shrink_to_fit();
        Self(specs)
    }
}
