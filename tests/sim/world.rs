//! A world: a seed, the true time, a script, a CA and a node, run until something is true.

use std::sync::Arc;

use nolapse::agent::Survey;
use nolapse::core::event::Event;
use nolapse::core::ladder::Observed;
use nolapse::core::leaf::Leaf;
use nolapse::core::time::{Span, Timestamp};
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::{Fault, Step, Trouble as DiskTrouble};

use crate::board::Board;
use crate::ca::{Authority, Order};
use crate::laws::{Weather, at_once};
use crate::node::Node;
use crate::script::{Script, Trouble};

/// Longest time between two looks at the laws.
const SLICE: Span = Span::minutes(30);
/// How long a process or host takes to come back.
const COMES_BACK: Span = Span::secs(5);
/// When faults have stopped, everything is as it should be within this.
pub const SETTLES_WITHIN: Span = Span::hours(26);

pub struct World {
    pub seed: u64,
    pub truth: Clock,
    pub script: Script,
    pub board: Board,
    pub ca: Arc<Authority>,
    pub node: Node,
    disk_is_full: bool,
}

impl World {
    /// A world whose CA issues for `lifetime`. Nothing runs yet.
    pub fn new(seed: u64, lifetime: Span) -> Self {
        let epoch: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let truth = Clock::starting_at(epoch);
        let script = Script::new(truth.clone());
        let board = Board::default();
        let ca = Arc::new(Authority::new(seed, truth.clone(), script.clone(), board.clone(), lifetime));
        let node = Node::new(seed, Clock::starting_at(epoch), &script, &board, &ca);
        Self { seed, truth, script, board, ca, node, disk_is_full: false }
    }

    /// A world whose agent has issued, installed and observed its first certificate.
    pub async fn observed(seed: u64, lifetime: Span) -> Self {
        let mut world = Self::new(seed, lifetime);
        world.start().await;
        world.settle(Span::minutes(5)).await;
        world
    }

    pub async fn start(&mut self) {
        self.follow_the_script();
        if let Err(why) = self.node.start().await {
            self.node.laws.note(&format!("the daemon can't start: {why}"));
        }
    }

    pub fn now(&self) -> Timestamp {
        self.truth.now()
    }

    /// Lets time pass until `done`, at most `within`; what was awaited must come.
    pub async fn until(&mut self, what: &str, within: Span, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now() + within;
        while !done(self) {
            if self.now() >= end {
                self.fail(&format!("{what}: not within {within}"));
            }
            self.step(end).await;
        }
    }

    pub async fn run_for(&mut self, span: Span) {
        self.run_until(self.now() + span).await;
    }

    pub async fn run_until(&mut self, end: Timestamp) {
        while self.now() < end {
            self.step(end).await;
        }
    }

    /// Runs until nothing is owed and nothing is left over.
    pub async fn settle(&mut self, within: Span) {
        let end = self.now() + within;
        loop {
            let owing = self.owing();
            let Some(what) = owing else { return };
            if self.now() >= end {
                self.fail(&format!("not settled within {within}: {what}"));
            }
            self.step(end).await;
        }
    }

    /// What is not as it should be.
    fn owing(&self) -> Option<String> {
        let Some(survey) = self.survey() else { return Some("no agent runs".into()) };
        let record = &survey.world.record.value;
        if record.attempt.is_some() {
            return Some("an attempt is open".into());
        }
        if let Some(trouble) = &record.trouble {
            return Some(format!("trouble: {}", trouble.failure));
        }
        if !record.debts.is_empty() {
            return Some("answers are to be cleaned up".into());
        }
        if !survey.ladder.paid() || survey.ladder.observed != Observed::Yes {
            return Some(format!("{:?}", survey.ladder));
        }
        if !self.board.is_empty() {
            return Some("answers stand on the board".into());
        }
        let served = self.node.server.serves();
        if served.as_ref().is_some_and(|leaf| leaf.not_after <= self.now()) {
            return Some("what is served has expired".into());
        }
        let served = served.map(|leaf| leaf.fingerprint);
        if served != record.leaf().map(|leaf| leaf.fingerprint) {
            return Some("the server serves something else".into());
        }
        None
    }

    /// One stretch of time: to the next event, edge of the script, death, or slice.
    async fn step(&mut self, end: Timestamp) {
        self.tend().await;
        let now = self.now();
        let edge = self.script.next_edge().unwrap_or(Timestamp::MAX);
        let until = end.min(edge).min(now + SLICE);
        let (laws, points) = (self.node.laws.clone(), self.node.points.clone());
        tokio::select! {
            biased;
            () = points.died.notified() => {}
            () = laws.moved.notified() => {}
            _ = self.truth.sleep_until(until) => {}
        }
        self.tend().await;
        self.node.laws.check();
        self.node.laws.look_at_the_sky(&Weather {
            quiet: self.script.quiet(),
            running: self.node.is_running() && self.node.spec.is_some(),
            served: self.node.server.serves(),
        });
        if let Some(law) = self.node.laws.broken() {
            self.fail(&law);
        }
    }

