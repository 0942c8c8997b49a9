//! What `adopt` would do, for people and as JSON: what is read, what is written, what stays. No
//! key is in it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::print;
use crate::config::draft;
use crate::core::adoption::{Adoption, Filing, NewSolver, NewTable};
use crate::core::foundling::{FoundChallenge, Foundling, Places};
use crate::core::leaf::Leaf;
use crate::core::spec::Part;
use crate::core::tree::Tree;

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Written {
    pub path: PathBuf,
    pub text: String,
}

/// A credential that is to be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Copied {
    pub path: PathBuf,
    /// Which of the provider's keys it is.
    pub key: &'static str,
    /// The other tool's file.
    pub from: PathBuf,
}

/// One certificate that is to be taken over.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    pub name: String,
    pub tool: &'static str,
    pub called: String,
    pub names: Vec<String>,
    pub reads: Vec<PathBuf>,
    pub writes: Vec<Written>,
    /// Files that get copies of credentials, for the agent alone to read; what is in them is not shown.
    pub copies: Vec<Copied>,
    pub stays: Vec<String>,
    pub pair: String,
    pub account: String,
    pub untranslated: Vec<String>,
    pub notes: Vec<String>,
    /// How the other tool is kept from renewing it; empty where none would.
    pub stop: String,
    /// Whether that is part of what is done.
    pub stops: bool,
}

impl Offer {
    pub fn of(found: &Foundling, adoption: &Adoption, conf_d: &Path, disables: bool) -> Self {
        let mut writes: Vec<_> = adoption
            .tables
            .iter()
            .map(|table| Written { path: conf_d.join(draft::table_file(table)), text: draft::table(table) })
            .collect();
        writes.push(Written {
            path: conf_d.join(format!("{}.toml", adoption.entry.id)),
            text: draft::entry(&adoption.entry),
        });
        Self {
            name: adoption.entry.id.to_string(),
            tool: found.tool.word(),
            called: found.name.clone(),
            names: adoption.entry.names.iter().map(ToString::to_string).collect(),
            reads: found.read.clone(),
            writes,
            copies: copies(found, adoption),
            stays: stays(found),
            pair: pair(found, &adoption.filing),
            account: account(found),
            untranslated: found.untranslated.clone(),
            notes: adoption.notes.clone(),
            stop: found.stop.clone(),
            stops: disables && found.source.is_some(),
        }
    }

    pub fn show(&self) {
        print::line(&format!("adopt {}  ({} calls it {})", self.name, self.tool, self.called));
        let row = |label: &str, text: &str| print::line(&format!("  {label:<9} {text}"));
        for path in &self.reads {
            row("reads", &path.display().to_string());
        }
        row("pair", &self.pair);
        row("account", &self.account);
        for Copied { path, key, from } in &self.copies {
            row("copies", &format!("`{key}` of {} to {}, 0600", from.display(), path.display()));
        }
        for Written { path, text } in &self.writes {
            row("writes", &path.display().to_string());
            for line in text.lines() {
                print::line(&format!("    + {line}"));
            }
        }
        for place in &self.stays {
            row("stays", place);
        }
        for words in &self.untranslated {
            row("left out", words);
        }
        for words in &self.notes {
            row("note", words);
        }
        match (self.stop.is_empty(), self.stops) {
            (true, _) => {}
            (false, true) => row("stops", &format!("{}:  {}", self.tool, self.stop)),
            (false, false) => {
                row("then", &format!("{} goes on renewing it until:  {}", self.tool, self.stop));
            }
        }
    }
}

fn copies(found: &Foundling, adoption: &Adoption) -> Vec<Copied> {
    let FoundChallenge::Provider(provider) = &found.challenge else { return Vec::new() };
    let new = adoption.tables.iter().filter_map(|table| match table {
        NewTable::Solver { how: NewSolver::Provider { secrets, .. }, .. } => Some(secrets),
        _ => None,
    });
    new.flatten().map(|(key, path)| Copied { path: path.into(), key, from: provider.from.clone() }).collect()
}

fn pair(found: &Foundling, filing: &Filing) -> String {
    let told = |leaf: &Leaf| format!("{}, by {}, until {}", leaf.serial, leaf.issuer, leaf.not_after.brief());
    match (filing, &found.pair) {
        (Filing::Filed, Ok(leaf)) => format!("{}: kept as the first generation, no order", told(leaf)),
        (Filing::OrderedAnew(why), _) => format!("{why}; a new one is ordered at the next pass"),
        (Filing::Filed, Err(why)) => why.clone(),
    }
}

fn account(found: &Foundling) -> String {
    match &found.account {
        None => "none was found; ours with that CA is used, or a new one at the first order".into(),
        Some(account) => match (&account.unusable, &account.url) {
            (None, Some(url)) => format!("{url} is taken over, unless we have one with that CA"),
            (Some(why), _) => format!(
                "not taken over: {why}; ours with that CA is used, or a new one at the first order (no certificate \
                 is lost by that)"
            ),
            (None, None) => "not taken over: its URL is not known".into(),
        },
    }
}

fn stays(found: &Foundling) -> Vec<String> {
    match &found.places {
        Places::Tree { root, .. } => {
            let dir = Tree::path(root, &found.name);
            let files: Vec<_> = Tree::PARTS.iter().map(|part| part.file_name()).collect();
            vec![format!("{dir}/{{{}}}: kept in certbot's form", files.join(","))]
        }
        Places::Files(files) => files
            .iter()
            .map(|place| {
                let what = match place.part {
                    Part::Privkey => "the key",
                    Part::Combined => "chain and key",
                    Part::Fullchain => "leaf and chain",
                    Part::Cert => "the leaf",
                    Part::Chain => "the chain",
                };
                let owner = &place.owner;
                format!("{}: {what}, {:04o} {}:{}", place.path, owner.mode, owner.user, owner.group)
            })
            .collect(),
    }
}
