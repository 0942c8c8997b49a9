//! A whole life as data: who is in it, how long it is, and everything that goes wrong. It can be
//! drawn from a seed, made smaller, and written down as a row of a table.

use std::fmt;

use nolapse::core::time::Span;

use crate::script::Trouble;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Latencies, what survives a power cut, and when hosts sleep.
    pub seed: u64,
    /// Of the certificates that the CA issues for the first site.
    pub lifetime: Span,
    /// The same of each other site; empty: there is one certificate.
    pub others: Vec<Span>,
    pub nodes: usize,
    /// Agents on each host, racing each other.
    pub agents: usize,
    /// The nodes share a made-up store; else there is one node with its directory.
    pub shared: bool,
    /// How long it lasts, in lifetimes.
    pub lives: u32,
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong, counted from the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: Span,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    For(Span, Trouble),
    /// The next so many occasions within a lifetime.
    Next(u32, Trouble),
    /// A host's clock is off by `by`, and is put right after `stays`.
    Clock {
        node: usize,
        by: Span,
        stays: Span,
    },
    /// All hosts sleep.
    Suspend(Span),
    /// One host sleeps.
    Freeze {
        node: usize,
        span: Span,
    },
    /// The agents of a host die at its `point`th call to the outside from then on.
    Crash {
        node: usize,
        point: u64,
    },
    /// The same, counted in calls of the store.
    CrashAtStore {
        node: usize,
        point: u64,
    },
    /// The power of a host goes at its `step`th step of the disk from then on.
    PowerCut {
        node: usize,
        step: u32,
    },
    /// All certificates so far are revoked.
    Revoke,
    /// Those of one site are.
    RevokeSite(usize),
    /// Somebody writes to the files of one site on one host.
    Damage {
        node: usize,
        site: usize,
        harm: Harm,
    },
}

/// What becomes of files that servers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The key is that of another site, or nobody's.
    KeySwapped,
    /// The chain is cut off in the middle.
    ChainCut,
    /// All of `live/NAME` is gone.
    Removed,
}

impl Plot {
    /// Of each site, the first one's first.
    pub fn lifetimes(&self) -> impl Iterator<Item = Span> + '_ {
        std::iter::once(self.lifetime).chain(self.others.iter().copied())
    }

    pub fn sites(&self) -> usize {
        1 + self.others.len()
    }

    /// When the last fault has ended, or the last life.
    pub fn end(&self) -> Span {
        let lives = self.lifetime.times(i64::from(self.lives));
        self.faults.iter().map(|fault| fault.end(self.lifetime)).fold(lives, Span::max)
    }

    /// How much later than usual things may settle, by rules that are the CA's or protect it.
    pub fn aftermath(&self) -> Span {
        let of = |fault: &Fault| fault.what.trouble().map_or(Span::ZERO, Trouble::aftermath);
        let revoked = |fault: &Fault| matches!(fault.what, What::Revoke | What::RevokeSite(_));
        let longest = self.lifetimes().fold(Span::ZERO, Span::max);
        let revoked = self.faults.iter().any(revoked);
        let revoked = if revoked { longest.over(10) + Span::hours(7) } else { Span::ZERO };
        self.faults.iter().map(of).fold(Span::ZERO, Span::max) + revoked
    }

    /// Nothing in it costs an order, so that there is one for each renewal.
    pub fn modest(&self) -> bool {
        self.agents == 1
            && self.faults.iter().all(|fault| match &fault.what {
                What::For(_, trouble) | What::Next(_, trouble) => !trouble.costs_orders(),
                What::Suspend(_) | What::Damage { .. } => true,
                _ => false,
            })
    }

    /// Certificates of one site beside those that its lifetime asks for.
    pub fn extras(&self, lifetime: Span) -> i64 {
        let per_span = |span: Span| 2 + span.times(10).millis() / lifetime.millis();
        self.faults
            .iter()
            .map(|fault| match &fault.what {
                What::For(span, Trouble::AriNow) => per_span(*span),
                What::Next(times, Trouble::AriNow | Trouble::WrongLeaf) => i64::from(*times),
                // One when it is set, and one when it is put right.
                What::Clock { .. } => 2,
                What::Revoke | What::RevokeSite(_) => 1,
                _ => 0,
            })
            .sum()
    }
}

