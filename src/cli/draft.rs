//! Entries for certificates that were discovered: drafted, checked with the whole configuration,
//! written into a new file.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::cli::args::Draft;
use crate::cli::discover::draft_file;
use crate::cli::entry::{listed, quoted, write_new};
use crate::cli::{Exit, Stop, print};
use crate::config::{self, Severity, Source};
use crate::core::discovery::Discovered;
use crate::core::failure::{Failure, Fault};
use crate::core::name::{LineageId, SubjectName, WatchId};
use crate::wire::{self, Places};

/// Endpoints of one drafted watch.
const ENDPOINTS_MAX: usize = 20;

/// Drafts entries for what is used and not ours. Never touches a file that is there.
pub fn write(places: &Places, file: &Path, kind: Draft, found: &[Discovered]) -> Result<Exit, Stop> {
    let main = wire::config_file(places);
    let path = draft_file(&main, file);
    if path.extension().is_none_or(|ending| ending != "toml") {
        return Err(Failure::refused(
            Fault::Config,
            "draft-name",
            format!("{}: a file of the configuration ends with .toml", path.display()),
        )
        .into());
    }
    if path.symlink_metadata().is_ok() {
        return Err(Failure::refused(
            Fault::Config,
            "draft-exists",
            format!("{} is there already and was left as it is; name another file", path.display()),
        )
        .into());
    }
    let mut sources = if main.exists() { wire::read_sources(&main)? } else { Vec::new() };
    let facts = wire::facts(places);
    let before = config::resolve(&sources, &facts);
    let watches: BTreeSet<String> = before.wanted.watches.keys().map(ToString::to_string).collect();
    let lineages: BTreeSet<LineageId> =
        before.wanted.lineages.keys().chain(before.wanted.broken.keys()).cloned().collect();
    let text = text(kind, found, watches, lineages);
    if text.is_empty() {
        print::note("nothing to draft: no certificate is in use that is not managed or watched here already");
        return Ok(Exit::Fine);
    }
    let name = path.display().to_string();
    sources.push(Source { name: name.clone(), text: text.clone() });
    let after = config::resolve(&sources, &facts);
    let wrong: Vec<_> =
        after.problems.iter().filter(|p| p.file == name && p.severity == Severity::Error).collect();
    if !wrong.is_empty() {
        for problem in wrong {
            print::note(&problem.to_string());
        }
        print::error("the draft does not hold together with the configuration; nothing was written");
        return Ok(Exit::Configuration);
    }
    wire::runtime()?.block_on(write_new(&path, &text))?;
    print::note(&format!("{name} is written:"));
    print::text(&text);
    print::note("look it over; then  nolapse check  and  systemctl reload nolapse");
    Ok(Exit::Fine)
}

fn text(
    kind: Draft,
    found: &[Discovered],
    mut watches: BTreeSet<String>,
    mut lineages: BTreeSet<LineageId>,
) -> String {
    let mut text = String::new();
    let ours = |each: &&Discovered| each.renewer.as_ref().is_some_and(|renewer| renewer.tool == "nolapse");
    for each in found.iter().filter(|each| each.is_used() && !ours(each)) {
        let entry = match kind {
            Draft::Certificate if each.renewer.is_none() => certificate(each, &mut lineages),
            _ => None,
        };
        let entry = entry.unwrap_or_else(|| watch(each, &mut watches));
        if text.is_empty() {
            text.push_str("# Drafted by nolapse discover.\n");
        }
        text.push('\n');
        text.push_str(&entry);
    }
    text
}

/// One that nobody renews and that a CA can be asked for: by the names it has, with the service
/// that uses it.
fn certificate(each: &Discovered, lineages: &mut BTreeSet<LineageId>) -> Option<String> {
    let names: Vec<String> = each.specimen.leaf.names.iter().map(ToString::to_string).collect();
    let fits = |name: &SubjectName| matches!(name, SubjectName::Dns(dns) if dns.contains('.'));
    if names.is_empty() || !each.specimen.leaf.names.iter().all(fits) {
        return None;
    }
    let usage = each.usages.first()?;
    let id = LineageId::from_table_name(&names[0]).ok()?;
    if !lineages.insert(id) {
        return None;
    }
    let mut services: Vec<String> = each.usages.iter().map(|usage| usage.server.to_string()).collect();
    services.dedup();
    let services: BTreeSet<_> = services.into_iter().collect();
    let mut text = comment(each);
    let _ = writeln!(
        text,
        "# Then {} ({}) is to use the files in the live directory.",
        usage.server, usage.origin
    );
    let _ = writeln!(text, "[certificate.{}]\nnames = {}", quoted(&names[0]), listed(&names));
    let _ = match services.iter().collect::<Vec<_>>()[..] {
        [only] => writeln!(text, "service = {}", quoted(only)),
        _ => writeln!(text, "service = {}", listed(&services)),
    };
    Some(text)
}

fn watch(each: &Discovered, watches: &mut BTreeSet<String>) -> String {
    let named: Vec<&String> = each
        .files
        .iter()
        .filter(|file| each.usages.iter().any(|usage| usage.certificate == **file))
        .collect();
    let files: Vec<&String> = if named.is_empty() { each.files.iter().take(1).collect() } else { named };
    let mut text = comment(each);
    let _ = writeln!(text, "[watch.{}]", quoted(&free_name(each, watches)));
    // A pattern's letters in a path would mean something else.
    let files: Vec<_> = files.into_iter().filter(|file| !file.contains(['*', '?', '['])).collect();
    if !files.is_empty() {
        let _ = writeln!(text, "files = {}", listed(&files));
    }
    let endpoints: Vec<_> =
        each.ports.iter().take(ENDPOINTS_MAX).map(|(endpoint, _)| endpoint.to_string()).collect();
    if !endpoints.is_empty() {
        let _ = writeln!(text, "endpoints = {}", listed(&endpoints));
    }
    text
}

fn comment(each: &Discovered) -> String {
    let mut text = String::new();
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    for usage in each.usages.iter().take(3) {
        let _ = writeln!(text, "# used by {} {}", usage.server, plain(&usage.origin));
    }
    let renewer = each.renewer.as_ref().map_or("nobody", |renewer| renewer.tool);
    let _ = writeln!(text, "# ends {}, renewed by {renewer}", each.ends.brief());
    text
}

/// After the first name of the certificate, with a number where that is taken.
fn free_name(each: &Discovered, watches: &mut BTreeSet<String>) -> String {
    let leaf = &each.specimen.leaf;
    let base = leaf.names.iter().find_map(|name| Some(name.base()?.to_owned()));
    let base = base
        .filter(|base| WatchId::parse(base).is_ok())
        .unwrap_or_else(|| leaf.fingerprint.to_string().chars().take(16).collect());
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    // There are fewer watches than numbers.
    let name =
        std::iter::once(base.clone()).chain(numbered).find(|name| !watches.contains(name)).unwrap_or(base);
    watches.insert(name.clone());
    name
}
