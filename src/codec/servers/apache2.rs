//! apache2 (httpd): virtual hosts, `Include` and `IncludeOptional`, `Define`.

use std::collections::BTreeMap;

use super::{DEPTH_MAX, Files, NAMES_MAX, PORTS_MAX, USAGES_MAX, below, host_names, port, words};
use crate::core::usage::{Server, Usage};

/// Main files and the directory that relative paths begin at.
const MAINS: [(&str, &str); 3] = [
    ("/etc/apache2/apache2.conf", "/etc/apache2"),
    ("/etc/httpd/conf/httpd.conf", "/etc/httpd"),
    ("/etc/apache2/httpd.conf", "/etc/apache2"),
];
/// Longest value after variables are put in, in bytes.
const VALUE_MAX: usize = 4096;
/// Most names defined: each line is looked through for each of them.
const DEFINED_MAX: usize = 1_000;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    for (main, root) in MAINS {
        let mut reading = Reading { root: root.to_owned(), ..Reading::default() };
        reading.file(files, main, 0);
        if reading.opened {
            reading.close();
            return reading.found;
        }
    }
    Vec::new()
}

#[derive(Default)]
struct Reading {
    root: String,
    opened: bool,
    defined: BTreeMap<String, String>,
    /// The virtual host that is open, if one is; what stands outside holds for none of them here.
    host: Host,
    found: Vec<Usage>,
}

#[derive(Default)]
struct Host {
    ports: Vec<u16>,
    names: Vec<String>,
    certificates: Vec<(String, String)>,
    keys: Vec<String>,
}

impl Reading {
    fn file(&mut self, files: &mut Files<'_>, path: &str, depth: usize) {
        let Some(text) = files.text(path).filter(|_| depth < DEPTH_MAX) else { return };
        self.opened = true;
        let text = text.replace("\\\n", " ");
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            // Only a whole line is a comment.
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = self.filled(line);
            let words = words(line.trim_end_matches('>'));
            let Some((name, values)) = words.split_first() else { continue };
            let first = values.first().map(String::as_str);
            match (name.to_ascii_lowercase().as_str(), first) {
                ("serverroot", Some(root)) if root.starts_with('/') => root.clone_into(&mut self.root),
                ("define", Some(name)) if self.defined.len() < DEFINED_MAX => {
                    let value = values.get(1).cloned().unwrap_or_default();
                    self.defined.insert(name.to_owned(), value);
                }
                ("include" | "includeoptional", Some(pattern)) => {
                    let pattern = below(&self.root, pattern);
                    let mut included = files.matching(&pattern);
                    if included.is_empty() {
                        included = files.matching(&format!("{}/*", pattern.trim_end_matches('/')));
                    }
                    for path in included {
                        self.file(files, &path, depth + 1);
                    }
                }
                ("<virtualhost", _) => {
                    self.close();
                    self.host.ports = values.iter().filter_map(|value| port(value)).take(PORTS_MAX).collect();
                }
                ("</virtualhost", _) => self.close(),
                ("servername" | "serveralias", _) => {
                    let bare = values.iter().map(|value| {
                        let value = value.rsplit_once("://").map_or(value.as_str(), |(_, rest)| rest);
                        value.split_once(':').map_or(value, |(name, _)| name)
                    });
                    self.host.names.extend(host_names(bare));
                    self.host.names.truncate(NAMES_MAX);
                }
                ("sslcertificatefile", Some(certificate)) => {
                    let origin = format!("{path}:{}", number + 1);
                    self.host.certificates.push((below(&self.root, certificate), origin));
                }
                ("sslcertificatekeyfile", Some(key)) => self.host.keys.push(below(&self.root, key)),
                _ => {}
            }
        }
    }

    /// Ends the virtual host that is open.
    fn close(&mut self) {
        let host = std::mem::take(&mut self.host);
        for (at, (certificate, origin)) in host.certificates.into_iter().enumerate() {
            if self.found.len() >= USAGES_MAX {
                return;
            }
            self.found.push(Usage {
                server: Server::Apache2,
                origin,
                certificate,
                key: host.keys.get(at).cloned(),
                names: host.names.clone(),
                ports: host.ports.clone(),
            });
        }
    }

    /// With `${NAME}` replaced by what was defined.
    fn filled(&self, line: &str) -> String {
        let mut filled = line.to_owned();
        for (name, value) in &self.defined {
            let mark = format!("${{{name}}}");
            if filled.contains(&mark) && filled.len() + value.len() <= VALUE_MAX {
                filled = filled.replacen(&mark, value, 8);
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn virtual_hosts_with_defines_includes_and_modules() {
        let found = read(
            Server::Apache2,
            &[
                (
                    "/etc/apache2/apache2.conf",
                    "# Include no.conf\nDefine CERTS /srv/tls\nIncludeOptional sites-enabled/*.conf\nInclude extra\n",
                ),
                (
                    "/etc/apache2/sites-enabled/a.conf",
                    "<IfModule mod_ssl.c>\n<VirtualHost *:443 [::]:8443>\n\tServerName https://a.example:443\n\
                     ServerAlias www.a.example \\\n  b.example\n SSLCertificateFile \"${CERTS}/a.pem\"\n\
                     SSLCertificateKeyFile ${CERTS}/a.key\n</VirtualHost>\n</IfModule>\n\
                     <VirtualHost *:80>\nServerName plain.example\n</VirtualHost>",
                ),
                (
                    "/etc/apache2/extra/c.conf",
                    "<virtualhost _default_:443>\nsslcertificatefile c.pem\n</virtualhost>",
                ),
            ],
        );
        assert_eq!(
            found,
            [
                (
                    "/srv/tls/a.pem".to_owned(),
                    "/srv/tls/a.key".to_owned(),
                    "a.example www.a.example b.example".to_owned(),
                    vec![443, 8443]
                ),
                ("/etc/apache2/c.pem".to_owned(), String::new(), String::new(), vec![443]),
            ]
        );
    }
}
