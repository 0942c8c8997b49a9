//! Runs file plans, and reads. Either the host's disk, or a model in memory that forgets work
//! which was not synced when its power is cut.

mod model;
mod owner;
mod real;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use model::{Fault, Model, Step, Trouble};

use crate::core::failure::plain;
use crate::core::layout::{Content, FsOp};
use crate::core::time::Timestamp;

#[derive(Clone)]
pub struct Disk(Kind);

#[derive(Clone)]
enum Kind {
    Real,
    Model(Model),
}

impl Disk {
    /// Longest note read from a lock file, in bytes.
    const NOTE_MAX: usize = 1024;

    pub const fn real() -> Self {
        Self(Kind::Real)
    }

    /// An empty disk in memory, and the handle that breaks it.
    pub fn model() -> (Self, Model) {
        let model = Model::new();
        (Self(Kind::Model(model.clone())), model)
    }

    /// Carries the plan out, step by step; the first failure ends it. A plan that has begun goes
    /// on when the future is dropped.
    pub async fn run(&self, ops: Vec<FsOp>) -> Result<(), DiskError> {
        self.run_holding(ops, ()).await
    }

    /// As [`Disk::run`], and lets go of `hold` (a lock) when the last step is done: also when the
    /// future was dropped in between.
    pub async fn run_holding<T: Send + 'static>(&self, ops: Vec<FsOp>, hold: T) -> Result<(), DiskError> {
        self.perform(None, ops, hold).await
    }

    /// As [`Disk::run`] with relative paths, none of which can lead out of `root`: a link in the
    /// way is an error. For directories that others may write to (threat T02).
    pub async fn run_beneath(&self, root: &Path, ops: Vec<FsOp>) -> Result<(), DiskError> {
        self.perform(Some(root.to_owned()), ops, ()).await
    }

    async fn perform<T: Send + 'static>(
        &self,
        root: Option<PathBuf>,
        ops: Vec<FsOp>,
        hold: T,
    ) -> Result<(), DiskError> {
        match &self.0 {
            Kind::Real => {
                // Nothing in it waits for the disk: a thread would cost more than the work.
                let is_quick = !ops.iter().any(FsOp::is_durable);
                let work = move || {
                    let done = ops.iter().try_for_each(|op| {
                        real::perform(root.as_deref(), op).map_err(|error| DiskError::at(op, error))
                    });
                    drop(hold);
                    done
                };
                if is_quick {
                    return work();
                }
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                    Err(DiskError {
                        what: "run a plan",
                        path: PathBuf::new(),
                        source: io::Error::other(error),
                    })
                })
            }
            Kind::Model(model) => {
                let done = ops.iter().try_for_each(|op| {
                    model.perform(root.as_deref(), op).map_err(|error| DiskError::at(op, error))
                });
                drop(hold);
                done
            }
        }
    }

    /// A whole regular file; links are followed. A file longer than `most` bytes is an error of
    /// kind [`io::ErrorKind::FileTooLarge`].
    pub fn read(&self, path: &Path, most: usize) -> io::Result<Content> {
        match &self.0 {
            Kind::Real => real::read(path, most, true).map(|(content, _)| content),
            Kind::Model(model) => model.read(path, most, true),
        }
    }

    /// As [`Disk::read`], but a link at the end of the path is an error, of kind
    /// [`io::ErrorKind::InvalidInput`] as for everything that is not a regular file.
    pub fn read_plain(&self, path: &Path, most: usize) -> io::Result<Content> {
        match &self.0 {
            Kind::Real => real::read(path, most, false).map(|(content, _)| content),
            Kind::Model(model) => model.read(path, most, false),
        }
    }

    /// As [`Disk::read_plain`], with what [`Disk::stat`] says of the same file.
    pub fn read_with_stat(&self, path: &Path, most: usize) -> io::Result<(Content, Stat)> {
        match &self.0 {
            Kind::Real => real::read(path, most, false),
            Kind::Model(model) => Ok((model.read(path, most, false)?, model.stat(path)?)),
        }
    }

    /// Where a symbolic link points to, as written.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.0 {
            Kind::Real => std::fs::read_link(path),
            Kind::Model(model) => model.read_link(path),
        }
    }

    /// Names in a directory, sorted. Names that are not UTF-8 are left out: none of ours is.
    pub fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        match &self.0 {
            Kind::Real => real::list(dir),
            Kind::Model(model) => model.list(dir),
        }
    }

    /// What lies at the path itself, links not followed.
    pub fn stat(&self, path: &Path) -> io::Result<Stat> {
        match &self.0 {
            Kind::Real => real::stat(path),
            Kind::Model(model) => model.stat(path),
        }
    }

    /// What tells later whether the path still leads to the same untouched file. An error of kind
    /// [`io::ErrorKind::Unsupported`] on a disk that has no such thing.
    pub fn trace(&self, path: &Path) -> io::Result<Trace> {
        match &self.0 {
            Kind::Real => real::trace(path),
            Kind::Model(model) => model.trace(path),
        }
    }

    /// The same place without links on the way.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.0 {
            Kind::Real => std::fs::canonicalize(path),
            Kind::Model(model) => model.resolve(path),
        }
    }

    /// Bytes that we may still write on the volume of `path`.
    pub fn free_space(&self, path: &Path) -> io::Result<u64> {
        match &self.0 {
            Kind::Real => real::free_space(path),
            Kind::Model(model) => model.free_space(),
        }
    }

    /// Whether rights, and a volume that takes writes, let this process make files in `dir`; nothing is tried.
    pub fn may_write(&self, dir: &Path) -> io::Result<()> {
        match &self.0 {
            Kind::Real => real::may_write(dir),
            Kind::Model(model) => model.may_write(),
        }
    }

    /// How many more files an unprivileged process may make on the volume of `path`; `None` where the
    /// volume does not count them.
    pub fn free_files(&self, path: &Path) -> io::Result<Option<u64>> {
        match &self.0 {
            Kind::Real => real::free_files(path),
            Kind::Model(_) => Ok(None),
        }
    }

    /// Whom new files belong to.
    pub fn user(&self) -> u32 {
        match &self.0 {
            Kind::Real => rustix::process::geteuid().as_raw(),
            Kind::Model(_) => Model::USER,
        }
    }

    /// The number of a user by name or in decimal; `None` when there is no such user.
    pub fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        match &self.0 {
            Kind::Real => owner::user_id(name),
            Kind::Model(_) => Ok(Some(model::number_of(name))),
        }
    }

    /// The number of a group by name or in decimal; `None` when there is no such group.
    pub fn group_id(&self, name: &str) -> io::Result<Option<u32>> {
        match &self.0 {
            Kind::Real => owner::group_id(name),
            Kind::Model(_) => Ok(Some(model::number_of(name))),
        }
    }

    /// Takes the kernel's lock on a file, which is made if need be; `None` when somebody else
    /// holds it. It ends with the guard or with this process, whatever happens (F07).
    ///
    /// With `since`, the file is made to say who we are. That is information for people: failing
    /// to write it is no failure.
    pub fn lock(&self, path: &Path, since: Option<Timestamp>) -> io::Result<Option<LockGuard>> {
        let note = since.map(|since| Holder::ours(since).note());
        Ok(match &self.0 {
            Kind::Real => real::lock(path, note.as_deref())?.map(Held::Real),
            Kind::Model(model) => model.lock(path, note.as_deref())?.map(|id| Held::Model(model.clone(), id)),
        }
        .map(LockGuard))
    }

    /// What the file says of who holds it, or held it last.
    pub fn lock_holder(&self, path: &Path) -> Option<Holder> {
        let note = self.read_plain(path, Self::NOTE_MAX).ok()?;
        Holder::parse(std::str::from_utf8(note.bytes()).ok()?)
    }
}

