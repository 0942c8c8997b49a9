//! Which tables the files hold: named ones found, laid over the built-in ones, each name once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{File, KeyPath, Spot};
use super::nearest::nearest;
use super::problem::Problems;
use super::raw::{Layer, Section, Value, quoted, wrong_type};
use super::table::{TOP, Table};

/// All tables of all files.
#[derive(Default)]
pub(super) struct Outline<'a> {
    /// `[agent]` of every file that has one.
    pub agent: Vec<Section<'a>>,
    /// `[defaults]` of every file that has one.
    pub defaults: Vec<Section<'a>>,
    pub issuers: Named<'a>,
    pub solvers: Named<'a>,
    pub services: Named<'a>,
    pub hooks: Named<'a>,
    pub watches: Named<'a>,
    /// `[discover]` of every file that has one.
    pub discover: Vec<Section<'a>>,
    pub alerts: Named<'a>,
    /// `[heartbeat]` of every file that has one.
    pub heartbeat: Vec<Section<'a>>,
    /// In the order of files and lines.
    pub certificates: Vec<Entry<'a>>,
}

pub(super) type Named<'a> = BTreeMap<&'a str, Definition<'a>>;

/// A named table and whether the operator wrote any of it.
pub(super) struct Definition<'a> {
    pub section: Section<'a>,
    pub built_in: bool,
}

/// One certificate as written.
pub(super) struct Entry<'a> {
    pub name: Cow<'a, str>,
    pub head: Spot<'a>,
    pub body: Body<'a>,
}

pub(super) enum Body<'a> {
    Table(Layer<'a>),
    /// Names alone.
    Names(&'a DeValue<'a>),
    /// Dots that split the name into tables: where it should have been quoted, and as what.
    Unquoted(String),
    Neither(&'a DeValue<'a>),
}

impl<'a> Outline<'a> {
    /// `files` and their trees side by side, the built-in one last.
    pub fn gather(files: &'a [File<'a>], trees: &'a [DeTable<'a>], problems: &mut Problems) -> Self {
        let mut outline = Self::default();
        let last = files.len().saturating_sub(1);
        for (file, tree) in files.iter().zip(trees) {
            let mut top: Vec<_> = tree.iter().collect();
            top.sort_by_key(|(key, _)| key.span().start);
            for (key, value) in top {
                outline.take(file, key, value, file.index == last, problems);
            }
        }
        outline.certificates.sort_by_key(|entry| (entry.head.file.index, entry.head.span.start));
        outline
    }

    fn take(
        &mut self,
        file: &'a File<'a>,
        key: &'a Spanned<std::borrow::Cow<'a, str>>,
        value: &'a Value<'a>,
        built_in: bool,
        problems: &mut Problems,
    ) {
        let name: &str = key.get_ref();
        let head = Spot::new(file, key.span(), quoted(name));
        if !TOP.contains(&name) {
            let hint = match nearest(name, TOP) {
                Some(near) => format!("did you mean `[{near}]`?"),
                None => format!("a key belongs below one of {}", TOP.map(|t| format!("[{t}]")).join(", ")),
            };
            problems.error_hint(&head, "unknown-table", format!("there is no table `{name}`"), hint);
            return;
        }
        let DeValue::Table(table) = value.get_ref() else {
            wrong_type(&Spot { span: value.span(), ..head }, "a table", value.get_ref(), problems);
            return;
        };
        let layer = Layer { file, base: 0, table };
        let section = |kind| Section::new(kind, head.clone(), vec![layer]);
        match name {
            "agent" => self.agent.push(section(Table::Agent)),
            "defaults" => self.defaults.push(section(Table::Certificate)),
            "issuer" => define(&mut self.issuers, Table::Issuer, &head, layer, built_in, problems),
            "solver" => define(&mut self.solvers, Table::Solver, &head, layer, built_in, problems),
            "service" => define(&mut self.services, Table::Service, &head, layer, built_in, problems),
            "hook" => define(&mut self.hooks, Table::Hook, &head, layer, built_in, problems),
            "watch" => define(&mut self.watches, Table::Watch, &head, layer, built_in, problems),
            "discover" => self.discover.push(section(Table::Discover)),
            "alert" => define(&mut self.alerts, Table::Alert, &head, layer, built_in, problems),
            "heartbeat" => self.heartbeat.push(section(Table::Heartbeat)),
            _ => take_certificates(layer, &mut self.certificates),
        }
    }
}

