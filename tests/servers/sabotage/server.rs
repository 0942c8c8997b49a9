//! A real server of one of five kinds on loopback, from a directory of its own, in as many shapes
//! as there are lies to tell.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::nginx::installed;
use crate::support::ports::wait_for;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Nginx,
    Haproxy,
    Apache,
    Postfix,
    Dovecot,
}

/// A chain, its key, and both in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub chain: PathBuf,
    pub key: PathBuf,
    pub combined: PathBuf,
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Shape {
    pub files: Files,
    /// Served to everybody but `elsewhere.example`, who gets `files`.
    pub default: Option<Files>,
    pub plain: bool,
    pub proxy: bool,
    /// A CA whose clients alone are let in.
    pub clients: Option<PathBuf>,
    pub broken: bool,
}

/// A running server. Ends when dropped.
pub struct Server {
    pub kind: Kind,
    dir: PathBuf,
    ip: IpAddr,
    port: u16,
    child: Option<Child>,
}

const POSTFIX_MASTER: &str = "/usr/lib/postfix/sbin/master";
const APACHE_MODULES: &str = "/usr/lib/apache2/modules";
const START_MOST: Duration = Duration::from_secs(30);

impl Kind {
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Haproxy, Self::Apache, Self::Postfix, Self::Dovecot];

    pub fn is_web(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy | Self::Apache)
    }

    /// Whether a second one can listen on the same port.
    pub fn shares_its_port(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }

    pub fn protocol(self) -> &'static str {
        match self {
            Self::Postfix => "smtp",
            Self::Dovecot => "imap",
            _ => "https",
        }
    }

    /// False, with a line that starts with `SKIPPED:`, where it can't run here.
    pub fn runs_here(self) -> bool {
        let (program, package) = match self {
            Self::Nginx => ("nginx", "nginx-light"),
            Self::Haproxy => ("haproxy", "haproxy"),
            Self::Apache => ("apache2", "apache2"),
            Self::Postfix => ("postfix", "postfix"),
            Self::Dovecot => ("dovecot", "dovecot-imapd"),
        };
        if !installed(program) {
            println!("SKIPPED: {program} is not installed (Debian: apt install {package})");
            return false;
        }
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: {program} is started as root here, as on a real host");
            return false;
        }
        true
    }
}

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
            Kind::Nginx | Kind::Postfix | Kind::Dovecot => "-HUP",
            Kind::Haproxy => "-USR2",
            Kind::Apache => "-USR1",
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
        };
        words.into_iter().map(str::to_owned).collect()
    }

    pub fn log(&self) -> String {
        ["log", "error.log", "mail.log"]
            .map(|name| std::fs::read_to_string(self.dir.join(name)).unwrap_or_default())
            .concat()
    }

    fn etc(&self) -> String {
        self.dir.join("etc").to_str().unwrap().to_owned()
    }

    fn conf(&self) -> PathBuf {
        self.dir.join("server.conf")
    }

    /// Writes the configuration. Needs a start or a reload to count.
    pub fn shape(&self, shape: &Shape) {
        let text = match self.kind {
            Kind::Nginx => self.nginx(shape),
            Kind::Haproxy => self.haproxy(shape),
            Kind::Apache => self.apache(shape),
            Kind::Dovecot => self.dovecot(shape),
            Kind::Postfix => return self.postfix(shape),
        };
        replace(&self.conf(), &text);
    }

    fn nginx(&self, shape: &Shape) -> String {
        let (dir, address) = (self.dir.display(), SocketAddr::new(self.ip, self.port));
        let mut tail = String::new();
        for (on, word) in [(!shape.plain, " ssl"), (shape.proxy, " proxy_protocol")] {
            if on {
                tail.push_str(word);
            }
        }
        let server = |name: &str, files: &Files, more: &str| {
            let clients = shape.clients.as_ref().map_or_else(String::new, |ca| {
                format!("ssl_verify_client on; ssl_client_certificate {};", ca.display())
            });
            format!(
                "server {{ listen {address}{tail}{more}; server_name {name}; ssl_certificate {}; \
                 ssl_certificate_key {}; {clients} location / {{ return 200 'ok'; }} }}\n",
                files.chain.display(),
                files.key.display(),
            )
        };
        let servers = match &shape.default {
            Some(default) => {
                server("_", default, " reuseport default_server")
                    + &server("elsewhere.example", &shape.files, "")
            }
            None => server("_", &shape.files, " reuseport"),
        };
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = write!(temporary, "{kind}_temp_path {dir}/{kind};");
        }
        let broken = if shape.broken { "no_such_directive on;" } else { "" };
        format!(
            "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log {dir}/error.log;\n\
             events {{ worker_connections 128; }}\nhttp {{ access_log off; {temporary}\n\
             ssl_session_cache shared:S:1m;\n{servers}{broken} }}\n"
        )
    }

    fn haproxy(&self, shape: &Shape) -> String {
        let address = SocketAddr::new(self.ip, self.port);
        let list = self.dir.join("crt-list");
        let entries = match &shape.default {
            Some(default) => format!(
                "{}\n{} elsewhere.example\n",
                default.combined.display(),
                shape.files.combined.display()
            ),
            None => format!("{}\n", shape.files.combined.display()),
        };
        replace(&list, &entries);
        let tls = if shape.plain { String::new() } else { format!("ssl crt-list {}", list.display()) };
        let proxy = if shape.proxy { "accept-proxy" } else { "" };
        let clients = shape
            .clients
            .as_ref()
            .map_or_else(String::new, |ca| format!("verify required ca-file {}", ca.display()));
        let broken = if shape.broken { "  no-such-keyword\n" } else { "" };
        format!(
            "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
             timeout server 60s\nfrontend f\n  bind {address} {tls} {clients} {proxy}\n  \
             http-request return status 200\n{broken}"
        )
    }

    fn apache(&self, shape: &Shape) -> String {
        let (dir, address) = (self.dir.display(), SocketAddr::new(self.ip, self.port));
        let host = |name: &str, files: &Files| {
            if shape.plain {
                return format!("<VirtualHost {address}>\nServerName {name}\n</VirtualHost>\n");
            }
            let clients = shape.clients.as_ref().map_or_else(String::new, |ca| {
                format!("SSLVerifyClient require\nSSLCACertificateFile {}\n", ca.display())
            });
            format!(
                "<VirtualHost {address}>\nServerName {name}\nSSLEngine on\nSSLCertificateFile {}\n\
                 SSLCertificateKeyFile {}\n{clients}</VirtualHost>\n",
                files.chain.display(),
                files.key.display()
            )
        };
        let hosts = match &shape.default {
            Some(default) => host("default.example", default) + &host("elsewhere.example", &shape.files),
            None => host("default.example", &shape.files),
        };
        let broken = if shape.broken { "NoSuchDirective on\n" } else { "" };
        format!(
            "ServerRoot {dir}\nServerName localhost\nPidFile {dir}/apache.pid\nErrorLog {dir}/error.log\n\
             DefaultRuntimeDir {dir}\nLoadModule mpm_event_module {APACHE_MODULES}/mod_mpm_event.so\n\
             LoadModule authz_core_module {APACHE_MODULES}/mod_authz_core.so\n\
             LoadModule socache_shmcb_module {APACHE_MODULES}/mod_socache_shmcb.so\n\
             LoadModule ssl_module {APACHE_MODULES}/mod_ssl.so\nSSLSessionCache shmcb:{dir}/sessions(51200)\n\
             StartServers 1\nServerLimit 4\nMinSpareThreads 4\nThreadsPerChild 8\nMaxRequestWorkers 32\n\
             Listen {address}\nUser www-data\nGroup www-data\n{hosts}{broken}"
        )
    }

    fn postfix(&self, shape: &Shape) {
        let (dir, shown) = (&self.dir, self.dir.display());
        let fresh = !dir.join("etc").exists();
        for name in ["etc", "spool", "data"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        // An smtpd that was busy before a reload serves on with what it read then, for as long as
        // connections come: one process for each connection shows the configuration as it is.
        let level = if shape.plain { "none" } else { "may" };
        let proxy = if shape.proxy { "smtpd_upstream_proxy_protocol = haproxy\n" } else { "" };
        let broken = if shape.broken { "no equals sign\n" } else { "" };
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {shown}/spool\ndata_directory = {shown}/data\n\
             myhostname = mail.example\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n\
             inet_protocols = all\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
             smtpd_tls_security_level = {level}\nmaillog_file = {shown}/mail.log\n\
             smtpd_peername_lookup = no\nmax_use = 1\n\
             maillog_file_prefixes = {shown}\n{proxy}{broken}",
            shape.files.chain.display(),
            shape.files.key.display()
        );
        replace(&dir.join("etc/main.cf"), &main);
        let address = SocketAddr::new(self.ip, self.port);
        let master = format!(
            "{address} inet n - n - 8 smtpd\nrewrite unix - - n - 1 trivial-rewrite\n\
             anvil unix - - n - 1 anvil\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
             postlog unix-dgram n - n - 1 postlogd\n"
        );
        replace(&dir.join("etc/master.cf"), &master);
        if fresh {
            let data = format!("{shown}/data");
            assert!(Command::new("chown").args(["postfix", &data]).status().unwrap().success());
            // Makes the queue's directories; its warnings are about a system that this is not.
            let mut made = argv("postfix", &["-c", &self.etc(), "check"]);
            made.stderr(Stdio::null()).status().unwrap();
        }
    }

    fn dovecot(&self, shape: &Shape) -> String {
        let dir = self.dir.display();
        let listen = self.ip;
        let tls = if shape.plain { "no" } else { "yes" };
        let proxy = if shape.proxy { "haproxy = yes" } else { "" };
        let broken = if shape.broken { "no_such_setting = 1\n" } else { "" };
        format!(
            "protocols = imap\nbase_dir = {dir}/run\nstate_dir = {dir}/run\nlog_path = {dir}/mail.log\n\
             listen = {listen}\nssl = {tls}\nssl_cert = <{}\nssl_key = <{}\nmail_location = maildir:{dir}/mail\n\
             haproxy_trusted_networks = 127.0.0.0/8\nhaproxy_timeout = 2s\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {}\n    {proxy}\n  }}\n  \
             inet_listener imaps {{\n    port = 0\n  }}\n}}\nservice anvil {{\n  chroot =\n}}\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
             userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home={dir}/mail\n}}\n{broken}",
            shape.files.chain.display(),
            shape.files.key.display(),
            self.port,
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn argv(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(words).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// As an editor does it: no reload may see half a file.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
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
    let title = ["nginx: worker", "dovecot/", "smtpd", "tlsmgr", "anvil"];
    parent(pid) == Some(1)
        && (words.contains(dir.to_str().unwrap()) || title.iter().any(|known| words.starts_with(known)))
}
