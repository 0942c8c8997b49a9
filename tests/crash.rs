//! Every prefix of every plan, and power cut at every step of it, with a reader's eyes: what is
//! shown is one whole generation or, before the first, nothing (F02, F03, F04).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nolapse::core::layout::{
    CURRENT, Content, FileRights, FsOp, Rendering, discard_generation, generation_dir, install, output,
    replace, show,
};
use nolapse::core::spec::{Output, Part, Rights};
use nolapse::sys::disk::{Disk, Fault, FileKind, Model, Trouble};

const NAME: &str = "shop.example.com";
/// Longer than any file here, in bytes.
const MOST: usize = 4096;
/// Power cuts tried for each step.
const SEEDS: u64 = 10;

/// Texts that say which generation they are of, of different lengths, so that a tail of an older
/// one would show.
fn texts(number: u64) -> Rendering {
    let tail = "x".repeat(usize::try_from(40 - number * 7).unwrap());
    let text = |part: &Part| Content::new(format!("{} of {number} {tail}.", part.file_name()).into());
    Part::ALL.iter().map(|part| (*part, text(part))).collect()
}

fn rights() -> Rights {
    Rights::default()
}

/// What a reader of the five well-known names sees: the generation, if any is shown.
fn seen(disk: &Disk, dir: &Path) -> Result<Option<u64>, String> {
    let mut shown = BTreeSet::new();
    for part in Part::ALL {
        shown.insert(match disk.read(&dir.join(part.file_name()), MOST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", part.file_name())),
            Ok(content) => {
                Some((1..=5).find(|number| texts(*number).get(&part) == Some(&content)).ok_or_else(|| {
                    format!("{} is {:?}", part.file_name(), String::from_utf8_lossy(content.bytes()))
                })?)
            }
        });
    }
    match shown.into_iter().collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        ref mixed => Err(format!("a reader sees {mixed:?}")),
    }
}

fn half_written(disk: &Disk, dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in disk.list(dir).unwrap() {
        let path = dir.join(&name);
        if name.ends_with(".nolapse-new") {
            found.push(path.display().to_string());
        } else if disk.stat(&path).unwrap().kind == FileKind::Dir {
            found.extend(half_written(disk, &path));
        }
    }
    found
}

/// In memory where the host allows: what a reader sees does not depend on what is synced.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

async fn run(disk: &Disk, plan: &[FsOp]) {
    disk.run(plan.to_vec()).await.unwrap();
}

/// A plan, what is there before, and which generations may be seen on the way and after.
struct Story {
    says: &'static str,
    before: Vec<Vec<FsOp>>,
    plan: Vec<FsOp>,
    old: Option<u64>,
    new: Option<u64>,
}

fn stories(dir: &Path) -> Vec<Story> {
    let put = |number| install(dir, number, &texts(number), &rights());
    vec![
        Story { says: "the first install", before: vec![], plan: put(1), old: None, new: Some(1) },
        Story { says: "a renewal", before: vec![put(1)], plan: put(2), old: Some(1), new: Some(2) },
        Story {
            says: "a renewal after one that was cut short",
            before: vec![put(1), put(2)[..12].to_vec()],
            plan: put(2),
            old: Some(1),
            new: Some(2),
        },
        Story {
            says: "the shown generation written again, as its rights drifted",
            before: vec![put(1), put(2)],
            plan: put(2),
            old: Some(2),
            new: Some(2),
        },
        Story {
            says: "a rollback",
            before: vec![put(1), put(2)],
            plan: show(dir, 1),
            old: Some(2),
            new: Some(1),
        },
        Story {
            says: "retention",
            before: vec![put(1), put(2)],
            plan: discard_generation(dir, 1),
            old: Some(2),
            new: Some(2),
        },
    ]
}

