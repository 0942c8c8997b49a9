//! Looking at a lineage without acting: for `status`, `explain` and the status file.

use crate::agent::Agent;
use crate::agent::count::row;
use crate::agent::gather::World;
use crate::core::census::Row;
use crate::core::decide::{Check, Plan, Request, explain};
use crate::core::failure::Failure;
use crate::core::ladder::Ladder;
use crate::core::name::LineageId;
use crate::core::spec::LineageSpec;
use crate::core::time::Timestamp;

/// Everything there is to say of one lineage.
pub struct Survey {
    pub id: LineageId,
    pub at: Timestamp,
    pub spec: Option<LineageSpec>,
    pub world: World,
    pub ladder: Ladder,
    pub row: Row,
    pub plan: Plan,
    /// Every question that the plan rests on.
    pub checks: Vec<Check>,
}

impl Agent {
    /// Reads and judges; writes nothing and asks no network.
    pub async fn survey(&self, id: &LineageId) -> Result<Survey, Failure> {
        let scene = self.scene();
        let world = self.gather(&scene, id).await?;
        let at = self.clock.now();
        let spec = scene.wanted.lineages.get(id).cloned();
        let (plan, checks) = explain(&world.situation(spec.as_ref(), &Request::default(), at));
        let ladder = Ladder::of(spec.as_ref(), &world.record.value, &world.installed.value, &world.disk, at);
        let row = row(spec.as_ref(), &world, at);
        Ok(Survey { id: id.clone(), at, spec, world, ladder, row, plan, checks })
    }
}

impl Survey {
    /// The verdict and reason of the plan, upkeep first.
    pub fn words(&self) -> (&'static str, &'static str) {
        super::tick::words(&self.plan)
    }
}
