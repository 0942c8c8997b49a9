//! Debian's `PowerDNS` Authoritative Server on loopback, with its HTTP interface switched on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ports::{self, wait_for};

/// What its interface asks for.
pub const API_KEY: &str = "pdns-hush-hush";

const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
/// Longest time until it answers.
const START_MOST: Duration = Duration::from_secs(20);

/// A running server with the zone `example.test`. Ends when dropped.
pub struct PowerDns {
    dir: PathBuf,
    /// Of DNS.
    pub port: u16,
    /// Of HTTP.
    pub api: u16,
    child: Child,
}

impl PowerDns {
    /// `None`, with a line that starts with `SKIPPED:`, where it is not installed.
    pub fn start(dir: &Path) -> Option<Self> {
        let there = |path: &str| Path::new(path).exists();
        if !there("/usr/sbin/pdns_server") || !there(SCHEMA) || !there("/usr/bin/sqlite3") {
            println!(
                "SKIPPED: PowerDNS is not installed (Debian: apt install pdns-server pdns-backend-sqlite3 sqlite3)"
            );
            return None;
        }
        std::fs::create_dir_all(dir).unwrap();
        let database = dir.join("zones.sqlite3");
        let schema = std::fs::File::open(SCHEMA).unwrap();
        let made = Command::new("sqlite3").arg(&database).stdin(schema).status().unwrap();
        assert!(made.success(), "the database was not made");
        let (port, api) = (ports::free(), ports::free());
        let conf = format!(
            "launch=gsqlite3\ngsqlite3-database={}\nsocket-dir={}\nlocal-address=127.0.0.1\nlocal-port={port}\n\
             api=yes\napi-key={API_KEY}\nwebserver=yes\nwebserver-address=127.0.0.1\nwebserver-port={api}\n\
             webserver-allow-from=127.0.0.1\nguardian=no\ndaemon=no\nsetuid=\nsetgid=\nwrite-pid=no\n\
             cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\n\
             disable-syslog=yes\nenable-lua-records=no\nsecurity-poll-suffix=\n",
            database.display(),
            dir.display()
        );
        std::fs::write(dir.join("pdns.conf"), conf).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new("/usr/sbin/pdns_server")
            .arg(format!("--config-dir={}", dir.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { dir: dir.to_owned(), port, api, child };
        let up = wait_for(START_MOST, || std::net::TcpStream::connect(("127.0.0.1", api)).is_ok());
        assert!(up, "PowerDNS does not answer:\n{}", server.log());
        server.call(
            "POST",
            "/api/v1/servers/localhost/zones",
            r#"{"name":"example.test.","kind":"Native","nameservers":["ns1.example.test."],
                "rrsets":[{"name":"ns1.example.test.","type":"A","ttl":60,
                "records":[{"content":"127.0.0.1","disabled":false}]}]}"#,
        );
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Puts the texts of another program there, in place of all.
    pub fn set_texts(&self, name: &str, texts: &[&str]) {
        let records: Vec<String> =
            texts.iter().map(|text| format!(r#"{{"content":"\"{text}\"","disabled":false}}"#)).collect();
        let body = format!(
            r#"{{"rrsets":[{{"name":"{name}.","type":"TXT","ttl":300,"changetype":"REPLACE","records":[{}]}}]}}"#,
            records.join(",")
        );
        self.call("PATCH", "/api/v1/servers/localhost/zones/example.test.", &body);
    }

    /// What stands there, by `dig`: value and time to live, in order.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let asked = Command::new("dig")
            .args(["+noall", "+answer", "+norecurse", "+time=2", "+tries=2", "-p", &self.port.to_string()])
            .args(["@127.0.0.1", name, "TXT"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        let mut found: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with(';'))
            .filter_map(|line| Some(line.split_once("TXT")?.1.trim().trim_matches('"').to_owned()))
            .collect();
        found.sort();
        found
    }

    /// One call by hand, which is not ours; panics unless it is taken.
    fn call(&self, method: &str, path: &str, body: &str) {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.api)).unwrap();
        stream.set_read_timeout(Some(START_MOST)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}\n{}", self.log());
    }
}

impl Drop for PowerDns {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
