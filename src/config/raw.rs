//! The file as written: tables and values with their places, read key by key with layers of
//! defaults below. Not a serde mirror, because serde stops at the first problem and an operator
//! wants all of them at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{File, KeyPath, Spot, shifted};
use super::nearest::nearest;
use super::problem::Problems;
use super::table::{Key, Kind, SECRET_SOURCES, Table};
use super::value;
use crate::core::labels::Labels;
use crate::core::name::BadName;
use crate::core::spec::SecretSource;
use crate::core::time::Span;

/// A value as the parser gives it.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// One layer of a section: a table and the file it stands in.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub file: &'a File<'a>,
    /// Where the text begins that the table was parsed from.
    pub base: usize,
    pub table: &'a DeTable<'a>,
}

impl<'a> Layer<'a> {
    /// A place in this layer, by a span of the parser's.
    pub fn spot(&self, span: &Range<usize>, path: impl Into<KeyPath<'a>>) -> Spot<'a> {
        Spot { base: self.base, ..Spot::new(self.file, shifted(self.base, span), path) }
    }
}

/// One table as it counts: its own keys, then those it inherits.
#[derive(Clone)]
pub(super) struct Section<'a> {
    pub kind: Table,
    /// `certificate."shop.example.com"`.
    pub path: Rc<KeyPath<'a>>,
    /// Where the table is opened.
    pub head: Spot<'a>,
    /// The first layer that has a key wins.
    pub layers: Vec<Layer<'a>>,
}

/// A value that was found, and where.
pub(super) struct Found<'a> {
    pub spot: Spot<'a>,
    pub key: Range<usize>,
    pub value: &'a DeValue<'a>,
}

/// A text with its place.
#[derive(Clone)]
pub(super) struct Word<'a> {
    pub text: &'a str,
    pub spot: Spot<'a>,
}

impl<'a> Section<'a> {
    pub fn new(kind: Table, head: Spot<'a>, layers: Vec<Layer<'a>>) -> Self {
        Self { kind, path: Rc::new(head.path.clone()), head, layers }
    }

    /// The table's own keys, without what it inherits.
    pub fn own(&self) -> Self {
        Self { layers: self.layers.iter().copied().take(1).collect(), ..self.clone() }
    }

