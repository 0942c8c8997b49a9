//! The kernel's table of TCP sockets, `/proc/net/tcp` and `tcp6` (`proc_net_tcp(5)`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One listening socket of the kernel's table.
#[derive(Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    /// Of who opened it.
    pub uid: u32,
    pub inode: u64,
}

impl Listener {
    /// The state that `proc_net_tcp` prints for a listening socket.
    const LISTENING: &str = "0A";

    /// A row of the table; `None` for anything but a socket that listens.
    pub fn parse(row: &str) -> Option<Self> {
        let mut columns = row.split_ascii_whitespace();
        let local = columns.nth(1)?;
        let state = columns.nth(1)?;
        let uid = columns.nth(3)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        if state != Self::LISTENING {
            return None;
        }
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(Self { address: SocketAddr::new(address(ip)?, port), uid, inode })
    }

    /// Whether nobody else could listen at `wanted`.
    pub fn collides(&self, wanted: SocketAddr) -> bool {
        let (ours, theirs) = (wanted.ip().to_canonical(), self.address.ip().to_canonical());
        self.address.port() == wanted.port()
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    }
}

/// Reads an address as the kernel prints it: 32-bit words, each in the host's byte order.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}
