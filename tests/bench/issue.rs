//! Issuing from Pebble, a real CA: one certificate in a process of its own, one among many that
//! are not due, then many at once.
//!
//! - `NOLAPSE_BENCH_ORDERS=1000` at once; `NOLAPSE_BENCH_RUNS=9` single ones
//! - `NOLAPSE_BENCH_AMONG=100` so many that are not due; 0 leaves that row out
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
use rig::fleet::Fleet;
use rig::table::{Table, mib, millis, ms};
use rig::{Place, program};

/// Pebble 2.4 can lock itself up under orders side by side; then all is done again with a fresh
/// one, which is told.
const TRIES: usize = 4;
/// Longest time for one pass over up to [`ORDERS_USUAL`] orders; more have as much longer.
const PASS_MOST: Duration = Duration::from_secs(60);
const ORDERS_USUAL: usize = 200;
/// `timeout(1)`'s exit code when it had to end the program.
const TIMED_OUT: i32 = 124;

fn main() {
    if cost::relay() {
        return;
    }
    let orders = rig::knob("NOLAPSE_BENCH_ORDERS", ORDERS_USUAL, 10);
    let runs = rig::knob("NOLAPSE_BENCH_RUNS", 7, 2);
    let among = rig::knob("NOLAPSE_BENCH_AMONG", 10_000, 20);
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
    if among > 0 {
        for (what, several) in one_among(among, runs) {
            let each = |pick: fn(&Cost) -> Duration| several.iter().map(pick).collect::<Vec<_>>();
            table.row(vec![
                what,
                millis(&each(|cost| cost.cpu)),
                millis(&each(|cost| cost.wall)),
                "-".to_owned(),
                mib(several.iter().map(|cost| cost.peak_kib).max().unwrap()),
                "-".to_owned(),
                String::new(),
            ]);
        }
    }
    let names: Vec<_> = (0..orders).map(|number| format!("many{number:04}.bench.test")).collect();
    let most = pass_most(orders);
    let (tries, many) = (1..=TRIES)
        .find_map(|tries| Some((tries, Site::start().unwrap().issue(&names)?)))
        .unwrap_or_else(|| panic!("{orders} orders did not end in {most:?}, {TRIES} times"));
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
        println!("  {} runs of many were given up after {most:?} and done again", tries - 1);
    }
    println!("issue: done. Every step is durable before the next, on {}.", Place::new().path().display());
}

/// Passes over a fleet of which none is due, and of which one is.
fn one_among(count: usize, runs: usize) -> [(String, Vec<Cost>); 2] {
    let Some(pebble) = Pebble::start(&options()) else { return Default::default() };
    let place = Place::new();
    let fleet = Fleet::new(place.path(), count);
    let roots = place.path().join("api-root.pem");
    std::fs::write(&roots, pebble.api_root()).unwrap();
    let config = std::fs::read_to_string(&fleet.config).unwrap() + &parties(&pebble, &roots);
    let pass = || cost::repeated(1, 0, program(), &fleet.arguments(&["renew"])).remove(0);
    let due = |number: usize| {
        // Those before have been issued, and are not due any more.
        let entry = |number| {
            format!(
                "\n[certificate.\"due{number}.bench.test\"]\nissuer = \"pebble\"\nsolver = \"own\"\nhooks = []\n"
            )
        };
        std::fs::write(&fleet.config, config.clone() + &(0..=number).map(entry).collect::<String>()).unwrap();
        cost::of(program(), &fleet.arguments(&["renew"]))
    };
    // The first also makes the account.
    let costs: Vec<_> = (0..=runs).map(due).skip(1).collect();
    assert!(costs.iter().all(|cost| cost.code == 0), "a pass with one due among {count} failed");
    let idle: Vec<_> = (0..runs).map(|_| pass()).collect();
    [(format!("none due among {count}"), idle), (format!("one due among {count}"), costs)]
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
        Some(Self { pebble: Pebble::start(&options())?, place: Place::new() })
    }

    /// One pass that finds these and nothing else due; `None` when it did not end.
    fn issue(&self, names: &[String]) -> Option<Issued> {
        let before = self.requests();
        let config = self.configure(names);
        let limit = pass_most(names.len()).as_secs().to_string();
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

fn pass_most(orders: usize) -> Duration {
    PASS_MOST * u32::try_from(orders.div_ceil(ORDERS_USUAL)).unwrap()
}

fn options() -> Options {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Options { http_port: Some(port), validity: Some(90 * 86_400), ..Options::default() }
}

fn head(dir: &Path, pebble: &Pebble, roots: &Path) -> String {
    let parties = parties(pebble, roots);
    let dir = dir.display();
    format!(
        r#"[agent]
state-dir = "{dir}/state"
live-dir = "{dir}/live"
run-dir = "{dir}/run"

[defaults]
issuer = "pebble"
solver = "own"
{parties}"#
    )
}

/// The CA and our listener.
fn parties(pebble: &Pebble, roots: &Path) -> String {
    let (roots, directory, port) = (roots.display(), pebble.directory(), pebble.http_port());
    format!(
        r#"
[issuer.pebble]
directory = "{directory}"
accept-terms = true
ca-file = "{roots}"

[solver.own]
listen = "127.0.0.1:{port}"
check-port = {port}
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
