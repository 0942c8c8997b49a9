//! A CA, a web server for its questions, and a directory in which the program is run again and
//! again from the same state.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nolapse::codec::state;
use nolapse::core::layout::Content;
use nolapse::core::name::LineageId;
use nolapse::core::record::{Installed, LineageRecord};
use nolapse::core::time::Timestamp;
use nolapse::ports::{Expect, Key, Store};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use test_ca::{Ca, Endpoint, RequestRecord};
use tokio::runtime::Runtime;

use super::ports;
use crate::scratch::scratch;

pub const NAME: &str = "a.example";

/// How the CA's questions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// As files that another program serves: they stay when ours dies.
    Files,
    /// By the program's own listener.
    Listener,
}

/// One CA and one directory; only one program at a time.
pub struct Host {
    dir: tempfile::TempDir,
    pub ca: Ca,
    runtime: Runtime,
    server: WebServer,
    listen: u16,
    /// Copies of the directory.
    aside: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        let dir = scratch();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let server = WebServer::start(&dir.path().join("www"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ca = Ca::builder().plain_http().resolve_all([127, 0, 0, 1]).http_port(server.port);
        let ca = runtime.block_on(ca.start()).unwrap();
        Self { dir, ca, runtime, server, listen: ports::free(), aside: scratch() }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A host on which the program never ran.
    pub fn fresh(&self, answers: Answers, names: &[&str]) {
        for dir in ["state", "run", "out", "www", "conf", "said"] {
            let dir = self.path(dir);
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir(&dir).unwrap();
        }
        let closed = PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(self.path("state"), closed).unwrap();
        let _ = std::fs::remove_file(self.path("told"));
        let at = |name: &str| self.path(name).display().to_string();
        let solver = match answers {
            Answers::Files => format!("webroot = {:?}", at("www")),
            Answers::Listener => format!("listen = \"127.0.0.1:{}\"", self.listen),
        };
        let port = self.asked_at(answers);
        let text = format!(
            r#"[agent]
state-dir = {state:?}
run-dir = {run:?}
[issuer.test]
directory = "{directory}"
insecure-http = true
[solver.way]
{solver}
check-port = {port}
[hook.app]
run = ["/bin/sh", "-c", "echo $NOLAPSE_GENERATION >> {told}"]
[certificate."{NAME}"]
names = {names:?}
issuer = "test"
solver = "way"
hooks = ["app"]
combined = {combined:?}
"#,
            state = at("state"),
            run = at("run"),
            directory = self.ca.directory_url(),
            told = at("told"),
            combined = at("out/combined.pem"),
        );
        std::fs::write(self.path("conf/nolapse.toml"), text).unwrap();
    }

    /// Where the CA asks for answers from now on.
    pub fn asked_at(&self, answers: Answers) -> u16 {
        let port = match answers {
            Answers::Files => self.server.port,
            Answers::Listener => self.listen,
        };
        self.ca.set_http_port(port);
        port
    }

    /// Keeps a copy of how everything is now.
    pub fn put_aside(&self, name: &str) {
        let to = self.aside.path().join(name);
        let _ = std::fs::remove_dir_all(&to);
        copy(self.dir(), &to);
    }

    /// Makes everything as it was.
    pub fn take_back(&self, name: &str) {
        for entry in std::fs::read_dir(self.dir()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }
        copy(&self.aside.path().join(name).join("."), self.dir());
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_nolapse")), arguments)
    }

    /// As [`Self::command`], by a copy of the program.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("--config")
            .arg(self.path("conf/nolapse.toml"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// An undisturbed run.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// An undisturbed run that ends well.
    #[track_caller]
    pub fn well(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    }

    /// Orders that the CA took; one that it refused, as a `replaces` that was used up, is none.
    pub fn orders(&self) -> usize {
        let made =
            |request: &&RequestRecord| request.endpoint == Endpoint::NewOrder && request.status == Some(201);
        self.ca.requests().iter().filter(made).count()
    }

    /// The record as the store reads it; an error where it can't.
    pub fn record(&self) -> Result<Option<LineageRecord>, String> {
        let content = self.load(&Key::Lineage(LineageId::parse(NAME).unwrap()))?;
        content.map(|content| state::decode_record(&content).map_err(|error| error.to_string())).transpose()
    }

    /// This host's note as the store reads it.
    pub fn installed(&self) -> Result<Option<Installed>, String> {
        let content = self.load(&Key::Installed(LineageId::parse(NAME).unwrap()))?;
        content
            .map(|content| state::decode_installed(&content).map_err(|error| error.to_string()))
            .transpose()
    }

    /// Lets the time come at which answers that could not be removed are tried again; whether
    /// there are any.
    pub fn debts_come_due(&self) -> Result<bool, String> {
        let Some(mut record) = self.record()?.filter(|record| !record.debts.is_empty()) else {
            return Ok(false);
        };
        for debt in &mut record.debts {
            debt.next_at = Timestamp::from_millis(0);
        }
        let content = state::encode_record(&record).map_err(|error| error.to_string())?;
        let key = Key::Lineage(record.id.clone());
        self.runtime.block_on(async {
            let opened = DirStore::open(Disk::real(), Clock::wall(), &self.path("state")).await;
            let store = opened.map_err(|error| error.to_string())?;
            let swapped = store.swap(&key, Expect::Anything, content).await;
            swapped.map(|_| true).map_err(|error| error.to_string())
        })
    }

    fn load(&self, key: &Key) -> Result<Option<Content>, String> {
        if !self.path("state/lineages").is_dir() {
            return Ok(None);
        }
        let store = DirStore::open_to_read(Disk::real(), &self.path("state")).map_err(|e| e.to_string())?;
        let entry = self.runtime.block_on(store.load(key)).map_err(|error| error.to_string())?;
        Ok(entry.map(|entry| entry.content))
    }

    /// Generations that the hook was told of, in order.
    pub fn told(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.path("told")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// Code and words of a run.
pub fn words(output: &Output) -> String {
    format!(
        "{:?} {} {}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).trim_end(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
}

/// With modes, links and second names.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Serves the files of one directory.
struct WebServer {
    port: u16,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl WebServer {
    fn start(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let (ended, root) = (over.clone(), root.to_owned());
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever left before the answer does not miss it.
                let _ = connection.and_then(|connection| answer(&connection, &root));
            }
        });
        Self { port, over, thread: Some(thread) }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Longest wait for a client's request.
const REQUEST_MOST: std::time::Duration = std::time::Duration::from_secs(5);

fn answer(connection: &TcpStream, root: &Path) -> std::io::Result<()> {
    connection.set_read_timeout(Some(REQUEST_MOST))?;
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let (status, body) = match std::fs::read(root.join(path)) {
        Ok(body) if !path.contains("..") => ("200 OK", body),
        _ => ("404 Not Found", Vec::new()),
    };
    let mut to = connection;
    write!(to, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    to.write_all(&body)
}
