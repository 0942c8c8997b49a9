//! Law P: whether there was a good hour to renew in, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use nolapse::core::leaf::{Fingerprint, Leaf};
use nolapse::core::time::{Span, Timestamp};

use crate::ca::Authority;
use crate::journal::{Journal, Law};

/// How long a good stretch must be.
const GOOD: Span = Span::HOUR;
/// It counts only when it ends so long before the certificate does.
const BEFORE_THE_END: Span = Span::hours(2);
/// Good time after which a revoked certificate is replaced, beside the least time between two
/// issuances: renewal information is read every six hours.
const REVOKED_FOR: Span = Span::hours(8);

/// What one node has seen of good times.
#[derive(Default)]
pub struct Sky(Mutex<State>);

#[derive(Default)]
struct State {
    /// For each leaf served: whether there was a good hour to renew it in.
    good: BTreeMap<Fingerprint, bool>,
    quiet_since: Option<Timestamp>,
    /// Certificates that ended while they were served.
    lapsed: BTreeSet<Fingerprint>,
}

/// What surrounds one look at the world.
pub struct Weather {
    pub now: Timestamp,
    /// Nothing goes wrong that could keep an agent from renewing.
    pub quiet: bool,
    /// The agent runs, awake, by a clock that is right.
    pub running: bool,
    pub served: Option<Arc<Leaf>>,
    /// The instant chosen for renewing a certificate.
    pub point: Option<(Fingerprint, Timestamp)>,
}

impl Sky {
    /// The host slept: what was good before it is over.
    pub fn slept(&self) {
        self.0.lock().unwrap().quiet_since = None;
    }

    /// How many certificates ended while they were served, by whatever excuse.
    pub fn lapses(&self) -> u64 {
        self.0.lock().unwrap().lapsed.len() as u64
    }

    /// Law P as far as one CA goes: with one good hour between renewal point and two hours before
    /// the end, the served certificate is replaced before it ends.
    pub fn look(&self, weather: &Weather, authority: &Authority, journal: &Journal) {
        let now = weather.now;
        let mut state = self.0.lock().unwrap();
        let since = if weather.quiet && weather.running {
            *state.quiet_since.get_or_insert(now)
        } else {
            state.quiet_since = None;
            now
        };
        let Some(leaf) = &weather.served else { return };
        let Some(validity) = authority.issued(&leaf.fingerprint) else { return };
        let life = validity.length();
        let kept = if life < Span::days(10) { life.over(2) } else { life.over(3) };
        let chosen = weather.point.filter(|(of, _)| *of == leaf.fingerprint).map(|(_, at)| at);
        // Renewal information may ask for a later instant.
        let from = chosen.map_or(validity.end - kept, |at| at.max(validity.end - kept));
        let good = state.good.entry(leaf.fingerprint).or_default();
        *good |= now.since(since.max(from)) >= GOOD && now < validity.end - BEFORE_THE_END;
        if now >= validity.end {
            let good = *good;
            state.lapsed.insert(leaf.fingerprint);
            if good {
                journal.breach(Law::Served, "the served certificate lapsed although there was a good hour");
            }
        }
        if let Some(revoked) = authority.revoked(&leaf.fingerprint) {
            let good_for = now.since(since.max(revoked));
            if good_for >= REVOKED_FOR + life.over(10) {
                let words = format!("a certificate revoked at {revoked} is served, {good_for} of them good");
                journal.breach(Law::Revoked, &words);
            }
        }
    }
}
