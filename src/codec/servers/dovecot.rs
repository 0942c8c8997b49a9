//! dovecot: `ssl_cert = </path` (2.3), `ssl_server_cert_file = /path` (2.4), includes, and
//! `local_name` blocks.

use super::{DEPTH_MAX, Files, USAGES_MAX, below, dir_of, host_names, uncommented};
use crate::core::usage::{Server, Usage};

const MAIN: &str = "/etc/dovecot/dovecot.conf";
/// Ports of its usual listeners.
const PORTS: [u16; 4] = [110, 143, 993, 995];
/// Blocks within blocks.
const NESTING_MAX: usize = 32;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let mut reading = Reading::default();
    reading.file(files, MAIN, 0);
    let off = reading.off;
    reading.found.into_iter().filter(|_| !off).collect()
}

#[derive(Default)]
struct Reading {
    /// `ssl = no`.
    off: bool,
    /// Names of the `local_name` blocks that are open, one for each block of any kind.
    blocks: Vec<Vec<String>>,
    found: Vec<Usage>,
}

impl Reading {
    fn file(&mut self, files: &mut Files<'_>, path: &str, depth: usize) {
        let Some(text) = files.text(path).filter(|_| depth < DEPTH_MAX) else { return };
        for (number, line) in text.lines().enumerate() {
            let line = uncommented(line).trim();
            if let Some(pattern) =
                line.strip_prefix("!include_try ").or_else(|| line.strip_prefix("!include "))
            {
                for included in files.matching(&below(dir_of(path), pattern.trim())) {
                    self.file(files, &included, depth + 1);
                }
            } else if let Some(head) = line.strip_suffix('{') {
                let names = match head.trim().split_once(char::is_whitespace) {
                    Some(("local_name", names)) => host_names(names.split_whitespace()),
                    _ => Vec::new(),
                };
                if self.blocks.len() < NESTING_MAX {
                    self.blocks.push(names);
                }
            } else if line == "}" {
                self.blocks.pop();
            } else if let Some((key, value)) = line.split_once('=') {
                let value = value.trim().trim_matches('"');
                let origin = format!("{path}:{}", number + 1);
                self.setting(key.trim(), value.trim_start_matches('<').trim(), dir_of(path), origin);
            }
        }
    }

    fn setting(&mut self, key: &str, value: &str, dir: &str, origin: String) {
        let names = self.blocks.concat();
        match key {
            "ssl" => self.off = value == "no",
            "ssl_cert" | "ssl_alt_cert" | "ssl_server_cert_file" if !value.is_empty() => {
                let certificate = below(dir, value);
                // The last word for the same names counts.
                self.found.retain(|usage| usage.names != names || key == "ssl_alt_cert");
                if self.found.len() < USAGES_MAX {
                    let ports = PORTS.to_vec();
                    self.found.push(Usage {
                        server: Server::Dovecot,
                        origin,
                        certificate,
                        key: None,
                        names,
                        ports,
                    });
                }
            }
            "ssl_key" | "ssl_alt_key" | "ssl_server_key_file" => {
                if let Some(usage) = self.found.iter_mut().rev().find(|usage| usage.names == names) {
                    usage.key = Some(below(dir, value));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn both_grammars_includes_and_names() {
        let found = read(
            Server::Dovecot,
            &[
                ("/etc/dovecot/dovecot.conf", "!include conf.d/*.conf\n!include_try local.conf\n"),
                (
                    "/etc/dovecot/conf.d/10-ssl.conf",
                    "ssl = yes\nssl_cert = </etc/dovecot/private/dovecot.pem # c\nssl_key = </etc/dovecot/private/dovecot.key\n\
                     local_name b.example {\n  ssl_cert = </b.pem\n  ssl_key = </b.key\n}\n",
                ),
                ("/etc/dovecot/local.conf", "ssl_server_cert_file = /new.pem\n"),
            ],
        );
        let certificates: Vec<_> = found.iter().map(|(c, k, n, _)| (&c[..], &k[..], &n[..])).collect();
        assert_eq!(certificates, [("/b.pem", "/b.key", "b.example"), ("/new.pem", "", "")]);
        assert_eq!(read(Server::Dovecot, &[("/etc/dovecot/dovecot.conf", "ssl_cert = </a\nssl = no")]), []);
    }
}
