//! How things stand, as values: what `status --json` and the public status file hold. The schema
//! is described in docs/guide/status.md; `version` moves when a field changes its meaning.

use serde::{Deserialize, Serialize};

use crate::agent::{Held, Survey, View};
use crate::cli::advice::{self, Advice};
use crate::cli::watched;
use crate::core::ack::Ack;
use crate::core::census::Standing;
use crate::core::chain::Flaw;
use crate::core::decide::{Issuance, Placement, Reason, Upkeep, renewal_point};
use crate::core::diagnosis::Diagnosis;
use crate::core::endpoint::Endpoint;
use crate::core::failure::Failure;
use crate::core::ladder::{Observed, owes};
use crate::core::leaf::{Brief, Leaf};
use crate::core::record::{EndpointNote, Sight};
use crate::core::tally::Tally;
use crate::core::time::{Span, Timestamp};

pub const VERSION: u32 = 1;

/// One look at everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    pub version: u32,
    pub at: Timestamp,
    pub severity: Severity,
    /// What is looked at and not managed; kept in a file of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<watched::Line>,
    /// The last field: the public file is written behind it.
    pub lineages: Vec<Line>,
    /// What people said that they know; not in the public file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acks: Vec<Ack>,
}

/// As monitoring plugins count: 0, 1, 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    Warning,
    Critical,
}

/// One lineage.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line {
    pub name: String,
    pub severity: Severity,
    /// `observed`, `unverified`, `installed`, `placeholder`, `absent`, `retired`, `broken`.
    pub standing: String,
    pub origin: Option<String>,
    pub names: Vec<String>,
    pub issuer: Option<String>,
    pub generation: Option<u64>,
    pub installed: Option<Seen>,
    pub rungs: Rungs,
    pub endpoints: Vec<Place>,
    pub hooks: Vec<Call>,
    pub renews_at: Option<Timestamp>,
    pub wakes_at: Option<Timestamp>,
    pub verdict: String,
    pub reason: String,
    pub trouble: Option<Woe>,
    /// Seconds until clients see an expired certificate; negative after.
    pub headroom_seconds: Option<i64>,
    /// Everything an operator should know, the gravest first.
    pub notes: Vec<String>,
    /// The one next step for a person, if there is one.
    pub advice: Option<String>,
    /// What the step is for: stable and kebab-case.
    #[serde(default)]
    pub advice_code: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    pub serial: String,
    pub fingerprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issuer: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rungs {
    pub issued: bool,
    pub installed: bool,
    pub reloaded: bool,
    /// `null`: there is nothing to look at.
    pub observed: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    pub endpoint: String,
    /// `new`, `old`, `other-valid`, `wrong`, `unreachable`, or `null` before the first look.
    pub sight: Option<String>,
    pub owed: bool,
    pub served: Option<Seen>,
    pub at: Option<Timestamp>,
    pub next_at: Option<Timestamp>,
    pub words: Option<String>,
    /// What is wrong there: stable and kebab-case.
    #[serde(default)]
    pub code: Option<String>,
    /// Not the installed certificate, and accepted.
    #[serde(default)]
    pub accepted: bool,
    /// Where more than one handshake was made.
    #[serde(default)]
    pub tally: Option<Tally>,
    #[serde(default)]
    pub flaws: Vec<Complaint>,
}

/// Something wrong with the chain that an endpoint sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Complaint {
    pub code: String,
    pub words: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Call {
    pub hook: String,
    pub owed: bool,
    pub done_at: Option<Timestamp>,
    pub failures: u32,
    pub next_at: Option<Timestamp>,
    pub words: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Woe {
    pub code: String,
    pub words: String,
    pub fault: String,
    pub name: Option<String>,
    pub count: u32,
    pub since: Timestamp,
    pub next_at: Timestamp,
}

impl Report {
    pub fn new(at: Timestamp, mut lineages: Vec<Line>) -> Self {
        lineages.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.name.cmp(&b.name)));
        let severity = lineages.iter().map(|line| line.severity).max().unwrap_or(Severity::Ok);
        Self { version: VERSION, at, severity, watched: Vec::new(), lineages, acks: Vec::new() }
    }

    /// With what is watched beside the lineages.
    #[must_use]
    pub fn beside(mut self, watched: Vec<watched::Line>) -> Self {
        self.severity = self.severity.max(watched::worst(&watched));
        self.watched = watched;
        self
    }
}

