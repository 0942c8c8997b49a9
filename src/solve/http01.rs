//! http-01 by a listener of our own (RFC 8555 §8.3).

use std::sync::Arc;

use super::responder::{self, PATH};
use super::self_check::SelfCheck;
use super::stand::{Listening, Stand};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::name::SolverId;
use crate::core::order::ChallengeTask;
use crate::core::record::{ChallengeKind, Receipt};
use crate::core::spec::Listen;
use crate::ports::{Expect, Key, Reply, Solver, Store, StoreError};
use crate::sys::clock::Clock;

/// Puts answers into the store and sees to it that somebody serves them.
///
/// A daemon calls [`listen`](Listening::listen) once and answers from then on. Without that call the
/// listener runs from the first answer set up to the last one undone. Where the port is taken,
/// [`confirm`](Solver::confirm) looks through it: another nolapse on this state directory, or a
/// web server that passes the path on to one, serves as well.
pub struct Http01Solver {
    id: SolverId,
    listen: Listen,
    store: Arc<dyn Store>,
    check: SelfCheck,
    clock: Clock,
    stand: Stand,
}

impl Http01Solver {
    pub fn new(id: SolverId, listen: Listen, store: Arc<dyn Store>, check: SelfCheck, clock: &Clock) -> Self {
        let (at, answers, time) = (listen.clone(), Arc::clone(&store), clock.clone());
        let stand = Stand::new(Box::new(move || {
            let (at, answers, time) = (at.clone(), Arc::clone(&answers), time.clone());
            Box::pin(async move { responder::answer(&at, answers, &time).await })
        }));
        Self { id, listen, store, check, clock: clock.clone(), stand }
    }

    /// Where our own listener runs now, if it does.
    pub async fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.stand.addresses().await
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

impl Listening for Http01Solver {
    fn listen(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(self.stand.listen())
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(self.stand.close())
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
            by: None,
        })))
    }

    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let key = Key::Challenge(task.token.clone());
            let content = Content::new(task.key_authorization.clone().into_bytes());
            self.store.swap(&key, Expect::Anything, content).await.map_err(|error| unstored(&error))?;
            self.stand.enter(&task.token).await;
            Ok(())
        })
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let Err(miss) = self.check.look(task, &self.clock).await else { return Ok(()) };
            Err(match self.stand.refused().await {
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
            self.stand.leave(&receipt.token).await;
            removed.map_err(|error| unstored(&error))
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            let Err(refused) = self.stand.able().await else { return Ok(()) };
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
