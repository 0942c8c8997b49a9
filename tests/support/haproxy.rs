//! A real haproxy in master-worker mode on loopback, reloaded by SIGUSR2 as its unit does.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::agent::Site;
use super::nginx::installed;
use super::ports::{self, wait_for};

/// A running haproxy. Ends when dropped.
pub struct Haproxy {
    dir: PathBuf,
    child: Child,
    pub https: u16,
}

impl Haproxy {
    /// Serves the PEM file `combined`, which must be there. `None`, with a line that starts with
    /// `SKIPPED:`, where haproxy is not installed.
    pub fn start(site: &Site, combined: &str) -> Option<Self> {
        if !installed("haproxy") {
            println!("SKIPPED: haproxy is not installed (Debian: apt install haproxy)");
            return None;
        }
        let dir = site.path("haproxy");
        std::fs::create_dir_all(&dir).unwrap();
        let https = ports::free();
        let text = format!(
            "global\n  maxconn 50\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
             timeout server 60s\n  timeout http-keep-alive 60s\n  option idle-close-on-response\n\
             frontend tls\n  bind 127.0.0.1:{https} ssl crt {combined}\n  \
             http-request return status 200 content-type text/plain string ok\n"
        );
        std::fs::write(dir.join("haproxy.cfg"), text).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("haproxy")
            .args(["-W", "-db", "-f"])
            .arg(dir.join("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let haproxy = Self { dir, child, https };
        assert!(wait_for(Duration::from_secs(20), || ports::answers(https)), "{}", haproxy.log());
        Some(haproxy)
    }

    pub fn check(&self) -> Vec<String> {
        let conf = self.dir.join("haproxy.cfg").to_str().unwrap().to_owned();
        vec!["haproxy".into(), "-c".into(), "-q".into(), "-f".into(), conf]
    }

    pub fn reload(&self) -> Vec<String> {
        vec!["kill".into(), "-USR2".into(), self.child.id().to_string()]
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // The master ends its workers; killed outright it would leave them behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let mut ended = || matches!(self.child.try_wait(), Ok(Some(_)));
        if !wait_for(Duration::from_secs(10), &mut ended) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
