//! tls-alpn-01 by a listener of our own (RFC 8737): the CA makes a handshake on port 443 with a
//! protocol of its own, and is shown a certificate made for the occasion.

mod check;
mod responder;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Mutex;

pub use check::{HandshakeCheck, Miss};
pub use responder::{CONVERSATION, answer};

use super::stand::{Listening, Stand};
use crate::codec::validation::{Standing, entry_token, server_name};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::name::{SolverId, SubjectName, Token};
use crate::core::order::ChallengeTask;
use crate::core::record::{ChallengeKind, Receipt};
use crate::core::spec::Listen;
use crate::core::time::Span;
use crate::ports::{Expect, Key, Reply, Solver, Store, StoreError};
use crate::sys::clock::Clock;

/// Longest wait for another answer for the same name to be taken away, in pauses of [`TURN_PAUSE`];
/// half of what setting an answer may take.
const TURN_LOOKS: usize = 240;
const TURN_PAUSE: Span = Span::from_millis(250);

/// A name that is never certified (RFC 6761 §6.4), and what is proved of it.
const LOOK: (&str, &str) = ("look.nolapse.invalid", "look.nolapse");

/// Puts answers into the store and sees to it that somebody shows them.
///
/// As with [`Http01Solver`](super::http01::Http01Solver), another nolapse on this state directory
/// may hold the port, or a server that passes such connections on. A handshake names the name and
/// nothing else, so of two challenges for one name the one that was set last is answered: within
/// one process the second waits for its turn, between two processes it does not.
pub struct TlsAlpn01Solver {
    id: SolverId,
    listen: Listen,
    store: Arc<dyn Store>,
    check: HandshakeCheck,
    /// The look at whoever has the port where our listener would be.
    holder: HandshakeCheck,
    /// One look, and one change of an answer, at a time.
    asking: Mutex<()>,
    clock: Clock,
    stand: Stand,
}

impl TlsAlpn01Solver {
    /// `port`: where on this host's loopback address the answer is looked for; 443 is where CAs look.
    pub fn new(id: SolverId, listen: Listen, store: Arc<dyn Store>, port: u16, clock: &Clock) -> Self {
        let (at, answers, time) = (listen.clone(), Arc::clone(&store), clock.clone());
        let stand = Stand::new(Box::new(move || {
            let (at, answers, time) = (at.clone(), Arc::clone(&answers), time.clone());
            Box::pin(async move { answer(&at, answers, &time).await })
        }));
        let check = HandshakeCheck::of(&listen, port);
        let own = match &listen {
            Listen::Address(address) => address.port(),
            Listen::Systemd(_) => port,
        };
        let (holder, asking) = (HandshakeCheck::of(&listen, own), Mutex::default());
        Self { id, listen, store, check, holder, asking, clock: clock.clone(), stand }
    }

    /// Where our own listener runs now, if it does.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        self.stand.addresses().await
    }

    /// What an operator changes when our answer is not seen though our listener runs.
    fn advice(&self) -> String {
        let port = self.check.port;
        match &self.listen {
            Listen::Address(address) if address.port() != port => format!(
                "the server on port {port} must pass connections with the ALPN protocol acme-tls/1 on to \
                 {address} (nginx: ssl_preread in a stream; haproxy: req.ssl_alpn)"
            ),
            _ => format!("port {port} must lead to our listener"),
        }
    }
}

impl Listening for TlsAlpn01Solver {
    fn listen(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(self.stand.listen())
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(self.stand.close())
    }
}

