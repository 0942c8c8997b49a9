//! The map is true: every test it names is one, no ID is left out, and the page shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::map::{FAILURES, Proof, Row, THREATS};
use crate::page;
use crate::peers::BUGS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Fewest that must have tests.
const FAILURES_LEAST: usize = 50;
const THREATS_LEAST: usize = 14;
const BUGS_LEAST: usize = 60;

/// Names of all test functions, with the file each stands in.
fn tests() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut todo = vec![Path::new(ROOT).join("src"), Path::new(ROOT).join("tests")];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            if !path.ends_with("fixtures") && !path.ends_with("target") {
                todo.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(tests_of(&text).into_iter().map(|name| (name, path.clone())));
        }
    }
    found
}

/// Functions that stand right below an attribute that makes them tests.
fn tests_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = function {
            if std::mem::take(&mut is_test) {
                found.push(rest.split(['(', '<']).next().unwrap().to_owned());
            }
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            is_test = false;
        }
    }
    found
}

fn named() -> BTreeSet<&'static str> {
    let of = |rows: &'static [Row]| {
        rows.iter().flat_map(|row| match row.proof {
            Proof::By(tests, _) => tests,
            Proof::None(_) => &[],
        })
    };
    of(&FAILURES).chain(of(&THREATS)).chain(BUGS.iter().flat_map(|bug| bug.caught_by)).copied().collect()
}

#[test]
fn every_test_that_the_map_names_is_one() {
    let tests = tests();
    assert!(tests.len() > 600, "only {} tests were found", tests.len());
    let missing: Vec<_> = named().into_iter().filter(|name| !tests.contains_key(*name)).collect();
    assert!(missing.is_empty(), "the map names tests that are not there: {missing:#?}");
}

#[test]
fn every_scenario_and_threat_has_tests_or_a_reason() {
    for (rows, letter, count, least) in
        [(&FAILURES[..], 'F', 62, FAILURES_LEAST), (&THREATS[..], 'T', 20, THREATS_LEAST)]
    {
        let expected: Vec<_> = (1..=count).map(|number| format!("{letter}{number:02}")).collect();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), expected);
        let proved = rows.iter().filter(|row| matches!(row.proof, Proof::By(..))).count();
        assert!(proved >= least, "{letter}: only {proved} have tests");
        for row in rows {
            match row.proof {
                Proof::By(tests, _) => assert!(!tests.is_empty(), "{}", row.id),
                Proof::None(why) => assert!(why.len() > 20, "{}: {why:?} is no reason", row.id),
            }
        }
    }
    assert!(BUGS.len() >= BUGS_LEAST, "only {} bugs of peers", BUGS.len());
    let distinct: BTreeSet<_> = BUGS.iter().map(|bug| (bug.peer, bug.thread)).collect();
    assert_eq!(distinct.len(), BUGS.len(), "a bug stands twice");
    assert!(BUGS.iter().all(|bug| !bug.caught_by.is_empty()));
}

#[test]
fn what_has_a_test_of_its_name_is_not_said_to_have_none() {
    let tests = tests();
    for row in FAILURES.iter().chain(&THREATS).filter(|row| matches!(row.proof, Proof::None(_))) {
        let mark = row.id.to_lowercase();
        let of_it: Vec<_> = tests.keys().filter(|name| name.split('_').any(|part| part == mark)).collect();
        assert!(of_it.is_empty(), "{} has tests after all: {of_it:?}", row.id);
    }
}

#[test]
fn the_reliability_page_shows_the_map() {
    let path = Path::new(ROOT).join("docs/reliability.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let fresh = page::with_map(&page);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, fresh).unwrap();
    } else {
        assert!(
            page == fresh,
            "docs/reliability.md is not what the map says: BLESS=1 cargo test --test bug_bank writes it"
        );
    }
}

#[test]
fn a_function_that_is_no_test_does_not_count() {
    let text = "#[test]\n#[cfg(unix)]\nfn one() {}\nfn two() {}\n#[tokio::test(start_paused = true)]\n\
                async fn three() {}\n// #[test]\nfn four() {}\n#[test]\n\nfn five() {}";
    assert_eq!(tests_of(text), ["one", "three"]);
}
