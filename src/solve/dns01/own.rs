//! Nobody's zone is changed: `_acme-challenge` of the name, or what its alias leads to, was delegated to this
//! host, and nolapse answers there by itself. No credential is on the host at all.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::provider::{Entry, Provider};
use crate::codec::dns::{DomainName, Kind, Outcome, Zones};
use crate::core::failure::{Failure, Fault};
use crate::core::spec::{Listen, OwnServer};
use crate::ports::{Reply, Store};
use crate::solve::dns::exchange::ask;
use crate::solve::name_server::{self, NameServer, Tongue};
use crate::solve::texts::StandingTexts;
use crate::sys::clock::Clock;

/// Puts texts into the store and sees to it that somebody tells them.
///
/// A daemon calls [`OwnZones::listen`] once and answers from then on. Without that call the server runs from
/// the first text set to the last one taken away; where the port is taken, that should be by a daemon on this
/// state directory, which tells it as well.
pub struct OwnZones {
    spec: OwnServer,
    texts: Arc<StandingTexts>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    server: Option<NameServer>,
    /// Listen on when no text stands.
    keep: bool,
    /// Another one took over.
    closed: bool,
    /// Names and values.
    standing: BTreeSet<(DomainName, String)>,
    /// Why our own server is not running.
    refused: Option<Failure>,
}

impl OwnZones {
    pub fn new(spec: OwnServer, store: Arc<dyn Store>, clock: &Clock) -> Self {
        let texts = Arc::new(StandingTexts::new(store, clock));
        Self { spec, texts, clock: clock.clone(), state: Mutex::default() }
    }

    /// Answers now and until dropped. After an error it tries again with every text.
    ///
    /// Codes: those of [`name_server::NameServer::bind`].
    pub async fn listen(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        state.keep = true;
        self.start(&mut state).await
    }

    /// Gives its ports up for good, for one with other zones.
    pub async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(server) = state.server.take() {
            server.close().await;
        }
    }

    /// Where it answers by UDP now, if it does.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        let state = self.state.lock().await;
        state.server.as_ref().map(|server| server.addresses().to_vec()).unwrap_or_default()
    }

    async fn start(&self, state: &mut State) -> Result<(), Failure> {
        if state.server.is_some() || state.closed {
            return Ok(());
        }
        let zones = Zones {
            apexes: self.spec.zones.clone(),
            name_server: self.spec.name_server.clone(),
            addresses: self.spec.addresses.clone(),
            contact: self.spec.contact.clone(),
        };
        let tongue = Tongue { zones, texts: self.texts.clone(), clock: self.clock.clone() };
        match NameServer::bind(&self.spec.listen, Arc::new(tongue)).await {
            Ok(server) => {
                state.server = Some(server);
                state.refused = None;
                Ok(())
            }
            Err(failure) => {
                state.refused = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Whether somebody tells of our zones where we would: a daemon of ours, as far as can be seen.
    async fn somebody_answers(&self) -> bool {
        for listen in &self.spec.listen {
            let (Listen::Address(address), Some(zone)) = (listen, self.spec.zones.first()) else { continue };
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            let asked = ask(SocketAddr::new(ip, address.port()), zone, Kind::Soa, false, &self.clock).await;
            if asked.is_ok_and(|told| {
                told.authoritative && told.outcome == Outcome::Fine && !told.answers.is_empty()
            }) {
                return true;
            }
        }
        false
    }
}

impl Provider for OwnZones {
    fn needs_zone(&self) -> bool {
        false
    }

    /// Codes: `store-failed`.
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.texts.set(entry.record).await?;
            let mut state = self.state.lock().await;
            state.standing.insert((entry.record.name.clone(), entry.record.value.clone()));
            // A taken port is no failure yet: a daemon of ours that holds it tells from the same store.
            let _ = self.start(&mut state).await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let removed = self.texts.unset(entry.record).await;
            let mut state = self.state.lock().await;
            state.standing.remove(&(entry.record.name.clone(), entry.record.value.clone()));
            if state.standing.is_empty()
                && !state.keep
                && let Some(server) = state.server.take()
            {
                server.close().await;
            }
            removed
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            let opened = match state.server {
                Some(_) => return Ok(()),
                None if state.keep => self.start(&mut state).await,
                None => open_all(&self.spec.listen).await,
            };
            drop(state);
            let Err(refused) = opened else { return Ok(()) };
            if self.somebody_answers().await { Ok(()) } else { Err(refused) }
        })
    }

    /// Code: `dns-not-delegated`.
    fn own_zone(&self, name: &DomainName) -> Result<Option<DomainName>, Failure> {
        let zones = self.spec.zones.iter().filter(|zone| name.lies_in(zone));
        if let Some(zone) = zones.max_by_key(|zone| zone.as_str().len()) {
            return Ok(Some(zone.clone()));
        }
        // Aliases of many names belong into a zone that is nobody's challenge itself.
        let shared = |zone: &&DomainName| zone.labels().next() != Some(DomainName::CHALLENGE);
        let Some(zone) = self.spec.zones.iter().find(shared).or(self.spec.zones.first()) else {
            return Ok(None);
        };
        let words = format!(
            "{name} lies in no zone that this host answers for ({}); set  {name}. CNAME {}.{zone}.  or delegate \
             it by  {name}. NS {}.  and add it to `zones`",
            shown(&self.spec.zones),
            name.as_str().trim_start_matches(DomainName::CHALLENGE).trim_start_matches('.'),
            self.spec.name_server
        );
        Err(Failure::refused(Fault::Config, "dns-not-delegated", words))
    }

    fn hindrance(&self) -> Reply<'_, Option<Failure>> {
        Box::pin(async move { self.state.lock().await.refused.clone() })
    }
}

/// Opened and closed again: a look leaves nothing behind. Sockets of systemd are handed over to the service,
/// never to who asks by hand; whether the service tells the texts is seen when one is looked for.
async fn open_all(listen: &[Listen]) -> Result<(), Failure> {
    for listen in listen {
        match name_server::sockets(listen).await {
            Err(failure) if failure.code == "socket-missing" => {}
            opened => drop(opened?),
        }
    }
    Ok(())
}

/// Zones shown in words; the rest is counted.
const SHOWN: usize = 4;

fn shown(zones: &[DomainName]) -> String {
    let listed: Vec<_> = zones.iter().take(SHOWN).map(DomainName::as_str).collect();
    match zones.len().saturating_sub(SHOWN) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}
