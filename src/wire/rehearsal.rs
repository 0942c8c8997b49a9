//! Dry runs: an agent for staging directories that installs nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{Agent, Parts, Scene, store_failure};
use crate::core::failure::Failure;
use crate::core::list::List;
use crate::core::name::{IssuerId, LineageId};
use crate::core::spec::{IssuerSpec, LineageSpec, Terms, Wanted};
use crate::ports::{Ca, Sink, Store};
use crate::store::scratch::ScratchStore;
use crate::sys::disk::Disk;
use crate::sys::keys::Keys;
use crate::wire::load::Loaded;
use crate::wire::{Wired, scene};

/// The live directory of a rehearsal, on a disk in memory.
const REHEARSAL: &str = "/rehearsal";

/// What a dry run works with.
pub struct Rehearsal {
    pub agent: Arc<Agent>,
    pub ids: Vec<LineageId>,
    /// Their issuer has no staging directory.
    pub without_staging: Vec<LineageId>,
}

impl Wired {
    /// An agent that goes through orders at staging directories and installs nothing.
    pub fn rehearsal(&self, loaded: &Loaded, ids: &[LineageId]) -> Result<Rehearsal, Failure> {
        let scene = self.agent.scene();
        let store: Arc<dyn Store> = Arc::new(ScratchStore::over(self.store.clone()));
        let mut wanted = Wanted { solvers: scene.wanted.solvers.clone(), ..Wanted::default() };
        let mut cas: BTreeMap<IssuerId, Arc<dyn Ca>> = BTreeMap::new();
        let mut without_staging = Vec::new();
        for id in ids {
            let Some(spec) = scene.wanted.lineages.get(id) else { continue };
            let issuer = spec.issuer().and_then(|issuer| loaded.resolved.wanted.issuers.get(issuer));
            let Some((issuer, staging)) = issuer.and_then(|issuer| Some((issuer, issuer.staging.clone()?)))
            else {
                without_staging.push(id.clone());
                continue;
            };
            let name = IssuerId::parse(&format!("{}-rehearsal", issuer.id))
                .map_err(|bad| Failure::broken("issuer-name", bad.to_string()))?;
            if !cas.contains_key(&name) {
                let staged =
                    IssuerSpec { id: name.clone(), directory: staging, staging: None, ..issuer.clone() };
                cas.insert(name.clone(), scene::issuer(&staged, store.clone(), &self.agent.clock)?);
            }
            let terms = Terms {
                issuers: vec![name],
                hooks: Vec::new(),
                rights: Arc::default(),
                ..Terms::clone(&spec.terms)
            };
            let spec = LineageSpec {
                endpoints: List::default(),
                outputs: List::default(),
                terms: Arc::new(terms),
                ..spec.clone()
            };
            wanted.lineages.insert(spec);
        }
        let ids = wanted.lineages.keys().cloned().collect();
        let scene = Scene {
            wanted: Arc::new(wanted),
            live_dir: PathBuf::from(REHEARSAL),
            cas,
            solvers: scene.solvers.clone(),
            hooks: BTreeMap::new(),
        };
        let (disk, model) = Disk::model();
        model.make_dirs(Path::new(REHEARSAL), 0o755);
        let parts = Parts {
            store,
            probe: self.agent.probe.clone(),
            sink: self.telemetry.clone() as Arc<dyn Sink>,
            clock: self.agent.clock.clone(),
            disk,
            keys: Keys::random(),
        };
        Ok(Rehearsal { agent: Arc::new(Agent::new(parts, scene)), ids, without_staging })
    }

    /// What can be known of these without a CA: state writable, solvers able.
    pub async fn check_locally(&self, ids: &[LineageId]) -> Vec<(LineageId, Result<(), Failure>)> {
        let scene = self.agent.scene();
        let mut found = Vec::new();
        for id in ids {
            let Some(spec) = scene.wanted.lineages.get(id) else { continue };
            let mut checked = self.agent.store.writable().await.map_err(|error| store_failure(&error));
            for solver in &spec.solvers {
                if checked.is_ok()
                    && let Some(solver) = scene.solvers.get(solver)
                {
                    checked = solver.able().await;
                }
            }
            found.push((id.clone(), checked));
        }
        found
    }
}
