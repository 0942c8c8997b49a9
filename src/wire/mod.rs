//! From a configuration to a running agent: the only folder that knows both the configuration
//! and the adapters.

mod adopt;
mod alert;
mod discover;
mod former;
mod load;
pub mod look;
mod persist;
mod places;
pub mod preflight;
mod rehearsal;
mod scene;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::agent::{Agent, Herald, Lookout, Parts, Scene, Woes, store_failure};
use crate::config::{self, AgentSettings, MetricsListen};
use crate::core::census::Census;
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault};
use crate::core::layout::{self, FileRights};
use crate::core::name::LineageId;
use crate::core::watched::Watched;
use crate::ports::{Key, Shelf, Sink};
use crate::probe::TlsProbe;
use crate::store::{DirStore, StoreReport};
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::sys::keys::Keys;
use crate::telemetry::Telemetry;
use crate::telemetry::log::{self, Format};
use crate::telemetry::serve::{Place, Server};

pub use crate::telemetry::page::{Making, StatusPage};
pub use adopt::{AccountFate, Find, Quest, Rival, rivals, search};
pub use discover::{issued_names, sightings};
pub use load::{CONFIG, Loaded, LogChoice, Unusable, config_file, facts, load, read_sources, reload};
pub use persist::{PersistSheet, persist_sheets};
pub use places::{LogForm, Places};
pub use rehearsal::Rehearsal;
pub use scene::{issuer, secret};
pub use watch::ConfigWatch;

use scene::Listeners;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs for ever: listeners stay open.
    Daemon,
    /// Works once: listeners open while they are needed.
    OneShot,
    /// Looks only; opens no listener and writes nothing.
    Reader,
}

/// An agent and what belongs to its process.
pub struct Wired {
    pub agent: Arc<Agent>,
    pub telemetry: Arc<Telemetry>,
    pub herald: Arc<Herald>,
    pub settings: AgentSettings,
    listeners: Listeners,
    role: Role,
    store: Arc<DirStore>,
    /// What a process by a timer found of what is watched.
    watched: OnceLock<Vec<Watched>>,
}

/// The listener for metrics and health, where one is configured.
pub async fn metrics_server(loaded: &Loaded) -> Result<Option<Server>, Failure> {
    let place = match &loaded.settings.metrics {
        None => return Ok(None),
        Some(MetricsListen::Address(address)) => Place::Tcp(*address),
        Some(MetricsListen::Unix(path)) => Place::Unix(path.clone()),
    };
    Server::bind(&place).await.map(Some)
}

/// The runtime of every verb: one thread for the work, and one more for blocking calls, as
/// each further one would cost memory for good.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Below that the runtime itself panics, and files could be written but not synced (F13).
    if let Some(limit) = crate::sys::limit::descriptors().filter(|limit| *limit < DESCRIPTORS_LEAST) {
        return Err(Failure::refused(
            Fault::Host,
            "too-few-descriptors",
            format!(
                "only {limit} files may be open at once and {DESCRIPTORS_LEAST} are needed; raise the limit \
                 (LimitNOFILE= of the unit, or ulimit -n)"
            ),
        ));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| {
            Failure::transient(Fault::Host, "no-runtime", format!("the runtime did not start: {error}"))
        })
}

/// Open files that one pass over a few certificates needs.
const DESCRIPTORS_LEAST: u64 = 48;

/// Threads for file writes that wait for the disk.
const BLOCKING_THREADS: usize = 4;

