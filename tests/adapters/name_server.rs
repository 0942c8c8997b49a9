//! The name server of our own, asked by Debian's dig and by strangers who don't mean well.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nolapse::core::domain_name::DomainName;
use nolapse::core::failure::Class;
use nolapse::core::layout::Content;
use nolapse::core::name::{LineageId, SolverId};
use nolapse::core::order::{ChallengeTask, PersistTerms, Terms};
use nolapse::core::spec::{Listen, OwnServer};
use nolapse::core::time::Span;
use nolapse::ports::{Claim, Entry, Expect, Key, Reply, Revision, Shelf, Solver, Store, StoreError};
use nolapse::solve::dns::Lookup;
use nolapse::solve::dns01::own::OwnZones;
use nolapse::solve::dns01::record::{ProofRecord, value_of};
use nolapse::solve::dns01::{Dns01Solver, Provider};
use nolapse::solve::name_server::{IDLE, MESSAGE_MAX, QUESTIONS_MAX};
use nolapse::solve::persist::{PersistEye, PersistSolver};
use nolapse::solve::propagation::Propagation;
use nolapse::solve::texts::StandingTexts;
use nolapse::solve::throttle::BURST;
use nolapse::sys::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::bench::{MemoryStore, PATIENCE, shared};
use crate::dns::task;
use crate::ports;

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

/// Answers for `example.test`'s challenges and for `acme.test`, at this address.
pub fn spec(at: SocketAddr) -> OwnServer {
    OwnServer {
        listen: vec![Listen::Address(at)],
        zones: vec![name("_acme-challenge.example.test"), name("acme.test")],
        name_server: name("ns.acme.test"),
        addresses: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        contact: name("hostmaster.acme.test"),
    }
}

fn at(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), ports::free())
}

fn zones(store: &Arc<MemoryStore>, at: SocketAddr) -> Arc<OwnZones> {
    Arc::new(OwnZones::new(spec(at), shared(store), &Clock::wall()))
}

/// Its own server is all that is asked.
fn solver(zones: &Arc<OwnZones>, at: SocketAddr) -> Dns01Solver {
    let clock = Clock::wall();
    let lookup = Arc::new(Lookup::new(vec![at], at.port(), &clock));
    let propagation = Propagation {
        lookup,
        authoritative: vec![at],
        resolvers: Vec::new(),
        most: Span::secs(5),
        clock: clock.clone(),
    };
    Dns01Solver::new(SolverId::parse("dns").unwrap(), zones.clone(), propagation, None, &clock)
}

/// What dig prints; `None`, said aloud, where there is none.
async fn dig(at: SocketAddr, words: &[&str]) -> Option<String> {
    let (port, server) = (at.port().to_string(), format!("@{}", at.ip()));
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let asked = tokio::task::spawn_blocking(move || {
        Command::new("dig")
            .args(["+time=2", "+tries=2", "+norecurse", "-p", &port, &server])
            .args(words)
            .output()
    })
    .await
    .unwrap();
    let Ok(asked) = asked else {
        println!("SKIPPED: dig is not installed (Debian: apt install bind9-dnsutils)");
        return None;
    };
    Some(String::from_utf8_lossy(&asked.stdout).into_owned())
}

