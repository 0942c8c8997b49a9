//! Every prefix of every plan on a real directory, as a killed process leaves it.

use std::path::Path;

use nolapse::core::layout::{FsOp, discard_generation, generation_dir, install, output};
use nolapse::core::spec::{Output, Part, Rights};
use nolapse::sys::disk::Disk;

use crate::scratch::scratch;
use crate::story::{MOST, NAME, check, half_written, rights, run, seen, stories, texts};

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

#[tokio::test]
async fn f02_every_prefix_of_an_output_leaves_the_old_or_the_new_file_with_its_rights() {
    let disk = Disk::real();
    for there in [false, true] {
        for prefix in 0.. {
            let place = scratch();
            let path = place.path().join("shop.pem");
            let wanted = Output {
                form: Part::Combined.into(),
                path: path.display().to_string(),
                rights: Rights { key_mode: 0o600, ..rights() }.into(),
            };
            if there {
                run(&disk, &output(&wanted, texts(1)[&Part::Combined].clone())).await;
            }
            let plan = output(&wanted, texts(2)[&Part::Combined].clone());
            let done = prefix == plan.len();
            run(&disk, &plan[..prefix]).await;
            let found = disk.read(&path, MOST).ok();
            let old = there.then(|| texts(1)[&Part::Combined].clone());
            let new = Some(texts(2)[&Part::Combined].clone());
            assert!(found == new || (!done && found == old), "after {prefix} steps");
            for name in disk.list(place.path()).unwrap() {
                assert_eq!(disk.stat(&place.path().join(&name)).unwrap().mode, 0o600, "{name}");
            }
            run(&disk, &plan).await;
            assert_eq!(disk.read(&path, MOST).ok(), new);
            assert_eq!(half_written(&disk, place.path()), [""; 0]);
            if done {
                break;
            }
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