impl Wired {
    pub async fn new(loaded: &Loaded, role: Role) -> Result<Self, Failure> {
        let clock = Clock::wall();
        let now = {
            let clock = clock.clone();
            Arc::new(move || clock.now()) as crate::telemetry::Now
        };
        start_log(loaded, role, &now)?;
        let disk = Disk::real();
        if role == Role::Reader {
            // A reader must not make the state it looks for.
            disk.stat(&loaded.settings.state_dir).map_err(|error| {
                let dir = loaded.settings.state_dir.display();
                let words = if error.kind() == std::io::ErrorKind::NotFound {
                    format!("there is no state in {dir} yet; the agent makes it, or  nolapse renew")
                } else {
                    format!("{dir}: {error}")
                };
                Failure::refused(Fault::Host, "state-unreadable", words)
            })?;
        }
        let state_dir = &loaded.settings.state_dir;
        let opened = if role == Role::Reader {
            DirStore::open_to_read(disk.clone(), state_dir)
        } else {
            DirStore::open(disk.clone(), clock.clone(), state_dir).await
        };
        let store = Arc::new(opened.map_err(|error| store_failure(&error))?);
        if role != Role::Reader {
            make_live_dir(&disk, &loaded.settings.live_dir).await?;
        }
        let telemetry = Arc::new(Telemetry::new(env!("CARGO_PKG_VERSION"), &now));
        let listeners = Listeners::default();
        let scene = scene::build(loaded, &store, &clock, role, &listeners).await?;
        let lookout = Arc::new(lookout(&clock));
        let woes = Arc::new(Woes::new(&clock));
        let sink = Arc::new(alert::Sinks(telemetry.clone(), woes.clone())) as Arc<dyn Sink>;
        {
            let sink = sink.clone();
            store.tell(move |report| tell_of_state(report, &*sink));
        }
        let clock_of_eyes = clock.clone();
        let ways = alert::ways(&loaded.resolved.alerts, &clock);
        let parts = Parts {
            store: store.clone(),
            probe: Arc::new(TlsProbe::new(clock.clone(), Vec::new())),
            sink,
            clock,
            disk,
            keys: Keys::random(),
        };
        let agent = Arc::new(
            Agent::new(parts, scene)
                .trusted_with(Arc::new(scene::secret))
                .undoing_by(former::solvers(&store, &loaded.settings.state_dir, &clock_of_eyes)?)
                .foreseeing_by(preflight::eyes(&loaded.settings, &clock_of_eyes))
                .watching_by(lookout)
                .remembering(store.seen_files(), role != Role::Reader),
        );
        let metrics = telemetry.metrics.clone();
        let herald = Herald::new(&agent, woes, store.alerts_lock(), alert::host(), ways)
            .showing(Box::new(move |standing| metrics.set_alerts(standing)));
        Ok(Self {
            agent,
            telemetry,
            herald: Arc::new(herald),
            settings: loaded.settings.clone(),
            listeners,
            role,
            store,
            watched: OnceLock::new(),
        })
    }

    /// The scene of a new configuration, with listeners that stay open where they can.
    pub async fn scene(&self, loaded: &Loaded) -> Result<Scene, Failure> {
        scene::build(loaded, &self.store, &self.agent.clock, Role::Daemon, &self.listeners).await
    }

    /// Alerts go where a new configuration says.
    pub fn tell_by(&self, loaded: &Loaded) {
        self.herald.enter(alert::ways(&loaded.resolved.alerts, &self.agent.clock));
    }

    /// Every lineage that has a record.
    pub async fn known(&self) -> Result<Vec<LineageId>, Failure> {
        let keys = self.agent.store.list(Shelf::Lineages).await.map_err(|error| store_failure(&error))?;
        Ok(keys
            .into_iter()
            .filter_map(|key| if let Key::Lineage(id) = key { Some(id) } else { None })
            .collect())
    }

    /// One row for each lineage, wanted or retired; one that can't be read has none.
    pub async fn census(&self) -> Result<Census, Failure> {
        let mut ids: BTreeSet<_> = self.agent.scene().wanted.lineages.keys().cloned().collect();
        ids.extend(self.known().await?);
        let mut rows = Vec::with_capacity(ids.len());
        let _belief = self.agent.believe();
        for id in ids {
            rows.extend(self.agent.view(&id).await.ok().and_then(|view| view.row()));
        }
        let watched = self.watched.get().cloned().unwrap_or_default();
        Ok(Census { watched, ..Census::of(self.agent.clock.now(), rows) })
    }

