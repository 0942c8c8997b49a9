//! Working off what solvers have to undo.

use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::agent::pursue::SOLVE_TIMEOUT;
use crate::agent::{Agent, Scene};
use crate::core::decide::{abandoned, backoff, tried_again};
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault};
use crate::core::name::SolverId;
use crate::core::record::{Debt, LineageRecord, Receipt};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};

/// Longest wait between tries to undo one answer.
const RETRY_MOST: Span = Span::HOUR;

impl Agent {
    /// Gives up an attempt that leads nowhere any more, then tries every debt that is due; what
    /// fails stays owed.
    pub(super) async fn clean_up(
        &self,
        scene: &Scene,
        spec: Option<&LineageSpec>,
        world: &mut World,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let dropped = if abandoned(&world.record.value, spec, now) { self.drop_attempt(world) } else { None };
        self.pay_debts(scene, &mut world.record.value).await;
        Book::new(&*self.store).save_record(&mut world.record).await?;
        self.let_go(scene, dropped).await;
        Ok(())
    }

    /// Tries every debt of the record that is due; the caller saves what is left.
    pub(super) async fn pay_debts(&self, scene: &Scene, record: &mut LineageRecord) {
        let now = self.clock.now();
        let scale = backoff(record);
        let mut left = Vec::new();
        for mut debt in std::mem::take(&mut record.debts) {
            if !tried_again(debt.next_at, now) {
                left.push(debt);
                continue;
            }
            if let Err(failure) = self.undo(scene, &debt.receipt).await {
                self.tell(&Event::CleanUpFailed {
                    lineage: record.id.clone(),
                    place: debt.receipt.place.clone(),
                    words: failure.to_string(),
                });
                debt.failures = debt.failures.saturating_add(1);
                let wait = Span::MINUTE.times(1 << debt.failures.min(10)).min(RETRY_MOST);
                debt.next_at = self.clock.now() + scale.scaled(wait);
                left.push(debt);
            }
        }
        record.debts = left;
    }

    /// Has the answer taken away by what set it up: a solver of the same name that works in another way would
    /// find nothing of its own, and all would seem well.
    ///
    /// Codes: `no-such-solver`, `solver-changed`, `solver-slow`, and those of the solver.
    pub(super) async fn undo(&self, scene: &Scene, receipt: &Receipt) -> Result<(), Failure> {
        let now = scene.way_of(&receipt.solver);
        let solver = match &receipt.by {
            Some(by) if now.as_ref() != Some(by) => match (self.former.get(by), now) {
                (Some(former), _) => former,
                (None, Some(now)) => return Err(changed(receipt, by, &now)),
                (None, None) => scene.solver(&receipt.solver)?,
            },
            _ => scene.solver(&receipt.solver)?,
        };
        self.clock.timeout(SOLVE_TIMEOUT, solver.clean_up(receipt)).await.unwrap_or_else(|| {
            let words = format!(
                "solver {} did not take away the answer for {} within {SOLVE_TIMEOUT}",
                receipt.solver, receipt.name
            );
            Err(Failure::transient(Fault::Host, "solver-slow", words))
        })
    }
}

impl Scene {
    /// How a solver sets answers up, as far as it is in the configuration.
    pub(super) fn way_of(&self, id: &SolverId) -> Option<Box<str>> {
        self.wanted.solvers.get(id).map(|spec| spec.kind.way().into())
    }
}

fn changed(receipt: &Receipt, by: &str, now: &str) -> Failure {
    let Receipt { solver, name, place, .. } = receipt;
    let words = format!(
        "the answer for {name} was set by solver {solver} as {by}, which is {now} now and can't take it away: \
         {place}; make {solver} what it was for one pass (`nolapse renew`), or take it away by hand"
    );
    Failure::refused(Fault::Config, "solver-changed", words).blaming(Some(name.clone()))
}

/// Receipts of an attempt that ended, due at once.
pub fn owe(debts: &mut Vec<Debt>, receipts: Vec<Receipt>, now: Timestamp) {
    for receipt in receipts {
        if !debts.iter().any(|debt| debt.receipt == receipt) {
            debts.push(Debt { receipt, failures: 0, next_at: now });
        }
    }
}
