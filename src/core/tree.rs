//! Files as certbot keeps them, for scripts and configurations that were written for it:
//! `ROOT/live/NAME/cert.pem` and its three siblings are relative links to
//! `ROOT/archive/NAME/cert7.pem`, and each renewal gets the next number.
//!
//! Certbot changes its four links one after the other, and a reader in between gets a pair of two
//! generations. Here the directory `live/NAME` is a link itself, to `live/.NAME-7`, which holds the
//! four: one rename shows a generation whole. Seen through it everything is as certbot's.

use std::path::{Path, PathBuf};

use super::layout::{self, Content, FileRights, FsOp, Rendering};
use super::spec::{Part, Rights};

/// One certificate's place in such a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// `ROOT/live`
    shelves: PathBuf,
    /// `ROOT/archive/NAME`
    archive: PathBuf,
    name: String,
}

/// The number in the names of an archive's files.
pub type Version = u64;

/// Versions kept, the newest included: as many as certbot keeps.
const KEPT: usize = 6;

const README: &str = "\
This directory is kept by nolapse in the form that certbot gives it.

`privkey.pem`    the private key of the certificate
`fullchain.pem`  the certificate and its intermediates: what most servers want
`chain.pem`      the intermediates alone
`cert.pem`       the certificate alone: for few programs, and seldom what you need

Name these links in your servers' configuration, not what they point to: that changes at every
renewal. What is changed here by hand is put right again.
";

impl Tree {
    /// The texts that certbot keeps, in its order.
    pub const PARTS: [Part; 4] = [Part::Cert, Part::Privkey, Part::Chain, Part::Fullchain];

    /// The path of one certificate's directory below `root`.
    pub fn path(root: &str, name: &str) -> String {
        format!("{}/live/{name}", root.trim_end_matches('/'))
    }

    /// By the path of its directory, `ROOT/live/NAME`; `None` for one that is no such path.
    pub fn at(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_owned();
        let shelves = path.parent()?.to_owned();
        let archive = shelves.parent()?.join("archive").join(&name);
        Some(Self { shelves, archive, name })
    }

