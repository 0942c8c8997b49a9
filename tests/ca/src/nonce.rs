//! Anti-replay nonces (RFC 8555 §6.5): each is good for one request.

use std::collections::{BTreeSet, VecDeque};

use crate::dice::random_text;

/// Enough for any test's parallelism; the oldest are forgotten first, as real CAs do.
const REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Nonces {
    fresh: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Nonces {
    pub(crate) fn issue(&mut self) -> String {
        let nonce = random_text::<16>();
        self.fresh.insert(nonce.clone());
        self.order.push_back(nonce.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.fresh.remove(&oldest);
        }
        nonce
    }

    /// True the first time a nonce of ours is shown.
    pub(crate) fn spend(&mut self, nonce: &str) -> bool {
        self.fresh.remove(nonce)
    }
}
