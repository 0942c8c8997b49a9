//! Showing a generation on this node: under `live/`, then at the extra places.

use std::collections::BTreeSet;
use std::path::Path;

use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::agent::{Agent, Scene};
use crate::core::decide::{Placement, Reason, Request, outputs_held, pinned};
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault};
use crate::core::layout;
use crate::core::record::{CheckBefore, GenerationNumber, HookNote, Issued};
use crate::core::retention::prunable;
use crate::core::spec::LineageSpec;
use crate::ports::Key;

impl Agent {
    /// Writes generation `number` to every place that does not show it.
    pub(super) async fn install(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        request: &Request,
        number: GenerationNumber,
        why: Reason,
    ) -> Result<(), Failure> {
        let Some(target) = world.record.value.issued(number).cloned() else { return Ok(()) };
        let in_hand = world.generation.take().filter(|bundle| bundle.is_of(&target.leaf));
        let bundle = match in_hand {
            Some(bundle) => Some(bundle),
            None => Book::new(&*self.store).generation(&spec.id, number).await?,
        };
        let Some(bundle) = bundle else {
            return Err(Failure::broken(
                "generation-lost",
                format!("generation {number} of {} is no longer in the store; a new one is ordered", spec.id),
            ));
        };
        let texts = bundle.render();
        let flips = world.disk.live != Placement::Shows(number);
        self.prepare_hooks(scene, spec, world, &target, flips).await?;
        if flips {
            let dir = scene.live_dir.join(spec.id.as_str());
            let ops = match world.disk.live {
                Placement::Shows(_) => layout::install_again(&dir, number, &texts, &spec.rights),
                _ => layout::install(&dir, number, &texts, &spec.rights),
            };
            self.write(ops).await?;
            self.tell(&Event::Installed {
                lineage: spec.id.clone(),
                generation: number,
                path: dir.display().to_string(),
                why: why.code(),
            });
        }
        if !outputs_held(&world.disk, request) {
            self.write_outputs(spec, world, &bundle, &texts, number).await?;
        }
        Ok(())
    }

    /// Notes, before anything changes on disk, that every hook will owe this generation, and
    /// what each service's check says of the pair it has now: a check that fails already must
    /// not be blamed on the new pair.
    async fn prepare_hooks(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        target: &Issued,
        flips: bool,
    ) -> Result<(), Failure> {
        let back = pinned(&world.record.value, self.clock.now()).is_some();
        let installed = &mut world.installed.value;
        let before = installed.clone();
        installed.hooks.retain(|hook, _| spec.hooks.contains(hook));
        installed.endpoints.retain(|endpoint, _| spec.endpoints.contains(endpoint));
        for id in &spec.hooks {
            let note = installed.hooks.entry(id.clone()).or_insert_with(HookNote::never);
            if back && note.done > target.number {
                // Told of a generation that is taken back by hand.
                *note = HookNote::never();
            }
            if note.done >= target.number {
                continue;
            }
            let asked = note.check_before.is_some_and(|check| check.generation == target.number);
            if !asked {
                // A new generation supersedes the debt for an older one, its waits too.
                note.failures = 0;
                note.next_at = None;
                note.words = None;
            }
            if flips
                && !asked
                && let Some(hook) = scene.hooks.get(id)
            {
                let passed = self.reloads.passes_before(id, &**hook, self.clock.now()).await;
                note.check_before = Some(CheckBefore { generation: target.number, passed });
            }
        }
        installed.held_back = None;
        if let (true, Placement::Shows(number)) = (flips, &world.disk.live) {
            installed.shown_before = Some(*number);
        }
        if *installed != before {
            Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await?;
        }
        Ok(())
    }

    /// Removes generations that nothing needs: directories under `live/`, then store entries.
    pub(super) async fn prune(&self, scene: &Scene, world: &World) -> Result<(), Failure> {
        let record = &world.record.value;
        let shown = match world.disk.live {
            Placement::Shows(number) => Some(number),
            _ => return Ok(()),
        };
        let dir = scene.live_dir.join(record.id.as_str());
        for number in prunable(record, shown, &self.generations_in(&dir)) {
            self.write(layout::discard_generation(&dir, number)).await?;
            let key = Key::Generation(record.id.clone(), number);
            self.store.remove(&key).await.map_err(|error| super::book::store_failure(&error))?;
        }
        Ok(())
    }

    /// A first certificate that can't be shown is no use yet, and asked for in vain. Renewals are not held
    /// back: they are kept, and shown once there is a place for them.
    pub(super) fn showable(&self, scene: &Scene, spec: &LineageSpec, world: &World) -> Result<(), Failure> {
        if world.record.value.current.is_some() || world.disk.live != Placement::Missing {
            return Ok(());
        }
        let own = scene.live_dir.join(spec.id.as_str());
        let dir = if self.disk.stat(&own).is_ok() { &own } else { &scene.live_dir };
        self.disk.may_write(dir).map_err(|error| {
            Failure::transient(
                Fault::Host,
                "install-failed",
                format!(
                    "{} can't be written: {error}; no order is placed until the certificate could be shown there",
                    dir.display()
                ),
            )
        })
    }

    /// Numbers of the generations that lie in `dir`, a lineage's place under `live/`.
    pub(super) fn generations_in(&self, dir: &Path) -> BTreeSet<u64> {
        let names = self.disk.list(dir).unwrap_or_default();
        names.iter().filter_map(|name| layout::generation_of(name)).collect()
    }

    pub(super) async fn write(&self, ops: Vec<layout::FsOp>) -> Result<(), Failure> {
        self.disk.run(ops).await.map_err(|error| {
            Failure::transient(
                Fault::Host,
                "install-failed",
                format!("{error}; the files shown before are untouched, and this is tried again"),
            )
        })
    }
}