#[tokio::test]
async fn dig_understands_every_answer() {
    let store = Arc::new(MemoryStore::default());
    for ip in ["127.0.0.1", "::1"] {
        let at = at(ip);
        let zones = zones(&store, at);
        zones.listen().await.unwrap();
        let solver = solver(&zones, at);
        let (apex, star) = (task("example.test", "token-1"), task("*.example.test", "token-2"));
        let receipts = [solver.receipt(&apex).await.unwrap(), solver.receipt(&star).await.unwrap()];
        solver.present(&apex).await.unwrap();
        solver.present(&star).await.unwrap();
        solver.confirm(&apex).await.unwrap();
        for (words, wanted) in [
            (
                &["_acme-challenge.example.test", "TXT"][..],
                &["status: NOERROR", "flags: qr aa;", "ANSWER: 2"][..],
            ),
            (&["+tcp", "_acme-challenge.example.test", "TXT"], &["ANSWER: 2"]),
            (&["_ACME-Challenge.Example.TEST", "TXT"], &["_ACME-Challenge.Example.TEST. 0", "ANSWER: 2"]),
            (&["_acme-challenge.example.test", "SOA"], &["ns.acme.test. hostmaster.acme.test. 1 3600"]),
            (&["_acme-challenge.example.test", "NS"], &["IN\tNS\tns.acme.test."]),
            (&["_acme-challenge.example.test", "CAA"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1"]),
            (&["_acme-challenge.example.test", "ANY"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1"]),
            (&["ns.acme.test", "AAAA"], &["2001:db8::53"]),
            (&["nothing.acme.test", "TXT"], &["status: NXDOMAIN", "AUTHORITY: 1"]),
            (&["example.test", "A"], &["status: REFUSED", "ANSWER: 0, AUTHORITY: 0"]),
            (&["+tcp", "acme.test", "AXFR"], &["Transfer failed"]),
            (&["+noedns", "+opcode=UPDATE", "acme.test", "SOA"], &["status: NOTIMP"]),
            (&["+edns=1", "+noednsnegotiation", "acme.test", "SOA"], &["status: BADVERS"]),
            (&["+noedns", "acme.test", "SOA"], &["status: NOERROR", "ADDITIONAL: 0"]),
            (&["+dnssec", "acme.test", "SOA"], &["flags: do"]),
            (&["-c", "CH", "version.bind", "TXT"], &["status: REFUSED"]),
        ] {
            let Some(told) = dig(at, words).await else { return };
            assert!(
                wanted.iter().all(|part| told.contains(part)),
                "{ip} {words:?} wants {wanted:?}:\n{told}"
            );
            assert!(!told.contains("WARNING") || told.contains("Transfer"), "{ip} {words:?}:\n{told}");
        }
        for receipt in &receipts {
            solver.clean_up(receipt).await.unwrap();
        }
        let Some(told) = dig(at, &["+short", "_acme-challenge.example.test", "TXT"]).await else { return };
        assert_eq!(told, "");
        zones.close().await;
    }
    assert_eq!(store.len(), 0);
}

#[tokio::test]
async fn all_addresses_means_ipv4_too_and_without_ipv6_it_is_all_there_is() {
    let at = at("::");
    let zones = zones(&Arc::default(), at);
    zones.listen().await.unwrap();
    let v4 = SocketAddr::new([127, 0, 0, 1].into(), at.port());
    let Some(told) = dig(v4, &["+short", "acme.test", "NS"]).await else { return };
    assert_eq!(told.trim(), "ns.acme.test.");
    assert_eq!(dig(v4, &["+short", "+tcp", "acme.test", "NS"]).await.unwrap().trim(), "ns.acme.test.");
}

#[tokio::test]
async fn f09_another_process_tells_what_this_one_sets_and_nobody_at_all_is_told_before_the_ca_is() {
    let store = Arc::new(MemoryStore::default());
    let at = at("127.0.0.1");
    let (daemon, other) = (zones(&store, at), zones(&store, at));
    daemon.listen().await.unwrap();
    let by_hand = solver(&other, at);
    by_hand.able().await.unwrap();
    let task = task("example.test", "token-1");
    let receipt = by_hand.receipt(&task).await.unwrap();
    by_hand.present(&task).await.unwrap();
    by_hand.confirm(&task).await.unwrap();
    assert!(other.addresses().await.is_empty(), "the daemon answers");
    by_hand.clean_up(&receipt).await.unwrap();
    daemon.close().await;
    // Now the port is a stranger's.
    let _stranger = std::net::UdpSocket::bind(at).unwrap();
    let alone = solver(&zones(&store, at), at);
    alone.receipt(&task).await.unwrap();
    alone.present(&task).await.unwrap();
    let failure = alone.confirm(&task).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "port-in-use"), "{failure}");
    assert!(failure.words.contains("dns-listen"), "{failure}");
    assert_eq!(alone.able().await.unwrap_err().code, "port-in-use");
}

#[tokio::test]
async fn without_a_daemon_it_listens_only_while_a_text_stands() {
    let at = at("127.0.0.1");
    let zones = zones(&Arc::default(), at);
    let solver = solver(&zones, at);
    let task = task("example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    assert_eq!(
        receipt.place,
        format!(
            "_acme-challenge.example.test. TXT {} in _acme-challenge.example.test.",
            value_of("token-1.thumb")
        )
    );
    solver.able().await.unwrap();
    assert!(zones.addresses().await.is_empty());
    solver.present(&task).await.unwrap();
    assert_eq!(zones.addresses().await, [at]);
    solver.clean_up(&receipt).await.unwrap();
    assert!(std::net::UdpSocket::bind(at).is_ok() && std::net::TcpListener::bind(at).is_ok());
}

#[tokio::test]
async fn a_name_that_was_never_delegated_is_told_with_the_record_to_set() {
    let at = at("127.0.0.1");
    let zones = zones(&Arc::default(), at);
    zones.listen().await.unwrap();
    let failure = solver(&zones, at).receipt(&task("other.test", "token-1")).await.unwrap_err();
    // The one resolver of this test knows nothing of it, and says so.
    assert!(matches!(failure.code.as_str(), "dns-answer" | "dns-not-delegated"), "{failure}");
    let told = Provider::own_zone(&*zones, &name("_acme-challenge.other.test"));
    let words = told.unwrap_err().words;
    assert!(words.contains("_acme-challenge.other.test. CNAME other.test.acme.test."), "{words}");
}

#[tokio::test]
async fn t11_what_strangers_send_keeps_nobody_out() {
    let at = at("127.0.0.1");
    let zones = zones(&Arc::default(), at);
    zones.listen().await.unwrap();
    let junk = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    for size in [0, 1, 11, 12, 13, 512, MESSAGE_MAX + 1, 9000] {
        junk.send_to(&vec![0xff; size], at).await.unwrap();
        junk.send_to(&vec![0x00; size], at).await.unwrap();
    }
    // Longer than any question; then a length and nothing; then nothing.
    let mut long = TcpStream::connect(at).await.unwrap();
    long.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, long.read_to_end(&mut rest)).await.expect("it must end");
    assert!(rest.is_empty());
    let mut slow = TcpStream::connect(at).await.unwrap();
    slow.write_all(&[0, 30, 1]).await.unwrap();
    let begun = Instant::now();
    let _ = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("it must end");
    assert!(rest.is_empty() && begun.elapsed() + Duration::from_secs(1) > IDLE.to_std());
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(at).await.unwrap());
    }
    let Some(told) = dig(at, &["+tcp", "+short", "acme.test", "NS"]).await else { return };
    assert_eq!(told.trim(), "ns.acme.test.");
}

