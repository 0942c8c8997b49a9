//! Who tells people, on virtual time: what is told when, and that the heartbeat stands for a loop
//! that moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nolapse::agent::{Agent, Herald, Parts, Rhythm, Scene, Signal, Ways, Woes, change_acks};
use nolapse::core::ack::Ack;
use nolapse::core::census::{Census, Row, Standing};
use nolapse::core::channel::{ChannelKind, ChannelSpec, Message};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::event::Event;
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::gravity::Gravity;
use nolapse::core::labels::Labels;
use nolapse::core::name::{ChannelId, LineageId};
use nolapse::core::spec::Wanted;
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::{Channel, Heart, Probe, Reply, Sighting, Sink};
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use nolapse::sys::keys::Keys;
use tokio::sync::{mpsc, watch};

use crate::bench::MemoryStore;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Nobody;

impl Probe for Nobody {
    fn look<'a>(&'a self, _: &'a Endpoint, _: Span) -> Reply<'a, Vec<Sighting>> {
        Box::pin(async { Vec::new() })
    }
}

impl Sink for Nobody {
    fn take(&self, _: &Event) {}
}

/// Keeps what it was told, fails where it is told to, and hangs where it is told to.
#[derive(Default)]
struct Ear {
    heard: Mutex<Vec<String>>,
    deaf: AtomicBool,
    hangs: AtomicBool,
}

impl Ear {
    async fn hear(&self, words: String) -> Result<(), Failure> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.deaf.load(Ordering::Relaxed) {
            return Err(Failure::transient(Fault::Network, "alert-unreachable", "nobody listens"));
        }
        self.heard.lock().unwrap().push(words);
        Ok(())
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

impl Channel for Ear {
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.hear(format!("{} {}", message.occasion.word(), message.code)))
    }
}

impl Heart for Ear {
    fn beat<'a>(&'a self, trouble: Option<&'a str>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.hear(trouble.map_or("ok", |_| "fail").to_owned()))
    }
}

struct Rig {
    agent: Arc<Agent>,
    ears: [Arc<Ear>; 2],
    heart: Arc<Ear>,
    store: Arc<MemoryStore>,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let scene = Scene {
            wanted: Arc::new(Wanted::default()),
            live_dir: "/nonexistent".into(),
            cas: BTreeMap::new(),
            solvers: BTreeMap::new(),
            hooks: BTreeMap::new(),
        };
        let parts = Parts {
            store: store.clone(),
            probe: Arc::new(Nobody),
            sink: Arc::new(Nobody),
            clock: Clock::starting_at(START),
            disk: Disk::real(),
            keys: Keys::random(),
        };
        let agent = Arc::new(Agent::new(parts, scene));
        Self {
            agent,
            ears: Default::default(),
            heart: Arc::default(),
            store,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A process of its own, with what the last one left.
    fn herald(&self) -> Herald {
        let spec = |name: &str| ChannelSpec {
            id: ChannelId::parse(name).unwrap(),
            least: Gravity::Notice,
            labels: Labels::default(),
            timeout: Span::secs(30),
            kind: ChannelKind::Exec { argv: Vec::new() },
        };
        let channels = ["mail", "chat"].into_iter().zip(&self.ears);
        let ways = Ways {
            channels: channels.map(|(name, ear)| (spec(name), ear.clone() as Arc<dyn Channel>)).collect(),
            heart: Some(Rhythm { heart: self.heart.clone(), every: Span::HOUR, timeout: Span::secs(30) }),
        };
        let woes = Arc::new(Woes::new(&self.agent.clock));
        Herald::new(&self.agent, woes, self.dir.path().join("lock"), "web1".into(), ways)
    }

    /// A daemon's herald, and what the loop and the herald say to each other.
    fn daemon(&self) -> (Daemon, tokio::task::JoinHandle<()>) {
        let (counts, counted) = watch::channel(None);
        let (ask, asked) = mpsc::channel(8);
        let (herald, agent) = (self.herald(), self.agent.clone());
        let task = tokio::spawn(async move { herald.run(&agent, counted, ask).await });
        (Daemon { counts, asked, clock: self.agent.clock.clone() }, task)
    }
}

struct Daemon {
    counts: watch::Sender<Option<Arc<Census>>>,
    asked: mpsc::Receiver<Signal>,
    clock: Clock,
}

impl Daemon {
    /// The loop has judged all: this is so now.
    fn count(&self, rows: Vec<Row>) {
        self.counts.send_replace(Some(Arc::new(Census::of(self.clock.now(), rows))));
    }