    /// What the host, its supervisor and the script do by themselves.
    async fn tend(&mut self) {
        self.follow_the_script();
        if self.node.points.dark() {
            self.power_cut(self.seed).await;
        } else if self.node.points.is_dead() {
            self.crash().await;
        }
        if let Some(how) = self.node.ended().await {
            self.node.laws.note(&format!("the daemon ended: {how}"));
        }
        if !self.node.is_running() {
            self.truth.sleep(COMES_BACK).await;
            self.start().await;
        }
    }

    fn follow_the_script(&mut self) {
        let full = self.script.strikes(&Trouble::DiskFull);
        if full && !self.disk_is_full {
            for step in [Step::Create, Step::Write, Step::MakeDir, Step::Link, Step::Copy] {
                let fault = Fault { trouble: DiskTrouble::Full, step: Some(step), skip: 0, lasting: true };
                self.node.model.inject(fault);
            }
        } else if !full && self.disk_is_full {
            self.node.model.heal();
        }
        self.disk_is_full = full;
    }

    /// The agent's process dies; disk and server go on.
    pub async fn crash(&mut self) {
        self.node.laws.note("the agent dies");
        self.node.kill().await;
        self.forget_lost_orders();
    }

    /// The host loses power: what was not synced may be lost.
    pub async fn power_cut(&mut self, seed: u64) {
        self.node.laws.note("the power goes");
        self.node.kill().await;
        self.node.model.crash(seed);
        self.node.server.boot();
        self.forget_lost_orders();
        self.node.laws.look_again();
    }

    /// An order whose URL did not reach the disk is an orphan, which stories count.
    fn forget_lost_orders(&self) {
        let record = self.node.laws.records().map(|(record, _)| record);
        self.ca.lost(|url| {
            let record = record.as_ref();
            let open = record
                .and_then(|record| record.attempt.as_ref())
                .and_then(|attempt| attempt.order.as_deref());
            let issued =
                record.and_then(|record| record.current.as_ref()).map(|issued| issued.order.as_str());
            open == Some(url) || issued == Some(url)
        });
    }

    /// The host sleeps: time passes for the world and its clock, not for its timers.
    pub fn suspend(&self, span: Span) {
        self.node.laws.note(&format!("suspended for {span}"));
        self.truth.jump(span);
        self.node.clock.jump(span);
    }

    /// Long stretches in which nothing is to happen are slept through.
    pub async fn doze_until(&mut self, date: Timestamp) {
        self.suspend(date.since(self.now()));
        self.run_for(Span::MINUTE).await;
    }

    /// To a few minutes before the instant that the agent has chosen for the next renewal.
    pub async fn doze_to_renewal(&mut self) {
        let point = self.survey().and_then(|survey| survey.world.record.value.point);
        let point = point.unwrap_or_else(|| self.fail("no renewal point was chosen"));
        self.doze_until(point.at - Span::minutes(5)).await;
    }

    /// The host's clock alone is set.
    pub fn set_clock(&self, by: Span) {
        self.node.laws.note(&format!("the clock is set by {by}"));
        self.node.clock.jump(by);
    }

    pub async fn enter(&self) {
        self.node.enter().await;
    }

    pub fn survey(&self) -> Option<Survey> {
        let agent = self.node.agent()?;
        at_once(agent.survey(&self.node.laws.id)).ok()
    }

    pub fn orders(&self) -> Vec<(String, Order)> {
        self.ca.orders()
    }

    pub fn served(&self) -> Leaf {
        self.node.server.serves().unwrap_or_else(|| self.fail("nothing is served"))
    }

    pub fn saw(&self, what: impl FnMut(&Event) -> bool) -> bool {
        self.node.laws.events().iter().any(what)
    }

    pub fn count(&self, mut what: impl FnMut(&Event) -> bool) -> usize {
        self.node.laws.events().iter().filter(|event| what(event)).count()
    }

    /// What must hold in a story.
    #[track_caller]
    pub fn expect(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(what);
        }
    }

    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        let now = self.now();
        panic!(
            "seed {}, {now}: {what}\n{}\nseed {}, {now}: {what}",
            self.seed,
            self.node.laws.tail(),
            self.seed
        );
    }
}
