//! Of certificates that come to one service together, the first goes ahead: the others replace
//! what works only after it was told and seen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::core::name::{HookId, LineageId};
use crate::core::record::GenerationNumber;
use crate::core::time::{Span, Timestamp};
use crate::sys::clock::Clock;

/// How long one proof is good for others.
const PROOF_AGE_MOST: Span = Span::minutes(10);
/// After a failure the next one goes ahead no sooner.
const HELD_BACK: Span = Span::minutes(10);
/// Longest wait for one that goes ahead: a check, a reload and a look at their usual bounds.
const PROVING_MOST: Span = Span::minutes(5);

/// Who goes ahead, by service.
#[derive(Default)]
pub struct Canaries {
    services: Mutex<BTreeMap<HookId, Standing>>,
    moved: Notify,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Proving(LineageId, Timestamp),
    Proved(Timestamp),
    Failed(LineageId, Timestamp),
}

/// What a lineage that is about to replace what is shown should do.
pub enum Turn<'a> {
    /// It goes ahead: others wait for what becomes of it.
    First(First<'a>),
    /// Another has shown that it works.
    Follows,
    /// Another went ahead and was not seen to work, or takes too long.
    HeldBack { by: LineageId, until: Timestamp },
}

/// One that goes ahead. Dropped before anything of it was shown it has proved nothing either way;
/// after that, it is a failure unless said otherwise.
pub struct First<'a> {
    canaries: &'a Canaries,
    clock: Clock,
    id: LineageId,
    hooks: Vec<HookId>,
    shown: Option<GenerationNumber>,
    passed: bool,
}

