//! Records as JSON with a schema number: `{"schema":1,"kind":"lineage","record":{…}}`.
//!
//! The rules, which `docs/decisions/0002-records-are-json.md` gives reasons for:
//!
//! - A release that adds, removes or changes the meaning of any field raises [`SCHEMA`]. It reads
//!   all older schemas (a field that was not there yet has a default) and writes its own.
//! - A higher number than ours is [`StateError::Newer`]: the caller touches nothing.
//! - Within a schema an unknown field is damage, not something to pass over: no release wrote it,
//!   and since most fields have defaults, passing over a `pause` with one letter flipped would
//!   silently undo the pause.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::failure::plain;
use crate::core::layout::Content;
use crate::core::record::{Installed, LineageRecord};

/// The schema of records that this release writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

/// Longest record read, in bytes. One with 100 names, 200 failed validations and debts for each
/// name is near 100 KiB.
pub const RECORD_MAX: usize = 1024 * 1024;

/// Longest explanation of damage, in characters.
const WORDS_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error(
        "written by a newer nolapse (schema {found}, this one knows {known}); upgrade, nothing was changed"
    )]
    Newer { found: u32, known: u32 },
    #[error("damaged: {0}")]
    Damaged(String),
    /// Refused when writing, as it could not be read again.
    #[error("cannot be written: {0}")]
    Unwritable(String),
}

/// What a record is about, so that two files put in each other's place are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Lineage,
    Installed,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    schema: u32,
    kind: Kind,
    record: T,
}

/// What of an envelope every schema has.
#[derive(Deserialize)]
struct Head {
    schema: u32,
}

pub fn encode_record(record: &LineageRecord) -> Result<Content, StateError> {
    encode(Kind::Lineage, record)
}

pub fn decode_record(content: &Content) -> Result<LineageRecord, StateError> {
    decode(Kind::Lineage, content)
}

pub fn encode_installed(installed: &Installed) -> Result<Content, StateError> {
    encode(Kind::Installed, installed)
}

pub fn decode_installed(content: &Content) -> Result<Installed, StateError> {
    decode(Kind::Installed, content)
}

fn encode<T: Serialize>(kind: Kind, record: &T) -> Result<Content, StateError> {
    let unwritable = |why: String| StateError::Unwritable(plain(&why, WORDS_MAX));
    let mut text = serde_json::to_vec(&Envelope { schema: SCHEMA, kind, record })
        .map_err(|error| unwritable(error.to_string()))?;
    text.push(b'\n');
    if text.len() > RECORD_MAX {
        return Err(unwritable(format!("it would be longer than {} KiB", RECORD_MAX / 1024)));
    }
    Ok(Content::new(text))
}

fn decode<T: DeserializeOwned>(kind: Kind, content: &Content) -> Result<T, StateError> {
    let text = content.bytes();
    if text.len() > RECORD_MAX {
        return Err(StateError::Damaged(format!("longer than {} KiB", RECORD_MAX / 1024)));
    }
    // The common case is read once; the number alone is asked for only when that went wrong.
    match envelope(text) {
        Ok(Envelope { schema: SCHEMA, kind: found, record }) if found == kind => Ok(record),
        Ok(Envelope { schema: SCHEMA, .. }) => {
            Err(StateError::Damaged("it is another kind of record".to_owned()))
        }
        Ok(Envelope { schema, .. }) => Err(unknown_schema(schema)),
        Err(why) => Err(match serde_json::from_slice::<Head>(text) {
            Ok(Head { schema }) if schema != SCHEMA => unknown_schema(schema),
            _ => StateError::Damaged(plain(&why, WORDS_MAX)),
        }),
    }
}

fn envelope<T: DeserializeOwned>(text: &[u8]) -> Result<Envelope<T>, String> {
    let mut unknown = None;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let envelope = serde_ignored::deserialize(&mut reader, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    })
    .and_then(|envelope| reader.end().map(|()| envelope))
    .map_err(|error| error.to_string())?;
    match unknown {
        Some(path) => Err(format!("a field {path} that no release has written")),
        None => Ok(envelope),
    }
}

fn unknown_schema(found: u32) -> StateError {
    if found > SCHEMA {
        StateError::Newer { found, known: SCHEMA }
    } else {
        StateError::Damaged(format!("schema {found} was never written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
}
