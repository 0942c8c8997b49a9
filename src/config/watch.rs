//! `[watch.NAME]`: certificates that are looked at and never touched.

use super::domain;
use super::observe;
use super::problem::Problems;
use super::raw::Section;
use super::value;
use crate::core::name::{BadName, WatchId};
use crate::core::time::Span;
use crate::core::watch::{Thresholds, WatchSpec};

const EVERY: Span = Span::hours(6);
const EVERY_LEAST: Span = Span::MINUTE;
const EVERY_MOST: Span = Span::days(7);
const TIMEOUT: Span = Span::secs(10);
const TIMEOUT_LEAST: Span = Span::secs(1);
const TIMEOUT_MOST: Span = Span::minutes(5);
/// Longest lead that a threshold may have: as long as a certificate was ever sold for.
const BEFORE_MOST: Span = Span::days(5 * 366);
/// Most trees and names of one watch.
const LIST_MAX: usize = 100;
/// Most wildcards of one pattern; each may cost a directory.
const WILDCARDS_MAX: usize = 16;

/// Reads one watch; `None` when it can't be used, which was then reported.
pub(super) fn resolve(id: WatchId, section: &Section<'_>, problems: &mut Problems) -> Option<WatchSpec> {
    let files = list(section, "files", pattern, problems);
    let trees = list(section, "trees", value::path, problems);
    let names = list(section, "names", domain::subject, problems);
    let endpoints = match section.find("endpoints") {
        Some(_) => observe::endpoints(section, "endpoints", problems),
        None => Some(Vec::new()),
    };
    let key = section.parsed("key", "bad-path", value::file_path, problems);
    let every = section.span("every", EVERY_LEAST, EVERY_MOST, problems).unwrap_or(EVERY);
    let timeout = section.span("timeout", TIMEOUT_LEAST, TIMEOUT_MOST, problems).unwrap_or(TIMEOUT);
    let [ticket, page] =
        ["ticket-before", "page-before"].map(|key| section.span(key, Span::ZERO, BEFORE_MOST, problems));
    let (files, trees, names, endpoints) = (files?, trees?, names?, endpoints?);
    if files.is_empty() && trees.is_empty() && endpoints.is_empty() {
        problems.error_hint(
            &section.head,
            "nothing-watched",
            "a watch without `files`, `trees` or `endpoints` looks at nothing",
            "name what it shall look at; nolapse discover finds candidates",
        );
        return None;
    }
    if let (Some(_), Some(found)) = (&key, section.find("key"))
        && (files.len() != 1 || is_pattern(&files[0]))
    {
        problems.error_hint(
            &found.spot,
            "key-of-many",
            "`key` belongs to one certificate, and this watch may lead to several",
            "make a watch of its own, with one path in `files`",
        );
        return None;
    }
    if let (Some(sooner), Some(later)) = (page, ticket)
        && sooner > later
        && let Some(found) = section.find("page-before")
    {
        let words = "`page-before` is longer than `ticket-before`, so nobody would ever get a ticket";
        problems.error(&found.spot, "out-of-range", words);
        return None;
    }
    Some(WatchSpec {
        id,
        files,
        trees,
        endpoints,
        names,
        key,
        every,
        timeout,
        thresholds: Thresholds { ticket, page },
        labels: section.labels("labels", problems),
        origin: section.head.place(),
    })
}

/// Each element parsed, without repeats; `None` with all wrong ones reported.
fn list<T: PartialEq>(
    section: &Section<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, BadName>,
    problems: &mut Problems,
) -> Option<Vec<T>> {
    if section.find(key).is_none() {
        return Some(Vec::new());
    }
    let words = section.texts(key, problems)?;
    if key != "files" && words.len() > LIST_MAX {
        problems.error(&section.head, "too-many", format!("`{key}` has at most {LIST_MAX} entries"));
        return None;
    }
    let code = if key == "names" { "bad-name" } else { "bad-path" };
    let (mut found, mut whole) = (Vec::with_capacity(words.len()), true);
    for word in &words {
        match word.parse(code, &parse, problems) {
            Some(value) if found.contains(&value) => {}
            Some(value) => found.push(value),
            None => whole = false,
        }
    }
    whole.then_some(found)
}

fn pattern(text: &str) -> Result<String, BadName> {
    let path = value::file_path(text)?;
    if path.contains("**") {
        return Err(BadName("`**` is not known; name the directory in `trees`, which is walked"));
    }
    if path.matches(['*', '?', '[']).count() > WILDCARDS_MAX {
        return Err(BadName("a pattern has at most 16 wildcards"));
    }
    Ok(path)
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}
