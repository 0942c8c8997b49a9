//! The model must behave as the host's disk does, and both as a careful program needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::core::layout::FileRights;

const SMALL: usize = 1024;

fn create(path: impl Into<PathBuf>, text: &str) -> FsOp {
    FsOp::Create { path: path.into(), content: Content::new(text.into()), rights: FileRights::mode(0o640) }
}

fn draft(path: impl Into<PathBuf>, text: &str) -> FsOp {
    FsOp::Draft { path: path.into(), content: Content::new(text.into()), rights: FileRights::mode(0o640) }
}

fn make_dir(path: impl Into<PathBuf>) -> FsOp {
    FsOp::MakeDir { path: path.into(), rights: FileRights::mode(0o750) }
}

fn rename(from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> FsOp {
    FsOp::Rename { from: from.into(), to: to.into() }
}

/// Runs on the calling thread, as the model does.
fn run(disk: &Disk, ops: Vec<FsOp>) -> Result<(), DiskError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(disk.run(ops))
}

fn text(disk: &Disk, path: impl AsRef<Path>) -> Option<String> {
    let content = disk.read(path.as_ref(), SMALL).ok()?;
    Some(String::from_utf8_lossy(content.bytes()).into_owned())
}

/// Every path below `dir` with what it is.
fn tree(disk: &Disk, dir: &Path) -> Vec<String> {
    let mut seen = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        for name in disk.list(&path).unwrap() {
            let path = path.join(name);
            let stat = disk.stat(&path).unwrap();
            let what = match stat.kind {
                FileKind::Dir => {
                    todo.push(path.clone());
                    format!("dir {:o}", stat.mode)
                }
                FileKind::File => format!("file {:o} {:?}", stat.mode, text(disk, &path)),
                FileKind::Link => format!("link {:?}", disk.read_link(&path).unwrap()),
                FileKind::Other => "other".into(),
            };
            seen.push(format!("{} {what}", path.strip_prefix(dir).unwrap().display()));
        }
    }
    seen.sort();
    seen
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]",
        "d/[ab]",
        Just("d".to_owned()),
        "l/[ab]",
        Just("l".to_owned()),
        Just("d/d".to_owned()),
        Just("none/a".to_owned()),
    ]
}

fn any_op() -> impl Strategy<Value = FsOp> {
    let path = || any_path().prop_map(PathBuf::from);
    prop_oneof![
        path().prop_map(make_dir),
        (path(), "[a-z]{0,8}").prop_map(|(path, text)| create(path, &text)),
        (path(), "[a-z]{0,8}").prop_map(|(path, text)| draft(path, &text)),
        (path(), path()).prop_map(|(from, to)| FsOp::Copy { from, to }),
        path().prop_map(|path| FsOp::Link { path, target: "d".into() }),
        (path(), path()).prop_map(|(from, to)| rename(from, to)),
        path().prop_map(|path| FsOp::SyncDir { path }),
        path().prop_map(|path| FsOp::Discard { path }),
        path().prop_map(|path| FsOp::DiscardDir { path }),
    ]
}

/// The plan's paths below `base`.
fn moved(op: &FsOp, base: &Path) -> FsOp {
    let at = |path: &PathBuf| base.join(path);
    let mut op = op.clone();
    match &mut op {
        FsOp::MakeDir { path, .. }
        | FsOp::Create { path, .. }
        | FsOp::Draft { path, .. }
        | FsOp::Link { path, .. }
        | FsOp::SyncDir { path }
        | FsOp::Discard { path }
        | FsOp::DiscardDir { path }
        | FsOp::SetRights { path, .. } => *path = at(path),
        FsOp::Copy { from, to } | FsOp::Rename { from, to } => (*from, *to) = (at(from), at(to)),
    }
    op
}

/// Whether what is renamed is a directory: no plan does that, and the model does not know all
/// its rules.
fn renames_a_directory(disk: &Disk, op: &FsOp) -> bool {
    matches!(op, FsOp::Rename { from, .. } if disk.stat(from).is_ok_and(|stat| stat.kind == FileKind::Dir))
}

