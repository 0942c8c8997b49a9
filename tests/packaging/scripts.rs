use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::desk::{Desk, run, shipped, skipped, succeed, tool};

#[test]
fn scripts_pass_shellcheck() {
    if tool("shellcheck").is_none() {
        return skipped("scripts_pass_shellcheck", "shellcheck is not installed");
    }
    let found = scripts(&shipped(""));
    assert!(found.len() >= 8, "{found:?}");
    succeed(Command::new("shellcheck").args(found));
}

/// Every file below that begins with `#!`.
fn scripts(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if std::fs::read(&path).unwrap().starts_with(b"#!") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A host whose nginx and systemctl are scripts, and both sides of a reload without polkit.
struct Host {
    desk: Desk,
}

impl Host {
    /// `check` and `reload` are the exit codes of `nginx -t` and of `systemctl reload`.
    fn new(check: i32, reload: i32) -> Self {
        let desk = Desk::new("reload");
        desk.program("bin/nginx", &format!("#!/bin/sh\nexit {check}\n"));
        let log = desk.path("reloaded");
        let systemctl = format!("#!/bin/sh\necho \"$*\" >>'{}'\nexit {reload}\n", log.display());
        desk.program("bin/systemctl", &systemctl);
        std::fs::create_dir_all(desk.path("state/ask")).unwrap();
        std::fs::create_dir_all(desk.path("state/done")).unwrap();
        Self { desk }
    }

    fn command(&self, script: &str, name: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(shipped("libexec").join(script));
        command
            .arg(name)
            .env("PATH", format!("{}:{path}", self.desk.path("bin").display()))
            .env("NOLAPSE_RELOAD_DIR", self.desk.path("state"))
            .stderr(Stdio::null());
        command
    }

    /// The whole way: nolapse asks, the path unit notices, root reloads, nolapse hears.
    fn exchange(&self) -> (i32, i32) {
        let mut asking: Child = self.command("ask-reload", "nginx").spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.desk.path("state/ask/nginx").exists() {
            assert!(Instant::now() < deadline, "nothing was asked");
            std::thread::sleep(Duration::from_millis(10));
        }
        let root = run(&mut self.command("reload-service", "nginx")).status.code().unwrap();
        (asking.wait().unwrap().code().unwrap(), root)
    }

    fn reloads(&self) -> String {
        std::fs::read_to_string(self.desk.path("reloaded")).unwrap_or_default()
    }
}

#[test]
fn a_reload_without_polkit_tells_its_outcome() {
    let host = Host::new(0, 0);
    // An old answer must not be taken for the new one.
    host.desk.write("state/done/nginx", "1\n");
    assert_eq!(host.exchange(), (0, 0));
    assert_eq!(host.reloads(), "reload nginx.service\n");
    assert!(!host.desk.path("state/ask/nginx").exists());
}

#[test]
fn f15_a_failed_reload_is_not_swallowed() {
    assert_eq!(Host::new(0, 3).exchange(), (3, 3));
}

#[test]
fn a_broken_configuration_is_not_reloaded() {
    let host = Host::new(1, 0);
    assert_eq!(host.exchange(), (1, 1));
    assert_eq!(host.reloads(), "");
}

#[test]
fn without_the_path_unit_asking_ends_with_advice() {
    let host = Host::new(0, 0);
    let output =
        run(host.command("ask-reload", "nginx").env("NOLAPSE_RELOAD_WAIT", "1").stderr(Stdio::piped()));
    assert_eq!(output.status.code(), Some(75));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("is nolapse-reload@nginx.path enabled?"), "{words}");
    assert!(!host.desk.path("state/ask/nginx").exists(), "nothing is left to surprise anyone later");
}

#[test]
fn t04_names_that_are_no_services_reach_nothing() {
    let host = Host::new(0, 0);
    for name in ["", "../nginx", "nginx;id", "-h", "a b", "sshd"] {
        for script in ["reload-service", "check-service"] {
            let code = run(&mut host.command(script, name)).status.code();
            assert_eq!(code, Some(64), "{script} {name:?}");
        }
    }
    assert_eq!(host.reloads(), "");
}
