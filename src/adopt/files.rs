//! Plain files: a certificate that was bought, or that something unknown made.

use std::path::{Path, PathBuf};

use super::reader::{FILE_MAX, Reader};
use super::{CERTIFICATES_MAX, Find, refused};
use crate::codec::{key, pem, x509};
use crate::core::failure::Failure;
use crate::core::foundling::Tool;
use crate::core::leaf::{Fingerprint, Leaf};
use crate::core::spec::Part;

/// What one file holds.
struct Sheet {
    path: PathBuf,
    /// DER, in the order of the file.
    certificates: Vec<Vec<u8>>,
    leaf: Option<Leaf>,
    key: Option<Fingerprint>,
    key_first: bool,
}

/// `path` is a file with a certificate, or a directory with such files. A key is looked for in
/// `key`, else in the files beside the certificate.
pub(super) fn find(reader: &Reader<'_>, path: &Path, key: Option<&Path>) -> Result<Vec<Find>, Failure> {
    let is_dir = reader.is_dir(path);
    let dir = if is_dir { path } else { path.parent().unwrap_or(path) };
    let mut sheets: Vec<_> = reader
        .names(dir)
        .iter()
        .take(CERTIFICATES_MAX)
        .filter_map(|name| Sheet::read(reader, dir.join(name)))
        .collect();
    if let Some(key) = key {
        sheets.retain(|sheet| sheet.path != key);
        sheets.extend(Sheet::read(reader, key.to_owned()));
    }
    let mut found: Vec<Find> = Vec::new();
    for sheet in sheets.iter().filter(|sheet| is_dir || sheet.path == path) {
        let Some(leaf) = &sheet.leaf else { continue };
        let known = found.iter().any(|find| match &find.foundling.pair {
            Ok(known) => known.fingerprint == leaf.fingerprint,
            Err(_) => false,
        });
        if !known {
            found.push(one(reader, &sheets, sheet, leaf));
        }
    }
    if found.is_empty() {
        let words = format!("there is no certificate for a server in {}", path.display());
        return Err(refused("adopt-nothing-found", words));
    }
    Ok(found)
}

fn one(reader: &Reader<'_>, sheets: &[Sheet], sheet: &Sheet, leaf: &Leaf) -> Find {
    let key = sheets.iter().find(|other| other.key == Some(leaf.key)).map(|other| &other.path);
    // Files beside it that hold what vouches for it, and nothing for a server.
    let vouching: Vec<_> = sheets
        .iter()
        .filter(|other| other.leaf.is_none() && other.key.is_none())
        .filter(|other| {
            let above = other.certificates.first().zip(sheet.certificates.first());
            above.is_some_and(|(issuer, subject)| x509::vouches(issuer, subject))
        })
        .map(|other| other.path.clone())
        .collect();
    let mut chain = vec![sheet.path.clone()];
    if sheet.certificates.len() == 1 {
        chain.extend(vouching.iter().cloned());
    }
    let name = leaf.names.iter().find(|name| name.base().is_some()).or(leaf.names.first());
    let name = name.map_or_else(
        || sheet.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        ToString::to_string,
    );
    let missing = sheet.path.with_extension("key");
    let mut find = reader.foundling(Tool::Files, &name, &chain, key.unwrap_or(&missing));
    if key.is_none() {
        find.foundling.pair =
            Err(format!("no key that fits it lies beside {}; --key FILE names it", sheet.path.display()));
    }
    let mut places = Vec::new();
    for other in
        sheets.iter().filter(|other| other.leaf.as_ref().is_some_and(|it| it.fingerprint == leaf.fingerprint))
    {
        match (other.key.is_some(), other.key_first) {
            (true, true) => find.foundling.untranslated.push(format!(
                "{}: its key stands first; write an output `combined-key-first` for it by hand",
                other.path.display()
            )),
            (true, false) => places.push((Part::Combined, other.path.clone())),
            // A chain in a file of its own is how some servers want it; else it belongs here.
            (false, _) if other.certificates.len() == 1 && !vouching.is_empty() => {
                places.push((Part::Cert, other.path.clone()));
            }
            (false, _) => places.push((Part::Fullchain, other.path.clone())),
        }
    }
    places.extend(vouching.into_iter().map(|path| (Part::Chain, path)));
    places.extend(key.filter(|key| **key != sheet.path).map(|key| (Part::Privkey, key.clone())));
    find.foundling.places = reader.places(&places);
    find
}

impl Sheet {
    fn read(reader: &Reader<'_>, path: PathBuf) -> Option<Self> {
        let content = reader.disk.read(&path, FILE_MAX).ok()?;
        let certificates = pem::lenient_certificates(content.bytes()).unwrap_or_default();
        let key = pem::private_key(content.bytes()).ok();
        let key = key.and_then(|key| key::public_half(&key).ok()).map(|half| half.fingerprint);
        let first = certificates.first();
        let server = |der: &&Vec<u8>| {
            let own = x509::leaf(der).is_ok_and(|leaf| leaf.self_signed && !leaf.names.is_empty());
            own || !x509::is_ca(der).unwrap_or(true)
        };
        let leaf = first.filter(server).and_then(|der| x509::leaf(der).ok());
        let text = String::from_utf8_lossy(content.bytes()).into_owned();
        let key_first = text
            .find("PRIVATE KEY")
            .zip(text.find("BEGIN CERTIFICATE"))
            .is_some_and(|(key, cert)| key < cert);
        (leaf.is_some() || key.is_some() || !certificates.is_empty()).then_some(Self {
            path,
            certificates,
            leaf,
            key,
            key_first,
        })
    }
}