    pub fn find(&self, key: &str) -> Option<Found<'a>> {
        self.layers.iter().find_map(|layer| {
            let (name, value) = layer.table.get_key_value(key)?;
            let path = KeyPath::below(&self.path, name.get_ref().as_ref());
            let spot = layer.spot(&value.span(), path);
            Some(Found { spot, key: shifted(layer.base, &name.span()), value: value.get_ref() })
        })
    }

    /// Whether any layer says anything of `key`, a secret by whichever source.
    pub fn has(&self, key: &Key) -> bool {
        self.layers.iter().any(|layer| layer.table.keys().any(|name| key.is(name.get_ref())))
    }

    /// Finds exactly one of `keys`, looking at all of them in one layer before the next one;
    /// two in one layer, or none at all, is an error.
    pub fn one_of(&self, keys: &[&'static str], problems: &mut Problems) -> Option<&'static str> {
        for depth in 0..self.layers.len() {
            let layer = Self { layers: vec![self.layers[depth]], ..self.clone() };
            let present: Vec<&'static str> =
                keys.iter().copied().filter(|key| layer.find(key).is_some()).collect();
            match present[..] {
                [] => {}
                [key] => return Some(key),
                [first, second, ..] => {
                    if let Some(found) = layer.find(second) {
                        let spot = Spot { span: found.key, ..found.spot };
                        problems.error_hint(
                            &spot,
                            "one-of",
                            format!("`{first}` and `{second}` exclude each other"),
                            format!("keep exactly one of {}", listed(keys)),
                        );
                    }
                    return None;
                }
            }
        }
        problems.error(
            &self.head,
            "missing-key",
            format!("{} needs one of {}", self.kind.noun(), listed(keys)),
        );
        None
    }

    /// Refuses the keys of the table's own layer that are not in the list of keys.
    pub fn refuse_unknown(&self, problems: &mut Problems) {
        let Some(layer) = self.layers.first() else { return };
        for (name, _) in layer.table {
            let key: &str = name.get_ref();
            if self.kind.key(key).is_none() {
                let spot = layer.spot(&name.span(), KeyPath::below(&self.path, key));
                self.unknown(key, &spot, problems);
            }
        }
    }

    fn unknown(&self, key: &str, spot: &Spot<'a>, problems: &mut Problems) {
        let secret = self.kind.keys().find(|known| matches!(known.kind, Kind::Secret) && known.name == key);
        if let Some(secret) = secret {
            problems.error_hint(
                spot,
                "secret-in-config",
                format!("`{key}`: a secret does not belong in this file"),
                format!("put it in a file of its own and write {}", listed_owned(&secret.names())),
            );
            return;
        }
        let names: Vec<String> = self.kind.names().collect();
        let hint = if let Some(name) = nearest(key, names.iter().map(String::as_str)) {
            format!("did you mean `{name}`?")
        } else {
            let written: Vec<String> = self.kind.written().flat_map(super::table::Key::names).collect();
            format!("known here: {}", written.join(", "))
        };
        let words = format!("`{key}` is not a key of {}", self.kind.noun());
        problems.error_hint(spot, "unknown-key", words, hint);
    }

    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<Word<'a>> {
        let found = self.find(key)?;
        text_of(found.value, found.spot, problems)
    }

    /// As [`Self::text`], where it can't be done without.
    pub fn needed_text(&self, key: &str, problems: &mut Problems) -> Option<Word<'a>> {
        if self.find(key).is_none() {
            problems.error(&self.head, "missing-key", format!("{} needs `{key}`", self.kind.noun()));
        }
        self.text(key, problems)
    }

    /// A text parsed into something better.
    pub fn parsed<T>(
        &self,
        key: &str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, BadName>,
        problems: &mut Problems,
    ) -> Option<T> {
        let word = self.text(key, problems)?;
        word.parse(code, parse, problems)
    }

    /// One of a few words.
    pub fn choice(&self, key: &str, words: &[&'static str], problems: &mut Problems) -> Option<&'static str> {
        let word = self.text(key, problems)?;
        if let Some(known) = words.iter().find(|known| **known == word.text) {
            return Some(known);
        }
        let hint = match nearest(word.text, words.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                format!("one of {}", words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(", "))
            }
        };
        problems.error_hint(&word.spot, "unknown-word", format!("`{key}` can't be \"{}\"", word.text), hint);
        None
    }

    pub fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let found = self.find(key)?;
        match found.value {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                wrong_type(&found.spot, "true or false, without quotes", other, problems);
                None
            }
        }
    }

    /// One text or a list of texts.
    pub fn texts(&self, key: &str, problems: &mut Problems) -> Option<Vec<Word<'a>>> {
        let found = self.find(key)?;
        texts_of(found.value, &found.spot, problems)
    }

    /// A program with its arguments; empty when switched off.
    pub fn argv(&self, key: &str, problems: &mut Problems) -> Option<Vec<String>> {
        let found = self.find(key)?;
        let DeValue::Array(_) = found.value else {
            problems.error_hint(
                &found.spot,
                "wrong-type",
                format!("`{key}` is a list of texts: the program and its arguments"),
                "no shell is involved; write for instance [\"systemctl\", \"reload\", \"nginx\"]",
            );
            return None;
        };
        let words = texts_of(found.value, &found.spot, problems)?;
        for (at, word) in words.iter().enumerate() {
            let program_is_bad = at == 0
                && (word.text.is_empty()
                    || word.text.starts_with('-')
                    || (word.text.contains('/') && !word.text.starts_with('/')));
            if word.text.contains('\0') || program_is_bad {
                problems.error_hint(
                    &word.spot,
                    "bad-program",
                    "a program is a plain name, looked up in the service's PATH, or an absolute path",
                    "for a shell script: [\"/usr/local/bin/script.sh\"]",
                );
                return None;
            }
        }
        if words.len() > ARGV_MAX {
            problems.error(&found.spot, "too-many", format!("a command has at most {ARGV_MAX} words"));
            return None;
        }
        Some(words.iter().map(|word| word.text.to_owned()).collect())
    }

    /// A length of time within bounds.
    pub fn span(&self, key: &str, least: Span, most: Span, problems: &mut Problems) -> Option<Span> {
        let found = self.find(key)?;
        if let DeValue::Integer(number) = found.value {
            problems.error_hint(
                &found.spot,
                "bad-duration",
                "a length of time needs a unit",
                format!("write \"{number}s\" for seconds"),
            );
            return None;
        }
        let word = text_of(found.value, found.spot, problems)?;
        let span = word.parse("bad-duration", value::span, problems)?;
        if span < least || span > most {
            let words =
                format!("`{key}` lies between {} and {}", value::span_text(least), value::span_text(most));
            problems.error(&word.spot, "out-of-range", words);
            return None;
        }
        Some(span)
    }

    /// A TCP port.
    pub fn port(&self, key: &str, problems: &mut Problems) -> Option<u16> {
        let found = self.find(key)?;
        let port = match found.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', "").parse().ok(),
            _ => None,
        };
        let port = port.filter(|port| *port != 0);
        if port.is_none() {
            problems.error(
                &found.spot,
                "bad-port",
                format!("`{key}` is a number from 1 to 65535, without quotes"),
            );
        }
        port
    }

    /// A file mode: `"0640"` or `0o640`.
    pub fn mode(
        &self,
        key: &str,
        judge: impl FnOnce(u32) -> Result<u32, BadName>,
        problems: &mut Problems,
    ) -> Option<u32> {
        let found = self.find(key)?;
        let read = match found.value {
            DeValue::Integer(number) if number.radix() == 8 => {
                value::octal(&number.as_str().replace('_', ""))
            }
            DeValue::Integer(_) => {
                Err(BadName("without quotes this is a decimal number; write \"0640\" or 0o640"))
            }
            _ => {
                let word = text_of(found.value, found.spot.clone(), problems)?;
                value::octal(word.text)
            }
        };
        match read.and_then(judge) {
            Ok(mode) => Some(mode),
            Err(why) => {
                problems.error(&found.spot, "bad-mode", why.0);
                None
            }
        }
    }

    /// A table inside this one.
    pub fn inner(&self, key: &str, kind: Table, problems: &mut Problems) -> Option<Self> {
        let layer = *self.layers.iter().find(|layer| layer.table.contains_key(key))?;
        let found = self.find(key)?;
        let DeValue::Table(table) = found.value else {
            wrong_type(&found.spot, "a table: { … }", found.value, problems);
            return None;
        };
        let head = Spot { span: found.key, ..found.spot };
        let section = Self::new(kind, head, vec![Layer { table, ..layer }]);
        section.refuse_unknown(problems);
        Some(section)
    }

    /// Texts under keys of one's own; what a layer does not name is taken from those below it.
    pub fn labels(&self, key: &str, problems: &mut Problems) -> Labels {
        let mut labels = BTreeMap::new();
        for layer in &self.layers {
            let one = Self { layers: vec![*layer], ..self.clone() };
            let Some(found) = one.find(key) else { continue };
            let DeValue::Table(table) = found.value else {
                wrong_type(&found.spot, "a table: { owner = \"…\" }", found.value, problems);
                continue;
            };
            for (name, value) in table {
                let spot = found.spot.at(&value.span());
                let Some(word) = text_of(value.get_ref(), spot, problems) else { continue };
                let name: &str = name.get_ref();
                match label(name, word.text) {
                    Ok(()) => drop(labels.entry(name.to_owned()).or_insert_with(|| word.text.to_owned())),
                    Err(why) => problems.error(&word.spot, "bad-label", why.0),
                }
            }
        }
        if labels.len() > Labels::MOST {
            problems.error(
                &self.head,
                "too-many",
                format!("at most {} labels belong together", Labels::MOST),
            );
        }
        Labels::new(labels)
    }

    /// Where a secret is; exactly one source.
    pub fn secret(&self, stem: &str, problems: &mut Problems) -> Option<SecretSource> {
        let key = self.kind.keys().find(|key| key.name == stem)?;
        let names = key.names();
        let present: Vec<(usize, Found<'a>)> =
            names.iter().enumerate().filter_map(|(at, name)| Some((at, self.find(name)?))).collect();
        let [(at, found)] = &present[..] else {
            match present.get(1) {
                Some((_, second)) => {
                    let spot = Spot { span: second.key.clone(), ..second.spot.clone() };
                    let words = format!("a secret has one source: keep one of {}", listed_owned(&names));
                    problems.error(&spot, "one-of", words);
                }
                // A secret written in plain has its own error.
                None if self.find(stem).is_some() => {}
                None => {
                    let words = format!("{} needs one of {}", self.kind.noun(), listed_owned(&names));
                    problems.error(&self.head, "missing-key", words);
                }
            }
            return None;
        };
        let word = text_of(found.value, found.spot.clone(), problems)?;
        match SECRET_SOURCES.get(*at).copied() {
            Some("-file") => word.parse("bad-path", value::file_path, problems).map(SecretSource::File),
            Some("-env") => word.parse("bad-env", env_name, problems).map(SecretSource::Env),
            _ => word.parse("bad-credential", credential_name, problems).map(SecretSource::Credential),
        }
    }
}

