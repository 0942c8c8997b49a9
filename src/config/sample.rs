//! A configuration to start from, with every key explained and commented out.

use std::fmt::Write as _;

use super::table::{Key, Table};

/// A commented sample. Prose stands behind `# `, settings behind `#` alone; without that `#`
/// every setting is valid.
pub fn sample() -> String {
    let mut page = HEAD.to_owned();
    for (table, header) in TABLES {
        let _ = write!(page, "\n# {}\n#[{header}]\n", wrapped(&without_marks(table.help())));
        for key in table.written() {
            setting(&mut page, key);
        }
    }
    let _ = write!(page, "\n# {}\n#[defaults]\n", wrapped(DEFAULTS));
    for key in Table::Certificate.keys().filter(|key| key.inherited) {
        let _ = writeln!(page, "#{} = {}", key.name, key.sample);
    }
    page
}

const HEAD: &str = "\
# nolapse.toml. Files in conf.d/ beside it, named *.toml, are read too and hold the same tables.
#
# The least that works, for a web server nginx that already holds port 80:
#
#     [issuer.letsencrypt]
#     accept-terms = true
#
#     [certificate.\"shop.example.com\"]
#     names = [\"shop.example.com\", \"www.shop.example.com\"]
#     service = \"nginx\"
#
# Everything below is a comment. To use a setting, remove the # right before it and before its
# table's [header]. `nolapse check` shows what the whole comes to.
";

const DEFAULTS: &str = "What holds for every certificate that does not say otherwise.";

/// Tables of the sample and the names they get there.
const TABLES: [(Table, &str); 11] = [
    (Table::Agent, "agent"),
    (Table::Issuer, "issuer.example-ca"),
    (Table::Eab, "issuer.example-ca.eab"),
    (Table::Solver, "solver.standalone"),
    (Table::Service, "service.nginx"),
    (Table::Hook, "hook.app"),
    (Table::Certificate, "certificate.\"shop.example.com\""),
    (Table::Watch, "watch.bought"),
    (Table::Transparency, "discover.ct"),
    (Table::Alert, "alert.mail"),
    (Table::Heartbeat, "heartbeat"),
];

fn setting(page: &mut String, key: &Key) {
    let default = without_marks(key.default);
    let note = match key.default {
        "required" | "one of three" => format!("({default})"),
        either if either.starts_with("this or") => format!("({default})"),
        _ => format!("(left out: {default})"),
    };
    let names = key.names();
    let name = names.first().map_or(key.name, String::as_str);
    let others = if names.len() > 1 { format!(" Or {}.", names[1..].join(", or ")) } else { String::new() };
    if key.sample.is_empty() {
        let _ = writeln!(page, "# {}", wrapped(&format!("{name}: {} {note}", without_marks(key.help))));
    } else {
        let help = wrapped(&format!("{}{others} {note}", without_marks(key.help)));
        let _ = writeln!(page, "# {help}\n#{name} = {}", key.sample);
    }
}

fn without_marks(text: &str) -> String {
    text.replace('`', "")
}

/// Breaks prose into comment lines.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 96;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n# ")
}
