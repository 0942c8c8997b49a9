//! Running a program that we did not write: no shell, a fixed environment, its own process group,
//! and an end to everything (time, output, waiting for pipes).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::clock::Clock;
use crate::core::time::Span;

/// A program to run, and all that it gets to know.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments, as they are; no shell ever sees them. A program without a
    /// slash is searched for in `PATH` of `env`, or in [`Program::PATH`].
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// What it reads from standard input, followed by the end of file.
    pub stdin: Vec<u8>,
    /// From start to the polite signal.
    pub timeout: Span,
    /// Whom it runs as, by name or number, with that user's own group and no other. Only root can
    /// become somebody else.
    pub user: Option<String>,
}

impl Program {
    /// Where programs are searched for when `env` has no `PATH`.
    pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    /// Bytes kept of standard output and standard error together; the rest is read and dropped.
    pub const OUTPUT_MAX: usize = 64 * 1024;
    /// From SIGTERM to SIGKILL.
    pub const GRACE: Span = Span::secs(5);
    /// How long output is still awaited after the program has ended: a background process that
    /// kept the pipe must not hold us up (lego#2468).
    pub const DRAIN: Span = Span::from_millis(250);

    /// Runs it to its end. Dropping the future kills the whole process group.
    pub async fn run(&self, clock: &Clock) -> Result<Finished, CannotRun> {
        let path = self.locate()?;
        let begun = clock.monotonic();
        let (reader, writer) = io::pipe().map_err(|source| CannotRun::refused(&path, &source))?;
        let mut child =
            self.spawn(&path, writer.into()).map_err(|source| CannotRun::refused(&path, &source))?;
        let group = Group::led_by(&child);
        let input = child.stdin.take();
        let mut kept = Output::default();
        let (ended, timed_out) = {
            let feed = async {
                if let Some(mut input) = input {
                    // A program may well not read its input: a broken pipe is no failure.
                    let _ = input.write_all(&self.stdin).await;
                }
                std::future::pending::<()>().await;
            };
            let waited = async {
                match clock.timeout(self.timeout, child.wait()).await {
                    Some(status) => (status, false),
                    None => (stop(&mut child, &group, clock).await, true),
                }
            };
            let mut output = pipe::Receiver::from_owned_fd(reader.into())
                .map_err(|source| CannotRun::refused(&path, &source))?;
            tokio::pin!(feed, waited);
            let ended = {
                let collected = kept.collect(&mut output);
                tokio::pin!(collected);
                let mut open = true;
                loop {
                    tokio::select! {
                        biased;
                        ended = &mut waited => break ended,
                        () = &mut collected, if open => open = false,
                        () = &mut feed => {}
                    }
                }
            };
            let _ = clock.timeout(Self::DRAIN, kept.collect(&mut output)).await;
            ended
        };
        group.leave();
        let status = ended.map_err(|source| CannotRun::refused(&path, &source))?;
        Ok(Finished {
            exit: if timed_out { Exit::TimedOut } else { Exit::of(status) },
            output: kept.bytes,
            dropped: kept.dropped,
            took: clock.monotonic() - begun,
        })
    }

    /// The file that would be run, or why none can be.
    pub fn locate(&self) -> Result<PathBuf, CannotRun> {
        let name = self.argv.first().filter(|name| !name.is_empty()).ok_or(CannotRun::Empty)?;
        if name.contains('/') {
            return executable(Path::new(name)).map(|()| PathBuf::from(name));
        }
        let dirs = self.env.iter().find(|(key, _)| key == "PATH").map_or(Self::PATH, |(_, value)| value);
        let mut last = None;
        for dir in dirs.split(':').filter(|dir| dir.starts_with('/')) {
            let candidate = Path::new(dir).join(name);
            match executable(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(CannotRun::Missing { .. }) => {}
                Err(other) => last = Some(other),
            }
        }
        Err(last
            .unwrap_or_else(|| CannotRun::Missing { path: name.clone(), searched: Some(dirs.to_owned()) }))
    }

    fn spawn(&self, path: &Path, output: OwnedFd) -> io::Result<Child> {
        let errors = output.try_clone()?;
        let mut command = Command::new(path);
        if let Some(user) = &self.user {
            let (uid, gid) = account(user)?;
            // To become oneself takes no right, and changing the groups would.
            if uid != rustix::process::geteuid().as_raw() {
                command.uid(uid).gid(gid);
            }
        }
        command
            .args(self.argv.iter().skip(1))
            .env_clear()
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // Wherever we were started, a program must not keep that file system busy.
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true);
        // The writers live in `command`, which ends here: the pipe closes with the program.
        command.spawn()
    }
}

