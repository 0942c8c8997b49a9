//! Programs that want the same at the same moment: one order, one deployment, and no file that its
//! owner can't read (F09).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/eyes.rs"]
#[allow(dead_code)]
mod eyes;
#[path = "support/host.rs"]
#[allow(dead_code)]
mod host;
#[path = "support/ports.rs"]
#[allow(dead_code)]
mod ports;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/served.rs"]
#[allow(dead_code)]
mod served;

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use eyes::Before;
use host::{Answers, Host, NAME, words};

/// Hosts at work at the same time.
const HOSTS: usize = 2;
/// Races on one host before it is made anew: its CA remembers every order.
const RACES_A_HOST: usize = 100;

#[test]
fn f09_two_renewals_at_once_place_one_order_and_deploy_once() {
    races(2, 40);
}

#[test]
fn f09_ten_renewals_at_once_place_one_order_and_deploy_once() {
    races(10, 6);
}

#[test]
#[ignore = "a thousand of them: many minutes (docs/reliability.md)"]
fn f09_two_renewals_at_once_a_thousand_times() {
    races(2, 1000);
}

#[test]
#[ignore = "a hundred of them: many minutes (docs/reliability.md)"]
fn f09_ten_renewals_at_once_a_hundred_times() {
    races(10, 100);
}

