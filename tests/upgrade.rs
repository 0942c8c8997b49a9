//! States of other releases: the last one's is read and gone on with, a newer one's is refused
//! before any write.
//!
//! `tests/fixtures/state-0.1` was made by the first release, with
//! `cargo test --test upgrade -- --ignored the_fixture_is_made`. It is never edited: a release that
//! moves the schema on gets a new directory beside it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "cli/desk.rs"]
#[allow(dead_code)]
mod desk;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use desk::{Desk, orders};
use nolapse::codec::digest::sha256;
use serde_json::Value;
use test_ca::{Ca, Effect, Endpoint, Fault};

/// So long that the fixture is good for decades: thirty years.
const LIFE: Duration = Duration::from_secs(30 * 365 * 86_400);
const SETTLED: &str = "settled.example";
const PAUSED: &str = "paused.example";
const MIDWAY: &str = "midway.example";

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-0.1")
}

async fn start(desk: &Desk) -> Ca {
    desk.ca().lifetime(LIFE).start().await.unwrap()
}

fn configured(desk: &Desk, ca: &Ca, names: &[&str]) -> String {
    let hook = "[hook.app]\nrun = [\"true\"]\n";
    let entries: Vec<_> =
        names.iter().map(|name| format!("[certificate.\"{name}\"]\nhooks = [\"app\"]\n")).collect();
    desk.around(ca) + hook + &entries.concat()
}

/// Links, and modes and content of files; directories by their mode alone.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let below = path.strip_prefix(root).unwrap().to_owned();
        let content = if meta.is_symlink() {
            std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            std::fs::read(&path).unwrap()
        };
        found.insert(below, (meta.permissions().mode() & 0o7777, content));
    }
    found
}

/// Puts the fixture where the state belongs, with the modes that a repository does not keep.
fn unpack(desk: &Desk) {
    let root = desk.path("state");
    for (path, (_, content)) in tree(&fixture()) {
        let (from, to) = (fixture().join(&path), root.join(&path));
        let live = path.starts_with("live");
        if from.is_symlink() {
            symlink(std::ffi::OsStr::from_encoded_bytes(&content), to).unwrap();
            continue;
        }
        let secret = path.file_name().is_some_and(|name| name == "privkey.pem" || name == "combined.pem");
        let mode = if from.is_dir() {
            std::fs::create_dir(&to).unwrap();
            match (path.as_os_str().is_empty(), live) {
                (true, _) => 0o711,
                (_, true) => 0o755,
                _ => 0o700,
            }
        } else {
            std::fs::write(&to, content).unwrap();
            match (live, secret) {
                (true, true) => 0o640,
                (true, false) => 0o644,
                _ => 0o600,
            }
        };
        std::fs::set_permissions(&to, PermissionsExt::from_mode(mode)).unwrap();
    }
}

trait FromBytes {
    fn from_encoded_bytes(bytes: &[u8]) -> &Self;
}

impl FromBytes for std::ffi::OsStr {
    fn from_encoded_bytes(bytes: &[u8]) -> &Self {
        std::os::unix::ffi::OsStrExt::from_bytes(bytes)
    }
}

/// The record of an entry, without what stands around it.
fn record(desk: &Desk, entry: &str) -> Value {
    let text = desk.read(&format!("state/{entry}"));
    serde_json::from_str::<Value>(text.split_once('\n').unwrap().1).unwrap()["record"].take()
}

