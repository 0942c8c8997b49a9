//! A plot, lived: hosts sleep through what is dull, and are awake where something begins, ends,
//! or is due.

use std::collections::BTreeMap;
use std::time::Duration;

use nolapse::core::time::{Span, Timestamp};
use nolapse::sys::disk::{Fault as DiskFault, Trouble as DiskTrouble};

use crate::bug::Planted;
use crate::generator::Dice;
use crate::journal::{Breach, Law};
use crate::plot::{Fault, Plot, What};
use crate::script::Trouble;
use crate::world::{Cast, SETTLES_WITHIN, World};

/// Hosts are awake for so long after something began or ended, and around a renewal.
const RESTLESS: Span = Span::hours(4);
/// After so long of it they may sleep again, where all is well.
const CALM_AFTER: Span = Span::minutes(40);
/// How often that is asked.
const CALM_LOOK: Span = Span::minutes(30);
/// They wake as well when this part of life is left and the certificate is still served, whatever its agent
/// makes of that, and stay for so long: an hour in which it could be renewed.
const VIGIL_LEFT: i64 = 6;
const VIGIL: Span = Span::minutes(100);
/// Hosts wake so long before something begins.
const EARLY: Span = Span::minutes(15);
/// Shorter sleeps are not worth it.
const DOZE_LEAST: Span = Span::hours(1);
/// Longest sleep where nothing is owed.
const DOZE_MOST: Span = Span::days(30);
/// Longest sleep where something is, or this part of a life if that is longer: what is owed for
/// months is looked at as often in a life as what is owed for hours.
const DOZE_OWING_MOST: Span = Span::hours(10);
const DOZE_OWING_PART: i64 = 60;
/// The wait for one certificate where a CA's limit was reached: a refill of its slowest one.
const LIMIT_REFILL: Span = Span::hours(34);
/// Looks at the world after which a life is broken off as one that never ends.
const LOOKS_MAX: u64 = 2_000_000;

/// How a life went.
pub struct Lived {
    pub broken: Option<Breach>,
    pub tally: Tally,
    /// The number and count of all lines of the journal.
    pub digest: (u64, u64),
    pub tail: String,
}

/// What was simulated.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub plots: u64,
    /// Certificates that were wanted.
    pub sites: u64,
    /// Time of their lives, in milliseconds.
    pub millis: i64,
    /// Of which hosts were awake.
    pub awake: i64,
    pub lines: u64,
    pub certificates: u64,
    pub orders: u64,
    /// The same of plots in which nothing costs an order.
    pub modest_certificates: u64,
    pub modest_orders: u64,
    /// Certificates that ended while they were served: no host had a good hour to renew them in.
    pub lapses: u64,
    /// How often something was amiss for so long that somebody had to be told.
    pub told: u64,
    /// Processor time that it took.
    pub worked: Duration,
    /// Plots in which a host's clock was set.
    pub clocks: u64,
    /// How often each trouble struck.
    pub struck: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.plots += other.plots;
        self.sites += other.sites;
        self.millis += other.millis;
        self.awake += other.awake;
        self.lines += other.lines;
        self.certificates += other.certificates;
        self.orders += other.orders;
        self.modest_certificates += other.modest_certificates;
        self.modest_orders += other.modest_orders;
        self.lapses += other.lapses;
        self.told += other.told;
        self.worked += other.worked;
        self.clocks += other.clocks;
        for (kind, times) in &other.struck {
            *self.struck.entry(kind.clone()).or_default() += times;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn years(&self) -> f64 {
        self.millis as f64 / Span::days(365).millis() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn awake_percent(&self) -> f64 {
        100.0 * self.awake as f64 / self.millis.max(1) as f64
    }

    pub fn faults(&self) -> u64 {
        self.struck.values().sum()
    }
}

/// Lives a plot to its end or to the first law that is broken.
pub fn live(plot: &Plot, bug: Option<Planted>, keep_all: bool) -> Lived {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let Plot { seed, nodes, agents, shared, .. } = *plot;
        let lifetimes = plot.lifetimes().collect();
        let world = World::with(Cast { seed, lifetimes, nodes, agents, shared, bug, keeps: false });
        if keep_all {
            world.journal.keep_all();
        }
        let begun = world.now();
        let mut life = Life {
            world,
            dice: Dice::new(seed),
            begun,
            restless_until: begun,
            doze_owing_most: DOZE_OWING_MOST.max(plot.lifetime.over(DOZE_OWING_PART)),
            calm_at: begun,
            looks: 0,
            struck: BTreeMap::new(),
        };
        life.world.start().await;
        life.play(plot).await;
        if life.world.journal.broken().is_none() {
            life.end(plot).await;
        }
        life.sum_up(plot)
    })
}

