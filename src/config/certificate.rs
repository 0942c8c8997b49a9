//! `[certificate.NAME]` and `[defaults]`: one certificate as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::de::DeValue;

use super::address;
use super::agent::AgentSettings;
use super::domain;
use super::file::Spot;
use super::hook::Service;
use super::issuer;
use super::nearest::nearest;
use super::observe;
use super::outline::{Body, Entry};
use super::output;
use super::preset::{DEFAULT_ISSUER, DEFAULT_SOLVER, ENDED};
use super::problem::Problems;
use super::raw::{Layer, Section, Word, quoted, texts_of, wrong_type};
use super::table::{KEY_WORDS, Table};
use super::window;
use crate::core::deploy_window::DeployWindow;
use crate::core::endpoint::Endpoint;
use crate::core::name::{BadName, HookId, IssuerId, LineageId, SolverId, SubjectName};
use crate::core::spec::{
    Around, HookSpec, IssuerSpec, KeyKind, LineageSpec, OnDeadName, Rights, SolverSpec, Terms,
};
use crate::core::time::Span;

/// Everything that a certificate may name. `None`: it is there, but can't be used, which was
/// reported where it stands.
pub(super) struct Known<'a> {
    pub issuers: BTreeMap<&'a str, Option<IssuerSpec>>,
    pub solvers: BTreeMap<&'a str, Option<SolverSpec>>,
    pub services: BTreeMap<&'a str, Option<Service<'a>>>,
    pub hooks: BTreeMap<&'a str, Option<HookSpec>>,
    /// Layers below every certificate.
    pub defaults: Vec<Layer<'a>>,
}

impl Known<'_> {
    fn hook(&self, id: &HookId) -> Option<&HookSpec> {
        let service = self.services.get(id.as_str()).and_then(Option::as_ref).map(|service| &service.hook);
        service.or_else(|| self.hooks.get(id.as_str()).and_then(Option::as_ref))
    }
}

/// What certificates have in common, kept once: ten thousand of them know a handful of terms.
#[derive(Default)]
pub(super) struct Common {
    known: BTreeSet<Arc<Terms>>,
    /// The terms of a certificate that sets none of its own, where nothing is wrong with them.
    usual: Option<Agreed>,
}

/// Terms, and where a certificate with them must be seen: not yet for each of its names.
#[derive(Clone)]
struct Agreed {
    terms: Arc<Terms>,
    observe: Arc<[Endpoint]>,
}

/// The label asked for below a wildcard: any label must be served, so one that nobody has made
/// an exception for.
pub(super) const PROBE_LABEL: &str = "nolapse-probe";

/// Most names of one certificate; Let's Encrypt's limit and that of most CAs.
const NAMES_MAX: usize = 100;
/// Most handshakes of one look at a certificate.
const ENDPOINTS_MAX: usize = 1000;
/// Most known names listed in a hint.
const NAMES_SHOWN: usize = 12;
/// Most issuers, solvers, services or hooks of one certificate.
const TERMS_MAX: usize = 16;

const OBSERVE_TIMEOUT: Span = Span::secs(30);
const OBSERVE_TIMEOUT_MAX: Span = Span::minutes(5);

impl Common {
    /// The terms that were seen first among the equals of `terms`.
    fn shared(&mut self, terms: Terms) -> Arc<Terms> {
        if let Some(known) = self.known.get(&terms) {
            return known.clone();
        }
        let terms = Arc::new(terms);
        self.known.insert(terms.clone());
        terms
    }
}

/// Reads the values of `[defaults]` once, so that what is wrong there is found there.
pub(super) fn check_defaults(section: &Section<'_>, known: &Known<'_>, problems: &mut Problems) {
    let _ = terms(section, known, &mut Common::default(), problems);
}

