//! The configuration.

use nolapse::config::{Facts, Source, effective, resolve};

use super::safe;

pub const CONFIG_WORDS: &[&str] = &[
    "[certificate.\"a.example\"]",
    "names = [",
    "service = \"nginx\"",
    "[issuer.x]",
    "directory = ",
    "[hook.x]",
    "run = ",
    "reload = [",
    "[defaults]",
    "[agent]",
    "state-dir = ",
    "-file = ",
    "-env",
    "\"\"\"",
    "'''",
    "#",
    "timeout = \"1h\"",
    "key-mode = \"0640\"",
    "listen = \"127.0.0.1:80\"",
    "observe = [\"smtp://127.0.0.1:25\"]",
    "accept-terms = true",
];

/// It is read the same twice, each problem has a place in it, and what is said of it is fit to print.
pub fn config(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input).into_owned();
    let lines = text.matches('\n').count() + 1;
    let sources = [Source::new("nolapse.toml", text)];
    let resolved = resolve(&sources, &Facts::default());
    assert_eq!(resolve(&sources, &Facts::default()), resolved, "the same text read twice");
    let mut codes: Vec<_> = resolved.problems.iter().map(|problem| problem.code).collect();
    for problem in &resolved.problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{}", problem.place());
        for line in problem.to_string().lines() {
            safe(line, 4000);
        }
        safe(&problem.words, 601);
    }
    codes.sort_unstable();
    codes.dedup();
    // What is taken can be printed and means the same when it is read again.
    if resolved.problems.is_empty() {
        let printed = effective(&resolved);
        for line in printed.lines() {
            safe(line, usize::MAX);
        }
    }
    format!("{codes:?} {}", resolved.wanted.lineages.len().min(3))
}
