//! `[agent]`: the agent's own places and manners.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::problem::Problems;
use super::raw::Section;
use super::table::{LOG_FORMAT_WORDS, LOG_LEVEL_WORDS};
use super::value::{self, Url};
use crate::core::name::BadName;

/// What the configuration can't know by itself. Paths are absolute; the caller asks the flags
/// and the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// From flags and `NOLAPSE_*`: stronger than the file.
    pub forced: Places,
    /// From `STATE_DIRECTORY` and its like: weaker than the file.
    pub fallback: Places,
    /// The packaged units `nolapse-check@.service` are here: services are checked through them,
    /// as root, because `nginx -t` and others open files that are root's alone.
    pub check_units: bool,
}

/// Directories, where something is known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub state_dir: Option<PathBuf>,
    pub live_dir: Option<PathBuf>,
    pub run_dir: Option<PathBuf>,
}

/// `[agent]`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    pub state_dir: PathBuf,
    pub live_dir: PathBuf,
    pub run_dir: PathBuf,
    pub metrics: Option<MetricsListen>,
    /// The operator means other hosts to reach `metrics`.
    pub metrics_open: bool,
    /// A page for people beside the metrics.
    pub status_page: bool,
    /// Metrics as a file for Prometheus' node exporter.
    pub textfile: Option<PathBuf>,
    /// `http://` or `https://`, without credentials. Already given to issuers without their own.
    pub proxy: Option<String>,
    pub watch_config: bool,
    /// Asked for what the world sees of names, before an attempt and by `doctor`; those of the system
    /// where there are none.
    pub resolvers: Vec<SocketAddr>,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from(STATE_DIR),
            live_dir: PathBuf::from(STATE_DIR).join(LIVE),
            run_dir: PathBuf::from(RUN_DIR),
            metrics: None,
            metrics_open: false,
            status_page: false,
            textfile: None,
            proxy: None,
            watch_config: false,
            resolvers: Vec::new(),
            log_format: LogFormat::default(),
            log_level: LogLevel::default(),
        }
    }
}

/// Where `/metrics` and the health pages are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsListen {
    Address(SocketAddr),
    Unix(PathBuf),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal's way under systemd, else text.
    #[default]
    Auto,
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogFormat {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    fn of(word: &str) -> Self {
        [Self::Text, Self::Json].into_iter().find(|format| format.word() == word).unwrap_or_default()
    }
}

impl LogLevel {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    fn of(word: &str) -> Self {
        [Self::Error, Self::Warn, Self::Debug, Self::Trace]
            .into_iter()
            .find(|level| level.word() == word)
            .unwrap_or_default()
    }
}

const STATE_DIR: &str = "/var/lib/nolapse";
const RUN_DIR: &str = "/run/nolapse";
/// Below the state directory, where no other place is named.
const LIVE: &str = "live";

pub(super) fn resolve(section: &Section<'_>, facts: &Facts, problems: &mut Problems) -> AgentSettings {
    let mut directory = |key: &str| section.parsed(key, "bad-path", value::path, problems).map(PathBuf::from);
    let (state, live, run) = (directory("state-dir"), directory("live-dir"), directory("run-dir"));
    let first = |forced: &Option<PathBuf>, written: Option<PathBuf>, fallback: &Option<PathBuf>| {
        forced.clone().or(written).or_else(|| fallback.clone())
    };
    let (forced, fallback) = (&facts.forced, &facts.fallback);
    let state_dir = first(&forced.state_dir, state, &fallback.state_dir).unwrap_or_else(|| STATE_DIR.into());
    let live_dir = first(&forced.live_dir, live, &fallback.live_dir).unwrap_or_else(|| state_dir.join(LIVE));
    let run_dir = first(&forced.run_dir, run, &fallback.run_dir).unwrap_or_else(|| RUN_DIR.into());
    if state_dir.starts_with(&live_dir) {
        let spot = section.find("live-dir").map_or_else(|| section.head.clone(), |found| found.spot);
        problems.error_hint(
            &spot,
            "overlapping-places",
            "the live directory is open to programs, and the state directory inside it holds the keys",
            "leave `live-dir` out, or name a directory apart from `state-dir`",
        );
    }
    let metrics_open = section.flag("metrics-open", problems).unwrap_or(false);
    let metrics = section.parsed("metrics", "bad-address", metrics_listen, problems);
    if let (Some(MetricsListen::Address(address)), Some(word)) = (&metrics, section.text("metrics", problems))
        && !address.ip().is_loopback()
        && !metrics_open
    {
        problems.warning(
            &word.spot,
            "metrics-exposed",
            "other hosts can read the metrics, which name every certificate",
            "listen on 127.0.0.1 or a Unix socket, or say `metrics-open = true` if that is meant",
        );
    }
    let status_page = section.flag("status-page", problems).unwrap_or(false);
    if status_page && metrics.is_none() && section.find("metrics").is_none() {
        let spot = section.find("status-page").map_or_else(|| section.head.clone(), |found| found.spot);
        problems.warning(
            &spot,
            "page-nowhere",
            "there is nothing that would serve the status page",
            "say where to listen, as in `metrics = \"127.0.0.1:9464\"`",
        );
    }
    AgentSettings {
        state_dir,
        live_dir,
        run_dir,
        metrics,
        metrics_open,
        status_page,
        textfile: section.parsed("textfile", "bad-path", value::file_path, problems).map(PathBuf::from),
        proxy: proxy(section, problems),
        watch_config: section.flag("watch-config", problems).unwrap_or(false),
        resolvers: super::dns::addresses(section, "resolvers", problems).unwrap_or_default(),
        log_format: section
            .choice("log-format", LOG_FORMAT_WORDS, problems)
            .map(LogFormat::of)
            .unwrap_or_default(),
        log_level: section
            .choice("log-level", LOG_LEVEL_WORDS, problems)
            .map(LogLevel::of)
            .unwrap_or_default(),
    }
}

/// The `proxy` key, which issuers have too.
pub(super) fn proxy(section: &Section<'_>, problems: &mut Problems) -> Option<String> {
    section.parsed("proxy", "bad-url", |text| Url::parse(text).map(|_| text.to_owned()), problems)
}

fn metrics_listen(text: &str) -> Result<MetricsListen, BadName> {
    if text.starts_with('/') {
        return value::file_path(text).map(|path| MetricsListen::Unix(path.into()));
    }
    value::address(text).map(MetricsListen::Address)
}
