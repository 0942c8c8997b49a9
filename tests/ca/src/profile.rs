//! Certificate profiles (draft-ietf-acme-profiles): named products with a lifetime of their own.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) description: String,
    pub(crate) lifetime: Duration,
}