    /// What servers name.
    pub fn link(&self) -> PathBuf {
        self.shelves.join(&self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// Where the directories of all versions lie, hidden, beside the link to one of them.
    pub fn shelves(&self) -> &Path {
        &self.shelves
    }

    /// The directory of one version's links.
    pub fn shelf(&self, version: Version) -> PathBuf {
        self.shelves.join(self.shelf_name(version))
    }

    pub fn file(&self, part: Part, version: Version) -> PathBuf {
        self.archive.join(file_name(part, version))
    }

    /// Where the link of a text points to, relative as certbot's are.
    pub fn target(&self, part: Part, version: Version) -> PathBuf {
        Path::new("../../archive").join(&self.name).join(file_name(part, version))
    }

    /// The version that a shelf's name, or a link to it, is of.
    pub fn version_of(&self, shelf: &str) -> Option<Version> {
        let digits = shelf.strip_prefix('.')?.strip_prefix(&self.name)?.strip_prefix('-')?;
        let version = digits.parse().ok()?;
        (self.shelf_name(version) == shelf).then_some(version)
    }

    /// The first number that none of these names in the archive has: what certbot left there is
    /// neither replaced nor mixed with.
    pub fn next(&self, archive: &[String], shelves: &[String]) -> Version {
        let filed = archive.iter().filter_map(|name| {
            let part = Self::PARTS.iter().find_map(|part| name.strip_prefix(stem(*part)));
            part?.strip_suffix(".pem")?.parse::<Version>().ok()
        });
        let shelved = shelves.iter().filter_map(|name| self.version_of(name));
        filed.chain(shelved).max().unwrap_or(0).saturating_add(1)
    }

    /// Writes `texts` as `version` and shows it. `aside`: a directory that somebody else made
    /// stands in the link's place; it is renamed to `NAME.before-nolapse` first, and for that
    /// moment there is nothing to read.
    pub fn show(&self, version: Version, texts: &Rendering, rights: &Rights, aside: bool) -> Vec<FsOp> {
        let mut ops = Vec::new();
        let open = || FileRights::mode(0o755);
        for dir in [self.shelves.parent(), self.archive.parent(), Some(&self.archive), Some(&self.shelves)] {
            ops.extend(dir.map(|dir| FsOp::MakeDir { path: dir.to_owned(), rights: open() }));
        }
        for dir in [self.archive.parent(), self.shelves.parent()] {
            ops.extend(dir.map(|dir| FsOp::SyncDir { path: dir.to_owned() }));
        }
        for part in Self::PARTS {
            let Some(content) = texts.get(&part) else { continue };
            let rights = layout::part_rights(part, rights);
            ops.extend(layout::replace(&self.file(part, version), content.clone(), rights));
        }
        let shelf = self.shelf(version);
        ops.push(FsOp::MakeDir { path: shelf.clone(), rights: open() });
        let readme = || Content::new(README.into());
        ops.extend(layout::replace(&shelf.join("README"), readme(), FileRights::mode(0o644)));
        ops.extend(layout::replace(&self.shelves.join("README"), readme(), FileRights::mode(0o644)));
        for part in Self::PARTS {
            ops.extend(layout::link(&shelf, part.file_name(), &self.target(part, version)));
        }
        ops.push(FsOp::SyncDir { path: shelf });
        if aside {
            let kept = self.shelves.join(format!("{}.before-nolapse", self.name));
            ops.push(FsOp::Rename { from: self.link(), to: kept });
        }
        ops.extend(layout::link(&self.shelves, &self.name, Path::new(&self.shelf_name(version))));
        ops.push(FsOp::SyncDir { path: self.shelves.clone() });
        ops
    }

    /// Removes our versions beyond those that are kept, by the names in `ROOT/live`. Never what is
    /// shown, and nothing of certbot's: its versions have no shelf.
    pub fn prune(&self, shown: Version, shelves: &[String]) -> Vec<FsOp> {
        let mut versions: Vec<_> = shelves.iter().filter_map(|name| self.version_of(name)).collect();
        versions.sort_unstable();
        versions.retain(|version| *version != shown);
        let surplus = (versions.len() + 1).saturating_sub(KEPT);
        let mut ops = Vec::new();
        for version in versions.into_iter().take(surplus) {
            let shelf = self.shelf(version);
            let names = Self::PARTS.iter().map(|part| part.file_name()).chain(["README"]);
            ops.extend(names.map(|name| FsOp::Discard { path: shelf.join(name) }));
            // The archive's files first: once the shelf is gone nothing says that they were ours.
            ops.extend(Self::PARTS.map(|part| FsOp::Discard { path: self.file(part, version) }));
            ops.push(FsOp::DiscardDir { path: shelf });
        }
        ops
    }

    fn shelf_name(&self, version: Version) -> String {
        format!(".{}-{version}", self.name)
    }
}

fn file_name(part: Part, version: Version) -> String {
    format!("{}{version}.pem", stem(part))
}

fn stem(part: Part) -> &'static str {
    part.file_name().trim_end_matches(".pem")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::at(Path::new("/etc/letsencrypt/live/a.example")).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_are_relative_and_numbered_as_certbots_are() {
        let tree = tree();
        assert_eq!(tree.link(), Path::new("/etc/letsencrypt/live/a.example"));
        assert_eq!(tree.target(Part::Cert, 7), Path::new("../../archive/a.example/cert7.pem"));
        let through = tree.shelf(7).join(tree.target(Part::Privkey, 7));
        assert_eq!(
            through,
            Path::new("/etc/letsencrypt/live/.a.example-7/../../archive/a.example/privkey7.pem")
        );
        assert_eq!(tree.file(Part::Privkey, 7), Path::new("/etc/letsencrypt/archive/a.example/privkey7.pem"));
        assert_eq!(Tree::path("/etc/letsencrypt/", "a.example"), "/etc/letsencrypt/live/a.example");
    }

    #[test]
    fn the_next_number_is_taken_by_nobody() {
        let tree = tree();
        for (what, archive, shelves, next) in [
            ("an empty tree", &[][..], &[][..], 1),
            ("certbot was here", &["cert1.pem", "privkey1.pem", "cert12.pem", "notes.txt"], &[], 13),
            ("half a version", &["chain3.pem"], &[], 4),
            ("ours", &["cert1.pem"], &[".a.example-4", "README", ".b.example-9", ".a.example-x"], 5),
            ("foreign names", &["certificate99.pem", "cert.pem", "cert-7.pem"], &["a.example-8"], 1),
        ] {
            assert_eq!(tree.next(&names(archive), &names(shelves)), next, "{what}");
        }
    }

    #[test]
    fn a_version_is_whole_before_one_rename_shows_it() {
        let texts: Rendering =
            Part::ALL.iter().map(|part| (*part, Content::new(part.file_name().into()))).collect();
        let ops = tree().show(3, &texts, &Rights::default(), false);
        let flip = |op: &FsOp| matches!(op, FsOp::Rename { to, .. } if *to == tree().link());
        let last_file = ops.iter().rposition(|op| matches!(op, FsOp::Create { .. })).unwrap();
        let synced = ops
            .iter()
            .rposition(|op| matches!(op, FsOp::SyncDir { path } if *path == tree().shelf(3)))
            .unwrap();
        let shown = ops.iter().position(flip).unwrap();
        assert!(last_file < synced && synced < shown);
        assert_eq!(ops.iter().filter(|op| flip(op)).count(), 1);
        let modes: Vec<_> = ops
            .iter()
            .filter_map(|op| match op {
                FsOp::Create { path, rights, .. } => Some((path.to_str()?, rights.mode)),
                _ => None,
            })
            .filter(|(path, _)| path.contains("archive"))
            .collect();
        assert_eq!(modes.len(), 4);
        assert!(modes.iter().all(|(path, mode)| (*mode == 0o640) == path.contains("privkey")), "{modes:?}");
    }

    #[test]
    fn old_versions_of_ours_go_and_the_rest_stays() {
        let shelves = names(&[
            "README",
            "a.example",
            ".a.example-1",
            ".a.example-2",
            ".a.example-3",
            ".a.example-4",
            ".a.example-5",
            ".a.example-6",
            ".a.example-7",
            ".b.example-1",
        ]);
        let gone = |shown| {
            let mut dirs: Vec<_> = tree()
                .prune(shown, &shelves)
                .into_iter()
                .filter_map(|op| match op {
                    FsOp::DiscardDir { path } => Some(path),
                    _ => None,
                })
                .collect();
            dirs.sort();
            dirs
        };
        assert_eq!(gone(7), [tree().shelf(1)]);
        assert_eq!(gone(1), [tree().shelf(2)], "what is shown stays, however old");
    }
}
