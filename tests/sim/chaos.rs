//! Plots in which only time goes wrong (S14): clocks that are set, hosts that sleep. The CA, the disk and
//! the server are good throughout.

use nolapse::core::leaf::mix;
use nolapse::core::time::Span;

use crate::generator::{Dice, LIFETIMES};
use crate::plot::{Fault, Plot, What};

/// Farthest that a clock is set, either way.
const OFF_MOST: Span = Span::days(3650);
/// Longest sleep.
const SLEEP_MOST: Span = Span::days(60);
/// Most faults of one plot.
const FAULTS_MAX: u64 = 5;

impl Plot {
    /// The history of one certificate whose host has a bad clock and sleeps; always the same for a seed.
    pub fn of_clocks(seed: u64) -> Self {
        let mut dice = Dice::new(mix(&[seed, 0xC10C]));
        let lifetime = dice.pick(&LIFETIMES);
        let lives = 2 + u32::try_from(dice.draw(2)).unwrap();
        let others = Vec::new();
        let mut plot =
            Self { seed, lifetime, others, nodes: 1, agents: 1, shared: false, lives, faults: Vec::new() };
        for _ in 0..=dice.draw(FAULTS_MAX) {
            let what = match dice.draw(6) {
                0 => What::Suspend(dice.span(Span::minutes(2), SLEEP_MOST)),
                1 => What::Freeze { node: 0, span: dice.span(Span::minutes(2), SLEEP_MOST) },
                _ => {
                    let off = dice.span(Span::MINUTE, OFF_MOST);
                    let by = if dice.one_in(2) { off } else { Span::ZERO - off };
                    What::Clock { node: 0, by, stays: dice.span(Span::MINUTE, lifetime.over(2)) }
                }
            };
            plot.faults.push(Fault { at: plot.date(&mut dice), what });
        }
        plot.faults.sort_by_key(|fault| fault.at);
        plot
    }

    /// How often clocks are set, where nothing but time goes wrong for one certificate and nobody races: then
    /// there is an order for each renewal, and one more for each of these at most.
    pub fn jumps(&self) -> Option<i64> {
        let jumps = |fault: &Fault| match fault.what {
            // Set, and put right.
            What::Clock { .. } => Some(2),
            What::Suspend(_) | What::Freeze { .. } => Some(0),
            _ => None,
        };
        if (self.sites(), self.nodes, self.agents) == (1, 1, 1) {
            self.faults.iter().map(jumps).sum()
        } else {
            None
        }
    }
}
