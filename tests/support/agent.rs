//! The real program: one run, or a daemon with captured output, in a directory of its own.
//!
//! When a [`Site`] is dropped everything that the program said or published is searched for the
//! private keys it made: no test can pass while one leaks (T12).

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::config::Config;
use super::ports::wait_for;

/// Longest single run of the program.
const RUN_MOST: Duration = Duration::from_secs(150);

/// Where one test lives: configuration, state, what servers write.
pub struct Site {
    dir: tempfile::TempDir,
    runs: AtomicUsize,
    /// Further texts that may never be printed.
    pub secrets: Vec<String>,
    /// What stands before every program of this site, to run it as somebody else.
    pub wrapper: Vec<String>,
    program: PathBuf,
}

/// How one run went.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

/// A program that is still running. Ends when dropped.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    started: Instant,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("nolapse-servers-").tempdir().unwrap();
        // Web servers' workers and other users pass through; the state closes itself.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["conf", "run", "www", "said"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            dir,
            runs: AtomicUsize::new(0),
            secrets: Vec::new(),
            wrapper: Vec::new(),
            program: env!("CARGO_BIN_EXE_nolapse").into(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same, for a configuration.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn config(&self) -> Config {
        Config::at(self.dir.path())
    }

    pub fn root(&self) -> PathBuf {
        self.path("api-root.pem")
    }

    pub fn write(&self, config: &Config) {
        self.put("conf/nolapse.toml", &config.render());
    }

    /// Replaces a file whole, as an editor does.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// An executable shell script.
    pub fn script(&self, name: &str, body: &str) -> String {
        self.put(name, &format!("#!/bin/sh\n{body}\n"));
        let path = self.path(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn live(&self, name: &str, file: &str) -> PathBuf {
        self.path("state/live").join(name).join(file)
    }

    /// The lineage's record; `None` before the first write of it.
    pub fn record(&self, name: &str) -> Option<Value> {
        entry(&self.path("state/lineages").join(name))
    }

    /// This node's note of the lineage.
    pub fn installed(&self, name: &str) -> Option<Value> {
        entry(&self.path("state/installed").join(name))
    }

    /// Number of the current generation; 0 for none.
    pub fn generation(&self, name: &str) -> u64 {
        self.record(name).and_then(|record| record["current"]["number"].as_u64()).unwrap_or(0)
    }

    /// One line of `status --json`.
    pub fn status(&self, name: &str) -> Value {
        let ran = self.run(&["status", "--json"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let lines = report["lineages"].as_array().unwrap();
        lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{report}")).clone()
    }

    /// The program with this site's configuration, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.wrapped(self.program.to_str().unwrap());
        command.arg("--config").arg(self.path("conf/nolapse.toml")).args(args);
        clean(&mut command);
        command
    }

    /// Any program, as this site runs programs.
    pub fn wrapped(&self, program: &str) -> Command {
        let mut argv = self.wrapper.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(argv.next().unwrap_or(program));
        command.args(argv);
        command
    }

    /// Gives everything here to `uid`, and a copy of the program that it can reach.
    pub fn give(&mut self, uid: u32) {
        let copy = self.path("nolapse");
        if std::fs::hard_link(&self.program, &copy).is_err() {
            std::fs::copy(&self.program, &copy).unwrap();
        }
        self.program = copy;
        for name in ["conf", "run", "www", "nginx"] {
            std::fs::create_dir_all(self.path(name)).unwrap();
            std::os::unix::fs::chown(self.path(name), Some(uid), Some(uid)).unwrap();
        }
        std::os::unix::fs::chown(self.dir.path(), Some(uid), Some(uid)).unwrap();
    }

    pub fn start(&self, args: &[&str]) -> Running {
        self.spawn(self.command(args))
    }

    pub fn spawn(&self, mut command: Command) -> Running {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!("said/{number}.out")), self.path(&format!("said/{number}.err")));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Running { child, out, err, started: Instant::now() }
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.start(args).finish()
    }

    /// Runs to the end, which must be `code`.
    pub fn expect(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "nolapse {args:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    /// A daemon that has said it is ready.
    pub fn daemon(&self) -> Running {
        let mut daemon = self.start(&["--log-format", "text", "run"]);
        daemon.wait_for_log("ready");
        daemon
    }

    /// Everything that was printed so far, and what is published.
    fn said(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut said = Vec::new();
        for dir in ["said", "run", "state/lineages", "state/installed", "state/locks", "seen"] {
            let Ok(entries) = std::fs::read_dir(self.path(dir)) else { continue };
            for entry in entries.flatten() {
                if let Ok(bytes) = std::fs::read(entry.path()) {
                    said.push((entry.path(), bytes));
                }
            }
        }
        said
    }

    /// Pieces of every private key below the state, 24 characters of base64 each: long enough
    /// never to be met by chance, short enough to find a key that was wrapped or cut.
    pub fn canaries(&self) -> Vec<String> {
        let mut texts = Vec::new();
        collect(&self.path("state"), &mut texts);
        let mut pieces = self.secrets.clone();
        for text in texts {
            for key in private_keys(&text) {
                // The head of a key is the same for all keys of its kind, so it is no secret.
                let chars: Vec<char> = key.chars().skip(64).collect();
                pieces.extend(chars.chunks_exact(24).take(8).map(|piece| piece.iter().collect::<String>()));
            }
        }
        pieces
    }

    /// The first place where a private key shows, if there is one.
    pub fn leak(&self) -> Option<String> {
        let pieces = self.canaries();
        self.said().into_iter().find_map(|(path, bytes)| {
            let text = String::from_utf8_lossy(&bytes);
            let piece = pieces.iter().find(|piece| text.contains(*piece))?;
            Some(format!("{} holds a piece of a private key: {piece}", path.display()))
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (path, bytes) in self.said() {
                println!("--- {}\n{}", path.display(), String::from_utf8_lossy(&bytes));
            }
            return;
        }
        if let Some(leak) = self.leak() {
            panic!("{leak}");
        }
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap_or_default()
    }

    pub fn wait_for_log(&mut self, words: &str) {
        let found = wait_for(Duration::from_secs(40), || self.log().contains(words) || self.ended());
        assert!(found && self.log().contains(words), "never logged {words:?}:\n{}", self.log());
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// `HUP`, `TERM`, `KILL`, …
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) -> Option<ExitStatus> {
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    /// Waits for its own end.
    pub fn finish(mut self) -> Ran {
        let until = self.started + RUN_MOST;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Ran { code: status.code(), out: read(&self.out), err: read(&self.err), took: self.started.elapsed() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process, at once.
pub fn signal(pid: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match name {
        "HUP" => Signal::HUP,
        "TERM" => Signal::TERM,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "KILL" => Signal::KILL,
        _ => panic!("SIG{name}?"),
    };
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap_or_else(|error| panic!("SIG{name} to {pid:?}: {error}"));
}

/// This process may do what root may.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The environment of a test says nothing to the program.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("NOLAPSE_")
            || text.ends_with("_DIRECTORY")
            || ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "JOURNAL_STREAM"]
                .contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
}

/// What the JSON below the store's envelope holds.
fn entry(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut body: Value = serde_json::from_str(text.split_once('\n')?.1).ok()?;
    Some(body["record"].take())
}

fn collect(dir: &Path, texts: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, texts);
        } else if let Ok(bytes) = std::fs::read(&path) {
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// Bodies of PEM keys, and of keys in JSON strings, without line breaks.
fn private_keys(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let plain = text.replace("\\n", "\n");
    let mut rest = plain.as_str();
    while let Some((_, after)) = rest.split_once("PRIVATE KEY-----") {
        let Some((body, next)) = after.split_once("-----END") else { break };
        keys.push(body.split_whitespace().collect());
        rest = next.split_once("KEY-----").map_or("", |(_, rest)| rest);
    }
    if let Some((_, json)) = text.split_once('\n')
        && let Ok(value) = serde_json::from_str::<Value>(json)
    {
        json_keys(&value, &mut keys);
    }
    keys
}

/// Fields that are called a key and hold enough base64 for one.
fn json_keys(value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name.contains("key") && text.len() > 88 => {
                        keys.push(text.split_whitespace().collect());
                    }
                    value => json_keys(value, keys),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| json_keys(value, keys)),
        _ => {}
    }
}
