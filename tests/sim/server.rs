//! The program that serves the certificates: it knows what it read at its last successful reload,
//! and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nolapse::codec::bundle;
use nolapse::core::layout::Content;
use nolapse::core::leaf::{Fingerprint, Leaf};
use nolapse::core::name::SubjectName;
use nolapse::sys::disk::Disk;

/// Largest file that the server reads, in bytes.
const FILE_MAX: usize = 1 << 20;

pub struct Server {
    disk: Disk,
    /// The names of its sites and `live/NAME` of each, as its configuration has them.
    sites: Vec<(SubjectName, PathBuf)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What each site serves.
    serves: Vec<Option<Arc<Leaf>>>,
    /// What was ever loaded.
    loaded: BTreeSet<Fingerprint>,
    /// The pair of each site that was read last, and its leaf.
    read: BTreeMap<usize, (Pair, Arc<Leaf>)>,
}

/// Chain and key as they lie on disk.
type Pair = (Content, Content);

impl Server {
    pub fn new(disk: Disk, sites: Vec<(SubjectName, PathBuf)>) -> Self {
        let state = State { serves: vec![None; sites.len()], ..State::default() };
        Self { disk, sites, state: Mutex::new(state) }
    }

    /// The pair that a reload would load for the first site.
    pub fn pair(&self) -> Result<Leaf, String> {
        self.pair_of(0).map(|leaf| Leaf::clone(&leaf))
    }

    /// Read as servers do: two files, one after the other.
    fn pair_of(&self, site: usize) -> Result<Arc<Leaf>, String> {
        let read = |name: &str| -> Result<Content, String> {
            let path = self.sites[site].1.join(name);
            self.disk.read(&path, FILE_MAX).map_err(|error| format!("{}: {error}", path.display()))
        };
        let pair = (read("fullchain.pem")?, read("privkey.pem")?);
        if let Some((_, leaf)) =
            self.state.lock().unwrap().read.get(&site).filter(|(known, _)| *known == pair)
        {
            return Ok(leaf.clone());
        }
        let leaf = bundle::pair_of(pair.0.bytes(), pair.1.bytes()).map_err(|error| error.to_string())?;
        let leaf = Arc::new(leaf);
        self.state.lock().unwrap().read.insert(site, (pair, leaf.clone()));
        Ok(leaf)
    }

    /// What a reload would load. One site that can't be read keeps all from being loaded, save one
    /// that never had a certificate: that one is not in the server's configuration yet.
    fn pairs(&self) -> Result<Vec<Option<Arc<Leaf>>>, String> {
        let serves = self.state.lock().unwrap().serves.clone();
        let had = |site: usize| serves[site].is_some();
        let exists = |site: usize| self.disk.stat(&self.sites[site].1.join("fullchain.pem")).is_ok();
        let all = (0..self.sites.len())
            .map(|site| if had(site) || exists(site) { self.pair_of(site).map(Some) } else { Ok(None) })
            .collect::<Result<Vec<_>, _>>()?;
        if all.iter().all(Option::is_none) {
            return self.pair().map(|_| all);
        }
        Ok(all)
    }

    /// Sites of which there is another pair to be loaded than the one that they serve.
    pub fn new_pairs(&self) -> Result<Vec<&SubjectName>, String> {
        let pairs = self.pairs()?;
        let serves = &self.state.lock().unwrap().serves;
        let print = |leaf: &Option<Arc<Leaf>>| leaf.as_ref().map(|leaf| leaf.fingerprint);
        let sites = self.sites.iter().zip(pairs.iter().zip(serves));
        Ok(sites.filter(|(_, (new, old))| print(new) != print(old)).map(|((name, _), _)| name).collect())
    }

    /// Loads what is on disk, or keeps what it has.
    pub fn reload(&self) -> Result<(), String> {
        let pairs = self.pairs()?;
        let mut state = self.state.lock().unwrap();
        state.loaded.extend(pairs.iter().flatten().map(|leaf| leaf.fingerprint));
        state.serves = pairs;
        Ok(())
    }

    /// After a power cut: what is on disk, or nothing.
    pub fn boot(&self) {
        let pairs = (0..self.sites.len()).map(|site| self.pair_of(site).ok()).collect();
        self.state.lock().unwrap().serves = pairs;
    }

    /// What the first site serves.
    pub fn serves(&self) -> Option<Arc<Leaf>> {
        self.serves_at(0)
    }

    pub fn serves_at(&self, site: usize) -> Option<Arc<Leaf>> {
        self.state.lock().unwrap().serves[site].clone()
    }

    /// What a client gets that asks for this name: the first site where it is none of ours.
    pub fn answers(&self, name: Option<&SubjectName>) -> Option<Arc<Leaf>> {
        self.serves_at(self.sites.iter().position(|(site, _)| Some(site) == name).unwrap_or(0))
    }

    /// Whether this leaf was ever loaded by a reload.
    pub fn loaded(&self, leaf: &Fingerprint) -> bool {
        self.state.lock().unwrap().loaded.contains(leaf)
    }
}
