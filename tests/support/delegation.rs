//! A tree of DNS on loopback with real servers: Debian's knot is the root and the parent zone; unbound
//! and bind9 resolve by following its delegations. A delegation names no port, so servers stand at port 53 of
//! addresses that nobody else has (bind9 would take none that no interface has, knot does).

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ports::{self, wait_for};

/// Longest time until both answer.
const START_MOST: Duration = Duration::from_secs(20);

/// `example.test` with a delegation (NS) of its `_acme-challenge`, and `acme.test` that is delegated as a
/// whole, into which `_acme-challenge.alias.example.test` leads. Ends when dropped.
pub struct Delegation {
    dir: PathBuf,
    /// Where the delegations lead.
    pub ours: Ipv4Addr,
    /// unbound, on 127.0.0.1.
    pub resolver: u16,
    /// bind9 as a resolver, on 127.0.0.1.
    pub second: u16,
    children: Vec<Child>,
}

impl Delegation {
    /// `None`, with a line that starts with `SKIPPED:`, where a program is missing or port 53 is not ours.
    pub fn start(dir: &Path) -> Option<Self> {
        for program in ["knotd", "named", "unbound", "dig"] {
            if !installed(program) {
                println!(
                    "SKIPPED: {program} is not installed (Debian: apt install knot bind9 unbound bind9-dnsutils)"
                );
                return None;
            }
        }
        let [parent, ours] = addresses()?;
        std::fs::create_dir_all(dir).unwrap();
        let (resolver, second) = (ports::free(), ports::free());
        write_parent(dir, parent, ours);
        write_resolver(dir, parent, resolver);
        write_second(dir, second);
        let mut started = Self { dir: dir.to_owned(), ours, resolver, second, children: Vec::new() };
        let mut knot = Command::new("knotd");
        knot.arg("-c").arg(dir.join("knot.conf"));
        let mut named = Command::new("named");
        named.arg("-g").arg("-c").arg(dir.join("named.conf"));
        let mut unbound = Command::new("unbound");
        unbound.arg("-d").arg("-c").arg(dir.join("unbound.conf"));
        for (mut command, log) in [(knot, "knot.log"), (named, "named.log"), (unbound, "unbound.log")] {
            let log = std::fs::File::create(dir.join(log)).unwrap();
            let child =
                command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            started.children.push(child);
        }
        let known = |port| !Self::dig_at(port, "example.test", "SOA").is_empty();
        let up = wait_for(START_MOST, || known(resolver) && known(second));
        assert!(up, "the resolvers do not answer:\n{}", started.log());
        Some(started)
    }

    /// As the first resolver sees it.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        Self::dig_at(self.resolver, name, kind)
    }

    pub fn dig_at(port: u16, name: &str, kind: &str) -> Vec<String> {
        let port = port.to_string();
        dig(&["+short", "-p", &port, "@127.0.0.1", name, kind])
            .lines()
            .filter(|line| !line.starts_with(";;"))
            .map(|line| line.trim_matches('"').to_owned())
            .collect()
    }

    pub fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        ["knot.log", "named.log", "unbound.log"].map(read).join("\n")
    }
}

/// The output of `dig` with these arguments.
pub fn dig(arguments: &[&str]) -> String {
    let asked = Command::new("dig").args(["+time=2", "+tries=2"]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

impl Drop for Delegation {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("the servers' logs:\n{}", self.log());
        }
    }
}

/// Two addresses of loopback whose port 53 is free.
fn addresses() -> Option<[Ipv4Addr; 2]> {
    let own = std::process::id();
    for step in 0..200_u32 {
        let [_, _, high, low] = (own.wrapping_mul(7).wrapping_add(step)).to_be_bytes();
        let at = |last| Ipv4Addr::new(127, 64 | high & 63, low, last);
        let place = [at(1), at(2)];
        let opened: Vec<_> = place.iter().map(|ip| UdpSocket::bind((*ip, 53))).collect();
        if opened.iter().all(Result::is_ok) {
            return Some(place);
        }
        if opened.iter().filter_map(|one| one.as_ref().err()).any(|e| e.raw_os_error() == Some(13)) {
            println!(
                "SKIPPED: port 53 is not ours (a test of delegations needs root or CAP_NET_BIND_SERVICE)"
            );
            return None;
        }
    }
    println!("SKIPPED: port 53 is taken on all of loopback");
    None
}

fn write_parent(dir: &Path, parent: Ipv4Addr, ours: Ipv4Addr) {
    let at = dir.display();
    let head = "$TTL 60\n@ SOA ns.root.test. hostmaster.root.test. 1 3600 600 86400 1\n@ NS ns.root.test.\n";
    let root = format!(
        "{head}ns.root.test. A {parent}\nexample.test. NS ns.root.test.\nacme.test. NS ns.host.test.\n\
         ns.host.test. A {ours}\n"
    );
    let zone = format!(
        "{head}@ A 127.0.0.1\n* A 127.0.0.1\n_acme-challenge NS ns.host.test.\n\
         _acme-challenge.alias CNAME alias.example.test.acme.test.\n\
         _acme-challenge.stray CNAME stray.example.test.\n"
    );
    std::fs::write(dir.join("root.zone"), root).unwrap();
    std::fs::write(dir.join("example.zone"), zone).unwrap();
    let conf = format!(
        "server:\n  rundir: \"{at}\"\n  listen: {parent}@53\nlog:\n  - target: stderr\n    any: info\n\
         database:\n  storage: \"{at}\"\ntemplate:\n  - id: default\n    storage: \"{at}\"\n\
         zone:\n  - domain: .\n    file: root.zone\n  - domain: example.test\n    file: example.zone\n"
    );
    std::fs::write(dir.join("knot.conf"), conf).unwrap();
}

/// As careful as resolvers are: questions in mixed case, and of the names on the way one label at a time.
fn write_resolver(dir: &Path, parent: Ipv4Addr, port: u16) {
    let at = dir.display();
    let hints = format!(". 3600 IN NS ns.root.test.\nns.root.test. 3600 IN A {parent}\n");
    std::fs::write(dir.join("hints"), hints).unwrap();
    let conf = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n\
         \x20 verbosity: 1\n  directory: \"{at}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n\
         \x20 do-ip6: no\n  do-not-query-localhost: no\n  use-caps-for-id: yes\n  qname-minimisation: yes\n\
         \x20 harden-referral-path: yes\n  module-config: \"iterator\"\n  root-hints: \"{at}/hints\"\n\
         \x20 local-zone: \"test.\" nodefault\nremote-control:\n  control-enable: no\n"
    );
    std::fs::write(dir.join("unbound.conf"), conf).unwrap();
}

fn write_second(dir: &Path, port: u16) {
    let at = dir.display();
    let conf = format!(
        "options {{ directory \"{at}\"; pid-file \"{at}/pid\"; session-keyfile \"{at}/session.key\";\n\
         listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
         recursion yes; dnssec-validation no; qname-minimization strict; empty-zones-enable no; }};\n\
         controls {{ }};\nzone \".\" {{ type hint; file \"{at}/hints\"; }};\n"
    );
    std::fs::write(dir.join("named.conf"), conf).unwrap();
}

fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&paths).chain(["/usr/sbin".into()]);
    dirs.into_iter().any(|dir| dir.join(program).is_file())
}
