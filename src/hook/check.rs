//! The check command that comes before a call: `nginx -t` and the like.

use super::run::run;
use crate::core::failure::Failure;
use crate::core::name::HookId;
use crate::core::spec::HookSpec;
use crate::core::time::Span;
use crate::sys::clock::Clock;
use crate::sys::process::Program;

/// A check, if there is one. It gets the environment of [`super::exec`] without facts about
/// certificates, `NOLAPSE_EVENT=check`, and nothing on standard input.
pub struct Check {
    hook: HookId,
    argv: Option<Vec<String>>,
    user: Option<String>,
    timeout: Span,
    clock: Clock,
}

impl Check {
    pub fn of(spec: &HookSpec, clock: &Clock) -> Self {
        Self {
            hook: spec.id.clone(),
            argv: spec.check.clone(),
            user: spec.user.clone(),
            timeout: spec.timeout,
            clock: clock.clone(),
        }
    }

    /// Codes: `check-failed`, `check-killed`, `check-timeout`, `check-missing`.
    pub async fn run(&self) -> Option<Result<(), Failure>> {
        let program = Program {
            argv: self.argv.clone()?,
            env: vec![
                ("PATH".into(), Program::PATH.into()),
                ("NOLAPSE_EVENT".into(), "check".into()),
                ("NOLAPSE_HOOK".into(), self.hook.to_string()),
            ],
            stdin: Vec::new(),
            timeout: self.timeout,
            user: self.user.clone(),
        };
        Some(run("check", &program, &self.clock).await)
    }
}
