//! The real program with its calls refused, once and from then on.

use nix::errno::Errno;

use super::call::{Call, Sort};
use super::campaign::{Point, recorded, sample, spread, strike};
use super::eyes::{self, Before};
use super::host::{Host, NAME, words};
use super::scene::{FIRST, RENEWAL, SCENES, Scene};
use super::tracer::{self, Ran, Strike};

const ERRNOS: [Errno; 8] = [
    Errno::ENOSPC,
    Errno::EIO,
    Errno::EDQUOT,
    Errno::EROFS,
    Errno::EACCES,
    Errno::EMFILE,
    Errno::ENOMEM,
    Errno::EINTR,
];

/// A call that is interrupted in a row: more often than any signal would.
const INTERRUPTED: usize = 20;

/// Strikes of the sample for each scene and error.
const SAMPLE: usize = 20;

/// Everything that can be refused; opening and locking too.
fn counts(_: &Call) -> bool {
    true
}

/// Once, or for good; an interruption ends at some time.
fn refusal(at: usize, errno: Errno, lasting: bool) -> Strike {
    let further = match (lasting, errno) {
        (false, _) => 0,
        (true, Errno::EINTR) => INTERRUPTED,
        (true, _) => usize::MAX,
    };
    Strike::Refuse { at, errno, further }
}

#[test]
fn f01_f05_refused_a_sample_of_its_calls_it_says_so_and_the_next_run_mends_everything() {
    if let Some(why) = tracer::disabled() {
        println!("SKIPPED: refusing the program its calls: {why}");
        return;
    }
    let mut points = Vec::new();
    for scene in [FIRST, RENEWAL] {
        let calls = recorded(&SCENES[scene], counts).len();
        for (shift, errno) in ERRNOS.into_iter().enumerate() {
            for (turn, at) in sample(calls - ERRNOS.len(), SAMPLE).into_iter().enumerate() {
                // Each error meets other calls.
                points.push(Point { scene, strike: refusal(at + shift, errno, turn % 2 == 1) });
            }
        }
        println!("{}: {} of {calls} calls", SCENES[scene].says, SAMPLE * ERRNOS.len());
    }
    strike(&points, counts, judge).passed();
}

/// `NOLAPSE_SLICE=K/N` strikes the calls K, K + N, K + 2N and so on, from 0: slices make up the whole, and can be
/// run on several machines or evenings.
fn slice() -> (usize, usize) {
    let Ok(text) = std::env::var("NOLAPSE_SLICE") else { return (0, 1) };
    let read = text.split_once('/').and_then(|(first, step)| Some((first.parse().ok()?, step.parse().ok()?)));
    read.filter(|(first, step)| first < step)
        .unwrap_or_else(|| panic!("NOLAPSE_SLICE={text} is not K/N with K < N"))
}

/// Every call of one scene, with every error.
fn all(scene: usize) {
    let calls = recorded(&SCENES[scene], counts).len();
    let (first, step) = slice();
    println!("{}: {calls} calls, of each {step} the one at {first}", SCENES[scene].says);
    let mut points = Vec::new();
    for (at, errno) in (first..calls).step_by(step).flat_map(|at| ERRNOS.map(|errno| (at, errno))) {
        points.push(Point { scene, strike: refusal(at, errno, false) });
        points.push(Point { scene, strike: refusal(at, errno, true) });
    }
    strike(&spread(&points), counts, judge).passed();
}

#[test]
#[ignore = "every call and error: many minutes (docs/reliability.md)"]
fn f01_f05_refused_any_call_of_a_first_certificate_it_says_so_and_is_mended() {
    all(0);
}

#[test]
#[ignore = "every call and error: many minutes (docs/reliability.md)"]
fn f01_f05_refused_any_call_of_a_renewal_it_says_so_and_is_mended() {
    all(1);
}

#[test]
#[ignore = "every call and error: many minutes (docs/reliability.md)"]
fn f01_f05_refused_any_call_of_a_first_certificate_by_listener_it_says_so_and_is_mended() {
    all(2);
}

#[test]
#[ignore = "every call and error: many minutes (docs/reliability.md)"]
fn f01_f05_refused_any_call_of_installing_again_it_says_so_and_is_mended() {
    all(3);
}

#[test]
#[ignore = "every call and error: many minutes (docs/reliability.md)"]
fn f01_f05_refused_any_call_of_a_change_by_hand_it_says_so_and_is_mended() {
    all(4);
}

#[test]
#[ignore = "every call and error: many minutes (docs/reliability.md)"]
fn f01_f05_refused_any_call_of_mending_a_record_it_says_so_and_is_mended() {
    all(5);
}

fn judge(host: &Host, scene: &Scene, before: &Before, ran: &Ran) -> Result<String, String> {
    let code = ran.code.ok_or("it did not end by itself")?;
    if ran.said.contains("panicked") {
        return Err("it panicked".into());
    }
    let open = eyes::after(host, before)?;
    match code {
        0 => {}
        1 | 3 if !ran.said.trim().is_empty() => {}
        // A configuration that can't be read is as bad as none.
        5 if ran.said.contains("[configuration-unreadable]") => {}
        _ => return Err("that is no way to end".into()),
    }
    let interrupted = ran.refused == Some(Errno::EINTR);
    let file = ran.struck.as_ref().is_some_and(|call| call.sort != Sort::Socket);
    if interrupted && file && code != 0 {
        return Err("an interrupted call was not made again".into());
    }
    let mut how = "the next run";
    for command in scene.mend {
        let output = host.run(command);
        if String::from_utf8_lossy(&output.stderr).contains("panicked") {
            return Err(format!("{command:?} afterwards panicked: {}", words(&output)));
        }
        if output.status.success() {
            continue;
        }
        // What failed waits for its next try; by hand there is no waiting.
        how = "hand";
        for by_hand in [&["deploy"][..], &["renew", NAME]] {
            let mut output = host.run(by_hand);
            if by_hand.len() > 1 && !output.status.success() && scene.lost_its_order(host)? {
                // The order was still to be asked about: this told of its end, and the next makes a new one.
                how = "hand, twice: the CA had asked while no socket could be used";
                output = host.run(by_hand);
            }
            if !output.status.success() && by_hand.len() > 1 {
                return Err(format!("{by_hand:?} afterwards: {}", words(&output)));
            }
        }
    }
    if host.debts_come_due()? {
        let output = host.run(&["renew"]);
        if !output.status.success() {
            return Err(format!("with its debts due: {}", words(&output)));
        }
    }
    eyes::mended(host, before, if how == "the next run" { &open } else { &None })?;
    Ok(format!("exit code {code}, mended by {how}"))
}
