//! How far the current generation has come on this node: issued, installed, reloaded, observed.
//! Anything short of the top is owed.

use serde::Serialize;

use super::endpoint::Endpoint;
use super::leaf::{Leaf, seed_of};
use super::manner::Accept;
use super::name::{HookId, LineageId};
use super::record::{EndpointNote, GenerationNumber, Installed, LineageRecord, Sight};
use super::situation::{OnDisk, Placement, awaiting, pinned, target};
use super::spec::LineageSpec;
use super::time::{Span, Timestamp};

/// The rungs, each true only if it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ladder {
    pub issued: bool,
    pub installed: bool,
    /// Hooks whose success is owed.
    pub hooks_owed: Vec<HookId>,
    /// Endpoints that owe the sight of the current leaf, with what was seen.
    pub endpoints_owed: Vec<(String, Sight)>,
    pub observed: Observed,
    /// The newest generation waits until then for its deploy window; the rungs are of the one
    /// that is shown meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploys_at: Option<Timestamp>,
    /// The newest generation, where a service refused it and an earlier one is shown in its place:
    /// the rungs are of that one, and the newest is owed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<GenerationNumber>,
    /// What the operator went back to, where that is shown in place of the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<GenerationNumber>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed {
    /// Every endpoint serves the current leaf.
    Yes,
    /// Not all of them, or not looked yet.
    No,
    /// There is nothing to look at: no endpoint is configured, or none ever answered.
    Unverified,
}

impl Ladder {
    pub fn of(
        spec: Option<&LineageSpec>,
        record: &LineageRecord,
        installed: &Installed,
        disk: &OnDisk,
        now: Timestamp,
    ) -> Self {
        let Some(target) = target(record, installed, now) else {
            return Self {
                deploys_at: None,
                refused: None,
                pinned: None,
                issued: false,
                installed: false,
                hooks_owed: Vec::new(),
                endpoints_owed: Vec::new(),
                observed: Observed::No,
            };
        };
        let newest = record.current.as_ref().map(|current| current.number);
        let pinned = pinned(record, now).map(|issued| issued.number);
        let refused = newest.filter(|newest| target.number != *newest && pinned.is_none());
        // What is to be shown now: while the newest waits, the one before it is no debt.
        let awaiting = awaiting(spec, record, installed, disk, now);
        let target = awaiting.map_or(target, |awaiting| awaiting.shown);
        let deploys_at = awaiting.map(|awaiting| awaiting.until);
        let shown = |placement: &Placement| *placement == Placement::Shows(target.number);
        let whole = shown(&disk.live) && disk.outputs.iter().all(|(_, placement)| shown(placement));
        let Some(spec) = spec else {
            return Self {
                deploys_at,
                refused,
                pinned,
                issued: true,
                installed: whole,
                hooks_owed: Vec::new(),
                endpoints_owed: Vec::new(),
                observed: Observed::Unverified,
            };
        };
        let done = |hook: &HookId| installed.hooks.get(hook).is_some_and(|n| n.done >= target.number);
        let notes: Vec<_> = spec
            .endpoints
            .iter()
            .map(|endpoint| {
                let note = installed.endpoints.get(endpoint);
                (endpoint, note.filter(|note| note.generation == target.number))
            })
            .collect();
        let endpoints_owed: Vec<_> = notes
            .iter()
            .filter_map(|(endpoint, note)| {
                let note = (*note)?;
                owes(note).then(|| (endpoint.to_string(), note.sight))
            })
            .collect();
        let seen = notes.iter().filter(|(_, n)| n.is_some_and(EndpointNote::fine)).count();
        let unlooked = notes.iter().any(|(_, note)| note.is_none());
        let observed = if unlooked || !endpoints_owed.is_empty() {
            Observed::No
        } else if seen == 0 {
            Observed::Unverified
        } else {
            Observed::Yes
        };
        Self {
            deploys_at,
            refused,
            pinned,
            issued: true,
            installed: whole,
            hooks_owed: spec.hooks.iter().filter(|hook| !done(hook)).cloned().collect(),
            endpoints_owed,
            observed,
        }
    }