#[tokio::test]
async fn t11_one_connection_asks_many_times_and_not_for_ever() {
    let at = at("127.0.0.1");
    let zones = zones(&Arc::default(), at);
    zones.listen().await.unwrap();
    let question = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x04acme\x04test\0\0\x02\0\x01";
    let mut framed = u16::try_from(question.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    let mut stream = TcpStream::connect(at).await.unwrap();
    let mut answers = 0;
    while stream.write_all(&framed).await.is_ok() {
        let Ok(length) = stream.read_u16().await else { break };
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..2], question[..2]);
        answers += 1;
    }
    assert_eq!(answers, QUESTIONS_MAX);
}

#[tokio::test]
async fn t11_a_flood_gets_fewer_answers_than_questions_and_is_sent_to_tcp() {
    let at = at("127.0.0.1");
    let zones = zones(&Arc::default(), at);
    zones.listen().await.unwrap();
    let asker = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let question = b"\0\x07\0\0\0\x01\0\0\0\0\0\0\x04acme\x04test\0\0\x02\0\x01";
    let (mut whole, mut cut, mut asked) = (0_u32, 0_u32, 0_u32);
    let mut answer = [0; 600];
    // Until it is told to come by TCP; a machine too slow to ask that fast would never be.
    while cut == 0 && asked < BURST * 20 {
        for _ in 0..50 {
            asker.send_to(question, at).await.unwrap();
            asked += 1;
        }
        while let Ok(Ok(length)) =
            tokio::time::timeout(Duration::from_millis(20), asker.recv(&mut answer)).await
        {
            if answer[2] & 2 == 0 {
                whole += 1;
            } else {
                assert!(length <= question.len(), "no longer than its question");
                cut += 1;
            }
        }
    }
    if cut == 0 {
        println!("SKIPPED: this machine asks too slowly for a flood ({asked} questions, {whole} answers)");
        return;
    }
    assert!(whole >= BURST && whole + cut < asked, "{whole} {cut} {asked}");
}

/// The texts of a store that can't be read are not "none".
#[tokio::test]
async fn f12_a_store_that_fails_is_no_empty_one() {
    let at = at("127.0.0.1");
    let zones = Arc::new(OwnZones::new(spec(at), Arc::new(Broken) as Arc<dyn Store>, &Clock::wall()));
    zones.listen().await.unwrap();
    let Some(told) = dig(at, &["acme.test", "TXT"]).await else { return };
    assert!(told.contains("status: SERVFAIL"), "{told}");
}

/// One entry that can't be read hides none of the others, whenever they were set and read.
#[tokio::test]
async fn f12_one_bad_entry_silences_no_text() {
    let inner = Arc::new(MemoryStore::default());
    let (record, other) = (text_at("a.acme.test", "first"), text_at("b.acme.test", "second"));
    let writer = StandingTexts::new(shared(&inner), &Clock::wall());
    writer.set(&record).await.unwrap();
    writer.set(&other).await.unwrap();
    let keys = inner.list(Shelf::Challenges).await.unwrap();
    for bad in keys {
        let store = Arc::new(OneBad { inner: shared(&inner), bad: Some(bad) }) as Arc<dyn Store>;
        let told = StandingTexts::new(store, &Clock::wall()).all().await.unwrap();
        assert_eq!(told.len(), 1, "the other one is told: {told:?}");
    }
    let store = Arc::new(OneBad { inner: shared(&inner), bad: None }) as Arc<dyn Store>;
    assert_eq!(StandingTexts::new(store, &Clock::wall()).all().await.unwrap().len(), 2);
}

