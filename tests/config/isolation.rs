//! Scenario F56: a slip in one certificate leaves the others as they are.

use nolapse::config::{Problem, Severity};
use nolapse::core::name::LineageId;
use proptest::prelude::*;

use crate::{read, read_files, shown, without_origins};

fn id(text: &str) -> LineageId {
    LineageId::parse(text).unwrap()
}

#[test]
fn f56_one_bad_entry_isolates_itself() {
    let resolved = read(
        r#"
[issuer.letsencrypt]
accept-terms = true
[certificate."good.example"]
service = "nginx"
[certificate."bad.example"]
service = "ngnix"
key-mode = "0777"
[certificate]
"list.example" = ["list.example", "not a name"]
"fine.example" = ["fine.example"]
"#,
    );
    assert!(!resolved.fatal(), "{}", shown(&resolved));
    assert_eq!(
        resolved.wanted.lineages.keys().cloned().collect::<Vec<_>>(),
        [id("fine.example"), id("good.example")]
    );
    assert_eq!(
        resolved.wanted.broken.keys().cloned().collect::<Vec<_>>(),
        [id("bad.example"), id("list.example")]
    );
    let reason = &resolved.wanted.broken[&id("bad.example")];
    assert!(reason.starts_with("nolapse.toml:7:11: ") && reason.contains("ngnix"), "{reason}");
}

#[test]
fn f56_a_certificate_written_twice_does_not_stop_the_file() {
    for text in [
        "[certificate.\"a.example\"]\nkey = \"rsa-2048\"\n[certificate.\"b.example\"]\n[certificate.\"a.example\"]\nkey = \"rsa-4096\"",
        "[certificate]\n\"a.example\" = [\"a.example\"]\n\"b.example\" = [\"b.example\"]\n\"a.example\" = [\"x.example\"]",
        "[certificate.\"a.example\"]\nkey = \"rsa-2048\"\nkey = \"rsa-2048\"\n[certificate.'b.example']",
    ] {
        let resolved = read(text);
        assert!(!resolved.fatal(), "{}", shown(&resolved));
        assert!(resolved.wanted.lineages.contains_key(&id("b.example")), "{}", shown(&resolved));
        assert!(resolved.wanted.broken.contains_key(&id("a.example")), "{}", shown(&resolved));
    }
}

#[test]
fn f56_a_file_that_is_no_toml_stops_a_load_as_a_whole() {
    let resolved = read_files(&[
        ("nolapse.toml", "[certificate.\"a.example\"]"),
        ("conf.d/b.toml", "[certificate.\"b.example\"\nnames = ["),
    ]);
    assert!(resolved.fatal());
    let fatal: Vec<_> = resolved.problems.iter().filter(|p| p.is_fatal()).map(|p| p.file.as_str()).collect();
    assert!(!fatal.is_empty() && fatal.iter().all(|file| *file == "conf.d/b.toml"));
    assert!(resolved.wanted.lineages.contains_key(&id("a.example")));
}

/// A configuration of many certificates, each on lines of its own.
const LINES: &[&str] = &[
    "[issuer.letsencrypt]",
    "accept-terms = true",
    "contact = \"hostmaster@example.com\"",
    "[hook.app]",
    "run = [\"/usr/local/bin/app\", \"reload\"]",
    "timeout = \"30s\"",
    "[defaults]",
    "group = \"www-data\"",
    "[certificate.\"a.example.com\"]",
    "names = [\"a.example.com\", \"www.a.example.com\"]",
    "service = \"nginx\"",
    "key-mode = \"0640\"",
    "[certificate.\"b.example.com\"]",
    "service = \"haproxy\"",
    "combined = \"/etc/haproxy/b.pem\"",
    "[certificate.\"c.example.com\"]",
    "hooks = [\"app\"]",
    "observe = [\"127.0.0.1:8443\"]",
    "[certificate.\"d.example.com\"]",
    "key = \"rsa-2048\"",
    "outputs = [{ part = \"fullchain\", path = \"/etc/d.pem\", mode = \"0644\" }]",
];

/// Lines of each certificate in [`LINES`].
const BLOCKS: &[(&str, std::ops::Range<usize>)] = &[
    ("a.example.com", 8..12),
    ("b.example.com", 12..15),
    ("c.example.com", 15..18),
    ("d.example.com", 18..21),
];

