//! Names out of what a source of Certificate Transparency answers: one a line, or JSON as crt.sh,
//! Cert Spotter and others write it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::core::name::SubjectName;

/// Names kept of one answer.
pub const NAMES_MAX: usize = 10_000;
/// Lists and objects within each other.
const DEPTH_MAX: usize = 8;
/// Keys of objects that hold names.
const KEYS: [&str; 6] = ["name_value", "common_name", "dns_names", "dnsNames", "names", "name"];

/// Every name that a certificate could have, sorted. What is none is left out.
pub fn names(text: &str) -> Vec<SubjectName> {
    let mut found = BTreeSet::new();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => inside(&value, true, DEPTH_MAX, &mut found),
        Err(_) => lines(text, &mut found),
    }
    found.into_iter().collect()
}

/// The fewest domains that all of `names` lie in or below: what a source is asked about.
pub fn domains<'a>(names: impl IntoIterator<Item = &'a SubjectName>) -> Vec<String> {
    let mut bases: Vec<String> = names
        .into_iter()
        .filter_map(SubjectName::base)
        .filter(|base| base.contains('.'))
        .map(str::to_owned)
        .collect();
    bases.sort_by_key(|base| (base.len(), base.clone()));
    let mut kept: Vec<String> = Vec::new();
    for base in bases {
        let below = |domain: &String| {
            base.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if !kept.iter().any(below) {
            kept.push(base);
        }
    }
    kept
}

fn inside(value: &Value, names: bool, depth: usize, found: &mut BTreeSet<SubjectName>) {
    match value {
        Value::String(text) if names => lines(text, found),
        Value::Array(values) if depth > 0 => {
            for value in values {
                inside(value, names, depth - 1, found);
            }
        }
        Value::Object(map) if depth > 0 => {
            for (key, value) in map {
                inside(value, KEYS.contains(&key.as_str()), depth - 1, found);
            }
        }
        _ => {}
    }
}

fn lines(text: &str, found: &mut BTreeSet<SubjectName>) {
    for line in text.lines().map(str::trim) {
        if found.len() >= NAMES_MAX {
            return;
        }
        found.extend(SubjectName::parse(line).ok().filter(|name| name.base().is_some()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_several_kinds_are_read() {
        for text in [
            "a.example\n*.b.example\n\nnot a name\n",
            r#"[{"id": 1, "issuer_name": "x.example", "name_value": "a.example\n*.b.example"}]"#,
            r#"[{"dns_names": ["a.example", "*.b.example"], "issuer": {"name_value": "zz"}}]"#,
            r#"["a.example", "*.b.example"]"#,
        ] {
            let shown: Vec<_> = names(text).iter().map(ToString::to_string).collect();
            let expected = ["*.b.example", "a.example"];
            assert!(expected.iter().all(|name| shown.contains(&(*name).to_owned())), "{text}: {shown:?}");
            assert!(!shown.contains(&"x.example".to_owned()), "{text}");
        }
    }

    #[test]
    fn sources_are_asked_about_few_domains() {
        let names: Vec<_> =
            ["www.a.example", "a.example", "*.b.a.example", "c.example", "localhost", "xa.example"]
                .map(|name| SubjectName::parse(name).unwrap())
                .to_vec();
        assert_eq!(domains(&names), ["a.example", "c.example", "xa.example"]);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_is_too_strange(text in "\\PC{0,200}") {
            let _ = names(&text);
        }
    }
}
