//! Telling programs and services about a new generation. What is told is owed: the agent calls
//! again until a call succeeds.

mod check;
pub mod exec;
pub mod haproxy;
pub mod http;
pub mod parts;
mod run;
pub mod signal;

use std::sync::Arc;

pub use exec::ExecHook;
pub use haproxy::HaproxyHook;
pub use http::HttpHook;
pub use parts::PartsHook;
pub use signal::SignalHook;

use crate::core::failure::Failure;
use crate::core::spec::{Call, HookSpec};
use crate::ports::Hook;
use crate::sys::clock::Clock;

/// The hook that `spec` describes.
///
/// Codes: `signal-unknown`, `hook-url`. That a program is missing shows when it is called.
pub fn build(spec: &HookSpec, clock: &Clock) -> Result<Arc<dyn Hook>, Failure> {
    Ok(match &spec.call {
        Call::Run(argv) => Arc::new(ExecHook::new(spec, argv, clock)),
        Call::Parts(dir) => Arc::new(PartsHook::new(spec, dir, clock)),
        Call::Signal { signal, target } => Arc::new(SignalHook::new(spec, signal, target, clock)?),
        Call::Http(request) => Arc::new(HttpHook::new(spec, request, clock)?),
        Call::Haproxy(socket) => Arc::new(HaproxyHook::new(spec, socket, clock)),
    })
}
