//! Real name servers on loopback, Debian's `bind9` and `knot`, that take signed updates of
//! `example.test` and `acme.test`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ports::{self, wait_for};

/// What the key `acme` is signed with; the servers' programs make such keys too.
pub const SECRET: &str = "bm9sYXBzZS1ub2xhcHNlLW5vbGFwc2UtbmFtZXM=";

/// Longest time until it answers.
const START_MOST: Duration = Duration::from_secs(20);

/// Names of the zone: `*` and the apex lead to this host, and `_acme-challenge` of `alias` leads to
/// the other zone.
const ZONE: &str = "$TTL 60
@ SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 1
@ NS ns1.example.test.
@ A 127.0.0.1
ns1 A 127.0.0.1
* A 127.0.0.1
_acme-challenge.alias CNAME alias.acme.test.
_acme-challenge.round CNAME round.example.test.
round CNAME _acme-challenge.round
";

const OTHER_ZONE: &str = "$TTL 60
@ SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 1
@ NS ns1.example.test.
";

/// With an address for its server, without which it would not be loaded.
const ROOT_ZONE: &str = "$TTL 60
@ SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 1
@ NS ns1.example.test.
ns1.example.test. A 127.0.0.1
";

/// A running name server. Ends when dropped.
pub struct NameServer {
    dir: PathBuf,
    pub port: u16,
    child: Child,
}

impl NameServer {
    /// Debian's bind9; `None`, with a line that starts with `SKIPPED:`, where it is not installed.
    pub fn bind(dir: &Path) -> Option<Self> {
        Self::bind_at(dir, "127.0.0.1", ports::free(), "grant acme zonesub TXT;")
    }

    /// With these rules for the key `acme`, and at this address.
    pub fn bind_at(dir: &Path, address: &str, port: u16, policy: &str) -> Option<Self> {
        if !installed("named") {
            println!("SKIPPED: named is not installed (Debian: apt install bind9)");
            return None;
        }
        let dir = prepared(dir);
        let at = dir.display();
        let zone = |name: &str| {
            format!(
                "zone \"{name}\" {{ type primary; file \"{at}/{name}.zone\"; update-policy {{ {policy} }}; }};\n"
            )
        };
        let conf = format!(
            "options {{ directory \"{at}\"; pid-file \"{at}/pid\"; session-keyfile \"{at}/session.key\";\n\
             listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};\n\
             recursion yes; allow-transfer {{ any; }}; dnssec-validation no; }};\n\
             controls {{ }};\nzone \".\" {{ type primary; file \"{at}/root.zone\"; }};\n{}{}{}",
            key_file("hmac-sha256"),
            zone("example.test"),
            zone("acme.test")
        );
        std::fs::write(dir.join("named.conf"), conf).unwrap();
        let mut command = Command::new("named");
        command.arg("-g").arg("-c").arg(dir.join("named.conf"));
        Some(Self::started(command, dir, port))
    }

    /// Debian's knot, the same way, with an hmac-sha512 key.
    pub fn knot(dir: &Path) -> Option<Self> {
        if !installed("knotd") {
            println!("SKIPPED: knotd is not installed (Debian: apt install knot)");
            return None;
        }
        let (dir, port) = (prepared(dir), ports::free());
        let at = dir.display();
        let conf = format!(
            "server:\n  rundir: \"{at}\"\n  listen: 127.0.0.1@{port}\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n  storage: \"{at}\"\n\
             key:\n  - id: acme\n    algorithm: hmac-sha512\n    secret: {SECRET}\n\
             acl:\n  - id: acme\n    key: acme\n    action: update\n    update-type: TXT\n\
             template:\n  - id: default\n    storage: \"{at}\"\n    file: \"%s.zone\"\n    acl: acme\n\
             zone:\n  - domain: example.test\n  - domain: acme.test\n"
        );
        std::fs::write(dir.join("knot.conf"), conf).unwrap();
        let mut command = Command::new("knotd");
        command.arg("-c").arg(dir.join("knot.conf"));
        Some(Self::started(command, dir, port))
    }

    fn started(mut command: Command, dir: PathBuf, port: u16) -> Self {
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let server = Self { dir, port, child };
        let up = wait_for(START_MOST, || !server.dig("example.test", "SOA").is_empty());
        assert!(up, "the name server does not answer:\n{}", server.log());
        server
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The key of bind as a file.
    pub fn key_path(&self) -> PathBuf {
        self.dir.join("acme.key")
    }

    /// What stands there, in order; by `dig`, which is not ours.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        let asked = Command::new("dig")
            .args(["+short", "+norecurse", "+time=1", "+tries=1", "-p", &self.port.to_string()])
            .args(["@127.0.0.1", name, kind])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        let mut lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with(";;"))
            .map(|line| line.trim_matches('"').to_owned())
            .collect();
        lines.sort();
        lines
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        self.dig(name, "TXT")
    }

    /// A change by `nsupdate`, as another program makes it: `update add …`.
    pub fn nsupdate(&self, zone: &str, change: &str) {
        let script = format!("server 127.0.0.1 {}\nzone {zone}\n{change}\nsend\n", self.port);
        let path = self.dir.join("nsupdate.txt");
        std::fs::write(&path, script).unwrap();
        let done = Command::new("nsupdate").arg("-k").arg(self.key_path()).arg(&path).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the name server's log:\n{}", self.log());
        }
    }
}

/// As `tsig-keygen` writes it.
pub fn key_file(algorithm: &str) -> String {
    format!("key \"acme\" {{\n\talgorithm {algorithm};\n\tsecret \"{SECRET}\";\n}};\n")
}

fn prepared(dir: &Path) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("example.test.zone"), ZONE).unwrap();
    std::fs::write(dir.join("acme.test.zone"), OTHER_ZONE).unwrap();
    // Nothing is asked of the world, and aliases are followed from zone to zone as a CA's resolver does.
    std::fs::write(dir.join("root.zone"), ROOT_ZONE).unwrap();
    std::fs::write(dir.join("acme.key"), key_file("hmac-sha256")).unwrap();
    dir.to_owned()
}

fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&paths).chain(["/usr/sbin".into()]);
    dirs.into_iter().any(|dir| dir.join(program).is_file())
}
