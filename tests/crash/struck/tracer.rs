//! The real program under the kernel's tracer: every call that changes something is counted over
//! all its threads, and at one of them the program is killed, or the call refused.
//!
//! strace counts calls for each thread apart, and which thread of the pool writes a file is chance;
//! counted together they come in the same order in each run.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::call::{Call, Raw, Sort};

/// Longest run; a program that takes longer is killed, and its run has no exit code.
const RUN_MOST: Duration = Duration::from_secs(60);

/// What happens to the program at its `at`th call, counted from 0 over the calls that count.
#[derive(Clone, Copy, Debug)]
pub enum Strike {
    /// Nothing: the run is only recorded.
    Watch,
    KillBefore(usize),
    KillAfter(usize),
    /// The call is not made and answers with this error; `further` more calls of its sort too.
    Refuse {
        at: usize,
        errno: Errno,
        further: usize,
    },
}

/// How a run went.
#[derive(Debug)]
pub struct Ran {
    /// The calls that counted, until its end.
    pub calls: Vec<Call>,
    /// The call at which it was struck; `None`: it made fewer.
    pub struck: Option<Call>,
    /// `None`: killed.
    pub code: Option<i32>,
    pub said: String,
    /// What it was refused with.
    pub refused: Option<Errno>,
}

/// Why programs can't be traced here, if they can't.
pub fn disabled() -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("true");
    match run(&mut command, dir.path(), Strike::Watch, |_| true) {
        Ok(ran) if ran.code == Some(0) => None,
        Ok(ran) => Some(format!("true(1) ended with {:?} under the tracer", ran.code)),
        Err(errno) => Some(format!("ptrace: {errno}")),
    }
}

/// Runs `command` to its end. `counts` says which calls do.
///
/// # Errors
/// The kernel does not let us trace.
#[allow(clippy::zombie_processes, reason = "the tracer itself waits for every thread of it")]
pub fn run(
    command: &mut Command,
    site: &Path,
    strike: Strike,
    counts: impl Fn(&Call) -> bool,
) -> Result<Ran, Errno> {
    let said = site.join("said");
    std::fs::create_dir_all(&said).unwrap();
    let file = || std::fs::File::options().create(true).append(true).open(said.join("all")).unwrap();
    std::fs::write(said.join("all"), "").unwrap();
    // It waits for its tracer before it becomes the program.
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let child = shell.stdin(Stdio::null()).stdout(file()).stderr(file()).spawn().unwrap();
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
    assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    if let Err(errno) = ptrace::seize(main, options) {
        kill(main);
        waitpid(main, None)?;
        return Err(errno);
    }
    nix::sys::signal::kill(main, nix::sys::signal::Signal::SIGCONT)?;
    let (over, watched) = mpsc::channel::<()>();
    let dog = std::thread::spawn(move || {
        if watched.recv_timeout(RUN_MOST) == Err(mpsc::RecvTimeoutError::Timeout) {
            kill(main);
        }
    });
    let mut trace = Trace {
        main,
        site,
        strike,
        counts,
        open: HashMap::new(),
        begun: false,
        ran: Vec::new(),
        struck: None,
        left: 0,
    };
    let code = trace.follow();
    drop(over);
    dog.join().unwrap();
    let said = String::from_utf8_lossy(&std::fs::read(said.join("all")).unwrap()).into_owned();
    let refused = if let Strike::Refuse { errno, .. } = strike { Some(errno) } else { None };
    Ok(Ran { calls: trace.ran, struck: trace.struck, code: code?, said, refused })
}

struct Trace<'a, F> {
    main: Pid,
    site: &'a Path,
    strike: Strike,
    counts: F,
    /// Threads inside a call that counts, and what becomes of it at its end.
    open: HashMap<Pid, Ending>,
    /// The program itself runs, not the shell before it.
    begun: bool,
    ran: Vec<Call>,
    struck: Option<Call>,
    /// How many further calls are refused.
    left: usize,
}

#[derive(Clone, Copy)]
enum Ending {
    Nothing,
    Kill,
    Answer(Errno),
}

impl<F: Fn(&Call) -> bool> Trace<'_, F> {
    /// Until the program ends; its exit code.
    fn follow(&mut self) -> Result<Option<i32>, Errno> {
        // Only children of this very thread: other tests have theirs.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let (thread, signal) = match waitpid(None, Some(flags))? {
                WaitStatus::Exited(thread, code) if thread == self.main => return Ok(Some(code)),
                WaitStatus::Signaled(thread, ..) if thread == self.main => return Ok(None),
                WaitStatus::PtraceSyscall(thread) => {
                    // A thread that was killed meanwhile has nothing to tell.
                    let _ = self.look(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    self.begun |= event == Event::PTRACE_EVENT_EXEC as i32;
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
                _ => continue,
            };
            let _ = ptrace::syscall(thread, signal);
        }
    }

    /// A thread stands at the beginning or the end of a call.
    fn look(&mut self, thread: Pid) -> Result<(), Errno> {
        if !self.begun {
            return Ok(());
        }
        if let Some(ending) = self.open.remove(&thread) {
            match ending {
                Ending::Nothing => {}
                Ending::Kill => kill(self.main),
                Ending::Answer(errno) => {
                    let mut registers = ptrace::getregs(thread)?;
                    registers.rax = i64::from(-(errno as i32)).cast_unsigned();
                    ptrace::setregs(thread, registers)?;
                }
            }
            return Ok(());
        }
        let registers = ptrace::getregs(thread)?;
        let raw = Raw {
            number: registers.orig_rax.cast_signed(),
            arguments: [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8],
        };
        let Some(call) = Call::of(&raw, thread, self.site).filter(|call| (self.counts)(call)) else {
            return Ok(());
        };
        let at = self.ran.len();
        self.ran.push(call.clone());
        let mut ending = Ending::Nothing;
        match self.strike {
            Strike::KillBefore(here) if here == at => {
                self.struck = Some(call);
                skip(thread, registers)?;
                kill(self.main);
                return Ok(());
            }
            Strike::KillAfter(here) if here == at => {
                self.struck = Some(call);
                ending = Ending::Kill;
            }
            Strike::Refuse { at: here, errno, further } if here == at => {
                self.struck = Some(call);
                self.left = further;
                ending = Ending::Answer(errno);
            }
            Strike::Refuse { errno, .. } if self.left > 0 && self.alike(&call, errno) => {
                self.left -= 1;
                ending = Ending::Answer(errno);
            }
            _ => {}
        }
        if matches!(ending, Ending::Answer(_)) {
            skip(thread, registers)?;
        }
        self.open.insert(thread, ending);
        Ok(())
    }

    /// Whether what refused one call would refuse this one as well.
    fn alike(&self, call: &Call, errno: Errno) -> bool {
        let Some(first) = &self.struck else { return false };
        let alike = (first.sort == Sort::Socket) == (call.sort == Sort::Socket);
        match (errno, call.sort) {
            // The very same call, again and again.
            (Errno::EINTR, _) => first.name == call.name,
            // A full disk lets go of files, and lets them be read and locked.
            (Errno::ENOSPC | Errno::EDQUOT, Sort::Remove | Sort::Lock | Sort::Open) => false,
            _ => alike,
        }
    }
}

/// Lets the kernel find no such call.
fn skip(thread: Pid, mut registers: libc::user_regs_struct) -> Result<(), Errno> {
    registers.orig_rax = u64::MAX;
    ptrace::setregs(thread, registers)
}

/// Ends it at once, all threads. One that is gone already is as good.
fn kill(main: Pid) {
    let _ = nix::sys::signal::kill(main, nix::sys::signal::Signal::SIGKILL);
}
