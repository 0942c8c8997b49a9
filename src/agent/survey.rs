//! Looking at a lineage without acting: for `status`, `explain` and the status file.

use std::sync::Arc;

use crate::agent::count::row;
use crate::agent::gather::World;
use crate::agent::{Agent, Scene};
use crate::core::census::Row;
use crate::core::decide::{Check, Plan, Request, decide, explain};
use crate::core::failure::Failure;
use crate::core::ladder::Ladder;
use crate::core::name::LineageId;
use crate::core::spec::LineageSpec;
use crate::core::time::Timestamp;

/// Everything there is to say of one lineage.
pub struct Survey {
    pub id: LineageId,
    pub at: Timestamp,
    scene: Arc<Scene>,
    pub world: World,
    pub ladder: Ladder,
    pub row: Row,
    pub plan: Plan,
}

impl Agent {
    /// Reads and judges; writes nothing and asks no network.
    pub async fn survey(&self, id: &LineageId) -> Result<Survey, Failure> {
        let scene = self.scene();
        let world = self.gather(&scene, id).await?;
        let at = self.clock.now();
        let plan = decide(&world.situation(scene.wanted.lineages.get(id), &Request::default(), at));
        let survey = Survey::of(scene, world, plan, at);
        self.remember(survey.spec(), &survey.world, &survey.row, &survey.ladder);
        Ok(survey)
    }

    /// As [`Agent::survey`], with every question that the plan rests on.
    pub async fn explain(&self, id: &LineageId) -> Result<(Survey, Vec<Check>), Failure> {
        let scene = self.scene();
        let world = self.gather(&scene, id).await?;
        let at = self.clock.now();
        let spec = scene.wanted.lineages.get(id);
        let (plan, checks) = explain(&world.situation(spec, &Request::default(), at));
        Ok((Survey::of(scene, world, plan, at), checks))
    }
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Survey").field("id", &self.id).field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Survey {
    pub(super) fn of(scene: Arc<Scene>, world: World, plan: Plan, at: Timestamp) -> Self {
        let id = world.record.value.id.clone();
        let spec = scene.wanted.lineages.get(&id);
        let ladder = Ladder::of(spec, &world.record.value, &world.installed.value, &world.disk, at);
        let row = row(spec, &world, &ladder, at);
        Self { id, at, scene, world, ladder, row, plan }
    }

    /// What is wanted; `None` for a lineage that left the configuration.
    pub fn spec(&self) -> Option<&LineageSpec> {
        self.scene.wanted.lineages.get(&self.id)
    }

    /// The verdict and reason of the plan, upkeep first.
    pub fn words(&self) -> (&'static str, &'static str) {
        super::tick::words(&self.plan)
    }
}
