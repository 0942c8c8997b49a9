//! Whether this host and the CA agree what day it is. A certificate ordered by a clock that is
//! years off can't be checked and is ordered again and again (F25).

use crate::agent::Agent;
use crate::core::failure::{Backoff, Failure, Fault};
use crate::core::time::{Span, Timestamp};
use crate::ports::{Ca, Greeting};

/// Most that the two clocks may differ, for lifetimes of a day and more: half of the shortest.
const APART_MOST: Span = Span::hours(12);
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

    /// The date by which to judge whether what the CA issued is valid yet: the CA's own where this host is
    /// behind it. Clients can use at once what a host that shows local time for UTC would wait hours for,
    /// longer than its order lasts, and then order again.
    pub(super) async fn date_of_issue(&self, ca: &dyn Ca, scale: Backoff) -> Timestamp {
        let now = self.clock.now();
        match ca.skew().await {
            Ok(Some(skew)) if judge(now, now - skew, scale).is_ok() => now.max(now - skew),
            // A CA that tells no date, or none to go by, leaves ours.
            _ => now,
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
    let apart = now.since(date).max(date.since(now));
    if apart <= scale.scaled(APART_MOST).max(APART_LEAST) {
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
