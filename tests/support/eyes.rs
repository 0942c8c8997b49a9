//! What must be true at the moment after a crash, and what must be true when one more run has
//! mended everything. Pairs are judged by rustls, not by the program's own reader.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nolapse::codec::bundle;
use nolapse::core::layout::Content;
use nolapse::core::leaf::Fingerprint;
use nolapse::core::record::LineageRecord;
use nolapse::core::spec::Part;
use nolapse::sys::keys::PrivateKey;

use super::host::{Host, NAME};
use super::served;

/// What was true before the program was struck.
pub struct Before {
    pub orders: usize,
    issued: usize,
    told: usize,
    /// The number of the current generation, 0 for none.
    number: u64,
    /// The live pair's leaf, where there was one.
    shown: Option<Vec<u8>>,
}

impl Before {
    pub fn of(host: &Host) -> Self {
        Self {
            orders: host.orders(),
            issued: host.ca.issued().len(),
            told: host.told().len(),
            number: host
                .record()
                .unwrap()
                .and_then(|record| record.current)
                .map_or(0, |current| current.number),
            shown: shown(host).unwrap_or_else(|what| panic!("before: {what}")),
        }
    }
}

/// The order that was open, by its URL, when the program ended.
pub type OpenOrder = Option<String>;

/// At the moment after: whole pairs, readable state, no key lost, no key open to others.
pub fn after(host: &Host, before: &Before) -> Result<OpenOrder, String> {
    let now = shown(host)?;
    if now.is_none() && before.shown.is_some() {
        return Err("there was a pair, and now there is none".into());
    }
    if let Ok(text) = std::fs::read(host.path("out/combined.pem"))
        && let Some(unfit) = served::unfit_combined(&text)
    {
        return Err(format!("out/combined.pem: {unfit}"));
    }
    let (keys, open) = keys(host.dir());
    if let Some(path) = open.first() {
        return Err(format!("others may read the key in {}", path.display()));
    }
    for issued in host.ca.issued().iter().skip(before.issued) {
        let key = bundle::leaf_of(issued.chain_pem.as_bytes()).unwrap().key;
        if !keys.contains(&key) {
            return Err(format!("the CA issued {}, and its key is lost", issued.serial));
        }
    }
    host.installed()?;
    Ok(host.record()?.and_then(|record| record.attempt).and_then(|attempt| attempt.order))
}

/// When one more run ended well: the current generation everywhere, nothing owed, open or left
/// behind.
pub fn mended(host: &Host, before: &Before, open: &OpenOrder) -> Result<(), String> {
    let record = host.record()?.ok_or("there is no record")?;
    let current = record.current.as_ref().ok_or("nothing was issued")?;
    let shown = shown(host)?.ok_or("no pair is shown")?;
    let leaf = bundle::leaf_of(&pem(&shown)).map_err(|error| error.to_string())?;
    if leaf.fingerprint != current.leaf.fingerprint {
        return Err("what is shown is not the current generation".into());
    }
    let combined = std::fs::read(host.path("out/combined.pem")).map_err(|error| error.to_string())?;
    if Some(combined) != std::fs::read(live(host, Part::Combined)).ok() {
        return Err("out/combined.pem is not what live/ shows".into());
    }
    settled(&record)?;
    if let Some(open) = open
        && current.order != *open
    {
        return Err(format!("order {open} was open, and {} was finished", current.order));
    }
    // A crash between the CA's answer and the saving of its URL leaves one order behind.
    let orders = host.orders() - before.orders;
    if orders > 2 {
        return Err(format!("{orders} orders were placed"));
    }
    let heard: Vec<_> = host.told().split_off(before.told);
    let times = heard.iter().filter(|number| **number == current.number).count();
    if current.number > before.number && (times == 0 || times > 2 || heard.last() != Some(&current.number)) {
        return Err(format!("the hook heard of {heard:?}, the current generation is {}", current.number));
    }
    match leftovers(host).first() {
        Some(path) => Err(format!("{} was left behind", path.display())),
        None => Ok(()),
    }
}

fn settled(record: &LineageRecord) -> Result<(), String> {
    if let Some(attempt) = &record.attempt {
        return Err(format!("an attempt is open: {attempt:?}"));
    }
    if !record.debts.is_empty() {
        return Err(format!("answers are still owed: {:?}", record.debts));
    }
    match &record.trouble {
        Some(trouble) => Err(format!("there is trouble: {}", trouble.failure)),
        None => Ok(()),
    }
}

fn live(host: &Host, part: Part) -> PathBuf {
    host.path("state/live").join(NAME).join(part.file_name())
}

/// The leaf that a reader of the five well-known names sees, as DER; an error where it sees a
/// mixture or half of something.
fn shown(host: &Host) -> Result<Option<Vec<u8>>, String> {
    let read = |part: Part| match std::fs::read(live(host, part)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", part.file_name())),
    };
    let mut texts = std::collections::BTreeMap::new();
    for part in Part::ALL {
        if let Some(text) = read(part)? {
            texts.insert(part, text);
        }
    }
    if texts.is_empty() {
        return Ok(None);
    }
    if texts.len() < Part::ALL.len() {
        return Err(format!("only {:?} are shown", texts.keys().collect::<Vec<_>>()));
    }
    let (chain, key, combined) = (&texts[&Part::Fullchain], &texts[&Part::Privkey], &texts[&Part::Combined]);
    if let Some(unfit) = served::unfit(chain, key).or_else(|| served::unfit_combined(combined)) {
        return Err(unfit);
    }
    let leaf = served::leaf_in(chain);
    if [Part::Cert, Part::Combined].iter().any(|part| served::leaf_in(&texts[part]) != leaf) {
        return Err("the five texts are not of one generation".into());
    }
    if !String::from_utf8_lossy(chain).ends_with(&*String::from_utf8_lossy(&texts[&Part::Chain])) {
        return Err("chain.pem is of another generation".into());
    }
    Ok(Some(leaf))
}

fn pem(der: &[u8]) -> Vec<u8> {
    nolapse::codec::pem::encode("CERTIFICATE", der).into_bytes()
}

/// The public halves of every private key below `dir`, and the files with a key that others may
/// read.
fn keys(dir: &Path) -> (BTreeSet<Fingerprint>, Vec<PathBuf>) {
    let (mut keys, mut open) = (BTreeSet::new(), Vec::new());
    for path in files(dir) {
        let Ok(text) = std::fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&text);
        let Some(begin) = text.find("-----BEGIN PRIVATE KEY-----") else { continue };
        if path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o007 != 0) {
            open.push(path.clone());
        }
        // A file that was not finished may end in the middle of its key.
        if let Ok(key) = PrivateKey::from_pem(&Content::new(block(&text[begin..]).into())) {
            keys.insert(key.fingerprint());
        }
    }
    (keys, open)
}

fn block(text: &str) -> &str {
    const END: &str = "-----END PRIVATE KEY-----";
    text.find(END).map_or("", |end| &text[..end + END.len()])
}

/// What a finished program has no business leaving: half files, answers, keys without a
/// certificate.
fn leftovers(host: &Host) -> Vec<PathBuf> {
    let answers = host.path("www/.well-known/acme-challenge");
    let mut left: Vec<_> =
        [answers, host.path("state/challenges")].iter().flat_map(|dir| files(dir)).collect();
    left.extend(files(host.dir()).into_iter().filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".nolapse-new") || name == ".writable"
    }));
    left
}

/// Files and links below a directory; links are not followed.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() || kind.is_symlink() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
