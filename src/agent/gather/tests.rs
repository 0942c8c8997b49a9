//! What somebody does to files under `live/`, and whether it is noticed by who believes the kernel
//! that the others were not touched.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::codec::seen::MarkId;
use crate::core::layout::Content;
use crate::core::spec::KeyKind;
use crate::core::time::Span;
use crate::core::window::tests::leaf;
use crate::sys::clock::Clock;

/// Generation 1, with its leaf and chain as short texts, shown under `live/a.example`.
struct Shown {
    _parent: tempfile::TempDir,
    dir: PathBuf,
    disk: Disk,
    seen: Seen,
    record: LineageRecord,
}

impl Shown {
    async fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a.example");
        let text = |part: &Part| Content::new(format!("the text of {}\n", part.file_name()).into());
        let texts = Part::ALL.iter().map(|part| (*part, text(part))).collect();
        let disk = Disk::real();
        disk.run(layout::install(&dir, 1, &texts, &Rights::default())).await.unwrap();
        let start = Clock::wall().now() - Span::days(1);
        let mut record = LineageRecord::new(LineageId::parse("a.example").unwrap());
        record.current = Some(Issued {
            number: 1,
            leaf: leaf(start, Span::days(90), 1),
            issuer: None,
            profile: None,
            key_kind: KeyKind::EcdsaP256,
            names: Vec::new(),
            at: start,
            order: String::new(),
            revoked: false,
            digests: bundle::digests(&texts),
        });
        let seen = Seen::in_files(parent.path().join(".seen"), true);
        std::mem::forget(seen.believe());
        Self { _parent: parent, dir, disk, seen, record }
    }

    fn live_at(&self, now: Timestamp) -> Placement {
        self.live_with(&Rights::default(), now)
    }

    fn live_with(&self, rights: &Rights, now: Timestamp) -> Placement {
        let secrets: Secrets = std::sync::Arc::new(|_| Err(crate::agent::outputs::no_secrets()));
        let eye = Eye {
            disk: &self.disk,
            seen: &self.seen,
            secrets: &secrets,
            record: &self.record,
            target: self.record.current.as_ref(),
            now,
        };
        eye.live(&self.dir, rights, true).0
    }

    /// Whether the next process would believe it.
    async fn is_marked(&self, now: Timestamp) -> bool {
        self.seen.save(&self.disk, now).await;
        self.seen.mark(&self.disk, &self.record.id, now).is_some()
    }
}

/// The one that knows of `a.example`.
fn seen_file(files: &Path) -> PathBuf {
    let shard = MarkId::of(&LineageId::parse("a.example").unwrap()).shard();
    format!("{}-{shard:x}", files.display()).into()
}

/// When the files are long settled.
fn later() -> Timestamp {
    Clock::wall().now() + Span::HOUR
}

