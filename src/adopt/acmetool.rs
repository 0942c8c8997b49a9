//! `/var/lib/acme`: `live/HOST` to `certs/ID`, `keys/ID`, `accounts/DIRECTORY/ID`, `conf/target`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reader::{Reader, host};
use super::{CERTIFICATES_MAX, Find};
use crate::codec::keepsake::{listed_below, scalar};
use crate::core::foundling::{FoundCa, FoundChallenge, Tool};
use crate::core::spec::Part;

/// Where its hooks lie.
const HOOKS: [&str; 3] = ["/usr/lib/acme/hooks", "/usr/libexec/acme/hooks", "/etc/acme/hooks"];
/// What a web server shows by itself, where no alias is needed.
const WELL_KNOWN: &str = "/.well-known/acme-challenge";

pub(super) fn find(reader: &Reader<'_>, dir: &Path) -> Vec<Find> {
    let live = dir.join("live");
    // Several hosts may lead to one certificate.
    let mut hosts: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for name in reader.names(&live).into_iter().take(CERTIFICATES_MAX) {
        if let Ok(home) = reader.disk.resolve(&live.join(&name)) {
            hosts.entry(home).or_default().push(name);
        }
    }
    hosts.into_iter().filter_map(|(home, hosts)| one(reader, dir, &home, &hosts)).collect()
}

fn one(reader: &Reader<'_>, dir: &Path, home: &Path, hosts: &[String]) -> Option<Find> {
    let name = hosts.first()?;
    let at = |file: &str| dir.join("live").join(name).join(file);
    let mut find = reader.foundling(Tool::Acmetool, name, &[at("fullchain")], &at("privkey"));
    let url = reader.text(&home.join("url"));
    let target = reader.text(&dir.join("conf/target")).unwrap_or_default();
    let account = account(reader, dir, url.as_deref());
    let directory =
        account.as_ref().map(|(directory, _)| directory.clone()).or_else(|| scalar(&target, "provider"));
    if let Some((_, key)) = account {
        find.with_account(reader.account(&key, None));
    }
    let found = &mut find.foundling;
    found.ca = directory.map(FoundCa::Directory);
    found.challenge = challenge(&target);
    // One host's files are all hosts' files: what is written there is read through every link.
    found.places = reader.places(&[
        (Part::Fullchain, at("fullchain")),
        (Part::Cert, at("cert")),
        (Part::Chain, at("chain")),
        (Part::Privkey, at("privkey")),
    ]);
    for hooks in HOOKS.map(Path::new).into_iter().filter(|hooks| reader.holds_programs(hooks)) {
        let words =
            "gets host names on standard input, where ours get an event: use a service, or a script between";
        found.untranslated.push(format!("{}: {words}", hooks.display()));
    }
    found.stop = format!("acmetool unwant {}", hosts.join(" "));
    Some(find)
}

/// The account at the CA that issued `url`: its directory and its key.
fn account(reader: &Reader<'_>, dir: &Path, url: Option<&str>) -> Option<(String, PathBuf)> {
    let accounts = dir.join("accounts");
    let wanted = host(url?.trim())?;
    reader.names(&accounts).into_iter().find_map(|folder| {
        let place = decoded(&folder);
        let [id] = &reader.names(&accounts.join(&folder))[..] else { return None };
        let key = accounts.join(&folder).join(id).join("privkey");
        (place.split('/').next() == Some(wanted)).then(|| (format!("https://{place}"), key))
    })
}

/// `%3a` and its like as what they stand for; anything else stays.
fn decoded(folder: &str) -> String {
    let mut parts = folder.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code =
            part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii_graphic);
        if let Some(code) = code {
            text.push(char::from(code));
            text.push_str(&part[2..]);
        } else {
            text.push('%');
            text.push_str(part);
        }
    }
    text
}

fn challenge(target: &str) -> FoundChallenge {
    match &listed_below(target, "webroot-paths")[..] {
        [] => FoundChallenge::Unknown,
        [dir, ..] => match dir.trim_end_matches('/').strip_suffix(WELL_KNOWN) {
            Some(root) if !root.is_empty() => FoundChallenge::Webroot(root.to_owned()),
            _ => FoundChallenge::Other(format!(
                "its answers lie in {dir}, which a web server shows by an alias; ours lie in {WELL_KNOWN} below a \
                 directory, or come from a listener behind the shipped snippet"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_say_which_directory_they_are_of() {
        for (folder, place) in [
            ("acme-v02.api.letsencrypt.org%2fdirectory", "acme-v02.api.letsencrypt.org/directory"),
            ("127.0.0.1%3a24000%2fdir", "127.0.0.1:24000/dir"),
            ("a%zzb%", "a%zzb%"),
            ("a%00b%ü", "a%00b%ü"),
        ] {
            assert_eq!(decoded(folder), place);
        }
    }
}