/// A plan's step that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", .path.display())]
pub struct DiskError {
    pub what: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl DiskError {
    fn at(op: &FsOp, source: io::Error) -> Self {
        let (what, path) = match op {
            FsOp::MakeDir { path, .. } => ("make directory", path),
            FsOp::Create { path, .. } | FsOp::Draft { path, .. } => ("write", path),
            FsOp::Copy { to, .. } => ("copy to", to),
            FsOp::Link { path, .. } => ("link", path),
            FsOp::Rename { to, .. } => ("rename to", to),
            FsOp::SyncDir { path } => ("sync", path),
            FsOp::Discard { path } => ("remove", path),
            FsOp::DiscardDir { path } => ("remove directory", path),
            FsOp::SetRights { path, .. } => ("set mode and owner of", path),
        };
        Self { what, path: path.clone(), source }
    }
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: FileKind,
    /// The lower twelve bits: permissions, set-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub len: u64,
}

/// All that the kernel says of a file that changes when somebody touches it: who it is, how long,
/// whose, and its two dates. The later date is the kernel's own and no call sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub stat: Stat,
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds, as `touch` may set them.
    modified: (i64, u64),
    /// Of the last change of content, rights or names.
    changed: (i64, u64),
}

impl Trace {
    /// When content, rights or names changed last; whole milliseconds, rounded down.
    pub fn changed(&self) -> Timestamp {
        let (secs, nanos) = self.changed;
        Timestamp::from_millis(
            secs.saturating_mul(1000).saturating_add(i64::try_from(nanos / 1_000_000).unwrap_or(0)),
        )
    }

