//! mosquitto: `certfile` and `keyfile` of each `listener`, with `include_dir`.

use super::{DEPTH_MAX, Files, USAGES_MAX, uncommented};
use crate::core::usage::{Server, Usage};

const MAIN: &str = "/etc/mosquitto/mosquitto.conf";
/// Where the default listener is moved by nothing.
const PORT: u16 = 1883;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let mut reading = Reading { port: PORT, found: Vec::new() };
    reading.file(files, MAIN, 0);
    reading.found
}

struct Reading {
    /// Of the listener that is described.
    port: u16,
    found: Vec<Usage>,
}

impl Reading {
    fn file(&mut self, files: &mut Files<'_>, path: &str, depth: usize) {
        let Some(text) = files.text(path).filter(|_| depth < DEPTH_MAX) else { return };
        for (number, line) in text.lines().enumerate() {
            let line = uncommented(line).trim();
            let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
            let value = value.trim();
            match key {
                "include_dir" => {
                    for included in files.matching(&format!("{}/*.conf", value.trim_end_matches('/'))) {
                        self.file(files, &included, depth + 1);
                    }
                }
                "listener" | "port" => {
                    let port = value.split_whitespace().next().and_then(|port| port.parse().ok());
                    self.port = port.unwrap_or(PORT);
                }
                "certfile" if self.found.len() < USAGES_MAX => self.found.push(Usage {
                    server: Server::Mosquitto,
                    origin: format!("{path}:{}", number + 1),
                    certificate: value.to_owned(),
                    key: None,
                    names: Vec::new(),
                    ports: vec![self.port],
                }),
                "keyfile" => {
                    let port = self.port;
                    if let Some(usage) = self.found.last_mut().filter(|usage| usage.ports == [port]) {
                        usage.key = Some(value.to_owned());
                    }
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn listeners_of_several_files() {
        let found = read(
            Server::Mosquitto,
            &[
                ("/etc/mosquitto/mosquitto.conf", "listener 1883\ninclude_dir /etc/mosquitto/conf.d\n"),
                (
                    "/etc/mosquitto/conf.d/tls.conf",
                    "listener 8883 0.0.0.0\n# c\ncertfile /etc/mosquitto/certs/a.crt\nkeyfile /etc/mosquitto/certs/a.key\n",
                ),
            ],
        );
        let (certificate, key) =
            ("/etc/mosquitto/certs/a.crt".to_owned(), "/etc/mosquitto/certs/a.key".to_owned());
        assert_eq!(found, [(certificate, key, String::new(), vec![8883])]);
    }
}
