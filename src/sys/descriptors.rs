//! What whoever started us left open: closed at once, so that no program that we start gets it.

use std::os::fd::RawFd;

/// The first descriptor that systemd hands over, `sd_listen_fds(3)`.
const HANDED_OVER: RawFd = 3;

/// Closes every descriptor above standard error that was not handed over by systemd. Only for the
/// very beginning of a program, before anything of its own is open.
pub fn close_inherited() {
    let handed_over = handed_over(std::process::id(), |name| std::env::var(name).ok());
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|fd| *fd >= HANDED_OVER + handed_over) {
        // The directory just read is among them, and closed by now.
        let _ = nix::unistd::close(descriptor);
    }
}

fn handed_over(me: u32, env: impl Fn(&str) -> Option<String>) -> RawFd {
    let number = |name: &str| env(name)?.parse::<u32>().ok();
    let count = number("LISTEN_PID").filter(|pid| *pid == me).and_then(|_| number("LISTEN_FDS"));
    count.and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0).min(RawFd::MAX - HANDED_OVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_systemd_hands_to_this_process_stays() {
        for (row, pid, fds, expected) in [
            ("two sockets for us", Some("7"), Some("2"), 2),
            ("for somebody else", Some("8"), Some("2"), 0),
            ("none", None, None, 0),
            ("nonsense", Some("7"), Some("-2"), 0),
            ("absurd", Some("7"), Some("4294967295"), 0),
        ] {
            let env = |name: &str| if name == "LISTEN_PID" { pid } else { fds }.map(ToOwned::to_owned);
            assert_eq!(handed_over(7, env), expected, "{row}");
        }
    }
}
