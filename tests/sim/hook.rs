//! The hook that reloads the server.

use std::sync::{Arc, Mutex};

use nolapse::core::event::Deployment;
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::record::GenerationNumber;
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::{Hook, Reply};
use nolapse::sys::clock::Clock;

use crate::crash::Points;
use crate::script::{Script, Trouble};
use crate::server::Server;

/// How long a hook may take before its adapter ends it.
const TIMEOUT: Span = Span::secs(60);
/// How long a reload takes.
const TAKES: Span = Span::from_millis(80);

pub struct Reload {
    pub server: Arc<Server>,
    pub script: Script,
    pub points: Arc<Points>,
    pub truth: Clock,
    pub told: Mutex<Vec<Telling>>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Telling {
    pub at: Timestamp,
    pub generation: GenerationNumber,
    pub well: bool,
}

impl Reload {
    /// Calls that ended well about this generation.
    pub fn succeeded(&self, generation: GenerationNumber) -> usize {
        let told = self.told.lock().unwrap();
        told.iter().filter(|telling| telling.well && telling.generation == generation).count()
    }

    pub fn calls(&self) -> Vec<Telling> {
        self.told.lock().unwrap().clone()
    }

    async fn reload(&self) -> Result<(), Failure> {
        if self.script.strikes(&Trouble::HookHangs) {
            self.truth.sleep(TIMEOUT).await;
            return Err(failed("it was ended after 60 s"));
        }
        self.truth.sleep(TAKES).await;
        if self.script.strikes(&Trouble::HookFails) {
            return Err(failed("exit status 1"));
        }
        if self.script.strikes(&Trouble::ReloadLies) {
            return Ok(());
        }
        self.server.reload(self.truth.now()).map_err(|why| failed(&why))
    }
}

impl Hook for Reload {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(async move {
            self.points.pass().await;
            let on_disk = match self.server.pair() {
                Ok(leaf) => leaf,
                Err(why) => return Some(Err(refused(&why))),
            };
            let is_new = self.server.serves().is_none_or(|leaf| leaf.fingerprint != on_disk.fingerprint);
            if is_new && self.script.strikes(&Trouble::CheckRefusesNew) {
                return Some(Err(refused("configuration test failed")));
            }
            Some(Ok(()))
        })
    }

    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.points.pass().await;
            let answer = self.reload().await;
            for deployed in &deployment.lineages {
                self.told.lock().unwrap().push(Telling {
                    at: self.truth.now(),
                    generation: deployed.generation,
                    well: answer.is_ok(),
                });
            }
            self.points.pass().await;
            answer
        })
    }
}

fn failed(why: &str) -> Failure {
    Failure::transient(Fault::Host, "hook-failed", format!("the reload failed: {why}"))
}

/// As the adapter says it of a check that ran to its end and said no.
fn refused(why: &str) -> Failure {
    Failure::transient(Fault::Host, "check-failed", why)
}
