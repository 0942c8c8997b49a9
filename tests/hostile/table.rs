//! All rows, run by a process of its own so that its memory, files and log lines are its own too.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nolapse::core::failure::{Class, Failure};
use nolapse::core::spec::KeyKind;
use nolapse::ports::Store;
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use nolapse::sys::keys::{Keys, PrivateKey};
use nolapse::telemetry::log::{Format, start};
use test_ca::Ca;

use crate::case::{Asked, Case};
use crate::drive::{Bench, CALL_MOST};
use crate::laws::{is_plain, judge, tree};

/// Where the child runs; also what tells it that it is one.
const BOX: &str = "HOSTILE_BOX";
/// Threads that run cases.
const WORKERS: usize = 2;
/// Requests that one case may cost the CA, the honest order after it included.
const REQUESTS_MOST: usize = 700;
/// Peak memory of the process, the CA included, in KiB.
const MEMORY_MOST: u64 = 64 * 1024;
/// Only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// Spans enough for every limit of a CA to be forgotten.
const FORGOTTEN: Duration = Duration::from_secs(31 * 24 * 3600);

fn cases() -> Vec<Case> {
    let mut cases = crate::http::cases();
    cases.extend(crate::objects::cases());
    cases.extend(crate::certificates::cases());
    cases.extend(crate::times::cases());
    cases.extend(crate::refusals::cases());
    cases
}

#[test]
fn f54_t06_t07_no_answer_of_a_ca_does_harm() {
    let cases = cases();
    assert!(cases.len() >= 500, "{} cases", cases.len());
    let mut names = BTreeSet::new();
    let twice = cases.iter().find(|case| !names.insert(&case.name));
    assert!(twice.is_none(), "two cases are called {}", twice.map_or("", |case| &case.name));

    // Thousands of small synced files: in memory where that is to be had.
    let shared = Path::new("/dev/shm");
    let room = tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir()).unwrap();
    for dir in ["state", "home", "tmp", "work"] {
        std::fs::create_dir(room.path().join(dir)).unwrap();
    }
    std::fs::write(room.path().join("home/canary"), "untouched").unwrap();
    let before = tree(room.path(), &["state"]);
    let (out, err) = (room.path().join("state/out"), room.path().join("state/err"));
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "table::every_case", "--ignored", "--nocapture"])
        .current_dir(room.path().join("work"))
        .env(BOX, room.path())
        .env("HOME", room.path().join("home"))
        .env("TMPDIR", room.path().join("tmp"))
        // One heap for all threads: what the allocator keeps for each of them is not what is measured.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (out, err) = (std::fs::read(out).unwrap(), std::fs::read(err).unwrap());
    let said = String::from_utf8_lossy(&out);
    assert!(status.success(), "{said}\n{}", last(&String::from_utf8_lossy(&err)));
    is_plain(&err).unwrap_or_else(|why| panic!("a log line holds {why}"));
    // Each kind of line is told ten times a minute at most, so a quick run tells few.
    assert!(err.split(|octet| *octet == b'\n').count() > 10, "nothing was logged");
    assert_eq!(tree(room.path(), &["state"]), before, "something was written outside the state");

    let seen = std::fs::read_to_string(room.path().join("state/outcomes")).unwrap();
    for line in said.lines().filter(|line| line.contains("hostile: ")) {
        println!("{line}");
    }
    println!("hostile: {} cases in {:.1} s", cases.len(), begun.elapsed().as_secs_f64());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/outcomes.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &seen).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    let changed: Vec<_> = differences(&expected, &seen);
    assert!(
        changed.is_empty(),
        "other outcomes than in outcomes.txt (BLESS=1 takes them):\n{}",
        changed.join("\n")
    );
}