/// A program that was run.
#[derive(Clone, Debug)]
pub struct Finished {
    pub exit: Exit,
    /// Standard output and standard error as they came, at most [`Program::OUTPUT_MAX`] bytes.
    /// Anybody's bytes: escape before printing.
    pub output: Vec<u8>,
    /// Bytes that did not fit.
    pub dropped: u64,
    pub took: Span,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0 is success.
    Code(i32),
    Signal(i32),
    /// It was told to stop when its time was up, and killed if it did not.
    TimedOut,
}

impl Exit {
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "killed by signal {number}"),
            Self::TimedOut => f.write_str("took too long and was stopped"),
        }
    }
}

/// Why a program never ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRun {
    #[error("no program is named")]
    Empty,
    #[error("there is no program {path}{}", .searched.as_ref().map_or(String::new(), |dirs| format!(" in {dirs}")))]
    Missing { path: String, searched: Option<String> },
    #[error("{path} is not a program: {why}")]
    NotExecutable { path: String, why: String },
    #[error("{path} could not be started: {why}")]
    Refused { path: String, why: String },
}

impl CannotRun {
    fn refused(path: &Path, source: &io::Error) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            io::ErrorKind::PermissionDenied => {
                Self::NotExecutable { path, why: "this user may not execute it".into() }
            }
            // The file was there a moment ago, so what is missing is what its first line names.
            io::ErrorKind::NotFound => Self::NotExecutable { path, why: "its interpreter is missing".into() },
            _ => Self::Refused { path, why: source.to_string() },
        }
    }
}

/// The numbers of a user and of its own group.
fn account(user: &str) -> io::Result<(u32, u32)> {
    let found = match user.parse::<u32>() {
        Ok(number) => nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(number))?,
        Err(_) => nix::unistd::User::from_name(user)?,
    };
    let found = found.ok_or_else(|| io::Error::other(format!("there is no user {user}")))?;
    Ok((found.uid.as_raw(), found.gid.as_raw()))
}

fn executable(path: &Path) -> Result<(), CannotRun> {
    let shown = || path.display().to_string();
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            Err(CannotRun::NotExecutable { path: shown(), why: "it is a directory".into() })
        }
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
            Err(CannotRun::NotExecutable { path: shown(), why: "it has no execute permission".into() })
        }
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(CannotRun::Missing { path: shown(), searched: None })
        }
        Err(error) => Err(CannotRun::Refused { path: shown(), why: error.to_string() }),
    }
}

/// SIGTERM to the group, a grace, SIGKILL to the group; the leader is reaped.
async fn stop(child: &mut Child, group: &Group, clock: &Clock) -> io::Result<ExitStatus> {
    group.signal(Signal::TERM);
    let polite = clock.timeout(Program::GRACE, child.wait()).await;
    // Members that outlived their leader are killed as well. Should the group be gone and its
    // number taken again by now, which takes a full turn of all pids, a stranger is hit.
    group.signal(Signal::KILL);
    match polite {
        Some(status) => status,
        None => child.wait().await,
    }
}

/// The processes of one program; killed when dropped before [`Group::leave`].
struct Group(Option<Pid>);

impl Group {
    fn led_by(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        // No such group any more is what was wanted.
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// The program is done; what it left running in the background was meant to run.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Output {
    /// Reads to the end, keeping what fits. May be dropped and called again.
    async fn collect(&mut self, pipe: &mut pipe::Receiver) {
        let mut chunk = vec![0; 8192];
        loop {
            match pipe.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let fits = count.min(Program::OUTPUT_MAX - self.bytes.len());
                    self.bytes.extend_from_slice(&chunk[..fits]);
                    self.dropped += (count - fits) as u64;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("PATH".into(), Program::PATH.into())],
            stdin: Vec::new(),
            timeout: Span::MINUTE,
            user: None,
        }
    }

    async fn finished(program: &Program) -> Finished {
        program.run(&Clock::wall()).await.unwrap()
    }

    fn alive(pid: i32) -> bool {
        // A zombie that nobody has reaped yet runs no more.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
    }

