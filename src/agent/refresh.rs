//! Asking the CA when it would like a certificate renewed, and free looks while failing.

use crate::agent::book::{Book, store_failure};
use crate::agent::gather::World;
use crate::agent::{Agent, Scene};
use crate::core::decide::{backoff, may_pull_forward, renewal_point};
use crate::core::failure::{Backoff, Class, Failure};
use crate::core::persist::PersistWrong;
use crate::core::record::Reading;
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};

/// Where the CA has no renewal information, or no usable answer (RFC 9773 §4.3.3).
const ASK_AGAIN: Span = Span::hours(6);
const NO_SERVICE_AGAIN: Span = Span::DAY;
/// Bounds on the CA's wish for the next question.
const ASK_LEAST: Span = Span::MINUTE;
const ASK_MOST: Span = Span::DAY;

impl Agent {
    /// Reads renewal information once. A failure is no trouble: lifetime is the backstop.
    pub(super) async fn refresh(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
    ) -> Result<(), Failure> {
        self.look_at_texts(scene, spec, world).await;
        let scale = backoff(&world.record.value);
        let record = &mut world.record.value;
        let Some(ari_id) = record.leaf().and_then(|leaf| leaf.ari_id.clone()) else { return Ok(()) };
        let issuer = record.current.as_ref().and_then(|c| c.issuer.as_ref()).or_else(|| spec.issuer());
        let answer = match issuer.and_then(|issuer| scene.cas.get(issuer)) {
            Some(ca) => ca.renewal_info(&ari_id).await,
            None => Ok(None),
        };
        let now = self.clock.now();
        let before = record.reading.take().filter(|reading| reading.ari_id == ari_id);
        let reading = match answer {
            Ok(Some(info)) => Reading {
                ari_id,
                window: Some(info.window),
                explanation: info.explanation,
                at: now,
                next_at: now + scale.scaled(info.retry_after.between(ASK_LEAST, ASK_MOST)),
            },
            Ok(None) => no_service(ari_id, scale, now),
            // What the CA said before still stands.
            Err(_) => Reading {
                ari_id,
                window: before.as_ref().and_then(|reading| reading.window),
                explanation: before.as_ref().and_then(|reading| reading.explanation.clone()),
                at: before.as_ref().map_or(now, |reading| reading.at),
                next_at: now + scale.scaled(ASK_AGAIN),
            },
        };
        record.reading = Some(reading);
        record.point = renewal_point(record);
        Book::new(&*self.store).save_record(&mut world.record).await
    }

    /// Looks for the texts of dns-persist-01 that the next renewal will want, as the account is now. What can't
    /// be asked for is no news.
    async fn look_at_texts(&self, scene: &Scene, spec: &LineageSpec, world: &mut World) {
        let record = &mut world.record.value;
        record.persist.retain(|note| spec.names.contains(&note.name));
        let ca = spec.issuer().and_then(|issuer| scene.cas.get(issuer));
        for note in &mut record.persist {
            if let (Some(ca), Some(base)) = (ca, note.name.base())
                && let Ok(Some(terms)) = ca.persist_terms(base).await
            {
                note.terms = terms;
            }
            for solver in spec.solvers.iter().filter_map(|id| scene.solvers.get(id)) {
                match solver.standing(&note.name, &note.terms).await {
                    Some(Ok(until)) => (note.until, note.wrong) = (until, None),
                    Some(Err(failure)) if failure.class == Class::Refused => {
                        let since = note.wrong.as_ref().map_or(self.clock.now(), |wrong| wrong.since);
                        let Failure { code, words, .. } = failure;
                        note.wrong = Some(PersistWrong { code, words, since });
                    }
                    None | Some(Err(_)) => {}
                }
            }
        }
    }

    /// Free looks at everything an attempt needs; all good ends the wait early.
    pub(super) async fn free_look(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
    ) -> Result<(), Failure> {
        let record = &world.record.value;
        let good = self.all_able(scene, spec, backoff(record)).await
            && self.worth_trying(scene, spec, record, &spec.names).await.is_ok();
        let now = self.clock.now();
        let record = &world.record.value;
        let pull =
            good && record.trouble.as_ref().is_some_and(|trouble| may_pull_forward(record, trouble, now));
        if let Some(trouble) = &mut world.record.value.trouble {
            trouble.probed_at = Some(now);
            if pull {
                trouble.next_at = now;
            }
        }
        Book::new(&*self.store).save_record(&mut world.record).await
    }

    async fn all_able(&self, scene: &Scene, spec: &LineageSpec, scale: Backoff) -> bool {
        if self.store.writable().await.map_err(|error| store_failure(&error)).is_err() {
            return false;
        }
        for id in &spec.solvers {
            match scene.solvers.get(id) {
                Some(solver) if solver.able().await.is_ok() => {}
                _ => return false,
            }
        }
        match spec.issuer().and_then(|issuer| scene.cas.get(issuer)) {
            Some(ca) => self.greet(&**ca, scale).await.is_ok(),
            None => false,
        }
    }
}

/// The reading where the CA tells nothing of when it would like the certificate renewed.
pub(super) fn no_service(ari_id: String, scale: Backoff, now: Timestamp) -> Reading {
    let next_at = now + scale.scaled(NO_SERVICE_AGAIN);
    Reading { ari_id, window: None, explanation: None, at: now, next_at }
}
