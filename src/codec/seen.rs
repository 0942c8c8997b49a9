//! What was seen and judged and need not be read again, as bytes: a line that says what this is and
//! what it must hash to, then entries in the order of their ids. A cache: whatever is wrong with it,
//! it is empty. Entries stay bytes until they are asked for: a pass asks each one once.

use super::digest::sha256;
use crate::core::layout::Content;
use crate::core::leaf::{Brief, Fingerprint, mix};
use crate::core::memo::{Look, Memo};
use crate::core::name::LineageId;
use crate::core::record::GenerationNumber;
use crate::core::time::Timestamp;

/// One lineage's files were read and were those of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub number: GenerationNumber,
    /// When they were looked at, before they were read.
    pub taken: Timestamp,
    pub print: Print,
    /// What was judged of the lineage, where there was nothing to say of it.
    pub judged: Option<Judged>,
}

/// A memo and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Of all that was judged.
    pub print: Print,
    pub at: Timestamp,
    pub memo: Memo,
}

/// Half a SHA-256 of what the kernel said of files, and of what they had to be.
pub type Print = [u8; 16];

/// A lineage in this file: a number made from its name. Two with one number only cost each other
/// their mark, as the name is in the prints as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkId(u64);

impl MarkId {
    /// Which of the files it is in.
    pub const fn shard(self) -> usize {
        (self.0 >> 60) as usize
    }

    pub fn of(id: &LineageId) -> Self {
        let text = id.as_str().as_bytes();
        Self(text.chunks(8).fold(0, |seed, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(&[seed, u64::from_le_bytes(word)])
        }))
    }
}

/// Longest file taken, in bytes: with [`SHARDS`] of them enough for some 250,000 lineages.
pub const SEEN_MAX: usize = 4 << 20;
/// How many files there are: what is known of ten thousand lineages is not one large piece of
/// memory, of which the allocator would keep twice as much for good.
pub const SHARDS: usize = 16;
/// Longest entry with a memo, in bytes: enough for some 200 endpoints.
const ENTRY_MAX: usize = 8 << 10;
/// Of the length before each entry, in bytes.
const LENGTH: usize = 2;

/// Magic and version of the file.
const MAGIC: &[u8] = b"nolapse-seen-2 ";
/// Length of the first line: magic, 64 digits, line feed.
const HEAD: usize = MAGIC.len() + 64 + 1;
/// What stands for a date or a text that is not there.
const NO_DATE: i64 = i64::MIN;
const NO_TEXT: u8 = u8::MAX;

/// Marks as bytes. What is added later stands for what was added before of the same lineage.
#[derive(Default)]
pub struct Marks {
    bytes: Vec<u8>,
    /// Where each entry begins; sorted by id where the marks were read from a file.
    places: Vec<(MarkId, u32)>,
}

impl Marks {
    /// Those of a file; none where anything is wrong with it.
    pub fn decode(content: Content) -> Self {
        let bytes = content.into_bytes();
        checked(&bytes).and_then(places).map_or_else(Self::default, |places| Self { bytes, places })
    }

    /// The mark of a lineage, of those that were read from a file.
    pub fn find(&self, id: MarkId) -> Option<Mark> {
        let place = self.places.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        mark(entry_at(&self.bytes, self.places.get(place)?.1)?)
    }

    /// Adds one. Without its memo where that has a text longer than this file takes.
    pub fn add(&mut self, id: MarkId, mark: &Mark) {
        let start = self.bytes.len();
        let Some(place) = u32::try_from(start).ok().filter(|_| start < SEEN_MAX) else { return };
        self.bytes.extend_from_slice(&[0; LENGTH]);
        put_number(&mut self.bytes, id.0);
        put_number(&mut self.bytes, mark.number);
        put_date(&mut self.bytes, Some(mark.taken));
        self.bytes.extend_from_slice(&mark.print);
        let short = self.bytes.len();
        if let Some(judged) = &mark.judged
            && (put_judged(&mut self.bytes, judged).is_none() || self.bytes.len() - start > ENTRY_MAX)
        {
            self.bytes.truncate(short);
        }
        let length = u16::try_from(self.bytes.len() - start - LENGTH).unwrap_or(0);
        self.bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
        self.places.push((id, place));
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A file of these and of those of `newer`, which go first, as far as they are `kept`.
    pub fn encode(&self, newer: &Self, kept: impl Fn(&Mark) -> bool) -> Content {
        let mut all: Vec<_> = [self, newer]
            .into_iter()
            .flat_map(|marks| marks.places.iter().map(|(id, at)| (*id, entry_at(&marks.bytes, *at))))
            .collect();
        // Stable, and what was added last of a lineage comes first.
        all.reverse();
        all.sort_by_key(|(id, _)| *id);
        all.dedup_by_key(|(id, _)| *id);
        let mut file = Vec::with_capacity(HEAD + self.bytes.len() + newer.bytes.len());
        file.resize(HEAD, 0);
        for entry in all.into_iter().filter_map(|(_, entry)| entry) {
            let length = u16::try_from(entry.len()).unwrap_or(0);
            if file.len() + LENGTH + entry.len() > SEEN_MAX || !mark(entry).is_some_and(|mark| kept(&mark)) {
                continue;
            }
            file.extend_from_slice(&length.to_le_bytes());
            file.extend_from_slice(entry);
        }
        let sum = sha256(&file[HEAD..]).to_string();
        file[..HEAD].copy_from_slice(&[MAGIC, sum.as_bytes(), b"\n"].concat());
        Content::new(file)
    }
}

fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    let sum = head.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    (sha256(body).to_string().as_bytes() == sum).then_some(bytes)
}