/// Reads one certificate. `None`, or errors noted since: it can't be used.
pub(super) fn resolve(
    id: LineageId,
    entry: &Entry<'_>,
    known: &Known<'_>,
    agent: &AgentSettings,
    common: &mut Common,
    problems: &mut Problems,
) -> Option<LineageSpec> {
    let misplaced = !matches!(entry.body, Body::Table(_)) && Table::Certificate.key(&entry.name).is_some();
    if misplaced {
        let words = format!("`{}` is a key of one certificate, and [certificate] holds them all", entry.name);
        problems.error_hint(
            &entry.head,
            "unnamed-certificate",
            words,
            "give the certificate a name: [certificate.\"host.example.com\"]",
        );
        return None;
    }
    let mut layers = Vec::with_capacity(1 + known.defaults.len());
    let listed = match &entry.body {
        Body::Table(layer) => {
            layers.push(*layer);
            None
        }
        Body::Names(value) => Some(*value),
        Body::Unquoted(hint) => {
            let words = "a name with dots must be quoted, or TOML takes each part for a table";
            problems.error_hint(&entry.head, "unquoted-name", words, hint);
            return None;
        }
        Body::Neither(value) => {
            wrong_type(&entry.head, "a table or a list of names", value, problems);
            return None;
        }
    };
    let own = Section::new(Table::Certificate, entry.head.clone(), layers.clone());
    refuse_unknown(&own, problems);
    layers.extend(&known.defaults);
    let section = Section { layers, ..own.clone() };

    let names = names(entry, listed, &own, problems);
    let terms = if own.layers.iter().any(sets_terms) {
        terms(&section, known, common, problems)
    } else {
        usual_terms(&section, known, common, problems)
    };
    let rights = terms.as_ref().map(|agreed| agreed.terms.rights.clone()).unwrap_or_default();
    let outputs = output::outputs(&id, &own, &section, &rights, agent, problems);
    let (names, Agreed { terms, observe }) = (names?, terms?);
    let endpoints = expand(&observe, &names, &section, problems);
    judge_names(&names, &terms, known, &entry.head, problems);
    Some(LineageSpec {
        id,
        names: names.into(),
        endpoints: endpoints?.into(),
        outputs: outputs?.into(),
        origin: entry.head.place(),
        terms,
    })
}

fn refuse_unknown(own: &Section<'_>, problems: &mut Problems) {
    for staple in ["must-staple", "must_staple", "ocsp-must-staple"] {
        if let Some(found) = own.find(staple) {
            problems.error_hint(
                &Spot { span: found.key, ..found.spot },
                "must-staple",
                "OCSP stapling can't be demanded: Let's Encrypt refuses such orders since May 2025 and runs no OCSP responder",
                "remove the line; short lifetimes take its place, see `profile`",
            );
            return;
        }
    }
    own.refuse_unknown(problems);
}

fn names(
    entry: &Entry<'_>,
    listed: Option<&DeValue<'_>>,
    own: &Section<'_>,
    problems: &mut Problems,
) -> Option<Vec<SubjectName>> {
    let words = match listed {
        Some(value) => texts_of(value, &entry.head, problems)?,
        None if own.find("names").is_some() => own.texts("names", problems)?,
        None => {
            let word = Word { text: &entry.name, spot: entry.head.clone() };
            return match domain::subject(word.text) {
                Ok(name) => Some(vec![name]),
                Err(why) => {
                    problems.error_hint(
                        &word.spot,
                        "bad-name",
                        format!("`names` is left out, so the table's name counts, but {}", why.0),
                        "add `names = [\"host.example.com\"]`",
                    );
                    None
                }
            };
        }
    };
    if words.is_empty() {
        problems.error(&entry.head, "no-names", "a certificate needs at least one name");
        return None;
    }
    if words.len() > NAMES_MAX {
        let words = format!("{} names; a certificate holds at most {NAMES_MAX}", words.len());
        problems.error_hint(&entry.head, "too-many", words, "split it into several certificates");
        return None;
    }
    let mut names = Vec::with_capacity(words.len());
    let mut whole = true;
    for word in words {
        match word.parse("bad-name", domain::subject, problems) {
            Some(name) if names.contains(&name) => {
                problems.warning(
                    &word.spot,
                    "repeated-name",
                    format!("{name} stands twice in this list"),
                    "remove one",
                );
            }
            Some(name) => names.push(name),
            None => whole = false,
        }
    }
    whole.then_some(names)
}

