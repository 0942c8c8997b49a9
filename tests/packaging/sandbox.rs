//! What the program does under the eyes of strace fits the sandbox that its unit puts it in.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::desk::{Desk, run, skipped, succeed, text, tool};

/// The calls that a list of names and `@groups` stands for.
fn expanded(words: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for word in words.split_whitespace() {
        if word.starts_with('@') {
            let list = succeed(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", word]));
            // Below a headline and a comment, one name a line, indented.
            let names = list.lines().filter(|line| line.starts_with("    ")).map(str::trim);
            for name in names.filter(|name| !name.starts_with('#')) {
                calls.extend(expanded(name));
            }
        } else {
            calls.insert(word.to_owned());
        }
    }
    calls
}

/// What the unit's `SystemCallFilter=` lines leave, read as systemd.exec(5) says: in order.
fn allowed() -> BTreeSet<String> {
    let unit = text("systemd/nolapse.service");
    let mut calls = BTreeSet::new();
    for rule in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match rule.strip_prefix('~') {
            Some(denied) => calls = &calls - &expanded(denied),
            None => calls.extend(expanded(rule)),
        }
    }
    calls
}

/// A pass that makes keys, writes state and `live/`, asks a CA that is down and runs a hook.
fn traced(desk: &Desk) -> String {
    let dir = desk.path("");
    let dir = dir.display();
    let config = format!(
        "[agent]\nstate-dir = \"{dir}state\"\nlive-dir = \"{dir}live\"\nrun-dir = \"{dir}run\"\n\
         [issuer.dead]\ndirectory = \"https://127.0.0.1:1/directory\"\n\
         [hook.true]\nrun = [\"/bin/true\"]\n\
         [certificate.\"a.example\"]\nissuer = \"dead\"\nhooks = [\"true\"]\n"
    );
    let config = desk.write("nolapse.toml", &config);
    std::fs::create_dir_all(desk.path("run")).unwrap();
    let log = desk.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "256", "-o"]).arg(&log).arg(env!("CARGO_BIN_EXE_nolapse"));
    command.arg("-c").arg(config).args(["once", "--placeholder", "--deadline", "10s"]);
    let output = run(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(desk.path("live/a.example/fullchain.pem").exists());
    std::fs::read_to_string(log).unwrap()
}

/// `1418  openat(AT_FDCWD, …` and `1418  <... openat resumed>…` are calls; exits and signals not.
fn call(line: &str) -> Option<&str> {
    let rest = line.split_once(' ')?.1.trim_start();
    let rest = rest.strip_prefix("<... ").unwrap_or(rest);
    let end = rest.find(['(', ' '])?;
    let name = &rest[..end];
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

#[test]
fn t16_a_pass_fits_the_unit_s_sandbox() {
    const NAME: &str = "t16_a_pass_fits_the_unit_s_sandbox";
    if tool("strace").is_none() || tool("systemd-analyze").is_none() {
        return skipped(NAME, "strace or systemd-analyze is not installed");
    }
    let desk = Desk::new("sandbox");
    let trace = traced(&desk);
    let used: BTreeSet<_> = trace.lines().filter_map(call).map(str::to_owned).collect();
    assert!(used.contains("renameat") || used.contains("rename"), "{used:?}");
    let allowed = allowed();
    assert!(allowed.contains("openat") && !allowed.contains("mount") && !allowed.contains("ptrace"));
    let denied: Vec<_> = used.difference(&allowed).collect();
    assert!(denied.is_empty(), "SystemCallFilter= would refuse {denied:?}");

    for line in trace.lines() {
        // MemoryDenyWriteExecute=
        assert!(!line.contains("PROT_WRITE|PROT_EXEC"), "{line}");
        // RestrictAddressFamilies=, where only an answer of EPERM would be silent.
        if line.contains(" socket(") {
            let known =
                ["AF_UNIX", "AF_INET", "AF_INET6"].iter().any(|family| line.contains(&format!("({family},")));
            assert!(known, "{line}");
        }
        // ProtectSystem=strict
        if line.contains("O_CREAT") && !line.contains("AT_FDCWD, \"/dev/null\"") {
            let absolute = line.split('"').nth(1).filter(|path| path.starts_with('/'));
            let ours = absolute.is_none_or(|path| Path::new(path).starts_with(desk.path("")));
            assert!(ours, "written outside the state, live and run directories: {line}");
        }
    }
}
