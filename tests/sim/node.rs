//! One host with one agent: what survives a crash, and what is built anew after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use nolapse::agent::{Agent, Parts, Scene, Signal, Survey, View};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::failure::Failure;
use nolapse::core::list::List;
use nolapse::core::name::{HookId, IssuerId, LineageId, SolverId, SubjectName};
use nolapse::core::spec::{Around, KeyKind, LineageSpec, Origin, Terms, Wanted};
use nolapse::core::time::Span;
use nolapse::core::time::Timestamp;
use nolapse::ports::{Ca, Hook, Solver};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::{Disk, Model};
use nolapse::sys::keys::Keys;

use crate::board::Board;
use crate::bug::{Bug, Planted};
use crate::ca::Authority;
use crate::crash::Points;
use crate::desk::Desk;
use crate::hook::Reload;
use crate::journal::{Journal, Law};
use crate::laws::{Laws, at_once};
use crate::peek::Shelves;
use crate::probe::Handshake;
use crate::script::Script;
use crate::server::Server;
use crate::shared::SharedStore;
use crate::solver::BoardSolver;
use crate::store::Keeper;
use crate::{ca, keys};

pub const STATE: &str = "/var/lib/nolapse";
pub const LIVE: &str = "/live";
/// The lineage of a node, and the first of its names.
pub const SHOP: &str = "shop.example.com";

/// What the nodes of a world have in common.
#[derive(Clone)]
pub struct Common {
    pub script: Script,
    pub board: Board,
    pub authority: Arc<Authority>,
    pub journal: Journal,
    /// Agents on each host.
    pub agents: usize,
    pub shared: Option<SharedStore>,
    pub bug: Option<Planted>,
    /// Told when an agent did something or died.
    pub stir: Arc<Notify>,
}

pub struct Node {
    pub number: usize,
    pub clock: Clock,
    pub disk: Disk,
    pub model: Model,
    pub points: Arc<Points>,
    pub server: Arc<Server>,
    pub reload: Arc<Reload>,
    pub laws: Arc<Laws>,
    /// What the configuration asks for now; `None`: nothing.
    pub spec: Option<LineageSpec>,
    common: Common,
    keys: Keys,
    desk: Arc<Desk>,
    solver: Arc<BoardSolver>,
    probe: Arc<Handshake>,
    /// Agents on this host; a second one races the first.
    running: Vec<Running>,
}

/// A process.
struct Running {
    signals: mpsc::Sender<Signal>,
    task: JoinHandle<Result<(), Failure>>,
    agent: Arc<Agent>,
}

