//! Crashes at every point: plans cut short, power lost, and the real program killed or refused at
//! each of its calls. What readers see is one whole generation or, before the first, nothing
//! (F02, F03, F04, F05).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/ports.rs"]
#[allow(dead_code)]
mod ports;
#[path = "../support/served.rs"]
#[allow(dead_code)]
mod served;

mod call;
mod campaign;
mod eyes;
mod faults;
mod kills;
mod power;
mod prefixes;
mod readers;
mod scene;
mod site;
mod story;
mod tracer;
