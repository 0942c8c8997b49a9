//! `docs/schema.md` and the code say the same: the tables of the page are compared with a state
//! directory, and a live directory, that the code made.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nolapse::codec::seen::{Judged, Mark, MarkId, Marks, SEEN_MAX, SHARDS};
use nolapse::core::layout::{Content, FileRights, Rendering, install, replace};
use nolapse::core::leaf::{Brief, Fingerprint};
use nolapse::core::memo::{Look, Memo};
use nolapse::core::name::{IssuerId, LineageId, Token};
use nolapse::core::spec::{Part, Rights};
use nolapse::core::time::Timestamp;
use nolapse::ports::{Claim, Expect, Key, Store};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::{Disk, FileKind};

const PAGE: &str = include_str!("../docs/schema.md");
const ID: &str = "shop.example.com";

/// The rows of one table of the page, cells without their backticks.
fn table(name: &str) -> Vec<Vec<String>> {
    let begin = format!("<!-- table: {name} -->");
    let (_, rest) = PAGE.split_once(&begin).unwrap_or_else(|| panic!("the page has no table {name}"));
    let (text, _) = rest.split_once("<!-- end -->").unwrap();
    let cells = |line: &str| {
        let inner = line.trim().trim_matches('|');
        inner.split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "table {name} is empty");
    rows
}

/// Name and mode from the first two columns.
fn name_and_mode(name: &str) -> BTreeMap<String, String> {
    table(name).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
}

fn keys() -> Vec<Key> {
    let id = || LineageId::parse(ID).unwrap();
    vec![
        Key::Lineage(id()),
        Key::Generation(id(), 7),
        Key::LeafKey(Fingerprint([0xab; 32])),
        Key::Account(IssuerId::parse("letsencrypt").unwrap()),
        Key::Challenge(Token::parse("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0").unwrap()),
        Key::Installed(id()),
        Key::Told,
        Key::Acks,
    ]
}

/// The names of this test as the page writes them.
fn as_on_the_page(path: &str) -> String {
    let mut path = path.to_owned();
    for (ours, theirs) in [
        ("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "TOKEN"),
        (&"ab".repeat(32)[..], "HASH"),
        ("accounts/letsencrypt", "accounts/ISSUER"),
        ("generations/shop.example.com/7", "generations/ID/N"),
        ("quarantine/lineages-shop.example.com-1", "quarantine/SHELF-NAME-C"),
        (ID, "ID"),
    ] {
        path = path.replace(ours, theirs);
    }
    for prefix in ["locks/.swap-", "installed/.seen-"] {
        if path.strip_prefix(prefix).is_some_and(|digit| digit.len() == 1) {
            return format!("{prefix}X");
        }
    }
    path
}

/// Everything below `dir` of one kind: name as on the page, mode.
fn found(disk: &Disk, dir: &Path, kind: FileKind) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for name in disk.list(&at).unwrap() {
            let path = at.join(name);
            let stat = disk.stat(&path).unwrap();
            if stat.kind == FileKind::Dir {
                todo.push(path.clone());
            }
            if stat.kind == kind {
                let name = as_on_the_page(path.strip_prefix(dir).unwrap().to_str().unwrap());
                found.insert(name, format!("{:04o}", stat.mode));
            }
        }
    }
    found
}

/// A state directory in which all has happened that the page tells of.
async fn lived_in(disk: &Disk, dir: &Path) -> DirStore {
    let store = DirStore::open(disk.clone(), Clock::wall(), dir).await.unwrap();
    for key in keys() {
        // Twice, so that whatever keeps a copy has one.
        store.swap(&key, Expect::Absent, Content::new(b"one".to_vec())).await.unwrap();
        if !matches!(key, Key::Generation(..) | Key::LeafKey(_) | Key::Challenge(_)) {
            store.swap(&key, Expect::Anything, Content::new(b"two".to_vec())).await.unwrap();
        }
    }
    store.writable().await.unwrap();
    drop(store.claim(&LineageId::parse(ID).unwrap()).await.unwrap());
    drop(disk.lock(&store.alerts_lock(), Some(Timestamp::EPOCH)).unwrap());
    let seen = Marks::default().encode(&Marks::default(), |_| true);
    let file = format!("{}-c", store.seen_files().display());
    disk.run(replace(Path::new(&file), seen, FileRights::mode(0o600))).await.unwrap();
    std::fs::write(dir.join("lineages").join(ID), "damaged").unwrap();
    store.load(&keys()[0]).await.unwrap();
    store
}

