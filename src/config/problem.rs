//! What is wrong with a configuration, at which place, and what to write instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::file::{Excerpt, Spot};
use crate::core::failure::plain;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Must be mended before the entry, or the whole configuration, can be used.
    Error,
    /// Usable, but probably not what was meant.
    Warning,
}

/// One finding. All texts are safe to print: control characters are escaped and secrets masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Stable and kebab-case: `unknown-key`, `duplicate-certificate`.
    pub code: &'static str,
    /// As in [`Source::name`](super::Source::name).
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// `certificate."shop.example.com".names`; empty where the text is no TOML.
    pub key: String,
    pub words: String,
    pub hint: Option<String>,
    pub excerpt: Excerpt,
    /// The certificate table that is set aside by it, as written. `None`: not tied to one.
    pub certificate: Option<String>,
}

impl Problem {
    /// Longest words and hint, in characters.
    pub const WORDS_MAX: usize = 600;

    /// Whether the configuration as a whole can't be used because of this.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Error && self.certificate.is_none()
    }

    /// `conf.d/shop.toml:4:1`.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{severity}[{}]: {}", self.code, self.words)?;
        writeln!(f, "{gutter}--> {}", self.place())?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.excerpt.line)?;
        write!(f, "{gutter} | {}{}", " ".repeat(self.excerpt.start), "^".repeat(self.excerpt.length.max(1)))?;
        if !self.key.is_empty() {
            write!(f, "\n{gutter} = key: {}", self.key)?;
        }
        if let Some(hint) = &self.hint {
            for (number, line) in hint.lines().enumerate() {
                let lead = if number == 0 { "= help: " } else { "        " };
                write!(f, "\n{gutter} {lead}{line}")?;
            }
        }
        Ok(())
    }
}

/// The code of a text that is no TOML.
pub(super) const BROKEN: &str = "broken-toml";

/// Collects problems, each once, up to a bound.
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    seen: BTreeSet<(usize, usize, &'static str)>,
    /// Files whose TOML is broken, and from where on nothing is judged.
    unsure: BTreeMap<usize, usize>,
    /// As written.
    owner: Option<String>,
    reason: Option<String>,
    fatal: bool,
    left_out: usize,
    noted: usize,
}

impl Problems {
    /// Most problems kept. A broken quote can turn every later line into one.
    pub const MOST: usize = 500;

    /// What stands in the file of `spot` from there on was only guessed at by the parser. Errors
    /// in it would be noise until the TOML is mended.
    pub fn distrust(&mut self, spot: &Spot<'_>) {
        self.unsure.insert(spot.file.index, spot.span.start);
    }

    /// Until [`Self::leave`], problems are tied to the certificate table `name`.
    pub fn enter(&mut self, name: &str) {
        self.owner = Some(name.to_owned());
        self.reason = None;
    }

    /// The first error since [`Self::enter`], for `status`.
    pub fn leave(&mut self) -> Option<String> {
        self.owner = None;
        self.reason.take()
    }

    /// Whether anything keeps the configuration as a whole from being used.
    pub fn fatal(&self) -> bool {
        self.fatal
    }

    /// How often anything was said so far, repeats included.
    pub fn noted(&self) -> usize {
        self.noted
    }

    pub fn error(&mut self, spot: &Spot<'_>, code: &'static str, words: impl AsRef<str>) {
        self.note(Severity::Error, spot, code, words.as_ref(), None);
    }

    pub fn error_hint(
        &mut self,
        spot: &Spot<'_>,
        code: &'static str,
        words: impl AsRef<str>,
        hint: impl AsRef<str>,
    ) {
        self.note(Severity::Error, spot, code, words.as_ref(), Some(hint.as_ref()));
    }

    pub fn warning(
        &mut self,
        spot: &Spot<'_>,
        code: &'static str,
        words: impl AsRef<str>,
        hint: impl AsRef<str>,
    ) {
        self.note(Severity::Warning, spot, code, words.as_ref(), Some(hint.as_ref()));
    }

    /// Sorted by file and place, and how many more there were.
    pub fn into_found(mut self) -> (Vec<Problem>, usize) {
        self.found.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.severity).cmp(&(&b.file, b.line, b.column, b.severity))
        });
        (self.found, self.left_out)
    }

    fn note(
        &mut self,
        severity: Severity,
        spot: &Spot<'_>,
        code: &'static str,
        words: &str,
        hint: Option<&str>,
    ) {
        self.noted += 1;
        let file = plain(spot.file.name, Problem::WORDS_MAX);
        let words = plain(words, Problem::WORDS_MAX);
        let (line, column) = spot.file.line_column(spot.span.start);
        if severity == Severity::Error && self.owner.is_some() && self.reason.is_none() {
            self.reason = Some(format!("{file}:{line}:{column}: {words} [{code}]"));
        }
        let guessed = self.unsure.get(&spot.file.index).is_some_and(|from| spot.span.start >= *from);
        if guessed && code != BROKEN {
            return;
        }
        // A value of [defaults] is read once for every certificate that inherits it.
        if !self.seen.insert((spot.file.index, spot.span.start, code)) {
            return;
        }
        let fatal = severity == Severity::Error && self.owner.is_none();
        // However many there are, the one that stops everything must be among those shown.
        if self.found.len() >= Self::MOST && (!fatal || self.fatal) {
            self.left_out += 1;
            return;
        }
        self.fatal |= fatal;
        let hint = hint.map(|hint| {
            hint.lines().map(|line| plain(line, Problem::WORDS_MAX)).collect::<Vec<_>>().join("\n")
        });
        self.found.push(Problem {
            severity,
            code,
            file,
            line,
            column,
            key: plain(&spot.path.to_string(), Problem::WORDS_MAX),
            words,
            hint,
            excerpt: spot.file.excerpt(&spot.span),
            certificate: self.owner.as_deref().map(|name| plain(name, Problem::WORDS_MAX)),
        });
    }
}
