//! The files of a modelled disk, and what of them would survive.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Fault, Model, Step, Trouble};
use crate::core::layout::FileRights;
use crate::core::leaf::{mix, seed_of};
use crate::core::time::Timestamp;
use crate::sys::clock::Clock;

/// The number that stands for a user or group: the model knows every name.
pub fn number_of(name: &str) -> u32 {
    name.parse().unwrap_or_else(|_| 2000 + u32::try_from(seed_of(name) % 30_000).unwrap_or(0))
}

pub fn dark() -> io::Error {
    io::Error::other("the power is off")
}

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

pub type Entries = BTreeMap<String, u64>;

#[derive(Default)]
pub struct State {
    pub nodes: BTreeMap<u64, Node>,
    /// Of each directory, the entries that a power cut can't take.
    durable: BTreeMap<u64, Entries>,
    /// What it can take, in order.
    pending: Vec<Change>,
    pub next: u64,
    /// How many nodes there are when those that nobody names are let go next.
    tidy_at: usize,
    pub faults: Vec<Fault>,
    pub steps: u64,
    pub powered: bool,
    /// File → who holds it.
    pub locks: BTreeMap<u64, u64>,
    /// What dates changes; without it there are no dates.
    pub clock: Option<Clock>,
    /// Changes of nodes so far.
    changes: u64,
}

pub struct Node {
    pub body: Body,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// When content, rights or entries changed last.
    pub changed: Timestamp,
    /// Which of all changes that was: dates of one instant are the same, these never are.
    pub change: u64,
}

pub enum Body {
    File { bytes: Vec<u8>, synced: bool },
    Dir(Entries),
    Link(PathBuf),
}

/// One change of one directory. A rename inside a directory is one change: both or neither.
#[derive(Clone)]
pub struct Change {
    pub dir: u64,
    pub remove: Option<String>,
    pub add: Option<String>,
    pub node: u64,
}

impl State {
    /// Fewer files and directories than this are not worth looking through.
    const TIDY_AT: usize = 512;

    pub fn new() -> Self {
        let body = Body::Dir(BTreeMap::new());
        let root = Node {
            body,
            mode: 0o755,
            uid: Model::USER,
            gid: Model::USER,
            changed: Timestamp::EPOCH,
            change: 0,
        };
        Self {
            nodes: BTreeMap::from([(Model::ROOT, root)]),
            durable: BTreeMap::from([(Model::ROOT, BTreeMap::new())]),
            next: 1,
            powered: true,
            ..Self::default()
        }
    }

    /// Whether the next step goes well.
    pub fn step(&mut self, step: Step) -> io::Result<()> {
        if !self.powered {
            return Err(dark());
        }
        self.steps += 1;
        let mut hit = None;
        self.faults.retain_mut(|fault| {
            if hit.is_some() || fault.step.is_some_and(|only| only != step) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            hit = Some(fault.trouble);
            fault.lasting
        });
        match hit {
            None | Some(Trouble::Pretends) => Ok(()),
            Some(Trouble::PowerCut) => {
                self.powered = false;
                Err(dark())
            }
            Some(Trouble::Full) => Err(Errno::NOSPC.into()),
            Some(Trouble::Broken) => Err(Errno::IO.into()),
            Some(Trouble::ReadOnly) => Err(Errno::ROFS.into()),
            Some(Trouble::Denied) => Err(Errno::ACCESS.into()),
        }
    }

    /// Whether the next sync of this kind is only said to be done.
    fn pretends(&self, step: Step) -> bool {
        let applies = |fault: &Fault| {
            fault.trouble == Trouble::Pretends
                && fault.skip == 0
                && fault.step.is_none_or(|only| only == step)
        };
        self.faults.iter().any(applies)
    }

    pub fn make_dir(&mut self, root: Option<&Path>, path: &Path, rights: &FileRights) -> io::Result<()> {
        let (dir, name) = self.place(root, path)?;
        if let Some(id) = self.entries(dir).get(&name) {
            let is_dir = matches!(self.node(*id)?.body, Body::Dir(_));
            return if is_dir { Ok(()) } else { Err(Errno::NOTDIR.into()) };
        }
        self.step(Step::MakeDir)?;
        let id = self.new_node(Body::Dir(BTreeMap::new()), 0);
        self.durable.insert(id, BTreeMap::new());
        self.give(id, rights);
        self.add(root, path, id)
    }

