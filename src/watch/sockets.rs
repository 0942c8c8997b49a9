//! Which TCP sockets listen on this host, and whose they are, as far as `/proc` shows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use crate::codec::listening::Listener;
use crate::core::failure::plain;
use crate::core::usage::Listening;

/// Most bytes read of one socket table; a row has 150.
const TABLE_MAX: u64 = 16 << 20;
/// Most characters shown of a command's name; the kernel keeps 15.
const COMMAND_MAX: usize = 64;
/// Most descriptors looked at, of all processes.
const DESCRIPTORS_MAX: usize = 200_000;

/// Every listening socket once, sorted. Blocks while it reads.
pub fn listening() -> Vec<Listening> {
    let tables = [table("/proc/net/tcp"), table("/proc/net/tcp6")];
    let listeners: Vec<_> = tables.iter().flat_map(|text| text.lines().filter_map(Listener::parse)).collect();
    let owners = owners();
    let mut found: Vec<_> = listeners
        .into_iter()
        .map(|listener| Listening {
            address: listener.address,
            process: owners.get(&listener.inode).cloned(),
        })
        .collect();
    found.sort();
    found.dedup_by(|a, b| a.address == b.address);
    found
}

fn table(path: &str) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(path) {
        // A table cut short only makes the answer vaguer.
        let _ = file.take(TABLE_MAX).read_to_string(&mut text);
    }
    text
}

/// Processes by the number of a socket that they hold; those of other users are hidden from us.
fn owners() -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    let mut left = DESCRIPTORS_MAX;
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let mut shown = None;
        for descriptor in descriptors.flatten() {
            if left == 0 {
                return owners;
            }
            left -= 1;
            let Ok(target) = std::fs::read_link(descriptor.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                let words = shown.get_or_insert_with(|| {
                    let command = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                    format!("{} ({pid})", plain(command.trim_end(), COMMAND_MAX))
                });
                // The first is the oldest: a master before its workers.
                owners.entry(inode).or_insert_with(|| words.clone());
            }
        }
    }
    owners
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_among_them() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = listening().into_iter().find(|each| each.address == address).unwrap();
        assert!(found.process.unwrap().ends_with(&format!("({})", std::process::id())));
    }
}
