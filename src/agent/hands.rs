//! How many lineages are worked on side by side: whoever only waits for others, as for a shared
//! reload, lends out its place.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// Lineages worked on side by side. Few suffice to keep a CA busy, and each holds a key and a
/// chain in memory.
pub const SIDE_BY_SIDE: usize = 8;
/// Lineages under way at once, those that wait included: what one reload is shared by at most.
const UNDER_WAY_MOST: usize = 1024;

/// The places of one agent.
pub struct Hands {
    places: Semaphore,
    resting: AtomicUsize,
    moved: Notify,
}

/// One place, held until dropped.
pub struct Hand<'a> {
    hands: &'a Hands,
    place: Option<SemaphorePermit<'a>>,
}

impl Default for Hands {
    fn default() -> Self {
        Self { places: Semaphore::new(SIDE_BY_SIDE), resting: AtomicUsize::new(0), moved: Notify::new() }
    }
}

impl Hands {
    /// Whether one more may be begun with so many `under_way`.
    pub fn free(&self, under_way: usize) -> bool {
        let working = under_way.saturating_sub(self.resting.load(Ordering::Relaxed));
        working < SIDE_BY_SIDE && under_way < UNDER_WAY_MOST
    }

    /// Ends when somebody lends out a place.
    pub async fn freed(&self) {
        self.moved.notified().await;
    }

    pub async fn take(&self) -> Hand<'_> {
        // Only closing it could fail, and nobody does.
        Hand { hands: self, place: self.places.acquire().await.ok() }
    }
}

impl Hand<'_> {
    /// Lends out the place while `wait` lasts.
    pub async fn rest<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.place = None;
        let resting = Resting::new(self.hands);
        let answer = wait.await;
        self.place = self.hands.places.acquire().await.ok();
        drop(resting);
        answer
    }
}

/// Counts one that waits, also where its task is ended meanwhile.
struct Resting<'a>(&'a Hands);

impl<'a> Resting<'a> {
    fn new(hands: &'a Hands) -> Self {
        hands.resting.fetch_add(1, Ordering::Relaxed);
        hands.moved.notify_one();
        Self(hands)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.resting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_that_is_lent_out_is_taken_by_another() {
        let hands = Hands::default();
        let mut held = Vec::new();
        for _ in 0..SIDE_BY_SIDE {
            held.push(hands.take().await);
        }
        assert!(!hands.free(SIDE_BY_SIDE));
        let mut first = held.remove(0);
        first
            .rest(async {
                assert!(hands.free(SIDE_BY_SIDE));
                hands.freed().await;
                drop(hands.take().await);
            })
            .await;
        assert!(!hands.free(SIDE_BY_SIDE), "it has its place again");
        assert!(!hands.free(UNDER_WAY_MOST));
    }

    #[tokio::test]
    async fn one_that_was_ended_while_it_waited_counts_no_more() {
        let hands = Hands::default();
        let mut hand = hands.take().await;
        tokio::select! {
            biased;
            () = hand.rest(std::future::pending()) => {}
            () = hands.freed() => {}
        }
        assert!(!hands.free(SIDE_BY_SIDE));
    }
}
