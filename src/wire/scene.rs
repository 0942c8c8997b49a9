//! The adapters that a configuration asks for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::agent::Scene;
use crate::ca::AcmeCa;
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::name::{IssuerId, SolverId};
use crate::core::record::ChallengeKind;
use crate::core::spec::{
    DnsProvider, DnsSpec, IssuerSpec, Listen, OwnServer, PersistSpec, SecretSource, SolverKind, SolverSpec,
};
use crate::ports::{Ca, Secrets, Solver, Store};
use crate::solve::dns::Lookup;
use crate::solve::dns01::acme_dns::AcmeDns;
use crate::solve::dns01::exec::ExecProvider;
use crate::solve::dns01::hosted::Hosted;
use crate::solve::dns01::own::OwnZones;
use crate::solve::dns01::rfc2136::Rfc2136;
use crate::solve::dns01::webhook::Webhook;
use crate::solve::dns01::{Dns01Solver, Provider};
use crate::solve::http01::Http01Solver;
use crate::solve::persist::{PersistEye, PersistSolver};
use crate::solve::propagation::Propagation;
use crate::solve::self_check::SelfCheck;
use crate::solve::stand::Listening;
use crate::solve::tls_alpn01::TlsAlpn01Solver;
use crate::solve::webroot::WebrootSolver;
use crate::store::DirStore;
use crate::store::scratch::ScratchStore;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::wire::Role;
use crate::wire::load::Loaded;

/// Largest secret file and roots file, in bytes.
const SECRET_MAX: usize = 64 << 10;
const ROOTS_MAX: usize = 1 << 20;

/// Listening solvers outlive a change of configuration that keeps their address.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<Mutex<BySpec>>, Arc<Mutex<NameServers>>);

/// By solver and address.
type BySpec = BTreeMap<(SolverId, String), Arc<dyn Listening>>;
type NameServers = BTreeMap<SolverId, (OwnServer, Arc<OwnZones>)>;

/// Everything that `loaded` names, built.
pub(super) async fn build(
    loaded: &Loaded,
    store: &Arc<DirStore>,
    clock: &Clock,
    role: Role,
    listeners: &Listeners,
) -> Result<Scene, Failure> {
    let wanted = loaded.resolved.wanted.clone();
    let mut cas: BTreeMap<IssuerId, Arc<dyn Ca>> = BTreeMap::new();
    let asked = |id: &IssuerId| wanted.lineages.values().any(|spec| spec.issuers.contains(id));
    for spec in wanted.issuers.values().filter(|spec| asked(&spec.id)) {
        cas.insert(spec.id.clone(), issuer(spec, store.clone(), clock)?);
    }
    let mut solvers: BTreeMap<SolverId, Arc<dyn Solver>> = BTreeMap::new();
    for spec in wanted.solvers.values() {
        let used = wanted.lineages.values().any(|lineage| lineage.solvers.contains(&spec.id));
        if let Some(solver) = solver(spec, loaded, store, clock, role, used, listeners).await? {
            solvers.insert(spec.id.clone(), solver);
        }
    }
    let mut hooks = BTreeMap::new();
    for spec in wanted.hooks.values() {
        hooks.insert(spec.id.clone(), crate::hook::build(spec, clock)?);
    }
    Ok(Scene { live_dir: loaded.settings.live_dir.clone(), wanted, cas, solvers, hooks })
}

/// One CA with its account in `store`.
pub fn issuer(spec: &IssuerSpec, store: Arc<dyn Store>, clock: &Clock) -> Result<Arc<dyn Ca>, Failure> {
    let roots = match &spec.ca_file {
        Some(path) => Some(Disk::real().read(Path::new(path), ROOTS_MAX).map_err(|error| {
            Failure::refused(Fault::Config, "ca-file", format!("issuer {}: ca-file {path}: {error}", spec.id))
        })?),
        None => None,
    };
    let secrets: Secrets = Arc::new(secret);
    Ok(Arc::new(AcmeCa::new(spec.clone(), store, clock.clone(), secrets, roots.as_ref())?))
}

