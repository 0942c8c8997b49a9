//! A plot that breaks a law, made as small as it can be.

use nolapse::core::time::Span;

use crate::bug::Planted;
use crate::campaign::from_environment;
use crate::journal::Law;
use crate::life::live;
use crate::plot::{Fault, Plot, What};
use crate::script::Trouble;
use crate::site::Site;

/// Lives tried before the smallest one so far is good enough, where `NOLAPSE_SIM_TRIES` says nothing.
const TRIES_MAX: u64 = 400;

/// The smallest plot found that breaks the same law.
pub fn shrink(plot: &Plot, law: Law, bug: Option<Planted>) -> Plot {
    let mut smallest = plot.clone();
    let most = from_environment("NOLAPSE_SIM_TRIES", TRIES_MAX);
    let mut tries = 0;
    'again: loop {
        for smaller in candidates(&smallest) {
            if tries >= most {
                return smallest;
            }
            tries += 1;
            if live(&smaller, bug, false).broken.is_some_and(|breach| breach.law == law) {
                smallest = smaller;
                continue 'again;
            }
        }
        return smallest;
    }
}

/// Plots that are simpler by one thing, the most simplified first.
fn candidates(plot: &Plot) -> Vec<Plot> {
    let mut simpler = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plot)| {
        let mut changed = plot.clone();
        change(&mut changed);
        changed.keep_to_its_sites();
        if changed != *plot {
            simpler.push(changed);
        }
    };
    let half = plot.faults.len() / 2;
    with(&|plot| drop(plot.faults.drain(..half)));
    with(&|plot| plot.faults.truncate(half));
    for place in 0..plot.faults.len() {
        with(&|plot| drop(plot.faults.remove(place)));
    }
    with(&|plot| plot.agents = 1);
    with(&|plot| {
        plot.nodes = 1;
        plot.faults.iter_mut().for_each(|fault| *node_of(&mut fault.what, &mut 0) = 0);
    });
    with(&|plot| plot.shared &= plot.nodes > 1 || needs_shared(plot));
    with(&|plot| plot.others.clear());
    for place in 0..plot.others.len() {
        with(&|plot| {
            plot.others.remove(place);
        });
        with(&|plot| plot.others[place] = plot.lifetime);
    }
    with(&|plot| plot.lives = 1);
    with(&|plot| plot.lives -= u32::from(plot.lives > 1));
    for place in 0..plot.faults.len() {
        for fault in simpler_faults(&plot.faults[place]) {
            with(&|plot| plot.faults[place] = fault.clone());
        }
    }
    simpler
}

impl Plot {
    /// What struck a site that is there no more strikes the first one.
    fn keep_to_its_sites(&mut self) {
        let sites = self.sites();
        for fault in &mut self.faults {
            match &mut fault.what {
                What::Damage { site, .. } | What::RevokeSite(site) if *site >= sites => *site = 0,
                What::For(_, Trouble::NameFails(name) | Trouble::PairRefused(name))
                    if (0..sites).all(|place| Site::name(place) != *name) =>
                {
                    *name = Site::name(0);
                }
                _ => {}
            }
        }
    }
}

fn needs_shared(plot: &Plot) -> bool {
    plot.faults.iter().any(|fault| format!("{:?}", fault.what.trouble()).contains("Store"))
}

fn node_of<'a>(what: &'a mut What, none: &'a mut usize) -> &'a mut usize {
    match what {
        What::Clock { node, .. }
        | What::Freeze { node, .. }
        | What::Crash { node, .. }
        | What::CrashAtStore { node, .. }
        | What::PowerCut { node, .. }
        | What::Damage { node, .. } => node,
        _ => none,
    }
}

fn simpler_faults(fault: &Fault) -> Vec<Fault> {
    let mut simpler = Vec::new();
    let at = fault.at;
    let shorter = |span: Span| {
        let rounded = [Span::DAY, Span::HOUR, Span::minutes(10)];
        let rounded = rounded.map(|unit| unit.times(span.millis() / unit.millis()));
        [span.over(2), span.times(3).over(4)]
            .map(|span| Span::minutes(span.whole_secs() / 60))
            .into_iter()
            .chain(rounded)
            .filter(move |shorter| *shorter < span && *shorter >= Span::MINUTE)
            .collect::<Vec<_>>()
    };
    match &fault.what {
        What::For(span, trouble) => {
            simpler.extend(shorter(*span).into_iter().map(|span| What::For(span, trouble.clone())));
        }
        What::Next(times, trouble) if *times > 1 => simpler.push(What::Next(times - 1, trouble.clone())),
        What::Clock { node, by, stays } => simpler
            .extend(shorter(*stays).into_iter().map(|stays| What::Clock { node: *node, by: *by, stays })),
        What::Suspend(span) => simpler.extend(shorter(*span).into_iter().map(What::Suspend)),
        What::Freeze { node, span } => {
            simpler.extend(shorter(*span).into_iter().map(|span| What::Freeze { node: *node, span }));
        }
        _ => {}
    }
    let mut simpler: Vec<_> = simpler.into_iter().map(|what| Fault { at, what }).collect();
    let earlier = [Span::ZERO, Span::days(at.whole_secs() / 86_400), Span::hours(at.whole_secs() / 3600)];
    let earlier = earlier.into_iter().filter(|earlier| *earlier < at);
    simpler.extend(earlier.map(|at| Fault { at, what: fault.what.clone() }));
    simpler
}
