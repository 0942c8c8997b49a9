//! A port that the whole internet may talk to, whatever is spoken there: many conversations at a
//! time, and never more than [`CONNECTIONS`] (threat T11).

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::core::time::Span;
use crate::sys::clock::Clock;

/// Connections kept at a time; one more ends the oldest, so that idle ones can't keep a CA out.
pub const CONNECTIONS: usize = 256;
/// Pause after the system refused a connection (no descriptors left).
const ACCEPT_PAUSE: Span = Span::from_millis(100);

/// Takes connections until dropped.
pub struct Listener {
    addresses: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listener {
    /// Holds a conversation with whoever connects. Needs a tokio runtime. A conversation bounds its
    /// own time and memory; here their number is bounded.
    pub fn start<C>(
        sockets: Vec<TcpListener>,
        clock: &Clock,
        converse: impl Fn(TcpStream) -> C + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        let tasks = sockets
            .into_iter()
            .map(|socket| tokio::spawn(serve(socket, clock.clone(), converse.clone())))
            .collect();
        Self { addresses, tasks }
    }

    /// Ends all; the port is free when this returns, which a drop does not promise.
    pub async fn close(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // Nothing but the news that it was aborted.
            let _ = task.await;
        }
    }

    /// Where it really listens: a port 0 is told as the port that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn serve<C>(socket: TcpListener, clock: Clock, converse: impl Fn(TcpStream) -> C)
where
    C: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => connections.admit(converse(stream)),
                // The client went away before it was let in.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(_) => clock.sleep(ACCEPT_PAUSE).await,
            },
            () = connections.one_ended() => {}
        }
    }
}

/// Open connections, the oldest first. Dropping it ends them.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn admit(&mut self, conversation: impl Future<Output = ()> + Send + 'static) {
        self.by_age.retain(|task| !task.is_finished());
        if self.by_age.len() >= CONNECTIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        self.by_age.push_back(self.tasks.spawn(conversation));
    }

    async fn one_ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
