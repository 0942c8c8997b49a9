//! Lives that nobody thought of.

use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use crate::bug::Planted;
use crate::campaign::{Campaign, from_environment};
use crate::journal::Law;
use crate::life::live;
use crate::plot::{Plot, What};
use crate::script::Trouble;
use crate::shrink::shrink;

/// Seeds that every run lives.
const FIXED: u64 = 40;
/// Of those in which only time goes wrong.
const CLOCKS: u64 = 40;
/// And how many of these a whole search has.
const HISTORIES: u64 = 10_000;
/// How long random seeds are begun, in seconds, where `NOLAPSE_SIM_BOX_SECS` says nothing.
const BOX_SECS: u64 = 20;
/// Certificate-years of a night, where `NOLAPSE_SIM_YEARS` says nothing.
const NIGHT_YEARS: u64 = 1_000_000;
/// The longest night, in seconds, where `NOLAPSE_SIM_BOX_SECS` says nothing.
const NIGHT_SECS: u64 = 7 * 24 * 3600;
/// Orders for a hundred certificates, where nothing costs an order.
const ORDERS_PER_HUNDRED: u64 = 102;

#[test]
fn fixed_seeds_keep_every_law_with_one_order_a_renewal() {
    let sum = fixed(Plot::random, FIXED).run("fixed seeds");
    assert!(sum.told > 0, "nothing was ever amiss for long enough to be told");
    let (orders, certificates) = (sum.modest_orders, sum.modest_certificates);
    assert!(certificates > FIXED, "only {certificates} certificates where nothing costs an order");
    assert!(
        orders * 100 <= certificates * ORDERS_PER_HUNDRED,
        "{orders} orders for {certificates} certificates although nothing costs an order"
    );
}

/// The box says how many seeds there are, not whether they pass.
#[test]
fn random_seeds_keep_every_law() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let from = from_environment("NOLAPSE_SIM_SEED", now.as_secs() << 20);
    let within = Duration::from_secs(from_environment("NOLAPSE_SIM_BOX_SECS", BOX_SECS));
    println!("random seeds: from {from} (NOLAPSE_SIM_SEED={from} repeats them)");
    let until = Some(Instant::now() + within);
    Campaign { from, until, ..fixed(Plot::random, u64::MAX) }.run("random seeds");
}

/// S14: no certificate lapses that its host could have renewed, and a clock that is set costs one order at
/// most.
#[test]
fn s14_clocks_that_are_set_and_hosts_that_sleep_cost_no_certificate() {
    let sum = fixed(Plot::of_clocks, CLOCKS).run("clocks and sleep");
    assert!(sum.clocks > CLOCKS / 2, "only {} plots with clocks", sum.clocks);
    assert!(sum.lapses > 0, "no host ever slept over the end of a certificate");
}

/// S14 in full. `cargo test --release --test sim -- --ignored --nocapture ten_thousand_histories`
#[test]
#[ignore = "takes two minutes in release; docs/reliability.md says how it is run"]
fn s14_ten_thousand_histories_of_clocks_and_sleep() {
    let from = from_environment("NOLAPSE_SIM_SEED", 0);
    let seeds = from_environment("NOLAPSE_SIM_SEEDS", HISTORIES);
    Campaign { from, threads: threads(), ..fixed(Plot::of_clocks, seeds) }.run("clocks and sleep");
}

/// The seeds from 0 on, one after another.
fn fixed(draw: fn(u64) -> Plot, seeds: u64) -> Campaign {
    Campaign { draw, from: 0, seeds, until: None, years: f64::MAX, threads: 1 }
}

fn threads() -> usize {
    let all = available_parallelism().map_or(1, usize::from);
    usize::try_from(from_environment("NOLAPSE_SIM_THREADS", all as u64)).unwrap()
}

