//! What is known of a lineage: one record in the store, shared by all nodes, and one note per
//! node about what that node has deployed. Neither holds a secret.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::chain::Flaw;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::leaf::{Fingerprint, Leaf};
use super::name::{HookId, IssuerId, LineageId, SolverId, SubjectName, Token};
use super::persist::PersistNote;
use super::showing::Showing;
use super::silence::Silence;
use super::spec::{KeyKind, Part};
use super::tally::Tally;
use super::time::{Interval, Span, Timestamp};
use super::window::RenewalPoint;

/// The number of a generation; the first is 1.
pub type GenerationNumber = u64;

/// The store's knowledge of one lineage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LineageRecord {
    pub id: LineageId,
    #[serde(default)]
    pub current: Option<Issued>,
    #[serde(default)]
    pub previous: Option<Issued>,
    /// Generations before the previous one that are kept for a return by hand, newest first, at
    /// most [`LineageRecord::EARLIER_MAX`]; a pinned one is kept besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Issued>,
    /// The highest number ever given out, so that a number is never used twice.
    #[serde(default)]
    pub last_number: GenerationNumber,
    #[serde(default)]
    pub attempt: Option<Attempt>,
    #[serde(default)]
    pub trouble: Option<Trouble>,
    #[serde(default)]
    pub reading: Option<Reading>,
    #[serde(default)]
    pub point: Option<RenewalPoint>,
    /// What solvers still have to undo.
    #[serde(default)]
    pub debts: Vec<Debt>,
    #[serde(default)]
    pub pause: Option<Pause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Failed validations of the last day, oldest first, at most [`LineageRecord::VALIDATIONS_MAX`].
    #[serde(default)]
    pub failed_validations: Vec<FailedValidation>,
    /// Solvers that failed for a name within the last day, at most one each and
    /// [`LineageRecord::MISSES_MAX`]: others are tried first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<Miss>,
    /// Texts that stand for dns-persist-01, at most [`PersistNote::MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub persist: Vec<PersistNote>,
    /// What name servers showed of proofs by DNS when they were last looked for, at most
    /// [`Showing::NAMES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub showings: Vec<Showing>,
    /// The names that were wanted at the last try, whichever set was asked for then: what a
    /// lineage is after its entry left the configuration, and what tells a changed entry.
    #[serde(default)]
    pub names: Vec<SubjectName>,
    /// Leaves of earlier generations, newest last, at most [`LineageRecord::PAST_MAX`]: what a
    /// stale endpoint serves is told from a stranger's certificate by these.
    #[serde(default)]
    pub past: Vec<Fingerprint>,
}

impl LineageRecord {
    pub const PAST_MAX: usize = 32;

    /// Generations kept besides the current and the previous one.
    pub const EARLIER_MAX: usize = 2;

    /// At most this many failed validations are remembered, counted over all names.
    pub const VALIDATIONS_MAX: usize = 1010;

    /// At most this many failures of solvers are remembered.
    pub const MISSES_MAX: usize = 200;

    /// Remembers that `solver` could not prove `name`.
    pub fn note_miss(&mut self, name: SubjectName, solver: SolverId, at: Timestamp) {
        let stale = |miss: &Miss| miss.at + Span::DAY <= at || miss.at > at;
        self.misses.retain(|miss| !stale(miss) && (miss.name != name || miss.solver != solver));
        self.misses.push(Miss { name, solver, at });
        let surplus = self.misses.len().saturating_sub(Self::MISSES_MAX);
        self.misses.drain(..surplus);
    }

    pub fn new(id: LineageId) -> Self {
        Self {
            id,
            current: None,
            previous: None,
            earlier: Vec::new(),
            last_number: 0,
            attempt: None,
            trouble: None,
            reading: None,
            point: None,
            debts: Vec::new(),
            pause: None,
            pin: None,
            failed_validations: Vec::new(),
            misses: Vec::new(),
            persist: Vec::new(),
            showings: Vec::new(),
            names: Vec::new(),
            past: Vec::new(),
        }
    }

    pub fn leaf(&self) -> Option<&Leaf> {
        self.current.as_ref().map(|issued| &issued.leaf)
    }

