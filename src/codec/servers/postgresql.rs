//! PostgreSQL: `ssl`, `ssl_cert_file` and `ssl_key_file`, with includes, of each cluster.

use std::collections::BTreeMap;

use super::{DEPTH_MAX, Files, below, dir_of};
use crate::core::usage::{Server, Usage};

/// Debian's clusters, and where others keep one.
const PLACES: [&str; 3] = [
    "/etc/postgresql/*/*/postgresql.conf",
    "/var/lib/pgsql/data/postgresql.conf",
    "/var/lib/postgresql/data/postgresql.conf",
];
const PORT: u16 = 5432;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let mut found = Vec::new();
    for main in PLACES.into_iter().flat_map(|place| files.matching(place)).collect::<Vec<_>>() {
        let mut settings = BTreeMap::new();
        file(files, &main, 0, &mut settings);
        let value = |name: &str| {
            settings.get(name).map(|(value, origin): &(String, String)| (value.clone(), origin.clone()))
        };
        let on = value("ssl").is_some_and(|(value, _)| matches!(value.as_str(), "on" | "true" | "yes" | "1"));
        // Left out: `server.crt` in the data directory.
        let data = value("data_directory").map_or_else(|| dir_of(&main).to_owned(), |(dir, _)| dir);
        let (certificate, origin) =
            value("ssl_cert_file").unwrap_or_else(|| ("server.crt".into(), main.clone()));
        let key = value("ssl_key_file").map_or_else(|| "server.key".to_owned(), |(key, _)| key);
        if on {
            found.push(Usage {
                server: Server::Postgresql,
                origin,
                certificate: below(&data, &certificate),
                key: Some(below(&data, &key)),
                names: Vec::new(),
                ports: vec![value("port").and_then(|(port, _)| port.parse().ok()).unwrap_or(PORT)],
            });
        }
    }
    found
}

/// The last setting counts.
fn file(files: &mut Files<'_>, path: &str, depth: usize, settings: &mut BTreeMap<String, (String, String)>) {
    let Some(text) = files.text(path).filter(|_| depth < DEPTH_MAX) else { return };
    for (number, line) in text.lines().enumerate() {
        let line = super::uncommented(line).trim();
        let split = line.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(line.len());
        let (name, rest) = line.split_at(split);
        let value = rest.trim_start_matches(|c: char| c == '=' || c.is_whitespace()).trim();
        let value = value.trim_matches('\'').to_owned();
        match name.to_ascii_lowercase().as_str() {
            "include" | "include_if_exists" => {
                file(files, &below(dir_of(path), &value), depth + 1, settings);
            }
            "include_dir" => {
                for included in files.matching(&format!("{}/*.conf", below(dir_of(path), &value))) {
                    file(files, &included, depth + 1, settings);
                }
            }
            "" => {}
            name => {
                settings.insert(name.to_owned(), (value, format!("{path}:{}", number + 1)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn each_cluster_with_its_includes() {
        let found = read(
            Server::Postgresql,
            &[
                (
                    "/etc/postgresql/15/main/postgresql.conf",
                    "data_directory = '/var/lib/postgresql/15/main' # d\nport = 5433\nssl = off\ninclude_dir = 'conf.d'\n",
                ),
                ("/etc/postgresql/15/main/conf.d/tls.conf", "ssl on\nssl_cert_file = '/etc/ssl/db.pem'\n"),
                ("/etc/postgresql/16/off/postgresql.conf", "ssl = off\nssl_cert_file = '/x'\n"),
            ],
        );
        let key = "/var/lib/postgresql/15/main/server.key".to_owned();
        assert_eq!(found, [("/etc/ssl/db.pem".to_owned(), key, String::new(), vec![5433])]);
    }
}