#[derive(Clone, Debug)]
enum Change {
    Delete(usize),
    Duplicate(usize),
    Swap(usize, usize),
    Garble(usize, usize, char),
    Cut(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let line = 0..LINES.len();
    prop_oneof![
        line.clone().prop_map(Change::Delete),
        line.clone().prop_map(Change::Duplicate),
        (line.clone(), line.clone()).prop_map(|(a, b)| Change::Swap(a, b)),
        (line.clone(), 0usize..60, any::<char>()).prop_map(|(l, at, c)| Change::Garble(l, at, c)),
        (line.clone(), 0usize..60, prop::sample::select(vec!['"', '[', ']', '.', '=', 'x', '-', '0', '\n']))
            .prop_map(|(l, at, c)| Change::Garble(l, at, c)),
        (line, 0usize..60).prop_map(|(l, at)| Change::Cut(l, at)),
    ]
}

fn apply(lines: &mut Vec<String>, change: &Change) {
    let at_char = |line: &str, at: usize| line.char_indices().nth(at).map_or(line.len(), |(at, _)| at);
    match *change {
        Change::Delete(line) => drop(lines.remove(line % lines.len())),
        Change::Duplicate(line) => lines.insert(line % lines.len(), lines[line % lines.len()].clone()),
        Change::Swap(a, b) => {
            let most = lines.len();
            lines.swap(a % most, b % most);
        }
        Change::Garble(line, at, c) => {
            let most = lines.len();
            let line = &mut lines[line % most];
            let at = at_char(line, at);
            let rest: String = line[at..].chars().skip(1).collect();
            *line = format!("{}{c}{rest}", &line[..at]);
        }
        Change::Cut(line, at) => {
            let most = lines.len();
            let line = &mut lines[line % most];
            let at = at_char(line, at);
            line.truncate(at);
        }
    }
}

fn consistent(problems: &[Problem]) -> bool {
    problems
        .iter()
        .all(|p| p.line >= 1 && p.column >= 1 && !p.words.is_empty() && !p.to_string().contains('\u{1b}'))
}

proptest! {
    // Scoreboard S22: ten thousand changed configurations.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10_000) })]

    #[test]
    fn f56_no_change_panics_or_loses_a_certificate_silently(changes in prop::collection::vec(change(), 1..6)) {
        let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
        for change in &changes {
            apply(&mut lines, change);
        }
        let text = lines.join("\n");
        let resolved = read(&text);
        prop_assert!(consistent(&resolved.problems));
        for id in resolved.wanted.broken.keys() {
            prop_assert!(!resolved.wanted.lineages.contains_key(id));
        }
        let told = resolved.problems.iter().any(|p| p.severity == Severity::Error);
        prop_assert_eq!(resolved.has_errors(), told);
        prop_assert!(resolved.wanted.broken.is_empty() || told);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// Changes kept inside one certificate's lines, and not to its header.
    #[test]
    fn f56_a_slip_inside_one_certificate_leaves_the_others(
        block in 0..BLOCKS.len(), line in 0usize..8, at in 0usize..60, c in any::<char>(), cut: bool
    ) {
        let (changed, range) = &BLOCKS[block];
        let line = range.start + 1 + line % (range.len() - 1);
        let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
        apply(&mut lines, &if cut { Change::Cut(line, at) } else { Change::Garble(line, at, c) });
        let resolved = read(&lines.join("\n"));
        let whole = without_origins(&read(&LINES.join("\n")).wanted);
        let changed_wanted = without_origins(&resolved.wanted);
        // Broken TOML can't be tied to a certificate: then a reload changes nothing at all.
        if !resolved.fatal() {
            for (name, _) in BLOCKS.iter().filter(|(name, _)| name != changed) {
                let id = id(name);
                prop_assert!(whole.lineages.contains_key(&id));
                prop_assert_eq!(changed_wanted.lineages.get(&id), whole.lineages.get(&id), "{}", shown(&resolved));
            }
            prop_assert!(
                resolved.wanted.lineages.contains_key(&id(changed)) || resolved.wanted.broken.contains_key(&id(changed))
            );
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}|[\\[\\]a-z.\"'=\n{}, ]{0,200}") {
        read(&text);
        read(&format!("[certificate]\n{text}"));
        read(&format!("[certificate.\"a.example\"]\n{text}"));
    }
}

#[test]
fn f56_what_follows_broken_toml_is_not_judged() {
    let resolved = read(
        "[agent]\nproxi = 1\n[certificate.\"a.example\"]\nnames = [\"a.example\"\nservice = nginx\nkye = 1\n[agnet]\n",
    );
    let codes: Vec<_> = resolved.problems.iter().map(|p| (p.code, p.line)).collect();
    assert_eq!(codes[0], ("unknown-key", 2));
    assert!(
        codes[1..].iter().all(|(code, line)| *code == "broken-toml" && *line > 3),
        "{}",
        shown(&resolved)
    );
}
