//! Free looks at this host and at CAs, for `check` and for who is about to become somebody else:
//! nothing is written, and no account is made.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::AgentSettings;
use crate::core::failure::Failure;
use crate::core::name::SolverId;
use crate::core::spec::{IssuerSpec, Listen, SolverKind, SolverSpec, Wanted};
use crate::core::time::Span;
use crate::ports::{Greeting, Solver};
use crate::solve::holder::Holder;
use crate::solve::self_check::SelfCheck;
use crate::solve::socket;
use crate::solve::webroot::WebrootSolver;
use crate::store::scratch::ScratchStore;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::sys::privilege::Identity;

/// Name of our own program among processes.
const PROGRAM: &str = "nolapse";

/// User and group number of who the state belongs to; `None` where there is none yet.
pub fn state_owner(settings: &AgentSettings) -> Option<(u32, u32)> {
    crate::store::owner(&Disk::real(), &settings.state_dir)
}

/// Who else listens where we would like to: neither nobody nor an agent of ours, as which a
/// process of `owner` that is hidden from us passes too.
pub fn rival(address: SocketAddr, owner: &Identity) -> Option<String> {
    match Holder::of(address) {
        Holder::Unknown => None,
        Holder::Process { command, .. } if command == PROGRAM => None,
        Holder::Hidden { uid } if uid == owner.uid && !owner.is_root() => None,
        holder => Some(holder.to_string()),
    }
}

/// Solvers in use that could not set an answer up. Held and forbidden ports are left out: root
/// sees more of those, see [`rival`].
pub async fn unable(settings: &AgentSettings, wanted: &Wanted, clock: &Clock) -> Vec<(SolverId, Failure)> {
    let mut found = Vec::new();
    for spec in wanted.solvers.values() {
        if wanted.lineages.values().any(|lineage| lineage.solvers.contains(&spec.id))
            && let Err(failure) = able(settings, spec, clock).await
        {
            found.push((spec.id.clone(), failure));
        }
    }
    found
}

async fn able(settings: &AgentSettings, spec: &SolverSpec, clock: &Clock) -> Result<(), Failure> {
    match &spec.kind {
        SolverKind::Webroot { root } => {
            let (root, check) = (Path::new(root), SelfCheck::default());
            WebrootSolver::new(spec.id.clone(), root, &settings.state_dir, check, clock)?.able().await
        }
        SolverKind::Http { listen: listen @ Listen::Address(_) }
        | SolverKind::TlsAlpn { listen: listen @ Listen::Address(_) } => match socket::open(listen).await {
            Err(failure) if failure.code != "port-in-use" && failure.code != "port-forbidden" => Err(failure),
            Ok(_) | Err(_) => Ok(()),
        },
        SolverKind::Dns(dns) => super::scene::dns_solver(spec, dns, clock).able().await,
        // Handed over to the service, never to who asks by hand.
        SolverKind::Http { listen: Listen::Systemd(_) }
        | SolverKind::TlsAlpn { listen: Listen::Systemd(_) } => Ok(()),
    }
}

/// What a CA says without an account. `None`: it said nothing within `patience`.
pub async fn greeting(spec: &IssuerSpec, clock: &Clock, patience: Span) -> Result<Option<Greeting>, Failure> {
    let ca = super::issuer(spec, Arc::new(ScratchStore::alone()), clock)?;
    clock.timeout(patience, ca.reachable()).await.transpose()
}