/// Appends the JSON of a lineage's [`Line`] to `to`.
pub fn write(view: &View, to: &mut Vec<u8>) -> serde_json::Result<Severity> {
    match view {
        View::Read(survey) => {
            let line = Line::read(survey);
            serde_json::to_writer(to, &line).map(|()| line.severity)
        }
        View::Held(held) => {
            super::held::put_line(held, to);
            Ok(Severity::Ok)
        }
    }
}

impl Line {
    /// A certificate whose entry in the configuration can't be used.
    pub fn broken(name: &str, why: &str) -> Self {
        Self {
            severity: Severity::Warning,
            notes: vec![format!("its entry is not used: {why}")],
            advice: Some("mend the entry; nolapse check shows where".into()),
            advice_code: Some("entry-broken".into()),
            ..Self::unknown(name, "broken")
        }
    }

    /// A lineage whose state can't be read.
    pub fn unreadable(name: &str, failure: &Failure) -> Self {
        Self {
            severity: Severity::Critical,
            notes: vec![failure.to_string()],
            ..Self::unknown(name, "unreadable")
        }
    }

    fn unknown(name: &str, standing: &str) -> Self {
        Self {
            name: name.to_owned(),
            severity: Severity::Warning,
            standing: standing.to_owned(),
            origin: None,
            names: Vec::new(),
            issuer: None,
            generation: None,
            installed: None,
            rungs: Rungs { issued: false, installed: false, reloaded: false, observed: None },
            endpoints: Vec::new(),
            hooks: Vec::new(),
            renews_at: None,
            wakes_at: None,
            verdict: "hold".into(),
            reason: standing.to_owned(),
            trouble: None,
            headroom_seconds: None,
            notes: Vec::new(),
            advice: None,
            advice_code: None,
        }
    }

    pub fn of(view: &View) -> Self {
        match view {
            View::Read(survey) => Self::read(survey),
            View::Held(held) => Self::held(held),
        }
    }

