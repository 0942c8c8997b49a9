//! Texts in, what is wanted out, with every problem on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeValue;

use super::agent::{self, AgentSettings, Facts};
use super::alert::{self, AlertSettings};
use super::certificate::{self, Known, refuse_unknown_name};
use super::discover::{self, Transparency};
use super::file::{File, Source, Spot};
use super::hook;
use super::issuer;
use super::outline::{Body, Definition, Entry, Named, Outline, take_certificates};
use super::piece::{self, Cut};
use super::preset;
use super::problem::{Problem, Problems};
use super::raw::{Layer, Section};
use super::roster::{Read, Roster};
use super::solver;
use super::syntax;
use super::table::Table;
use super::watch;
use crate::core::name::{BadName, ChannelId, HookId, IssuerId, SolverId, WatchId};
use crate::core::spec::{IssuerSpec, Wanted};

/// A configuration after reading. Usable unless [`Self::fatal`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What can be used; of certificates with errors only name and reason.
    pub wanted: Arc<Wanted>,
    pub agent: AgentSettings,
    /// Where names of issued certificates are asked for; `None`: nowhere.
    pub transparency: Option<Transparency>,
    pub alerts: AlertSettings,
    /// By file and place.
    pub problems: Vec<Problem>,
    /// How many more problems there were than are kept.
    pub left_out: usize,
}

impl Resolved {
    /// Whether an error is not tied to one certificate. Then a start must fail, and a reload
    /// must change nothing: what is in `wanted` may lack whole files.
    pub fn fatal(&self) -> bool {
        self.problems.iter().any(Problem::is_fatal)
    }

    /// Whether anything at all is an error, a single certificate's included.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == super::Severity::Error)
    }
}

/// Reads all texts as one configuration. The main file comes first, then `conf.d` in order.
pub fn resolve(sources: &[Source], facts: &Facts) -> Resolved {
    // What does not hold together piece by piece is told of the whole.
    read(sources, facts, true).or_else(|Crossed| read(sources, facts, false)).unwrap_or_default()
}

/// Something in a file crosses the cuts between its pieces.
struct Crossed;

fn read(sources: &[Source], facts: &Facts, in_pieces: bool) -> Result<Resolved, Crossed> {
    let mut problems = Problems::default();
    let presets = preset::text(facts.check_units);
    let mut files: Vec<File<'_>> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let text = if source.text.len() > Source::TEXT_MAX { "" } else { source.text.as_str() };
            File::new(index, &source.name, text)
        })
        .collect();
    files.push(File::new(files.len(), preset::NAME, &presets));
    for (file, source) in files.iter().zip(sources) {
        if source.text.len() > Source::TEXT_MAX {
            let words = format!("a configuration file has at most {} MiB", Source::TEXT_MAX >> 20);
            problems.error(&Spot::new(file, 0..0, ""), "too-large", words);
        }
    }
    let cut = |file: &File<'_>| in_pieces && file.index < sources.len();
    let cuts: Vec<_> =
        files.iter().map(|file| if cut(file) { Cut::new(file.text) } else { Cut::none(file.text) }).collect();
    let mut twice = Vec::new();
    let mut trees = Vec::with_capacity(files.len());
    for (file, cut) in files.iter().zip(&cuts) {
        let said = problems.noted() + twice.len();
        let mut tree = syntax::parse(file, &cut.rest, &mut twice, &mut problems);
        if !cut.pieces.is_empty() && (problems.noted() + twice.len() > said || !cut.tidy(&mut tree)) {
            return Err(Crossed);
        }
        trees.push(tree);
    }
    let outline = Outline::gather(&files, &trees, &mut problems);

    let agent = agent_section(&outline, &files, facts, &mut problems);
    let alerts = alert_settings(&outline, &mut problems);
    let known = known(&outline, &agent, &mut problems);
    let watches = each(&outline.watches, WatchId::parse, &mut problems, watch::resolve);
    let transparency = discover_section(&outline, &mut problems);
    let mut roster = Roster::new(&files, &known, &agent);
    let mut entries = outline.certificates.iter().peekable();
    for (file, cut) in files.iter().zip(&cuts) {
        while let Some(entry) = entries.next_if(|entry| entry.head.file.index == file.index) {
            roster.take(entry, &mut problems);
        }
        for piece in &cut.pieces {
            take_piece(file, piece, &mut roster, &mut problems)?;
        }
    }
    let certificates = roster.close(&twice, &mut problems);
    warn_of_unaccepted_terms(&certificates, &known, &outline, &mut problems);
    let mut wanted = certificates.into_wanted();
    keep_used(&mut wanted, known, &outline);
    wanted.watches = watches.into_values().flatten().map(|watch| (watch.id.clone(), watch)).collect();
    let none = outline.certificates.is_empty()
        && outline.watches.is_empty()
        && cuts.iter().all(|cut| cut.pieces.is_empty())
        // Who mistyped the table of the only one did configure it.
        && !problems.fatal();
    if let (Some(file), true) = (files.first(), none && !sources.is_empty()) {
        problems.warning(
            &Spot::new(file, 0..0, ""),
            "no-certificates",
            "no certificate is configured",
            "add a table [certificate.\"host.example.com\"], or [watch.NAME] for one that somebody else renews",
        );
    }
    let (problems, left_out) = problems.into_found();
    Ok(Resolved { wanted: Arc::new(wanted), agent, alerts, transparency, problems, left_out })
}

