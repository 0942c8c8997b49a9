//! The few things the agent needs from outside, as traits, and their small types. Floor 3 has
//! one folder for each; tests bring their own.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::core::chain::Member;
use crate::core::channel::Message;
use crate::core::discovery::Sightings;
use crate::core::endpoint::Endpoint;
use crate::core::event::{Deployment, Event};
use crate::core::failure::Failure;
use crate::core::layout::Content;
use crate::core::leaf::{Fingerprint, Leaf};
use crate::core::name::{IssuerId, LineageId, SubjectName, Token};
use crate::core::order::{AuthorizationView, ChallengeTask, OrderRequest, OrderView, PersistTerms};
use crate::core::preflight::Facts;
use crate::core::record::{ChallengeKind, GenerationNumber, Receipt};
use crate::core::showing::Showing;
use crate::core::silence::Silence;
use crate::core::spec::{SecretSource, SolverSpec};
use crate::core::specimen::Find;
use crate::core::time::{Interval, Span, Timestamp};
use crate::core::usage::Listening;
use crate::core::watch::WatchSpec;

/// What every port answers with; boxed by hand, so no macro crate is needed.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Compare-and-swap on single keys. There is no transaction: a generation is one value, and the
/// swap of a record is what counts.
pub trait Store: Send + Sync {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>>;

    /// Writes durably if the entry is as expected; answers with the new revision.
    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>>;

    /// All keys of one kind, in order.
    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>>;

    /// Numbers of one lineage's generations, least first. A store that knows them without a look at those
    /// of all others says so in its own way: a first certificate among many asks for them.
    fn generations<'a>(&'a self, id: &'a LineageId) -> Reply<'a, Result<Vec<GenerationNumber>, StoreError>> {
        Box::pin(async move {
            let keys = self.list(Shelf::Generations).await?;
            Ok(keys
                .into_iter()
                .filter_map(|key| match key {
                    Key::Generation(of, number) if of == *id => Some(number),
                    _ => None,
                })
                .collect())
        })
    }

    /// No error when it is gone already.
    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>>;

    /// Politeness between agents: at most one holds a lineage. `None`: somebody else does.
    fn claim<'a>(&'a self, id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>>;

    /// What tells later that an entry is still as it was, without reading it; `None` where there is
    /// no such entry, or where only reading would tell. Touches no network.
    fn glance(&self, _key: &Key) -> Option<Glance> {
        None
    }

    /// Whether a write would succeed now; asked before an order is placed (F12).
    fn writable(&self) -> Reply<'_, Result<(), StoreError>>;
}

/// An entry from outside.
pub struct Glance {
    /// The same while nobody touches the entry, and another one when somebody did. Two changes
    /// within one tick of the clock that dates them may have one mark.
    pub mark: Vec<u8>,
    /// When the entry was touched last, as far as known.
    pub changed: Timestamp,
}

/// The answer to a claim.
pub enum Claim {
    /// Ours until dropped.
    Held(Box<dyn Send + Sync>),
    /// Somebody else's; what is known of the holder, safe to print.
    Busy(String),
}

/// Where one value lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Lineage(LineageId),
    Generation(LineageId, GenerationNumber),
    /// A private key that has no certificate yet, by the hash of its public half.
    LeafKey(Fingerprint),
    Account(IssuerId),
    /// The answer to a challenge, for whichever agent is asked for it.
    Challenge(Token),
    /// This node's note; always local.
    Installed(LineageId),
    /// What people were told by this node; always local.
    Told,
    /// What people said that they know; always local.
    Acks,
}

impl Key {
    pub const fn shelf(&self) -> Shelf {
        match self {
            Self::Lineage(_) => Shelf::Lineages,
            Self::Generation(..) => Shelf::Generations,
            Self::LeafKey(_) => Shelf::Keys,
            Self::Account(_) => Shelf::Accounts,
            Self::Challenge(_) => Shelf::Challenges,
            Self::Installed(_) => Shelf::Installed,
            Self::Told | Self::Acks => Shelf::Alerts,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lineage(id) => write!(f, "lineages/{id}"),
            Self::Generation(id, number) => write!(f, "generations/{id}/{number}"),
            Self::LeafKey(hash) => write!(f, "keys/{hash}"),
            Self::Account(id) => write!(f, "accounts/{id}"),
            Self::Challenge(token) => write!(f, "challenges/{token}"),
            Self::Installed(id) => write!(f, "installed/{id}"),
            Self::Told => f.write_str("alerts/told"),
            Self::Acks => f.write_str("alerts/acks"),
        }
    }
}

/// One kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    Lineages,
    Generations,
    Keys,
    Accounts,
    Challenges,
    Installed,
    Alerts,
}

/// A value and the mark to swap it by.
#[derive(Clone, Debug)]
pub struct Entry {
    pub content: Content,
    pub revision: Revision,
}

/// Changes with every write of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(pub String);

