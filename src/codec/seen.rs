//! What was seen under `live/` and need not be read again, as bytes: a line that says what this is
//! and what it must hash to, then entries of one length. A cache: whatever is wrong with it, it is
//! empty.

use std::collections::BTreeMap;

use super::digest::sha256;
use crate::core::layout::Content;
use crate::core::leaf::mix;
use crate::core::name::LineageId;
use crate::core::record::GenerationNumber;
use crate::core::time::Timestamp;

/// One lineage's files were read and were those of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub number: GenerationNumber,
    /// When they were looked at, before they were read.
    pub taken: Timestamp,
    /// Half a SHA-256 of what the kernel said of them then, and of what they had to hold.
    pub print: [u8; 16],
}

/// A lineage in this file: a number made from its name. Two with one number only cost each other
/// their mark, as the name is in the print as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkId(u64);

impl MarkId {
    pub fn of(id: &LineageId) -> Self {
        let text = id.as_str().as_bytes();
        Self(text.chunks(8).fold(0, |seed, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(&[seed, u64::from_le_bytes(word)])
        }))
    }
}

/// Longest file taken, in bytes: enough for 400,000 lineages.
pub const SEEN_MAX: usize = 16 << 20;

/// Magic and version of the file.
const MAGIC: &[u8] = b"nolapse-seen-1 ";
/// Length of the first line: magic, 64 digits, line feed.
const HEAD: usize = MAGIC.len() + 64 + 1;
/// Length of an entry: who, number, date, print; numbers in little-endian order.
const ENTRY: usize = 8 + 8 + 8 + 16;

pub fn encode_seen(marks: &BTreeMap<MarkId, Mark>) -> Content {
    let most = (SEEN_MAX - HEAD) / ENTRY;
    let mut body = Vec::with_capacity(marks.len().min(most) * ENTRY);
    for (id, mark) in marks.iter().take(most) {
        body.extend_from_slice(&id.0.to_le_bytes());
        body.extend_from_slice(&mark.number.to_le_bytes());
        body.extend_from_slice(&mark.taken.millis().to_le_bytes());
        body.extend_from_slice(&mark.print);
    }
    let sum = sha256(&body).to_string();
    Content::new([MAGIC, sum.as_bytes(), b"\n", &body].concat())
}

pub fn decode_seen(content: &Content) -> BTreeMap<MarkId, Mark> {
    checked(content.bytes())
        .map(|body| body.chunks_exact(ENTRY).filter_map(entry).collect())
        .unwrap_or_default()
}

fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let sum = head.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    (sha256(body).to_string().as_bytes() == sum).then_some(body)
}

fn entry(bytes: &[u8]) -> Option<(MarkId, Mark)> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let taken = i64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
    let print = bytes.get(24..ENTRY)?.try_into().ok()?;
    Some((MarkId(word(0)?), Mark { number: word(8)?, taken: Timestamp::from_millis(taken), print }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn marks(count: u64) -> BTreeMap<MarkId, Mark> {
        (0..count)
            .map(|n| {
                let id = LineageId::parse(&format!("m{n}.example")).unwrap();
                let taken = Timestamp::from_secs(1_800_000_000 + i64::try_from(n).unwrap());
                (MarkId::of(&id), Mark { number: n + 1, taken, print: [u8::try_from(n % 256).unwrap(); 16] })
            })
            .collect()
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        for count in [0, 1, 2, 300] {
            let marks = marks(count);
            assert_eq!(marks.len() as u64, count, "no two of these names have one number");
            assert_eq!(decode_seen(&encode_seen(&marks)), marks);
        }
    }

    #[test]
    fn f14_a_damaged_file_is_an_empty_one() {
        let whole = encode_seen(&marks(3)).bytes().to_vec();
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] ^= 1;
            assert_eq!(decode_seen(&Content::new(file)), BTreeMap::new(), "byte {at} flipped");
            assert_eq!(decode_seen(&Content::new(whole[..at].to_vec())), BTreeMap::new(), "cut to {at}");
        }
    }

    #[test]
    fn names_that_differ_in_their_end_or_length_have_other_numbers() {
        let number = |text: &str| MarkId::of(&LineageId::parse(text).unwrap());
        for (one, other) in [("a", "b"), ("shop.example", "shop.exampl"), ("aaaaaaaa", "aaaaaaaaa")] {
            assert_ne!(number(one), number(other), "{one} and {other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            proptest::prop_assert_eq!(decode_seen(&Content::new(bytes)), BTreeMap::new());
        }
    }
}
