//! The daemon at rest with 10,000 certificates: what it costs to be ready, to stay, and to be
//! ready again after `kill -9`.
//!
//! - `NOLAPSE_BENCH_SIZE=500` certificates; `NOLAPSE_BENCH_WINDOW=120` seconds watched
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod rig;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rig::fleet::Fleet;
use rig::table::{Table, mib};
use rig::{Place, program};

/// Longest time until the daemon is ready.
const READY_MOST: Duration = Duration::from_secs(120);
/// Time given to what the daemon does right after it is ready, such as the status file.
const SETTLE: Duration = Duration::from_secs(4);

fn main() {
    let size = rig::knob("NOLAPSE_BENCH_SIZE", 10_000, 200);
    let window = Duration::from_secs(rig::knob("NOLAPSE_BENCH_WINDOW", 20, 3));
    let place = Place::new();
    let fleet = Fleet::new(place.path(), size);
    let mut table = Table::new(&["", "value"]);
    let mut row = |what: &str, value: String| table.row(vec![what.to_owned(), value]);

    let daemon = Daemon::start(&fleet, place.path());
    row("certificates", size.to_string());
    row("ready, wall ms", format!("{:.0}", daemon.ready.as_secs_f64() * 1e3));
    row("ready, CPU ms", format!("{:.0}", daemon.ready_cpu.as_secs_f64() * 1e3));
    std::thread::sleep(SETTLE);
    let before = daemon.account();
    std::thread::sleep(window);
    let after = daemon.account();
    row("settled, CPU ms", format!("{:.0}", before.cpu.as_secs_f64() * 1e3));
    row("RSS MiB", mib(after.rss_kib));
    row("PSS MiB", mib(after.pss_kib));
    row("of it heap and stacks MiB", mib(after.anonymous_kib));
    row("peak MiB", mib(after.peak_kib));
    row("threads", after.threads.to_string());
    row("watched, s", window.as_secs().to_string());
    row("context switches in it", after.switches.saturating_sub(before.switches).to_string());
    row("CPU us in it", after.cpu.saturating_sub(before.cpu).as_micros().to_string());
    daemon.kill();

    let again = Daemon::start(&fleet, place.path());
    row("kill -9, started again: ready, wall ms", format!("{:.0}", again.ready.as_secs_f64() * 1e3));
    again.kill();
    table.print();
    println!("idle: done.");
}

struct Daemon {
    child: Child,
    ready: Duration,
    ready_cpu: Duration,
}

/// What the kernel says of a process.
struct Account {
    /// Of all threads that live or lived.
    cpu: Duration,
    /// Voluntary and not, of all threads that live.
    switches: u64,
    threads: u64,
    rss_kib: u64,
    pss_kib: u64,
    anonymous_kib: u64,
    peak_kib: u64,
}

impl Daemon {
    fn start(fleet: &Fleet, dir: &Path) -> Self {
        let path = dir.join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(READY_MOST)).unwrap();
        let begun = Instant::now();
        let child = Command::new(program())
            .args(fleet.arguments(&["run"]))
            .env("NOTIFY_SOCKET", &path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut text = [0; 4096];
        loop {
            let Ok(length) = socket.recv(&mut text) else { panic!("the daemon is not ready in time") };
            if String::from_utf8_lossy(&text[..length]).lines().any(|line| line == "READY=1") {
                break;
            }
        }
        let ready = begun.elapsed();
        let mut daemon = Self { child, ready, ready_cpu: Duration::ZERO };
        daemon.ready_cpu = daemon.account().cpu;
        daemon
    }

    fn account(&self) -> Account {
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let read = |name: &str| std::fs::read_to_string(proc.join(name)).unwrap_or_default();
        let (status, smaps) = (read("status"), read("smaps_rollup"));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let clock = nix::time::ClockId::pid_cpu_clock_id(pid).unwrap();
        let cpu = Duration::from(clock.now().unwrap());
        let mut switches = 0;
        for task in std::fs::read_dir(proc.join("task")).unwrap() {
            let task = task.unwrap().path();
            // A thread may end while it is looked at.
            let read = |name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
            let status = read("status");
            switches +=
                field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches");
        }
        Account {
            cpu,
            switches,
            threads: field(&status, "Threads"),
            rss_kib: field(&status, "VmRSS"),
            pss_kib: field(&smaps, "Pss"),
            anonymous_kib: field(&smaps, "Anonymous"),
            peak_kib: field(&status, "VmHWM"),
        }
    }

    /// As a power cut would: nothing is tidied.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of a line `name: number` of the kernel's.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
