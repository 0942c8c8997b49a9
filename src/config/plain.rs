//! The commonest shape of a certificate's piece, read in one walk over its octets: a header, then
//! keys with texts, lists of texts, `true` or `false`. The parser of all TOML makes lists of tokens
//! and events first, which was most of what a pass over many certificates spent on its
//! configuration.
//!
//! What is read here is exactly what that parser reads, places included; a law below compares them.
//! Whatever is any different, or wrong, is left to it.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

/// The tree of a piece; `None` where it is not of this shape.
pub(super) fn read(text: &str) -> Option<DeTable<'_>> {
    let mut walk = Walk { text, at: 0 };
    walk.blanks();
    let open = walk.at;
    walk.take(b'[')?;
    let certificate = walk.word()?;
    if *certificate.get_ref() != "certificate" {
        return None;
    }
    walk.take(b'.')?;
    let name = if walk.next() == Some(b'"') { walk.text()? } else { walk.word()? };
    walk.take(b']')?;
    let header = open..walk.at;
    walk.line_end()?;
    let mut table = DeTable::new();
    while walk.next_line()? {
        let key = walk.word()?;
        walk.blanks();
        walk.take(b'=')?;
        walk.blanks();
        let value = walk.value()?;
        walk.line_end()?;
        if table.insert(key, value).is_some() {
            return None;
        }
    }
    let mut named = DeTable::new();
    named.insert(name, Spanned::new(header, DeValue::Table(table)));
    let mut tree = DeTable::new();
    let place = certificate.span();
    tree.insert(certificate, Spanned::new(place, DeValue::Table(named)));
    Some(tree)
}

/// A place in a text. Each step stops before what it does not take.
struct Walk<'s> {
    text: &'s str,
    at: usize,
}

impl<'s> Walk<'s> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, octet: u8) -> Option<()> {
        (self.next()? == octet).then(|| self.at += 1)
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|octet| !wanted(*octet)).unwrap_or(rest.len());
    }

    fn blanks(&mut self) {
        self.skip(|octet| matches!(octet, b' ' | b'\t'));
    }

    /// Blanks and a remark, up to and with the end of the line.
    fn line_end(&mut self) -> Option<()> {
        self.blanks();
        if self.next() == Some(b'#') {
            self.skip(is_text);
        }
        match self.next() {
            None => Some(()),
            Some(_) => self.take(b'\n'),
        }
    }

    /// Goes to the next line on which something stands; `false` at the end of the text.
    fn next_line(&mut self) -> Option<bool> {
        loop {
            self.blanks();
            match self.next() {
                None => return Some(false),
                Some(b'\n' | b'#') => self.line_end()?,
                Some(_) => return Some(true),
            }
        }
    }

    /// A key without quotes.
    fn word(&mut self) -> Option<Spanned<DeString<'s>>> {
        let from = self.at;
        self.skip(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
        let word = self.text.get(from..self.at).filter(|word| !word.is_empty())?;
        Some(Spanned::new(from..self.at, word.into()))
    }

    /// A text in double quotes without any escape, on one line.
    fn text(&mut self) -> Option<Spanned<DeString<'s>>> {
        let from = self.at;
        self.take(b'"')?;
        self.skip(|octet| is_text(octet) && !matches!(octet, b'"' | b'\\'));
        let inside = self.text.get(from + 1..self.at)?;
        self.take(b'"')?;
        // Three of them open a text of several lines.
        (self.next() != Some(b'"')).then(|| Spanned::new(from..self.at, inside.into()))
    }

    fn value(&mut self) -> Option<Spanned<DeValue<'s>>> {
        match self.next()? {
            b'"' => self.text().map(as_value),
            b'[' => self.list(),
            _ => {
                let word = self.word()?;
                let flag = match word.get_ref().as_ref() {
                    "true" => true,
                    "false" => false,
                    _ => return None,
                };
                Some(Spanned::new(word.span(), DeValue::Boolean(flag)))
            }
        }
    }

    /// A list of texts, on any number of lines, without remarks.
    fn list(&mut self) -> Option<Spanned<DeValue<'s>>> {
        let from = self.at;
        self.take(b'[')?;
        let mut list = DeArray::new();
        self.space();
        while self.next()? != b']' {
            list.push(as_value(self.text()?));
            self.space();
            if self.take(b',').is_none() && self.next()? != b']' {
                return None;
            }
            self.space();
        }
        self.take(b']')?;
        Some(Spanned::new(from..self.at, DeValue::Array(list)))
    }

    fn space(&mut self) {
        self.skip(|octet| matches!(octet, b' ' | b'\t' | b'\n'));
    }
}

