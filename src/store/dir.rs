//! The store in a directory. One file is one value; `docs/schema.md` says all that may happen
//! to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::envelope::{self, BODY_MAX, Damage, Envelope, FILE_MAX};
use super::opening::{DIR_MODE, FILE_MODE, choose, io_error, refusal, version};
use super::place::{
    PROBE, SEEN, Shelving, generation_number, keeps_previous, key_of, previous, quarantine_name, shard,
};
use crate::core::failure::plain;
use crate::core::layout::{Content, FileRights, FsOp, replace, temporary};
use crate::core::name::LineageId;
use crate::core::record::GenerationNumber;
use crate::core::time::Span;
use crate::ports::{Claim, Entry, Expect, Glance, Key, Reply, Revision, Shelf, Store, StoreError};
use crate::sys::clock::Clock;
use crate::sys::disk::{Disk, DiskError, FileKind, LockGuard, Trace};

/// Compare-and-swap over a directory that only we may look into.
pub struct DirStore {
    pub(super) disk: Disk,
    pub(super) shelving: Shelving,
    clock: Clock,
    writes: bool,
    reports: Mutex<Vec<StoreReport>>,
}

/// Something that people should hear of, although work goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReport {
    /// The entry and the one before it were unreadable and were moved aside.
    Quarantined { key: String, moved_to: String, why: String },
    /// The entry was unreadable; the value before it took its place.
    FellBack { key: String, moved_to: String, why: String },
    /// Others could look into the directory.
    RightsMended { path: String, mode: u32 },
}

impl DirStore {
    /// Longest wait for another process that changes an entry; it needs milliseconds.
    const LOCK_WAIT: Span = Span::secs(10);
    /// Between two looks at a lock that is held.
    const LOCK_POLL: Span = Span::from_millis(3);
    /// What `writable` tries to write, in bytes: about a generation.
    const PROBE_LEN: usize = 16 * 1024;
    /// Reports kept until they are fetched; later ones are dropped.
    const REPORTS_MAX: usize = 1000;

    /// Opens the state directory, making it if need be. What was put right on the way is among
    /// [`DirStore::reports`].
    ///
    /// A state of a newer release is refused before anything is written.
    pub async fn open(disk: Disk, clock: Clock, state_dir: &Path) -> Result<Self, StoreError> {
        Self::open_apart(disk, clock, state_dir, None).await
    }

    /// As [`DirStore::open`], with this node's own notes in `installed_dir`: for a state on a
    /// volume that is not local.
    pub async fn open_apart(
        disk: Disk,
        clock: Clock,
        state_dir: &Path,
        installed_dir: Option<&Path>,
    ) -> Result<Self, StoreError> {
        let store = Self::at(disk, clock, state_dir, installed_dir, true)?;
        store.furnish(state_dir).await?;
        Ok(store)
    }

    /// Opens it for reading alone: nothing is made, mended, locked or removed, and every change
    /// is refused. A directory that is not there, or that we may not read, is an error.
    pub fn open_to_read(disk: Disk, state_dir: &Path) -> Result<Self, StoreError> {
        let store = Self::at(disk, Clock::wall(), state_dir, None, false)?;
        let root = &store.shelving.root;
        store.disk.list(root).map_err(|error| io_error(root.display().to_string(), &error))?;
        Ok(store)
    }

    fn at(
        disk: Disk,
        clock: Clock,
        state_dir: &Path,
        installed_dir: Option<&Path>,
        writes: bool,
    ) -> Result<Self, StoreError> {
        let root = choose(&disk, state_dir)?;
        version(&disk, &root)?;
        let installed = installed_dir.map_or_else(|| root.join("installed"), Path::to_owned);
        let shelving = Shelving { root, installed };
        Ok(Self { disk, shelving, clock, writes, reports: Mutex::default() })
    }

    /// The directory in use: the configured one, or our own inside it.
    pub fn root(&self) -> &Path {
        &self.shelving.root
    }

    /// How the names of the files begin in which this node keeps what it need not read again; no
    /// entries, and no harm if they are lost.
    pub fn seen_files(&self) -> PathBuf {
        self.shelving.installed.join(SEEN)
    }

    /// The file that is locked by whoever sends alerts.
    pub fn alerts_lock(&self) -> PathBuf {
        self.shelving.locks().join(super::place::ALERTS_LOCK)
    }

