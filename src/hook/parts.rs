//! A directory of programs, as certbot's `renewal-hooks/deploy` is one.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::check::Check;
use super::exec::{environment, json};
use super::run::run;
use crate::core::event::Deployment;
use crate::core::failure::{Failure, Fault};
use crate::core::spec::HookSpec;
use crate::core::time::Span;
use crate::ports::{Hook, Reply};
use crate::sys::clock::Clock;
use crate::sys::process::Program;

/// Programs of one directory; more are a mistake.
const PARTS_MAX: usize = 256;

/// Runs every program of a directory for each deployment.
pub struct PartsHook {
    dir: PathBuf,
    user: Option<String>,
    timeout: Span,
    check: Check,
    clock: Clock,
}

impl PartsHook {
    pub fn new(spec: &HookSpec, dir: &str, clock: &Clock) -> Self {
        Self {
            dir: dir.into(),
            user: spec.user.clone(),
            timeout: spec.timeout,
            check: Check::of(spec, clock),
            clock: clock.clone(),
        }
    }
}

impl Hook for PartsHook {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(self.check.run())
    }

    /// All are run, one after the other, also after one that failed; each has the whole timeout.
    /// The first failure is the hook's, and all are run again later.
    ///
    /// Codes: those of a program, and `hook-missing` for the directory.
    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut first = Ok(());
            for part in parts(&self.dir)? {
                let program = Program {
                    argv: vec![part.display().to_string()],
                    env: environment(deployment),
                    stdin: json(deployment)?,
                    timeout: self.timeout,
                    user: self.user.clone(),
                };
                let done = run("hook", &program, &self.clock).await;
                first = first.and(done);
            }
            first
        })
    }
}

/// The programs of `dir` by name: files that may be executed, without hidden ones and an editor's
/// leavings.
fn parts(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |words: String| Failure::refused(Fault::Config, "hook-missing", words);
    let list = |dir: &Path| -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
            // A link that leads nowhere, or a file that is gone by now.
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let runs = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
            if runs && !name.starts_with('.') && !name.ends_with('~') {
                found.push(path);
            }
        }
        if found.len() > PARTS_MAX {
            return Err(io::Error::other(format!("there are more than {PARTS_MAX}")));
        }
        found.sort();
        Ok(found)
    };
    list(dir).map_err(|error| {
        wrong(format!("the programs in {} can't be run: {error}; mend the directory", dir.display()))
    })
}
