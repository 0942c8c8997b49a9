//! The look before an attempt, against a real name server, a real validating resolver, and web servers
//! of a few lines.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nolapse::core::finding::{Finding, Weight};
use nolapse::core::name::{IssuerId, SolverId, SubjectName};
use nolapse::core::pattern::NamePattern;
use nolapse::core::preflight::{Caa, Doubt, Facts, IssuerView, judge};
use nolapse::core::spec::{DnsProvider, DnsSpec, Listen, Origin, SolverExec, SolverKind, SolverSpec};
use nolapse::core::time::Span;
use nolapse::ports::{Inquiry, Preflight};
use nolapse::solve::preflight::NamePreflight;
use nolapse::sys::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::bind::NameServer;
use crate::ports;
use crate::unbound::Resolver;

fn web(port: u16) -> SolverSpec {
    SolverSpec {
        id: SolverId::parse("web").unwrap(),
        kind: SolverKind::Webroot { root: "/srv".into() },
        names: Vec::new(),
        check_port: Some(port),
        origin: Origin::default(),
    }
}

fn dns(server: &NameServer, change: impl FnOnce(&mut DnsSpec)) -> SolverSpec {
    let mut spec = DnsSpec {
        challenge: nolapse::core::record::ChallengeKind::Dns01,
        provider: DnsProvider::Exec(SolverExec {
            run: vec!["true".into()],
            cleanup: None,
            style: nolapse::core::spec::ExecStyle::default(),
            user: None,
            timeout: Span::MINUTE,
        }),
        resolvers: Vec::new(),
        authoritative: Vec::new(),
        seen_by: Vec::new(),
        propagation: Span::MINUTE,
        ttl: Span::MINUTE,
        zone: None,
    };
    change(&mut spec);
    SolverSpec {
        id: SolverId::parse("dns").unwrap(),
        kind: SolverKind::Dns(Box::new(spec)),
        names: Vec::new(),
        check_port: Some(server.port),
        origin: Origin::default(),
    }
}

async fn look(resolver: SocketAddr, names: &[&str], solvers: Vec<SolverSpec>) -> Vec<Facts> {
    let inquiry = Inquiry {
        names: names.iter().map(|name| SubjectName::parse(name).unwrap()).collect(),
        solvers,
        within: Span::secs(60),
    };
    NamePreflight::new(vec![resolver], &Clock::wall()).look(&inquiry).await
}

fn issuers() -> [IssuerView; 1] {
    [IssuerView {
        id: IssuerId::parse("ca").unwrap(),
        identities: Some(vec!["ca.test".into()]),
        account: Some("https://ca.test/acct/1".into()),
    }]
}

fn told(facts: &Facts) -> Vec<(String, Weight)> {
    judge(facts, &issuers()).into_iter().map(|finding| (finding.code, finding.weight)).collect()
}

fn only(facts: &[Facts]) -> Finding {
    let [facts] = facts else { panic!("{facts:?}") };
    let found = judge(facts, &issuers());
    let [finding] = &found[..] else { panic!("{found:?} of {facts:?}") };
    finding.clone()
}

/// A name server whose whole zone may be changed.
fn open_server(dir: &Path) -> Option<NameServer> {
    NameServer::bind_at(dir, "127.0.0.1", ports::free(), "grant acme zonesub ANY;")
}

#[tokio::test]
async fn f38_records_of_a_real_server_count_from_the_closest_name_upwards() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = open_server(dir.path()) else { return };
    let add = |name: &str, record: &str| {
        server.nsupdate("example.test", &format!("update add {name}.example.test. 60 {record}"));
    };
    add("good", "CAA 0 issue \"ca.test\"");
    add("deny", "CAA 0 issue \"other.test\"");
    add("star", "CAA 0 issue \"ca.test\"");
    add("star", "CAA 0 issuewild \";\"");
    add("account", "CAA 0 issue \"ca.test; accounturi=https://ca.test/acct/2\"");
    add("method", "CAA 0 issue \"ca.test; validationmethods=http-01\"");
    add("critical", "CAA 128 future \"x\"");
    add("elsewhere", "CNAME deny.example.test.");
    let resolver = server.address().parse().unwrap();
    let names = [
        ("good.example.test", None),
        ("a.b.good.example.test", None),
        ("a.b.deny.example.test", Some("caa-denies")),
        ("elsewhere.example.test", Some("caa-denies")),
        ("star.example.test", None),
        ("*.star.example.test", Some("caa-denies")),
        ("account.example.test", Some("caa-account")),
        ("method.example.test", Some("caa-method")),
        ("critical.example.test", Some("caa-critical")),
        ("free.example.test", None),
    ];
    let asked: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    let facts = look(resolver, &asked, vec![dns(&server, |_| ())]).await;
    assert_eq!(facts.len(), names.len());
    for (facts, (name, code)) in facts.iter().zip(names) {
        let expected: Vec<_> = code.iter().map(|code| ((*code).to_owned(), Weight::Error)).collect();
        assert_eq!(told(facts), expected, "{name}");
    }
}

