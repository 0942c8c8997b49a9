//! Orders under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use instant_acme::Order;

/// An order that is asked about by one task at a time.
pub(super) type Handle = Arc<tokio::sync::Mutex<Order>>;

/// Orders under way, so that what was read of them is not asked for again.
#[derive(Default)]
pub(super) struct Orders {
    held: BTreeMap<String, (u64, Handle)>,
    uses: u64,
}

impl Orders {
    /// One that is pushed out costs one request more when it is asked about.
    const MOST: usize = 512;

    pub(super) fn find(&mut self, url: &str) -> Option<Handle> {
        self.uses += 1;
        let (used, handle) = self.held.get_mut(url)?;
        *used = self.uses;
        Some(handle.clone())
    }

    pub(super) fn keep(&mut self, url: String, order: Order) -> Handle {
        self.uses += 1;
        let handle = Arc::new(tokio::sync::Mutex::new(order));
        self.held.insert(url, (self.uses, handle.clone()));
        if self.held.len() > Self::MOST {
            let oldest = self.held.iter().min_by_key(|(_, (used, _))| *used).map(|(url, _)| url.clone());
            if let Some(url) = oldest {
                self.held.remove(&url);
            }
        }
        handle
    }

    pub(super) fn forget(&mut self, url: &str) {
        self.held.remove(url);
    }

    pub(super) fn forget_all(&mut self) {
        self.held.clear();
    }
}
