//! A real nginx on loopback, from a directory of its own, by any user.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::agent::{Site, is_root};
use super::ports::{self, wait_for};
use super::served;

/// A running nginx. Ends when dropped.
pub struct Nginx {
    dir: PathBuf,
    /// Where it serves `www` of the site by plain HTTP.
    pub http: u16,
    pub https: u16,
    as_root: bool,
}

impl Nginx {
    /// `None`, with a line that starts with `SKIPPED:`, where nginx is not installed.
    ///
    /// Starts with HTTP alone: there are no certificates yet. [`Self::serve`] adds them.
    pub fn start(site: &Site, http: u16) -> Option<Self> {
        if !installed("nginx") {
            println!("SKIPPED: nginx is not installed (Debian: apt install nginx-light)");
            return None;
        }
        let dir = site.path("nginx");
        std::fs::create_dir_all(&dir).unwrap();
        let nginx = Self { dir, http, https: ports::free(), as_root: is_root() && site.wrapper.is_empty() };
        nginx.write("");
        let mut start = site.wrapped("nginx");
        let started = start.arg("-c").arg(nginx.conf()).arg("-e").arg(nginx.error_log()).output().unwrap();
        assert!(started.status.success(), "nginx: {}", String::from_utf8_lossy(&started.stderr));
        // It listens before it has a worker, and a signal sent in between may be lost: an answer shows one.
        assert!(wait_for(Duration::from_secs(20), || has_worker(http)), "nginx does not answer");
        Some(nginx)
    }

    pub fn conf(&self) -> PathBuf {
        self.dir.join("nginx.conf")
    }

    /// `nginx -t`, as a service's check.
    pub fn check(&self) -> Vec<String> {
        ["nginx", "-t", "-q", "-e", "stderr", "-c"]
            .map(str::to_owned)
            .into_iter()
            .chain([self.conf().to_str().unwrap().to_owned()])
            .collect()
    }

    /// A reload by signal that a service can run.
    pub fn reload(&self) -> Vec<String> {
        let pid_file = self.dir.join("pid");
        vec!["sh".into(), "-c".into(), format!("kill -HUP $(cat {})", pid_file.display())]
    }

    /// Serves these names with what lies in their live directories. Needs a reload to count.
    pub fn serve(&self, site: &Site, names: &[&str], more: &str) {
        let mut servers = String::new();
        for name in names {
            let (chain, key) = (site.live(name, "fullchain.pem"), site.live(name, "privkey.pem"));
            let _ = writeln!(
                servers,
                "server {{ listen 127.0.0.1:{} ssl; server_name {name}; ssl_certificate {}; \
                 ssl_certificate_key {}; location / {{ return 200 'ok'; }} {more} }}",
                self.https,
                chain.display(),
                key.display(),
            );
        }
        self.write(&servers);
    }

    /// Writes the configuration with these `server` blocks.
    pub fn write(&self, servers: &str) {
        let dir = self.dir.display();
        // Workers of a root master would be `nobody`, who may not enter every temporary directory.
        let user = if self.as_root { "user root;" } else { "" };
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = write!(temporary, "{kind}_temp_path {dir}/{kind};");
        }
        let text = format!(
            "{user} worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; {temporary} default_type text/plain;\n\
             server {{ listen 127.0.0.1:{}; root {dir}/../www; }}\n{servers}}}\n",
            self.http
        );
        let new = self.dir.join("nginx.conf.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.conf()).unwrap();
    }

    /// Its configuration, with the files it names, passes its own check.
    pub fn accepts(&self) -> bool {
        let check = self.check();
        Command::new(&check[0]).args(&check[1..]).status().is_ok_and(|status| status.success())
    }

    pub fn hang_up(&self) {
        super::agent::signal(self.pid().unwrap(), "HUP");
    }

    pub fn error_log(&self) -> PathBuf {
        self.dir.join("error.log")
    }

    fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        wait_for(Duration::from_secs(10), || self.pid().is_none());
    }
}

fn has_worker(http: u16) -> bool {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", http)) else { return false };
    let patience = socket.set_read_timeout(Some(Duration::from_secs(20)));
    patience.is_ok() && served::ask(&mut socket, "localhost").is_ok()
}

pub fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&paths).chain(usual).any(|dir| dir.join(program).is_file())
}
