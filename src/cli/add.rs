//! `nolapse add`: one more certificate, from its names to a handshake.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::cli::args::Add;
use crate::cli::entry::{Ground, listed, quoted, write_new};
use crate::cli::{Exit, Stop, owner, print, rehearse, renew};
use crate::config::{self, Facts, Resolved, Source};
use crate::core::decide::Request;
use crate::core::name::{LineageId, SolverId, SubjectName};
use crate::core::spec::{SolverKind, Wanted};
use crate::core::time::Span;
use crate::wire::Places;
use crate::wire::{self, Role, Wired};

/// Longest wait for a running agent that took the new entry first.
const WAIT: Span = Span::MINUTE;
/// Name of a text that is no file yet, in messages.
const UNWRITTEN: &str = "the new entry";

pub fn run(places: &Places, add: &Add) -> Result<Exit, Stop> {
    let Ground { file, sources, facts, before } = Ground::read(places, "added")?;
    let (text, after) = drawn_up(add, &before, sources, &facts);
    let Some(id) = accepted(add, &before, &after) else { return Ok(Exit::Usage) };
    let path = entry_file(&file, &id);
    if add.print {
        print::note(&format!("{}:", path.display()));
        print::text(&text);
        return Ok(Exit::Fine);
    }
    wire::runtime()?.block_on(write_new(&path, &text))?;
    print::note(&format!("{} is written:", path.display()));
    print::text(&text);
    let loaded = crate::cli::load(places)?;
    if !loaded.resolved.wanted.lineages.contains_key(&id) {
        print::error(&format!(
            "{id} does not resolve in the whole configuration; nolapse check shows why. The entry stays in {}",
            path.display()
        ));
        return Ok(Exit::Configuration);
    }
    if add.no_issue {
        print::note(&format!("no CA was asked; next:  nolapse renew {id}"));
        return Ok(Exit::Fine);
    }
    owner::take_its_place(&loaded.settings)?;
    let exit = wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        if !add.no_rehearsal {
            let rehearsed = rehearse::run(&wired, &loaded, vec![id.clone()], false).await?;
            if rehearsed != Exit::Fine {
                print::error(&format!(
                    "{id}: the rehearsal failed, so no order was placed. The entry stays in {}; when the cause \
                     is mended:  nolapse renew {id}",
                    path.display()
                ));
                return Ok::<_, Stop>(rehearsed);
            }
        }
        let request = Request { by_hand: true, ..Request::default() };
        let summary = renew::pass(&wired, vec![id.clone()], &request, WAIT, false).await?;
        Ok(renew::exit(&summary, false, false))
    })?;
    if !loaded.settings.watch_config {
        print::note("a running agent learns of it by  systemctl reload nolapse");
    }
    Ok(exit)
}

/// The new entry, and what the configuration comes to with it. A profile that the CA wants for
/// addresses is written along: there is no choice to be made.
fn drawn_up(add: &Add, before: &Resolved, there: Vec<Source>, facts: &Facts) -> (String, Resolved) {
    let mut text = text(add, &before.wanted);
    let mut together = there;
    let place = together.len();
    together.push(Source { name: UNWRITTEN.into(), text: text.clone() });
    let mut after = config::resolve(&together, facts);
    if after.problems.iter().any(|problem| problem.file == UNWRITTEN && problem.code == "ip-profile") {
        let _ = writeln!(text, "profile = {}", quoted(config::IP_PROFILE));
        together[place].text.clone_from(&text);
        after = config::resolve(&together, facts);
    }
    (text, after)
}

/// What the entry is called. An IPv6 address has colons, which no file name should.
fn title(name: &str) -> Option<String> {
    match SubjectName::parse(name) {
        Ok(SubjectName::Ip(IpAddr::V6(ip))) => Some(format!("ip-{}", ip.to_string().replace(':', "-"))),
        _ => None,
    }
}

/// `conf.d/NAME.toml`; an id is safe as a file name.
fn entry_file(config: &Path, id: &LineageId) -> PathBuf {
    config.with_file_name("conf.d").join(format!("{id}.toml"))
}

fn text(add: &Add, wanted: &Wanted) -> String {
    let name = add.names.first().map_or("", String::as_str);
    let mut text = String::new();
    let mut solver = None;
    if let Some(webroot) = &add.webroot {
        let root = std::path::absolute(webroot).unwrap_or_else(|_| webroot.clone()).display().to_string();
        let there = wanted
            .solvers
            .values()
            .find(|spec| matches!(&spec.kind, SolverKind::Webroot { root: known } if *known == root));
        let id = there.map_or_else(|| solver_name(name, wanted), |spec| spec.id.to_string());
        if there.is_none() {
            let _ = write!(text, "[solver.{id}]\nwebroot = {}\n\n", quoted(&root));
        }
        solver = Some(id);
    }
    let title = title(name);
    let _ = writeln!(text, "[certificate.{}]", quoted(title.as_deref().unwrap_or(name)));
    if add.names.len() > 1 || title.is_some() {
        let _ = writeln!(text, "names = {}", listed(&add.names));
    }
    if let Some(solver) = solver {
        let _ = writeln!(text, "solver = {}", quoted(&solver));
    }
    if let Some(service) = &add.service {
        let _ = writeln!(text, "service = {}", quoted(service));
    }
    text
}

