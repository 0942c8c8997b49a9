//! Reading the world of one lineage: the store, this node's note, and what lies on disk. No
//! network.

use std::io;
use std::path::{Path, PathBuf};

use crate::agent::book::{Book, Held};
use crate::agent::recall::Inputs;
use crate::agent::seen::{Look, Seen};
use crate::agent::{Agent, Scene};
use crate::codec::bundle::Bundle;
use crate::codec::{bundle, digest};
use crate::core::decide::{self, OnDisk, Placement, Request, Situation};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::{self, CURRENT, generation_of, part_mode};
use crate::core::leaf::Leaf;
use crate::core::name::LineageId;
use crate::core::record::{Installed, Issued, LineageRecord};
use crate::core::spec::{LineageSpec, Part, Rights};
use crate::core::time::Timestamp;
use crate::ports::Secrets;
use crate::sys::disk::{Disk, Stat};

mod places;

/// What is true of one lineage.
pub struct World {
    pub record: Held<LineageRecord>,
    pub installed: Held<Installed>,
    pub disk: OnDisk,
    /// The bytes of the generation to show are in the store, whole.
    pub generation_kept: bool,
    /// Those bytes, where they had to be read.
    pub generation: Option<Bundle>,
    /// What tells later that all of this is as it was; `None` where nothing would.
    pub(super) inputs: Option<Inputs>,
}

/// Largest file read in place of one of ours, in bytes; real ones are under 64 KiB.
const FILE_MAX: usize = 1 << 20;

impl World {
    /// The situation for a decision.
    pub fn situation<'a>(
        &'a self,
        spec: Option<&'a LineageSpec>,
        request: &'a Request,
        now: Timestamp,
    ) -> Situation<'a> {
        Situation {
            now,
            spec,
            record: &self.record.value,
            installed: &self.installed.value,
            disk: &self.disk,
            request,
            generation_kept: self.generation_kept,
            ari: true,
        }
    }
}

impl Agent {
    /// Reads everything a decision about `id` rests on.
    pub async fn gather(&self, scene: &Scene, id: &LineageId) -> Result<World, Failure> {
        self.gather_from(&Book::knowing(&*self.store, &self.recent, false), scene, id).await
    }

    /// As [`Agent::gather`] of a lineage that is being worked on: it is looked at again soon.
    pub(super) async fn gather_again(&self, scene: &Scene, id: &LineageId) -> Result<World, Failure> {
        self.gather_from(&Book::knowing(&*self.store, &self.recent, true), scene, id).await
    }

    async fn gather_from(&self, book: &Book<'_>, scene: &Scene, id: &LineageId) -> Result<World, Failure> {
        let spec = scene.wanted.lineages.get(id);
        let asked = self.clock.now();
        // Before anything is read: what is changed from now on has another date.
        let mut told = if self.seen.is_believed() { self.told_of_entries(id) } else { None };
        if let Some(spec) = spec {
            told = told.and_then(|mut told| self.told_of_outputs(&mut told, spec).map(|()| told));
        }
        let record = book.record(id).await?;
        let installed = book.installed(id).await?;
        let now = self.clock.now();
        let (disk, look) = self.look_at_disk(scene, id, spec, &record.value, &installed.value, now);
        let inputs = told.zip(look).map(|(mut told, look)| {
            told.join(look.told());
            Inputs { told, asked, look }
        });
        let mut generation = None;
        let generation_kept = match decide::target(&record.value, &installed.value, now) {
            None => true,
            // Shown whole and by digest: nothing is lost, and nothing needs to be read twice.
            Some(target) if disk.live == Placement::Shows(target.number) => true,
            Some(target) => {
                generation = book.generation(id, target.number).await?.filter(|it| it.is_of(&target.leaf));
                generation.is_some()
            }
        };
        Ok(World { record, installed, disk, generation_kept, generation, inputs })
    }

