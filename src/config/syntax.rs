//! Text to tree, and the errors of TOML itself in an operator's words.

use toml::de::{DeTable, Error};

use super::file::{File, Spot};
use super::problem::{BROKEN, Problems};
use super::raw::quoted;

/// A certificate's table or key that stands twice in one file. That is broken TOML, but it
/// can be tied to one certificate, so it need not stop the others (scenario F56).
pub(super) struct Twice<'a> {
    /// Of the certificate.
    pub name: String,
    pub spot: Spot<'a>,
    pub words: String,
}

/// Everything that could be read of `text`, which is that of the file or has the same places;
/// what could not is reported.
pub(super) fn parse<'a>(
    file: &'a File<'a>,
    text: &'a str,
    twice: &mut Vec<Twice<'a>>,
    problems: &mut Problems,
) -> DeTable<'a> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let tree = tree.into_inner();
    // A repeated key leaves a tree that is whole; after any other error it is a guess.
    let broken: Vec<&Error> = errors.iter().filter(|error| error.message() != DUPLICATE).collect();
    for error in errors.iter().filter(|error| error.message() == DUPLICATE) {
        match broken.is_empty().then(|| repeat(file, error)).flatten() {
            Some(repeat) => twice.push(repeat),
            None => report_repeat(file, error, problems),
        }
    }
    report_broken(file, broken, problems);
    tree
}

/// Most errors told of one file that is no TOML: most of the later ones follow from the first.
const BROKEN_SHOWN: usize = 5;

/// What the parser says of a key or table that stands twice.
const DUPLICATE: &str = "duplicate key";

fn report_repeat<'a>(file: &'a File<'a>, error: &Error, problems: &mut Problems) {
    let span = error.span().unwrap_or(0..0);
    let words = format!("{} stands twice", file.text.get(span.clone()).unwrap_or_default());
    problems.error_hint(&Spot::new(file, span, ""), "duplicate-key", words, "keep one of them");
}

fn report_broken<'a>(file: &'a File<'a>, mut broken: Vec<&Error>, problems: &mut Problems) {
    let start = |error: &Error| error.span().map_or(0, |span| span.start);
    broken.sort_by_key(|error| start(error));
    broken.dedup_by_key(|error| file.line_column(start(error)).0);
    if let Some(first) = broken.first() {
        problems.distrust(&Spot::new(file, header_before(file.text, start(first)), ""));
    }
    for error in broken.into_iter().take(BROKEN_SHOWN) {
        let span = error.span().unwrap_or(0..0);
        let line = line_at(file.text, span.start).trim();
        let spot = Spot::new(file, span, "");
        let words = format!("this is not TOML: {}", error.message());
        if let Some(name) = line.strip_prefix("[certificate.")
            && !name.contains(['"', '\''])
        {
            let name = name.split(']').next().unwrap_or_default();
            problems.error_hint(&spot, BROKEN, words, format!("quote the name: [certificate.\"{name}\"]"));
        } else {
            problems.error(&spot, BROKEN, words);
        }
    }
}

/// Where the table opens that `offset` stands in, as an empty range.
fn header_before(text: &str, offset: usize) -> std::ops::Range<usize> {
    let end = text.get(offset..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| offset + at);
    let upto = text.get(..end).unwrap_or_default();
    let at = upto.rfind("\n[").map_or(0, |at| at + 1);
    at..at
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
pub(super) fn unquote(key: &str) -> Option<String> {
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