#[tokio::test]
async fn f38_broken_signatures_are_told_from_a_denial_and_from_a_failing_server() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(&dir.path().join("bind")) else { return };
    let Some(resolver) = Resolver::over(&server, &dir.path().join("unbound")) else { return };
    let at = ([127, 0, 0, 1], resolver.port).into();
    let facts = look(at, &["a.acme.test", "b.example.test"], vec![dns(&server, |_| ())]).await;
    assert!(matches!(&facts[0].caa, Caa::Unknown { doubt: Doubt::Bogus(_), .. }), "{:?}", facts[0]);
    let broken = ("dnssec-broken".to_owned(), Weight::Error);
    assert_eq!(told(&facts[0]), [broken.clone(), broken]);
    assert_eq!(told(&facts[1]), []);
    // A server that fails whatever is asked, signatures or not.
    let failing = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = failing.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut question = [0; 1500];
        while let Ok((length, from)) = failing.recv_from(&mut question).await {
            question[2] |= 0x80;
            question[3] = 2;
            let _ = failing.send_to(&question[..length], from).await;
        }
    });
    let facts = look(at, &["a.example.test"], vec![web(80)]).await;
    serving.abort();
    assert!(matches!(&facts[0].caa, Caa::Unknown { doubt: Doubt::Failing(_), .. }), "{:?}", facts[0]);
    let failing = ("dns-failing".to_owned(), Weight::Warning);
    assert_eq!(told(&facts[0]), [failing.clone(), failing]);
}

/// A web server that answers every request with these octets.
async fn answering(address: &str, answer: &'static str) -> Option<SocketAddr> {
    counted(address, answer).await.map(|(at, _)| at)
}

/// As [`answering`], and how often it was asked.
async fn counted(address: &str, answer: &'static str) -> Option<(SocketAddr, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind(address).await.ok()?;
    let at = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 2048];
            let length = stream.read(&mut request).await.unwrap_or_default();
            // What was asked for a second time is there: redirects end.
            let again = String::from_utf8_lossy(&request[..length]).contains("/again");
            let answer = if again { NOT_FOUND } else { answer };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Some((at, asked))
}

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nServer: small\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn f36_the_dead_ipv6_address_is_named_while_ipv4_answers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = open_server(dir.path()) else { return };
    if TcpListener::bind("[::1]:0").await.is_err() {
        println!("SKIPPED: a dead IPv6 address: this host has no ::1");
        return;
    }
    server.nsupdate("example.test", "update add six.example.test 60 A 127.0.0.1");
    server.nsupdate("example.test", "update add six.example.test 60 AAAA ::1");
    let at = answering("127.0.0.1:0", NOT_FOUND).await.unwrap();
    let resolver = server.address().parse().unwrap();
    let finding = only(&look(resolver, &["six.example.test"], vec![web(at.port())]).await);
    assert_eq!((finding.code.as_str(), finding.weight), ("address-dead", Weight::Warning));
    assert!(finding.words.contains("IPv6 address (AAAA) does not answer"), "{finding:?}");
    assert!(finding.evidence.contains("AAAA ::1 port"), "{finding:?}");
    // A second server at the other family that says something else.
    let Some(_) =
        answering(&format!("[::1]:{}", at.port()), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
    else {
        return;
    };
    let finding = only(&look(resolver, &["six.example.test"], vec![web(at.port())]).await);
    assert_eq!(finding.code, "addresses-differ");
}

