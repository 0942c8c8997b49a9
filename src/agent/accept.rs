//! Taking in what a CA issued: a generation under a number of its own, and the record that makes it the current one.

use crate::agent::book::{Book, store_failure};
use crate::agent::clean_up::owe;
use crate::agent::gather::World;
use crate::agent::refresh::no_service;
use crate::agent::{Agent, Scene};
use crate::codec::bundle::{self, Bundle};
use crate::core::attempt::Attempt;
use crate::core::decide::{backoff, renewal_point};
use crate::core::event::Event;
use crate::core::failure::Failure;
use crate::core::record::{Issued, LineageRecord};
use crate::core::spec::LineageSpec;
use crate::ports::{Expect, Key, StoreError};

/// Tries to find a free generation number after crashes left some behind.
const NUMBER_TRIES: u64 = 16;

impl Agent {
    /// The swap of the record in here *is* the renewal; everything after it can be repeated.
    pub(super) async fn accept(
        &self,
        scene: &Scene,
        spec: &LineageSpec,
        world: &mut World,
        attempt: &Attempt,
        bundle: Bundle,
    ) -> Result<(), Failure> {
        let number = self.keep(scene, &world.record.value, &bundle).await?;
        let has_renewal_info = match scene.ca(&attempt.issuer) {
            Ok(ca) => ca.has_renewal_info().await,
            Err(_) => true,
        };
        let now = self.clock.now();
        let leaf = bundle.leaf().clone();
        let record = &mut world.record.value;
        let issued = Issued {
            number,
            leaf: leaf.clone(),
            issuer: Some(attempt.issuer.clone()),
            profile: attempt.profile.as_ref().map(|profile| profile.name.clone()),
            key_kind: attempt.key_kind,
            names: attempt.names.clone(),
            at: now,
            order: attempt.order.clone().unwrap_or_default(),
            revoked: false,
            digests: bundle::digests(&bundle.render()),
        };
        record.succeed(issued);
        record.last_number = record.last_number.max(number);
        record.attempt = None;
        // Known without a question: one write less than to find it out in the next round.
        let ari_id = leaf.ari_id.clone().filter(|_| !has_renewal_info);
        record.reading = ari_id.map(|ari_id| no_service(ari_id, backoff(record), now));
        record.point = None;
        record.point = renewal_point(record);
        // The old name set being renewed does not end the trouble with the new one.
        if spec.same_names(&attempt.names) {
            record.trouble = None;
        }
        owe(&mut record.debts, attempt.receipts.clone(), now);
        // Answers are of no more use, and one write tells of both. Should we die here, the attempt
        // still has the receipts, and comes back to this place.
        self.pay_debts(scene, record).await;
        Book::new(&*self.store).save_record(&mut world.record).await?;
        self.tell(&Event::Issued { lineage: spec.id.clone(), generation: number, leaf: Box::new(leaf) });
        // The generation holds the key now; the loose copy is only tidied away.
        let _ = self.store.remove(&Key::LeafKey(attempt.key)).await;
        Ok(())
    }

    /// Stores the generation under the next free number. After a state was restored or lost in
    /// part, `live/` may show a higher one than the record knows: written over that, readers would
    /// see old and new files side by side (F60).
    pub(super) async fn keep(
        &self,
        scene: &Scene,
        record: &LineageRecord,
        bundle: &Bundle,
    ) -> Result<u64, Failure> {
        let shown =
            self.generations_in(&scene.live_dir.join(record.id.as_str())).last().copied().unwrap_or(0);
        let last = record.last_number.max(shown);
        for number in last.saturating_add(1)..=last.saturating_add(NUMBER_TRIES) {
            let key = Key::Generation(record.id.clone(), number);
            match self.store.swap(&key, Expect::Absent, bundle.to_content()).await {
                Ok(_) => return Ok(number),
                Err(StoreError::Conflict(_)) => {
                    // A crash between this put and the record's swap left it here.
                    let there = Book::new(&*self.store).generation(&record.id, number).await?;
                    if there.is_some_and(|b| b.leaf().fingerprint == bundle.leaf().fingerprint) {
                        return Ok(number);
                    }
                }
                Err(error) => return Err(store_failure(&error)),
            }
        }
        Err(Failure::broken(
            "no-generation-number",
            "the next generation numbers are all taken by unknown generations; look into the state directory",
        ))
    }
}
