//! Changes sent to a name server by itself (RFC 2136), signed (RFC 8945): bind9, knot and others.
//!
//! By TCP, so that nobody answers in the server's place and nothing is cut off.

use std::net::SocketAddr;
use std::sync::Arc;

use super::provider::{Entry, Provider};
use crate::codec::dns::tsig::{Seal, SealError};
use crate::codec::dns::update::Change;
use crate::codec::dns::{DomainName, Malformed, Outcome, TsigKey, Update};
use crate::core::dns_server::DnsServer;
use crate::core::failure::{Failure, Fault};
use crate::core::spec::SecretSource;
use crate::core::time::{Span, Timestamp};
use crate::ports::{Reply, Secrets};
use crate::solve::dns::Lookup;
use crate::solve::dns::exchange::{by_tcp, fresh_id};
use crate::sys::clock::Clock;

/// A name server that takes updates.
pub struct Rfc2136 {
    /// `None`: the one that the zone's SOA names.
    server: Option<DnsServer>,
    /// `None`: the server trusts our address.
    key: Option<SecretSource>,
    ttl: Span,
    secrets: Secrets,
    lookup: Arc<Lookup>,
    clock: Clock,
}

impl Rfc2136 {
    pub fn new(
        server: Option<DnsServer>,
        key: Option<SecretSource>,
        ttl: Span,
        secrets: Secrets,
        lookup: Arc<Lookup>,
        clock: &Clock,
    ) -> Self {
        Self { server, key, ttl, secrets, lookup, clock: clock.clone() }
    }

    fn key(&self) -> Result<Option<TsigKey>, Failure> {
        let Some(source) = &self.key else { return Ok(None) };
        // Read anew each time: a key that was changed counts at once.
        let content = (self.secrets)(source)?;
        let parsed = std::str::from_utf8(content.bytes()).ok().map(TsigKey::parse);
        let why = match parsed {
            Some(Ok(key)) => return Ok(Some(key)),
            Some(Err(why)) => why.0,
            None => "it is no text",
        };
        Err(Failure::refused(Fault::Config, "dns-credentials", format!("the TSIG key can't be used: {why}")))
    }

    async fn addresses(&self, zone: &DomainName) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = match &self.server {
            Some(DnsServer::At(address)) => return Ok(vec![*address]),
            Some(DnsServer::Named(host, port)) => (host.clone(), *port),
            None => (self.lookup.zone_of(zone).await?.primary, self.lookup.port()),
        };
        let found = self.lookup.addresses(&host).await?;
        if found.is_empty() {
            let words = format!(
                "the name server {host} of {zone} has no address; name the one that takes updates with `server`"
            );
            return Err(Failure::refused(Fault::Config, "dns-unreachable", words));
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    async fn change(&self, entry: &Entry<'_>, change: Change) -> Result<(), Failure> {
        let record = entry.record;
        let Some(zone) = &record.zone else {
            return Err(Failure::broken("receipt-damaged", format!("no zone is known for {}", record.name)));
        };
        let key = self.key()?;
        let mut last = None;
        for server in self.addresses(zone).await? {
            let id = fresh_id().map_err(|mute| unreached(server, &mute.to_string()))?;
            let update = Update { id, zone, name: &record.name, text: &record.value, change };
            let mut message = update.to_bytes();
            let mac = key.as_ref().map(|key| key.sign(&mut message, seconds(self.clock.now())));
            match by_tcp(server, &message, &self.clock).await {
                Err(mute) => last = Some(unreached(server, &mute.to_string())),
                Ok(answer) => {
                    let outcome = Update::outcome(&answer, id).map_err(|why| garbled(server, why))?;
                    let seal = match (&key, &mac) {
                        (Some(key), Some(mac)) => {
                            Some(key.verify(&answer, mac).map_err(|why| garbled(server, why))?)
                        }
                        _ => None,
                    };
                    return Verdict { server, zone, name: &record.name, key: key.as_ref() }.on(outcome, seal);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::broken("dns-unreachable", format!("{zone} has no server"))))
    }
}

impl Provider for Rfc2136 {
    fn needs_zone(&self) -> bool {
        true
    }

    /// Codes: `dns-refused`, `dns-change-failed`, `dns-credentials`, `dns-clock`, `secret-missing`,
    /// and those of [`Lookup`].
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        let ttl = u32::try_from(self.ttl.whole_secs()).unwrap_or(60);
        Box::pin(self.change(entry, Change::Add { ttl }))
    }

    fn remove<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.change(entry, Change::Remove))
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move { self.key().map(|_| ()) })
    }
}