    /// As [`Line::read`] would say it of a lineage of which there is nothing to say.
    fn held(held: &Held) -> Self {
        let (memo, spec) = (&held.memo, held.spec());
        let plan = memo.plan(held.at);
        let seen = Seen::of(memo.leaf.clone());
        let endpoints = spec.map(|spec| &spec.endpoints[..]).unwrap_or_default();
        let hooks = spec.map(|spec| &spec.hooks[..]).unwrap_or_default();
        let row = spec.map(|spec| memo.row(spec));
        Self {
            severity: Severity::Ok,
            standing: row.as_ref().map_or("", |row| row.standing.word()).to_owned(),
            origin: spec.map(|spec| spec.origin.to_string()),
            names: spec.map(|spec| spec.names.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            issuer: row.and_then(|row| row.issuer).map(|issuer| issuer.to_string()),
            generation: Some(memo.generation),
            rungs: Rungs {
                issued: true,
                installed: true,
                reloaded: true,
                observed: (!memo.looks.is_empty()).then_some(true),
            },
            endpoints: endpoints
                .iter()
                .zip(&memo.looks)
                .map(|(endpoint, look)| Place {
                    endpoint: endpoint.to_string(),
                    sight: Some(Sight::New.word().to_owned()),
                    owed: false,
                    served: Some(seen.clone()),
                    at: Some(look.at),
                    next_at: Some(look.next_at),
                    words: look.words.clone(),
                    code: None,
                    accepted: false,
                    tally: None,
                    flaws: Vec::new(),
                })
                .collect(),
            hooks: hooks
                .iter()
                .zip(&memo.told_at)
                .map(|(hook, told_at)| Call {
                    hook: hook.to_string(),
                    owed: false,
                    done_at: *told_at,
                    failures: 0,
                    next_at: None,
                    words: None,
                })
                .collect(),
            installed: Some(seen),
            renews_at: memo.renews_at,
            wakes_at: Some(plan.wake_at),
            reason: Reason::NotDue.code().to_owned(),
            headroom_seconds: Some(memo.leaf.not_after.since(held.at).whole_secs()),
            ..Self::unknown(held.id.as_str(), "known")
        }
    }

    fn read(survey: &Survey) -> Self {
        let record = &survey.world.record.value;
        let installed = &survey.world.installed.value;
        let (verdict, reason) = survey.words();
        let spec = survey.spec();
        let mut line = Self {
            severity: severity(survey),
            standing: survey.row.standing.word().to_owned(),
            origin: spec.map(|spec| spec.origin.to_string()),
            names: spec
                .map_or(&record.names[..], |spec| &spec.names)
                .iter()
                .map(ToString::to_string)
                .collect(),
            issuer: survey.row.issuer.as_ref().map(ToString::to_string),
            generation: record.current.as_ref().map(|current| current.number),
            installed: shown(survey).map(|leaf| Seen::of(leaf.brief())),
            rungs: Rungs {
                issued: survey.ladder.issued,
                installed: survey.ladder.installed,
                reloaded: survey.ladder.reloaded(),
                observed: match survey.ladder.observed {
                    Observed::Yes => Some(true),
                    Observed::No => Some(false),
                    Observed::Unverified => None,
                },
            },
            endpoints: Vec::new(),
            hooks: Vec::new(),
            renews_at: spec.and(renewal_point(record)).map(|point| point.at),
            wakes_at: Some(survey.plan.wake_at),
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            trouble: record.trouble.as_ref().map(|trouble| Woe {
                code: trouble.failure.code.clone(),
                words: trouble.failure.words.clone(),
                fault: trouble.failure.fault.to_string(),
                name: trouble.failure.name.as_ref().map(ToString::to_string),
                count: trouble.count,
                since: trouble.since,
                next_at: trouble.next_at,
            }),
            headroom_seconds: survey.row.headroom(survey.at).map(Span::whole_secs),
            ..Self::unknown(survey.id.as_str(), "known")
        };
        for endpoint in spec.map(|spec| &spec.endpoints[..]).unwrap_or_default() {
            let note = installed.endpoints.get(endpoint);
            line.endpoints.push(Place {
                endpoint: endpoint.to_string(),
                sight: note.map(|note| note.sight.word().to_owned()),
                owed: note.is_some_and(owes),
                served: note.and_then(|note| note.leaf.as_ref()).map(|leaf| Seen::of(leaf.brief())),
                at: note.map(|note| note.at),
                next_at: note.map(|note| note.next_at),
                words: note.and_then(|note| note.words.clone()),
                code: note
                    .and_then(|note| Diagnosis::of(endpoint, note, survey.at))
                    .map(|found| found.code.to_owned()),
                accepted: note.is_some_and(|note| note.accepted),
                tally: note.and_then(|note| note.tally.clone()),
                flaws: note.map(|note| note.flaws.iter().map(Complaint::of).collect()).unwrap_or_default(),
            });
        }
        for hook in spec.map(|spec| &spec.hooks[..]).unwrap_or_default() {
            let note = installed.hooks.get(hook);
            line.hooks.push(Call {
                hook: hook.to_string(),
                owed: survey.ladder.hooks_owed.contains(hook),
                done_at: note.and_then(|note| note.done_at),
                failures: note.map_or(0, |note| note.failures),
                next_at: note.and_then(|note| note.next_at),
                words: note.and_then(|note| note.words.clone()),
            });
        }
        line.notes = notes(survey);
        if let Some(Advice { code, step }) = advice::of(survey) {
            (line.advice, line.advice_code) = (Some(step), Some(code));
        }
        line
    }
}

impl Complaint {
    fn of(flaw: &Flaw) -> Self {
        Self { code: flaw.kind.code().to_owned(), words: flaw.words.clone() }
    }
}

impl Seen {
    pub fn of(leaf: Brief) -> Self {
        Self {
            serial: leaf.serial,
            fingerprint: leaf.fingerprint.to_string(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            issuer: leaf.issuer,
        }
    }

    /// `05be…02`
    pub fn short_serial(&self) -> String {
        match (self.serial.get(..4), self.serial.get(self.serial.len().saturating_sub(2)..)) {
            (Some(head), Some(tail)) if self.serial.len() > 8 => format!("{head}…{tail}"),
            _ => self.serial.clone(),
        }
    }
}

fn shown(survey: &Survey) -> Option<&Leaf> {
    match &survey.world.disk.live {
        Placement::Shows(number) => survey.world.record.value.issued(*number).map(|issued| &issued.leaf),
        Placement::Foreign(leaf) => Some(leaf),
        Placement::Missing | Placement::Drifted(_) | Placement::Placeholder(_) => None,
    }
}

/// The share of a life below which anything is grave.
const GRAVE_SHARE: i64 = 20;

fn severity(survey: &Survey) -> Severity {
    let record = &survey.world.record.value;
    let installed = &survey.world.installed.value;
    let near_end = |leaf: &Leaf| leaf.left(survey.at) <= leaf.lifetime().over(GRAVE_SHARE);
    let expired = survey.row.headroom(survey.at).is_some_and(|left| left <= Span::ZERO);
    let near = shown(survey).is_some_and(near_end);
    if survey.row.standing == Standing::Retired {
        return if expired { Severity::Warning } else { Severity::Ok };
    }
    let wrong = looked_at(survey).any(|(_, note)| note.sight == Sight::Wrong);
    if expired || near || wrong || matches!(survey.row.standing, Standing::Absent | Standing::Placeholder) {
        return Severity::Critical;
    }
    let foreign = matches!(survey.world.disk.live, Placement::Foreign(_))
        || survey.world.disk.outputs.iter().any(|(_, p)| matches!(p, Placement::Foreign(_)));
    let paused = record.pause.as_ref().is_some_and(|pause| pause.until > survey.at);
    let uneasy = !survey.ladder.paid()
        || record.trouble.is_some()
        || installed.refused.is_some()
        || foreign
        || paused
        || record.pin.is_some()
        || record.persist.iter().any(|note| note.woe(survey.at).is_some())
        || overdue(survey).is_some()
        || looked_at(survey).any(|(_, note)| !note.flaws.is_empty());
    if uneasy { Severity::Warning } else { Severity::Ok }
}

/// Share of a life, and the most of it, that a renewal which is due may wait for the next pass of
/// a timer.
const OVERDUE_SHARE: i64 = 40;
const OVERDUE_MOST: Span = Span::DAY;

/// Since when a renewal is due that nothing has tried: neither daemon nor timer runs (F23).
pub(super) fn overdue(survey: &Survey) -> Option<Timestamp> {
    let record = &survey.world.record.value;
    let due = survey.spec().and(renewal_point(record))?.at;
    let lifetime = record.leaf()?.lifetime();
    let waits = !matches!(survey.plan.issuance, Issuance::Hold(_) | Issuance::Suspend { .. });
    let grace = lifetime.over(OVERDUE_SHARE).min(OVERDUE_MOST);
    (waits && record.trouble.is_none() && survey.at.since(due) > grace).then_some(due)
}

fn notes(survey: &Survey) -> Vec<String> {
    let record = &survey.world.record.value;
    let installed = &survey.world.installed.value;
    let mut notes: Vec<_> = survey
        .row
        .wrongs(survey.at)
        .into_iter()
        // Told below, with its words.
        .filter(|wrong| wrong.code != "attempt-failed")
        .map(|wrong| wrong.words)
        .collect();
    notes.extend(record.persist.iter().filter_map(|note| note.woe(survey.at)).map(|woe| woe.words));
    if let Some(trouble) = &record.trouble {
        notes.push(format!(
            "failed {} since {}: {}",
            if trouble.count == 1 { "once".to_owned() } else { format!("{} times", trouble.count) },
            trouble.since.brief(),
            trouble.failure.words
        ));
    }
    let missing = survey.spec().zip(record.current.as_ref()).map(|(spec, now)| spec.missing_in(&now.names));
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        notes.push(format!("wanted, and not in the certificate: {}", missing.join(", ")));
    }
    if let Some(due) = overdue(survey) {
        notes.push(format!("due since {}, and nothing tried to renew it", due.brief()));
    }
    if let Some(refused) = &installed.refused {
        notes.push(format!(
            "gen {} was refused by a service {} and gen {} returned: {}",
            refused.generation,
            refused.at.brief(),
            refused.returned_to,
            refused.words
        ));
    }
    if let Some(at) = survey.ladder.deploys_at {
        let newest = record.current.as_ref().map_or(0, |current| current.number);
        notes.push(format!("gen {newest} is issued and waits for its deploy window, {}", at.brief()));
    }
    if let Some(held) = installed.held_back.as_ref().filter(|held| held.until > survey.at) {
        notes.push(format!(
            "gen {} is held back until {}: {} went ahead at the same service and is not seen to work",
            held.generation,
            held.until.brief(),
            held.by
        ));
    }
    if let Some(pin) = &record.pin {
        notes.push(format!(
            "pinned to gen {} by hand since {}; renewed as ever, but what is new is not shown: {}",
            pin.generation,
            pin.at.brief(),
            pin.reason
        ));
    }
    if let Placement::Foreign(leaf) = &survey.world.disk.live {
        notes.push(format!(
            "a foreign pair lies in our place and is kept: {} by {}, until {}",
            leaf.fingerprint.short(),
            leaf.issuer,
            leaf.not_after.brief()
        ));
    }
    for (path, placement) in &survey.world.disk.outputs {
        if let Placement::Foreign(leaf) = placement {
            notes.push(format!(
                "{} holds a foreign certificate until {}; it is kept",
                path.display(),
                leaf.not_after.brief()
            ));
        }
    }
    notes.extend(unshown(survey));
    notes.extend(flaws(survey));
    for id in &survey.ladder.hooks_owed {
        if let Some(words) = installed.hooks.get(id).and_then(|note| note.words.as_ref()) {
            notes.push(format!("{id}: {words}"));
        }
    }
    if let Some(pause) = record.pause.as_ref().filter(|pause| pause.until > survey.at) {
        notes.push(format!("paused until {}: {}", pause.until.brief(), pause.reason));
    }
    notes
}

/// Where it is not shown what should be, and could be at once.
fn unshown(survey: &Survey) -> Vec<String> {
    let Upkeep::Install { generation, .. } = survey.plan.upkeep else { return Vec::new() };
    let disk = &survey.world.disk;
    match &disk.live {
        Placement::Drifted(what) => return vec![format!("what is installed was changed: {what}")],
        Placement::Missing | Placement::Placeholder(_) => {
            return vec![format!("gen {generation} is issued and not installed")];
        }
        Placement::Shows(shown) if *shown != generation => {
            return vec![format!("gen {generation} is issued, and gen {shown} is still installed")];
        }
        Placement::Shows(_) | Placement::Foreign(_) => {}
    }
    let outputs = disk.outputs.iter().filter_map(|(path, placement)| match placement {
        Placement::Shows(shown) if *shown == generation => None,
        Placement::Drifted(what) => Some(format!("{}: {what}", path.display())),
        Placement::Missing => Some(format!("{} is not there", path.display())),
        _ => Some(format!("{} is not of gen {generation}", path.display())),
    });
    outputs.collect()
}

/// The endpoints that are configured and were looked at.
pub(super) fn looked_at(survey: &Survey) -> impl Iterator<Item = (&Endpoint, &EndpointNote)> {
    let notes = &survey.world.installed.value.endpoints;
    let wanted = survey.spec().map(|spec| &spec.endpoints[..]).unwrap_or_default();
    wanted.iter().filter_map(|endpoint| notes.get_key_value(endpoint))
}

/// What is wrong with served chains, the same of several endpoints once.
fn flaws(survey: &Survey) -> Vec<String> {
    let mut found: Vec<(&Flaw, &Endpoint, usize)> = Vec::new();
    for (endpoint, note) in looked_at(survey) {
        for flaw in &note.flaws {
            match found.iter_mut().find(|(known, ..)| *known == flaw) {
                Some((.., more)) => *more += 1,
                None => found.push((flaw, endpoint, 0)),
            }
        }
    }
    let told = |(flaw, endpoint, more): (&Flaw, &Endpoint, usize)| match more {
        0 => format!("{endpoint}: {flaw}"),
        more => format!("{endpoint} and {more} more: {flaw}"),
    };
    found.into_iter().map(told).collect()
}
