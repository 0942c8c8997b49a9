//! What one lineage needs now: three chains of named checks over a gathered situation. In each
//! chain the first check that has something to say decides. Nothing here asks, sleeps or draws.
//!
//! - *Deploy*: this node's upkeep. Local, cheap, never held back by a claim.
//! - *Need*: does the fleet need a certificate?
//! - *Permit*: asked only when there is a need: may we ask for it now?

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::endpoint::Endpoint;
use super::failure::{Backoff, Class};
use super::leaf::Leaf;
use super::name::{HookId, SubjectName};
use super::record::{GenerationNumber, Installed, Issued, LineageRecord, Sight, Trouble};
use super::spec::LineageSpec;
use super::time::{Span, Timestamp};
use super::window::{RenewalPoint, RenewalWindow, Source, last_resort};

/// Everything a decision may rest on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub now: Timestamp,
    /// `None`: the lineage left the configuration, or its entry is broken.
    pub spec: Option<&'a LineageSpec>,
    pub record: &'a LineageRecord,
    pub installed: &'a Installed,
    pub disk: &'a OnDisk,
    pub request: &'a Request,
    /// The current generation's bytes are in the store and whole.
    pub generation_kept: bool,
    /// Whether the CA offers renewal information, as far as known.
    pub ari: bool,
}

/// What somebody asks for by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Our own waits don't count; the CA's do.
    pub by_hand: bool,
    /// Renew although nothing is due.
    pub force: bool,
    /// What waits for its next try is tried now: the shell clears the waits, once.
    pub hurry: bool,
    /// Put our generation back over a foreign pair.
    pub take_back: bool,
    /// Regard this hook as done.
    pub skip: Option<HookId>,
    /// Issue nothing: upkeep only.
    pub upkeep_only: bool,
}

/// What lies at the places this lineage is shown, read afresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDisk {
    pub live: Placement,
    /// In the order of the spec's outputs.
    pub outputs: Vec<(PathBuf, Placement)>,
    /// Generations with a directory of their own.
    pub kept: BTreeSet<GenerationNumber>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    Missing,
    /// This generation, whole, with the right modes and owners.
    Shows(GenerationNumber),
    /// This generation or something unusable, changed by somebody; what differs.
    Drifted(String),
    /// A self-signed pair that only lets a server start; until when.
    Placeholder(Timestamp),
    /// A valid pair that is not ours.
    Foreign(Box<Leaf>),
}

/// The two verdicts and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub upkeep: Upkeep,
    pub issuance: Issuance,
    /// Later than now.
    pub wake_at: Timestamp,
}

/// What this node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkeep {
    Hold,
    CleanUp,
    Install {
        generation: GenerationNumber,
        why: Reason,
    },
    /// The hook's success is already seen, or its debt was waived.
    Settle {
        hook: HookId,
        generation: GenerationNumber,
    },
    Notify {
        hook: HookId,
        generation: GenerationNumber,
    },
    Observe {
        generation: GenerationNumber,
        endpoints: Vec<Endpoint>,
    },
}

/// What is asked of the CA next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuance {
    Hold(Reason),
    /// Ask for renewal information.
    Refresh,
    Issue {
        names: Vec<SubjectName>,
        why: Reason,
    },
    Renew {
        names: Vec<SubjectName>,
        why: Reason,
    },
    Resume,
    /// Needed, but not now.
    Suspend {
        need: Reason,
        why: Reason,
        until: Timestamp,
    },
    /// Needed, not now; a free look could end the wait.
    Probe {
        need: Reason,
    },
}

/// Stable codes that operators can search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    NotDue,
    Retired,
    NeverIssued,
    NamesChanged,
    KeyKindChanged,
    IssuerChanged,
    ProfileChanged,
    GenerationLost,
    Revoked,
    Forced,
    LastResort,
    AriWindow,
    LifetimeWindow,
    OldNamesKept,
    AttemptOpen,
    NeverInstalled,
    NewGeneration,
    Drift,
    TakenBack,
    RolledBack,
    Paused,
    CaLimit,
    ValidationCap,
    BackingOff,
    TooSoon,
    UpkeepOnly,
}

