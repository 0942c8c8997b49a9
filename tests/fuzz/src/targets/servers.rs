//! Configurations of servers, in which certificates are looked for.

use std::collections::BTreeMap;

use nolapse::codec::glob;
use nolapse::codec::servers::{Texts, usages};
use nolapse::core::usage::Server;

use super::choice;
use super::files::split;

/// Where each server's configuration begins, in the order of [`Server::ALL`].
const FIRST: [&str; 9] = [
    "/etc/nginx/nginx.conf",
    "/etc/apache2/apache2.conf",
    "/etc/haproxy/haproxy.cfg",
    "/etc/postfix/main.cf",
    "/etc/dovecot/dovecot.conf",
    "/etc/caddy/Caddyfile",
    "/etc/exim4/exim4.conf.template",
    "/etc/postgresql/15/main/postgresql.conf",
    "/etc/mosquitto/mosquitto.conf",
];

pub const WORDS: &[&str] = &[
    "\n== /etc/nginx/sites-enabled/a\n",
    "\n== /etc/apache2/sites-enabled/a.conf\n",
    "\n== /etc/postfix/master.cf\n",
    "server { listen 443 ssl; ",
    "server_name a.example *.b.example;",
    "ssl_certificate /a.pem;",
    "ssl_certificate_key /a.key;",
    "include sites-enabled/*;",
    "http {",
    "}",
    "<VirtualHost *:443>\n",
    "</VirtualHost>\n",
    "SSLCertificateFile ",
    "ServerName a.example\n",
    "IncludeOptional sites-enabled/*.conf\n",
    "<IfModule ssl>",
    "Define x y\n",
    "${x}",
    "bind :443 ssl crt /a.pem\n",
    "crt-list /etc/haproxy/list\n",
    "smtpd_tls_cert_file = /a.pem\n",
    "smtpd_tls_chain_files = /k, /c\n",
    "-o smtpd_tls_wrappermode=yes\n",
    "ssl_cert = </a.pem\n",
    "local_name a.example {\n",
    "!include conf.d/*.conf\n",
    "tls /a.pem /a.key\n",
    "import sites/*\n",
    "tls_certificate = /a.pem\n",
    "ssl_cert_file = '/a.pem'\n",
    "include_dir 'conf.d'\n",
    "certfile /a.pem\n",
    "listener 8883\n",
    "\"",
    "'",
    "\\",
    "#",
];

struct Host(BTreeMap<String, String>);

impl Texts for Host {
    fn text(&mut self, path: &str) -> Option<String> {
        self.0.get(path).cloned()
    }

    fn matching(&mut self, pattern: &str) -> Vec<String> {
        let wanted: Vec<_> = pattern.split('/').collect();
        let fits = |path: &&String| {
            let steps: Vec<_> = path.split('/').collect();
            wanted.len() == steps.len() && wanted.iter().zip(steps).all(|(part, name)| glob::fits(part, name))
        };
        self.0.keys().filter(fits).cloned().collect()
    }
}

/// It ends; every certificate has an absolute path and an origin in a file that is there, names and ports are
/// bounded, and the same files give the same.
pub fn server_configurations(input: &[u8]) -> String {
    let (which, rest) = choice(input, FIRST.len());
    let mut host = Host(split(rest, FIRST[which]));
    let server = Server::ALL[which];
    let found = usages(server, &mut host);
    assert_eq!(usages(server, &mut host), found, "the same files read twice");
    assert!(found.len() <= 5_000);
    for usage in &found {
        assert!(usage.server == server && usage.certificate.starts_with('/'), "{usage:?}");
        assert!(!usage.certificate.contains('\0') && usage.names.len() <= 200, "{usage:?}");
        assert!(usage.ports.is_sorted() && !usage.ports.contains(&0), "{usage:?}");
        // With a line, but for what a server uses where nothing is said.
        let file = usage.origin.rsplit_once(':').map_or("", |(file, _)| file);
        assert!(
            [file, &usage.origin].iter().any(|file| host.0.contains_key(*file)),
            "{usage:?} is of no file here"
        );
        for name in &usage.names {
            assert!(name.len() <= 253 && name.is_ascii(), "{usage:?}");
        }
    }
    let any = |holds: fn(&nolapse::core::usage::Usage) -> bool| found.iter().any(holds);
    format!(
        "{server} {} {} {} {}",
        found.len().min(3),
        any(|usage| usage.key.is_some()),
        any(|usage| !usage.names.is_empty()),
        any(|usage| !usage.ports.is_empty())
    )
}