/// What no order could change: said before it costs one.
fn judge_names(
    names: &[SubjectName],
    terms: &Terms,
    known: &Known<'_>,
    head: &Spot<'_>,
    problems: &mut Problems,
) {
    let asked: Vec<&IssuerSpec> =
        terms.issuers.iter().filter_map(|id| known.issuers.get(id.as_str())?.as_ref()).collect();
    let public = || asked.iter().find(|issuer| issuer::is_public(issuer));
    let has_star = names.iter().any(SubjectName::is_wildcard);
    for name in names {
        let lonely = matches!(name, SubjectName::Dns(dns) if !dns.contains('.'));
        if lonely && let Some(issuer) = public() {
            let words = format!("{name} has no dot; {} certifies public names only", issuer.id);
            problems.error_hint(head, "not-public", words, "write the full name, or use a private CA");
        }
        if let SubjectName::Ip(ip) = name {
            address::judge(*ip, terms, &asked, head, problems);
        }
        if let Some((code, words, hint)) = unprovable(name, terms, known) {
            match public() {
                Some(_) => problems.error_hint(head, code, words, hint),
                None => problems.warning(head, code, words, hint),
            }
        }
        let covering =
            || names.iter().find(|other| *other != name && other.is_wildcard() && other.covers(name));
        if has_star
            && let Some(star) = covering()
            && public().is_some()
        {
            let words = format!("{name} is already covered by {star}; CAs refuse to list both");
            problems.error_hint(head, "covered-name", words, format!("remove {name}"));
        }
    }
}

/// Why none of the certificate's solvers could prove a name, and what to do.
fn unprovable(
    name: &SubjectName,
    terms: &Terms,
    known: &Known<'_>,
) -> Option<(&'static str, String, &'static str)> {
    let solvers: Vec<&SolverSpec> =
        terms.solvers.iter().filter_map(|id| known.solvers.get(id.as_str())?.as_ref()).collect();
    if solvers.is_empty() || solvers.iter().any(|solver| solver.could_prove(name)) {
        return None;
    }
    Some(match name {
        SubjectName::Wildcard(_) => (
            "wildcard",
            format!(
                "{name} can't be proved by http-01 or tls-alpn-01, and no solver of this certificate answers by DNS"
            ),
            "add a solver with `provider` for it, or list the names one by one",
        ),
        _ => (
            "unprovable-name",
            format!("no solver of this certificate is for {name}"),
            "name another one under `solver`, or widen its `names`; addresses are never proved by DNS",
        ),
    })
}

/// Whether a table says anything of what `[defaults]` may say too.
fn sets_terms(layer: &Layer<'_>) -> bool {
    layer.table.keys().any(|name| Table::Certificate.key(name.get_ref()).is_some_and(|key| key.inherited))
}

/// As [`terms`] of a certificate that sets none: read once, if nothing is wrong with them.
fn usual_terms(
    section: &Section<'_>,
    known: &Known<'_>,
    common: &mut Common,
    problems: &mut Problems,
) -> Option<Agreed> {
    if let Some(usual) = &common.usual {
        return Some(usual.clone());
    }
    let before = problems.noted();
    let terms = terms(section, known, common, problems)?;
    if problems.noted() == before {
        common.usual = Some(terms.clone());
    }
    Some(terms)
}

