//! Noticing that the configuration changed on disk.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::core::failure::{Failure, Fault};
use crate::core::time::Span;
use crate::wire::load::Loaded;

/// Tells when a file of the configuration was written, where `watch-config` asks for it.
pub struct ConfigWatch(Option<Eye>);

struct Eye {
    watch: tokio::io::unix::AsyncFd<OwnedFd>,
    /// May come into being later, as by a first `nolapse add`.
    fragments: PathBuf,
}

/// A file that is there as a whole, or there no longer.
const EVENTS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE);

impl ConfigWatch {
    /// Editors and Kubernetes replace files by rename, so directories are watched.
    pub fn new(loaded: &Loaded) -> Result<Self, Failure> {
        if !loaded.settings.watch_config {
            return Ok(Self(None));
        }
        let unable = |error: std::io::Error| {
            Failure::refused(
                Fault::Host,
                "no-watch",
                format!(
                    "the configuration can't be watched: {error}; set watch-config = false and reload by signal"
                ),
            )
        };
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|error| unable(error.into()))?;
        let dir = loaded.file.parent().unwrap_or(Path::new("."));
        inotify::add_watch(&watch, dir, EVENTS | WatchFlags::CREATE).map_err(|error| unable(error.into()))?;
        let fragments = dir.join("conf.d");
        match inotify::add_watch(&watch, &fragments, EVENTS) {
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(unable(error.into())),
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd is one descriptor until it is dropped"
        )]
        tokio::io::unix::AsyncFd::new(watch).map(|watch| Self(Some(Eye { watch, fragments }))).map_err(unable)
    }

    /// Resolves after a change, once it has been quiet for `CONFIG_QUIET`.
    pub async fn changed(&mut self) {
        let Some(eye) = &mut self.0 else { return std::future::pending().await };
        let Ok(mut ready) = eye.watch.readable_mut().await else { return std::future::pending().await };
        // An editor writes several times; what counts is the end of it.
        tokio::time::sleep(CONFIG_QUIET.to_std()).await;
        let mut buffer = [const { std::mem::MaybeUninit::<u8>::uninit() }; 4096];
        let mut events = inotify::Reader::new(ready.get_inner(), &mut buffer);
        // Which file it was does not matter: all are read again.
        while events.next().is_ok() {}
        ready.clear_ready();
        // Watched twice is watched once. Where it is not there still, or can't be watched, the
        // directory above tells of its next change.
        let _ = inotify::add_watch(eye.watch.get_ref(), &eye.fragments, EVENTS);
    }
}

/// How long a changed configuration must be left alone before it is read.
const CONFIG_QUIET: Span = Span::from_millis(300);
