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
pub(super) struct Listeners(Arc<Mutex<Lineup>>);

/// The listening solvers of one configuration.
#[derive(Clone, Default)]
struct Lineup {
    answering: BySpec,
    name_servers: NameServers,
}

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
    let (running, mut lineup) = (listeners.running(), Lineup::default());
    for spec in wanted.solvers.values() {
        solvers.insert(spec.id.clone(), solver(spec, loaded, store, clock, &running, &mut lineup)?);
    }
    let mut hooks = BTreeMap::new();
    for spec in wanted.hooks.values() {
        hooks.insert(spec.id.clone(), crate::hook::build(spec, clock)?);
    }
    // A configuration that can't be built leaves all that runs as it is.
    listeners.enter(&lineup).await;
    if role == Role::Daemon {
        let used = |id: &SolverId| wanted.lineages.values().any(|lineage| lineage.solvers.contains(id));
        lineup.listen(used).await;
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

/// What listens is taken from `running` where it is as wanted, and is entered into `lineup`.
fn solver(
    spec: &SolverSpec,
    loaded: &Loaded,
    store: &Arc<DirStore>,
    clock: &Clock,
    running: &Lineup,
    lineup: &mut Lineup,
) -> Result<Arc<dyn Solver>, Failure> {
    let check =
        SelfCheck { http: spec.check_port.unwrap_or(SelfCheck::default().http), ..SelfCheck::default() };
    Ok(match &spec.kind {
        SolverKind::Dns(dns) => {
            let own = match &dns.provider {
                DnsProvider::Own(own) => Some(
                    lineup.own_zones(running, spec, own, || OwnZones::new(own.clone(), store.clone(), clock)),
                ),
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
        SolverKind::Http { listen } => lineup.obtain(running, spec, listen, || {
            Arc::new(Http01Solver::new(spec.id.clone(), listen.clone(), store.clone(), check, clock))
        }),
        SolverKind::TlsAlpn { listen } => {
            let port = spec.check_port.unwrap_or(TLS_PORT);
            lineup.obtain(running, spec, listen, || {
                Arc::new(TlsAlpn01Solver::new(spec.id.clone(), listen.clone(), store.clone(), port, clock))
            })
        }
    })
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
pub(super) const TLS_PORT: u16 = 443;
/// Where name servers listen.
pub(super) const DNS_PORT: u16 = 53;

impl Listeners {
    fn running(&self) -> Lineup {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes all that is not of `lineup`, so that its own find their ports free.
    async fn enter(&self, lineup: &Lineup) {
        let before =
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), lineup.clone());
        for (key, solver) in &before.answering {
            if !lineup.answering.contains_key(key) {
                solver.close().await;
            }
        }
        for (id, (_, zones)) in &before.name_servers {
            if lineup.name_servers.get(id).is_none_or(|(_, kept)| !Arc::ptr_eq(kept, zones)) {
                zones.close().await;
            }
        }
    }
}

impl Lineup {
    /// A daemon answers for every process on its state, so it listens all the time. What does not start is tried
    /// again with every answer; another server may pass questions on meanwhile.
    async fn listen(&self, used: impl Fn(&SolverId) -> bool) {
        for ((id, _), solver) in self.answering.iter().filter(|((id, _), _)| used(id)) {
            if let Err(failure) = solver.listen().await {
                tracing::warn!(solver = %id, %failure, "the challenge listener did not start");
            }
        }
        for (id, (_, zones)) in self.name_servers.iter().filter(|(id, _)| used(id)) {
            if let Err(failure) = zones.listen().await {
                tracing::warn!(solver = %id, %failure, "the name server did not start");
            }
        }
    }

    /// The one that runs, if it is as the configuration wants it.
    fn own_zones(
        &mut self,
        running: &Self,
        spec: &SolverSpec,
        own: &OwnServer,
        make: impl FnOnce() -> OwnZones,
    ) -> Arc<OwnZones> {
        let zones = match running.name_servers.get(&spec.id) {
            Some((known, zones)) if known == own => zones.clone(),
            _ => Arc::new(make()),
        };
        self.name_servers.insert(spec.id.clone(), (own.clone(), zones.clone()));
        zones
    }

    fn obtain(
        &mut self,
        running: &Self,
        spec: &SolverSpec,
        listen: &Listen,
        make: impl FnOnce() -> Arc<dyn Listening>,
    ) -> Arc<dyn Listening> {
        let key =
            (spec.id.clone(), format!("{} {listen:?} {:?}", spec.kind.challenge().word(), spec.check_port));
        let solver = running.answering.get(&key).cloned().unwrap_or_else(make);
        self.answering.insert(key, solver.clone());
        solver
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::core::domain_name::DomainName;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn server(port: u16, zone: &str) -> OwnServer {
        OwnServer {
            listen: vec![Listen::Address(([127, 0, 0, 1], port).into())],
            zones: vec![name(zone)],
            name_server: name("ns.acme.test"),
            addresses: Vec::new(),
            contact: name("hostmaster.acme.test"),
        }
    }

    /// A port that is free for UDP and TCP alike.
    fn free() -> u16 {
        let (mut tries, most) = (0, 50);
        loop {
            tries += 1;
            let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let at = datagrams.local_addr().unwrap();
            match std::net::TcpListener::bind(at) {
                Ok(_) => return at.port(),
                Err(error) => assert!(tries < most, "{error}"),
            }
        }
    }

    fn solver(id: &str, kind: SolverKind) -> SolverSpec {
        SolverSpec {
            id: SolverId::parse(id).unwrap(),
            kind,
            check_port: None,
            names: Vec::new(),
            origin: crate::core::spec::Origin::default(),
        }
    }

    fn zones_of(listeners: &Listeners, id: &str) -> Arc<OwnZones> {
        listeners.running().name_servers[&SolverId::parse(id).unwrap()].1.clone()
    }

    #[tokio::test]
    async fn a_name_server_lives_as_long_as_its_table() {
        let (listeners, clock) = (Listeners::default(), Clock::wall());
        let port = free();
        let (one, other) = (server(port, "a.test"), server(port, "b.test"));
        for (situation, wanted) in [
            ("the first", vec![("own", &one)]),
            ("read again", vec![("own", &one)]),
            ("renamed", vec![("named", &one)]),
            ("other zones", vec![("named", &other)]),
            ("removed", vec![]),
            ("back again", vec![("own", &one)]),
        ] {
            let before = listeners.running();
            let mut lineup = Lineup::default();
            for (id, own) in &wanted {
                let make = || OwnZones::new((*own).clone(), Arc::new(ScratchStore::alone()), &clock);
                lineup.own_zones(
                    &before,
                    &solver(id, SolverKind::Persist(PersistSpec::default())),
                    own,
                    make,
                );
            }
            for (_, zones) in before.name_servers.values() {
                assert_eq!(zones.addresses().await.len(), 1, "{situation}: it runs until all is built");
            }
            listeners.enter(&lineup).await;
            lineup.listen(|_| true).await;
            for (id, _) in &wanted {
                let zones = zones_of(&listeners, id);
                assert_eq!(zones.addresses().await.len(), 1, "{situation}: {id} has the port");
            }
            for (id, (_, zones)) in &before.name_servers {
                let kept = lineup.name_servers.get(id).is_some_and(|(_, now)| Arc::ptr_eq(now, zones));
                assert_eq!(kept, situation == "read again", "{situation}");
                assert_eq!(zones.addresses().await.is_empty(), !kept, "{situation}: {id}");
            }
        }
    }

    #[tokio::test]
    async fn a_renamed_listener_gets_the_port_of_the_old_one() {
        let (listeners, clock) = (Listeners::default(), Clock::wall());
        let listen = Listen::Address(([127, 0, 0, 1], free()).into());
        let mut last: Option<Arc<Http01Solver>> = None;
        for id in ["web", "renamed"] {
            let spec = solver(id, SolverKind::Http { listen: listen.clone() });
            let made = Arc::new(Http01Solver::new(
                spec.id.clone(),
                listen.clone(),
                Arc::new(ScratchStore::alone()),
                SelfCheck::default(),
                &clock,
            ));
            let mut lineup = Lineup::default();
            lineup.obtain(&listeners.running(), &spec, &listen, || made.clone());
            listeners.enter(&lineup).await;
            lineup.listen(|_| true).await;
            assert_eq!(made.addresses().await.len(), 1, "{id}");
            if let Some(last) = last.replace(made) {
                assert!(last.addresses().await.is_empty(), "the old one is closed");
            }
        }
    }
}