impl Node {
    pub fn new(number: usize, epoch: Timestamp, common: Common) -> Self {
        let Common { script, board, authority, .. } = &common;
        let clock = Clock::starting_at(epoch);
        let truth = authority.truth.clone();
        let (disk, model) = Disk::model();
        model.make_dirs(Path::new(STATE), 0o700);
        model.make_dirs(Path::new(LIVE), 0o755);
        model.date_by(&clock);
        Bug::on_disk(common.bug, &model);
        let points = Arc::new(Points::new(disk.clone(), truth.clone(), common.stir.clone()));
        let server = Arc::new(Server::new(disk.clone(), Path::new(LIVE).join(SHOP)));
        let reload = Arc::new(Reload {
            server: server.clone(),
            script: script.clone(),
            points: points.clone(),
            truth: truth.clone(),
            told: std::sync::Mutex::default(),
        });
        let pool = keys::pool();
        let mut canaries = keys::canaries(pool);
        canaries.push(ca::THUMBPRINT.to_owned());
        let id = LineageId::parse(SHOP).unwrap();
        let shelves = Shelves {
            id: id.clone(),
            disk: disk.clone(),
            state_dir: STATE.into(),
            shared: common.shared.clone(),
        };
        let laws = Arc::new(Laws::new(
            number,
            shelves,
            model.clone(),
            Path::new(LIVE).join(SHOP),
            clock.clone(),
            authority.clone(),
            reload.clone(),
            canaries,
            common.journal.clone(),
            common.stir.clone(),
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
            number,
            clock,
            disk,
            model,
            points,
            server,
            reload,
            laws,
            spec: Some(shop(&[SHOP, "www.shop.example.com"])),
            keys: Keys::pool(pool).unwrap(),
            desk,
            solver,
            probe,
            running: Vec::new(),
            common,
        }
    }

    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    pub fn lacks_agents(&self) -> bool {
        self.running.len() < self.common.agents
    }

    /// Starts the daemon as a process does: it opens its state, or fails.
    pub async fn start(&mut self) -> Result<(), String> {
        let local = DirStore::open(self.disk.clone(), self.clock.clone(), Path::new(STATE))
            .await
            .map_err(|error| error.to_string())?;
        for report in local.reports() {
            self.laws.note(&format!("{report:?}"));
        }
        let store = Keeper {
            node: self.number,
            local,
            shared: self.common.shared.clone(),
            points: self.points.clone(),
            bug: self.common.bug.map(Bug::new),
        };
        let seen = store.local.seen_files();
        let parts = Parts {
            store: Arc::new(store),
            probe: self.probe.clone(),
            sink: self.laws.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            keys: self.keys.clone(),
        };
        let agent = Arc::new(Agent::new(parts, self.scene()).remembering(seen, true));
        let (signals, inbox) = mpsc::channel(8);
        let laws = self.laws.clone();
        let runs = agent.clone();
        let task = tokio::spawn(async move { runs.run(inbox, |pass| laws.turned(pass.next_wake)).await });
        self.running.push(Running { signals, task, agent });
        Ok(())
    }

    /// The agent of a running daemon, for what an operator does by hand.
    pub fn agent(&self) -> Option<Arc<Agent>> {
        self.running.first().map(|running| running.agent.clone())
    }

    /// The processes are gone, wherever they were.
    pub async fn kill(&mut self) {
        for running in self.running.drain(..) {
            running.task.abort();
            let _ = running.task.await;
        }
        self.points.revive();
    }

    /// The power goes and comes back: what was not synced may be lost.
    pub async fn lose_power(&mut self, seed: u64) {
        self.kill().await;
        self.model.crash(seed);
        Bug::on_disk(self.common.bug, &self.model);
        self.server.boot();
    }

    /// As an operator does it: the server reads its files anew, if it can.
    pub fn restart_server(&self) {
        match self.server.reload(self.common.authority.truth.now()) {
            Ok(()) => self.laws.note("somebody restarts the server"),
            Err(why) => self.laws.note(&format!("somebody can't restart the server: {why}")),
        }
    }

    /// All that was wrong with the disk ends.
    pub fn heal_disk(&self) {
        self.model.heal();
        Bug::on_disk(self.common.bug, &self.model);
    }

    /// How daemons ended that ended by themselves. `Err`: one panicked.
    pub async fn ended(&mut self) -> Vec<Result<String, String>> {
        let mut ends = Vec::new();
        while let Some(place) = self.running.iter().position(|running| running.task.is_finished()) {
            ends.push(match self.running.remove(place).task.await {
                Ok(Ok(())) => Ok("ended".into()),
                Ok(Err(failure)) => Ok(failure.to_string()),
                Err(panic) => Err(format!("the daemon panicked: {panic}")),
            });
        }
        ends
    }

    /// Puts the present spec into force, as a reload of the configuration does.
    pub async fn enter(&self) {
        for running in &self.running {
            running.signals.send(Signal::Enter(Box::new(self.scene()))).await.ok();
        }
    }

    /// SIGTERM, and the wait for the end.
    pub async fn stop(&mut self) {
        for running in self.running.drain(..) {
            running.signals.send(Signal::Stop).await.ok();
            running.task.await.unwrap().unwrap();
        }
    }

    /// What there is to say of the lineage now, by an agent that only looks.
    pub fn survey(&self) -> Option<Survey> {
        at_once(self.observer()?.survey(&self.laws.shelves.id)).ok()
    }

    /// Law: the same inputs give the same plan, however often and in whatever words.
    pub fn plans_alike(&self) {
        let Some(observer) = self.observer() else { return };
        let id = &self.laws.shelves.id;
        let (Ok(survey), Ok((again, _))) = (at_once(observer.survey(id)), at_once(observer.explain(id)))
        else {
            return;
        };
        if survey.plan != again.plan {
            let words = format!("{:?} and {:?} from the same inputs", survey.plan, again.plan);
            self.common.journal.breach(Law::Plan, &words);
        }
        // What the agent remembers says the same, or nothing.
        let _belief = observer.believe();
        if let Ok(View::Held(held)) = at_once(observer.view(id))
            && (held.memo.plan(held.at) != survey.plan || held.memo.ladder() != survey.ladder)
        {
            let words = format!("{:?} and {:?}, which is remembered", survey.plan, held.memo);
            self.common.journal.breach(Law::Plan, &words);
        }
        if survey.plan.wake_at <= survey.at {
            let words = format!("the plan wakes at {}, it is {}", survey.plan.wake_at, survey.at);
            self.common.journal.breach(Law::Wake, &words);
        }
    }

    fn observer(&self) -> Option<Agent> {
        if !self.is_running() || self.points.dark() {
            return None;
        }
        let peek = self.laws.shelves.peek()?;
        let seen = peek.seen_files();
        let parts = Parts {
            store: Arc::new(peek),
            probe: self.probe.clone(),
            sink: self.laws.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            keys: self.keys.clone(),
        };
        Some(Agent::new(parts, self.scene()).remembering(seen, false))
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
        on_dead_name: nolapse::core::spec::OnDeadName::default(),
        hooks: vec![HookId::parse("nginx").unwrap()],
        observe_timeout: Span::secs(30),
        deploy_window: None,
        after: Vec::new(),
        around: Around::default(),
        rights: Arc::default(),
        labels: nolapse::core::labels::Labels::default(),
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
