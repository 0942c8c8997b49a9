//! `/etc/dehydrated/config`, `domains.txt`, `certs/NAME`, `accounts/CA`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::reader::{Reader, by_dns, ends_with, subjects};
use super::{CERTIFICATES_MAX, Find};
use crate::codec::assignments::Assignments;
use crate::codec::keepsake::AccountNote;
use crate::core::foundling::{FoundCa, FoundCall, FoundChallenge, FoundHook, Moment, Tool};
use crate::core::spec::Part;

/// Its short names for CAs.
const CAS: [(&str, &str); 4] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-test", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
];
/// What a web server shows by itself, where no alias is needed.
const WELL_KNOWN: &str = "/.well-known/acme-challenge";

/// What the configuration comes to.
struct Settings {
    noted: Assignments,
    file: PathBuf,
    certs: PathBuf,
    accounts: PathBuf,
    domains: PathBuf,
    directory: String,
}

pub(super) fn find(reader: &Reader<'_>, dir: &Path) -> Vec<Find> {
    let Some(settings) = Settings::read(reader, dir) else { return Vec::new() };
    let homes = reader.names(&settings.certs);
    homes.iter().take(CERTIFICATES_MAX).filter_map(|name| one(reader, &settings, name)).collect()
}

impl Settings {
    fn read(reader: &Reader<'_>, dir: &Path) -> Option<Self> {
        let file = dir.join("config");
        let base = dir.to_str()?;
        let known = [("BASEDIR", base), ("SCRIPTDIR", base)];
        let mut text = reader.text(&file)?;
        let more = Assignments::parse(&text, &known).find("CONFIG_D").map(PathBuf::from);
        if let Some(more) = more {
            for name in reader.names(&more).iter().filter(|name| ends_with(name, "sh")) {
                text.push('\n');
                text.push_str(&reader.text(&more.join(name)).unwrap_or_default());
            }
        }
        let noted = Assignments::parse(&text, &known);
        let base = PathBuf::from(noted.find("BASEDIR").unwrap_or(base));
        let below = |key: &str, name: &str| noted.find(key).map_or_else(|| base.join(name), PathBuf::from);
        let ca = noted.find("CA").unwrap_or("letsencrypt");
        let directory = CAS.iter().find(|(word, _)| *word == ca).map_or(ca, |(_, url)| url).to_owned();
        Some(Self {
            certs: below("CERTDIR", "certs"),
            accounts: below("ACCOUNTDIR", "accounts"),
            domains: below("DOMAINS_TXT", "domains.txt"),
            directory,
            noted,
            file,
        })
    }
}