    async fn gone(pid: i32) {
        for _ in 0..500 {
            if !alive(pid) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("process {pid} still runs");
    }

    #[tokio::test]
    async fn a_program_gets_its_input_and_environment_and_nothing_else() {
        let mut program = shell("cat; env; echo oops >&2");
        program.stdin = b"event\n".to_vec();
        program.env.push(("NOLAPSE_EVENT".into(), "deploy; $(id)".into()));
        let done = finished(&program).await;
        assert_eq!(done.exit, Exit::Code(0));
        let output = String::from_utf8(done.output).unwrap();
        assert!(output.starts_with("event\n") && output.ends_with("oops\n"), "{output}");
        assert!(output.contains("NOLAPSE_EVENT=deploy; $(id)\n"), "{output}");
        assert!(!output.contains("CARGO"), "the environment leaked: {output}");
    }

    #[tokio::test]
    async fn t05_arguments_never_meet_a_shell() {
        let mut program = shell("");
        program.argv = ["printf", "%s", "$(id) `id` ; | & \n*"].map(str::to_owned).to_vec();
        assert_eq!(finished(&program).await.output, b"$(id) `id` ; | & \n*");
    }

    #[tokio::test]
    async fn f15_every_way_to_end_is_told_apart() {
        for (script, exit) in [
            ("exit 0", Exit::Code(0)),
            ("exit 3", Exit::Code(3)),
            ("kill -9 $$", Exit::Signal(9)),
            ("kill -15 $$", Exit::Signal(15)),
        ] {
            assert_eq!(finished(&shell(script)).await.exit, exit, "{script}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_output_is_read_and_capped() {
        let done = finished(&shell("head -c 1000000 /dev/zero")).await;
        assert_eq!((done.exit, done.output.len()), (Exit::Code(0), Program::OUTPUT_MAX));
        assert_eq!(done.dropped, 1_000_000 - Program::OUTPUT_MAX as u64);
    }

    #[tokio::test]
    async fn input_that_nobody_reads_holds_nothing_up() {
        let mut program = shell("exec 0<&-; echo done");
        program.stdin = vec![b'x'; 1_000_000];
        assert_eq!(finished(&program).await.output, b"done\n");
    }

    #[tokio::test(start_paused = true)]
    async fn f08_a_hanging_program_is_stopped_with_all_its_group() {
        // The clock stands still until everything sleeps, so no real minute passes.
        let file = tempfile::NamedTempFile::new().unwrap();
        let clock = Clock::starting_at(crate::core::time::Timestamp::EPOCH);
        let mut program = shell("trap '' TERM; sleep 1000 & echo $! > \"$1\"; wait; sleep 1000");
        program.argv.extend(["sh".into(), file.path().to_str().unwrap().into()]);
        let done = {
            let run = program.run(&clock);
            tokio::pin!(run);
            // Real time passes here until the shell has set itself up.
            let child = loop {
                tokio::select! {
                    biased;
                    done = &mut run => break Err(done),
                    () = std::future::ready(()) => {}
                }
                if let Ok(pid) = std::fs::read_to_string(file.path()).unwrap().trim().parse::<i32>() {
                    break Ok(pid);
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            };
            let done = run.await.unwrap();
            (child.unwrap(), done)
        };
        assert_eq!(done.1.exit, Exit::TimedOut);
        assert!(done.1.took >= program.timeout + Program::GRACE, "{}", done.1.took);
        tokio::time::resume();
        gone(done.0).await;
    }

    #[tokio::test]
    async fn a_background_process_that_kept_the_pipe_does_not_hold_us_up() {
        let script = "setsid sh -c 'sleep 1000' & echo $!; exit 0";
        let done = finished(&shell(script)).await;
        assert_eq!(done.exit, Exit::Code(0));
        assert!(done.took < Span::MINUTE);
        let pid: i32 = String::from_utf8(done.output).unwrap().trim().parse().unwrap();
        assert!(alive(pid), "what was left in the background was meant to run");
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn dropping_the_run_kills_the_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut program = shell("sleep 1000 & echo $! > \"$1\"; wait");
        program.argv.extend(["sh".into(), file.path().to_str().unwrap().into()]);
        let clock = Clock::wall();
        let pid = {
            let run = program.run(&clock);
            tokio::pin!(run);
            loop {
                let short = clock.timeout(Span::from_millis(10), &mut run).await;
                assert!(short.is_none(), "the program ended by itself");
                if let Ok(pid) = std::fs::read_to_string(file.path()).unwrap().trim().parse::<i32>() {
                    break pid;
                }
            }
        };
        gone(pid).await;
    }

    #[tokio::test]
    async fn what_cannot_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode: u32| {
            let path = dir.path().join(name);
            // By another process: a write descriptor of ours that some other test's child inherits
            // for a moment would make the file "busy" when it is run.
            let script = format!("umask 0; printf '{text}' > \"$1\"; chmod {mode:o} \"$1\"");
            let written =
                std::process::Command::new("/bin/sh").args(["-c", &script, "sh"]).arg(&path).status();
            assert!(written.unwrap().success());
            path.display().to_string()
        };
        let plain = write("plain", "#!/bin/sh\n", 0o644);
        let orphan = write("orphan", "#!/no/such/interpreter\n", 0o755);
        let inside = dir.path().display().to_string();
        for (program, error) in [
            ("/no/such/program".to_owned(), "there is no program /no/such/program".to_owned()),
            ("nolapse-none".into(), format!("there is no program nolapse-none in {}", Program::PATH)),
            (plain.clone(), format!("{plain} is not a program: it has no execute permission")),
            (orphan.clone(), format!("{orphan} is not a program: its interpreter is missing")),
            (inside.clone(), format!("{inside} is not a program: it is a directory")),
            (String::new(), "no program is named".into()),
        ] {
            let mut row = shell("");
            row.argv = vec![program];
            assert_eq!(row.run(&Clock::wall()).await.unwrap_err().to_string(), error);
        }
    }
}
