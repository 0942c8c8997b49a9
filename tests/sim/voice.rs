//! Nothing goes wrong in silence (S12): what clients see amiss, somebody is told.

use std::sync::Mutex;

use nolapse::agent::Survey;
use nolapse::core::census::Census;
use nolapse::core::concern::Concerns;
use nolapse::core::gravity::Gravity;
use nolapse::core::leaf::Fingerprint;
use nolapse::core::time::{Span, Timestamp};

use crate::journal::{Journal, Law};
use crate::sky::Weather;

/// When it must be known: endpoints are looked at every six hours, and half an hour of grace is the
/// longest for what they show.
const KNOWN_WITHIN: Span = Span::hours(8);
/// A host that slept has so long to look.
const AWAKE: Span = Span::minutes(45);

/// What one node ought to have said.
#[derive(Default)]
pub struct Voice(Mutex<State>);

#[derive(Default)]
struct State {
    /// And since when.
    amiss: Option<(Amiss, Timestamp)>,
    awake_since: Option<Timestamp>,
    /// Something was served once: silence before is that of a server to come.
    begun: bool,
    heard: u64,
}

/// What is wrong with what a server shows, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amiss {
    Ended,
    /// Less than a fifth of its life is left, which is after its renewal was due.
    EndsSoon,
    Silent,
    /// Another certificate than the wanted one.
    Another,
}

impl Voice {
    /// The host slept.
    pub fn slept(&self) {
        self.0.lock().unwrap().awake_since = None;
    }

    /// The agent does not run, or can't note what it sees: it knows nothing from before.
    pub fn falters(&self) {
        let mut state = self.0.lock().unwrap();
        (state.amiss, state.awake_since) = (None, None);
    }

    /// How often it was asked for.
    pub fn heard(&self) -> u64 {
        self.0.lock().unwrap().heard
    }

    /// To be asked while the agent runs, awake, by a clock that is right. `wanted` is the certificate
    /// that should be served; nobody sees which one is while the server is `down`.
    pub fn listen(
        &self,
        weather: &Weather,
        down: bool,
        wanted: Option<Fingerprint>,
        survey: impl FnOnce() -> Option<Survey>,
        journal: &Journal,
    ) {
        let now = weather.now;
        let mut state = self.0.lock().unwrap();
        state.begun |= !down && weather.served.is_some();
        let seen = if down && wanted.is_some() { Some(Amiss::Silent) } else { amiss(weather, wanted) };
        let Some(amiss) = seen.filter(|amiss| state.begun || *amiss != Amiss::Silent) else {
            state.amiss = None;
            return;
        };
        let awake_since = *state.awake_since.get_or_insert(now);
        let known = state.amiss.filter(|(known, _)| *known == amiss);
        let (_, since) = *state.amiss.insert(known.unwrap_or((amiss, now)));
        let lasted = now.since(since);
        if lasted < KNOWN_WITHIN || now.since(awake_since) < AWAKE {
            return;
        }
        let Some(survey) = survey() else { return };
        // Once is enough until it changes or the host was awake for as long again.
        state.awake_since = Some(now);
        state.heard += 1;
        let census = Census::of(now, vec![survey.row.clone()]);
        let concerns = Concerns::of(&census, |_| None, |_| None, now).all;
        let least =
            if matches!(amiss, Amiss::Ended | Amiss::EndsSoon) { Gravity::Page } else { Gravity::Notice };
        if !concerns.iter().any(|concern| concern.gravity >= least) {
            let told: Vec<_> = concerns.iter().map(|concern| &concern.code).collect();
            journal.breach(Law::Told, &format!("{amiss:?} for {lasted}, and all that is told: {told:?}"));
        }
    }
}

fn amiss(weather: &Weather, wanted: Option<Fingerprint>) -> Option<Amiss> {
    let wanted = wanted?;
    let Some(served) = &weather.served else { return Some(Amiss::Silent) };
    let left = served.left(weather.now);
    let another = served.fingerprint != wanted;
    // A CA may ask for a renewal later than that.
    let due = weather.point.is_none_or(|(of, at)| of != wanted || at <= weather.now);
    if left <= Span::ZERO {
        Some(Amiss::Ended)
    } else if left < served.lifetime().over(5) && (another || due) {
        Some(Amiss::EndsSoon)
    } else {
        another.then_some(Amiss::Another)
    }
}
