//! The program that serves the certificate: it knows what it read at its last successful reload,
//! and nothing else.

use std::path::PathBuf;
use std::sync::Mutex;

use nolapse::codec::bundle;
use nolapse::core::layout::Content;
use nolapse::core::leaf::{Fingerprint, Leaf};
use nolapse::core::time::Timestamp;
use nolapse::sys::disk::Disk;

/// Largest file that the server reads, in bytes.
const FILE_MAX: usize = 1 << 20;

pub struct Server {
    disk: Disk,
    /// `live/NAME`, as its configuration names it.
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    serves: Option<Leaf>,
    reloads: Vec<(Timestamp, Fingerprint)>,
}

impl Server {
    pub fn new(disk: Disk, dir: PathBuf) -> Self {
        Self { disk, dir, state: Mutex::default() }
    }

    /// The pair that a reload would load, read as servers do: two files, one after the other.
    pub fn pair(&self) -> Result<Leaf, String> {
        let read = |name: &str| -> Result<Content, String> {
            self.disk.read(&self.dir.join(name), FILE_MAX).map_err(|error| format!("{name}: {error}"))
        };
        let (chain, key) = (read("fullchain.pem")?, read("privkey.pem")?);
        bundle::pair_of(chain.bytes(), key.bytes()).map_err(|error| error.to_string())
    }

    /// Loads what is on disk, or keeps what it has.
    pub fn reload(&self, now: Timestamp) -> Result<(), String> {
        let leaf = self.pair()?;
        let mut state = self.state.lock().unwrap();
        state.reloads.push((now, leaf.fingerprint));
        state.serves = Some(leaf);
        Ok(())
    }

    /// After a power cut: what is on disk, or nothing.
    pub fn boot(&self) {
        self.state.lock().unwrap().serves = self.pair().ok();
    }

    pub fn serves(&self) -> Option<Leaf> {
        self.state.lock().unwrap().serves.clone()
    }

    /// Whether this leaf was ever loaded by a reload.
    pub fn loaded(&self, leaf: &Fingerprint) -> bool {
        self.state.lock().unwrap().reloads.iter().any(|(_, loaded)| loaded == leaf)
    }
}
