//! Working off what solvers have to undo.

use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::agent::{Agent, Scene};
use crate::core::decide::{abandoned, backoff, tried_again};
use crate::core::event::Event;
use crate::core::failure::Failure;
use crate::core::record::Debt;
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
        let record = &mut world.record.value;
        let scale = backoff(record);
        let mut left = Vec::new();
        for mut debt in std::mem::take(&mut record.debts) {
            if !tried_again(debt.next_at, now) {
                left.push(debt);
                continue;
            }
            let undone = match scene.solver(&debt.receipt.solver) {
                Ok(solver) => solver.clean_up(&debt.receipt).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = undone {
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
        Book::new(&*self.store).save_record(&mut world.record).await?;
        self.let_go(scene, dropped).await;
        Ok(())
    }
}

/// Receipts of an attempt that ended, due at once.
pub fn owe(debts: &mut Vec<Debt>, receipts: Vec<crate::core::record::Receipt>, now: Timestamp) {
    for receipt in receipts {
        if !debts.iter().any(|debt| debt.receipt == receipt) {
            debts.push(Debt { receipt, failures: 0, next_at: now });
        }
    }
}