    async fn pass(&self, span: Span) {
        self.clock.sleep(span).await;
    }
}

fn row(left: Span) -> Row {
    Row {
        lineage: LineageId::parse("shop.example.com").unwrap(),
        issuer: None,
        not_after: Some(START + left),
        served_until: None,
        owed: 0,
        mismatched: 0,
        standing: Standing::Observed,
        trouble: None,
        plight: None,
    }
}

fn well() -> Vec<Row> {
    vec![row(Span::days(60))]
}

fn expired() -> Vec<Row> {
    vec![row(Span::ZERO - Span::DAY)]
}

#[tokio::test(start_paused = true)]
async fn f23_the_heartbeat_stands_for_a_loop_that_moves() {
    let rig = Rig::new();
    let (mut daemon, _task) = rig.daemon();
    daemon.pass(Span::hours(5)).await;
    assert_eq!(rig.heart.taken(), [""; 0], "nothing was judged yet");
    daemon.count(well());
    daemon.pass(Span::MINUTE).await;
    assert_eq!(rig.heart.taken(), ["ok"]);
    for _ in 0..3 {
        // An hour later the loop is asked; only its answer is a beat.
        daemon.pass(Span::HOUR).await;
        assert!(matches!(daemon.asked.try_recv(), Ok(Signal::LookAtAll)));
        assert_eq!(rig.heart.taken(), [""; 0]);
        daemon.count(well());
        daemon.pass(Span::MINUTE).await;
        assert_eq!(rig.heart.taken(), ["ok"]);
    }
    // A loop that hangs is not heard of again, and is asked once.
    daemon.pass(Span::days(2)).await;
    assert!(daemon.asked.try_recv().is_ok() && daemon.asked.try_recv().is_err());
    assert_eq!(rig.heart.taken(), [""; 0], "silence is the alarm");
    daemon.count(expired());
    daemon.pass(Span::MINUTE).await;
    assert_eq!(rig.heart.taken(), ["fail"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_tells_nobody_twice_and_forgets_nothing() {
    let rig = Rig::new();
    let (daemon, task) = rig.daemon();
    daemon.count(expired());
    daemon.pass(Span::MINUTE).await;
    assert_eq!(rig.ears[0].taken(), ["raised expired"]);
    task.abort();
    let _ = task.await;
    let (daemon, _task) = rig.daemon();
    daemon.count(expired());
    daemon.pass(Span::HOUR).await;
    assert_eq!(rig.ears[0].taken(), [""; 0]);
    daemon.count(well());
    daemon.pass(Span::HOUR).await;
    assert_eq!(rig.ears[0].taken(), ["recovered expired"]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_hangs_holds_up_no_other_and_hears_it_later() {
    let rig = Rig::new();
    rig.ears[0].hangs.store(true, Ordering::Relaxed);
    let (daemon, _task) = rig.daemon();
    daemon.count(expired());
    daemon.pass(Span::hours(3)).await;
    assert_eq!(rig.ears[1].taken(), ["raised expired", "raised channel-failing"]);
    assert_eq!(rig.ears[0].taken(), [""; 0]);
    rig.ears[0].hangs.store(false, Ordering::Relaxed);
    daemon.pass(Span::hours(2)).await;
    assert_eq!(rig.ears[0].taken(), ["raised expired"]);
    assert_eq!(rig.ears[1].taken(), ["recovered channel-failing"]);
}

#[tokio::test(start_paused = true)]
async fn one_process_sends_at_a_time() {
    let rig = Rig::new();
    let (daemon, _task) = rig.daemon();
    daemon.count(well());
    daemon.pass(Span::MINUTE).await;
    let census = Census::of(START, expired());
    assert_eq!(rig.herald().once(&census, &rig.agent.scene()).await, Ok(false), "the daemon does");
    assert_eq!(rig.ears[0].taken(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_run_by_a_timer_tells_what_is_so_at_its_end() {
    let rig = Rig::new();
    let run = async |rows: Vec<Row>| {
        let census = Census::of(rig.agent.clock.now(), rows);
        assert_eq!(rig.herald().once(&census, &rig.agent.scene()).await, Ok(true));
        (rig.ears[0].taken(), rig.heart.taken())
    };
    let words = |word: &str| vec![word.to_owned()];
    assert_eq!(run(well()).await, (vec![], words("ok")));
    assert_eq!(run(expired()).await, (words("raised expired"), words("fail")));
    assert_eq!(run(expired()).await, (vec![], words("fail")));
    assert_eq!(run(well()).await, (words("recovered expired"), words("ok")));
}

#[tokio::test(start_paused = true)]
async fn an_ack_is_heard_by_a_daemon_that_runs_and_ends_by_itself() {
    let rig = Rig::new();
    let until = START + Span::DAY;
    let ack = Ack { subject: "shop.example.com".into(), until, reason: "known".into(), at: START };
    assert_eq!(change_acks(&*rig.store, |acks| acks.put(ack.clone(), START)).await, Ok(true));
    let (daemon, _task) = rig.daemon();
    daemon.count(expired());
    daemon.pass(Span::hours(23)).await;
    assert_eq!(rig.ears[0].taken(), [""; 0]);
    daemon.pass(Span::hours(2)).await;
    assert_eq!(rig.ears[0].taken(), ["raised expired"]);
}
