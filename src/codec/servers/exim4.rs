//! exim4: `tls_certificate` where it is a plain path, after macros are put in.

use std::collections::BTreeMap;

use super::Files;
use crate::core::usage::{Server, Usage};

/// Debian's template, whole or in pieces, and a file that takes the place of both.
const PLACES: [&str; 6] = [
    "/etc/exim4/exim4.conf.localmacros",
    "/etc/exim4/exim4.conf",
    "/etc/exim4/exim4.conf.template",
    "/etc/exim4/conf.d/main/*",
    "/etc/exim/exim.conf",
    "/usr/exim/configure",
];
/// What Debian's configuration does not say itself.
const CONFDIR: &str = "/etc/exim4";
/// Macros within macros.
const FILLS_MAX: usize = 8;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let mut macros: BTreeMap<String, String> = BTreeMap::from([("CONFDIR".to_owned(), CONFDIR.to_owned())]);
    let mut settings: BTreeMap<&str, (String, String)> = BTreeMap::new();
    let mut asked = false;
    for place in PLACES {
        for path in files.matching(place) {
            let Some(text) = files.text(&path) else { continue };
            // Debian: without MAIN_TLS_ENABLE the lines below are left out.
            asked |=
                path.ends_with("/exim4.conf") || path.ends_with("exim.conf") || path.ends_with("configure");
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                    continue;
                };
                let (key, value) = (key.trim().trim_end_matches('='), value.trim_start_matches('=').trim());
                if key == "MAIN_TLS_ENABLE" {
                    asked |= !matches!(value, "" | "no" | "false" | "0");
                }
                let name = ["tls_certificate", "tls_privatekey"].into_iter().find(|name| *name == key);
                if let Some(name) = name {
                    settings.entry(name).or_insert((value.to_owned(), format!("{path}:{}", number + 1)));
                } else if key.chars().next().is_some_and(|c| c.is_ascii_uppercase())
                    && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                {
                    // The first one counts: what follows stands in `.ifndef`.
                    macros.entry(key.to_owned()).or_insert_with(|| value.to_owned());
                }
            }
        }
    }
    let value =
        |name: &str| settings.get(name).map(|(value, origin)| (filled(value, &macros), origin.clone()));
    // Both in one file, where Debian is told so.
    let whole = macros.get("MAIN_TLS_CERTKEY").map(|path| filled(path, &macros));
    let Some((certificate, origin)) = value("tls_certificate").filter(|_| asked) else { return Vec::new() };
    vec![Usage {
        server: Server::Exim4,
        origin,
        certificate: whole.clone().filter(|path| path.starts_with('/')).unwrap_or(certificate),
        key: whole.or_else(|| value("tls_privatekey").map(|(key, _)| key)).filter(|key| key.starts_with('/')),
        names: Vec::new(),
        ports: vec![25],
    }]
}

fn filled(value: &str, macros: &BTreeMap<String, String>) -> String {
    let mut value = value.to_owned();
    for _ in 0..FILLS_MAX {
        // The longest name first, as one may begin with another.
        let name = macros.keys().filter(|name| value.contains(name.as_str())).max_by_key(|name| name.len());
        let Some((name, inner)) = name.and_then(|name| macros.get_key_value(name)) else { break };
        if inner.contains(name.as_str()) || inner.len() > 4096 {
            break;
        }
        value = value.replacen(name.as_str(), inner, 1);
    }
    value
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    const PIECE: &str = ".ifdef MAIN_TLS_ENABLE\n.ifndef MAIN_TLS_CERTIFICATE\nMAIN_TLS_CERTIFICATE = CONFDIR/exim.crt\n\
        .endif\ntls_certificate = MAIN_TLS_CERTIFICATE\n.ifndef MAIN_TLS_PRIVATEKEY\nMAIN_TLS_PRIVATEKEY = CONFDIR/exim.key\n\
        .endif\ntls_privatekey = MAIN_TLS_PRIVATEKEY\n.endif\n";

    #[test]
    fn debians_macros_and_a_plain_file() {
        let main = ("/etc/exim4/conf.d/main/03_tls", PIECE);
        assert_eq!(read(Server::Exim4, &[main]), [], "not switched on");
        let on = (
            "/etc/exim4/exim4.conf.localmacros",
            "MAIN_TLS_ENABLE = yes\nMAIN_TLS_CERTIFICATE = /srv/x.pem\n",
        );
        let found = read(Server::Exim4, &[main, on]);
        assert_eq!(found, [("/srv/x.pem".into(), "/etc/exim4/exim.key".into(), String::new(), vec![25])]);
        let own = ("/etc/exim4/exim4.conf", "tls_certificate = ${if eq{a}{a}{/a}{/b}}\n");
        assert_eq!(read(Server::Exim4, &[own]), [], "known when a client asks");
    }
}