    /// What was found since the last call.
    pub fn reports(&self) -> Vec<StoreReport> {
        std::mem::take(&mut *self.reports.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn report(&self, report: StoreReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() < Self::REPORTS_MAX && !reports.contains(&report) {
            reports.push(report);
        }
    }

    pub(super) async fn run<T: Send + 'static>(&self, plan: Vec<FsOp>, hold: T) -> Result<(), StoreError> {
        if plan.is_empty() {
            return Ok(());
        }
        self.disk.run_holding(plan, hold).await.map_err(|error| plan_error(&error))
    }

    pub(super) async fn lock_shard(&self, shard: u8) -> Result<Arc<LockGuard>, StoreError> {
        let path = self.shelving.swap_lock(shard);
        let begun = self.clock.monotonic();
        loop {
            match self.disk.lock(&path, None) {
                Ok(Some(guard)) => return Ok(Arc::new(guard)),
                Ok(None) if self.clock.monotonic() - begun < Self::LOCK_WAIT => {
                    self.clock.sleep(Self::LOCK_POLL).await;
                }
                Ok(None) => {
                    let why = format!("another process has held it for {}", Self::LOCK_WAIT);
                    return Err(refusal(path.display().to_string(), io::ErrorKind::TimedOut, &why));
                }
                Err(error) => return Err(io_error(path.display().to_string(), &error)),
            }
        }
    }

    fn may_write(&self) -> Result<(), StoreError> {
        if self.writes {
            return Ok(());
        }
        let root = self.shelving.root.display().to_string();
        Err(refusal(root, io::ErrorKind::ReadOnlyFilesystem, "it was opened for reading alone"))
    }

    /// The lock under which an entry may be changed, once it is clear that we may write at all.
    async fn lock_for_change(&self, key: &Key) -> Result<Arc<LockGuard>, StoreError> {
        self.may_write()?;
        let hold = self.lock_shard(shard(key)).await?;
        // A newer release may have moved the schema on since we started.
        version(&self.disk, &self.shelving.root)?;
        Ok(hold)
    }

    fn read(&self, key: &Key, file: &Path) -> Result<Found, StoreError> {
        match self.disk.read_plain(file, FILE_MAX) {
            Ok(content) => Ok(match envelope::open(&key.to_string(), content.bytes()) {
                Ok(envelope) => Found::Whole(envelope),
                Err(damage) => Found::Damaged(damage),
            }),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Ok(Found::Nothing),
                io::ErrorKind::FileTooLarge => Ok(Found::Damaged(Damage::TooLarge)),
                io::ErrorKind::InvalidInput => Ok(Found::Damaged(Damage::NotAFile)),
                _ => Err(io_error(key.to_string(), &error)),
            },
        }
    }

    /// The entry as it is, after mending what can be mended. Asks for the lock of the key.
    async fn settled(&self, key: &Key, hold: &Arc<LockGuard>) -> Result<Option<Envelope>, StoreError> {
        let file = self.shelving.file(key);
        let damage = match self.read(key, &file)? {
            Found::Whole(envelope) => return Ok(Some(envelope)),
            Found::Nothing => return Ok(None),
            Found::Damaged(damage) => damage,
        };
        // What a newer release wrote is not damage. Its version file says so first.
        version(&self.disk, &self.shelving.root)?;
        let copy = if keeps_previous(key.shelf()) { Some(previous(&file)) } else { None };
        let before = copy.as_ref().map(|copy| self.read(key, copy)).transpose()?;
        let aside = self.shelving.quarantine();
        let mut number = self.next_in_quarantine(key);
        let mut move_aside = |plan: &mut Vec<FsOp>, from: &Path| {
            let to = aside.join(format!("{}{number}", quarantine_name(key)));
            number += 1;
            // Given a second name there before it loses its own: the two may be on two volumes.
            plan.push(FsOp::Copy { from: from.to_owned(), to: to.clone() });
            plan.push(FsOp::SyncDir { path: aside.clone() });
            to.display().to_string()
        };
        let mut plan = Vec::new();
        let moved_to = move_aside(&mut plan, &file);
        match (&before, &copy) {
            (Some(Found::Whole(_)), Some(copy)) => plan.extend(duplicate(copy, &file)),
            (Some(Found::Damaged(_)), Some(copy)) => {
                move_aside(&mut plan, copy);
                plan.push(FsOp::Discard { path: copy.clone() });
                plan.push(FsOp::Discard { path: file.clone() });
            }
            _ => plan.push(FsOp::Discard { path: file.clone() }),
        }
        plan.extend(file.parent().map(|dir| FsOp::SyncDir { path: dir.to_owned() }));
        let moved_to = match self.run(plan, Arc::clone(hold)).await {
            Ok(()) => moved_to,
            Err(error) => format!("nowhere, as that failed ({error})"),
        };
        let (key, why) = (key.to_string(), damage.to_string());
        if let Some(Found::Whole(envelope)) = before {
            self.report(StoreReport::FellBack { key, moved_to, why });
            return Ok(Some(envelope));
        }
        self.report(StoreReport::Quarantined {
            key: key.clone(),
            moved_to: moved_to.clone(),
            why: why.clone(),
        });
        Err(StoreError::Corrupt { key, moved_to, why })
    }

