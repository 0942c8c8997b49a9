//! Crashes: the program is killed at every phase and at many other moments, and goes on where it
//! was, with the same order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::stage::{Stage, pebble};
use crate::support::agent::{Running, Site, signal};
use crate::support::changes::Changes;
use crate::support::pebble::{Options, Pebble};
use crate::support::ports::wait_for;
use crate::support::served;

/// Longest wait for one moment.
const PHASE_MOST: Duration = Duration::from_secs(30);
/// The moment may pass between two looks; then another directory is tried.
const TRIES: usize = 25;

/// How long a program that is watched step by step may run at a time.
const SLICE: Duration = Duration::from_micros(200);

fn phase_of(record: &Value) -> Option<&str> {
    record["attempt"]["phase"].as_str()
}

/// The bare site of one certificate by own listener: nothing but issuance.
fn site(pebble: &Pebble, name: &str) -> Site {
    let site = Site::new();
    let config = site.config().pebble(pebble, &site.root()).listener(pebble.http_port());
    site.write(&config.certificate(name, ""));
    site
}

fn orders(pebble: &Pebble) -> usize {
    pebble.count("POST", "/order-plz")
}

#[test]
fn f01_killed_before_the_order_went_out_it_places_one_with_the_key_it_stored() {
    let Some(pebble) = pebble(&Options::default()) else { return };
    for _ in 0..TRIES {
        let site = site(&pebble, "p.example");
        let before = orders(&pebble);
        let changes = Changes::of(&site.path("state/keys"));
        let running = site.start(&["renew"]);
        changes.until(|| std::fs::read_dir(site.path("state/keys")).unwrap().next().is_some());
        // From the stored key to the order it is let run in slices, too short to do both.
        running.signal("STOP");
        while site.record("p.example").is_none() {
            running.signal("CONT");
            std::thread::sleep(SLICE);
            running.signal("STOP");
        }
        running.kill();
        let record = site.record("p.example").unwrap();
        // An order that was under way already is another story.
        if phase_of(&record) != Some("prepared") || settled(&pebble) != before {
            continue;
        }
        site.expect(0, &["renew"]);
        assert_eq!(orders(&pebble), before + 1);
        let after = site.record("p.example").unwrap();
        assert_eq!(after["current"]["leaf"]["key"], record["attempt"]["key"], "the stored key was used");
        return;
    }
    panic!("never killed at that moment");
}

#[test]
fn f02_killed_after_ordering_it_resumes_the_same_order() {
    killed(|pebble, site| (site.path("state/lineages"), Box::new(move || saved(site, pebble, "ordered"))));
}

#[test]
fn f02_killed_after_its_receipts_were_saved_it_resumes_the_same_order() {
    killed(|pebble, site| (site.path("state/lineages"), Box::new(move || saved(site, pebble, "presented"))));
}

#[test]
fn f02_killed_while_the_ca_validates_it_resumes_the_same_order() {
    killed(|pebble, _| called(pebble, "/chalZ/"));
}

#[test]
fn f02_killed_while_the_ca_finalizes_it_resumes_the_same_order() {
    killed(|pebble, _| called(pebble, "/finalize-order/"));
}

#[test]
fn f02_killed_during_the_download_it_resumes_the_same_order() {
    killed(|pebble, _| called(pebble, "/certZ/"));
}

/// Where something changes at the moment to kill at, and whether the moment has come.
type Moment<'a> = (PathBuf, Box<dyn FnMut() -> bool + 'a>);

/// The record shows this phase.
fn saved(site: &Site, _: &Pebble, phase: &str) -> bool {
    site.record("k.example").is_some_and(|record| phase_of(&record) == Some(phase))
}

/// The CA was just asked for this once more.
fn called<'a>(pebble: &'a Pebble, path: &'static str) -> Moment<'a> {
    let before = pebble.count("POST", path);
    (pebble.log_dir().to_owned(), Box::new(move || pebble.count("POST", path) > before))
}

/// Kills the program at a moment of its first order, and lets a second run finish.
fn killed(moment: impl for<'a> Fn(&'a Pebble, &'a Site) -> Moment<'a>) {
    for _ in 0..TRIES {
        let Some(stage) = Stage::by_files() else { return };
        let (pebble, site) = (&stage.pebble, &stage.site);
        site.write(&stage.bare().certificate("k.example", ""));
        let (place, mut come) = moment(pebble, site);
        let changes = Changes::of(&place);
        let running = site.start(&["renew"]);
        let done = || site.record("k.example").is_some_and(|record| record["current"].is_object());
        let mut met = false;
        changes.until(|| {
            met = met || come();
            met || done()
        });
        running.kill();
        // What counts is what was saved when it died: the moment was met, and nothing was over.
        let record = site.record("k.example").unwrap();
        let Some(order) = record["attempt"]["order"].as_str().filter(|_| met).map(str::to_owned) else {
            continue;
        };
        site.expect(0, &["renew"]);
        let after = site.record("k.example").unwrap();
        assert_eq!(after["current"]["order"], order, "another order was placed");
        assert_eq!(orders(pebble), 1, "one newOrder in the CA's log");
        assert_eq!(after["debts"], serde_json::json!([]), "answers are cleaned away");
        assert_eq!(
            served::unfit_combined(&std::fs::read(site.live("k.example", "combined.pem")).unwrap()),
            None
        );
        return;
    }
    panic!("never killed at that moment");
}