fn label(name: &str, value: &str) -> Result<(), BadName> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    if name.is_empty()
        || name.len() > 64
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.bytes().all(fits)
    {
        return Err(BadName("a label's name has letters, digits and '_' only, as Prometheus takes them"));
    }
    if value.chars().count() > Labels::VALUE_MAX || value.chars().any(char::is_control) {
        return Err(BadName("a label's value has at most 200 characters, none of them a control character"));
    }
    Ok(())
}

impl Word<'_> {
    pub fn parse<T>(
        &self,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, BadName>,
        problems: &mut Problems,
    ) -> Option<T> {
        match parse(self.text) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                problems.error(&self.spot, code, why.0);
                None
            }
        }
    }
}

pub(super) fn texts_of<'a>(
    value: &'a DeValue<'a>,
    spot: &Spot<'a>,
    problems: &mut Problems,
) -> Option<Vec<Word<'a>>> {
    match value {
        DeValue::String(text) => Some(vec![Word { text, spot: spot.clone() }]),
        DeValue::Array(elements) => {
            if elements.len() > LIST_MAX {
                problems.error(spot, "too-many", format!("a list has at most {LIST_MAX} elements"));
                return None;
            }
            let mut words = Vec::with_capacity(elements.len());
            for element in elements {
                let place = spot.at(&element.span());
                words.extend(text_of(element.get_ref(), place, problems));
            }
            // What is no text was reported; the others are looked at too.
            (elements.is_empty() || !words.is_empty()).then_some(words)
        }
        other => {
            wrong_type(spot, "a text or a list of texts", other, problems);
            None
        }
    }
}