    fn next_in_quarantine(&self, key: &Key) -> u64 {
        let prefix = quarantine_name(key);
        let names = self.disk.list(&self.shelving.quarantine()).unwrap_or_default();
        let taken = names.iter().filter_map(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok());
        taken.max().unwrap_or(0).saturating_add(1)
    }

    async fn load_entry(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let file = self.shelving.file(key);
        let found = match self.read(key, &file)? {
            Found::Whole(envelope) => Some(envelope),
            Found::Nothing => None,
            Found::Damaged(_) if self.writes => {
                let hold = self.lock_shard(shard(key)).await?;
                self.settled(key, &hold).await?
            }
            Found::Damaged(damage) => Some(self.look_before(key, &file, damage)?),
        };
        Ok(found.map(|envelope| Entry { content: envelope.content, revision: envelope.revision }))
    }

    /// The value before a damaged one, for a reader who may not mend.
    fn look_before(&self, key: &Key, file: &Path, damage: Damage) -> Result<Envelope, StoreError> {
        version(&self.disk, &self.shelving.root)?;
        let (key_name, why) = (key.to_string(), damage.to_string());
        let moved_to = "nowhere, as we only read".to_owned();
        match self.read(key, &previous(file))? {
            Found::Whole(envelope) if keeps_previous(key.shelf()) => {
                self.report(StoreReport::FellBack { key: key_name, moved_to, why });
                Ok(envelope)
            }
            _ => Err(StoreError::Corrupt { key: key_name, moved_to, why }),
        }
    }

    async fn swap_entry(&self, key: &Key, expect: Expect, content: Content) -> Result<Revision, StoreError> {
        if content.len() > BODY_MAX {
            let why = format!("{} bytes are more than the {BODY_MAX} that an entry may have", content.len());
            return Err(refusal(key.to_string(), io::ErrorKind::FileTooLarge, &why));
        }
        let hold = self.lock_for_change(key).await?;
        let current = match self.settled(key, &hold).await {
            // It is in quarantine and reported; to whoever did not know of it, it is not there.
            Err(StoreError::Corrupt { .. }) if !matches!(expect, Expect::At(_)) => None,
            settled => settled?,
        };
        let as_expected = match (&expect, &current) {
            (Expect::Anything, _) | (Expect::Absent, None) => true,
            (Expect::At(revision), Some(current)) => *revision == current.revision,
            (Expect::Absent, Some(_)) | (Expect::At(_), None) => false,
        };
        if !as_expected {
            return Err(StoreError::Conflict(key.to_string()));
        }
        let now = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let stamp = current.as_ref().map_or(now, |current| now.max(current.stamp.saturating_add(1)));
        let (sealed, revision) = envelope::seal(&key.to_string(), stamp, &content);
        let file = self.shelving.file(key);
        let mut plan = Vec::new();
        if let (Key::Generation(id, _), Some(dir)) = (key, file.parent())
            // One that holds a generation was made durable before that came in.
            && self.numbers(id)?.is_empty()
        {
            plan.push(FsOp::MakeDir { path: dir.to_owned(), rights: FileRights::mode(DIR_MODE) });
            plan.push(FsOp::SyncDir { path: self.shelving.dir(Shelf::Generations) });
        }
        if current.is_some() && keeps_previous(key.shelf()) {
            plan.extend(duplicate(&file, &previous(&file)));
        }
        plan.extend(replace(&file, sealed, FileRights::mode(FILE_MODE)));
        self.run(plan, hold).await?;
        Ok(revision)
    }