fn text_at(place: &str, value: &str) -> ProofRecord {
    ProofRecord { name: name(place), value: value.to_owned(), zone: None }
}

/// Of systemd's sockets none is handed to a command that is run by hand; the service has them.
#[tokio::test]
async fn a_renewal_by_hand_leaves_the_sockets_of_systemd_to_the_service() {
    let store = Arc::new(MemoryStore::default());
    let listen = vec![Listen::Systemd("nolapse-dns".to_owned())];
    let spec = OwnServer { listen, ..spec(at("127.0.0.1")) };
    let by_hand = OwnZones::new(spec.clone(), shared(&store), &Clock::wall());
    by_hand.able().await.unwrap();
    let service = OwnZones::new(spec, shared(&store), &Clock::wall());
    assert_eq!(service.listen().await.unwrap_err().code, "socket-missing");
    assert_eq!(service.able().await.unwrap_err().code, "socket-missing", "the service itself must have them");
}

/// A text that is not seen from here may stand where the CA looks; one that is seen to be wrong does not.
#[tokio::test]
async fn f35_a_standing_text_that_is_not_seen_is_advice() {
    const PLACE: &str = "_validation-persist.acme.test";
    let (ours, theirs) = ("https://ca.example/acct/1", "https://ca.example/acct/2");
    let terms = PersistTerms { issuers: vec!["ca.example".into()], accounts: vec![ours.into()] };
    for (situation, text, code, class) in [
        ("nothing stands", None, "persist-absent", Class::Transient),
        ("something else stands", Some("v=spf1".to_owned()), "persist-absent", Class::Transient),
        (
            "another account's",
            Some(format!("ca.example;accounturi={theirs}")),
            "persist-account",
            Class::Refused,
        ),
        ("another CA's", Some(format!("x.example;accounturi={ours}")), "persist-missing", Class::Refused),
        (
            "one that ended",
            Some(format!("ca.example;accounturi={ours};persistUntil=1")),
            "persist-ended",
            Class::Refused,
        ),
    ] {
        let (store, at, clock) = (Arc::new(MemoryStore::default()), at("127.0.0.1"), Clock::wall());
        let zones = zones(&store, at);
        zones.listen().await.unwrap();
        if let Some(text) = text {
            StandingTexts::new(shared(&store), &clock).set(&text_at(PLACE, &text)).await.unwrap();
        }
        let lookup = Arc::new(Lookup::new(vec![at], at.port(), &clock));
        let eye = PersistEye::new(lookup, vec![at], &clock);
        let solver = PersistSolver::new(SolverId::parse("standing").unwrap(), eye);
        let task = ChallengeTask { terms: Terms::Persist(terms.clone()), ..task("acme.test", "token") };
        let failure = solver.confirm(&task).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.class), (code, class), "{situation}: {failure}");
        let lost = solver.standing(&task.name, &terms).await.unwrap().unwrap_err();
        assert_eq!(lost.class, Class::Refused, "{situation}: `persist-lost` is told all the same");
    }
}

/// A store of which one entry can't be read.
struct OneBad {
    inner: Arc<dyn Store>,
    bad: Option<Key>,
}

impl Store for OneBad {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        if self.bad.as_ref() == Some(key) {
            return Box::pin(async { Err(broken()) });
        }
        self.inner.load(key)
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        self.inner.swap(key, expect, content)
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        self.inner.list(shelf)
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        self.inner.remove(key)
    }

    fn claim<'a>(&'a self, id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        self.inner.claim(id)
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        self.inner.writable()
    }
}

struct Broken;

impl Store for Broken {
    fn load<'a>(&'a self, _key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async { Err(broken()) })
    }

    fn swap<'a>(
        &'a self,
        _key: &'a Key,
        _expect: Expect,
        _content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        Box::pin(async { Err(broken()) })
    }

    fn list(&self, _shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        Box::pin(async { Err(broken()) })
    }

    fn remove<'a>(&'a self, _key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        Box::pin(async { Err(broken()) })
    }

    fn claim<'a>(&'a self, _id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(async { Err(broken()) })
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        Box::pin(async { Err(broken()) })
    }
}

fn broken() -> StoreError {
    StoreError::Io {
        what: "challenges".to_owned(),
        why: "Input/output error".to_owned(),
        kind: std::io::ErrorKind::Other,
    }
}
