//! What must hold whatever a CA says.

use std::collections::BTreeMap;
use std::path::Path;

use nolapse::core::failure::{Class, Failure, Fault, plain};
use nolapse::core::time::{Span, Timestamp};

const PAGE: &str = include_str!("../../docs/guide/troubleshooting.md");

/// A failure has a stable code that is explained to operators, says whose fault it is, and holds no text that
/// could steer a terminal.
pub fn judge(failure: &Failure, now: Timestamp) {
    let code = &failure.code;
    let explained =
        PAGE.contains(&format!("`{code}`")) || ["order-", "challenge-"].iter().any(|of| code.starts_with(of));
    assert!(explained, "{code} is not explained: {failure}");
    assert!(code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{code:?}");
    assert!(!failure.words.trim().is_empty(), "{code} has no words");
    assert_eq!(plain(&failure.words, usize::MAX), failure.words, "{code} holds raw control characters");
    assert!(failure.words.chars().count() <= Failure::WORDS_MAX + 1, "{code} has too many words");
    // Ours are only those where the CA says so: it can't read what we send.
    let says_ours = ["malformed", "bad-csr", "account-key-refused"].contains(&code.as_str());
    assert!(says_ours || !matches!(failure.fault, Fault::Ours | Fault::Host), "whose fault is {failure}");
    assert!(says_ours || failure.class != Class::Broken, "{failure}");
    if let Class::Limited { until } = failure.class {
        let wait = until.since(now);
        assert!((Span::ZERO..=Span::days(7) + Span::MINUTE).contains(&wait), "{code} waits for {wait}");
    }
}

/// No octet that a terminal would obey; lines end with LF.
pub fn is_plain(text: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("no UTF-8: {error}"))?;
    for line in text.split('\n') {
        if let Some(odd) = line.chars().find(|c| *c != '\t' && plain(&c.to_string(), 1) != c.to_string()) {
            let shown: String = line.chars().take(200).flat_map(char::escape_default).collect();
            return Err(format!("{odd:?} in {shown}"));
        }
    }
    Ok(())
}

/// Every path below `root` that is not below one of `but`, with the length and text of small files.
pub fn tree(root: &Path, but: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if but.contains(&name.as_str()) {
                continue;
            }
            let kind = entry.file_type().unwrap();
            let text = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(name, text);
            if kind.is_dir() {
                open.push(path);
            }
        }
    }
    found
}
