//! `.lego`: `certificates/NAME.{crt,issuer.crt,key,json}`, `accounts/SERVER/ID`.

use std::path::{Path, PathBuf};

use super::reader::{Reader, ca_of, host};
use super::{CERTIFICATES_MAX, Find};
use crate::codec::keepsake::{AccountNote, CertificateNote};
use crate::codec::pem;
use crate::core::foundling::Tool;
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
    found.untranslated.push("hooks and ways of proving are on lego's command line only".into());
    found.stop = "take its  lego … renew  out of cron, or out of its timer".into();
    found.read.insert(0, at("json"));
    Some(find)
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
