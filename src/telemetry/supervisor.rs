//! What the service manager is told (`sd_notify(3)`). The watchdog is fed for the loop, not by a
//! timer that goes on ticking while the loop hangs (F08).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

use super::Now;
use super::pulse::Pulse;
use crate::core::census::{Census, Standing};
use crate::core::failure::plain;
use crate::core::time::Timestamp;

/// How messages leave; tests listen in.
type Send = Box<dyn Fn(&[NotifyState<'_>]) -> io::Result<()> + std::marker::Send + Sync>;

/// The line to the service manager; without one every message is dropped.
pub struct Supervisor {
    pulse: Arc<Pulse>,
    now: Now,
    send: Send,
    watchdog: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    status: String,
    /// Said once; a manager that is gone would else be complained about for ever.
    complained: bool,
}

impl Supervisor {
    /// Longest status line, in characters.
    pub const STATUS_MAX: usize = 200;
    /// No watchdog is fed more often, whatever it asks for.
    pub const FEED_MIN: Duration = Duration::from_millis(100);

    /// The one named by `NOTIFY_SOCKET` and `WATCHDOG_USEC`, if any.
    pub fn of_process(pulse: Arc<Pulse>, now: Now) -> Self {
        Self::with(pulse, now, Box::new(sd_notify::notify), sd_notify::watchdog_enabled())
    }

    fn with(pulse: Arc<Pulse>, now: Now, send: Send, watchdog: Option<Duration>) -> Self {
        Self { pulse, now, send, watchdog, state: Mutex::default() }
    }

    /// The first pass has been judged: what is installed and answered for now is known.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A new configuration is being read; end with [`ready`](Self::ready).
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(at) => self.tell(&[NotifyState::Reloading, at]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`; sent only when it changed.
    pub fn status(&self, words: &str) {
        let words = plain(words, Self::STATUS_MAX);
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.status == words {
                return;
            }
            state.status.clone_from(&words);
        }
        self.tell(&[NotifyState::Status(&words)]);
    }

    /// Takes the state after a pass, for the status line.
    pub fn set(&self, census: &Census) {
        self.status(&summary(census, (self.now)()));
    }

    /// Feeds the watchdog while the loop keeps its promises; ends at once where none is set.
    pub async fn feed(&self) {
        let Some(deadline) = self.watchdog else { return };
        // Half the deadline, as sd_watchdog_enabled(3) advises.
        let pause = (deadline / 2).max(Self::FEED_MIN);
        let mut starving = false;
        loop {
            match self.pulse.overdue() {
                None => {
                    starving = false;
                    self.tell(&[NotifyState::Watchdog]);
                }
                Some(late) if !starving => {
                    starving = true;
                    tracing::error!(%late, "the loop is stuck; the watchdog is no longer fed");
                }
                Some(_) => {}
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn tell(&self, messages: &[NotifyState<'_>]) {
        let Err(error) = (self.send)(messages) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.complained, true) {
            tracing::warn!(%error, "the service manager can't be told anything");
        }
    }
}

fn summary(census: &Census, now: Timestamp) -> String {
    let managed = || census.rows.iter().filter(|row| row.standing != Standing::Retired);
    let wrong = managed().filter(|row| !row.wrongs(now).is_empty()).count();
    let observed = managed().filter(|row| row.standing == Standing::Observed).count();
    // Days: a status that changes every second would be sent every second.
    let tightest = managed().filter_map(|row| Some((row.headroom(now)?, &row.lineage))).min();
    let tightest =
        tightest.map(|(left, lineage)| format!(", tightest {lineage} {} d", left.whole_secs() / 86_400));
    let all = managed().count();
    format!("{wrong} of {all} wrong, {observed} observed{}", tightest.unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;
    use crate::core::census::Row;
    use crate::core::name::LineageId;
    use crate::core::time::Span;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    type Told = Arc<Mutex<Vec<String>>>;

    fn supervisor(watchdog: Option<Duration>) -> (Arc<Supervisor>, Arc<Pulse>, Told) {
        let (pulse, told) = (Arc::new(Pulse::default()), Told::default());
        let log = told.clone();
        let send: Send = Box::new(move |messages| {
            log.lock().unwrap().extend(messages.iter().map(ToString::to_string));
            Ok(())
        });
        (Arc::new(Supervisor::with(pulse.clone(), Arc::new(|| NOW), send, watchdog)), pulse, told)
    }

    fn count(told: &Told, message: &str) -> usize {
        told.lock().unwrap().iter().filter(|found| *found == message).count()
    }

    #[tokio::test(start_paused = true)]
    async fn f08_a_stuck_loop_starves_the_watchdog() {
        let (supervisor, pulse, told) = supervisor(Some(Duration::from_secs(60)));
        pulse.beat(Span::minutes(10));
        let feeding = tokio::spawn(async move { supervisor.feed().await });
        tokio::time::sleep(Duration::from_secs(10 * 60 + 1)).await;
        assert_eq!(count(&told, "WATCHDOG=1"), 21, "every half minute of a long sleep");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let fed = count(&told, "WATCHDOG=1");
        let grace = usize::try_from(Pulse::GRACE.whole_secs() / 30).unwrap();
        assert!(fed <= 22 + grace, "fed {fed} times, grace or not");
        pulse.beat(Span::MINUTE);
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(count(&told, "WATCHDOG=1") > fed, "it moves again");
        feeding.abort();
    }

    #[tokio::test]
    async fn without_a_watchdog_nothing_wakes_up() {
        let (supervisor, _, told) = supervisor(None);
        supervisor.feed().await;
        assert!(told.lock().unwrap().is_empty());
    }

    #[test]
    fn status_is_one_plain_line_and_sent_when_it_changes() {
        let (supervisor, _, told) = supervisor(None);
        let row = |name: &str, days, standing| Row {
            lineage: LineageId::parse(name).unwrap(),
            issuer: None,
            not_after: Some(NOW + Span::days(days)),
            served_until: None,
            owed: 0,
            mismatched: 0,
            standing,
            trouble: None,
            plight: None,
        };
        let rows = vec![
            row("a.example", 40, Standing::Observed),
            row("b.example", 9, Standing::Placeholder),
            row("old.example", 1, Standing::Retired),
        ];
        let census = Census::of(NOW, rows);
        supervisor.set(&census);
        supervisor.set(&census);
        supervisor.status("two\nlines");
        let expected = ["STATUS=1 of 2 wrong, 1 observed, tightest b.example 9 d", "STATUS=two\\u{a}lines"];
        assert_eq!(*told.lock().unwrap(), expected);
    }

    /// Runs in a process of its own: variables can't be set safely in this one.
    #[test]
    #[ignore = "the child of the_manager_hears_us_on_its_socket"]
    fn child_that_tells() {
        let supervisor = Supervisor::of_process(Arc::new(Pulse::default()), Arc::new(|| NOW));
        assert_eq!(supervisor.watchdog, None, "the watchdog is for another process");
        supervisor.ready();
        supervisor.reloading();
        supervisor.stopping();
    }

    #[test]
    fn the_manager_hears_us_on_its_socket() {
        let path = std::env::temp_dir().join(format!("nolapse-notify-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "telemetry::supervisor::tests::child_that_tells"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "1000000")
            .env("WATCHDOG_PID", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let hear = || {
            let mut buffer = [0; 200];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(hear(), "READY=1\n");
        let reloading = hear();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(hear(), "STOPPING=1\n");
        std::fs::remove_file(&path).unwrap();
    }
}
