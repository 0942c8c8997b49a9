//! A value that many tasks want and one makes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::core::failure::Failure;

/// Made on first use and again when it is no longer fresh. Who waited while somebody else failed
/// to make it shares that failure: two hundred orders ask a dead CA once, not in a queue.
pub(super) struct Shared<T> {
    tries: AtomicU64,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    value: Option<Arc<T>>,
    failure: Option<Failure>,
}

impl<T> Shared<T> {
    pub(super) fn new() -> Self {
        Self { tries: AtomicU64::new(0), kept: Mutex::new(Kept { value: None, failure: None }) }
    }

    /// The value if it is `fresh`, else what `make` makes.
    pub(super) async fn obtain(
        &self,
        fresh: impl Fn(&T) -> bool + Send,
        make: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<Arc<T>, Failure> {
        let before = self.tries.load(Ordering::Acquire);
        let mut kept = self.kept.lock().await;
        if let Some(value) = &kept.value
            && fresh(value)
        {
            return Ok(value.clone());
        }
        if self.tries.load(Ordering::Acquire) != before
            && let Some(failure) = &kept.failure
        {
            return Err(failure.clone());
        }
        let made = make.await.map(Arc::new);
        self.tries.fetch_add(1, Ordering::AcqRel);
        kept.failure = made.as_ref().err().cloned();
        if let Ok(value) = &made {
            kept.value = Some(value.clone());
        }
        made
    }

    /// The value as it is, fresh or not.
    pub(super) async fn peek(&self) -> Option<Arc<T>> {
        self.kept.lock().await.value.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::core::failure::Fault;

    #[tokio::test]
    async fn who_waits_shares_a_failure_and_who_comes_later_tries_again() {
        let shared = Arc::new(Shared::<u8>::new());
        let made = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (shared, made) = (shared.clone(), made.clone());
            async move {
                let make = async {
                    made.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Err(Failure::transient(Fault::Ca, "ca-down", "down"))
                };
                shared.obtain(|_| true, make).await
            }
        };
        let waiting: Vec<_> = (0..50).map(|_| tokio::spawn(ask())).collect();
        for answer in waiting {
            assert_eq!(answer.await.unwrap().unwrap_err().code, "ca-down");
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(ask().await.is_err());
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_fresh_value_is_made_once() {
        let shared = Shared::new();
        assert_eq!(*shared.obtain(|_| true, async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(*shared.obtain(|_| true, async { Ok(2) }).await.unwrap(), 1);
        assert_eq!(*shared.obtain(|value| *value > 1, async { Ok(3) }).await.unwrap(), 3);
        assert_eq!(*shared.peek().await.unwrap(), 3);
    }
}
