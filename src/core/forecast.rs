//! The planner, run forward: when a lineage would be renewed, how many tries it has before it
//! ends, and whether it would lapse if no CA answered for a while. What is decided at each date is
//! decided by [`decide`], over a record that tells what would have come of the dates before.
//!
//! What is assumed: servers take what they are given, a CA that answers issues, for as long as
//! the certificate before lasted, and nobody changes the configuration. Renewal information is
//! taken as last read.

use std::sync::Arc;

use super::decide::{
    Issuance, OnDisk, Placement, Request, Situation, decide, may_pull_forward, renewal_point, stands_until,
};
use super::failure::{Failure, Fault};
use super::leaf::{Fingerprint, Leaf, mix};
use super::list::List;
use super::record::{Installed, Issued, LineageRecord};
use super::spec::{Around, LineageSpec, Terms};
use super::time::{Interval, Span, Timestamp};
use super::trouble::Tried;

/// From when, until when, and when no CA answers.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub span: Interval,
    pub outage: Option<Interval>,
}

/// What would become of one lineage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// New certificates, in order.
    pub renewals: Vec<Timestamp>,
    /// Tries that would find no CA.
    pub failures: u32,
    /// When clients would see an expired certificate.
    pub lapses: Vec<Interval>,
    /// The least that would be left of a certificate when its successor comes.
    pub least_left: Option<Span>,
    /// Where the course was followed no further for its many steps.
    pub cut_at: Option<Timestamp>,
}

/// Steps that one course is followed for: three renewals a day over ten years, or an outage of half
/// a year.
const STEPS_MAX: u32 = 12_000;
/// Life of a certificate of which there was none before.
const LIFE_UNKNOWN: Span = Span::days(90);
/// Code of the tries that find no CA.
const CA_DOWN: &str = "ca-down";

/// What would become of a lineage in such weather.
pub fn forecast(spec: &LineageSpec, record: &LineageRecord, weather: &Weather) -> Course {
    let mut model = Model::new(spec, record, weather.span.start);
    let mut course = Course::default();
    let mut lapsed_since = None;
    for _ in 0..STEPS_MAX {
        if model.now >= weather.span.end {
            break;
        }
        let ended = model.record.leaf().map(|leaf| leaf.not_after).filter(|end| *end <= model.now);
        lapsed_since = ended;
        match model.next() {
            Step::Wait(until) => model.now = until,
            Step::Look => model.look(!is_down(weather, model.now)),
            Step::Ask if is_down(weather, model.now) => {
                course.failures = course.failures.saturating_add(1);
                model.fail();
            }
            Step::Ask => {
                if let Some(leaf) = model.record.leaf() {
                    let left = leaf.left(model.now);
                    course.least_left = Some(course.least_left.map_or(left, |least| least.min(left)));
                }
                if let Some(since) = lapsed_since.take() {
                    course.lapses.push(Interval::new(since, model.now));
                }
                course.renewals.push(model.now);
                model.succeed();
            }
        }
    }
    let stopped = model.now.min(weather.span.end);
    if model.now < weather.span.end {
        course.cut_at = Some(stopped);
    }
    let end = model.record.leaf().map(|leaf| leaf.not_after);
    if let Some(since) = lapsed_since.or(end.filter(|end| *end < stopped)) {
        course.lapses.push(Interval::new(since, stopped));
    }
    course
}

/// Tries that a lineage still has before its certificate ends, if each of them failed; counted up
/// to [`TRIES_MAX`]. `None` where nothing was issued.
pub fn tries_left(spec: &LineageSpec, record: &LineageRecord, now: Timestamp) -> Option<u32> {
    let end = record.leaf()?.not_after;
    let mut model = Model::new(spec, record, now);
    let mut tries = 0;
    for _ in 0..STEPS_MAX {
        if model.now >= end || tries >= TRIES_MAX {
            break;
        }
        match model.next() {
            Step::Wait(until) => model.now = until,
            Step::Look => model.look(false),
            Step::Ask => {
                tries += 1;
                model.fail();
            }
        }
    }
    Some(tries)
}

/// Tries are counted no further than to here.
pub const TRIES_MAX: u32 = 100;

fn is_down(weather: &Weather, now: Timestamp) -> bool {
    weather.outage.is_some_and(|outage| outage.contains(now))
}

/// A lineage on paper.
struct Model {
    spec: LineageSpec,
    record: LineageRecord,
    now: Timestamp,
}