/// A free name for a new solver: solvers have no dots.
fn solver_name(certificate: &str, wanted: &Wanted) -> String {
    let slug: String = certificate
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(100)
        .collect();
    let base = format!("webroot-{}", slug.trim_matches('-'));
    let taken = |name: &str| SolverId::parse(name).is_ok_and(|id| wanted.solvers.contains_key(&id));
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    // There are fewer solvers than numbers.
    std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(base)
}

/// The id of the new entry, if it is sound by itself and repeats nothing; else says why not.
fn accepted(add: &Add, before: &Resolved, after: &Resolved) -> Option<LineageId> {
    let ids = |resolved: &Resolved| -> BTreeSet<LineageId> {
        resolved.wanted.lineages.keys().chain(resolved.wanted.broken.keys()).cloned().collect()
    };
    let new: Vec<_> = ids(after).difference(&ids(before)).cloned().collect();
    let spec = match &new[..] {
        [id] => after.wanted.lineages.get(id),
        _ => None,
    };
    if let Some(spec) = spec {
        let holder =
            before.wanted.lineages.values().find_map(|other| {
                other.names.iter().find(|name| spec.names.contains(name)).map(|n| (n, other))
            });
        if let Some((name, other)) = holder {
            print::error(&format!(
                "{name} is already in the certificate {} ({}); change that entry, or  nolapse renew {}",
                other.id, other.origin, other.id
            ));
            return None;
        }
        return Some(spec.id.clone());
    }
    let ours = after.problems.iter().filter(|problem| problem.file == UNWRITTEN);
    let duplicate = ours.clone().any(|problem| problem.code == "duplicate-certificate");
    for problem in ours {
        print::note(&problem.to_string());
    }
    if duplicate {
        let name = add.names.first().map_or("", String::as_str);
        print::error(&format!("{name:?} is configured already; change that entry, nothing was added"));
    } else {
        print::error("nothing was added");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[&str]) -> Add {
        Add {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            service: None,
            webroot: None,
            no_issue: false,
            no_rehearsal: false,
            print: false,
        }
    }

    fn resolved(text: &str) -> Resolved {
        config::resolve(&[Source::new("a.toml", text)], &config::Facts::default())
    }

    fn tried(there: &str, add: &Add) -> Option<String> {
        let before = resolved(there);
        let (_, after) = drawn_up(add, &before, vec![Source::new("a.toml", there)], &Facts::default());
        accepted(add, &before, &after).map(String::from)
    }

    #[test]
    fn names_are_added_once() {
        let there = "[certificate]\n\"a.example\" = [\"a.example\", \"www.a.example\"]\n";
        for (names, id) in [
            (&["b.example"][..], Some("b.example")),
            (&["bücher.example", "www.bücher.example"], Some("xn--bcher-kva.example")),
            // http-01 proves no wildcard.
            (&["*.b.example"], None),
            (&["a.example"], None),
            (&["A.example"], None),
            (&["b.example", "www.a.example"], None),
            (&["192.0.2.7"], Some("192.0.2.7")),
            (&["2001:DB8::1", "b.example"], Some("ip-2001-db8--1")),
            (&["[::7]"], Some("ip---7")),
            (&["10.0.0.1"], None),
            (&["../x"], None),
            (&["b.example", "-o"], None),
            (&["b\0.example"], None),
            (&["\u{202e}b.example"], None),
            (&[""], None),
        ] {
            assert_eq!(tried(there, &asked(names)).as_deref(), id, "{names:?}");
        }
    }

    #[test]
    fn an_address_gets_the_profile_that_its_ca_wants() {
        let drawn = |there: &str| {
            let before = resolved(there);
            let there = vec![Source::new("a.toml", there)];
            drawn_up(&asked(&["2001:db8::1"]), &before, there, &Facts::default()).0
        };
        let entry = "[certificate.\"ip-2001-db8--1\"]\nnames = [\"2001:db8::1\"]\n";
        assert_eq!(drawn(""), format!("{entry}profile = \"shortlived\"\n"));
        assert_eq!(drawn("[defaults]\nprofile = \"shortlived\"\n"), entry);
        let own = "[issuer.own]\ndirectory = \"https://ca.example/\"\n[defaults]\nissuer = \"own\"\n";
        assert_eq!(drawn(own), entry, "other CAs have their own ways");
    }

    #[test]
    fn a_webroot_becomes_a_solver_once() {
        let add = Add { webroot: Some("/srv/www".into()), ..asked(&["b.example"]) };
        let fresh = text(&add, &Wanted::default());
        assert!(fresh.contains("[solver.webroot-b-example]\nwebroot = \"/srv/www\"\n"), "{fresh}");
        let there = resolved("[solver.files]\nwebroot = \"/srv/www\"\n");
        let reused = text(&add, &there.wanted);
        assert!(!reused.contains("[solver") && reused.contains("solver = \"files\""), "{reused}");
        let taken = resolved("[solver.webroot-b-example]\nwebroot = \"/srv/other\"\n");
        assert!(text(&add, &taken.wanted).contains("[solver.webroot-b-example-2]"));
    }
}
