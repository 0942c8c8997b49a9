//! Every prefix of every plan on a real directory, as a killed process leaves it.

use std::path::Path;

use nolapse::core::layout::{FsOp, discard_generation, generation_dir, install};
use nolapse::sys::disk::Disk;

use crate::scratch::scratch;
use crate::story::{NAME, check, half_written, rights, run, seen, stories, texts};

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
