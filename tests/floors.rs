//! The floors hold: every `crate::` path under `src/`, in a `use` or in the middle of a line, with
//! `super::` and braces resolved, leads downward. A fixture that breaks each rule must fail.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may name whom. Everybody may name himself; what is not listed is upward or sideways.
/// Adapters never name each other or the configuration, the agent never names an adapter, and
/// `wire` alone knows the configuration and the adapters.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("codec", &["core"]),
    ("config", &["core"]),
    ("ports", &["core", "codec"]),
    ("sys", &["core", "codec"]),
    ("adopt", ADAPTER),
    ("store", ADAPTER),
    ("ca", ADAPTER),
    ("solve", ADAPTER),
    ("hook", ADAPTER),
    ("probe", ADAPTER),
    ("telemetry", ADAPTER),
    ("watch", ADAPTER),
    ("alert", ADAPTER),
    ("agent", ADAPTER),
    ("cli", &["core", "codec", "config", "ports", "sys", "agent", "wire"]),
    (
        "wire",
        &[
            "core",
            "codec",
            "config",
            "ports",
            "sys",
            "adopt",
            "store",
            "ca",
            "solve",
            "hook",
            "probe",
            "telemetry",
            "watch",
            "alert",
            "agent",
            "cli",
        ],
    ),
    ("main", &["core", "agent", "cli", "wire"]),
    ("lib", &[]),
];
const ADAPTER: &[&str] = &["core", "codec", "ports", "sys"];

/// Outside crates that live in one place, so that they can be left again.
const CONFINED: &[(&str, &str)] = &[
    ("rustls_pemfile", "codec/pem.rs"),
    ("x509_parser", "codec/x509.rs"),
    ("rcgen", "sys/keys.rs"),
    ("instant_acme", "ca/"),
    ("lettre", "alert/email.rs"),
    ("dns_update", "solve/dns01/updater.rs"),
];

/// Where printing and exiting is allowed.
const PROGRAM: &[&str] = &["main", "cli", "wire"];

/// What these files must say, so that the shared list of banned calls binds them.
const BANNED_CALLS: &str = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";

#[test]
fn every_path_leads_downward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = check(&root.join("src"), &dependencies(&root.join("Cargo.toml")));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_sound_tree_passes_whatever_its_comments_and_strings_say() {
    assert_eq!(check(&fixture("sound"), &outside()), Vec::<String>::new());
}

#[test]
fn a_tree_with_every_sin_fails_for_each() {
    let found: BTreeSet<_> = check(&fixture("broken"), &outside()).into_iter().collect();
    let expected: BTreeSet<_> = [
        "agent/tick.rs: agent names store (store::dir::Dir)",
        "ca/acme.rs: ca names hook (hook::exec)",
        "ca/acme.rs: ca names config (config::raw)",
        "cli/status.rs: cli names store (store::Dir)",
        "codec/bundle.rs: rustls_pemfile belongs to codec/pem.rs alone",
        "codec/mod.rs: lacks #![deny(clippy::disallowed_methods, clippy::disallowed_types)]",
        "codec/pem.rs: codec names config (config::table::Key)",
        "core/decide.rs: core names agent (agent::tick::Tick)",
        "core/decide.rs: core names ports (ports::Store)",
        "core/decide.rs: core names sys (sys::clock::Clock::now)",
        "core/decide.rs: core names the outside crate tokio",
        "core/mod.rs: lacks #![deny(clippy::disallowed_methods, clippy::disallowed_types)]",
        "core/nested.rs: core names store (store::Dir)",
        "core/nested.rs: core names the whole crate (*)",
        "hook/exec.rs: prints or exits (println!)",
        "hook/exec.rs: prints or exits (process::exit)",
        "store/dir.rs: instant_acme belongs to ca/ alone",
        "sys/clock.rs: sys names ports (ports)",
        "unknown/mod.rs: stands on no floor",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(found, expected);
}

/// Bounds on what is read hold for those alone that begin there.
#[test]
fn one_place_begins_every_http_client() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let begun = files.iter().filter(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.contains("Client::builder()") || text.contains("Client::new()")
    });
    let places: Vec<_> = begun.map(|file| file.strip_prefix(&src).unwrap().to_path_buf()).collect();
    assert_eq!(places, [Path::new("sys/http.rs")]);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/floors").join(name)
}

