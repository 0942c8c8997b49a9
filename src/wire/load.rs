//! Reading the configuration: files into [`Loaded`].

use std::path::{Path, PathBuf};

use crate::config::{self, AgentSettings, Problem, Resolved, Source};
use crate::core::failure::{Failure, Fault};
use crate::sys::disk::Disk;
use crate::wire::places::{LogForm, Places};

/// Where the configuration is looked for.
pub const CONFIG: &str = "/etc/nolapse/nolapse.toml";
/// There while systemd runs this host (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";
const UNIT_DIRS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const CHECK_UNIT: &str = "nolapse-check@.service";
/// Largest configuration file, in bytes.
const CONFIG_MAX: usize = 16 << 20;

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

/// Why there is nothing to work with.
pub enum Unusable {
    /// A file can't be read.
    Failure(Failure),
    /// It was read and has errors; all of them, warnings too.
    Problems(Vec<Problem>),
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Reads the configuration. Its warnings are in what is returned.
pub fn load(places: &Places) -> Result<Loaded, Unusable> {
    let file = config_file(places);
    let sources = read_sources(&file)?;
    let resolved = config::resolve(&sources, &facts(places));
    if resolved.fatal() {
        return Err(Unusable::Problems(resolved.problems));
    }
    let settings = resolved.agent.clone();
    let log = LogChoice { form: places.log_format, level: places.log.clone() };
    Ok(Loaded { file, resolved, settings, log })
}

/// Reads it again for a running daemon: a bad one changes nothing.
pub fn reload(loaded: &Loaded, places: &Places) -> Result<Loaded, Failure> {
    let unusable = |words: String| Failure::refused(Fault::Config, "configuration-bad", words);
    let sources = read_sources(&loaded.file)?;
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
pub fn read_sources(file: &Path) -> Result<Vec<Source>, Failure> {
    let disk = Disk::real();
    let unreadable = |path: &Path, error: &std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound if path == file => "; nolapse init writes a first one",
            std::io::ErrorKind::NotFound => "; remove it, or mend the link",
            std::io::ErrorKind::PermissionDenied => "; run it as root or as the user that nolapse runs as",
            _ => "",
        };
        Failure::refused(
            Fault::Config,
            "configuration-unreadable",
            format!("{}: {error}{hint}", path.display()),
        )
    };
    let text = |path: &Path| -> Result<String, Failure> {
        let content = disk.read(path, CONFIG_MAX).map_err(|error| unreadable(path, &error))?;
        String::from_utf8(content.into_bytes()).map_err(|_| {
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
    // A shell's paths begin where its user is.
    let typed = |dir: &Option<PathBuf>| {
        dir.as_ref().map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone()))
    };
    config::Facts {
        forced: config::Places {
            state_dir: typed(&places.state_dir),
            live_dir: typed(&places.live_dir),
            run_dir: typed(&places.run_dir),
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
