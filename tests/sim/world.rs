//! A world: a seed, the true time, a script, a CA and its nodes, run until something is true.

use std::sync::Arc;

use tokio::sync::Notify;

use nolapse::agent::{Agent, Survey};
use nolapse::core::event::Event;
use nolapse::core::ladder::Observed;
use nolapse::core::leaf::{Leaf, mix};
use nolapse::core::record::{Installed, LineageRecord};
use nolapse::core::time::{Span, Timestamp};
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::{Fault, Step, Trouble as DiskTrouble};

use crate::board::Board;
use crate::bug::Planted;
use crate::ca::{Authority, Order};
use crate::journal::{Journal, Law};
use crate::laws::{Laws, at_once};
use crate::node::{Common, Node};
use crate::script::{Script, Trouble};
use crate::shared::SharedStore;
use crate::site::Site;
use crate::sky::Weather;

/// Longest time between two looks at the laws.
const SLICE: Span = Span::minutes(30);
/// How long a process or host takes to come back.
const COMES_BACK: Span = Span::secs(5);
/// When faults have stopped, everything is as it should be within this.
pub const SETTLES_WITHIN: Span = Span::hours(26);
/// A host's clock is right when it is off by no more.
const CLOCK_RIGHT: Span = Span::MINUTE;
/// Requests for an order in a day that a failing lineage may make: a free look each half hour may
/// lead to one, and the first tries follow each other sooner.
const ASKS_A_DAY: usize = 60;
/// The same in its last days, where waits are a twelfth of what is left.
const ASKS_A_DAY_NEAR_THE_END: usize = 200;
/// Steps between two looks at whether plans are alike; each time those of another certificate.
const PLANS_EVERY: u64 = 16;

pub struct World {
    pub seed: u64,
    pub truth: Clock,
    pub script: Script,
    pub board: Board,
    pub ca: Arc<Authority>,
    /// The certificates that every node wants.
    pub sites: Vec<Site>,
    pub nodes: Vec<Node>,
    pub journal: Journal,
    stir: Arc<Notify>,
    disk_is: Option<DiskTrouble>,
    steps: u64,
    powers: u64,
    apart_until: Timestamp,
    /// Time slept through, by all nodes at once.
    pub dozed: Span,
}

/// Who is in a world.
#[derive(Clone)]
pub struct Cast {
    pub seed: u64,
    /// Of what the CA issues for each site; there is one at least.
    pub lifetimes: Vec<Span>,
    pub nodes: usize,
    /// Agents on each host.
    pub agents: usize,
    /// The nodes share a made-up store; else each has its own directory.
    pub shared: bool,
    pub bug: Option<Planted>,
    /// Events are kept for stories to ask about.
    pub keeps: bool,
}

impl World {
    /// A world whose CA issues for `lifetime`, with one node. Nothing runs yet.
    pub fn new(seed: u64, lifetime: Span) -> Self {
        Self::of_sites(seed, &[lifetime])
    }

    /// The same with a site for each lifetime.
    pub fn of_sites(seed: u64, lifetimes: &[Span]) -> Self {
        let lifetimes = lifetimes.to_vec();
        Self::with(Cast { seed, lifetimes, nodes: 1, agents: 1, shared: false, bug: None, keeps: true })
    }

    pub fn with(cast: Cast) -> Self {
        let Cast { seed, lifetimes, nodes, agents, shared, bug, keeps } = cast;
        let epoch: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let truth = Clock::starting_at(epoch);
        let script = Script::new(truth.clone());
        let board = Board::default();
        let sites = Site::all(lifetimes);
        let ca = Arc::new(Authority::new(seed, truth.clone(), script.clone(), board.clone(), sites.clone()));
        let journal = Journal::new(truth.clone());
        let stir = Arc::new(Notify::new());
        let common = Common {
            script: script.clone(),
            board: board.clone(),
            authority: ca.clone(),
            journal: journal.clone(),
            sites: sites.clone(),
            agents,
            shared: shared.then(|| SharedStore::new(seed, truth.clone(), script.clone())),
            bug,
            keeps,
            stir: stir.clone(),
        };
        let nodes = (0..nodes).map(|number| Node::new(number, epoch, common.clone())).collect();
        Self {
            seed,
            truth,
            script,
            board,
            ca,
            sites,
            nodes,
            journal,
            stir,
            disk_is: None,
            steps: 0,
            powers: 0,
            apart_until: Timestamp::MIN,
            dozed: Span::ZERO,
        }
    }