impl Reason {
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotDue => "not-due",
            Self::Retired => "retired",
            Self::NeverIssued => "never-issued",
            Self::NamesChanged => "names-changed",
            Self::KeyKindChanged => "key-kind-changed",
            Self::IssuerChanged => "issuer-changed",
            Self::ProfileChanged => "profile-changed",
            Self::GenerationLost => "generation-lost",
            Self::Revoked => "revoked",
            Self::Forced => "forced",
            Self::LastResort => "last-resort",
            Self::AriWindow => "ari-window",
            Self::LifetimeWindow => "lifetime-window",
            Self::OldNamesKept => "old-names-kept",
            Self::AttemptOpen => "attempt-open",
            Self::NeverInstalled => "never-installed",
            Self::NewGeneration => "new-generation",
            Self::Drift => "drift",
            Self::TakenBack => "taken-back",
            Self::RolledBack => "rolled-back",
            Self::Paused => "paused",
            Self::CaLimit => "ca-limit",
            Self::ValidationCap => "validation-cap",
            Self::BackingOff => "backing-off",
            Self::TooSoon => "too-soon",
            Self::UpkeepOnly => "upkeep-only",
        }
    }

    /// The spec asks for another certificate than the one there is.
    const fn is_changed_spec(self) -> bool {
        matches!(self, Self::NamesChanged | Self::KeyKindChanged | Self::IssuerChanged | Self::ProfileChanged)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Issuance {
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Refresh => "refresh",
            Self::Issue { .. } => "issue",
            Self::Renew { .. } => "renew",
            Self::Resume => "resume",
            Self::Suspend { .. } => "suspend",
            Self::Probe { .. } => "probe",
        }
    }
}

impl Upkeep {
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::CleanUp => "clean-up",
            Self::Install { .. } => "install",
            Self::Settle { .. } => "settle",
            Self::Notify { .. } => "notify",
            Self::Observe { .. } => "observe",
        }
    }
}

/// One question that was asked, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub chain: Chain,
    pub question: &'static str,
    pub answer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    Deploy,
    Need,
    Permit,
}

/// Longest time without a look, whatever the dates say.
const LOOK_AT_LEAST: Span = Span::DAY;
/// How often a failing lineage gets a free look.
const PROBE_EVERY: Span = Span::minutes(30);
/// Least time between attempts that a free look pulled forward, after one that reached
/// validation: ten a day.
const PULL_AFTER_VALIDATION: Span = Span::minutes(144);
/// Failed validations that one name may have in a day, far from where CAs pause a name.
pub const VALIDATIONS_PER_DAY: usize = 10;
/// Longest wait at last resort, before the lifetime's scale.
const LAST_RESORT_WAIT: Span = Span::HOUR;

/// The plan for a situation.
pub fn decide(situation: &Situation<'_>) -> Plan {
    Judge { s: situation, wake_at: situation.now + LOOK_AT_LEAST, checks: None }.plan().0
}

/// The plan, and every question on the way to it.
pub fn explain(situation: &Situation<'_>) -> (Plan, Vec<Check>) {
    Judge { s: situation, wake_at: situation.now + LOOK_AT_LEAST, checks: Some(Vec::new()) }.plan()
}

/// The generation this node should show: the current one, unless it proved bad here.
pub fn target<'a>(record: &'a LineageRecord, installed: &Installed, now: Timestamp) -> Option<&'a Issued> {
    let current = record.current.as_ref()?;
    match &installed.refused {
        Some(refused)
            if refused.generation == current.number
                && now < refused.until
                && now < last_resort(&current.leaf) =>
        {
            record.issued(refused.returned_to).or(Some(current))
        }
        _ => Some(current),
    }
}

/// Whether somebody else's valid and newer certificate at an output keeps ours away.
pub fn outputs_held(disk: &OnDisk, request: &Request) -> bool {
    !request.take_back && disk.outputs.iter().any(|(_, p)| matches!(p, Placement::Foreign(_)))
}

