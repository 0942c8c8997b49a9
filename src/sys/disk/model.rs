//! A disk in memory that keeps only what was synced. What POSIX leaves open, it decides against
//! us: a directory's unsynced changes survive a power cut in any subset, a file's unsynced bytes
//! torn, zeroed or not at all. Modes and owners are kept at once: a limit of the model.

mod state;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

pub(super) use state::number_of;
use state::{Body, Change, Node, State, dark};

use super::{FileKind, Stat, Trace};
use crate::core::layout::{Content, FsOp};
use crate::sys::clock::Clock;

/// The handle of a modelled disk: breaks it, cuts its power, and changes files as an outsider.
#[derive(Clone)]
pub struct Model(Arc<Mutex<State>>);

/// One thing a disk does; a plan's `Create` is three of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    MakeDir,
    Create,
    Write,
    /// fsync of a file.
    Sync,
    Copy,
    Link,
    Rename,
    /// fsync of a directory.
    SyncDir,
    Discard,
    DiscardDir,
    SetRights,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub trouble: Trouble,
    /// `None`: at every step.
    pub step: Option<Step>,
    /// So many matching steps go well first.
    pub skip: u32,
    /// From then on, not just once.
    pub lasting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// ENOSPC
    Full,
    /// EIO
    Broken,
    /// EROFS
    ReadOnly,
    /// EACCES
    Denied,
    /// A sync is answered as done and nothing is made durable, as by a drive that only caches;
    /// what is no sync goes well.
    Pretends,
    /// Nothing works any more, until [`Model::crash`].
    PowerCut,
}

