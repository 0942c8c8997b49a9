//! The time, and waiting for it. Decisions follow the wall clock, also through suspend and through
//! a clock that is set; tokio's timers alone do neither (F24, F25).

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::time::{Span, Timestamp};

/// Either the host's clock, or an epoch to which tokio's elapsed time is added. With tokio's
/// time paused, the second lets a year pass in no time.
#[derive(Clone)]
pub struct Clock {
    started: Instant,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Wall,
    Virtual(Arc<Virtual>),
}

struct Virtual {
    epoch: Timestamp,
    /// Milliseconds by which the clock was set since the start.
    step: AtomicI64,
    was_set: Notify,
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The time has come.
    Due,
    /// The clock was set, or might have been: decide again.
    ClockSet,
}

impl Clock {
    /// Longest sleep where the kernel doesn't tell about a clock that is set.
    pub const BLIND_SLEEP_MAX: Span = Span::HOUR;

    /// Longest single wait on a tokio timer, which reaches only 2.2 years.
    const TIMER_MAX: Span = Span::days(365);

    /// The host's clock.
    pub fn wall() -> Self {
        Self { started: Instant::now(), kind: Kind::Wall }
    }

    /// `epoch` now, and from then on as tokio's time goes.
    pub fn starting_at(epoch: Timestamp) -> Self {
        let virtual_clock = Virtual { epoch, step: AtomicI64::new(0), was_set: Notify::new() };
        Self { started: Instant::now(), kind: Kind::Virtual(Arc::new(virtual_clock)) }
    }

    pub fn now(&self) -> Timestamp {
        match &self.kind {
            Kind::Wall => wall_now(),
            Kind::Virtual(clock) => {
                clock.epoch + self.monotonic() + Span::from_millis(clock.step.load(Ordering::SeqCst))
            }
        }
    }

    /// Time since this clock was made, for measuring: never steps, and may stand still in suspend.
    pub fn monotonic(&self) -> Span {
        Span::from_millis(i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// Sets a virtual clock forward or, with a negative span, back, and wakes its sleepers.
    /// The host's clock stays as it is.
    pub fn jump(&self, by: Span) {
        if let Kind::Virtual(clock) = &self.kind {
            clock.step.fetch_add(by.millis(), Ordering::SeqCst);
            clock.was_set.notify_waiters();
        }
    }

    /// Waits until the clock shows `at`, also through suspend. Ends early when the clock is set,
    /// and at the latest after [`Self::BLIND_SLEEP_MAX`] where the kernel can't tell.
    pub async fn sleep_until(&self, at: Timestamp) -> Woken {
        match &self.kind {
            Kind::Wall => match RealtimeTimer::armed(at) {
                Ok(timer) => timer.expired().await,
                Err(_) => self.sleep_blind(at).await,
            },
            Kind::Virtual(clock) => {
                // Enlisted before the time is read, so that no jump falls between.
                let set = clock.was_set.notified();
                let left = at.since(self.now()).min(Self::TIMER_MAX);
                tokio::select! {
                    biased;
                    () = set => Woken::ClockSet,
                    () = self.sleep(left) => if self.now() >= at { Woken::Due } else { Woken::ClockSet },
                }
            }
        }
    }

    /// A short wait for polling; not for dates, as it stands still in suspend.
    pub async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.min(Self::TIMER_MAX).to_std()).await;
    }

    /// `None` when `work` took longer; it is dropped then.
    pub async fn timeout<F: Future>(&self, within: Span, work: F) -> Option<F::Output> {
        tokio::time::timeout(within.min(Self::TIMER_MAX).to_std(), work).await.ok()
    }

    async fn sleep_blind(&self, at: Timestamp) -> Woken {
        let left = at.since(self.now());
        self.sleep(left.min(Self::BLIND_SLEEP_MAX)).await;
        if self.now() >= at { Woken::Due } else { Woken::ClockSet }
    }
}

fn wall_now() -> Timestamp {
    let millis = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    };
    Timestamp::from_millis(millis)
}

