//! What is known of a text that stands for dns-persist-01, so that its end or its loss is told before a
//! renewal needs it.

use serde::{Deserialize, Serialize};

use super::name::{IssuerId, SubjectName};
use super::order::PersistTerms;
use super::record::LineageRecord;
use super::time::{Span, Timestamp};

/// Code of a text that no server of the zone shows, and that none has shown to this process: probably nobody
/// has set it yet. The CA is asked at the second try all the same.
pub const ABSENT: &str = "persist-absent";

/// One name's text, as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PersistNote {
    pub name: SubjectName,
    /// What the CA asked for last.
    pub terms: PersistTerms,
    /// Whose challenge told the terms; `None` where they were guessed from a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PersistSource>,
    /// When it ends, if it does.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why it proves nothing now.
    #[serde(default)]
    pub wrong: Option<PersistWrong>,
}

/// Where terms were learned, and for whom they hold: draft 01 wants its `accounturi` word for word, whatever the
/// directory would lead one to guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PersistSource {
    pub issuer: IssuerId,
    /// URL of the account that they were told to; `None` until the first look afterwards.
    #[serde(default)]
    pub account: Option<String>,
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

    /// Whether a challenge of this issuer told the terms to the account that is ours there now.
    pub fn is_learned(&self, issuer: &IssuerId, account: Option<&str>) -> bool {
        let Some(source) = self.source.as_ref().filter(|source| source.issuer == *issuer) else {
            return false;
        };
        source.account.is_none() || source.account.as_deref() == account
    }

    /// Learned terms hold for this account from now on. One that changed between the challenge and this is not
    /// noticed before the next renewal.
    pub fn bind(&mut self, account: Option<String>) {
        if let Some(source) = &mut self.source {
            source.account = account;
        }
    }

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
    /// Remembers what a challenge of the attempt's issuer asks for; what was seen of the text before still stands.
    pub fn note_persist_terms(&mut self, name: &SubjectName, terms: &PersistTerms) {
        let issuer = self.attempt.as_ref().map(|attempt| attempt.issuer.clone());
        let source = issuer.map(|issuer| PersistSource { issuer, account: None });
        if let Some(note) = self.persist.iter_mut().find(|note| note.name == *name) {
            (note.terms, note.source) = (terms.clone(), source);
        } else if self.persist.len() < PersistNote::MAX {
            let (name, terms) = (name.clone(), terms.clone());
            self.persist.push(PersistNote { name, terms, source, until: None, wrong: None });
        }
    }

    /// What a challenge of this issuer asked for when one of these was proved last, if that was for this account.
    pub fn persist_terms(
        &self,
        names: &[SubjectName],
        issuer: &IssuerId,
        account: Option<&str>,
    ) -> Option<PersistTerms> {
        let mut notes = self.persist.iter().filter(|note| names.contains(&note.name));
        notes.find(|note| note.is_learned(issuer, account)).map(|note| note.terms.clone())
    }
}
