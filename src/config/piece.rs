//! Reading a text certificate by certificate. A tree of ten thousand tables takes some hundred
//! times the memory of one, and is needed for one certificate after the other only.
//!
//! A text is cut at lines that open `[certificate.NAME]`, and each piece is read as a text of its
//! own. That is the same configuration only while nothing crosses a cut: each piece is whole TOML,
//! and names one certificate that no other part of the file names. Where that does not hold, the
//! caller reads the file in one piece, and what is wrong with it is told from there.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A text and where it was cut.
pub(super) struct Cut<'s> {
    /// What belongs to no piece, each octet where it stood.
    pub rest: Cow<'s, str>,
    /// In the order of the text.
    pub pieces: Vec<Range<u32>>,
    /// How many marks stand in the rest.
    marks: usize,
}

impl<'s> Cut<'s> {
    /// The text in one piece.
    pub fn none(text: &'s str) -> Self {
        Self { rest: Cow::Borrowed(text), pieces: Vec::new(), marks: 0 }
    }

    pub fn new(text: &'s str) -> Self {
        // In a text of several lines any line may look like a header.
        if text.contains("\"\"\"") || text.contains("'''") || u32::try_from(text.len()).is_err() {
            return Self::none(text);
        }
        let mut pieces: Vec<Range<u32>> = Vec::new();
        // Of the piece that is open, and the name of its certificate as written.
        let mut open: Option<&str> = None;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let end = at + line.len();
            // Lengths were compared above.
            let [from, upto] = [at, end].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
            at = end;
            let header = line.trim_start_matches([' ', '\t']);
            if header.starts_with('[') {
                let of = header_of(header);
                let below = open.is_some_and(|name| of == Some((name, false)));
                if !below {
                    open = match of {
                        Some((name, true)) => Some(name),
                        _ => None,
                    };
                    if open.is_some() {
                        pieces.push(from..upto);
                    }
                    continue;
                }
            }
            if let (Some(_), Some(piece)) = (open, pieces.last_mut()) {
                piece.end = upto;
            }
        }
        let (rest, marks) = without(text, &pieces);
        Self { rest, pieces, marks }
    }
}

/// The tree of one piece; `None` where it is not exactly one certificate.
pub(super) fn read(text: &str) -> Option<DeTable<'_>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let tree = tree.into_inner();
    let [(_, value)] = <[_; 1]>::try_from(tree.iter().collect::<Vec<_>>()).ok()?;
    let DeValue::Table(named) = value.get_ref() else { return None };
    (errors.is_empty() && named.len() == 1).then_some(tree)
}

impl Cut<'_> {
    /// Takes the marks of the cuts out of the tree of the rest; `false` where somebody else uses
    /// them too, or the rest names certificates as well, as `[certificate]` does.
    pub fn tidy(&self, rest: &mut DeTable<'_>) -> bool {
        if self.marks > 0 {
            let marks = rest.remove(MARK).map(toml::Spanned::into_inner);
            if !matches!(marks, Some(DeValue::Array(marks)) if marks.len() == self.marks) {
                return false;
            }
        }
        !rest.contains_key("certificate")
    }
}

/// A table that stands in the rest where pieces were. Only between whole lines of TOML it is one:
/// in the middle of a list it is an error, as a certificate's header would be.
const MARK: &str = "-";

/// The certificate's name as written, and whether the line opens its own table (and no table
/// below it).
fn header_of(line: &str) -> Option<(&str, bool)> {
    let single = line.strip_prefix("[certificate.");
    let inside = single.or_else(|| line.strip_prefix("[[certificate."))?;
    let length = match inside.strip_prefix('"') {
        Some(quoted) => {
            let length = quoted.bytes().position(|octet| matches!(octet, b'"' | b'\\'))?;
            if !quoted[length..].starts_with('"') {
                return None;
            }
            length + 2
        }
        None => inside
            .bytes()
            .position(|octet| !octet.is_ascii_alphanumeric() && octet != b'-' && octet != b'_')?,
    };
    let (name, after) = inside.split_at(length);
    let own = single.is_some() && after.starts_with(']');
    (own || after.starts_with('.')).then_some((name, own))
}

