//! Shell files that hold nothing but `NAME='value'` lines, as acme.sh and dehydrated keep them. No
//! shell runs: a value that only a shell could make is left as it stands, and whoever asks for it
//! is told by [`Assignments::computed`].

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments(BTreeMap<String, String>);

/// Longest text that values of others may add up to in one file, in octets. Without an end, `B=${A}${A}` and thirty
/// more such lines fill a gibibyte.
const EXPANDED_MAX: usize = 1 << 20;

/// acme.sh wraps values that hold quotes or line feeds in these.
const ENCODED: (&str, &str) = ("__ACME_BASE64__START_", "__ACME_BASE64__END_");

impl Assignments {
    /// Later lines win, as in a shell. `known` are variables that were set before, such as
    /// dehydrated's `BASEDIR`.
    pub fn parse(text: &str, known: &[(&str, &str)]) -> Self {
        let mut found: BTreeMap<String, String> =
            known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut left = EXPANDED_MAX;
        for line in text.lines().map(str::trim) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else { continue };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            let value = value_of(value, &found, &mut left);
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

fn value_of(text: &str, known: &BTreeMap<String, String>, left: &mut usize) -> String {
    if let Some(rest) = text.strip_prefix('\'') {
        let inner = rest.split('\'').next().unwrap_or_default();
        return decoded(inner).unwrap_or_else(|| inner.to_owned());
    }
    let inner = match text.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => text.split([' ', '\t', ';', '#']).next().unwrap_or_default(),
    };
    expanded(inner, known, left).unwrap_or_else(|| inner.to_owned())
}

/// With each `${NAME}` that is known put in; `None` where there is nothing to put in, or no room.
fn expanded(text: &str, known: &BTreeMap<String, String>, left: &mut usize) -> Option<String> {
    let (first, mut rest) = text.split_once("${")?;
    let mut value = first.to_owned();
    loop {
        let put = rest.split_once('}').and_then(|(name, after)| Some((known.get(name)?, after)));
        match put {
            Some((inner, after)) => {
                *left = left.checked_sub(inner.len())?;
                value.push_str(inner);
                rest = after;
            }
            None => value.push_str("${"),
        }
        let Some((before, after)) = rest.split_once("${") else { break };
        value.push_str(before);
        rest = after;
    }
    value.push_str(rest);
    Some(value)
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

    #[test]
    fn a_value_that_doubles_with_each_line_ends() {
        let mut text = format!("A0={}\n", "x".repeat(1000));
        for at in 0..40 {
            use std::fmt::Write as _;
            let _ = writeln!(text, "A{}=${{A{at}}}${{A{at}}}", at + 1);
        }
        let read = Assignments::parse(&text, &[]);
        assert_eq!(read.find("A3").map(str::len), Some(8000));
        assert_eq!(read.find("A40"), Some("${A39}${A39}"), "as it stands");
        assert!(read.computed("A40"), "and whoever asks is told so");
    }

    #[test]
    fn what_is_not_known_stays_as_it_stands() {
        for (text, value) in [
            ("X=${A}/${B}/${A}", "a/${B}/a"),
            ("X=${A", "${A"),
            ("X=\"${${A}\"", "${a"),
            ("X='${A}'", "${A}"),
            ("X=$A", "$A"),
        ] {
            assert_eq!(Assignments::parse(text, &[("A", "a")]).find("X"), Some(value), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = Assignments::parse(&text, &[("A", "b")]);
        }
    }
}
