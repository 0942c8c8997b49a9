//! Plots drawn from a seed.

use nolapse::core::leaf::mix;
use nolapse::core::time::Span;

use crate::plot::{Fault, Harm, Plot, What};
use crate::script::Trouble;
use crate::site::{SITES_MAX, Site};

/// What CAs issue today and will.
pub const LIFETIMES: [Span; 6] =
    [Span::DAY, Span::hours(160), Span::days(45), Span::days(64), Span::days(90), Span::days(398)];
/// Longest that a shared store answers with old values.
const STALE_MOST: Span = Span::minutes(10);
/// Most faults of one plot.
const FAULTS_MAX: u64 = 8;

/// Draws that are the same for the same seed.
pub struct Dice {
    seed: u64,
    draws: u64,
}

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self { seed, draws: 0 }
    }

    /// Below `sides`.
    pub fn draw(&mut self, sides: u64) -> u64 {
        self.draws += 1;
        mix(&[self.seed, self.draws]) % sides.max(1)
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.draw(sides) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.draw(from.len() as u64)).unwrap()]
    }

    /// From `least` to `most`, short ones as likely as long ones, in whole minutes.
    pub fn span(&mut self, least: Span, most: Span) -> Span {
        let (least, most) = (least.max(Span::MINUTE), most.max(Span::MINUTE));
        let mut doubled = 0;
        while least.times(1 << doubled) < most && doubled < 40 {
            doubled += 1;
        }
        let upper = least.times(1 << self.draw(doubled + 1)).min(most);
        let minutes = upper.whole_secs() / 60;
        let part = i64::try_from(self.draw(u64::try_from(minutes / 2 + 1).unwrap())).unwrap();
        Span::minutes((minutes - part).max(1))
    }
}

/// Lifetimes of the certificates beside the first: most of them the same, as one CA's are.
fn others(lifetime: Span, dice: &mut Dice) -> Vec<Span> {
    let place = LIFETIMES.iter().position(|one| *one == lifetime).unwrap_or(0);
    let near = &LIFETIMES[place.saturating_sub(1)..LIFETIMES.len().min(place + 2)];
    (0..dice.draw(SITES_MAX as u64))
        .map(|_| if dice.one_in(4) { dice.pick(near) } else { lifetime })
        .collect()
}

impl Plot {
    /// The plot of a seed; always the same.
    pub fn random(seed: u64) -> Self {
        Self::drawn(seed, true)
    }

    /// The same with the first certificate alone: what strikes all strikes it.
    pub fn random_alone(seed: u64) -> Self {
        Self::drawn(seed, false)
    }

    fn drawn(seed: u64, several: bool) -> Self {
        let mut dice = Dice::new(mix(&[seed, 0x9107]));
        let lifetime = dice.pick(&LIFETIMES);
        let shared = dice.one_in(3);
        let nodes = if shared { 1 + usize::try_from(dice.draw(3)).unwrap() } else { 1 };
        let agents = if dice.one_in(6) { 2 } else { 1 };
        let lives = 2 + u32::try_from(dice.draw(4)).unwrap();
        let others =
            if several { others(lifetime, &mut Dice::new(mix(&[seed, 0xCE27]))) } else { Vec::new() };
        let mut plot = Self { seed, lifetime, others, nodes, agents, shared, lives, faults: Vec::new() };
        // Half of them with faults that cost no order: there the count of orders is judged.
        let modest = dice.one_in(2);
        if modest {
            plot.agents = 1;
        }
        let count = 1 + dice.draw(FAULTS_MAX);
        while (plot.faults.len() as u64) < count {
            let fault = plot.fault(&mut dice);
            plot.faults.push(fault);
            if modest && !plot.modest() {
                plot.faults.pop();
            }
        }
        for _ in 0..dice.draw(plot.sites() as u64) {
            let fault = Fault { at: plot.date(&mut dice), what: plot.strike_one(&mut dice) };
            plot.faults.push(fault);
            if modest && !plot.modest() {
                plot.faults.pop();
            }
        }
        plot.faults.sort_by_key(|fault| fault.at);
        plot
    }

    /// What strikes one certificate of several.
    fn strike_one(&self, dice: &mut Dice) -> What {
        let site = usize::try_from(dice.draw(self.sites() as u64)).unwrap();
        let node = usize::try_from(dice.draw(self.nodes as u64)).unwrap();
        let span = dice.span(Span::minutes(2), self.lifetime.times(3).over(4));
        match dice.draw(6) {
            0 | 1 => What::For(span, Trouble::NameFails(Site::name(site))),
            2 => What::For(span, Trouble::PairRefused(Site::name(site))),
            3 => What::RevokeSite(site),
            _ => What::Damage {
                node,
                site,
                harm: dice.pick(&[Harm::KeySwapped, Harm::ChainCut, Harm::Removed]),
            },
        }
    }