/// Where the entries of a whole file begin; `None` where they are not in the order of their ids.
fn places(file: &[u8]) -> Option<Vec<(MarkId, u32)>> {
    let mut places: Vec<(MarkId, u32)> = Vec::new();
    let mut at = HEAD;
    while at < file.len() {
        let start = u32::try_from(at).ok()?;
        let entry = entry_at(file, start)?;
        let id = MarkId(Reader(entry).number()?);
        if places.last().is_some_and(|(last, _)| *last >= id) {
            return None;
        }
        places.push((id, start));
        at += LENGTH + entry.len();
    }
    Some(places)
}

fn entry_at(bytes: &[u8], at: u32) -> Option<&[u8]> {
    let rest = bytes.get(at as usize..)?;
    let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::from(u16::from_le_bytes(*length)))
}

fn mark(entry: &[u8]) -> Option<Mark> {
    let mut from = Reader(entry);
    let _id = from.number()?;
    let (number, taken, print) = (from.number()?, from.date()?, *from.array()?);
    let judged = if from.0.is_empty() { None } else { Some(judged(&mut from)?) };
    Some(Mark { number, taken, print, judged })
}

fn judged(from: &mut Reader<'_>) -> Option<Judged> {
    let (print, at, until) = (*from.array()?, from.date()?, from.date()?);
    let (generation, issuer) = (from.number()?, from.byte()?);
    let leaf = Brief {
        fingerprint: Fingerprint(*from.array()?),
        not_before: from.date()?,
        not_after: from.date()?,
        serial: from.text()?,
        issuer: from.text()?,
    };
    let renews_at = from.date_if_any().ok()?;
    let mut looks = Vec::with_capacity(from.byte()?.into());
    for _ in 0..looks.capacity() {
        looks.push(Look { at: from.date()?, next_at: from.date()?, words: from.text_if_any().ok()? });
    }
    let told_at = (0..from.byte()?).map(|_| from.date_if_any()).collect::<Result<_, _>>().ok()?;
    let memo = Memo { until, generation, issuer, leaf, renews_at, looks, told_at };
    from.0.is_empty().then_some(Judged { print, at, memo })
}

fn put_judged(to: &mut Vec<u8>, judged: &Judged) -> Option<()> {
    let Judged { print, at, memo } = judged;
    to.extend_from_slice(print);
    put_date(to, Some(*at));
    put_date(to, Some(memo.until));
    put_number(to, memo.generation);
    to.push(memo.issuer);
    to.extend_from_slice(&memo.leaf.fingerprint.0);
    put_date(to, Some(memo.leaf.not_before));
    put_date(to, Some(memo.leaf.not_after));
    put_text(to, Some(&memo.leaf.serial))?;
    put_text(to, Some(&memo.leaf.issuer))?;
    put_date(to, memo.renews_at);
    to.push(u8::try_from(memo.looks.len()).ok()?);
    for look in &memo.looks {
        put_date(to, Some(look.at));
        put_date(to, Some(look.next_at));
        put_text(to, look.words.as_deref())?;
    }
    to.push(u8::try_from(memo.told_at.len()).ok()?);
    for at in &memo.told_at {
        put_date(to, *at);
    }
    Some(())
}

fn put_number(to: &mut Vec<u8>, number: u64) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_date(to: &mut Vec<u8>, at: Option<Timestamp>) {
    to.extend_from_slice(&at.map_or(NO_DATE, Timestamp::millis).to_le_bytes());
}

/// `None` for a text that is too long.
fn put_text(to: &mut Vec<u8>, text: Option<&str>) -> Option<()> {
    let Some(text) = text else {
        to.push(NO_TEXT);
        return Some(());
    };
    let length = u8::try_from(text.len()).ok().filter(|length| *length != NO_TEXT)?;
    to.push(length);
    to.extend_from_slice(text.as_bytes());
    Some(())
}

/// Takes values off the front; `None` where there are not enough bytes, or other ones.
struct Reader<'a>(&'a [u8]);

