//! Holding a lineage while acting on it.

use crate::agent::Agent;
use crate::agent::book::store_failure;
use crate::core::failure::Failure;
use crate::core::name::LineageId;
use crate::core::time::{Span, Timestamp};
use crate::ports::Claim;

/// First wait for somebody else's claim; doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Span = Span::from_millis(20);
const RETRY_MOST: Span = Span::secs(1);

impl Agent {
    /// Claims `id`, waiting for another holder for `patience` at most.
    pub async fn hold(&self, id: &LineageId, patience: Span) -> Result<Claim, Failure> {
        self.claim(id, self.clock.now() + patience).await
    }

    /// Claims `id`, waiting for another holder until `deadline` at most.
    pub(super) async fn claim(&self, id: &LineageId, deadline: Timestamp) -> Result<Claim, Failure> {
        let mut wait = RETRY_FIRST;
        loop {
            match self.store.claim(id).await.map_err(|error| store_failure(&error))? {
                Claim::Held(guard) => return Ok(Claim::Held(guard)),
                Claim::Busy(holder) => {
                    let now = self.clock.now();
                    if now >= deadline {
                        return Ok(Claim::Busy(holder));
                    }
                    self.clock.sleep_until((now + wait).min(deadline)).await;
                    wait = wait.times(2).min(RETRY_MOST);
                }
            }
        }
    }
}