/// Reads the certificate of one piece, whose tree is gone when this returns.
fn take_piece(
    file: &File<'_>,
    piece: &Range<u32>,
    roster: &mut Roster<'_>,
    problems: &mut Problems,
) -> Result<(), Crossed> {
    let (base, end) = (piece.start as usize, piece.end as usize);
    let tree = file.text.get(base..end).and_then(piece::read).ok_or(Crossed)?;
    let mut entries = Vec::new();
    for value in tree.values() {
        let DeValue::Table(table) = value.get_ref() else { return Err(Crossed) };
        take_certificates(Layer { file, base, table }, &mut entries);
    }
    // Names that dots have split could meet those of another piece.
    let [entry @ Entry { body: Body::Table(_), .. }] = &entries[..] else { return Err(Crossed) };
    if roster.take(entry, problems) { Ok(()) } else { Err(Crossed) }
}

fn agent_section<'a>(
    outline: &Outline<'a>,
    files: &'a [File<'a>],
    facts: &Facts,
    problems: &mut Problems,
) -> AgentSettings {
    for section in &outline.agent {
        section.refuse_unknown(problems);
    }
    refuse_repeated(&outline.agent, problems);
    let head = outline.agent.first().map(|section| section.head.clone());
    let Some(head) = head.or_else(|| files.first().map(|file| Spot::new(file, 0..0, "agent"))) else {
        return AgentSettings::default();
    };
    let section = Section::new(Table::Agent, head, layers(&outline.agent));
    agent::resolve(&section, facts, problems)
}

fn discover_section(outline: &Outline<'_>, problems: &mut Problems) -> Option<Transparency> {
    for section in &outline.discover {
        section.refuse_unknown(problems);
    }
    refuse_repeated(&outline.discover, problems);
    let first = outline.discover.first()?;
    let section = Section { layers: layers(&outline.discover), ..first.clone() };
    discover::resolve(&section, problems)
}

fn alert_settings(outline: &Outline<'_>, problems: &mut Problems) -> AlertSettings {
    let channels = each(&outline.alerts, ChannelId::parse, problems, alert::channel);
    if let Some(definition) = outline.alerts.values().nth(alert::CHANNELS_MAX) {
        let words = format!("at most {} channels", alert::CHANNELS_MAX);
        problems.error(&definition.section.head, "too-many", words);
    }
    for section in &outline.heartbeat {
        section.refuse_unknown(problems);
    }
    refuse_repeated(&outline.heartbeat, problems);
    let heartbeat = outline.heartbeat.first().and_then(|first| {
        let section = Section { layers: layers(&outline.heartbeat), ..first.clone() };
        alert::heartbeat(&section, problems)
    });
    AlertSettings { channels: channels.into_values().flatten().collect(), heartbeat }
}

fn layers<'a>(sections: &[Section<'a>]) -> Vec<Layer<'a>> {
    sections.iter().flat_map(|section| section.layers.iter().copied()).collect()
}