/// The bytes are not what they were to be.
struct Short;

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(value)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn date(&mut self) -> Option<Timestamp> {
        self.date_if_any().ok()?
    }

    fn date_if_any(&mut self) -> Result<Option<Timestamp>, Short> {
        let millis = i64::from_le_bytes(*self.array().ok_or(Short)?);
        Ok((millis != NO_DATE).then_some(Timestamp::from_millis(millis)))
    }

    fn text(&mut self) -> Option<String> {
        self.text_if_any().ok()?
    }

    fn text_if_any(&mut self) -> Result<Option<String>, Short> {
        let length = self.byte().ok_or(Short)?;
        if length == NO_TEXT {
            return Ok(None);
        }
        let (text, rest) = self.0.split_at_checked(length.into()).ok_or(Short)?;
        self.0 = rest;
        std::str::from_utf8(text).map(|text| Some(text.to_owned())).map_err(|_| Short)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(number: u64) -> MarkId {
        MarkId::of(&LineageId::parse(&format!("m{number}.example")).unwrap())
    }

    fn marked(number: u64) -> Mark {
        let at = Timestamp::from_secs(1_800_000_000 + i64::try_from(number).unwrap());
        Mark { number: number + 1, taken: at, print: [u8::try_from(number % 256).unwrap(); 16], judged: None }
    }

    /// With one more endpoint and hook than the one before.
    fn held(number: u64) -> Mark {
        let mark = marked(number);
        let at = mark.taken;
        let memo = Memo {
            until: at,
            generation: mark.number,
            issuer: 3,
            leaf: Brief {
                serial: "05be02".into(),
                fingerprint: Fingerprint([7; 32]),
                not_before: at,
                not_after: at,
                issuer: "E7 \u{1f512}".into(),
            },
            renews_at: (number > 1).then_some(at),
            looks: (0..number)
                .map(|look| Look { at, next_at: at, words: (look > 0).then(|| "unknown issuer".into()) })
                .collect(),
            told_at: (0..number).map(|hook| (hook > 0).then_some(at)).collect(),
        };
        Mark { judged: Some(Judged { print: [9; 16], at, memo }), ..mark }
    }

    fn file(marks: impl IntoIterator<Item = (u64, Mark)>) -> Content {
        let mut added = Marks::default();
        for (number, mark) in marks {
            added.add(id(number), &mark);
        }
        Marks::default().encode(&added, |_| true)
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        for count in [0, 1, 2, 300] {
            let mark = |number| if number % 3 == 0 { marked(number) } else { held(number.min(4)) };
            let marks = Marks::decode(file((0..count).map(|number| (number, mark(number)))));
            for number in 0..count {
                assert_eq!(marks.find(id(number)), Some(mark(number)), "{number} of {count}");
            }
            assert_eq!(marks.find(id(count)), None);
            assert_eq!(marks.is_empty(), count == 0);
        }
    }

    #[test]
    fn of_two_marks_of_a_lineage_the_later_counts_and_some_are_let_go() {
        let old = Marks::decode(file([(1, held(1)), (2, marked(2)), (3, marked(3))]));
        let mut new = Marks::default();
        new.add(id(2), &marked(7));
        new.add(id(2), &held(2));
        new.add(id(9), &marked(9));
        let both = Marks::decode(old.encode(&new, |mark| mark.number != 4));
        let found = [1, 2, 3, 9].map(|number| both.find(id(number)));
        assert_eq!(found, [Some(held(1)), Some(held(2)), None, Some(marked(9))]);
    }

    #[test]
    fn f14_a_damaged_file_is_an_empty_one() {
        let whole = file([(1, held(1)), (2, marked(2)), (3, held(3))]).bytes().to_vec();
        assert!(!Marks::decode(Content::new(whole.clone())).is_empty());
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] ^= 1;
            assert!(Marks::decode(Content::new(file)).is_empty(), "byte {at} flipped");
            assert!(Marks::decode(Content::new(whole[..at].to_vec())).is_empty(), "cut to {at}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_costs_the_memo_and_nothing_else() {
        for (length, kept) in [(254, true), (255, false), (100_000, false)] {
            let mut mark = held(2);
            mark.judged.as_mut().unwrap().memo.leaf.issuer = "x".repeat(length);
            let found = Marks::decode(file([(1, mark.clone()), (2, held(1))]));
            let expected = if kept { mark } else { Mark { judged: None, ..mark } };
            assert_eq!(found.find(id(1)), Some(expected), "{length} bytes");
            assert_eq!(found.find(id(2)), Some(held(1)), "after {length} bytes");
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
        fn no_bytes_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let sum = sha256(&body).to_string();
            let sealed = [MAGIC, sum.as_bytes(), b"\n", &body].concat();
            for bytes in [body, sealed] {
                let marks = Marks::decode(Content::new(bytes));
                for place in &marks.places {
                    marks.find(place.0);
                }
            }
        }
    }
}
