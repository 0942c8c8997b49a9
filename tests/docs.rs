//! The documentation tells of the program that is there: links lead somewhere, configurations can
//! be used, commands exist, every failure code is explained, and named tests and files are real.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use clap::CommandFactory;
use nolapse::cli::args::Arguments;
use nolapse::config::{self, Facts, Severity, Source};
use nolapse::core::chain::FlawKind;
use nolapse::core::silence::Silence;
use nolapse::core::specimen::Obstacle;
use nolapse::core::{discovery, scrutiny};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Directories that hold no text of ours.
const LEFT_OUT: [&str; 3] = ["target", ".git", "fixtures"];

/// One page.
struct Page {
    /// From the root of the repository.
    path: PathBuf,
    text: String,
}

/// A piece of a page that is shown as code.
struct Code {
    /// The word behind the fence; `None` for code inside a line.
    language: Option<String>,
    line: usize,
    text: String,
}

impl Page {
    fn all() -> Vec<Self> {
        files(Path::new(ROOT), "md")
            .into_iter()
            .map(|file| Self {
                path: file.strip_prefix(ROOT).unwrap().to_owned(),
                text: fs::read_to_string(&file).unwrap(),
            })
            .collect()
    }

    fn named(path: &str) -> Self {
        Self { path: path.into(), text: fs::read_to_string(Path::new(ROOT).join(path)).unwrap() }
    }