async fn solver(
    spec: &SolverSpec,
    loaded: &Loaded,
    store: &Arc<DirStore>,
    clock: &Clock,
    role: Role,
    used: bool,
    listeners: &Listeners,
) -> Result<Option<Arc<dyn Solver>>, Failure> {
    let check =
        SelfCheck { http: spec.check_port.unwrap_or(SelfCheck::default().http), ..SelfCheck::default() };
    Ok(Some(match &spec.kind {
        SolverKind::Dns(dns) => {
            let own = match &dns.provider {
                DnsProvider::Own(own) => {
                    Some(own_zones(spec, own, store, clock, role, used, listeners).await)
                }
                _ => None,
            };
            dns_solver(spec, dns, own, clock)
        }
        SolverKind::Persist(persist) => persist_solver(spec, persist, clock),
        SolverKind::Webroot { root } => Arc::new(WebrootSolver::new(
            spec.id.clone(),
            Path::new(root),
            &loaded.settings.state_dir,
            check,
            clock,
        )?),
        SolverKind::Http { listen } => {
            let solver = listeners.obtain(spec, listen, || {
                Arc::new(Http01Solver::new(spec.id.clone(), listen.clone(), store.clone(), check, clock))
            });
            keep_open(&*solver, spec, role == Role::Daemon && used).await;
            solver
        }
        SolverKind::TlsAlpn { listen } => {
            let port = spec.check_port.unwrap_or(TLS_PORT);
            let solver = listeners.obtain(spec, listen, || {
                Arc::new(TlsAlpn01Solver::new(spec.id.clone(), listen.clone(), store.clone(), port, clock))
            });
            keep_open(&*solver, spec, role == Role::Daemon && used).await;
            solver
        }
    }))
}

/// A daemon answers for every process on its state, so it listens all the time.
async fn keep_open(solver: &dyn Listening, spec: &SolverSpec, wanted: bool) {
    if wanted && let Err(failure) = solver.listen().await {
        // Tried again with every answer; another server may pass questions on meanwhile.
        tracing::warn!(solver = %spec.id, %failure, "the challenge listener did not start");
    }
}

/// A name server of ours, which a daemon runs from now on.
async fn own_zones(
    spec: &SolverSpec,
    own: &OwnServer,
    store: &Arc<DirStore>,
    clock: &Clock,
    role: Role,
    used: bool,
    listeners: &Listeners,
) -> Arc<OwnZones> {
    let (zones, replaced) =
        listeners.own_zones(spec, own, || OwnZones::new(own.clone(), store.clone(), clock));
    if let Some(replaced) = replaced {
        replaced.close().await;
    }
    if role == Role::Daemon
        && used
        && let Err(failure) = zones.listen().await
    {
        // Tried again with every text.
        tracing::warn!(solver = %spec.id, %failure, "the name server did not start");
    }
    zones
}

/// A look for texts that the operator set.
pub(super) fn persist_solver(spec: &SolverSpec, persist: &PersistSpec, clock: &Clock) -> Arc<dyn Solver> {
    let port = spec.check_port.unwrap_or(DNS_PORT);
    let lookup = Arc::new(Lookup::new(persist.resolvers.clone(), port, clock));
    let eye = PersistEye::new(lookup, persist.authoritative.clone(), clock);
    Arc::new(PersistSolver::new(spec.id.clone(), eye))
}

