//! The ways to people that a configuration asks for.

use std::sync::Arc;

use crate::agent::{Rhythm, Ways, Woes};
use crate::config::AlertSettings;
use crate::core::event::Event;
use crate::ports::{Secrets, Sink};
use crate::sys::clock::Clock;
use crate::telemetry::Telemetry;

/// Built, and not yet used: what is wrong with a channel shows when a message is sent.
pub fn ways(settings: &AlertSettings, clock: &Clock) -> Ways {
    let secrets: Secrets = Arc::new(super::scene::secret);
    Ways {
        channels: settings
            .channels
            .iter()
            .map(|spec| (spec.clone(), crate::alert::build(spec, &secrets, clock)))
            .collect(),
        heart: settings.heartbeat.as_ref().map(|spec| Rhythm {
            heart: crate::alert::heart(spec, &secrets, clock),
            every: spec.every,
            timeout: spec.timeout,
        }),
    }
}

/// The name of this host, for people who have many.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Events go to both.
pub(super) struct Sinks(pub Arc<Telemetry>, pub Arc<Woes>);

impl Sink for Sinks {
    fn take(&self, event: &Event) {
        self.0.take(event);
        self.1.take(event);
    }
}
