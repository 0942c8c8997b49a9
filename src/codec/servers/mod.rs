//! Which certificates a server's configuration names. Texts in, [`Usage`]s out: who calls reads the
//! files, and everything is bounded, as a configuration may include itself, or be none.

mod apache2;
mod caddy;
mod dovecot;
mod exim4;
mod haproxy;
mod mosquitto;
mod nginx;
mod postfix;
mod postgresql;

use crate::core::usage::{Server, Usage};

/// The files of a host, as its servers know them.
pub trait Texts {
    /// A whole text; `None` where there is none that can be read.
    fn text(&mut self, path: &str) -> Option<String>;

    /// What fits a pattern, sorted; a path without a star fits itself where it is there.
    fn matching(&mut self, pattern: &str) -> Vec<String>;
}

/// Includes within includes.
const DEPTH_MAX: usize = 16;
/// Files read for one server; the same one may be included again.
const FILES_MAX: usize = 2_000;
/// Longest text taken of one file, in bytes.
pub const TEXT_MAX: usize = 1 << 20;
/// Most text taken for one server, in bytes.
const WHOLE_MAX: usize = 16 << 20;
/// Most certificates, names and ports kept.
const USAGES_MAX: usize = 5_000;
const NAMES_MAX: usize = 200;
/// Where they are read rather than where they are given away: each certificate of a place gets a copy.
const PORTS_MAX: usize = 200;

/// Every certificate that the configuration of `server` at its usual place names.
pub fn usages(server: Server, texts: &mut dyn Texts) -> Vec<Usage> {
    let mut files = Files { texts, count: 0, bytes: 0 };
    let mut found = match server {
        Server::Nginx => nginx::usages(&mut files),
        Server::Apache2 => apache2::usages(&mut files),
        Server::Haproxy => haproxy::usages(&mut files),
        Server::Postfix => postfix::usages(&mut files),
        Server::Dovecot => dovecot::usages(&mut files),
        Server::Caddy => caddy::usages(&mut files),
        Server::Exim4 => exim4::usages(&mut files),
        Server::Postgresql => postgresql::usages(&mut files),
        Server::Mosquitto => mosquitto::usages(&mut files),
    };
    found.retain(|usage| usage.certificate.starts_with('/'));
    found.truncate(USAGES_MAX);
    for usage in &mut found {
        usage.names.truncate(NAMES_MAX);
        usage.ports.sort_unstable();
        usage.ports.dedup();
        usage.ports.truncate(PORTS_MAX);
    }
    found
}

/// [`Texts`] with an end.
struct Files<'t> {
    texts: &'t mut dyn Texts,
    count: usize,
    bytes: usize,
}

impl Files<'_> {
    fn text(&mut self, path: &str) -> Option<String> {
        if self.count >= FILES_MAX || self.bytes >= WHOLE_MAX {
            return None;
        }
        self.count += 1;
        let text = self.texts.text(path).filter(|text| text.len() <= TEXT_MAX && !text.contains('\0'))?;
        self.bytes += text.len();
        Some(text)
    }

    fn matching(&mut self, pattern: &str) -> Vec<String> {
        let mut found = self.texts.matching(pattern);
        found.truncate(FILES_MAX);
        found
    }
}

/// `path` below `base` unless it is absolute.
fn below(base: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", base.trim_end_matches('/')) }
}

fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// The text before a `#` that begins a comment.
fn uncommented(line: &str) -> &str {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (letter, quote) {
            ('#', None) => return &line[..at],
            ('"' | '\'', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            _ => {}
        }
    }
    line
}

/// Words of a line; quotes hold some together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => word.get_or_insert_default().extend(letters.next()),
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The port at the end of `443`, `*:443`, `[::]:443`, `example.com:443`.
fn port(text: &str) -> Option<u16> {
    let digits = text.rsplit_once(':').map_or(text, |(_, port)| port);
    digits.parse().ok().filter(|port| *port != 0)
}

