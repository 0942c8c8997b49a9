//! Tables as a configuration file holds them: what `adopt` writes down.

use std::fmt::Write as _;

use serde_json::Value;

use crate::core::adoption::{Entry, NewTable};
use crate::core::foundling::FoundCall;
use crate::core::spec::{Listen, Output, SolverKind};

/// The text of `[certificate.NAME]`.
pub fn entry(entry: &Entry) -> String {
    let mut text = format!("[certificate.{}]\n", quoted(entry.id.as_str()));
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("names", listed(&entry.names));
    if let Some(issuer) = &entry.issuer {
        line("issuer", quoted(issuer.as_str()));
    }
    if let Some(service) = &entry.service {
        line("service", quoted(service));
    }
    if let Some(solver) = &entry.solver {
        line("solver", quoted(solver.as_str()));
    }
    for (key, hooks) in
        [("hooks", &entry.hooks), ("pre-hooks", &entry.pre_hooks), ("post-hooks", &entry.post_hooks)]
    {
        if !hooks.is_empty() {
            line(key, listed(hooks));
        }
    }
    line("key", quoted(entry.key.word()));
    if entry.reuse_key {
        line("reuse-key", "true".into());
    }
    if let Some(rights) = &entry.rights {
        for (key, name) in [("owner", &rights.owner), ("group", &rights.group)] {
            if let Some(name) = name {
                line(key, quoted(name));
            }
        }
        line("key-mode", mode(rights.key_mode));
    }
    if let Some(root) = &entry.tree {
        line("certbot-tree", quoted(root));
    }
    if !entry.outputs.is_empty() {
        let outputs: Vec<_> = entry.outputs.iter().map(output).collect();
        line("outputs", format!("[\n  {},\n]", outputs.join(",\n  ")));
    }
    text
}

/// The text of a table of its own.
pub fn table(table: &NewTable) -> String {
    match table {
        NewTable::Issuer { id, directory, accept_terms } => {
            let terms = if *accept_terms { "accept-terms = true\n" } else { "" };
            format!("[issuer.{id}]\ndirectory = {}\n{terms}", quoted(directory))
        }
        NewTable::Solver { id, kind, check_port } => {
            let how = match kind {
                SolverKind::Webroot { root } => format!("webroot = {}", quoted(root)),
                SolverKind::Http { listen: Listen::Address(address) } => {
                    format!("listen = {}", quoted(&address.to_string()))
                }
                SolverKind::Http { listen: Listen::Systemd(name) } => {
                    format!("listen = {}", quoted(&format!("systemd:{name}")))
                }
            };
            let check = check_port.map(|port| format!("check-port = {port}\n")).unwrap_or_default();
            format!("[solver.{id}]\n{how}\n{check}")
        }
        NewTable::Hook { id, call } => {
            let how = match call {
                FoundCall::Run(argv) => format!("run = {}", listed(argv)),
                FoundCall::Parts(dir) => format!("run-parts = {}", quoted(dir)),
            };
            format!("[hook.{id}]\n{how}\n")
        }
    }
}

/// The name of a file for a table of its own, below `conf.d`.
pub fn table_file(table: &NewTable) -> String {
    match table {
        NewTable::Issuer { id, .. } => format!("issuer-{id}.toml"),
        NewTable::Solver { id, .. } => format!("solver-{id}.toml"),
        NewTable::Hook { id, .. } => format!("hook-{id}.toml"),
    }
}

fn output(output: &Output) -> String {
    let mut text = format!("{{ part = {}, path = {}", quoted(output.form.word()), quoted(&output.path));
    let rights = &output.rights;
    for (key, name) in [("owner", &rights.owner), ("group", &rights.group)] {
        if let Some(name) = name {
            let _ = write!(text, ", {key} = {}", quoted(name));
        }
    }
    let bits = if output.form.holds_key() { rights.key_mode } else { rights.cert_mode };
    let _ = write!(text, ", mode = {} }}", mode(bits));
    text
}

fn mode(bits: u32) -> String {
    quoted(&format!("{bits:04o}"))
}

/// A TOML string on one line: what JSON escapes TOML reads too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn listed<T: ToString>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", texts.join(", "))
}
