//! Crashes at every point: plans cut short, power lost, and the real program killed or refused at
//! each of its calls. What readers see is one whole generation or, before the first, nothing
//! (F02, F03, F04, F05).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/scratch.rs"]
mod scratch;

mod power;
mod prefixes;
mod readers;
mod story;
mod tree;

// The tracer knows the registers of one processor.
#[cfg(target_arch = "x86_64")]
mod struck;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn killed_and_refused_at_its_calls() {
    println!("SKIPPED: striking the program at its calls: the tracer is written for x86-64");
}
