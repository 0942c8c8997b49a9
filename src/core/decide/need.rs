//! Whether the fleet needs a certificate, and for which names.

use super::dead_names::{lacks_dead_names, spares};
use super::{Judge, STEPPED_BACK, renewal_point, yes};
use crate::core::attempt::Attempt;
use crate::core::leaf::Leaf;
use crate::core::name::SubjectName;
use crate::core::plan::{Chain, Reason};
use crate::core::record::{Issued, LineageRecord};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};
use crate::core::window::{Source, last_resort};

pub(super) enum Need {
    Certificate(Reason),
    Reading,
}

/// Whether the open attempt leads nowhere any more: what it set up is to be undone, and a need
/// that stands gets a new one.
pub fn abandoned(record: &LineageRecord, spec: Option<&LineageSpec>, now: Timestamp) -> bool {
    record.attempt.as_ref().is_some_and(|attempt| match spec {
        Some(spec) => !wanted(spec, record, attempt, now),
        // An entry may be broken for a moment; that costs no order.
        None => now >= attempt.deadline,
    })
}

/// Whether an attempt leads where the entry wants. The names of before do so at last resort only, some
/// of its names where dead ones may be left out.
fn wanted(spec: &LineageSpec, record: &LineageRecord, attempt: &Attempt, now: Timestamp) -> bool {
    let old_names =
        || record.current.as_ref().is_some_and(|c| c.names == attempt.names && now >= last_resort(&c.leaf));
    let demanded = spec.profile.as_ref().filter(|profile| profile.required);
    (spec.same_names(&attempt.names) || old_names() || spares(spec, record, attempt))
        && spec.issuers.contains(&attempt.issuer)
        && spec.key == attempt.key_kind
        && demanded.is_none_or(|d| attempt.profile.as_ref().is_some_and(|p| p.name == d.name))
        && now < attempt.deadline
}

impl Judge<'_> {
    pub(super) fn need(&mut self, spec: &LineageSpec) -> Option<(Need, Vec<SubjectName>)> {
        let s = self.s;
        let certificate = |why, names: &[SubjectName]| Some((Need::Certificate(why), names.to_vec()));
        if let Some(attempt) = &s.record.attempt {
            let wanted = wanted(spec, s.record, attempt, s.now);
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
            if let Some(names) = self.without_dead(spec) {
                return certificate(Reason::DeadNamesLeftOut, &names);
            }
            return certificate(Reason::NeverIssued, &spec.names);
        };
        let leaf = &current.leaf;
        if let Some(changed) = self.changed(spec, current) {
            if lacks_dead_names(spec, s.record) && self.must_read(leaf) {
                return Some((Need::Reading, Vec::new()));
            }
            if changed == Reason::NamesChanged
                && let Some(names) = self.without_dead(spec)
            {
                return certificate(Reason::DeadNamesLeftOut, &names);
            }
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
            if let Some(names) = self.without_dead(spec) {
                return certificate(Reason::DeadNamesLeftOut, &names);
            }
            return certificate(Reason::LastResort, &spec.names);
        }
        self.wake(end);
        if self.must_read(leaf) {
            return Some((Need::Reading, Vec::new()));
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

    /// Whether the CA is to be asked now when it wants this certificate renewed.
    fn must_read(&mut self, leaf: &Leaf) -> bool {
        let s = self.s;
        if !s.ari || leaf.ari_id.is_none() {
            return false;
        }
        let reading = s.record.reading.as_ref().filter(|r| Some(&r.ari_id) == leaf.ari_id.as_ref());
        match reading {
            Some(reading) if asked_enough(reading.next_at, s.now) => self.wake(reading.next_at),
            _ => {
                self.note(Chain::Need, "renewal information?", || "to be read now".into());
                return true;
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
        false
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
        // Where the issuer is unknown the record was told anew, and the profile is unknown too.
        let profile = current.issuer.is_some() && wanted.is_some() && wanted != current.profile.as_ref();
        self.note(Chain::Need, "profile changed?", || yes(profile));
        profile.then_some(Reason::ProfileChanged)
    }
}

/// Whether the next question about renewal information lies ahead, and not so far that only a
/// clock which has been put back since can have set it: a day is the most a CA may wish for.
fn asked_enough(next_at: Timestamp, now: Timestamp) -> bool {
    next_at > now && next_at.since(now) <= Span::DAY + STEPPED_BACK
}