/// What stands below `[certificate]`, in no particular order.
pub(super) fn take_certificates<'a>(layer: Layer<'a>, entries: &mut Vec<Entry<'a>>) {
    let above = Rc::new("certificate".into());
    for (key, value) in layer.table {
        let name = key.get_ref().as_ref();
        let head = layer.spot(&key.span(), KeyPath::below(&above, name));
        match value.get_ref() {
            DeValue::Table(table) => {
                let layer = Layer { table, ..layer };
                let mut split = Vec::new();
                // A name with a dot was quoted; what is wrong inside is not the quoting.
                let has_own = name.contains('.') || unquoted(name, table, &mut split);
                for (name, span, hint) in split {
                    let path = KeyPath::below(&above, name.clone());
                    let head = Spot { path, ..head.at(&span) };
                    entries.push(Entry { name: name.into(), head, body: Body::Unquoted(hint) });
                }
                if has_own {
                    entries.push(Entry { name: name.into(), head, body: Body::Table(layer) });
                }
            }
            names @ (DeValue::Array(_) | DeValue::String(_)) => {
                entries.push(Entry { name: name.into(), head, body: Body::Names(names) });
            }
            other => {
                let head = head.at(&value.span());
                entries.push(Entry { name: name.into(), head, body: Body::Neither(other) });
            }
        }
    }
}

fn define<'a>(
    named: &mut Named<'a>,
    kind: Table,
    above: &Spot<'a>,
    layer: Layer<'a>,
    built_in: bool,
    problems: &mut Problems,
) {
    let path = Rc::new(above.path.clone());
    for (key, value) in layer.table {
        let name: &'a str = key.get_ref();
        let head = layer.spot(&key.span(), KeyPath::below(&path, name));
        let DeValue::Table(table) = value.get_ref() else {
            wrong_type(
                &head.at(&value.span()),
                &format!("a table [{}]", head.path),
                value.get_ref(),
                problems,
            );
            continue;
        };
        let layer = Layer { table, ..layer };
        match named.get_mut(name) {
            None => {
                named.insert(name, Definition { section: Section::new(kind, head, vec![layer]), built_in });
            }
            Some(known) if built_in => known.section.layers.push(layer),
            Some(known) => problems.error_hint(
                &head,
                "duplicate-table",
                format!("[{}] stands twice; the first is at {}", head.path, known.section.head.place()),
                "merge the two, or rename one",
            ),
        }
    }
}

/// Finds certificate names that dots have split into nested tables. Whether the table has
/// anything else, or nothing at all, is the answer.
fn unquoted(
    path: &str,
    table: &DeTable<'_>,
    split: &mut Vec<(String, std::ops::Range<usize>, String)>,
) -> bool {
    let mut has_own = table.is_empty();
    let keys = || Table::Certificate.keys().map(|key| key.name);
    let known = table.keys().any(|name| Table::Certificate.key(name.get_ref()).is_some());
    for (key, value) in table {
        let name: &str = key.get_ref();
        if Table::Certificate.key(name).is_some() {
            has_own = true;
            continue;
        }
        let full = format!("{path}.{name}");
        match value.get_ref() {
            DeValue::Table(inner) => {
                let mut below = Vec::new();
                if unquoted(&full, inner, &mut below) {
                    let hint = format!("quote the name: [certificate.\"{full}\"]");
                    split.push((full, key.span(), hint));
                }
                split.append(&mut below);
            }
            // Below `[certificate]` itself: shop.example.com = ["shop.example.com"]
            DeValue::Array(_) if path.contains('.') || !known && nearest(name, keys()).is_none() => {
                split.push((full.clone(), key.span(), format!("quote the name: \"{full}\" = [ … ]")));
            }
            _ => has_own = true,
        }
    }
    has_own
}