/// `cargo test --release --test sim -- --ignored --nocapture a_night`
#[test]
#[ignore = "takes a night; docs/reliability.md says how it is run"]
#[expect(clippy::cast_precision_loss, reason = "a count of years")]
fn a_night_of_random_seeds() {
    let from = from_environment("NOLAPSE_SIM_SEED", 1_000_000);
    let seeds = from_environment("NOLAPSE_SIM_SEEDS", u64::MAX);
    let years = from_environment("NOLAPSE_SIM_YEARS", NIGHT_YEARS) as f64;
    let within = Duration::from_secs(from_environment("NOLAPSE_SIM_BOX_SECS", NIGHT_SECS));
    let until = Some(Instant::now() + within);
    Campaign { from, until, years, threads: threads(), ..fixed(Plot::random, seeds) }.run("a night");
}

#[test]
fn a_plot_replays_line_by_line() {
    let mut lines = 0;
    for seed in [3, 5, 11] {
        let plot = Plot::random(seed);
        let [first, second] = [0, 1].map(|_| live(&plot, None, true));
        assert_eq!(first.tail, second.tail, "{plot}");
        assert_eq!(first.digest, second.digest);
        lines += first.digest.1;
    }
    assert!(lines > 100, "{lines} lines are no life");
}

/// Each bug, the laws that may find it, and what a plot must have for it to matter: the others of
/// the fixed seeds are not lived for it. With one certificate each: a removed floor is not found by forty
/// seeds with several.
#[test]
fn each_planted_bug_is_found_by_the_fixed_seeds() {
    type Matters = fn(&What) -> bool;
    let rows: [(Planted, &[Law], Matters); 6] = [
        (Planted::SyncRemoved, &[Law::Whole, Law::Settles, Law::Orders], |what| {
            matches!(what, What::PowerCut { .. })
        }),
        (Planted::FloorRemoved, &[Law::Orders, Law::Limits, Law::Hammer], |what| {
            matches!(what, What::For(_, Trouble::AriNow))
        }),
        (Planted::HookDebtDropped, &[Law::Hooks], |what| {
            matches!(what.trouble(), Some(Trouble::HookFails | Trouble::HookHangs))
        }),
        (Planted::BackoffOverflows, &[Law::Hammer, Law::Limits], |what| {
            matches!(what, What::For(_, Trouble::CaErrors | Trouble::NameFails(_) | Trouble::RateLimit(_)))
        }),
        (Planted::WindowRedrawn, &[Law::Plan], |_| true),
        (Planted::SightInvented, &[Law::Told, Law::Settles], |what| {
            matches!(what.trouble(), Some(Trouble::ReloadLies | Trouble::ServerDown))
        }),
    ];
    for (bug, laws, matters) in rows {
        let plots = (0..FIXED).map(Plot::random_alone);
        let found =
            plots.filter(|plot| plot.faults.iter().any(|fault| matters(&fault.what))).find_map(|plot| {
                let breach = live(&plot, Some(bug), false).broken?;
                Some((plot, breach))
            });
        let Some((plot, breach)) = found else { panic!("{bug:?} is not found by {FIXED} seeds") };
        println!("planted {bug:?}: seed {} finds {breach}", plot.seed);
        assert!(laws.contains(&breach.law), "{bug:?} is found by another law: {breach}");
    }
}

#[test]
fn a_plot_that_breaks_a_law_is_made_small() {
    let bug = Some(Planted::WindowRedrawn);
    let plot = (0..FIXED).map(Plot::random).find(|plot| live(plot, bug, false).broken.is_some()).unwrap();
    let law = live(&plot, bug, false).broken.unwrap().law;
    let smallest = shrink(&plot, law, bug);
    assert!(smallest.faults.len() <= 1, "{smallest}");
    assert_eq!(smallest.lives, 1);
    assert_eq!(live(&smallest, bug, false).broken.unwrap().law, law);
}

/// `NOLAPSE_SIM_SEED=N cargo test --test sim -- --ignored --nocapture a_life_is_told`
#[test]
#[ignore = "prints one plot and all that happened in it"]
fn a_life_is_told() {
    let plot = Plot::random(from_environment("NOLAPSE_SIM_SEED", 0));
    println!("{plot}");
    println!("{}", live(&plot, None, true).tail);
}
