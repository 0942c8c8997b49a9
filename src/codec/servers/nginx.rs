//! nginx: directives, blocks, includes; certificates of `http`, `mail` and `stream` hold for the
//! servers inside.

use super::{DEPTH_MAX, Files, PORTS_MAX, USAGES_MAX, below, host_names, port};
use crate::core::usage::{Server, Usage};

const DIR: &str = "/etc/nginx";
/// Blocks within blocks.
const NESTING_MAX: usize = 32;
/// Directives of one configuration.
const DIRECTIVES_MAX: usize = 200_000;

pub fn usages(files: &mut Files<'_>) -> Vec<Usage> {
    let path = format!("{DIR}/nginx.conf");
    let mut left = DIRECTIVES_MAX;
    let whole = file(files, &path, 0, &mut left);
    let mut found = Vec::new();
    servers(&whole, &Pairs::default(), 0, &mut found);
    found
}

struct Directive {
    words: Vec<String>,
    block: Vec<Directive>,
    origin: String,
}

/// Certificates and their keys, in the order of the configuration.
#[derive(Clone, Default)]
struct Pairs {
    certificates: Vec<(String, String)>,
    keys: Vec<String>,
}

fn file(files: &mut Files<'_>, path: &str, depth: usize, left: &mut usize) -> Vec<Directive> {
    let Some(text) = files.text(path).filter(|_| depth < DEPTH_MAX) else { return Vec::new() };
    let tokens = tokens(&text);
    let mut at = 0;
    block(files, path, &tokens, &mut at, (depth, 0), left)
}

fn block(
    files: &mut Files<'_>,
    path: &str,
    tokens: &[(Token, usize)],
    at: &mut usize,
    (depth, nesting): (usize, usize),
    left: &mut usize,
) -> Vec<Directive> {
    let mut found = Vec::new();
    let (mut words, mut line) = (Vec::new(), 0);
    while let Some((token, number)) = tokens.get(*at) {
        *at += 1;
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    line = *number;
                }
                words.push(word.clone());
            }
            Token::Close if nesting > 0 => break,
            Token::Close => {}
            Token::End | Token::Open => {
                let words = std::mem::take(&mut words);
                if *left == 0 {
                    return found;
                }
                *left -= 1;
                let inner = match token {
                    Token::Open if nesting < NESTING_MAX => {
                        block(files, path, tokens, at, (depth, nesting + 1), left)
                    }
                    _ => Vec::new(),
                };
                if let [word, pattern] = &words[..]
                    && word == "include"
                {
                    for included in files.matching(&below(DIR, pattern)) {
                        found.extend(file(files, &included, depth + 1, left));
                    }
                } else if !words.is_empty() {
                    found.push(Directive { words, block: inner, origin: format!("{path}:{line}") });
                }
            }
        }
    }
    found
}

fn servers(block: &[Directive], above: &Pairs, nesting: usize, found: &mut Vec<Usage>) {
    let own = pairs(block);
    let pairs = if own.certificates.is_empty() { above } else { &own };
    for directive in block {
        if directive.words[0] == "server" && !directive.block.is_empty() {
            server(&directive.block, pairs, found);
        } else if nesting < NESTING_MAX {
            servers(&directive.block, pairs, nesting + 1, found);
        }
    }
}

fn server(block: &[Directive], above: &Pairs, found: &mut Vec<Usage>) {
    let own = pairs(block);
    let pairs = if own.certificates.is_empty() { above } else { &own };
    let values = |name: &str| -> Vec<&[String]> {
        block.iter().filter(|d| d.words[0] == name).map(|d| &d.words[1..]).collect()
    };
    let whole = values("ssl").iter().any(|words| words.first().is_some_and(|word| word == "on"));
    let ports: Vec<u16> = values("listen")
        .into_iter()
        .filter(|words| whole || words.iter().any(|word| word == "ssl" || word == "quic"))
        .filter_map(|words| port(words.first()?))
        .take(PORTS_MAX)
        .collect();
    // A server that only inherits a certificate and speaks plain HTTP uses none.
    if ports.is_empty() && own.certificates.is_empty() {
        return;
    }
    let names = host_names(values("server_name").into_iter().flatten().map(String::as_str));
    for (at, (certificate, origin)) in pairs.certificates.iter().enumerate() {
        if found.len() >= USAGES_MAX {
            return;
        }
        found.push(Usage {
            server: Server::Nginx,
            origin: origin.clone(),
            certificate: below(DIR, certificate),
            key: pairs.keys.get(at).map(|key| below(DIR, key)),
            names: names.clone(),
            ports: ports.clone(),
        });
    }
}