impl Canaries {
    /// Waits for its turn with all of `hooks`.
    pub async fn turn(&self, clock: &Clock, id: &LineageId, hooks: &[HookId]) -> Turn<'_> {
        let deadline = clock.now() + PROVING_MOST;
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            match self.ask(clock, id, hooks) {
                Ok(turn) => return turn,
                Err(by) => {
                    let left = deadline.since(clock.now());
                    if !left.is_positive() || clock.timeout(left, moved).await.is_none() {
                        return Turn::HeldBack { by, until: clock.now() + HELD_BACK };
                    }
                }
            }
        }
    }

    /// `Err`: somebody is being watched just now.
    fn ask(&self, clock: &Clock, id: &LineageId, hooks: &[HookId]) -> Result<Turn<'_>, LineageId> {
        let now = clock.now();
        let mut services = self.services();
        let mut unproved = Vec::new();
        for hook in hooks {
            match services.get(hook) {
                Some(Standing::Proving(by, since)) if by != id && now.since(*since) < PROVING_MOST => {
                    return Err(by.clone());
                }
                Some(Standing::Failed(by, at)) if by != id && now.since(*at) < HELD_BACK => {
                    return Ok(Turn::HeldBack { by: by.clone(), until: *at + HELD_BACK });
                }
                Some(Standing::Proved(at)) if now.since(*at) < PROOF_AGE_MOST => {}
                _ => unproved.push(hook.clone()),
            }
        }
        if unproved.is_empty() {
            return Ok(Turn::Follows);
        }
        for hook in &unproved {
            services.insert(hook.clone(), Standing::Proving(id.clone(), now));
        }
        drop(services);
        let (clock, id) = (clock.clone(), id.clone());
        Ok(Turn::First(First { canaries: self, clock, id, hooks: unproved, shown: None, passed: false }))
    }

    /// What a lineage that went ahead owed is paid by now.
    pub fn vouch(&self, id: &LineageId, now: Timestamp) {
        for standing in self.services().values_mut() {
            if matches!(standing, Standing::Failed(by, _) if by == id) {
                *standing = Standing::Proved(now);
            }
        }
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<HookId, Standing>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First<'_> {
    /// What it brings lies where servers read it: from now on they can be hurt.
    pub const fn shows(&mut self, generation: GenerationNumber) {
        self.shown = Some(generation);
    }

    pub const fn shown(&self) -> Option<GenerationNumber> {
        self.shown
    }

    /// It was told and seen.
    pub fn passed(mut self) {
        self.passed = true;
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        let now = self.clock.now();
        let mut services = self.canaries.services();
        for hook in &self.hooks {
            match (self.passed, self.shown) {
                (true, _) => services.insert(hook.clone(), Standing::Proved(now)),
                (false, Some(_)) => services.insert(hook.clone(), Standing::Failed(self.id.clone(), now)),
                (false, None) => services.remove(hook),
            };
        }
        drop(services);
        self.canaries.moved.notify_waiters();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(name: &str) -> LineageId {
        LineageId::parse(name).unwrap()
    }

    fn hooks(names: &[&str]) -> Vec<HookId> {
        names.iter().map(|name| HookId::parse(name).unwrap()).collect()
    }

    fn word(turn: &Turn<'_>) -> &'static str {
        match turn {
            Turn::First(_) => "first",
            Turn::Follows => "follows",
            Turn::HeldBack { .. } => "held back",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_goes_ahead_and_the_others_follow_what_it_proved() {
        let (canaries, clock) = (Canaries::default(), Clock::starting_at(Timestamp::EPOCH));
        let Turn::First(first) = canaries.turn(&clock, &id("a"), &hooks(&["nginx"])).await else {
            unreachable!()
        };
        let (b, both) = (id("b"), hooks(&["nginx", "mail"]));
        let second = canaries.turn(&clock, &b, &both);
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => unreachable!("it waits"),
            () = clock.sleep(Span::MINUTE) => {}
        }
        first.passed();
        // Proved for one service, first for the other.
        let Turn::First(mail) = second.await else { unreachable!() };
        assert_eq!(mail.hooks, hooks(&["mail"]));
        assert_eq!(word(&canaries.turn(&clock, &id("c"), &hooks(&["nginx"])).await), "follows");
        clock.sleep(PROOF_AGE_MOST).await;
        assert_eq!(word(&canaries.turn(&clock, &id("c"), &hooks(&["nginx"])).await), "first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_holds_the_others_back_and_later_another_goes_ahead() {
        let (canaries, clock) = (Canaries::default(), Clock::starting_at(Timestamp::EPOCH));
        let nginx = hooks(&["nginx"]);
        let Turn::First(mut first) = canaries.turn(&clock, &id("a"), &nginx).await else { unreachable!() };
        first.shows(2);
        drop(first);
        assert_eq!(word(&canaries.turn(&clock, &id("b"), &nginx).await), "held back");
        clock.sleep(HELD_BACK).await;
        let Turn::First(mut next) = canaries.turn(&clock, &id("b"), &nginx).await else { unreachable!() };
        next.shows(2);
        drop(next);
        assert_eq!(word(&canaries.turn(&clock, &id("c"), &nginx).await), "held back");
        // What it owed is paid in its next pass.
        canaries.vouch(&id("b"), clock.now());
        assert_eq!(word(&canaries.turn(&clock, &id("c"), &nginx).await), "follows");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_came_to_be_shown_holds_nobody_back() {
        let (canaries, clock) = (Canaries::default(), Clock::starting_at(Timestamp::EPOCH));
        let nginx = hooks(&["nginx"]);
        drop(canaries.turn(&clock, &id("a"), &nginx).await);
        assert_eq!(word(&canaries.turn(&clock, &id("b"), &nginx).await), "first");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_too_long_is_waited_for_no_longer() {
        let (canaries, clock) = (Canaries::default(), Clock::starting_at(Timestamp::EPOCH));
        let nginx = hooks(&["nginx"]);
        let first = canaries.turn(&clock, &id("a"), &nginx).await;
        assert_eq!(word(&canaries.turn(&clock, &id("b"), &nginx).await), "held back");
        assert!(clock.now() >= Timestamp::EPOCH + PROVING_MOST);
        drop(first);
    }
}
