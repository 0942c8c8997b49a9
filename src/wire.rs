//! From a configuration to a running agent: the only file that knows both the configuration and
//! the adapters.

pub mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::agent::{Agent, Parts, Scene, store_failure};
use crate::ca::{AcmeCa, Secrets};
use crate::cli::args::{LogForm, Places};
use crate::cli::report::{Line, Report, Sheet};
use crate::cli::{Exit, Stop, print};
use crate::config::{self, AgentSettings, MetricsListen, Resolved, Source};
use crate::core::census::Census;
use crate::core::failure::{Failure, Fault};
use crate::core::layout::{self, Content, FileRights};
use crate::core::name::{IssuerId, LineageId, SolverId};
use crate::core::spec::{IssuerSpec, Listen, SecretSource, SolverKind, SolverSpec, Wanted};
use crate::core::time::Span;
use crate::ports::{Ca, Key, Shelf, Sink, Solver, Store};
use crate::probe::TlsProbe;
use crate::solve::http01::Http01Solver;
use crate::solve::self_check::SelfCheck;
use crate::solve::webroot::WebrootSolver;
use crate::store::DirStore;
use crate::store::scratch::ScratchStore;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::sys::keys::Keys;
use crate::telemetry::Telemetry;
use crate::telemetry::log::{self, Format};
use crate::telemetry::serve::{Place, Server};

/// Where the configuration is looked for.
pub const CONFIG: &str = "/etc/nolapse/nolapse.toml";
/// There while systemd runs this host (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";
const UNIT_DIRS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const CHECK_UNIT: &str = "nolapse-check@.service";
/// Largest configuration file, in bytes.
const CONFIG_MAX: usize = 16 << 20;
/// Largest secret file and roots file, in bytes.
const SECRET_MAX: usize = 64 << 10;
const ROOTS_MAX: usize = 1 << 20;

/// A configuration that was read and can be used.
pub struct Loaded {
    pub file: PathBuf,
    pub resolved: Resolved,
    pub settings: AgentSettings,
    pub log: LogChoice,
}

/// What the command line says of logs.
#[derive(Clone, Debug)]
pub struct LogChoice {
    pub form: Option<LogForm>,
    pub level: Option<String>,
}

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
    pub settings: AgentSettings,
    listeners: Listeners,
    role: Role,
    store: Arc<DirStore>,
}

/// The live directory of a rehearsal, on a disk in memory.
const REHEARSAL: &str = "/rehearsal";

/// What a dry run works with.
pub struct Rehearsal {
    pub agent: Arc<Agent>,
    pub ids: Vec<LineageId>,
    /// Their issuer has no staging directory.
    pub without_staging: Vec<LineageId>,
}

/// Listening solvers outlive a change of configuration that keeps their address.
#[derive(Clone, Default)]
struct Listeners(Arc<Mutex<BySpec>>);

/// By solver and address.
type BySpec = BTreeMap<(SolverId, String), Arc<Http01Solver>>;

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
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| {
            Failure::transient(Fault::Host, "no-runtime", format!("the runtime did not start: {error}"))
        })
}

/// Threads for file writes that wait for the disk.
const BLOCKING_THREADS: usize = 4;

/// Reads the configuration; problems are printed, all at once.
pub fn load(places: &Places) -> Result<Loaded, Stop> {
    let file = config_file(places);
    let sources = read_sources(&file)?;
    let resolved = config::resolve(&sources, &facts(places));
    for problem in &resolved.problems {
        print::note(&problem.to_string());
    }
    if resolved.fatal() {
        print::error("the configuration can't be used; nothing was changed");
        return Err(Stop::Said(Exit::Configuration));
    }
    let settings = resolved.agent.clone();
    let log = LogChoice { form: places.log_format, level: places.log.clone() };
    Ok(Loaded { file, resolved, settings, log })
}

/// Reads it again without printing, for a running daemon: a bad one changes nothing.
pub fn reload(loaded: &Loaded, places: &Places) -> Result<Loaded, Failure> {
    let unusable = |words: String| Failure::refused(Fault::Config, "configuration-bad", words);
    let sources = read_sources(&loaded.file).map_err(|stop| match stop {
        Stop::Failure(failure) => failure,
        Stop::Said(_) => unusable("the configuration can't be read".into()),
    })?;
    let resolved = config::resolve(&sources, &facts(places));
    if resolved.fatal() {
        let first = resolved.problems.iter().find(|p| p.is_fatal()).map(ToString::to_string);
        return Err(unusable(first.unwrap_or_else(|| "the configuration can't be used".into())));
    }
    let settings = resolved.agent.clone();
    Ok(Loaded { file: loaded.file.clone(), resolved, settings, log: loaded.log.clone() })
}

