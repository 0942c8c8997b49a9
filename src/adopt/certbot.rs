//! `/etc/letsencrypt`: `renewal/NAME.conf`, `live/NAME`, `archive/NAME`, `accounts/SERVER/ID`.

use std::collections::BTreeSet;
use std::path::Path;

use super::reader::{Reader, schemeless, subjects};
use super::{CERTIFICATES_MAX, Find, dns};
use crate::codec::keepsake::AccountNote;
use crate::codec::renewal::{Renewal, list};
use crate::core::foundling::{ASIDE, FoundCa, FoundCall, FoundChallenge, FoundHook, Moment, Places, Tool};

/// Where certbot asks if nothing is said.
const SERVER: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Parameters that ask for something which has no counterpart here.
const UNTRANSLATED: [(&str, &str); 5] = [
    ("preferred_chain", "the CA's default chain is taken"),
    ("must_staple", "no CA in use offers OCSP any more"),
    ("preferred_profile", "write  profile = …  into the entry"),
    ("required_profile", "write  profile = { name = …, required = true }  into the entry"),
    ("allow_subset_of_names", "a certificate here is for all of its names or is not issued"),
];

pub(super) fn find(reader: &Reader<'_>, dir: &Path) -> Vec<Find> {
    let files = reader.names(&dir.join("renewal"));
    let aside = format!(".conf.{ASIDE}");
    let names = files.iter().filter_map(|file| file.strip_suffix(".conf").or(file.strip_suffix(&aside)));
    let names: BTreeSet<_> = names.take(CERTIFICATES_MAX).collect();
    names.into_iter().filter_map(|name| one(reader, dir, name)).collect()
}

fn one(reader: &Reader<'_>, dir: &Path, name: &str) -> Option<Find> {
    let (conf, renews) = reader.source(&dir.join("renewal").join(format!("{name}.conf")))?;
    let renewal = Renewal::parse(&reader.text(&conf)?);
    let live = dir.join("live").join(name);
    let mut find =
        reader.foundling(Tool::Certbot, name, &[live.join("fullchain.pem")], &live.join("privkey.pem"));
    let server = renewal.param("server").unwrap_or(SERVER).to_owned();
    if let Some(account) = renewal.param("account") {
        let home = dir.join("accounts").join(schemeless(&server)).join(account);
        let note = reader.text(&home.join("regr.json")).and_then(|text| AccountNote::parse(text.as_bytes()));
        let url = note.as_ref().and_then(AccountNote::url).map(ToOwned::to_owned);
        find.with_account(reader.account(&home.join("private_key.json"), url.as_deref()));
    }
    let found = &mut find.foundling;
    if found.names.is_empty() {
        found.names = subjects(renewal.webroots.keys());
    }
    if found.names.is_empty() {
        found.names = subjects([name]);
    }
    found.ca = Some(FoundCa::Directory(server));
    (found.challenge, found.service) = challenge(&renewal);
    found.hooks = hooks(reader, dir, name, &renewal);
    found.reuse_key = renewal.param("reuse_key") == Some("True");
    if let Some(key) = reader.owner(&live.join("privkey.pem"))
        && let Some(root) = dir.to_str()
    {
        found.places = Places::Tree { root: root.to_owned(), key };
    }
    found.untranslated = UNTRANSLATED
        .iter()
        .filter(|(key, _)| renewal.param(key).is_some_and(|value| value != "False"))
        .map(|(key, why)| format!("{key}: {why}"))
        .collect();
    found.read.insert(0, conf.clone());
    if let Some(plugin) = renewal.param("authenticator").filter(|plugin| plugin.contains("dns")) {
        find.with_dns(dns::of_certbot(reader, &renewal, plugin));
    }
    let found = &mut find.foundling;
    if renews {
        found.stop = format!("mv {} {0}.{ASIDE}", conf.display());
        found.source = Some(conf);
    }
    Some(find)
}

fn challenge(renewal: &Renewal) -> (FoundChallenge, Option<&'static str>) {
    let server = |plugin: Option<&str>| match plugin {
        Some("nginx") => Some("nginx"),
        Some("apache") => Some("apache2"),
        _ => None,
    };
    let service = server(renewal.param("installer")).or_else(|| server(renewal.param("authenticator")));
    let port = || renewal.param("http01_port").and_then(|port| port.parse().ok()).unwrap_or(80);
    let challenge = match renewal.param("authenticator") {
        Some("standalone") => FoundChallenge::Standalone(port()),
        Some("webroot") => {
            let mut roots: BTreeSet<&str> = renewal.webroots.values().map(String::as_str).collect();
            if roots.is_empty() {
                roots.extend(renewal.param("webroot_path").map(list).unwrap_or_default());
            }
            match roots.iter().collect::<Vec<_>>()[..] {
                [] => FoundChallenge::Unknown,
                [root] => FoundChallenge::Webroot((*root).to_owned()),
                _ => FoundChallenge::Other(
                    "its names are proved in several directories, each by its own".into(),
                ),
            }
        }
        Some("manual") => {
            FoundChallenge::Other("its names are proved by scripts (certbot's `manual`)".into())
        }
        // Read with its credentials.
        Some(dns) if dns.contains("dns") => FoundChallenge::Unknown,
        Some(plugin) => match server(Some(plugin)) {
            Some(name) => FoundChallenge::Server(name),
            None => FoundChallenge::Other(format!("its names are proved by certbot's plugin {plugin:?}")),
        },
        None => FoundChallenge::Unknown,
    };
    (challenge, service)
}

fn hooks(reader: &Reader<'_>, dir: &Path, name: &str, renewal: &Renewal) -> Vec<FoundHook> {
    let mut hooks = Vec::new();
    for (moment, word, key) in [
        (Moment::Before, "pre", "pre_hook"),
        (Moment::Afterwards, "post", "post_hook"),
        (Moment::Deployed, "deploy", "renew_hook"),
    ] {
        // Certbot runs the directory's programs first.
        let programs = dir.join("renewal-hooks").join(word);
        if reader.holds_programs(&programs)
            && let Some(path) = programs.to_str()
        {
            let call = FoundCall::Parts(path.to_owned());
            hooks.push(FoundHook { moment, label: format!("certbot-{word}"), call });
        }
        if let Some(command) = renewal.param(key) {
            let call = FoundCall::shell(command);
            hooks.push(FoundHook { moment, label: format!("{word}-{name}"), call });
        }
    }
    hooks
}
