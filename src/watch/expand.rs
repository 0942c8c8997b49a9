//! From the paths, patterns and trees of a watch to files, within bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::codec::glob;
use crate::core::failure::plain;
use crate::core::specimen::{Find, Obstacle, Specimen, Unread};
use crate::core::watch::WatchSpec;
use crate::sys::disk::{Disk, FileKind};

/// What a watch leads to.
#[derive(Default)]
pub struct Places {
    /// Named, or found by a pattern.
    pub files: Vec<PathBuf>,
    pub trees: Vec<Tree>,
    /// What led nowhere.
    pub unread: Vec<Find>,
}

/// Files of one tree that may hold a certificate.
pub struct Tree {
    pub files: Vec<PathBuf>,
}

/// Files of one watch.
pub const FILES_MAX: usize = 2_000;
/// Entries of directories that are looked at for one watch.
pub const ENTRIES_MAX: usize = 20_000;
/// Levels below a tree.
const DEPTH_MAX: usize = 8;
/// Longest path shown, in characters.
const PATH_SHOWN: usize = 300;
/// Endings of files with certificates in trees; names without one are below.
const ENDINGS: [&str; 7] = ["pem", "crt", "cer", "cert", "der", "chain", "combined"];
const NAMES: [&str; 4] = ["cert", "fullchain", "combined", "pubcert"];
/// Where tools keep what they have replaced. Beside `live`, `archive` is certbot's.
const PUT_ASIDE: [&str; 4] = ["archives", "backup", "backups", "old"];

/// Everything that `watch` leads to now.
pub fn places(disk: &Disk, watch: &WatchSpec) -> Places {
    let mut places = Places::default();
    let mut budget = ENTRIES_MAX;
    let mut seen = BTreeSet::new();
    for pattern in &watch.files {
        let files = if glob::is_pattern(pattern) {
            match matches(disk, pattern, &mut budget) {
                Ok(files) => files,
                Err(unread) => {
                    places.unread.push(Find { place: plain(pattern, PATH_SHOWN), found: Err(unread) });
                    continue;
                }
            }
        } else {
            vec![PathBuf::from(pattern)]
        };
        places.files.extend(files.into_iter().filter(|file| seen.insert(file.clone())));
    }
    for tree in &watch.trees {
        let mut files = Vec::new();
        let found = walk(disk, Path::new(tree), 0, &mut budget, &mut files);
        if let Err(unread) = found {
            places.unread.push(Find { place: plain(tree, PATH_SHOWN), found: Err(unread) });
        }
        files.retain(|file| seen.insert(file.clone()));
        places.trees.push(Tree { files });
    }
    let count = places.files.len() + places.trees.iter().map(|tree| tree.files.len()).sum::<usize>();
    if count > FILES_MAX || budget == 0 {
        let words =
            format!("more than {FILES_MAX} files or {ENTRIES_MAX} entries; the rest is not looked at");
        let first = watch.files.iter().chain(&watch.trees).next().map_or("", String::as_str);
        places.unread.push(Find::unread(plain(first, PATH_SHOWN), Obstacle::TooMany, words));
        places.files.truncate(FILES_MAX);
        let mut left = FILES_MAX - places.files.len();
        for tree in &mut places.trees {
            tree.files.truncate(left);
            left -= tree.files.len();
        }
    }
    places
}

/// A path as it is shown.
pub fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy(), PATH_SHOWN)
}

/// What in a tree is a server's: each certificate once, at its best place, without CAs and without
/// what a newer one for the same names has replaced in its directory.
pub fn of_servers(held: Vec<(PathBuf, Result<Specimen, Unread>)>) -> Vec<Find> {
    let mut finds = Vec::new();
    let mut best: BTreeMap<_, (PathBuf, Specimen)> = BTreeMap::new();
    for (path, found) in held {
        let specimen = match found {
            Ok(specimen) if specimen.authority => continue,
            Ok(specimen) => specimen,
            // Anything may lie in a tree; what could not be opened is told of.
            Err(Unread { why: Obstacle::Closed, words }) => {
                finds.push(Find::unread(shown(&path), Obstacle::Closed, words));
                continue;
            }
            Err(_) => continue,
        };
        // The fullest chain, then the shortest path.
        let rank = |path: &Path, specimen: &Specimen| {
            (std::cmp::Reverse(specimen.chain.len()), path.as_os_str().len(), path.to_owned())
        };
        match best.get(&specimen.leaf.fingerprint) {
            Some((known, other)) if rank(known, other) <= rank(&path, &specimen) => {}
            _ => {
                best.insert(specimen.leaf.fingerprint, (path, specimen));
            }
        }
    }
    let mut newest = BTreeMap::new();
    for (path, specimen) in best.values() {
        let key = (path.parent().map(Path::to_owned), specimen.leaf.names.clone());
        let end = newest.entry(key).or_insert(specimen.leaf.not_after);
        *end = (*end).max(specimen.leaf.not_after);
    }
    let kept = best.into_values().filter(|(path, specimen)| {
        let key = (path.parent().map(Path::to_owned), specimen.leaf.names.clone());
        specimen.leaf.names.is_empty() || newest.get(&key).is_none_or(|end| *end <= specimen.leaf.not_after)
    });
    finds.extend(kept.map(|(path, specimen)| Find { place: shown(&path), found: Ok(specimen) }));
    finds.sort_by(|a, b| a.place.cmp(&b.place));
    finds
}

