//! Where files lie and in which order they are written. Plans are values: the disk runs them,
//! and the crash tests run every prefix of them.
//!
//! `live/NAME` is a real directory that is never replaced, so bind mounts and volumes follow.
//! Inside, `.gen-N/` holds one whole generation and `.current` points to it; the well-known
//! names are fixed links through `.current`. One rename shows a new generation whole.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::record::GenerationNumber;
use super::spec::{Output, Part, Rights};

/// Bytes of a file. May be a private key: never printed, overwritten when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content(Vec<u8>);

impl Content {
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Given away, and from there on the taker's to overwrite: for what is no secret.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// For whoever fills it in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Cuts it to `len` bytes; what is cut off is overwritten.
    pub fn truncate(&mut self, len: usize) {
        let len = len.min(self.0.len());
        self.0[len..].fill(0);
        self.0.truncate(len);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from dropping the write; a promise it need not make, so this is
        // best effort without `unsafe`.
        std::hint::black_box(&self.0);
    }
}

/// Mode and owner of one file or directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRights {
    pub mode: u32,
    pub owner: Option<String>,
    pub group: Option<String>,
}

impl FileRights {
    pub const fn mode(mode: u32) -> Self {
        Self { mode, owner: None, group: None }
    }
}

/// One step on a disk. Every step can be the last one before a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsOp {
    /// Make one directory unless it is there; its rights are set when it is made.
    MakeDir {
        path: PathBuf,
        rights: FileRights,
    },
    /// Create exclusively with final rights, write, fsync, close. Never follows a link.
    Create {
        path: PathBuf,
        content: Content,
        rights: FileRights,
    },
    /// As `Create`, but left to the system to bring to the disk: a power cut may leave it torn.
    Draft {
        path: PathBuf,
        content: Content,
        rights: FileRights,
    },
    /// Give a file a second name, exclusively: a hard link, or a durable copy where the file
    /// system has none. Only for files that are never written in place.
    Copy {
        from: PathBuf,
        to: PathBuf,
    },
    /// Create a symbolic link exclusively.
    Link {
        path: PathBuf,
        target: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// Make creations, renames and removals in the directory durable.
    SyncDir {
        path: PathBuf,
    },
    /// Remove a file or link if it is there; never a directory.
    Discard {
        path: PathBuf,
    },
    /// Remove an empty directory if it is there. One that holds something that is not ours stays.
    DiscardDir {
        path: PathBuf,
    },
    /// Put mode and owner right, through a descriptor; never follows a link, and refuses a file
    /// that has a second name (it might be somebody else's file, linked here).
    SetRights {
        path: PathBuf,
        rights: FileRights,
    },
}

impl FsOp {
    /// Whether the step waits until something has reached the disk.
    pub const fn is_durable(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Copy { .. } | Self::SyncDir { .. })
    }
}

/// All texts of one generation.
pub type Rendering = BTreeMap<Part, Content>;

/// The link that says which generation is shown.
pub const CURRENT: &str = ".current";

/// The number under which a placeholder is shown; never in a record.
pub const PLACEHOLDER: GenerationNumber = 0;

pub fn generation_dir(number: GenerationNumber) -> String {
    format!(".gen-{number}")
}

/// The number of a generation directory's name.
pub fn generation_of(name: &str) -> Option<GenerationNumber> {
    name.strip_prefix(".gen-")?.parse().ok()
}

/// The rights of one part under `live/`.
pub fn part_rights(part: Part, rights: &Rights) -> FileRights {
    FileRights { mode: part_mode(part, rights), owner: rights.owner.clone(), group: rights.group.clone() }
}

/// The mode of one part under `live/`.
pub const fn part_mode(part: Part, rights: &Rights) -> u32 {
    if part.holds_key() { rights.key_mode } else { rights.cert_mode }
}

/// Shows generation `number` in `dir` (`live/NAME`).
pub fn install(dir: &Path, number: GenerationNumber, texts: &Rendering, rights: &Rights) -> Vec<FsOp> {
    let mut ops = Vec::new();
    if let Some(parent) = dir.parent() {
        ops.push(FsOp::MakeDir { path: dir.to_owned(), rights: FileRights::mode(0o755) });
        ops.push(FsOp::SyncDir { path: parent.to_owned() });
    }
    ops.extend(install_again(dir, number, texts, rights));
    ops
}

/// [`install`] where `dir` shows a generation already: it was made durable before that came in.
pub fn install_again(dir: &Path, number: GenerationNumber, texts: &Rendering, rights: &Rights) -> Vec<FsOp> {
    let generation = dir.join(generation_dir(number));
    let mut ops = Vec::new();
    ops.push(FsOp::MakeDir { path: generation.clone(), rights: FileRights::mode(0o755) });
    // Nothing that an earlier crash or a drift left here is reused. Each file is replaced whole
    // rather than removed first: this generation may be the one that is shown.
    for (part, content) in texts {
        let path = generation.join(part.file_name());
        let mut written = replace(&path, content.clone(), part_rights(*part, rights));
        written.retain(|op| !matches!(op, FsOp::SyncDir { .. }));
        ops.extend(written);
    }
    ops.push(FsOp::SyncDir { path: generation });
    for part in texts.keys() {
        ops.extend(link(dir, part.file_name(), &Path::new(CURRENT).join(part.file_name())));
    }
    ops.push(FsOp::SyncDir { path: dir.to_owned() });
    ops.extend(show(dir, number));
    ops
}