/// What is known when a server has answered.
struct Verdict<'a> {
    server: SocketAddr,
    zone: &'a DomainName,
    name: &'a DomainName,
    key: Option<&'a TsigKey>,
}

impl Verdict<'_> {
    fn on(&self, outcome: Outcome, seal: Option<Seal>) -> Result<(), Failure> {
        let Self { server, zone, name, .. } = self;
        let key = self.key.map_or_else(|| "no key".to_owned(), |key| format!("the key {}", key.name));
        match seal {
            Some(Seal::Refused(SealError::BadTime)) => {
                let words = format!(
                    "the clocks of this host and of {server} are more than 5 minutes apart; run a time service \
                     on both"
                );
                return Err(Failure::transient(Fault::Host, "dns-clock", words));
            }
            Some(Seal::Refused(error)) => {
                let why = match error {
                    SealError::BadKey => "does not know this key, or knows it with another algorithm",
                    SealError::BadSignature => "knows this key with another secret",
                    SealError::BadTime | SealError::Other(_) => "does not take the signature",
                };
                let words =
                    format!("{server} refuses {key}: it {why}; compare the key file with the server's");
                return Err(Failure::refused(Fault::Config, "dns-credentials", words));
            }
            Some(Seal::Broken) => {
                let words = format!(
                    "the answer of {server} is not signed as {key} does it: the secret differs, or somebody \
                     answers in its place"
                );
                return Err(Failure::refused(Fault::Config, "dns-credentials", words));
            }
            Some(Seal::None) if outcome == Outcome::Fine => {
                let words =
                    format!("{server} answered a signed update without a signature; it is not believed");
                return Err(Failure::transient(Fault::Network, "dns-answer", words));
            }
            Some(Seal::None | Seal::Sound) | None => {}
        }
        match outcome {
            Outcome::Fine => Ok(()),
            Outcome::Refused => Err(Failure::refused(
                Fault::Config,
                "dns-refused",
                format!(
                    "{server} lets {key} not change {name}; in bind: `grant … name {name}. TXT;` in \
                     update-policy, in knot: an acl with action update for the zone {zone}"
                ),
            )),
            Outcome::NotAuthoritative | Outcome::NotInZone => Err(Failure::refused(
                Fault::Config,
                "dns-refused",
                format!(
                    "{server} says {}: it does not hold the zone {zone}, or does not take {key} for it; name the \
                     primary server with `server`, and the zone with `zone`",
                    outcome.word()
                ),
            )),
            other => Err(Failure::transient(
                Fault::Network,
                "dns-change-failed",
                format!("{server} did not change {name}: {}; its log says why", other.word()),
            )),
        }
    }
}

fn unreached(server: SocketAddr, why: &str) -> Failure {
    let words =
        format!("the name server {server} for updates {why}; is it the right one, and TCP let through?");
    Failure::transient(Fault::Network, "dns-unreachable", words)
}

fn garbled(server: SocketAddr, why: Malformed) -> Failure {
    let words = format!("the answer of {server} can't be read: {why}");
    Failure::transient(Fault::Network, "dns-answer", words)
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.millis() / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_no_of_a_server_says_whose_turn_it_is() {
        let name = |text: &str| DomainName::parse(text).unwrap();
        let key = TsigKey::new("acme", "hmac-sha256", "eA==").unwrap();
        let (zone, at) = (name("example.com"), name("_acme-challenge.example.com"));
        let verdict =
            Verdict { server: "192.0.2.1:53".parse().unwrap(), zone: &zone, name: &at, key: Some(&key) };
        for (outcome, seal, code) in [
            (Outcome::Refused, Seal::Sound, "dns-refused"),
            (Outcome::NotAuthoritative, Seal::None, "dns-refused"),
            (Outcome::NotAuthoritative, Seal::Refused(SealError::BadKey), "dns-credentials"),
            (Outcome::NotAuthoritative, Seal::Refused(SealError::BadTime), "dns-clock"),
            (Outcome::Fine, Seal::Broken, "dns-credentials"),
            (Outcome::Fine, Seal::None, "dns-answer"),
            (Outcome::ServerFailure, Seal::Sound, "dns-change-failed"),
        ] {
            assert_eq!(verdict.on(outcome, Some(seal)).unwrap_err().code, code, "{outcome:?} {seal:?}");
        }
        assert!(verdict.on(Outcome::Fine, Some(Seal::Sound)).is_ok());
        assert!(verdict.on(Outcome::Fine, None).is_ok());
    }
}
