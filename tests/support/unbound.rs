//! A real validating resolver on loopback, Debian's `unbound`, over the zones of a name server of ours.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::bind::NameServer;
use super::ports::{self, wait_for};

/// Longest time until it answers.
const START_MOST: Duration = Duration::from_secs(20);

/// A running resolver. Ends when dropped.
pub struct Resolver {
    dir: PathBuf,
    pub port: u16,
    child: Child,
}

impl Resolver {
    /// It knows that `acme.test` is signed, which it is not: all that it says is bogus. `example.test`
    /// needs no signature. `None`, with a line that starts with `SKIPPED:`, where it is not installed.
    pub fn over(server: &NameServer, dir: &Path) -> Option<Self> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&paths).chain(["/usr/sbin".into()]);
        let Some(program) = dirs.map(|dir| dir.join("unbound")).find(|path| path.is_file()) else {
            println!("SKIPPED: unbound is not installed (Debian: apt install unbound)");
            return None;
        };
        std::fs::create_dir_all(dir).unwrap();
        let (port, at) = (ports::free(), dir.display());
        let stub =
            |zone: &str| format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: 127.0.0.1@{}\n", server.port);
        let conf = format!(
            "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  username: \"\"\n\
             chroot: \"\"\n  directory: \"{at}\"\n  pidfile: \"{at}/pid\"\n  use-syslog: no\n  logfile: \"\"\n\
             do-not-query-localhost: no\n  access-control: 127.0.0.0/8 allow\n  num-threads: 1\n\
             module-config: \"validator iterator\"\n  local-zone: \"test.\" nodefault\n\
             domain-insecure: \"example.test\"\n  trust-anchor: \"acme.test. DS 4711 13 2 {}\"\n\
             remote-control:\n  control-enable: no\n{}{}{}",
            "AB".repeat(32),
            stub("example.test"),
            stub("acme.test"),
            stub("."),
        );
        std::fs::write(dir.join("unbound.conf"), conf).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new(program)
            .arg("-d")
            .arg("-c")
            .arg(dir.join("unbound.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let resolver = Self { dir: dir.to_owned(), port, child };
        let up = wait_for(START_MOST, || resolver.knows("example.test"));
        assert!(up, "the resolver does not answer:\n{}", resolver.log());
        Some(resolver)
    }

    fn knows(&self, name: &str) -> bool {
        let asked = Command::new("dig")
            .args(["+short", "+time=1", "+tries=1", "-p", &self.port.to_string(), "@127.0.0.1", name, "SOA"])
            .output()
            .unwrap();
        asked.status.success() && !asked.stdout.is_empty()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the resolver's log:\n{}", self.log());
        }
    }
}