#[test]
fn f03_killed_at_any_moment_the_pair_is_whole_and_no_order_is_lost() {
    let Some(stage) = Stage::by_files() else { return };
    let name = "sweep.example";
    stage.wants(&[name]);
    let first = stage.site.expect(0, &["renew"]);
    let file = stage.site.live(name, "combined.pem");
    let watch = Watch::start(file.clone());
    let whole = first.took.max(Duration::from_millis(200));
    for step in 0..SWEEP {
        let generation = stage.site.generation(name);
        let before = stage.orders();
        let running = stage.site.start(&["renew", "--force"]);
        std::thread::sleep(whole * step / SWEEP);
        running.kill();
        let record = stage.site.record(name).unwrap();
        let saved = record["attempt"]["order"].as_str().map(str::to_owned);
        let placed = settled(&stage.pebble) - before;
        assert!(placed <= 1, "at {step}: {placed} orders in one run");
        // Whatever it was killed at, the next pass ends with nothing owed.
        stage.site.expect(0, &["renew"]);
        let after = stage.site.record(name).unwrap();
        if let Some(order) = saved {
            assert_eq!(after["current"]["order"], order, "at {step}: the saved order was not resumed");
            assert_eq!(stage.orders(), before + 1, "at {step}");
        } else {
            // An order whose URL never reached us can't be resumed: one more, never two.
            assert!(stage.orders() <= before + placed + 1, "at {step}");
        }
        let now = stage.site.generation(name);
        assert!(now == generation || now == generation + 1, "at {step}: from {generation} to {now}");
        assert!(stage.shows(name), "at {step}");
    }
    watch.stop();
}

/// Moments at which it is killed, from its start to when a whole run was done.
const SWEEP: u32 = 16;

/// Orders at the CA when no request is under way any more.
fn settled(pebble: &Pebble) -> usize {
    let mut last = orders(pebble);
    wait_for(Duration::from_secs(5), || {
        std::thread::sleep(Duration::from_millis(40));
        let now = orders(pebble);
        std::mem::replace(&mut last, now) == now
    });
    last
}

#[test]
fn two_renewals_at_once_place_one_order() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["two.example"]);
    let (one, two) = (stage.site.start(&["renew"]), stage.site.start(&["renew"]));
    let (one, two) = (one.finish(), two.finish());
    assert_eq!((one.code, two.code), (Some(0), Some(0)), "{one:?}\n{two:?}");
    assert_eq!(stage.orders(), 1);
    assert!(stage.shows("two.example"));
}

#[test]
fn a_claim_held_past_the_wait_is_exit_4_and_names_the_holder() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["busy.example"]);
    stage.pebble.pause();
    let holder = stage.site.start(&["renew"]);
    assert!(wait_for(PHASE_MOST, || claims(&stage, &holder, "busy.example")));
    let ran = stage.site.run(&["renew", "--wait", "1s"]);
    stage.pebble.unpause();
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.out.contains(&holder.pid().to_string()), "{ran:?}");
    assert_eq!(holder.finish().code, Some(0));
}

#[test]
fn a_killed_daemon_leaves_no_claim_behind() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["d.example"]);
    stage.pebble.pause();
    let daemon: Running = stage.site.daemon();
    assert!(wait_for(PHASE_MOST, || claims(&stage, &daemon, "d.example")));
    signal(daemon.pid(), "STOP");
    daemon.kill();
    stage.pebble.unpause();
    stage.site.expect(0, &["renew", "--wait", "1s"]);
    assert_eq!(stage.orders(), 1);
}

/// The lock says that this process works on the certificate.
fn claims(stage: &Stage, who: &Running, name: &str) -> bool {
    let lock = std::fs::read_to_string(stage.site.path("state/locks").join(name)).unwrap_or_default();
    lock.lines().any(|line| line == format!("pid {}", who.pid()))
}

/// Reads one PEM file all the time and judges what it holds.
struct Watch {
    over: Arc<AtomicBool>,
    reader: std::thread::JoinHandle<(usize, Option<String>)>,
}

impl Watch {
    fn start(file: PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let reader = std::thread::spawn(move || {
            let mut looks = 0;
            while !ended.load(Ordering::Relaxed) {
                let unfit = match std::fs::read(&file) {
                    Ok(text) => served::unfit_combined(&text),
                    Err(error) => Some(error.to_string()),
                };
                if unfit.is_some() {
                    return (looks, unfit);
                }
                looks += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            (looks, None)
        });
        Self { over, reader }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        let (looks, unfit) = self.reader.join().unwrap();
        assert_eq!(unfit, None, "after {looks} looks");
        assert!(looks > 0);
    }
}
