//! Tables as a configuration file holds them: what `adopt` writes down.

use std::fmt::Write as _;

use serde_json::Value;

use crate::core::adoption::{Entry, NewSolver, NewTable};
use crate::core::foundling::FoundCall;
use crate::core::spec::Output;

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
        NewTable::Solver { id, how: NewSolver::Webroot(root) } => {
            format!("[solver.{id}]\nwebroot = {}\n", quoted(root))
        }
        NewTable::Solver { id, how: NewSolver::Port(port) } => {
            let listen = quoted(&NewSolver::listen(*port).to_string());
            format!("[solver.{id}]\nlisten = {listen}\ncheck-port = {port}\n")
        }
        // The handshake is looked for where a CA does, at 443: what leads there is not ours.
        NewTable::Solver { id, how: NewSolver::TlsPort(port) } => {
            let listen = quoted(&NewSolver::listen(*port).to_string());
            format!("[solver.{id}]\ntype = \"tls-alpn-01\"\nlisten = {listen}\n")
        }
        NewTable::Solver { id, how: NewSolver::Provider { word, plain, secrets } } => {
            let mut text = format!("[solver.{id}]\nprovider = {}\n", quoted(word));
            for (key, value) in plain {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
            for (stem, path) in secrets {
                let _ = writeln!(text, "{stem}-file = {}", quoted(path));
            }
            text
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

/// A TOML string on one line, which can be a key as well: what JSON escapes TOML reads too, and it wants one
/// character more escaped, DEL.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn listed<T: ToString>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Facts, Source, resolve};
    use crate::core::form::Form;
    use crate::core::name::{HookId, IssuerId, LineageId, SolverId, SubjectName};
    use crate::core::spec::{KeyKind, Part, Rights};

    #[test]
    fn what_is_written_resolves_to_what_was_meant() {
        let tables = [
            NewTable::Issuer {
                id: IssuerId::parse("ca").unwrap(),
                directory: "https://ca.example/dir".into(),
                accept_terms: true,
            },
            NewTable::Solver {
                id: SolverId::parse("w").unwrap(),
                how: NewSolver::Webroot("/srv/a \"b\"".into()),
            },
            NewTable::Solver { id: SolverId::parse("p").unwrap(), how: NewSolver::Port(8080) },
            NewTable::Solver { id: SolverId::parse("t").unwrap(), how: NewSolver::TlsPort(8443) },
            NewTable::Solver {
                id: SolverId::parse("d").unwrap(),
                how: NewSolver::Provider {
                    word: "rfc2136",
                    plain: vec![("server", "192.0.2.1:5353".into())],
                    secrets: vec![("tsig-key", "/etc/nolapse/credentials/d.tsig-key".into())],
                },
            },
            NewTable::Hook {
                id: HookId::parse("h").unwrap(),
                call: FoundCall::shell("echo \"hi, there\" > /tmp/x\nexit 0\u{7f}"),
            },
            NewTable::Hook {
                id: HookId::parse("d").unwrap(),
                call: FoundCall::Parts("/etc/x/deploy".into()),
            },
        ];
        let rights = Rights { owner: Some("www".into()), key_mode: 0o600, ..Rights::default() };
        let output = Output {
            form: Form::Text(Part::Privkey),
            path: "/etc/ssl/a.key".into(),
            rights: rights.clone().into(),
        };
        let hook = |name: &str| HookId::parse(name).unwrap();
        let wanted = Entry {
            id: LineageId::parse("a.example").unwrap(),
            names: ["a.example", "www.a.example", "192.0.2.1"]
                .map(|name| SubjectName::parse(name).unwrap())
                .into(),
            issuer: Some(IssuerId::parse("ca").unwrap()),
            service: Some("nginx".into()),
            solver: Some(SolverId::parse("w").unwrap()),
            hooks: vec![hook("d"), hook("h")],
            pre_hooks: vec![hook("h")],
            post_hooks: vec![hook("h")],
            key: KeyKind::Rsa4096,
            reuse_key: true,
            tree: Some("/etc/letsencrypt".into()),
            rights: Some(rights),
            outputs: vec![output.clone()],
        };
        let mut sources: Vec<_> =
            tables.iter().map(|each| Source::new(table_file(each), table(each))).collect();
        sources.push(Source::new("a.example.toml", entry(&wanted)));
        let resolved = resolve(&sources, &Facts::default());
        let spec =
            resolved.wanted.lineages.get(&wanted.id).unwrap_or_else(|| panic!("{:?}", resolved.problems));
        assert_eq!(spec.names[..], wanted.names[..]);
        assert_eq!((spec.key, spec.reuse_key), (KeyKind::Rsa4096, true));
        assert_eq!(spec.solvers.first(), wanted.solver.as_ref());
        assert_eq!(spec.outputs[0], output);
        assert_eq!(spec.outputs[1].path, "/etc/letsencrypt/live/a.example");
        assert_eq!((spec.rights.owner.as_deref(), spec.rights.key_mode), (Some("www"), 0o600));
        assert!(spec.hooks.contains(&hook("d")) && spec.around.before == [hook("h")]);
    }
}
