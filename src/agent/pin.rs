//! Going back by hand: a generation that is shown until it is unpinned or nears its end.

use crate::agent::Agent;
use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::name::LineageId;
use crate::core::record::{GenerationNumber, Issued, LineageRecord, Pin};
use crate::core::situation;
use crate::core::time::Timestamp;
use crate::core::window::last_resort;

/// Longest reason kept, in characters.
const REASON_MAX: usize = 200;

impl Agent {
    /// Pins `to`, or the generation before the one that is shown. The caller holds the claim.
    /// Nothing is deployed yet: the next pass does that.
    ///
    /// Codes: `nothing-to-return-to`, `generation-unknown`, `generation-current`,
    /// `generation-revoked`, `generation-expired`, `generation-lost`, and those of the store.
    pub async fn pin(
        &self,
        id: &LineageId,
        to: Option<GenerationNumber>,
        reason: &str,
    ) -> Result<Issued, Failure> {
        let book = Book::new(&*self.store);
        let mut record = book.record(id).await?;
        let now = self.clock.now();
        let installed = book.installed(id).await?;
        let shown = situation::target(&record.value, &installed.value, now).map(|issued| issued.number);
        let chosen = choose(&record.value, shown, to, now)?.clone();
        let kept = book.generation(id, chosen.number).await?.is_some_and(|bundle| bundle.is_of(&chosen.leaf));
        if !kept {
            let words = format!("the store has the bytes of generation {} no longer", chosen.number);
            return Err(refused("generation-lost", words));
        }
        let reason = plain(reason, REASON_MAX);
        record.value.pin = Some(Pin { generation: chosen.number, reason: reason.clone(), at: now });
        book.save_record(&mut record).await?;
        self.tell(&Event::Pinned { lineage: id.clone(), generation: chosen.number, reason });
        Ok(chosen)
    }

    /// Takes a pin back; answers with the generation that was pinned, if one was. The caller holds
    /// the claim.
    ///
    /// Codes: those of the store.
    pub async fn take_pin_back(&self, id: &LineageId) -> Result<Option<GenerationNumber>, Failure> {
        let book = Book::new(&*self.store);
        let mut record = book.record(id).await?;
        let Some(pin) = record.value.pin.take() else { return Ok(None) };
        book.save_record(&mut record).await?;
        let words = "by hand".to_owned();
        self.tell(&Event::Unpinned { lineage: id.clone(), generation: pin.generation, words });
        Ok(Some(pin.generation))
    }

    /// What is pinned can be shown no longer: the current generation is the better one by now.
    pub(super) async fn unpin(&self, world: &mut World, generation: GenerationNumber) -> Result<(), Failure> {
        world.record.value.pin = None;
        Book::new(&*self.store).save_record(&mut world.record).await?;
        let words = "it nears its end, was revoked or is lost; the current generation is shown again";
        let lineage = world.record.value.id.clone();
        self.tell(&Event::Unpinned { lineage, generation, words: words.to_owned() });
        Ok(())
    }
}

/// The generation to go back to, if that would be an improvement on an outage. `shown` is what is to
/// be shown now: after a service has refused the current one, that is not the current one.
fn choose(
    record: &LineageRecord,
    shown: Option<GenerationNumber>,
    to: Option<GenerationNumber>,
    now: Timestamp,
) -> Result<&Issued, Failure> {
    let current = record.current.as_ref().map(|issued| issued.number);
    let chosen = match to {
        Some(number) => record.issued(number).ok_or_else(|| {
            let kept: Vec<_> = record.kept().map(|issued| issued.number.to_string()).collect();
            let kept = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
            refused("generation-unknown", format!("generation {number} is not kept; kept are {kept}"))
        })?,
        None => record
            .kept()
            .find(|issued| Some(issued.number) < shown)
            .ok_or_else(|| refused("nothing-to-return-to", "no earlier generation is kept".to_owned()))?,
    };
    let number = chosen.number;
    if Some(number) == current {
        let words = format!("generation {number} is the current one; nolapse unpin {} shows it", record.id);
        return Err(refused("generation-current", words));
    }
    if chosen.revoked {
        return Err(refused("generation-revoked", format!("generation {number} was revoked")));
    }
    if now >= last_resort(&chosen.leaf) {
        let end = chosen.leaf.not_after.brief();
        let words = format!("generation {number} ends {end}, too soon to go back to it");
        return Err(refused("generation-expired", words));
    }
    Ok(chosen)
}

fn refused(code: &str, words: String) -> Failure {
    Failure::refused(Fault::Host, code, words)
}
