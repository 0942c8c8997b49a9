//! Everything a decision may rest on, gathered by the shell: what is wanted, known, shown and asked.

use std::path::PathBuf;

use super::leaf::Leaf;
use super::name::HookId;
use super::record::{GenerationNumber, Installed, Issued, LineageRecord};
use super::spec::LineageSpec;
use super::time::{Span, Timestamp};
use super::window::last_resort;

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
    pub foresight: Foresight,
    /// The last pass could not note what it did: whether this one can is asked before anything is done that
    /// would be done again.
    pub wary: bool,
}

/// What may come of a look at names before their first order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foresight {
    /// It is told, and the order is made: who asked may know better, and may not come back soon.
    #[default]
    Told,
    /// The order may be put off: this process comes back for it in minutes.
    Heeded,
    /// There is no time for it.
    Skipped,
}

/// What lies at the places this lineage is shown, read afresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDisk {
    pub live: Placement,
    /// The generation of ours that `live/` names, whether its files are as they should be or not.
    pub named: Option<GenerationNumber>,
    /// In the order of the spec's outputs.
    pub outputs: Vec<(PathBuf, Placement)>,
}

impl OnDisk {
    /// The generation that is shown, also where somebody has touched its files: that it has to be
    /// put right is no reason to show another.
    fn ours(&self) -> Option<GenerationNumber> {
        match self.live {
            Placement::Shows(number) => Some(number),
            Placement::Drifted(_) => self.named,
            _ => None,
        }
    }
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

/// The generation this node should show: the current one, unless the operator went back to another
/// or it proved bad here and the one before is sound.
pub fn target<'a>(record: &'a LineageRecord, installed: &Installed, now: Timestamp) -> Option<&'a Issued> {
    let current = record.current.as_ref()?;
    if let Some(pinned) = pinned(record, now) {
        return Some(pinned);
    }
    let fallback = installed
        .refused
        .as_ref()
        .filter(|refused| refused.generation == current.number && now < refused.until)
        // Noted by a clock that has been put back since: its dates bind nobody.
        .filter(|refused| refused.at.since(now) <= Span::HOUR)
        .and_then(|refused| record.issued(refused.returned_to));
    // Last resort of either ends the wait: what is shown must not expire while a younger one lies by.
    match fallback {
        Some(old) if !old.revoked && now < last_resort(&old.leaf) && now < last_resort(&current.leaf) => {
            Some(old)
        }
        _ => Some(current),
    }
}

/// The generation that the operator pinned, while that may still be followed: it is kept, it is
/// not revoked, and the last of its life has not begun.
pub fn pinned(record: &LineageRecord, now: Timestamp) -> Option<&Issued> {
    let pin = record.pin.as_ref()?;
    record.issued(pin.generation).filter(|issued| !issued.revoked && now < last_resort(&issued.leaf))
}

/// A generation that waits for its deploy window.
#[derive(Clone, Copy, Debug)]
pub struct Awaiting<'a> {
    /// What is shown until then.
    pub shown: &'a Issued,
    pub until: Timestamp,
}

/// Whether the current generation waits for its deploy window: it is closed, and what is shown is
/// an earlier generation of ours, whole, sound, and not in the last of its life.
pub fn awaiting<'a>(
    spec: Option<&LineageSpec>,
    record: &'a LineageRecord,
    installed: &Installed,
    disk: &OnDisk,
    now: Timestamp,
) -> Option<Awaiting<'a>> {
    let window = spec?.deploy_window.as_ref().filter(|window| !window.is_open(now))?;
    let number = disk.ours()?;
    let target = target(record, installed, now)?;
    let shown = record.issued(number).filter(|shown| shown.number < target.number && !shown.revoked)?;
    let end = last_resort(&shown.leaf);
    // Near the end of what clients see the window is advice no longer.
    let until = window.next_opening(now).map_or(end, |opening| opening.min(end));
    (now < end).then_some(Awaiting { shown, until })
}

/// Whether what is shown is ours and not in the last of its life, so that what is newer can wait.
pub fn may_wait(record: &LineageRecord, disk: &OnDisk, now: Timestamp) -> bool {
    let Some(number) = disk.ours() else { return false };
    record.issued(number).is_some_and(|shown| !shown.revoked && now < last_resort(&shown.leaf))
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
