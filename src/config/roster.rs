//! Every certificate of every file, read one after the other, and what is wrong between them.

use std::collections::BTreeMap;

use super::agent::AgentSettings;
use super::certificate::{self, Common, Known};
use super::domain;
use super::file::{File, Spot};
use super::outline::Entry;
use super::problem::Problems;
use super::raw::quoted;
use super::syntax::{self, Twice};
use crate::core::name::{IssuerId, LineageId, SubjectName};
use crate::core::spec::{LineageSpec, Origin, Wanted};

/// What was read so far.
pub(super) struct Roster<'a> {
    files: &'a [File<'a>],
    known: &'a Known<'a>,
    agent: &'a AgentSettings,
    common: Common,
    /// In the order of files and lines.
    specs: Vec<LineageSpec>,
    broken: BTreeMap<LineageId, String>,
    heads: Heads,
    /// How many have no name, or one that was taken.
    nameless: usize,
    /// By path of the output.
    writers: BTreeMap<String, Head>,
}

/// Where an entry opens. Its trees may be gone by the time that somebody asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    file: u32,
    start: u32,
    end: u32,
}

impl<'a> Roster<'a> {
    pub fn new(files: &'a [File<'a>], known: &'a Known<'a>, agent: &'a AgentSettings) -> Self {
        Self {
            files,
            known,
            agent,
            common: Common::default(),
            specs: Vec::new(),
            broken: BTreeMap::new(),
            heads: Heads::default(),
            nameless: 0,
            writers: BTreeMap::new(),
        }
    }

    /// Reads one more; they come in the order of files and lines. `false`: it has no name of its
    /// own.
    pub fn take(&mut self, entry: &Entry<'_>, problems: &mut Problems) -> bool {
        let before = self.nameless;
        problems.enter(&entry.name);
        let spec = self.read(entry, problems);
        let reason = problems.leave();
        self.file(spec, reason);
        self.nameless == before
    }

    fn file(&mut self, spec: Option<(LineageId, Option<LineageSpec>)>, reason: Option<String>) {
        let Some((id, spec)) = spec else { return };
        match (spec, reason) {
            (Some(spec), None) => self.specs.push(spec),
            (_, reason) => {
                let reason = reason.unwrap_or_else(|| "something it names can't be used".to_owned());
                self.broken.insert(id, reason);
            }
        }
    }

    fn read(
        &mut self,
        entry: &Entry<'_>,
        problems: &mut Problems,
    ) -> Option<(LineageId, Option<LineageSpec>)> {
        let id = match domain::lineage(&entry.name) {
            Ok(id) => id,
            Err(why) => {
                self.nameless += 1;
                problems.error(&entry.head, "bad-name", why.0);
                return None;
            }
        };
        let head = Head::of(&entry.head);
        if let Some(first) = self.heads.get(&id) {
            self.nameless += 1;
            let first = first.place(self.files);
            let words = format!("certificate {id} is configured twice; the first is at {first}");
            problems.error_hint(&entry.head, "duplicate-certificate", words, "merge the two, or rename one");
            return Some((id, None));
        }
        self.heads.insert(id.clone(), head);
        let spec =
            certificate::resolve(id.clone(), entry, self.known, self.agent, &mut self.common, problems);
        for output in spec.iter().flat_map(|spec| &spec.outputs) {
            if let Some(first) = self.writers.get(&output.path) {
                let first = first.place(self.files);
                let words = format!("{} is already written by the certificate at {first}", output.path);
                problems.error(&entry.head, "duplicate-output", words);
            } else {
                self.writers.insert(output.path.clone(), head);
            }
        }
        Some((id, spec))
    }

    /// What can be used, with what is set aside. `twice` are those that stand twice in one file.
    pub fn close(mut self, twice: &[Twice<'_>], problems: &mut Problems) -> Read<'a> {
        for again in twice {
            problems.enter(&again.name);
            problems.error_hint(&again.spot, "duplicate-key", &again.words, "keep one of them");
            let reason = problems.leave();
            if let (Ok(id), Some(reason)) = (domain::lineage(&again.name), reason) {
                self.broken.entry(id).or_insert(reason);
            }
        }
        let Self { files, mut specs, broken, heads, .. } = self;
        if !broken.is_empty() {
            specs.retain(|spec| !broken.contains_key(&spec.id));
        }
        let read = Read { files, specs, heads, broken };
        read.warn_of_shared_names(problems);
        read
    }
}

/// Every certificate that can be used.
pub(super) struct Read<'a> {
    files: &'a [File<'a>],
    /// In the order of files and lines.
    specs: Vec<LineageSpec>,
    heads: Heads,
    broken: BTreeMap<LineageId, String>,
}