#[test]
fn f04_a_draft_is_read_at_once_and_is_no_promise_after_a_power_cut() {
    let kept = |seed| {
        let (disk, model) = Disk::model();
        model.make_dirs(Path::new("/d"), 0o755);
        run(&disk, vec![draft("/d/a", "whole"), FsOp::SyncDir { path: "/d".into() }]).unwrap();
        assert_eq!(text(&disk, "/d/a").as_deref(), Some("whole"));
        model.crash(seed);
        text(&disk, "/d/a")
    };
    assert!((2..20).any(|seed| kept(seed).as_deref() != Some("whole")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_model_does_what_the_host_does(ops in prop::collection::vec(any_op(), 1..25), beneath: bool) {
        let dir = tempfile::tempdir().unwrap();
        let base = Path::new("/base");
        let (model, handle) = Disk::model();
        let real = Disk::real();
        handle.make_dirs(base, 0o755);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for op in ops {
            if renames_a_directory(&real, &moved(&op, dir.path())) {
                continue;
            }
            let (theirs, ours) = runtime.block_on(async {
                if beneath {
                    let op = || vec![op.clone()];
                    (real.run_beneath(dir.path(), op()).await, model.run_beneath(base, op()).await)
                } else {
                    let at = |base: &Path| vec![moved(&op, base)];
                    (real.run(at(dir.path())).await, model.run(at(base)).await)
                }
            });
            let kind = |done: Result<(), DiskError>| done.map_err(|error| error.source.kind());
            let (theirs, ours) = (kind(theirs), kind(ours));
            prop_assert_eq!(theirs.is_ok(), ours.is_ok(), "{:?}: {:?} {:?}", op, theirs, ours);
            prop_assert_eq!(tree(&real, dir.path()), tree(&model, base), "{:?}", op);
        }
    }
}

#[test]
fn t01_modes_are_final_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o640, 0o644, 0o666, 0o400] {
        let path = dir.path().join(format!("{mode:o}"));
        let rights = FileRights::mode(mode);
        run(&Disk::real(), vec![FsOp::Create { path: path.clone(), content: Content::default(), rights }])
            .unwrap();
        assert_eq!(Disk::real().stat(&path).unwrap().mode, mode);
    }
    let path = dir.path().join("777");
    run(&Disk::real(), vec![FsOp::MakeDir { path: path.clone(), rights: FileRights::mode(0o777) }]).unwrap();
    assert_eq!(Disk::real().stat(&path).unwrap().mode, 0o777);
}

#[test]
fn f11_drifted_modes_are_put_right_even_where_the_owner_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("privkey.pem");
    for (drifted, wanted) in [(0o644, 0o640), (0o000, 0o600), (0o200, 0o400), (0o640, 0o640)] {
        std::fs::write(&path, "key").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(drifted)).unwrap();
        let rights = FileRights::mode(wanted);
        run(&Disk::real(), vec![FsOp::SetRights { path: path.clone(), rights }]).unwrap();
        assert_eq!(Disk::real().stat(&path).unwrap().mode, wanted, "{drifted:o}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_directory_keeps_the_group_bit_of_a_shared_volume() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o2775)).unwrap();
    let path = dir.path().join("live");
    run(&Disk::real(), vec![make_dir(&path)]).unwrap();
    assert_eq!(Disk::real().stat(&path).unwrap().mode, 0o2750);
}

#[test]
fn owners_are_set_before_content_and_unknown_ones_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("privkey.pem");
    let owned = |owner: &str| {
        let rights = FileRights { mode: 0o640, owner: Some(owner.into()), group: None };
        vec![FsOp::Create { path: path.clone(), content: Content::new(b"key".to_vec()), rights }]
    };
    let error = run(&Disk::real(), owned("no-such-user-of-nolapse")).unwrap_err();
    assert!(error.to_string().contains("there is no user \"no-such-user-of-nolapse\""), "{error}");
    assert!(!path.exists());
    let me = rustix::process::geteuid();
    run(&Disk::real(), owned(&me.as_raw().to_string())).unwrap();
    std::fs::remove_file(&path).unwrap();
    if me.is_root() {
        run(&Disk::real(), owned("64999")).unwrap();
        assert_eq!(Disk::real().stat(&path).unwrap().uid, 64_999);
    } else {
        assert!(run(&Disk::real(), owned("64999")).is_err());
        assert!(!path.exists(), "a key that could not be given away lies there");
    }
}

