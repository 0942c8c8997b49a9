//! Filing a pair that somebody else was issued, so that it is ours to show and to renew.

use crate::agent::Agent;
use crate::agent::book::Book;
use crate::codec::bundle::{self, Bundle};
use crate::core::decide::renewal_point;
use crate::core::failure::{Failure, Fault};
use crate::core::name::IssuerId;
use crate::core::record::{GenerationNumber, HookNote, Issued};
use crate::core::spec::LineageSpec;

impl Agent {
    /// Files `bundle` as the first generation of a lineage that has none; again is harmless. The
    /// caller holds the claim. `issuer` is who issued it, where that is one of ours: only then its
    /// ARI id means anything there.
    ///
    /// Its services and hooks count as told: whoever had it before told them, and a look at the
    /// endpoints says whether that was heard.
    ///
    /// Codes: `adopt-record-there`, and those of the store.
    pub async fn file(
        &self,
        spec: &LineageSpec,
        bundle: &Bundle,
        issuer: Option<IssuerId>,
    ) -> Result<GenerationNumber, Failure> {
        let scene = self.scene();
        let book = Book::new(&*self.store);
        let mut held = book.record(&spec.id).await?;
        let now = self.clock.now();
        let leaf = bundle.leaf().clone();
        // Filed before, and then came a crash: the number is known.
        let before =
            held.value.current.as_ref().filter(|current| current.leaf.fingerprint == leaf.fingerprint);
        let number = match (before, &held.value.current) {
            (Some(before), _) => before.number,
            (None, None) => self.keep(&scene, &held.value, bundle).await?,
            (None, Some(_)) => {
                let words = format!(
                    "the state has another certificate of {0}, from before; drop it first:  nolapse forget {0}",
                    spec.id
                );
                return Err(Failure::refused(Fault::Config, "adopt-record-there", words));
            }
        };
        let record = &mut held.value;
        record.current = Some(Issued {
            number,
            issuer,
            profile: None,
            // Of a kind that is not made here: said to be what is wanted, or it would count as changed.
            key_kind: bundle.key_kind().unwrap_or(spec.key),
            names: leaf.names.clone(),
            at: leaf.not_before,
            order: String::new(),
            revoked: false,
            digests: bundle::digests(&bundle.render()),
            leaf,
        });
        record.last_number = record.last_number.max(number);
        record.names = spec.names.to_vec();
        record.point = None;
        record.point = renewal_point(record);
        book.save_record(&mut held).await?;
        let mut installed = book.installed(&spec.id).await?;
        for hook in &spec.hooks {
            let told = HookNote { done: number, done_at: Some(now), ..HookNote::never() };
            installed.value.hooks.insert(hook.clone(), told);
        }
        book.save_installed(&spec.id, &mut installed).await?;
        Ok(number)
    }
}
