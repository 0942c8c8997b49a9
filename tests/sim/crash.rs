//! Where an agent can die. Every call to the outside passes two points, before and after its
//! effect; the disk has points of its own, its steps.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use nolapse::sys::disk::Disk;

/// The points of one node. Passing the chosen one never returns: the world takes the agent away.
pub struct Points {
    disk: Disk,
    passed: AtomicU64,
    chosen: AtomicU64,
    dead: AtomicBool,
    pub died: Notify,
}

impl Points {
    pub fn new(disk: Disk) -> Self {
        Self {
            disk,
            passed: AtomicU64::new(0),
            chosen: AtomicU64::new(u64::MAX),
            dead: AtomicBool::new(false),
            died: Notify::new(),
        }
    }

    /// The agent dies at the `n`th point from now, counted from 0.
    pub fn die_at(&self, n: u64) {
        self.chosen.store(self.passed() + n, Ordering::SeqCst);
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// A host whose power is off makes no calls either.
    pub fn dark(&self) -> bool {
        self.disk.stat(Path::new("/")).is_err()
    }

    pub async fn pass(&self) {
        let number = self.passed.fetch_add(1, Ordering::SeqCst);
        if number == self.chosen.load(Ordering::SeqCst) || self.dark() {
            self.dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst) || self.dark()
    }

    pub fn revive(&self) {
        self.dead.store(false, Ordering::SeqCst);
        self.chosen.store(u64::MAX, Ordering::SeqCst);
    }
}