#[test]
fn t02_no_step_follows_a_link_or_touches_a_linked_file() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let victim = outside.join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).unwrap();
    let root = dir.path().join("webroot");
    std::fs::create_dir(&root).unwrap();
    symlink(&victim, root.join("file")).unwrap();
    symlink(&outside, root.join("dir")).unwrap();
    std::fs::hard_link(&victim, root.join("hard")).unwrap();
    let wide = || FileRights::mode(0o666);
    let rights = |path: &str| FsOp::SetRights { path: root.join(path), rights: wide() };
    for op in [
        create(root.join("file"), "evil"),
        FsOp::MakeDir { path: root.join("dir"), rights: wide() },
        rights("file"),
        rights("dir"),
        rights("hard"),
    ] {
        assert!(run(&Disk::real(), vec![op.clone()]).is_err(), "{op:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for op in [
        create("dir/new", "evil"),
        create("../new", "evil"),
        create(outside.join("new"), "evil"),
        make_dir("dir/new"),
        FsOp::Discard { path: "dir/victim".into() },
        rename("file", "dir/file"),
        FsOp::SyncDir { path: "dir".into() },
    ] {
        assert!(runtime.block_on(Disk::real().run_beneath(&root, vec![op.clone()])).is_err(), "{op:?}");
    }
    assert!(Disk::real().read_plain(&root.join("file"), SMALL).is_err());
    assert_eq!(
        tree(&Disk::real(), &outside),
        ["victim file 600 Some(\"untouched\")"],
        "something got out of the web root"
    );
}

#[test]
fn what_is_read_is_a_file_of_a_fitting_size() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let large = dir.path().join("large");
    std::fs::write(&large, [0; SMALL + 1]).unwrap();
    let exact = dir.path().join("exact");
    std::fs::write(&exact, [7; SMALL]).unwrap();
    let disk = Disk::real();
    assert_eq!(disk.read(&pipe, SMALL).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(disk.read(dir.path(), SMALL).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(disk.read(&large, SMALL).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(disk.read(&exact, SMALL).unwrap().len(), SMALL);
    // A size of zero is what /proc says of files that have content.
    assert!(!disk.read(Path::new("/proc/self/comm"), SMALL).unwrap().is_empty());
    assert!(disk.read(Path::new("/dev/zero"), SMALL).is_err());
}

#[test]
fn f07_a_lock_dies_with_its_process_and_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.example.com");
    let disk = Disk::real();
    let since: Timestamp = "2026-11-21T19:56:00Z".parse().unwrap();
    let guard = disk.lock(&path, Some(since)).unwrap().unwrap();
    assert!(disk.lock(&path, None).unwrap().is_none(), "two hold one lock");
    let holder = disk.lock_holder(&path).unwrap();
    assert_eq!((holder.pid, holder.since), (std::process::id(), since));
    drop(guard);
    let mut other = match Command::new("flock").arg("-F").arg(&path).args(["sleep", "1000"]).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("SKIPPED: flock(1) is missing: {error}");
            return;
        }
    };
    while disk.lock(&path, None).unwrap().is_some() {
        assert!(other.try_wait().unwrap().is_none(), "flock(1) gave up");
    }
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(disk.lock(&path, None).unwrap().is_some(), "the lock outlived its process");
}

#[test]
fn a_lock_file_that_was_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let disk = Disk::real();
    let first = disk.lock(&path, None).unwrap().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(disk.lock(&path, None).unwrap().is_some(), "nobody can lock the new file");
    drop(first);
}

#[test]
fn f05_failed_fsync_is_final() {
    let (disk, model) = Disk::model();
    model.inject(Fault { trouble: Trouble::Broken, step: Some(Step::Sync), skip: 0, lasting: false });
    let error = run(&disk, vec![create("/a", "text"), create("/b", "text")]).unwrap_err();
    assert_eq!(error.what, "write");
    assert!(disk.list(Path::new("/")).unwrap().is_empty(), "a file whose fsync failed lies there");
    run(&disk, vec![create("/a", "text")]).unwrap();
    assert_eq!(text(&disk, "/a").as_deref(), Some("text"));
}

#[test]
fn f01_a_full_disk_leaves_no_half_file() {
    let (disk, model) = Disk::model();
    for trouble in [Trouble::Full, Trouble::Broken, Trouble::ReadOnly, Trouble::Denied] {
        for step in [Step::Create, Step::Write, Step::Sync] {
            model.inject(Fault { trouble, step: Some(step), skip: 0, lasting: true });
            assert!(run(&disk, vec![create("/a", "text")]).is_err());
            assert!(disk.list(Path::new("/")).unwrap().is_empty(), "{trouble:?} at {step:?}");
            model.heal();
        }
    }
}

