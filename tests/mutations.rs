//! Ten thousand configurations with something wrong in them (scoreboard S22): what is changed in
//! one table moves no certificate that does not use it, and no configuration stops a daemon.
//!
//! `NOLAPSE_MUTATIONS=1000000 cargo test --test mutations` tries more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "cli/desk.rs"]
#[allow(dead_code)]
mod desk;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use desk::{Desk, orders};
use nolapse::config::{Facts, Resolved, Source, resolve, sample};
use nolapse::core::leaf::mix;
use nolapse::core::name::LineageId;
use nolapse::core::spec::{LineageSpec, Origin, Wanted};

/// Changed configurations tried in CI, for each kind of change.
const CASES: u64 = 10_000;

/// A fleet in one file: every certificate has a table of its own, some share a service or hook.
const FLEET: &str = r#"
[agent]
log-level = "info"

[issuer.letsencrypt]
accept-terms = true
contact = "hostmaster@example.com"

[issuer.internal]
directory = "https://ca.internal/acme/directory"
ca-file = "/etc/ssl/internal.pem"

[solver.files]
webroot = "/srv/www"

[service.mail]
check = ["doveconf", "-n"]
reload = ["systemctl", "reload", "dovecot"]
observe = ["tls://127.0.0.1:993"]
timeout = "30s"

[hook.app]
run = ["/usr/local/bin/app", "reload", "--quiet"]
timeout = "45s"

[hook.poke]
signal = { pid-file = "/run/poke.pid" }

[certificate."a.example.com"]
names = ["a.example.com", "www.a.example.com"]
service = "nginx"
key-mode = "0640"

[certificate."b.example.com"]
service = "mail"
solver = "files"
key = "rsa-2048"

[certificate."c.example.com"]
hooks = ["app", "poke"]
observe = ["127.0.0.1:8443"]
observe-timeout = "20s"

[certificate."d.example.com"]
issuer = "internal"
solver = "files"
outputs = [{ part = "fullchain", path = "/etc/d.pem", mode = "0644" }]
combined = "/etc/d-all.pem"

[certificate."e.example.com"]
hooks = "app"
group = "www-data"
reuse-key = true

[certificate."f.example.com"]
service = ["nginx", "mail"]
"#;

/// A table of the text and what it is called.
struct Part {
    /// `certificate.a.example.com`, `hook.app`.
    name: String,
    /// Lines of the text, the header among them.
    lines: Range<usize>,
}

fn parts(text: &str) -> Vec<Part> {
    let mut found: Vec<Part> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            let name = line.trim_start_matches('[').split(']').next().unwrap().replace('"', "");
            found.push(Part { name, lines: at..at + 1 });
        } else if let Some(part) = found.last_mut() {
            part.lines.end = at + 1;
        }
    }
    found
}

fn read(text: &str) -> Resolved {
    resolve(&[Source::new("nolapse.toml", text)], &Facts::default())
}

/// Whether a certificate may change with this table.
fn uses(spec: &LineageSpec, part: &str) -> bool {
    let (table, name) = part.split_once('.').unwrap_or((part, ""));
    let name = name.split('.').next().unwrap_or_default();
    match table {
        "certificate" => part == format!("certificate.{}", spec.id),
        "issuer" => spec.issuers.iter().any(|issuer| issuer.as_str() == name),
        "solver" => spec.solvers.iter().any(|solver| solver.as_str() == name),
        "hook" | "service" => spec.hooks.iter().any(|hook| hook.as_str() == name),
        // `[agent]` and `[defaults]` hold for all.
        _ => true,
    }
}

