//! `doctor`: what is wrong with a host, its CAs and its names, before the CA is asked for anything.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nolapse::codec::state;
use nolapse::core::name::LineageId;
use nolapse::core::time::Span;
use nolapse::ports::{Expect, Key, Store};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use serde_json::Value;
use test_ca::{Ca, Effect, Endpoint, Fault};

use crate::bind::NameServer;
use crate::desk::{Desk, free_port, is_root, orders};
use crate::ports;

/// A configuration that asks a name server of ours, with this after it.
fn configured(desk: &Desk, resolver: &str, ca: &Ca, rest: &str) {
    let agent = format!(
        "[agent]\nstate-dir = \"{}\"\nrun-dir = \"{}\"\nresolvers = [\"{resolver}\"]\n",
        desk.show("state"),
        desk.show("run")
    );
    desk.write("etc/nolapse.toml", &(agent + &desk.around(ca) + rest));
}

fn name_server(dir: &Path) -> Option<NameServer> {
    NameServer::bind_at(dir, "127.0.0.1", free_port(), "grant acme zonesub ANY;")
}

fn findings(report: &Value, certificate: &str) -> Vec<(String, String)> {
    let all = report["certificates"].as_array().unwrap();
    let one = all.iter().find(|one| one["name"] == certificate).unwrap();
    let told = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap().to_owned();
        assert!(!text("words").is_empty() && !text("fix").is_empty(), "{finding}");
        (text("severity"), text("code"))
    };
    one["findings"].as_array().unwrap().iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f36_f38_each_certificate_is_told_what_is_wrong_with_its_names() {
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    server.nsupdate("example.test", "update add deny.example.test 60 CAA 0 issue \"other.test\"");
    server.nsupdate("example.test", "update add deny.example.test 60 A 127.0.0.1");
    let ca = desk.ca().caa_identity("ca.test").start().await.unwrap();
    let rest = "[certificate.\"fine.example.test\"]\n\
                [certificate.\"deny.example.test\"]\nnames = [\"deny.example.test\", \"www.deny.example.test\"]\n\
                [certificate.\"gone.acme.test\"]\n";
    configured(&desk, &server.address(), &ca, rest);
    let told = desk.run(&["doctor", "--json"]).ends(1);
    let report = told.json();
    assert_eq!((&report["version"], &report["severity"]), (&1.into(), &"error".into()));
    assert_eq!(findings(&report, "fine.example.test"), [], "{report}");
    let error = |code: &str| ("error".to_owned(), code.to_owned());
    let denied = findings(&report, "deny.example.test");
    assert_eq!(denied[0], error("caa-denies"), "{report}");
    assert_eq!(findings(&report, "gone.acme.test"), [error("no-address")], "{report}");
    let names: Vec<_> = report["certificates"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names.last().unwrap(), &"fine.example.test", "the worst first");
    desk.run(&["doctor", "fine.example.test"]).ends(0).says("certificate fine.example.test: fine");
    desk.run(&["doctor", "deny.example.test"])
        .ends(1)
        .says("error[caa-denies]: deny.example.test, www.deny.example.test: CAA lets other.test issue, and not test")
        .says("seen  CAA at deny.example.test: 0 issue \"other.test\"")
        .says("do    add to deny.example.test:  0 issue \"ca.test\"");
    desk.run(&["doctor", "nobody.example"]).ends(2);
    assert!(!desk.path("state").exists(), "doctor made something");
    assert_eq!((ca.accounts().len(), orders(&ca), ca.count(Endpoint::NewAccount)), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_an_account_in_caa_is_compared_with_ours_once_we_have_one() {
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().caa_identity("ca.test").start().await.unwrap();
    configured(&desk, &server.address(), &ca, "[certificate.\"a.example.test\"]\n");
    let set = |account: &str| {
        server.nsupdate("example.test", "update delete a.example.test CAA");
        let record = format!("CAA 0 issue \"ca.test; accounturi={account}\"");
        server.nsupdate("example.test", &format!("update add a.example.test 60 {record}"));
        server.nsupdate("example.test", "update add a.example.test 60 A 127.0.0.1");
    };
    set("https://ca.test/nobody");
    desk.run(&["doctor"]).ends(0).says("warning[caa-account]").says("ours is not known yet");
    desk.run(&["renew"]).ends(0);
    desk.run(&["doctor"]).ends(1).says("error[caa-account]").says("for another account only");
    let told = desk.run(&["doctor"]).ends(1);
    let ours = told.out.split("write accounturi=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    set(ours);
    desk.run(&["doctor"]).ends(0).says("certificate a.example.test: fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn f37_lacks_of_the_host_come_with_evidence_and_a_fix() {
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().start().await.unwrap();
    // Somebody else listens where ours would.
    let taken = std::net::TcpListener::bind(("127.0.0.1", desk.port)).unwrap();
    let rest = "[hook.app]\nrun = [\"nolapse-no-such-program\"]\n\
                [certificate.\"a.example.test\"]\nhooks = [\"app\"]\n";
    configured(&desk, &server.address(), &ca, rest);
    let told = desk.run(&["doctor"]).ends(1);
    drop(taken);
    for words in ["error[hook-missing]", "error[port-in-use]", "is held by", "[nobody-runs]", "  do    "] {
        assert!(told.out.contains(words), "{words} is not in\n{}", told.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_its_readers_cannot_read_is_told_with_the_directory_in_the_way() {
    if !is_root() {
        println!("SKIPPED: keys of other groups: only root can give them away");
        return;
    }
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().start().await.unwrap();
    configured(&desk, &server.address(), &ca, "[certificate.\"a.example.test\"]\ngroup = \"nogroup\"\n");
    desk.run(&["renew"]).ends(0);
    let told = desk.run(&["doctor"]).ends(0);
    assert!(!told.out.contains("key-unreadable"), "{}", told.out);
    std::fs::set_permissions(desk.path("state/live"), PermissionsExt::from_mode(0o700)).unwrap();
    desk.run(&["doctor"])
        .ends(1)
        .says("error[key-unreadable]: the group nogroup can't read the key of a.example.test")
        .says("0700 root:root")
        .says("chmod o+x");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rights_it_says_what_it_could_not_look_at() {
    if !is_root() {
        println!("SKIPPED: a stranger's view: only root can become another user");
        return;
    }
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().start().await.unwrap();
    configured(&desk, &server.address(), &ca, "[certificate.\"a.example.test\"]\n");
    desk.run(&["renew"]).ends(0);
    let told = desk.run_as(65_534, &["doctor"]);
    for words in ["warning[not-the-agent]", "note[account-unseen]", "certificate a.example.test"] {
        assert!(told.out.contains(words), "{words} is not in\n{}\n{}", told.out, told.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_seen_by_its_lock() {
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().start().await.unwrap();
    configured(&desk, &server.address(), &ca, "[certificate.\"a.example.test\"]\n");
    desk.run(&["renew"]).ends(0);
    desk.run(&["doctor"]).says("note[nobody-runs]");
    let mut daemon = desk.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let seen = loop {
        let told = desk.run(&["doctor"]);
        if !told.out.contains("nobody-runs") {
            break true;
        }
        if std::time::Instant::now() > deadline {
            break false;
        }
    };
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(seen, "the daemon was not seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_after_a_refusal_for_caa_no_order_is_spent_until_it_is_mended_and_never_for_ever() {
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().caa_identity("ca.test").start().await.unwrap();
    let wants = |name: &str| {
        configured(&desk, &server.address(), &ca, &format!("[certificate.\"{name}.example.test\"]\n"));
    };
    wants("a");
    let caa = |change: &str| {
        server.nsupdate(
            "example.test",
            &format!("update {change} a.example.test 60 CAA 0 issue \"other.test\""),
        );
    };
    for name in ["a", "b.a"] {
        server.nsupdate("example.test", &format!("update add {name}.example.test 60 A 127.0.0.1"));
    }
    caa("add");
    let refusal =
        Effect::Problem { kind: "caa".into(), status: 403, detail: "CAA record prevents issuance".into() };
    let refuse = || ca.set_fault(Fault::new(refusal.clone()).at(Endpoint::Finalize).times(1));
    refuse();
    let told = desk.run(&["renew", "a.example.test"]).ends(1);
    let words = told.out + &told.err;
    for said in ["CAA record prevents issuance", "looked at from here", "[caa-denies]", "0 issue \"ca.test\""]
    {
        assert!(words.contains(said), "{said:?} is not in\n{words}");
    }
    let spent = orders(&ca);
    waits_are_over(&desk, "a.example.test").await;
    let told = desk.run(&["renew"]).ends(1);
    let words = told.out + &told.err;
    assert!(words.contains("the CA was not asked again"), "{words}");
    assert_eq!(orders(&ca), spent, "an order was spent on what could not go well");
    caa("delete");
    waits_are_over(&desk, "a.example.test").await;
    desk.run(&["renew"]).ends(0);
    assert_eq!(orders(&ca), spent + 1);
    // Another view of DNS than the CA's: three tries are held back, the fourth is made.
    wants("b.a");
    caa("add");
    refuse();
    desk.run(&["renew"]).ends(1);
    let spent = orders(&ca);
    for _ in 0..3 {
        waits_are_over(&desk, "b.a.example.test").await;
        desk.run(&["renew"]).ends(1);
    }
    assert_eq!(orders(&ca), spent);
    refuse();
    waits_are_over(&desk, "b.a.example.test").await;
    desk.run(&["renew"]).ends(1);
    assert_eq!(orders(&ca), spent + 1);
    // Who asks by hand knows better: nothing is held back.
    desk.run(&["renew", "b.a.example.test"]).ends(0);
    assert_eq!(orders(&ca), spent + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn f38_a_first_order_waits_for_what_is_certain_but_not_for_long_and_never_by_hand() {
    let desk = Desk::new();
    let Some(server) = name_server(&desk.path("bind")) else { return };
    let ca = desk.ca().caa_identity("ca.test").start().await.unwrap();
    let wants = |entries: &str| configured(&desk, &server.address(), &ca, entries);
    let names = ["view", "mended", "hand", "timer", "once", "grows"];
    for name in names {
        server.nsupdate("example.test", &format!("update add {name}.example.test 60 A 127.0.0.1"));
        let caa = "CAA 0 issue \"other.test\"";
        server.nsupdate("example.test", &format!("update add {name}.example.test 60 {caa}"));
    }
    let allow =
        |name: &str| server.nsupdate("example.test", &format!("update delete {name}.example.test CAA"));
    // Another view of DNS than the CA's: put off twice, then made.
    wants("[certificate.\"view.example.test\"]\n");
    for _ in 0..2 {
        let log = daemon_until(&desk, "code=put-off");
        for said in ["the CA was not asked yet", "[caa-denies]", "nolapse renew view.example.test"] {
            assert!(log.contains(said), "{said:?} is not in\n{log}");
        }
        desk.run(&["explain", "view.example.test"]).ends(0).says("[caa-denies]");
        assert_eq!(orders(&ca), 0, "an order was spent on what could not go well");
        waits_are_over(&desk, "view.example.test").await;
    }
    daemon_until(&desk, "event=issued");
    assert_eq!(orders(&ca), 1, "our view is not the last word");
    // What is mended meanwhile costs nothing more.
    wants("[certificate.\"mended.example.test\"]\n");
    daemon_until(&desk, "code=put-off");
    allow("mended");
    waits_are_over(&desk, "mended.example.test").await;
    daemon_until(&desk, "event=issued");
    assert_eq!(orders(&ca), 2);
    // A command says it and goes on, by hand or by a timer that may come once a day.
    for (name, arguments) in [("hand", &["renew", "hand.example.test"][..]), ("timer", &["renew"])] {
        wants(&format!("[certificate.\"{name}.example.test\"]\n"));
        let told = desk.run(arguments).ends(0);
        assert!(told.err.contains("may not go well") && told.err.contains("[caa-denies]"), "{}", told.err);
    }
    assert_eq!(orders(&ca), 4);
    // An init container has no time to spare.
    wants("[certificate.\"once.example.test\"]\n");
    let told = desk.run(&["once"]).ends(0);
    assert_eq!(told.err, "");
    assert_eq!(orders(&ca), 5);
    // A name more: only that is looked at, and what is served goes on.
    wants("[certificate.\"hand.example.test\"]\nnames = [\"hand.example.test\", \"grows.example.test\"]\n");
    let log = daemon_until(&desk, "code=put-off");
    assert!(log.contains("asked yet: grows.example.test: CAA lets"), "{log}");
    assert_eq!(orders(&ca), 5);
    allow("grows");
    waits_are_over(&desk, "hand.example.test").await;
    daemon_until(&desk, "event=issued");
    assert_eq!(orders(&ca), 6);
}

/// What a daemon says until it says these words.
fn daemon_until(desk: &Desk, words: &str) -> String {
    let log = desk.path("daemon.log");
    let file = std::fs::File::create(&log).unwrap();
    let mut daemon = desk.command(&["run"]).stderr(file).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let heard = ports::wait_for(std::time::Duration::from_secs(60), || said().contains(words));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(heard, "{words:?} is not in\n{}", said());
    said()
}

/// As if the certificate had waited long enough after its last failure.
async fn waits_are_over(desk: &Desk, id: &str) {
    let store = DirStore::open(Disk::real(), Clock::wall(), &desk.path("state")).await.unwrap();
    let key = Key::Lineage(LineageId::parse(id).unwrap());
    let entry = store.load(&key).await.unwrap().unwrap();
    let mut record = state::decode_record(&entry.content).unwrap();
    let trouble = record.trouble.as_mut().unwrap();
    (trouble.last_at, trouble.next_at) = (trouble.last_at - Span::hours(3), trouble.last_at - Span::HOUR);
    let content = state::encode_record(&record).unwrap();
    store.swap(&key, Expect::Anything, content).await.unwrap();
}
