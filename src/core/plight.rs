//! What is not as it should be with one lineage, as facts that change only when something happens.
//! How much of a concern they are depends on the time, and is judged in `concern`.

use super::diagnosis::Diagnosis;
use super::endpoint::Endpoint;
use super::failure::{Backoff, Class, Fault};
use super::ladder::{Ladder, owes};
use super::name::{HookId, IssuerId, SubjectName};
use super::persist::PersistNote;
use super::record::{Installed, Issued, LineageRecord, Sight, Trouble};
use super::spec::LineageSpec;
use super::time::{Interval, Span, Timestamp};

/// Facts about a lineage that is due, failing, owed or left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plight {
    /// Validity of the pair that is shown, where it is one of ours.
    pub life: Option<Interval>,
    /// When its renewal was to happen.
    pub due_at: Option<Timestamp>,
    pub failing: Option<Failing>,
    /// Names that are wanted, and that the newest certificate was not issued for.
    pub missing: Vec<SubjectName>,
    /// The live directory or an output does not hold what it should.
    pub install_owed: bool,
    /// Hooks that have not been told about what is shown.
    pub hooks: Vec<HookId>,
    /// Since when hooks and endpoints may be owed: when what is shown was issued.
    pub owed_since: Option<Timestamp>,
    /// Endpoints that do not show what they should.
    pub places: Vec<Misserved>,
    pub paused_until: Option<Timestamp>,
    /// Why a new certificate was taken back, where one was.
    pub rolled_back: Option<String>,
    /// Texts for dns-persist-01 that end, or prove nothing any more.
    pub persist: Vec<PersistNote>,
}

/// A renewal that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    pub issuer: IssuerId,
    /// Of the last failure.
    pub code: String,
    pub words: String,
    pub fault: Fault,
    /// It will fail again until somebody changes something.
    pub stuck: bool,
    /// Attempts in a row, from 1.
    pub count: u32,
    pub since: Timestamp,
    pub next_at: Timestamp,
    pub reached_validation: bool,
}

/// An endpoint that does not show what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misserved {
    /// `https://127.0.0.1:443`: where it is, without the name that is asked for, so that what one
    /// server does wrong for many certificates is one cause.
    pub place: String,
    pub sight: Sight,
    /// Validity of what it serves.
    pub life: Option<Interval>,
    pub words: String,
    pub step: String,
}

impl Plight {
    /// `None` where there is nothing to tell now.
    pub fn of(
        spec: &LineageSpec,
        record: &LineageRecord,
        installed: &Installed,
        shown: Option<&Issued>,
        ladder: &Ladder,
        due_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Self> {
        let places: Vec<_> = spec
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let note = installed.endpoints.get(endpoint).filter(|note| owes(note))?;
                let step = Diagnosis::of(endpoint, note, now).map(|found| found.step).unwrap_or_default();
                Some(Misserved {
                    place: place(endpoint),
                    sight: note.sight,
                    life: note.leaf.as_ref().map(|leaf| Interval::new(leaf.not_before, leaf.not_after)),
                    words: note.told(),
                    step,
                })
            })
            .collect();
        let rolled_back = installed
            .refused
            .as_ref()
            .filter(|refused| record.current.as_ref().is_some_and(|now| now.number == refused.generation))
            .map(|refused| refused.words.clone());
        let paused_until = record.pause.as_ref().map(|pause| pause.until).filter(|until| *until > now);
        let found = Self {
            life: shown.map(|shown| Interval::new(shown.leaf.not_before, shown.leaf.not_after)),
            due_at: due_at.filter(|due| *due <= now),
            failing: record.trouble.as_ref().map(Failing::of),
            missing: record.current.as_ref().map(|now| spec.missing_in(&now.names)).unwrap_or_default(),
            install_owed: ladder.issued && !ladder.installed,
            hooks: ladder.hooks_owed.clone(),
            owed_since: shown.map(|shown| shown.at),
            places,
            paused_until,
            rolled_back,
            persist: record
                .persist
                .iter()
                .filter(|note| {
                    spec.names.contains(&note.name) && (note.until.is_some() || note.wrong.is_some())
                })
                .cloned()
                .collect(),
        };
        let quiet = found.failing.is_none()
            && found.due_at.is_none()
            && found.missing.is_empty()
            && !found.install_owed
            && found.hooks.is_empty()
            && found.places.is_empty()
            && found.paused_until.is_none()
            && found.rolled_back.is_none()
            && found.persist.is_empty()
            && found.life.is_some();
        (!quiet).then_some(found)
    }

    /// From when on less than a fifth of its life is left although its renewal was due, or was taken back;
    /// `None` where it is not due, or nothing is shown. At a renewal with a third of life left, six days
    /// of 45 have been lost by then; with half of six days, two.
    pub fn short_from(&self) -> Option<Timestamp> {
        let taken_back = self.rolled_back.is_some().then_some(Timestamp::MIN);
        Some(self.due_at.or(taken_back)?.max(short_from(self.life?)))
    }
}