    pub fn create(
        &mut self,
        root: Option<&Path>,
        path: &Path,
        content: &[u8],
        rights: &FileRights,
        synced: bool,
    ) -> io::Result<()> {
        let (dir, name) = self.place(root, path)?;
        if self.entries(dir).contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        self.step(Step::Create)?;
        let id = self.new_node(Body::File { bytes: Vec::new(), synced: false }, 0);
        self.give(id, rights);
        self.change(Change { dir, remove: None, add: Some(name.clone()), node: id });
        let written = self.write(id, content, synced);
        if written.is_err() && self.powered {
            self.change(Change { dir, remove: Some(name), add: None, node: id });
        }
        written
    }

    fn write(&mut self, id: u64, content: &[u8], synced: bool) -> io::Result<()> {
        let write = self.step(Step::Write);
        let reached = if write.is_ok() { content.len() } else { content.len() / 2 };
        self.set_file(id, content[..reached].to_vec(), false);
        write?;
        if synced {
            let lasts = !self.pretends(Step::Sync);
            self.step(Step::Sync)?;
            self.set_file(id, content.to_vec(), lasts);
        }
        Ok(())
    }

    pub fn rename(&mut self, root: Option<&Path>, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.place(root, from)?;
        let (to_dir, to_name) = self.place(root, to)?;
        let id = *self.entries(from_dir).get(&from_name).ok_or(Errno::NOENT)?;
        if let Some(old) = self.entries(to_dir).get(&to_name)
            && matches!(self.node(*old)?.body, Body::Dir(_))
        {
            return Err(Errno::ISDIR.into());
        }
        self.step(Step::Rename)?;
        if self.entries(to_dir).get(&to_name) == Some(&id) {
            // POSIX: two names of one file are both left alone.
            return Ok(());
        }
        if from_dir == to_dir {
            self.change(Change { dir: to_dir, remove: Some(from_name), add: Some(to_name), node: id });
        } else {
            self.change(Change { dir: to_dir, remove: None, add: Some(to_name), node: id });
            self.change(Change { dir: from_dir, remove: Some(from_name), add: None, node: id });
        }
        Ok(())
    }

    pub fn sync_dir(&mut self, root: Option<&Path>, path: &Path) -> io::Result<()> {
        let dir = self.walk(root, path, true)?;
        if !matches!(self.node(dir)?.body, Body::Dir(_)) {
            return Err(Errno::NOTDIR.into());
        }
        let pretends = self.pretends(Step::SyncDir);
        self.step(Step::SyncDir)?;
        if pretends {
            return Ok(());
        }
        let (settled, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| change.dir == dir);
        self.pending = open;
        self.apply_durably(&settled);
        self.tidy();
        Ok(())
    }

    pub fn discard(&mut self, root: Option<&Path>, path: &Path, directory: bool) -> io::Result<()> {
        let (dir, name) = match self.place(root, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            place => place?,
        };
        let Some(id) = self.entries(dir).get(&name).copied() else { return Ok(()) };
        match (&self.node(id)?.body, directory) {
            (Body::Dir(entries), true) if !entries.is_empty() => return Ok(()),
            (Body::Dir(_), true) => self.step(Step::DiscardDir)?,
            (Body::Dir(_), false) => return Err(Errno::ISDIR.into()),
            (_, true) => return Err(Errno::NOTDIR.into()),
            (_, false) => self.step(Step::Discard)?,
        }
        self.change(Change { dir, remove: Some(name), add: None, node: id });
        Ok(())
    }

    pub fn crash(&mut self, seed: u64) {
        let mut draws = 0;
        let mut draw = |sides: u64| {
            draws += 1;
            mix(&[seed, draws]) % sides
        };
        for change in std::mem::take(&mut self.pending) {
            let survives = match seed {
                0 => false,
                1 => true,
                _ => draw(2) == 1,
            };
            if survives {
                apply(self.durable.entry(change.dir).or_default(), &change);
            }
        }
        for (id, node) in &mut self.nodes {
            match &mut node.body {
                Body::Dir(entries) => *entries = self.durable.get(id).cloned().unwrap_or_default(),
                Body::File { bytes, synced } if !*synced => {
                    let length = bytes.len();
                    let loss = if seed == 1 { 0 } else { draw(5) };
                    let at = usize::try_from(draw(length as u64 + 1)).unwrap_or(length);
                    match loss {
                        0 => {}
                        1 => bytes.clear(),
                        2 => bytes.fill(0),
                        3 => bytes.truncate(at),
                        // The length came to the disk, and a sector did not.
                        _ => bytes[at / SECTOR * SECTOR..length.min((at / SECTOR + 1) * SECTOR)].fill(0),
                    }
                    *synced = true;
                    self.changes += 1;
                    node.change = self.changes;
                }
                Body::File { .. } | Body::Link(_) => {}
            }
        }
        self.locks.clear();
        self.faults.clear();
        self.powered = true;
        self.tidy();
    }

