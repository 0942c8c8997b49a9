//! The real program issues, renews, installs and records, and at one of its calls it is killed or
//! the call is refused. Then it is run once more, as a timer would.

#[path = "../../support/eyes.rs"]
mod eyes;
#[path = "../../support/host.rs"]
mod host;
#[path = "../../support/ports.rs"]
#[allow(dead_code)]
mod ports;
#[path = "../../support/served.rs"]
#[allow(dead_code)]
mod served;

mod call;
mod campaign;
mod faults;
mod kills;
mod scene;
mod sight;
mod tracer;
