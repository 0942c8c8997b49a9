//! Too late, too early, all at once, or not at all.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use test_ca::{Effect, Fault};

use nolapse::core::leaf::{Fingerprint, Leaf};
use nolapse::core::name::SubjectName;
use nolapse::core::time::{Span, Timestamp};
use nolapse::core::window::RenewalWindow;

use crate::desk::{Desk, exists};

#[tokio::test(flavor = "multi_thread")]
async fn f23_when_nothing_runs_status_says_so() {
    if !can_be_later() {
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().lifetime(Duration::from_secs(90 * 86_400)).start().await.unwrap();
    desk.configure(&(desk.around(&ca) + "[certificate.\"a.example\"]\n"));
    desk.run(&["renew"]).ends(0);
    for (days, code, word) in [
        (0, 0, "OK"),
        (50, 0, "OK"),
        // Due since two thirds of life at the latest, and nobody came.
        (63, 1, "nothing tried to renew it"),
        (89, 2, "nothing tried to renew it"),
    ] {
        let output = later(&format!("+{days}d"), &desk.command(&["status"])).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "after {days} days: {said}");
        assert!(said.contains(word), "after {days} days: {said}");
    }
    // Who sees only the public file is not soothed by an old one.
    let mut public: serde_json::Value = serde_json::from_str(&desk.read("run/status.json")).unwrap();
    assert_eq!(public["severity"], "ok");
    public["at"] = "2020-01-01T00:00:00Z".into();
    desk.write("run/status.json", &public.to_string());
    if crate::desk::is_root() {
        desk.run_as(65_534, &["status"]).ends(3);
    } else {
        println!("SKIPPED: asking as another user needs root");
    }
}

#[test]
fn f30_ten_thousand_hosts_that_began_together_renew_apart() {
    const HOSTS: usize = 10_000;
    const SLOTS: usize = 100;
    // One image, started everywhere at midnight: only the leaves differ.
    let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let mut slots = [0_usize; SLOTS];
    let mut seconds = std::collections::BTreeMap::new();
    for host in 0..HOSTS {
        let digest = nolapse::codec::digest::sha256(format!("leaf {host}").as_bytes());
        let leaf = leaf(start, Span::days(90), digest);
        let window = RenewalWindow::by_lifetime(&leaf);
        let at = window.point(&leaf).at;
        let into = at.since(window.interval.start).millis();
        let slot = usize::try_from(into * 100 / window.interval.length().millis().max(1)).unwrap();
        slots[slot.min(SLOTS - 1)] += 1;
        *seconds.entry(at.secs()).or_insert(0_usize) += 1;
    }
    // A hundred in each slot, give or take four deviations.
    for (slot, count) in slots.iter().enumerate() {
        assert!((60..=140).contains(count), "slot {slot}: {count} of {HOSTS}");
    }
    let most = seconds.values().max().unwrap();
    assert!(*most <= 5, "{most} hosts in one second");
    let midnights: usize = seconds.iter().filter(|(at, _)| **at % 86_400 == 0).map(|(_, count)| count).sum();
    assert!(midnights <= 5, "{midnights} hosts at midnight");
}

#[tokio::test(flavor = "multi_thread")]
async fn f31_a_ca_that_never_answers_delays_nobody_elses_certificate() {
    // The request to the silent CA is given up after a minute; the others must not wait for that.
    const SOON: Duration = Duration::from_secs(50);
    let desk = Desk::new();
    let good = desk.ca().start().await.unwrap();
    let silent = test_ca::Ca::builder().plain_http().start().await.unwrap();
    silent.set_fault(Fault::new(Effect::Stall));
    let mut config = desk.around(&good);
    let _ =
        write!(config, "[issuer.silent]\ndirectory = \"{}\"\ninsecure-http = true\n", silent.directory_url());
    for index in 0..6 {
        let _ = writeln!(config, "[certificate.\"a{index}.example\"]\nissuer = \"silent\"");
    }
    for index in 0..3 {
        let _ = writeln!(config, "[certificate.\"z{index}.example\"]");
    }
    desk.configure(&config);
    let mut daemon = desk.command(&["run"]).spawn().unwrap();
    let started = Instant::now();
    let there = |index| exists(&desk.path(&format!("state/live/z{index}.example/fullchain.pem")));
    while started.elapsed() < SOON && !(0..3).all(there) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = (0..3).all(there);
    let held = silent.requests().iter().any(|request| request.status.is_none());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(all, "they waited for the silent CA");
    assert!(held, "the silent CA was still being waited for: {:?}", silent.requests());
}

/// The same program on a host whose clock is ahead by so much.
pub fn later(by: &str, plain: &Command) -> Command {
    let mut command = Command::new("faketime");
    command.arg("-f").arg(by).arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

pub fn can_be_later() -> bool {
    let there = Command::new("faketime").arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: faketime is not installed (Debian: apt install faketime)");
    }
    there
}

fn leaf(start: Timestamp, lifetime: Span, fingerprint: Fingerprint) -> Leaf {
    Leaf {
        names: vec![SubjectName::parse("a.example").unwrap()],
        not_before: start,
        not_after: start + lifetime,
        serial: "01".into(),
        fingerprint,
        key: fingerprint,
        key_kind: None,
        ari_id: None,
        issuer: "Test CA".into(),
        self_signed: false,
    }
}
