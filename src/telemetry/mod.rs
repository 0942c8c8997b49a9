//! What the world is told: log lines, metrics, health answers and the service manager. All of
//! them are sinks; none can hold the agent up or make it fail.

pub mod health;
pub mod line;
pub mod log;
mod log_sink;
pub mod metrics;
pub mod pulse;
pub mod quota;
pub mod serve;
pub mod supervisor;
pub mod textfile;

use std::sync::Arc;

use crate::core::census::Census;
use crate::core::event::Event;
use crate::core::time::{Span, Timestamp};
use crate::ports::Sink;

/// The wall clock, handed in, so that tests bring their own.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Several sinks as one, told in order.
#[derive(Default)]
pub struct Sinks(pub Vec<Arc<dyn Sink>>);

impl Sink for Sinks {
    fn take(&self, event: &Event) {
        self.0.iter().for_each(|sink| sink.take(event));
    }

    fn census(&self, census: &Arc<Census>) {
        self.0.iter().for_each(|sink| sink.census(census));
    }

    fn beat(&self, span: Span) {
        self.0.iter().for_each(|sink| sink.beat(span));
    }
}
