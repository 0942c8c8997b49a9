//! A configuration for a test, put together line by line.

use std::fmt::Write as _;
use std::path::Path;

use super::pebble::Pebble;

/// Text of a `nolapse.toml`. Tables may be added in any order.
#[derive(Clone, Debug)]
pub struct Config {
    agent: String,
    tables: String,
}

impl Config {
    /// State, live and run directories below `dir`; no issuer yet.
    pub fn at(dir: &Path) -> Self {
        let agent =
            format!("[agent]\nstate-dir = {:?}\nrun-dir = {:?}\n", dir.join("state"), dir.join("run"));
        Self { agent, tables: String::new() }
    }

    /// One more line in `[agent]`.
    pub fn agent(mut self, line: &str) -> Self {
        self.agent.push_str(line);
        self.agent.push('\n');
        self
    }

    /// Any text, such as a whole table.
    pub fn text(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// `[issuer.pebble]`, and `[defaults]` that name it and the solver `way`.
    pub fn pebble(self, pebble: &Pebble, root: &Path) -> Self {
        std::fs::write(root, pebble.api_root()).unwrap();
        self.issuer("pebble", &pebble.directory(), root)
            .text("[defaults]\nissuer = \"pebble\"\nsolver = \"way\"")
    }

    pub fn issuer(self, name: &str, directory: &str, root: &Path) -> Self {
        self.text(&format!(
            "[issuer.{name}]\ndirectory = {directory:?}\nca-file = {root:?}\naccept-terms = true"
        ))
    }

    /// The solver `way`: an own listener on loopback.
    pub fn listener(self, port: u16) -> Self {
        self.text(&format!("[solver.way]\nlisten = \"127.0.0.1:{port}\"\ncheck-port = {port}"))
    }

    /// The solver `way`: files that a web server serves at `port`.
    pub fn webroot(self, root: &Path, port: u16) -> Self {
        self.text(&format!("[solver.way]\nwebroot = {root:?}\ncheck-port = {port}"))
    }

    /// A service; `check` may be empty.
    pub fn service(self, name: &str, check: &[&str], reload: &[&str], observe: &[u16]) -> Self {
        let observe: Vec<_> = observe.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut table = format!("[service.{name}]\nreload = {reload:?}\nobserve = {observe:?}\n");
        if !check.is_empty() {
            let _ = writeln!(table, "check = {check:?}");
        }
        self.text(&table)
    }

    /// A certificate with further lines of its table.
    pub fn certificate(self, name: &str, lines: &str) -> Self {
        self.text(&format!("[certificate.{name:?}]\n{lines}"))
    }

    pub fn render(&self) -> String {
        format!("{}{}", self.agent, self.tables)
    }
}
