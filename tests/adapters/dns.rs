//! dns-01 by updates, against real name servers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use nolapse::core::dns_server::DnsServer;
use nolapse::core::failure::{Class, Failure, Fault};
use nolapse::core::layout::Content;
use nolapse::core::name::{SolverId, SubjectName, Token};
use nolapse::core::order::ChallengeTask;
use nolapse::core::record::ChallengeKind;
use nolapse::core::spec::SecretSource;
use nolapse::core::time::Span;
use nolapse::ports::{Secrets, Solver};
use nolapse::solve::dns::Lookup;
use nolapse::solve::dns01::Dns01Solver;
use nolapse::solve::dns01::record::value_of;
use nolapse::solve::dns01::rfc2136::Rfc2136;
use nolapse::solve::propagation::Propagation;
use nolapse::sys::clock::Clock;

use crate::bind::{NameServer, key_file};
use crate::ports;

const APEX: &str = "_acme-challenge.example.test";

pub fn task(name: &str, token: &str) -> ChallengeTask {
    ChallengeTask {
        terms: nolapse::core::order::Terms::default(),
        solver: SolverId::parse("dns").unwrap(),
        kind: ChallengeKind::Dns01,
        name: SubjectName::parse(name).unwrap(),
        token: Token::parse(token).unwrap(),
        key_authorization: format!("{token}.thumb"),
        url: String::new(),
    }
}

fn value(token: &str) -> String {
    value_of(&format!("{token}.thumb"))
}

/// Keys are files of the server's directory.
pub fn secrets() -> Secrets {
    Arc::new(|source| match source {
        SecretSource::File(path) => std::fs::read(path)
            .map(Content::new)
            .map_err(|error| Failure::refused(Fault::Config, "secret-missing", error.to_string())),
        other => panic!("{other:?}"),
    })
}

struct Rig<'a> {
    server: &'a NameServer,
    key: &'a Path,
    authoritative: Vec<SocketAddr>,
    most: Span,
}

impl<'a> Rig<'a> {
    fn of(server: &'a NameServer, key: &'a Path) -> Self {
        Self { server, key, authoritative: Vec::new(), most: Span::secs(20) }
    }

    fn solver(&self) -> Dns01Solver {
        let clock = Clock::wall();
        let lookup =
            Arc::new(Lookup::new(vec![self.server.address().parse().unwrap()], self.server.port, &clock));
        let provider = Rfc2136::new(
            // Left out for what the zone says: its primary at the port of the test.
            None::<DnsServer>,
            Some(SecretSource::File(self.key.to_str().unwrap().to_owned())),
            Span::MINUTE,
            secrets(),
            lookup.clone(),
            &clock,
        );
        let propagation = Propagation {
            lookup,
            authoritative: self.authoritative.clone(),
            resolvers: Vec::new(),
            most: self.most,
            clock: clock.clone(),
        };
        Dns01Solver::new(SolverId::parse("dns").unwrap(), Arc::new(provider), propagation, None, &clock)
    }
}

/// What every name server must do alike.
async fn apex_and_wildcard_by_value(server: &NameServer, key: &Path) {
    let solver = Rig::of(server, key).solver();
    solver.able().await.unwrap();
    let (apex, star) = (task("example.test", "token-1"), task("*.example.test", "token-2"));
    let first = solver.receipt(&apex).await.unwrap();
    let second = solver.receipt(&star).await.unwrap();
    assert_eq!(first.place, format!("{APEX}. TXT {} in example.test.", value("token-1")));
    assert!(server.texts(APEX).is_empty(), "a receipt changes nothing");
    for task in [&apex, &star, &apex] {
        solver.present(task).await.unwrap();
    }
    let mut both = vec![value("token-1"), value("token-2")];
    both.sort();
    assert_eq!(server.texts(APEX), both);
    solver.confirm(&apex).await.unwrap();
    solver.confirm(&star).await.unwrap();
    solver.clean_up(&first).await.unwrap();
    assert_eq!(server.texts(APEX), [value("token-2")], "the other value stands");
    // A new process, which knows the receipt alone.
    let later = Rig::of(server, key).solver();
    later.clean_up(&first).await.unwrap();
    later.clean_up(&second).await.unwrap();
    assert!(server.texts(APEX).is_empty());
}

#[tokio::test]
async fn bind_holds_apex_and_wildcard_side_by_side_and_loses_them_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(dir.path()) else { return };
    apex_and_wildcard_by_value(&server, &server.key_path()).await;
}

#[tokio::test]
async fn knot_holds_apex_and_wildcard_side_by_side_with_sha512() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::knot(dir.path()) else { return };
    let key = dir.path().join("sha512.key");
    std::fs::write(&key, key_file("hmac-sha512")).unwrap();
    apex_and_wildcard_by_value(&server, &key).await;
}

#[tokio::test]
async fn somebody_elses_value_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(dir.path()) else { return };
    server.nsupdate("example.test", &format!("update add {APEX} 60 TXT theirs"));
    let key = server.key_path();
    let solver = Rig::of(&server, &key).solver();
    let task = task("example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    solver.present(&task).await.unwrap();
    solver.confirm(&task).await.unwrap();
    solver.clean_up(&receipt).await.unwrap();
    assert_eq!(server.texts(APEX), ["theirs"]);
}

