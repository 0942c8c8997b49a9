//! `observe`: the places where a certificate must be seen. Each is a text, or a table where more
//! is to be said than where it is.

use toml::de::DeValue;

use super::file::Spot;
use super::problem::Problems;
use super::raw::{Layer, Section, Word, wrong_type};
use super::table::{ACCEPT_WORDS, ADDRESSES_WORDS, KEY_FAMILY_WORDS, PROXY_WORDS, TLS_WORDS, Table};
use crate::core::endpoint::Endpoint;
use crate::core::manner::{Manner, Samples, TlsVersion, Worded};
use crate::core::name::BadName;

/// Most places in one list.
const PLACES_MAX: usize = 1000;

/// Every endpoint that `key` of a section lists; `None` with all wrong ones reported. The key
/// must be there.
pub(super) fn endpoints(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<Vec<Endpoint>> {
    let found = section.find(key)?;
    let spot = found.spot;
    let DeValue::Array(elements) = found.value else { return place(found.value, &spot, problems) };
    if elements.len() > PLACES_MAX {
        problems.error(&spot, "too-many", format!("a list has at most {PLACES_MAX} elements"));
        return None;
    }
    let read: Vec<Option<Vec<Endpoint>>> = elements
        .iter()
        .map(|element| place(element.get_ref(), &spot.at(&element.span()), problems))
        .collect();
    let read: Option<Vec<Vec<Endpoint>>> = read.into_iter().collect();
    read.map(|several| several.into_iter().flatten().collect())
}

/// One element; several endpoints where several versions of TLS are asked for.
fn place(value: &DeValue<'_>, spot: &Spot<'_>, problems: &mut Problems) -> Option<Vec<Endpoint>> {
    match value {
        DeValue::String(text) => {
            let word = Word { text, spot: spot.clone() };
            word.parse("bad-endpoint", Endpoint::parse, problems).map(|endpoint| vec![endpoint])
        }
        DeValue::Table(table) => {
            let layer = Layer { file: spot.file, base: spot.base, table };
            let section = Section::new(Table::Place, spot.clone(), vec![layer]);
            section.refuse_unknown(problems);
            described(&section, problems)
        }
        other => {
            wrong_type(spot, "a text or a table { at = …, … }", other, problems);
            None
        }
    }
}

fn described(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<Endpoint>> {
    section.needed_text("at", problems);
    let at = section.parsed("at", "bad-endpoint", bare, problems);
    let accept = choice(section, ACCEPT_WORDS, problems);
    let addresses = choice(section, ADDRESSES_WORDS, problems);
    let key = choice(section, KEY_FAMILY_WORDS, problems);
    let proxy = choice(section, PROXY_WORDS, problems);
    let samples = samples(section, problems);
    let versions = versions(section, problems);
    let manner = Manner {
        accept: accept.ok()?.unwrap_or_default(),
        addresses: addresses.ok()?.unwrap_or_default(),
        key: key.ok()?,
        proxy: proxy.ok()?,
        samples: samples?,
        tls: None,
    };
    let (at, versions) = (at?, versions?);
    Some(
        versions.into_iter().map(|tls| Endpoint { manner: Manner { tls, ..manner }, ..at.clone() }).collect(),
    )
}

/// An endpoint without settings of its own: those stand in the table.
fn bare(text: &str) -> Result<Endpoint, BadName> {
    if text.contains('?') {
        return Err(BadName("in a table, settings are keys of the table, not part of `at`"));
    }
    Endpoint::parse(text)
}

/// A value was refused, and that was reported.
struct Refused;

/// `Ok(None)` where the key is left out.
fn choice<T: Worded>(
    section: &Section<'_>,
    words: &[&'static str],
    problems: &mut Problems,
) -> Result<Option<T>, Refused> {
    if section.find(T::KEY).is_none() {
        return Ok(None);
    }
    let word = section.choice(T::KEY, words, problems).ok_or(Refused)?;
    T::of(word).map(Some).map_err(|_| Refused)
}

fn samples(section: &Section<'_>, problems: &mut Problems) -> Option<Samples> {
    let Some(found) = section.find("samples") else { return Some(Samples::default()) };
    let number = match found.value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', "").parse().ok(),
        _ => None,
    };
    let samples = number.and_then(Samples::new);
    if samples.is_none() {
        let words = format!("`samples` is a number from 1 to {}, without quotes", Samples::MAX);
        problems.error(&found.spot, "out-of-range", words);
    }
    samples
}

/// Each version that must be looked at on its own; one `None` where any will do.
fn versions(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<Option<TlsVersion>>> {
    if section.find(TlsVersion::KEY).is_none() {
        return Some(vec![None]);
    }
    let words = section.texts(TlsVersion::KEY, problems)?;
    let mut versions = Vec::with_capacity(TLS_WORDS.len());
    for word in &words {
        let version = Some(word.parse("unknown-word", TlsVersion::of, problems)?);
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    if versions.is_empty() {
        versions.push(None);
    }
    Some(versions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::manner::{Accept, Addresses, KeyFamily, ProxyHeader};

    fn words<T: Worded>() -> Vec<&'static str> {
        T::WORDS.iter().map(|(_, word)| *word).collect()
    }

    #[test]
    fn the_guide_lists_the_words_that_are_taken() {
        assert_eq!(words::<Accept>(), ACCEPT_WORDS);
        assert_eq!(words::<Addresses>(), ADDRESSES_WORDS);
        assert_eq!(words::<KeyFamily>(), KEY_FAMILY_WORDS);
        assert_eq!(words::<ProxyHeader>(), PROXY_WORDS);
        assert_eq!(words::<TlsVersion>(), TLS_WORDS);
    }
}