fn check(story: &Story, when: &str, disk: &Disk, dir: &Path, done: bool) {
    let said = |what: String| format!("{}, {when}: {what}", story.says);
    let shown = seen(disk, dir).unwrap_or_else(|what| panic!("{}", said(what)));
    let allowed = if done { vec![story.new] } else { vec![story.old, story.new] };
    assert!(allowed.contains(&shown), "{}", said(format!("{shown:?} is shown")));
}

#[tokio::test]
async fn f02_f03_every_prefix_of_every_plan_shows_one_whole_generation() {
    let disk = Disk::real();
    let somewhere = Path::new("/live").join(NAME);
    for at in 0..stories(&somewhere).len() {
        let length = stories(&somewhere)[at].plan.len();
        for prefix in 0..=length {
            let live = scratch();
            let dir = live.path().join(NAME);
            let story = &stories(&dir)[at];
            for plan in &story.before {
                run(&disk, plan).await;
            }
            run(&disk, &story.plan[..prefix]).await;
            check(story, &format!("ended after {prefix} of {length} steps"), &disk, &dir, prefix == length);
            // What comes after a crash is the same plan again.
            run(&disk, &story.plan).await;
            check(story, &format!("ended after {prefix} and run again"), &disk, &dir, true);
            assert_eq!(half_written(&disk, &dir), [""; 0], "{}", story.says);
        }
    }
}

/// A disk on which the story is about to be told, durably up to here.
async fn staged(at: usize) -> (Disk, Model, PathBuf, Story) {
    let (disk, model) = Disk::model();
    let live = Path::new("/var/lib/live");
    model.make_dirs(live, 0o755);
    let dir = live.join(NAME);
    let story = stories(&dir).swap_remove(at);
    for plan in &story.before {
        run(&disk, plan).await;
    }
    (disk, model, dir, story)
}

