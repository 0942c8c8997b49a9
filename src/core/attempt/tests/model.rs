//! A CA that does anything RFC 8555 allows, slowly, lazily or badly, and the law that an attempt
//! always ends.

use proptest::prelude::*;

use super::*;

/// Decides by a stream of throws that a failing run can repeat.
struct Dice {
    throws: Vec<u8>,
    at: usize,
}

impl Dice {
    fn one_in(&mut self, n: u8) -> bool {
        self.at += 1;
        self.throws[self.at % self.throws.len()].is_multiple_of(n)
    }
}

/// Habits of one CA.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// One call in so many fails; 0 for never.
    fails: u8,
    /// One look in so many moves things on.
    moves: u8,
    /// One validation in so many fails; 0 for never.
    refuses: u8,
    /// The order stays pending after a failed challenge.
    keeps_pending: bool,
    /// Finalization goes on saying ready for a while.
    lags: bool,
    /// Never issues.
    stalls: bool,
}

struct Model {
    habits: Habits,
    dice: Dice,
    status: OrderStatus,
    authorizations: [(AuthorizationStatus, ChallengeStatus); 3],
    finalized: bool,
}

impl Model {
    /// Time passes at the CA.
    fn work(&mut self) {
        for (status, challenge) in &mut self.authorizations {
            if *challenge == ChallengeStatus::Processing && self.dice.one_in(self.habits.moves) {
                let bad = self.habits.refuses > 0 && self.dice.one_in(self.habits.refuses);
                *challenge = if bad { ChallengeStatus::Invalid } else { ChallengeStatus::Valid };
                *status = if bad { AuthorizationStatus::Invalid } else { AuthorizationStatus::Valid };
            }
        }
        let any = |wanted| self.authorizations.iter().any(|(status, _)| *status == wanted);
        let (open, failed) = (any(AuthorizationStatus::Pending), any(AuthorizationStatus::Invalid));
        match self.status {
            OrderStatus::Pending if failed && !self.habits.keeps_pending => {
                self.status = OrderStatus::Invalid;
            }
            OrderStatus::Pending if !open && !failed => self.status = OrderStatus::Ready,
            OrderStatus::Ready if self.finalized => self.status = OrderStatus::Processing,
            OrderStatus::Processing if !self.habits.stalls && self.dice.one_in(self.habits.moves) => {
                let bad = self.habits.refuses > 0 && self.dice.one_in(self.habits.refuses);
                self.status = if bad { OrderStatus::Invalid } else { OrderStatus::Valid };
            }
            _ => {}
        }
    }

    fn view(&mut self) -> Observation {
        let retry_after = self.dice.one_in(5).then(|| Span::secs(3));
        Observation::Order(OrderView { retry_after, ..order(self.status) })
    }

    fn answer(&mut self, action: &Action) -> Observation {
        if self.habits.fails > 0 && self.dice.one_in(self.habits.fails) {
            return Observation::Failed(Failure::transient(Fault::Ca, "ca-down", "503"));
        }
        match action {
            Action::Order(_) => self.view(),
            Action::View => {
                self.work();
                self.view()
            }
            Action::Authorizations => seen(
                self.authorizations
                    .iter()
                    .enumerate()
                    .map(|(n, (status, challenge))| {
                        authorization(&format!("n{n}.example"), *status, vec![http(*challenge)])
                    })
                    .collect(),
            ),
            Action::Reserve(tasks) => {
                Observation::Reserved { tasks: tasks.clone(), receipts: tasks.iter().map(receipt).collect() }
            }
            Action::Present(tasks) => Observation::Presented(tasks.clone()),
            Action::Confirm(tasks) => Observation::Confirmed { tasks: tasks.clone(), unseen: Vec::new() },
            Action::Tell(tasks) => {
                for task in tasks {
                    let n: usize = task.name.to_string()[1..2].parse().unwrap();
                    if self.authorizations[n].1 == ChallengeStatus::Pending {
                        self.authorizations[n].1 = ChallengeStatus::Processing;
                    }
                }
                Observation::Told
            }
            Action::Finalize => {
                self.finalized = true;
                if !self.habits.lags {
                    self.work();
                }
                self.view()
            }
            Action::Wait(_) => Observation::Waited,
            Action::Download | Action::Park(_) | Action::GiveUp(_) => unreachable!("an end"),
        }
    }
}

fn receipt(task: &ChallengeTask) -> Receipt {
    Receipt {
        solver: task.solver.clone(),
        kind: task.kind,
        name: task.name.clone(),
        token: task.token.clone(),
        place: task.url.clone(),
        by: None,
    }
}

/// Moves that one sitting may take: polling for ten minutes and the steps around it.
const MOVES_MOST: u32 = 600;
/// Sittings that one attempt may take: a parked one is looked at at least a minute later.
const SITTINGS_MOST: u32 = 400;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn an_attempt_with_any_legal_ca_ends_and_never_goes_back(
        throws in proptest::collection::vec(any::<u8>(), 64..256),
        fails in prop_oneof![Just(0u8), 4u8..50], moves in 1u8..40, refuses in prop_oneof![Just(0u8), 1u8..20],
        keeps_pending in any::<bool>(), lags in any::<bool>(), stalls in proptest::bool::weighted(0.2),
        reused in any::<[bool; 3]>(), crash in prop_oneof![Just(0u8), 5u8..100],
    ) {
        let start = |valid: bool| if valid {
            (AuthorizationStatus::Valid, ChallengeStatus::Valid)
        } else {
            (AuthorizationStatus::Pending, ChallengeStatus::Pending)
        };
        let mut ca = Model {
            habits: Habits { fails, moves, refuses, keeps_pending, lags, stalls },
            dice: Dice { throws, at: 0 },
            status: OrderStatus::Pending,
            authorizations: reused.map(start),
            finalized: false,
        };
        let mut at = now();
        let mut attempt = attempt(Phase::Prepared);
        let (mut sittings, mut ended) = (0, false);
        while !ended {
            sittings += 1;
            prop_assert!(sittings < SITTINGS_MOST, "still parked at {at}");
            let mut seen = Observation::Started;
            for moves in 0.. {
                prop_assert!(moves < MOVES_MOST, "still moving at {:?}", attempt);
                let before = attempt.phase;
                let asked_at = at;
                let (next, action) = step(attempt, seen, at);
                attempt = next;
                prop_assert!(attempt.phase >= before);
                prop_assert!(attempt.receipts.len() <= 3, "receipts pile up");
                at = at + Span::from_millis(20);
                match &action {
                    Action::Download | Action::GiveUp(_) => {
                        ended = true;
                        break;
                    }
                    Action::Park(_) => {
                        at = at + Span::MINUTE;
                        break;
                    }
                    Action::Wait(until) => {
                        prop_assert!(*until > asked_at, "a wait that has passed");
                        at = at.max(*until);
                    }
                    _ => {}
                }
                if crash > 0 && ca.dice.one_in(crash) {
                    // What the disk does not hold is gone; a start takes a while.
                    attempt.sitting = Sitting::default();
                    at = at + Span::MINUTE;
                    break;
                }
                seen = ca.answer(&action);
            }
        }
        prop_assert!(at <= attempt.deadline + Attempt::SITTING + Span::HOUR);
    }
}