/// A kernel timer for a date of the wall clock, which reports when the clock is set (and on
/// resume from suspend, which Linux counts as such).
struct RealtimeTimer(AsyncFd<OwnedFd>);

impl RealtimeTimer {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd is one descriptor until it is dropped"
    )]
    fn armed(at: Timestamp) -> std::io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A zero date would disarm the timer, and the kernel refuses dates before 1970.
        let millis = at.millis().max(1);
        let date = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
        timerfd_settime(
            &fd,
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &Itimerspec { it_interval: once, it_value: date },
        )?;
        Ok(Self(AsyncFd::with_interest(fd, Interest::READABLE)?))
    }

    async fn expired(&self) -> Woken {
        let mut count = [0; 8];
        let read = self
            .0
            .async_io(Interest::READABLE, |fd| {
                rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut count)).map_err(Into::into)
            })
            .await;
        match read {
            Ok(_) => Woken::Due,
            Err(error) => {
                // Any other failure of the timer also means: look at the clock again. The pause
                // keeps a timer that always fails from turning the caller into a busy loop.
                if Errno::from_io_error(&error) != Some(Errno::CANCELED) {
                    tokio::time::sleep(Span::secs(1).to_std()).await;
                }
                Woken::ClockSet
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_virtual_year_takes_no_time() {
        let clock = Clock::starting_at(noon());
        let real = std::time::Instant::now();
        assert_eq!(clock.sleep_until(noon() + Span::days(365)).await, Woken::Due);
        assert_eq!(clock.now(), noon() + Span::days(365));
        assert_eq!(clock.monotonic(), Span::days(365));
        assert!(real.elapsed() < Span::HOUR.to_std());
    }

    #[tokio::test(start_paused = true)]
    async fn f25_a_jump_wakes_the_sleeper_who_then_decides_again() {
        for by in [Span::days(3650), Span::ZERO - Span::days(3650)] {
            let clock = Clock::starting_at(noon());
            let setter = clock.clone();
            let set = tokio::spawn(async move {
                setter.sleep(Span::MINUTE).await;
                setter.jump(by);
            });
            assert_eq!(clock.sleep_until(noon() + Span::DAY).await, Woken::ClockSet);
            assert_eq!(clock.now(), noon() + Span::MINUTE + by);
            assert_eq!(clock.monotonic(), Span::MINUTE, "measuring does not see a clock that is set");
            set.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_that_has_passed_is_due_at_once() {
        let clock = Clock::starting_at(noon());
        assert_eq!(clock.sleep_until(Timestamp::MIN).await, Woken::Due);
        assert_eq!(clock.now(), noon());
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_dropped() {
        let clock = Clock::starting_at(noon());
        assert_eq!(clock.timeout(Span::secs(5), std::future::pending::<()>()).await, None);
        assert_eq!(clock.timeout(Span::secs(5), async { 7 }).await, Some(7));
        assert_eq!(clock.now(), noon() + Span::secs(5));
    }

    #[tokio::test]
    async fn the_kernel_timer_ends_at_its_date_and_not_before() {
        let clock = Clock::wall();
        for at in [Timestamp::MIN, Timestamp::EPOCH, clock.now(), clock.now() + Span::from_millis(30)] {
            assert_eq!(RealtimeTimer::armed(at).unwrap().expired().await, Woken::Due);
            assert!(clock.now() >= at);
            assert_eq!(clock.sleep_until(at).await, Woken::Due);
        }
    }

    #[tokio::test]
    async fn the_kernel_timer_takes_the_furthest_date() {
        let timer = RealtimeTimer::armed(Timestamp::MAX).unwrap();
        let short = Clock::wall().timeout(Span::from_millis(20), timer.expired()).await;
        assert_eq!(short, None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_kernel_timer_no_sleep_is_longer_than_an_hour() {
        let clock = Clock::starting_at(noon());
        assert_eq!(clock.sleep_blind(noon() + Span::DAY).await, Woken::ClockSet);
        assert_eq!(clock.now(), noon() + Clock::BLIND_SLEEP_MAX);
        assert_eq!(clock.sleep_blind(noon() + Span::hours(2)).await, Woken::Due);
    }
}