pub fn config_file(places: &Places) -> PathBuf {
    places.config.clone().unwrap_or_else(|| {
        std::env::var_os("CONFIGURATION_DIRECTORY")
            .map_or_else(|| PathBuf::from(CONFIG), |dir| PathBuf::from(dir).join("nolapse.toml"))
    })
}

/// The file itself, then `conf.d/*.toml` beside it in the order of their names.
pub fn read_sources(file: &Path) -> Result<Vec<Source>, Stop> {
    let disk = Disk::real();
    let unreadable = |path: &Path, error: &std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "; nolapse init writes a first one",
            std::io::ErrorKind::PermissionDenied => "; run it as root or as the user that nolapse runs as",
            _ => "",
        };
        Stop::Failure(Failure::refused(
            Fault::Config,
            "configuration-unreadable",
            format!("{}: {error}{hint}", path.display()),
        ))
    };
    let text = |path: &Path| -> Result<String, Stop> {
        let content = disk.read(path, CONFIG_MAX).map_err(|error| unreadable(path, &error))?;
        String::from_utf8(content.bytes().to_vec()).map_err(|_| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text");
            unreadable(path, &error)
        })
    };
    let mut sources = vec![Source { name: file.display().to_string(), text: text(file)? }];
    let dir = file.with_file_name("conf.d");
    let mut names = match disk.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unreadable(&dir, &error)),
    };
    names.sort();
    for name in names.iter().filter(|name| !name.starts_with('.') && has_toml_ending(name)) {
        sources.push(Source { name: format!("conf.d/{name}"), text: text(&dir.join(name))? });
    }
    Ok(sources)
}

fn has_toml_ending(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "toml")
}

