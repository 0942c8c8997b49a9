//! One host with one agent: what survives a crash, and what is built anew after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use nolapse::agent::{Agent, Parts, Scene, Signal};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::failure::Failure;
use nolapse::core::list::List;
use nolapse::core::name::{HookId, IssuerId, LineageId, SolverId, SubjectName};
use nolapse::core::spec::{KeyKind, LineageSpec, Origin, Terms, Wanted};
use nolapse::core::time::Span;
use nolapse::ports::{Ca, Hook, Solver};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::{Disk, Model};
use nolapse::sys::keys::Keys;

use crate::board::Board;
use crate::ca::{Authority, Desk};
use crate::crash::Points;
use crate::hook::Reload;
use crate::laws::Laws;
use crate::probe::Handshake;
use crate::script::Script;
use crate::server::Server;
use crate::solver::BoardSolver;
use crate::{ca, keys};

pub const STATE: &str = "/var/lib/nolapse";
pub const LIVE: &str = "/live";
/// The lineage of a node, and the first of its names.
pub const SHOP: &str = "shop.example.com";

pub struct Node {
    pub clock: Clock,
    pub disk: Disk,
    pub model: Model,
    pub points: Arc<Points>,
    pub server: Arc<Server>,
    pub reload: Arc<Reload>,
    pub laws: Arc<Laws>,
    /// What the configuration asks for now; `None`: nothing.
    pub spec: Option<LineageSpec>,
    keys: Keys,
    desk: Arc<Desk>,
    solver: Arc<BoardSolver>,
    probe: Arc<Handshake>,
    running: Option<Running>,
}

/// A process.
struct Running {
    agent: Arc<Agent>,
    signals: mpsc::Sender<Signal>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Node {
    pub fn new(seed: u64, clock: Clock, script: &Script, board: &Board, authority: &Arc<Authority>) -> Self {
        let (disk, model) = Disk::model();
        model.make_dirs(Path::new(STATE), 0o700);
        model.make_dirs(Path::new(LIVE), 0o755);
        let points = Arc::new(Points::new(disk.clone()));
        let server = Arc::new(Server::new(disk.clone(), Path::new(LIVE).join(SHOP)));
        let truth = authority.truth.clone();
        let reload = Arc::new(Reload {
            server: server.clone(),
            script: script.clone(),
            points: points.clone(),
            truth: truth.clone(),
            told: std::sync::Mutex::default(),
        });
        let pool = keys::pool(seed);
        let mut canaries = keys::canaries(&pool);
        canaries.push(ca::THUMBPRINT.to_owned());
        let laws = Arc::new(Laws::new(
            LineageId::parse(SHOP).unwrap(),
            disk.clone(),
            model.clone(),
            Path::new(LIVE),
            Path::new(STATE),
            clock.clone(),
            authority.clone(),
            reload.clone(),
            canaries,
        ));
        let desk =
            Arc::new(Desk { authority: authority.clone(), points: points.clone(), clock: clock.clone() });
        let solver = Arc::new(BoardSolver {
            id: SolverId::parse("http").unwrap(),
            board: board.clone(),
            script: script.clone(),
            points: points.clone(),
        });
        let probe = Arc::new(Handshake {
            server: server.clone(),
            script: script.clone(),
            points: points.clone(),
            truth,
        });
        Self {
            clock,
            disk,
            model,
            points,
            server,
            reload,
            laws,
            spec: Some(shop(&[SHOP, "www.shop.example.com"])),
            keys: Keys::pool(&pool).unwrap(),
            desk,
            solver,
            probe,
            running: None,
        }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts the daemon as a process does: it opens its state, or fails.
    pub async fn start(&mut self) -> Result<(), String> {
        let store = DirStore::open(self.disk.clone(), self.clock.clone(), Path::new(STATE))
            .await
            .map_err(|error| error.to_string())?;
        for report in store.reports() {
            self.laws.note(&format!("{report:?}"));
        }
        let parts = Parts {
            store: Arc::new(store),
            probe: self.probe.clone(),
            sink: self.laws.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            keys: self.keys.clone(),
        };
        let agent = Arc::new(Agent::new(parts, self.scene()));
        let (signals, inbox) = mpsc::channel(8);
        let (runner, laws) = (agent.clone(), self.laws.clone());
        let task = tokio::spawn(async move { runner.run(inbox, |pass| laws.turned(pass.next_wake)).await });
        self.running = Some(Running { agent, signals, task });
        Ok(())
    }

    /// The process is gone, wherever it was.
    pub async fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.task.abort();
            let _ = running.task.await;
        }
        self.points.revive();
    }

    /// Whether the daemon ended by itself, and how.
    pub async fn ended(&mut self) -> Option<String> {
        if !self.running.as_ref().is_some_and(|running| running.task.is_finished()) {
            return None;
        }
        let running = self.running.take()?;
        Some(match running.task.await {
            Ok(Ok(())) => "ended".into(),
            Ok(Err(failure)) => failure.to_string(),
            Err(panic) => panic!("the daemon panicked: {panic}"),
        })
    }

    /// Puts the present spec into force, as a reload of the configuration does.
    pub async fn enter(&self) {
        if let Some(running) = &self.running {
            running.signals.send(Signal::Enter(Box::new(self.scene()))).await.ok();
        }
    }

    /// SIGTERM, and the wait for the end.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.signals.send(Signal::Stop).await.ok();
            running.task.await.unwrap().unwrap();
        }
    }

    pub fn agent(&self) -> Option<&Arc<Agent>> {
        self.running.as_ref().map(|running| &running.agent)
    }

    fn scene(&self) -> Scene {
        let mut wanted = Wanted::default();
        if let Some(spec) = &self.spec {
            wanted.lineages.insert(spec.clone());
        }
        Scene {
            wanted: Arc::new(wanted),
            live_dir: LIVE.into(),
            cas: BTreeMap::from([(IssuerId::parse("ca").unwrap(), self.desk.clone() as Arc<dyn Ca>)]),
            solvers: BTreeMap::from([(self.solver.id.clone(), self.solver.clone() as Arc<dyn Solver>)]),
            hooks: BTreeMap::from([(HookId::parse("nginx").unwrap(), self.reload.clone() as Arc<dyn Hook>)]),
        }
    }
}

/// The certificate of a shop behind one server.
pub fn shop(names: &[&str]) -> LineageSpec {
    let terms = Terms {
        issuers: vec![IssuerId::parse("ca").unwrap()],
        profile: None,
        key: KeyKind::EcdsaP256,
        reuse_key: false,
        solvers: vec![SolverId::parse("http").unwrap()],
        hooks: vec![HookId::parse("nginx").unwrap()],
        observe_timeout: Span::secs(30),
        rights: Arc::default(),
    };
    LineageSpec {
        id: LineageId::parse(SHOP).unwrap(),
        names: names.iter().map(|name| SubjectName::parse(name).unwrap()).collect(),
        endpoints: vec![Endpoint::parse("shop.example.com@127.0.0.1:443").unwrap()].into(),
        outputs: List::default(),
        origin: Origin { file: "conf.d/shop.toml".into(), line: 1 },
        terms: Arc::new(terms),
    }
}