    /// Every generation that is kept, newest first.
    pub fn kept(&self) -> impl Iterator<Item = &Issued> {
        self.current.iter().chain(&self.previous).chain(&self.earlier)
    }

    /// The kept generation with this number.
    pub fn issued(&self, number: GenerationNumber) -> Option<&Issued> {
        self.kept().find(|issued| issued.number == number)
    }

    /// Makes `issued` the current generation. Of those that it pushes out only the fingerprint stays.
    pub fn succeed(&mut self, issued: Issued) {
        let Some(older) = std::mem::replace(&mut self.previous, self.current.replace(issued)) else { return };
        self.earlier.insert(0, older);
        let pinned = self.pin.as_ref().map(|pin| pin.generation);
        let surplus = self.earlier.iter().rposition(|issued| Some(issued.number) != pinned);
        if let Some(at) = surplus.filter(|_| self.earlier.len() > Self::EARLIER_MAX) {
            self.past.push(self.earlier.remove(at).leaf.fingerprint);
            let forgotten = self.past.len().saturating_sub(Self::PAST_MAX);
            self.past.drain(..forgotten);
        }
    }
}

/// A generation that was issued, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Issued {
    pub number: GenerationNumber,
    pub leaf: Leaf,
    /// `None` when the record was told anew from the generation alone.
    #[serde(default)]
    pub issuer: Option<IssuerId>,
    #[serde(default)]
    pub profile: Option<String>,
    pub key_kind: KeyKind,
    /// The names asked for; the leaf may have more.
    pub names: Vec<SubjectName>,
    pub at: Timestamp,
    pub order: String,
    /// A revoked generation is never returned to.
    #[serde(default)]
    pub revoked: bool,
    /// SHA-256 of each text under `live/`: drift is found without loading the generation.
    #[serde(default)]
    pub digests: BTreeMap<Part, Fingerprint>,
}

/// Failures in a row and when the next try may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Trouble {
    /// From 1.
    pub count: u32,
    pub since: Timestamp,
    pub last_at: Timestamp,
    pub next_at: Timestamp,
    /// The last free look at CA, solver and disk while waiting.
    #[serde(default)]
    pub probed_at: Option<Timestamp>,
    pub failure: Failure,
    /// The names that were asked for; a changed set starts afresh.
    pub names: Vec<SubjectName>,
    pub issuer: IssuerId,
}

/// One answer of the CA's renewal information.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reading {
    /// The certificate that was asked about; an answer about another one is void.
    pub ari_id: String,
    /// `None` where the CA gave no usable answer.
    #[serde(default)]
    pub window: Option<Interval>,
    #[serde(default)]
    pub explanation: Option<String>,
    pub at: Timestamp,
    /// When to ask again.
    pub next_at: Timestamp,
}

/// Something a solver set up and has not undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Debt {
    pub receipt: Receipt,
    #[serde(default)]
    pub failures: u32,
    /// When to try again.
    pub next_at: Timestamp,
}

/// What a solver needs to undo one answer, known before the answer is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Receipt {
    pub solver: SolverId,
    pub kind: ChallengeKind,
    pub name: SubjectName,
    pub token: Token,
    /// The file, record or key that was set up, in the solver's own terms.
    pub place: String,
    /// What set it up, by [`SolverKind::way`](super::spec::SolverKind::way): another one of the same name can't
    /// undo it. `None` in records of releases that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
}

/// The standard ways of proving control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChallengeKind {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "dns-01")]
    Dns01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    #[serde(rename = "dns-account-01")]
    DnsAccount01,
    #[serde(rename = "dns-persist-01")]
    DnsPersist01,
}

impl ChallengeKind {
    pub const ALL: [Self; 5] =
        [Self::Http01, Self::Dns01, Self::TlsAlpn01, Self::DnsAccount01, Self::DnsPersist01];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::DnsAccount01 => "dns-account-01",
            Self::DnsPersist01 => "dns-persist-01",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The operator told us to leave a lineage alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pause {
    pub until: Timestamp,
    pub reason: String,
    pub at: Timestamp,
}

/// The operator went back to an earlier generation, and it stays until it is unpinned or nears
/// its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pin {
    pub generation: GenerationNumber,
    pub reason: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FailedValidation {
    pub name: SubjectName,
    pub at: Timestamp,
}

/// A solver that could not prove a name, in its own words or the CA's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Miss {
    pub name: SubjectName,
    pub solver: SolverId,
    pub at: Timestamp,
}

