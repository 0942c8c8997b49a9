//! What takes away answers whose solver left the configuration, or has another kind there now: only what needs
//! neither a credential nor a program of the operator's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::core::domain_name::DomainName;
use crate::core::failure::Failure;
use crate::core::name::SolverId;
use crate::core::spec::{DnsProvider, Listen, OwnServer, SolverKind};
use crate::ports::{Solver, Store};
use crate::solve::dns::Lookup;
use crate::solve::dns01::Dns01Solver;
use crate::solve::dns01::own::OwnZones;
use crate::solve::http01::Http01Solver;
use crate::solve::persist::{PersistEye, PersistSolver};
use crate::solve::propagation::Propagation;
use crate::solve::self_check::SelfCheck;
use crate::solve::tls_alpn01::TlsAlpn01Solver;
use crate::solve::webroot::WebrootSolver;
use crate::store::DirStore;
use crate::sys::clock::Clock;

/// No table can be called so: the name is never shown.
const NAME: &str = "former";
/// A directory that is nobody's: a receipt names the one that counts.
const NO_ROOT: &str = "/nonexistent";

/// By what `SolverKind::way` calls them. None of them ever listens or asks anybody.
pub(super) fn solvers(
    store: &Arc<DirStore>,
    state_dir: &Path,
    clock: &Clock,
) -> Result<BTreeMap<Box<str>, Arc<dyn Solver>>, Failure> {
    let id = SolverId::parse(NAME).map_err(|why| Failure::broken("solver-name", why.to_string()))?;
    let nowhere = Listen::Systemd(NAME.to_owned());
    let shelf: Arc<dyn Store> = store.clone();
    let lookup = || Lookup::new(Vec::new(), super::scene::DNS_PORT, clock);
    let http = Http01Solver::new(id.clone(), nowhere.clone(), shelf.clone(), SelfCheck::default(), clock);
    let tls = TlsAlpn01Solver::new(id.clone(), nowhere, shelf.clone(), super::scene::TLS_PORT, clock);
    let webroot = WebrootSolver::new(id.clone(), Path::new(NO_ROOT), state_dir, SelfCheck::default(), clock)?;
    let persist = PersistSolver::new(id.clone(), PersistEye::new(Arc::new(lookup()), Vec::new(), clock));
    let zones = OwnServer {
        listen: Vec::new(),
        zones: Vec::new(),
        name_server: DomainName::ROOT,
        addresses: Vec::new(),
        contact: DomainName::ROOT,
    };
    let propagation = Propagation {
        lookup: Arc::new(lookup()),
        authoritative: Vec::new(),
        resolvers: Vec::new(),
        most: crate::core::time::Span::ZERO,
        clock: clock.clone(),
    };
    let own = Arc::new(OwnZones::new(zones, shelf, clock));
    let own = Dns01Solver::new(id, own, propagation, None, clock);
    let all: [(&str, Arc<dyn Solver>); 5] = [
        (SolverKind::HTTP, Arc::new(http)),
        (SolverKind::TLS_ALPN, Arc::new(tls)),
        (SolverKind::WEBROOT, Arc::new(webroot)),
        (SolverKind::PERSIST, Arc::new(persist)),
        (DnsProvider::OWN, Arc::new(own)),
    ];
    Ok(all.into_iter().map(|(way, solver)| (way.into(), solver)).collect())
}
