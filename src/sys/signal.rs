//! Signalling a server that somebody else started, by its pid file or by its name.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::core::spec::SignalTarget;

/// Signals the target; answers with the numbers of the processes told.
pub fn signal(target: &SignalTarget, signal: SignalName) -> Result<Vec<i32>, CannotSignal> {
    match target {
        SignalTarget::PidFile(path) => signal_pid_file(Path::new(path), signal).map(|pid| vec![pid]),
        SignalTarget::Process(name) => signal_named(name, signal),
    }
}

/// What to tell a running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalName(Signal);

impl SignalName {
    const TABLE: [(&str, Signal); 9] = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("WINCH", Signal::WINCH),
        ("CONT", Signal::CONT),
        ("PIPE", Signal::PIPE),
    ];

    /// `HUP`, `SIGHUP` or `hup`; only signals that ask, none that stop or kill for sure.
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::TABLE.iter().find(|(name, _)| *name == short).map(|(_, signal)| Self(*signal))
    }
}

/// Why nobody was signalled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSignal {
    #[error("the pid file {path} cannot be used: {why}")]
    PidFile { path: String, why: String },
    #[error("no process {0} is running that this process can see")]
    NotRunning(String),
    #[error("process {pid} could not be signalled: {why}")]
    Refused { pid: i32, why: String },
}

/// Signals the process whose number stands in `path`; answers with that number.
fn signal_pid_file(path: &Path, signal: SignalName) -> Result<i32, CannotSignal> {
    /// Bytes of a pid file that are looked at.
    const PID_FILE_MAX: u64 = 64;
    let bad = |why: String| CannotSignal::PidFile { path: path.display().to_string(), why };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| bad(error.to_string()))?;
    io::Read::read_to_string(&mut io::Read::take(file, PID_FILE_MAX), &mut text)
        .map_err(|error| bad(error.to_string()))?;
    let first = text.split_whitespace().next().unwrap_or("");
    // 0, 1 and negative numbers would mean our own group, init and everybody.
    let pid = first.parse::<i32>().ok().filter(|pid| *pid > 1);
    let pid = pid.and_then(Pid::from_raw).ok_or_else(|| bad("it holds no process number".into()))?;
    let number = pid.as_raw_nonzero().get();
    match rustix::process::kill_process(pid, signal.0) {
        Ok(()) => Ok(number),
        Err(Errno::SRCH) => Err(bad(format!("no process {number} is running"))),
        Err(errno) => Err(CannotSignal::Refused { pid: number, why: io::Error::from(errno).to_string() }),
    }
}

/// Signals every visible process of this name that was not started by another one of this name:
/// a server's master, not its workers. Answers with their numbers.
///
/// The name is that of the program's file (of argument 0, where the file cannot be seen).
fn signal_named(name: &str, signal: SignalName) -> Result<Vec<i32>, CannotSignal> {
    let found: Vec<_> = processes().filter(|process| process.is_named(name)).collect();
    let masters: Vec<_> =
        found.iter().filter(|process| !found.iter().any(|other| other.pid == process.parent)).collect();
    let mut told = Vec::new();
    for process in masters {
        if process.signal(name, signal)? {
            told.push(process.pid.as_raw_nonzero().get());
        }
    }
    if told.is_empty() { Err(CannotSignal::NotRunning(name.to_owned())) } else { Ok(told) }
}

struct Process {
    pid: Pid,
    parent: Pid,
    dir: PathBuf,
}

fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = rustix::process::getpid();
    entries.filter_map(move |entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let dir = entry.path();
        let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
        // The name in brackets may hold anything, brackets too: count from the last one.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let running = rest.next()? != "Z";
        let parent = rest.next()?.parse().ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT);
        (running && pid != own).then_some(Process { pid, parent, dir })
    })
}

impl Process {
    fn is_named(&self, name: &str) -> bool {
        let by_file = std::fs::read_link(self.dir.join("exe")).ok().is_some_and(|exe| {
            let file = exe.file_name().and_then(|file| file.to_str()).unwrap_or("");
            // The kernel marks a program whose file was replaced by an update.
            file.strip_suffix(" (deleted)").unwrap_or(file) == name
        });
        by_file || self.first_argument().is_some_and(|argument| argument == name)
    }