/// What this node has deployed. Which generation is on disk is read from the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Installed {
    pub hooks: BTreeMap<HookId, HookNote>,
    pub endpoints: BTreeMap<Endpoint, EndpointNote>,
    /// What was shown before the present generation was put in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_before: Option<GenerationNumber>,
    /// A generation that proved bad here.
    pub refused: Option<Refused>,
    /// A generation that waits for what becomes of another lineage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// The foreign pair that was found in our place, kept as it is.
    pub foreign: Option<Foreign>,
    /// Outputs that we have written before; what lies there is ours to replace.
    pub written: BTreeSet<String>,
    /// Copies of what lay at an output path before our first write.
    pub backups: BTreeSet<String>,
}

/// One hook and the generation it was told about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HookNote {
    /// The newest generation that this hook is done with; 0 for none.
    pub done: GenerationNumber,
    pub done_at: Option<Timestamp>,
    /// Failures in a row about the generation that is owed.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub next_at: Option<Timestamp>,
    /// What the last failure said, safe to print.
    #[serde(default)]
    pub words: Option<String>,
    /// Whether the service's check passed just before the pair on disk was changed, and for
    /// which generation that was asked.
    #[serde(default)]
    pub check_before: Option<CheckBefore>,
}

impl HookNote {
    pub const fn never() -> Self {
        Self { done: 0, done_at: None, failures: 0, next_at: None, words: None, check_before: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckBefore {
    pub generation: GenerationNumber,
    pub passed: bool,
}

/// What an endpoint was last seen to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EndpointNote {
    pub sight: Sight,
    pub at: Timestamp,
    pub next_at: Timestamp,
    /// The generation that was looked for.
    pub generation: GenerationNumber,
    /// Looks in a row that did not see it.
    #[serde(default)]
    pub failures: u32,
    /// It answered a handshake at least once: from then on silence is owed.
    #[serde(default)]
    pub reached: bool,
    /// The leaf it served, where one was read.
    #[serde(default)]
    pub leaf: Option<Leaf>,
    /// Why the chain is not trusted, or why nothing was read. Safe to print.
    #[serde(default)]
    pub words: Option<String>,
    /// Why no certificate was seen, where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// Where more than one handshake was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// Not the installed certificate, and good enough for this endpoint all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// What is wrong with the chain that was sent; told, never acted upon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaws: Vec<Flaw>,
}

impl EndpointNote {
    /// It showed what it should, in every handshake.
    pub fn fine(&self) -> bool {
        self.sight == Sight::New || self.accepted
    }

    /// The sight with all that belongs to it: `old 2 of 8`, `other-valid (accepted)`.
    pub fn told(&self) -> String {
        let mut told = self.sight.word().to_owned();
        if let Some(words) = self.tally.as_ref().and_then(Tally::words) {
            told.push(' ');
            told.push_str(&words);
        }
        if self.accepted {
            told.push_str(" (accepted)");
        }
        for flaw in &self.flaws {
            told.push_str(", ");
            told.push_str(flaw.kind.code());
        }
        told
    }
}

/// The five answers of a look at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// The leaf of the current generation.
    New,
    /// The leaf of an earlier generation of ours.
    Old,
    /// Another certificate that is valid for the name.
    OtherValid,
    /// A certificate that is not valid for the name, or not now.
    Wrong,
    Unreachable,
}

impl Sight {
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
            Self::OtherValid => "other-valid",
            Self::Wrong => "wrong",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A generation not to be installed again unchanged before `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refused {
    pub generation: GenerationNumber,
    pub returned_to: GenerationNumber,
    pub at: Timestamp,
    pub until: Timestamp,
    pub count: u32,
    pub words: String,
}

/// Another lineage of the same service went ahead and was not seen to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HeldBack {
    pub generation: GenerationNumber,
    pub by: LineageId,
    pub at: Timestamp,
    pub until: Timestamp,
}

/// Somebody else's valid and newer pair in our place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Foreign {
    pub leaf: Leaf,
    pub path: String,
    pub since: Timestamp,
}