/// `[agent]` and `[defaults]` may be spread over files, but each key is set once.
fn refuse_repeated(sections: &[Section<'_>], problems: &mut Problems) {
    for (at, section) in sections.iter().enumerate() {
        for key in section.layers.iter().flat_map(|layer| layer.table.keys()) {
            let key: &str = key.get_ref();
            let first = sections[..at].iter().find_map(|earlier| earlier.find(key));
            if let (Some(first), Some(again)) = (first, section.find(key)) {
                let spot = Spot { span: again.key, ..again.spot };
                let words = format!("`{}` is set twice; the first is at {}", spot.path, first.spot.place());
                problems.error_hint(&spot, "duplicate-key", words, "keep one of them");
            }
        }
    }
}

fn known<'a>(outline: &Outline<'a>, agent: &AgentSettings, problems: &mut Problems) -> Known<'a> {
    let issuers = each(&outline.issuers, IssuerId::parse, problems, |id, section, problems| {
        issuer::resolve(id, section, agent.proxy.as_deref(), problems)
    });
    let solvers = each(&outline.solvers, SolverId::parse, problems, |id, section, problems| {
        solver::resolve(id, section, &agent.state_dir, problems)
    });
    let services = each(&outline.services, HookId::parse, problems, hook::service);
    for service in services.values().flatten() {
        for word in &service.solvers {
            refuse_unknown_name(word, "solver", "unknown-solver", &[&solvers], problems);
        }
    }
    let hooks = each(&outline.hooks, HookId::parse, problems, hook::resolve);
    for (name, hook) in &outline.hooks {
        if let Some(service) = outline.services.get(name) {
            let place = if service.built_in {
                "a built-in service".to_owned()
            } else {
                service.section.head.place().to_string()
            };
            let words = format!("hooks and services share their names, and \"{name}\" is taken by {place}");
            let hint = format!("rename it, or change the service with [service.{name}]");
            problems.error_hint(&hook.section.head, "duplicate-table", words, hint);
        }
    }
    let sections: Vec<_> = outline
        .services
        .iter()
        .chain(&outline.hooks)
        .map(|(name, definition)| (*name, &definition.section))
        .collect();
    let (mut services, mut hooks) = (services, hooks);
    for wrong in hook::check_order(&sections, &[&services, &hooks], problems) {
        services.entry(wrong).and_modify(|service| *service = None);
        hooks.entry(wrong).and_modify(|hook| *hook = None);
    }
    let mut known = Known { issuers, solvers, services, hooks, defaults: Vec::new() };
    for section in &outline.defaults {
        defaults_keys(section, problems);
    }
    refuse_repeated(&outline.defaults, problems);
    known.defaults = layers(&outline.defaults);
    if let Some(first) = outline.defaults.first() {
        let section = Section { layers: known.defaults.clone(), ..first.clone() };
        certificate::check_defaults(&section, &known, problems);
    }
    known
}

fn each<'a, I, T>(
    named: &Named<'a>,
    parse: fn(&str) -> Result<I, BadName>,
    problems: &mut Problems,
    read: impl Fn(I, &Section<'a>, &mut Problems) -> Option<T>,
) -> BTreeMap<&'a str, Option<T>> {
    let mut found = BTreeMap::new();
    for (name, Definition { section, .. }) in named {
        section.refuse_unknown(problems);
        let value = match parse(name) {
            Ok(id) => read(id, section, problems),
            Err(why) => {
                problems.error(&section.head, "bad-name", why.0);
                None
            }
        };
        found.insert(*name, value);
    }
    found
}

fn defaults_keys(section: &Section<'_>, problems: &mut Problems) {
    let Some(layer) = section.layers.first() else { return };
    for name in layer.table.keys() {
        let key: &str = name.get_ref();
        if Table::Certificate.key(key).is_some_and(|key| !key.inherited) {
            let spot = Spot::new(layer.file, name.span(), format!("defaults.{key}"));
            let words = format!("`{key}` differs for every certificate and can't stand in [defaults]");
            problems.error(&spot, "not-a-default", words);
        }
    }
    section.refuse_unknown(problems);
}

/// Only a question: whether a CA has terms is known when its directory is read.
fn warn_of_unaccepted_terms(
    certificates: &Read<'_>,
    known: &Known<'_>,
    outline: &Outline<'_>,
    problems: &mut Problems,
) {
    for issuer in known.issuers.values().flatten() {
        if issuer.accept_terms || !issuer::is_lets_encrypt(issuer) {
            continue;
        }
        let Some(user) = certificates.first_user(&issuer.id) else { continue };
        let written = outline.issuers.get(issuer.id.as_str()).filter(|table| !table.built_in);
        problems.warning(
            written.map_or(&user, |table| &table.section.head),
            "terms-not-accepted",
            format!("the terms of service of {} are not accepted, so it will give no account", issuer.id),
            format!(
                "read https://letsencrypt.org/repository/, then write\n[issuer.{}]\naccept-terms = true",
                issuer.id
            ),
        );
    }
}

