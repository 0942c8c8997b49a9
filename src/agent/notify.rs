//! Telling services about a generation, and going back when it proves bad.

use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::agent::reload::Told;
use crate::agent::tick::Course;
use crate::agent::{Agent, Scene};
use crate::core::decide::{backoff, pinned, worth_returning_to};
use crate::core::event::{Deployed, Event};
use crate::core::failure::Failure;
use crate::core::ladder::next_hook_try;
use crate::core::leaf::mix;
use crate::core::name::{HookId, LineageId};
use crate::core::record::{GenerationNumber, HookNote, Issued, Refused};
use crate::core::spec::LineageSpec;
use crate::core::time::Span;

impl Agent {
    /// Pays one hook's debt, or notes why not.
    pub(super) async fn notify(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        hook: &HookId,
        number: GenerationNumber,
        course: &mut Course<'_>,
    ) -> Result<(), Failure> {
        let Some(issued) = world.record.value.issued(number) else { return Ok(()) };
        let telling = self.tell_hook(scene, hook, deployed(scene, &spec.id, issued), course.first.is_some());
        let told = course.hand.rest(telling).await;
        let lifetime = issued.leaf.lifetime();
        let passed_before = world
            .installed
            .value
            .hooks
            .get(hook)
            .and_then(|note| note.check_before)
            .is_some_and(|check| check.generation == number && check.passed);
        match told {
            Told::Done => {
                self.settle(spec, world, hook, number).await?;
                self.tell(&Event::HookDone {
                    lineage: spec.id.clone(),
                    hook: hook.clone(),
                    generation: number,
                });
                Ok(())
            }
            Told::CheckFailed { failure, refuses: true } | Told::CallFailed { failure, refuses: true }
                if passed_before =>
            {
                self.roll_back(spec, world, hook, number, lifetime, &failure).await
            }
            Told::CheckFailed { failure, .. } | Told::CallFailed { failure, .. } => {
                self.owe_hook(spec, world, hook, number, lifetime, &failure).await
            }
        }
    }

    /// Notes that a hook is done with a generation. Its endpoints are looked at next.
    pub(super) async fn settle(
        &self,
        spec: &LineageSpec,
        world: &mut World,
        hook: &HookId,
        number: GenerationNumber,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let installed = &mut world.installed.value;
        let note = installed.hooks.entry(hook.clone()).or_insert_with(HookNote::never);
        *note = HookNote { done: number, done_at: Some(now), ..HookNote::never() };
        let taken =
            |least| spec.hooks.iter().all(|id| installed.hooks.get(id).is_some_and(|n| n.done >= least));
        if installed.refused.as_ref().is_some_and(|refused| taken(refused.generation)) {
            // Every service has taken it, or a newer one, after all.
            installed.refused = None;
        }
        for endpoint in installed.endpoints.values_mut() {
            endpoint.next_at = now;
        }
        Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await
    }

    async fn owe_hook(
        &self,
        spec: &LineageSpec,
        world: &mut World,
        hook: &HookId,
        number: GenerationNumber,
        lifetime: Span,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let note = world.installed.value.hooks.entry(hook.clone()).or_insert_with(HookNote::never);
        note.failures = note.failures.saturating_add(1);
        let next_at = now + next_hook_try(note.failures, lifetime);
        note.next_at = Some(next_at);
        note.words = Some(failure.to_string());
        self.tell(&Event::HookFailed {
            lineage: spec.id.clone(),
            hook: hook.clone(),
            generation: number,
            words: failure.to_string(),
            next_at,
        });
        Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await
    }

    /// The service took the old pair and refuses the new one. The old one returns if it is worth
    /// it; else the new one stays and the reload is owed.
    async fn roll_back(
        &self,
        spec: &LineageSpec,
        world: &mut World,
        hook: &HookId,
        number: GenerationNumber,
        lifetime: Span,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let record = &world.record.value;
        // What was shown before, which need not be the generation before.
        let shown_before = world.installed.value.shown_before.and_then(|number| record.issued(number));
        let previous = shown_before
            .or(record.previous.as_ref())
            // What a person went back to stays.
            .filter(|_| pinned(record, now).is_none())
            .filter(|previous| previous.number < number && worth_returning_to(previous, now))
            .map(|previous| previous.number);
        let Some(previous) = previous else {
            return self.owe_hook(spec, world, hook, number, lifetime, failure).await;
        };
        let scale = backoff(record);
        let left = record.leaf().map_or(Span::DAY, |leaf| leaf.left(now));
        let installed = &mut world.installed.value;
        let count = match &installed.refused {
            Some(refused) if refused.generation == number => refused.count.saturating_add(1),
            _ => 1,
        };
        let until = now + scale.after(count.saturating_add(1), left, false, mix(&[number, u64::from(count)]));
        installed.refused = Some(Refused {
            generation: number,
            returned_to: previous,
            at: now,
            until,
            count,
            words: failure.to_string(),
        });
        for (id, note) in &mut installed.hooks {
            // Services that took the new pair before this one refused it must hear of the return.
            let took_new = note.done >= number && id != hook;
            // One that never heard of the older one owes it as well.
            let done = if took_new { 0 } else { note.done.min(previous) };
            *note = HookNote { done, ..HookNote::never() };
        }
        self.tell(&Event::RolledBack {
            lineage: spec.id.clone(),
            from: number,
            to: previous,
            words: failure.to_string(),
        });
        Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await
    }
}

/// What hooks are told of a generation that is shown.
pub(super) fn deployed(scene: &Scene, id: &LineageId, issued: &Issued) -> Deployed {
    Deployed {
        lineage: id.clone(),
        generation: issued.number,
        directory: scene.live_dir.join(id.as_str()).display().to_string(),
        names: issued.names.iter().map(ToString::to_string).collect(),
        not_after: issued.leaf.not_after,
        fingerprint: issued.leaf.fingerprint.to_string(),
        serial: issued.leaf.serial.clone(),
    }
}