/// What flags and the environment say of directories.
pub fn facts(places: &Places) -> config::Facts {
    // systemd may list several directories; the first is ours.
    let given = |name: &str| {
        let dirs = std::env::var(name).ok()?;
        dirs.split(':').next().filter(|dir| !dir.is_empty()).map(PathBuf::from)
    };
    config::Facts {
        forced: config::Places {
            state_dir: places.state_dir.clone(),
            live_dir: places.live_dir.clone(),
            run_dir: places.run_dir.clone(),
        },
        fallback: config::Places {
            state_dir: given("STATE_DIRECTORY"),
            live_dir: None,
            run_dir: given("RUNTIME_DIRECTORY"),
        },
        check_units: Path::new(SYSTEMD).exists()
            && UNIT_DIRS.iter().any(|dir| Path::new(dir).join(CHECK_UNIT).exists()),
    }
}

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
                Failure::refused(
                    Fault::Host,
                    "state-unreadable",
                    format!("{}: {error}", loaded.settings.state_dir.display()),
                )
            })?;
        }
        let state_dir = &loaded.settings.state_dir;
        let opened = if role == Role::Reader {
            DirStore::open_to_read(disk.clone(), state_dir)
        } else {
            DirStore::open(disk.clone(), clock.clone(), state_dir).await
        };
        let store = Arc::new(opened.map_err(|error| store_failure(&error))?);
        for report in store.reports() {
            tracing::warn!(?report, "found while opening the state");
        }
        if role != Role::Reader {
            make_live_dir(&disk, &loaded.settings.live_dir).await?;
        }
        let telemetry = Arc::new(Telemetry::new(env!("CARGO_PKG_VERSION"), &now));
        let listeners = Listeners::default();
        let scene = scene(loaded, &store, &clock, role, &listeners).await?;
        let parts = Parts {
            store: store.clone(),
            probe: Arc::new(TlsProbe::new(clock.clone(), Vec::new())),
            sink: telemetry.clone() as Arc<dyn Sink>,
            clock,
            disk,
            keys: Keys::random(),
        };
        Ok(Self {
            agent: Arc::new(Agent::new(parts, scene)),
            telemetry,
            settings: loaded.settings.clone(),
            listeners,
            role,
            store,
        })
    }

    /// The scene of a new configuration, with listeners that stay open where they can.
    pub async fn scene(&self, loaded: &Loaded) -> Result<Scene, Failure> {
        scene(loaded, &self.store, &self.agent.clock, Role::Daemon, &self.listeners).await
    }

    /// An agent that goes through orders at staging directories and installs nothing.
    pub fn rehearsal(&self, loaded: &Loaded, ids: &[LineageId]) -> Result<Rehearsal, Failure> {
        let scene = self.agent.scene();
        let store: Arc<dyn Store> = Arc::new(ScratchStore::over(self.store.clone()));
        let mut wanted = Wanted { solvers: scene.wanted.solvers.clone(), ..Wanted::default() };
        let mut cas: BTreeMap<IssuerId, Arc<dyn Ca>> = BTreeMap::new();
        let mut without_staging = Vec::new();
        for id in ids {
            let Some(spec) = scene.wanted.lineages.get(id) else { continue };
            let issuer = spec.issuer().and_then(|issuer| loaded.resolved.wanted.issuers.get(issuer));
            let Some((issuer, staging)) = issuer.and_then(|issuer| Some((issuer, issuer.staging.clone()?)))
            else {
                without_staging.push(id.clone());
                continue;
            };
            let name = IssuerId::parse(&format!("{}-rehearsal", issuer.id))
                .map_err(|bad| Failure::broken("issuer-name", bad.to_string()))?;
            if !cas.contains_key(&name) {
                let staged =
                    IssuerSpec { id: name.clone(), directory: staging, staging: None, ..issuer.clone() };
                cas.insert(name.clone(), self::issuer(&staged, store.clone(), &self.agent.clock)?);
            }
            let spec = crate::core::spec::LineageSpec {
                issuers: vec![name],
                hooks: Vec::new(),
                endpoints: Vec::new(),
                outputs: Vec::new(),
                rights: crate::core::spec::Rights::default(),
                ..spec.clone()
            };
            wanted.lineages.insert(id.clone(), spec);
        }
        let ids = wanted.lineages.keys().cloned().collect();
        let scene = Scene {
            wanted: Arc::new(wanted),
            live_dir: PathBuf::from(REHEARSAL),
            cas,
            solvers: scene.solvers.clone(),
            hooks: BTreeMap::new(),
        };
        let (disk, model) = Disk::model();
        model.make_dirs(Path::new(REHEARSAL), 0o755);
        let parts = Parts {
            store,
            probe: self.agent.probe.clone(),
            sink: self.telemetry.clone() as Arc<dyn Sink>,
            clock: self.agent.clock.clone(),
            disk,
            keys: Keys::random(),
        };
        Ok(Rehearsal { agent: Arc::new(Agent::new(parts, scene)), ids, without_staging })
    }

    /// What can be known of these without a CA: state writable, solvers able.
    pub async fn check_locally(&self, ids: &[LineageId]) -> Vec<(LineageId, Result<(), Failure>)> {
        let scene = self.agent.scene();
        let mut found = Vec::new();
        for id in ids {
            let Some(spec) = scene.wanted.lineages.get(id) else { continue };
            let mut checked = self.agent.store.writable().await.map_err(|error| store_failure(&error));
            for solver in &spec.solvers {
                if checked.is_ok()
                    && let Some(solver) = scene.solvers.get(solver)
                {
                    checked = solver.able().await;
                }
            }
            found.push((id.clone(), checked));
        }
        found
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
    async fn census(&self) -> Result<Census, Failure> {
        let mut ids: BTreeSet<_> = self.agent.scene().wanted.lineages.keys().cloned().collect();
        ids.extend(self.known().await?);
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            if let Ok(survey) = self.agent.survey(&id).await {
                rows.push(survey.row);
            }
        }
        Ok(Census { at: self.agent.clock.now(), rows })
    }

    /// How everything stands.
    pub async fn report(&self) -> Result<Report, Failure> {
        let mut lines = Vec::new();
        self.judge_rest(&BTreeSet::new(), |line| lines.push(line)).await?;
        Ok(Report::new(self.agent.clock.now(), lines))
    }

    /// Looks at every lineage that is not among `judged`.
    async fn judge_rest(&self, judged: &BTreeSet<String>, mut take: impl FnMut(Line)) -> Result<(), Failure> {
        let scene = self.agent.scene();
        let mut ids: BTreeSet<_> = scene.wanted.lineages.keys().cloned().collect();
        ids.extend(self.known().await?);
        ids.extend(scene.wanted.broken.keys().cloned());
        for id in ids.into_iter().filter(|id| !judged.contains(id.as_str())) {
            take(if let Some(why) = scene.wanted.broken.get(&id) {
                Line::broken(id.as_str(), why)
            } else {
                match self.agent.survey(&id).await {
                    Ok(survey) => Line::of(&survey),
                    Err(failure) => Line::unreadable(id.as_str(), &failure),
                }
            });
        }
        Ok(())
    }

    /// Writes the public status file and the metrics file, where there is a place for them; what
    /// stands in `sheet` is of a pass that has just ended and is not read again. Neither file is
    /// worth failing for.
    pub async fn write_status(&self, mut sheet: Sheet) {
        if self.agent.disk.stat(&self.settings.run_dir).is_ok()
            && self.judge_rest(&sheet.names(), |line| sheet.push(&line)).await.is_ok()
        {
            let path = self.settings.run_dir.join(STATUS_FILE);
            let text = sheet.into_report(self.agent.clock.now());
            let ops = layout::replace(&path, Content::new(text), FileRights::mode(0o644));
            if let Err(error) = self.agent.disk.run(ops).await {
                tracing::debug!(%error, "the public status file was not written");
            }
        }
        if let Some(path) = &self.settings.textfile {
            // A daemon reports its census as it goes; a verb knows of what it was asked to do
            // only, and the file is about everything.
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
}

/// Under the run directory; readable by everybody.
pub const STATUS_FILE: &str = "status.json";

/// What the daemon last published, for users who may not read the state.
pub fn public_report(places: &Places, loaded: Option<&Loaded>) -> Option<Report> {
    let run_dir = loaded
        .map(|loaded| loaded.settings.run_dir.clone())
        .or_else(|| places.run_dir.clone())
        .unwrap_or_else(|| AgentSettings::default().run_dir);
    let content = Disk::real().read(&run_dir.join(STATUS_FILE), STATUS_MAX).ok()?;
    let report: Report = serde_json::from_slice(content.bytes()).ok()?;
    let stale = crate::cli::is_stale(report.at, Clock::wall().now());
    (!stale).then_some(report)
}

/// Largest status file, in bytes: 10,000 certificates take about 15 MiB.
const STATUS_MAX: usize = 64 << 20;

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

async fn scene(
    loaded: &Loaded,
    store: &Arc<DirStore>,
    clock: &Clock,
    role: Role,
    listeners: &Listeners,
) -> Result<Scene, Failure> {
    let wanted = loaded.resolved.wanted.clone();
    let mut cas: BTreeMap<IssuerId, Arc<dyn Ca>> = BTreeMap::new();
    let asked = |id: &IssuerId| wanted.lineages.values().any(|spec| spec.issuers.contains(id));
    for spec in wanted.issuers.values().filter(|spec| asked(&spec.id)) {
        cas.insert(spec.id.clone(), issuer(spec, store.clone(), clock)?);
    }
    let mut solvers: BTreeMap<SolverId, Arc<dyn Solver>> = BTreeMap::new();
    for spec in wanted.solvers.values() {
        let used = wanted.lineages.values().any(|lineage| lineage.solvers.contains(&spec.id));
        if let Some(solver) = solver(spec, loaded, store, clock, role, used, listeners).await? {
            solvers.insert(spec.id.clone(), solver);
        }
    }
    let mut hooks = BTreeMap::new();
    for spec in wanted.hooks.values() {
        hooks.insert(spec.id.clone(), crate::hook::build(spec, clock)?);
    }
    Ok(Scene { live_dir: loaded.settings.live_dir.clone(), wanted, cas, solvers, hooks })
}

/// One CA with its account in `store`.
pub fn issuer(spec: &IssuerSpec, store: Arc<dyn Store>, clock: &Clock) -> Result<Arc<dyn Ca>, Failure> {
    let roots = match &spec.ca_file {
        Some(path) => Some(Disk::real().read(Path::new(path), ROOTS_MAX).map_err(|error| {
            Failure::refused(Fault::Config, "ca-file", format!("issuer {}: ca-file {path}: {error}", spec.id))
        })?),
        None => None,
    };
    let secrets: Secrets = Arc::new(secret);
    Ok(Arc::new(AcmeCa::new(spec.clone(), store, clock.clone(), secrets, roots.as_ref())?))
}

async fn solver(
    spec: &SolverSpec,
    loaded: &Loaded,
    store: &Arc<DirStore>,
    clock: &Clock,
    role: Role,
    used: bool,
    listeners: &Listeners,
) -> Result<Option<Arc<dyn Solver>>, Failure> {
    let check =
        SelfCheck { http: spec.check_port.unwrap_or(SelfCheck::default().http), ..SelfCheck::default() };
    Ok(Some(match &spec.kind {
        SolverKind::Webroot { root } => Arc::new(WebrootSolver::new(
            spec.id.clone(),
            Path::new(root),
            &loaded.settings.state_dir,
            check,
            clock,
        )?),
        SolverKind::Http { listen } => {
            let solver = listeners.obtain(spec, listen, || {
                Http01Solver::new(spec.id.clone(), listen.clone(), store.clone(), check, clock)
            });
            if role == Role::Daemon
                && used
                && let Err(failure) = solver.listen().await
            {
                // Tried again with every answer; a web server may pass the path on meanwhile.
                tracing::warn!(solver = %spec.id, %failure, "the challenge listener did not start");
            }
            solver
        }
    }))
}

impl Listeners {
    fn obtain(
        &self,
        spec: &SolverSpec,
        listen: &Listen,
        make: impl FnOnce() -> Http01Solver,
    ) -> Arc<Http01Solver> {
        let key = (spec.id.clone(), format!("{listen:?} {:?}", spec.check_port));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One address for one solver: what listened elsewhere for it before closes when its last
        // user is gone.
        known.retain(|(id, place), _| *id != spec.id || *place == key.1);
        known.entry(key).or_insert_with(|| Arc::new(make())).clone()
    }
}

/// Reads a secret where the configuration says it is. Its text never gets into a message.
pub fn secret(source: &SecretSource) -> Result<Content, Failure> {
    let missing = |what: String| Failure::refused(Fault::Config, "secret-missing", what);
    let from_file = |path: &Path| {
        let content = Disk::real()
            .read(path, SECRET_MAX)
            .map_err(|error| missing(format!("the secret file {}: {error}", path.display())))?;
        let text = content.bytes().trim_ascii().to_vec();
        if text.is_empty() {
            return Err(missing(format!("the secret file {} is empty", path.display())));
        }
        Ok(Content::new(text))
    };
    match source {
        SecretSource::File(path) => from_file(Path::new(path)),
        SecretSource::Env(name) => match std::env::var(name) {
            Ok(value) if !value.trim().is_empty() => Ok(Content::new(value.trim().as_bytes().to_vec())),
            _ => Err(missing(format!("the environment variable {name} is not set, or is empty"))),
        },
        SecretSource::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(dir) => from_file(&Path::new(&dir).join(name)),
            None => Err(missing(format!(
                "the credential {name} is asked for, but $CREDENTIALS_DIRECTORY is not set: use LoadCredential={name}:… in the unit"
            ))),
        },
    }
}