/// Whether going back to this generation is better than keeping a bad new one: not revoked and
/// with more than 1/6 of its life left.
pub fn worth_returning_to(issued: &Issued, now: Timestamp) -> bool {
    !issued.revoked && issued.leaf.valid_at(now) && issued.leaf.left(now) > issued.leaf.lifetime().over(6)
}

/// The instant to renew: the stored choice while its window stands, else a new one.
pub fn renewal_point(record: &LineageRecord) -> Option<RenewalPoint> {
    let leaf = record.leaf()?;
    let suggested = record
        .reading
        .as_ref()
        .filter(|reading| Some(&reading.ari_id) == leaf.ari_id.as_ref())
        .and_then(|reading| reading.window)
        .and_then(|window| RenewalWindow::by_ari(leaf, window));
    let window = suggested.unwrap_or_else(|| RenewalWindow::by_lifetime(leaf));
    match record.point {
        Some(point) if point.window == window => Some(point),
        _ => Some(window.point(leaf)),
    }
}

/// The wait arithmetic for this lineage.
pub fn backoff(record: &LineageRecord) -> Backoff {
    Backoff { lifetime: record.leaf().map_or(Span::days(90), Leaf::lifetime) }
}

struct Judge<'a> {
    s: &'a Situation<'a>,
    wake_at: Timestamp,
    checks: Option<Vec<Check>>,
}

