//! What the program keeps of a certificate.

use nolapse::codec::state;
use nolapse::core::layout::Content;

use super::safe;

pub const RECORDS_WORDS: &[&str] = &[
    "\"schema\":2",
    "\"attempt\":",
    "\"trouble\":",
    "\"debts\":[",
    "\"kind\":\"installed\"",
    "\"current\":null",
    "true",
];

/// What is read can be written and reads back, and no text is two kinds of record.
pub fn records(input: &[u8]) -> String {
    let content = Content::new(input.to_vec());
    let lineage = state::decode_record(&content);
    if let Ok(record) = &lineage {
        let written = state::encode_record(record).unwrap();
        assert_eq!(state::decode_record(&written).as_ref(), Ok(record), "written and read again");
    }
    let installed = state::decode_installed(&content);
    if let Ok(note) = &installed {
        let written = state::encode_installed(note).unwrap();
        assert_eq!(state::decode_installed(&written).as_ref(), Ok(note), "written and read again");
    }
    assert!(lineage.is_err() || installed.is_err(), "a text is two kinds of record");
    for error in [lineage.as_ref().err(), installed.as_ref().err()].into_iter().flatten() {
        safe(&error.to_string(), 400);
    }
    // The column is where, not what.
    let kind = |error: Option<&state::StateError>| {
        error.map(|error| error.to_string().split(" at line ").next().map(str::to_owned))
    };
    format!("{:?} {:?}", kind(lineage.as_ref().err()), kind(installed.as_ref().err()))
}
