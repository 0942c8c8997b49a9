//! `~/.acme.sh`: `NAME[_ecc]/NAME.conf` with its certificates, `ca/HOST/PATH` with accounts.

use std::path::{Path, PathBuf};

use super::reader::{Reader, schemeless, subjects};
use super::{CERTIFICATES_MAX, Find, dns};
use crate::codec::assignments::Assignments;
use crate::codec::keepsake::AccountNote;
use crate::core::foundling::{FoundCa, FoundCall, FoundChallenge, FoundHook, Moment, Tool};
use crate::core::spec::Part;

pub(super) fn find(reader: &Reader<'_>, dir: &Path) -> Vec<Find> {
    let homes = reader.names(dir);
    homes.iter().take(CERTIFICATES_MAX).filter_map(|home| one(reader, dir, home)).collect()
}

fn one(reader: &Reader<'_>, dir: &Path, folder: &str) -> Option<Find> {
    let file = folder.strip_suffix("_ecc").unwrap_or(folder);
    let home = dir.join(folder);
    let (conf, renews) = reader.source(&home.join(format!("{file}.conf")))?;
    let noted = Assignments::parse(&reader.text(&conf)?, &[]);
    let name = noted.find("Le_Domain")?.to_owned();
    let own_key = home.join(format!("{file}.key"));
    let chain = home.join("fullchain.cer");
    let mut find = reader.foundling(Tool::AcmeSh, &name, std::slice::from_ref(&chain), &own_key);
    let directory = noted.find("Le_API").map(ToOwned::to_owned);
    if let Some(directory) = &directory {
        let ca = dir.join("ca").join(schemeless(directory));
        if reader.there(&ca.join("account.key")) {
            let url = reader
                .text(&ca.join("ca.conf"))
                .and_then(|text| Assignments::parse(&text, &[]).find("ACCOUNT_URL").map(ToOwned::to_owned));
            let note = || {
                let text = reader.text(&ca.join("account.json"))?;
                AccountNote::parse(text.as_bytes())?.url().map(ToOwned::to_owned)
            };
            find.with_account(reader.account(&ca.join("account.key"), url.or_else(note).as_deref()));
        }
    }
    let found = &mut find.foundling;
    if found.names.is_empty() {
        let more = noted.find("Le_Alt").filter(|alt| *alt != "no").unwrap_or_default();
        found.names = subjects(std::iter::once(name.as_str()).chain(more.split(',')));
    }
    found.ca = directory.map(FoundCa::Directory);
    (found.challenge, found.service) = challenge(&noted);
    for (moment, word, key) in [
        (Moment::Before, "pre", "Le_PreHook"),
        (Moment::Afterwards, "post", "Le_PostHook"),
        (Moment::Deployed, "renewed", "Le_RenewHook"),
        (Moment::Deployed, "reload", "Le_ReloadCmd"),
    ] {
        if let Some(command) = noted.find(key) {
            found.hooks.push(FoundHook {
                moment,
                label: format!("{word}-{name}"),
                call: FoundCall::shell(command),
            });
        }
    }
    // It reuses the key unless told otherwise.
    found.reuse_key = noted.find("Le_ForceNewDomainKey") != Some("1");
    let asked: Vec<_> = [
        (Part::Cert, "Le_RealCertPath"),
        (Part::Privkey, "Le_RealKeyPath"),
        (Part::Chain, "Le_RealCACertPath"),
        (Part::Fullchain, "Le_RealFullChainPath"),
    ]
    .into_iter()
    .filter_map(|(part, key)| Some((part, PathBuf::from(noted.find(key)?))))
    .collect();
    // Installed nowhere: then servers read it where it lies.
    found.places = reader.places(&if asked.is_empty() {
        vec![
            (Part::Fullchain, chain),
            (Part::Cert, home.join(format!("{file}.cer"))),
            (Part::Chain, home.join("ca.cer")),
            (Part::Privkey, own_key),
        ]
    } else {
        asked
    });
    if let Some(hooks) = noted.find("Le_DeployHook") {
        found
            .untranslated
            .push(format!("deploy hook {hooks:?} is a function of acme.sh's; write a hook for it"));
    }
    let ecc = if folder == file { "" } else { " --ecc" };
    found.read.insert(0, conf.clone());
    let way = noted.find("Le_Webroot").unwrap_or_default().split(',').next().unwrap_or_default();
    if found.challenge == FoundChallenge::Unknown && way.starts_with("dns") {
        find.with_dns(dns::of_acme_sh(reader, dir, &conf, &noted, way));
    }
    let found = &mut find.foundling;
    if renews {
        found.stop = format!("acme.sh --remove -d {}{ecc}", found.name);
        found.source = Some(conf);
    }
    Some(find)
}

fn challenge(noted: &Assignments) -> (FoundChallenge, Option<&'static str>) {
    let ways: Vec<_> =
        noted.find("Le_Webroot").unwrap_or_default().split(',').filter(|w| !w.is_empty()).collect();
    let port = || noted.find("Le_HTTPPort").and_then(|port| port.parse().ok()).unwrap_or(80);
    let other = |words: &str| (FoundChallenge::Other(words.to_owned()), None);
    match ways[..] {
        [] => (FoundChallenge::Unknown, None),
        [first, ..] if ways.iter().any(|way| *way != first) => other("its names are proved in several ways"),
        ["no", ..] => (FoundChallenge::Standalone(port()), None),
        ["alpn", ..] => {
            let port = noted.find("Le_TLSPort").and_then(|port| port.parse().ok()).unwrap_or(443);
            (FoundChallenge::Handshake(port), None)
        }
        ["apache", ..] => (FoundChallenge::Server("apache2"), Some("apache2")),
        [way, ..] if way.starts_with("nginx:") => (FoundChallenge::Server("nginx"), Some("nginx")),
        [way, ..] if way.starts_with('/') => (FoundChallenge::Webroot(way.to_owned()), None),
        // Read with its credentials.
        [way, ..] if way.starts_with("dns") => (FoundChallenge::Unknown, None),
        _ => other("its names are proved in a way that is not known here"),
    }
}