    fn look_at_disk(
        &self,
        scene: &Scene,
        id: &LineageId,
        spec: Option<&LineageSpec>,
        record: &LineageRecord,
        installed: &Installed,
        now: Timestamp,
    ) -> (OnDisk, Option<Look>) {
        let dir = scene.live_dir.join(id.as_str());
        let default = Rights::default();
        let rights = spec.map_or(&default, |spec| &spec.rights);
        let target = decide::target(record, installed, now);
        let eye = Eye { disk: &self.disk, seen: &self.seen, secrets: &self.secrets, record, target, now };
        let (live, look) = eye.live(&dir, rights, spec.is_some());
        let outputs = spec
            .map(|spec| &spec.outputs[..])
            .unwrap_or_default()
            .iter()
            .map(|output| (PathBuf::from(&output.path), eye.output(output, &live)))
            .collect();
        let named = match &live {
            Placement::Shows(number) => Some(*number),
            Placement::Drifted(_) => {
                let link = self.disk.read_link(&dir.join(CURRENT)).ok();
                link.and_then(|link| link.to_str().and_then(generation_of))
            }
            _ => None,
        };
        (OnDisk { live, named, outputs }, look)
    }
}

/// Looks at files as a reader would, and says whose they are.
struct Eye<'a> {
    disk: &'a Disk,
    seen: &'a Seen,
    secrets: &'a Secrets,
    record: &'a LineageRecord,
    target: Option<&'a Issued>,
    now: Timestamp,
}

impl Eye<'_> {
    /// With what tells that a generation which is shown whole is still untouched.
    fn live(&self, dir: &Path, rights: &Rights, check_rights: bool) -> (Placement, Option<Look>) {
        let owners = Owners::of(self.disk, rights);
        let look = |issued: &Issued| {
            let fits = |part, stat: &Stat| !check_rights || owners.fit(stat, part_mode(part, rights));
            Look::at(self.disk, dir, issued, self.now, fits)
        };
        if let Some(mark) = self.seen.mark(self.disk, &self.record.id, self.now)
            && let Some(issued) = self.record.issued(mark.number)
            && let Some(look) = look(issued)
            && look.is_of(&mark)
        {
            // It is still then that they were read.
            return (Placement::Shows(issued.number), Some(look.read_at(mark.taken)));
        }
        let look = |issued: &Issued| if self.seen.is_believed() { look(issued) } else { None };
        let mut before = None;
        let check = check_rights.then_some(&owners);
        let placement = self.read_live(dir, rights, check, |issued| before = look(issued));
        let shown = matches!(placement, Placement::Shows(_));
        let before = before.filter(|_| shown);
        if let Some(look) = &before {
            self.seen.keep(&self.record.id, look);
        }
        (placement, before)
    }

    /// `before` is asked to look at a generation right before its files are read.
    fn read_live(
        &self,
        dir: &Path,
        rights: &Rights,
        owners: Option<&Owners>,
        mut before: impl FnMut(&Issued),
    ) -> Placement {
        let shown = match self.disk.read_link(&dir.join(CURRENT)) {
            Ok(target) => target.to_str().and_then(generation_of),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.stranger(dir).unwrap_or(Placement::Missing);
            }
            Err(error) => return Placement::Drifted(format!("{CURRENT}: {error}")),
        };
        if shown == Some(layout::PLACEHOLDER) {
            let read = |part: Part| self.disk.read(&dir.join(part.file_name()), FILE_MAX);
            let pair = read(Part::Fullchain).and_then(|chain| Ok((chain, read(Part::Privkey)?)));
            return match pair.map(|(chain, key)| bundle::pair_of(chain.bytes(), key.bytes())) {
                Ok(Ok(leaf)) if leaf.self_signed => Placement::Placeholder(leaf.not_after),
                Ok(Ok(leaf)) => self.foreign(leaf).unwrap_or(Placement::Missing),
                _ => Placement::Missing,
            };
        }
        let Some(issued) = shown.and_then(|number| self.record.issued(number)) else {
            return self
                .stranger(dir)
                .unwrap_or_else(|| Placement::Drifted("shows a generation that is not known".into()));
        };
        let generation = dir.join(layout::generation_dir(issued.number));
        // Before anything is read: what is changed from now on has another date.
        before(issued);
        for (part, digest) in &issued.digests {
            let link = dir.join(part.file_name());
            let expected = Path::new(CURRENT).join(part.file_name());
            let what = match self.disk.read_link(&link) {
                Ok(target) if target == expected => None,
                Ok(_) => Some("points elsewhere".to_owned()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Some("is gone".to_owned()),
                Err(_) => Some("is no longer our link".to_owned()),
            };
            let what = what.or_else(|| {
                let path = generation.join(part.file_name());
                match self.disk.read_with_stat(&path, FILE_MAX) {
                    Ok((content, _)) if digest::sha256(content.bytes()) != *digest => {
                        Some("was edited".into())
                    }
                    Ok((_, stat)) => owners.and_then(|it| it.differ(&stat, part_mode(*part, rights))),
                    Err(error) => Some(error.to_string()),
                }
            });
            if let Some(what) = what {
                let drifted = || Placement::Drifted(format!("{} {what}", part.file_name()));
                return self.stranger(dir).unwrap_or_else(drifted);
            }
        }
        Placement::Shows(issued.number)
    }

    /// A valid pair that is not ours and that outlives ours; anything less may be replaced.
    fn stranger(&self, dir: &Path) -> Option<Placement> {
        let read = |part: Part| self.disk.read(&dir.join(part.file_name()), FILE_MAX).ok();
        let leaf = bundle::pair_of(read(Part::Fullchain)?.bytes(), read(Part::Privkey)?.bytes()).ok()?;
        self.foreign(leaf)
    }

    fn foreign(&self, leaf: Leaf) -> Option<Placement> {
        let ours = self.record.past.contains(&leaf.fingerprint)
            || self.record.kept().any(|issued| issued.leaf.fingerprint == leaf.fingerprint);
        let newer = self.target.is_none_or(|t| leaf.not_after > t.leaf.not_after);
        let fits = self.target.is_none_or(|t| leaf.covers_all(&t.names));
        (!ours && newer && fits && !leaf.self_signed && leaf.valid_at(self.now))
            .then(|| Placement::Foreign(Box::new(leaf)))
    }
}

