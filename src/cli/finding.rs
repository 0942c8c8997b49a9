//! What a test of this host found: how bad, what was seen, what to do.

use crate::cli::print;
use crate::core::failure::{Class, Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Works, but probably not as meant, or not for long.
    Warning,
    /// Some certificate will not be renewed, installed or reloaded.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    /// Stable and kebab-case.
    pub code: String,
    pub words: String,
    /// What was seen that says so; empty where `words` say it all.
    pub evidence: String,
    /// The next step for a person; empty where `words` name it.
    pub fix: String,
}

impl Finding {
    pub fn error(code: &str, words: impl Into<String>) -> Self {
        Self {
            weight: Weight::Error,
            code: code.to_owned(),
            words: words.into(),
            evidence: String::new(),
            fix: String::new(),
        }
    }

    pub fn warning(code: &str, words: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, ..Self::error(code, words) }
    }

    /// A failure of an adapter; one that may pass by itself is a warning.
    pub fn of(what: &str, failure: &Failure) -> Self {
        let weight = match failure.class {
            Class::Transient | Class::Limited { .. } => Weight::Warning,
            Class::Refused | Class::Broken => Weight::Error,
        };
        Self { weight, ..Self::error(&failure.code, format!("{what}: {}", failure.words)) }
    }

    pub fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }

    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    pub fn show(&self) {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        print::note(&format!("{weight}[{}]: {}", self.code, self.words));
        for (label, text) in [("seen", &self.evidence), ("do", &self.fix)] {
            if !text.is_empty() {
                print::note(&format!("  {label:4}  {text}"));
            }
        }
    }
}
