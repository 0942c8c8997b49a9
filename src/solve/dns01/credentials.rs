//! What a vendor knows us by, and how it is kept out of every word that is said.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::core::failure::{Failure, Fault};
use crate::core::spec::SolverVendor;
use crate::ports::Secrets;

/// The values of one account, by the stems of their keys. Wiped when dropped; copies that the crate
/// behind the interfaces makes are not.
pub struct Credentials {
    plain: Vec<(&'static str, String)>,
    secrets: Vec<(&'static str, Zeroizing<String>)>,
}

/// A key without which an account can't be used was not given, which the configuration prevents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(pub &'static str);

/// Secrets of several lines: keys in PEM and JSON.
const OF_LINES: [&str; 2] = ["private-key", "service-account"];
/// Shortest line of such a secret that is looked for in what a vendor says, in bytes.
const LINE_LEAST: usize = 12;
/// Stands where a secret stood.
const MASK: &str = "…";

impl Credentials {
    /// Codes: `dns-credentials`, `secret-missing`.
    pub fn read(account: &SolverVendor, secrets: &Secrets) -> Result<Self, Failure> {
        let mut read = Vec::with_capacity(account.secrets.len());
        for (stem, source) in &account.secrets {
            let content = secrets(source)?;
            let text =
                std::str::from_utf8(content.bytes()).map_err(|_| bad(&format!("`{stem}` is no text")))?;
            if !OF_LINES.contains(stem) && !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return Err(bad(&format!("`{stem}` has characters that no header can hold")));
            }
            read.push((*stem, Zeroizing::new(text.to_owned())));
        }
        Ok(Self { plain: account.plain.clone(), secrets: read })
    }

    #[cfg(test)]
    pub(super) fn of(plain: &[(&'static str, &str)], secrets: &[(&'static str, &str)]) -> Self {
        Self {
            plain: plain.iter().map(|(stem, text)| (*stem, (*text).to_owned())).collect(),
            secrets: secrets.iter().map(|(stem, text)| (*stem, Zeroizing::new((*text).to_owned()))).collect(),
        }
    }

    pub fn need(&self, stem: &'static str) -> Result<&str, Missing> {
        self.may(stem).ok_or(Missing(stem))
    }

    pub fn may(&self, stem: &str) -> Option<&str> {
        let plain = self.plain.iter().find(|(key, _)| *key == stem).map(|(_, text)| text.as_str());
        plain.or_else(|| self.secrets.iter().find(|(key, _)| *key == stem).map(|(_, text)| text.as_str()))
    }

    /// `text` without a secret in any form in which it may have been sent and been echoed.
    pub fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in self.forms() {
            // A mask in a mask would grow; a secret of one letter hides all of them, and rightly.
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), MASK);
            }
        }
        text
    }

    /// The longest first, so that none is left in part.
    fn forms(&self) -> Vec<Zeroizing<String>> {
        let mut forms: Vec<Zeroizing<String>> = Vec::new();
        for (stem, secret) in &self.secrets {
            forms.push(secret.clone());
            forms.push(percent(secret, false));
            forms.push(percent(secret, true));
            forms.push(escaped(secret));
            forms.extend(encoded(secret.as_bytes()));
            for (_, user) in &self.plain {
                let login = Zeroizing::new(format!("{user}:{}", secret.as_str()));
                forms.extend(encoded(login.as_bytes()));
            }
            for (_, other) in &self.secrets {
                let pair = Zeroizing::new(format!("{}:{}", other.as_str(), secret.as_str()));
                forms.extend(encoded(pair.as_bytes()));
            }
            if OF_LINES.contains(stem) {
                let lines = secret.lines().flat_map(|line| line.split("\\n"));
                forms.extend(
                    lines.filter(|l| l.len() >= LINE_LEAST).map(|line| Zeroizing::new(line.to_owned())),
                );
            }
        }
        forms.retain(|form| !form.is_empty());
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms
    }
}

pub fn bad(why: &str) -> Failure {
    Failure::refused(Fault::Config, "dns-credentials", why)
}

fn encoded(bytes: &[u8]) -> [Zeroizing<String>; 4] {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|engine| Zeroizing::new(engine.encode(bytes)))
}

/// As a JSON text has it, without the quotes around it: those of the secret itself stay.
fn escaped(text: &str) -> Zeroizing<String> {
    let quoted = Zeroizing::new(serde_json::Value::from(text).to_string());
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Zeroizing::new(inside.unwrap_or(&quoted).to_owned())
}

/// RFC 3986 §2.1; as a form has it, where a space is a plus.
fn percent(text: &str, form: bool) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b'~' if !form => out.push('~'),
            b'*' if form => out.push('*'),
            b' ' if form => out.push('+'),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_echoed_shows_no_secret() {
        let known = Credentials::of(&[("login", "user")], &[("password", "p w/+\"1"), ("api-key", "k-9")]);
        for said in [
            "wrong password: p w/+\"1",
            "GET /?key=p%20w%2F%2B%221 failed",
            "GET /?key=p+w%2F%2B%221&x=k-9 failed",
            r#"{"got":"p w/+\"1"}"#,
            "Authorization: Basic dXNlcjpwIHcvKyIx",
            "Basic ay05OnAgdy8rIjE=",
            "key ay05",
        ] {
            let shown = known.masked(said);
            assert!(shown.contains(MASK), "{said}");
            for part in ["p w", "w%2F", "p+w", "dXNlcjpw", "k-9", "ay05"] {
                assert!(!shown.contains(part), "{said} became {shown}");
            }
        }
    }

    #[test]
    fn quotes_belong_to_the_secret() {
        for (secret, said, shown) in
            [("\"", "\"", "…"), ("\"x\"", "<\"x\">", "<…>"), ("x\"", r#"{"got":"x\""}"#, r#"{"got":"…"}"#)]
        {
            assert_eq!(Credentials::of(&[], &[("token", secret)]).masked(said), shown);
        }
    }

    #[test]
    fn no_line_of_a_key_is_shown() {
        let key =
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcw\n-----END PRIVATE KEY-----";
        let known = Credentials::of(&[], &[("private-key", key)]);
        assert_eq!(known.masked("near MIIEvQIBADANBgkqhkiG9w0B"), "near …");
    }

    proptest! {
        #[test]
        fn a_masked_text_never_has_the_secret(secret in "[!-~]{1,40}", before in "\\PC{0,20}", after in "\\PC{0,20}") {
            let known = Credentials::of(&[], &[("token", &secret)]);
            let masked = known.masked(&format!("{before}{secret}{after}"));
            prop_assert!(!masked.contains(&secret), "{masked}");
        }
    }
}
