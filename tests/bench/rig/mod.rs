//! What the benchmarks share: what a process cost, a fleet of certificates, and tables.
//!
//! Every benchmark drives the program itself. Sizes and counts come from the environment, so that
//! a run can be made longer than its usual minute; `cargo bench -- --quick` makes it shorter.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

pub mod cost;
pub mod fleet;
pub mod table;

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The program that is measured. `NOLAPSE_BENCH_PROGRAM` names another, such as
/// `target/dist/nolapse`: the one that `cargo bench` builds has the features that only tests ask
/// of shared crates.
pub fn program() -> String {
    std::env::var("NOLAPSE_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nolapse").to_owned())
}

/// Whether the command line asks for a short run.
pub fn quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

/// A number from the environment, else one of two defaults.
pub fn knob<T: FromStr>(name: &str, usual: T, quickly: T) -> T {
    let default = if quick() { quickly } else { usual };
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number as it should be"))
    })
}

/// A comma-separated list of numbers from the environment, else one of two defaults.
pub fn sizes(name: &str, usual: &[usize], quickly: &[usize]) -> Vec<usize> {
    let default = if quick() { quickly } else { usual };
    std::env::var(name).map_or_else(
        |_| default.to_vec(),
        |text| text.split(',').map(|size| size.trim().parse().expect("a size is a number")).collect(),
    )
}

/// A directory that goes with the benchmark; in memory where the host has such a place, so that
/// no other program's disk traffic is measured. `NOLAPSE_BENCH_DIR` puts it elsewhere.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let parent = std::env::var_os("NOLAPSE_BENCH_DIR").map_or_else(
            || {
                let memory = PathBuf::from("/dev/shm");
                if memory.is_dir() { memory } else { std::env::temp_dir() }
            },
            PathBuf::from,
        );
        Self(tempfile::Builder::new().prefix("nolapse-bench-").tempdir_in(parent).unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