/// When a fifth of a life is left.
pub fn short_from(life: Interval) -> Timestamp {
    life.end - life.length().over(LITTLE_SHARE)
}

/// The share of a life below which somebody is woken.
const LITTLE_SHARE: i64 = 5;

impl Failing {
    fn of(trouble: &Trouble) -> Self {
        let failure = &trouble.failure;
        Self {
            issuer: trouble.issuer.clone(),
            code: failure.code.clone(),
            words: failure.words.clone(),
            fault: failure.fault,
            stuck: matches!(failure.class, Class::Refused | Class::Broken),
            count: trouble.count,
            since: trouble.since,
            next_at: trouble.next_at,
            reached_validation: failure.reached_validation,
        }
    }

    /// How many attempts the backoff still makes before `end`, counted up to `most`.
    pub fn tries_before(&self, end: Timestamp, lifetime: Span, most: u32) -> u32 {
        let backoff = Backoff { lifetime };
        let (mut at, mut tries) = (self.next_at, 0);
        while tries < most && at < end {
            tries += 1;
            at = at
                + backoff.after(self.count.saturating_add(tries), end.since(at), self.reached_validation, 0);
        }
        tries
    }
}

fn place(endpoint: &Endpoint) -> String {
    let bare = Endpoint { sni: None, manner: super::manner::Manner::default(), ..endpoint.clone() };
    bare.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn failing(next_at: Timestamp) -> Failing {
        Failing {
            issuer: IssuerId::parse("letsencrypt").unwrap(),
            code: "rate-limited".into(),
            words: "wait".into(),
            fault: Fault::Ca,
            stuck: false,
            count: 4,
            since: NOW,
            next_at,
            reached_validation: false,
        }
    }

    #[test]
    fn tries_are_counted_by_the_real_backoff() {
        let life = Span::days(45);
        for (situation, next_in, ends_in, tries) in [
            ("ten days left", Span::DAY, Span::days(10), 3),
            ("twelfths never run out before the last minutes", Span::HOUR, Span::hours(4), 3),
            ("a limit that ends after the certificate", Span::days(7), Span::days(6), 0),
            ("a limit that ends minutes before it", Span::hours(47), Span::hours(47) + Span::secs(90), 2),
            ("expired", Span::MINUTE, Span::ZERO - Span::DAY, 0),
        ] {
            let counted = failing(NOW + next_in).tries_before(NOW + ends_in, life, 3);
            assert_eq!(counted, tries, "{situation}");
        }
    }

    #[test]
    fn a_fifth_of_a_life_is_short_whatever_its_length() {
        for (life, left) in [(Span::days(90), Span::days(18)), (Span::hours(160), Span::hours(32))] {
            let life = Interval::new(NOW, NOW + life);
            assert_eq!(life.end.since(short_from(life)), left);
        }
    }
}