    /// Of what [`Trace::append_to`] appends, in bytes.
    pub const LENGTH: usize = 9 * 8;

    /// Everything in it as bytes, always [`Trace::LENGTH`] of them.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        let kind: u64 = match self.stat.kind {
            FileKind::File => 0,
            FileKind::Dir => 1,
            FileKind::Link => 2,
            FileKind::Other => 3,
        };
        let Stat { mode, uid, gid, len, .. } = self.stat;
        let [(modified, modified_nanos), (changed, changed_nanos)] =
            [self.modified, self.changed].map(|(secs, nanos)| (secs.cast_unsigned(), nanos));
        // In one piece: a pass over many does this for each of its looks.
        let all: [u64; Self::LENGTH / 8] = [
            kind | u64::from(mode) << 32,
            u64::from(uid) | u64::from(gid) << 32,
            modified,
            modified_nanos,
            changed,
            changed_nanos,
            len,
            self.device,
            self.inode,
        ];
        bytes.extend_from_slice(all.map(u64::to_le_bytes).as_flattened());
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    File,
    Dir,
    Link,
    Other,
}

/// A lock that is ours until this is dropped.
pub struct LockGuard(Held);

enum Held {
    Real(std::fs::File),
    Model(Model, u64),
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        match &self.0 {
            // Said outright: closing alone would leave it with a child that is just being started.
            Held::Real(file) => drop(file.unlock()),
            Held::Model(model, id) => model.unlock(*id),
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// Who a lock file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// Its arguments, safe to print.
    pub command: String,
    pub since: Timestamp,
}

impl Holder {
    /// Characters kept of a command.
    const COMMAND_MAX: usize = 200;

    fn ours(since: Timestamp) -> Self {
        let command = std::env::args_os().map(|part| part.to_string_lossy().into_owned());
        let command = command.collect::<Vec<_>>().join(" ");
        Self { pid: std::process::id(), command: plain(&command, Self::COMMAND_MAX), since }
    }

    fn note(&self) -> String {
        format!("pid {}\nsince {}\ncommand {}\n", self.pid, self.since, self.command)
    }

    fn parse(note: &str) -> Option<Self> {
        let field = |name: &str| note.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Some(Self {
            pid: field("pid")?.parse().ok()?,
            command: plain(field("command")?, Self::COMMAND_MAX),
            since: field("since")?.parse().ok()?,
        })
    }
}