fn last(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn differences(expected: &str, seen: &str) -> Vec<String> {
    let (expected, seen): (BTreeSet<_>, BTreeSet<_>) = (expected.lines().collect(), seen.lines().collect());
    let gone = expected.difference(&seen).map(|line| format!("- {line}"));
    gone.chain(seen.difference(&expected).map(|line| format!("+ {line}"))).collect()
}

/// Runs inside the process that the test above starts.
#[test]
#[ignore = "the test above runs it in a process of its own"]
fn every_case() {
    let Some(room) = std::env::var_os(BOX).map(PathBuf::from) else { return };
    let clock = Clock::wall();
    let now = {
        let clock = clock.clone();
        Arc::new(move || clock.now())
    };
    start(Format::Text, "info,nolapse=trace,hyper=debug,reqwest=debug,rustls=debug", now).unwrap();
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let cases: Vec<_> = cases().into_iter().filter(|case| case.name.contains(&only)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = runtime.block_on(Keys::random().make(KeyKind::EcdsaP256)).unwrap();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); cases.len()]));
    let worst = Mutex::new((0, Duration::ZERO));
    let broken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((number, case)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(number).map(|case| (number, case))
                } {
                    let state = room.join(format!("state/{number}"));
                    let Ok((outcome, requests, longest)) =
                        catch_unwind(AssertUnwindSafe(|| run(case, &state, &key)))
                    else {
                        broken.lock().unwrap().push(&case.name);
                        continue;
                    };
                    outcomes.lock().unwrap()[number] = outcome;
                    let mut worst = worst.lock().unwrap();
                    *worst = (worst.0.max(requests), worst.1.max(longest));
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "cases that broke a law:\n{broken:#?}");
    let text = outcomes.into_inner().unwrap().iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{line}");
        text
    });
    std::fs::write(room.join("state/outcomes"), text).unwrap();
    let (requests, longest) = *worst.lock().unwrap();
    println!(
        "hostile: at most {requests} requests a case; longest call {} s of {}",
        longest.as_secs(),
        CALL_MOST.as_secs()
    );
    let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = used.user_time().tv_sec() + used.system_time().tv_sec();
    println!("hostile: {seconds} s of processor time, the CA's included");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("hostile: peak memory {:.1} MiB, the CA included", peak as f64 / 1024.0);
    assert!(peak <= MEMORY_MOST, "{peak} KiB");
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "", "something was executed");
}

/// One case: the outcome, what it cost the CA in requests, and the longest call.
fn run(case: &Case, state: &Path, key: &PrivateKey) -> (String, usize, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let named = |why: &str| format!("{}: {why}", case.name);
        let builder = (case.setting)(Ca::builder().plain_http().skip_validation());
        let ca = builder.start().await.unwrap();
        let store: Arc<dyn Store> =
            Arc::new(DirStore::open(Disk::real(), Clock::wall(), state).await.unwrap());
        let mut bench = Bench::new(ca, store, key.clone());
        if case.asked != Asked::Certificate {
            bench.certificate().await.unwrap_or_else(|failure| panic!("{}", named(&failure.to_string())));
        }
        case.faults.iter().for_each(|fault| bench.ca.set_fault(fault.clone()));
        bench.ca.set_nonce_rejection(case.nonce_rejection);
        bench.stalls = case.stalls;
        let outcome = match case.asked {
            Asked::Certificate | Asked::Another => bench.certificate().await.map(|_| "issued".to_owned()),
            Asked::RenewalInfo => bench.renewal_info().await.map(|info| match info {
                Some(info) => format!("a window, asked again in {}", info.retry_after),
                None => "no window".to_owned(),
            }),
        };
        if let Err(failure) = &outcome {
            judge(failure, Clock::wall().now());
        }
        let outcome = outcome.unwrap_or_else(|failure| told(&failure));
        bench.ca.clear_faults();
        bench.ca.set_nonce_rejection(0);
        bench.ca.age_limits(FORGOTTEN);
        bench.stalls = false;
        bench
            .certificate()
            .await
            .unwrap_or_else(|failure| panic!("{}", named(&format!("then honestly: {failure}"))));
        if case.asked == Asked::RenewalInfo {
            assert!(bench.renewal_info().await.unwrap().is_some(), "{}", named("then no window"));
        }
        let requests = bench.ca.requests().len();
        assert!(requests <= REQUESTS_MOST, "{}", named(&format!("{requests} requests")));
        assert!(bench.longest <= CALL_MOST, "{}", named(&format!("a call took {:?}", bench.longest)));
        (format!("{} → {outcome}", case.name), requests, bench.longest)
    })
}

fn told(failure: &Failure) -> String {
    let class = match failure.class {
        Class::Transient => "transient",
        Class::Limited { .. } => "limited",
        Class::Refused => "refused",
        Class::Broken => "broken",
    };
    format!("{} ({class}, {})", failure.code, failure.fault)
}