    fn code(&self) -> Vec<Code> {
        let mut found: Vec<Code> = Vec::new();
        let mut fence = false;
        for (number, line) in self.text.lines().enumerate() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                fence = !fence;
                if fence {
                    let language = Some(language.trim().to_owned());
                    found.push(Code { language, line: number + 1, text: String::new() });
                }
            } else if fence {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            } else {
                found.extend(line.split('`').skip(1).step_by(2).map(|text| Code {
                    language: None,
                    line: number + 1,
                    text: text.to_owned(),
                }));
            }
        }
        assert!(!fence, "{}: a fence is left open", self.path.display());
        found
    }

    /// Targets of `[words](target)`, outside of code.
    fn links(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut fence = false;
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                fence = !fence;
            }
            if fence {
                continue;
            }
            let prose: Vec<_> = line.split('`').step_by(2).collect();
            for part in prose.join("`").split("](").skip(1) {
                found.push(part.split(')').next().unwrap().to_owned());
            }
        }
        found
    }

    /// What GitHub calls the headings.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let words = line.trim_start_matches('#').trim().to_lowercase();
                let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
                words.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let left_out = LEFT_OUT.iter().any(|name| entry.file_name() == *name);
        if entry.file_type().unwrap().is_dir() {
            if !left_out {
                found.extend(files(&path, ending));
            }
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `dir/../x` as `x`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(out.pop(), "{} leads out of the repository", path.display()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[test]
fn every_link_leads_somewhere() {
    let pages = Page::all();
    assert!(pages.len() > 20, "only {} pages were found", pages.len());
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => plain(&page.path.parent().unwrap().join(path)),
            };
            let there = Path::new(ROOT).join(&target);
            let known = match pages.iter().find(|other| other.path == target) {
                Some(other) => anchor.is_empty() || other.anchors().contains(anchor),
                None => anchor.is_empty() && there.exists(),
            };
            if !known {
                wrong.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_configuration_shown_can_be_used() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in Page::all() {
        for code in page.code().iter().filter(|code| code.language.as_deref() == Some("toml")) {
            count += 1;
            let text: Vec<_> = code.text.lines().map(str::trim_start).collect();
            let resolved = config::resolve(&[Source::new("shown.toml", text.join("\n"))], &Facts::default());
            for problem in resolved.problems.iter().filter(|problem| problem.severity == Severity::Error) {
                wrong.push(format!("{}:{}: {problem}", page.path.display(), code.line));
            }
        }
    }
    assert!(count > 20, "only {count} configurations were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the words that follow `nolapse`.
fn misspoken(command: &str, root: &clap::Command) -> Option<String> {
    let mut at = root;
    let end = |word: &&str| !matches!(*word, "&&" | "||" | "|" | ";" | "#" | ">");
    let mut words = command.split_whitespace().take_while(end).peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split(['=', ']', ',', '.', ')']).next().unwrap_or(flag);
            let here = at.get_arguments().chain(root.get_arguments());
            let known = here.filter_map(|argument| argument.get_long()).any(|long| long == flag);
            if !known && flag != "help" && flag != "version" {
                return Some(format!("{} has no --{flag}", at.get_name()));
            }
        } else if word == "-c" {
            words.next();
        } else if at.has_subcommands() && word.chars().all(|c| c.is_ascii_lowercase()) {
            match at.find_subcommand(word) {
                Some(next) => at = next,
                None => return Some(format!("{} has no verb {word}", at.get_name())),
            }
        }
    }
    None
}

#[test]
fn every_command_shown_exists() {
    let mut root = Arguments::command();
    root.build();
    let verbs: BTreeSet<_> = root.get_subcommands().map(clap::Command::get_name).collect();
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in Page::all() {
        for code in page.code() {
            let shell = matches!(code.language.as_deref(), Some("sh" | ""));
            for line in code.text.lines() {
                let starts = line.match_indices("nolapse ").map(|(at, _)| at).filter(|at| {
                    let before = line[..*at].trim_end();
                    let alone = line[..*at].chars().next_back().is_none_or(|c| " \"'(".contains(c));
                    // As a name in another program's arguments, not as a program.
                    let program = before.is_empty()
                        || ["sudo", "&&", "--", "then", "|"].iter().any(|word| before.ends_with(word));
                    alone && (program || code.language.is_none())
                });
                for at in starts.collect::<Vec<_>>() {
                    if code.language.is_some() && !shell {
                        continue;
                    }
                    count += 1;
                    if let Some(why) = misspoken(&line[at + "nolapse ".len()..], &root) {
                        wrong.push(format!("{}:{}: {line}: {why}", page.path.display(), code.line));
                    }
                }
                let first = line.split_whitespace().next().unwrap_or("");
                if code.language.is_none() && verbs.contains(first) && line.contains(" --") {
                    count += 1;
                    if let Some(why) = misspoken(line, &root) {
                        wrong.push(format!("{}:{}: {line}: {why}", page.path.display(), code.line));
                    }
                }
            }
        }
    }
    assert!(count > 60, "only {count} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (command, wanted) in [
        ("renew --forse", Some("renew has no --forse")),
        ("rnew", Some("nolapse has no verb rnew")),
        ("generate sytemd", Some("generate has no verb sytemd")),
        ("-c x.toml renew --force a.example", None),
    ] {
        assert_eq!(misspoken(command, &root).as_deref(), wanted, "{command}");
    }
}

/// Kebab-case words that stand first in a call that makes a failure or a finding.
fn codes() -> BTreeSet<String> {
    const MAKERS: [&str; 12] = [
        "Advice::new(",
        "=> Self::new(",
        "Failure::new(",
        "Failure::transient(",
        "Failure::refused(",
        "Failure::broken(",
        "Finding::error(",
        "Finding::warning(",
        "return refused(",
        "return transient(",
        "return Err(bad(",
        "=> refused(",
    ];
    let mut found = BTreeSet::new();
    for file in files(&Path::new(ROOT).join("src"), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for maker in MAKERS {
            for part in text.split(maker).skip(1) {
                // A code stands among the first arguments; words come after it.
                let Some(code) = part.split('"').nth(1) else { continue };
                let slug = code.contains('-') && code.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                if slug && !code.ends_with('-') && part.find('"').is_some_and(|at| at < 120) {
                    found.insert(code.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn every_failure_code_is_explained() {
    let page = Page::named("docs/guide/troubleshooting.md");
    let codes = codes();
    assert!(codes.len() > 90, "only {} codes were found", codes.len());
    let seen = Silence::ALL.map(Silence::code).into_iter().chain(FlawKind::ALL.map(FlawKind::code));
    let watched =
        scrutiny::CODES.into_iter().chain(discovery::CODES).chain(Obstacle::ALL.map(Obstacle::code));
    let codes: BTreeSet<_> = codes.into_iter().chain(seen.chain(watched).map(str::to_owned)).collect();
    let missing: Vec<_> = codes.iter().filter(|code| !page.text.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "not explained in docs/guide/troubleshooting.md: {missing:?}");
}

#[test]
fn named_files_and_tests_are_real() {
    const PLACES: [&str; 5] = ["src/", "tests/", "docs/", "packaging/", "examples/"];
    let sources = ["src", "tests", "examples"].map(|dir| files(&Path::new(ROOT).join(dir), "rs"));
    let sources: Vec<_> = sources.iter().flatten().map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in Page::all().iter().filter(|page| !page.path.starts_with("tests")) {
        for code in page.code().iter().filter(|code| code.language.is_none()) {
            let text = code.text.as_str();
            let path = PLACES.iter().any(|place| text.starts_with(place)) && !text.contains([' ', '*', '…']);
            if path && !Path::new(ROOT).join(text).exists() {
                wrong.push(format!("{}: no file {text}", page.path.display()));
            }
            let test = text.matches('_').count() >= 2
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if test && page.path.ends_with("threat-model.md") {
                count += 1;
                if !sources.iter().any(|source| source.contains(&format!("fn {text}("))) {
                    wrong.push(format!("{}: no test {text}", page.path.display()));
                }
            }
        }
    }
    assert!(count > 30, "only {count} tests are named");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_threat_has_an_answer() {
    let page = Page::named("docs/threat-model.md");
    for number in 1..=20 {
        let head = format!("**T{number:02} ");
        let part = page.text.split(&head).nth(1).unwrap_or_else(|| panic!("T{number:02} is missing"));
        let part = part.split("\n\n").next().unwrap();
        let answered = part.contains("Test") || part.contains("ot yet") || part.contains("no test");
        assert!(answered, "T{number:02} names neither a test nor what is missing");
    }
}

#[test]
fn every_field_variable_and_metric_is_documented() {
    let status = Page::named("docs/guide/status.md");
    let line = nolapse::cli::report::Line::broken("a.example", "why");
    let line = serde_json::to_value(line).unwrap();
    for field in line.as_object().unwrap().keys() {
        assert!(status.text.contains(&format!("`{field}`")), "{field} is not in the status page");
    }
    let hooks = Page::named("docs/guide/hooks.md");
    let source = fs::read_to_string(Path::new(ROOT).join("src/hook/exec.rs")).unwrap();
    let variables = source.split('"').skip(1).step_by(2);
    let is_variable = |word: &&str| {
        word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !word.starts_with('_')
    };
    let variables: BTreeSet<_> = variables.filter(is_variable).collect();
    assert!(variables.len() >= 9, "{variables:?}");
    for variable in variables {
        assert!(hooks.text.contains(&format!("`{variable}`")), "{variable} is not in the hooks page");
    }
    let monitoring = Page::named("docs/guide/monitoring.md");
    let metrics = nolapse::telemetry::metrics::Metrics::new(
        "1.2.3",
        std::sync::Arc::new(|| nolapse::core::time::Timestamp::EPOCH),
    );
    metrics.set(std::sync::Arc::new(nolapse::core::census::Census::of(
        nolapse::core::time::Timestamp::EPOCH,
        Vec::new(),
    )));
    let text = metrics.open_metrics();
    let names: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 5, "{text}");
    for name in names {
        assert!(monitoring.text.contains(&format!("`{name}")), "{name} is not in the monitoring page");
    }
}

/// The pages that operators plan by say the program's own numbers.
#[test]
fn waits_are_the_programs_own() {
    use nolapse::core::attempt::Attempt;
    use nolapse::core::failure::Backoff;
    use nolapse::core::ladder::next_hook_try;
    use nolapse::core::time::Span;
    let (long, month) = (Span::days(90), Span::days(30));
    let timing = Page::named("docs/guide/timing.md");
    let hooks = Page::named("docs/guide/hooks.md");
    let says = |page: &Page, row: &str| {
        assert!(page.text.contains(row), "{}: {row:?} is not there", page.path.display());
    };
    let backoff = Backoff { lifetime: long };
    for (count, wait, row) in [
        (1, Span::MINUTE, "| 1 | 1 min |"),
        (2, Span::minutes(10), "| 2 | 10 min |"),
        (3, Span::minutes(100), "| 3 | 100 min |"),
        (4, Span::DAY, "| 4 and more | 1 day |"),
    ] {
        assert_eq!(backoff.after(count, month, false, 0), wait);
        says(&timing, row);
    }
    assert_eq!(backoff.floor(true), Span::minutes(15));
    for (failures, wait, row) in [
        (1, Span::secs(30), "| first | 30 s |"),
        (2, Span::minutes(2), "| second | 2 min |"),
        (3, Span::minutes(10), "| third | 10 min |"),
        (4, Span::minutes(30), "| fourth | 30 min |"),
        (5, Span::HOUR, "| any later | 1 h |"),
    ] {
        assert_eq!(next_hook_try(failures, long), wait);
        says(&hooks, row);
    }
    assert_eq!(Attempt::LIFE, Span::hours(6));
    says(&timing, "| an attempt lives at most | 6 hours");
    assert_eq!(Attempt::SITTING, Span::minutes(10));
    says(&timing, "| polled in one sitting | 10 minutes at most");
    assert_eq!(nolapse::core::decide::VALIDATIONS_PER_DAY, 10);
    says(&timing, "10 failed validations of one name within a day");
}

#[test]
fn no_page_knows_the_machine_it_was_written_on() {
    for page in Page::all() {
        for (number, line) in page.text.lines().enumerate() {
            for place in ["/work/", "/home/", "/root/", "crates.io"] {
                assert!(!line.contains(place), "{}:{}: {place}", page.path.display(), number + 1);
            }
        }
    }
}
