//! `nolapse run`: the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::agent::Signal;
use crate::cli::{Exit, Stop, page, publish};
use crate::core::failure::{Failure, Fault};
use crate::core::gravity::Gravity;
use crate::wire::Places;
use crate::wire::{self, Loaded, Role, Wired};

/// People are told of a configuration that is not used.
const REFUSED: &str = "reload-refused";
/// Signals waiting for the loop.
const SIGNALS_MAX: usize = 8;

pub fn run(places: &Places) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    wire::runtime()?.block_on(async {
        let wired = Arc::new(Wired::new(&loaded, Role::Daemon).await?);
        let stop = Arc::new(Notify::new());
        let mut tasks = tokio::task::JoinSet::new();
        if let Some(server) = wire::metrics_server(&loaded).await? {
            if let Some(address) = server.address() {
                tracing::info!(%address, "metrics and health are served");
            }
            let (metrics, health) = (wired.telemetry.metrics.clone(), wired.telemetry.health.clone());
            let page = wired.settings.status_page.then(|| page::press(&wired));
            let stop = stop.clone();
            tasks.spawn(server.run(metrics, health, page, async move { stop.notified().await }));
        }
        let supervisor = wired.telemetry.supervisor.clone();
        tasks.spawn(async move { supervisor.feed().await });
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        let (counts, counted_rows) = tokio::sync::watch::channel(None);
        {
            let (wired, ask) = (wired.clone(), sender.clone());
            tasks.spawn(async move { wired.herald.run(&wired.agent, counted_rows, ask).await });
        }
        tasks.spawn(listen(places.clone(), loaded, wired.clone(), sender)?);
        let dirty = Arc::new(Notify::new());
        tasks.spawn(publish(wired.clone(), dirty.clone()));
        let ready = AtomicBool::new(false);
        let telemetry = wired.telemetry.clone();
        let mut counted = None;
        let ended = wired
            .agent
            .run(receiver, move |pass| {
                telemetry.report(pass.census, pass.next_wake);
                if !ready.swap(true, Ordering::Relaxed) {
                    telemetry.supervisor.ready();
                    tracing::info!(certificates = pass.census.rows.len(), "ready");
                }
                if counted != Some(pass.census.at) {
                    counted = Some(pass.census.at);
                    dirty.notify_one();
                    counts.send_replace(Some(pass.census.clone()));
                }
            })
            .await;
        wired.telemetry.supervisor.stopping();
        stop.notify_waiters();
        publish::write_anew(&wired).await;
        tasks.abort_all();
        ended?;
        tracing::info!("stopped");
        Ok(Exit::Fine)
    })
}

/// Turns the process's signals, and changes of the configuration, into the loop's.
fn listen(
    places: Places,
    mut loaded: Loaded,
    wired: Arc<Wired>,
    sender: mpsc::Sender<Signal>,
) -> Result<impl Future<Output = ()> + Send, Failure> {
    let hear = |kind| {
        signal(kind).map_err(|error| {
            Failure::transient(Fault::Host, "no-signals", format!("signals can't be listened to: {error}"))
        })
    };
    let mut hangup = hear(SignalKind::hangup())?;
    let mut terminate = hear(SignalKind::terminate())?;
    let mut interrupt = hear(SignalKind::interrupt())?;
    let mut user = hear(SignalKind::user_defined1())?;
    let mut watched = wire::ConfigWatch::new(&loaded)?;
    Ok(async move {
        loop {
            let signal = tokio::select! {
                Some(()) = hangup.recv() => reload(&places, &mut loaded, &wired).await,
                () = watched.changed() => {
                    tracing::info!("the configuration changed on disk");
                    reload(&places, &mut loaded, &wired).await
                }
                Some(()) = user.recv() => Some(Signal::LookAtAll),
                Some(()) = terminate.recv() => Some(Signal::Stop),
                Some(()) = interrupt.recv() => Some(Signal::Stop),
                else => return,
            };
            if let Some(signal) = signal
                && sender.send(signal).await.is_err()
            {
                return;
            }
        }
    })
}

/// The new configuration whole, or nothing: a bad one changes nothing.
async fn reload(places: &Places, loaded: &mut Loaded, wired: &Wired) -> Option<Signal> {
    let supervisor = &wired.telemetry.supervisor;
    supervisor.reloading();
    let next = match wire::reload(loaded, places) {
        Ok(next) => wired.scene(&next).await.map(|scene| (next, scene)),
        Err(failure) => Err(failure),
    };
    supervisor.ready();
    match next {
        Ok((next, scene)) => {
            if next.settings != loaded.settings {
                tracing::warn!("changes in [agent] are used after a restart only");
            }
            wired.tell_by(&next);
            wired.herald.woes.clear(REFUSED);
            *loaded = next;
            tracing::info!(certificates = scene.wanted.lineages.len(), "configuration reloaded");
            for (id, why) in &scene.wanted.broken {
                tracing::error!(lineage = %id, %why, "its entry can't be used; the others go on");
            }
            Some(Signal::Enter(Box::new(scene)))
        }
        Err(failure) => {
            tracing::error!(%failure, "the new configuration is not used; the old one stays in force");
            wired.herald.woes.set(
                REFUSED,
                Gravity::Ticket,
                &format!("the new configuration is not used, the old one stays in force: {failure}"),
                "mend it (nolapse check), then reload",
            );
            None
        }
    }
}

/// Keeps the public status file fresh, not more often than anybody reads it.
async fn publish(wired: Arc<Wired>, dirty: Arc<Notify>) {
    loop {
        dirty.notified().await;
        publish::write_anew(&wired).await;
        wired.agent.clock.sleep(publish::STATUS_EVERY).await;
    }
}
