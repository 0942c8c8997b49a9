//! Where the name server of our own listens: sockets of systemd, and hosts without IPv6.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nolapse::core::spec::{Listen, OwnServer};
use nolapse::solve::dns01::own::OwnZones;
use nolapse::sys::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::bench::{MemoryStore, PATIENCE, shared};
use crate::{name_server, ports};

/// `acme.test NS`, as it is sent.
const QUESTION: &[u8] = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x04acme\x04test\0\0\x02\0\x01";

fn zones(listen: Vec<Listen>) -> OwnZones {
    let spec = OwnServer { listen, ..name_server::spec(SocketAddr::from(([127, 0, 0, 1], 1))) };
    OwnZones::new(spec, shared(&Arc::<MemoryStore>::default()), &Clock::wall())
}

/// Whether the answer is one, has no error (RCODE, the low half of its octet), and says something.
fn is_told(answer: &[u8]) -> bool {
    answer.len() > QUESTION.len()
        && answer[..2] == QUESTION[..2]
        && answer[3].is_multiple_of(16)
        && answer[7] > 0
}

async fn told_by_udp(from: &UdpSocket, at: SocketAddr) -> bool {
    from.send_to(QUESTION, at).await.unwrap();
    let mut answer = [0; 1500];
    let heard = tokio::time::timeout(PATIENCE, from.recv(&mut answer)).await;
    heard.is_ok_and(|length| length.is_ok_and(|length| is_told(&answer[..length])))
}

async fn told_by_tcp(at: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(at).await?;
        let length = u16::try_from(QUESTION.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], QUESTION].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let heard = tokio::time::timeout(PATIENCE, asked).await;
    heard.is_ok_and(|answer| answer.is_ok_and(|answer| is_told(&answer)))
}

/// Runs an ignored test of this program by a shell line that ends in `"$0" "$@"`.
fn run_within(line: &str, test: &str, stdin: Stdio, stdout: Stdio) {
    let output = Command::new("sh")
        .args(["-c", line])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}");
}

#[test]
fn sockets_of_systemd_are_used_for_both_ways_of_asking_and_datagrams_alone_are_enough() {
    for streams in [true, false] {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = datagrams.local_addr().unwrap();
        let stream = std::net::TcpListener::bind(at);
        let Ok(stream) = stream else {
            println!("SKIPPED: another program has just taken {at} by TCP");
            return;
        };
        // What systemd does: the sockets as descriptors from 3 on, and three variables.
        let (count, names) = if streams { (2, "names:names") } else { (1, "names") };
        let line = format!(
            "exec 3<&0 4<&1 1>&2 </dev/null; LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} \
             EXPECTED={at} STREAMS={streams} exec \"$0\" \"$@\""
        );
        run_within(
            &line,
            "name_server_sockets::inside_a_unit",
            OwnedFd::from(datagrams).into(),
            OwnedFd::from(stream).into(),
        );
    }
}

/// Run by [`sockets_of_systemd_are_used_for_both_ways_of_asking_and_datagrams_alone_are_enough`].
#[tokio::test]
#[ignore = "needs sockets handed over"]
async fn inside_a_unit() {
    let at: SocketAddr = std::env::var("EXPECTED").unwrap().parse().unwrap();
    let streams = std::env::var("STREAMS").unwrap() == "true";
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Twice: a reloaded configuration asks again.
    for round in 1..=2 {
        let zones = zones(vec![Listen::Systemd("names".into())]);
        zones.listen().await.unwrap();
        assert_eq!(zones.addresses().await, [at]);
        assert!(told_by_udp(&client, at).await, "UDP, round {round}");
        if streams {
            assert!(told_by_tcp(at).await, "TCP, round {round}");
        }
        zones.close().await;
    }
    let failure = zones(vec![Listen::Systemd("other".into())]).listen().await.unwrap_err();
    assert_eq!(failure.code, "socket-missing", "{failure}");
}

