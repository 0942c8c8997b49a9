//! A tree as certbot keeps it: whoever reads through `live/NAME` gets four texts of one generation,
//! wherever the plan that moves it was cut off, by a kill or by the power.

use std::path::{Path, PathBuf};

use nolapse::core::layout::FsOp;
use nolapse::core::tree::Tree;
use nolapse::sys::disk::{Disk, Fault, Trouble};

use crate::scratch::scratch;
use crate::story::{MOST, NAME, rights, run, texts};

/// Power cuts tried for each step.
const SEEDS: u64 = 10;

fn tree(root: &Path) -> Tree {
    Tree::at(&PathBuf::from(Tree::path(root.to_str().unwrap(), NAME))).unwrap()
}

/// The plan of each generation, as the disk is found.
fn plan(disk: &Disk, tree: &Tree, number: u64) -> Vec<FsOp> {
    let names = |dir: &Path| disk.list(dir).unwrap_or_default();
    let version = tree.next(&names(tree.archive()), &names(tree.shelves()));
    let mut ops = tree.show(version, &texts(number), &rights(), false);
    ops.extend(tree.prune(version, &names(tree.shelves())));
    ops
}

/// The generation that a reader of the four names gets, if there is one to read.
fn seen(disk: &Disk, tree: &Tree) -> Option<u64> {
    let read = |number: u64| {
        let whole = |part| {
            disk.read(&tree.link().join(nolapse::core::spec::Part::file_name(part)), MOST).ok().as_ref()
                == texts(number).get(&part)
        };
        Tree::PARTS.into_iter().all(whole)
    };
    let shown = (1..=5).find(|number| read(*number));
    let anything = disk.read_link(&tree.link()).is_ok();
    assert_eq!(shown.is_some(), anything, "what is shown is one generation, whole");
    shown
}

#[tokio::test]
async fn f02_f03_every_prefix_of_a_trees_plan_shows_one_whole_generation() {
    let disk = Disk::real();
    for before in [0, 1] {
        for prefix in 0.. {
            let root = scratch();
            let tree = tree(root.path());
            if before == 1 {
                run(&disk, &plan(&disk, &tree, 1)).await;
            }
            let wanted = plan(&disk, &tree, 2);
            let done = prefix == wanted.len();
            run(&disk, &wanted[..prefix]).await;
            let shown = seen(&disk, &tree);
            assert!(shown == Some(2) || (!done && shown.unwrap_or(0) == before), "{prefix}: {shown:?}");
            // What comes after a crash looks at the disk anew, and may take the next number.
            run(&disk, &plan(&disk, &tree, 2)).await;
            assert_eq!(seen(&disk, &tree), Some(2));
            if done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn f04_no_power_cut_shows_two_generations_at_once_in_a_tree() {
    let root = Path::new("/etc/letsencrypt");
    let tree = tree(root);
    for skip in 0.. {
        let mut done = false;
        for seed in 0..SEEDS {
            let (disk, model) = Disk::model();
            model.make_dirs(root, 0o755);
            run(&disk, &plan(&disk, &tree, 1)).await;
            let wanted = plan(&disk, &tree, 2);
            model.inject(Fault { trouble: Trouble::PowerCut, step: None, skip, lasting: true });
            done = disk.run(wanted).await.is_ok();
            model.crash(seed);
            let shown = seen(&disk, &tree);
            assert!(shown == Some(2) || (!done && shown == Some(1)), "step {skip}, seed {seed}: {shown:?}");
        }
        if done {
            break;
        }
    }
}