impl Model {
    /// Whom files belong to unless a plan says otherwise.
    pub(super) const USER: u32 = 1000;
    const ROOT: u64 = 0;
    /// Links followed on one path, as Linux does.
    const LINKS_MAX: u32 = 40;
    /// What [`super::Disk::free_space`] says of a disk that is not full, in bytes.
    const FREE: u64 = 1 << 40;

    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new())))
    }

    /// Things go wrong as told, in addition to earlier faults.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// All faults end; a power cut needs [`Model::crash`].
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// From now on changes have dates of this clock, and can be told by them ([`super::Disk::trace`]).
    /// A power cut takes back what was not synced, and no date with it.
    pub fn date_by(&self, clock: &Clock) {
        self.state().clock = Some(clock.clone());
    }

    /// Which file a path leads to, and which of all changes was the last of it: the same only while
    /// its bytes are the same. `None` where there is none, or the power is off.
    pub fn stamp(&self, path: &Path) -> Option<(u64, u64)> {
        let state = self.powered().ok()?;
        let id = state.walk(None, path, true).ok()?;
        state.node(id).ok().map(|node| (id, node.change))
    }

    /// Steps done so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Power off and on. What was not synced is lost or not, as `seed` says; 0 loses all of it,
    /// 1 nothing. Faults and locks end.
    pub fn crash(&self, seed: u64) {
        self.state().crash(seed);
    }

    /// Directories as an outsider makes them, durably; parents too.
    pub fn make_dirs(&self, path: &Path, mode: u32) {
        let mut state = self.state();
        let mut dir = Self::ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_string_lossy().into_owned();
            dir = match state.entries(dir).get(&name) {
                Some(node) => *node,
                None => state.put_outside(dir, &name, Body::Dir(BTreeMap::new()), mode),
            };
        }
    }

    /// A file as an outsider writes it, durably: in place of what was there.
    pub fn put(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut state = self.state();
        let (dir, name) = state.place(None, path)?;
        state.put_outside(dir, &name, Body::File { bytes: bytes.to_vec(), synced: true }, mode);
        Ok(())
    }

    /// A symbolic link as an outsider makes it, durably.
    pub fn put_link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (dir, name) = state.place(None, path)?;
        state.put_outside(dir, &name, Body::Link(target.to_owned()), 0o777);
        Ok(())
    }

    /// A mode as an outsider sets it.
    pub fn chmod(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.touch(path, |node| node.mode = mode)
    }

    /// An owner as an outsider sets it.
    pub fn own(&self, path: &Path, uid: u32) -> io::Result<()> {
        self.touch(path, |node| node.uid = uid)
    }

    fn touch(&self, path: &Path, change: impl FnOnce(&mut Node)) -> io::Result<()> {
        let mut state = self.state();
        let id = state.walk(None, path, true)?;
        state.touch(id, change).ok_or_else(|| Errno::NOENT.into())
    }

    /// A name removed by an outsider, durably, with all that is below.
    pub fn take_away(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (dir, name) = state.place(None, path)?;
        let node = state.node_at(None, path)?;
        state.change_outside(Change { dir, remove: Some(name), add: None, node });
        Ok(())
    }

    pub(super) fn perform(&self, root: Option<&Path>, op: &FsOp) -> io::Result<()> {
        let mut state = self.state();
        match op {
            FsOp::MakeDir { path, rights } => state.make_dir(root, path, rights),
            FsOp::Create { path, content, rights } => state.create(root, path, content.bytes(), rights, true),
            FsOp::Draft { path, content, rights } => state.create(root, path, content.bytes(), rights, false),
            FsOp::Copy { from, to } => {
                let node = state.node_at(root, from)?;
                if matches!(state.node(node)?.body, Body::Dir(_)) {
                    return Err(Errno::PERM.into());
                }
                state.step(Step::Copy)?;
                state.add(root, to, node)
            }
            FsOp::Link { path, target } => {
                state.step(Step::Link)?;
                let node = state.new_node(Body::Link(target.clone()), 0o777);
                state.add(root, path, node)
            }
            FsOp::Rename { from, to } => state.rename(root, from, to),
            FsOp::SyncDir { path } => state.sync_dir(root, path),
            FsOp::Discard { path } => state.discard(root, path, false),
            FsOp::DiscardDir { path } => state.discard(root, path, true),
            FsOp::SetRights { path, rights } => {
                let id = state.node_at(root, path)?;
                state.step(Step::SetRights)?;
                state.give(id, rights);
                Ok(())
            }
        }
    }

    pub(super) fn read(&self, path: &Path, most: usize, follow: bool) -> io::Result<Content> {
        let state = self.powered()?;
        let id = state.walk(None, path, follow)?;
        match &state.node(id)?.body {
            Body::File { bytes, .. } if bytes.len() > most => {
                Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")))
            }
            Body::File { bytes, .. } => Ok(Content::new(bytes.clone())),
            Body::Link(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link")),
            Body::Dir(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        }
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.powered()?;
        let id = state.walk(None, path, false)?;
        match &state.node(id)?.body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.powered()?;
        let id = state.walk(None, dir, true)?;
        match &state.node(id)?.body {
            Body::Dir(entries) => Ok(entries.keys().cloned().collect()),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    pub(super) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.powered()?;
        state.node(state.walk(None, path, false)?).map(stat_of)
    }

    pub(super) fn trace(&self, path: &Path) -> io::Result<Trace> {
        let state = self.powered()?;
        if state.clock.is_none() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let id = state.walk(None, path, false)?;
        let node = state.node(id)?;
        let millis = u64::try_from(node.changed.millis().rem_euclid(1000)).unwrap_or(0);
        let changed = (node.changed.millis().div_euclid(1000), millis * 1_000_000);
        Ok(Trace { stat: stat_of(node), device: 0, inode: id, modified: changed, changed })
    }

    pub(super) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.powered()?;
        let mut id = state.walk(None, path, true)?;
        let mut names = Vec::new();
        while id != Self::ROOT {
            let (parent, name) = state.parent_of(id).ok_or(Errno::NOENT)?;
            names.push(name);
            id = parent;
        }
        Ok(names.iter().rev().fold(PathBuf::from("/"), |path, name| path.join(name)))
    }

    pub(super) fn free_space(&self) -> io::Result<u64> {
        let state = self.powered()?;
        let full = state.faults.iter().any(|fault| fault.trouble == Trouble::Full && fault.skip == 0);
        Ok(if full { 0 } else { Self::FREE })
    }

    /// Its faults strike the steps themselves; asked beforehand, only a power that is off tells.
    pub(super) fn may_write(&self) -> io::Result<()> {
        self.powered().map(drop)
    }

    pub(super) fn lock(&self, path: &Path, note: Option<&str>) -> io::Result<Option<u64>> {
        let mut state = self.powered()?;
        let (dir, name) = state.place(None, path)?;
        let node = match state.entries(dir).get(&name) {
            Some(node) => *node,
            None => state.put_outside(dir, &name, Body::File { bytes: Vec::new(), synced: true }, 0o600),
        };
        if state.locks.contains_key(&node) {
            return Ok(None);
        }
        if let (Some(note), Some(Node { body: Body::File { bytes, .. }, .. })) =
            (note, state.nodes.get_mut(&node))
        {
            *bytes = note.into();
        }
        state.next += 1;
        let id = state.next;
        state.locks.insert(node, id);
        Ok(Some(id))
    }

    pub(super) fn unlock(&self, id: u64) {
        self.state().locks.retain(|_, held| *held != id);
    }

    fn powered(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.powered { Ok(state) } else { Err(dark()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stat_of(node: &Node) -> Stat {
    let (kind, len) = match &node.body {
        Body::File { bytes, .. } => (FileKind::File, bytes.len()),
        Body::Dir(_) => (FileKind::Dir, 0),
        Body::Link(target) => (FileKind::Link, target.as_os_str().len()),
    };
    Stat { kind, mode: node.mode, uid: node.uid, gid: node.gid, len: len as u64 }
}