    /// A world whose agent has issued, installed and observed its first certificate.
    pub async fn observed(seed: u64, lifetime: Span) -> Self {
        let mut world = Self::new(seed, lifetime);
        world.start().await;
        world.settle(Span::minutes(5)).await;
        world
    }

    pub fn node(&self) -> &Node {
        &self.nodes[0]
    }

    pub fn node_mut(&mut self) -> &mut Node {
        &mut self.nodes[0]
    }

    pub async fn start(&mut self) {
        self.follow_the_script();
        for number in 0..self.nodes.len() {
            self.start_node(number).await;
        }
    }

    async fn start_node(&mut self, number: usize) {
        while self.nodes[number].lacks_agents() {
            if let Err(why) = self.nodes[number].start().await {
                self.nodes[number].witness.note(&format!("the daemon can't start: {why}"));
                return;
            }
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
        while let Some(what) = self.owing() {
            if self.now() >= end {
                self.fail(&format!("not settled within {within}: {what}"));
            }
            self.step(end).await;
        }
    }

    /// What is not as it should be.
    pub fn owing(&self) -> Option<String> {
        if !self.board.is_empty() {
            return Some("answers stand on the board".into());
        }
        self.nodes
            .iter()
            .find_map(|node| self.owing_at(node).map(|what| format!("node {}: {what}", node.number)))
    }

    fn owing_at(&self, node: &Node) -> Option<String> {
        // What was read of the records already is asked first: a survey reads all files.
        let known = |laws: &Arc<Laws>| {
            let of =
                |record: &LineageRecord| open(record).or_else(|| self.misserved(node, record, laws.site));
            laws.known(of)?.map(|what| format!("{}: {what}", laws.shelves.id))
        };
        if let Some(what) = node.witness.laws.iter().find_map(known) {
            return Some(what);
        }
        let Some(observer) = node.observer() else { return Some("no agent runs".into()) };
        let owing = |(place, site): (usize, &Site)| {
            self.owing_of(node, &observer, place).map(|what| format!("{}: {what}", site.id))
        };
        self.sites.iter().enumerate().find_map(owing)
    }

    fn owing_of(&self, node: &Node, observer: &Agent, site: usize) -> Option<String> {
        let Ok(survey) = at_once(observer.survey(&self.sites[site].id)) else {
            return Some("nothing can be read".into());
        };
        if let Some(what) = open(&survey.world.record.value) {
            return Some(what);
        }
        if !survey.ladder.paid() || survey.ladder.observed != Observed::Yes {
            return Some(format!("{:?}", survey.ladder));
        }
        self.misserved(node, &survey.world.record.value, site)
    }

    /// What a site shows that it should not.
    fn misserved(&self, node: &Node, record: &LineageRecord, site: usize) -> Option<String> {
        let served = node.server.serves_at(site);
        if served.as_ref().is_some_and(|leaf| leaf.not_after <= self.now()) {
            return Some("what is served has expired".into());
        }
        let served = served.map(|leaf| leaf.fingerprint);
        if served != record.leaf().map(|leaf| leaf.fingerprint) {
            return Some("the server serves something else".into());
        }
        if served.is_some_and(|leaf| self.ca.revoked(&leaf).is_some()) {
            return Some("a revoked certificate is served".into());
        }
        None
    }

    /// One stretch of time: to the next event, edge of the script, death, or slice. A law that is
    /// broken ends the story.
    async fn step(&mut self, end: Timestamp) {
        self.advance(end).await;
        if let Some(breach) = self.journal.broken() {
            self.fail(&breach.to_string());
        }
    }

    /// As [`World::step`]; what is broken is in the journal.
    pub async fn advance(&mut self, end: Timestamp) {
        self.tend().await;
        let edge = self.script.next_edge().unwrap_or(Timestamp::MAX);
        let until = end.min(edge).min(self.now() + SLICE);
        let stir = self.stir.clone();
        let all = tokio::select! {
            biased;
            () = stir.notified() => false,
            _ = self.truth.sleep_until(until) => true,
        };
        let moved = self.tend().await;
        self.look(all || moved);
    }

    /// All laws, now: those of each certificate, or of those that something happened to.
    fn look(&mut self, all: bool) {
        self.steps += 1;
        if self.script.forgets() {
            self.ca.forgive();
        }
        let (now, quiet) = (self.now(), self.script.quiet());
        let deaf = self.script.deafens();
        let mut looked = vec![false; self.sites.len()];
        let site_of_plans = usize::try_from(self.steps / PLANS_EVERY).unwrap() % self.sites.len();
        for node in &self.nodes {
            let skew = node.clock.now().since(now);
            let runs =
                node.is_running() && !node.points.frozen() && skew.max(Span::ZERO - skew) <= CLOCK_RIGHT;
            // Nothing is reloaded while one of the server's sites can't be read.
            let quiet = quiet && !node.witness.laws.iter().any(|laws| laws.is_harmed());
            for laws in &node.witness.laws {
                if !laws.has_news() && !all {
                    continue;
                }
                looked[laws.site] = true;
                self.look_at(node, laws, quiet, runs, deaf);
            }
            if self.steps.is_multiple_of(PLANS_EVERY) {
                node.plans_alike(site_of_plans);
            }
        }
        for site in (0..self.sites.len()).filter(|site| looked[*site]) {
            self.look_at_requests(site);
        }
    }

    /// Those of one certificate on one node.
    fn look_at(&self, node: &Node, laws: &Laws, quiet: bool, runs: bool, deaf: bool) {
        laws.check();
        let weather = Weather {
            now: self.now(),
            quiet: quiet && !self.ca.limited(laws.site),
            running: runs && node.wants(laws.site),
            served: node.server.serves_at(laws.site),
            point: laws.point(),
        };
        laws.sky.look(&weather, &self.ca, &self.journal);
        if weather.running && !deaf {
            let survey = || node.survey(laws.site);
            let down = self.script.stays(&Trouble::ServerDown);
            laws.voice.listen(&weather, down, laws.wanted(), survey, &self.journal);
        } else {
            laws.voice.falters();
        }
    }

    /// How often the CA is asked.
    fn look_at_requests(&self, site: usize) {
        let now = self.now();
        // A day has passed since last resort began, or there is nothing to come to an end.
        let ends = |leaf: &Leaf| leaf.left(now) < leaf.lifetime().over(20) + Span::HOUR;
        let near_the_end =
            self.nodes.iter().any(|node| node.server.serves_at(site).is_some_and(|leaf| ends(&leaf)));
        let most = if near_the_end { ASKS_A_DAY_NEAR_THE_END } else { ASKS_A_DAY };
        let (asked, wondered) = self.ca.asked_today(site);
        let of = &self.sites[site].id;
        // Each host asks for itself where the others' answers do not reach it. Hosts whose clocks are days apart
        // take each other's dates for nonsense, and ask at each look.
        if wondered > ASKS_A_DAY * self.nodes.len() && !self.were_apart(now) {
            let words = format!("{of}: {wondered} questions for renewal information within a day");
            self.journal.breach(Law::Hammer, &words);
        }
        // What was asked for in the last days of the old one is still in the day of the new one.
        if asked > ASKS_A_DAY_NEAR_THE_END || (asked > most && self.ca.issued_today(site) == 0) {
            self.journal.breach(Law::Hammer, &format!("{of}: {asked} requests for an order within a day"));
        }
    }

    /// Whether hosts have had clocks that were more than a day apart, within a day.
    fn were_apart(&self, now: Timestamp) -> bool {
        let off = |node: &Node| {
            let theirs = node.clock.now();
            theirs.since(now).max(now.since(theirs)) > Span::DAY
        };
        self.nodes.len() > 1 && (now < self.apart_until || self.nodes.iter().any(off))
    }

    /// What hosts, their supervisors and the script do by themselves. Says whether they did anything.
    async fn tend(&mut self) -> bool {
        let mut moved = false;
        self.follow_the_script();
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            if node.points.dark() {
                self.powers += 1;
                let seed = mix(&[self.seed, self.powers]);
                self.power_cut(number, seed).await;
                moved = true;
            } else if node.points.is_dead() {
                self.crash(number).await;
                moved = true;
            }
            for end in self.nodes[number].ended().await {
                moved = true;
                match end {
                    Ok(how) => self.nodes[number].witness.note(&format!("the daemon ended: {how}")),
                    Err(panic) => self.journal.breach(Law::Runs, &panic),
                }
            }
        }
        if self.nodes.iter().any(|node| node.lacks_agents() && !node.points.frozen()) {
            moved = true;
            self.truth.sleep(COMES_BACK).await;
            for number in 0..self.nodes.len() {
                self.start_node(number).await;
            }
        }
        moved
    }

