//! Waiting until name servers show a record: first every address of every server of its zone, then
//! the resolvers that the operator named. What each of them said last is kept for people.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::dns::exchange::{Mute, ask};
use super::dns::{Lookup, NameServer};
use crate::codec::dns::{DomainName, Kind, Outcome};
use crate::core::failure::Failure;
use crate::core::showing::Shown;
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// First pause between two rounds of questions; doubles up to [`PAUSE_MOST`].
const PAUSE_FIRST: Span = Span::from_millis(500);
const PAUSE_MOST: Span = Span::secs(8);
/// A server that never answered is not waited for longer, where others show the record: addresses
/// that can't be reached from here (IPv6, a hidden site) are no news.
const SILENCE_MOST: Span = Span::secs(10);
/// Servers named in words; the rest is counted.
const SHOWN: usize = 6;

/// Where a record must be seen.
pub struct Propagation {
    pub lookup: Arc<Lookup>,
    /// In place of the zone's own servers: the view of a split DNS that the world sees.
    pub authoritative: Vec<SocketAddr>,
    /// Resolvers that must see it afterwards.
    pub resolvers: Vec<SocketAddr>,
    /// Counted from when the record was set; one round is asked however late.
    pub most: Span,
    pub clock: Clock,
}

/// What one server said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub server: NameServer,
    pub seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Shown,
    /// The name has texts, and ours is not among them.
    Others(usize),
    /// The name, or a text at it, does not exist.
    Nothing,
    /// The server will not say.
    Denied(Outcome),
    Mute(Mute),
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.server.place();
        match &self.seen {
            Seen::Shown => write!(f, "{place} shows it"),
            Seen::Others(1) => write!(f, "{place} shows another value"),
            Seen::Others(count) => write!(f, "{place} shows {count} other values"),
            Seen::Nothing => write!(f, "{place} has nothing there"),
            Seen::Denied(outcome) => write!(f, "{place} says {}", outcome.word()),
            Seen::Mute(mute) => write!(f, "{place} {mute}"),
        }
    }
}

/// The last round of questions; never empty where servers are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(pub Vec<Sighting>);

impl Sightings {
    /// All that answered show it, and at least one did.
    fn good(&self, silence_counts: bool) -> bool {
        let mute = |seen: &Seen| matches!(seen, Seen::Mute(_));
        let shown = self.0.iter().any(|one| one.seen == Seen::Shown);
        shown && self.0.iter().all(|one| one.seen == Seen::Shown || (!silence_counts && mute(&one.seen)))
    }
}

impl Sightings {
    /// For the record: who showed what.
    pub fn shown(&self) -> impl Iterator<Item = Shown> {
        self.0.iter().map(|one| Shown { seen: one.seen == Seen::Shown, words: one.to_string() })
    }
}

impl fmt::Display for Sightings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Those that lack it first: they are what is to be mended.
        let mut ordered: Vec<_> = self.0.iter().collect();
        ordered.sort_by_key(|one| one.seen == Seen::Shown);
        for (at, one) in ordered.iter().take(SHOWN).enumerate() {
            write!(f, "{}{one}", if at > 0 { "; " } else { "" })?;
        }
        match ordered.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Why the record was not seen everywhere.
pub enum Unseen {
    /// Nobody could be asked.
    Unknown(Failure),
    At(Sightings),
}

impl Propagation {
    /// Until `value` is shown by all, or time is up; `since` is when it was set, on the clock's
    /// monotonic scale.
    pub async fn await_shown(
        &self,
        name: &DomainName,
        value: &str,
        zone: &DomainName,
        since: Span,
    ) -> Result<Sightings, Unseen> {
        let servers = if self.authoritative.is_empty() {
            self.lookup.servers(zone).await.map_err(Unseen::Unknown)?
        } else {
            plain(&self.authoritative)
        };
        let mut seen = self.rounds(&servers, name, value, false, since).await?;
        match self.rounds(&plain(&self.resolvers), name, value, true, since).await {
            Ok(more) => {
                seen.0.extend(more.0);
                Ok(seen)
            }
            Err(Unseen::At(more)) => {
                seen.0.extend(more.0);
                Err(Unseen::At(seen))
            }
            Err(unknown) => Err(unknown),
        }
    }

