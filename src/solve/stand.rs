//! When a listener of ours runs: always, or while an answer stands.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::sync::Mutex;

use super::listener::Listener;
use crate::core::failure::Failure;
use crate::core::name::Token;
use crate::ports::{Reply, Solver};

/// A solver whose listener a daemon keeps open.
pub trait Listening: Solver {
    /// Listens now and until dropped. After an error it tries again with every answer.
    fn listen(&self) -> Reply<'_, Result<(), Failure>>;

    /// Gives its port up for good, for one that takes its place or because nobody wants it any more.
    fn close(&self) -> Reply<'_, ()>;
}

/// The listener of one solver, run while it is needed.
pub struct Stand {
    open: Opening,
    state: Mutex<State>,
}

/// Opens the port and answers there.
pub type Opening = Box<dyn Fn() -> Reply<'static, Result<Listener, Failure>> + Send + Sync>;

#[derive(Default)]
struct State {
    listener: Option<Listener>,
    /// Listen on when no answer stands.
    keep: bool,
    /// Another one took over.
    closed: bool,
    standing: BTreeSet<Token>,
    /// Why our own listener is not running.
    refused: Option<Failure>,
}

impl Stand {
    pub fn new(open: Opening) -> Self {
        Self { open, state: Mutex::default() }
    }

    /// As [`Listening::listen`].
    pub async fn listen(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        state.keep = true;
        self.start(&mut state).await
    }

    /// As [`Listening::close`].
    pub async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(listener) = state.listener.take() {
            listener.close().await;
        }
    }

    /// An answer stands from now on.
    pub async fn enter(&self, token: &Token) {
        let mut state = self.state.lock().await;
        state.standing.insert(token.clone());
        // A taken port is no failure yet: whoever holds it may serve from the same store.
        // A look for the answer finds out, and [`Self::refused`] has the reason.
        let _ = self.start(&mut state).await;
    }

    /// An answer stands no longer; with the last one the port becomes free.
    pub async fn leave(&self, token: &Token) {
        let mut state = self.state.lock().await;
        state.standing.remove(token);
        if state.standing.is_empty()
            && !state.keep
            && let Some(listener) = state.listener.take()
        {
            listener.close().await;
        }
    }

    /// Whether this answer was set by this process and not yet taken away.
    pub async fn holds(&self, token: &Token) -> bool {
        self.state.lock().await.standing.contains(token)
    }

    /// Why our own listener does not run though an answer stands.
    pub async fn refused(&self) -> Option<Failure> {
        self.state.lock().await.refused.clone()
    }

    /// Could it listen now? A look leaves nothing behind.
    pub async fn able(&self) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        if state.listener.is_some() {
            return Ok(());
        }
        if state.keep {
            return self.start(&mut state).await;
        }
        (self.open)().await?.close().await;
        Ok(())
    }

    /// Where it listens now, if it does.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        let state = self.state.lock().await;
        state.listener.as_ref().map(|listener| listener.addresses().to_vec()).unwrap_or_default()
    }

    async fn start(&self, state: &mut State) -> Result<(), Failure> {
        if state.listener.is_some() || state.closed {
            return Ok(());
        }
        match (self.open)().await {
            Ok(listener) => {
                state.listener = Some(listener);
                state.refused = None;
                Ok(())
            }
            Err(failure) => {
                state.refused = Some(failure.clone());
                Err(failure)
            }
        }
    }
}
