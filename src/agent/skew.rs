//! Whether this host and the CA agree what day it is. A certificate ordered by a clock that is
//! years off can't be checked and is ordered again and again (F25).

use crate::agent::Agent;
use crate::core::failure::{Backoff, Failure, Fault};
use crate::core::time::{Span, Timestamp};
use crate::ports::{Ca, Greeting};

/// Most that the two clocks may differ, for lifetimes of a day and more: half of the shortest.
const APART_MOST: Span = Span::hours(12);
/// Most that this host may be behind: a CA that dates nothing back issues what is not valid here for that
/// long, and only the tries of the first two hours meet the end of that with the same order.
const BEHIND_MOST: Span = Span::minutes(90);
/// A difference that is never worth stopping for.
const APART_LEAST: Span = Span::MINUTE;

impl Agent {
    /// Before an order: its date is ours, as far as is known without asking more than an order
    /// would ask.
    pub(super) async fn agree_on_date(&self, ca: &dyn Ca, scale: Backoff) -> Result<(), Failure> {
        let now = self.clock.now();
        match ca.skew().await? {
            Some(skew) => judge(now, now - skew, scale),
            None => Ok(()),
        }
    }

    /// A free look at the CA: it answers, and its date is ours.
    pub(super) async fn greet(&self, ca: &dyn Ca, scale: Backoff) -> Result<Greeting, Failure> {
        let greeting = ca.reachable().await?;
        if let Some(date) = greeting.date {
            judge(self.clock.now(), date, scale)?;
        }
        Ok(greeting)
    }
}

fn judge(now: Timestamp, date: Timestamp, scale: Backoff) -> Result<(), Failure> {
    let least = |most: Span| scale.scaled(most).max(APART_LEAST);
    if now.since(date) <= least(APART_MOST) && date.since(now) <= least(BEHIND_MOST) {
        Ok(())
    } else {
        Err(Failure::transient(
            Fault::Host,
            "clock-wrong",
            format!(
                "this host's clock says {now} and the CA's says {date}; set the clock, nothing is ordered until they agree"
            ),
        ))
    }
}
