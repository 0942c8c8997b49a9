//! `nolapse init`: a first configuration.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::args::Init;
use crate::cli::entry::{listed, quoted, write_new};
use crate::cli::{Exit, Stop, print};
use crate::config::{self, Severity, Source};
use crate::sys::disk::Disk;
use crate::wire;
use crate::wire::Places;

/// The one problem that a configuration without certificates is meant to have.
const EXPECTED: [&str; 1] = ["no-certificates"];
/// Issuers that are built in and have terms.
const BUILT_IN: [&str; 2] = ["letsencrypt", "letsencrypt-staging"];
const TERMS: &str = "https://letsencrypt.org/repository/";

pub fn run(places: &Places, init: &Init) -> Result<Exit, Stop> {
    if !init.agree_tos && init.directory.is_none() && BUILT_IN.contains(&init.issuer.as_str()) {
        print::error(&format!(
            "{} gives accounts only to who accepts its terms: read {TERMS}, then  nolapse init --agree-tos",
            init.issuer
        ));
        return Ok(Exit::Usage);
    }
    let file = wire::config_file(places);
    let text = text(init);
    if !reads_well(&text, places) {
        return Ok(Exit::Usage);
    }
    if init.print {
        print::text(&text);
        return Ok(Exit::Fine);
    }
    if Disk::real().stat(&file).is_ok() {
        return Ok(compare(&file, init, &text, places));
    }
    wire::runtime()?.block_on(write_new(&file, &text))?;
    print::note(&format!("{} is written:", file.display()));
    print::text(&text);
    print::note("next:  nolapse add NAME… --service nginx   (or --webroot DIR)");
    Ok(Exit::Fine)
}

fn text(init: &Init) -> String {
    let mut text = "# Every setting with its meaning: nolapse generate config\n".to_owned();
    let _ = writeln!(text, "[issuer.{}]", quoted_unless_plain(&init.issuer));
    if let Some(directory) = &init.directory {
        let _ = writeln!(text, "directory = {}", quoted(directory));
    }
    if let Some(file) = &init.ca_file {
        let _ = writeln!(text, "ca-file = {}", quoted(&absolute(file)));
    }
    if !init.contact.is_empty() {
        let _ = writeln!(text, "contact = {}", listed(&init.contact));
    }
    if init.agree_tos {
        text.push_str("accept-terms = true\n");
    }
    if init.issuer != config::preset::DEFAULT_ISSUER {
        let _ = write!(text, "\n[defaults]\nissuer = {}\n", quoted(&init.issuer));
    }
    text
}

fn quoted_unless_plain(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !name.is_empty() && name.bytes().all(plain) { name.to_owned() } else { quoted(name) }
}

/// A path given on the command line starts here; one in a file starts nowhere.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Whether what would be written is a configuration; its problems are shown as such.
fn reads_well(text: &str, places: &Places) -> bool {
    let source = Source { name: "the new file".into(), text: text.to_owned() };
    let resolved = config::resolve(&[source], &wire::facts(places));
    for problem in resolved.problems.iter().filter(|problem| !EXPECTED.contains(&problem.code)) {
        print::note(&problem.to_string());
    }
    if resolved.has_errors() {
        print::error("nothing was written");
    }
    !resolved.has_errors()
}

/// A file that is there is shown its difference, never changed.
fn compare(file: &Path, init: &Init, text: &str, places: &Places) -> Exit {
    let there = wire::read_sources(file).ok().map(|sources| config::resolve(&sources, &wire::facts(places)));
    let known = there.as_ref().is_some_and(|resolved| {
        let usable = !resolved
            .problems
            .iter()
            .any(|problem| problem.severity == Severity::Error && problem.certificate.is_none());
        // Contacts and roots may well have been changed by hand since; what counts is that
        // certificates can be asked for.
        let ready = resolved.wanted.issuers.values().any(|issuer| {
            issuer.id.as_str() == init.issuer
                && (issuer.accept_terms || !init.agree_tos)
                && init.directory.as_ref().is_none_or(|directory| *directory == issuer.directory)
        });
        usable && ready
    });
    if known {
        print::note(&format!("{} is there and has this issuer; nothing to do", file.display()));
        return Exit::Fine;
    }
    print::error(&format!("{} is there and was left as it is; put this into it:", file.display()));
    print::text(text);
    Exit::Failed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked() -> Init {
        Init {
            agree_tos: true,
            contact: vec![],
            issuer: "letsencrypt".into(),
            directory: None,
            ca_file: None,
            print: false,
        }
    }

    #[test]
    fn what_is_asked_for_is_what_is_written() {
        let plain = text(&asked());
        assert!(plain.ends_with("[issuer.letsencrypt]\naccept-terms = true\n"), "{plain}");
        let private = text(&Init {
            issuer: "home".into(),
            directory: Some("https://ca.home.arpa/acme".into()),
            ca_file: Some("/etc/ssl/home.pem".into()),
            contact: vec!["ops@home.arpa".into()],
            agree_tos: false,
            ..asked()
        });
        let table: toml::Table = private.parse().unwrap();
        assert_eq!(table["defaults"]["issuer"].as_str(), Some("home"));
        assert_eq!(table["issuer"]["home"]["ca-file"].as_str(), Some("/etc/ssl/home.pem"));
        assert!(reads_well(&private, &Places::default()));
    }

    #[test]
    fn t04_no_argument_reaches_outside_its_string() {
        let hostile = text(&Init { issuer: "x]\n[agent]\nstate-dir = \"/\"\n[a".into(), ..asked() });
        let table: toml::Table = hostile.parse().unwrap();
        assert!(table.get("agent").is_none(), "{hostile}");
        assert!(!reads_well(&hostile, &Places::default()));
    }
}