/// What must be true of an entry for a swap to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    At(Revision),
    /// Last writer wins; only for values that are the same whoever writes them.
    Anything,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote first; load again.
    #[error("{0} was changed by another process")]
    Conflict(String),
    /// The entry and its previous copy are unreadable; they were moved aside.
    #[error("{key} is damaged and was moved to {moved_to}: {why}")]
    Corrupt { key: String, moved_to: String, why: String },
    /// Written by a newer release; nothing was touched.
    #[error(
        "{key} was written by a newer nolapse (schema {found}, this one knows {known}); upgrade, nothing was changed"
    )]
    Newer { key: String, found: u32, known: u32 },
    #[error("{what}: {why}")]
    Io { what: String, why: String, kind: std::io::ErrorKind },
}

/// One CA directory with our account there. Calls are keyed by order URL, so resuming after a
/// crash is the ordinary path.
pub trait Ca: Send + Sync {
    fn order<'a>(&'a self, request: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>>;

    fn view<'a>(&'a self, order: &'a str) -> Reply<'a, Result<OrderView, Failure>>;

    fn authorizations<'a>(&'a self, order: &'a str) -> Reply<'a, Result<Vec<AuthorizationView>, Failure>>;

    /// Tells the CA that the answer stands. Telling twice is harmless.
    fn ready<'a>(&'a self, order: &'a str, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>>;

    fn finalize<'a>(&'a self, order: &'a str, csr: &'a [u8]) -> Reply<'a, Result<OrderView, Failure>>;

    /// The chain as the CA sent it, unchecked.
    fn download<'a>(&'a self, order: &'a str) -> Reply<'a, Result<String, Failure>>;

    /// When the CA would like the certificate renewed; `None` where it has no such service.
    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Reply<'a, Result<Option<RenewalInfo>, Failure>>;

    /// False where the directory, as read for what came before, names no such service. Asks
    /// nothing of the network.
    fn has_renewal_info(&self) -> Reply<'_, bool> {
        Box::pin(async { true })
    }

    /// A free look: does the directory answer?
    fn reachable(&self) -> Reply<'_, Result<Greeting, Failure>>;

    /// How far our clock is ahead of the CA's (negative: behind) at the last reading of its
    /// directory. Asks nothing that an order would not ask; `None` where the CA sends no date.
    fn skew(&self) -> Reply<'_, Result<Option<Span>, Failure>>;

    /// Gives up an order's open authorizations, best effort.
    fn abandon<'a>(&'a self, order: &'a str) -> Reply<'a, Result<(), Failure>>;

    /// What a text for dns-persist-01 at `base` must hold, as far as the directory tells; `None` where only an
    /// order would. `base` is a name without a star.
    fn persist_terms<'a>(&'a self, _base: &'a str) -> Reply<'a, Result<Option<PersistTerms>, Failure>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The names by which CAA records know it; none where it does not say. Asks nothing that an
    /// order would not ask.
    fn caa_identities(&self) -> Reply<'_, Result<Vec<String>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// The URL of our account there, where it is known already. Asks nothing of the network.
    fn known_account(&self) -> Reply<'_, Result<Option<String>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    /// Makes or restores the account, and says which URL it has.
    fn account(&self) -> Reply<'_, Result<String, Failure>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalInfo {
    pub window: Interval,
    pub explanation: Option<String>,
    /// Clamped to [1 minute, 1 day] by the adapter.
    pub retry_after: Span,
}

/// Reads a secret when it is needed, and only then. Code of its failures: `secret-missing`.
pub type Secrets = Arc<dyn Fn(&SecretSource) -> Result<Content, Failure> + Send + Sync>;

/// What a CA's directory says without an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The CA's clock, from its `Date` header.
    pub date: Option<Timestamp>,
    pub terms: Option<String>,
    pub profiles: Vec<String>,
    pub renewal_info: bool,
    pub eab_required: bool,
    /// By which CAA records know it; none where it does not say (RFC 8555 §9.7.6).
    pub caa_identities: Vec<String>,
}

/// Longest that solvers may take to set up, look for or take away one answer.
pub const PATIENCE: Span = Span::secs(120);

/// A way to answer challenges.
pub trait Solver: Send + Sync {
    /// Kinds it can answer, the preferred first.
    fn kinds(&self) -> &[ChallengeKind];

    /// What undoing this task will need; it may ask around and changes nothing, so it can be stored
    /// first.
    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>>;

    /// Sets the answer up. Doing it twice is harmless.
    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>>;

    /// Looks for the answer from here. Advice: an `Err` is logged and the CA is told all the same,
    /// except where its class is [`Refused`](crate::core::failure::Class::Refused).
    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>>;

    /// What each name server said when [`Self::confirm`] looked last; only proofs by DNS know.
    fn showing(&self, _task: &ChallengeTask) -> Option<Showing> {
        None
    }