/// The text with marks and blanks in place of the pieces, and how many marks.
fn without<'s>(text: &'s str, pieces: &[Range<u32>]) -> (Cow<'s, str>, usize) {
    let [Some(first), Some(last)] = [pieces.first(), pieces.last()] else { return (Cow::Borrowed(text), 0) };
    let covered: u32 = pieces.iter().map(|piece| piece.end - piece.start).sum();
    if last.end as usize == text.len() && covered == last.end - first.start {
        return (Cow::Borrowed(&text[..first.start as usize]), 0);
    }
    let mut rest = String::with_capacity(text.len());
    let mut marks = 0;
    for piece in pieces {
        let (start, end) = (piece.start as usize, piece.end as usize);
        // One mark for pieces that follow each other.
        if start > rest.len() || start == 0 {
            rest.push_str(&text[rest.len()..start]);
            rest.extend(["[[", MARK, "]]"]);
            marks += 1;
        }
        // A header alone is longer than a mark.
        rest.extend(std::iter::repeat_n(' ', (end - rest.len()).saturating_sub(1)));
        rest.push('\n');
    }
    rest.push_str(&text[rest.len()..]);
    (Cow::Owned(rest), marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        Cut::new(text).pieces.iter().map(|piece| &text[piece.start as usize..piece.end as usize]).collect()
    }

    #[test]
    fn a_certificate_is_a_piece_up_to_the_next_table() {
        let text = "[defaults]\nkey = 1\n[certificate.\"a.b\"]\nx = 1\n\n [certificate.c] # c\n[[certificate.c.outputs]]\n[hook.h]\n[certificate.d]";
        let cut = Cut::new(text);
        assert_eq!(
            pieces(text),
            [
                "[certificate.\"a.b\"]\nx = 1\n\n",
                " [certificate.c] # c\n[[certificate.c.outputs]]\n",
                "[certificate.d]",
            ]
        );
        assert_eq!(cut.rest.len(), text.len());
        let rest: Vec<_> = cut.rest.split_whitespace().collect();
        assert_eq!(rest, ["[defaults]", "key", "=", "1", "[[-]]", "[hook.h]", "[[-]]"]);
        assert_eq!(cut.rest.find("[hook.h]"), text.find("[hook.h]"));
    }

    #[test]
    fn what_could_cross_a_cut_is_no_piece() {
        for (why, text) in [
            ("a list of names in place of a table", "[certificate]\na = ['a']"),
            ("dots that were not quoted", "[certificate.shop.example.com]\n"),
            ("an escape in the name", "[certificate.\"a\\u002eb\"]\n"),
            ("single quotes", "[certificate.'a.b']\n"),
            ("a table below one that stands elsewhere", "[[certificate.a.outputs]]\n"),
            ("a text of several lines", "x = \"\"\"\n[certificate.a]\n\"\"\""),
            ("spaces in the header", "[ certificate . a ]\n"),
        ] {
            assert_eq!(pieces(text), Vec::<&str>::new(), "{why}");
            assert_eq!(Cut::new(text).rest, text, "{why}");
        }
    }

    #[test]
    fn a_piece_that_is_not_whole_is_not_taken() {
        for (fine, text) in [
            (true, "[certificate.\"a\"]\nnames = ['a']"),
            (true, "[certificate.a]\n[[certificate.a.outputs]]\npart = 'key'"),
            (false, "[certificate.a]\nnames = ["),
            (false, "[certificate.a]\nkey = 1\nkey = 2"),
            (false, "[certificate.a"),
            (false, "\u{0}[certificate.a]"),
            (false, ""),
        ] {
            assert_eq!(read(text).is_some(), fine, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn pieces_and_rest_are_the_whole_text(text in "([ \\[\\]\"'ac.\n]|\\[certificate\\.|\n\\[certificate\\.\"a\"\\]\n){0,30}") {
            let cut = Cut::new(&text);
            let mut last = 0;
            for piece in &cut.pieces {
                proptest::prop_assert!(last <= piece.start && piece.start < piece.end);
                last = piece.end;
            }
            proptest::prop_assert!(last as usize <= text.len());
            let outside: String = text
                .char_indices()
                .filter(|(at, _)| !cut.pieces.iter().any(|p| (p.start as usize..p.end as usize).contains(at)))
                .map(|(_, c)| c)
                .filter(|c| !c.is_whitespace())
                .collect();
            let rest: String = cut.rest.replace("[[-]]", "").split_whitespace().collect();
            proptest::prop_assert_eq!(rest, outside);
        }
    }
}
