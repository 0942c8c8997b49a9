//! Opening a state directory: which directory it really is, whether we may use it, and putting
//! right what can be put right.

use std::io;
use std::path::{Path, PathBuf};

use super::dir::{DirStore, StoreReport};
use super::place::{
    LOCKS, PROBE, QUARANTINE, SHARDS, SHELVES, VERSION, finished, generation_number, key_of, shard,
};
use crate::core::layout::{Content, FileRights, FsOp, replace};
use crate::core::name::LineageId;
use crate::ports::{Key, Shelf, StoreError};
use crate::sys::disk::{Disk, FileKind, LockGuard};

/// The schema that this release writes; it reads this one and older ones.
pub const SCHEMA: u32 = 1;
/// Mode of every directory in the state.
pub const DIR_MODE: u32 = 0o700;
/// Mode of a state directory that we make: others may pass through to `live/`, and see nothing.
const ROOT_MODE: u32 = 0o711;
/// Bits of the state directory's own mode that are the operator's.
const ROOT_KEEPS: u32 = 0o011;
/// Mode of every file in the state.
pub const FILE_MODE: u32 = 0o600;
/// The directory inside a volume that others may write.
const OWN_DIR: &str = "nolapse";
/// Longest version file, in bytes.
const VERSION_MAX: usize = 64;

/// The directory that holds the state; nothing is written yet.
pub fn choose(disk: &Disk, configured: &Path) -> Result<PathBuf, StoreError> {
    let what = || format!("the state directory {}", configured.display());
    let dir = match disk.resolve(configured) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(configured.to_owned()),
        Err(error) => return Err(io_error(what(), &error)),
    };
    let stat = disk.stat(&dir).map_err(|error| io_error(what(), &error))?;
    if stat.kind != FileKind::Dir {
        return Err(refusal(what(), io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    let me = disk.user();
    let ours = |path: &Path, kind| disk.stat(path).is_ok_and(|stat| stat.kind == kind && stat.uid == me);
    if stat.uid == me && ours(&dir.join(VERSION), FileKind::File) {
        return Ok(dir);
    }
    let inner = dir.join(OWN_DIR);
    let moved_in = ours(&inner, FileKind::Dir) && ours(&inner.join(VERSION), FileKind::File);
    if stat.mode & 0o022 == 0 && !moved_in {
        if me == 0 && stat.uid != 0 {
            let why = format!("it belongs to user {}; run as that user", stat.uid);
            return Err(refusal(what(), io::ErrorKind::PermissionDenied, &why));
        }
        return Ok(dir);
    }
    match disk.stat(&inner) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(inner),
        Err(error) => Err(io_error(inner.display().to_string(), &error)),
        Ok(stat) if stat.kind == FileKind::Dir && stat.uid == me => Ok(inner),
        Ok(stat) => {
            let why = format!(
                "others may write to {}, so the state belongs in here, but this is not a directory of ours \
                 (user {}); remove it, or set state-dir to a directory that only user {me} can write",
                dir.display(),
                stat.uid
            );
            Err(refusal(inner.display().to_string(), io::ErrorKind::PermissionDenied, &why))
        }
    }
}

/// Whose state a configured directory is or would be: user and group number of the directory that
/// `choose` picks for its owner. `None` where nothing is there yet.
pub fn owner(disk: &Disk, configured: &Path) -> Option<(u32, u32)> {
    let dir = disk.resolve(configured).ok()?;
    let stat = disk.stat(&dir).ok().filter(|stat| stat.kind == FileKind::Dir)?;
    let inner = dir.join(OWN_DIR);
    let holds = |dir: &Path| disk.stat(&dir.join(VERSION)).is_ok_and(|stat| stat.kind == FileKind::File);
    match disk.stat(&inner) {
        Ok(own) if own.kind == FileKind::Dir && !holds(&dir) && holds(&inner) => Some((own.uid, own.gid)),
        _ => Some((stat.uid, stat.gid)),
    }
}

/// The version that the directory says it has; `None` where it says nothing.
pub fn version(disk: &Disk, root: &Path) -> Result<Option<u32>, StoreError> {
    let path = root.join(VERSION);
    let text = match disk.read_plain(&path, VERSION_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path.display().to_string(), &error)),
    };
    let number = std::str::from_utf8(text.bytes()).ok().and_then(|text| text.trim_end().parse().ok());
    match number {
        Some(found) if found > SCHEMA => {
            Err(StoreError::Newer { key: path.display().to_string(), found, known: SCHEMA })
        }
        Some(found) => Ok(Some(found)),
        None => Err(refusal(
            path.display().to_string(),
            io::ErrorKind::InvalidData,
            "it holds no version number, so nothing here is touched; restore the state directory from a \
             backup, or write the number of the schema into this file",
        )),
    }
}

impl DirStore {
    /// Makes what is missing, puts rights right, and removes unfinished files.
    pub(super) async fn furnish(&self, configured: &Path) -> Result<(), StoreError> {
        self.make_dirs(configured).await?;
        let root = &self.shelving.root;
        let hold = self.lock_shard(0).await?;
        if version(&self.disk, root)?.is_none() {
            let text = Content::new(format!("{SCHEMA}\n").into());
            let plan = replace(&root.join(VERSION), text, FileRights::mode(FILE_MODE));
            self.run(plan, hold).await?;
        } else {
            drop(hold);
        }
        self.sweep(self.unfinished()).await
    }

