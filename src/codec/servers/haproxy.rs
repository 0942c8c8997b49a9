//! haproxy: `bind … ssl crt` with a file, a directory or a list, `crt-base`, and `crt-store`.

use super::{Files, PORTS_MAX, USAGES_MAX, below, host_names, port, uncommented, words};
use crate::core::usage::{Server, Usage};

const MAIN: &str = "/etc/haproxy/haproxy.cfg";
const MORE: &str = "/etc/haproxy/conf.d/*.cfg";
/// What a directory of certificates holds beside them.
const BESIDE: [&str; 6] = [".key", ".issuer", ".ocsp", ".sctl", ".dh", ".txt"];

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let mut mains = vec![MAIN.to_owned()];
    mains.extend(files.matching(MORE));
    let mut found = Vec::new();
    let mut base = "/etc/haproxy".to_owned();
    for path in mains {
        let Some(text) = files.text(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let words = words(uncommented(line));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let origin = format!("{path}:{}", number + 1);
            match &words[..] {
                ["crt-base", dir] => (*dir).clone_into(&mut base),
                ["load", rest @ ..] => {
                    for certificate in values(rest, "crt") {
                        let key = values(rest, "key").first().map(|key| below(&base, key));
                        push(&mut found, &origin, below(&base, certificate), key, Vec::new(), &[]);
                    }
                }
                ["bind", address, rest @ ..] if rest.contains(&"ssl") => {
                    let ports: Vec<u16> = address.split(',').filter_map(port).take(PORTS_MAX).collect();
                    for certificate in values(rest, "crt") {
                        for certificate in expanded(files, below(&base, certificate)) {
                            push(&mut found, &origin, certificate, None, Vec::new(), &ports);
                        }
                    }
                    for list in values(rest, "crt-list") {
                        from_list(files, &below(&base, list), &base, &ports, &mut found);
                    }
                }
                _ => {}
            }
        }
    }
    found
}

fn values<'w>(words: &[&'w str], name: &str) -> Vec<&'w str> {
    words.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1]).collect()
}

/// The file itself, or the certificates of a directory.
fn expanded(files: &mut Files<'_>, path: String) -> Vec<String> {
    let mut inside = files.matching(&format!("{}/*", path.trim_end_matches('/')));
    inside.retain(|file| !BESIDE.iter().any(|ending| file.ends_with(ending)));
    if inside.is_empty() { vec![path] } else { inside }
}

fn from_list(files: &mut Files<'_>, list: &str, base: &str, ports: &[u16], found: &mut Vec<Usage>) {
    let Some(text) = files.text(list) else { return };
    for (number, line) in text.lines().enumerate() {
        // Options of one certificate stand in brackets before its names.
        let line = uncommented(line);
        let plain = match (line.find('['), line.rfind(']')) {
            (Some(open), Some(close)) if open < close => format!("{} {}", &line[..open], &line[close + 1..]),
            _ => line.to_owned(),
        };
        let words = words(&plain);
        let Some((certificate, names)) = words.split_first() else { continue };
        let names = host_names(names.iter().map(String::as_str).filter(|name| !name.starts_with('!')));
        push(found, &format!("{list}:{}", number + 1), below(base, certificate), None, names, ports);
    }
}

fn push(
    found: &mut Vec<Usage>,
    origin: &str,
    certificate: String,
    key: Option<String>,
    names: Vec<String>,
    ports: &[u16],
) {
    if found.len() < USAGES_MAX {
        let origin = origin.to_owned();
        found.push(Usage { server: Server::Haproxy, origin, certificate, key, names, ports: ports.to_vec() });
    }
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn files_directories_and_lists() {
        let found = read(
            Server::Haproxy,
            &[
                (
                    "/etc/haproxy/haproxy.cfg",
                    "global\n  crt-base /tls\nfrontend f\n  bind *:80\n  bind :443,:8443 ssl crt one.pem crt many alpn h2 # x\n  \
                     bind [::]:444 ssl crt-list /etc/haproxy/list\n",
                ),
                ("/tls/many/a.pem", ""),
                ("/tls/many/a.pem.key", ""),
                (
                    "/etc/haproxy/list",
                    "b.pem [alpn h2 ocsp-update on] b.example !no.example\n# c\n/x/c.pem\n",
                ),
            ],
        );
        let certificates: Vec<_> = found
            .iter()
            .map(|(certificate, _, names, ports)| (&certificate[..], &names[..], &ports[..]))
            .collect();
        assert_eq!(
            certificates,
            [
                ("/tls/one.pem", "", &[443, 8443][..]),
                ("/tls/many/a.pem", "", &[443, 8443][..]),
                ("/tls/b.pem", "b.example", &[444][..]),
                ("/x/c.pem", "", &[444][..]),
            ]
        );
    }
}
