//! Calls of the program that change something outside it: files below its site, and sockets.

use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

/// What sort of thing a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Opens without making anything.
    Open,
    /// Makes, fills, renames, syncs or gives away.
    Change,
    /// Removes a name.
    Remove,
    Lock,
    Socket,
}

/// One call as the program makes it.
#[derive(Clone, Debug)]
pub struct Call {
    pub sort: Sort,
    pub name: &'static str,
    /// What it is made on, below the site.
    pub on: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.on)
    }
}

/// Longest path read from the program, in bytes.
const PATH_MOST: usize = 4096;

/// A call's number and arguments, as the registers hold them.
pub struct Raw {
    pub number: i64,
    pub arguments: [u64; 5],
}

/// Where a call says what it is made on.
enum Place {
    Descriptor(usize),
    Path(usize),
    /// A path relative to the directory of a descriptor: where both stand.
    At(usize, usize),
}

impl Call {
    /// What `raw` does, if it is a call of ours: on a socket, or on a file below `site` that is
    /// not what the program prints.
    pub fn of(raw: &Raw, pid: Pid, site: &Path) -> Option<Self> {
        use Place::{At, Descriptor, Path};
        use Sort::{Change, Lock, Open, Remove, Socket};
        let created = |flags: u64| {
            let flags = i32::try_from(flags & 0xffff_ffff).unwrap_or(0);
            if flags & libc::O_CREAT == 0 { (Open, "open") } else { (Change, "create") }
        };
        let (sort, name, place) = match raw.number {
            libc::SYS_open => {
                let (sort, name) = created(raw.arguments[1]);
                (sort, name, Path(0))
            }
            libc::SYS_openat => {
                let (sort, name) = created(raw.arguments[2]);
                (sort, name, At(0, 1))
            }
            libc::SYS_write => (Change, "write", Descriptor(0)),
            libc::SYS_writev => (Change, "writev", Descriptor(0)),
            libc::SYS_pwrite64 => (Change, "pwrite", Descriptor(0)),
            libc::SYS_copy_file_range => (Change, "copy_file_range", Descriptor(2)),
            libc::SYS_ftruncate => (Change, "ftruncate", Descriptor(0)),
            libc::SYS_fsync => (Change, "fsync", Descriptor(0)),
            libc::SYS_fdatasync => (Change, "fdatasync", Descriptor(0)),
            libc::SYS_syncfs => (Change, "syncfs", Descriptor(0)),
            libc::SYS_fchmod => (Change, "fchmod", Descriptor(0)),
            libc::SYS_fchown => (Change, "fchown", Descriptor(0)),
            libc::SYS_chmod => (Change, "chmod", Path(0)),
            libc::SYS_fchmodat => (Change, "fchmodat", At(0, 1)),
            libc::SYS_fchownat => (Change, "fchownat", At(0, 1)),
            libc::SYS_mkdir => (Change, "mkdir", Path(0)),
            libc::SYS_mkdirat => (Change, "mkdirat", At(0, 1)),
            libc::SYS_link => (Change, "link", Path(1)),
            libc::SYS_linkat => (Change, "linkat", At(2, 3)),
            libc::SYS_symlink => (Change, "symlink", Path(1)),
            libc::SYS_symlinkat => (Change, "symlinkat", At(1, 2)),
            libc::SYS_rename => (Change, "rename", Path(1)),
            libc::SYS_renameat => (Change, "renameat", At(2, 3)),
            libc::SYS_renameat2 => (Change, "renameat2", At(2, 3)),
            libc::SYS_unlink => (Remove, "unlink", Path(0)),
            libc::SYS_unlinkat => (Remove, "unlinkat", At(0, 1)),
            libc::SYS_rmdir => (Remove, "rmdir", Path(0)),
            libc::SYS_flock => (Lock, "flock", Descriptor(0)),
            // Which socket it will be is not known before there is one.
            libc::SYS_socket => {
                return Some(Self { sort: Socket, name: "socket", on: "socket".into() });
            }
            libc::SYS_connect => (Socket, "connect", Descriptor(0)),
            libc::SYS_bind => (Socket, "bind", Descriptor(0)),
            libc::SYS_listen => (Socket, "listen", Descriptor(0)),
            libc::SYS_accept4 => (Socket, "accept4", Descriptor(0)),
            libc::SYS_sendto => (Socket, "sendto", Descriptor(0)),
            libc::SYS_sendmsg => (Socket, "sendmsg", Descriptor(0)),
            libc::SYS_recvfrom => (Socket, "recvfrom", Descriptor(0)),
            libc::SYS_recvmsg => (Socket, "recvmsg", Descriptor(0)),
            _ => return None,
        };
        let path = match place {
            Descriptor(at) => opened(pid, raw.arguments[at])?,
            Path(at) => working_dir(pid)?.join(text(pid, raw.arguments[at])?),
            At(dir, at) => {
                let dir = match truncated(raw.arguments[dir]) {
                    libc::AT_FDCWD => working_dir(pid)?,
                    descriptor => opened(pid, u64::try_from(descriptor).ok()?)?,
                };
                dir.join(text(pid, raw.arguments[at])?)
            }
        };
        if path.to_string_lossy().starts_with("socket:") {
            return Some(Self { sort: Socket, name, on: "socket".into() });
        }
        let below = path.strip_prefix(site).ok()?;
        (sort != Socket && !below.starts_with("said")).then(|| Self {
            sort,
            name,
            on: below.display().to_string(),
        })
    }
}

/// The lower half of a register, as the kernel reads an `int`.
fn truncated(register: u64) -> i32 {
    let bytes = register.to_le_bytes();
    i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn opened(pid: Pid, descriptor: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/fd/{}", truncated(descriptor))).ok()
}

fn working_dir(pid: Pid) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// A path in the memory of the program.
fn text(pid: Pid, address: u64) -> Option<PathBuf> {
    use std::os::unix::fs::FileExt;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = vec![0; PATH_MOST];
    // Shorter where the page after it is not mapped.
    let filled = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..filled].iter().position(|byte| *byte == 0)?;
    bytes.truncate(end);
    Some(std::ffi::OsString::from_vec(bytes).into())
}