#[tokio::test]
async fn the_state_directory_is_what_the_page_says() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("state");
    let disk = Disk::real();
    let store = lived_in(&disk, &dir).await;
    let mut directories = found(&disk, &dir, FileKind::Dir);
    directories.insert(".".to_owned(), format!("{:04o}", disk.stat(store.root()).unwrap().mode));
    assert_eq!(directories, name_and_mode("directories"));
    assert_eq!(found(&disk, &dir, FileKind::File), name_and_mode("files"));
    assert_eq!(found(&disk, &dir, FileKind::Link), BTreeMap::new());
    // Opening it again changes nothing.
    let before = (found(&disk, &dir, FileKind::Dir), found(&disk, &dir, FileKind::File));
    drop(DirStore::open(disk.clone(), Clock::wall(), &dir).await.unwrap());
    assert_eq!(before, (found(&disk, &dir, FileKind::Dir), found(&disk, &dir, FileKind::File)));
}

#[tokio::test]
async fn copies_are_kept_of_what_the_page_calls_replaced() {
    let rows = table("files");
    let names: BTreeSet<_> = rows.iter().map(|row| row[0].clone()).collect();
    for row in &rows {
        let replaced = row[3] == "replaced" && !row[0].ends_with('~');
        assert_eq!(replaced, names.contains(&format!("{}~", row[0])), "{}", row[0]);
    }
}

#[tokio::test]
async fn the_live_directory_is_what_the_page_says() {
    let parent = tempfile::tempdir().unwrap();
    let disk = Disk::real();
    let texts: Rendering = Part::ALL.iter().map(|part| (*part, Content::default())).collect();
    disk.run(install(&parent.path().join("NAME"), 7, &texts, &Rights::default())).await.unwrap();
    let mut seen = BTreeSet::new();
    for (kind, word) in [(FileKind::Dir, "directory"), (FileKind::File, "file"), (FileKind::Link, "link")] {
        for (name, mode) in found(&disk, parent.path(), kind) {
            let mode = if kind == FileKind::Link { "–".to_owned() } else { mode };
            seen.insert((name.replace(".gen-7", ".gen-N"), word.to_owned(), mode));
        }
    }
    let said: BTreeSet<_> =
        table("live").into_iter().map(|row| (row[0].clone(), row[1].clone(), row[2].clone())).collect();
    assert_eq!(seen, said);
    for row in table("live").iter().filter(|row| row[1] == "link") {
        let target = disk.read_link(&parent.path().join(&row[0])).unwrap();
        let said = target.display().to_string().replace(".gen-7", ".gen-N");
        assert!(row[3].contains(&format!("to `{said}")), "{} points to {said}, the page: {}", row[0], row[3]);
    }
}

