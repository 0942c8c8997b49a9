//! Caddy's storage: `certificates/CA/NAME/NAME.{crt,key,json}`, `acme/CA/users/USER`.

use std::path::Path;

use super::reader::{Reader, subjects};
use super::{CERTIFICATES_MAX, Find};
use crate::codec::keepsake::{AccountNote, CertificateNote};
use crate::core::foundling::{FoundCa, Tool};
use crate::core::spec::Part;

/// Its own CA's, for names that no other gives certificates for.
const INTERNAL: &str = "local";

pub(super) fn find(reader: &Reader<'_>, dir: &Path) -> Vec<Find> {
    let certificates = dir.join("certificates");
    let cas = reader.names(&certificates);
    cas.iter()
        .filter(|ca| *ca != INTERNAL)
        .flat_map(|ca| reader.names(&certificates.join(ca)).into_iter().map(move |name| (ca, name)))
        .take(CERTIFICATES_MAX)
        .filter_map(|(ca, name)| one(reader, dir, ca, &name))
        .collect()
}

fn one(reader: &Reader<'_>, dir: &Path, ca: &str, name: &str) -> Option<Find> {
    let home = dir.join("certificates").join(ca).join(name);
    let at = |ending: &str| home.join(format!("{name}.{ending}"));
    if !reader.there(&at("crt")) {
        return None;
    }
    let note =
        reader.text(&at("json")).and_then(|text| CertificateNote::parse(text.as_bytes())).unwrap_or_default();
    let shown = note.sans.first().cloned().unwrap_or_else(|| name.to_owned());
    let mut find = reader.foundling(Tool::Caddy, &shown, &[at("crt")], &at("key"));
    let users = dir.join("acme").join(ca).join("users");
    if let [user] = &reader.names(&users)[..] {
        let files = reader.names(&users.join(user));
        let with = |ending: &str| {
            files.iter().find(|file| file.ends_with(ending)).map(|file| users.join(user).join(file))
        };
        if let Some(key) = with(".key") {
            let note = with(".json").and_then(|path| reader.text(&path));
            let url = note.and_then(|text| AccountNote::parse(text.as_bytes())?.url().map(ToOwned::to_owned));
            find.with_account(reader.account(&key, url.as_deref()));
        }
    }
    let found = &mut find.foundling;
    if found.names.is_empty() {
        found.names = subjects(&note.sans);
    }
    found.ca = Some(note.issuer_data.ca.map_or_else(|| FoundCa::Dashed(ca.to_owned()), FoundCa::Directory));
    found.service = Some("caddy");
    found.places = reader.places(&[(Part::Fullchain, at("crt")), (Part::Privkey, at("key"))]);
    found.stop = "let its site block name our files:  tls LIVE/fullchain.pem LIVE/privkey.pem".into();
    found.read.insert(0, at("json"));
    Some(find)
}