    /// The file name in argument 0, up to a blank or colon (`nginx: master process …`).
    fn first_argument(&self) -> Option<String> {
        let line = std::fs::read(self.dir.join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(line.split(|byte| *byte == 0).next()?).into_owned();
        let program = text.split([' ', ':']).next()?;
        Some(program.rsplit('/').next().unwrap_or(program).to_owned())
    }

    /// `false` when it is gone or is another process by now.
    fn signal(&self, name: &str, signal: SignalName) -> Result<bool, CannotSignal> {
        let result = match rustix::process::pidfd_open(self.pid, rustix::process::PidfdFlags::empty()) {
            // Looked at again now that the number can't pass to another process.
            Ok(_) if !self.is_named(name) => return Ok(false),
            Ok(pidfd) => rustix::process::pidfd_send_signal(pidfd, signal.0),
            Err(Errno::SRCH) => return Ok(false),
            Err(_) => rustix::process::kill_process(self.pid, signal.0),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(CannotSignal::Refused {
                pid: self.pid.as_raw_nonzero().get(),
                why: io::Error::from(errno).to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    /// A copy of `sleep` under a name of its own, so that no stranger is hit.
    fn sleeper(dir: &Path, name: &str) -> Child {
        let program = dir.join(name);
        if !program.exists() {
            // By another process: a write descriptor of ours that some other test's child inherits
            // for a moment would make the file "busy" when it is run.
            let copied = Command::new("cp").arg("-L").arg("/bin/sleep").arg(&program).status();
            assert!(copied.unwrap().success());
        }
        Command::new(program).arg("1000").spawn().unwrap()
    }

    #[test]
    fn signal_names_are_read_as_people_write_them() {
        for text in ["HUP", "SIGHUP", "hup", "sighup"] {
            assert_eq!(SignalName::parse(text), Some(SignalName(Signal::HUP)), "{text}");
        }
        for text in ["", "SIG", "KILL", "STOP", "9", "hup; id"] {
            assert_eq!(SignalName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_server_is_found_by_the_name_of_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("nolapse-t{}", std::process::id() % 100_000);
        let mut child = sleeper(dir.path(), &name);
        let target = SignalTarget::Process(name.clone());
        // Until it has become the other program, a child still has ours.
        let told = loop {
            match signal(&target, SignalName(Signal::USR1)) {
                Ok(told) => break told,
                Err(error) => assert_eq!(error, CannotSignal::NotRunning(name.clone())),
            }
        };
        assert_eq!(told, [i32::try_from(child.id()).unwrap()]);
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::USR1.as_raw()));
        assert_eq!(signal(&target, SignalName(Signal::USR1)), Err(CannotSignal::NotRunning(name)));
    }

    #[test]
    fn pid_files_are_read_with_suspicion() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.pid");
        let target = SignalTarget::PidFile(path.display().to_string());
        for (text, why) in [
            ("", "it holds no process number"),
            ("0", "it holds no process number"),
            ("1", "it holds no process number"),
            ("-1", "it holds no process number"),
            ("nginx", "it holds no process number"),
            ("99999999999", "it holds no process number"),
            ("2147483647", "no process 2147483647 is running"),
        ] {
            std::fs::write(&path, text).unwrap();
            match signal(&target, SignalName(Signal::HUP)) {
                Err(CannotSignal::PidFile { why: said, .. }) => assert_eq!(said, why, "{text:?}"),
                other => unreachable!("{text:?}: {other:?}"),
            }
        }
        // Not HUP: whoever runs the tests under nohup has that ignored in every child.
        let mut child = sleeper(dir.path(), "nolapse-pidfile");
        std::fs::write(&path, format!("{}\n", child.id())).unwrap();
        assert_eq!(signal(&target, SignalName(Signal::TERM)), Ok(vec![i32::try_from(child.id()).unwrap()]));
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }
}