/// The same length in the same file: neither a size nor a name tells.
fn edit(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    let mut file = File::options().write(true).open(path).unwrap();
    file.write_all(&vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
}

fn with_its_old_date(path: &Path, change: impl FnOnce(&Path)) {
    let before = fs::metadata(path).unwrap();
    change(path);
    let times = FileTimes::new().set_modified(before.modified().unwrap());
    File::options().read(true).open(path).unwrap().set_times(times).unwrap();
}

/// What is done in the directory, and what is seen after it.
type Row = (&'static str, fn(&Path), Result<u64, &'static str>);

const ROWS: [Row; 15] = [
    ("nothing", |_| {}, Ok(1)),
    ("a file deleted", |dir| fs::remove_file(dir.join(".gen-1/cert.pem")).unwrap(), Err("cert.pem")),
    ("an edit that keeps the size", |dir| edit(&dir.join("chain.pem")), Err("chain.pem was edited")),
    (
        "an edit that keeps the size, and the date set back",
        |dir| with_its_old_date(&dir.join(".gen-1/fullchain.pem"), edit),
        Err("fullchain.pem was edited"),
    ),
    (
        "a backup of another generation put in its place, size and date as they were",
        |dir| {
            with_its_old_date(&dir.join(".gen-1/cert.pem"), |path| {
                let length = fs::metadata(path).unwrap().len();
                let backup = path.with_file_name("backup");
                fs::write(&backup, vec![b'b'; usize::try_from(length).unwrap()]).unwrap();
                fs::set_permissions(&backup, Permissions::from_mode(0o644)).unwrap();
                fs::rename(&backup, path).unwrap();
            });
        },
        Err("cert.pem was edited"),
    ),
    (
        "a backup of the same generation put in its place",
        |dir| {
            let path = dir.join(".gen-1/cert.pem");
            fs::copy(&path, dir.join("backup")).unwrap();
            fs::rename(dir.join("backup"), &path).unwrap();
        },
        Ok(1),
    ),
    (
        "a touch",
        |dir| {
            File::options()
                .write(true)
                .open(dir.join("cert.pem"))
                .unwrap()
                .set_times(FileTimes::new().set_modified(std::time::UNIX_EPOCH))
                .unwrap();
        },
        Ok(1),
    ),
    (
        "a key that everybody may read",
        |dir| fs::set_permissions(dir.join("privkey.pem"), Permissions::from_mode(0o644)).unwrap(),
        Err("privkey.pem has mode 0644"),
    ),
    (
        "a link that points elsewhere",
        |dir| {
            fs::remove_file(dir.join("cert.pem")).unwrap();
            symlink(".current/chain.pem", dir.join("cert.pem")).unwrap();
        },
        Err("cert.pem points elsewhere"),
    ),
    (
        "a link that reaches the same file by another way",
        |dir| {
            fs::remove_file(dir.join("cert.pem")).unwrap();
            symlink(".gen-1/cert.pem", dir.join("cert.pem")).unwrap();
        },
        Err("cert.pem points elsewhere"),
    ),
    ("a link deleted", |dir| fs::remove_file(dir.join("combined.pem")).unwrap(), Err("combined.pem is gone")),
    (
        "a copy in place of a link",
        |dir| {
            fs::copy(dir.join("cert.pem"), dir.join("copy")).unwrap();
            fs::rename(dir.join("copy"), dir.join("cert.pem")).unwrap();
        },
        Err("cert.pem is no longer our link"),
    ),
    (
        "another generation shown",
        |dir| {
            fs::remove_file(dir.join(".current")).unwrap();
            symlink(".gen-7", dir.join(".current")).unwrap();
        },
        Err("not known"),
    ),
    (
        "another directory under the generation's name",
        |dir| {
            fs::rename(dir.join(".gen-1"), dir.join("aside")).unwrap();
            fs::create_dir(dir.join(".gen-1")).unwrap();
        },
        Err("No such file"),
    ),
    (
        "a hard link to somebody else's text",
        |dir| {
            fs::write(dir.join("other"), "another text").unwrap();
            fs::set_permissions(dir.join("other"), Permissions::from_mode(0o644)).unwrap();
            fs::remove_file(dir.join(".gen-1/cert.pem")).unwrap();
            fs::hard_link(dir.join("other"), dir.join(".gen-1/cert.pem")).unwrap();
        },
        Err("cert.pem was edited"),
    ),
];

#[tokio::test]
async fn f11_drift_is_noticed_in_files_that_were_believed_unread() {
    for (row, act, expected) in ROWS {
        let shown = Shown::new().await;
        assert_eq!(shown.live_at(later()), Placement::Shows(1), "{row}: before");
        assert!(shown.is_marked(later()).await, "{row}: not believed, so this would prove nothing");
        act(&shown.dir);
        match (shown.live_at(later()), expected) {
            (Placement::Shows(number), Ok(expected)) => assert_eq!(number, expected, "{row}"),
            (Placement::Drifted(what), Err(expected)) => {
                assert!(what.contains(expected), "{row}: {what}");
            }
            (found, _) => panic!("{row}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn files_that_changed_a_moment_ago_are_not_believed() {
    // A second change in the same tick of the file system's clock could have the same date.
    let shown = Shown::new().await;
    let now = Clock::wall().now();
    assert_eq!(shown.live_at(now), Placement::Shows(1));
    assert!(!shown.is_marked(now).await, "believed at once");
    let path = shown.dir.join(".gen-1/cert.pem");
    with_its_old_date(&path, edit);
    assert_eq!(shown.live_at(now), Placement::Drifted("cert.pem was edited".into()));
}

#[tokio::test]
async fn belief_ends_after_a_week_and_with_a_clock_that_was_put_back() {
    let shown = Shown::new().await;
    let now = later();
    assert_eq!(shown.live_at(now), Placement::Shows(1));
    assert!(shown.is_marked(now).await);
    for (row, at, believed) in [
        ("at once", now, true),
        ("after six days", now + Span::days(6), true),
        ("after a week", now + Span::days(7), false),
        ("an hour before it was looked at", now - Span::HOUR, false),
    ] {
        assert_eq!(shown.seen.mark(&shown.disk, &shown.record.id, at).is_some(), believed, "{row}");
    }
}

#[tokio::test]
async fn rights_that_are_wanted_otherwise_are_asked_of_files_that_are_believed() {
    let shown = Shown::new().await;
    assert_eq!(shown.live_at(later()), Placement::Shows(1));
    assert!(shown.is_marked(later()).await);
    let narrow = Rights { key_mode: 0o600, ..Rights::default() };
    let found = shown.live_with(&narrow, later());
    assert_eq!(found, Placement::Drifted("privkey.pem has mode 0640 instead of 0600".into()));
}

#[tokio::test]
async fn what_one_process_saw_the_next_believes_and_a_reader_writes_nothing() {
    let mut shown = Shown::new().await;
    let files = shown.dir.with_file_name(".seen");
    let file = seen_file(&files);
    let process = |writes| {
        let seen = Seen::in_files(files.clone(), writes);
        std::mem::forget(seen.believe());
        seen
    };
    for (row, writes, kept) in [("a reader", false, false), ("the agent", true, true)] {
        shown.seen = process(writes);
        assert_eq!(shown.live_at(later()), Placement::Shows(1), "{row}");
        shown.seen.save(&shown.disk, later()).await;
        assert_eq!(file.exists(), kept, "{row}");
        shown.seen = process(writes);
        assert_eq!(shown.is_marked(later()).await, kept, "{row}");
    }
    // With nothing new it is left as it is.
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    shown.seen.save(&shown.disk, later()).await;
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
    fs::write(&file, "rot").unwrap();
    shown.seen = process(true);
    assert!(
        shown.seen.mark(&shown.disk, &shown.record.id, later()).is_none(),
        "a damaged file is an empty one"
    );
    assert_eq!(shown.live_at(later()), Placement::Shows(1));
}

#[tokio::test]
async fn without_a_look_over_many_nothing_is_believed_or_kept() {
    let shown = Shown::new().await;
    let files = shown.dir.with_file_name(".seen");
    let file = seen_file(&files);
    let seen = Seen::in_files(files, true);
    let mark = |seen: &Seen| seen.mark(&shown.disk, &shown.record.id, later());
    let look =
        Look::at(&shown.disk, &shown.dir, shown.record.issued(1).unwrap(), later(), |_, _| true).unwrap();
    seen.keep(&shown.record.id, &look);
    seen.save(&shown.disk, later()).await;
    assert!(!file.exists(), "kept by nobody's wish");
    let (first, second) = (seen.believe(), seen.believe());
    seen.keep(&shown.record.id, &look);
    seen.save(&shown.disk, later()).await;
    assert!(mark(&seen).is_some());
    drop(first);
    assert!(mark(&seen).is_some(), "the other look goes on");
    drop(second);
    assert!(mark(&seen).is_none());
}