fn pairs(block: &[Directive]) -> Pairs {
    let mut pairs = Pairs::default();
    for directive in block {
        let [name, value] = &directive.words[..] else { continue };
        // With a variable the file is known when a client asks; data: is the text itself.
        if value.contains('$') || value.contains(':') {
            continue;
        }
        match name.as_str() {
            "ssl_certificate" => pairs.certificates.push((value.clone(), directive.origin.clone())),
            "ssl_certificate_key" => pairs.keys.push(value.clone()),
            _ => {}
        }
    }
    pairs
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// With their lines, from 1.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    let (mut word, mut line): (Option<String>, usize) = (None, 1);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' if word.is_none() => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '"' | '\'' if word.is_none() => {
                let mut quoted = String::new();
                while let Some(inner) = letters.next() {
                    line += usize::from(inner == '\n');
                    match inner {
                        '\\' => quoted.extend(letters.next()),
                        end if end == letter => break,
                        inner => quoted.push(inner),
                    }
                }
                tokens.push((Token::Word(quoted), line));
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            // `${name}` inside a word.
            '{' if word.as_ref().is_some_and(|word| word.ends_with('$')) => {
                word.get_or_insert_default().push('{');
                for inner in letters.by_ref() {
                    word.get_or_insert_default().push(inner);
                    if inner == '}' {
                        break;
                    }
                }
            }
            '{' | '}' | ';' => {
                tokens.extend(word.take().map(|word| (Token::Word(word), line)));
                let token = match letter {
                    '{' => Token::Open,
                    '}' => Token::Close,
                    _ => Token::End,
                };
                tokens.push((token, line));
            }
            letter if letter.is_whitespace() => {
                tokens.extend(word.take().map(|word| (Token::Word(word), line)));
                line += usize::from(letter == '\n');
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use crate::codec::servers::tests::read;
    use crate::core::usage::Server;

    #[test]
    fn servers_inherit_include_and_quote() {
        let found = read(
            Server::Nginx,
            &[
                (
                    "/etc/nginx/nginx.conf",
                    "# c\nevents {}\nhttp {\n ssl_certificate /etc/ssl/all.pem; ssl_certificate_key all.key;\n \
                     include sites-enabled/*;\n log_format main '$a { \"x\" }';\n}\n",
                ),
                (
                    "/etc/nginx/sites-enabled/a",
                    "server { listen 443 ssl; listen [::]:8443 ssl; listen 80; server_name A.example *.a.example _; }\n\
                     server { listen 80; server_name plain.example; }",
                ),
                (
                    "/etc/nginx/sites-enabled/b",
                    "server {\n listen 443 ssl;\n server_name b.example;\n include snippets/pair.conf;\n \
                     location / { if ($host ~ \"x{2}\") { return 301; } }\n}\n\
                     server { listen 443 ssl; ssl_certificate /c/$ssl_server_name.pem; server_name c.example; }",
                ),
                (
                    "/etc/nginx/snippets/pair.conf",
                    "ssl_certificate \"/etc/ssl/b c.pem\";\nssl_certificate_key /etc/ssl/b.key;\n\
                     ssl_certificate /etc/ssl/b-rsa.pem;ssl_certificate_key /etc/ssl/b-rsa.key;",
                ),
            ],
        );
        let row = |certificate: &str, key: &str, names: &str, ports: &[u16]| {
            (certificate.to_owned(), key.to_owned(), names.to_owned(), ports.to_vec())
        };
        assert_eq!(
            found,
            [
                row("/etc/ssl/all.pem", "/etc/nginx/all.key", "a.example *.a.example", &[443, 8443]),
                row("/etc/ssl/b c.pem", "/etc/ssl/b.key", "b.example", &[443]),
                row("/etc/ssl/b-rsa.pem", "/etc/ssl/b-rsa.key", "b.example", &[443]),
                row("/etc/ssl/all.pem", "/etc/nginx/all.key", "c.example", &[443]),
            ]
        );
    }
}
