//! Test strength: how many small faults the unit tests notice.
//!
//! cargo-mutants builds once for each fault, which takes a day for a thousand of them. Here all faults are woven
//! into one build, each behind a switch that an environment variable turns on; which tests reach which fault
//! is noted once, and a fault is tried against these only. `tests/mutants/run` says how it is called.

mod compile;
mod find;
mod mutant;
mod tree;
mod trial;
mod value;
mod weave;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compile::{compile, tree_root};
use tree::Tree;
use trial::{Bench, Outcome};

/// What decides, keeps and verifies.
const AREAS: [&str; 4] = ["src/core/", "src/codec/", "src/store/", "src/probe/"];
/// How many faults are tried between two words of progress.
const TOLD_EACH: usize = 100;

fn main() -> ExitCode {
    match campaign(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

struct Wishes {
    areas: Vec<String>,
    /// How many to try, of each area; all where there is none.
    sample: Option<usize>,
    /// Only faults whose words contain this.
    only: Option<String>,
    /// Only faults that lived in the last campaign, which is gone on with.
    living: bool,
    list: bool,
}

impl Wishes {
    fn new(arguments: Vec<String>) -> Result<Self, String> {
        let mut wishes = Self { areas: Vec::new(), sample: None, only: None, living: false, list: false };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--sample" => wishes.sample = Some(value()?.parse().map_err(|_| "--sample wants a number")?),
                "--only" => wishes.only = Some(value()?),
                "--living" => wishes.living = true,
                "--list" => wishes.list = true,
                area if area.starts_with("src/") => wishes.areas.push(area.to_owned()),
                other => return Err(format!("{other}: not understood; see tests/mutants/run")),
            }
        }
        if wishes.areas.is_empty() {
            wishes.areas = AREAS.map(str::to_owned).into();
        }
        Ok(wishes)
    }

    /// The faults to try: a draw that is the same in each run, by what they do.
    fn drawn(&self, tree: &Tree, refused: &BTreeSet<u32>) -> Vec<u32> {
        let mut drawn = Vec::new();
        for area in &self.areas {
            let mut of_area: Vec<(u64, u32)> = tree
                .planted
                .iter()
                .filter(|(number, p)| p.file.starts_with(area.as_str()) && !refused.contains(number))
                .filter(|(_, p)| self.only.as_ref().is_none_or(|only| p.key().contains(only.as_str())))
                .map(|(number, p)| {
                    let mut hasher = DefaultHasher::new();
                    p.key().hash(&mut hasher);
                    (hasher.finish(), *number)
                })
                .collect();
            of_area.sort_unstable();
            of_area.truncate(self.sample.unwrap_or(usize::MAX));
            drawn.extend(of_area.into_iter().map(|(_, number)| number));
        }
        drawn
    }
}

/// Counts of one area.
#[derive(Default)]
struct Tally {
    drawn: usize,
    killed: usize,
    endless: usize,
    equivalent: usize,
    survived: usize,
    unreached: usize,
}

impl Tally {
    fn line(&self, area: &str) -> String {
        let dead = self.killed + self.endless;
        let live = self.drawn - self.equivalent;
        let tenths = (1000 * dead).checked_div(live).unwrap_or(1000);
        let (share, tenth) = (tenths / 10, tenths % 10);
        format!(
            "{area}: {} drawn, {} killed, {} endless, {} equivalent, {} survived, {} reached by no test: {share}.{tenth} %",
            self.drawn, self.killed, self.endless, self.equivalent, self.survived, self.unreached
        )
    }
}

fn campaign(arguments: Vec<String>) -> Result<(), String> {
    let wishes = Wishes::new(arguments)?;
    let project = std::env::current_dir().map_err(|e| e.to_string())?;
    let target = project.join("target");
    let scratch = target.join("mutants");
    fs::create_dir_all(&scratch).map_err(|e| e.to_string())?;
    let mut tree = Tree::new(&project, &tree_root(&target), &wishes.areas)?;
    let memory = scratch.join("refused");
    let mut refused = remembered(&tree, &memory);
    if wishes.list {
        for planted in tree.planted.values() {
            println!("{}:{} {}", planted.file, planted.mutant.line, planted.mutant.what);
        }
        return Ok(());
    }
    println!("{} faults in {}", tree.planted.len(), wishes.areas.join(" "));
    let program = compile(&mut tree, &target, &mut refused)?;
    remember(&tree, &refused, &memory)?;
    println!("{} of them compile", tree.planted.len() - refused.len());
    let bench = Bench::new(program, &tree.root, &scratch)?;
    println!("{} tests, each run once alone", bench.tests());
    try_all(&wishes, &tree, &refused, &bench, &project, &scratch)
}

