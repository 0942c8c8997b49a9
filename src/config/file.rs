//! One configuration text with its places: offset to line and column, and the line to show.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::raw::quoted;
use crate::core::failure::plain;
use crate::core::spec::Origin;

/// One text to read, and its name as the operator knows it: `nolapse.toml`, `conf.d/shop.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Longest text taken, in octets: 10,000 certificates need about 2 MiB.
    pub const TEXT_MAX: usize = 16 << 20;

    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// A line ready to print, with what to underline in characters of that line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    pub line: String,
    pub start: usize,
    pub length: usize,
}

/// A source with a coarse index of its lines.
pub(super) struct File<'s> {
    /// Its number among all sources; the built-in one comes last.
    pub index: usize,
    pub name: &'s str,
    pub text: &'s str,
    /// How many lines end before each [`BLOCK`] of the text.
    ended: Vec<u32>,
    /// The name, safe to print.
    shown: Arc<str>,
}

impl<'s> File<'s> {
    pub fn new(index: usize, name: &'s str, text: &'s str) -> Self {
        let mut lines = 0;
        let ended = text
            .as_bytes()
            .chunks(BLOCK)
            .map(|block| {
                let before = lines;
                lines += newlines(block);
                before
            })
            .collect();
        Self { index, name, text, ended, shown: plain(name, NAME_SHOWN).into() }
    }

    /// Line and column of an octet offset, both from 1; the column counts characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.line_of(offset);
        let start = self.line_start(offset);
        let before = self.slice(start, offset);
        // The mark at the start of a file is no character that an editor counts.
        let before = if line == 0 { before.trim_start_matches('\u{feff}') } else { before };
        (line + 1, before.chars().count() + 1)
    }

    /// `conf.d/shop.toml:4`.
    pub fn place(&self, offset: usize) -> Origin {
        let line = u32::try_from(self.line_of(offset) + 1).unwrap_or(u32::MAX);
        Origin { file: self.shown.clone(), line }
    }

    /// The line that holds the start of `span`, cut to a readable width around it.
    pub fn excerpt(&self, span: &Range<usize>) -> Excerpt {
        let start = self.line_start(span.start);
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let end = start + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let whole = self.slice(start, end).trim_end_matches('\r');
        let at = span.start.saturating_sub(start).min(whole.len());
        let marked = span.end.saturating_sub(start).clamp(at, whole.len());
        let masked = mask(whole);
        // Behind a mask nothing is where it was: the underline stays on what is shown.
        let shown_until = common_prefix(whole, &masked);
        let (at, marked) = (at.min(shown_until), marked.min(shown_until));
        let pieces =
            [slice(&masked, 0, at), slice(&masked, at, marked), slice(&masked, marked, masked.len())];
        let [before, inside, after] = pieces.map(|piece| plain(&piece.replace('\t', " "), usize::MAX));
        let before_width = before.chars().count();
        let cut = before_width.saturating_sub(BEFORE_SHOWN);
        let before: String = before.chars().skip(cut).collect();
        let before = if cut == 0 { before } else { format!("…{before}") };
        let line = plain(&format!("{before}{inside}{after}"), LINE_SHOWN);
        let start = before.chars().count();
        let length = inside.chars().count().min(line.chars().count().saturating_sub(start)).max(1);
        Excerpt { line, start, length }
    }

    /// The number of the line that holds `offset`, from 0.
    fn line_of(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        // An offset behind the last whole block counts from that block's end.
        let block = (offset / BLOCK).min(self.ended.len().saturating_sub(1));
        let before = self.ended.get(block).copied().unwrap_or_default();
        let inside = self.text.as_bytes().get(block * BLOCK..offset).unwrap_or_default();
        (before + newlines(inside)) as usize
    }

    fn line_start(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
    }

    fn slice(&self, start: usize, end: usize) -> &'s str {
        slice(self.text, start, end)
    }
}

/// A place in a file with the key path that leads there.
#[derive(Clone)]
pub(super) struct Spot<'a> {
    pub file: &'a File<'a>,
    /// Where the text begins that was parsed: spans of the parser count from there.
    pub base: usize,
    pub span: Range<usize>,
    pub path: KeyPath<'a>,
}

