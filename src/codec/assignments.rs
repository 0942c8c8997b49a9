//! Shell files that hold nothing but `NAME='value'` lines, as acme.sh and dehydrated keep them. No
//! shell runs: a value that only a shell could make is left as it stands, and whoever asks for it
//! is told by [`Assignments::computed`].

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments(BTreeMap<String, String>);

/// acme.sh wraps values that hold quotes or line feeds in these.
const ENCODED: (&str, &str) = ("__ACME_BASE64__START_", "__ACME_BASE64__END_");

impl Assignments {
    /// Later lines win, as in a shell. `known` are variables that were set before, such as
    /// dehydrated's `BASEDIR`.
    pub fn parse(text: &str, known: &[(&str, &str)]) -> Self {
        let mut found: BTreeMap<String, String> =
            known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for line in text.lines().map(str::trim) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else { continue };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            let value = value_of(value, &found);
            found.insert(name.to_owned(), value);
        }
        Self(found)
    }

    /// A value that is not empty.
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether only a shell could tell the value.
    pub fn computed(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|value| value.contains("$(") || value.contains('`') || value.contains("${"))
    }
}

fn value_of(text: &str, known: &BTreeMap<String, String>) -> String {
    if let Some(rest) = text.strip_prefix('\'') {
        let inner = rest.split('\'').next().unwrap_or_default();
        return decoded(inner).unwrap_or_else(|| inner.to_owned());
    }
    let inner = match text.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => text.split([' ', '\t', ';', '#']).next().unwrap_or_default(),
    };
    known.iter().fold(inner.to_owned(), |value, (name, known)| value.replace(&format!("${{{name}}}"), known))
}

fn decoded(value: &str) -> Option<String> {
    let inner = value.strip_prefix(ENCODED.0)?.strip_suffix(ENCODED.1)?;
    String::from_utf8(STANDARD.decode(inner).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_a_shell_would() {
        let read = Assignments::parse(
            "Le_Domain='a.example'\nLe_Alt='no'\nLe_ReloadCmd='__ACME_BASE64__START_c3lzdGVtY3RsIHJlbG9hZCBuZ2lueA==__ACME_BASE64__END_'\n\
             # CA=\"x\"\nCA=\"letsencrypt\" # the default\nCERTDIR=\"${BASEDIR}/certs\"\nBARE=/x/y\nHOOK=\"$(pwd)/h\"\n\
             not a line\nEMPTY=''\nfoo bar=1\n",
            &[("BASEDIR", "/etc/dehydrated")],
        );
        for (name, value) in [
            ("Le_Domain", Some("a.example")),
            ("Le_ReloadCmd", Some("systemctl reload nginx")),
            ("CA", Some("letsencrypt")),
            ("CERTDIR", Some("/etc/dehydrated/certs")),
            ("BARE", Some("/x/y")),
            ("EMPTY", None),
            ("foo bar", None),
        ] {
            assert_eq!(read.find(name), value, "{name}");
        }
        assert!(read.computed("HOOK") && !read.computed("CA"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = Assignments::parse(&text, &[("A", "b")]);
        }
    }
}
