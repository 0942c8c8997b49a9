//! Nonces in hand. Every answer of a CA brings one (RFC 8555 §6.5), so a CA is asked for one
//! only when none is left.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::core::time::{Span, Timestamp};

/// Nonces not used yet, the newest on top: the newest is the likeliest to be good still.
#[derive(Default)]
pub(super) struct Nonces(Mutex<VecDeque<(Timestamp, String)>>);

impl Nonces {
    /// As many as requests can be under way; more would only grow old.
    const MOST: usize = 64;
    /// An older nonce costs a round trip more often than it saves one.
    const AGE_MOST: Span = Span::minutes(10);
    /// Longest nonce taken, in octets.
    const LENGTH_MOST: usize = 512;

    /// RFC 8555 §6.5.1: a nonce that isn't base64url is ignored.
    pub(super) fn well_formed(text: &str) -> bool {
        !text.is_empty()
            && text.len() <= Self::LENGTH_MOST
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }

    pub(super) fn put(&self, nonce: &str, now: Timestamp) {
        if !Self::well_formed(nonce) {
            return;
        }
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push_back((now, nonce.to_owned()));
        while pool.len() > Self::MOST {
            pool.pop_front();
        }
    }

    pub(super) fn take(&self, now: Timestamp) -> Option<String> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, nonce) = pool.pop_back()?;
        // A clock that was set back makes ages negative: such a nonce is no older for it.
        if now.since(at) <= Self::AGE_MOST {
            return Some(nonce);
        }
        // The newest is too old, so all of them are.
        pool.clear();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn the_newest_goes_first_and_each_once() {
        let nonces = Nonces::default();
        nonces.put("one", NOON);
        nonces.put("two", NOON + Span::secs(1));
        assert_eq!(nonces.take(NOON).as_deref(), Some("two"));
        assert_eq!(nonces.take(NOON).as_deref(), Some("one"));
        assert_eq!(nonces.take(NOON), None);
    }

    #[test]
    fn what_is_old_malformed_or_too_much_is_dropped() {
        let nonces = Nonces::default();
        nonces.put("old", NOON);
        assert_eq!(nonces.take(NOON + Nonces::AGE_MOST + Span::secs(1)), None);
        for bad in ["", "a b", "a\r\nb", "a=", &"x".repeat(Nonces::LENGTH_MOST + 1)] {
            nonces.put(bad, NOON);
        }
        assert_eq!(nonces.take(NOON), None);
        for n in 0..10 * Nonces::MOST {
            nonces.put(&n.to_string(), NOON);
        }
        assert_eq!(std::iter::from_fn(|| nonces.take(NOON)).count(), Nonces::MOST);
    }
}