    fn follow_the_script(&mut self) {
        let is = if self.script.holds(&Trouble::DiskFull) {
            Some(DiskTrouble::Full)
        } else if self.script.holds(&Trouble::DiskReadOnly) {
            Some(DiskTrouble::ReadOnly)
        } else {
            None
        };
        if is == self.disk_is {
            return;
        }
        for node in &self.nodes {
            node.heal_disk();
            let steps: &[Option<Step>] = match is {
                None => &[],
                Some(DiskTrouble::Full) => {
                    &[Step::Create, Step::Write, Step::MakeDir, Step::Link, Step::Copy].map(Some)
                }
                Some(_) => &[None],
            };
            for step in steps {
                let trouble = is.unwrap_or(DiskTrouble::Full);
                node.model.inject(Fault { trouble, step: *step, skip: 0, lasting: true });
            }
        }
        self.disk_is = is;
    }

    /// The agent's processes die; disk and server go on.
    pub async fn crash(&mut self, number: usize) {
        self.nodes[number].witness.note("the agent dies");
        self.nodes[number].kill().await;
        self.forget_lost_orders();
    }

    /// The host loses power: what was not synced may be lost.
    pub async fn power_cut(&mut self, number: usize, seed: u64) {
        let node = &mut self.nodes[number];
        node.witness.note("the power goes");
        node.lose_power(seed).await;
        node.witness.look_again();
        // It came back without the script's faults.
        self.disk_is = None;
        self.forget_lost_orders();
    }