    /// Looks at what is watched, for a process that no daemon does this for: from now on its counts
    /// tell of that, too. Answers with what was found.
    pub async fn look_at_watches(&self) -> &[Watched] {
        let watches = &self.agent.scene().wanted.watches;
        let found =
            if watches.is_empty() { Vec::new() } else { lookout(&self.agent.clock).look(watches).await };
        self.watched.get_or_init(|| found)
    }

    /// Writes the metrics file, where there is a place for it. Not worth failing for.
    pub async fn write_metrics(&self) {
        let Some(path) = &self.settings.textfile else { return };
        // A daemon reports its census as it goes; a verb knows of what it was asked to do only,
        // and the file is about everything.
        if self.role != Role::Daemon
            && let Ok(census) = self.census().await
        {
            self.telemetry.metrics.set(Arc::new(census));
        }
        let ops = crate::telemetry::textfile::plan(path, &self.telemetry.metrics);
        if let Err(error) = self.agent.disk.run(ops).await {
            tracing::warn!(%error, "the metrics file was not written");
        }
    }
}

/// Eyes for what is watched.
pub fn lookout(clock: &Clock) -> Lookout {
    let probe = Arc::new(TlsProbe::new(clock.clone(), Vec::new()));
    let files = Arc::new(crate::watch::Files::new(Disk::real(), clock.clone()));
    Lookout::new(probe, files, clock.clone())
}

/// What was found damaged, or open to others, is for people: nobody looks into `quarantine/` unasked.
fn tell_of_state(report: &StoreReport, sink: &dyn Sink) {
    match report {
        StoreReport::Quarantined { key, moved_to, .. } => {
            sink.take(&Event::Quarantined { key: key.clone(), moved_to: moved_to.clone() });
        }
        StoreReport::FellBack { key, moved_to, why } => {
            tracing::warn!(key, moved_to, why, "damaged, moved aside; the value before it took its place");
        }
        StoreReport::RightsMended { path, mode } => {
            tracing::warn!(path, mode = %format_args!("{mode:04o}"), "others could look into it; closed to them");
        }
    }
}

fn start_log(loaded: &Loaded, role: Role, now: &crate::telemetry::Now) -> Result<(), Failure> {
    let form = match loaded.log.form {
        Some(LogForm::Text) => Format::Text,
        Some(LogForm::Json) => Format::Json,
        Some(LogForm::Journal) => Format::Journal,
        None => match loaded.settings.log_format {
            config::LogFormat::Auto => Format::of_stderr(),
            config::LogFormat::Text => Format::Text,
            config::LogFormat::Json => Format::Json,
        },
    };
    // A verb by hand prints its own answer; the log would say it twice.
    let usual = if role == Role::Daemon { loaded.settings.log_level.word() } else { QUIET };
    let level = loaded.log.level.as_deref().unwrap_or(usual);
    match log::start(form, level, now.clone()) {
        Ok(()) | Err(log::LogError::Started) => Ok(()),
        Err(error) => Err(Failure::refused(Fault::Config, "log-level", error.to_string())),
    }
}

async fn make_live_dir(disk: &Disk, dir: &Path) -> Result<(), Failure> {
    if disk.stat(dir).is_ok() {
        return Ok(());
    }
    let mut ops = vec![layout::FsOp::MakeDir { path: dir.to_owned(), rights: FileRights::mode(0o755) }];
    if let Some(parent) = dir.parent() {
        ops.push(layout::FsOp::SyncDir { path: parent.to_owned() });
    }
    disk.run(ops).await.map_err(|error| {
        Failure::refused(Fault::Host, "live-dir", format!("the live directory can't be made: {error}"))
    })
}

/// The log of verbs that print their own answer: what happened to lineages is in that answer, less what has a
/// target of its own.
const QUIET: &str = "warn,nolapse::event=off";
