//! `.lego`: `certificates/NAME.{crt,issuer.crt,key,json}`, `accounts/SERVER/ID`.

use std::path::{Path, PathBuf};

use super::reader::{Reader, ca_of, host};
use super::{CERTIFICATES_MAX, Find};
use crate::codec::keepsake::{AccountNote, CertificateNote};
use crate::codec::pem;
use crate::core::foundling::{FoundChallenge, Tool};
use crate::core::spec::Part;

pub(super) fn find(reader: &Reader<'_>, dir: &Path) -> Vec<Find> {
    let files = reader.names(&dir.join("certificates"));
    let names = files.iter().filter_map(|file| file.strip_suffix(".json"));
    names.take(CERTIFICATES_MAX).filter_map(|name| one(reader, dir, name)).collect()
}

fn one(reader: &Reader<'_>, dir: &Path, file: &str) -> Option<Find> {
    let home = dir.join("certificates");
    let at = |ending: &str| home.join(format!("{file}.{ending}"));
    let text = reader.text(&at("json"))?;
    let note = CertificateNote::parse(text.as_bytes()).unwrap_or_default();
    let name = note.domain.clone().unwrap_or_else(|| file.to_owned());
    let mut find = reader.foundling(Tool::Lego, &name, &[at("crt"), at("issuer.crt")], &at("key"));
    let url = note.url;
    if let Some((path, account)) = account(reader, dir, url.as_deref()) {
        find.with_account(reader.account(&path, account.as_deref()));
    }
    let found = &mut find.foundling;
    found.ca = ca_of(url.as_deref());
    let certificates =
        reader.text(&at("crt")).and_then(|text| pem::lenient_certificates(text.as_bytes()).ok());
    // With --no-bundle the leaf stands alone.
    let main = if certificates.is_some_and(|chain| chain.len() == 1) && reader.there(&at("issuer.crt")) {
        Part::Cert
    } else {
        Part::Fullchain
    };
    found.places = reader.places(&[
        (main, at("crt")),
        (Part::Chain, at("issuer.crt")),
        (Part::Privkey, at("key")),
        (Part::Combined, at("pem")),
    ]);
    if reader.there(&at("pfx")) {
        let words =
            format!("{}: its password is not kept; write an output for it by hand", at("pfx").display());
        found.untranslated.push(words);
    }
    found.untranslated.push(ON_COMMAND_LINE.into());
    found.stop = "take its  lego … renew  out of cron, or out of its timer".into();
    found.read.insert(0, at("json"));
    Some(find)
}

const ON_COMMAND_LINE: &str = "hooks and ways of proving are on lego's command line only";

/// Adds what the lines that start lego say of how names are proved, where all that are for a certificate say
/// the same.
pub(super) fn read_lines(finds: &mut [Find], lines: &[String]) {
    for find in finds {
        let found = &mut find.foundling;
        let mut ways = lines.iter().filter(|line| is_for(line, &found.name)).map(|line| way(line));
        let Some(Some(first)) = ways.next() else { continue };
        if ways.all(|way| way.as_ref() == Some(&first)) {
            found.challenge = first;
            found.untranslated.retain(|words| words != ON_COMMAND_LINE);
            found.untranslated.push("hooks are on lego's command line only".into());
        }
    }
}

/// Names on the line, where there are any, say which certificate it renews.
fn is_for(line: &str, name: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut named = words.windows(2).filter(|pair| matches!(pair[0], "-d" | "--domains")).peekable();
    named.peek().is_none() || named.any(|pair| pair[1].trim_matches(QUOTES) == name)
}

const QUOTES: [char; 2] = ['"', '\''];

/// `None` for none, several, and dns-01, whose credentials are in an environment that is not read.
fn way(line: &str) -> Option<FoundChallenge> {
    let value = |flag: &str| {
        let mut words = line.split_whitespace();
        let at = words.find(|word| word.split('=').next() == Some(flag))?;
        let value = at.split_once('=').map(|(_, value)| value).or_else(|| words.next())?;
        Some(value.trim_matches(QUOTES).to_owned())
    };
    let has = |flag: &str| line.split_whitespace().any(|word| word == flag);
    let port = |flag: &str, usual| {
        value(flag).map_or(Some(usual), |at| at.rsplit(':').next().and_then(|port| port.parse().ok()))
    };
    match (has("--tls"), has("--http"), has("--dns")) {
        (true, false, false) => port("--tls.port", 443).map(FoundChallenge::Handshake),
        (false, true, false) => match value("--http.webroot") {
            Some(root) => root.starts_with('/').then_some(FoundChallenge::Webroot(root)),
            None => port("--http.port", 80).map(FoundChallenge::Standalone),
        },
        _ => None,
    }
}

/// The one account at the CA's host, with its key and its URL.
fn account(reader: &Reader<'_>, dir: &Path, url: Option<&str>) -> Option<(PathBuf, Option<String>)> {
    let server = dir.join("accounts").join(host(url?)?.replace(':', "_"));
    let [id] = &reader.names(&server)[..] else { return None };
    let home = server.join(id);
    let note = reader.text(&home.join("account.json")).and_then(|text| AccountNote::parse(text.as_bytes()));
    let file = format!("{id}.key");
    let places = [home.join("keys").join(&file), home.join(&file)];
    let key = places.into_iter().find(|path| reader.there(path))?;
    Some((key, note.as_ref().and_then(AccountNote::url).map(ToOwned::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_starts_lego_says_how_names_are_proved() {
        use FoundChallenge::{Handshake, Standalone, Webroot};
        for (line, expected) in [
            ("lego --tls -d a.example renew", Some(Handshake(443))),
            ("lego --tls --tls.port :8443 renew", Some(Handshake(8443))),
            ("lego --tls --tls.port=\"127.0.0.1:8443\" renew", Some(Handshake(8443))),
            ("lego --tls --tls.port nonsense renew", None),
            ("lego --http renew", Some(Standalone(80))),
            ("lego --http --http.port :8080 renew", Some(Standalone(8080))),
            ("lego --http --http.webroot /srv/www renew", Some(Webroot("/srv/www".into()))),
            ("lego --http --http.webroot www renew", None),
            ("lego --dns route53 renew", None),
            ("lego --tls --http renew", None),
            ("lego renew", None),
        ] {
            assert_eq!(way(line), expected, "{line}");
        }
        for (line, expected) in [
            ("lego --tls renew", true),
            ("lego --tls -d a.example -d b.example renew", true),
            ("lego --tls --domains 'b.example' renew", false),
        ] {
            assert_eq!(is_for(line, "a.example"), expected, "{line}");
        }
    }
}
