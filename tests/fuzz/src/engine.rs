//! Runs one law over seeds and mutations of them.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::mutation::Mutator;
use crate::targets::{TARGETS, Target};

/// How long a target runs where `FUZZ_SECONDS` says nothing else.
const USUAL: Duration = Duration::from_secs(2);
/// Longest input, in octets: above every cap but those on whole files, which have tests of their own.
const INPUT_MOST: usize = 96 * 1024;
/// Seeds held at a time, those found on the way included.
const SEEDS_MOST: usize = 4096;
/// One input that takes so long hangs.
const HANG: Duration = Duration::from_secs(20);
/// As a target has it.
type Law = fn(&[u8]) -> String;

/// Tries to make a failing input smaller.
const SHRINKS_MOST: usize = 4000;

/// A test for each target, of the same name.
macro_rules! fuzzed {
    ($($test:ident)*) => {
        $(#[test]
        fn $test() {
            fuzz(target(&stringify!($test).replace('_', "-")));
        })*

        #[test]
        fn every_target_has_a_test_and_a_name_of_its_own() {
            let mut tests = [$(stringify!($test).replace('_', "-")),*];
            let mut targets = TARGETS.each_ref().map(|target| target.name);
            tests.sort();
            targets.sort_unstable();
            assert_eq!(tests.as_slice(), targets.as_slice());
        }
    };
}

fuzzed! {
    config pem chain records problem_documents directories retry_after renewal_information tokens_and_names
    dialogues dns_answers dns_questions server_configurations foreign_trees foreign_texts
}

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target is called {name}"))
}

fn fuzz(target: &Target) {
    let Target { name, words, law } = target;
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut seeds = seeds(&home);
    assert!(!seeds.is_empty(), "{} holds no seeds", home.display());
    let mut outcomes = BTreeSet::new();
    for (path, seed) in &seeds {
        match tried(*law, seed) {
            Ok(outcome) => drop(outcomes.insert(outcome)),
            Err(why) => panic!("{name}: {} breaks the law: {why}", path.display()),
        }
    }
    let of_corpus = outcomes.len();
    let seed = number("FUZZ_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    });
    let most = number("FUZZ_SECONDS").map_or(USUAL, Duration::from_secs);
    let mut mutator = Mutator::new(seed, words);
    let (begun, mut count) = (Instant::now(), 0_u64);
    let mut slowest = (Duration::ZERO, Vec::new());
    while begun.elapsed() < most {
        let one = &seeds[mutator.below(seeds.len())].1;
        let other = &seeds[mutator.below(seeds.len())].1;
        let mut input = mutator.mutated(one, other);
        input.truncate(INPUT_MOST);
        let at = Instant::now();
        let outcome = tried(*law, &input);
        count += 1;
        let outcome = outcome.and_then(|outcome| {
            let took = at.elapsed();
            if took > slowest.0 {
                slowest = (took, input.clone());
            }
            if took < HANG { Ok(outcome) } else { Err(format!("it took {took:?}")) }
        });
        match outcome {
            Ok(outcome) => {
                if outcomes.insert(outcome) && seeds.len() < SEEDS_MOST {
                    seeds.push((PathBuf::new(), input));
                }
            }
            Err(why) => {
                let small = shrunk(*law, input);
                let path = home.join(format!("found-{:016x}", hash(&small)));
                std::fs::write(&path, &small).unwrap();
                panic!("{name}: {why}\nkept as {}: {:?}", path.display(), String::from_utf8_lossy(&small));
            }
        }
    }
    println!(
        "fuzz {name}: {count} inputs in {:.1} s, {} kinds of outcome ({of_corpus} from the corpus), slowest {:.0} ms for {} octets, \
         FUZZ_SEED={seed}",
        begun.elapsed().as_secs_f64(),
        outcomes.len(),
        slowest.0.as_secs_f64() * 1000.0,
        slowest.1.len(),
    );
    if std::env::var_os("FUZZ_KEEP_SLOWEST").is_some() {
        let path = std::env::temp_dir().join(format!("slowest-{name}"));
        std::fs::write(&path, slowest.1).unwrap();
        println!("fuzz {name}: the slowest input is kept as {}", path.display());
    }
    assert!(count > 0, "{name}: no input was tried");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seeds(home: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(home).unwrap_or_else(|error| panic!("{}: {error}", home.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

fn tried(law: Law, input: &[u8]) -> Result<String, String> {
    catch_unwind(AssertUnwindSafe(|| law(input))).map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// The input without what it fails without.
fn shrunk(law: Law, mut input: Vec<u8>) -> Vec<u8> {
    let mut tries = 0;
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < input.len() && tries < SHRINKS_MOST {
            let mut smaller = input.clone();
            smaller.drain(at..(at + size).min(input.len()));
            tries += 1;
            if tried(law, &smaller).is_err() { input = smaller } else { at += size }
        }
        size /= 2;
    }
    input
}

/// FNV-1a: a name for a file, no more.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
