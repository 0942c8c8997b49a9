//! What stands around every value on disk, so that a damaged file is never taken for a value.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

use crate::core::layout::Content;
use crate::core::leaf::Fingerprint;
use crate::ports::Revision;

/// Largest value taken, in bytes.
pub const BODY_MAX: usize = 1024 * 1024;
/// Largest file that can be an entry, in bytes.
pub const FILE_MAX: usize = BODY_MAX + HEADER_MAX;
/// Magic, two numbers and a checksum.
const HEADER_MAX: usize = 128;
/// The envelope's version is part of its magic.
const MAGIC: &str = "nolapse-entry-";
/// The envelope that this release writes, and the only one that it reads.
const VERSION: u32 = 1;

/// A value that was read whole.
pub struct Envelope {
    /// Grows with every write of an entry.
    pub stamp: u64,
    pub revision: Revision,
    pub content: Content,
}

/// The file for the value `body` of the key `name`.
pub fn seal(name: &str, stamp: u64, body: &Content) -> (Content, Revision) {
    let head = format!("{MAGIC}{VERSION} {stamp} {} ", body.len());
    let sum = checksum(name, &head, body.bytes());
    let mut file = Vec::with_capacity(head.len() + sum.len() + 1 + body.len());
    for part in [head.as_bytes(), sum.as_bytes(), b"\n", body.bytes()] {
        file.extend_from_slice(part);
    }
    (Content::new(file), revision(stamp, &sum))
}

/// Reads the file of the key `name`.
pub fn open(name: &str, file: &[u8]) -> Result<Envelope, Damage> {
    if file.is_empty() {
        return Err(Damage::Empty);
    }
    let line = file.iter().take(HEADER_MAX).position(|byte| *byte == b'\n').ok_or(Damage::NoHeader)?;
    let (line, body) = (&file[..line], &file[line + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| Damage::NoHeader)?;
    let (head, sum) = line.rsplit_once(' ').ok_or(Damage::NoHeader)?;
    let mut fields = head.split(' ');
    let mut field = || fields.next().ok_or(Damage::NoHeader);
    let version = field()?.strip_prefix(MAGIC).and_then(number).ok_or(Damage::NoHeader)?;
    if version > u64::from(VERSION) {
        return Err(Damage::Newer(u32::try_from(version).unwrap_or(u32::MAX)));
    }
    let stamp = number(field()?).ok_or(Damage::NoHeader)?;
    let said = number(field()?).ok_or(Damage::NoHeader)?;
    if said != body.len() as u64 {
        return Err(Damage::Length { said, found: body.len() as u64 });
    }
    // Everything before the checksum is under it, so nothing more has to be looked at.
    if checksum(name, &line[..=head.len()], body) != sum {
        return Err(Damage::Checksum);
    }
    Ok(Envelope { stamp, revision: revision(stamp, sum), content: Content::new(body.to_vec()) })
}

/// Why a file is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Empty,
    NoHeader,
    /// The envelope of a newer release, or a damaged one.
    Newer(u32),
    Length {
        said: u64,
        found: u64,
    },
    Checksum,
    TooLarge,
    NotAFile,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::NoHeader => f.write_str("it does not begin as a file of nolapse does"),
            Self::Newer(version) => write!(f, "its envelope says version {version}, its directory does not"),
            Self::Length { said, found } => write!(f, "it has {found} bytes where {said} were written"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::TooLarge => write!(f, "it is larger than {FILE_MAX} bytes"),
            Self::NotAFile => f.write_str("it is not a regular file"),
        }
    }
}

fn revision(stamp: u64, sum: &str) -> Revision {
    Revision(format!("{stamp}-{sum}"))
}

/// Covers the key's name as well: a file that was copied over another is damage.
fn checksum(name: &str, head: &str, body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    for part in [name.as_bytes(), b"\n", head.as_bytes(), body] {
        context.update(part);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    Fingerprint(sum).to_string()
}

/// Decimal as we write it: digits only.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAME: &str = "lineages/shop.example.com";

    fn sealed(body: &str) -> Vec<u8> {
        seal(NAME, 1_795_000_000_000, &Content::new(body.into())).0.bytes().to_vec()
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for body in ["", "{}", "two\nlines\n", "\0\n\u{7f}"] {
            let (file, revision) = seal(NAME, 7, &Content::new(body.into()));
            let read = open(NAME, file.bytes()).unwrap();
            assert_eq!((read.stamp, read.content.bytes()), (7, body.as_bytes()));
            assert_eq!(read.revision, revision);
        }
    }

    #[test]
    fn the_format_never_changes_between_releases() {
        // A fixture: what a released version wrote must be read for ever.
        let file = b"nolapse-entry-1 7 3 \
            1923db6068fcc2195e79c2557611b81faf025cb9a9f98db62f3306817b1c23a6\nabc";
        let fresh = seal("accounts/letsencrypt", 7, &Content::new(b"abc".to_vec())).0;
        assert_eq!(String::from_utf8_lossy(fresh.bytes()), String::from_utf8_lossy(file));
    }

    #[test]
    fn f14_every_byte_flipped_zeroed_or_cut_off_is_noticed() {
        let whole = sealed("{\"version\":1}");
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut file = whole.clone();
                file[at] ^= 1 << bit;
                assert!(open(NAME, &file).is_err(), "bit {bit} of byte {at}");
            }
            let mut file = whole.clone();
            file[at] = 0;
            assert!(open(NAME, &file).is_err(), "byte {at} zeroed");
            assert!(open(NAME, &whole[..at]).is_err(), "cut to {at} bytes");
            assert!(open(NAME, &whole[at + 1..]).is_err(), "{at} bytes lost at the front");
        }
        assert!(open(NAME, &[&whole[..], b"\n"].concat()).is_err(), "a byte more");
    }

    #[test]
    fn f14_a_file_copied_over_another_is_damage() {
        assert_eq!(open("lineages/other", &sealed("{}")).err(), Some(Damage::Checksum));
    }

    #[test]
    fn a_newer_envelope_is_told_apart() {
        let file = String::from_utf8(sealed("{}")).unwrap().replacen("entry-1", "entry-12", 1);
        assert_eq!(open(NAME, file.as_bytes()).err(), Some(Damage::Newer(12)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None, ..Default::default()
        })]
        #[test]
        fn opening_never_panics(file: Vec<u8>, text in "nolapse-entry-[0-9]{0,12} [0-9 ]{0,50}\n.{0,9}") {
            proptest::prop_assert!(open(NAME, &file).is_err());
            proptest::prop_assert!(open(NAME, text.as_bytes()).is_err());
        }
    }
}