enum Step {
    Wait(Timestamp),
    /// A free look at what an attempt needs.
    Look,
    Ask,
}

impl Model {
    fn new(spec: &LineageSpec, record: &LineageRecord, now: Timestamp) -> Self {
        // What is owed to servers and solvers has no say in when a CA is asked.
        let terms = Terms {
            hooks: Vec::new(),
            after: Vec::new(),
            around: Around::default(),
            ..(*spec.terms).clone()
        };
        let spec = LineageSpec {
            endpoints: List::from(Vec::new()),
            outputs: List::from(Vec::new()),
            terms: Arc::new(Terms { deploy_window: None, ..terms }),
            ..spec.clone()
        };
        let mut record = record.clone();
        record.debts.clear();
        record.pin = None;
        Self { spec, record, now }
    }

    fn next(&self) -> Step {
        let live = self
            .record
            .current
            .as_ref()
            .map_or(Placement::Missing, |current| Placement::Shows(current.number));
        let disk = OnDisk { live, named: None, outputs: Vec::new() };
        let (installed, request) = (Installed::default(), Request::default());
        let situation = Situation {
            now: self.now,
            spec: Some(&self.spec),
            record: &self.record,
            installed: &installed,
            disk: &disk,
            request: &request,
            generation_kept: true,
            ari: false,
        };
        let plan = decide(&situation);
        match plan.issuance {
            Issuance::Issue { .. } | Issuance::Renew { .. } | Issuance::Resume => Step::Ask,
            Issuance::Probe { .. } => Step::Look,
            // A date that matters, however far away; a plan looks again every day.
            Issuance::Hold(_) => Step::Wait(stands_until(&situation).unwrap_or(plan.wake_at)),
            Issuance::Suspend { .. } | Issuance::Refresh => Step::Wait(plan.wake_at),
        }
    }

    fn look(&mut self, good: bool) {
        let pull = good
            && self
                .record
                .trouble
                .as_ref()
                .is_some_and(|trouble| may_pull_forward(&self.record, trouble, self.now));
        if let Some(trouble) = &mut self.record.trouble {
            trouble.probed_at = Some(self.now);
            if pull {
                trouble.next_at = self.now;
            }
        }
    }

    fn fail(&mut self) {
        let attempt = self.record.attempt.take();
        let tried = Tried {
            names: attempt.as_ref().map_or_else(|| self.spec.names.to_vec(), |attempt| attempt.names.clone()),
            wanted: self.spec.names.to_vec(),
            issuer: attempt.map(|attempt| attempt.issuer).or_else(|| self.spec.issuer().cloned()),
        };
        let failure = Failure::transient(Fault::Ca, CA_DOWN, "the CA does not answer");
        self.record.note_failure(tried, &failure, self.now);
    }

    fn succeed(&mut self) {
        let number = self.record.last_number.saturating_add(1);
        let record = &mut self.record;
        record.last_number = number;
        let lifetime = record.leaf().map_or(LIFE_UNKNOWN, Leaf::lifetime);
        let leaf = Leaf {
            names: self.spec.names.to_vec(),
            not_before: self.now,
            not_after: self.now + lifetime,
            serial: String::new(),
            fingerprint: successor(record.leaf(), number),
            key: successor(record.leaf(), number),
            key_kind: Some(self.spec.key),
            ari_id: None,
            issuer: String::new(),
            self_signed: false,
        };
        record.succeed(Issued {
            number,
            leaf,
            issuer: self.spec.issuer().cloned(),
            profile: self.spec.profile.as_ref().map(|profile| profile.name.clone()),
            key_kind: self.spec.key,
            names: self.spec.names.to_vec(),
            at: self.now,
            order: String::new(),
            revoked: false,
            digests: std::collections::BTreeMap::new(),
        });
        record.attempt = None;
        record.trouble = None;
        record.reading = None;
        record.point = None;
        record.point = renewal_point(record);
    }
}

/// Stands for the fingerprint of a certificate that nobody has issued yet: the place of its renewal
/// in the window is drawn from it, as unlike its predecessor's as a real one would be.
fn successor(before: Option<&Leaf>, number: u64) -> Fingerprint {
    let seed = mix(&[before.map_or(0, |leaf| leaf.fingerprint.seed()), number]);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Fingerprint(bytes)
}

#[cfg(test)]
mod tests;
