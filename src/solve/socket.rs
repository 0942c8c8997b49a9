//! The listening socket: opened by us, or handed over by systemd.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, OnceLock};

use tokio::net::{TcpListener, TcpSocket};

use super::holder::Holder;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::spec::Listen;

/// Connections that the kernel may hold for us before we take them.
const BACKLOG: u32 = 1024;

const HTTP_WAY_OUT: &str = "let that server pass /.well-known/acme-challenge/ on to a loopback listener of ours, \
                            use a webroot, or stop it";

/// Opens what `listen` names. Needs a tokio runtime.
///
/// Codes: `port-in-use`, `port-forbidden`, `address-missing`, `socket-missing`, `listen-failed`.
pub async fn open(listen: &Listen) -> Result<Vec<TcpListener>, Failure> {
    open_or(listen, HTTP_WAY_OUT).await
}

/// As [`open`]; `way_out` says what to do where somebody else holds the port.
pub async fn open_or(listen: &Listen, way_out: &str) -> Result<Vec<TcpListener>, Failure> {
    match listen {
        Listen::Address(address) => match bind(*address) {
            Ok(listener) => Ok(vec![listener]),
            Err(error) => Err(refusal(*address, &error, way_out).await),
        },
        Listen::Systemd(name) => inherited(name),
    }
}

/// Binds; `[::]` takes IPv4 as well, and falls back to IPv4 alone where IPv6 is switched off.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match (bind_exactly(address), address.ip()) {
        (Err(error), IpAddr::V6(ip)) if ip.is_unspecified() && is_ipv6_off(&error) => {
            bind_exactly(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        (bound, _) => bound,
    }
}

/// Without the kernel module a socket can't be made; with `disable_ipv6=1` it can't be bound.
fn is_ipv6_off(error: &io::Error) -> bool {
    let off = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    off.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn bind_exactly(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says: `[::]` means everything, another address itself.
        rustix::net::sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn refusal(address: SocketAddr, error: &io::Error, way_out: &str) -> Failure {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = tokio::task::spawn_blocking(move || Holder::of(address)).await;
            let holder = holder.unwrap_or(Holder::Unknown);
            Failure::refused(
                Fault::Host,
                "port-in-use",
                format!("port {port} is held by {holder}; {way_out}"),
            )
        }
        io::ErrorKind::PermissionDenied => Failure::refused(
            Fault::Host,
            "port-forbidden",
            format!(
                "this process may not listen on {address}; ports under 1024 need the capability \
                 CAP_NET_BIND_SERVICE or a socket handed over by systemd"
            ),
        ),
        io::ErrorKind::AddrNotAvailable => Failure::refused(
            Fault::Config,
            "address-missing",
            format!("{address} is no address of this host; listen on [::]:{port} or on one that is"),
        ),
        _ => Failure::transient(Fault::Host, "listen-failed", format!("can't listen on {address}: {error}")),
    }
}

/// Sockets from the service manager stay open for the life of the process: they can't be had
/// twice, and a reloaded configuration needs them again.
static INHERITED: OnceLock<Mutex<BTreeMap<String, Vec<std::net::TcpListener>>>> = OnceLock::new();

fn inherited(name: &str) -> Result<Vec<TcpListener>, Failure> {
    let sockets = INHERITED.get_or_init(|| Mutex::new(handed_over()));
    let sockets = sockets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(found) = sockets.get(name).filter(|found| !found.is_empty()) else {
        let there: Vec<_> = sockets.keys().map(|name| plain(name, 64)).collect();
        let there = if there.is_empty() { "no socket at all".to_owned() } else { there.join(", ") };
        return Err(Failure::refused(
            Fault::Host,
            "socket-missing",
            format!(
                "systemd handed over {there}, but no stream socket named {}; the socket unit needs \
                 FileDescriptorName= with that name, and must be started before the service",
                plain(name, 64)
            ),
        ));
    };
    let listener = |socket: &std::net::TcpListener| {
        let socket = socket.try_clone()?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    };
    found.iter().map(listener).collect::<io::Result<_>>().map_err(|error| {
        Failure::transient(
            Fault::Host,
            "listen-failed",
            format!("can't use the socket {} from systemd: {error}", plain(name, 64)),
        )
    })
}

fn handed_over() -> BTreeMap<String, Vec<std::net::TcpListener>> {
    /// Number of the first descriptor handed over, `sd_listen_fds(3)`.
    const FIRST: i32 = 3;
    let mut sockets = BTreeMap::<String, Vec<_>>::new();
    let Ok(named) = sd_notify::listen_fds_with_names() else { return sockets };
    let mut descriptors = listenfd::ListenFd::from_env();
    for (descriptor, name) in named {
        let Ok(index) = usize::try_from(descriptor - FIRST) else { continue };
        // Anything but a TCP listener is not for us.
        if let Ok(Some(listener)) = descriptors.take_tcp_listener(index) {
            // It came without: programs that we start must not keep the port.
            let _ = rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC);
            sockets.entry(name).or_default().push(listener);
        }
    }
    sockets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout)]
    use super::*;

    #[tokio::test]
    async fn f37_a_busy_port_names_its_holder() {
        let first = open(&Listen::Address("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let address = first[0].local_addr().unwrap();
        for wanted in [address, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())] {
            let failure = open(&Listen::Address(wanted)).await.unwrap_err();
            assert_eq!(failure.code, "port-in-use");
            assert!(failure.words.contains(&format!("process {}", std::process::id())), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_foreign_address_is_a_mistake_in_the_configuration() {
        let failure = open(&Listen::Address("192.0.2.1:0".parse().unwrap())).await.unwrap_err();
        assert_eq!((failure.fault, failure.code.as_str()), (Fault::Config, "address-missing"));
    }

    #[tokio::test]
    async fn all_addresses_means_ipv4_too() {
        let everywhere = open(&Listen::Address("[::]:0".parse().unwrap())).await.unwrap();
        let port = everywhere[0].local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_systemd_did_not_hand_over_is_named() {
        let failure = open(&Listen::Systemd("http".into())).await.unwrap_err();
        assert_eq!(failure.code, "socket-missing");
        assert!(failure.words.contains("http"), "{failure}");
    }
}