/// The first certificate and one with another name, by turns.
fn races(runners: usize, count: usize) {
    let todo = Mutex::new(0..count);
    let next = || todo.lock().unwrap().next();
    let failures = Mutex::new(Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                let mut host = staged();
                let mut run = 0;
                while let Some(number) = next() {
                    if run == RACES_A_HOST {
                        (host, run) = (staged(), 0);
                    }
                    run += 1;
                    let scene = SCENES[number % SCENES.len()];
                    host.take_back(scene);
                    if let Err(what) = race(&host, runners) {
                        failures.lock().unwrap().push(format!("race {number}, {scene}: {what}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{count} races of {runners}: {} failures, {} s", failures.len(), begun.elapsed().as_secs());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const SCENES: [&str; 2] = ["a first certificate", "a name more"];

fn staged() -> Host {
    let host = Host::new();
    host.fresh(Answers::Files, &[NAME]);
    host.put_aside(SCENES[0]);
    host.well(&["renew"]);
    let config = host.path("conf/nolapse.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let more =
        text.replace(&format!("names = [\"{NAME}\"]"), &format!("names = [\"{NAME}\", \"b.example\"]"));
    assert_ne!(text, more);
    std::fs::write(config, more).unwrap();
    host.put_aside(SCENES[1]);
    host
}

fn race(host: &Host, runners: usize) -> Result<(), String> {
    let before = Before::of(host);
    let told = host.told().len();
    let gate = Gate::new(host);
    let children: Vec<_> =
        (0..runners).map(|_| gate.start(&host.command(&["renew"]), Stdio::piped())).collect();
    gate.open(runners);
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let said = || outputs.iter().map(words).collect::<Vec<_>>().join("\n");
    if !outputs.iter().all(|output| output.status.success()) {
        return Err(said());
    }
    let renewed = outputs.iter().filter(|output| words(output).contains("renewed until")).count();
    let orders = host.orders() - before.orders;
    let heard = host.told().split_off(told);
    if (renewed, orders, heard.len()) != (1, 1, 1) {
        return Err(format!("{renewed} renewed, {orders} orders, the hook heard {heard:?}\n{}", said()));
    }
    eyes::after(host, &before)?;
    eyes::mended(host, &before, &None)
}

/// Keeps programs waiting until all are there.
struct Gate {
    path: PathBuf,
}

impl Gate {
    fn new(host: &Host) -> Self {
        let path = host.path("run/gate");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        Self { path }
    }

    /// Starts what runs `command` when the gate opens.
    fn start(&self, command: &Command, log: Stdio) -> Child {
        let mut waiting = Command::new("/bin/sh");
        waiting.args(["-c", "read -r go < \"$0\"; exec \"$@\""]).arg(&self.path);
        waiting.arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            waiting.env(name, value.unwrap());
        }
        waiting.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    /// Lets `count` programs go.
    fn open(&self, count: usize) {
        // Read and write, so that it does not wait for anybody; what is written stays for those
        // who come late, as the file goes only with them.
        let mut gate = std::fs::File::options().read(true).write(true).open(&self.path).unwrap();
        gate.write_all("\n".repeat(count).as_bytes()).unwrap();
        // Open until everybody had a line: without a writer the pipe would forget them.
        let empty = || rustix::io::ioctl_fionread(&gate).unwrap() == 0;
        assert!(ports::wait_for(PATIENCE, empty), "somebody does not come through the gate");
        std::fs::remove_file(&self.path).unwrap();
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

/// `nobody`, which stands for the user of the service.
const SERVICE: u32 = 65_534;

#[test]
fn daemon_root_and_timer_at_once_leave_nothing_that_the_service_cannot_read() {
    all_at_once(6);
}

#[test]
#[ignore = "a hundred of them: minutes (docs/reliability.md)"]
fn daemon_root_and_timer_at_once_a_hundred_times() {
    all_at_once(100);
}

fn all_at_once(rounds: usize) {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: the daemon, root and a timer at once: this is not root");
        return;
    }
    let host = Host::new();
    let begun = Instant::now();
    for round in 0..rounds {
        host.fresh(Answers::Files, &[NAME]);
        let program = host.path("nolapse");
        // By another process: a descriptor of ours that another child inherits for a moment would
        // make the program "busy".
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_nolapse")).arg(&program).status();
        assert!(copied.unwrap().success());
        std::fs::write(host.path("told"), "").unwrap();
        for each in ["state", "run", "out", "www", "told"] {
            std::os::unix::fs::chown(host.path(each), Some(SERVICE), Some(SERVICE)).unwrap();
        }
        // Every second round a generation is there already.
        if round % 2 == 1 {
            let ran = service(&host, &program, &["renew"]).output().unwrap();
            assert!(ran.status.success(), "{}", words(&ran));
        }
        let gate = Gate::new(&host);
        let log = host.path("said/daemon");
        let to_log = Stdio::from(std::fs::File::create(&log).unwrap());
        let daemon = gate.start(&service(&host, &program, &["--log-format", "text", "run"]), to_log);
        let by_root = gate.start(&host.command_of(&program, &["renew", "--force"]), Stdio::piped());
        let timer = gate.start(&service(&host, &program, &["renew"]), Stdio::piped());
        gate.open(3);
        let (by_root, timer) = (by_root.wait_with_output().unwrap(), timer.wait_with_output().unwrap());
        let ready = || std::fs::read_to_string(&log).unwrap().contains("ready");
        assert!(ports::wait_for(PATIENCE, ready), "the daemon is not ready");
        let daemon = ended(daemon);
        let said = [&daemon, &by_root, &timer].map(words).join("\n");
        assert!([&daemon, &by_root, &timer].iter().all(|ran| ran.status.success()), "round {round}: {said}");
        for dir in ["state", "run", "out", "www"] {
            for file in everything(&host.path(dir)) {
                let owner = file.symlink_metadata().unwrap().uid();
                assert!(
                    owner == SERVICE,
                    "round {round}: {} belongs to user {owner}\n{said}",
                    file.display()
                );
            }
        }
        let unreadable = as_service(Path::new("find"))
            .arg(host.path("state"))
            .args(["!", "-type", "l", "!", "-readable"])
            .output()
            .unwrap();
        assert!(unreadable.status.success() && unreadable.stdout.is_empty(), "{}", words(&unreadable));
        let ran = service(&host, &program, &["renew"]).output().unwrap();
        assert!(ran.status.success(), "round {round}, afterwards: {}\n{said}", words(&ran));
        assert!(words(&ran).contains("kept until"), "{}", words(&ran));
    }
    println!("{rounds} rounds in {} s", begun.elapsed().as_secs());
}

/// Lets the daemon come to its end as a service manager does.
fn ended(mut daemon: Child) -> Output {
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let over = ports::wait_for(PATIENCE, || daemon.try_wait().unwrap().is_some());
    if !over {
        daemon.kill().unwrap();
    }
    let output = daemon.wait_with_output().unwrap();
    assert!(over, "the daemon does not end: {}", words(&output));
    output
}

fn service(host: &Host, program: &Path, arguments: &[&str]) -> Command {
    let plain = host.command_of(program, arguments);
    let mut command = as_service(program);
    command.args(plain.get_args()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

fn as_service(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={SERVICE}"), &format!("--regid={SERVICE}"), "--clear-groups"]);
    command.arg(program);
    command
}

/// Everything below a directory, itself included.
fn everything(dir: &Path) -> Vec<PathBuf> {
    let mut found = eyes::files(dir);
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
        found.push(dir);
    }
    found
}
