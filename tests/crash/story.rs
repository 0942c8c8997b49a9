//! Plans as an operator knows them, and what a reader of the well-known names sees on the way.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use nolapse::core::layout::{
    Content, FsOp, PLACEHOLDER, Rendering, discard_generation, install, install_again, show,
};
use nolapse::core::spec::{Part, Rights};
use nolapse::sys::disk::{Disk, FileKind};

pub const NAME: &str = "shop.example.com";
/// Longer than any file here, in bytes.
pub const MOST: usize = 8192;
/// About as long as a chain and its key are, in bytes: a write can be torn at any of them.
const LENGTH: u64 = 3000;

/// Texts that say which generation they are of, of different lengths, so that a tail of an older
/// one would show.
pub fn texts(number: u64) -> Rendering {
    let tail = "x".repeat(usize::try_from(LENGTH - number * 7).unwrap());
    let text = |part: &Part| Content::new(format!("{} of {number} {tail}.", part.file_name()).into());
    Part::ALL.iter().map(|part| (*part, text(part))).collect()
}

/// The texts of every generation that a story has: a campaign looks at them millions of times.
static KNOWN: LazyLock<Vec<Rendering>> = LazyLock::new(|| (0..=5).map(texts).collect());

pub fn rights() -> Rights {
    Rights::default()
}

/// What a reader of the five well-known names sees: the generation, if any is shown.
pub fn seen(disk: &Disk, dir: &Path) -> Result<Option<u64>, String> {
    let mut shown = BTreeSet::new();
    for part in Part::ALL {
        shown.insert(match disk.read(&dir.join(part.file_name()), MOST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", part.file_name())),
            Ok(content) => {
                let of = KNOWN.iter().zip(0..).find(|(known, _)| known.get(&part) == Some(&content));
                let (_, number) = of.ok_or_else(|| {
                    format!("{} is {:?}", part.file_name(), String::from_utf8_lossy(content.bytes()))
                })?;
                Some(number)
            }
        });
    }
    match shown.into_iter().collect::<Vec<_>>()[..] {
        [one] => Ok(one),
        ref mixed => Err(format!("a reader sees {mixed:?}")),
    }
}

pub fn half_written(disk: &Disk, dir: &Path) -> Vec<String> {
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

pub async fn run(disk: &Disk, plan: &[FsOp]) {
    disk.run(plan.to_vec()).await.unwrap();
}

/// A plan, what is there before, and which generations may be seen on the way and after.
pub struct Story {
    pub says: &'static str,
    pub before: Vec<Vec<FsOp>>,
    pub plan: Vec<FsOp>,
    pub old: Option<u64>,
    pub new: Option<u64>,
}

pub fn stories(dir: &Path) -> Vec<Story> {
    let put = |number| install(dir, number, &texts(number), &rights());
    vec![
        Story { says: "the first install", before: vec![], plan: put(1), old: None, new: Some(1) },
        Story { says: "a renewal", before: vec![put(1)], plan: put(2), old: Some(1), new: Some(2) },
        Story {
            says: "a renewal where one is shown already",
            before: vec![put(1)],
            plan: install_again(dir, 2, &texts(2), &rights()),
            old: Some(1),
            new: Some(2),
        },
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
            says: "the first generation after a placeholder",
            before: vec![put(PLACEHOLDER)],
            plan: put(1),
            old: Some(PLACEHOLDER),
            new: Some(1),
        },
        Story {
            says: "a renewal and retention in one go",
            before: vec![put(1), put(2)],
            plan: [put(3), discard_generation(dir, 1)].concat(),
            old: Some(2),
            new: Some(3),
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

pub fn check(story: &Story, when: &str, disk: &Disk, dir: &Path, done: bool) {
    let said = |what: String| format!("{}, {when}: {what}", story.says);
    let shown = seen(disk, dir).unwrap_or_else(|what| panic!("{}", said(what)));
    let allowed = if done { vec![story.new] } else { vec![story.old, story.new] };
    assert!(allowed.contains(&shown), "{}", said(format!("{shown:?} is shown")));
}
