//! The part of the guide that lists every key.

use std::fmt::Write as _;

use super::preset;
use super::table::{Key, Table};

/// Markdown: a section for each table with all its keys, then what is built in.
pub fn reference() -> String {
    let mut page = String::new();
    for table in Table::ALL {
        let _ = write!(page, "### `{}`\n\n{}\n\n", table.header(), table.help());
        if table.keys().any(|key| key.inherited) {
            let _ = write!(page, "{INHERITED}\n\n");
        }
        page.push_str("| Key | Value | Left out | Meaning |\n|---|---|---|---|\n");
        for key in table.keys() {
            row(&mut page, key);
        }
        page.push('\n');
    }
    let _ = write!(page, "### Built in\n\n```toml{}```\n", preset::TEXT);
    page
}

const INHERITED: &str = "Keys marked † may also stand in `[defaults]`, where they hold for every certificate that does \
                         not say otherwise.";

fn row(page: &mut String, key: &Key) {
    let names: Vec<String> = key.names().iter().map(|name| format!("`{name}`")).collect();
    let mark = if key.inherited { " †" } else { "" };
    let cells = [names.join(", "), key.kind.words(), key.default.to_owned(), key.help.to_owned()];
    let [names, value, default, help] = cells.map(|cell| cell.replace('|', "\\|"));
    let _ = writeln!(page, "| {names}{mark} | {value} | {default} | {help} |");
}
