//! A real server on loopback, from a directory of its own: its processes.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::kind::{Kind, postgres};
use crate::support::ports::wait_for;

/// A running server. Ends when dropped.
pub struct Server {
    pub kind: Kind,
    pub dir: PathBuf,
    pub ip: IpAddr,
    pub port: u16,
    child: Option<Child>,
}

const POSTFIX_MASTER: &str = "/usr/lib/postfix/sbin/master";
const START_MOST: Duration = Duration::from_secs(30);

impl Server {
    /// Not started yet. Its configuration and everything that it writes lies in `dir`.
    pub fn new(kind: Kind, dir: PathBuf, ip: IpAddr, port: u16) -> Self {
        std::fs::create_dir_all(&dir).unwrap();
        Self { kind, dir, ip, port, child: None }
    }

    pub fn start(&mut self) {
        let dir = self.dir.to_str().unwrap();
        let conf = self.conf();
        let conf = conf.to_str().unwrap();
        let mut command = match self.kind {
            Kind::Nginx => argv("nginx", &["-p", dir, "-c", conf, "-e", "stderr"]),
            Kind::Haproxy => argv("haproxy", &["-W", "-db", "-q", "-f", conf]),
            Kind::Apache => argv("apache2", &["-f", conf, "-DFOREGROUND"]),
            Kind::Postfix => argv(POSTFIX_MASTER, &["-d", "-c", &self.etc()]),
            Kind::Dovecot => argv("dovecot", &["-F", "-c", conf]),
            Kind::Caddy => argv("caddy", &["run", "--adapter", "caddyfile", "--config", conf]),
            Kind::Proftpd => argv("proftpd", &["-n", "-q", "-c", conf]),
            Kind::Postgres => self.as_postgres("postgres", &["-D", &format!("{dir}/data")]),
        };
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        std::fs::write(self.pid_file(), child.id().to_string()).unwrap();
        self.child = Some(child);
        let address = SocketAddr::new(self.ip, self.port);
        let up = wait_for(START_MOST, || TcpStream::connect(address).is_ok());
        assert!(up, "{:?} does not listen at {address}: {}", self.kind, self.log());
    }

    /// A program of its own, as its own user.
    pub fn as_postgres(&self, program: &str, words: &[&str]) -> Command {
        let mut command = argv("setpriv", &["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        command.arg(postgres(program)).args(words).current_dir(&self.dir);
        command
    }

    /// Ends it with all its processes, frozen ones too.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pids = family(child.id());
        for pid in &pids {
            kill("-CONT", *pid);
        }
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        if !wait_for(Duration::from_secs(5), || matches!(child.try_wait(), Ok(Some(_)))) {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What a master left behind would keep the port.
        for pid in pids {
            if alive_child(pid, &self.dir) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
            }
        }
        let address = SocketAddr::new(self.ip, self.port);
        let _ = wait_for(Duration::from_secs(5), || TcpStream::connect(address).is_err());
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("main.pid")
    }

    pub fn main(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn freeze_main(&self) {
        kill("-STOP", self.main());
    }

    /// Everything below the main process.
    pub fn freeze_workers(&self) {
        for pid in family(self.main()).into_iter().filter(|pid| *pid != self.main()) {
            kill("-STOP", pid);
        }
    }

    /// The main process may open no further file.
    pub fn starve(&self) {
        let limits = format!("--nofile=4:{}", 1024);
        let done = Command::new("prlimit").args(["--pid", &self.main().to_string(), &limits]).status();
        assert!(done.unwrap().success());
    }

    /// What a service's `reload` runs, without the program that runs it.
    pub fn reload_line(&self) -> String {
        let signal = match self.kind {
            // It is told by a request, which its own program makes.
            Kind::Caddy => {
                return format!(
                    "caddy reload --force --adapter caddyfile --config {} --address unix/{}",
                    self.conf().display(),
                    self.dir.join("admin.sock").display()
                );
            }
            Kind::Haproxy => "-USR2",
            Kind::Apache => "-USR1",
            _ => "-HUP",
        };
        format!("kill {signal} $(cat {})", self.pid_file().display())
    }

    pub fn reload(&self) {
        let done = Command::new("sh").args(["-c", &self.reload_line()]).status().unwrap();
        assert!(done.success(), "reload of {:?}", self.kind);
    }

    /// What a service's `check` runs.
    pub fn check(&self) -> Vec<String> {
        let (dir, conf) = (self.dir.to_str().unwrap(), self.conf());
        let conf = conf.to_str().unwrap();
        let etc = self.etc();
        let words: Vec<&str> = match self.kind {
            Kind::Nginx => vec!["nginx", "-t", "-q", "-p", dir, "-e", "stderr", "-c", conf],
            Kind::Haproxy => vec!["haproxy", "-c", "-q", "-f", conf],
            Kind::Apache => vec!["apache2", "-t", "-f", conf],
            Kind::Postfix => vec!["postfix", "-c", &etc, "check"],
            Kind::Dovecot => vec!["doveconf", "-c", conf, "-n"],
            Kind::Caddy => vec!["caddy", "validate", "--adapter", "caddyfile", "--config", conf],
            Kind::Proftpd => vec!["proftpd", "--configtest", "-c", conf],
            // It has none.
            Kind::Postgres => vec!["true"],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    pub fn log(&self) -> String {
        ["log", "error.log", "mail.log", "tls.log"]
            .map(|name| std::fs::read_to_string(self.dir.join(name)).unwrap_or_default())
            .concat()
    }

    pub fn etc(&self) -> String {
        self.dir.join("etc").to_str().unwrap().to_owned()
    }

    pub fn conf(&self) -> PathBuf {
        self.dir.join("server.conf")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn argv(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(words).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn kill(signal: &str, pid: u32) {
    // A worker that ended a moment ago is no worker to signal.
    let _ = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// A process and all below it.
fn family(main: u32) -> Vec<u32> {
    let mut found = vec![main];
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut at = 0;
    while let Some(of) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a number still belongs to a process that has to do with `dir`, or to a worker that
/// changed its title: never to somebody who got the number since.
fn alive_child(pid: u32, dir: &Path) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    let title = ["nginx: worker", "dovecot/", "smtpd", "tlsmgr", "anvil", "postgres:", "proftpd:"];
    parent(pid) == Some(1)
        && (words.contains(dir.to_str().unwrap()) || title.iter().any(|known| words.starts_with(known)))
}