fn line(desk: &Desk, name: &str) -> Value {
    let told = desk.run(&["status", "--json", name]).json();
    told["lineages"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the fixture; run once for each schema"]
async fn the_fixture_is_made() {
    let desk = Desk::new();
    let ca = start(&desk).await;
    desk.configure(&configured(&desk, &ca, &[SETTLED, PAUSED]));
    desk.run(&["renew"]).ends(0);
    desk.run(&["renew", "--force", SETTLED]).ends(0);
    desk.run(&["pause", PAUSED, "--until", "3650d", "--reason", "moving house"]).ends(0);
    // An order that was placed and proven, and a key that waits for its certificate.
    desk.configure(&configured(&desk, &ca, &[SETTLED, PAUSED, MIDWAY]));
    ca.set_fault(Fault::new(Effect::Html(503)).at(Endpoint::Finalize));
    desk.run(&["renew", MIDWAY]).ends(1);
    let _ = std::fs::remove_dir_all(fixture());
    let copied = std::process::Command::new("cp").arg("-a").args([desk.path("state"), fixture()]).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(fixture().join("locks")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_the_state_of_the_last_release_is_read_and_gone_on_with() {
    let desk = Desk::new();
    let ca = start(&desk).await;
    unpack(&desk);
    // By the time that anybody upgrades an attempt of the fixture is long over.
    reseal(&desk, "lineages", MIDWAY, |body| {
        let (before, after) = body.split_once("\"deadline\":\"").unwrap();
        format!("{before}\"deadline\":\"2026-11-21T12:00:00Z\"{}", after.split_once('"').unwrap().1)
    });
    desk.configure(&configured(&desk, &ca, &[SETTLED, PAUSED, MIDWAY]));
    let account = desk.read("state/accounts/test");
    let (settled, paused) = (line(&desk, SETTLED), line(&desk, PAUSED));
    assert_eq!((settled["generation"].as_u64(), settled["severity"].as_str()), (Some(2), Some("ok")));
    assert_eq!(settled["rungs"]["reloaded"], true, "{settled}");
    assert_eq!(paused["generation"], 1);
    assert!(paused.to_string().contains("moving house"), "{paused}");
    let midway = record(&desk, &format!("lineages/{MIDWAY}"));
    let key = midway["attempt"]["key"].as_str().unwrap().to_owned();
    assert!(desk.path(&format!("state/keys/{key}")).exists(), "{midway}");

    // Nothing is due, so nothing moves: no order, and what servers read is the same file by file.
    let live = tree(&desk.path("state/live"));
    desk.run(&["renew", SETTLED]).ends(0).says("kept until");
    desk.run(&["renew", PAUSED]);
    assert_eq!(orders(&ca), 0);
    let after = tree(&desk.path("state/live"));
    assert!(live.iter().all(|(path, file)| after.get(path) == Some(file)), "a file in live/ was touched");
    // That order is gone with its CA; another one follows, and the pause holds.
    desk.run(&["renew", MIDWAY]).ends(0);
    assert_eq!(orders(&ca), 1);
    assert_eq!(line(&desk, MIDWAY)["generation"], 1);
    desk.run(&["renew", "--force", SETTLED]).ends(0);
    assert_eq!(line(&desk, SETTLED)["generation"], 3);
    let past = record(&desk, &format!("lineages/{SETTLED}"));
    // One that the last release would have put away is kept for a return by hand.
    let kept =
        (&past["previous"]["number"], &past["earlier"][0]["number"], past["past"].as_array().unwrap().len());
    assert_eq!((kept.0.as_u64(), kept.1.as_u64(), kept.2), (Some(2), Some(1), 0));
    assert_eq!(line(&desk, PAUSED)["generation"], 1);
    assert_eq!(desk.read("state/version"), "1\n");
    // The account was one at another directory, and is kept beside the new one.
    let keys = account.split("\"key\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let accounts = desk.read("state/accounts/test");
    assert!(keys.clone().count() > 0 && keys.clone().all(|key| accounts.contains(key)), "an account is lost");
}

/// What another release does to a state.
type Change = Box<dyn Fn(&Desk)>;

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_newer_state_is_refused_before_any_write() {
    let record = |from: &'static str, to: &'static str| {
        move |desk: &Desk| reseal(desk, "lineages", SETTLED, |body| replaced(&body, from, to))
    };
    let installed = |from: &'static str, to: &'static str| {
        move |desk: &Desk| reseal(desk, "installed", SETTLED, |body| replaced(&body, from, to))
    };
    // What is changed, the exit code of a renewal, and the words.
    let rows: Vec<(&str, Change, i32, &str)> = vec![
        (
            "the whole state is newer",
            Box::new(|desk| std::fs::write(desk.path("state/version"), "2\n").unwrap()),
            5,
            "schema 2, this one knows 1",
        ),
        (
            "the version is no number",
            Box::new(|desk| std::fs::write(desk.path("state/version"), "two\n").unwrap()),
            1,
            "no version number",
        ),
        (
            "one record is newer",
            Box::new(record("\"schema\":1", "\"schema\":2")),
            1,
            "schema 2, this one knows 1",
        ),
        (
            "a record has a key of its own",
            Box::new(record("\"record\":{", "\"record\":{\"held\":true,")),
            1,
            "held",
        ),
        (
            "a note is newer",
            Box::new(installed("\"schema\":1", "\"schema\":9")),
            1,
            "schema 9, this one knows 1",
        ),
        (
            "a note has a key of its own",
            Box::new(installed("\"record\":{", "\"record\":{\"held\":1,")),
            1,
            "held",
        ),
        (
            "a word that is new",
            Box::new(record("\"key-kind\":\"ecdsa-p256\"", "\"key-kind\":\"ml-dsa-65\"")),
            1,
            "ml-dsa-65",
        ),
    ];
    for (row, change, code, words) in rows {
        let desk = Desk::new();
        let ca = start(&desk).await;
        unpack(&desk);
        for other in [PAUSED, MIDWAY] {
            for shelf in ["lineages", "installed", "live"] {
                let path = desk.path(&format!("state/{shelf}/{other}"));
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_dir_all(&path);
            }
        }
        desk.configure(&configured(&desk, &ca, &[SETTLED]));
        // What an opening makes by itself is there before.
        desk.run(&["status"]).ends(0);
        desk.run(&["renew"]).ends(0);
        change(&desk);
        let before = tree(&desk.path("state"));
        for arguments in [
            &["renew"][..],
            &["renew", "--force"],
            &["once"],
            &["deploy"],
            &["pause", SETTLED, "--until", "1d", "--reason", "x"],
            &["status"],
            &["explain", SETTLED],
        ] {
            // A pause is a change of the record alone.
            if arguments[0] == "pause" && row.starts_with("a note") {
                continue;
            }
            let told = desk.run(arguments);
            let said = format!("{}{}", told.out, told.err);
            let refused = match arguments[0] {
                "renew" | "deploy" => told.code == Some(code),
                _ => told.code.is_some_and(|code| code != 0),
            };
            assert!(refused, "{row}: {arguments:?} ended with {:?}\n{said}", told.code);
            assert!(said.contains(words), "{row}: {arguments:?} does not say {words:?}:\n{said}");
            let after = tree(&desk.path("state"));
            let moved: Vec<_> = after
                .keys()
                .chain(before.keys())
                .filter(|path| !path.starts_with("locks") && after.get(*path) != before.get(*path))
                .collect();
            assert!(moved.is_empty(), "{row}: {arguments:?} touched {moved:?}");
        }
        daemon_touches_nothing(row, &desk, &before);
        assert_eq!(orders(&ca), 0, "{row}");
    }
}

/// A daemon that is started on it ends, or runs and leaves the entry alone.
fn daemon_touches_nothing(row: &str, desk: &Desk, before: &BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    const RUNS: Duration = Duration::from_millis(1_500);
    let quiet = std::process::Stdio::null;
    let mut daemon = desk.command(&["run"]).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    let started = Instant::now();
    while started.elapsed() < RUNS && daemon.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(status) = daemon.try_wait().unwrap() {
        assert!(!status.success(), "{row}: the daemon ended as if all were well");
    } else {
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    let after = tree(&desk.path("state"));
    for (path, file) in before {
        assert!(
            path.starts_with("locks") || after.get(path) == Some(file),
            "{row}: the daemon touched {}",
            path.display()
        );
    }
}

fn replaced(body: &str, from: &str, to: &str) -> String {
    assert!(body.contains(from), "{from} is not in {body}");
    body.replacen(from, to, 1)
}

/// Writes an entry whose envelope is right, as another release would (docs/schema.md).
fn reseal(desk: &Desk, shelf: &str, id: &str, change: impl Fn(String) -> String) {
    let path = desk.path(&format!("state/{shelf}/{id}"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (header, body) = text.split_once('\n').unwrap();
    let mut fields = header.split(' ');
    let (magic, stamp) = (fields.next().unwrap(), fields.next().unwrap());
    let body = change(body.to_owned());
    let head = format!("{magic} {stamp} {} ", body.len());
    let sum = sha256(format!("{shelf}/{id}\n{head}{body}").as_bytes());
    std::fs::write(path, format!("{head}{sum}\n{body}")).unwrap();
}