/// Reads what `[defaults]` may hold too. `None`: something named can't be used.
fn terms(
    section: &Section<'_>,
    known: &Known<'_>,
    common: &mut Common,
    problems: &mut Problems,
) -> Option<Agreed> {
    let issuers = issuers(section, known, problems);
    let profile = issuer::profile(section, problems);
    let services = words(section, "service", problems);
    let services = look_up(services, "service", "unknown-service", &[&known.services], problems);
    let hooks = words(section, "hooks", problems);
    let hooks = look_up(hooks, "hook", "unknown-hook", &[&known.hooks, &known.services], problems);
    let around = ["pre-hooks", "post-hooks"].map(|key| {
        let words = words(section, key, problems);
        look_up(words, "hook", "unknown-hook", &[&known.hooks, &known.services], problems)
    });
    let solvers = match words(section, "solver", problems) {
        Some(words) if words.is_empty() => {
            if let Some(found) = section.find("solver") {
                problems.error(&found.spot, "no-solver", "a certificate needs at least one solver");
            }
            None
        }
        words => look_up(words, "solver", "unknown-solver", &[&known.solvers], problems),
    };
    let observe = match section.find("observe") {
        Some(_) => observe::endpoints(section, "observe", problems).map(Some),
        None => Some(None),
    };
    let rights = output::rights(section, "key-mode", &Rights::default(), true, problems);
    let observe_timeout = section
        .span("observe-timeout", Span::secs(1), OBSERVE_TIMEOUT_MAX, problems)
        .unwrap_or(OBSERVE_TIMEOUT);
    let openings = window::openings(section, problems);
    let key = section.choice("key", KEY_WORDS, problems);
    let key = KeyKind::ALL.into_iter().find(|kind| Some(kind.word()) == key).unwrap_or_default();
    let reuse_key = section.flag("reuse-key", problems).unwrap_or(false);
    let on_dead_name = section.choice("on-dead-name", OnDeadName::WORDS, problems);
    let labels = section.labels("labels", problems);

    // Only now: whoever mends one problem should not be met by the next.
    let (services, hooks, mut solvers) = (services?, hooks?, solvers?);
    let used: Vec<&Service<'_>> = services
        .iter()
        .map(|word| known.services.get(word.text).and_then(Option::as_ref))
        .collect::<Option<_>>()?;
    let observe =
        observe?.unwrap_or_else(|| used.iter().flat_map(|service| service.observe.clone()).collect());
    if solvers.is_empty() {
        solvers = used
            .iter()
            .map(|service| &service.solvers)
            .find(|list| !list.is_empty())
            .cloned()
            .unwrap_or_default();
    }
    let mut solver_ids = ids(solvers.iter().map(|word| word.text), SolverId::parse);
    if solver_ids.is_empty() {
        solver_ids.extend(SolverId::parse(DEFAULT_SOLVER));
    }
    let (hooks, after) =
        in_order(ids(services.iter().chain(&hooks).map(|word| word.text), HookId::parse), |hook| {
            known.hook(hook)
        });
    let [before, afterwards] = around;
    let around = Around {
        before: ids(before?.iter().map(|word| word.text), HookId::parse),
        afterwards: ids(afterwards?.iter().map(|word| word.text), HookId::parse),
    };
    let terms = common.shared(Terms {
        issuers: issuers?,
        profile,
        solvers: solver_ids,
        hooks,
        after,
        around,
        observe_timeout,
        deploy_window: Some(openings?).filter(|openings| !openings.is_empty()).map(DeployWindow),
        key,
        reuse_key,
        on_dead_name: on_dead_name.and_then(OnDeadName::parse).unwrap_or_default(),
        rights: rights?.into(),
        labels,
    });
    Some(Agreed { terms, observe: observe.into() })
}

/// The hooks in the order of the list, save that each comes after those it names; and these pairs.
fn in_order<'k>(
    listed: Vec<HookId>,
    spec: impl Fn(&HookId) -> Option<&'k HookSpec>,
) -> (Vec<HookId>, Vec<(HookId, HookId)>) {
    let mut pairs = Vec::new();
    for hook in &listed {
        let firsts = spec(hook).map(|spec| &spec.after[..]).unwrap_or_default();
        let ours = firsts.iter().filter(|first| listed.contains(first));
        pairs.extend(ours.map(|first| (hook.clone(), first.clone())));
    }
    let mut ordered: Vec<HookId> = Vec::with_capacity(listed.len());
    while ordered.len() < listed.len() {
        let ready = |hook: &&HookId| {
            !ordered.contains(hook)
                && pairs.iter().all(|(later, first)| later != *hook || ordered.contains(first))
        };
        // Circles were refused where the hooks stand.
        let Some(next) = listed.iter().find(ready) else { return (listed, pairs) };
        ordered.push(next.clone());
    }
    (ordered, pairs)
}

