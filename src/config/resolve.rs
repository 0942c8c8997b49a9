//! Texts in, what is wanted out, with every problem on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::DeTable;

use super::agent::{self, AgentSettings, Facts};
use super::certificate::{self, Known, refuse_unknown_name};
use super::domain;
use super::file::{File, Source, Spot};
use super::hook;
use super::issuer;
use super::outline::{Definition, Named, Outline};
use super::preset;
use super::problem::{Problem, Problems};
use super::raw::{Layer, Section};
use super::solver;
use super::syntax;
use super::table::Table;
use crate::core::name::{BadName, HookId, IssuerId, LineageId, SolverId, SubjectName};
use crate::core::spec::{IssuerSpec, Wanted};

/// A configuration after reading. Usable unless [`Self::fatal`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What can be used; of certificates with errors only name and reason.
    pub wanted: Arc<Wanted>,
    pub agent: AgentSettings,
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
    let mut twice = Vec::new();
    let trees: Vec<DeTable<'_>> =
        files.iter().map(|file| syntax::parse(file, &mut twice, &mut problems)).collect();
    let outline = Outline::gather(&files, &trees, &mut problems);

    let agent = agent_section(&outline, &files, facts, &mut problems);
    let known = known(&outline, &agent, &mut problems);
    let mut wanted = certificates(&outline, &known, &agent, &twice, &mut problems);
    warn_of_unaccepted_terms(&wanted, &known, &outline, &mut problems);
    keep_used(&mut wanted, known, &outline);
    if let (Some(file), true) = (files.first(), outline.certificates.is_empty() && !sources.is_empty()) {
        problems.warning(
            &Spot::new(file, 0..0, ""),
            "no-certificates",
            "no certificate is configured",
            "add a table [certificate.\"host.example.com\"]",
        );
    }
    let (problems, left_out) = problems.into_found();
    Resolved { wanted: Arc::new(wanted), agent, problems, left_out }
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
    let section = Section::new(Table::Agent, "agent".to_owned(), head, layers(&outline.agent));
    agent::resolve(&section, facts, problems)
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
            let place =
                if service.built_in { "a built-in service".to_owned() } else { service.section.head.place() };
            let words = format!("hooks and services share their names, and \"{name}\" is taken by {place}");
            let hint = format!("rename it, or change the service with [service.{name}]");
            problems.error_hint(&hook.section.head, "duplicate-table", words, hint);
        }
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

fn certificates<'a>(
    outline: &Outline<'a>,
    known: &Known<'a>,
    agent: &AgentSettings,
    twice: &[syntax::Twice<'a>],
    problems: &mut Problems,
) -> Wanted {
    let mut wanted = Wanted::default();
    let mut first_of: BTreeMap<LineageId, &Spot<'_>> = BTreeMap::new();
    let mut path_in: BTreeMap<String, &Spot<'_>> = BTreeMap::new();
    for entry in &outline.certificates {
        problems.enter(&entry.name);
        let id = match domain::lineage(&entry.name) {
            Ok(id) => id,
            Err(why) => {
                problems.error(&entry.head, "bad-name", why.0);
                problems.leave();
                continue;
            }
        };
        if let Some(first) = first_of.get(&id) {
            let words = format!("certificate {id} is configured twice; the first is at {}", first.place());
            problems.error_hint(&entry.head, "duplicate-certificate", words, "merge the two, or rename one");
            wanted.lineages.remove(&id);
            wanted.broken.insert(id, problems.leave().unwrap_or_default());
            continue;
        }
        first_of.insert(id.clone(), &entry.head);
        let spec = certificate::resolve(id.clone(), entry, known, agent, problems);
        for output in spec.iter().flat_map(|spec| &spec.outputs) {
            if let Some(first) = path_in.get(&output.path) {
                let words =
                    format!("{} is already written by the certificate at {}", output.path, first.place());
                problems.error(&entry.head, "duplicate-output", words);
            } else {
                path_in.insert(output.path.clone(), &entry.head);
            }
        }
        let reason = problems.leave();
        match (spec, reason) {
            (Some(spec), None) => {
                wanted.lineages.insert(id, spec);
            }
            (_, reason) => {
                let reason = reason.unwrap_or_else(|| "something it names can't be used".to_owned());
                wanted.broken.insert(id, reason);
            }
        }
    }
    for again in twice {
        problems.enter(&again.name);
        let hint = "keep one of them";
        problems.error_hint(&again.spot, "duplicate-key", &again.words, hint);
        let reason = problems.leave();
        if let (Ok(id), Some(reason)) = (domain::lineage(&again.name), reason) {
            wanted.lineages.remove(&id);
            wanted.broken.entry(id).or_insert(reason);
        }
    }
    warn_of_shared_names(&wanted, &first_of, problems);
    wanted
}

fn warn_of_shared_names(wanted: &Wanted, heads: &BTreeMap<LineageId, &Spot<'_>>, problems: &mut Problems) {
    let mut name_in: BTreeMap<&SubjectName, &Spot<'_>> = BTreeMap::new();
    for spec in wanted.lineages.values() {
        let Some(head) = heads.get(&spec.id) else { continue };
        for name in &spec.names {
            let Some(other) = name_in.insert(name, head) else { continue };
            let place = |spot: &Spot<'_>| (spot.file.index, spot.span.start);
            let (first, again) = if place(other) < place(head) { (other, *head) } else { (*head, other) };
            problems.warning(
                again,
                "shared-name",
                format!("{name} is also in the certificate at {}", first.place()),
                "fine if meant, for instance for two kinds of key; each spends orders of its own",
            );
        }
    }
}

/// Only a question: whether a CA has terms is known when its directory is read.
fn warn_of_unaccepted_terms(
    wanted: &Wanted,
    known: &Known<'_>,
    outline: &Outline<'_>,
    problems: &mut Problems,
) {
    let used: BTreeSet<&IssuerId> = wanted.lineages.values().flat_map(|spec| &spec.issuers).collect();
    for issuer in known.issuers.values().flatten() {
        if !used.contains(&issuer.id) || issuer.accept_terms || !issuer::is_lets_encrypt(issuer) {
            continue;
        }
        let written = outline.issuers.get(issuer.id.as_str()).filter(|table| !table.built_in);
        let user = outline.certificates.iter().find(|entry| {
            domain::lineage(&entry.name)
                .ok()
                .and_then(|id| wanted.lineages.get(&id))
                .is_some_and(|spec| spec.issuers.contains(&issuer.id))
        });
        if let Some(spot) = written.map(|table| &table.section.head).or(user.map(|entry| &entry.head)) {
            problems.warning(
                spot,
                "terms-not-accepted",
                format!("the terms of service of {} are not accepted, so it will give no account", issuer.id),
                format!(
                    "read https://letsencrypt.org/repository/, then write\n[issuer.{}]\naccept-terms = true",
                    issuer.id
                ),
            );
        }
    }
}

/// Takes what the operator wrote and what certificates name; the rest of the built-in tables
/// stays out of sight.
fn keep_used(wanted: &mut Wanted, known: Known<'_>, outline: &Outline<'_>) {
    let specs: Vec<_> = wanted.lineages.values().collect();
    let issuers: BTreeSet<IssuerId> = specs.iter().flat_map(|spec| spec.issuers.clone()).collect();
    let solvers: BTreeSet<SolverId> = specs.iter().flat_map(|spec| spec.solvers.clone()).collect();
    let hooks: BTreeSet<HookId> = specs.iter().flat_map(|spec| spec.hooks.clone()).collect();
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
