//! Many strikes, one after another, on as many hosts as there are cores for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use super::call::Call;
use super::eyes::Before;
use super::host::Host;
use super::scene::{SCENES, Scene};
use super::tracer::{self, Ran, Strike};

/// Sites at work at the same time.
const HOSTS: usize = 2;
/// Strikes on one host before it is made anew: its CA remembers every order.
const STRIKES_A_HOST: usize = 200;
/// Strikes between two words of how far it has come.
const WORD_EVERY: usize = 500;
/// How a run ends that made fewer calls.
const MISSED: &str = "ended before that call";
/// Failures told in full.
const TOLD_MOST: usize = 12;

/// A strike in a scene, by its place in [`SCENES`].
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub scene: usize,
    pub strike: Strike,
}

/// What came of all strikes.
#[derive(Debug, Default)]
pub struct Tally {
    struck: usize,
    /// How many ended how.
    ends: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    /// Nothing went wrong, and next to all strikes met their call: runs differ by a few.
    pub fn passed(&self) {
        let missed = self.ends.get(MISSED).copied().unwrap_or(0);
        assert!(missed * 10 <= self.struck, "{missed} of {} strikes met nothing", self.struck);
        assert!(self.failures.is_empty(), "{} failures", self.failures.len());
    }
}

/// The calls of an undisturbed run, in order.
pub fn recorded(scene: &Scene, counts: fn(&Call) -> bool) -> Vec<Call> {
    let host = Host::new();
    set(&host, scene);
    let ran = tracer::run(&mut host.command(scene.command), host.dir(), Strike::Watch, counts).unwrap();
    assert_eq!(ran.code, Some(0), "{}: {}", scene.says, ran.said);
    ran.calls
}

/// At most `most` of `0..length`, evenly spread, the first and the last among them.
pub fn sample(length: usize, most: usize) -> Vec<usize> {
    if length <= most {
        return (0..length).collect();
    }
    (0..most).map(|step| step * (length - 1) / (most - 1)).collect()
}

/// The same points in an order in which every part of the whole is an even sample of it.
pub fn spread(points: &[Point]) -> Vec<Point> {
    // Far from every count of errors and turns, and coprime to any length: it is a prime that a
    // campaign never reaches.
    const STRIDE: usize = 1_000_003;
    (0..points.len()).map(|step| points[step * STRIDE % points.len()]).collect()
}

/// Strikes at every point; `judge` looks at what is left, mends it, and says how it ended or what
/// is wrong.
pub fn strike(
    points: &[Point],
    counts: fn(&Call) -> bool,
    judge: impl Fn(&Host, &Scene, &Before, &Ran) -> Result<String, String> + Sync,
) -> Tally {
    let todo = Mutex::new(points.iter());
    let tally = Mutex::new(Tally::default());
    let next = || todo.lock().unwrap().next().copied();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                let mut stage = Stage::new();
                let mut struck = 0;
                while let Some(point) = next() {
                    if struck == STRIKES_A_HOST {
                        (stage, struck) = (Stage::new(), 0);
                    }
                    struck += 1;
                    let scene = &SCENES[point.scene];
                    stage.set(scene);
                    let host = &stage.host;
                    let before = Before::of(host);
                    let mut command = host.command(scene.command);
                    let ran = tracer::run(&mut command, host.dir(), point.strike, counts).unwrap();
                    let verdict = match &ran.struck {
                        Some(_) => judge(host, scene, &before, &ran),
                        None => Ok(MISSED.into()),
                    };
                    let mut tally = tally.lock().unwrap();
                    tally.struck += 1;
                    if tally.struck % WORD_EVERY == 0 {
                        let (done, all, failed) = (tally.struck, points.len(), tally.failures.len());
                        println!(
                            "{done} of {all} strikes, {failed} failures, {} s",
                            begun.elapsed().as_secs()
                        );
                    }
                    match verdict {
                        Ok(end) => *tally.ends.entry(end).or_default() += 1,
                        Err(what) => {
                            let failure = told(scene, &point, &ran, &what);
                            if tally.failures.len() < TOLD_MOST {
                                println!("{failure}\n");
                            }
                            tally.failures.push(failure);
                        }
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("{} strikes in {} s", points.len(), begun.elapsed().as_secs());
    for (end, count) in &tally.ends {
        println!("  {count:6}  {end}");
    }
    tally
}

fn told(scene: &Scene, point: &Point, ran: &Ran, what: &str) -> String {
    let call = ran.struck.as_ref().map_or_else(String::new, ToString::to_string);
    format!(
        "{}, {:?} ({call}): {what}\n    exit code {:?}, said: {}",
        scene.says, point.strike, ran.code, ran.said
    )
}

/// A host that remembers the scenes it was in.
struct Stage {
    host: Host,
    known: Vec<&'static str>,
}

impl Stage {
    fn new() -> Self {
        Self { host: Host::new(), known: Vec::new() }
    }

    fn set(&mut self, scene: &Scene) {
        if self.known.contains(&scene.says) {
            self.host.take_back(scene.says);
            // The CA asks where this scene's answers are.
            self.host.asked_at(scene.answers);
        } else {
            set(&self.host, scene);
            self.host.put_aside(scene.says);
            self.known.push(scene.says);
        }
    }
}

fn set(host: &Host, scene: &Scene) {
    host.fresh(scene.answers, &[super::host::NAME]);
    (scene.stage)(host);
}
