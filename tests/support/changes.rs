//! Waiting for a file to change without looking all the time.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Longest wait for the next change.
const QUIET_MOST: Duration = Duration::from_secs(30);

/// Tells of each file that gets its name in a directory, at once.
pub struct Changes(std::fs::File);

impl Changes {
    /// Makes the directory if need be.
    pub fn of(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let watch = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, dir, WatchFlags::MOVED_TO | WatchFlags::MODIFY).unwrap();
        Self(watch.into())
    }

    /// Asks after each change, until the answer is yes or nothing changes any more.
    pub fn until(mut self, mut enough: impl FnMut() -> bool) {
        let mut events = [0; 4096];
        let deadline = rustix::time::Timespec { tv_sec: QUIET_MOST.as_secs().cast_signed(), tv_nsec: 0 };
        loop {
            let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
            if rustix::event::poll(&mut ready, Some(&deadline)).unwrap() == 0 {
                return;
            }
            let _ = self.0.read(&mut events).unwrap();
            if enough() {
                return;
            }
        }
    }
}
