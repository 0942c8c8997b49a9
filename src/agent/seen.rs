//! Files under `live/` that were read before and are untouched since: the kernel says so, and it
//! costs one question a file in place of reading and hashing it. Why that may be believed, and what
//! it can't notice, is in `docs/decisions/0013-untouched-files-are-not-read-again.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::digest::sha256;
use crate::codec::seen::{Mark, MarkId, SEEN_MAX, decode_seen, encode_seen};
use crate::core::layout::{self, FileRights};
use crate::core::name::LineageId;
use crate::core::record::Issued;
use crate::core::spec::Part;
use crate::core::time::{Span, Timestamp};
use crate::sys::disk::{Disk, Stat};

/// What is believed of files without reading them. Shared by all ticks of a process, and by
/// processes through a file.
#[derive(Default)]
pub struct Seen {
    file: Option<PathBuf>,
    /// Only a process that owns the state writes the file.
    writes: bool,
    /// Read at the first question.
    marks: Mutex<Option<Marks>>,
}

#[derive(Default)]
struct Marks {
    by_id: BTreeMap<MarkId, Mark>,
    moved: bool,
}

/// What the kernel says of a generation under `live/` at one moment.
pub struct Look {
    mark: Mark,
    /// The last change of anything in it.
    changed: Timestamp,
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
    /// Kept in `file` between processes.
    pub fn in_file(file: PathBuf, writes: bool) -> Self {
        Self { file: Some(file), writes, marks: Mutex::default() }
    }

    /// What was marked last of this lineage, where it may still be believed.
    pub fn mark(&self, disk: &Disk, id: &LineageId, now: Timestamp) -> Option<Mark> {
        let marks = self.marks(disk);
        let mark = marks.as_ref()?.by_id.get(&MarkId::of(id))?;
        mark.is_fresh(now).then_some(*mark)
    }

    /// Everything that `look` is of was read after it, and was right.
    pub fn keep(&self, disk: &Disk, id: &LineageId, look: &Look) {
        if look.changed + SETTLED > look.mark.taken {
            return;
        }
        if let Some(marks) = self.marks(disk).as_mut() {
            marks.by_id.insert(MarkId::of(id), look.mark);
            marks.moved = true;
        }
    }

    /// Writes what is new into the file. A cache: what a full or read-only disk does not take is
    /// read again the next time, and everything else tells of such a disk.
    pub async fn save(&self, disk: &Disk, now: Timestamp) {
        let Some(file) = self.file.as_ref().filter(|_| self.writes) else { return };
        let content = match self.marks(disk).as_mut() {
            Some(marks) if marks.moved => {
                marks.moved = false;
                marks.by_id.retain(|_, mark| mark.is_fresh(now));
                encode_seen(&marks.by_id)
            }
            _ => return,
        };
        if disk.run(layout::publish(file, content, FileRights::mode(MODE))).await.is_err()
            && let Some(marks) = self.marks(disk).as_mut()
        {
            marks.moved = true;
        }
    }

    fn marks(&self, disk: &Disk) -> MutexGuard<'_, Option<Marks>> {
        // A panic while a mark is put in leaves the others as they were.
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.is_none() {
            let read = self.file.as_ref().and_then(|file| disk.read_plain(file, SEEN_MAX).ok());
            let by_id = read.map(|content| decode_seen(&content)).unwrap_or_default();
            *marks = Some(Marks { by_id, moved: false });
        }
        marks
    }
}

impl Mark {
    /// Neither too old nor from the future, as after a clock that was put back.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.taken <= now && now.since(self.taken) < TRUSTED
    }
}

impl Look {
    /// Asks for all that makes generation `issued` visible in `dir`: the directory itself, in which
    /// no link can be changed without a new date on it, the generation's own, and every file.
    /// `fits` is asked of each file. `None` where something is missing or does not fit.
    pub fn at(
        disk: &Disk,
        id: &LineageId,
        dir: &Path,
        issued: &Issued,
        now: Timestamp,
        fits: impl Fn(Part, &Stat) -> bool,
    ) -> Option<Self> {
        let mut told = Told { bytes: Vec::with_capacity(TOLD_USUAL), changed: Timestamp::MIN };
        told.bytes.extend_from_slice(id.as_str().as_bytes());
        told.bytes.extend_from_slice(&issued.number.to_le_bytes());
        let mut path = dir.to_owned();
        told.ask(disk, &path)?;
        path.push(layout::generation_dir(issued.number));
        told.ask(disk, &path)?;
        for (part, digest) in &issued.digests {
            path.push(part.file_name());
            let stat = told.ask(disk, &path)?;
            if !fits(*part, &stat) {
                return None;
            }
            told.bytes.extend_from_slice(&digest.0);
            path.pop();
        }
        let mut print = [0; 16];
        print.copy_from_slice(&sha256(&told.bytes).0[..16]);
        Some(Self { mark: Mark { number: issued.number, taken: now, print }, changed: told.changed })
    }

    /// Whether nothing was touched since `mark`.
    pub fn is_of(&self, mark: &Mark) -> bool {
        (self.mark.number, self.mark.print) == (mark.number, mark.print)
    }
}

/// What the kernel's answers come to.
struct Told {
    bytes: Vec<u8>,
    changed: Timestamp,
}

/// Bytes that the answers about one generation take as a rule.
const TOLD_USUAL: usize = 1024;

impl Told {
    fn ask(&mut self, disk: &Disk, path: &Path) -> Option<Stat> {
        let trace = disk.trace(path).ok()?;
        trace.append_to(&mut self.bytes);
        self.changed = self.changed.max(trace.changed());
        Some(trace.stat)
    }
}
