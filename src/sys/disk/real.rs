//! The host's disk. Every step works on a descriptor of the parent directory, and none follows a
//! link at the end of its path. Every call is made again when a signal interrupts it: local disks
//! never do that, but FUSE and network file systems may with any of them.

use std::ffi::OsString;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use rustix::fs::{self, Access, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::{Errno, retry_on_intr};

use super::{FileKind, Stat, Trace, owner};
use crate::core::layout::{Content, FileRights, FsOp};

pub fn perform(root: Option<&Path>, op: &FsOp) -> io::Result<()> {
    match op {
        FsOp::MakeDir { path, rights } => Place::of(root, path)?.make_dir(rights),
        FsOp::Create { path, content, rights } => {
            Place::of(root, path)?.create(content.bytes(), rights, File::sync_all)
        }
        FsOp::Draft { path, content, rights } => {
            Place::of(root, path)?.create(content.bytes(), rights, |_| Ok(()))
        }
        FsOp::Copy { from, to } => Place::of(root, from)?.copy(&Place::of(root, to)?),
        FsOp::Link { path, target } => {
            let place = Place::of(root, path)?;
            Ok(retry_on_intr(|| fs::symlinkat(target, &place.dir, &place.name))?)
        }
        FsOp::Rename { from, to } => {
            let (from, to) = (Place::of(root, from)?, Place::of(root, to)?);
            Ok(retry_on_intr(|| fs::renameat(&from.dir, &from.name, &to.dir, &to.name))?)
        }
        FsOp::SyncDir { path } => sync_dir(root, path),
        FsOp::Discard { path } => discard(root, path, AtFlags::empty()),
        FsOp::DiscardDir { path } => match discard(root, path, AtFlags::REMOVEDIR) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => done,
        },
        FsOp::SetRights { path, rights } => Place::of(root, path)?.set_rights(rights),
    }
}

/// A name in a directory that is held open.
struct Place {
    dir: OwnedFd,
    name: OsString,
}

