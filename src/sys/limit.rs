//! What the kernel lets this process have.

use rustix::process::{Resource, getrlimit};

/// How many descriptors may be open at once; `None` where there is no limit.
pub fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
