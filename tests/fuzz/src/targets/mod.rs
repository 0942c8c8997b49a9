//! The laws, each over any bytes.

mod authority;
mod certificates;
mod config;
mod dialogues;
mod dns;
mod files;
mod names;
mod records;
mod servers;
mod texts;
mod trees;

use std::fmt::Write as _;

use nolapse::core::failure::plain;
use nolapse::core::time::Timestamp;

/// A reader of foreign bytes, and what must hold of it whatever they are.
pub struct Target {
    /// Of its directory below `corpus/` too.
    pub name: &'static str,
    /// Texts that mean something to the reader.
    pub words: &'static [&'static str],
    /// A short word for the kind of outcome. It panics where the law is broken.
    pub law: fn(&[u8]) -> String,
}

pub static TARGETS: [Target; 15] = [
    Target { name: "config", words: config::CONFIG_WORDS, law: config::config },
    Target { name: "pem", words: certificates::PEM_WORDS, law: certificates::pem },
    Target { name: "chain", words: certificates::CHAIN_WORDS, law: certificates::chain },
    Target { name: "records", words: records::RECORDS_WORDS, law: records::records },
    Target {
        name: "problem-documents",
        words: authority::PROBLEM_DOCUMENTS_WORDS,
        law: authority::problem_documents,
    },
    Target { name: "directories", words: authority::DIRECTORIES_WORDS, law: authority::directories },
    Target { name: "retry-after", words: authority::RETRY_AFTER_WORDS, law: authority::retry_after },
    Target {
        name: "renewal-information",
        words: authority::RENEWAL_INFORMATION_WORDS,
        law: authority::renewal_information,
    },
    Target { name: "tokens-and-names", words: names::TOKENS_AND_NAMES_WORDS, law: names::tokens_and_names },
    Target { name: "dialogues", words: dialogues::DIALOGUES_WORDS, law: dialogues::dialogues },
    Target { name: "dns-answers", words: dns::ANSWERS_WORDS, law: dns::answers },
    Target { name: "dns-questions", words: dns::QUESTIONS_WORDS, law: dns::questions },
    Target { name: "server-configurations", words: servers::WORDS, law: servers::server_configurations },
    Target { name: "foreign-trees", words: trees::WORDS, law: trees::foreign_trees },
    Target { name: "foreign-texts", words: texts::WORDS, law: texts::foreign_texts },
];

impl Target {
    /// The words as libFuzzer reads them.
    pub fn dictionary(&self) -> String {
        let mut text = String::new();
        for word in self.words {
            text.push('"');
            for octet in word.bytes() {
                match octet {
                    b'"' | b'\\' => drop(write!(text, "\\{}", char::from(octet))),
                    b' '..=b'~' => text.push(char::from(octet)),
                    _ => drop(write!(text, "\\x{octet:02x}")),
                }
            }
            text.push_str("\"\n");
        }
        text
    }
}

const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Nothing in it steers a terminal, forges a log line, or is endless.
#[track_caller]
fn safe(text: &str, most: usize) {
    assert_eq!(plain(text, usize::MAX), text, "raw control characters");
    assert!(text.chars().count() <= most, "{} characters", text.chars().count());
}

/// Which of `count` things an input is about, by its first octet, in seeds a letter from `a`; and the rest.
fn choice(input: &[u8], count: usize) -> (usize, &[u8]) {
    input
        .split_first()
        .map_or((0, input), |(first, rest)| (usize::from(first.wrapping_sub(b'a')) % count, rest))
}