    async fn make_dirs(&self, configured: &Path) -> Result<(), StoreError> {
        let root = &self.shelving.root;
        // Beside our own directory in somebody else's, the live directory needs no way through it.
        let inside = self.disk.resolve(configured).is_ok_and(|dir| dir != *root);
        let root_mode = if inside { DIR_MODE } else { ROOT_MODE };
        let shelves = SHELVES.iter().map(|(shelf, _)| self.shelving.dir(*shelf));
        let dirs: Vec<_> = shelves.chain([root.join(LOCKS), root.join(QUARANTINE)]).collect();
        let mut plan = Vec::new();
        for dir in std::iter::once(root).chain(&dirs) {
            let missing = dir.ancestors().take_while(|each| self.disk.stat(each).is_err());
            for each in missing.collect::<Vec<_>>().into_iter().rev() {
                let mode = match each {
                    each if each == root => root_mode,
                    each if dirs.iter().any(|dir| dir == each) => DIR_MODE,
                    _ => 0o755,
                };
                let rights = FileRights::mode(mode);
                plan.push(FsOp::MakeDir { path: each.to_owned(), rights });
                plan.extend(each.parent().map(|parent| FsOp::SyncDir { path: parent.to_owned() }));
            }
        }
        self.run(plan, ()).await?;
        // The live directory may lie inside: an execute bit lets others through to it, and
        // everything else in here is closed on its own.
        self.keep_private(root, ROOT_KEEPS, false).await?;
        for dir in &dirs {
            self.keep_private(dir, 0, true).await?;
        }
        Ok(())
    }

    /// Nobody else may look into the directory. The bits in `keeps` stay as they are.
    async fn keep_private(&self, dir: &Path, keeps: u32, must_be_ours: bool) -> Result<(), StoreError> {
        let shown = dir.display().to_string();
        let stat = self.disk.stat(dir).map_err(|error| io_error(shown.clone(), &error))?;
        let me = self.disk.user();
        if stat.uid != me {
            if must_be_ours || stat.mode & 0o022 != 0 {
                let why = format!(
                    "it belongs to user {}, we are user {me}; chown it, or run as its owner",
                    stat.uid
                );
                return Err(refusal(shown, io::ErrorKind::PermissionDenied, &why));
            }
            return Ok(());
        }
        let wanted = DIR_MODE | (stat.mode & keeps);
        if stat.mode & 0o777 != wanted {
            let rights = FileRights::mode(wanted);
            self.run(vec![FsOp::SetRights { path: dir.to_owned(), rights }], ()).await?;
            self.report(StoreReport::RightsMended { path: shown, mode: stat.mode });
        }
        Ok(())
    }

    /// Removes what a crash left half-written. A file whose lock somebody holds is being written.
    async fn sweep(&self, unfinished: Vec<(PathBuf, u8)>) -> Result<(), StoreError> {
        for lock in 0..SHARDS {
            let mut plan: Vec<_> =
                unfinished.iter().filter(|(_, shard)| *shard == lock).map(|(path, _)| path).collect();
            if plan.is_empty() {
                continue;
            }
            let path = self.shelving.swap_lock(lock);
            let held =
                self.disk.lock(&path, None).map_err(|error| io_error(path.display().to_string(), &error))?;
            let Some(hold): Option<LockGuard> = held else { continue };
            let plan = plan.drain(..).map(|path| FsOp::Discard { path: path.clone() }).collect();
            self.run(plan, hold).await?;
        }
        Ok(())
    }

    /// Removes what a crash left half-written of one lineage's generations. Generations are written
    /// under the claim only, so whoever holds it tidies; to look into each lineage's directory at
    /// every opening is a tenth of a pass that has nothing to do.
    pub(super) async fn sweep_generations(&self, id: &LineageId) -> Result<(), StoreError> {
        let dir = self.shelving.dir(Shelf::Generations).join(id.as_str());
        self.sweep(
            self.unfinished_in(&dir, |name| Some(Key::Generation(id.clone(), generation_number(name)?))),
        )
        .await
    }

    /// Every file that is not whole, and the lock it belongs to; those of generations apart.
    fn unfinished(&self) -> Vec<(PathBuf, u8)> {
        let mut found = Vec::new();
        for (shelf, _) in SHELVES.into_iter().filter(|(shelf, _)| *shelf != Shelf::Generations) {
            found.extend(self.unfinished_in(&self.shelving.dir(shelf), |name| key_of(shelf, name)));
        }
        let root = &self.shelving.root;
        for name in self.disk.list(root).unwrap_or_default() {
            if name == PROBE || matches!(finished(&name), Some(VERSION | PROBE)) {
                found.push((root.join(name), 0));
            }
        }
        found
    }

    fn unfinished_in(&self, dir: &Path, key: impl Fn(&str) -> Option<Key>) -> Vec<(PathBuf, u8)> {
        // A directory that cannot be listed has nothing to sweep; its use will tell why.
        let names = self.disk.list(dir).unwrap_or_default();
        names
            .iter()
            .filter_map(|name| Some((dir.join(name), shard(&finished(name).and_then(&key)?))))
            .collect()
    }
}

pub fn io_error(what: String, error: &io::Error) -> StoreError {
    StoreError::Io { what, why: error.to_string(), kind: error.kind() }
}

pub fn refusal(what: String, kind: io::ErrorKind, why: &str) -> StoreError {
    StoreError::Io { what, why: why.to_owned(), kind }
}
