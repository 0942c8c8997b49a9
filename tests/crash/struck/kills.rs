//! The real program killed before and after its calls, then run once more as a timer would.

use super::call::{Call, Sort};
use super::campaign::{Point, recorded, strike};
use super::eyes::{self, Before};
use super::host::{Host, NAME, words};
use super::scene::{SCENES, Scene};
use super::tracer::{self, Ran, Strike};

/// What a kill before or after can tell apart: what was made so far, and what others heard.
fn counts(call: &Call) -> bool {
    match call.sort {
        Sort::Change | Sort::Remove => true,
        Sort::Socket => !matches!(call.name, "recvfrom" | "recvmsg" | "accept4" | "socket"),
        Sort::Open | Sort::Lock => false,
    }
}

#[test]
fn f02_f03_killed_before_and_after_every_call_the_next_run_mends_everything() {
    if let Some(why) = tracer::disabled() {
        println!("SKIPPED: killing the program at its calls: {why}");
        return;
    }
    let mut points = Vec::new();
    for (scene, calls) in SCENES.iter().map(|scene| recorded(scene, counts).len()).enumerate() {
        for at in 0..calls {
            points.push(Point { scene, strike: Strike::KillBefore(at) });
            points.push(Point { scene, strike: Strike::KillAfter(at) });
        }
        println!("{}: {calls} calls", SCENES[scene].says);
    }
    strike(&points, counts, judge).passed();
}

fn judge(host: &Host, scene: &Scene, before: &Before, ran: &Ran) -> Result<String, String> {
    if ran.code.is_some() {
        return Err("it was not killed".into());
    }
    let mut open = eyes::after(host, before)?;
    let mut end = "mended by the next run";
    for command in scene.mend {
        let output = host.run(command);
        if output.status.success() {
            continue;
        }
        if !scene.lost_its_order(host)? {
            return Err(format!("{command:?} afterwards: {}", words(&output)));
        }
        let by_hand = host.run(&["renew", NAME]);
        if !by_hand.status.success() {
            return Err(format!("by hand: {}", words(&by_hand)));
        }
        (open, end) = (None, "the CA had asked a dead listener; mended by hand");
    }
    eyes::mended(host, before, &open)?;
    Ok(format!("{}: {end}", scene.says))
}