/// `certificate."shop.example.com".names`: put into words only where there is something to say of
/// it, as that is of hardly any of the keys that are read.
#[derive(Clone)]
pub(super) enum KeyPath<'a> {
    /// Empty where a text is no TOML.
    Whole(Cow<'a, str>),
    Below(Rc<Self>, Cow<'a, str>),
}

impl<'a> KeyPath<'a> {
    pub fn below(above: &Rc<Self>, key: impl Into<Cow<'a, str>>) -> Self {
        Self::Below(above.clone(), key.into())
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for KeyPath<'a> {
    fn from(text: T) -> Self {
        Self::Whole(text.into())
    }
}

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(text) => f.write_str(text),
            Self::Below(above, key) => write!(f, "{above}.{}", quoted(key)),
        }
    }
}

impl<'a> Spot<'a> {
    pub fn new(file: &'a File<'a>, span: Range<usize>, path: impl Into<KeyPath<'a>>) -> Self {
        Self { file, base: 0, span, path: path.into() }
    }

    /// The same key path at a span of the parser's.
    pub fn at(&self, span: &Range<usize>) -> Self {
        Self { span: shifted(self.base, span), ..self.clone() }
    }

    /// `conf.d/shop.toml:4`.
    pub fn place(&self) -> Origin {
        self.file.place(self.span.start)
    }
}

/// A span of the parser's in the whole file.
pub(super) fn shifted(base: usize, span: &Range<usize>) -> Range<usize> {
    span.start.saturating_add(base)..span.end.saturating_add(base)
}

/// Octets of text between two marks of the line index: counted through for each place, in far
/// less time than it takes to read what stands there.
const BLOCK: usize = 256;

/// Eight octets at a time: compiled for size, counting one by one was a tenth of reading a
/// configuration.
fn newlines(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<8>();
    let in_words: u32 = words.iter().map(|word| newlines_of(u64::from_ne_bytes(*word))).sum();
    rest.iter().fold(in_words, |sum, octet| sum + u32::from(*octet == b'\n'))
}

fn newlines_of(word: u64) -> u32 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const FEEDS: u64 = u64::from_ne_bytes([b'\n'; 8]);
    // An octet of zeros where a line feed was, and no other.
    let other = word ^ FEEDS;
    // Its highest bit is set afterwards in every octet that is not zero; no sum carries over.
    let marked = ((other & LOW) + LOW) | other | LOW;
    (!marked).count_ones()
}

/// Widest line shown, in characters.
const LINE_SHOWN: usize = 110;
/// Most characters shown before the underlined part.
const BEFORE_SHOWN: usize = 60;
/// Longest file name shown, in characters.
const NAME_SHOWN: usize = 200;

/// Hides what may be a secret written where only its source belongs (threat T12): the value of
/// a key that sounds like one, and a password inside a URL.
fn mask(line: &str) -> Cow<'_, str> {
    const SECRET: [&str; 8] =
        ["hmac", "password", "passwd", "secret", "token", "api-key", "apikey", "private-key"];
    const SOURCE: [&str; 3] = ["-file", "-env", "-credential"];
    let lower = line.to_ascii_lowercase();
    for (at, _) in lower.match_indices('=') {
        let key = lower[..at].trim_end().trim_end_matches(['"', '\'']);
        let key = &key[key.rfind([' ', '\t', ',', '{', '"', '\'', '.']).map_or(0, |at| at + 1)..];
        let secret = SECRET.iter().any(|word| key.contains(word));
        if secret && !SOURCE.iter().any(|suffix| key.ends_with(suffix)) {
            return Cow::Owned(format!("{} …", &line[..=at]));
        }
    }
    if let Some(scheme) = line.find("://")
        && let Some(end) = line[scheme + 3..].find('@')
        && line[scheme + 3..scheme + 3 + end].contains(':')
        && !line[scheme + 3..scheme + 3 + end].contains([' ', '"', '/'])
    {
        return Cow::Owned(format!("{}://…{}", &line[..scheme], &line[scheme + 3 + end..]));
    }
    Cow::Borrowed(line)
}

