//! `nolapse discover`: every certificate of this host, who serves it, who renews it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::args::Discover;
use crate::cli::watched::Blemish;
use crate::cli::{Exit, Stop, draft, print};
use crate::codec::transparency::domains;
use crate::config::AgentSettings;
use crate::core::discovery::{Discovered, Sightings};
use crate::core::gravity::Gravity;
use crate::core::name::SubjectName;
use crate::core::time::{Span, Timestamp};
use crate::sys::clock::Clock;
use crate::wire::{self, Loaded, Places};

pub const VERSION: u32 = 1;
/// Domains that a source of names is asked about.
const DOMAINS_MAX: usize = 50;
/// Names shown that nobody here has a certificate for.
const ELSEWHERE_MAX: usize = 1_000;

pub fn run(places: &Places, discover: &Discover) -> Result<Exit, Stop> {
    // Useful before there is a configuration; a broken one has its own verb.
    let loaded = wire::load(places).ok();
    let live_dir =
        loaded.as_ref().map_or_else(|| AgentSettings::default().live_dir, |l| l.settings.live_dir.clone());
    let root = discover.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    // Another root's servers listen elsewhere.
    let ports = (discover.root.is_none() || !discover.port.is_empty()).then(|| discover.port.clone());
    let clock = Clock::wall();
    let (found, unread, elsewhere) = wire::runtime()?.block_on(async {
        let mut sightings = wire::sightings(&root, &live_dir, ports, &clock).await;
        let unread = std::mem::take(&mut sightings.unread);
        let found = sightings.gathered(clock.now());
        let elsewhere = elsewhere(loaded.as_ref(), &found, &clock).await;
        (found, unread, elsewhere)
    });
    let report = Report::new(clock.now(), &found, &Sightings { unread, ..Sightings::default() }, elsewhere);
    if discover.json {
        print::json(&report)?;
    } else {
        show(&report, discover.all);
    }
    match &discover.write {
        Some(file) => draft::write(places, file, discover.draft, &found),
        None => Ok(Exit::Fine),
    }
}

/// Names that a source knows certificates for, and that none of those found here covers. A source
/// that fails is said, and takes nothing away from what was found.
async fn elsewhere(loaded: Option<&Loaded>, found: &[Discovered], clock: &Clock) -> Vec<String> {
    let Some(source) = loaded.and_then(|loaded| loaded.resolved.transparency.as_ref()) else {
        return Vec::new();
    };
    let mut asked = domains(found.iter().flat_map(|each| &each.specimen.leaf.names));
    if asked.len() > DOMAINS_MAX {
        print::note(&format!("{} domains are too many to ask about; {DOMAINS_MAX} are", asked.len()));
        asked.truncate(DOMAINS_MAX);
    }
    if asked.is_empty() {
        return Vec::new();
    }
    match wire::issued_names(source, &asked, clock).await {
        Ok(names) => {
            let here = |name: &SubjectName| found.iter().any(|each| each.specimen.leaf.covers(name));
            names.iter().filter(|name| !here(name)).take(ELSEWHERE_MAX).map(ToString::to_string).collect()
        }
        Err(failure) => {
            print::error(&failure.to_string());
            Vec::new()
        }
    }
}

