//! What other tools keep, between the floor that reads it and the one that shows it.

use std::path::Path;

use crate::adopt;
use crate::core::failure::{Failure, Fault};
use crate::core::foundling::{FoundAccount, Foundling};
use crate::core::layout::Content;
use crate::core::name::{IssuerId, LineageId};
use crate::core::record::GenerationNumber;
use crate::core::time::Span;
use crate::ports::Claim;
use crate::sys::disk::Disk;
use crate::wire::Wired;

pub use crate::adopt::{Find, Quest, Rival};

/// Longest wait for another process that works on the same lineage.
const PATIENCE: Span = Span::secs(10);

/// What became of the account that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountFate {
    Taken,
    /// We have one with that issuer already.
    OursStays,
    None,
}

/// Everything that a tool keeps.
///
/// Codes: `adopt-nothing-found`, `adopt-unreadable`.
pub fn search(quest: &Quest<'_>) -> Result<Vec<Find>, Failure> {
    adopt::search(&Disk::real(), quest)
}

/// Other tools on this host that renew by themselves.
pub fn rivals(root: &Path) -> Vec<Rival> {
    adopt::rivals(&Disk::real(), root)
}

impl Wired {
    /// Files what was found under the lineage `id` of the configuration that this is wired for: its
    /// account first, then its pair where `pair` says so.
    ///
    /// Codes: `adopt-busy`, `adopt-record-there`, and those of the store.
    pub async fn adopt(
        &self,
        id: &LineageId,
        find: &Find,
        pair: bool,
    ) -> Result<(AccountFate, Option<GenerationNumber>), Failure> {
        let scene = self.agent.scene();
        let Some(spec) = scene.wanted.lineages.get(id) else {
            let words = format!("the entry of {id} does not resolve");
            return Err(Failure::broken("adopt-unresolved", words));
        };
        let Claim::Held(_guard) = self.agent.hold(id, PATIENCE).await? else {
            let words = format!("another process works on {id}; nothing was changed");
            return Err(Failure::transient(Fault::Ours, "adopt-busy", words));
        };
        let issuer = spec.issuer().cloned();
        let fate = self.adopt_account(&find.foundling, find, issuer.as_ref()).await?;
        // Only who was asked by this issuer's directory has an id there.
        let issued_by = issuer.filter(|_| find.foundling.ca.is_some());
        let number = match &find.bundle {
            Some(bundle) if pair => Some(self.agent.file(spec, bundle, issued_by).await?),
            _ => None,
        };
        Ok((fate, number))
    }

    async fn adopt_account(
        &self,
        foundling: &Foundling,
        find: &Find,
        issuer: Option<&IssuerId>,
    ) -> Result<AccountFate, Failure> {
        let scene = self.agent.scene();
        let spec = issuer.and_then(|id| scene.wanted.issuers.get(id));
        let (Some(spec), Some(key)) = (spec, &find.account_key) else { return Ok(AccountFate::None) };
        let there = foundling.ca.as_ref().is_some_and(|ca| ca.is(&spec.directory));
        let Some(FoundAccount { url: Some(url), .. }) = foundling.account.as_ref().filter(|_| there) else {
            return Ok(AccountFate::None);
        };
        let kept = crate::ca::keep(&*self.agent.store, spec, key.der.bytes(), url).await?;
        Ok(if kept { AccountFate::Taken } else { AccountFate::OursStays })
    }

    /// The key in PKCS#8 and the URL of our account with an issuer.
    pub async fn account(&self, issuer: &IssuerId) -> Result<Option<(Content, String)>, Failure> {
        let scene = self.agent.scene();
        match scene.wanted.issuers.get(issuer) {
            Some(spec) => crate::ca::kept(&*self.agent.store, spec).await,
            None => Ok(None),
        }
    }
}
