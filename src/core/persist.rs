//! What is known of a text that stands for dns-persist-01, so that its end or its loss is told before a
//! renewal needs it.

use serde::{Deserialize, Serialize};

use super::name::SubjectName;
use super::order::PersistTerms;
use super::record::LineageRecord;
use super::time::{Span, Timestamp};

/// One name's text, as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PersistNote {
    pub name: SubjectName,
    /// What the CA asked for last.
    pub terms: PersistTerms,
    /// When it ends, if it does.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why it proves nothing now.
    #[serde(default)]
    pub wrong: Option<PersistWrong>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PersistWrong {
    /// Of the failure that a renewal would have.
    pub code: String,
    pub words: String,
    pub since: Timestamp,
}

/// What a person should know of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersistWoe {
    pub code: &'static str,
    pub words: String,
    pub since: Timestamp,
}

impl PersistNote {
    /// Texts remembered; a certificate has no more names.
    pub const MAX: usize = 100;
    /// What is wrong with it now, and since when it is worth a word; the code of the alert with it.
    pub fn woe(&self, at: Timestamp) -> Option<PersistWoe> {
        if let Some(PersistWrong { code, words, since }) = &self.wrong {
            let words = format!("{}: {words} [{code}]", self.name);
            return Some(PersistWoe { code: "persist-lost", words, since: *since });
        }
        let until = self.until.filter(|until| *until - Self::NOTICE <= at)?;
        let words = format!("the text that proves {} (dns-persist-01) ends {}", self.name, until.brief());
        Some(PersistWoe { code: "persist-ends", words, since: until - Self::NOTICE })
    }

    /// An end is spoken of when it is nearer than this: a text is set by hand.
    pub const NOTICE: Span = Span::days(30);
}

impl LineageRecord {
    /// Remembers what the CA asks for; what was seen of the text before still stands.
    pub fn note_persist_terms(&mut self, name: &SubjectName, terms: &PersistTerms) {
        if let Some(note) = self.persist.iter_mut().find(|note| note.name == *name) {
            note.terms = terms.clone();
        } else if self.persist.len() < PersistNote::MAX {
            let (name, terms) = (name.clone(), terms.clone());
            self.persist.push(PersistNote { name, terms, until: None, wrong: None });
        }
    }

    /// What the CA asked for when one of these was proved last.
    pub fn persist_terms(&self, names: &[SubjectName]) -> Option<PersistTerms> {
        self.persist.iter().find(|note| names.contains(&note.name)).map(|note| note.terms.clone())
    }
}
