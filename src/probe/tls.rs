//! Looks at an endpoint: as many handshakes as it asks for, dialled as written, and what was
//! served in each.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::task::JoinSet;

use super::handshake::{Chain, Parting, shake};
use super::prelude::start_tls;
use super::trust::Trust;
use super::unseen::Unseen;
use super::{dial, unseen};
use crate::codec::{bundle, x509};
use crate::core::endpoint::{Endpoint, Protocol};
use crate::core::failure::plain;
use crate::core::manner::Addresses;
use crate::core::silence::Silence;
use crate::core::time::Span;
use crate::ports::{Probe, Reply, Served, Sighting};
use crate::sys::clock::Clock;

/// Looks with rustls (TLS 1.2 and 1.3). Sees every certificate, whoever vouches for it.
#[derive(Clone)]
pub struct TlsProbe {
    clock: Clock,
    provider: Arc<CryptoProvider>,
    trust: Arc<Trust>,
}

/// Most handshakes of one look; where there are more addresses, each gets fewer.
const HANDSHAKES_MAX: usize = 64;
/// Handshakes of one look side by side: enough that one busy worker does not take them all.
const SIDE_BY_SIDE: usize = 8;
/// Longest chain that is read, in certificates.
const CHAIN_MAX: usize = 10;

impl TlsProbe {
    /// `extra_roots` vouch besides the system's, so that a private CA is not reported as
    /// distrusted.
    pub fn new(clock: Clock, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = Arc::new(Trust::new(Arc::clone(&provider), extra_roots));
        Self { clock, provider, trust }
    }

    async fn looks(&self, endpoint: &Endpoint, within: Span) -> Result<Vec<Sighting>, Unseen> {
        let Ok(name) = ServerName::try_from(endpoint.server_name()) else {
            let words = format!("{} is no server name", endpoint.server_name());
            return Err(Unseen::new(Silence::NotLooked, words));
        };
        let resolved = self.clock.timeout(within, dial::resolve(endpoint)).await;
        let addresses = resolved.ok_or_else(|| too_long(within))??;
        let targets: Vec<Vec<SocketAddr>> = match endpoint.manner.addresses {
            Addresses::First => vec![addresses],
            Addresses::All => addresses.into_iter().map(|address| vec![address]).collect(),
        };
        let each = endpoint.manner.samples.count().min(HANDSHAKES_MAX / targets.len()).max(1);
        // In turn, so that those side by side go to different backends.
        let mut left = std::iter::repeat_n(targets, each).flatten().collect::<Vec<_>>().into_iter();
        let rounds = i64::try_from(left.len().div_ceil(SIDE_BY_SIDE)).unwrap_or(1);
        let share = within.over(rounds);
        let (mut running, mut leaving) = (JoinSet::new(), JoinSet::new());
        let mut sightings = Vec::with_capacity(left.len());
        loop {
            while running.len() < SIDE_BY_SIDE
                && let Some(addresses) = left.next()
            {
                let (probe, endpoint, name) = (self.clone(), endpoint.clone(), name.clone());
                running.spawn(async move { probe.sample(&endpoint, name, &addresses, share).await });
            }
            match running.join_next().await {
                Some(Ok((sighting, parting))) => {
                    sightings.push(sighting);
                    // A slow goodbye takes nothing from the time of those that follow.
                    if let Some(parting) = parting {
                        let clock = self.clock.clone();
                        leaving.spawn(async move { parting.end(&clock).await });
                    }
                }
                Some(Err(error)) => {
                    return Err(Unseen::new(Silence::NotLooked, format!("the look was broken off: {error}")));
                }
                None => break,
            }
        }
        while leaving.join_next().await.is_some() {}
        Ok(sightings)
    }

    /// One handshake, with the first of `addresses` that takes the connection.
    async fn sample(
        &self,
        endpoint: &Endpoint,
        name: ServerName<'static>,
        addresses: &[SocketAddr],
        within: Span,
    ) -> (Sighting, Option<Parting>) {
        let mut from = match addresses {
            [only] => Some(only.ip()),
            _ => None,
        };
        let chain = self.clock.timeout(within, self.chain(endpoint, &name, addresses, within, &mut from));
        let (seen, parting) = match chain.await {
            Some(Ok((chain, parting))) => (self.read(chain, name).await, parting),
            Some(Err(unseen)) => (Err(unseen), None),
            None => (Err(too_long(within)), None),
        };
        let sighting = match seen {
            Ok(served) => Sighting::served(served),
            Err(unseen) => Sighting::nothing(unseen.why, unseen.words),
        };
        (Sighting { from, ..sighting }, parting)
    }

    async fn chain(
        &self,
        endpoint: &Endpoint,
        name: &ServerName<'static>,
        addresses: &[SocketAddr],
        within: Span,
        from: &mut Option<IpAddr>,
    ) -> Result<(Chain, Option<Parting>), Unseen> {
        let stream = dial::dial(&self.clock, endpoint, addresses, within).await?;
        *from = stream.peer_addr().ok().map(|address| address.ip()).or(*from);
        let stream = start_tls(endpoint.protocol, stream).await?;
        let (protocol, manner) = (endpoint.protocol, &endpoint.manner);
        let shaken = shake(&self.provider, stream, protocol, name.clone(), manner).await;
        shaken.map_err(|unseen| match (protocol, unseen.why) {
            (Protocol::Tls, _) => unseen,
            // Dovecot without a usable key says yes, and then goodbye in plain text.
            (_, Silence::NotSpoken) => {
                Unseen::new(Silence::NotReady, "the server agreed to begin TLS, and did not")
            }
            _ => unseen,
        })
    }

    async fn read(&self, chain: Chain, name: ServerName<'static>) -> Result<Served, Unseen> {
        let (trust, now) = (Arc::clone(&self.trust), self.clock.now());
        // The first judgement reads the system's roots from disk.
        let read = tokio::task::spawn_blocking(move || {
            let unreadable = |error: x509::X509Error| {
                let words = format!("the server's certificate can't be read: {error}");
                Unseen::new(Silence::NoCertificate, plain(&words, unseen::REASON_MAX))
            };
            let Some((first, above)) = chain.split_first() else {
                return Err(Unseen::new(Silence::NoCertificate, "the server showed no certificate"));
            };
            let leaf = x509::leaf(first).map_err(unreadable)?;
            let sent: Vec<&[u8]> = chain.iter().take(CHAIN_MAX).map(AsRef::as_ref).collect();
            Ok(Served {
                leaf,
                // A chain that can't be read shows in that nobody trusts it.
                sent: x509::members(&sent).unwrap_or_default(),
                above: bundle::digest_above(&above.iter().map(|der| der.to_vec()).collect::<Vec<_>>()),
                distrust: trust.distrust(&chain, &name, now),
            })
        });
        read.await.unwrap_or_else(|error| {
            Err(Unseen::new(Silence::NotLooked, format!("the look was broken off: {error}")))
        })
    }
}

impl Probe for TlsProbe {
    fn look<'a>(&'a self, endpoint: &'a Endpoint, within: Span) -> Reply<'a, Vec<Sighting>> {
        Box::pin(async move {
            self.looks(endpoint, within)
                .await
                .unwrap_or_else(|unseen| vec![Sighting::nothing(unseen.why, unseen.words)])
        })
    }
}

fn too_long(within: Span) -> Unseen {
    Unseen::new(Silence::TimedOut, format!("timed out after {within}"))
}
