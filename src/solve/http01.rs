//! http-01 by a listener of our own (RFC 8555 §8.3).

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::responder::{PATH, Responder};
use super::self_check::SelfCheck;
use super::socket;
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::name::{SolverId, Token};
use crate::core::order::ChallengeTask;
use crate::core::record::{ChallengeKind, Receipt};
use crate::core::spec::Listen;
use crate::ports::{Expect, Key, Reply, Solver, Store, StoreError};
use crate::sys::clock::Clock;

/// Puts answers into the store and sees to it that somebody serves them.
///
/// A daemon calls [`Http01Solver::listen`] once and answers from then on. Without that call the
/// listener runs from the first answer set up to the last one undone. Where the port is taken,
/// [`confirm`](Solver::confirm) looks through it: another nolapse on this state directory, or a
/// web server that passes the path on to one, serves as well.
pub struct Http01Solver {
    id: SolverId,
    listen: Listen,
    store: Arc<dyn Store>,
    check: SelfCheck,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    responder: Option<Responder>,
    /// Listen on when no answer stands.
    keep: bool,
    standing: BTreeSet<Token>,
    /// Why our own listener is not running.
    refused: Option<Failure>,
}

impl Http01Solver {
    pub fn new(id: SolverId, listen: Listen, store: Arc<dyn Store>, check: SelfCheck, clock: &Clock) -> Self {
        Self { id, listen, store, check, clock: clock.clone(), state: Mutex::default() }
    }

    /// Listens now and until dropped. After an error it tries again with every answer.
    ///
    /// Codes: those of [`socket::open`].
    pub async fn listen(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        state.keep = true;
        self.start(&mut state).await
    }

    /// Where our own listener runs now, if it does.
    pub async fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let state = self.state.lock().await;
        state.responder.as_ref().map(|responder| responder.addresses().to_vec()).unwrap_or_default()
    }

    async fn start(&self, state: &mut State) -> Result<(), Failure> {
        if state.responder.is_some() {
            return Ok(());
        }
        match Responder::bind(&self.listen, Arc::clone(&self.store), &self.clock).await {
            Ok(responder) => {
                state.responder = Some(responder);
                state.refused = None;
                Ok(())
            }
            Err(failure) => {
                state.refused = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// What an operator changes when our answer is not seen though our listener runs.
    fn advice(&self) -> String {
        match &self.listen {
            Listen::Address(address) if address.port() != self.check.http => format!(
                "the server on port {} must pass {PATH} of this name on to {address}, as the shipped \
                 snippet does",
                self.check.http
            ),
            _ => format!("port {} must lead to our listener", self.check.http),
        }
    }
}

impl Solver for Http01Solver {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::Http01]
    }

    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(std::future::ready(Ok(Receipt {
            solver: self.id.clone(),
            kind: task.kind,
            name: task.name.clone(),
            token: task.token.clone(),
            place: Key::Challenge(task.token.clone()).to_string(),
        })))
    }

    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let key = Key::Challenge(task.token.clone());
            let content = Content::new(task.key_authorization.clone().into_bytes());
            self.store.swap(&key, Expect::Anything, content).await.map_err(|error| unstored(&error))?;
            let mut state = self.state.lock().await;
            state.standing.insert(task.token.clone());
            // A taken port is no failure yet: whoever holds it may serve from the same store.
            // `confirm` finds out, and has the reason.
            let _ = self.start(&mut state).await;
            Ok(())
        })
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let Err(miss) = self.check.look(task, &self.clock).await else { return Ok(()) };
            let refused = self.state.lock().await.refused.clone();
            Err(match refused {
                // Nobody serves the answer and we can't: the CA would only count a failure.
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
            let removed = self.store.remove(&Key::Challenge(receipt.token.clone())).await;
            let mut state = self.state.lock().await;
            state.standing.remove(&receipt.token);
            if state.standing.is_empty()
                && !state.keep
                && let Some(responder) = state.responder.take()
            {
                responder.close().await;
            }
            removed.map_err(|error| unstored(&error))
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            let opened = match state.responder {
                Some(_) => return Ok(()),
                None if state.keep => self.start(&mut state).await,
                // Opened and closed again: a look leaves nothing behind.
                None => socket::open(&self.listen).await.map(|_| ()),
            };
            drop(state);
            let Err(refused) = opened else { return Ok(()) };
            self.check.somebody_answers(&self.clock).await.map_err(|miss| {
                let words = format!("{}. And {miss}", refused.words);
                Failure::new(refused.class, refused.fault, &refused.code, words)
            })
        })
    }
}

fn unstored(error: &StoreError) -> Failure {
    Failure::transient(Fault::Host, "store-failed", error.to_string())
}
