//! A panic in one certificate's pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use nolapse::agent::{Agent, Parts, Scene, Signal};
use nolapse::config::{Facts, Source, resolve};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::event::Event;
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::name::{IssuerId, SolverId};
use nolapse::core::order::{AuthorizationView, ChallengeTask, OrderRequest, OrderView};
use nolapse::core::record::{ChallengeKind, Receipt};
use nolapse::core::silence::Silence;
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::{Ca, Greeting, Probe, RenewalInfo, Reply, Sighting, Sink, Solver};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use nolapse::sys::keys::Keys;

/// A CA that is down, or whose adapter has a bug.
struct Desk {
    panics: bool,
    asked: AtomicU32,
}

impl Desk {
    fn answer<T>(&self) -> Result<T, Failure> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            // A panic that is not printed.
            std::panic::resume_unwind(Box::new("a bug planted by a test"));
        }
        Err(Failure::transient(Fault::Ca, "ca-down", "the CA does not answer"))
    }
}

impl Ca for Desk {
    fn order<'a>(&'a self, _: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn view<'a>(&'a self, _: &'a str) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn authorizations<'a>(&'a self, _: &'a str) -> Reply<'a, Result<Vec<AuthorizationView>, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn ready<'a>(&'a self, _: &'a str, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { self.answer() })
    }
    fn finalize<'a>(&'a self, _: &'a str, _: &'a [u8]) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn download<'a>(&'a self, _: &'a str) -> Reply<'a, Result<String, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn renewal_info<'a>(&'a self, _: &'a str) -> Reply<'a, Result<Option<RenewalInfo>, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn reachable(&self) -> Reply<'_, Result<Greeting, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn skew(&self) -> Reply<'_, Result<Option<Span>, Failure>> {
        Box::pin(async { self.answer() })
    }
    fn abandon<'a>(&'a self, _: &'a str) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { self.answer() })
    }
    fn account(&self) -> Reply<'_, Result<String, Failure>> {
        Box::pin(async { self.answer() })
    }
}

/// Never asked for anything: no order comes so far.
struct Idle;

impl Solver for Idle {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::Http01]
    }
    fn receipt<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(std::future::ready(Err(Failure::transient(Fault::Host, "solver-failed", "never asked"))))
    }
    fn present<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
    fn confirm<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
    fn clean_up<'a>(&'a self, _: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

impl Probe for Idle {
    fn look<'a>(&'a self, _: &'a Endpoint, _: Span) -> Reply<'a, Vec<Sighting>> {
        Box::pin(async { vec![Sighting::nothing(Silence::Closed, "no servers here")] })
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Sink for Heard {
    fn take(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn t19_a_panic_ends_one_pass_and_neither_the_daemon_nor_another_certificate() {
    let text = "[issuer.bad]\ndirectory = \"https://bad.example/d\"\n\
                [issuer.good]\ndirectory = \"https://good.example/d\"\n\
                [solver.way]\nlisten = \"127.0.0.1:8089\"\n\
                [certificate.\"a.example\"]\nissuer = \"bad\"\nsolver = \"way\"\n\
                [certificate.\"b.example\"]\nissuer = \"good\"\nsolver = \"way\"\n";
    let resolved = resolve(&[Source::new("nolapse.toml", text)], &Facts::default());
    assert!(!resolved.has_errors(), "{:?}", resolved.problems);
    let epoch: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let clock = Clock::starting_at(epoch);
    let (disk, model) = Disk::model();
    for dir in ["/state", "/live"] {
        model.make_dirs(Path::new(dir), 0o700);
    }
    let store = DirStore::open(disk.clone(), clock.clone(), Path::new("/state")).await.unwrap();
    let heard = Arc::new(Heard::default());
    let desk = |panics| Arc::new(Desk { panics, asked: AtomicU32::new(0) });
    let (bad, good) = (desk(true), desk(false));
    let issuer = |name: &str| IssuerId::parse(name).unwrap();
    let parts = Parts {
        store: Arc::new(store),
        probe: Arc::new(Idle),
        sink: heard.clone(),
        clock: clock.clone(),
        disk,
        keys: Keys::random(),
    };
    let scene = Scene {
        wanted: resolved.wanted,
        live_dir: "/live".into(),
        cas: BTreeMap::from([
            (issuer("bad"), bad.clone() as Arc<dyn Ca>),
            (issuer("good"), good.clone() as Arc<dyn Ca>),
        ]),
        solvers: BTreeMap::from([(SolverId::parse("way").unwrap(), Arc::new(Idle) as Arc<dyn Solver>)]),
        hooks: BTreeMap::new(),
    };
    let agent = Arc::new(Agent::new(parts, scene));
    let (signals, inbox) = mpsc::channel(1);
    let task = tokio::spawn(async move { agent.run(inbox, |_| {}).await });
    let mut counts = Vec::new();
    for _ in 0..4 {
        clock.sleep_until(clock.now() + Span::hours(6)).await;
        counts.push((bad.asked.load(Ordering::SeqCst), good.asked.load(Ordering::SeqCst)));
    }
    assert!(!task.is_finished(), "the daemon ended");
    assert!(counts.windows(2).all(|two| two[0].0 < two[1].0), "the one that panics is given up: {counts:?}");
    assert!(counts.windows(2).all(|two| two[0].1 < two[1].1), "the other is no longer looked at: {counts:?}");
    assert!(counts[3].0 < 5_000, "it panics without a pause: {counts:?}");
    let told =
        heard.0.lock().unwrap().iter().any(
            |event| matches!(event, Event::TickFailed { lineage, .. } if lineage.as_str() == "a.example"),
        );
    assert!(told, "nobody heard of it");
    signals.send(Signal::Stop).await.unwrap();
    task.await.unwrap().unwrap();
}
