//! A handshake with the server.

use std::sync::Arc;

use nolapse::core::endpoint::Endpoint;
use nolapse::core::leaf::Leaf;
use nolapse::core::silence::Silence;
use nolapse::core::time::Span;
use nolapse::ports::{Probe, Reply, Sighting};
use nolapse::sys::clock::Clock;

use crate::crash::Points;
use crate::script::{Script, Trouble};
use crate::server::Server;

/// How long a handshake takes.
const TAKES: Span = Span::from_millis(3);

pub struct Handshake {
    pub server: Arc<Server>,
    pub script: Script,
    pub points: Arc<Points>,
    pub truth: Clock,
}

impl Probe for Handshake {
    fn look<'a>(&'a self, endpoint: &'a Endpoint, _: Span) -> Reply<'a, Vec<Sighting>> {
        Box::pin(async move {
            self.points.pass().await;
            self.truth.sleep(TAKES).await;
            vec![match self.server.answers(endpoint.sni.as_ref()) {
                Some(leaf) if !self.script.strikes(&Trouble::ServerDown) => Sighting::of(Leaf::clone(&leaf)),
                _ => Sighting::nothing(Silence::Closed, "connection refused"),
            }]
        })
    }
}
