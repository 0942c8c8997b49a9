//! A process that is told by a signal.

use super::check::Check;
use crate::core::event::Deployment;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::spec::{HookSpec, SignalTarget};
use crate::ports::{Hook, Reply};
use crate::sys::clock::Clock;
use crate::sys::signal::{CannotSignal, SignalName, signal};

/// Sends one signal to the process of a pid file, or to all masters of a program's name.
pub struct SignalHook {
    signal: SignalName,
    target: SignalTarget,
    check: Check,
}

impl SignalHook {
    /// Code: `signal-unknown`.
    pub fn new(spec: &HookSpec, signal: &str, target: &SignalTarget, clock: &Clock) -> Result<Self, Failure> {
        let signal = SignalName::parse(signal).ok_or_else(|| {
            Failure::refused(
                Fault::Config,
                "signal-unknown",
                format!("{} is no signal to reload by; HUP, USR1 and USR2 are", plain(signal, 40)),
            )
        })?;
        Ok(Self { signal, target: target.clone(), check: Check::of(spec, clock) })
    }
}

impl Hook for SignalHook {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(self.check.run())
    }

    /// Codes: `no-process`, `pid-file`, `signal-refused`.
    fn call<'a>(&'a self, _deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        let (name, target) = (self.signal, self.target.clone());
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || signal(&target, name)).await {
                Ok(sent) => sent.map(|_| ()).map_err(|error| unsent(&error)),
                Err(error) => Err(Failure::broken("hook-failed", error.to_string())),
            }
        })
    }
}

fn unsent(error: &CannotSignal) -> Failure {
    let (code, advice) = match error {
        CannotSignal::NotRunning(_) => {
            ("no-process", "is the server running, and in a process namespace that this one shares?")
        }
        CannotSignal::PidFile { .. } => ("pid-file", "is the server running, and is that its pid file?"),
        CannotSignal::Refused { .. } => {
            ("signal-refused", "it belongs to another user; reload by a command or as that user")
        }
    };
    Failure::transient(Fault::Host, code, format!("{error}; {advice}"))
}