fn issuers(section: &Section<'_>, known: &Known<'_>, problems: &mut Problems) -> Option<Vec<IssuerId>> {
    let Some(words) = words(section, "issuer", problems) else {
        return Some(IssuerId::parse(DEFAULT_ISSUER).into_iter().collect());
    };
    if words.is_empty() {
        if let Some(found) = section.find("issuer") {
            problems.error(&found.spot, "no-issuer", "a certificate needs at least one issuer");
        }
        return None;
    }
    for word in &words {
        let ended = ENDED.iter().find(|(domain, ..)| domain.split('.').next() == Some(word.text));
        if let (Some((_, product, day)), false) = (ended, known.issuers.contains_key(word.text)) {
            let words = format!("{product} ended on {day}; it issues no certificates any more");
            problems.error_hint(
                &word.spot,
                "ca-ended",
                words,
                "choose another CA; `letsencrypt` is built in",
            );
            return None;
        }
    }
    let words = look_up(Some(words), "issuer", "unknown-issuer", &[&known.issuers], problems)?;
    Some(ids(words.iter().map(|word| word.text), IssuerId::parse))
}

fn words<'a>(section: &Section<'a>, key: &str, problems: &mut Problems) -> Option<Vec<Word<'a>>> {
    let words = section.texts(key, problems)?;
    if words.len() > TERMS_MAX {
        let words = format!("`{key}` has at most {TERMS_MAX} entries");
        problems.error(&section.head, "too-many", words);
    }
    Some(words)
}

/// All words, if each is a name in one of `lists`. A key left out is an empty list.
fn look_up<'a>(
    words: Option<Vec<Word<'a>>>,
    noun: &str,
    code: &'static str,
    lists: &[&dyn Names],
    problems: &mut Problems,
) -> Option<Vec<Word<'a>>> {
    let mut whole = true;
    let words = words.unwrap_or_default();
    for word in &words {
        if !refuse_unknown_name(word, noun, code, lists, problems) {
            whole = false;
        }
    }
    whole.then_some(words)
}

/// Whether the word names something in one of `lists`; if not, that is reported.
pub(super) fn refuse_unknown_name(
    word: &Word<'_>,
    noun: &str,
    code: &'static str,
    lists: &[&dyn Names],
    problems: &mut Problems,
) -> bool {
    if lists.iter().any(|list| list.has(word.text)) {
        return true;
    }
    let known: Vec<&str> = lists.iter().flat_map(|list| list.all()).collect();
    let hint = match nearest(word.text, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => format!("add a table [{noun}.{}]", quoted(word.text)),
        None => format!(
            "add a table [{noun}.{}], or use one of {}",
            quoted(word.text),
            known[..known.len().min(NAMES_SHOWN)].join(", ")
        ),
    };
    problems.error_hint(&word.spot, code, format!("there is no {noun} \"{}\"", word.text), hint);
    false
}

/// Names that may be meant.
pub(super) trait Names {
    fn has(&self, name: &str) -> bool;
    fn all(&self) -> Vec<&str>;
}

impl<T> Names for BTreeMap<&str, T> {
    fn has(&self, name: &str) -> bool {
        self.contains_key(name)
    }

    fn all(&self) -> Vec<&str> {
        self.keys().copied().collect()
    }
}

/// Parsed ids, each once, in order. What does not parse was refused where its table stands.
fn ids<'w, T: PartialEq>(
    words: impl Iterator<Item = &'w str>,
    parse: fn(&str) -> Result<T, BadName>,
) -> Vec<T> {
    let mut ids = Vec::new();
    for id in words.filter_map(|word| parse(word).ok()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// An address without SNI is asked for every name of the certificate, below a wildcard for a
/// label made up; everything else is dialled as written.
fn expand(
    observe: &[Endpoint],
    names: &[SubjectName],
    section: &Section<'_>,
    problems: &mut Problems,
) -> Option<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    let mut add = |endpoint: Endpoint| {
        if !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    };
    if observe.len().saturating_mul(names.len()) > ENDPOINTS_MAX {
        problems.error_hint(
            &section.head,
            "too-many",
            format!("{} endpoints for {} names are too many handshakes", observe.len(), names.len()),
            "write SNI@host:port for the names that matter",
        );
        return None;
    }
    for endpoint in observe {
        if endpoint.sni.is_some() || endpoint.host.parse::<std::net::IpAddr>().is_err() {
            add(endpoint.clone());
            continue;
        }
        for name in names {
            match name {
                SubjectName::Wildcard(base) => {
                    if let Ok(name) = SubjectName::parse(&format!("{PROBE_LABEL}.{base}")) {
                        add(endpoint.for_name(&name));
                    }
                }
                name => add(endpoint.for_name(name)),
            }
        }
    }
    Some(endpoints)
}