    /// Lets go of nodes without a name, so that a long simulation stays small.
    fn tidy(&mut self) {
        if self.nodes.len() < self.tidy_at.max(Self::TIDY_AT) {
            return;
        }
        let mut named: BTreeSet<u64> = self.pending.iter().map(|change| change.node).collect();
        named.insert(Model::ROOT);
        named.extend(self.durable.values().flat_map(BTreeMap::values));
        for node in self.nodes.values() {
            if let Body::Dir(entries) = &node.body {
                named.extend(entries.values());
            }
        }
        self.nodes.retain(|id, _| named.contains(id));
        self.durable.retain(|id, _| named.contains(id));
        self.tidy_at = self.nodes.len() * 2;
    }

    fn change(&mut self, change: Change) {
        self.apply_now(&change);
        self.pending.push(change);
    }

    fn apply_now(&mut self, change: &Change) {
        self.touch(change.dir, |dir| {
            if let Body::Dir(entries) = &mut dir.body {
                apply(entries, change);
            }
        });
        // A file's names are among what its date is of.
        self.touch(change.node, |_| {});
    }

    fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or(Timestamp::EPOCH, Clock::now)
    }

    /// Changes a node, and dates that.
    pub fn touch(&mut self, id: u64, change: impl FnOnce(&mut Node)) -> Option<()> {
        let now = self.now();
        let node = self.nodes.get_mut(&id)?;
        change(node);
        self.changes += 1;
        (node.changed, node.change) = (now, self.changes);
        Some(())
    }

    fn apply_durably(&mut self, changes: &[Change]) {
        for change in changes {
            apply(self.durable.entry(change.dir).or_default(), change);
        }
    }

    pub fn put_outside(&mut self, dir: u64, name: &str, body: Body, mode: u32) -> u64 {
        let node = self.new_node(body, mode);
        self.durable.entry(node).or_default();
        self.change_outside(Change { dir, remove: None, add: Some(name.to_owned()), node });
        node
    }

    /// Durable at once, and with it what was done to the same name before.
    pub fn change_outside(&mut self, change: Change) {
        let touched: Vec<_> = [&change.add, &change.remove].into_iter().flatten().cloned().collect();
        let (mut same, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|earlier| {
                earlier.dir == change.dir
                    && [&earlier.add, &earlier.remove]
                        .into_iter()
                        .flatten()
                        .any(|name| touched.contains(name))
            });
        self.pending = open;
        self.apply_now(&change);
        same.push(change);
        self.apply_durably(&same);
    }

    pub fn add(&mut self, root: Option<&Path>, path: &Path, node: u64) -> io::Result<()> {
        let (dir, name) = self.place(root, path)?;
        if self.entries(dir).contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        self.change(Change { dir, remove: None, add: Some(name), node });
        Ok(())
    }

    pub fn give(&mut self, id: u64, rights: &FileRights) {
        self.touch(id, |node| {
            node.mode = rights.mode & 0o777;
            if let Some(owner) = &rights.owner {
                node.uid = number_of(owner);
            }
            if let Some(group) = &rights.group {
                node.gid = number_of(group);
            }
        });
    }

    fn set_file(&mut self, id: u64, content: Vec<u8>, is_synced: bool) {
        self.touch(id, |node| {
            if let Body::File { bytes, synced } = &mut node.body {
                *bytes = content;
                *synced = is_synced;
            }
        });
    }

    pub fn new_node(&mut self, body: Body, mode: u32) -> u64 {
        let id = self.next;
        self.next += 1;
        self.changes += 1;
        let (changed, change) = (self.now(), self.changes);
        self.nodes.insert(id, Node { body, mode, uid: Model::USER, gid: Model::USER, changed, change });
        id
    }

    pub fn node(&self, id: u64) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| Errno::NOENT.into())
    }

    pub fn entries(&self, dir: u64) -> &Entries {
        static NONE: Entries = BTreeMap::new();
        match self.nodes.get(&dir) {
            Some(Node { body: Body::Dir(entries), .. }) => entries,
            _ => &NONE,
        }
    }

    pub fn node_at(&self, root: Option<&Path>, path: &Path) -> io::Result<u64> {
        let (dir, name) = self.place(root, path)?;
        self.entries(dir).get(&name).copied().ok_or_else(|| Errno::NOENT.into())
    }

    /// The directory and the name in it that a path stands for.
    pub fn place(&self, root: Option<&Path>, path: &Path) -> io::Result<(u64, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::INVAL)?.to_owned();
        let dir = self.walk(root, path.parent().unwrap_or(Path::new("")), true)?;
        match self.node(dir)?.body {
            Body::Dir(_) => Ok((dir, name)),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Follows a path; beneath a root, over no link at all.
    pub fn walk<'a>(&'a self, root: Option<&Path>, path: &'a Path, follow_last: bool) -> io::Result<u64> {
        let text = |path: &'a Path| path.to_str().ok_or(Errno::INVAL);
        let path = text(path)?;
        if root.is_some() && path.starts_with('/') {
            return Err(Errno::INVAL.into());
        }
        if root.is_none()
            && let Some(found) = self.descend(path)
        {
            return found;
        }
        // The directories down to here, and the names to go of each path: of the one asked for and
        // of links on the way. A simulation does little else than this.
        let mut at = Vec::with_capacity(8);
        at.push(match root {
            Some(root) => self.walk(None, root, true)?,
            None => Model::ROOT,
        });
        let mut paths = vec![path.split('/')];
        let mut links = 0;
        while let Some(rest) = paths.last_mut() {
            let name = match rest.next() {
                None => {
                    paths.pop();
                    continue;
                }
                Some("." | "..") if root.is_some() => return Err(Errno::INVAL.into()),
                Some("" | ".") => continue,
                Some("..") => {
                    at.truncate(at.len().saturating_sub(1).max(1));
                    continue;
                }
                Some(name) => name,
            };
            let here = self.node(*at.last().unwrap_or(&Model::ROOT))?;
            let Body::Dir(entries) = &here.body else { return Err(Errno::NOTDIR.into()) };
            let next = *entries.get(name).ok_or(Errno::NOENT)?;
            let is_last = || paths.iter().all(|rest| rest.clone().all(|name| matches!(name, "" | ".")));
            match &self.node(next)?.body {
                Body::Link(_) if root.is_some() => return Err(Errno::NOTDIR.into()),
                Body::Link(target) if follow_last || !is_last() => {
                    links += 1;
                    if links > Model::LINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    let target = text(target)?;
                    if target.starts_with('/') {
                        at.truncate(1);
                    }
                    paths.push(target.split('/'));
                }
                _ => at.push(next),
            }
        }
        Ok(*at.last().unwrap_or(&Model::ROOT))
    }

    /// Most paths lead down and over no link; `None`: this one does not.
    fn descend(&self, path: &str) -> Option<io::Result<u64>> {
        let mut here = Model::ROOT;
        for name in path.split('/') {
            match name {
                "" | "." => continue,
                ".." => return None,
                _ => {}
            }
            here = match self.nodes.get(&here).map(|node| &node.body) {
                Some(Body::Dir(entries)) => match entries.get(name) {
                    Some(next) => *next,
                    None => return Some(Err(Errno::NOENT.into())),
                },
                Some(Body::File { .. }) => return Some(Err(Errno::NOTDIR.into())),
                Some(Body::Link(_)) => return None,
                None => return Some(Err(Errno::NOENT.into())),
            };
        }
        match self.nodes.get(&here).map(|node| &node.body) {
            Some(Body::Link(_)) => None,
            Some(_) => Some(Ok(here)),
            None => Some(Err(Errno::NOENT.into())),
        }
    }

    pub fn parent_of(&self, id: u64) -> Option<(u64, String)> {
        self.nodes.iter().find_map(|(dir, node)| match &node.body {
            Body::Dir(entries) => {
                entries.iter().find(|(_, entry)| **entry == id).map(|(name, _)| (*dir, name.clone()))
            }
            _ => None,
        })
    }
}

fn apply(entries: &mut Entries, change: &Change) {
    // After a partial loss the name may stand for another file by now.
    if let Some(name) = &change.remove
        && entries.get(name) == Some(&change.node)
    {
        entries.remove(name);
    }
    if let Some(name) = &change.add {
        entries.insert(name.clone(), change.node);
    }
}
