//! The part of the guide that lists every key.

use std::fmt::Write as _;

use super::preset;
use super::table::{Key, Table};
use crate::core::vendor::{Field, FieldKind, VENDORS, Vendor};

/// Markdown: a section for each table with all its keys, then what is built in.
pub fn reference() -> String {
    let mut page = String::new();
    for table in Table::ALL {
        let _ = write!(page, "### `{}`\n\n{}\n\n", table.header(), table.help());
        if table.keys().any(|key| key.inherited) {
            let _ = write!(page, "{INHERITED}\n\n");
        }
        page.push_str("| Key | Value | Left out | Meaning |\n|---|---|---|---|\n");
        for key in table.written() {
            row(&mut page, key);
        }
        page.push('\n');
    }
    providers(&mut page);
    let _ = write!(page, "### Built in\n\n```toml{}```\n", preset::TEXT);
    page
}

const INHERITED: &str = "Keys marked † may also stand in `[defaults]`, where they hold for every certificate that does \
                         not say otherwise.";

/// A row for each vendor, then which nobody here has tried.
fn providers(page: &mut String) {
    let _ = write!(
        page,
        "{PROVIDERS}\n\n| `provider` | Whose | Keys | May have | Changes |\n|---|---|---|---|---|\n"
    );
    for vendor in VENDORS {
        let keys = |fields: &[Field]| fields.iter().map(stem).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            vendor.word,
            vendor.name,
            keys(vendor.needs),
            keys(vendor.takes),
            vendor.manner.words()
        );
    }
    let mut fields: Vec<&Field> = VENDORS.iter().flat_map(Vendor::fields).collect();
    fields.sort_by_key(|field| field.stem);
    fields.dedup();
    page.push_str("\n| Key | Meaning |\n|---|---|\n");
    for field in fields {
        let values = match field.kind {
            FieldKind::Word(words) => format!(" One of `\"{}\"`.", words.join("\"`, `\"")),
            _ => String::new(),
        };
        let _ = writeln!(page, "| {} | {}.{values} |", stem(field), capital(field.help));
    }
    let named = |tried: bool| {
        let words = VENDORS.iter().filter(|vendor| vendor.tried == tried);
        words.map(|vendor| format!("`{}`", vendor.word)).collect::<Vec<_>>().join(", ")
    };
    let _ = write!(page, "\nRun by our tests against a server on loopback: {}. ", named(true));
    let _ = write!(page, "**Untried** here, as they came from the crate `dns-update`: {}. ", named(false));
    page.push_str("Tell us how one did.\n\n");
}

const PROVIDERS: &str = "### DNS providers\n\nWords for `provider` beside those above, in builds with the feature \
                         `dns-providers` (the packages have it). Keys that end with `-…` are secrets: `KEY-file`, \
                         `KEY-env` or `KEY-credential`. What happens to texts that other programs keep at the same \
                         name stands under “changes”: *single texts* are added and taken away by value; *merged* \
                         means that all are read and written back with the change, so that what another program \
                         writes within that second can get lost; *compared* means that this is noticed.";

/// A secret's key goes on.
fn stem(field: &Field) -> String {
    match field.kind {
        FieldKind::Secret => format!("`{}-…`", field.stem),
        _ => format!("`{}`", field.stem),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn row(page: &mut String, key: &Key) {
    let names: Vec<String> = key.names().iter().map(|name| format!("`{name}`")).collect();
    let mark = if key.inherited { " †" } else { "" };
    let cells = [names.join(", "), key.kind.words(), key.default.to_owned(), key.help.to_owned()];
    let [names, value, default, help] = cells.map(|cell| cell.replace('|', "\\|"));
    let _ = writeln!(page, "| {names}{mark} | {value} | {default} | {help} |");
}
