//! Whether those for whom keys are given out can read them: the owner and the group that the
//! configuration names, through every directory on the way.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::host::looks;
use crate::config::AgentSettings;
use crate::core::finding::Finding;
use crate::core::form::Form;
use crate::core::spec::{LineageSpec, Part, Rights, Wanted};
use crate::sys::disk::Disk;
use crate::sys::privilege::Identity;

/// Bits of a mode.
const READ: u32 = 0o4;
const ENTER: u32 = 0o1;
/// Where the kernel keeps an access list; its rights are not judged here.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// Somebody who shall read a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reader {
    /// `the group www-data`.
    name: String,
    /// `None`: any member of the group, whoever that is.
    uid: Option<u32>,
    gids: Vec<u32>,
}

/// Every key that is there already, for everybody who shall read it.
pub fn findings(settings: &AgentSettings, wanted: &Wanted) -> Vec<Finding> {
    let mut found = BTreeSet::new();
    for spec in wanted.lineages.values() {
        for (path, rights) in keys(settings, spec) {
            for reader in readers(rights) {
                found.extend(unreadable(spec, &path, &reader));
            }
        }
    }
    found.into_iter().collect()
}

fn keys<'a>(settings: &AgentSettings, spec: &'a LineageSpec) -> Vec<(PathBuf, &'a Rights)> {
    let live = settings.live_dir.join(spec.id.as_str()).join(Part::Privkey.file_name());
    let outputs = spec.outputs.iter().filter(|output| output.form.holds_key());
    std::iter::once((live, &*spec.rights))
        .chain(outputs.map(|output| {
            let path = PathBuf::from(&output.path);
            let path = if output.form == Form::Tree { path.join(Part::Privkey.file_name()) } else { path };
            (path, &*output.rights)
        }))
        .collect()
}

fn readers(rights: &Rights) -> Vec<Reader> {
    let owner = rights.owner.as_ref().and_then(|name| {
        let user = Identity::named(name).ok()??;
        (!user.is_root()).then(|| Reader {
            name: format!("the user {name}"),
            uid: Some(user.uid),
            gids: user.groups(),
        })
    });
    let group = rights.group.as_ref().and_then(|name| {
        let gid = Disk::real().group_id(name).ok()??;
        Some(Reader { name: format!("the group {name}"), uid: None, gids: vec![gid] })
    });
    owner.into_iter().chain(group).collect()
}

fn unreadable(spec: &LineageSpec, path: &Path, reader: &Reader) -> Option<Finding> {
    // The way is that of the file itself, through links. What is not there yet is judged later.
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Some(
                Finding::note(
                    "key-unseen",
                    format!("whether {} can read the key of {}", reader.name, spec.id),
                )
                .seen(format!("{}: {error}", path.display()))
                .fix("run this as root, or as the user that nolapse runs as"),
            );
        }
        Err(_) => return None,
    };
    let closed = real.ancestors().find_map(|each| {
        let meta = std::fs::metadata(each).ok()?;
        let wanted = if each == real { READ } else { ENTER };
        (!reader.may(&meta, wanted) && !has_access_list(each)).then(|| each.to_owned())
    })?;
    let fix = if closed == real {
        format!("let `key-mode` of {} give it to {} (0640 for a group)", spec.id, reader.name)
    } else {
        format!("chmod o+x {0}, or give {0} to a group of theirs", closed.display())
    };
    Some(
        Finding::error("key-unreadable", format!("{} can't read the key of {}", reader.name, spec.id))
            .seen(format!("{} on the way to {}", looks(&closed), path.display()))
            .fix(fix),
    )
}

impl Reader {
    /// As the kernel decides: the first class that fits counts, though a later one gave more.
    fn may(&self, meta: &Metadata, wanted: u32) -> bool {
        let shift = if self.uid == Some(meta.uid()) {
            6
        } else if self.gids.contains(&meta.gid()) {
            3
        } else {
            0
        };
        meta.mode() >> shift & wanted == wanted
    }
}

fn has_access_list(path: &Path) -> bool {
    // An empty buffer asks for the length alone.
    let mut nothing: [u8; 0] = [];
    rustix::fs::getxattr(path, ACCESS_LIST, &mut nothing).is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_class_that_fits_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "x").unwrap();
        let reader = |uid, gids: &[u32]| Reader { name: String::new(), uid, gids: gids.to_vec() };
        let meta = std::fs::metadata(&path).unwrap();
        let (uid, gid) = (meta.uid(), meta.gid());
        for (mode, reader, may) in [
            (0o400, reader(Some(uid), &[gid]), true),
            (0o040, reader(Some(uid), &[gid]), false),
            (0o040, reader(None, &[gid]), true),
            (0o004, reader(None, &[gid]), false),
            (0o004, reader(Some(uid + 1), &[gid + 1]), true),
            (0o640, reader(Some(uid + 1), &[gid + 1]), false),
        ] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let meta = std::fs::metadata(&path).unwrap();
            assert_eq!(reader.may(&meta, READ), may, "{mode:o} for {reader:?}");
        }
    }
}
