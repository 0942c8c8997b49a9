//! Looking for a text where it must be seen: at real servers of one zone of which one lags, and at resolvers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nolapse::core::failure::Class;
use nolapse::core::name::SolverId;
use nolapse::core::spec::SecretSource;
use nolapse::core::time::Span;
use nolapse::ports::Solver;
use nolapse::solve::dns::Lookup;
use nolapse::solve::dns01::Dns01Solver;
use nolapse::solve::dns01::rfc2136::Rfc2136;
use nolapse::solve::propagation::Propagation;
use nolapse::sys::clock::Clock;

use crate::bind::NameServer;
use crate::dns::{secrets, task};
use crate::ports::{self, wait_for};
use crate::unbound::Resolver;

const APEX: &str = "_acme-challenge.example.test";
/// Where the second server of the zone is.
const SECOND: &str = "127.0.0.2";
/// Longest time until a server has the zone.
const LOADED_MOST: Duration = Duration::from_secs(20);

/// Debian's knot as the zone's second server: it fetches `example.test` from the first one when it starts and when
/// it is told to, as nothing else tells it of changes (bind sends its notices to port 53).
struct Secondary {
    dir: PathBuf,
    port: u16,
    child: Child,
}

impl Secondary {
    /// At the port of the first server, as every server of a zone has the same.
    fn of(primary: &NameServer, dir: &Path) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let (at, port) = (dir.display(), primary.port);
        let conf = format!(
            "server:\n  rundir: \"{at}\"\n  listen: {SECOND}@{port}\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n  storage: \"{at}\"\n\
             remote:\n  - id: first\n    address: 127.0.0.1@{port}\n\
             template:\n  - id: default\n    storage: \"{at}\"\n    file: \"%s.zone\"\n\
             zone:\n  - domain: example.test\n    master: first\n"
        );
        std::fs::write(dir.join("knot.conf"), conf).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut command = Command::new("knotd");
        command.arg("-c").arg(dir.join("knot.conf")).stdin(Stdio::null());
        let Ok(child) = command.stdout(log.try_clone().unwrap()).stderr(log).spawn() else {
            println!("SKIPPED: knotd is not installed (Debian: apt install knot)");
            return None;
        };
        let server = Self { dir: dir.to_owned(), port, child };
        let loaded = wait_for(LOADED_MOST, || server.has("example.test", "SOA", "ns1.example.test"));
        assert!(loaded, "it has no zone:\n{}", server.log());
        Some(server)
    }

    fn has(&self, name: &str, kind: &str, part: &str) -> bool {
        let asked = Command::new("dig")
            .args(["+short", "+norecurse", "+time=1", "+tries=1", "-p", &self.port.to_string()])
            .args([&format!("@{SECOND}"), name, kind])
            .output()
            .unwrap();
        String::from_utf8_lossy(&asked.stdout).contains(part)
    }

    /// Has it ask the first server now.
    fn catch_up(&self) {
        let socket = self.dir.join("knot.sock");
        let done =
            Command::new("knotc").arg("-s").arg(socket).args(["zone-refresh", "example.test"]).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Secondary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the second server's log:\n{}", self.log());
        }
    }
}

/// By updates at `server`; the zone's servers are found in its NS records.
fn solver(server: &NameServer, resolvers: Vec<SocketAddr>, most: Span) -> Dns01Solver {
    let clock = Clock::wall();
    let lookup = Arc::new(Lookup::new(vec![server.address().parse().unwrap()], server.port, &clock));
    let key = SecretSource::File(server.key_path().to_str().unwrap().to_owned());
    let provider = Rfc2136::new(None, Some(key), Span::MINUTE, secrets(), lookup.clone(), &clock);
    let propagation =
        Propagation { lookup, authoritative: Vec::new(), resolvers, most, clock: clock.clone() };
    Dns01Solver::new(SolverId::parse("dns").unwrap(), Arc::new(provider), propagation, None, &clock)
}

#[tokio::test]
async fn f34_of_two_servers_in_the_zones_own_records_the_one_that_lags_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "grant acme zonesub ANY;";
    let Some(first) = NameServer::bind_at(&dir.path().join("first"), "127.0.0.1", ports::free(), policy)
    else {
        return;
    };
    first.nsupdate("example.test", &format!("update add ns2.example.test 60 A {SECOND}"));
    first.nsupdate("example.test", "update add example.test 60 NS ns2.example.test.");
    let Some(second) = Secondary::of(&first, &dir.path().join("second")) else { return };
    let solver = solver(&first, Vec::new(), Span::secs(2));
    let task = task("example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    solver.present(&task).await.unwrap();
    let failure = solver.confirm(&task).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "dns-unseen"));
    for said in ["ns2.example.test (127.0.0.2) has nothing there", "ns1.example.test (127.0.0.1) shows it"] {
        assert!(failure.words.contains(said), "{said:?} is not in {failure}");
    }
    let showing = solver.showing(&task).unwrap();
    assert_eq!(showing.servers.iter().filter(|server| server.seen).count(), 1, "{showing:?}");
    second.catch_up();
    assert!(wait_for(LOADED_MOST, || second.has(APEX, "TXT", "\"")), "{}", second.log());
    solver.confirm(&task).await.unwrap();
    assert!(solver.showing(&task).unwrap().servers.iter().all(|server| server.seen));
    solver.clean_up(&receipt).await.unwrap();
    assert!(first.texts(APEX).is_empty());
}

#[tokio::test]
async fn f34_a_resolver_that_must_see_the_text_is_waited_for_after_all_servers_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(&dir.path().join("bind")) else { return };
    // A resolver of the inside, which has an `example.test` of its own.
    let Some(inside) = NameServer::bind(&dir.path().join("inside")) else { return };
    let seen_by = vec![inside.address().parse().unwrap()];
    let solver = solver(&server, seen_by, Span::secs(2));
    let task = task("example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    solver.present(&task).await.unwrap();
    let failure = solver.confirm(&task).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "dns-unseen"));
    let lacks = "127.0.0.1 has nothing there; ns1.example.test (127.0.0.1) shows it";
    assert!(failure.words.contains(lacks), "{failure}");
    let text = server.texts(APEX).pop().unwrap();
    inside.nsupdate("example.test", &format!("update add {APEX} 60 TXT {text}"));
    solver.confirm(&task).await.unwrap();
    assert_eq!(solver.showing(&task).unwrap().servers.len(), 2);
    solver.clean_up(&receipt).await.unwrap();
}

#[tokio::test]
async fn f34_a_resolver_that_remembers_that_there_was_nothing_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(&dir.path().join("bind")) else { return };
    let Some(resolver) = Resolver::over(&server, &dir.path().join("unbound")) else { return };
    let seen_by = vec![SocketAddr::from(([127, 0, 0, 1], resolver.port))];
    let solver = solver(&server, seen_by.clone(), Span::secs(30));
    // It is asked before the text stands, and keeps the answer for the second that the zone allows.
    let clock = Clock::wall();
    let before = Lookup::new(seen_by, server.port, &clock);
    let place = nolapse::core::domain_name::DomainName::parse(APEX).unwrap();
    let answer = before.find(&place, nolapse::codec::dns::Kind::Txt).await.unwrap();
    assert_eq!(answer.texts(&place).count(), 0);
    let task = task("example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    solver.present(&task).await.unwrap();
    solver.confirm(&task).await.unwrap();
    let showing = solver.showing(&task).unwrap();
    assert_eq!(showing.servers.iter().filter(|server| server.seen).count(), 2, "{showing:?}");
    solver.clean_up(&receipt).await.unwrap();
}