fn text_of<'a>(value: &'a DeValue<'a>, spot: Spot<'a>, problems: &mut Problems) -> Option<Word<'a>> {
    match value {
        DeValue::String(text) => Some(Word { text, spot }),
        other => {
            wrong_type(&spot, "a text in quotes", other, problems);
            None
        }
    }
}

pub(super) fn wrong_type(spot: &Spot<'_>, wanted: &str, got: &DeValue<'_>, problems: &mut Problems) {
    let got = match got {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    problems.error(spot, "wrong-type", format!("{wanted} is needed here, this is {got}"));
}

/// As a key path writes it: quoted unless it is a bare key.
pub(super) fn quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}

/// Longest command, in words.
const ARGV_MAX: usize = 256;

/// Longest list in the file, in elements.
const LIST_MAX: usize = 1000;

fn env_name(text: &str) -> Result<String, BadName> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts_well = text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !starts_well || !text.bytes().all(fits) || text.len() > 255 {
        return Err(BadName("a variable's name has letters, digits and underscores, and no digit first"));
    }
    Ok(text.to_owned())
}

fn credential_name(text: &str) -> Result<String, BadName> {
    let fits = text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if text.is_empty() || text.starts_with('.') || !fits || text.len() > 255 {
        return Err(BadName("a credential's name is the plain name before the colon in LoadCredential="));
    }
    Ok(text.to_owned())
}

fn listed(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

fn listed_owned(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
