//! Crashes at every point: plans cut short, power lost, and the real program killed or refused at
//! each of its calls. What readers see is one whole generation or, before the first, nothing
//! (F02, F03, F04, F05).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/eyes.rs"]
mod eyes;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/ports.rs"]
#[allow(dead_code)]
mod ports;
#[path = "../support/scratch.rs"]
mod scratch;
#[path = "../support/served.rs"]
#[allow(dead_code)]
mod served;

mod call;
mod campaign;
mod faults;
mod kills;
mod power;
mod prefixes;
mod readers;
mod scene;
mod story;
mod tracer;