    async fn remove_entry(&self, key: &Key) -> Result<(), StoreError> {
        let hold = self.lock_for_change(key).await?;
        let file = self.shelving.file(key);
        let copy = previous(&file);
        let Some(dir) = file.parent().map(Path::to_owned) else { return Ok(()) };
        // What is not there any more may come back: the removal before this one may have failed at its sync.
        let mut plan = Vec::new();
        let gone = self.disk.stat(&dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !gone {
            if keeps_previous(key.shelf()) {
                plan.push(FsOp::Discard { path: copy });
            }
            plan.push(FsOp::Discard { path: file });
            plan.push(FsOp::SyncDir { path: dir.clone() });
        }
        if let Key::Generation(..) = key {
            plan.push(FsOp::DiscardDir { path: dir });
            plan.push(FsOp::SyncDir { path: self.shelving.dir(Shelf::Generations) });
        }
        self.run(plan, hold).await
    }

    fn keys(&self, shelf: Shelf) -> Result<Vec<Key>, StoreError> {
        let dir = self.shelving.dir(shelf);
        let names = self.names(&dir)?;
        let mut keys = Vec::with_capacity(names.len());
        if shelf == Shelf::Generations {
            for id in names.iter().filter_map(|name| LineageId::parse(name).ok()) {
                keys.extend(self.numbers(&id)?.into_iter().map(|number| Key::Generation(id.clone(), number)));
            }
        } else {
            keys.extend(names.iter().filter_map(|name| key_of(shelf, name)));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn numbers(&self, id: &LineageId) -> Result<Vec<GenerationNumber>, StoreError> {
        let names = self.names(&self.shelving.dir(Shelf::Generations).join(id.as_str()))?;
        let mut numbers: Vec<_> = names.iter().filter_map(|name| generation_number(name)).collect();
        // Names come in order, in which 10 is before 9.
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn names(&self, dir: &Path) -> Result<Vec<String>, StoreError> {
        match self.disk.list(dir) {
            Ok(names) => Ok(names),
            // Gone since it was seen, or not a directory of ours.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Vec::new())
            }
            Err(error) => Err(io_error(dir.display().to_string(), &error)),
        }
    }

    async fn claimed(&self, id: &LineageId) -> Result<Claim, StoreError> {
        self.may_write()?;
        let path = self.shelving.locks().join(id.as_str());
        let now = self.clock.now();
        match self.disk.lock(&path, Some(now)) {
            Ok(Some(guard)) => {
                self.sweep_generations(id).await?;
                Ok(Claim::Held(Box::new(guard)))
            }
            Ok(None) => Ok(Claim::Busy(match self.disk.lock_holder(&path) {
                Some(holder) => {
                    let age = now.since(holder.since).max(Span::ZERO);
                    plain(&format!("process {} ({}), for {age}", holder.pid, holder.command), 300)
                }
                None => "another process".to_owned(),
            })),
            Err(error) => Err(io_error(path.display().to_string(), &error)),
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let root = &self.shelving.root;
        self.may_write()?;
        let hold = self.lock_shard(0).await?;
        version(&self.disk, root)?;
        let probe = root.join(PROBE);
        let content = Content::new(vec![b'.'; Self::PROBE_LEN]);
        let mut plan = replace(&probe, content, FileRights::mode(FILE_MODE));
        plan.push(FsOp::Discard { path: probe });
        self.run(plan, hold).await
    }
}

/// What a file was found to be.
enum Found {
    Nothing,
    Whole(Envelope),
    Damaged(Damage),
}

impl Store for DirStore {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(self.load_entry(key))
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        Box::pin(self.swap_entry(key, expect, content))
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        Box::pin(async move { self.keys(shelf) })
    }

    fn generations<'a>(&'a self, id: &'a LineageId) -> Reply<'a, Result<Vec<GenerationNumber>, StoreError>> {
        Box::pin(async move { self.numbers(id) })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        Box::pin(self.remove_entry(key))
    }

    fn claim<'a>(&'a self, id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(self.claimed(id))
    }

    fn glance(&self, key: &Key) -> Option<Glance> {
        let trace = self.disk.trace(&self.shelving.file(key)).ok()?;
        let mut mark = Vec::with_capacity(Trace::LENGTH);
        trace.append_to(&mut mark);
        // A link says nothing of what it leads to.
        (trace.stat.kind == FileKind::File).then_some(Glance { mark, changed: trace.changed() })
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        Box::pin(self.probe())
    }
}

/// Puts the file `from` in the place of `to` as well, with no moment without a file there.
fn duplicate(from: &Path, to: &Path) -> Vec<FsOp> {
    let Some(new) = temporary(to) else { return Vec::new() };
    vec![
        FsOp::Discard { path: new.clone() },
        FsOp::Copy { from: from.to_owned(), to: new.clone() },
        FsOp::Rename { from: new.clone(), to: to.to_owned() },
        // Still there where both names were one file already: POSIX renames nothing then.
        FsOp::Discard { path: new },
    ]
}

fn plan_error(error: &DiskError) -> StoreError {
    StoreError::Io {
        what: format!("cannot {} {}", error.what, error.path.display()),
        why: error.source.to_string(),
        kind: error.source.kind(),
    }
}