impl Solver for TlsAlpn01Solver {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::TlsAlpn01]
    }

    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(async move {
            Ok(Receipt {
                solver: self.id.clone(),
                kind: task.kind,
                name: task.name.clone(),
                token: task.token.clone(),
                place: place(&task.name)?.to_string(),
                by: None,
            })
        })
    }

    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let key = place(&task.name)?;
            for _ in 0..TURN_LOOKS {
                if self.set(&key, task, false).await? {
                    return Ok(());
                }
                self.clock.sleep(TURN_PAUSE).await;
            }
            self.set(&key, task, true).await.map(drop)
        })
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let Err(miss) = self.check.look(&standing(task), &self.clock).await else { return Ok(()) };
            Err(match self.stand.refused().await {
                // Nobody shows the answer and we can't: the CA would only count a failure.
                Some(refused) => Failure::refused(
                    refused.fault,
                    &refused.code,
                    format!("our listener can't start: {}. And {miss}", refused.words),
                ),
                None => {
                    Failure::transient(Fault::Host, "self-check-failed", format!("{miss}; {}", self.advice()))
                }
            }
            .blaming(Some(task.name.clone())))
        })
    }

    fn clean_up<'a>(&'a self, receipt: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let removed = self.remove(&receipt.name, &receipt.token).await;
            self.stand.leave(&receipt.token).await;
            removed
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            let Err(refused) = self.stand.able().await else { return Ok(()) };
            match self.ask_holder().await? {
                Ok(()) => Ok(()),
                Err(miss) => {
                    let words = format!("{}. And {miss}", refused.words);
                    Err(Failure::new(refused.class, refused.fault, &refused.code, words))
                }
            }
        })
    }
}

impl TlsAlpn01Solver {
    /// Whether whoever holds our port answers from our store: a challenge that no CA ever set is put
    /// there, looked for and taken away.
    async fn ask_holder(&self) -> Result<Result<(), Miss>, Failure> {
        let name = SubjectName::Dns(LOOK.0.to_owned());
        let _one = self.asking.lock().await;
        let key = place(&name)?;
        let standing = Standing { name, key_authorization: LOOK.1.to_owned() };
        let content = Content::new(standing.to_text().into_bytes());
        self.store.swap(&key, Expect::Anything, content).await.map_err(|error| unstored(&error))?;
        let seen = self.holder.look(&standing, &self.clock).await;
        self.store.remove(&key).await.map_err(|error| unstored(&error))?;
        Ok(seen)
    }

    /// Sets the answer, unless another one of this process stands for the name; `regardless` of that
    /// on request. Says whether it was set.
    async fn set(&self, key: &Key, task: &ChallengeTask, regardless: bool) -> Result<bool, Failure> {
        let _one = self.asking.lock().await;
        let found = self.store.load(key).await.map_err(|error| unstored(&error))?;
        let before = found.and_then(|entry| Standing::parse(entry.content.bytes())?.token());
        if let Some(other) = before
            && other != task.token
            && !regardless
            && self.stand.holds(&other).await
        {
            return Ok(false);
        }
        let content = Content::new(standing(task).to_text().into_bytes());
        self.store.swap(key, Expect::Anything, content).await.map_err(|error| unstored(&error))?;
        self.stand.enter(&task.token).await;
        Ok(true)
    }

    /// Takes our answer away, and no other that was set for the same name since.
    async fn remove(&self, name: &SubjectName, token: &Token) -> Result<(), Failure> {
        let key = place(name)?;
        let found = self.store.load(&key).await.map_err(|error| unstored(&error))?;
        let ours = |entry: &crate::ports::Entry| {
            Standing::parse(entry.content.bytes()).is_none_or(|standing| standing.is_of(token))
        };
        match found {
            Some(entry) if ours(&entry) => self.store.remove(&key).await.map_err(|error| unstored(&error)),
            _ => Ok(()),
        }
    }
}

fn standing(task: &ChallengeTask) -> Standing {
    Standing { name: task.name.clone(), key_authorization: task.key_authorization.clone() }
}

fn place(name: &SubjectName) -> Result<Key, Failure> {
    let token = server_name(name).and_then(|asked| entry_token(&asked));
    token.map(Key::Challenge).ok_or_else(|| {
        let words = format!("{name} can't be proved by tls-alpn-01: a wildcard needs dns-01");
        Failure::refused(Fault::Config, "wildcard", words).blaming(Some(name.clone()))
    })
}

fn unstored(error: &StoreError) -> Failure {
    Failure::transient(Fault::Host, "store-failed", error.to_string())
}
