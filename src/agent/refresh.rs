//! Asking the CA when it would like a certificate renewed, and free looks while failing.

use crate::agent::book::{Book, store_failure};
use crate::agent::gather::World;
use crate::agent::{Agent, Scene};
use crate::core::decide::{backoff, may_pull_forward, renewal_point};
use crate::core::failure::{Backoff, Failure};
use crate::core::record::{LineageRecord, Reading};
use crate::core::spec::LineageSpec;
use crate::core::time::{Span, Timestamp};

/// Where the CA has no renewal information, or no usable answer (RFC 9773 §4.3.3).
const ASK_AGAIN: Span = Span::hours(6);
const NO_SERVICE_AGAIN: Span = Span::DAY;
/// Bounds on the CA's wish for the next question.
const ASK_LEAST: Span = Span::MINUTE;
const ASK_MOST: Span = Span::DAY;

impl Agent {
    /// Reads renewal information once, and looks for texts that stand. A failure is no trouble: lifetime is the
    /// backstop.
    pub(super) async fn refresh(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
    ) -> Result<(), Failure> {
        let book = Book::new(&*self.store);
        if self.read_wish(scene, spec, &mut world.record.value).await {
            book.save_record(&mut world.record).await?;
        }
        // Afterwards: mute name servers must not keep the CA's wish from being known.
        let before = world.record.value.persist.clone();
        self.look_at_texts(scene, spec, &mut world.record.value).await;
        if world.record.value.persist != before {
            book.save_record(&mut world.record).await?;
        }
        Ok(())
    }

    /// Whether there was anything to ask about.
    async fn read_wish(&self, scene: &Scene, spec: &LineageSpec, record: &mut LineageRecord) -> bool {
        let scale = backoff(record);
        let Some(ari_id) = record.leaf().and_then(|leaf| leaf.ari_id.clone()) else { return false };
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
        true
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