fn try_all(
    wishes: &Wishes,
    tree: &Tree,
    refused: &BTreeSet<u32>,
    bench: &Bench,
    project: &Path,
    scratch: &Path,
) -> Result<(), String> {
    let equivalent = equivalents(project)?;
    let drawn = wishes.drawn(tree, refused);
    let before = if wishes.living { outcomes(scratch) } else { BTreeMap::new() };
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut table = String::new();
    for (count, number) in drawn.iter().enumerate() {
        let planted = &tree.planted[number];
        let area = wishes.areas.iter().find(|area| planted.file.starts_with(area.as_str()));
        let tally = tallies.entry(area.map_or("", String::as_str)).or_default();
        tally.drawn += 1;
        let outcome = match before.get(&planted.key()).map(String::as_str) {
            Some("killed") => Outcome::Killed,
            Some("endless") => Outcome::Endless,
            _ => bench.outcome(*number)?,
        };
        let known = equivalent.contains(&planted.key());
        let word = match outcome {
            Outcome::Killed => {
                tally.killed += 1;
                "killed"
            }
            Outcome::Endless => {
                tally.endless += 1;
                "endless"
            }
            _ if known => {
                tally.equivalent += 1;
                "equivalent"
            }
            Outcome::Survived => {
                tally.survived += 1;
                "SURVIVED"
            }
            Outcome::Unreached => {
                tally.unreached += 1;
                "UNREACHED"
            }
        };
        if word == word.to_uppercase() {
            let place = format!("{}:{}", planted.file, planted.mutant.line);
            println!("{word} {place} {} ({} tests come by)", planted.mutant.what, bench.reaching(*number));
        }
        if known && matches!(outcome, Outcome::Killed | Outcome::Endless) {
            println!("not equivalent, a test notices it: {}", planted.key());
        }
        let _ = writeln!(table, "{word}\t{}", planted.key());
        if (count + 1) % TOLD_EACH == 0 {
            println!("{} of {}", count + 1, drawn.len());
            fs::write(scratch.join("outcomes"), &table).map_err(|e| e.to_string())?;
        }
    }
    fs::write(scratch.join("outcomes"), &table).map_err(|e| e.to_string())?;
    for (area, tally) in &tallies {
        println!("{}", tally.line(area));
    }
    Ok(())
}

/// What became of each fault in the last campaign, by its words.
fn outcomes(scratch: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(scratch.join("outcomes")).unwrap_or_default();
    let of = |line: &str| line.split_once('\t').map(|(word, key)| (key.to_owned(), word.to_owned()));
    text.lines().filter_map(of).collect()
}

/// Faults that change nothing anybody can see, by their words: what stands before ` -- ` in each line.
fn equivalents(project: &Path) -> Result<BTreeSet<String>, String> {
    let path = project.join("tests/mutants/equivalent");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" -- ")?.0.trim_end().to_owned()))
        .collect())
}

/// What earlier runs found not to compile: most of it still does not, and it is tried again only with
/// `target/mutants/refused` removed.
fn remembered(tree: &Tree, memory: &PathBuf) -> BTreeSet<u32> {
    let text = fs::read_to_string(memory).unwrap_or_default();
    let known: BTreeSet<&str> = text.lines().collect();
    tree.planted.iter().filter(|(_, p)| known.contains(p.key().as_str())).map(|(number, _)| *number).collect()
}

fn remember(tree: &Tree, refused: &BTreeSet<u32>, memory: &PathBuf) -> Result<(), String> {
    let mut known: BTreeSet<String> =
        fs::read_to_string(memory).unwrap_or_default().lines().map(str::to_owned).collect();
    known.extend(refused.iter().filter_map(|number| tree.planted.get(number)).map(tree::Planted::key));
    let lines: Vec<String> = known.into_iter().collect();
    fs::write(memory, lines.join("\n")).map_err(|e| e.to_string())
}