fn outside() -> BTreeSet<String> {
    ["tokio", "serde", "proptest", "rustls_pemfile", "instant_acme"].map(str::to_owned).into()
}

/// Names of the outside crates in a manifest, as code spells them.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in fs::read_to_string(manifest).unwrap().lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    assert!(names.contains("serde"), "the manifest was not understood");
    names
}

/// Everything that is wrong with a source tree, one line each.
fn check(src: &Path, outside: &BTreeSet<String>) -> Vec<String> {
    let mut files = Vec::new();
    collect(src, &mut files);
    assert!(!files.is_empty(), "no sources under {}", src.display());
    files.sort();
    let mut wrong = BTreeSet::new();
    for file in &files {
        let place = file.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/");
        let text = fs::read_to_string(file).unwrap();
        for sin in sins(&place, &text, outside) {
            wrong.insert(format!("{place}: {sin}"));
        }
    }
    wrong.into_iter().collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn sins(place: &str, text: &str, outside: &BTreeSet<String>) -> Vec<String> {
    let module = module_of(place);
    let floor = module.first().map_or_else(|| place.trim_end_matches(".rs"), String::as_str).to_owned();
    let Some((_, may)) = MAY_NAME.iter().find(|(name, _)| *name == floor) else {
        return vec!["stands on no floor".into()];
    };
    let mut found = Vec::new();
    if matches!(place, "core/mod.rs" | "codec/mod.rs") && !text.contains(BANNED_CALLS) {
        found.push(format!("lacks {BANNED_CALLS}"));
    }
    let in_tests = place.ends_with("/tests.rs") || place.contains("/tests/");
    let source = Source::read(text, &module, in_tests);
    for path in &source.paths {
        match path.first().map(String::as_str) {
            None | Some("*") if floor != "lib" => found.push(format!("{floor} names the whole crate (*)")),
            Some(named) if named != floor && is_floor(named) && !may.contains(&named) => {
                found.push(format!("{floor} names {named} ({})", path.join("::")));
            }
            _ => {}
        }
    }
    for name in source.crates.iter().filter(|name| outside.contains(*name)) {
        match CONFINED.iter().find(|(confined, _)| confined == name) {
            Some((_, home)) if !place.starts_with(home) => {
                found.push(format!("{name} belongs to {home} alone"));
            }
            _ if floor == "core" && name != "serde" => {
                found.push(format!("core names the outside crate {name}"));
            }
            _ => {}
        }
    }
    if !PROGRAM.contains(&floor.as_str()) {
        found.extend(source.prints.iter().map(|what| format!("prints or exits ({what})")));
    }
    found
}

fn is_floor(name: &str) -> bool {
    MAY_NAME.iter().any(|(floor, _)| *floor == name)
}

/// `core/decide/need.rs` is the module `core::decide::need`.
fn module_of(place: &str) -> Vec<String> {
    let mut module: Vec<_> = place.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || matches!(place, "lib.rs" | "main.rs") {
        module.pop();
    }
    module
}

/// What one file names.
#[derive(Default)]
struct Source {
    /// Paths inside the crate, from its root.
    paths: BTreeSet<Vec<String>>,
    /// First parts of all other paths, outside of tests.
    crates: BTreeSet<String>,
    prints: BTreeSet<String>,
}

impl Source {
    fn read(text: &str, module: &[String], in_tests: bool) -> Self {
        let tokens = tokens(text);
        let mut source = Self::default();
        // Inline modules that are open, with the depth of their brace.
        let mut open: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        let is = |n: usize, text: &str| tokens.get(n).is_some_and(|token| token == text);
        while at < tokens.len() {
            let token = tokens[at].as_str();
            let testing = in_tests || open.iter().any(|(name, _)| name == "tests");
            match token {
                "{" => depth += 1,
                "}" => {
                    open.retain(|(_, opened)| *opened < depth);
                    depth = depth.saturating_sub(1);
                }
                "mod" if is(at + 2, "{") => {
                    open.push((tokens[at + 1].clone(), depth + 1));
                    at += 1;
                }
                "crate" | "nolapse" | "super" | "self" if is(at + 1, "::") && !after_path(&tokens, at) => {
                    let here: Vec<_> =
                        module.iter().cloned().chain(open.iter().map(|(name, _)| name.clone())).collect();
                    let base = if matches!(token, "crate" | "nolapse") { Vec::new() } else { here.clone() };
                    let start = if matches!(token, "self" | "crate" | "nolapse") { at + 2 } else { at };
                    at = walk(&tokens, start, &base, &mut source.paths);
                    continue;
                }
                "println" | "eprintln" | "print" | "eprint" | "dbg" if is(at + 1, "!") && !testing => {
                    source.prints.insert(format!("{token}!"));
                }
                "process" if is(at + 1, "::") && is(at + 2, "exit") && !testing => {
                    source.prints.insert("process::exit".into());
                }
                _ if is(at + 1, "::") && !after_path(&tokens, at) && !testing => {
                    source.crates.insert(token.to_owned());
                }
                _ if at > 0 && tokens[at - 1] == "use" && !testing => {
                    source.crates.insert(token.to_owned());
                }
                _ => {}
            }
            at += 1;
        }
        source
    }
}

fn after_path(tokens: &[String], at: usize) -> bool {
    at > 0 && tokens[at - 1] == "::"
}

/// Reads one path, or a tree of them, from `at`; answers with the place after it.
fn walk(tokens: &[String], mut at: usize, base: &[String], paths: &mut BTreeSet<Vec<String>>) -> usize {
    let mut path = base.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("super") => {
                path.pop();
            }
            Some("self") => {}
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = walk(tokens, at, &path, paths);
                    // An `as NAME`, then a comma.
                    while tokens.get(at).is_some_and(|token| token != "," && token != "}") {
                        at += 1;
                    }
                    if tokens.get(at).is_some_and(|token| token == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(name) if is_name(name) || name == "*" => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    paths.insert(path);
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single signs, without comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let peek = |n: usize| chars.get(n).copied().unwrap_or('\0');
    while at < chars.len() {
        let c = chars[at];
        if c == '/' && peek(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && peek(at + 1) == '*' {
            let mut deep = 0;
            loop {
                match (peek(at), peek(at + 1)) {
                    ('/', '*') => (deep, at) = (deep + 1, at + 2),
                    ('*', '/') => (deep, at) = (deep - 1, at + 2),
                    _ => at += 1,
                }
                if deep == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            at = string_end(&chars, at + 1);
        } else if let Some(hashes) = raw_string(&chars, at) {
            at = raw_string_end(&chars, at, hashes);
        } else if c == '\'' {
            // A character has its closing mark; a lifetime has none.
            if peek(at + 1) == '\\' {
                at += 3;
                while at < chars.len() && chars[at] != '\'' {
                    at += 1;
                }
                at += 1;
            } else if peek(at + 2) == '\'' {
                at += 3;
            } else {
                at += 1;
                while peek(at).is_alphanumeric() || peek(at) == '_' {
                    at += 1;
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            let start = at;
            while peek(at).is_alphanumeric() || peek(at) == '_' {
                at += 1;
            }
            tokens.push(chars[start..at].iter().collect());
        } else if c == ':' && peek(at + 1) == ':' {
            tokens.push("::".into());
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            at += 1;
        }
    }
    tokens
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The number of hashes where a raw string starts at `at`.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let mut next = at;
    while matches!(chars.get(next), Some('b' | 'r' | 'c')) && next < at + 2 {
        next += 1;
    }
    if next == at || chars[next - 1] != 'r' {
        return None;
    }
    let hashes = chars[next..].iter().take_while(|c| **c == '#').count();
    (chars.get(next + hashes) == Some(&'"')).then_some(hashes)
}

fn raw_string_end(chars: &[char], at: usize, hashes: usize) -> usize {
    let mut next = at;
    while chars[next] != '"' {
        next += 1;
    }
    next += 1;
    while next < chars.len() {
        if chars[next] == '"' && chars[next + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return next + 1 + hashes;
        }
        next += 1;
    }
    next
}