#[test]
fn f04_a_power_cut_takes_what_was_not_synced() {
    let root = || FsOp::SyncDir { path: "/".into() };
    for (ops, lost, kept) in [
        (vec![create("/a", "1")], None, Some("1")),
        (vec![create("/a", "1"), root()], Some("1"), Some("1")),
        (vec![create("/b", "1"), root(), rename("/b", "/a")], None, Some("1")),
        (vec![create("/b", "1"), root(), rename("/b", "/a"), root()], Some("1"), Some("1")),
        (vec![create("/a", "1"), root(), FsOp::Discard { path: "/a".into() }], Some("1"), None),
        (vec![create("/a", "1"), root(), FsOp::Discard { path: "/a".into() }, root()], None, None),
    ] {
        for (seed, expected) in [(0, lost), (1, kept)] {
            let (disk, model) = Disk::model();
            run(&disk, ops.clone()).unwrap();
            model.crash(seed);
            assert_eq!(text(&disk, "/a").as_deref(), expected, "{ops:?} with seed {seed}");
        }
    }
}

#[test]
fn f04_a_new_directory_needs_its_parent_synced() {
    let (disk, model) = Disk::model();
    run(&disk, vec![make_dir("/d"), create("/d/a", "1"), FsOp::SyncDir { path: "/d".into() }]).unwrap();
    model.crash(0);
    assert!(disk.stat(Path::new("/d")).is_err());
}

#[test]
fn a_dead_disk_answers_nothing_until_it_is_started_again() {
    let (disk, model) = Disk::model();
    run(&disk, vec![create("/a", "1"), FsOp::SyncDir { path: "/".into() }]).unwrap();
    let guard = disk.lock(Path::new("/lock"), None).unwrap().unwrap();
    model.inject(Fault { trouble: Trouble::PowerCut, step: Some(Step::Write), skip: 0, lasting: false });
    assert!(run(&disk, vec![create("/b", "2")]).is_err());
    assert!(disk.read(Path::new("/a"), SMALL).is_err());
    assert!(run(&disk, vec![create("/c", "3")]).is_err());
    model.crash(1);
    assert_eq!(text(&disk, "/a").as_deref(), Some("1"));
    let _mine = disk.lock(Path::new("/lock"), None).unwrap().expect("the lock outlived its process");
    drop(guard);
    assert!(disk.lock(Path::new("/lock"), None).unwrap().is_none(), "a dead guard took our lock with it");
}

#[test]
fn renaming_one_name_of_a_file_to_another_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = Disk::model();
    for (disk, base) in [(Disk::real(), dir.path()), (model, Path::new("/"))] {
        let (a, b) = (base.join("a"), base.join("b"));
        run(&disk, vec![create(&a, "1"), FsOp::Copy { from: a.clone(), to: b.clone() }, rename(&a, &b)])
            .unwrap();
        assert_eq!(disk.list(base).unwrap(), ["a", "b"]);
    }
}

#[test]
fn torn_files_happen() {
    // The model would prove nothing if it never tore a file.
    let written = "x".repeat(700);
    let mut shapes = std::collections::BTreeSet::new();
    for seed in 2..400 {
        let (disk, model) = Disk::model();
        model.inject(Fault { trouble: Trouble::PowerCut, step: Some(Step::Sync), skip: 0, lasting: false });
        assert!(run(&disk, vec![create("/a", &written)]).is_err());
        model.crash(seed);
        let Some(found) = text(&disk, "/a") else {
            shapes.insert("gone");
            continue;
        };
        let zeros = found.matches('\0').count();
        shapes.insert(match (found.len(), zeros) {
            (700, 0) => "whole",
            (700, 700) => "all zeros",
            (700, 188 | 512) => "a sector lost",
            (0, _) => "empty",
            (1..700, 0) => "cut short",
            _ => panic!("{} octets with {zeros} zeros", found.len()),
        });
    }
    assert_eq!(shapes.len(), 6, "{shapes:?}");
}

#[test]
fn a_drive_that_only_says_that_it_synced_loses_what_it_said() {
    let (disk, model) = Disk::model();
    let plan = |name: &str| vec![create(format!("/{name}"), "1"), FsOp::SyncDir { path: "/".into() }];
    run(&disk, plan("before")).unwrap();
    model.inject(Fault { trouble: Trouble::Pretends, step: Some(Step::SyncDir), skip: 0, lasting: true });
    run(&disk, plan("after")).expect("it says that all is well");
    assert_eq!(text(&disk, "/after").as_deref(), Some("1"));
    model.crash(0);
    assert_eq!(disk.list(Path::new("/")).unwrap(), ["before"]);
}