pub fn matches(disk: &Disk, pattern: &str, budget: &mut usize) -> Result<Vec<PathBuf>, Unread> {
    let mut bases = vec![PathBuf::from("/")];
    let mut closed = None;
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for base in &bases {
            if !glob::is_pattern(part) {
                next.push(base.join(part));
                continue;
            }
            match disk.list(base) {
                Ok(names) => {
                    let taken = names.len().min(*budget);
                    *budget -= taken;
                    let fitting = names.into_iter().take(taken).filter(|name| glob::fits(part, name));
                    next.extend(fitting.map(|name| base.join(name)));
                }
                Err(error) => closed = Some(unread(&error)),
            }
        }
        bases = next;
    }
    // What stands behind a star may be there in some directories only.
    bases.retain(|path| disk.resolve(path).is_ok());
    if bases.is_empty() {
        let missing = || Unread { why: Obstacle::Missing, words: "nothing there fits the pattern".into() };
        return Err(closed.unwrap_or_else(missing));
    }
    Ok(bases)
}

pub fn walk(
    disk: &Disk,
    dir: &Path,
    depth: usize,
    budget: &mut usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), Unread> {
    let names = disk.list(dir).map_err(|error| unread(&error))?;
    let certbot = names.iter().any(|name| name == "live");
    for name in names {
        if *budget == 0 {
            return Ok(());
        }
        *budget -= 1;
        // Hidden ones include the dated directories of Kubernetes, which its links lead into.
        if name.starts_with('.') {
            continue;
        }
        let path = dir.join(&name);
        match disk.stat(&path).map(|stat| stat.kind) {
            Ok(FileKind::Dir) => {
                let aside = PUT_ASIDE.contains(&name.as_str()) || (certbot && name == "archive");
                if depth < DEPTH_MAX && !aside {
                    // One directory that is closed does not hide the others.
                    if let Err(found) = walk(disk, &path, depth + 1, budget, files) {
                        tracing::debug!(dir = %path.display(), why = %found.words, "a directory is left out of a watch");
                    }
                }
            }
            // A link is followed to a file, never to a directory, so that no walk goes in circles.
            Ok(FileKind::File | FileKind::Link) if may_hold(&name) => files.push(path),
            _ => {}
        }
    }
    Ok(())
}

fn may_hold(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, ending)) => ENDINGS.contains(&ending.to_ascii_lowercase().as_str()),
        None => NAMES.contains(&name),
    }
}

fn unread(error: &std::io::Error) -> Unread {
    super::read::unread(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::core::name::WatchId;
    use crate::core::spec::Origin;
    use crate::core::time::Span;
    use crate::core::watch::Thresholds;

    fn watch(files: &[String], trees: &[String]) -> WatchSpec {
        WatchSpec {
            id: WatchId::parse("w").unwrap(),
            files: files.to_vec(),
            trees: trees.to_vec(),
            endpoints: Vec::new(),
            names: Vec::new(),
            key: None,
            every: Span::HOUR,
            timeout: Span::secs(1),
            thresholds: Thresholds::default(),
            labels: crate::core::labels::Labels::default(),
            origin: Origin::default(),
        }
    }

    fn put(root: &Path, name: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    fn below(root: &Path, files: &[PathBuf]) -> Vec<String> {
        files.iter().map(|file| file.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_pattern_leads_to_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["a/cert.pem", "b/cert.pem", "b/other.txt", ".c/cert.pem", "d/nothing"] {
            put(root, name);
        }
        let places = places(&Disk::real(), &watch(&[format!("{}/*/cert.pem", root.display())], &[]));
        assert_eq!(below(root, &places.files), ["a/cert.pem", "b/cert.pem"]);
        assert!(places.unread.is_empty());
        let gone = super::places(&Disk::real(), &watch(&[format!("{}/z*/cert.pem", root.display())], &[]));
        assert_eq!(gone.unread[0].found.as_ref().unwrap_err().why, Obstacle::Missing);
    }

    #[test]
    fn a_tree_is_walked_without_circles_and_without_what_was_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in [
            "live/a/README",
            "archive/a/cert1.pem",
            "lego/certificates/a.crt",
            "lego/archives/a.crt",
            "..2026_11_01/tls.crt",
            "deep/1/2/3/4/5/6/7/8/9/too-deep.pem",
        ] {
            put(root, name);
        }
        symlink("../../archive/a/cert1.pem", root.join("live/a/cert.pem")).unwrap();
        symlink("..", root.join("live/a/up.pem")).unwrap();
        symlink("..2026_11_01", root.join("..data")).unwrap();
        symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
        let places = places(&Disk::real(), &watch(&[], &[root.display().to_string()]));
        let files = below(root, &places.trees[0].files);
        assert_eq!(files, ["lego/certificates/a.crt", "live/a/cert.pem", "live/a/up.pem", "tls.crt"]);
    }

    #[test]
    fn a_tree_that_is_too_large_is_cut_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MAX {
            std::fs::write(dir.path().join(format!("{number}.pem")), "x").unwrap();
        }
        let places = places(&Disk::real(), &watch(&[], &[dir.path().display().to_string()]));
        assert_eq!(places.trees[0].files.len(), FILES_MAX);
        assert_eq!(places.unread[0].found.as_ref().unwrap_err().why, Obstacle::TooMany);
    }
}
