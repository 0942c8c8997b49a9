//! Whether the agent's loop moves. It promises with each beat when it will be heard from again;
//! only a broken promise is a sign of a hang, however long the agent sleeps.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::core::time::Span;

/// The last promise. Kept on the monotonic clock: a stepped wall clock or a suspended machine
/// must not look like a hang, and a hang must not hide behind either.
#[derive(Default)]
pub struct Pulse {
    /// `None` before the first beat: starting up is the service manager's deadline, not ours.
    due: Mutex<Option<Instant>>,
}

impl Pulse {
    /// How late a promise may be kept: a swapping machine is not a hang, nor is a loop whose
    /// every hand is busy with a slow CA or hook.
    pub const GRACE: Span = Span::minutes(15);
    /// The longest promise taken at its word; later ones count as this.
    pub const PROMISE_MAX: Span = Span::hours(48);

    /// The loop moved, and will move again within `span` unless it hangs.
    pub fn beat(&self, span: Span) {
        let due = Instant::now() + span.between(Span::ZERO, Self::PROMISE_MAX).to_std();
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some(due);
    }

    /// How long past the promise and its grace; `None` while all is well.
    pub fn overdue(&self) -> Option<Span> {
        let due = (*self.due.lock().unwrap_or_else(PoisonError::into_inner))?;
        let late = Instant::now().checked_duration_since(due)?;
        let late = Span::from_millis(i64::try_from(late.as_millis()).unwrap_or(i64::MAX));
        (late > Self::GRACE).then(|| late - Self::GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f08_a_broken_promise_is_a_hang_and_a_long_sleep_is_not() {
        let pulse = Pulse::default();
        assert_eq!(pulse.overdue(), None, "before the first beat");
        pulse.beat(Span::hours(6));
        tokio::time::advance((Span::hours(6) + Pulse::GRACE).to_std()).await;
        assert_eq!(pulse.overdue(), None, "late, within grace");
        tokio::time::advance(Span::minutes(5).to_std()).await;
        assert_eq!(pulse.overdue(), Some(Span::minutes(5)));
        pulse.beat(Span::ZERO);
        assert_eq!(pulse.overdue(), None, "it moves again");
    }

    #[tokio::test(start_paused = true)]
    async fn an_absurd_promise_is_cut_short() {
        let pulse = Pulse::default();
        pulse.beat(Span::MAX);
        tokio::time::advance((Pulse::PROMISE_MAX + Pulse::GRACE + Span::secs(1)).to_std()).await;
        assert_eq!(pulse.overdue(), Some(Span::secs(1)));
    }
}
