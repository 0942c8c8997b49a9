//! One file with a certificate, and its key where that lies beside it.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::pem::{self, PemError};
use crate::codec::{beside, key, x509};
use crate::core::failure::plain;
use crate::core::specimen::{KeyFact, Obstacle, Specimen, Unread};
use crate::sys::disk::{Disk, Trace};

/// What was read of a file, and by what it is known to be still the same.
pub struct Known {
    print: Option<Vec<u8>>,
    pub found: Result<Specimen, Unread>,
}

/// Longest message of a system, in characters.
const WORDS_MAX: usize = 200;

/// What the file at `path` holds; `before` where that is still true. `key` is where the operator
/// says the key lies.
pub fn known(disk: &Disk, path: &Path, key: Option<&str>, before: Option<Known>) -> Known {
    let keys: Vec<PathBuf> = match key {
        Some(key) => vec![key.into()],
        None => beside::keys(path),
    };
    // Before it is read: a change in between is seen at the next look.
    let print = print(disk, path, &keys);
    match before {
        Some(before) if print.is_some() && before.print == print => before,
        _ => Known { print, found: specimen(disk, path, &keys, key.is_some()) },
    }
}

/// Why a file can't be read.
pub fn unread(error: &io::Error) -> Unread {
    let why = match error.kind() {
        io::ErrorKind::NotFound => Obstacle::Missing,
        io::ErrorKind::FileTooLarge => Obstacle::NoCertificate,
        _ => Obstacle::Closed,
    };
    Unread { why, words: plain(&error.to_string(), WORDS_MAX) }
}

/// What tells that neither the file nor what may be its key was touched; links are followed.
fn print(disk: &Disk, path: &Path, keys: &[PathBuf]) -> Option<Vec<u8>> {
    let target = disk.resolve(path).ok()?;
    let mut bytes = target.as_os_str().as_encoded_bytes().to_vec();
    disk.trace(&target).ok()?.append_to(&mut bytes);
    for key in keys {
        match disk.resolve(key).and_then(|target| disk.trace(&target)) {
            Ok(trace) => trace.append_to(&mut bytes),
            Err(_) => bytes.extend_from_slice(&[0; Trace::LENGTH]),
        }
    }
    Some(bytes)
}

fn specimen(disk: &Disk, path: &Path, keys: &[PathBuf], named: bool) -> Result<Specimen, Unread> {
    let content = disk.read(path, pem::TEXT_MAX).map_err(|error| unread(&error))?;
    let none = |words: String| Unread { why: Obstacle::NoCertificate, words: plain(&words, WORDS_MAX) };
    let chain = match pem::lenient_certificates(content.bytes()) {
        Ok(chain) => chain,
        // No PEM at all: it may be DER.
        Err(PemError::NoCertificate) if !content.bytes().is_empty() && !is_text(content.bytes()) => {
            vec![content.bytes().to_vec()]
        }
        Err(error) => return Err(none(error.to_string())),
    };
    let refs: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let leaf = x509::leaf(refs[0]).map_err(|error| none(error.to_string()))?;
    let members = x509::members(&refs).map_err(|error| none(error.to_string()))?;
    // A self-made server certificate of openssl's says that it is a CA as well; CAs have no names.
    let authority = leaf.names.is_empty() && x509::is_ca(refs[0]).unwrap_or(false);
    let fits = |text: &[u8]| -> Result<bool, String> {
        let key = pem::private_key(text).map_err(|error| error.to_string())?;
        let half = key::public_half(&key).map_err(|error| error.to_string())?;
        Ok(half.fingerprint == leaf.key)
    };
    let key = match fits(content.bytes()) {
        Ok(true) => KeyFact::Fits,
        Ok(false) if !named => KeyFact::Other { place: super::expand::shown(path) },
        _ => beside_it(disk, keys, named, fits),
    };
    Ok(Specimen { leaf, chain: members, authority, key, distrust: None })
}

/// What the first of `keys` that is there says.
fn beside_it(
    disk: &Disk,
    keys: &[PathBuf],
    named: bool,
    fits: impl Fn(&[u8]) -> Result<bool, String>,
) -> KeyFact {
    for path in keys {
        let place = super::expand::shown(path);
        let said = match disk.read(path, pem::TEXT_MAX) {
            Ok(content) => fits(content.bytes()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => continue,
            Err(error) => Err(error.to_string()),
        };
        return match said {
            Ok(true) => KeyFact::Fits,
            Ok(false) => KeyFact::Other { place },
            Err(why) => KeyFact::Unread { place, why: plain(&why, WORDS_MAX), named },
        };
    }
    KeyFact::Unknown
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHAIN: &str = include_str!("../../tests/fixtures/chains/p256.pem");
    const STRANGE: &str = include_str!("../../tests/fixtures/keys/sec1.pem");

    fn read(path: &Path) -> Result<Specimen, Unread> {
        known(&Disk::real(), path, None, None).found
    }

    #[test]
    fn a_chain_is_read_with_what_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.crt");
        std::fs::write(&path, CHAIN).unwrap();
        let specimen = read(&path).unwrap();
        assert_eq!((specimen.chain.len(), specimen.authority, &specimen.key), (2, false, &KeyFact::Unknown));
        std::fs::write(dir.path().join("shop.key"), STRANGE).unwrap();
        assert!(matches!(read(&path).unwrap().key, KeyFact::Other { .. }));
        std::fs::write(dir.path().join("shop.key"), "no key").unwrap();
        assert!(matches!(read(&path).unwrap().key, KeyFact::Unread { named: false, .. }));
    }

    #[test]
    fn der_is_read_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.der");
        std::fs::write(&path, &pem::certificates(CHAIN.as_bytes()).unwrap()[0]).unwrap();
        assert_eq!(read(&path).unwrap().chain.len(), 1);
    }

    #[test]
    fn t02_what_is_no_certificate_is_told_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe.pem"), rustix::fs::Mode::from(0o600)).unwrap();
        std::fs::write(path("text.pem"), "nothing of the kind").unwrap();
        std::fs::write(path("empty.pem"), "").unwrap();
        std::fs::write(path("binary.pem"), [0xff; 300]).unwrap();
        std::fs::write(path("cut.pem"), &CHAIN[..CHAIN.len() / 3]).unwrap();
        std::fs::write(path("huge.pem"), vec![b'x'; pem::TEXT_MAX + 1]).unwrap();
        std::os::unix::fs::symlink("loop.pem", path("loop.pem")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("device.pem")).unwrap();
        for (name, why) in [
            ("pipe.pem", Obstacle::Closed),
            ("device.pem", Obstacle::Closed),
            ("loop.pem", Obstacle::Closed),
            ("text.pem", Obstacle::NoCertificate),
            ("empty.pem", Obstacle::NoCertificate),
            ("binary.pem", Obstacle::NoCertificate),
            ("cut.pem", Obstacle::NoCertificate),
            ("huge.pem", Obstacle::NoCertificate),
            ("gone.pem", Obstacle::Missing),
        ] {
            assert_eq!(read(&path(name)).unwrap_err().why, why, "{name}");
        }
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.pem");
        std::fs::write(&path, CHAIN).unwrap();
        let disk = Disk::real();
        let marker = Err(Unread { why: Obstacle::Silent, words: "kept".into() });
        let first = Known { found: marker.clone(), ..known(&disk, &path, None, None) };
        let second = known(&disk, &path, None, Some(first));
        assert_eq!(second.found, marker);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, CHAIN).unwrap();
        std::fs::write(dir.path().join("shop.key"), STRANGE).unwrap();
        assert!(known(&disk, &path, None, Some(second)).found.is_ok());
    }
}
