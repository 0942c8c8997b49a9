//! The map as it stands in `docs/reliability.md`, between marks.

use std::fmt::Write as _;

use crate::map::{FAILURES, Proof, Row, THREATS};
use crate::peers::BUGS;
use crate::scoreboard::FIGURES;

const HEAD: &str = "<!-- map: written by `BLESS=1 cargo test --test bug_bank`; do not edit below -->\n";

/// The page with the map written anew at its end.
pub fn with_map(page: &str) -> String {
    let prose = page.split(HEAD).next().unwrap().trim_end();
    format!("{prose}\n\n{HEAD}{}", map())
}

fn map() -> String {
    let mut text = "\n## Scoreboard\n\n| # | Figure | Target | Today |\n|---|---|---|---|\n".to_owned();
    for figure in &FIGURES {
        let today = figure.today.replace("BANK", &bank());
        let _ = writeln!(text, "| {} | {} | {} | {today} |", figure.id, figure.what, figure.target);
    }
    text += "\n## Failure scenarios\n\nTests go by their names: `cargo test NAME` runs one.\n\n";
    text += &rows(&FAILURES);
    text += "\n## Threats\n\nWhat each is about, and the controls, stand in [the threat model](threat-model.md).\n\n";
    text += &rows(&THREATS);
    text += "\n## Bugs of other clients\n\nEach would have been caught by the tests named beside it.\n\n";
    text += "| Client | Thread | What went wrong | Caught by |\n|---|---|---|---|\n";
    for bug in BUGS {
        let _ = writeln!(text, "| {} | {} | {} | {} |", bug.peer, bug.thread, bug.what, named(bug.caught_by));
    }
    text
}

fn rows(rows: &[Row]) -> String {
    let mut text = "| # | What | Proved by |\n|---|---|---|\n".to_owned();
    for row in rows {
        let proof = match row.proof {
            Proof::By(tests, "") => named(tests),
            Proof::By(tests, but) => format!("{}; {but}", named(tests)),
            Proof::None(why) => format!("no test: {why}"),
        };
        let _ = writeln!(text, "| {} | {} | {proof} |", row.id, row.what);
    }
    text
}

fn named(tests: &[&str]) -> String {
    tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ")
}

/// How many of each kind have a test.
fn bank() -> String {
    let proved = |rows: &[Row]| rows.iter().filter(|row| matches!(row.proof, Proof::By(..))).count();
    format!(
        "{} bugs of peers, {} of {} scenarios and {} of {} threats have named tests",
        BUGS.len(),
        proved(&FAILURES),
        FAILURES.len(),
        proved(&THREATS),
        THREATS.len()
    )
}
