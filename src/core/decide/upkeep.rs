//! This node's upkeep: clean up, install, tell, look. The first that is due is the verdict.

use super::need::abandoned;
use super::{Judge, STEPPED_BACK, from_the_future};
use crate::core::endpoint::Endpoint;
use crate::core::name::HookId;
use crate::core::plan::{Chain, Reason, Upkeep};
use crate::core::record::{GenerationNumber, HeldBack, HookNote, Issued, Sight};
use crate::core::situation::{Placement, awaiting, may_wait, outputs_held, pinned, target};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};
use crate::core::window::last_resort;

/// Longest wait between two tries of a debt or a hook.
const TRY_AT_LEAST: Span = Span::HOUR;

/// Age from which a generation that no hook was told about was not issued just now.
const LONG_AGO: Span = Span::minutes(10);

impl Judge<'_> {
    pub(super) fn upkeep(&mut self) -> Upkeep {
        let s = self.s;
        let gone = abandoned(s.record, s.spec, s.now);
        let due = gone || s.record.debts.iter().any(|debt| tried_again(debt.next_at, s.now));
        self.note(Chain::Deploy, "answers to clean up?", || match s.record.debts.len() {
            _ if gone => "those of an attempt that is given up, now".into(),
            0 => "none".into(),
            n => format!("{n}, {}", if due { "now" } else { "later" }),
        });
        if due {
            return Upkeep::CleanUp;
        }
        for debt in &s.record.debts {
            self.wake(debt.next_at);
        }
        if let Some(attempt) = &s.record.attempt {
            self.wake(attempt.deadline);
        }
        let (Some(spec), Some(target)) = (s.spec, target(s.record, s.installed, s.now)) else {
            return Upkeep::Hold;
        };
        if let Some(refused) = &s.installed.refused {
            self.wake(refused.until);
            for issued in [&s.record.current, &s.record.previous].into_iter().flatten() {
                self.wake(last_resort(&issued.leaf));
            }
        }
        if let Some(pin) = &s.record.pin {
            let Some(pinned) = pinned(s.record, s.now).filter(|_| s.generation_kept) else {
                self.note(Chain::Deploy, "pinned?", || format!("gen {} is of no more use", pin.generation));
                return Upkeep::Unpin { generation: pin.generation };
            };
            self.wake(last_resort(&pinned.leaf));
            self.note(Chain::Deploy, "pinned?", || format!("to gen {}, by hand", pin.generation));
        }
        let mut target = target;
        if let Some(awaiting) = awaiting(Some(spec), s.record, s.installed, s.disk, s.now)
            && !s.request.hurry
        {
            self.note(Chain::Deploy, "deploy window open?", || {
                format!("no: gen {} waits until {}", target.number, awaiting.until.brief())
            });
            self.wake(awaiting.until);
            target = awaiting.shown;
        }
        let number = target.number;
        if s.generation_kept
            && let Some(install) = self.install(spec, target)
        {
            return install;
        }
        let shown = s.disk.live == Placement::Shows(number);
        if shown || matches!(s.disk.live, Placement::Foreign(_)) {
            if shown && let Some(notify) = self.notify(spec, target) {
                return notify;
            }
            if let Some(observe) = self.look(spec, number) {
                return observe;
            }
        }
        Upkeep::Hold
    }

    fn install(&mut self, spec: &LineageSpec, target: &Issued) -> Option<Upkeep> {
        let s = self.s;
        let number = target.number;
        let verdict = |why| Some(Upkeep::Install { generation: number, why });
        let live = match &s.disk.live {
            Placement::Shows(n) if *n == number => None,
            Placement::Shows(n) if *n > number => verdict(Reason::RolledBack),
            Placement::Shows(_) => verdict(Reason::NewGeneration),
            Placement::Missing | Placement::Placeholder(_) => verdict(Reason::NeverInstalled),
            Placement::Drifted(_) => verdict(Reason::Drift),
            Placement::Foreign(_) if s.request.take_back => verdict(Reason::TakenBack),
            Placement::Foreign(_) => None,
        };
        self.note(Chain::Deploy, "installed?", || match &s.disk.live {
            Placement::Shows(n) => format!("gen {n}"),
            Placement::Missing => "no".into(),
            Placement::Placeholder(_) => "a placeholder".into(),
            Placement::Drifted(what) => format!("changed: {what}"),
            Placement::Foreign(leaf) => format!("a foreign pair, {}", leaf.fingerprint.short()),
        });
        if matches!(live, Some(Upkeep::Install { why: Reason::NewGeneration, .. }))
            && let Some(held) = self.held_back(number)
        {
            let (by, until) = (held.by.clone(), held.until);
            self.note(Chain::Deploy, "held back?", || {
                format!("{by} went ahead and is not seen to work; until {}", until.brief())
            });
            self.wake(until);
            return None;
        }
        if live.is_some() {
            return live;
        }
        // One foreign file holds them all back: half of its pair replaced would be worse.
        if outputs_held(s.disk, s.request) {
            self.note(Chain::Deploy, "outputs?", || "a foreign certificate is kept".into());
            return None;
        }
        for (output, (_, placement)) in spec.outputs.iter().zip(&s.disk.outputs) {
            if *placement != Placement::Shows(number) {
                self.note(Chain::Deploy, "outputs?", || format!("{} is not as it should be", output.path));
                return verdict(Reason::Drift);
            }
        }
        None
    }

    /// Another of the same service went ahead with its new generation, and this one waits; not for
    /// a person, and not near the end of what is shown.
    fn held_back(&self, number: GenerationNumber) -> Option<&HeldBack> {
        let s = self.s;
        let held = s.installed.held_back.as_ref()?;
        let waits = held.generation == number && s.now < held.until && !from_the_future(held.at, s.now);
        (waits && !s.request.hurry && may_wait(s.record, s.disk, s.now)).then_some(held)
    }

    fn notify(&mut self, spec: &LineageSpec, target: &Issued) -> Option<Upkeep> {
        let s = self.s;
        let number = target.number;
        for hook in &spec.hooks {
            let note = s.installed.hooks.get(hook);
            if note.is_some_and(|note| note.done >= number) {
                self.note(Chain::Deploy, "reload owed?", || format!("{hook}: done for gen {number}"));
                continue;
            }
            let done = |hook: &HookId| s.installed.hooks.get(hook).is_some_and(|note| note.done >= number);
            let first = spec.after.iter().find(|(later, first)| later == hook && !done(first));
            if let Some((_, first)) = first.filter(|_| s.request.skip.as_ref() != Some(hook)) {
                self.note(Chain::Deploy, "reload owed?", || format!("{hook}: yes, after {first}"));
                continue;
            }
            if s.request.skip.as_ref() == Some(hook) {
                return Some(Upkeep::Settle { hook: hook.clone(), generation: number });
            }
            // Added later, or our note was lost: what is served tells whether it owes.
            let never_told = note.is_none_or(|note| note.done == 0 && note.failures == 0);
            let of_old = note.is_none() || s.now.since(target.at) > LONG_AGO;
            if never_told && of_old && !spec.endpoints.is_empty() {
                let seen = |endpoint: &Endpoint| {
                    s.installed.endpoints.get(endpoint).filter(|note| note.generation == number)
                };
                if note.is_none()
                    && spec.endpoints.iter().all(|e| seen(e).is_some_and(|n| n.sight == Sight::New))
                {
                    return Some(Upkeep::Settle { hook: hook.clone(), generation: number });
                }
                let unseen: Vec<_> = spec.endpoints.iter().filter(|e| seen(e).is_none()).cloned().collect();
                if !unseen.is_empty() {
                    return Some(Upkeep::Observe { generation: number, endpoints: unseen });
                }
                if !s.request.take_back
                    && let Some(endpoint) = self.outlived(spec, target)
                {
                    self.note(Chain::Deploy, "reload owed?", || {
                        format!("{hook}: held, {endpoint} serves a younger certificate of the same CA")
                    });
                    continue;
                }
            }
            let waits = note.and_then(|note| note.next_at).filter(|at| !tried_again(*at, s.now));
            let waits = waits.or_else(|| note.and_then(|note| self.retried_at(spec, target, note)));
            let Some(at) = waits else {
                self.note(Chain::Deploy, "reload owed?", || format!("{hook}: yes, now"));
                return Some(Upkeep::Notify { hook: hook.clone(), generation: number });
            };
            self.note(Chain::Deploy, "reload owed?", || format!("{hook}: yes, next try {}", at.brief()));
            self.wake(at);
        }
        None
    }

    /// A reload that failed in its deploy window is tried again in the next, unless what servers
    /// still have nears its end.
    fn retried_at(&self, spec: &LineageSpec, target: &Issued, note: &HookNote) -> Option<Timestamp> {
        let s = self.s;
        let window = spec.deploy_window.as_ref().filter(|window| !window.is_open(s.now))?;
        let previous = s.record.kept().find(|issued| issued.number < target.number)?;
        let current = s.record.current.as_ref().is_some_and(|current| current.number == target.number);
        let urgent = s.request.hurry || s.now >= last_resort(&previous.leaf);
        if note.failures == 0 || !current || urgent {
            return None;
        }
        window.next_opening(s.now).map(|opening| opening.min(last_resort(&previous.leaf)))
    }

    /// An endpoint that serves a certificate which the same CA issued for these names after ours:
    /// our state is older than what it tells about (F60), and a reload would be a step back. A
    /// certificate of another CA is what a reload is to replace, however long it lives.
    fn outlived<'a>(&self, spec: &'a LineageSpec, target: &Issued) -> Option<&'a Endpoint> {
        spec.endpoints.iter().find(|endpoint| {
            let note = self.s.installed.endpoints.get(*endpoint);
            note.filter(|note| note.generation == target.number && note.sight == Sight::OtherValid)
                .and_then(|note| note.leaf.as_ref())
                .is_some_and(|leaf| {
                    leaf.issuer == target.leaf.issuer
                        && leaf.not_before > target.leaf.not_before
                        && leaf.not_after > target.leaf.not_after
                        && leaf.valid_at(self.s.now)
                        && leaf.covers_all(&target.names)
                })
        })
    }

    fn look(&mut self, spec: &LineageSpec, number: GenerationNumber) -> Option<Upkeep> {
        let s = self.s;
        let mut due = Vec::new();
        for endpoint in &spec.endpoints {
            match s.installed.endpoints.get(endpoint) {
                Some(note) if note.generation == number => {
                    let again = note.next_at <= s.now || from_the_future(note.at, s.now);
                    self.note(Chain::Deploy, "observed?", || {
                        format!("{endpoint} {} {}", note.told(), note.at.brief())
                    });
                    if again {
                        due.push(endpoint.clone());
                    } else {
                        self.wake(note.next_at);
                    }
                }
                _ => {
                    self.note(Chain::Deploy, "observed?", || format!("{endpoint} not yet"));
                    due.push(endpoint.clone());
                }
            }
        }
        if spec.endpoints.is_empty() {
            self.note(Chain::Deploy, "observed?", || "no endpoints are configured: unverified".into());
        }
        (!due.is_empty()).then_some(Upkeep::Observe { generation: number, endpoints: due })
    }
}

/// Whether a date for the next try has come, or lies too far ahead for the clock that is right
/// now to have set it.
pub fn tried_again(next_at: Timestamp, now: Timestamp) -> bool {
    next_at <= now || next_at.since(now) > TRY_AT_LEAST + STEPPED_BACK
}
