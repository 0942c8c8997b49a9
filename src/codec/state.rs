//! Records as JSON with a schema number: `{"schema":1,"kind":"lineage","record":{…}}`.
//!
//! The rules, which `docs/decisions/0002-records-are-json.md` gives reasons for:
//!
//! - A release that adds, removes or changes the meaning of any field raises [`SCHEMA`]. It reads
//!   all older schemas (a field that was not there yet has a default) and writes its own.
//! - A higher number than ours is [`StateError::Newer`]: the caller touches nothing.
//! - Within a schema an unknown field or word is [`StateError::Strange`], not something to pass over:
//!   this release never writes it, and since most fields have defaults, passing over it could
//!   silently undo a pause. So every struct of a record denies unknown fields, and the caller
//!   touches nothing: what a disk does to a file the store's checksum has told before.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::ack::Acks;
use crate::core::alert::Ledger;
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
    /// Whole and well formed, with a field or word that this release does not know.
    #[error("written by another release: {0}")]
    Strange(String),
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
    Alerts,
    Acks,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// What of an envelope of this schema says which record it holds.
#[derive(Deserialize)]
struct About {
    kind: Kind,
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

pub fn encode_ledger(ledger: &Ledger) -> Result<Content, StateError> {
    encode(Kind::Alerts, ledger)
}

pub fn decode_ledger(content: &Content) -> Result<Ledger, StateError> {
    decode(Kind::Alerts, content)
}

pub fn encode_acks(acks: &Acks) -> Result<Content, StateError> {
    encode(Kind::Acks, acks)
}

pub fn decode_acks(content: &Content) -> Result<Acks, StateError> {
    decode(Kind::Acks, content)
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
    if content.len() > RECORD_MAX {
        return Err(StateError::Damaged(format!("longer than {} KiB", RECORD_MAX / 1024)));
    }
    // Once for all: else it is asked of every text in it.
    let text = std::str::from_utf8(content.bytes())
        .map_err(|why| StateError::Damaged(plain(&why.to_string(), WORDS_MAX)))?;
    // The common case is read once; the number alone is asked for only when that went wrong.
    match serde_json::from_str(text) {
        Ok(Envelope { schema: SCHEMA, kind: found, record }) if found == kind => Ok(record),
        Ok(Envelope { schema: SCHEMA, .. }) => {
            Err(StateError::Damaged("it is another kind of record".to_owned()))
        }
        Ok(Envelope { schema, .. }) => Err(unknown_schema(schema)),
        Err(why) => Err(match serde_json::from_str::<Head>(text) {
            Ok(Head { schema }) if schema != SCHEMA => unknown_schema(schema),
            _ => {
                let words = why.to_string();
                let unknown =
                    ["unknown field", "unknown variant"].iter().any(|start| words.starts_with(start));
                // Well formed to its end, and what it should be about.
                let ours = serde_json::from_str::<About>(text).is_ok_and(|about| about.kind == kind);
                let words = plain(&words, WORDS_MAX);
                if unknown && ours { StateError::Strange(words) } else { StateError::Damaged(words) }
            }
        }),
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::name::LineageId;

    /// Written by the first release. Never edited: a new schema gets new files beside these.
    const LINEAGE_V1: &str = include_str!("../../tests/fixtures/records/v1-lineage.json");
    const INSTALLED_V1: &str = include_str!("../../tests/fixtures/records/v1-installed.json");
    const ALERTS_V1: &str = include_str!("../../tests/fixtures/records/v1-alerts.json");
    const ACKS_V1: &str = include_str!("../../tests/fixtures/records/v1-acks.json");

    fn content(text: impl AsRef<str>) -> Content {
        Content::new(text.as_ref().as_bytes().to_vec())
    }

    #[test]
    fn records_of_the_first_release_stay_readable() {
        let record = decode_record(&content(LINEAGE_V1)).unwrap();
        assert_eq!(record.current.as_ref().map(|issued| issued.number), Some(7));
        assert_eq!(record.current.as_ref().map(|issued| issued.digests.len()), Some(5));
        assert_eq!(record.attempt.as_ref().map(|attempt| attempt.receipts.len()), Some(1));
        assert_eq!(record.trouble.as_ref().map(|trouble| trouble.count), Some(3));
        assert!(record.pause.is_some() && record.reading.is_some() && record.point.is_some());
        assert_eq!((record.debts.len(), record.failed_validations.len()), (1, 1));
        let installed = decode_installed(&content(INSTALLED_V1)).unwrap();
        assert_eq!((installed.hooks.len(), installed.endpoints.len()), (1, 2));
        assert!(installed.refused.is_some() && installed.foreign.is_some());
    }

    #[test]
    fn what_people_were_told_by_the_first_release_stays_readable() {
        let ledger = decode_ledger(&content(ALERTS_V1)).unwrap();
        assert_eq!(ledger.standing().len(), 1);
        assert_eq!(ledger.channels.values().filter(|note| note.failures == 2).count(), 1);
        assert_eq!(decode_ledger(&encode_ledger(&ledger).unwrap()), Ok(ledger));
        let acks = decode_acks(&content(ACKS_V1)).unwrap();
        assert_eq!(acks.acks.len(), 1);
        assert_eq!(decode_acks(&encode_acks(&acks).unwrap()), Ok(acks));
        let newer = ACKS_V1.replacen('1', "2", 1);
        assert_eq!(decode_acks(&content(newer)), Err(StateError::Newer { found: 2, known: 1 }));
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        let record = decode_record(&content(LINEAGE_V1)).unwrap();
        assert_eq!(decode_record(&encode_record(&record).unwrap()).unwrap(), record);
        let installed = decode_installed(&content(INSTALLED_V1)).unwrap();
        assert_eq!(decode_installed(&encode_installed(&installed).unwrap()).unwrap(), installed);
    }

    #[test]
    fn a_new_record_reads_back() {
        let record = LineageRecord::new(LineageId::parse("a.example").unwrap());
        assert_eq!(decode_record(&encode_record(&record).unwrap()), Ok(record));
        assert_eq!(
            decode_installed(&encode_installed(&Installed::default()).unwrap()),
            Ok(Installed::default())
        );
    }

    #[test]
    fn a_newer_release_is_told_apart_from_damage() {
        let newer = StateError::Newer { found: 2, known: 1 };
        for (row, text) in [
            ("the same fields", LINEAGE_V1.replacen("\"schema\":1", "\"schema\":2", 1)),
            ("other fields", r#"{"schema":2,"lineage":{"anything":[1,2]}}"#.to_owned()),
            ("fields before the number", r#"{"record":{"new":1},"schema":2}"#.to_owned()),
        ] {
            assert_eq!(decode_record(&content(text)), Err(newer.clone()), "{row}");
        }
    }

    #[test]
    fn damage_is_an_error_not_a_default() {
        let v1 = LINEAGE_V1.trim_end();
        for (row, text) in [
            ("an empty file", String::new()),
            ("zeroes, as a lost write leaves them", "\0".repeat(512)),
            ("half a file", v1[..v1.len() / 2].to_owned()),
            ("two files in one", format!("{v1}{v1}")),
            ("another kind of record", INSTALLED_V1.to_owned()),
            ("no schema", v1.replacen("\"schema\":1,", "", 1)),
            ("a schema that never was", v1.replacen("\"schema\":1", "\"schema\":0", 1)),
            ("a name that is none", v1.replacen("shop.example.com", "../../../etc/xx", 1)),
            ("too deep", format!("{{\"schema\":1,\"kind\":\"lineage\",\"record\":{}", "[".repeat(10_000))),
            ("too long", " ".repeat(RECORD_MAX + 1)),
        ] {
            assert!(matches!(decode_record(&content(text)), Err(StateError::Damaged(_))), "{row}");
        }
    }

    #[test]
    fn a_field_of_another_release_is_not_passed_over_wherever_it_stands() {
        for (row, text) in [("lineage", LINEAGE_V1), ("installed", INSTALLED_V1)] {
            for (at, _) in text.match_indices('{') {
                // A failure's class without values of its own passes over what else stands there.
                let class =
                    text[at..].starts_with("{\"kind\":\"") && text[at..].find(',') > text[at..].find('}');
                if class {
                    continue;
                }
                let comma = if text[at..].starts_with("{}") { "" } else { "," };
                let more = format!("{}\"another\":null{comma}{}", &text[..=at], &text[at + 1..]);
                let decoded = match row {
                    "lineage" => decode_record(&content(more)).map(drop),
                    _ => decode_installed(&content(more)).map(drop),
                };
                // Where names are free it is the value that makes no sense.
                let free = ["\"hooks\":", "\"endpoints\":"].iter().any(|map| text[..at].ends_with(map));
                let refused = match decoded {
                    Err(StateError::Damaged(_)) => free,
                    Err(StateError::Strange(_)) => !free,
                    _ => false,
                };
                assert!(refused, "{row}: {decoded:?}: {}", &text[at..]);
            }
        }
        for (row, text) in [
            ("another name for a field with a default", LINEAGE_V1.replacen("\"pause\"", "\"paure\"", 1)),
            ("the same deeper down", LINEAGE_V1.replacen("\"digests\"", "\"dihests\"", 1)),
            ("another kind of key", LINEAGE_V1.replacen("\"key-kind\":\"", "\"key-kind\":\"x", 1)),
        ] {
            assert!(matches!(decode_record(&content(text)), Err(StateError::Strange(_))), "{row}");
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let installed = Installed { backups: ["x".repeat(RECORD_MAX)].into(), ..Installed::default() };
        assert!(matches!(encode_installed(&installed), Err(StateError::Unwritable(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = (decode_record(&Content::new(bytes.clone())), decode_installed(&Content::new(bytes)));
        }

        #[test]
        fn a_flipped_byte_is_an_error_or_another_value_of_one_field(at in 0usize..10_000, byte: u8) {
            let mut bytes = LINEAGE_V1.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(record) = decode_record(&Content::new(bytes)) {
                let again = encode_record(&record).unwrap();
                proptest::prop_assert_eq!(decode_record(&again), Ok(record));
            }
        }
    }
}