/// One look around; the schema is described in docs/guide/discovering.md.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    version: u32,
    at: Timestamp,
    certificates: Vec<Certificate>,
    unread: Vec<Unread>,
    elsewhere: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Certificate {
    fingerprint: String,
    names: Vec<String>,
    issuer: String,
    self_signed: bool,
    not_before: Timestamp,
    /// The first end among leaf and chain.
    not_after: Timestamp,
    days_left: i64,
    files: Vec<String>,
    used_by: Vec<User>,
    served_at: Vec<Port>,
    renewed_by: Option<Renewer>,
    blemishes: Vec<Blemish>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    server: String,
    origin: String,
    names: Vec<String>,
    ports: Vec<u16>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Port {
    endpoint: String,
    process: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Renewer {
    tool: String,
    evidence: String,
}

/// A file that a server names and that gave no certificate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Unread {
    file: String,
    used_by: User,
    code: String,
    words: String,
}

impl Report {
    fn new(at: Timestamp, found: &[Discovered], rest: &Sightings, elsewhere: Vec<String>) -> Self {
        let unread = rest.unread.iter().map(|(usage, unread)| Unread {
            file: usage.certificate.clone(),
            used_by: User::of(usage),
            code: unread.why.code().to_owned(),
            words: unread.words.clone(),
        });
        Self {
            version: VERSION,
            at,
            certificates: found.iter().map(|each| Certificate::of(each, at)).collect(),
            unread: unread.collect(),
            elsewhere,
        }
    }
}

impl Certificate {
    fn of(found: &Discovered, now: Timestamp) -> Self {
        let leaf = &found.specimen.leaf;
        Self {
            fingerprint: leaf.fingerprint.to_string(),
            names: leaf.names.iter().map(ToString::to_string).collect(),
            issuer: leaf.issuer.clone(),
            self_signed: leaf.self_signed,
            not_before: leaf.not_before,
            not_after: found.ends,
            days_left: found.ends.since(now).millis().div_euclid(Span::DAY.millis()),
            files: found.files.clone(),
            used_by: found.usages.iter().map(User::of).collect(),
            served_at: found
                .ports
                .iter()
                .map(|(endpoint, process)| Port { endpoint: endpoint.to_string(), process: process.clone() })
                .collect(),
            renewed_by: found
                .renewer
                .as_ref()
                .map(|renewer| Renewer { tool: renewer.tool.to_owned(), evidence: renewer.evidence.clone() }),
            blemishes: found.blemishes.iter().map(Blemish::of).collect(),
        }
    }

    fn is_used(&self) -> bool {
        !self.used_by.is_empty() || !self.served_at.is_empty()
    }
}

impl User {
    fn of(usage: &crate::core::usage::Usage) -> Self {
        Self {
            server: usage.server.to_string(),
            origin: usage.origin.clone(),
            names: usage.names.clone(),
            ports: usage.ports.clone(),
        }
    }
}

/// Places listed of one kind for one certificate.
const PLACES_SHOWN: usize = 6;

fn show(report: &Report, all: bool) {
    let total = report.certificates.len();
    let forsaken =
        report.certificates.iter().filter(|each| each.is_used() && each.renewed_by.is_none()).count();
    let idle = report.certificates.iter().filter(|each| !each.is_used()).count();
    let noun = if total == 1 { "certificate" } else { "certificates" };
    print::line(&format!("{total} {noun}; {forsaken} in use that nobody renews, {idle} that nobody uses"));
    for each in report.certificates.iter().filter(|each| all || each.is_used()) {
        certificate(each);
    }
    if idle > 0 && !all {
        print::line("\n--all also lists those that nobody uses");
    }
    for unread in &report.unread {
        let User { server, origin, .. } = &unread.used_by;
        print::line(&format!(
            "\n{server} {origin} names {}: {}  [{}]",
            unread.file, unread.words, unread.code
        ));
    }
    if !report.elsewhere.is_empty() {
        print::line(&format!("\nissued, and not found here: {}", report.elsewhere.join(", ")));
    }
}

fn certificate(each: &Certificate) {
    let name = match &each.names[..] {
        [] => format!("(no names) {}", each.fingerprint.get(..16).unwrap_or_default()),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    };
    let days = each.days_left;
    print::line(&format!("\n{name}  ends {} ({days} d)  by {}", each.not_after.brief(), each.issuer));
    match &each.renewed_by {
        Some(Renewer { tool, evidence }) => print::line(&format!("  renewed by  {tool} ({evidence})")),
        None => print::line("  renewed by  NOBODY"),
    }
    let list = |head: &str, places: Vec<String>| {
        let more = places.len().saturating_sub(PLACES_SHOWN);
        for (at, place) in places.iter().take(PLACES_SHOWN).enumerate() {
            print::line(&format!("  {:10}  {place}", if at == 0 { head } else { "" }));
        }
        if more > 0 {
            print::line(&format!("              and {more} more"));
        }
    };
    list("lies in", each.files.clone());
    list("used by", each.used_by.iter().map(|user| format!("{} {}", user.server, user.origin)).collect());
    let port = |port: &Port| match &port.process {
        Some(process) => format!("{} by {process}", port.endpoint),
        None => port.endpoint.clone(),
    };
    list("served at", each.served_at.iter().map(port).collect());
    for blemish in each.blemishes.iter().filter(|blemish| blemish.gravity > Gravity::Notice) {
        print::line(&format!("  {:10}  {}  [{}]", blemish.gravity, blemish.words, blemish.code));
    }
}

/// Where a draft belongs: a plain name means a file of `conf.d`.
pub fn draft_file(config: &Path, file: &Path) -> PathBuf {
    if file.components().count() == 1 { config.with_file_name("conf.d").join(file) } else { file.to_owned() }
}