    /// An order whose URL did not reach the store is an orphan, which stories count.
    fn forget_lost_orders(&self) {
        // Nor did what the CA said of when to come back, perhaps.
        self.ca.forgive();
        let known: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|node| &node.witness.laws)
            .filter_map(|laws| laws.shelves.records())
            .collect();
        self.ca.lost(|url| {
            known.iter().any(|(record, _): &(LineageRecord, Installed)| {
                let open = record.attempt.as_ref().and_then(|attempt| attempt.order.as_deref());
                let issued = record.current.as_ref().map(|issued| issued.order.as_str());
                open == Some(url) || issued == Some(url)
            })
        });
    }

    /// All hosts sleep: time passes for the world and their clocks, not for their timers.
    pub fn suspend(&mut self, span: Span) {
        self.journal.note(&format!("suspended for {span}"));
        self.dozed = self.dozed + span;
        self.truth.jump(span);
        for node in &self.nodes {
            node.clock.jump(span);
            node.witness.slept();
        }
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

    /// One host sleeps, the others do not.
    pub fn freeze(&self, number: usize, span: Span) {
        self.nodes[number].witness.note(&format!("asleep for {span}"));
        self.nodes[number].points.freeze(span);
    }

    /// One host's clock alone is set.
    pub fn set_clock(&mut self, number: usize, by: Span) {
        if by.max(Span::ZERO - by) > Span::DAY {
            self.apart_until = self.now() + Span::DAY;
        }
        self.nodes[number].witness.note(&format!("the clock is set by {by}"));
        self.nodes[number].clock.jump(by);
        // What a CA said of when to come back was noted by another clock.
        self.ca.forgive();
    }

    pub async fn enter(&self) {
        for node in &self.nodes {
            node.enter().await;
        }
    }

    pub fn survey(&self) -> Option<Survey> {
        self.node().survey(0)
    }

    pub fn orders(&self) -> Vec<(String, Order)> {
        self.ca.orders()
    }

    pub fn served(&self) -> Leaf {
        self.node().server.serves().map_or_else(|| self.fail("nothing is served"), |leaf| Leaf::clone(&leaf))
    }

    pub fn saw(&self, what: impl FnMut(&Event) -> bool) -> bool {
        self.node().witness.events().iter().any(what)
    }

    pub fn count(&self, mut what: impl FnMut(&Event) -> bool) -> usize {
        self.node().witness.events().iter().filter(|event| what(event)).count()
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
            self.journal.tail(),
            self.seed
        );
    }
}

/// What is under way, or went wrong, by its record.
fn open(record: &LineageRecord) -> Option<String> {
    if record.attempt.is_some() {
        return Some("an attempt is open".into());
    }
    if let Some(trouble) = &record.trouble {
        return Some(format!("trouble: {}", trouble.failure));
    }
    (!record.debts.is_empty()).then(|| "answers are to be cleaned up".into())
}
