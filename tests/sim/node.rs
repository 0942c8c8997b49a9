//! One host with one agent: what survives a crash, and what is built anew after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use nolapse::agent::{Agent, Parts, Scene, Signal, Survey, View};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::failure::Failure;
use nolapse::core::layout::CURRENT;
use nolapse::core::list::List;
use nolapse::core::name::{HookId, IssuerId, SolverId, SubjectName};
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
use crate::keys::{self, Canaries};
use crate::laws::{Laws, at_once};
use crate::peek::Shelves;
use crate::plot::Harm;
use crate::probe::Handshake;
use crate::script::Script;
use crate::server::Server;
use crate::shared::SharedStore;
use crate::site::Site;
use crate::solver::BoardSolver;
use crate::store::Keeper;
use crate::witness::Witness;

/// Largest file read, in bytes.
const FILE_MAX: usize = 1 << 20;
/// Few directories down: a simulation walks there more than it does anything else.
pub const STATE: &str = "/state";
pub const LIVE: &str = "/live";
/// The first lineage of a node, and the first of its names.
pub const SHOP: &str = "shop.example.com";

/// What the nodes of a world have in common.
#[derive(Clone)]
pub struct Common {
    pub script: Script,
    pub board: Board,
    pub authority: Arc<Authority>,
    pub journal: Journal,
    /// The certificates that every host wants.
    pub sites: Vec<Site>,
    /// Agents on each host.
    pub agents: usize,
    pub shared: Option<SharedStore>,
    pub bug: Option<Planted>,
    /// Events are kept for stories to ask about.
    pub keeps: bool,
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
    pub witness: Arc<Witness>,
    /// What the configuration asks for now of the first certificate; `None`: nothing.
    pub spec: Option<LineageSpec>,
    /// And of the others.
    others: Vec<LineageSpec>,
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
        let live = |site: &Site| Path::new(LIVE).join(site.id.as_str());
        let served = common.sites.iter().map(|site| (site.names[0].clone(), live(site)));
        let server = Arc::new(Server::new(disk.clone(), served.collect()));
        let reload = Arc::new(Reload {
            server: server.clone(),
            script: script.clone(),
            points: points.clone(),
            truth: truth.clone(),
            told: Mutex::default(),
        });
        let canaries = Canaries::all();
        let laws = |(place, site): (usize, &Site)| {
            let shelves = Shelves {
                id: site.id.clone(),
                disk: disk.clone(),
                state_dir: STATE.into(),
                shared: common.shared.clone(),
            };
            Arc::new(Laws::new(
                number,
                place,
                shelves,
                model.clone(),
                live(site),
                authority.clone(),
                reload.clone(),
                canaries.clone(),
                common.journal.clone(),
            ))
        };
        let witness = Arc::new(Witness {
            node: number,
            clock: clock.clone(),
            journal: common.journal.clone(),
            stir: common.stir.clone(),
            canaries: canaries.clone(),
            keeps: common.keeps,
            laws: common.sites.iter().enumerate().map(laws).collect(),
            state: Mutex::default(),
        });
        let mut specs = common.sites.iter().map(Site::spec);
        let spec = specs.next();
        let others = specs.collect();
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
            witness,
            spec,
            others,
            keys: Keys::pool(keys::pool(number)).unwrap(),
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

    /// The configuration asks for the certificate of this site.
    pub fn wants(&self, site: usize) -> bool {
        site > 0 || self.spec.is_some()
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
            self.witness.note(&format!("{report:?}"));
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
            sink: self.witness.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            keys: self.keys.clone(),
        };
        let agent = Arc::new(Agent::new(parts, self.scene()).remembering(seen, true));
        let (signals, inbox) = mpsc::channel(8);
        let witness = self.witness.clone();
        let runs = agent.clone();
        let task = tokio::spawn(async move { runs.run(inbox, |pass| witness.turned(pass.next_wake)).await });
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

    /// Somebody writes to the files of a certificate that servers read.
    pub fn damage(&self, site: usize, harm: Harm) {
        let dir = Path::new(LIVE).join(self.common.sites[site].id.as_str());
        let Ok(current) = self.disk.read_link(&dir.join(CURRENT)) else { return };
        let (chain, key) = (dir.join(&current).join("fullchain.pem"), dir.join(&current).join("privkey.pem"));
        let done = match harm {
            Harm::KeySwapped => self.model.put(&key, keys::pool(self.number)[0].bytes(), 0o600),
            Harm::ChainCut => self.disk.read(&chain, FILE_MAX).and_then(|content| {
                let bytes = content.bytes();
                self.model.put(&chain, &bytes[..bytes.len() / 2], 0o644)
            }),
            Harm::Removed => self.model.take_away(&dir.join("fullchain.pem")),
        };
        if done.is_ok() {
            self.witness.laws[site].harmed();
        }
    }

    /// As an operator does it: the server reads its files anew, if it can.
    pub fn restart_server(&self) {
        match self.server.reload() {
            Ok(()) => self.witness.note("somebody restarts the server"),
            Err(why) => self.witness.note(&format!("somebody can't restart the server: {why}")),
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

    /// What there is to say of a certificate now, by an agent that only looks.
    pub fn survey(&self, site: usize) -> Option<Survey> {
        at_once(self.observer()?.survey(&self.common.sites[site].id)).ok()
    }

    /// Law: the same inputs give the same plan, however often and in whatever words.
    pub fn plans_alike(&self, site: usize) {
        let Some(observer) = self.observer() else { return };
        let id = &self.common.sites[site].id;
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

    /// An agent that only looks, where there is a host to look at.
    pub fn observer(&self) -> Option<Agent> {
        if !self.is_running() || self.points.dark() {
            return None;
        }
        let peek = self.witness.laws[0].shelves.peek()?;
        let seen = peek.seen_files();
        let parts = Parts {
            store: Arc::new(peek),
            probe: self.probe.clone(),
            sink: self.witness.clone(),
            clock: self.clock.clone(),
            disk: self.disk.clone(),
            keys: self.keys.clone(),
        };
        Some(Agent::new(parts, self.scene()).remembering(seen, false))
    }

    fn scene(&self) -> Scene {
        let mut wanted = Wanted::default();
        for spec in self.spec.iter().chain(&self.others) {
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

/// The first certificate, for other names than at first.
pub fn shop(names: &[&str]) -> LineageSpec {
    let names = names.iter().map(|name| SubjectName::parse(name).unwrap()).collect();
    Site { names, ..Site::all([Span::ZERO]).remove(0) }.spec()
}

impl Site {
    /// What the configuration says of it.
    fn spec(&self) -> LineageSpec {
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
            id: self.id.clone(),
            names: self.names.clone().into(),
            endpoints: vec![Endpoint::parse(&format!("{}@127.0.0.1:443", self.id)).unwrap()].into(),
            outputs: List::default(),
            origin: Origin { file: "conf.d/shop.toml".into(), line: 1 },
            terms: Arc::new(terms),
        }
    }
}