/// Names as a certificate could have them.
fn host_names<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let fits = |word: &&str| {
        word.len() <= 253
            && word.chars().any(char::is_alphabetic)
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*'))
    };
    words.into_iter().filter(fits).take(NAMES_MAX).map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::codec::glob;

    /// A host made of texts.
    pub(crate) struct Host(pub BTreeMap<String, String>);

    impl Host {
        pub(crate) fn of(files: &[(&str, &str)]) -> Self {
            Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
        }
    }

    impl Texts for Host {
        fn text(&mut self, path: &str) -> Option<String> {
            self.0.get(path).cloned()
        }

        fn matching(&mut self, pattern: &str) -> Vec<String> {
            let fits = |path: &&String| {
                let (pattern, path): (Vec<_>, Vec<_>) =
                    (pattern.split('/').collect(), path.split('/').collect());
                pattern.len() == path.len()
                    && pattern.iter().zip(path).all(|(part, name)| glob::fits(part, name))
            };
            self.0.keys().filter(fits).cloned().collect()
        }
    }

    /// Certificate, key, names and ports of each usage.
    pub(crate) fn read(server: Server, files: &[(&str, &str)]) -> Vec<(String, String, String, Vec<u16>)> {
        usages(server, &mut Host::of(files))
            .into_iter()
            .map(|usage| {
                (usage.certificate, usage.key.unwrap_or_default(), usage.names.join(" "), usage.ports)
            })
            .collect()
    }

    #[test]
    fn a_configuration_that_includes_itself_ends() {
        for (server, path, text) in [
            (Server::Nginx, "/etc/nginx/nginx.conf", "include nginx.conf; include *.conf;"),
            (Server::Apache2, "/etc/apache2/apache2.conf", "Include apache2.conf\nInclude *.conf"),
            (Server::Dovecot, "/etc/dovecot/dovecot.conf", "!include dovecot.conf\n!include *.conf"),
            (Server::Caddy, "/etc/caddy/Caddyfile", "import Caddyfile\nimport *"),
            (
                Server::Postgresql,
                "/etc/postgresql/15/main/postgresql.conf",
                "include 'postgresql.conf'\ninclude_dir '.'",
            ),
            (Server::Mosquitto, "/etc/mosquitto/mosquitto.conf", "include_dir /etc/mosquitto"),
        ] {
            assert_eq!(read(server, &[(path, text)]), [], "{server}");
        }
    }

    #[test]
    fn a_certificate_with_thousands_of_names_and_ports_keeps_two_hundred_of_each() {
        let many = |each: fn(usize) -> String| (1..2_000).map(each).collect::<String>();
        let nginx = format!(
            "http {{ server {{ {} ssl_certificate /a; }} }}",
            many(|at| format!("listen {at} ssl; server_name n{at}.example; "))
        );
        let apache2 = format!(
            "<VirtualHost {}>\n{}SSLCertificateFile /a\n</VirtualHost>",
            many(|at| format!("*:{at} ")),
            many(|at| format!("ServerAlias n{at}.example\n"))
        );
        let haproxy = format!("bind {} ssl crt /a", many(|at| format!(":{at},")));
        let caddy = format!("{}\ntls /a /b\n}}", many(|at| format!("n{at}.example:{at}, ")) + "x.example {");
        let master = many(|at| format!("{at} inet n - y - - smtpd\n"));
        for (server, files) in [
            (Server::Nginx, vec![("/etc/nginx/nginx.conf", nginx.as_str())]),
            (Server::Apache2, vec![("/etc/apache2/apache2.conf", &apache2)]),
            (Server::Haproxy, vec![("/etc/haproxy/haproxy.cfg", &haproxy)]),
            (Server::Caddy, vec![("/etc/caddy/Caddyfile", &caddy)]),
            (
                Server::Postfix,
                vec![
                    ("/etc/postfix/main.cf", "smtpd_tls_cert_file = /a"),
                    ("/etc/postfix/master.cf", &master),
                ],
            ),
        ] {
            let found = usages(server, &mut Host::of(&files));
            let [usage] = &found[..] else { panic!("{server}: {} usages", found.len()) };
            assert!(usage.names.len() <= NAMES_MAX && usage.ports.len() == PORTS_MAX, "{server}: {usage:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC{0,300}", lines in proptest::collection::vec(
            "(server|listen 443 ssl;|ssl_certificate|\\{|\\}|;|\"|'|\\\\|<VirtualHost|>|bind :1 ssl crt /a|ssl_cert = <|tls /a /b|import x)", 0..30)
        ) {
            let lines = lines.join("\n");
            for text in [text.as_str(), lines.as_str()] {
                let mut host = Host(BTreeMap::new());
                for path in [
                    "/etc/nginx/nginx.conf", "/etc/apache2/apache2.conf", "/etc/haproxy/haproxy.cfg",
                    "/etc/postfix/main.cf", "/etc/dovecot/dovecot.conf", "/etc/caddy/Caddyfile",
                    "/etc/exim4/exim4.conf.template", "/etc/postgresql/15/main/postgresql.conf",
                    "/etc/mosquitto/mosquitto.conf",
                ] {
                    host.0.insert(path.to_owned(), text.to_owned());
                }
                for server in Server::ALL {
                    let _ = usages(server, &mut host);
                }
            }
        }
    }
}