    /// Longest that [`Self::confirm`] is waited for.
    fn patience(&self) -> Span {
        PATIENCE
    }

    /// Undoes what the receipt stands for. No error when it is gone already.
    fn clean_up<'a>(&'a self, receipt: &'a Receipt) -> Reply<'a, Result<(), Failure>>;

    /// Of a kind that proves by what stands all the time: when that ends, if it does, or why it proves
    /// nothing. `None` of all other kinds.
    fn standing<'a>(
        &'a self,
        _name: &'a SubjectName,
        _terms: &'a PersistTerms,
    ) -> Reply<'a, Option<Result<Option<Timestamp>, Failure>>> {
        Box::pin(std::future::ready(None))
    }

    /// A free look: could an answer be set up now?
    fn able(&self) -> Reply<'_, Result<(), Failure>>;
}

/// A free look at names, the way a CA will look at them.
pub trait Preflight: Send + Sync {
    /// What was seen of each name, in their order; one that there was no time for is left out.
    /// Changes nothing, and takes no longer than the inquiry allows.
    fn look<'a>(&'a self, inquiry: &'a Inquiry) -> Reply<'a, Vec<Facts>>;

    /// Whether a look at `name` that nobody asked for could tell anything, as far as known without one.
    fn could_see(&self, name: &SubjectName) -> bool;
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Inquiry {
    pub names: Vec<SubjectName>,
    /// Those that could be asked to prove them; each for the names that it is for.
    pub solvers: Vec<SolverSpec>,
    /// Longest time that all of it takes.
    pub within: Span,
}

/// A program or call that is told about new generations.
pub trait Hook: Send + Sync {
    /// `None` where no check is configured.
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>>;

    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>>;
}

/// Looks at what an endpoint serves.
pub trait Probe: Send + Sync {
    /// One sighting for each handshake that the endpoint asks for; at least one, all within
    /// `within` and a moment.
    fn look<'a>(&'a self, endpoint: &'a Endpoint, within: Span) -> Reply<'a, Vec<Sighting>>;
}

/// What one handshake saw.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The address that was talked to; `None` where none was reached.
    pub from: Option<IpAddr>,
    pub seen: Seen,
}

#[derive(Clone, Debug)]
pub enum Seen {
    Served(Box<Served>),
    /// No certificate was seen; the words are safe to print.
    Nothing {
        why: Silence,
        words: String,
    },
}

/// What a server sent.
#[derive(Clone, Debug)]
pub struct Served {
    pub leaf: Leaf,
    /// All certificates sent, the leaf first; empty where they were not read.
    pub sent: Vec<Member>,
    /// SHA-256 of what stands above the leaf, written as `chain.pem` would be.
    pub above: Fingerprint,
    /// Why the system's roots don't vouch for the chain; reported, not required.
    pub distrust: Option<Distrust>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    /// The reason is that no root vouches for it.
    pub unrooted: bool,
    /// Safe to print.
    pub words: String,
}

impl Sighting {
    pub fn served(served: Served) -> Self {
        Self { from: None, seen: Seen::Served(Box::new(served)) }
    }

    /// A leaf about whose chain nothing is known.
    pub fn of(leaf: Leaf) -> Self {
        let above = Fingerprint([0; 32]);
        Self::served(Served { leaf, sent: Vec::new(), above, distrust: None })
    }

    pub fn nothing(why: Silence, words: impl Into<String>) -> Self {
        Self { from: None, seen: Seen::Nothing { why, words: words.into() } }
    }
}

/// Reads certificates in files that somebody else keeps. Writes nothing, and no file can hold up
/// more than the look at its own watch.
pub trait Outside: Send + Sync {
    /// What lies where the files and trees of a watch lead; within bounds of time and number.
    fn read<'a>(&'a self, watch: &'a WatchSpec) -> Reply<'a, Vec<Find>>;
}

/// Looks around a host: what lies where servers and tools keep certificates, and who listens.
pub trait Scout: Send + Sync {
    fn scout(&self) -> Reply<'_, Scouted>;
}

/// What a look around came to, before any port was asked.
#[derive(Clone, Debug, Default)]
pub struct Scouted {
    /// Files, and what servers' configurations say; nothing served yet.
    pub sightings: Sightings,
    pub listening: Vec<Listening>,
}

/// A way to reach people.
pub trait Channel: Send + Sync {
    /// Sends one message, within a time that the caller bounds. Sending twice is harmless: a
    /// receiver puts together what has one key.
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>>;
}

/// Somebody outside who notices when the agent falls silent.
pub trait Heart: Send + Sync {
    /// `trouble`: what is wrong that cannot wait; `None` where nothing is.
    fn beat<'a>(&'a self, trouble: Option<&'a str>) -> Reply<'a, Result<(), Failure>>;
}

/// Takes events; logs and metrics are sinks. Never fails, never waits.
pub trait Sink: Send + Sync {
    fn take(&self, event: &Event);
}
