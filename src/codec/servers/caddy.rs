//! Caddy: `tls CERT KEY` lines of a Caddyfile. What Caddy obtains itself lies in its storage.

use super::{DEPTH_MAX, Files, NAMES_MAX, USAGES_MAX, below, dir_of, host_names, port, uncommented, words};
use crate::core::usage::{Server, Usage};

const MAIN: &str = "/etc/caddy/Caddyfile";

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let mut reading = Reading::default();
    reading.file(files, MAIN, 0);
    reading.found
}

#[derive(Default)]
struct Reading {
    nesting: usize,
    /// Addresses of the site that is open.
    site: Vec<String>,
    found: Vec<Usage>,
}

impl Reading {
    fn file(&mut self, files: &mut Files<'_>, path: &str, depth: usize) {
        let Some(text) = files.text(path).filter(|_| depth < DEPTH_MAX) else { return };
        let mut head: Vec<String> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = words(uncommented(line));
            let opens = words.last().is_some_and(|word| word == "{");
            if opens {
                words.pop();
            }
            match words.first().map(String::as_str) {
                Some("}") => self.nesting = self.nesting.saturating_sub(1),
                Some("import") => {
                    for included in
                        words.get(1).map(|p| files.matching(&below(dir_of(path), p))).unwrap_or_default()
                    {
                        self.file(files, &included, depth + 1);
                    }
                }
                Some("tls") if words.len() >= 3 && self.nesting > 0 => {
                    let origin = format!("{path}:{}", number + 1);
                    self.tls(&words[1], &words[2], dir_of(path), origin);
                }
                Some(_) if self.nesting == 0 => {
                    let more = words.last().is_some_and(|word| word.ends_with(','));
                    let sites = words.iter().flat_map(|word| word.split(','));
                    head.extend(sites.filter(|site| !site.is_empty()).map(str::to_owned));
                    if !more {
                        self.site = std::mem::take(&mut head);
                        self.site.truncate(NAMES_MAX);
                    }
                }
                _ => {}
            }
            self.nesting = self.nesting.saturating_add(usize::from(opens));
        }
    }

    fn tls(&mut self, certificate: &str, key: &str, dir: &str, origin: String) {
        let bare: Vec<&str> =
            self.site.iter().map(|a| a.rsplit_once("://").map_or(a.as_str(), |(_, rest)| rest)).collect();
        let ports = bare.iter().map(|a| if a.contains(':') { port(a) } else { Some(443) });
        let ports: Vec<u16> = ports.flatten().collect();
        let names = host_names(bare.iter().map(|a| a.split([':', '/']).next().unwrap_or(a)));
        if self.found.len() < USAGES_MAX {
            self.found.push(Usage {
                server: Server::Caddy,
                origin,
                certificate: below(dir, certificate),
                key: Some(below(dir, key)),
                names,
                ports,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn sites_with_files_of_their_own() {
        let found = read(
            Server::Caddy,
            &[
                (
                    "/etc/caddy/Caddyfile",
                    "{\n  email a@example.com\n}\nhttps://a.example, www.a.example:8443 {\n  tls /a.pem /a.key\n  handle {\n  }\n}\n\
                     b.example {\n  tls internal\n}\nimport sites/*\n",
                ),
                (
                    "/etc/caddy/sites/c",
                    "c.example,\nd.example {\n\ttls c.pem c.key {\n\t\tprotocols tls1.3\n\t}\n}\n",
                ),
            ],
        );
        let rows: Vec<_> = found.iter().map(|(c, k, n, p)| (&c[..], &k[..], &n[..], &p[..])).collect();
        assert_eq!(
            rows,
            [
                ("/a.pem", "/a.key", "a.example www.a.example", &[443, 8443][..]),
                ("/etc/caddy/sites/c.pem", "/etc/caddy/sites/c.key", "c.example d.example", &[443][..]),
            ]
        );
    }
}
