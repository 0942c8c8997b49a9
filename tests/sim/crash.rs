//! Where an agent can die. Every call to the outside passes two points, before and after its
//! effect; each call of the store has two more, and the disk has points of its own, its steps.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use nolapse::core::time::{Span, Timestamp};
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;

/// The points of one node. Passing the chosen one never returns: the world takes the agent away.
pub struct Points {
    disk: Disk,
    truth: Clock,
    calls: Track,
    store: Track,
    dead: AtomicBool,
    /// A host that sleeps makes no call before this, in milliseconds of true time.
    frozen_until: AtomicI64,
    stir: Arc<Notify>,
}

/// Points passed, and the one to die at.
struct Track {
    passed: AtomicU64,
    chosen: Mutex<Option<u64>>,
}

impl Track {
    const fn new() -> Self {
        Self { passed: AtomicU64::new(0), chosen: Mutex::new(None) }
    }

    fn pass(&self) -> bool {
        Some(self.passed.fetch_add(1, Ordering::SeqCst)) == *self.chosen.lock().unwrap()
    }

    fn choose(&self, n: Option<u64>) {
        *self.chosen.lock().unwrap() = n.map(|n| self.passed.load(Ordering::SeqCst) + n);
    }
}

impl Points {
    /// `stir` is told when the agent died.
    pub fn new(disk: Disk, truth: Clock, stir: Arc<Notify>) -> Self {
        Self {
            disk,
            truth,
            calls: Track::new(),
            store: Track::new(),
            dead: AtomicBool::new(false),
            frozen_until: AtomicI64::new(i64::MIN),
            stir,
        }
    }

    /// The agent dies at the `n`th point from now, counted from 0.
    pub fn die_at(&self, n: u64) {
        self.calls.choose(Some(n));
    }

    /// As [`Points::die_at`], counted in calls of the store.
    pub fn die_at_store(&self, n: u64) {
        self.store.choose(Some(n));
    }

    pub fn passed(&self) -> u64 {
        self.calls.passed.load(Ordering::SeqCst)
    }

    /// A host whose power is off makes no calls either.
    pub fn dark(&self) -> bool {
        self.disk.stat(Path::new("/")).is_err()
    }

    pub async fn pass(&self) {
        let chosen = self.calls.pass();
        self.go(chosen).await;
    }

    pub async fn pass_store(&self) {
        let chosen = self.store.pass();
        self.go(chosen).await;
    }

    async fn go(&self, chosen: bool) {
        while self.frozen() {
            let until = Timestamp::from_millis(self.frozen_until.load(Ordering::SeqCst));
            self.truth.sleep_until(until).await;
        }
        if chosen || self.dark() {
            self.dead.store(true, Ordering::SeqCst);
            self.stir.notify_one();
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// The host sleeps for `span` while others do not.
    pub fn freeze(&self, span: Span) {
        // Whoever is put to sleep while asleep wakes when the longer sleep ends.
        self.frozen_until.fetch_max((self.truth.now() + span).millis(), Ordering::SeqCst);
    }

    pub fn frozen(&self) -> bool {
        self.truth.now().millis() < self.frozen_until.load(Ordering::SeqCst)
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst) || self.dark()
    }

    /// What was chosen and not reached does not happen.
    pub fn spare(&self) {
        self.calls.choose(None);
        self.store.choose(None);
    }

    pub fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
        self.spare();
    }
}
