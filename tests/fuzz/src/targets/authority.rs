//! What a CA answers.

use nolapse::ca::readers;
use nolapse::core::failure::{Class, Failure};
use nolapse::core::time::{Span, Timestamp};

use super::{NOON, safe};

pub const PROBLEM_DOCUMENTS_WORDS: &[&str] = &[
    "\"type\":",
    "\"detail\":",
    "urn:ietf:params:acme:error:",
    "rateLimited",
    "userActionRequired",
    "\"instance\":\"https://",
    "\"subproblems\":[{",
    "\"identifier\":{\"type\":\"dns\",\"value\":\"a.example\"}",
    "badNonce",
    "caa",
];

/// A failure with a code, words fit to print, and no longer a wait than a week.
pub fn problem_documents(input: &[u8]) -> String {
    // The first octet is the status, so that each meets each document.
    let (status, body) =
        input.split_first().map_or((400, input), |(first, rest)| (u16::from(*first) * 2 + 400, rest));
    let mut codes: Vec<_> =
        readers::refusals(status.min(999), body, Some(Span::HOUR), NOON).iter().map(safe_failure).collect();
    codes.dedup();
    codes.join(" ")
}

pub const DIRECTORIES_WORDS: &[&str] = &[
    "\"newOrder\":",
    "\"https://ca.example/x\"",
    "\"meta\":{",
    "\"profiles\":{",
    "\"termsOfService\":",
    "\"renewalInfo\":",
    "null",
];

/// Read or refused; what is shown of it is fit to print.
pub fn directories(input: &[u8]) -> String {
    match readers::directory(input, NOON) {
        Err(failure) => safe_failure(&failure),
        Ok(greeting) => {
            let terms = greeting.terms.unwrap_or_default();
            safe(&terms, 301);
            assert!(greeting.profiles.len() <= 100);
            greeting.profiles.iter().for_each(|name| safe(name, 301));
            format!("{} {} {}", terms.is_empty(), greeting.profiles.len().min(3), greeting.eab_required)
        }
    }
}

pub const RETRY_AFTER_WORDS: &[&str] = &[
    "GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "+",
    ".",
];

/// No wish but one between nothing and thirty days.
pub fn retry_after(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let wish = readers::retry_after(&text, NOON);
    if let Some(wish) = wish {
        assert!((Span::ZERO..=Span::days(30)).contains(&wish), "{wish}");
        // Seconds do not depend on the clock.
        if text.trim().bytes().all(|b| b.is_ascii_digit()) {
            assert_eq!(readers::retry_after(&text, Timestamp::MAX), Some(wish));
        }
    }
    match wish {
        None => "none".to_owned(),
        Some(wish) => format!("{} {}", wish == Span::ZERO, wish == Span::days(30)),
    }
}

pub const RENEWAL_INFORMATION_WORDS: &[&str] = &[
    "\"suggestedWindow\":",
    "\"start\":",
    "\"end\":",
    "\"explanationURL\":\"https://",
    "2026-12-01T00:00:00Z",
    "+23:59",
    ".999999999",
];

/// A window that begins before it ends, at times that read back.
pub fn renewal_information(input: &[u8]) -> String {
    match readers::renewal_window(input) {
        None => "none".to_owned(),
        Some((window, explanation)) => {
            assert!(window.start < window.end);
            assert!(
                (Timestamp::MIN..=Timestamp::MAX).contains(&window.start) && window.end <= Timestamp::MAX
            );
            safe(explanation.as_deref().unwrap_or_default(), 301);
            assert_eq!(window.start.to_string().parse(), Ok(window.start), "a time written and read again");
            format!("a window {}", explanation.is_some())
        }
    }
}

#[track_caller]
fn safe_failure(failure: &Failure) -> String {
    safe(&failure.words, Failure::WORDS_MAX + 1);
    assert!(!failure.words.is_empty());
    assert!(failure.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", failure.code);
    if let Class::Limited { until } = failure.class {
        assert!((Span::ZERO..=Span::days(7)).contains(&until.since(NOON)), "{until}");
    }
    failure.code.clone()
}