    fn fault(&self, dice: &mut Dice) -> Fault {
        let life = self.lifetime;
        let node = usize::try_from(dice.draw(self.nodes as u64)).unwrap();
        let what = match dice.draw(20) {
            0..6 => {
                let span = dice.span(Span::minutes(2), life.times(3).over(4));
                let trouble = self.lasting(dice);
                // A store that answers with old values for longer is down.
                let most = if trouble == Trouble::StoreStale { STALE_MOST } else { Span::MAX };
                What::For(span.min(most), trouble)
            }
            6..12 => What::Next(1 + u32::try_from(dice.draw(5)).unwrap(), self.passing(dice)),
            12 => What::Clock {
                node,
                by: Span::hours(dice.pick(&[1, -1, 40, -40, 700, -700, 87_600, -87_600])),
                stays: dice.span(Span::minutes(5), life.over(4)),
            },
            13 => What::Suspend(dice.span(Span::minutes(10), life.times(5).over(4))),
            14 => What::Freeze { node, span: dice.span(Span::secs(90), life.over(2)) },
            15 => What::Crash { node, point: dice.draw(60) },
            16 => What::CrashAtStore { node, point: dice.draw(80) },
            17 | 18 => What::PowerCut { node, step: u32::try_from(dice.draw(160)).unwrap() },
            _ => What::Revoke,
        };
        Fault { at: self.date(dice), what }
    }

    /// Often near where a renewal is due if all went well before.
    pub fn date(&self, dice: &mut Dice) -> Span {
        let life = self.lifetime;
        let minutes = |dice: &mut Dice, span: Span| {
            Span::minutes(
                i64::try_from(dice.draw(u64::try_from(span.whole_secs() / 60 + 1).unwrap())).unwrap(),
            )
        };
        if dice.one_in(3) {
            return minutes(dice, life.times(i64::from(self.lives)));
        }
        let used = if life < Span::days(10) { life.over(2) } else { life.times(2).over(3) };
        let renewal = used.times(i64::try_from(dice.draw(u64::from(self.lives) + 1)).unwrap());
        let at = renewal - life.over(25) + minutes(dice, life.over(12));
        Span::minutes((at.whole_secs() / 60).max(0))
    }

    /// Troubles that last.
    fn lasting(&self, dice: &mut Dice) -> Trouble {
        loop {
            let trouble = match dice.draw(26) {
                0 | 1 => Trouble::CaDown,
                2 | 3 => Trouble::CaErrors,
                4 => Trouble::CaSlow(Span::secs(1 + i64::try_from(dice.draw(20)).unwrap())),
                5 => Trouble::RateLimit(dice.span(Span::minutes(1), self.lifetime.over(20))),
                6 => Trouble::Processing,
                7 => Trouble::AriNow,
                8 => Trouble::AriAbsurd,
                9 => Trouble::AriLate,
                10 => Trouble::AriWanders,
                11 => Trouble::NameFails(Site::name(0)),
                12 => Trouble::SolverFails,
                13 => Trouble::CleanUpFails,
                14 => Trouble::HookFails,
                15 => Trouble::ReloadLies,
                16 => Trouble::CheckRefusesNew,
                17 => Trouble::ServerDown,
                18 | 19 => Trouble::DiskFull,
                20 => Trouble::DiskReadOnly,
                21 => Trouble::ReplacesRefused,
                22 if self.shared => Trouble::StoreDown,
                23 if self.shared => Trouble::ClaimsIgnored,
                24 if self.shared => Trouble::StoreStale,
                _ => continue,
            };
            return trouble;
        }
    }

    /// Troubles that strike some times.
    fn passing(&self, dice: &mut Dice) -> Trouble {
        loop {
            let trouble = match dice.draw(18) {
                0 | 1 => Trouble::RequestLost,
                2 | 3 => Trouble::ReplyLost,
                4 => Trouble::ReplacesRefused,
                5 => Trouble::WrongLeaf,
                6 => Trouble::AriNow,
                7 => Trouble::HookFails,
                8 => Trouble::HookHangs,
                9 => Trouble::ReloadLies,
                10 => Trouble::CheckRefusesNew,
                11 => Trouble::CleanUpFails,
                12 => Trouble::CaErrors,
                13 if self.shared => Trouble::StoreConflict,
                14 if self.shared => Trouble::StoreUnheard,
                15 if self.shared => Trouble::StoreReplyLost,
                16 if self.shared => Trouble::StoreStale,
                _ => continue,
            };
            return trouble;
        }
    }
}