impl Judge<'_> {
    fn plan(mut self) -> (Plan, Vec<Check>) {
        let upkeep = self.upkeep();
        let issuance = self.issuance();
        // Something is to be done at once: the caller acts and decides again.
        let wake_at = self.wake_at.max(self.s.now + Span::from_millis(1));
        (Plan { upkeep, issuance, wake_at }, self.checks.unwrap_or_default())
    }

    fn note(&mut self, chain: Chain, question: &'static str, answer: impl FnOnce() -> String) {
        if let Some(checks) = &mut self.checks {
            checks.push(Check { chain, question, answer: answer() });
        }
    }

    fn wake(&mut self, at: Timestamp) {
        if at > self.s.now {
            self.wake_at = self.wake_at.min(at);
        }
    }

    fn upkeep(&mut self) -> Upkeep {
        let s = self.s;
        let due = s.record.debts.iter().any(|debt| debt.next_at <= s.now);
        self.note(Chain::Deploy, "answers to clean up?", || match s.record.debts.len() {
            0 => "none".into(),
            n => format!("{n}, {}", if due { "now" } else { "later" }),
        });
        if due {
            return Upkeep::CleanUp;
        }
        for debt in &s.record.debts {
            self.wake(debt.next_at);
        }
        let (Some(spec), Some(target)) = (s.spec, target(s.record, s.installed, s.now)) else {
            return Upkeep::Hold;
        };
        if let Some(refused) = &s.installed.refused {
            self.wake(refused.until);
        }
        let number = target.number;
        if s.generation_kept
            && let Some(install) = self.install(spec, target)
        {
            return install;
        }
        let shown = s.disk.live == Placement::Shows(number);
        if shown || matches!(s.disk.live, Placement::Foreign(_)) {
            if shown && let Some(notify) = self.notify(spec, number) {
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

    fn notify(&mut self, spec: &LineageSpec, number: GenerationNumber) -> Option<Upkeep> {
        let s = self.s;
        for hook in &spec.hooks {
            let note = s.installed.hooks.get(hook);
            if note.is_some_and(|note| note.done >= number) {
                self.note(Chain::Deploy, "reload owed?", || format!("{hook}: done for gen {number}"));
                continue;
            }
            if s.request.skip.as_ref() == Some(hook) {
                return Some(Upkeep::Settle { hook: hook.clone(), generation: number });
            }
            if note.is_none() && !spec.endpoints.is_empty() {
                // Added later, or our note was lost: what is served tells whether it owes.
                let seen = |endpoint: &Endpoint| {
                    s.installed.endpoints.get(endpoint).filter(|note| note.generation == number)
                };
                if spec.endpoints.iter().all(|e| seen(e).is_some_and(|n| n.sight == Sight::New)) {
                    return Some(Upkeep::Settle { hook: hook.clone(), generation: number });
                }
                let unseen: Vec<_> = spec.endpoints.iter().filter(|e| seen(e).is_none()).cloned().collect();
                if !unseen.is_empty() {
                    return Some(Upkeep::Observe { generation: number, endpoints: unseen });
                }
            }
            match note.and_then(|note| note.next_at).filter(|at| *at > s.now) {
                Some(at) => {
                    self.note(Chain::Deploy, "reload owed?", || {
                        format!("{hook}: yes, next try {}", at.brief())
                    });
                    self.wake(at);
                }
                None => {
                    self.note(Chain::Deploy, "reload owed?", || format!("{hook}: yes, now"));
                    return Some(Upkeep::Notify { hook: hook.clone(), generation: number });
                }
            }
        }
        None
    }

    fn look(&mut self, spec: &LineageSpec, number: GenerationNumber) -> Option<Upkeep> {
        let s = self.s;
        let mut due = Vec::new();
        for endpoint in &spec.endpoints {
            match s.installed.endpoints.get(endpoint) {
                Some(note) if note.generation == number => {
                    let again = note.next_at <= s.now;
                    self.note(Chain::Deploy, "observed?", || {
                        format!("{endpoint} {} {}", note.sight.word(), note.at.brief())
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

    fn issuance(&mut self) -> Issuance {
        let s = self.s;
        let Some(spec) = s.spec else {
            self.note(Chain::Need, "in the configuration?", || "no: kept, not renewed".into());
            return Issuance::Hold(Reason::Retired);
        };
        let Some((need, names)) = self.need(spec) else {
            return Issuance::Hold(Reason::NotDue);
        };
        if s.request.upkeep_only {
            return Issuance::Hold(Reason::UpkeepOnly);
        }
        let Need::Certificate(need) = need else {
            return Issuance::Refresh;
        };
        if let Some(held) = self.permit(spec, need, &names) {
            return held;
        }
        match need {
            Reason::AttemptOpen => Issuance::Resume,
            Reason::NeverIssued => Issuance::Issue { names, why: need },
            _ => Issuance::Renew { names, why: need },
        }
    }

    fn need(&mut self, spec: &LineageSpec) -> Option<(Need, Vec<SubjectName>)> {
        let s = self.s;
        let certificate = |why, names: &[SubjectName]| Some((Need::Certificate(why), names.to_vec()));
        if let Some(attempt) = &s.record.attempt {
            let wanted = (spec.same_names(&attempt.names)
                || s.record.current.as_ref().is_some_and(|c| c.names == attempt.names))
                && spec.issuers.contains(&attempt.issuer)
                && spec.key == attempt.key_kind
                && s.now < attempt.deadline;
            self.note(Chain::Need, "attempt open?", || {
                format!(
                    "{:?} since {}{}",
                    attempt.phase,
                    attempt.started.brief(),
                    if wanted { "" } else { ", no longer wanted" }
                )
            });
            if wanted {
                return certificate(Reason::AttemptOpen, &attempt.names);
            }
        }
        let Some(current) = &s.record.current else {
            self.note(Chain::Need, "issued?", || "never".into());
            return certificate(Reason::NeverIssued, &spec.names);
        };
        let leaf = &current.leaf;
        if let Some(changed) = self.changed(spec, current) {
            let failing = s.record.trouble.as_ref().is_some_and(|t| spec.same_names(&t.names));
            if changed == Reason::NamesChanged && failing && s.now >= last_resort(leaf) {
                self.note(Chain::Need, "renew the old names?", || {
                    "yes: the changed set keeps failing and expiry is near".into()
                });
                return certificate(Reason::OldNamesKept, &current.names);
            }
            if changed == Reason::NamesChanged {
                self.wake(last_resort(leaf));
            }
            return certificate(changed, &spec.names);
        }
        if !s.generation_kept {
            self.note(Chain::Need, "key and certificate kept?", || "no: lost or damaged".into());
            return certificate(Reason::GenerationLost, &spec.names);
        }
        if current.revoked {
            return certificate(Reason::Revoked, &spec.names);
        }
        self.note(Chain::Need, "forced?", || yes(s.request.force));
        if s.request.force {
            return certificate(Reason::Forced, &spec.names);
        }
        let end = last_resort(leaf);
        self.note(Chain::Need, "last resort?", || format!("{}, from {}", yes(s.now >= end), end.brief()));
        if s.now >= end {
            return certificate(Reason::LastResort, &spec.names);
        }
        self.wake(end);
        if s.ari && leaf.ari_id.is_some() {
            let reading = s.record.reading.as_ref().filter(|r| Some(&r.ari_id) == leaf.ari_id.as_ref());
            match reading {
                Some(reading) if reading.next_at > s.now => self.wake(reading.next_at),
                _ => {
                    self.note(Chain::Need, "renewal information?", || "to be read now".into());
                    return Some((Need::Reading, Vec::new()));
                }
            }
            self.note(Chain::Need, "renewal information?", || match reading {
                Some(r) => match r.window {
                    Some(w) => format!(
                        "{} to {} (read {}{})",
                        w.start.brief(),
                        w.end.brief(),
                        r.at.brief(),
                        r.explanation.as_ref().map(|url| format!(", {url}")).unwrap_or_default()
                    ),
                    None => format!("no usable answer {}", r.at.brief()),
                },
                None => "never read".into(),
            });
        }
        let point = renewal_point(s.record)?;
        let due = s.now >= point.at;
        self.note(Chain::Need, "renewal point?", || {
            let source = if point.window.source == Source::Ari { "ari" } else { "lifetime" };
            format!("{} ({source}), {}", point.at.brief(), if due { "reached" } else { "not yet" })
        });
        if due {
            let why =
                if point.window.source == Source::Ari { Reason::AriWindow } else { Reason::LifetimeWindow };
            return certificate(why, &spec.names);
        }
        self.wake(point.at);
        None
    }

    fn changed(&mut self, spec: &LineageSpec, current: &Issued) -> Option<Reason> {
        let names = !spec.same_names(&current.names);
        self.note(Chain::Need, "names changed?", || yes(names));
        if names {
            return Some(Reason::NamesChanged);
        }
        let key = spec.key != current.key_kind;
        self.note(Chain::Need, "key kind changed?", || yes(key));
        if key {
            return Some(Reason::KeyKindChanged);
        }
        let issuer = current.issuer.as_ref().is_some_and(|issuer| !spec.issuers.contains(issuer));
        self.note(Chain::Need, "issuer changed?", || yes(issuer));
        if issuer {
            return Some(Reason::IssuerChanged);
        }
        let wanted = spec.profile.as_ref().filter(|p| p.required).map(|p| &p.name);
        let profile = wanted.is_some() && wanted != current.profile.as_ref();
        profile.then_some(Reason::ProfileChanged)
    }

    fn permit(&mut self, spec: &LineageSpec, need: Reason, names: &[SubjectName]) -> Option<Issuance> {
        let s = self.s;
        let hold = |why, until| Some(Issuance::Suspend { need, why, until });
        if let Some(pause) = s.record.pause.as_ref().filter(|pause| pause.until > s.now) {
            self.note(Chain::Permit, "paused?", || {
                format!("until {}: {}", pause.until.brief(), pause.reason)
            });
            self.wake(pause.until);
            return hold(Reason::Paused, pause.until);
        }
        let trouble = s.record.trouble.as_ref();
        if let Some(Class::Limited { until }) = trouble.map(|t| t.failure.class)
            && until > s.now
        {
            self.note(Chain::Permit, "allowed by the CA?", || format!("not before {}", until.brief()));
            self.wake(until);
            return hold(Reason::CaLimit, until);
        }
        let by_hand = s.request.by_hand || s.request.force;
        if let Some((name, until)) = self.validation_cap(names) {
            self.note(Chain::Permit, "failed validations today?", || {
                format!("{VALIDATIONS_PER_DAY} of {name}; next {}", until.brief())
            });
            self.wake(until);
            return hold(Reason::ValidationCap, until);
        }
        if !by_hand
            && let Some(trouble) = trouble
            && self.still_counts(spec, trouble)
            && let Some(held) = self.wait_after(need, trouble)
        {
            return Some(held);
        }
        if let Some(until) = self.too_soon(need) {
            self.note(Chain::Permit, "long enough since the last?", || {
                format!("not before {}", until.brief())
            });
            self.wake(until);
            return hold(Reason::TooSoon, until);
        }
        self.note(Chain::Permit, "may ask?", || "yes".into());
        None
    }

    /// A changed entry starts afresh; the old name set does not count as a change.
    fn still_counts(&self, spec: &LineageSpec, trouble: &Trouble) -> bool {
        let old_set = self.s.record.current.as_ref().is_some_and(|c| c.names == trouble.names);
        (spec.same_names(&trouble.names) || old_set) && spec.issuers.contains(&trouble.issuer)
    }

    fn wait_after(&mut self, need: Reason, trouble: &Trouble) -> Option<Issuance> {
        let s = self.s;
        let backoff = backoff(s.record);
        let floor = trouble.last_at + backoff.floor(trouble.failure.reached_validation);
        let mut until = trouble.next_at.max(floor);
        if let Some(leaf) = s.record.leaf()
            && s.now >= last_resort(leaf)
        {
            let wait = backoff.scaled(LAST_RESORT_WAIT).min(leaf.left(s.now).over(12));
            until = until.min((trouble.last_at + wait).max(floor));
        }
        if until <= s.now {
            return None;
        }
        self.note(Chain::Permit, "backing off?", || {
            format!("until {} after {} failures: {}", until.brief(), trouble.count, trouble.failure.code)
        });
        let probe_at =
            trouble.probed_at.unwrap_or(trouble.last_at).max(trouble.last_at) + backoff.scaled(PROBE_EVERY);
        if matches!(trouble.failure.class, Class::Refused | Class::Broken) || probe_at >= until {
            self.wake(until);
            return Some(Issuance::Suspend { need, why: Reason::BackingOff, until });
        }
        if s.now >= probe_at {
            return Some(Issuance::Probe { need });
        }
        self.wake(probe_at);
        Some(Issuance::Suspend { need, why: Reason::BackingOff, until })
    }

    /// The name that failed too often today and when it may be tried again.
    fn validation_cap(&self, names: &[SubjectName]) -> Option<(SubjectName, Timestamp)> {
        let s = self.s;
        let day = backoff(s.record).scaled(Span::DAY);
        names
            .iter()
            .filter_map(|name| {
                let recent: Vec<_> = s
                    .record
                    .failed_validations
                    .iter()
                    .filter(|failed| failed.name == *name && failed.at + day > s.now && failed.at <= s.now)
                    .map(|failed| failed.at)
                    .collect();
                let oldest = recent.len().checked_sub(VALIDATIONS_PER_DAY)?;
                Some((name.clone(), recent[oldest] + day))
            })
            .max_by_key(|(_, until)| *until)
    }

    /// A floor against renewal loops (F27): a tenth of a life between issuances.
    fn too_soon(&self, need: Reason) -> Option<Timestamp> {
        let s = self.s;
        let current = s.record.current.as_ref()?;
        let past_window = need == Reason::AriWindow
            && renewal_point(s.record).is_some_and(|point| point.window.interval.end <= s.now);
        let exempt = need == Reason::Forced
            || need == Reason::AttemptOpen
            || need == Reason::Revoked
            || need.is_changed_spec()
            || past_window;
        let until = current.at + current.leaf.lifetime().over(10);
        (!exempt && until > s.now && current.at <= s.now).then_some(until)
    }
}

enum Need {
    Certificate(Reason),
    Reading,
}

fn yes(answer: bool) -> String {
    if answer { "yes" } else { "no" }.into()
}

/// Whether a free look that passed may start the next attempt now.
pub fn may_pull_forward(record: &LineageRecord, trouble: &Trouble, now: Timestamp) -> bool {
    let backoff = backoff(record);
    let gap = if trouble.failure.reached_validation { PULL_AFTER_VALIDATION } else { PROBE_EVERY };
    now.since(trouble.last_at) >= backoff.scaled(gap)
}
