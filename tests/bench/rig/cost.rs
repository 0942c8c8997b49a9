//! What a process cost, from the kernel's account of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// One run of one process.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// User and system time.
    pub cpu: Duration,
    pub wall: Duration,
    /// Largest resident set.
    pub peak_kib: u64,
    pub code: i32,
}

/// Word that makes a benchmark the parent of one process, and nothing else.
const RELAY: &str = "--measure-one-process";

/// To be called first in `main`. Costs are asked of a parent that has one child only: the kernel
/// keeps the peak of all children together, and adds what they used to the others' sum.
pub fn relay() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != RELAY) {
        return false;
    }
    let program = arguments.next().unwrap();
    let begun = Instant::now();
    let status =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
    let wall = begun.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let cpu = micros(usage.user_time()) + micros(usage.system_time());
    println!("{cpu} {} {} {}", wall.as_micros(), usage.max_rss(), status.code().unwrap_or(-1));
    true
}

/// Runs `program` to its end, its answer thrown away.
pub fn of(program: impl AsRef<Path>, arguments: &[&str]) -> Cost {
    let me = std::env::current_exe().unwrap();
    let output = Command::new(me).arg(RELAY).arg(program.as_ref()).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<i64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [cpu, wall, peak, code] = numbers[..] else {
        panic!("the measuring process said {text:?} and {}", String::from_utf8_lossy(&output.stderr))
    };
    let micros = |number: i64| Duration::from_micros(u64::try_from(number).unwrap());
    Cost {
        cpu: micros(cpu),
        wall: micros(wall),
        peak_kib: u64::try_from(peak).unwrap(),
        code: i32::try_from(code).unwrap(),
    }
}

/// As [`of`], `runs` times, after one run that warms the caches; `good` is the exit code of a run
/// that counts.
pub fn repeated(runs: usize, good: i32, program: impl AsRef<Path>, arguments: &[&str]) -> Vec<Cost> {
    let program = program.as_ref();
    of(program, arguments);
    (0..runs.max(1))
        .map(|_| {
            let cost = of(program, arguments);
            assert_eq!(cost.code, good, "{} {arguments:?} ended with another code", program.display());
            cost
        })
        .collect()
}

/// The share that is the measuring's own: what a process that does nothing costs.
pub fn floor(runs: usize) -> Vec<Cost> {
    repeated(runs, 0, "/bin/true", &[])
}

/// The middle of an odd number of values, the upper middle of an even one.
pub fn median<T: Copy + Ord>(values: impl IntoIterator<Item = T>) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values[values.len() / 2]
}