/// Takes what the operator wrote and what certificates name; the rest of the built-in tables
/// stays out of sight.
fn keep_used(wanted: &mut Wanted, known: Known<'_>, outline: &Outline<'_>) {
    let lineages = &wanted.lineages;
    let issuers: BTreeSet<IssuerId> = lineages.values().flat_map(|spec| &spec.issuers).cloned().collect();
    let solvers: BTreeSet<SolverId> = lineages.values().flat_map(|spec| &spec.solvers).cloned().collect();
    let hooks: BTreeSet<HookId> = lineages.values().flat_map(|spec| spec.all_hooks()).cloned().collect();
    let written = |named: &Named<'_>, name: &str| named.get(name).is_some_and(|table| !table.built_in);
    let used = |spec: &IssuerSpec| issuers.contains(&spec.id) || written(&outline.issuers, spec.id.as_str());
    wanted.issuers =
        known.issuers.into_values().flatten().filter(used).map(|spec| (spec.id.clone(), spec)).collect();
    wanted.solvers = known
        .solvers
        .into_values()
        .flatten()
        .filter(|spec| solvers.contains(&spec.id) || written(&outline.solvers, spec.id.as_str()))
        .map(|spec| (spec.id.clone(), spec))
        .collect();
    let services = known.services.into_values().flatten().map(|service| service.hook);
    wanted.hooks = known
        .hooks
        .into_values()
        .flatten()
        .chain(services)
        .filter(|spec| {
            let name = spec.id.as_str();
            hooks.contains(&spec.id) || written(&outline.hooks, name) || written(&outline.services, name)
        })
        .map(|spec| (spec.id.clone(), spec))
        .collect();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines that meet each other in all ways, sensible or not.
    const LINES: [&str; 29] = [
        "[certificate.\"a.example\"]",
        "[certificate.\"b.example\"]  # with a remark",
        "[certificate.\"B.example\"]",
        "[certificate.c]",
        "  [certificate.c]",
        "[certificate]",
        "[certificate.c.example]",
        "[certificate.\"-no.example\"]",
        "[certificate.\"a.example\".profile]",
        "[[certificate.\"a.example\".outputs]]",
        "[[certificate.c.outputs]]",
        "[defaults]",
        "[issuer.other]",
        "[-]",
        "[[\"-\"]]",
        "\"d.example\" = [\"d.example\"]",
        "names = [\"a.example\"]",
        "names = [",
        "\"x.example\",",
        "]",
        "key = \"rsa-2048\"",
        "key = \"rsa\"",
        "service = \"nginx\"",
        "part = \"cert\"",
        "path = \"/etc/x\"",
        "colour = 1",
        "text = \"\"\"",
        "accept-terms = true",
        "",
    ];

    fn texts() -> impl Strategy<Value = String> {
        let line = prop::sample::select(LINES.to_vec());
        let free = prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"));
        // Mostly whole certificates, or nothing would ever be read in pieces.
        let whole = (0..9u8, 0..4usize).prop_map(|(name, kind)| {
            let body = ["", "key = \"rsa-2048\"\n", "service = \"nginx\"\n", "colour = 1\n"][kind];
            format!("[certificate.\"{name}.example\"]\n{body}")
        });
        let other =
            prop::sample::select(vec!["[defaults]\nkey = \"rsa-2048\"\n", "[hook.h]\nrun = [\"x\"]\n"]);
        let tidy = prop::collection::vec(prop_oneof![4 => whole, 1 => other.prop_map(str::to_owned)], 0..8)
            .prop_map(|tables| tables.concat());
        prop_oneof![free, tidy]
    }

    proptest! {
        #[test]
        fn in_pieces_the_same_is_read_as_in_one(texts in prop::collection::vec(texts(), 1..3)) {
            let sources: Vec<_> =
                texts.iter().enumerate().map(|(at, text)| Source::new(format!("{at}.toml"), text)).collect();
            let whole = read(&sources, &Facts::default(), false).ok();
            if let Ok(pieces) = read(&sources, &Facts::default(), true) {
                prop_assert_eq!(Some(pieces), whole);
            }
        }
    }

    #[test]
    fn ordinary_certificates_are_read_in_pieces_and_odd_ones_are_not() {
        for (pieces, text) in [
            (
                true,
                "[defaults]\nkey = \"rsa-2048\"\n[certificate.\"a.example\"]\n[certificate.\"b.example\"]\ncolour = 1",
            ),
            (true, "[certificate.\"a.example\"]\n[hook.h]\nrun = [\"x\"]\n[certificate.\"b.example\"]"),
            (false, "[certificate.\"a.example\"]\n[certificate.\"a.example\"]"),
            (false, "[certificate.\"a.example\"]\nkey = \"x\"\nkey = \"y\""),
            (false, "[certificate]\n\"b.example\" = [\"b.example\"]\n[certificate.\"a.example\"]"),
            (false, "x = [\n[certificate.a]\n[1]]"),
            (false, "[certificate.a]\n[certificate.a.example]\n[certificate.a]"),
            (false, "[certificate.\"-a\"]\n[certificate.\"-a\"]"),
        ] {
            let read = read(&[Source::new("a.toml", text)], &Facts::default(), true);
            assert_eq!(read.is_ok(), pieces, "{text}");
        }
    }
}
