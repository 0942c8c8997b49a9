//! Runs the tests that reach a fault, and sees whether one of them notices it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What one run may take of memory, in KiB: a loop that never ends must not take the host with it.
const MEMORY_MOST_KIB: u32 = 8 << 20;
/// How much longer than ever before a run may take: this, and so many times as long.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_FACTOR: u32 = 10;
/// A test that takes longer alone is left out of all trials.
const TEST_MOST: Duration = Duration::from_secs(100);
/// The quickest tests are asked first, few at a time; a program ends only after all that it was asked.
const BATCHES: [usize; 2] = [6, 40];

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Killed,
    /// The tests did not come to an end with it.
    Endless,
    Survived,
    /// No test comes by.
    Unreached,
}

pub struct Bench {
    program: PathBuf,
    root: PathBuf,
    scratch: PathBuf,
    /// By number of the fault: tests that reach it, quickest first.
    reached: BTreeMap<u32, Vec<usize>>,
    tests: Vec<(String, Duration)>,
}

impl Bench {
    /// Runs each test alone, without a fault, and notes how long it takes and what it reaches.
    pub fn new(program: PathBuf, root: &Path, scratch: &Path) -> Result<Self, String> {
        let mut bench = Self {
            program,
            root: root.to_owned(),
            scratch: scratch.to_owned(),
            reached: BTreeMap::new(),
            tests: Vec::new(),
        };
        let listed = bench.run(&["--list", "--format=terse"], &[], TEST_MOST)?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut all = Vec::new();
        for name in listed.lines().filter_map(|line| line.strip_suffix(": test")) {
            let note = bench.scratch.join("reached");
            let _ = fs::remove_file(&note);
            let begun = Instant::now();
            let ended = bench.run(
                &["--exact", name],
                &[("NOLAPSE_MUTANTS_REACHED", note.to_string_lossy().into_owned())],
                TEST_MOST,
            )?;
            if !ended.status.success() {
                println!("left out, fails without a fault: {name}");
                continue;
            }
            let numbers: Vec<u32> = fs::read_to_string(&note)
                .unwrap_or_default()
                .lines()
                .filter_map(|n| n.parse().ok())
                .collect();
            all.push((begun.elapsed(), name.to_owned(), numbers));
        }
        all.sort();
        for (took, name, numbers) in all {
            for number in numbers {
                bench.reached.entry(number).or_default().push(bench.tests.len());
            }
            bench.tests.push((name, took));
        }
        Ok(bench)
    }

    pub fn tests(&self) -> usize {
        self.tests.len()
    }

    /// How many tests reach a fault.
    pub fn reaching(&self, number: u32) -> usize {
        self.reached.get(&number).map_or(0, Vec::len)
    }

    /// Switches a fault on and asks the tests that reach it.
    pub fn outcome(&self, number: u32) -> Result<Outcome, String> {
        let Some(mut left) = self.reached.get(&number).map(Vec::as_slice) else {
            return Ok(Outcome::Unreached);
        };
        let mut batches = BATCHES.into_iter();
        while !left.is_empty() {
            let (now, later) = left.split_at(batches.next().unwrap_or(left.len()).min(left.len()));
            left = later;
            let mut arguments = vec!["--exact", "--test-threads=1"];
            arguments.extend(now.iter().map(|&test| self.tests[test].0.as_str()));
            let usual: Duration = now.iter().map(|&test| self.tests[test].1).sum();
            let most = PATIENCE + usual * PATIENCE_FACTOR;
            let ended = self.run(&arguments, &[("NOLAPSE_MUTANT", number.to_string())], most)?;
            match ended.status.code() {
                Some(0) => {}
                // As coreutils' timeout says it.
                Some(124 | 137) => return Ok(Outcome::Endless),
                _ => return Ok(Outcome::Killed),
            }
        }
        Ok(Outcome::Survived)
    }

    fn run(
        &self,
        arguments: &[&str],
        environment: &[(&str, String)],
        most: Duration,
    ) -> Result<Output, String> {
        Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY_MOST_KIB}; exec timeout -k 1 \"$@\""), "sh"])
            .arg(most.as_secs().max(1).to_string())
            .arg(&self.program)
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_MANIFEST_DIR", &self.root)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{}: {e}", self.program.display()))
    }
}
