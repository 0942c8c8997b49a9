//! Power cut, and disks that fail, at every step of every plan. The model disk drops and tears
//! what was not synced.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use nolapse::core::layout::{FileRights, FsOp, output, replace};
use nolapse::core::spec::{Output, Part, Rights};
use nolapse::sys::disk::{Disk, Fault, FileKind, Model, Trouble};

use crate::story::{MOST, NAME, Story, check, rights, run, stories, texts};

/// Power cuts tried for each step.
const SEEDS: u64 = 10;
/// Different states that the longest run asks for.
const ENOUGH: usize = 100_000;
/// Where certificates are shown.
const LIVE: &str = "/var/lib/live";

/// A disk on which the story is about to be told, durably up to here.
async fn staged(at: usize) -> (Disk, Model, PathBuf, Story) {
    let dir = Path::new(LIVE).join(NAME);
    let story = stories(&dir).swap_remove(at);
    let (disk, model) = before(&[&story]).await;
    (disk, model, dir, story)
}

/// A disk on which these are about to be told.
async fn before(told: &[&Story]) -> (Disk, Model) {
    let (disk, model) = Disk::model();
    model.make_dirs(Path::new(LIVE), 0o755);
    for plan in told.iter().flat_map(|story| &story.before) {
        run(&disk, plan).await;
    }
    (disk, model)
}

#[tokio::test]
async fn f04_a_power_cut_at_every_step_leaves_one_whole_generation() {
    cuts(SEEDS).await;
}

#[tokio::test]
#[ignore = "minutes (docs/reliability.md)"]
async fn f04_hundreds_of_thousands_of_power_cuts_show_one_whole_generation() {
    cuts(2500).await;
}

/// Cuts the power at every step of every plan, `seeds` times with other losses; how many different states
/// that left.
async fn cuts(seeds: u64) -> usize {
    let count = stories(Path::new("/")).len();
    let alone: Vec<_> = (0..count).map(|at| vec![at]).collect();
    cuts_of(&alone, seeds, usize::MAX).await
}

#[tokio::test]
async fn f04_a_power_cut_while_two_certificates_are_installed_leaves_each_whole() {
    let count = stories(Path::new("/")).len();
    // Each story beside one other: the long run has all of them.
    let pairs: Vec<_> = (0..count).map(|at| vec![at, (at * 4 + 1) % count]).collect();
    cuts_of(&pairs, 1, usize::MAX).await;
}

#[tokio::test]
#[ignore = "twenty minutes of one processor (docs/reliability.md)"]
async fn f04_a_hundred_thousand_states_of_two_certificates_show_one_whole_generation_each() {
    let count = stories(Path::new("/")).len();
    let pairs: Vec<_> = (0..count).flat_map(|one| (0..count).map(move |other| vec![one, other])).collect();
    assert!(cuts_of(&pairs, 1000, ENOUGH).await >= ENOUGH);
}

/// Stories of as many certificates at once as each of `casts` has, turn about on one disk; the power is cut at every
/// step, `seeds` times with other losses or until that left `enough` different states; how many it left.
///
/// A state is all that a reader finds below the live directory: names, links and bytes. The same found after another
/// step, or on the way to something else, is the same state.
async fn cuts_of(casts: &[Vec<usize>], seeds: u64, enough: usize) -> usize {
    let dirs = ["shop.example.com", "mail.example.com"].map(|name| Path::new(LIVE).join(name));
    let known = [&dirs[0], &dirs[1]].map(|dir| stories(dir));
    // Of a state its number is enough: a million of them are sixteen megabytes.
    let (mut cuts, mut states) = (0, HashSet::new());
    for (seed, (nth, cast)) in (0..seeds).flat_map(|seed| (0..).zip(casts).map(move |cast| (seed, cast))) {
        if states.len() >= enough {
            break;
        }
        let told: Vec<_> = cast.iter().zip(&known).map(|(at, known)| &known[*at]).collect();
        let plan = turn_about(&told);
        for skip in 0.. {
            let (disk, model) = before(&told).await;
            model.inject(Fault { trouble: Trouble::PowerCut, step: None, skip, lasting: true });
            let done = disk.run(plan.clone()).await.is_ok();
            // The first two are the hard ones, all lost and nothing; then each step of each cast draws its own.
            model.crash(if seed < 2 { seed } else { seed * 1_000_000 + nth * 1000 + u64::from(skip) });
            let when = format!("of {cast:?}, power cut after {skip} steps, seed {seed}");
            let mut state = DefaultHasher::new();
            for (story, dir) in told.iter().zip(&dirs) {
                check(story, &when, &disk, dir, done);
                look(&disk, dir, &mut state);
            }
            cuts += 1;
            states.insert(state.finish());
            run(&disk, &plan).await;
            model.crash(0);
            for (story, dir) in told.iter().zip(&dirs) {
                check(story, &format!("{when}, and run again"), &disk, dir, true);
            }
            if done {
                break;
            }
        }
    }
    println!("{cuts} power cuts left {} different states", states.len());
    states.len()
}

/// The steps of all, one of each in turn.
fn turn_about(told: &[&Story]) -> Vec<FsOp> {
    let longest = told.iter().map(|story| story.plan.len()).max().unwrap_or(0);
    (0..longest).flat_map(|at| told.iter().filter_map(move |story| story.plan.get(at).cloned())).collect()
}

/// Everything below a directory, into one number.
fn look(disk: &Disk, dir: &Path, state: &mut DefaultHasher) {
    let names = disk.list(dir).unwrap_or_default();
    names.len().hash(state);
    for name in names {
        let path = dir.join(&name);
        name.hash(state);
        match disk.stat(&path).unwrap().kind {
            FileKind::Dir => look(disk, &path, state),
            FileKind::Link => disk.read_link(&path).unwrap().hash(state),
            _ => disk.read(&path, MOST).unwrap().bytes().hash(state),
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
        form: Part::Combined.into(),
        path: path.display().to_string(),
        rights: Rights { key_mode: 0o600, ..rights() }.into(),
    };
    let plans = [
        output(&wanted, texts(2)[&Part::Combined].clone()),
        replace(path, texts(2)[&Part::Combined].clone(), FileRights::mode(0o600)),
    ];
    for (plan, there) in plans.iter().flat_map(|plan| [(plan, false), (plan, true)]) {
        for (skip, seed) in (0..plan.len() + 4).flat_map(|skip| (0..SEEDS).map(move |seed| (skip, seed))) {
            let (disk, model) = Disk::model();
            model.make_dirs(path.parent().unwrap(), 0o755);
            if there {
                run(&disk, &output(&wanted, texts(1)[&Part::Combined].clone())).await;
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