/// Longest time between two writes of the public status file while nothing changes for it.
pub const STATUS_EVERY: Span = Span::MINUTE;

/// Tells when a file of the configuration was written, where `watch-config` asks for it.
pub struct ConfigWatch(Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>);

impl ConfigWatch {
    /// Editors and Kubernetes replace files by rename, so directories are watched.
    pub fn new(loaded: &Loaded) -> Result<Self, Failure> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags};
        if !loaded.settings.watch_config {
            return Ok(Self(None));
        }
        let unable = |error: std::io::Error| {
            Failure::refused(
                Fault::Host,
                "no-watch",
                format!(
                    "the configuration can't be watched: {error}; set watch-config = false and reload by signal"
                ),
            )
        };
        let watch = rustix::fs::inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|error| unable(error.into()))?;
        let events =
            WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
        let dir = loaded.file.parent().unwrap_or(Path::new("."));
        rustix::fs::inotify::add_watch(&watch, dir, events).map_err(|error| unable(error.into()))?;
        let fragments = dir.join("conf.d");
        match rustix::fs::inotify::add_watch(&watch, &fragments, events) {
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(unable(error.into())),
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd is one descriptor until it is dropped"
        )]
        tokio::io::unix::AsyncFd::new(watch).map(|watch| Self(Some(watch))).map_err(unable)
    }

    /// Resolves after a change, once it has been quiet for [`CONFIG_QUIET`].
    pub async fn changed(&mut self) {
        let Some(watch) = &mut self.0 else { return std::future::pending().await };
        let Ok(mut ready) = watch.readable_mut().await else { return std::future::pending().await };
        // An editor writes several times; what counts is the end of it.
        tokio::time::sleep(CONFIG_QUIET.to_std()).await;
        let mut buffer = [const { std::mem::MaybeUninit::<u8>::uninit() }; 4096];
        let mut events = rustix::fs::inotify::Reader::new(ready.get_inner(), &mut buffer);
        // Which file it was does not matter: all are read again.
        while events.next().is_ok() {}
        ready.clear_ready();
    }
}

/// How long a changed configuration must be left alone before it is read.
const CONFIG_QUIET: Span = Span::from_millis(300);

/// The log of verbs that print their own answer: what happened to lineages is in that answer.
const QUIET: &str = "warn,nolapse::event=off";