/// What may stand in a text or a remark: no control character but the tab.
const fn is_text(octet: u8) -> bool {
    octet == b'\t' || (octet >= b' ' && octet != 0x7f)
}

fn as_value(text: Spanned<DeString<'_>>) -> Spanned<DeValue<'_>> {
    let span: Range<usize> = text.span();
    Spanned::new(span, DeValue::String(text.into_inner()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys, values and places, as one text to compare.
    fn drawn(tree: &DeTable<'_>) -> String {
        format!("{tree:?}")
    }

    fn by_the_parser(text: &str) -> Option<String> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        errors.is_empty().then(|| drawn(tree.get_ref()))
    }

    #[test]
    fn usual_certificates_are_read_here_and_odd_ones_are_not() {
        for (here, text) in [
            (true, "[certificate.\"a.example\"]\n"),
            (true, "[certificate.\"a.example\"]"),
            (true, "[certificate.shop]\nnames = [\"a.example\", \"b.example\"]\nservice = \"nginx\"\n\n"),
            (true, " \t[certificate.\"bücher.example\"] # ours\n# and a remark\n  names=[ ]  # none\n"),
            (true, "[certificate.a]\nnames = [\n  \"a.example\",\n  \"b.example\",\n]\nreuse-key = true\n"),
            (true, "[certificate.a]\nx = \"\"\ny = false\n\n"),
            (false, "[certificate.a]\nnames = [ # the shop\n\"a\"]"),
            (false, "[certificate.a]\nkey = 1"),
            (false, "[certificate.a]\nkey = 'x'"),
            (false, "[certificate.a]\nkey = \"\\u0041\""),
            (false, "[certificate.a]\nkey = \"\"\"x\"\"\""),
            (false, "[certificate.a]\nprofile = { name = \"x\" }"),
            (false, "[certificate.a]\n[[certificate.a.outputs]]"),
            (false, "[certificate.a]\r\n"),
            (false, "[certificate.a]\n\"key\" = \"x\""),
            (false, "[certificate.a]\nprofile.name = \"x\""),
            (false, "[certificate.a]\nkey = \"x\"\nkey = \"y\""),
            (false, "[certificate.a]\nkey = \"x\" y"),
            (false, "[certificate.a]\nnames = [\"x\" \"y\"]"),
            (false, "[certificate.a]\nnames = [,]"),
            (false, "[certificate.a]\nnames = [\"x\""),
            (false, "[certificate.a]\nkey ="),
            (false, "[certificate.a]\n# \u{7}"),
            (false, "[certificate.a"),
            (false, "[certificate]\n"),
            (false, "[[certificate.a]]\n"),
            (false, "[hook.a]\n"),
            (false, ""),
        ] {
            let read = read(text);
            assert_eq!(read.is_some(), here, "{text:?}");
            if let Some(tree) = read {
                assert_eq!(Some(drawn(&tree)), by_the_parser(text), "{text:?}");
            }
        }
    }

    fn values() -> impl Strategy<Value = String> {
        let text = "\"[a-zü.#\t\\]\\[ ]{0,6}\"";
        let list = prop::collection::vec((text, "[ \t\n]{0,2}"), 0..4).prop_map(|texts| {
            let inside: Vec<_> = texts.iter().map(|(text, space)| format!("{space}{text}")).collect();
            format!("[{}]", inside.join(","))
        });
        prop_oneof![text, list, "true|false", "[\\[\\]\",a\n '\\\\#=0-9]{0,9}"]
    }

    fn lines() -> impl Strategy<Value = String> {
        let key = ("[a-c]{1,2}", "[ \t]?=[ \t]?", values(), "[ \t]?(#[a-zä]{0,3})?")
            .prop_map(|(key, is, value, end)| [key, is, value, end].concat());
        prop_oneof![4 => key, 1 => "[ \t]{0,2}(#[ -~]{0,9})?", 1 => "[\\[\\]\"'a.=#\\\\\u{0}-\u{9}\u{7f} ]{0,9}"]
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_what_the_parser_reads(
            head in "[ \t]?\\[certificate\\.(\"[a-zü.\\]]{0,6}\"|[a-z0-9_-]{0,4})\\][ ]?(#[a-z]?)?",
            lines in prop::collection::vec(lines(), 0..5),
        ) {
            let text = format!("{head}\n{}", lines.join("\n"));
            if let Some(tree) = read(&text) {
                prop_assert_eq!(Some(drawn(&tree)), by_the_parser(&text));
            }
        }
    }
}