/// The numbers that files should belong to; looked up once for all files of one place.
#[derive(Hash)]
pub(super) struct Owners {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Owners {
    /// A name that does not exist asks for nothing here; [`Agent::rights_known`] says so before
    /// an order is placed.
    pub(super) fn of(disk: &Disk, rights: &Rights) -> Self {
        Self {
            uid: rights.owner.as_ref().and_then(|name| disk.user_id(name).ok().flatten()),
            gid: rights.group.as_ref().and_then(|name| disk.group_id(name).ok().flatten()),
        }
    }

    fn fit(&self, stat: &Stat, mode: u32) -> bool {
        stat.mode == mode
            && self.uid.is_none_or(|uid| uid == stat.uid)
            && self.gid.is_none_or(|gid| gid == stat.gid)
    }

    fn differ(&self, stat: &Stat, mode: u32) -> Option<String> {
        if stat.mode != mode {
            return Some(format!("has mode {:04o} instead of {mode:04o}", stat.mode));
        }
        let owner = self.uid.filter(|uid| *uid != stat.uid).map(|_| "has another owner".to_owned());
        owner.or_else(|| self.gid.filter(|gid| *gid != stat.gid).map(|_| "has another group".to_owned()))
    }
}

impl Agent {
    /// Whether the users and groups that files should belong to exist.
    pub(super) fn rights_known(&self, spec: &LineageSpec) -> Result<(), Failure> {
        let all = std::iter::once(&spec.rights).chain(spec.outputs.iter().map(|output| &output.rights));
        for rights in all {
            for (what, name, found) in [
                ("user", &rights.owner, rights.owner.as_ref().map(|name| self.disk.user_id(name))),
                ("group", &rights.group, rights.group.as_ref().map(|name| self.disk.group_id(name))),
            ] {
                let (Some(name), Some(found)) = (name, found) else { continue };
                if !matches!(found, Ok(Some(_))) {
                    return Err(Failure::refused(
                        Fault::Config,
                        "no-such-owner",
                        format!(
                            "{}: there is no {what} {name:?} on this host; make it, or change the entry",
                            spec.origin
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