#[tokio::test]
async fn an_alias_is_followed_and_the_other_zone_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "grant acme zonesub ANY;";
    let Some(server) = NameServer::bind_at(dir.path(), "127.0.0.1", ports::free(), policy) else { return };
    let key = server.key_path();
    let solver = Rig::of(&server, &key).solver();
    let task = task("alias.example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    assert!(receipt.place.starts_with("alias.acme.test. TXT ") && receipt.place.ends_with(" in acme.test."));
    solver.present(&task).await.unwrap();
    assert_eq!(server.texts("alias.acme.test"), [value("token-1")]);
    solver.confirm(&task).await.unwrap();
    // The alias is gone; the receipt still leads to what was set.
    server.nsupdate("example.test", "update delete _acme-challenge.alias.example.test CNAME");
    Rig::of(&server, &key).solver().clean_up(&receipt).await.unwrap();
    assert!(server.texts("alias.acme.test").is_empty());
}

#[tokio::test]
async fn aliases_in_a_circle_are_told_with_the_whole_way() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(dir.path()) else { return };
    let key = server.key_path();
    let failure =
        Rig::of(&server, &key).solver().receipt(&task("round.example.test", "t")).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "dns-alias"));
    assert!(failure.words.contains("→ round.example.test →"), "{failure}");
    assert_eq!(failure.name, Some(SubjectName::parse("round.example.test").unwrap()));
}

#[tokio::test]
async fn t13_a_key_for_one_name_is_enough_and_reaches_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let policy = format!("grant acme name {APEX}. TXT;");
    let Some(server) = NameServer::bind_at(dir.path(), "127.0.0.1", ports::free(), &policy) else { return };
    let key = server.key_path();
    let solver = Rig::of(&server, &key).solver();
    let task = task("*.example.test", "token-1");
    let receipt = solver.receipt(&task).await.unwrap();
    solver.present(&task).await.unwrap();
    solver.confirm(&task).await.unwrap();
    solver.clean_up(&receipt).await.unwrap();
    assert!(server.texts(APEX).is_empty());
    let other = super::dns::task("www.example.test", "token-2");
    assert_eq!(solver.present(&other).await.unwrap_err().code, "dns-refused");
}

#[tokio::test]
async fn each_refusal_says_what_to_mend() {
    let dir = tempfile::tempdir().unwrap();
    let policy = format!("grant acme name {APEX}. TXT;");
    let Some(server) = NameServer::bind_at(dir.path(), "127.0.0.1", ports::free(), &policy) else { return };
    let wrong = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let other_secret = wrong("other", key_file("hmac-sha256").replace("bm9s", "AAAA"));
    let other_name = wrong("stranger", key_file("hmac-sha256").replace("acme", "stranger"));
    let no_key = wrong("none", "what is this".to_owned());
    for (row, key, name, code, says) in [
        ("a key for one name only", server.key_path(), "www.example.test", "dns-refused", "grant … name"),
        ("another secret", other_secret, "example.test", "dns-credentials", "compare the key file"),
        (
            "a key that the server lacks",
            other_name,
            "example.test",
            "dns-credentials",
            "does not know this key",
        ),
        ("no key in the file", no_key, "example.test", "dns-credentials", "tsig-keygen"),
        ("no such file", dir.path().join("gone"), "example.test", "secret-missing", "No such file"),
    ] {
        let solver = Rig::of(&server, &key).solver();
        let failure = solver.present(&task(name, "token-1")).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, code), "{row}: {failure}");
        assert!(failure.words.contains(says), "{row}: {failure}");
        assert!(
            !failure.words.contains("bm9s") && !failure.words.contains("AAAA"),
            "{row}: a secret is told"
        );
    }
    assert!(server.texts(APEX).is_empty());
}

#[tokio::test]
async fn f34_a_server_that_lags_is_named_and_the_cap_ends_the_wait() {
    let dir = tempfile::tempdir().unwrap();
    let port = ports::free();
    let Some(server) =
        NameServer::bind_at(&dir.path().join("a"), "127.0.0.1", port, "grant acme zonesub TXT;")
    else {
        return;
    };
    // The same zone at another address, which hears of no change.
    let lagging_port = ports::free();
    let Some(lagging) =
        NameServer::bind_at(&dir.path().join("b"), "127.0.0.1", lagging_port, "grant acme zonesub TXT;")
    else {
        return;
    };
    let key = server.key_path();
    let both = vec![server.address().parse().unwrap(), lagging.address().parse().unwrap()];
    let rig = Rig { authoritative: both, most: Span::secs(2), ..Rig::of(&server, &key) };
    let solver = rig.solver();
    let task = task("example.test", "token-1");
    solver.receipt(&task).await.unwrap();
    solver.present(&task).await.unwrap();
    let clock = Clock::wall();
    let failure = solver.confirm(&task).await.unwrap_err();
    assert!(clock.monotonic() < Span::secs(10));
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "dns-unseen"));
    assert!(failure.words.contains("has nothing there") && failure.words.contains("shows it"), "{failure}");
    lagging.nsupdate("example.test", &format!("update add {APEX} 60 TXT {}", value("token-1")));
    solver.confirm(&task).await.unwrap();
}

#[tokio::test]
async fn f08_resolvers_that_say_nothing_end_in_words_about_each() {
    // A socket that hears and is silent, and a port where nobody is.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nobody: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let clock = Clock::wall();
    let lookup = Lookup::new(vec![silent.local_addr().unwrap(), nobody], 53, &clock);
    let name = nolapse::core::domain_name::DomainName::parse("a.example").unwrap();
    let failure = lookup.follow(&name).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "dns-unreachable"));
    assert!(
        failure.words.contains("does not answer") && failure.words.contains("can't be reached"),
        "{failure}"
    );
    assert!(clock.monotonic() < Span::secs(20));
}
