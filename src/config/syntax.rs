//! Text to tree, and the errors of TOML itself in an operator's words.

use toml::de::{DeTable, Error};

use super::file::{File, Spot};
use super::problem::Problems;
use super::raw::quoted;

/// A certificate's table or key that stands twice in one file. That is broken TOML, but it
/// can be tied to one certificate, so it need not stop the others (scenario F56).
pub(super) struct Twice<'a> {
    /// Of the certificate.
    pub name: String,
    pub spot: Spot<'a>,
    pub words: String,
}

/// Everything that could be read; what could not is reported.
pub(super) fn parse<'a>(
    file: &'a File<'a>,
    twice: &mut Vec<Twice<'a>>,
    problems: &mut Problems,
) -> DeTable<'a> {
    let (tree, errors) = DeTable::parse_recoverable(file.text);
    let tree = tree.into_inner();
    let mut repeats: Vec<Twice<'a>> = Vec::new();
    let only_repeats = errors.iter().all(|error| error.message() == DUPLICATE);
    for error in &errors {
        match only_repeats.then(|| repeat(file, error)).flatten() {
            Some(repeat) => repeats.push(repeat),
            None => report(file, error, problems),
        }
    }
    twice.append(&mut repeats);
    tree
}

/// What the parser says of a key or table that stands twice.
const DUPLICATE: &str = "duplicate key";

fn report<'a>(file: &'a File<'a>, error: &Error, problems: &mut Problems) {
    let span = error.span().unwrap_or(0..0);
    let line = line_at(file.text, span.start).trim_start();
    let spot = Spot::new(file, span.clone(), "");
    let message = error.message();
    if line.starts_with("[certificate.") && !line.contains('"') {
        let name = line.trim_start_matches("[certificate.").split(']').next().unwrap_or_default();
        let words = format!("this is not TOML: {message}");
        problems.error_hint(&spot, "broken-toml", words, format!("quote the name: [certificate.\"{name}\"]"));
    } else if message == DUPLICATE {
        let word = file.text.get(span).unwrap_or_default();
        problems.error_hint(&spot, "duplicate-key", format!("{word} stands twice"), "keep one of them");
    } else {
        problems.error(&spot, "broken-toml", format!("this is not TOML: {message}"));
    }
}

/// Ties a repeated key to the certificate whose table it stands in, by reading the headers
/// above it. A header inside a multi-line text could mislead it: then another certificate of
/// the same file is set aside too, which is safe.
fn repeat<'a>(file: &'a File<'a>, error: &Error) -> Option<Twice<'a>> {
    let span = error.span()?;
    let key = file.text.get(span.clone())?;
    let start = file.text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = line_at(file.text, span.start).trim();
    let header = if line.starts_with('[') && !line.starts_with("[[") {
        line
    } else {
        file.text[..start].lines().rev().map(str::trim).find(|line| line.starts_with('['))?
    };
    let inside = header.trim_start_matches('[').split(']').next()?.trim();
    let (name, words) = if inside == "certificate" {
        (unquote(key)?, format!("certificate {key} stands twice"))
    } else {
        let name = unquote(inside.strip_prefix("certificate.")?)?;
        let words = if header == line {
            format!("[certificate.{}] stands twice", quoted(&name))
        } else {
            format!("`{key}` stands twice in this certificate")
        };
        (name, words)
    };
    let path = format!("certificate.{}", quoted(&name));
    Some(Twice { name, spot: Spot::new(file, span, path), words })
}

/// A key without its quotes; `None` where it is more than one key or holds escapes.
fn unquote(key: &str) -> Option<String> {
    let key = key.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = key.strip_prefix(quote) {
            let inner = inner.strip_suffix(quote)?;
            return (!inner.contains([quote, '\\'])).then(|| inner.to_owned());
        }
    }
    (!key.contains(['.', '"', '\''])).then(|| key.to_owned())
}

fn line_at(text: &str, offset: usize) -> &str {
    let offset = offset.min(text.len());
    let start = text.as_bytes()[..offset].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let end = text.as_bytes()[start..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| start + at);
    text.get(start..end).unwrap_or_default()
}
