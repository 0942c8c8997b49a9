//! postfix: `smtpd_tls_*` of `main.cf`, and which ports `master.cf` opens.

use std::collections::BTreeMap;

use super::{Files, PORTS_MAX, USAGES_MAX, host_names};
use crate::core::usage::{Server, Usage};

const MAIN: &str = "/etc/postfix/main.cf";
const MASTER: &str = "/etc/postfix/master.cf";
/// Certificate and key; the older names are still in use.
const PAIRS: [(&str, &str); 3] = [
    ("smtpd_tls_cert_file", "smtpd_tls_key_file"),
    ("smtpd_tls_eccert_file", "smtpd_tls_eckey_file"),
    ("smtpd_tls_dcert_file", "smtpd_tls_dkey_file"),
];
/// Services of `master.cf` that speak TLS to clients.
const SERVICES: [(&str, u16); 5] =
    [("smtp", 25), ("submission", 587), ("smtps", 465), ("submissions", 465), ("587", 587)];
/// Parameters within parameters.
const FILLS_MAX: usize = 8;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let Some(text) = files.text(MAIN) else { return Vec::new() };
    let parameters = parameters(&text);
    let value = |name: &str| {
        parameters.get(name).map(|(value, line)| (filled(value, &parameters).trim().to_owned(), *line))
    };
    let names = value("myhostname").map(|(name, _)| host_names([name.as_str()])).unwrap_or_default();
    let ports = files.text(MASTER).map_or_else(|| vec![25], |text| ports(&text));
    let mut found = Vec::new();
    let mut push = |certificate: String, key: Option<String>, line: usize| {
        found.push(Usage {
            server: Server::Postfix,
            origin: format!("{MAIN}:{line}"),
            certificate,
            key,
            names: names.clone(),
            ports: ports.clone(),
        });
    };
    if let Some((list, line)) = value("smtpd_tls_chain_files").filter(|(list, _)| !list.is_empty()) {
        // Since postfix 3.4: files that hold key and chain, or the key in a file before its chain.
        let parts: Vec<&str> =
            list.split([',', ' ', '\t']).filter(|part| !part.is_empty()).take(USAGES_MAX).collect();
        for (at, part) in parts.iter().enumerate() {
            let key = at.checked_sub(1).map(|before| parts[before].to_owned());
            push((*part).to_owned(), key, line);
        }
        return found;
    }
    for (certificate, key) in PAIRS {
        if let Some((path, line)) = value(certificate) {
            let key = value(key).map(|(key, _)| key).filter(|key| key.starts_with('/'));
            push(path, key, line);
        }
    }
    found
}

/// By name, with the line they begin at; the last one counts.
fn parameters(text: &str) -> BTreeMap<String, (String, usize)> {
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut last: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let Some((value, _)) = last.as_ref().and_then(|name| found.get_mut(name)) {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        if let Some((name, value)) = line.split_once('=') {
            let name = name.trim().to_owned();
            found.insert(name.clone(), (value.trim().to_owned(), number + 1));
            last = Some(name);
        }
    }
    found
}

/// With `$name` and `${name}` replaced, a few levels deep.
fn filled(value: &str, parameters: &BTreeMap<String, (String, usize)>) -> String {
    let mut value = value.to_owned();
    for _ in 0..FILLS_MAX {
        let Some((before, rest)) = value.split_once('$') else { break };
        let bare = rest.trim_start_matches(['{', '(']);
        let name: String = bare.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let after = bare[name.len()..].trim_start_matches(['}', ')']);
        let inner = match name.as_str() {
            "config_directory" => "/etc/postfix",
            name => parameters.get(name).map_or("", |(value, _)| value.as_str()),
        };
        if inner.len() > 4096 {
            break;
        }
        value = format!("{before}{inner}{after}");
    }
    value
}

fn ports(text: &str) -> Vec<u16> {
    let open = text.lines().filter(|line| !line.starts_with(['#', ' ', '\t'])).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (service, kind) = (words.next()?, words.next()?);
        let service = service.rsplit_once(':').map_or(service, |(_, port)| port);
        let known = SERVICES.iter().find(|(name, _)| *name == service).map(|(_, port)| *port);
        (kind == "inet").then(|| known.or_else(|| service.parse().ok())).flatten()
    });
    open.take(PORTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn parameters_with_variables_and_open_ports() {
        let main = "myhostname = mail.example.com\ntls = /etc/tls\nsmtpd_tls_cert_file =\n  $tls/${myhostname}.pem\n\
                    # smtpd_tls_eccert_file = /no\nsmtpd_tls_key_file=$config_directory/key.pem\n";
        let master = "smtp      inet  n - y - - smtpd\n#smtps inet n\n127.0.0.1:submission inet n - y\n  -o x=y\nsmtp unix - - y";
        let found =
            read(Server::Postfix, &[("/etc/postfix/main.cf", main), ("/etc/postfix/master.cf", master)]);
        let row = |certificate: &str, key: &str, ports: &[u16]| {
            (certificate.to_owned(), key.to_owned(), "mail.example.com".to_owned(), ports.to_vec())
        };
        assert_eq!(found, [row("/etc/tls/mail.example.com.pem", "/etc/postfix/key.pem", &[25, 587])]);
        let chains = "myhostname=mail.example.com\nsmtpd_tls_chain_files = /a.key, /a.pem";
        let found = read(Server::Postfix, &[("/etc/postfix/main.cf", chains)]);
        assert_eq!(found[1], row("/a.pem", "/a.key", &[25]));
    }
}
