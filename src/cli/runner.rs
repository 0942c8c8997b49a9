//! Who runs the agent here: a daemon that holds its lock, a timer and when it last fired, or nobody.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::host::UNIT_DIRS;
use crate::cli::publish::STATUS_FILE;
use crate::cli::skew;
use crate::config::AgentSettings;
use crate::core::finding::{Finding, Weight};
use crate::core::time::{Span, Timestamp};

/// Whatever runs jobs here runs a pass at least daily, and each pass writes the status.
const STATUS_LATE: Span = Span::hours(25);
/// A timer that fires hourly, spread over the hour, and may have been away for a run.
const TIMER_LATE: Span = Span::hours(3);
/// Of the kernel's list of locks, in bytes.
const LOCKS_MAX: u64 = 1 << 20;
const SERVICE: &str = "nolapse.service";
const TIMER: &str = "nolapse-renew.timer";
/// Where systemd notes when a persistent timer fired last.
const STAMP: &str = "/var/lib/systemd/timers/stamp-nolapse-renew.timer";

/// What was seen of whoever runs the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Signs {
    /// The process that holds the lock of a running daemon.
    daemon: Option<u32>,
    /// When the public status was written last.
    status: Option<Timestamp>,
    service_enabled: bool,
    timer_enabled: bool,
    timer_fired: Option<Timestamp>,
}

pub fn findings(settings: &AgentSettings, now: Timestamp) -> Vec<Finding> {
    let signs = Signs {
        daemon: daemon(&settings.state_dir),
        status: skew::written(&settings.run_dir.join(STATUS_FILE)),
        service_enabled: is_enabled(SERVICE),
        timer_enabled: is_enabled(TIMER),
        timer_fired: skew::written(Path::new(STAMP)),
    };
    judge(&signs, now).into_iter().collect()
}

fn judge(signs: &Signs, now: Timestamp) -> Option<Finding> {
    let fresh = |at: Option<Timestamp>, most| at.is_some_and(|at| now.since(at) <= most);
    let ago = |at: Option<Timestamp>| match at {
        Some(at) => format!("{} ago", now.since(at).max(Span::ZERO)),
        None => "never, as far as can be seen".to_owned(),
    };
    let by_timer = signs.timer_enabled && fresh(signs.timer_fired, TIMER_LATE);
    if signs.daemon.is_some() || by_timer {
        return None;
    }
    let status = format!("the public status was written {}", ago(signs.status));
    Some(if signs.service_enabled {
        Finding::error("daemon-down", format!("{SERVICE} is enabled, and no daemon runs"))
            .seen(status)
            .fix("systemctl status nolapse, then  systemctl restart nolapse")
    } else if signs.timer_enabled {
        Finding::error("timer-late", format!("{TIMER} is enabled, and has not fired for too long"))
            .seen(format!("it fired {}", ago(signs.timer_fired)))
            .fix("systemctl list-timers nolapse-renew.timer, then  systemctl restart nolapse-renew.timer")
    } else {
        // The last pass may have been by hand, or by a job of cron's, or by a daemon in another container.
        let most = if fresh(signs.status, STATUS_LATE) { Weight::Note } else { Weight::Warning };
        Finding::warning("nobody-runs", "neither a daemon nor a timer of systemd runs nolapse on this host")
            .at_most(most)
            .seen(status)
            .fix("systemctl enable --now nolapse, or run  nolapse renew  at least daily by whatever runs jobs here")
    })
}

/// Who holds the lock that a daemon keeps for as long as it runs. Only looked up: taking it, even for a
/// moment, could be in somebody's way.
fn daemon(state_dir: &Path) -> Option<u32> {
    let below = |dir: &Path| dir.join("locks/.alerts");
    // On a shared volume the state is one level down (docs/schema.md).
    let meta = [below(state_dir), below(&state_dir.join("nolapse"))]
        .into_iter()
        .find_map(|path| std::fs::metadata(path).ok())?;
    let mut locks = String::new();
    // Cut short it only makes the answer vaguer.
    std::fs::File::open("/proc/locks").ok()?.take(LOCKS_MAX).read_to_string(&mut locks).ok()?;
    locks.lines().find_map(|row| holder(row, meta.ino()))
}

/// `1: FLOCK  ADVISORY  WRITE 123 08:01:456 0 EOF`; the device is not compared, as overlays show
/// another one than `stat` does.
fn holder(row: &str, inode: u64) -> Option<u32> {
    let mut words = row.split_ascii_whitespace();
    let kind = words.nth(1)?;
    let pid = words.nth(2)?.parse().ok()?;
    let place = words.next()?;
    let its: u64 = place.rsplit(':').next()?.parse().ok()?;
    (kind == "FLOCK" && its == inode).then_some(pid)
}

fn is_enabled(unit: &str) -> bool {
    let dirs: Vec<PathBuf> = UNIT_DIRS.iter().map(PathBuf::from).collect();
    let targets = ["multi-user.target.wants", "timers.target.wants", "default.target.wants"];
    dirs.iter().any(|dir| targets.iter().any(|target| dir.join(target).join(unit).symlink_metadata().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_a_timer_and_nobody_are_told_apart() {
        let now = Timestamp::from_secs(1_800_000_000);
        let ago = |span| Some(now - span);
        let none = Signs::default();
        let service = Signs { service_enabled: true, ..none.clone() };
        let timer = Signs { timer_enabled: true, ..none.clone() };
        for (what, signs, code) in [
            ("a daemon holds its lock", Signs { daemon: Some(7), ..service.clone() }, None),
            ("a daemon by hand", Signs { daemon: Some(7), ..none.clone() }, None),
            (
                "a pass by cron or by hand",
                Signs { status: ago(Span::HOUR), ..none.clone() },
                Some("nobody-runs"),
            ),
            ("enabled, and dead", Signs { status: ago(Span::DAY), ..service.clone() }, Some("daemon-down")),
            ("enabled, and never was there", service, Some("daemon-down")),
            ("a timer that fires", Signs { timer_fired: ago(Span::HOUR), ..timer.clone() }, None),
            (
                "a timer that stopped",
                Signs { timer_fired: ago(Span::DAY), ..timer.clone() },
                Some("timer-late"),
            ),
            ("a timer that never fired", timer, Some("timer-late")),
            ("nobody", none, Some("nobody-runs")),
        ] {
            let found = judge(&signs, now);
            assert_eq!(found.as_ref().map(|finding| finding.code.as_str()), code, "{what}");
            let lightly = found.as_ref().is_some_and(|finding| finding.weight == Weight::Note);
            assert_eq!(lightly, what.starts_with("a pass"), "{what}");
            assert!(found.is_none_or(|finding| finding.fix.contains("systemctl")), "{what}");
        }
    }

    #[test]
    fn the_kernels_list_of_locks_names_the_holder() {
        let row = "3: FLOCK  ADVISORY  WRITE 4242 fd:01:1311 0 EOF";
        assert_eq!(holder(row, 1311), Some(4242));
        for other in [
            row.replace("FLOCK", "POSIX"),
            row.replace("1311", "1312"),
            "3: -> FLOCK ADVISORY WRITE 4242 fd:01:1311 0 EOF".to_owned(),
            String::new(),
        ] {
            assert_eq!(holder(&other, 1311), None, "{other}");
        }
    }
}
