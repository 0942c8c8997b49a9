//! `[solver.NAME]`: a way to prove control of names.

use std::path::Path;

use super::problem::Problems;
use super::raw::Section;
use super::table::SOLVER_WORDS;
use super::value;
use crate::core::name::SolverId;
use crate::core::spec::{SolverKind, SolverSpec};

/// Reads one solver; `None` when it can't be used, which was then reported.
pub(super) fn resolve(
    id: SolverId,
    section: &Section<'_>,
    state_dir: &Path,
    problems: &mut Problems,
) -> Option<SolverSpec> {
    kind_word(section, problems)?;
    let kind = if section.one_of(&["listen", "webroot"], problems)? == "listen" {
        SolverKind::Http { listen: section.parsed("listen", "bad-address", value::listen, problems)? }
    } else {
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
        SolverKind::Webroot { root }
    };
    let check_port = section.port("check-port", problems);
    Some(SolverSpec { id, kind, check_port, origin: section.head.place() })
}

fn kind_word(section: &Section<'_>, problems: &mut Problems) -> Option<()> {
    let Some(word) = section.text("type", problems) else {
        return section.find("type").is_none().then_some(());
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
    if matches!(word.text, "dns-01" | "tls-alpn-01" | "dns-persist-01" | "dns-account-01") {
        problems.error_hint(
            &word.spot,
            "unsupported-challenge",
            format!("{} is not in this release", word.text),
            "use type = \"http-01\"",
        );
        return None;
    }
    section.choice("type", SOLVER_WORDS, problems).map(|_| ())
}
