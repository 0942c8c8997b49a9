//! `renewal/NAME.conf` as certbot keeps it: lines of `key = value`, then `[renewalparams]`, then
//! tables in double brackets. Values with commas or marks stand in quotes, lists end with a comma.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Above all tables: `cert`, `privkey`, `archive_dir`.
    pub places: BTreeMap<String, String>,
    /// `[renewalparams]`: `account`, `authenticator`, `server`.
    pub params: BTreeMap<String, String>,
    /// `[[webroot_map]]`: which directory proves which name.
    pub webroots: BTreeMap<String, String>,
}

impl Renewal {
    /// What is no such line is passed over: certbot does the same.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut table = "";
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                table = line;
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let into = match table {
                "" => &mut found.places,
                "[renewalparams]" => &mut found.params,
                "[[webroot_map]]" => &mut found.webroots,
                _ => continue,
            };
            into.insert(key.trim().to_owned(), unquoted(value.trim()).to_owned());
        }
        found
    }

    /// A parameter that is set to something.
    pub fn param(&self, key: &str) -> Option<&str> {
        self.params.get(key).map(String::as_str).filter(|value| !value.is_empty() && *value != "None")
    }

    /// As certbot itself would write it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let lines = |text: &mut String, table: &BTreeMap<String, String>| {
            for (key, value) in table {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
        };
        lines(&mut text, &self.places);
        text.push_str("\n[renewalparams]\n");
        lines(&mut text, &self.params);
        if !self.webroots.is_empty() {
            text.push_str("[[webroot_map]]\n");
            lines(&mut text, &self.webroots);
        }
        text
    }
}

/// The texts of a list such as `/var/www, /srv/www,`.
pub fn list(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|mark| {
            let inner = value.strip_prefix(mark)?.strip_suffix(mark)?;
            (!inner.contains(mark)).then_some(inner)
        })
        .unwrap_or(value)
}

fn quoted(value: &str) -> String {
    let line: String = value.chars().filter(|c| !c.is_control()).collect();
    let plain = !line.contains([',', '#', '"', '\'']) && line.trim() == line;
    match (plain, line.contains('"')) {
        (true, _) => line,
        (false, false) => format!("\"{line}\""),
        (false, true) => format!("'{}'", line.replace('\'', "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# renew_before_expiry = 30 days
version = 2.1.0
archive_dir = /etc/letsencrypt/archive/a.example
cert = /etc/letsencrypt/live/a.example/cert.pem

# Options used in the renewal process
[renewalparams]
account = b881a35d
authenticator = webroot
webroot_path = /var/www/html,
renew_hook = \"echo hi, there > /tmp/x\"
pre_hook = None
[[webroot_map]]
a.example = /var/www/html
www.a.example = /srv/www
[acme_renewal_info]
ari_retry_after = 2026-01-01T00:00:00
";

    #[test]
    fn what_certbot_writes_is_read() {
        let read = Renewal::parse(TEXT);
        assert_eq!(read.places["cert"], "/etc/letsencrypt/live/a.example/cert.pem");
        assert_eq!(read.param("renew_hook"), Some("echo hi, there > /tmp/x"));
        assert_eq!(read.param("pre_hook"), None);
        assert_eq!(read.webroots.len(), 2);
        assert_eq!(list(&read.params["webroot_path"]), ["/var/www/html"]);
        assert_eq!(Renewal::parse(&read.text()), read, "what is written reads back");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_stays(text in "[ -~\n]{0,200}") {
            let read = Renewal::parse(&text);
            let _ = read.text();
        }
    }
}