impl Fault {
    pub fn end(&self, lifetime: Span) -> Span {
        self.at
            + match &self.what {
                What::For(span, _) | What::Suspend(span) | What::Freeze { span, .. } => *span,
                What::Clock { stays, .. } => *stays,
                What::Next(..) => lifetime,
                _ => Span::ZERO,
            }
    }
}

impl What {
    pub const fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::For(_, trouble) | Self::Next(_, trouble) => Some(trouble),
            _ => None,
        }
    }

    /// The word to count it by.
    pub const fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::For(..) | Self::Next(..) => return None,
            Self::Clock { .. } => "ClockSet",
            Self::Suspend(_) => "Suspend",
            Self::Freeze { .. } => "Freeze",
            Self::Crash { .. } | Self::CrashAtStore { .. } => "Crash",
            Self::PowerCut { .. } => "PowerCut",
            Self::Revoke => "Revoke",
            Self::RevokeSite(_) => "RevokeSite",
            Self::Damage { .. } => "Damage",
        })
    }
}

/// As a row of the table of kept plots: Rust, to be copied.
impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, agents, shared, lives, .. } = self;
        writeln!(f, "Plot {{")?;
        writeln!(f, "    seed: {seed},")?;
        writeln!(f, "    lifetime: {},", span(self.lifetime))?;
        let others: Vec<_> = self.others.iter().copied().map(span).collect();
        writeln!(f, "    others: vec![{}],", others.join(", "))?;
        writeln!(f, "    nodes: {nodes},")?;
        writeln!(f, "    agents: {agents},")?;
        writeln!(f, "    shared: {shared},")?;
        writeln!(f, "    lives: {lives},")?;
        writeln!(f, "    faults: vec![")?;
        for Fault { at, what } in &self.faults {
            writeln!(f, "        Fault {{ at: {}, what: {} }},", span(*at), words(what))?;
        }
        write!(f, "    ],\n}}")
    }
}

fn words(what: &What) -> String {
    match what {
        What::For(length, trouble) => format!("For({}, {})", span(*length), of(trouble)),
        What::Next(times, trouble) => format!("Next({times}, {})", of(trouble)),
        What::Clock { node, by, stays } => {
            format!("Clock {{ node: {node}, by: {}, stays: {} }}", span(*by), span(*stays))
        }
        What::Suspend(length) => format!("Suspend({})", span(*length)),
        What::Freeze { node, span: length } => format!("Freeze {{ node: {node}, span: {} }}", span(*length)),
        other => format!("{other:?}"),
    }
}

fn of(trouble: &Trouble) -> String {
    match trouble {
        Trouble::CaSlow(length) => format!("CaSlow({})", span(*length)),
        Trouble::RateLimit(length) => format!("RateLimit({})", span(*length)),
        Trouble::NameFails(name) => format!("NameFails(name({:?}))", name.to_string()),
        Trouble::PairRefused(name) => format!("PairRefused(name({:?}))", name.to_string()),
        other => format!("{other:?}"),
    }
}

fn span(span: Span) -> String {
    let secs = span.whole_secs();
    match secs {
        _ if span.millis() % 1000 != 0 => format!("Span::from_millis({})", span.millis()),
        _ if secs % 86_400 == 0 => format!("Span::days({})", secs / 86_400),
        _ if secs % 3600 == 0 => format!("Span::hours({})", secs / 3600),
        _ if secs % 60 == 0 => format!("Span::minutes({})", secs / 60),
        _ => format!("Span::secs({secs})"),
    }
}
