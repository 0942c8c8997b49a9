//! The floor that acts: gathers what is true, asks the core, does what it says, until nothing is
//! left to do now. Names no adapter; everything outward goes through a port.

mod accept;
mod adopt;
mod book;
mod bracket;
mod canary;
mod claim;
mod clean_up;
mod count;
mod daemon;
mod discover;
mod gather;
mod hands;
mod herald;
mod install;
mod look;
mod lookout;
mod notify;
mod once;
mod outputs;
mod pin;
mod placeholder;
mod preflight;
mod pursue;
mod recall;
mod recent;
mod refresh;
mod reload;
mod seen;
mod skew;
mod standing;
mod survey;
mod tick;
mod trial;
mod woes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use crate::core::event::Event;
use crate::core::failure::{Failure, Fault};
use crate::core::name::{HookId, IssuerId, LineageId, SolverId};
use crate::core::spec::Wanted;
use crate::core::watched::Watched;
use crate::ports::{Ca, Hook, Preflight, Probe, Secrets, Sink, Solver, Store};
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::sys::keys::Keys;

pub use book::{Book, store_failure};
pub use daemon::{Pass, Signal};
pub use discover::discover;
pub use gather::World;
pub use herald::{Herald, Rhythm, Ways, change_acks, read_acks, read_ledger};
pub use lookout::Lookout;
pub use once::{Readiness, Summary};
pub use preflight::{Foreseen, foresee};
pub use recall::{Held, View};
pub use seen::Belief;
pub use survey::Survey;
pub use tick::Outcome;
pub use trial::Trial;
pub use woes::Woes;

/// Everything a tick works with. One per process; a new configuration swaps the [`Scene`].
pub struct Agent {
    pub store: Arc<dyn Store>,
    pub probe: Arc<dyn Probe>,
    pub sink: Arc<dyn Sink>,
    pub clock: Clock,
    pub disk: Disk,
    pub keys: Keys,
    secrets: Secrets,
    /// By how they set answers up: what takes away those of solvers that are something else now.
    former: BTreeMap<Box<str>, Arc<dyn Solver>>,
    /// `None`: nobody looks before an attempt.
    preflight: Option<Arc<dyn Preflight>>,
    /// `None`: nothing is watched, whatever the configuration says.
    lookout: Option<Arc<Lookout>>,
    scene: RwLock<Arc<Scene>>,
    reloads: reload::Reloads,
    canaries: canary::Canaries,
    brackets: bracket::Brackets,
    hands: hands::Hands,
    seen: seen::Seen,
    recent: book::Decoded,
    /// What was said last of each lineage, by kind of event.
    told: Mutex<BTreeMap<(LineageId, &'static str), tick::Said>>,
    /// A stop was asked for: passes end after the action under way.
    stopping: AtomicBool,
}

/// What the configuration asks for, with the adapters built for it.
pub struct Scene {
    /// Shared with the configuration that it came from.
    pub wanted: Arc<Wanted>,
    /// Where `live/NAME` directories lie.
    pub live_dir: PathBuf,
    pub cas: BTreeMap<IssuerId, Arc<dyn Ca>>,
    pub solvers: BTreeMap<SolverId, Arc<dyn Solver>>,
    pub hooks: BTreeMap<HookId, Arc<dyn Hook>>,
}

/// The parts an [`Agent`] is made of.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub probe: Arc<dyn Probe>,
    pub sink: Arc<dyn Sink>,
    pub clock: Clock,
    pub disk: Disk,
    pub keys: Keys,
}

impl Agent {
    pub fn new(parts: Parts, scene: Scene) -> Self {
        Self {
            store: parts.store,
            probe: parts.probe,
            sink: parts.sink,
            clock: parts.clock,
            disk: parts.disk,
            keys: parts.keys,
            secrets: Arc::new(|_| Err(outputs::no_secrets())),
            former: BTreeMap::new(),
            preflight: None,
            lookout: None,
            scene: RwLock::new(Arc::new(scene)),
            reloads: reload::Reloads::default(),
            canaries: canary::Canaries::default(),
            brackets: bracket::Brackets::default(),
            hands: hands::Hands::default(),
            seen: seen::Seen::default(),
            recent: book::Decoded::default(),
            told: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Keeps what need not be read again in files whose names begin with `files`; only reads them
    /// unless it `writes`.
    #[must_use]
    pub fn remembering(mut self, files: PathBuf, writes: bool) -> Self {
        self.seen = seen::Seen::in_files(files, writes);
        self
    }

    /// Lets it ask for the passwords of outputs; without this it knows none.
    #[must_use]
    pub fn trusted_with(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Gives it what takes answers away whose solver is gone or has become something else, by
    /// [`SolverKind::way`](crate::core::spec::SolverKind::way): for all that needs no credential.
    #[must_use]
    pub fn undoing_by(mut self, former: BTreeMap<Box<str>, Arc<dyn Solver>>) -> Self {
        self.former = former;
        self
    }

    /// Has it look at names the way a CA will, before a first order and once an attempt has failed.
    #[must_use]
    pub fn foreseeing_by(mut self, preflight: Arc<dyn Preflight>) -> Self {
        self.preflight = Some(preflight);
        self
    }

    /// Has it look at what is watched, too, while it runs.
    #[must_use]
    pub fn watching_by(mut self, lookout: Arc<Lookout>) -> Self {
        self.lookout = Some(lookout);
        self
    }

    /// What was found last of what is watched; nothing where it does not run.
    pub fn watched(&self) -> Arc<Vec<Watched>> {
        self.lookout.as_ref().map(|lookout| lookout.latest()).unwrap_or_default()
    }

    /// What is wanted now. A tick keeps the scene it began with.
    pub fn scene(&self) -> Arc<Scene> {
        // A panic while swapping one pointer can't leave it half done.
        self.scene.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Puts a new configuration into force, whole.
    pub fn enter(&self, scene: Scene) {
        *self.scene.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(scene);
    }

    fn tell(&self, event: &Event) {
        self.sink.take(event);
    }
}

impl Scene {
    fn ca(&self, id: &IssuerId) -> Result<&Arc<dyn Ca>, Failure> {
        self.cas.get(id).ok_or_else(|| {
            Failure::refused(
                Fault::Config,
                "no-such-issuer",
                format!("issuer {id} is not in the configuration; add [issuer.{id}] or name another"),
            )
        })
    }

    fn solver(&self, id: &SolverId) -> Result<&Arc<dyn Solver>, Failure> {
        self.solvers.get(id).ok_or_else(|| {
            Failure::refused(
                Fault::Config,
                "no-such-solver",
                format!("solver {id} is not in the configuration; what it set up is cleaned when it is back"),
            )
        })
    }
}
