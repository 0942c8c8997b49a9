//! Which file a key is, and which key a file name is.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::core::layout::temporary;
use crate::core::leaf::Fingerprint;
use crate::core::name::{IssuerId, LineageId, Token};
use crate::core::record::GenerationNumber;
use crate::ports::{Key, Shelf};

/// Added to a name for the value before: no key's name can hold it.
const PREVIOUS: char = '~';

/// Every shelf and the name of its directory.
pub const SHELVES: [(Shelf, &str); 7] = [
    (Shelf::Lineages, "lineages"),
    (Shelf::Generations, "generations"),
    (Shelf::Keys, "keys"),
    (Shelf::Accounts, "accounts"),
    (Shelf::Challenges, "challenges"),
    (Shelf::Installed, "installed"),
    (Shelf::Alerts, "alerts"),
];
pub const LOCKS: &str = "locks";
pub const QUARANTINE: &str = "quarantine";
pub const VERSION: &str = "version";
/// The file that tells whether the disk takes writes.
pub const PROBE: &str = ".writable";
/// How files beside this node's notes begin; no lineage can be called so.
pub const SEEN: &str = ".seen";

const TOLD: &str = "told";
const ACKS: &str = "acks";
/// The lock of whoever sends alerts.
pub const ALERTS_LOCK: &str = ".alerts";

/// Where the shelves are.
#[derive(Clone, Debug)]
pub struct Shelving {
    pub root: PathBuf,
    /// The node's own notes, which may be apart from the rest.
    pub installed: PathBuf,
}

impl Shelving {
    pub fn dir(&self, shelf: Shelf) -> PathBuf {
        match SHELVES.iter().find(|(each, _)| *each == shelf) {
            Some((_, name)) if shelf != Shelf::Installed => self.root.join(name),
            _ => self.installed.clone(),
        }
    }

    pub fn file(&self, key: &Key) -> PathBuf {
        let dir = self.dir(key.shelf());
        match key {
            Key::Lineage(id) | Key::Installed(id) => dir.join(id.as_str()),
            Key::Generation(id, number) => dir.join(id.as_str()).join(number.to_string()),
            Key::LeafKey(hash) => dir.join(hash.to_string()),
            Key::Account(id) => dir.join(id.as_str()),
            Key::Challenge(token) => dir.join(token.as_str()),
            Key::Told => dir.join(TOLD),
            Key::Acks => dir.join(ACKS),
        }
    }

    pub fn locks(&self) -> PathBuf {
        self.root.join(LOCKS)
    }

    pub fn quarantine(&self) -> PathBuf {
        self.root.join(QUARANTINE)
    }

    /// The lock under which entries of one sixteenth of all keys are changed.
    pub fn swap_lock(&self, shard: u8) -> PathBuf {
        self.locks().join(format!(".swap-{shard:x}"))
    }
}

/// Locks are spread over this many files.
pub const SHARDS: u8 = 16;

/// Which of the swap locks a key belongs to. All generations of a lineage share one, as their
/// directory comes and goes with them.
pub fn shard(key: &Key) -> u8 {
    let name = match key {
        Key::Generation(id, _) => format!("generations/{id}"),
        key => key.to_string(),
    };
    digest(&SHA256, name.as_bytes()).as_ref()[0] >> 4
}

/// Whether the value before is kept: for values that change.
pub const fn keeps_previous(shelf: Shelf) -> bool {
    matches!(shelf, Shelf::Lineages | Shelf::Accounts | Shelf::Installed | Shelf::Alerts)
}

/// The file of the value before.
pub fn previous(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(PREVIOUS.to_string());
    file.with_file_name(name)
}

/// The key in a shelf without sub-directories that a file name stands for.
pub fn key_of(shelf: Shelf, name: &str) -> Option<Key> {
    Some(match shelf {
        Shelf::Lineages => Key::Lineage(LineageId::parse(name).ok()?),
        Shelf::Installed => Key::Installed(LineageId::parse(name).ok()?),
        Shelf::Accounts => Key::Account(IssuerId::parse(name).ok()?),
        Shelf::Challenges => Key::Challenge(Token::parse(name).ok()?),
        Shelf::Keys => {
            let hash = Fingerprint::try_from(name).ok()?;
            // Upper-case digits would be a second name for one key.
            (hash.to_string() == name).then_some(Key::LeafKey(hash))?
        }
        Shelf::Alerts => match name {
            TOLD => Key::Told,
            ACKS => Key::Acks,
            _ => return None,
        },
        Shelf::Generations => return None,
    })
}

/// The generation in a lineage's directory that a file name stands for.
pub fn generation_number(name: &str) -> Option<GenerationNumber> {
    name.parse().ok().filter(|number: &GenerationNumber| number.to_string() == name)
}

/// The finished name of a file that is not whole yet: `a` or `a~` for `.a.nolapse-new`.
pub fn finished(name: &str) -> Option<&str> {
    let inner = name.strip_prefix('.')?.strip_suffix(".nolapse-new")?;
    let same = temporary(Path::new(inner))? == Path::new(name);
    same.then(|| inner.strip_suffix(PREVIOUS).unwrap_or(inner))
}

/// What a damaged entry is called in quarantine, less its number.
pub fn quarantine_name(key: &Key) -> String {
    format!("{}-", key.to_string().replace('/', "-"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_we_never_gave_are_nobodys() {
        for name in ["", ".x", "x~", "X", "a b", "..", ".a.nolapse-new", "-o", "a/b"] {
            assert_eq!(key_of(Shelf::Lineages, name), None, "{name:?}");
        }
        let hash = "ab".repeat(32);
        assert!(key_of(Shelf::Keys, &hash).is_some());
        assert!(key_of(Shelf::Keys, &hash.to_uppercase()).is_none());
        for (name, ours) in [("7", true), ("07", false), ("+7", false), ("7~", false), ("", false)] {
            assert_eq!(generation_number(name).is_some(), ours, "{name:?}");
        }
    }

    #[test]
    fn a_lineage_cannot_be_called_as_the_previous_copy_of_another() {
        let shelving = Shelving { root: "/s".into(), installed: "/s/installed".into() };
        let file = shelving.file(&Key::Lineage(LineageId::parse("shop").unwrap()));
        let copy = previous(&file);
        assert_eq!(copy, Path::new("/s/lineages/shop~"));
        assert_eq!(key_of(Shelf::Lineages, copy.file_name().unwrap().to_str().unwrap()), None);
    }

    #[test]
    fn unfinished_files_are_known_by_their_name() {
        for (name, inner) in [
            (".a.nolapse-new", Some("a")),
            (".a.example~.nolapse-new", Some("a.example")),
            (".writable.nolapse-new", Some("writable")),
            ("a.nolapse-new", None),
            (".nolapse-new", None),
            ("a", None),
        ] {
            assert_eq!(finished(name), inner, "{name:?}");
        }
    }

    #[test]
    fn generations_of_a_lineage_share_a_lock() {
        let id = LineageId::parse("a.example").unwrap();
        let shards: std::collections::BTreeSet<_> =
            (1..50).map(|number| shard(&Key::Generation(id.clone(), number))).collect();
        assert_eq!(shards.len(), 1);
        assert!(shards.iter().all(|shard| *shard < SHARDS));
    }
}
