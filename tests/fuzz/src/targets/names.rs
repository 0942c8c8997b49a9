//! Tokens, names and identifiers.

use nolapse::core::name::{HookId, LineageId, SubjectName, Token};

use super::safe;

pub const TOKENS_AND_NAMES_WORDS: &[&str] =
    &["*.", "xn--", "[::1]", "192.0.2.1", "..", "-", "_wildcard.", "a.example", "."];

/// What is taken reads back, and can stand in a path, a URL and a line of a log.
pub fn tokens_and_names(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let token = Token::parse(&text);
    if let Ok(token) = &token {
        assert_eq!(token.as_str(), text);
        assert!((1..=Token::MAX).contains(&text.len()));
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
    }
    let name = SubjectName::parse(&text);
    if let Ok(name) = &name {
        let shown = name.to_string();
        assert_eq!(SubjectName::parse(&shown).as_ref(), Ok(name), "a name written and read again");
        assert!(
            shown.len() <= 2 + SubjectName::DNS_MAX
                && !shown.starts_with('-')
                && !shown.contains("..")
                && !shown.contains('/')
        );
        safe(&shown, 300);
    }
    let id = LineageId::from_table_name(&text);
    if let Ok(id) = &id {
        assert_eq!(LineageId::parse(id.as_str()).as_ref(), Ok(id));
        assert!(
            !id.as_str().starts_with(['-', '.']) && !id.as_str().contains('/') && id.as_str().len() <= 210
        );
        safe(id.as_str(), 210);
    }
    let hook = HookId::parse(&text);
    for error in [token.as_ref().err(), name.as_ref().err(), id.as_ref().err(), hook.as_ref().err()]
        .into_iter()
        .flatten()
    {
        safe(&error.to_string(), 200);
    }
    format!("{:?} {:?} {:?} {}", token.err(), name.err(), id.err(), hook.is_ok())
}
