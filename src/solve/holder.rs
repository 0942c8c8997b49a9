//! Which process holds a TCP port, told from what the kernel shows under `/proc`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;

use crate::codec::listening::Listener;
use crate::core::failure::plain;

/// Who listens where we would like to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Process {
        pid: u32,
        command: String,
    },
    /// Another user's process: its number is hidden from us, its user is not.
    Hidden {
        uid: u32,
    },
    /// Nothing under `/proc` listens there: another network namespace, or it just went away.
    Unknown,
}

/// Most bytes read of one socket table; a row has 150.
const TABLE_MAX: u64 = 16 << 20;
/// Most characters shown of a command's name; the kernel keeps 15.
const COMMAND_MAX: usize = 64;

impl Holder {
    /// Looks for the listener that collides with `address`. Blocks for as long as it takes to
    /// read the descriptor tables of all processes: some milliseconds on a usual host.
    pub fn of(address: SocketAddr) -> Self {
        let tables = [table("/proc/net/tcp"), table("/proc/net/tcp6")];
        let listeners = tables.iter().flat_map(|text| text.lines().filter_map(Listener::parse));
        let Some(listener) = listeners.into_iter().find(|listener| listener.collides(address)) else {
            return Self::Unknown;
        };
        process_with(listener.inode)
            .map_or(Self::Hidden { uid: listener.uid }, |(pid, command)| Self::Process { pid, command })
    }

    pub fn is_this_process(&self) -> bool {
        matches!(self, Self::Process { pid, .. } if *pid == std::process::id())
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } => write!(f, "{command} (process {pid})"),
            Self::Hidden { uid } => write!(
                f,
                "a process of user number {uid} (which one is hidden from us; as root, `ss -ltnp` names it)"
            ),
            Self::Unknown => f.write_str("a process that can't be seen from here (`ss -ltnp` as root may)"),
        }
    }
}

fn table(path: &str) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        // A table cut short only makes the answer vaguer.
        let _ = file.take(TABLE_MAX).read_to_string(&mut text);
    }
    text
}

fn process_with(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Processes of other users, and those that end while we look, are passed over.
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()));
        if holds {
            let command = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, plain(command.trim_end(), COMMAND_MAX)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn rows_of_the_kernels_table_are_read() {
        // The words are in host order, so these rows are right on little-endian machines only.
        if cfg!(target_endian = "big") {
            println!("SKIPPED: rows were recorded on a little-endian machine");
            return;
        }
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0";
        let listener = Listener::parse(v4).unwrap();
        assert_eq!(listener, Listener { address: "127.0.0.1:8080".parse().unwrap(), uid: 1000, inode: 4242 });
        let v6 = "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 33 0 7 1 0 100 0 0 10 0";
        assert_eq!(Listener::parse(v6).unwrap().address, "[::1]:80".parse().unwrap());
        let connected = v4.replace(" 0A ", " 01 ");
        for row in ["", "  sl  local_address rem_address   st", "0: zz:0 0:0 0A", &connected] {
            assert_eq!(Listener::parse(row), None, "{row}");
        }
    }

    #[test]
    fn listeners_collide_where_the_kernel_says_in_use() {
        for (wanted, theirs, collides) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
        ] {
            let listener = Listener { address: theirs.parse().unwrap(), uid: 0, inode: 1 };
            assert_eq!(listener.collides(wanted.parse().unwrap()), collides, "{wanted} against {theirs}");
        }
    }

    #[test]
    fn f37_our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = Holder::of(listener.local_addr().unwrap());
        assert!(holder.is_this_process(), "{holder}");
    }
}