    pub fn reloaded(&self) -> bool {
        self.issued && self.hooks_owed.is_empty()
    }

    /// Nothing is owed: every rung that can be reached is reached, by the generation that should.
    pub fn paid(&self) -> bool {
        self.issued
            && self.installed
            && self.reloaded()
            && self.observed != Observed::No
            && self.refused.is_none()
    }
}

/// Silence is owed only by an endpoint that answered before.
pub fn owes(note: &EndpointNote) -> bool {
    match note.sight {
        Sight::New => false,
        _ if note.accepted => false,
        Sight::Unreachable => note.reached,
        Sight::Old | Sight::OtherValid | Sight::Wrong => true,
    }
}

/// What a served leaf is to a lineage.
pub fn judge(
    served: &Leaf,
    asked: Option<&super::name::SubjectName>,
    record: &LineageRecord,
    target: &Leaf,
    now: Timestamp,
) -> Sight {
    if served.fingerprint == target.fingerprint {
        return Sight::New;
    }
    let ours = record.past.contains(&served.fingerprint)
        || record.kept().any(|issued| issued.leaf.fingerprint == served.fingerprint);
    if ours {
        return Sight::Old;
    }
    let named = asked.map_or_else(|| served.covers_all(&target.names), |name| served.covers(name));
    if named && served.valid_at(now) && !served.self_signed { Sight::OtherValid } else { Sight::Wrong }
}

/// Whether a certificate that may not be the installed one is good enough for an endpoint that
/// takes any valid one. `trusted`: a root of this system vouches for its chain.
pub fn accepted(endpoint: &Endpoint, served: &Leaf, trusted: bool, now: Timestamp) -> bool {
    let covers = endpoint.asked().is_some_and(|name| served.covers(&name));
    endpoint.manner.accept == Accept::AnyValid && trusted && covers && served.valid_at(now)
}

/// Looks at an endpoint that serves what it should, at most; see [`scatter`].
const LOOK_AGAIN: Span = Span::hours(6);
/// Share of that by which lineages differ.
const SCATTER_SHARE: i64 = 12;
/// Looks at one that never answered: it may just not be there.
const LOOK_FOR_SILENT: Span = Span::minutes(30);

/// What a lineage's looks come earlier by, so that those of ten thousand spread. It follows from the
/// id and is never drawn: a restart changes no date.
fn scatter(id: &LineageId) -> Span {
    let most = LOOK_AGAIN.over(SCATTER_SHARE).whole_secs();
    let most = u64::try_from(most).unwrap_or(0).max(1);
    Span::secs(i64::try_from(seed_of(id.as_str()) % most).unwrap_or(0))
}

/// When to look again after a look.
pub fn next_look(id: &LineageId, note: &EndpointNote, lifetime: Span) -> Span {
    let span = match note.sight {
        _ if note.fine() => LOOK_AGAIN - scatter(id),
        Sight::Unreachable if !note.reached => LOOK_FOR_SILENT,
        _ => match note.failures {
            0 | 1 => Span::secs(10),
            2 => Span::secs(30),
            3 => Span::MINUTE,
            _ => Span::minutes(5),
        },
    };
    super::failure::Backoff { lifetime }.scaled(span)
}

/// Waits between tries of a hook that fails: up to hourly.
pub fn next_hook_try(failures: u32, lifetime: Span) -> Span {
    let span = match failures {
        0 | 1 => Span::secs(30),
        2 => Span::minutes(2),
        3 => Span::minutes(10),
        4 => Span::minutes(30),
        _ => Span::HOUR,
    };
    super::failure::Backoff { lifetime }.scaled(span)
}

#[cfg(test)]
mod tests;