#[tokio::test]
async fn f04_a_power_cut_at_every_step_leaves_one_whole_generation() {
    let count = stories(Path::new("/")).len();
    for (at, seed) in (0..count).flat_map(|at| (0..SEEDS).map(move |seed| (at, seed))) {
        for skip in 0.. {
            let (disk, model, dir, story) = staged(at).await;
            model.inject(Fault { trouble: Trouble::PowerCut, step: None, skip, lasting: true });
            let done = disk.run(story.plan.clone()).await.is_ok();
            model.crash(seed);
            let when = format!("power cut after {skip} steps, seed {seed}");
            check(&story, &when, &disk, &dir, done);
            run(&disk, &story.plan).await;
            model.crash(0);
            check(&story, &format!("{when}, and run again"), &disk, &dir, true);
            if done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn f01_f05_a_disk_that_fails_at_any_step_leaves_one_whole_generation() {
    let count = stories(Path::new("/")).len();
    for (at, lasting) in (0..count).flat_map(|at| [(at, false), (at, true)]) {
        for trouble in [Trouble::Full, Trouble::Broken, Trouble::ReadOnly, Trouble::Denied] {
            for skip in 0.. {
                let (disk, model, dir, story) = staged(at).await;
                model.inject(Fault { trouble, step: None, skip, lasting });
                let done = disk.run(story.plan.clone()).await.is_ok();
                let when = format!("{trouble:?} at step {skip}");
                check(&story, &when, &disk, &dir, done);
                model.heal();
                run(&disk, &story.plan).await;
                check(&story, &format!("{when}, and run again"), &disk, &dir, true);
                if done {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn f04_an_output_is_old_or_new_and_has_its_rights_at_every_step() {
    let path = Path::new("/etc/haproxy/shop.pem");
    let wanted = Output {
        part: Part::Combined,
        path: path.display().to_string(),
        rights: Rights { key_mode: 0o600, ..rights() }.into(),
    };
    let plans = [
        output(&wanted, &texts(2)),
        replace(path, texts(2)[&Part::Combined].clone(), FileRights::mode(0o600)),
    ];
    for (plan, there) in plans.iter().flat_map(|plan| [(plan, false), (plan, true)]) {
        for (skip, seed) in (0..plan.len() + 4).flat_map(|skip| (0..SEEDS).map(move |seed| (skip, seed))) {
            let (disk, model) = Disk::model();
            model.make_dirs(path.parent().unwrap(), 0o755);
            if there {
                run(&disk, &output(&wanted, &texts(1))).await;
            }
            let skip = u32::try_from(skip).unwrap();
            model.inject(Fault { trouble: Trouble::PowerCut, step: None, skip, lasting: true });
            let done = disk.run(plan.clone()).await.is_ok();
            model.crash(seed);
            let found = disk.read(path, MOST).ok();
            let old = there.then(|| texts(1)[&Part::Combined].clone());
            let new = Some(texts(2)[&Part::Combined].clone());
            assert!(found == new || (!done && found == old), "after {skip} steps, seed {seed}");
            assert!(found.is_none() || disk.stat(path).unwrap().mode == 0o600);
        }
    }
}

#[test]
fn t01_no_key_is_ever_wider_than_its_mode() {
    for story in stories(Path::new("/live").join(NAME).as_path()) {
        for op in story.plan {
            if let FsOp::Create { path, rights, .. } = op {
                let name = path.file_name().unwrap().to_str().unwrap();
                let holds_key = name.contains("privkey") || name.contains("combined");
                assert_ne!(rights.mode & 0o007 != 0, holds_key, "{name}");
            }
        }
    }
}

/// Renewals while others read; the numbers 1 to 4 come round.
const RENEWALS: u64 = 200;

#[test]
fn f03_readers_never_see_a_mixed_generation() {
    let live = scratch();
    let dir = live.path().join(NAME);
    let disk = Disk::real();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(&disk, &install(&dir, 1, &texts(1), &rights())));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [
            // A program with one file.
            scope.spawn(|| {
                let mut reads = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let combined = disk.read(&dir.join("combined.pem"), MOST).expect("there is always one");
                    assert!((1..=4).any(|number| texts(number)[&Part::Combined] == combined));
                    reads += 1;
                }
                reads
            }),
            // A program that looks the generation up once, then reads the pair in it.
            scope.spawn(|| {
                let mut reads = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let generation =
                        dir.join(disk.read_link(&dir.join(CURRENT)).expect("there is always one"));
                    let read = |part: Part| disk.read(&generation.join(part.file_name()), MOST);
                    // It may be pruned in between: retention keeps the previous one, and a reader
                    // has fallen two renewals behind then.
                    let (Ok(chain), Ok(key)) = (read(Part::Fullchain), read(Part::Privkey)) else { continue };
                    assert!((1..=4).any(|number| {
                        texts(number)[&Part::Fullchain] == chain && texts(number)[&Part::Privkey] == key
                    }));
                    reads += 1;
                }
                reads
            }),
        ];
        for round in 1..RENEWALS {
            let number = round % 4 + 1;
            let mut plan = install(&dir, number, &texts(number), &rights());
            // Retention: the current and the previous one stay.
            plan.extend(discard_generation(&dir, (number + 1) % 4 + 1));
            runtime.block_on(run(&disk, &plan));
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0, "nothing was read");
        }
    });
}

#[tokio::test]
async fn a_generation_directory_with_something_strange_in_it_stays() {
    let live = scratch();
    let dir = live.path().join(NAME);
    let disk = Disk::real();
    for number in [1, 2] {
        run(&disk, &install(&dir, number, &texts(number), &rights())).await;
    }
    let strange = dir.join(generation_dir(1)).join("notes.txt");
    std::fs::write(&strange, "mine").unwrap();
    run(&disk, &discard_generation(&dir, 1)).await;
    assert_eq!(disk.list(&dir.join(generation_dir(1))).unwrap(), ["notes.txt"]);
    assert_eq!(seen(&disk, &dir), Ok(Some(2)));
}
