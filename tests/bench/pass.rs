//! A pass with nothing due: `nolapse renew` over 1, 1,000 and 10,000 certificates, and what it
//! costs to start at all.
//!
//! - `NOLAPSE_BENCH_SIZES=1,100` other sizes; `NOLAPSE_BENCH_RUNS=9` other repeats
//! - `--make DIR [PAIRS]`: no benchmark; leaves the state of the first size in `DIR`, or one made
//!   of the pairs `NAME.crt` and `NAME.key` in `PAIRS`, for other tools
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

use std::path::Path;
use std::time::Duration;

use rig::cost::{self, Cost, median};
use rig::fleet::Fleet;
use rig::table::{Table, cells};
use rig::{Place, program};

fn main() {
    if cost::relay() {
        return;
    }
    let sizes = rig::sizes("NOLAPSE_BENCH_SIZES", &[1, 1_000, 10_000], &[1, 100]);
    let arguments: Vec<_> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--make") {
        let dir = Path::new(arguments.get(at + 1).unwrap());
        let pairs = arguments.get(at + 2).filter(|argument| !argument.starts_with('-'));
        match pairs {
            Some(pairs) => Fleet::adopted(dir, Path::new(pairs)),
            None => Fleet::new(dir, sizes[0]),
        };
        return;
    }
    let runs = rig::knob("NOLAPSE_BENCH_RUNS", 5, 3);
    let mut table = Table::new(&["", "certificates", "CPU ms", "wall ms", "peak MiB", "each, CPU us"]);
    let own = cost::floor(runs * 2 + 1);
    let mut row = |what: &str, size: usize, costs: &[Cost], each: Option<f64>| {
        let [cpu, wall, peak] = cells(costs);
        let each = each.map_or_else(|| "-".to_owned(), |each| format!("{each:.1}"));
        table.row(vec![what.to_owned(), size.to_string(), cpu, wall, peak, each]);
    };
    row("nothing (/bin/true)", 0, &own, None);
    row("--version", 0, &cost::repeated(runs * 2 + 1, 0, program(), &["--version"]), None);
    let mut smallest: Option<(usize, Duration)> = None;
    for size in sizes {
        let place = Place::new();
        let fleet = Fleet::new(place.path(), size);
        // A pass over few is over before the clock has seen much of it.
        let runs = if size < 100 { runs * 2 + 1 } else { runs };
        let costs = cost::repeated(runs, 0, program(), &fleet.arguments(&["renew"]));
        let cpu = median(costs.iter().map(|cost| cost.cpu));
        let each = smallest.map(|(fewer, less)| {
            cpu.saturating_sub(less).as_secs_f64() * 1e6 / size.saturating_sub(fewer).max(1) as f64
        });
        smallest = smallest.or(Some((size, cpu)));
        row("renew, nothing due", size, &costs, each);
        row("status", size, &cost::repeated(runs, 0, program(), &fleet.arguments(&["status"])), None);
    }
    table.print();
    println!(
        "pass: done. Median (least-most) of {runs} runs or more; \"each\" is what one more certificate costs."
    );
}