const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Place {
    fn of(root: Option<&Path>, path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok(Self { dir: directory(root, parent)?, name })
    }

    fn open(&self, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(retry_on_intr(|| fs::openat(&self.dir, &self.name, flags, mode))?)
    }

    fn make_dir(&self, rights: &FileRights) -> io::Result<()> {
        let mode = Mode::from_raw_mode(rights.mode & 0o777);
        match retry_on_intr(|| fs::mkdirat(&self.dir, &self.name, mode)) {
            Ok(()) => {
                let dir = self.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                give(&File::from(dir), &Ids::of(rights)?, rights.mode)
            }
            Err(Errno::EXIST) => {
                let stat = fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
                match fs::FileType::from_raw_mode(stat.st_mode) {
                    fs::FileType::Directory => Ok(()),
                    _ => Err(Errno::NOTDIR.into()),
                }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn create(
        &self,
        content: &[u8],
        rights: &FileRights,
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        // Looked up first: an unknown user must not leave a file behind.
        let ids = Ids::of(rights)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(self.open(flags, Mode::from_raw_mode(rights.mode & 0o777))?);
        let written = give(&file, &ids, rights.mode)
            .and_then(|()| file.write_all(content))
            // After a failed fsync the kernel may have dropped the pages and call the next one a
            // success: there is no second try on this file (F05).
            .and_then(|()| sync(&file));
        if written.is_err() {
            // What went wrong first is what is told.
            let _ = retry_on_intr(|| fs::unlinkat(&self.dir, &self.name, AtFlags::empty()));
        }
        written
    }

    fn copy(&self, to: &Self) -> io::Result<()> {
        let link = || fs::linkat(&self.dir, &self.name, &to.dir, &to.name, AtFlags::empty());
        match retry_on_intr(link) {
            // No hard links here, or none for us.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV | Errno::NOSYS) => {
                let (mut file, _) = regular(self.open(OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?)?;
                let mut content = Vec::new();
                file.read_to_end(&mut content)?;
                let mode = file.metadata()?.mode() & 0o777;
                let content = Content::new(content);
                to.create(content.bytes(), &FileRights::mode(mode), File::sync_all)
            }
            done => Ok(done?),
        }
    }

    fn set_rights(&self, rights: &FileRights) -> io::Result<()> {
        let ids = Ids::of(rights)?;
        let file = match self.open(OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(fd) => File::from(fd),
            // A mode so narrow that the owner can't read: reached by its magic link instead.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let fd = self.open(OFlags::PATH, Mode::empty())?;
                alone(&File::from(fd.try_clone()?))?;
                let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
                retry_on_intr(|| fs::chmod(&link, Mode::from_raw_mode(rights.mode | 0o400)))?;
                File::from(self.open(OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?)
            }
            Err(error) => return Err(error),
        };
        alone(&file)?;
        give(&file, &ids, rights.mode)
    }
}

/// A descriptor of a directory, good for reaching what is inside.
fn directory(root: Option<&Path>, path: &Path) -> io::Result<OwnedFd> {
    let Some(root) = root else {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        return Ok(retry_on_intr(|| fs::open(path, SEARCH, Mode::empty()))?);
    };
    let mut dir = retry_on_intr(|| fs::open(root, SEARCH, Mode::empty()))?;
    for component in path.components() {
        let Component::Normal(name) = component else { return Err(Errno::INVAL.into()) };
        dir = retry_on_intr(|| fs::openat(&dir, name, SEARCH | OFlags::NOFOLLOW, Mode::empty()))?;
    }
    Ok(dir)
}

fn sync_dir(root: Option<&Path>, path: &Path) -> io::Result<()> {
    let dir = directory(root, path)?;
    let dir = retry_on_intr(|| {
        fs::openat(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    })?;
    match retry_on_intr(|| fs::fsync(&dir)) {
        // A file system that has no such call; it can't be asked for more.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

fn discard(root: Option<&Path>, path: &Path, flags: AtFlags) -> io::Result<()> {
    let done = Place::of(root, path)
        .and_then(|place| Ok(retry_on_intr(|| fs::unlinkat(&place.dir, &place.name, flags))?));
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

struct Ids {
    user: Option<Uid>,
    group: Option<Gid>,
}

impl Ids {
    fn of(rights: &FileRights) -> io::Result<Self> {
        let missing = |kind: &str, name: &str| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("there is no {kind} {name:?} on this host"))
        };
        let user = match &rights.owner {
            Some(name) => Some(owner::user_id(name)?.ok_or_else(|| missing("user", name))?),
            None => None,
        };
        let group = match &rights.group {
            Some(name) => Some(owner::group_id(name)?.ok_or_else(|| missing("group", name))?),
            None => None,
        };
        Ok(Self { user: user.map(Uid::from_raw), group: group.map(Gid::from_raw) })
    }
}

/// Sets owner and mode through the descriptor, where they differ: without privileges a needless
/// chown would fail.
fn give(file: &File, ids: &Ids, mode: u32) -> io::Result<()> {
    let meta = file.metadata()?;
    let other_user = ids.user.is_some_and(|user| user.as_raw() != meta.uid());
    let other_group = ids.group.is_some_and(|group| group.as_raw() != meta.gid());
    let now = if other_user || other_group {
        retry_on_intr(|| fs::fchown(file.as_fd(), ids.user, ids.group))?;
        file.metadata()?.mode()
    } else {
        meta.mode()
    };
    // A directory keeps a set-group bit that it inherited: with it the group of a shared volume
    // reaches the files inside.
    let kept = if meta.is_dir() { now & 0o2000 } else { 0 };
    let wanted = (mode & 0o777) | kept;
    if now & 0o7777 != wanted {
        retry_on_intr(|| fs::fchmod(file.as_fd(), Mode::from_raw_mode(wanted)))?;
    }
    Ok(())
}

/// Refuses what may be somebody else's file that was linked into our directory.
fn alone(file: &File) -> io::Result<()> {
    let meta = file.metadata()?;
    if meta.is_dir() || (meta.is_file() && meta.nlink() == 1) {
        return Ok(());
    }
    let why = if meta.is_file() { "it has a second name (hard link)" } else { "it is not a file" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn regular(fd: OwnedFd) -> io::Result<(File, Metadata)> {
    let file = File::from(fd);
    let meta = file.metadata()?;
    if meta.is_file() {
        Ok((file, meta))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// The file's bytes, and what the kernel says of that same open file.
pub fn read(path: &Path, most: usize, follow: bool) -> io::Result<(Content, Stat)> {
    let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    // Non-blocking, so that a pipe planted here can't hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | nofollow;
    let fd = match retry_on_intr(|| fs::open(path, flags, Mode::empty())) {
        Err(Errno::LOOP) if !follow => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link"));
        }
        fd => fd?,
    };
    let (mut file, meta) = regular(fd)?;
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes"));
    let len = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    if len > most {
        return Err(too_large());
    }
    // One octet more than it holds, so that one call shows the end as well: a pass reads tens of
    // thousands of small files.
    let mut bytes = Content::new(vec![0; len + 1]);
    let mut filled = 0;
    loop {
        match file.read(&mut bytes.bytes_mut()[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        // The kernel's own files say that they are empty; those are read to their end.
        if filled == len {
            break;
        }
        if filled == bytes.len() {
            if filled > most {
                return Err(too_large());
            }
            // It grew since it was opened. The piece that is left behind may be of a key; it is
            // overwritten when it is dropped.
            let mut larger = vec![0; (filled * 2).min(most + 1)];
            larger[..filled].copy_from_slice(bytes.bytes());
            bytes = Content::new(larger);
        }
    }
    if filled > most {
        return Err(too_large());
    }
    bytes.truncate(filled);
    Ok((bytes, stat_of(&meta)))
}

pub fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = loop {
        match std::fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            entries => break entries?,
        }
    };
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

pub fn stat(path: &Path) -> io::Result<Stat> {
    std::fs::symlink_metadata(path).map(|meta| stat_of(&meta))
}

pub fn trace(path: &Path) -> io::Result<Trace> {
    // A tenth less work for the kernel than `statx`, and a pass over many does little else.
    let meta = retry_on_intr(|| fs::lstat(path))?;
    let kind = match FileType::from_raw_mode(meta.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    Ok(Trace {
        stat: Stat {
            kind,
            mode: meta.st_mode & 0o7777,
            uid: meta.st_uid,
            gid: meta.st_gid,
            len: u64::try_from(meta.st_size).unwrap_or(0),
        },
        device: meta.st_dev,
        inode: meta.st_ino,
        modified: (meta.st_mtime, meta.st_mtime_nsec),
        changed: (meta.st_ctime, meta.st_ctime_nsec),
    })
}

fn stat_of(meta: &Metadata) -> Stat {
    let kind = match meta.file_type() {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Dir,
        kind if kind.is_symlink() => FileKind::Link,
        _ => FileKind::Other,
    };
    Stat { kind, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid(), len: meta.len() }
}

pub fn free_space(path: &Path) -> io::Result<u64> {
    let volume = retry_on_intr(|| fs::statvfs(path))?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

pub fn may_write(dir: &Path) -> io::Result<()> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    Ok(retry_on_intr(|| fs::accessat(fs::CWD, dir, wanted, AtFlags::EACCESS))?)
}

pub fn free_files(path: &Path) -> io::Result<Option<u64>> {
    let volume = retry_on_intr(|| fs::statvfs(path))?;
    // Volumes that make inodes as they go (btrfs) count none.
    Ok((volume.f_files > 0).then_some(volume.f_favail))
}

pub fn lock(path: &Path, note: Option<&str>) -> io::Result<Option<File>> {
    let place = Place::of(None, path)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
    let mut file = loop {
        let (file, _) = regular(place.open(flags, Mode::from_raw_mode(0o600))?)?;
        match file.try_lock() {
            // A file that was removed since it was opened would be a lock that only we know.
            Ok(()) if file.metadata()?.nlink() == 0 => {}
            Ok(()) => break file,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    };
    if let Some(note) = note {
        // Only information for people; a full disk must not keep us from working.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(note.as_bytes()));
    }
    Ok(Some(file))
}