#[test]
fn a_stream_alone_from_systemd_is_refused_with_the_line_that_is_missing() {
    let stream: OwnedFd = std::net::TcpListener::bind("127.0.0.1:0").unwrap().into();
    let line =
        "exec 3<&0 1>&2 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=names exec \"$0\" \"$@\"";
    run_within(line, "name_server_sockets::inside_a_unit_without_datagrams", stream.into(), Stdio::piped());
}

/// Run by [`a_stream_alone_from_systemd_is_refused_with_the_line_that_is_missing`].
#[tokio::test]
#[ignore = "needs a socket handed over"]
async fn inside_a_unit_without_datagrams() {
    let failure = zones(vec![Listen::Systemd("names".into())]).listen().await.unwrap_err();
    assert_eq!(failure.code, "socket-missing");
    assert!(failure.words.contains("ListenDatagram="), "{failure}");
}

/// `net.ipv6.conf.all.disable_ipv6=1`, in a network of its own.
#[test]
fn where_ipv6_is_switched_off_all_addresses_are_those_of_ipv4() {
    let off = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    let able = Command::new("unshare").args(["-n", "sh", "-c", off]).output();
    if !able.is_ok_and(|done| done.status.success()) {
        println!("SKIPPED: a network of its own needs root, unshare and ip");
        return;
    }
    let line = format!("exec unshare -n sh -c '{off} && exec \"$0\" \"$@\"' \"$0\" \"$@\"");
    run_within(&line, "name_server_sockets::without_ipv6", Stdio::null(), Stdio::piped());
}

/// Run by [`where_ipv6_is_switched_off_all_addresses_are_those_of_ipv4`].
#[tokio::test]
#[ignore = "needs a network without IPv6"]
async fn without_ipv6() {
    assert!(UdpSocket::bind("[::1]:0").await.is_err(), "IPv6 is on");
    let port = ports::free();
    let own = zones(vec![Listen::Address(format!("[::]:{port}").parse().unwrap())]);
    own.listen().await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    assert!(told_by_udp(&client, at).await && told_by_tcp(at).await);
    // Who names an address of IPv6 is told that there is none.
    let failure =
        zones(vec![Listen::Address(format!("[::1]:{port}").parse().unwrap())]).listen().await.unwrap_err();
    assert_eq!(failure.code, "address-missing", "{failure}");
}

/// A kernel without IPv6 (`ipv6.disable=1`) makes no such socket at all.
#[test]
fn where_the_kernel_has_no_ipv6_both_binds_fall_back() {
    if !Command::new("strace").args(["-f", "true"]).output().is_ok_and(|done| done.status.success()) {
        println!("SKIPPED: strace is not installed, or may not trace");
        return;
    }
    // The test makes four sockets in this order: UDP by IPv6, which fails, and by IPv4; the same by TCP.
    let line = "exec strace -f -qqq -o /dev/null -e trace=socket -e inject=socket:error=EAFNOSUPPORT:when=1..3+2 \
                \"$0\" \"$@\" --test-threads=1";
    run_within(line, "name_server_sockets::without_the_family", Stdio::null(), Stdio::piped());
}

/// Run by [`where_the_kernel_has_no_ipv6_both_binds_fall_back`].
#[tokio::test]
#[ignore = "needs a kernel whose IPv6 is missing"]
async fn without_the_family() {
    // Not asked of the system, which would take a socket; from between those of other tests and the kernel's.
    let port = 30_000 + u16::try_from(std::process::id() % 2_700).unwrap();
    let zones = zones(vec![Listen::Address(format!("[::]:{port}").parse().unwrap())]);
    zones.listen().await.unwrap();
    assert_eq!(zones.addresses().await, [SocketAddr::from(([0, 0, 0, 0], port))]);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    assert!(told_by_udp(&client, at).await && told_by_tcp(at).await);
}