/// The flip alone: `.current` points to a generation that lies there whole.
pub fn show(dir: &Path, number: GenerationNumber) -> Vec<FsOp> {
    let mut ops = link(dir, CURRENT, Path::new(&generation_dir(number)));
    ops.push(FsOp::SyncDir { path: dir.to_owned() });
    ops
}

/// Removes a generation's directory, by the names we give files and no others.
pub fn discard_generation(dir: &Path, number: GenerationNumber) -> Vec<FsOp> {
    let generation = dir.join(generation_dir(number));
    let files = Part::ALL.iter().map(|part| generation.join(part.file_name()));
    let mut ops: Vec<_> = files
        .flat_map(|path| temporary(&path).into_iter().chain([path]))
        .map(|path| FsOp::Discard { path })
        .collect();
    ops.push(FsOp::DiscardDir { path: generation });
    ops
}

/// Writes one extra rendering whole, or leaves the old one.
pub fn output(output: &Output, content: Content) -> Vec<FsOp> {
    let rights = &output.rights;
    let (owner, group) = (rights.owner.clone(), rights.group.clone());
    replace(Path::new(&output.path), content, FileRights { mode: output_mode(output), owner, group })
}

/// The mode of an output's file.
pub fn output_mode(output: &Output) -> u32 {
    if output.form.holds_key() { output.rights.key_mode } else { output.rights.cert_mode }
}

/// Replaces the file at `path` durably: same directory, exclusive create with final rights,
/// write, fsync, rename, fsync of the directory.
pub fn replace(path: &Path, content: Content, rights: FileRights) -> Vec<FsOp> {
    let (Some(dir), Some(temporary)) = (path.parent(), temporary(path)) else { return Vec::new() };
    vec![
        FsOp::Discard { path: temporary.clone() },
        FsOp::Create { path: temporary.clone(), content, rights },
        FsOp::Rename { from: temporary, to: path.to_owned() },
        FsOp::SyncDir { path: dir.to_owned() },
    ]
}

/// Replaces the file at `path` whole for readers, and not durably: for what every pass writes anew
/// and nobody misses after a power cut.
pub fn publish(path: &Path, content: Content, rights: FileRights) -> Vec<FsOp> {
    let Some(temporary) = temporary(path) else { return Vec::new() };
    vec![
        FsOp::Discard { path: temporary.clone() },
        FsOp::Draft { path: temporary.clone(), content, rights },
        FsOp::Rename { from: temporary, to: path.to_owned() },
    ]
}

/// The name a file has until it is whole. Fixed, so that a crash leaves at most one.
pub fn temporary(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(format!(".{name}.nolapse-new")))
}

/// Makes `dir/name` a symbolic link, whatever link or file it was before, by one rename.
pub fn link(dir: &Path, name: &str, target: &Path) -> Vec<FsOp> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.nolapse-new"));
    vec![
        FsOp::Discard { path: temporary.clone() },
        FsOp::Link { path: temporary.clone(), target: target.to_owned() },
        FsOp::Rename { from: temporary, to: path },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Rendering {
        Part::ALL.iter().map(|part| (*part, Content::new(part.file_name().into()))).collect()
    }

    #[test]
    fn a_generation_is_whole_and_durable_before_it_is_shown() {
        let ops = install(Path::new("/live/a.example"), 7, &texts(), &Rights::default());
        let flip =
            ops.iter().position(|op| matches!(op, FsOp::Rename { to, .. } if to.ends_with(CURRENT))).unwrap();
        let synced = ops
            .iter()
            .position(|op| matches!(op, FsOp::SyncDir { path } if path.ends_with(".gen-7")))
            .unwrap();
        let last_create = ops.iter().rposition(|op| matches!(op, FsOp::Create { .. })).unwrap();
        assert!(last_create < synced && synced < flip);
        assert!(matches!(ops.last(), Some(FsOp::SyncDir { path }) if path.ends_with("a.example")));
    }

    #[test]
    fn t01_keys_get_the_key_mode_at_creation() {
        for op in install(Path::new("/live/a"), 1, &texts(), &Rights::default()) {
            if let FsOp::Create { path, rights, .. } = op {
                let name = path.to_str().unwrap();
                let holds_key = name.contains("privkey.pem") || name.contains("combined.pem");
                assert_eq!(rights.mode, if holds_key { 0o640 } else { 0o644 }, "{path:?}");
            }
        }
    }

    #[test]
    fn t12_contents_are_not_printed() {
        assert_eq!(format!("{:?}", Content::new(b"secret".to_vec())), "6 bytes");
    }
}