/// A solver by DNS, with the provider that its table names. `own` is for who answers by himself.
pub(super) fn dns_solver(
    spec: &SolverSpec,
    dns: &DnsSpec,
    own: Option<Arc<OwnZones>>,
    clock: &Clock,
) -> Arc<dyn Solver> {
    let port = spec.check_port.unwrap_or(DNS_PORT);
    let lookup = Arc::new(Lookup::new(dns.resolvers.clone(), port, clock));
    let secrets: Secrets = Arc::new(secret);
    let provider: Arc<dyn Provider> = match &dns.provider {
        DnsProvider::Own(spec) => own
            .unwrap_or_else(|| Arc::new(OwnZones::new(spec.clone(), Arc::new(ScratchStore::alone()), clock))),
        DnsProvider::Rfc2136 { server, key } => {
            Arc::new(Rfc2136::new(server.clone(), key.clone(), dns.ttl, secrets, lookup.clone(), clock))
        }
        DnsProvider::Exec(exec) => Arc::new(ExecProvider::new(exec.clone(), clock)),
        DnsProvider::Webhook(call) => Arc::new(Webhook::new(call.clone(), secrets, clock)),
        DnsProvider::AcmeDns { accounts, server } => Arc::new(AcmeDns::new(accounts, server.clone(), clock)),
        DnsProvider::Vendor(account) => Arc::new(Hosted::new(account.clone(), dns.ttl, secrets, clock)),
    };
    let propagation = Propagation {
        lookup,
        authoritative: dns.authoritative.clone(),
        resolvers: dns.seen_by.clone(),
        most: dns.propagation,
        clock: clock.clone(),
    };
    let solver = Dns01Solver::new(spec.id.clone(), provider, propagation, dns.zone.clone(), clock);
    Arc::new(if dns.challenge == ChallengeKind::DnsAccount01 { solver.by_account() } else { solver })
}

/// Where CAs look by tls-alpn-01 (RFC 8737 §3).
const TLS_PORT: u16 = 443;
/// Where name servers listen.
pub(super) const DNS_PORT: u16 = 53;

impl Listeners {
    /// The one that runs, if it is as the configuration wants it; else also the one that must go.
    fn own_zones(
        &self,
        spec: &SolverSpec,
        own: &OwnServer,
        make: impl FnOnce() -> OwnZones,
    ) -> (Arc<OwnZones>, Option<Arc<OwnZones>>) {
        let mut known = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, zones)) = known.get(&spec.id)
            && known == own
        {
            return (zones.clone(), None);
        }
        let zones = Arc::new(make());
        let replaced = known.insert(spec.id.clone(), (own.clone(), zones.clone()));
        (zones, replaced.map(|(_, zones)| zones))
    }

    fn obtain(
        &self,
        spec: &SolverSpec,
        listen: &Listen,
        make: impl FnOnce() -> Arc<dyn Listening>,
    ) -> Arc<dyn Listening> {
        let key =
            (spec.id.clone(), format!("{} {listen:?} {:?}", spec.kind.challenge().word(), spec.check_port));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One address for one solver: what listened elsewhere for it before closes when its last
        // user is gone.
        known.retain(|(id, place), _| *id != spec.id || *place == key.1);
        known.entry(key).or_insert_with(make).clone()
    }
}

/// Reads a secret where the configuration says it is. Its text never gets into a message.
pub fn secret(source: &SecretSource) -> Result<Content, Failure> {
    let missing = |what: String| Failure::refused(Fault::Config, "secret-missing", what);
    let from_file = |path: &Path| {
        let content = Disk::real()
            .read(path, SECRET_MAX)
            .map_err(|error| missing(format!("the secret file {}: {error}", path.display())))?;
        let text = content.bytes().trim_ascii().to_vec();
        if text.is_empty() {
            return Err(missing(format!("the secret file {} is empty", path.display())));
        }
        Ok(Content::new(text))
    };
    match source {
        SecretSource::File(path) => from_file(Path::new(path)),
        SecretSource::Env(name) => match std::env::var(name) {
            Ok(value) if !value.trim().is_empty() => Ok(Content::new(value.trim().as_bytes().to_vec())),
            _ => Err(missing(format!("the environment variable {name} is not set, or is empty"))),
        },
        SecretSource::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(dir) => from_file(&Path::new(&dir).join(name)),
            None => Err(missing(format!(
                "the credential {name} is asked for, but $CREDENTIALS_DIRECTORY is not set: use LoadCredential={name}:… in the unit"
            ))),
        },
    }
}