/// A stream of numbers from one seed.
struct Dice {
    seed: u64,
    drawn: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn below(&mut self, most: usize) -> usize {
        self.drawn += 1;
        usize::try_from(mix(&[self.seed, self.drawn]) % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const WORDS: [&str; 14] = [
    "true",
    "0",
    "-1",
    "\"\"",
    "[]",
    "{}",
    "\"nginx\"",
    "[\"x\"]",
    "99999999999999999999",
    "1979-05-27",
    "nan",
    "\"\\u0000\"",
    "\"../../etc\"",
    "\"9999d\"",
];
const BYTES: &[char] =
    &['"', '\'', '[', ']', '{', '}', '=', '.', ',', '#', '\\', '-', '0', 'x', ' ', '\n', '\u{0}', 'ü'];

/// One change inside these lines; the first of them is a header, which `headers` may touch too.
fn mutate(lines: &mut Vec<String>, range: &Range<usize>, headers: bool, dice: &mut Dice) {
    let first = if headers { range.start } else { (range.start + 1).min(range.end - 1) };
    let at = first + dice.below(range.end - first);
    if at == range.start && !headers {
        return;
    }
    let keys: Vec<usize> = (range.start + 1..range.end).filter(|at| lines[*at].contains(" = ")).collect();
    match dice.below(10) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = first + dice.below(range.end - first);
            lines.swap(at, other);
        }
        // A byte is another one, or gone, or there twice.
        3..=5 => {
            let mut chars: Vec<char> = lines[at].chars().collect();
            let place = dice.below(chars.len().max(1));
            match dice.below(3) {
                _ if chars.is_empty() => chars.push(*dice.pick(BYTES)),
                0 => chars[place] = *dice.pick(BYTES),
                1 => drop(chars.remove(place)),
                _ => chars.insert(place, *dice.pick(BYTES)),
            }
            lines[at] = chars.into_iter().collect();
        }
        // A value is another one.
        6 | 7 if !keys.is_empty() => {
            let at = *dice.pick(&keys);
            let key = lines[at].split(" = ").next().unwrap().to_owned();
            lines[at] = format!("{key} = {}", dice.pick(&WORDS));
        }
        // Values change places.
        8 if keys.len() > 1 => {
            let (one, other) = (*dice.pick(&keys), *dice.pick(&keys));
            let split =
                |line: &str| line.split_once(" = ").map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
            let ((one_key, one_value), (other_key, other_value)) = (split(&lines[one]), split(&lines[other]));
            lines[one] = format!("{one_key} = {other_value}");
            lines[other] = format!("{other_key} = {one_value}");
        }
        // A key is called otherwise.
        _ if !keys.is_empty() => {
            let at = *dice.pick(&keys);
            let (key, value) = lines[at].split_once(" = ").unwrap();
            let key = match dice.below(3) {
                0 => format!("{key}s"),
                1 => key.replace('-', "_"),
                _ => "names".to_owned(),
            };
            lines[at] = format!("{key} = {value}");
        }
        _ => {}
    }
}

fn without_origins(wanted: &Wanted) -> BTreeMap<LineageId, LineageSpec> {
    let bare = |spec: &LineageSpec| LineageSpec { origin: Origin::default(), ..spec.clone() };
    wanted.lineages.values().map(|spec| (spec.id.clone(), bare(spec))).collect()
}

fn cases() -> u64 {
    std::env::var("NOLAPSE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// The reference file with everything switched on, the examples, and the fleet.
fn texts() -> Vec<(String, String)> {
    let mut found = vec![("fleet".to_owned(), FLEET.to_owned())];
    let setting =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '));
    let on: Vec<_> = sample().lines().filter(setting).map(|line| line[1..].to_owned()).collect();
    found.push(("reference".to_owned(), on.join("\n")));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn f56_no_change_to_one_table_moves_a_certificate_that_does_not_use_it() {
    let whole = read(FLEET);
    assert!(whole.problems.is_empty(), "{:?}", whole.problems);
    let (before, parts) = (without_origins(&whole.wanted), parts(FLEET));
    assert_eq!(before.len(), 6);
    let parts: Vec<_> = parts.iter().filter(|part| part.lines.len() > 1 && part.name != "agent").collect();
    let (mut fatal, mut told, mut silent) = (0, 0, 0);
    for seed in 0..cases() {
        let mut dice = Dice::new(seed);
        let part = dice.pick(&parts);
        let mut lines: Vec<String> = FLEET.lines().map(str::to_owned).collect();
        mutate(&mut lines, &part.lines, false, &mut dice);
        let text = lines.join("\n");
        let resolved = read(&text);
        if resolved.fatal() {
            // A daemon keeps all it has; a start says why it fails.
            fatal += 1;
            continue;
        }
        let after = without_origins(&resolved.wanted);
        let known: BTreeSet<_> = after.keys().chain(resolved.wanted.broken.keys()).collect();
        for (id, spec) in before.iter().filter(|(_, spec)| !uses(spec, &part.name)) {
            assert!(after.get(id) == Some(spec), "seed {seed}: {} moved {id}:\n{text}", part.name);
        }
        for id in before.keys() {
            assert!(known.contains(id), "seed {seed}: {id} is gone without a word:\n{text}");
        }
        if resolved.problems.is_empty() { silent += 1 } else { told += 1 }
    }
    println!("{} changes: {fatal} refused as a whole, {told} told, {silent} valid as they are", cases());
    // The changes are none of one kind only.
    assert!(fatal > 0 && told > 0 && silent > 0, "{fatal} {told} {silent}");
    assert!(told > fatal / 10, "nearly everything is refused as a whole: {told} against {fatal}");
}

#[test]
fn f56_no_change_anywhere_panics_or_contradicts_itself() {
    let texts = texts();
    assert!(texts.len() >= 10, "{} texts", texts.len());
    for seed in 0..cases() {
        let mut dice = Dice::new(seed.wrapping_add(1 << 40));
        let (name, text) = dice.pick(&texts);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for _ in 0..=dice.below(4) {
            let most = lines.len();
            if most < 2 {
                break;
            }
            match dice.below(6) {
                // A table stands twice.
                0 => {
                    let text = lines.join("\n");
                    let parts = parts(&text);
                    if !parts.is_empty() {
                        let range = dice.pick(&parts).lines.clone();
                        let again = lines[range].to_vec();
                        lines.extend(again);
                    }
                }
                _ => mutate(&mut lines, &(0..most), true, &mut dice),
            }
            // A line feed that was put in makes two lines of one.
            lines = lines.join("\n").lines().map(str::to_owned).collect();
        }
        let text = lines.join("\n");
        let resolved = read(&text);
        for id in resolved.wanted.broken.keys() {
            assert!(!resolved.wanted.lineages.contains_key(id), "{name}, seed {seed}: {id} is both\n{text}");
        }
        assert!(
            resolved.wanted.broken.is_empty() || resolved.has_errors(),
            "{name}, seed {seed}: an entry is set aside without a word\n{text}"
        );
        for problem in &resolved.problems {
            let words = problem.to_string();
            let clean = words.chars().all(|c| !c.is_control() || c == '\n');
            assert!(clean && problem.line >= 1, "{name}, seed {seed}: {words:?}");
        }
    }
}

/// Configurations that a daemon is given one after the other.
const SAMPLE: u64 = 60;
/// Until the next configuration, where the log is silent about one.
const UNSEEN: Duration = Duration::from_millis(150);
/// Longest until a daemon has said what it makes of one.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn f56_a_daemon_lives_through_every_configuration_it_is_given() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let head = desk.around(&ca);
    let good = format!(
        "{head}[hook.app]\nrun = [\"true\"]\ntimeout = \"30s\"\n[certificate.\"good.example\"]\n\
         [certificate.\"other.example\"]\nhooks = [\"app\"]\nkey-mode = \"0640\"\nobserve-timeout = \"5s\"\n"
    );
    desk.configure(&good);
    let log = desk.path("log");
    let mut daemon = desk
        .command(&["--log-format", "json", "run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(daemon.id().cast_signed()).unwrap();
    let said = |words: &str| std::fs::read_to_string(&log).unwrap().matches(words).count();
    let answers = || said("configuration reloaded") + said("the old one stays in force");
    let wait = |what: &str, done: &mut dyn FnMut() -> bool| {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < SOON, "{what}:\n{}", std::fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let live = desk.path("state/live/good.example/fullchain.pem");
    wait("no certificate", &mut || live.exists() && orders(&ca) >= 2);
    let shown = std::fs::read(&live).unwrap();
    let whole = desk.read("etc/nolapse.toml");
    let tail = parts(&whole)
        .into_iter()
        .filter(|part| ["hook.app", "certificate.other.example"].contains(&part.name.as_str()));
    let tail: Vec<_> = tail.collect();
    for seed in 0..SAMPLE {
        let mut dice = Dice::new(seed.wrapping_add(1 << 50));
        let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        let part = dice.pick(&tail);
        mutate(&mut lines, &part.lines, false, &mut dice);
        let (before, asked) = (answers(), Instant::now());
        desk.write("etc/nolapse.toml", &lines.join("\n"));
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        // Answers that are all alike are counted, not written, so only some of them can be seen.
        while answers() == before && asked.elapsed() < UNSEEN {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(daemon.try_wait().unwrap().is_none(), "seed {seed}: the daemon ended");
        assert!(std::fs::read(&live).unwrap() == shown, "seed {seed}: the other certificate was touched");
    }
    let (taken, kept) = (said("configuration reloaded"), said("the old one stays in force"));
    assert!(taken > 2 && kept > 0, "{taken} taken, {kept} refused");
    println!("{SAMPLE} configurations by SIGHUP; of those that were told, {taken} taken and {kept} refused");
    // It is still one that renews.
    desk.configure(&(good + "[certificate.\"third.example\"]\n"));
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let third = desk.path("state/live/third.example/fullchain.pem");
    wait("the third certificate", &mut || third.exists());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
