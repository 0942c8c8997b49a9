//! Whether this host and the CA agree what day it is. A certificate ordered by a clock that is
//! years off can't be checked and is ordered again and again (F25).

use crate::agent::Agent;
use crate::core::failure::{Backoff, Failure, Fault};
use crate::core::time::Span;
use crate::ports::{Ca, Greeting};

/// Most that the two clocks may differ, for lifetimes of a day and more: half of the shortest.
const APART_MOST: Span = Span::hours(12);

impl Agent {
    /// A free look at the CA: it answers, and its date is ours.
    pub(super) async fn greet(&self, ca: &dyn Ca, scale: Backoff) -> Result<Greeting, Failure> {
        let greeting = ca.reachable().await?;
        let now = self.clock.now();
        let Some(date) = greeting.date else { return Ok(greeting) };
        let apart = now.since(date).max(date.since(now));
        if apart <= scale.scaled(APART_MOST) {
            return Ok(greeting);
        }
        Err(Failure::transient(
            Fault::Host,
            "clock-wrong",
            format!(
                "this host's clock says {now} and the CA's says {date}; set the clock, nothing is ordered until they agree"
            ),
        ))
    }
}
