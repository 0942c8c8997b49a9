//! Files that somebody else keeps: found, opened without harm, read when they changed. Nothing is
//! written, and nothing that lies there can hold more than its own look up.

mod expand;
mod read;
mod scout;
mod sockets;
pub mod transparency;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::core::name::WatchId;
use crate::core::specimen::{Find, Obstacle};
use crate::core::time::Span;
use crate::core::watch::WatchSpec;
use crate::ports::{Outside, Reply};
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;

pub use self::scout::HostScout;

use self::read::Known;

/// Reads for watches, and remembers what need not be read again.
pub struct Files {
    disk: Disk,
    clock: Clock,
    known: Arc<Mutex<BTreeMap<(WatchId, PathBuf), Known>>>,
    /// Watches whose look has not ended.
    under_way: Arc<Mutex<BTreeSet<WatchId>>>,
}

/// Longest look at the files of one watch. A network file system that went away answers never.
const PATIENCE: Span = Span::secs(30);
/// Looks that may hang at once; further ones are not begun.
const HANGING_MOST: usize = 8;

impl Files {
    pub fn new(disk: Disk, clock: Clock) -> Self {
        Self { disk, clock, known: Arc::default(), under_way: Arc::default() }
    }
}

impl Outside for Files {
    fn read<'a>(&'a self, watch: &'a WatchSpec) -> Reply<'a, Vec<Find>> {
        Box::pin(async move {
            let silent = |words: String| {
                let place = watch.files.iter().chain(&watch.trees).next().cloned().unwrap_or_default();
                vec![Find::unread(place, Obstacle::Silent, words)]
            };
            let Some(pass) = Pass::begin(&self.under_way, &watch.id) else {
                return silent("an earlier look has not come back from the file system".into());
            };
            let (answer, answered) = oneshot::channel();
            let (disk, known, spec) = (self.disk.clone(), Arc::clone(&self.known), watch.clone());
            // A thread of its own: a look that hangs must not take one of the few that save
            // generations.
            let look = move || {
                let finds = look(&disk, &spec, &known);
                drop(pass);
                // Nobody waits any more where it took too long.
                let _ = answer.send(finds);
            };
            if let Err(error) = std::thread::Builder::new().name("watch".into()).spawn(look) {
                return silent(format!("no thread could be started for it: {error}"));
            }
            match self.clock.timeout(PATIENCE, answered).await {
                Some(Ok(finds)) => finds,
                Some(Err(_)) => silent("the look ended without an answer".into()),
                None => silent(format!("the file system did not answer within {PATIENCE}")),
            }
        })
    }
}

fn look(disk: &Disk, watch: &WatchSpec, known: &Mutex<BTreeMap<(WatchId, PathBuf), Known>>) -> Vec<Find> {
    let found = expand::places(disk, watch);
    // Taken out, so that what is gone from the disk is forgotten.
    let mut before = {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let ours: Vec<_> = known.keys().filter(|(id, _)| *id == watch.id).cloned().collect();
        ours.into_iter()
            .filter_map(|key| Some((key.1.clone(), known.remove(&key)?)))
            .collect::<BTreeMap<_, _>>()
    };
    let mut finds = found.unread;
    let mut now = BTreeMap::new();
    for path in &found.files {
        let known = read::known(disk, path, watch.key.as_deref(), before.remove(path));
        finds.push(Find { place: expand::shown(path), found: known.found.clone() });
        now.insert((watch.id.clone(), path.clone()), known);
    }
    for tree in &found.trees {
        let mut held = Vec::new();
        for path in &tree.files {
            let known = read::known(disk, path, None, before.remove(path));
            held.push((path.clone(), known.found.clone()));
            now.insert((watch.id.clone(), path.clone()), known);
        }
        finds.extend(expand::of_servers(held));
    }
    known.lock().unwrap_or_else(PoisonError::into_inner).extend(now);
    finds
}

/// The right to one look; one at a time for each watch.
struct Pass {
    under_way: Arc<Mutex<BTreeSet<WatchId>>>,
    id: WatchId,
}

impl Pass {
    fn begin(under_way: &Arc<Mutex<BTreeSet<WatchId>>>, id: &WatchId) -> Option<Self> {
        let mut busy = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        (busy.len() < HANGING_MOST && busy.insert(id.clone()))
            .then(|| Self { under_way: Arc::clone(under_way), id: id.clone() })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
