//! The hook that reloads the server.

use std::sync::{Arc, Mutex};

use nolapse::core::event::Deployment;
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::name::LineageId;
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
    pub lineage: LineageId,
    pub generation: GenerationNumber,
    pub well: bool,
}

impl Reload {
    /// Calls that ended well about this generation.
    pub fn succeeded(&self, lineage: &LineageId, generation: GenerationNumber) -> usize {
        let about = |told: &Telling| told.generation == generation && told.lineage == *lineage;
        self.told.lock().unwrap().iter().filter(|telling| telling.well && about(telling)).count()
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
        self.server.reload().map_err(|why| failed(&why))
    }
}

impl Hook for Reload {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(async move {
            self.points.pass().await;
            let new = match self.server.new_pairs() {
                Ok(new) => new,
                Err(why) => return Some(Err(refused(&why))),
            };
            if !new.is_empty() && self.script.strikes(&Trouble::CheckRefusesNew) {
                return Some(Err(refused("configuration test failed")));
            }
            for name in new {
                if self.script.strikes(&Trouble::PairRefused(name.clone())) {
                    return Some(Err(refused(&format!("the certificate of {name} is not taken"))));
                }
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
                    lineage: deployed.lineage.clone(),
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