impl<'a> Read<'a> {
    /// Where the first certificate stands that may ask `issuer`.
    pub fn first_user(&self, issuer: &IssuerId) -> Option<Spot<'a>> {
        let spec = self.specs.iter().find(|spec| spec.issuers.contains(issuer))?;
        self.heads.get(&spec.id)?.spot(self.files)
    }

    pub fn into_wanted(self) -> Wanted {
        Wanted { lineages: self.specs.into(), broken: self.broken, ..Wanted::default() }
    }

    fn warn_of_shared_names(&self, problems: &mut Problems) {
        let mut all: Vec<(&SubjectName, &LineageId)> =
            self.specs.iter().flat_map(|spec| spec.names.iter().map(|name| (name, &spec.id))).collect();
        all.sort_unstable();
        for pair in all.windows(2) {
            let &[(name, one), (again, other)] = pair else { continue };
            if name != again {
                continue;
            }
            let [Some(one), Some(other)] = [self.heads.get(one), self.heads.get(other)] else { continue };
            let (first, again) = if one < other { (one, other) } else { (other, one) };
            let Some(spot) = again.spot(self.files) else { continue };
            let first = first.place(self.files);
            problems.warning(
                &spot,
                "shared-name",
                format!("{name} is also in the certificate at {first}"),
                "fine if meant, for instance for two kinds of key; each spends orders of its own",
            );
        }
    }
}

/// The place of each entry. Most files are in order, and a list costs half of a tree.
#[derive(Default)]
struct Heads {
    ordered: Vec<(LineageId, Head)>,
    others: BTreeMap<LineageId, Head>,
}

impl Heads {
    fn get(&self, id: &LineageId) -> Option<Head> {
        let at = match self.ordered.last() {
            Some((last, _)) if last < id => None,
            _ => self.ordered.binary_search_by(|(known, _)| known.cmp(id)).ok(),
        };
        at.and_then(|at| self.ordered.get(at)).map(|(_, head)| *head).or_else(|| self.others.get(id).copied())
    }

    fn insert(&mut self, id: LineageId, head: Head) {
        if self.ordered.last().is_none_or(|(last, _)| *last < id) {
            self.ordered.push((id, head));
        } else {
            self.others.insert(id, head);
        }
    }
}

impl Head {
    fn of(spot: &Spot<'_>) -> Self {
        // Files are shorter than that, and there are fewer of them.
        let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { file: short(spot.file.index), start: short(spot.span.start), end: short(spot.span.end) }
    }

    fn place(self, files: &[File<'_>]) -> Origin {
        files.get(self.file as usize).map(|file| file.place(self.start as usize)).unwrap_or_default()
    }

    fn spot<'a>(self, files: &'a [File<'a>]) -> Option<Spot<'a>> {
        let file = files.get(self.file as usize)?;
        let span = self.start as usize..self.end as usize;
        let key = file.text.get(span.clone()).unwrap_or_default();
        let name = syntax::unquote(key).unwrap_or_else(|| key.to_owned());
        Some(Spot::new(file, span, format!("certificate.{}", quoted(&name))))
    }
}
