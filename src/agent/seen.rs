//! Files under `live/` that were read before and are untouched since: the kernel says so, and it
//! costs one question a file in place of reading and hashing it. Why that may be believed, and what
//! it can't notice, is in `docs/decisions/0013-untouched-files-are-not-read-again.md`.

use std::ffi::OsStr;
use std::hash::Hasher;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::digest::sha256;
use crate::codec::seen::{Judged, Mark, MarkId, Marks, Print, SEEN_MAX, SHARDS};
use crate::core::layout::{self, FileRights};
use crate::core::name::LineageId;
use crate::core::record::{GenerationNumber, Issued};
use crate::core::spec::Part;
use crate::core::time::{Span, Timestamp};
use crate::ports::Glance;
use crate::sys::disk::{Disk, Stat};

/// What is believed of files without reading them, while a look over many lineages lasts. Shared by
/// all ticks of a process, and by processes through a file.
#[derive(Default)]
pub struct Seen {
    /// The beginning of the files' names.
    files: Option<PathBuf>,
    /// Only a process that owns the state writes the file.
    writes: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Looks over many that go on now.
    users: u32,
    shards: [Shard; SHARDS],
}

/// The marks of one file.
#[derive(Default)]
struct Shard {
    /// As the file has them; read at the first question.
    old: Option<Marks>,
    new: Marks,
}

/// While one of these is there, marks are believed and kept.
pub struct Belief<'a>(&'a Seen);

/// What the kernel says of a generation under `live/` at one moment.
pub struct Look {
    pub number: GenerationNumber,
    pub taken: Timestamp,
    /// Of the directory and every file.
    told: Told,
    print: Print,
}

/// Files that changed less than this before they were looked at are read again the next time: a
/// second change could have the same date. The coarsest dates that file systems keep are of two
/// seconds; a page that somebody wrote to by `mmap` gets its date once, and the kernel writes it
/// back after half a minute.
const SETTLED: Span = Span::MINUTE;
/// Longest time that files are believed unread.
const TRUSTED: Span = Span::days(7);
/// Mode of the file.
const MODE: u32 = 0o600;

impl Seen {
    /// Kept between processes in files whose names begin with `files`; `-0` to `-f` follow.
    pub fn in_files(files: PathBuf, writes: bool) -> Self {
        Self { files: Some(files), writes, known: Mutex::default() }
    }

    /// From now on marks are believed. Where the last of these ends they are let go, as what is
    /// known of ten thousand lineages is not worth its memory between two looks at all of them.
    pub fn believe(&self) -> Belief<'_> {
        self.known().users += 1;
        Belief(self)
    }

    pub fn is_believed(&self) -> bool {
        self.known().users > 0
    }

    /// What was marked last of this lineage, where it may still be believed.
    pub fn mark(&self, disk: &Disk, id: &LineageId, now: Timestamp) -> Option<Mark> {
        let mut known = self.known();
        if known.users == 0 {
            return None;
        }
        let id = MarkId::of(id);
        let old = known.shards[id.shard()].old.get_or_insert_with(|| self.read(disk, id.shard()));
        old.find(id).filter(|mark| mark.is_fresh(now))
    }

    /// All that `look` is of was read after it, and was right.
    pub fn keep(&self, id: &LineageId, look: &Look) {
        let mark = Mark { number: look.number, taken: look.taken, print: look.print, judged: None };
        let (mut known, id) = (self.known(), MarkId::of(id));
        if known.users > 0 && look.told.is_settled(look.taken) {
            known.shards[id.shard()].new.add(id, &mark);
        }
    }

    /// And so was the whole lineage.
    pub fn keep_judged(&self, id: &LineageId, look: &Look, judged: Judged) {
        let mark = Mark { number: look.number, taken: look.taken, print: look.print, judged: Some(judged) };
        let (mut known, id) = (self.known(), MarkId::of(id));
        let same = |old: &Marks| old.find(id).as_ref() == Some(&mark);
        let shard = &known.shards[id.shard()];
        if known.users > 0 && !shard.old.as_ref().is_some_and(same) {
            known.shards[id.shard()].new.add(id, &mark);
        }
    }

    /// Writes what is new into the files. A cache: what a full or read-only disk does not take is
    /// read again the next time, and everything else tells of such a disk.
    pub async fn save(&self, disk: &Disk, now: Timestamp) {
        for shard in 0..SHARDS {
            let Some(file) = self.file(shard).filter(|_| self.writes) else { return };
            let Shard { old, new } = {
                let shard = &mut self.known().shards[shard];
                if shard.new.is_empty() {
                    continue;
                }
                std::mem::take(shard)
            };
            // What another process wrote meanwhile is lost: that costs a reading.
            let old = old.unwrap_or_else(|| self.read(disk, shard));
            let content = old.encode(&new, |mark| mark.is_fresh(now));
            let _ = disk.run(layout::publish(&file, content, FileRights::mode(MODE))).await;
        }
    }

    fn read(&self, disk: &Disk, shard: usize) -> Marks {
        let read = self.file(shard).and_then(|file| disk.read_plain(&file, SEEN_MAX).ok());
        read.map(Marks::decode).unwrap_or_default()
    }

    fn file(&self, shard: usize) -> Option<PathBuf> {
        let mut name = self.files.as_ref()?.as_os_str().to_owned();
        name.push(format!("-{shard:x}"));
        Some(name.into())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic while a mark is put in leaves the others as they were.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Belief<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known();
        known.users -= 1;
        if known.users == 0 {
            *known = Known::default();
        }
    }
}

