//! What a test found: how bad, what was seen, what to do. Said by `check` and `doctor`, and beside a
//! CA's words when it refuses.

use serde::Serialize;

use super::failure::{Class, Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Could not be looked at from here, or is only worth knowing.
    Note,
    /// Works, but probably not as meant, or not for long; or what is seen from here may not be what a
    /// CA sees.
    Warning,
    /// Some certificate will not be renewed, installed or reloaded.
    Error,
}

impl Weight {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    #[serde(rename = "severity")]
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

    pub fn note(code: &str, words: impl Into<String>) -> Self {
        Self { weight: Weight::Note, ..Self::error(code, words) }
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

    /// As [`Self::error`] and the like would have made it, at most so heavy.
    pub fn at_most(mut self, weight: Weight) -> Self {
        self.weight = self.weight.min(weight);
        self
    }
}
