//! Many lives, side by side: what was simulated, and which plots broke a law.

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::life::{Tally, live};
use crate::plot::Plot;
use crate::shrink::shrink;

/// Lines of the journal printed for a plot that broke a law.
const LINES: usize = 60;
/// Plots that broke a law after which a campaign ends: there is enough to look at.
const FAILURES_MAX: usize = 20;
/// How often a long campaign says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(300);

/// Which seeds, and when it is enough.
pub struct Campaign {
    /// What becomes of a seed.
    pub draw: fn(u64) -> Plot,
    pub from: u64,
    pub seeds: u64,
    /// No seed is begun after this.
    pub until: Option<Instant>,
    /// Nor after so many certificate-years.
    pub years: f64,
    pub threads: usize,
}

struct Desk {
    next: AtomicU64,
    full: AtomicBool,
    sum: Mutex<Tally>,
    failures: Mutex<Vec<String>>,
    told: Mutex<Instant>,
}

impl Campaign {
    /// Lives them all and says what it was. Panics with the plots that broke a law, each in its
    /// smallest form.
    pub fn run(&self, name: &str) -> Tally {
        let begun = Instant::now();
        let desk = Desk {
            next: AtomicU64::new(self.from),
            full: AtomicBool::new(false),
            sum: Mutex::default(),
            failures: Mutex::default(),
            told: Mutex::new(begun),
        };
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| self.work(&desk, name, begun));
            }
        });
        let sum = desk.sum.into_inner().unwrap();
        println!("{name}: {}", said(&sum, begun.elapsed()));
        println!("{name}: faults injected: {:?}", sum.struck);
        let failures = desk.failures.into_inner().unwrap();
        assert!(failures.is_empty(), "{} plots broke a law\n{}", failures.len(), failures.join("\n"));
        sum
    }

    fn work(&self, desk: &Desk, name: &str, begun: Instant) {
        loop {
            let seed = desk.next.fetch_add(1, Ordering::SeqCst);
            let late = self.until.is_some_and(|until| Instant::now() >= until);
            if late || seed >= self.from.saturating_add(self.seeds) || desk.full.load(Ordering::SeqCst) {
                return;
            }
            let plot = (self.draw)(seed);
            let before = worked();
            let lived = live(&plot, None, false);
            let took = worked().saturating_sub(before);
            if let Some(breach) = &lived.broken {
                let tail: Vec<_> = lived.tail.lines().collect();
                let tail = tail[tail.len().saturating_sub(LINES)..].join("\n");
                println!("seed {seed}: {breach}");
                let smallest = shrink(&plot, breach.law, None);
                let broken = live(&smallest, None, false).broken.map(|breach| breach.to_string());
                let words = format!("seed {seed}: {breach}\n{tail}\nsmallest: {broken:?}\n{smallest}");
                println!("{words}");
                let mut failures = desk.failures.lock().unwrap();
                failures.push(words);
                desk.full.fetch_or(failures.len() >= FAILURES_MAX, Ordering::SeqCst);
            }
            let mut sum = desk.sum.lock().unwrap();
            sum.add(&lived.tally);
            sum.worked += took;
            desk.full.fetch_or(sum.years() >= self.years, Ordering::SeqCst);
            let mut told = desk.told.lock().unwrap();
            if told.elapsed() >= TELL_EVERY {
                *told = Instant::now();
                println!("{name}: {}", said(&sum, begun.elapsed()));
            }
        }
    }
}

/// Processor time of this thread so far: on a busy machine the clock on the wall says little.
fn worked() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap()))
        .sum()
}

fn said(sum: &Tally, took: Duration) -> String {
    let secs = took.as_secs_f64().max(0.001);
    let worked = sum.worked.as_secs_f64().max(0.001);
    format!(
        "{} plots of {} certificates, {:.1} certificate-years ({:.1} for each of {worked:.0} s of processor time, {:.1} % awake), {} events, {} faults injected, \
         {} plots with clocks set, {} certificates by {} orders; where nothing costs an order {} by {}; {} ended while served, {} times somebody had to be told; \
         {secs:.0} s",
        sum.plots,
        sum.sites,
        sum.years(),
        sum.years() / worked,
        sum.awake_percent(),
        sum.lines,
        sum.faults(),
        sum.clocks,
        sum.certificates,
        sum.orders,
        sum.modest_certificates,
        sum.modest_orders,
        sum.lapses,
        sum.told,
    )
}

/// A number from the environment, or what is usual.
pub fn from_environment(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
