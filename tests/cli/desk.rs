//! A directory with a configuration, and the real program run against it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use test_ca::{Ca, CaBuilder, Endpoint};

pub struct Desk {
    dir: tempfile::TempDir,
    /// Where a CA looks for answers, and where ours listen.
    pub port: u16,
}

/// What a run said.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("nolapse-cli-").tempdir().unwrap();
        // Other users must get through to what is theirs.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        Self { dir, port: free_port() }
    }

    /// With `[agent]` set up and this text after it.
    pub fn with(text: &str) -> Self {
        let desk = Self::new();
        desk.configure(text);
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn show(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn configure(&self, text: &str) {
        let agent =
            format!("[agent]\nstate-dir = \"{}\"\nrun-dir = \"{}\"\n", self.show("state"), self.show("run"));
        self.write("etc/nolapse.toml", &format!("{agent}{text}"));
    }

    /// An issuer `test` and a solver `here` for this CA.
    pub fn around(&self, ca: &Ca) -> String {
        issuer(ca)
            + &format!("[solver.here]\nlisten = \"127.0.0.1:{0}\"\ncheck-port = {0}\n", self.port)
            + "[defaults]\nissuer = \"test\"\nsolver = \"here\"\n"
    }

    pub fn ca(&self) -> CaBuilder {
        Ca::builder().plain_http().resolve_all([127, 0, 0, 1]).http_port(self.port)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nolapse"));
        self.prepare(&mut command, arguments);
        command
    }

    fn prepare(&self, command: &mut Command, arguments: &[&str]) {
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("NOLAPSE_CONFIG", self.path("etc/nolapse.toml"))
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null());
    }

    pub fn run(&self, arguments: &[&str]) -> Told {
        Told::of(self.command(arguments).output().unwrap())
    }

    /// As another user; only root can.
    pub fn run_as(&self, uid: u32, arguments: &[&str]) -> Told {
        // The test's program lies where that user may not reach it.
        let copy = self.path("nolapse");
        if !copy.exists() {
            // By another process: a descriptor of ours that some other child inherits for a moment
            // would make the file "busy" when it is run.
            let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_nolapse")).arg(&copy).status();
            assert!(copied.unwrap().success());
        }
        let mut command = Command::new(copy);
        self.prepare(&mut command, arguments);
        Told::of(command.uid(uid).gid(uid).output().unwrap())
    }

    /// Everything below a directory, itself included.
    pub fn files(&self, name: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![self.path(name)];
        while let Some(path) = todo.pop() {
            let Ok(meta) = path.symlink_metadata() else { continue };
            if meta.is_dir() {
                todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.push(path);
        }
        found
    }
}

impl Told {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    #[track_caller]
    pub fn warns(self, words: &str) -> Self {
        assert!(self.err.contains(words), "{words:?} is not in stderr:\n{}", self.err);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.out.contains(words), "{words:?} is not in stdout:\n{}", self.out);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.out))
    }
}

/// An issuer `test` for this CA.
pub fn issuer(ca: &Ca) -> String {
    format!("[issuer.test]\ndirectory = \"{}\"\ninsecure-http = true\n", ca.directory_url())
}

/// A port that no listener on port 0 is given meanwhile: below the kernel's ephemeral range.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (std::process::id().wrapping_mul(97).wrapping_add(step) % 12_000);
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn orders(ca: &Ca) -> usize {
    ca.count(Endpoint::NewOrder)
}

/// Some certificate, as PEM.
pub fn self_signed(name: &str) -> String {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem()
}

pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
