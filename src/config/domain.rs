//! Names as people write them, Unicode too, into the ASCII names of certificates.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::core::name::{BadName, LineageId, SubjectName};

/// A DNS name (through UTS #46 to A-labels), wildcard or IP address.
pub(super) fn subject(text: &str) -> Result<SubjectName, BadName> {
    if text.len() > UNICODE_MAX {
        return Err(BadName("a DNS name has at most 253 characters"));
    }
    if text.contains('/') {
        return Err(BadName("a name stands alone here, without a scheme or a path"));
    }
    match text.strip_prefix("*.") {
        Some(base) => SubjectName::parse(&format!("*.{}", ascii(base)?)),
        None => SubjectName::parse(&ascii(text)?),
    }
}

/// The id of a certificate table: what is equal as a DNS name is equal here.
pub(super) fn lineage(table: &str) -> Result<LineageId, BadName> {
    if table.len() > UNICODE_MAX {
        return Err(BadName("a name has at most 200 characters"));
    }
    if table.contains(':') {
        return Err(BadName(
            "a colon does not belong in a file name; give a plain name and list the address under `names`",
        ));
    }
    match table.strip_prefix("*.") {
        Some(base) => LineageId::from_table_name(&format!("*.{}", ascii(base)?)),
        None => LineageId::from_table_name(&ascii(table)?),
    }
}

/// Longest name looked at, in octets; a Unicode name can be longer than its ASCII form.
const UNICODE_MAX: usize = 1024;

pub(super) fn ascii(text: &str) -> Result<Cow<'_, str>, BadName> {
    // Nearly every name; nothing in it that the rules below could object to.
    if text.bytes().all(|b| b.is_ascii_graphic()) && !text.as_bytes().windows(2).any(|pair| pair == b"--") {
        return Ok(text.into());
    }
    if text.contains('\0') {
        return Err(BadName("a NUL character does not belong in a name"));
    }
    if text.chars().any(char::is_control) {
        return Err(BadName("a control character does not belong in a name"));
    }
    // UTS #46 drops some of these without a word; a name that looks like another must not pass.
    if text.chars().any(steers) {
        return Err(BadName(
            "an invisible or direction-changing character is in the name (copied from a web page or a chat?); type it anew",
        ));
    }
    let has_a_label =
        || text.split('.').any(|label| label.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("xn--")));
    if text.is_ascii() && !has_a_label() {
        return Ok(text.into());
    }
    Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore).map_err(
        |_| {
            BadName(if text.is_ascii() {
                "a label starting with xn-- is not valid punycode"
            } else {
                "a character is not allowed in an internationalised domain name (UTS #46)"
            })
        },
    )
}

/// Marks that change direction or are never seen.
const fn steers(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_names_become_a_labels() {
        for (text, shown) in [
            ("Bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER。example", "xn--bcher-kva.example"),
            ("xn--BCHER-kva.example", "xn--bcher-kva.example"),
            ("*.bücher.example", "*.xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("אב.example", "xn--4dbc.example"),
            ("a--b.example", "a--b.example"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(subject(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn t04_names_that_only_look_right_are_refused() {
        let long = "a.".repeat(150);
        for text in [
            "../x",
            "-o",
            "a\0b",
            "a\u{202e}b.example",
            "a\u{200f}.example",
            "a\u{ad}b.example",
            "a\u{200d}b.example",
            "xn--a.example",
            "a b.example",
            "https://a.example",
            "a.example/",
            "a\u{ff0f}b.example",
            "a\nb",
            "",
            "a\u{200b}.example",
            "1.2.3.400",
            "a_b.example",
            &long,
            &"ü".repeat(600),
        ] {
            assert!(subject(text).is_err(), "{text:?} was taken");
        }
        for text in
            ["../x", "-o", "a\0b", "a\u{202e}b", "a/b", "", "..", "2001:db8::1", &long, &"x".repeat(300)]
        {
            assert!(lineage(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn equal_names_share_an_id() {
        assert_eq!(lineage("Bücher.example").unwrap(), lineage("XN--bcher-kva.example").unwrap());
        assert_eq!(lineage("*.Bücher.example").unwrap().as_str(), "_wildcard.xn--bcher-kva.example");
        assert_eq!(lineage("my_shop").unwrap().as_str(), "my_shop");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_is_ascii_and_stays_itself(text in "\\PC{0,60}|(xn--)?[a-zäöü.*-]{1,30}") {
            if let Ok(name) = subject(&text) {
                let shown = name.to_string();
                proptest::prop_assert!(shown.is_ascii());
                proptest::prop_assert_eq!(subject(&shown).unwrap(), name);
            }
            if let Ok(id) = lineage(&text) {
                proptest::prop_assert!(id.as_str().is_ascii());
            }
        }
    }
}