fn one(reader: &Reader<'_>, settings: &Settings, name: &str) -> Option<Find> {
    let home = settings.certs.join(name);
    let at = |file: &str| home.join(file);
    if !reader.there(&at("fullchain.pem")) {
        return None;
    }
    let mut find = reader.foundling(Tool::Dehydrated, name, &[at("fullchain.pem")], &at("privkey.pem"));
    // The folder's name is of the URL with the line feed that `echo` adds.
    let folder = BASE64_URL_SAFE_NO_PAD.encode(format!("{}\n", settings.directory));
    let account = settings.accounts.join(folder);
    if reader.there(&account.join("account_key.pem")) {
        let note = reader
            .text(&account.join("account_id.json"))
            .and_then(|text| AccountNote::parse(text.as_bytes()));
        let url = note.as_ref().and_then(AccountNote::url).map(ToOwned::to_owned);
        find.with_account(reader.account(&account.join("account_key.pem"), url.as_deref()));
    }
    let own = reader.text(&at("config")).map(|text| Assignments::parse(&text, &[]));
    let noted = |key: &str| own.as_ref().and_then(|own| own.find(key)).or_else(|| settings.noted.find(key));
    let found = &mut find.foundling;
    if found.names.is_empty() {
        found.names = listed(&reader.text(&settings.domains).unwrap_or_default(), name);
    }
    found.ca = Some(FoundCa::Directory(settings.directory.clone()));
    found.challenge = challenge(noted("CHALLENGETYPE"), noted("WELLKNOWN"));
    if let Some(hook) = noted("HOOK") {
        if settings.noted.computed("HOOK") || !hook.starts_with('/') {
            found.untranslated.push(format!("its HOOK {hook:?} is no path as it stands"));
        } else if noted("HOOK_CHAIN") == Some("yes") {
            found.untranslated.push("HOOK_CHAIN: one call for several certificates".into());
        } else {
            let files = ["privkey.pem", "cert.pem", "fullchain.pem", "chain.pem"]
                .map(|file| at(file).display().to_string());
            let words = [hook.to_owned(), "deploy_cert".into(), name.to_owned()];
            // Last comes a time stamp, which is not one word of ours; hooks are told 0.
            let argv = words.into_iter().chain(files).chain(["0".to_owned()]).collect();
            let label = format!("deploy-{name}");
            found.hooks.push(FoundHook { moment: Moment::Deployed, label, call: FoundCall::Run(argv) });
            let words = "its HOOK is called with deploy_cert alone, and with 0 for the time stamp";
            found.untranslated.push(words.into());
        }
    }
    found.reuse_key = noted("PRIVATE_KEY_RENEW") == Some("no");
    found.places = reader.places(&[
        (Part::Fullchain, at("fullchain.pem")),
        (Part::Cert, at("cert.pem")),
        (Part::Chain, at("chain.pem")),
        (Part::Privkey, at("privkey.pem")),
    ]);
    found.stop = format!("take its line out of {}", settings.domains.display());
    found.read.insert(0, settings.file.clone());
    Some(find)
}

/// The names of a line of domains.txt, which may end with `> ALIAS`.
fn listed(domains: &str, name: &str) -> Vec<crate::core::name::SubjectName> {
    let lines = domains.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let line = lines.into_iter().find(|line| {
        let (names, alias) = line.split_once('>').unwrap_or((line, ""));
        alias.trim() == name || (alias.is_empty() && names.split_whitespace().next() == Some(name))
    });
    subjects(line.unwrap_or_default().split('>').next().unwrap_or_default().split_whitespace())
}

fn challenge(kind: Option<&str>, well_known: Option<&str>) -> FoundChallenge {
    match kind.unwrap_or("http-01") {
        "http-01" => {
            let dir = well_known.unwrap_or("/var/www/dehydrated").trim_end_matches('/');
            match dir.strip_suffix(WELL_KNOWN) {
                Some(root) if !root.is_empty() => FoundChallenge::Webroot(root.to_owned()),
                _ => FoundChallenge::Other(format!(
                    "its answers lie in {dir}, which a web server shows by an alias; ours lie in \
                     {WELL_KNOWN} below a directory, or come from a listener behind the shipped snippet"
                )),
            }
        }
        "dns-01" => by_dns("by its HOOK"),
        // It writes certificates that a server's own configuration shows, or a helper behind a server.
        "tls-alpn-01" => FoundChallenge::HandshakePassedOn,
        kind => FoundChallenge::Other(format!("its names are proved by {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_domains_are_found_by_name_or_alias() {
        let text = "# c\na.example www.a.example\n*.b.example b.example > star_b\n";
        for (name, count) in [("a.example", 2), ("star_b", 2), ("b.example", 0), ("www.a.example", 0)] {
            assert_eq!(listed(text, name).len(), count, "{name}");
        }
    }

    #[test]
    fn only_a_directory_that_is_no_alias_can_be_shared() {
        let webroot = FoundChallenge::Webroot("/var/www/html".into());
        assert_eq!(challenge(None, Some("/var/www/html/.well-known/acme-challenge/")), webroot);
        for (kind, dir) in
            [(None, None), (Some("http-01"), Some("/.well-known/acme-challenge")), (Some("dns-01"), None)]
        {
            assert!(matches!(challenge(kind, dir), FoundChallenge::Other(_)), "{kind:?} {dir:?}");
        }
        assert_eq!(challenge(Some("tls-alpn-01"), None), FoundChallenge::HandshakePassedOn);
    }
}
