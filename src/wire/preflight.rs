//! Free looks at names, and what is known here of an account, for `doctor`.

use std::sync::Arc;

use crate::agent::store_failure;
use crate::config::AgentSettings;
use crate::core::failure::Failure;
use crate::core::spec::IssuerSpec;
use crate::ports::{Preflight, Store};
use crate::solve::preflight::NamePreflight;
use crate::store::DirStore;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;

/// The eyes that the configuration asks for.
pub fn eyes(settings: &AgentSettings, clock: &Clock) -> Arc<dyn Preflight> {
    Arc::new(NamePreflight::new(settings.resolvers.clone(), clock))
}

/// The URL of our account with an issuer, as far as it is stored. Writes nothing and asks nobody.
pub async fn known_account(
    settings: &AgentSettings,
    spec: &IssuerSpec,
    clock: &Clock,
) -> Result<Option<String>, Failure> {
    let opened = DirStore::open_to_read(Disk::real(), &settings.state_dir);
    let store: Arc<dyn Store> = Arc::new(opened.map_err(|error| store_failure(&error))?);
    super::issuer(spec, store, clock)?.known_account().await
}
