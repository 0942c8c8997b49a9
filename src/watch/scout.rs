//! A look around the host: servers' configurations, the usual directories, other tools' trees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{expand, read, sockets};
use crate::codec::renewers;
use crate::codec::servers::{self, Texts};
use crate::core::discovery::{Lying, Sightings};
use crate::core::specimen::{Obstacle, Specimen, Unread};
use crate::core::usage::{Renewer, Server};
use crate::ports::{Reply, Scout, Scouted};
use crate::sys::disk::Disk;

/// Looks below a root: that of this host, or of a container or an image.
pub struct HostScout {
    disk: Disk,
    root: PathBuf,
    /// Where our own certificates lie.
    live_dir: PathBuf,
    ports: Option<Vec<u16>>,
}

/// Where certificates are kept by habit: the usual directories, then tools' trees.
const PLACES: [&str; 22] = [
    "/etc/ssl",
    "/etc/pki/tls",
    "/etc/tls",
    "/etc/nginx",
    "/etc/apache2",
    "/etc/httpd",
    "/etc/haproxy",
    "/etc/postfix",
    "/etc/dovecot",
    "/etc/exim4",
    "/etc/mosquitto",
    "/etc/letsencrypt/live",
    "/etc/dehydrated/certs",
    "/var/lib/dehydrated/certs",
    "/var/lib/acme/live",
    "/var/lib/caddy/.local/share/caddy/certificates",
    "/root/.local/share/caddy/certificates",
    "/root/.lego/certificates",
    "/var/lib/lego/certificates",
    "/root/.acme.sh",
    "/var/run/secrets",
    "/usr/local/etc/ssl",
];
/// Users' own trees.
const HOMES: [&str; 2] = ["/home/*/.lego/certificates", "/home/*/.acme.sh"];

impl HostScout {
    /// `ports`: whose listeners are looked for, which are of this host whatever the root; `None`: of
    /// none, an empty list: of all.
    pub fn new(disk: Disk, root: PathBuf, live_dir: PathBuf, ports: Option<Vec<u16>>) -> Self {
        Self { disk, root, live_dir, ports }
    }

    fn look(&self) -> Scouted {
        let mut host = Below { disk: &self.disk, root: &self.root, budget: expand::ENTRIES_MAX };
        let usages: Vec<_> =
            Server::ALL.into_iter().flat_map(|server| servers::usages(server, &mut host)).collect();
        let mut sightings = Sightings::default();
        let mut seen = BTreeSet::new();
        let mut gone: BTreeMap<String, Unread> = BTreeMap::new();
        for usage in &usages {
            if !seen.insert(usage.certificate.clone()) {
                continue;
            }
            let path = Path::new(&usage.certificate);
            match self.read(path, usage.key.as_deref()) {
                Ok(specimen) => sightings.files.push(self.lying(path, specimen)),
                Err(unread) => drop(gone.insert(usage.certificate.clone(), unread)),
            }
        }
        let mut trees: Vec<PathBuf> = PLACES.map(PathBuf::from).to_vec();
        trees.push(self.live_dir.clone());
        trees.extend(HOMES.iter().flat_map(|home| host.matching(home)).map(PathBuf::from));
        for tree in trees {
            let mut files = Vec::new();
            // What is not there, or closed, is nobody's news: these places are guesses.
            let _ = expand::walk(&self.disk, &host.inside(&tree), 0, &mut host.budget, &mut files);
            for file in files.into_iter().take(expand::FILES_MAX) {
                let path = host.outside(&file);
                let shown = path.display().to_string();
                if !seen.insert(shown) {
                    continue;
                }
                match self.read(&path, None) {
                    Ok(specimen) if !specimen.authority => sightings.files.push(self.lying(&path, specimen)),
                    _ => {}
                }
            }
        }
        sightings.unread = usages
            .iter()
            .filter_map(|usage| Some((usage.clone(), gone.get(&usage.certificate)?.clone())))
            .collect();
        sightings.usages = usages;
        let mut listening = if self.ports.is_some() { sockets::listening() } else { Vec::new() };
        let asked = self.ports.as_deref().unwrap_or_default();
        listening.retain(|socket| asked.is_empty() || asked.contains(&socket.address.port()));
        Scouted { sightings, listening }
    }

    fn read(&self, path: &Path, key: Option<&str>) -> Result<Specimen, Unread> {
        let below = Below { disk: &self.disk, root: &self.root, budget: 0 };
        let key = key.map(|key| below.inside(Path::new(key)).display().to_string());
        read::known(&self.disk, &below.inside(path), key.as_deref(), None).found
    }

    fn lying(&self, path: &Path, specimen: Specimen) -> Lying {
        Lying { path: expand::shown(path), renewer: self.renewer(path), specimen }
    }

    /// By where it lies, then by where a link leads.
    fn renewer(&self, path: &Path) -> Option<Renewer> {
        let below = Below { disk: &self.disk, root: &self.root, budget: 0 };
        let target = self.disk.resolve(&below.inside(path)).ok().map(|target| below.outside(&target));
        for path in std::iter::once(path.to_owned()).chain(target) {
            if path.starts_with(&self.live_dir) {
                let evidence = self.live_dir.display().to_string();
                return Some(Renewer { tool: "nolapse", evidence });
            }
            let there =
                |trace: &renewers::Trace| self.disk.stat(&below.inside(Path::new(&trace.evidence))).is_ok();
            if let Some(trace) = renewers::traces(&path).into_iter().find(there) {
                return Some(Renewer {
                    tool: trace.tool,
                    evidence: expand::shown(Path::new(&trace.evidence)),
                });
            }
        }
        None
    }
}

impl Scout for HostScout {
    fn scout(&self) -> Reply<'_, Scouted> {
        let scout = Self {
            disk: self.disk.clone(),
            root: self.root.clone(),
            live_dir: self.live_dir.clone(),
            ports: self.ports.clone(),
        };
        Box::pin(async move { tokio::task::spawn_blocking(move || scout.look()).await.unwrap_or_default() })
    }
}

/// Files as they are called below a root.
struct Below<'a> {
    disk: &'a Disk,
    root: &'a Path,
    /// Entries of directories that may still be looked at.
    budget: usize,
}

impl Below<'_> {
    fn inside(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_owned(), |rest| self.root.join(rest))
    }

    fn outside(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.root).map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
    }
}

impl Texts for Below<'_> {
    fn text(&mut self, path: &str) -> Option<String> {
        let content = self.disk.read(&self.inside(Path::new(path)), servers::TEXT_MAX).ok()?;
        String::from_utf8(content.into_bytes()).ok()
    }

    fn matching(&mut self, pattern: &str) -> Vec<String> {
        let inside = self.inside(Path::new(pattern));
        let Some(inside) = inside.to_str() else { return Vec::new() };
        let found: Result<_, Unread> = match expand::matches(self.disk, inside, &mut self.budget) {
            Err(Unread { why: Obstacle::Missing, .. }) => Ok(Vec::new()),
            other => other,
        };
        let mut found = found.unwrap_or_default();
        found.sort();
        found.iter().filter_map(|path| self.outside(path).to_str().map(str::to_owned)).collect()
    }
}