struct Life {
    world: World,
    dice: Dice,
    begun: Timestamp,
    restless_until: Timestamp,
    doze_owing_most: Span,
    calm_at: Timestamp,
    looks: u64,
    struck: BTreeMap<String, u64>,
}

/// What a plot does at one instant.
#[derive(Clone, Copy)]
enum Beat<'a> {
    Begins(&'a Fault),
    Ends(&'a Fault),
}

impl Life {
    async fn play(&mut self, plot: &Plot) {
        let mut beats: Vec<(Timestamp, Beat<'_>)> = Vec::new();
        for fault in &plot.faults {
            beats.push((self.begun + fault.at, Beat::Begins(fault)));
            beats.push((self.begun + fault.end(plot.lifetime), Beat::Ends(fault)));
        }
        beats.sort_by_key(|(at, _)| *at);
        for (at, beat) in beats {
            self.pass_until(at).await;
            if self.over() {
                return;
            }
            self.beat(plot, beat);
            self.restless_from(self.world.now());
        }
        self.pass_until(self.begun + plot.end()).await;
    }

    fn beat(&mut self, plot: &Plot, beat: Beat<'_>) {
        let world = &mut self.world;
        match beat {
            Beat::Begins(fault @ Fault { what, .. }) => {
                // All hosts may have slept through its beginning; it ends when it was to end.
                let left = (self.begun + fault.end(plot.lifetime)).since(world.now());
                if let Some(kind) = what.kind() {
                    *self.struck.entry(kind.to_owned()).or_default() += 1;
                }
                world.journal.note(&format!("the plot: {what:?}"));
                match what {
                    What::For(_, trouble) => world.script.for_span(left, trouble.clone()),
                    What::Next(times, trouble) => {
                        world.script.next_within(left, *times, trouble.clone());
                    }
                    What::Clock { node, by, .. } => world.set_clock(*node, *by),
                    What::Suspend(_) if left <= Span::ZERO => {}
                    What::Suspend(_) => world.suspend(left),
                    What::Freeze { node, .. } => world.freeze(*node, left),
                    What::Crash { node, point } => world.nodes[*node].points.die_at(*point),
                    What::CrashAtStore { node, point } => world.nodes[*node].points.die_at_store(*point),
                    What::PowerCut { node, step } => world.nodes[*node].model.inject(DiskFault {
                        trouble: DiskTrouble::PowerCut,
                        step: None,
                        skip: *step,
                        lasting: false,
                    }),
                    What::Revoke => world.ca.revoke_all(),
                    What::RevokeSite(site) => world.ca.revoke_site(*site),
                    What::Damage { node, site, harm } => world.nodes[*node].damage(*site, *harm),
                }
            }
            Beat::Ends(Fault { what: What::Clock { node, by, .. }, .. }) => {
                world.set_clock(*node, Span::ZERO - *by);
            }
            // Somebody restarts the server: a reload that said it was done is not asked for again.
            Beat::Ends(Fault {
                what: What::For(_, Trouble::ReloadLies) | What::Next(_, Trouble::ReloadLies),
                ..
            }) => {
                for node in &world.nodes {
                    node.restart_server();
                }
            }
            Beat::Ends(_) => {}
        }
    }

    /// Lets time pass, awake or asleep.
    async fn pass_until(&mut self, end: Timestamp) {
        while self.world.now() < end && !self.over() {
            let now = self.world.now();
            if now < self.restless_until {
                let until = end.min(self.restless_until).min(self.calm_at.max(now + CALM_LOOK));
                self.look(until).await;
                let now = self.world.now();
                if now >= self.calm_at && now < self.restless_until && self.world.owing().is_none() {
                    // Nothing came of it, or all that came of it is paid.
                    self.restless_until = now;
                }
                continue;
            }
            let owing = self.world.owing().is_some();
            let mut wake = end.min(now + DOZE_MOST);
            let (mut due, mut vigil) = (None, None);
            for laws in self.world.nodes.iter().flat_map(|node| &node.witness.laws) {
                if let Some((_, at)) = laws.point() {
                    if at - EARLY <= now && now < at + CALM_AFTER {
                        due = due.max(Some(at));
                    } else if at > now {
                        wake = wake.min(at);
                    }
                }
            }
            if let Some(at) = due {
                self.restless_from(at);
                continue;
            }
            for site in 0..self.world.sites.len() {
                for leaf in self.world.nodes.iter().filter_map(|node| node.server.serves_at(site)) {
                    let at = leaf.not_after - leaf.lifetime().over(VIGIL_LEFT);
                    if at - EARLY <= now && now < at + VIGIL {
                        vigil = vigil.max(Some(at + VIGIL));
                    } else if at > now {
                        wake = wake.min(at);
                    }
                }
            }
            if let Some(until) = vigil {
                (self.restless_until, self.calm_at) = (until, until);
                continue;
            }
            let awake = if owing {
                wake = wake.min(now + self.dice.span(DOZE_LEAST, self.doze_owing_most));
                Span::minutes(70)
            } else {
                Span::minutes(3)
            };
            let doze = wake.since(now) - EARLY;
            if doze >= DOZE_LEAST {
                self.world.suspend(doze);
                self.restless_until = now + doze + awake;
                self.calm_at = self.restless_until;
            } else {
                self.restless_until = wake.max(now + Span::MINUTE);
                self.calm_at = self.restless_until;
            }
        }
    }

    /// Something happens at this time, or is due.
    fn restless_from(&mut self, at: Timestamp) {
        self.restless_until = at + RESTLESS;
        self.calm_at = at + CALM_AFTER;
    }

    async fn look(&mut self, until: Timestamp) {
        self.looks += 1;
        if self.looks == LOOKS_MAX {
            self.world.journal.breach(Law::Wake, "this life never ends");
        }
        self.world.advance(until).await;
    }

    fn over(&self) -> bool {
        self.world.journal.broken().is_some()
    }

    /// All faults have stopped: everything settles, and nothing was done in vain.
    async fn end(&mut self, plot: &Plot) {
        for node in &self.world.nodes {
            node.points.spare();
            if !node.points.dark() {
                node.heal_disk();
            }
        }
        let mut bound = SETTLES_WITHIN + plot.aftermath();
        if self.world.ca.limits_reached() > 0 {
            bound = bound + LIMIT_REFILL;
        }
        let end = self.world.now() + bound;
        while let Some(what) = self.world.owing() {
            if self.world.now() >= end {
                self.world.journal.breach(Law::Settles, &format!("not settled within {bound}: {what}"));
            }
            if self.over() {
                return;
            }
            self.look(end).await;
        }
        self.count(plot);
    }

    fn count(&self, plot: &Plot) {
        for (place, site) in self.world.sites.iter().enumerate() {
            let life = site.lifetime;
            let used = if life < Span::days(10) { life.times(48) } else { life.times(64) };
            // Renewal information that wanders may ask for a renewal a tenth of life sooner.
            let used = (used - life.times(12)).over(100);
            let needed = 2 + self.world.now().since(self.begun).millis() / used.millis();
            let issued = i64::try_from(self.world.ca.certificates_of(place)).unwrap();
            let extras = plot.extras(life);
            if issued > needed + extras {
                let words = format!(
                    "{}: {issued} certificates, {needed} were needed, {extras} asked for otherwise",
                    site.id
                );
                self.world.journal.breach(Law::Orders, &words);
            }
        }
        if let Some(jumps) = plot.jumps() {
            self.count_orders(plot.lifetime, jumps);
        }
        if plot.modest() && self.world.ca.limits_reached() > 0 {
            self.world
                .journal
                .breach(Law::Limits, "a limit of the CA was reached although no order was lost");
        }
    }

    /// One order for each renewal, and one more at most for each time that a clock was set (S14).
    fn count_orders(&self, life: Span, jumps: i64) {
        // When renewal information lets it be renewed, counted from when the CA issued it.
        let used = if life < Span::days(10) { life.times(47) } else { life.times(63) }.over(100);
        let lasted = self.world.now().since(self.begun);
        let most = 1 + lasted.millis() / used.millis() + jumps;
        let orders = self.world.orders().len();
        if i64::try_from(orders).unwrap() > most {
            let words = format!("{orders} orders in {lasted}, and clocks were set {jumps} times");
            self.world.journal.breach(Law::Orders, &words);
        }
    }

    fn sum_up(self, plot: &Plot) -> Lived {
        let world = self.world;
        let millis = world.now().since(self.begun).millis();
        let sites = i64::try_from(world.sites.len()).unwrap();
        let digest = world.journal.digest();
        let (certificates, orders) = (world.ca.certificates(), world.orders().len() as u64);
        let modest = u64::from(plot.modest());
        let mut struck = self.struck;
        for (kind, times) in world.script.struck() {
            *struck.entry(kind).or_default() += times;
        }
        Lived {
            broken: world.journal.broken(),
            tally: Tally {
                plots: 1,
                sites: world.sites.len() as u64,
                millis: millis * sites,
                awake: (millis - world.dozed.millis()) * sites,
                lines: digest.1,
                certificates,
                orders,
                modest_certificates: modest * certificates,
                modest_orders: modest * orders,
                lapses: world
                    .nodes
                    .iter()
                    .flat_map(|node| &node.witness.laws)
                    .map(|laws| laws.sky.lapses())
                    .sum(),
                told: world.nodes.iter().map(|node| node.witness.heard()).sum(),
                worked: Duration::ZERO,
                clocks: u64::from(struck.contains_key("ClockSet")),
                struck,
            },
            digest,
            tail: world.journal.tail(),
        }
    }
}