#[tokio::test]
async fn the_envelope_is_what_the_page_says() {
    let parent = tempfile::tempdir().unwrap();
    let disk = Disk::real();
    let store = DirStore::open(disk.clone(), Clock::wall(), parent.path()).await.unwrap();
    let before = Clock::wall().now();
    let body = "a body\nof two lines";
    let revision = store.swap(&keys()[0], Expect::Absent, Content::new(body.into())).await.unwrap();
    let file = disk.read(&store.root().join("lineages").join(ID), 4096).unwrap();
    let text = String::from_utf8(file.bytes().to_vec()).unwrap();
    let (header, found) = text.split_once('\n').unwrap();
    assert_eq!(found, body);
    let fields: Vec<_> = header.split(' ').collect();
    let [magic, stamp, length, sum] = fields[..] else { panic!("{header}") };
    assert_eq!(magic, "nolapse-entry-1");
    assert_eq!(length, body.len().to_string());
    assert_eq!(revision.0, format!("{stamp}-{sum}"));
    let written = Timestamp::from_millis(stamp.parse().unwrap());
    assert!(before <= written && written <= Clock::wall().now());
    let covered = format!("lineages/{ID}\n{magic} {stamp} {length} {body}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, covered.as_bytes());
    assert_eq!(sum, Fingerprint(digest.as_ref().try_into().unwrap()).to_string());
    for said in ["nolapse-entry-1 STAMP LENGTH SHA256\\n", "`STAMP-SHA256`", "1 MiB (1,048,576)"] {
        assert!(PAGE.contains(said), "the page does not say {said:?}");
    }
    let most = Content::new(vec![0; 1_048_576]);
    store.swap(&keys()[0], Expect::Anything, most).await.unwrap();
    let more = Content::new(vec![0; 1_048_577]);
    assert!(store.swap(&keys()[0], Expect::Anything, more).await.is_err());
}

#[test]
fn the_file_of_what_was_seen_is_what_the_page_says() {
    let id = MarkId::of(&LineageId::parse(ID).unwrap());
    let taken = Timestamp::from_millis(1_795_000_000_123);
    let memo = Memo {
        until: Timestamp::from_millis(2),
        generation: 7,
        issuer: 1,
        leaf: Brief {
            serial: "05be".into(),
            fingerprint: Fingerprint([0xef; 32]),
            not_before: Timestamp::from_millis(3),
            not_after: Timestamp::from_millis(4),
            issuer: "E7".into(),
        },
        renews_at: None,
        looks: vec![Look { at: Timestamp::from_millis(5), next_at: Timestamp::from_millis(6), words: None }],
        told_at: vec![Some(Timestamp::from_millis(8))],
    };
    let judged = Judged { print: [0xcd; 16], at: Timestamp::from_millis(1), memo };
    let mut marks = Marks::default();
    marks.add(id, &Mark { number: 7, taken, print: [0xab; 16], judged: Some(judged) });
    let file = Marks::default().encode(&marks, |_| true);
    let (head, body) = file.bytes().split_at("nolapse-seen-2 ".len() + 64 + 1);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let sum = Fingerprint(digest.as_ref().try_into().unwrap());
    assert_eq!(String::from_utf8_lossy(head), format!("nolapse-seen-2 {sum}\n"));
    let number = |number: u64| number.to_le_bytes().to_vec();
    let entry = [
        number(7),
        number(1_795_000_000_123),
        vec![0xab; 16],
        vec![0xcd; 16],
        number(1),
        number(2),
        number(7),
        vec![1],
        vec![0xef; 32],
        number(3),
        number(4),
        b"\x0405be".to_vec(),
        b"\x02E7".to_vec(),
        number(1 << 63),
        vec![1],
        number(5),
        number(6),
        vec![255],
        vec![1],
        number(8),
    ]
    .concat();
    assert_eq!(usize::from(u16::from_le_bytes(body[..2].try_into().unwrap())), 8 + entry.len());
    assert_eq!(body[10..], entry);
    assert_eq!((SEEN_MAX, SHARDS), (4 << 20, 16));
    for said in ["nolapse-seen-2 SHA256\\n", "longer than 4 MiB"] {
        assert!(PAGE.contains(said), "the page does not say {said:?}");
    }
}

#[tokio::test]
async fn the_version_is_the_page_s_and_a_lock_file_says_what_it_says() {
    let parent = tempfile::tempdir().unwrap();
    let store = DirStore::open(Disk::real(), Clock::wall(), parent.path()).await.unwrap();
    let version = std::fs::read_to_string(store.root().join("version")).unwrap();
    assert!(PAGE.contains(&format!("Schema version: **{}**", version.trim_end())));
    assert!(version.ends_with('\n'));
    let Claim::Held(_held) = store.claim(&LineageId::parse(ID).unwrap()).await.unwrap() else {
        panic!("somebody else holds it")
    };
    let note = std::fs::read_to_string(store.root().join("locks").join(ID)).unwrap();
    let fields: BTreeSet<_> = note.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(fields, BTreeSet::from(["pid", "command", "since"]));
}