fn common_prefix(a: &str, b: &str) -> usize {
    a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y).map_or(a.len().min(b.len()), |((at, _), _)| at)
}

/// Part of a text by offsets that need not lie on characters.
fn slice(text: &str, start: usize, end: usize) -> &str {
    let down = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (down(start), down(end));
    text.get(start..end.max(start)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let file = File::new(0, "a.toml", "ä = 1\r\nbü = 2\n");
        assert_eq!(file.line_column(0), (1, 1));
        assert_eq!(file.line_column("ä = ".len()), (1, 5));
        assert_eq!(file.line_column("ä = 1\r\nbü".len()), (2, 3));
        assert_eq!(file.line_column(9999), (3, 1));
        assert_eq!(File::new(0, "a", "\u{feff}x = 1").line_column(3), (1, 1));
    }

    #[test]
    fn lines_are_counted_across_the_marks_of_the_index() {
        let text = format!("{}\n\n{}\nlast", "a".repeat(BLOCK - 1), "b".repeat(2 * BLOCK));
        let file = File::new(0, "a.toml", &text);
        for (offset, line) in
            [(0, 1), (BLOCK - 1, 1), (BLOCK, 2), (BLOCK + 1, 3), (text.len(), 4), (1 << 20, 4)]
        {
            assert_eq!(file.line_column(offset).0, line, "{offset}");
        }
        for length in 0..40 {
            for octet in [b'\n', 0x0b, 0x8a, 0x00, 0xff] {
                let text = vec![octet; length];
                let counted = if octet == b'\n' { length } else { 0 };
                assert_eq!(newlines(&text) as usize, counted, "{length} of {octet}");
            }
        }
        let whole = "x\n".repeat(BLOCK / 2);
        assert_eq!(File::new(0, "a", &whole).line_column(whole.len()), (BLOCK / 2 + 1, 1));
    }

    #[test]
    fn the_underline_lies_under_the_word() {
        let text = "key = \"grün\tblau\"";
        let excerpt = File::new(0, "a", text).excerpt(&(6..text.len()));
        assert_eq!((excerpt.start, excerpt.length), (6, 11));
        let long = format!("{}X{}", "a".repeat(400), "b".repeat(400));
        let excerpt = File::new(0, "a", &long).excerpt(&(400..401));
        assert_eq!(excerpt.line.chars().nth(excerpt.start), Some('X'));
        assert!(excerpt.line.chars().count() <= LINE_SHOWN + 1);
    }

    #[test]
    fn t12_secrets_are_masked_in_excerpts() {
        for line in [
            "hmac-key = \"s3cr3t\"",
            "eab = { kid = \"k\", hmac-key = \"s3cr3t\" }",
            "  \"api-token\"='s3cr3t'",
            "proxy = \"http://user:s3cr3t@proxy:3128\"",
            "eab.hmac_key=\"s3cr3t\"",
        ] {
            let excerpt = File::new(0, "a", line).excerpt(&(line.len() - 3..line.len()));
            assert!(!excerpt.line.contains("s3cr3t"), "{}", excerpt.line);
            assert!(excerpt.start + excerpt.length <= excerpt.line.chars().count() + 1);
        }
        let shown = File::new(0, "a", "hmac-key-file = \"/etc/eab\"").excerpt(&(0..3));
        assert_eq!(shown.line, "hmac-key-file = \"/etc/eab\"");
    }

    #[test]
    fn t09_excerpts_cannot_steer_a_terminal() {
        let excerpt = File::new(0, "a", "x = \"\u{1b}[31m\u{202e}\"").excerpt(&(4..9));
        assert_eq!(excerpt.line, "x = \"\\u{1b}[31m\\u{202e}\"");
    }

    proptest::proptest! {
        #[test]
        fn no_span_panics(text in "\\PC{0,80}|[a-z=\"{}:/@\n\r\t]{0,80}", start in 0usize..100, end in 0usize..100) {
            let file = File::new(0, "a", &text);
            let excerpt = file.excerpt(&(start..end));
            proptest::prop_assert!(excerpt.length >= 1);
            file.line_column(start);
        }
    }
}
