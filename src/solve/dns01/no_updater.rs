//! What stands in for the vendors' interfaces in a build without them.

use super::credentials::{Credentials, bad};
use super::hosted::Change;
use super::refusal::Refusal;
use crate::core::failure::Failure;
use crate::core::vendor::Vendor;

/// There is none.
pub(super) enum Updater {}

impl Updater {
    /// Code: `dns-credentials`.
    pub(super) fn new(vendor: &Vendor, _credentials: &Credentials) -> Result<Self, Failure> {
        Err(bad(&format!(
            "this nolapse was built without the interface of {}; take a build with the feature `dns-providers`, \
             or let `exec` or `webhook` do it",
            vendor.name
        )))
    }

    #[allow(clippy::unused_async)]
    pub(super) async fn make(&self, _change: &Change) -> Result<(), Refusal> {
        match *self {}
    }
}
