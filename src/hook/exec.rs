//! A program that is told by running it.
//!
//! It gets the [`Deployment`] as JSON on standard input, and this environment, nothing else:
//!
//! | Variable | Holds |
//! |---|---|
//! | `PATH` | [`Program::PATH`] |
//! | `NOLAPSE_EVENT` | `deploy` (`check` for a check command) |
//! | `NOLAPSE_HOOK` | the name of the hook or service |
//! | `NOLAPSE_LINEAGES` | the certificates' names, one a line |
//! | `NOLAPSE_GENERATION` | the number of each one's new generation, one a line |
//! | `NOLAPSE_DIRECTORY` | the directory of each with `fullchain.pem` and the others, one a line |
//! | `NOLAPSE_NAMES` | all names in them, separated by blanks |
//! | `RENEWED_LINEAGE` | the same as `NOLAPSE_DIRECTORY`, as certbot calls it |
//! | `RENEWED_DOMAINS` | the same as `NOLAPSE_NAMES`, as certbot calls it |
//!
//! A list longer than [`LIST_MAX`] is left out: the kernel would refuse to start the program. What
//! is on standard input is always complete.

use super::check::Check;
use super::run::run;
use crate::core::event::Deployment;
use crate::core::failure::Failure;
use crate::core::spec::HookSpec;
use crate::core::time::Span;
use crate::ports::{Hook, Reply};
use crate::sys::clock::Clock;
use crate::sys::process::Program;

/// Longest list in one variable, in bytes; Linux takes 128 KiB.
pub const LIST_MAX: usize = 64 * 1024;

/// Runs a program for each deployment.
pub struct ExecHook {
    argv: Vec<String>,
    user: Option<String>,
    timeout: Span,
    check: Check,
    clock: Clock,
}

impl ExecHook {
    pub fn new(spec: &HookSpec, argv: &[String], clock: &Clock) -> Self {
        Self {
            argv: argv.to_vec(),
            user: spec.user.clone(),
            timeout: spec.timeout,
            check: Check::of(spec, clock),
            clock: clock.clone(),
        }
    }
}

impl Hook for ExecHook {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(self.check.run())
    }

    /// Codes: `hook-failed`, `hook-killed`, `hook-timeout`, `hook-missing`.
    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let program = Program {
                argv: self.argv.clone(),
                env: environment(deployment),
                stdin: json(deployment)?,
                timeout: self.timeout,
                user: self.user.clone(),
            };
            run("hook", &program, &self.clock).await
        })
    }
}

/// One line of JSON, with the line feed.
pub(super) fn json(deployment: &Deployment) -> Result<Vec<u8>, Failure> {
    let mut text =
        serde_json::to_vec(deployment).map_err(|error| Failure::broken("hook-event", error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

pub(super) fn environment(deployment: &Deployment) -> Vec<(String, String)> {
    let lineages = &deployment.lineages;
    let lines = |values: Vec<String>| values.join("\n");
    let names: Vec<_> = lineages.iter().flat_map(|one| one.names.iter().cloned()).collect();
    let names = names.join(" ");
    let directories = lines(lineages.iter().map(|one| one.directory.clone()).collect());
    [
        ("PATH", Program::PATH.to_owned()),
        ("NOLAPSE_EVENT", deployment.event.word().to_owned()),
        ("NOLAPSE_HOOK", deployment.hook.to_string()),
        ("NOLAPSE_LINEAGES", lines(lineages.iter().map(|one| one.lineage.to_string()).collect())),
        ("NOLAPSE_GENERATION", lines(lineages.iter().map(|one| one.generation.to_string()).collect())),
        ("NOLAPSE_DIRECTORY", directories.clone()),
        ("NOLAPSE_NAMES", names.clone()),
        ("RENEWED_LINEAGE", directories),
        ("RENEWED_DOMAINS", names),
    ]
    .into_iter()
    .filter(|(_, value)| value.len() <= LIST_MAX)
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