#[tokio::test]
async fn f37_a_closed_port_of_this_host_is_certain_unless_our_listener_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(dir.path()) else { return };
    let resolver = server.address().parse().unwrap();
    let closed = ports::free();
    let finding = only(&look(resolver, &["a.example.test"], vec![web(closed)]).await);
    assert_eq!((finding.code.as_str(), finding.weight), ("unreachable", Weight::Error));
    let listen = Listen::Address(([127, 0, 0, 1], closed).into());
    let ours = SolverSpec { kind: SolverKind::Http { listen }, ..web(closed) };
    let facts = look(resolver, &["a.example.test"], vec![ours]).await;
    assert_eq!(told(&facts[0]), []);
}

#[tokio::test]
async fn t06_redirects_are_followed_as_a_ca_follows_them_and_strangers_are_not_called() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(dir.path()) else { return };
    let resolver: SocketAddr = server.address().parse().unwrap();
    let redirect = |to: &str| -> &'static str {
        let text = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        Box::leak(text.into_boxed_str())
    };
    // Every name of the zone leads to the same small server, so each hop that is made counts there.
    for (what, to, code, hops) in [
        ("to another path of the same name", "/again", None, 2),
        ("to another name of the certificate", "http://b.example.test/again", None, 2),
        ("to a port that CAs refuse", "http://a.example.test:8080/", Some("redirect-astray"), 1),
        ("to a name that is not in it", "http://stranger.example.test/", Some("redirect-elsewhere"), 1),
        ("to an address", "http://127.0.0.1/", Some("redirect-elsewhere"), 1),
        ("in a circle", "/", Some("redirect-astray"), 11),
        ("to a scheme that CAs refuse", "ftp://a.example.test/", Some("redirect-astray"), 1),
    ] {
        let (at, asked) = counted("127.0.0.1:0", redirect(to)).await.unwrap();
        let only_a = SolverSpec {
            names: vec![NamePattern::of(SubjectName::parse("a.example.test").unwrap())],
            ..web(at.port())
        };
        let facts = look(resolver, &["a.example.test", "b.example.test"], vec![only_a]).await;
        let codes: Vec<_> = told(&facts[0]).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, code.into_iter().map(str::to_owned).collect::<Vec<_>>(), "{what}: {facts:?}");
        assert_eq!(asked.load(Ordering::SeqCst), hops, "{what}");
    }
}

#[tokio::test]
async fn a_server_without_the_zone_is_lame_and_one_that_is_away_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(dir.path()) else { return };
    let resolver: SocketAddr = server.address().parse().unwrap();
    let away: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let zone = |text: &str| nolapse::core::domain_name::DomainName::parse(text).ok();
    for (what, solver, expected) in [
        ("all is well", dns(&server, |_| ()), vec![]),
        (
            "it never heard of the zone",
            dns(&server, |spec| {
                spec.zone = zone("a.example.test");
                spec.authoritative = vec![resolver];
            }),
            vec![("server-lame".to_owned(), Weight::Error)],
        ),
        (
            "one is away",
            dns(&server, |spec| {
                spec.authoritative = vec![resolver, away];
            }),
            vec![("server-silent".to_owned(), Weight::Warning)],
        ),
    ] {
        let facts = look(resolver, &["a.example.test"], vec![solver]).await;
        assert_eq!(told(&facts[0]), expected, "{what}: {facts:?}");
    }
    let circle = look(resolver, &["round.example.test"], vec![dns(&server, |_| ())]).await;
    assert!(told(&circle[0]).contains(&("dns-alias".to_owned(), Weight::Error)), "{circle:?}");
}

#[tokio::test]
async fn f08_resolvers_that_are_away_end_in_a_note_and_within_the_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nobody: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let facts = look(nobody, &["a.example.test"], vec![web(80)]).await;
    assert!(told(&facts[0]).iter().all(|told| *told == ("dns-silent".to_owned(), Weight::Note)));
    let inquiry = Inquiry {
        names: vec![SubjectName::parse("a.example.test").unwrap()],
        solvers: vec![web(80)],
        within: Span::from_millis(300),
    };
    let clock = Clock::wall();
    let eyes = NamePreflight::new(vec![silent.local_addr().unwrap()], &clock);
    assert!(eyes.look(&inquiry).await.is_empty(), "there was no time for it");
    assert!(clock.monotonic() < Span::secs(3));
}