impl Mark {
    /// Neither too old nor from the future, as after a clock that was put back.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.taken <= now && now.since(self.taken) < TRUSTED
    }
}

impl Look {
    /// Asks for all that makes generation `issued` visible in `dir`. `fits` is asked of each file.
    /// `None` where something is missing or does not fit.
    pub fn at(
        disk: &Disk,
        dir: &Path,
        issued: &Issued,
        now: Timestamp,
        fits: impl Fn(Part, &Stat) -> bool,
    ) -> Option<Self> {
        let mut told = Told::default();
        let parts = issued.digests.keys().copied();
        told.live(disk, dir, issued.number, parts, fits)?;
        let digests = issued.digests.values().flat_map(|digest| digest.0);
        let all: Vec<u8> = told.bytes.iter().copied().chain(digests).collect();
        Some(Self { number: issued.number, taken: now, print: print(&all), told })
    }

    /// Whether nothing was touched since `mark`.
    pub fn is_of(&self, mark: &Mark) -> bool {
        (self.number, self.print) == (mark.number, mark.print)
    }

    /// Of files that were read no later than `taken`.
    pub fn read_at(mut self, taken: Timestamp) -> Self {
        self.taken = taken;
        self
    }

    pub const fn told(&self) -> &Told {
        &self.told
    }
}

/// What was said by the kernel and others, and when the latest of it changed.
#[derive(Clone)]
pub struct Told {
    bytes: Vec<u8>,
    changed: Timestamp,
}

/// Bytes that all answers about one lineage take as a rule.
const TOLD_USUAL: usize = 2048;

impl Default for Told {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(TOLD_USUAL), changed: Timestamp::MIN }
    }
}

impl Told {
    /// Of a generation in `dir`: of that directory itself, in which no link can be changed without
    /// a new date on it, and of every file. The generation's own directory is on their way: what
    /// else is put in its place leads to other files.
    pub fn live(
        &mut self,
        disk: &Disk,
        dir: &Path,
        number: GenerationNumber,
        parts: impl Iterator<Item = Part>,
        fits: impl Fn(Part, &Stat) -> bool,
    ) -> Option<()> {
        self.bytes.extend_from_slice(dir.as_os_str().as_encoded_bytes());
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self.ask(disk, dir)?;
        // Octets, as a path looks for its last component each time that one is taken off.
        let mut path = dir.join(layout::generation_dir(number)).into_os_string().into_vec();
        path.push(b'/');
        let length = path.len();
        for part in parts {
            path.extend_from_slice(part.file_name().as_bytes());
            let stat = self.ask(disk, Path::new(OsStr::from_bytes(&path)))?;
            if !fits(part, &stat) {
                return None;
            }
            path.truncate(length);
        }
        Some(())
    }

    pub fn ask(&mut self, disk: &Disk, path: &Path) -> Option<Stat> {
        let trace = disk.trace(path).ok()?;
        trace.append_to(&mut self.bytes);
        self.changed = self.changed.max(trace.changed());
        Some(trace.stat)
    }

    pub fn glance(&mut self, glance: &Glance) {
        self.bytes.extend_from_slice(&glance.mark);
        self.changed = self.changed.max(glance.changed);
    }

    /// And all that was told otherwise.
    pub fn join(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.changed = self.changed.max(other.changed);
    }

    /// Whether all of it was at rest for long enough when it was asked for.
    pub fn is_settled(&self, asked: Timestamp) -> bool {
        self.changed + SETTLED <= asked
    }

    pub fn print(&self) -> Print {
        print(&self.bytes)
    }
}

/// So that values can be told by what they hash.
impl Hasher for Told {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Not asked for: what counts is what was written.
    fn finish(&self) -> u64 {
        0
    }
}

fn print(bytes: &[u8]) -> Print {
    let mut print = Print::default();
    print.copy_from_slice(&sha256(bytes).0[..16]);
    print
}