    async fn rounds(
        &self,
        servers: &[NameServer],
        name: &DomainName,
        value: &str,
        recursion: bool,
        since: Span,
    ) -> Result<Sightings, Unseen> {
        if servers.is_empty() {
            return Ok(Sightings::default());
        }
        let mut pause = PAUSE_FIRST;
        loop {
            let round = self.round(servers, name, value, recursion).await;
            let passed = self.clock.monotonic() - since;
            if round.good(passed < SILENCE_MOST) {
                return Ok(round);
            }
            if passed + pause > self.most {
                // Advice: silence of some is no reason to speak of when all others show it.
                return if round.good(false) { Ok(round) } else { Err(Unseen::At(round)) };
            }
            self.clock.sleep(pause).await;
            pause = (pause + pause).min(PAUSE_MOST);
        }
    }

    async fn round(
        &self,
        servers: &[NameServer],
        name: &DomainName,
        value: &str,
        recursion: bool,
    ) -> Sightings {
        let mut asked = JoinSet::new();
        for (at, server) in servers.iter().enumerate() {
            let (address, name, clock) = (server.address, name.clone(), self.clock.clone());
            let value = value.as_bytes().to_vec();
            asked.spawn(async move {
                let seen = match ask(address, &name, Kind::Txt, recursion, &clock).await {
                    Err(mute) => Seen::Mute(mute),
                    Ok(answer) if !answer.is_sure() => Seen::Denied(answer.outcome),
                    Ok(answer) => match answer.texts(&name).map(|text| text == value).collect::<Vec<_>>() {
                        texts if texts.contains(&true) => Seen::Shown,
                        texts if texts.is_empty() => Seen::Nothing,
                        texts => Seen::Others(texts.len()),
                    },
                };
                (at, seen)
            });
        }
        let mut seen = vec![Seen::Mute(Mute::Silent); servers.len()];
        while let Some(Ok((at, one))) = asked.join_next().await {
            seen[at] = one;
        }
        let one = |(server, seen): (&NameServer, Seen)| Sighting { server: server.clone(), seen };
        Sightings(servers.iter().zip(seen).map(one).collect())
    }
}

fn plain(addresses: &[SocketAddr]) -> Vec<NameServer> {
    let named = |address: &SocketAddr| NameServer { name: address.ip().to_string(), address: *address };
    addresses.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sightings(seen: &[Seen]) -> Sightings {
        let server = |at: usize| NameServer {
            name: format!("ns{at}.example"),
            address: ([192, 0, 2, u8::try_from(at).unwrap()], 53).into(),
        };
        Sightings(
            seen.iter()
                .enumerate()
                .map(|(at, seen)| Sighting { server: server(at), seen: seen.clone() })
                .collect(),
        )
    }

    #[test]
    fn one_server_that_lags_is_one_too_many() {
        let silent = Seen::Mute(Mute::Silent);
        for (seen, at_once, later) in [
            (&[Seen::Shown, Seen::Shown][..], true, true),
            (&[Seen::Shown, Seen::Nothing], false, false),
            (&[Seen::Shown, Seen::Others(1)], false, false),
            (&[Seen::Shown, Seen::Denied(Outcome::Refused)], false, false),
            (&[Seen::Shown, silent.clone()], false, true),
            (&[silent.clone(), silent.clone()], false, false),
            (&[], false, false),
        ] {
            let sightings = sightings(seen);
            assert_eq!((sightings.good(true), sightings.good(false)), (at_once, later), "{seen:?}");
        }
    }

    #[test]
    fn the_words_name_first_who_lacks_it() {
        let seen = [Seen::Shown, Seen::Nothing, Seen::Others(2), Seen::Mute(Mute::Silent)];
        assert_eq!(
            sightings(&seen).to_string(),
            "ns1.example (192.0.2.1) has nothing there; ns2.example (192.0.2.2) shows 2 other values; \
             ns3.example (192.0.2.3) does not answer; ns0.example (192.0.2.0) shows it"
        );
        assert!(sightings(&vec![Seen::Nothing; 9]).to_string().ends_with("; and 3 more"));
    }
}
