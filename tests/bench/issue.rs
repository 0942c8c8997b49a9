//! Issuing from Pebble, a real CA: one certificate in a process of its own, then many at once.
//!
//! - `NOLAPSE_BENCH_ORDERS=1000` at once; `NOLAPSE_BENCH_RUNS=9` single ones
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[allow(dead_code, clippy::expect_used)]
#[path = "../support/pebble.rs"]
mod pebble;
mod rig;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pebble::{Options, Pebble};
use rig::cost::{self, Cost};
use rig::table::{Table, mib, millis, ms};
use rig::{Place, program};

/// Pebble 2.4 can lock itself up under orders side by side; then all is done again with a fresh
/// one, which is told.
const TRIES: usize = 4;
/// Longest time for one pass.
const PASS_MOST: Duration = Duration::from_secs(60);
/// `timeout(1)`'s exit code when it had to end the program.
const TIMED_OUT: i32 = 124;

fn main() {
    if cost::relay() {
        return;
    }
    let orders = rig::knob("NOLAPSE_BENCH_ORDERS", 200, 10);
    let runs = rig::knob("NOLAPSE_BENCH_RUNS", 7, 2);
    let mut table =
        Table::new(&["", "CPU ms each", "wall ms each", "orders/s", "peak MiB", "requests each", "of it"]);
    let Some(site) = Site::start() else { return };
    let single: Vec<_> = (0..=runs).map(|number| site.issue(&[format!("one{number}.bench.test")])).collect();
    let Some(single) = single.into_iter().collect::<Option<Vec<Issued>>>() else {
        panic!("single orders did not end in {PASS_MOST:?}")
    };
    // The first also makes the account.
    let (first, later) = single.split_at(1);
    for (what, several) in [("the first, with the account", first), ("one, in its own process", later)] {
        let each = |pick: fn(&Cost) -> Duration| several.iter().map(|i| pick(&i.cost)).collect::<Vec<_>>();
        let last = several.last().unwrap();
        table.row(vec![
            what.to_owned(),
            millis(&each(|cost| cost.cpu)),
            millis(&each(|cost| cost.wall)),
            "-".to_owned(),
            mib(several.iter().map(|issued| issued.cost.peak_kib).max().unwrap()),
            last.requests.iter().map(|(_, count)| count).sum::<usize>().to_string(),
            words(&last.requests, 1),
        ]);
    }
    drop(site);
    let names: Vec<_> = (0..orders).map(|number| format!("many{number:04}.bench.test")).collect();
    let (tries, many) = (1..=TRIES)
        .find_map(|tries| Some((tries, Site::start().unwrap().issue(&names)?)))
        .unwrap_or_else(|| panic!("{orders} orders did not end in {PASS_MOST:?}, {TRIES} times"));
    let count = u32::try_from(orders).unwrap();
    let wall = many.cost.wall;
    table.row(vec![
        format!("{orders} at once"),
        format!("{:.1}", ms(many.cost.cpu / count)),
        format!("{:.1}", ms(wall / count)),
        format!("{:.1}", f64::from(count) / wall.as_secs_f64()),
        mib(many.cost.peak_kib),
        format!("{:.2}", many.requests.iter().map(|(_, n)| n).sum::<usize>() as f64 / f64::from(count)),
        words(&many.requests, orders),
    ]);
    table.print();
    if tries > 1 {
        println!("  {} runs of many were given up after {PASS_MOST:?} and done again", tries - 1);
    }
    println!("issue: done. Every step is durable before the next, on {}.", Place::new().path().display());
}

/// A Pebble, and a configuration that is written anew for each pass.
struct Site {
    pebble: Pebble,
    place: Place,
}

struct Issued {
    cost: Cost,
    /// What Pebble logged of this pass.
    requests: Vec<(&'static str, usize)>,
}

/// Pebble's paths and what they are called here.
const CALLS: [(&str, &str, &str); 9] = [
    ("directory", "GET", "/dir"),
    ("nonce", "HEAD", "/nonce-plz"),
    ("account", "POST", "/sign-me-up"),
    ("order", "POST", "/order-plz"),
    ("authorization", "POST", "/authZ/"),
    ("challenge", "POST", "/chalZ/"),
    ("poll", "POST", "/my-order/"),
    ("finalize", "POST", "/finalize-order/"),
    ("certificate", "POST", "/certZ/"),
];

impl Site {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = Options { http_port: Some(port), validity: Some(90 * 86_400), ..Options::default() };
        Some(Self { pebble: Pebble::start(&options)?, place: Place::new() })
    }

    /// One pass that finds these and nothing else due; `None` when it did not end.
    fn issue(&self, names: &[String]) -> Option<Issued> {
        let before = self.requests();
        let config = self.configure(names);
        let limit = PASS_MOST.as_secs().to_string();
        let program = program();
        let arguments = [&limit[..], &program, "--config", config.to_str().unwrap(), "renew"];
        let cost = cost::of("timeout", &arguments);
        if cost.code == TIMED_OUT {
            return None;
        }
        assert_eq!(cost.code, 0, "a pass over {} names failed", names.len());
        let requests =
            self.requests().iter().zip(before).map(|(after, before)| (after.0, after.1 - before.1)).collect();
        Some(Issued { cost, requests })
    }

    fn requests(&self) -> Vec<(&'static str, usize)> {
        let log = self.pebble.log();
        let count = |method: &str, path: &str| {
            log.lines().filter(|l| l.contains(&format!("{method} {path}"))).count()
        };
        CALLS.iter().map(|(word, method, path)| (*word, count(method, path))).collect()
    }

    fn configure(&self, names: &[String]) -> PathBuf {
        let dir = self.place.path();
        let roots = dir.join("api-root.pem");
        std::fs::write(&roots, self.pebble.api_root()).unwrap();
        let mut text = head(dir, &self.pebble, &roots);
        for name in names {
            writeln!(text, "\n[certificate.\"{name}\"]").unwrap();
        }
        let config = dir.join("nolapse.toml");
        std::fs::write(&config, text).unwrap();
        config
    }
}

fn head(dir: &Path, pebble: &Pebble, roots: &Path) -> String {
    let (roots, directory, port) = (roots.display(), pebble.directory(), pebble.http_port());
    let dir = dir.display();
    format!(
        r#"[agent]
state-dir = "{dir}/state"
live-dir = "{dir}/live"
run-dir = "{dir}/run"

[issuer.pebble]
directory = "{directory}"
accept-terms = true
ca-file = "{roots}"

[solver.own]
listen = "127.0.0.1:{port}"
check-port = {port}

[defaults]
issuer = "pebble"
solver = "own"
"#
    )
}

fn words(requests: &[(&'static str, usize)], orders: usize) -> String {
    let shown = requests.iter().filter(|(_, count)| *count > 0).map(|(word, count)| {
        if orders == 1 {
            format!("{count} {word}")
        } else {
            format!("{:.2} {word}", *count as f64 / orders as f64)
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}
