//! `[solver.NAME]`: a way to prove control of names.

use std::path::Path;

use super::dns;
use super::problem::Problems;
use super::raw::Section;
use super::table::SOLVER_WORDS;
use super::value;
use crate::core::name::SolverId;
use crate::core::pattern::NamePattern;
use crate::core::spec::{SolverKind, SolverSpec};

/// Reads one solver; `None` when it can't be used, which was then reported.
pub(super) fn resolve(
    id: SolverId,
    section: &Section<'_>,
    state_dir: &Path,
    problems: &mut Problems,
) -> Option<SolverSpec> {
    let word = kind_word(section, problems)?;
    let way = section.one_of(&["listen", "webroot", "provider"], problems)?;
    let fits: &[&str] = match way {
        "listen" => &["http-01", "tls-alpn-01"],
        "webroot" => &["http-01"],
        _ => &["dns-01"],
    };
    if let Some(found) = section.find("type")
        && !fits.contains(&word)
    {
        let fits = fits.join(" or ");
        problems.error(&found.spot, "one-of", format!("`{way}` answers {fits}, and `type` says {word}"));
        return None;
    }
    if way != "provider" {
        dns::refuse_keys(section, "provider", problems);
    }
    let kind = match way {
        "listen" => {
            let listen = section.parsed("listen", "bad-address", value::listen, problems)?;
            if word == "tls-alpn-01" { SolverKind::TlsAlpn { listen } } else { SolverKind::Http { listen } }
        }
        "webroot" => SolverKind::Webroot { root: webroot(section, state_dir, problems)? },
        _ => SolverKind::Dns(Box::new(dns::resolve(section, problems)?)),
    };
    let check_port = section.port("check-port", problems);
    let names = names(section, problems)?;
    Some(SolverSpec { id, kind, names, check_port, origin: section.head.place() })
}

fn webroot(section: &Section<'_>, state_dir: &Path, problems: &mut Problems) -> Option<String> {
    let word = section.text("webroot", problems)?;
    let root = word.parse("bad-path", value::path, problems)?;
    if root == "/" {
        problems.error(&word.spot, "bad-path", "the root of the whole system is no webroot");
        return None;
    }
    if state_dir.to_str().is_some_and(|state| value::lies_in(&root, state)) {
        problems.error_hint(
            &word.spot,
            "webroot-in-state",
            "a web server must never serve the state directory: it holds the keys",
            "make a directory of its own, for instance /var/www/acme",
        );
        return None;
    }
    Some(root)
}

/// An empty list would mean a solver for nothing, which nobody means.
fn names(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<NamePattern>> {
    let Some(found) = section.find("names") else { return Some(Vec::new()) };
    let words = section.texts("names", problems)?;
    if words.is_empty() {
        problems.error(
            &found.spot,
            "no-names",
            "a solver for no name is never used; leave `names` out for all",
        );
        return None;
    }
    let read = |word: &super::raw::Word<'_>, problems: &mut Problems| {
        word.parse("bad-name", |text| super::domain::subject(text).map(NamePattern::of), problems)
    };
    words.iter().map(|word| read(word, problems)).collect()
}

/// The kind as written; empty where none is.
fn kind_word(section: &Section<'_>, problems: &mut Problems) -> Option<&'static str> {
    let Some(word) = section.text("type", problems) else {
        return section.find("type").is_none().then_some("");
    };
    if word.text == "webroot" || word.text == "http" || word.text == "standalone" {
        problems.error_hint(
            &word.spot,
            "unknown-word",
            format!("`type` can't be \"{}\"", word.text),
            "write type = \"http-01\", with `webroot = \"/path\"` for files or `listen = \"[::]:80\"` for an own listener",
        );
        return None;
    }
    if matches!(word.text, "dns-persist-01" | "dns-account-01") {
        problems.error_hint(
            &word.spot,
            "unsupported-challenge",
            format!("{} is not in this release", word.text),
            "use type = \"http-01\", \"tls-alpn-01\" or \"dns-01\"",
        );
        return None;
    }
    section.choice("type", SOLVER_WORDS, problems)
}
