//! The laws, each over any bytes.

use std::net::{Ipv4Addr, SocketAddr};

use nolapse::ca::readers;
use nolapse::codec::{bundle, key, pem, state, x509};
use nolapse::config::{Facts, Source, effective, resolve};
use nolapse::core::endpoint::Protocol;
use nolapse::core::failure::{Class, Failure, plain};
use nolapse::core::layout::Content;
use nolapse::core::name::{HookId, LineageId, SubjectName, Token};
use nolapse::core::time::{Span, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::engine::fuzz;

const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Nothing in it steers a terminal, forges a log line, or is endless.
#[track_caller]
fn safe(text: &str, most: usize) {
    assert_eq!(plain(text, usize::MAX), text, "raw control characters");
    assert!(text.chars().count() <= most, "{} characters", text.chars().count());
}

#[track_caller]
fn safe_failure(failure: &Failure) -> String {
    safe(&failure.words, Failure::WORDS_MAX + 1);
    assert!(!failure.words.is_empty());
    assert!(failure.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", failure.code);
    if let Class::Limited { until } = failure.class {
        assert!((Span::ZERO..=Span::days(7)).contains(&until.since(NOON)), "{until}");
    }
    failure.code.clone()
}

#[test]
fn config() {
    let words = [
        "[certificate.\"a.example\"]",
        "names = [",
        "service = \"nginx\"",
        "[issuer.x]",
        "directory = ",
        "[hook.x]",
        "run = ",
        "reload = [",
        "[defaults]",
        "[agent]",
        "state-dir = ",
        "-file = ",
        "-env",
        "\"\"\"",
        "'''",
        "#",
        "timeout = \"1h\"",
        "key-mode = \"0640\"",
        "listen = \"127.0.0.1:80\"",
        "observe = [\"smtp://127.0.0.1:25\"]",
        "accept-terms = true",
    ];
    fuzz("config", &words, |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let lines = text.matches('\n').count() + 1;
        let sources = [Source::new("nolapse.toml", text)];
        let resolved = resolve(&sources, &Facts::default());
        assert_eq!(resolve(&sources, &Facts::default()), resolved, "the same text read twice");
        let mut codes: Vec<_> = resolved.problems.iter().map(|problem| problem.code).collect();
        for problem in &resolved.problems {
            assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{}", problem.place());
            for line in problem.to_string().lines() {
                safe(line, 4000);
            }
            safe(&problem.words, 601);
        }
        codes.sort_unstable();
        codes.dedup();
        // What is taken can be printed and means the same when it is read again.
        if resolved.problems.is_empty() {
            let printed = effective(&resolved);
            for line in printed.lines() {
                safe(line, usize::MAX);
            }
        }
        format!("{codes:?} {}", resolved.wanted.lineages.len().min(3))
    });
}

#[test]
fn pem_text() {
    let words = [
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----",
        "ENCRYPTED",
        "===",
        "MIIB",
    ];
    fuzz("pem", &words, |input| {
        let strict = pem::certificates(input);
        let lenient = pem::lenient_certificates(input);
        if let Ok(chain) = &strict {
            assert_eq!(lenient.as_ref().ok(), Some(chain), "what is taken strictly is taken leniently");
            assert!((1..=pem::CERTIFICATES_MAX).contains(&chain.len()));
            let again: String = chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
            assert_eq!(pem::certificates(again.as_bytes()).as_ref(), Ok(chain), "written and read again");
        }
        let key = pem::private_key(input);
        if let Ok(key) = &key {
            let again = pem::private_key(pem::encode_key(key).bytes());
            assert!(again.is_ok_and(|again| again == *key), "a key written and read again");
            let _ = key::public_half(key);
        }
        for error in [strict.as_ref().err(), lenient.as_ref().err(), key.as_ref().err()].into_iter().flatten()
        {
            safe(&error.to_string(), 500);
        }
        let kind = |error: Option<&pem::PemError>| {
            error.map(|error| error.to_string().chars().take(24).collect::<String>())
        };
        format!(
            "{:?} {:?} {:?}",
            kind(strict.as_ref().err()),
            kind(lenient.as_ref().err()),
            kind(key.as_ref().err())
        )
    });
}

#[test]
fn chain() {
    fuzz("chain", &["\u{30}\u{2}", "\u{6}\u{3}\u{55}\u{1d}\u{11}"], |input| {
        // Several certificates follow each other where the input says so.
        let members: Vec<Vec<u8>> = split_der(input);
        let first = members.first().map_or(&[][..], Vec::as_slice);
        let leaf = x509::leaf(first);
        assert_eq!(x509::leaf(first), leaf);
        let links = x509::verify_links(&members);
        let authority = x509::is_ca(first);
        let validity = x509::validity(first);
        if let Ok(leaf) = &leaf {
            assert_eq!(validity.as_ref().ok(), Some(&leaf.validity()));
            assert_eq!(x509::spki_fingerprint(first).ok(), Some(leaf.key));
            safe(&leaf.serial, 200);
            for name in &leaf.names {
                assert_eq!(SubjectName::parse(&name.to_string()).as_ref(), Ok(name));
            }
            if let Some(id) = &leaf.ari_id {
                assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{id}");
            }
            let text = pem::encode("CERTIFICATE", first);
            assert_eq!(bundle::leaf_of(text.as_bytes()).ok().as_ref(), Some(leaf));
        }
        for error in
            [leaf.as_ref().err(), links.as_ref().err(), authority.as_ref().err()].into_iter().flatten()
        {
            safe(&error.to_string(), 500);
        }
        let words = |text: String| text.chars().take(20).collect::<String>();
        format!(
            "{:?} {:?} {}",
            leaf.as_ref().err().map(|e| words(e.to_string())),
            links.err().map(|e| words(e.to_string())),
            members.len().min(4)
        )
    });
}

/// Outer sequences with two octets of length, as every real certificate is; the rest is one piece.
fn split_der(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    while let [0x30, 0x82, high, low, ..] = *input
        && members.len() < 8
    {
        let length = 4 + usize::from(high) * 256 + usize::from(low);
        let (member, rest) = input.split_at(length.min(input.len()));
        members.push(member.to_vec());
        input = rest;
    }
    if !input.is_empty() {
        members.push(input.to_vec());
    }
    members
}

#[test]
fn records() {
    let words = [
        "\"schema\":2",
        "\"attempt\":",
        "\"trouble\":",
        "\"debts\":[",
        "\"kind\":\"installed\"",
        "\"current\":null",
        "true",
    ];
    fuzz("records", &words, |input| {
        let content = Content::new(input.to_vec());
        let lineage = state::decode_record(&content);
        if let Ok(record) = &lineage {
            let written = state::encode_record(record).unwrap();
            assert_eq!(state::decode_record(&written).as_ref(), Ok(record), "written and read again");
        }
        let installed = state::decode_installed(&content);
        if let Ok(note) = &installed {
            let written = state::encode_installed(note).unwrap();
            assert_eq!(state::decode_installed(&written).as_ref(), Ok(note), "written and read again");
        }
        assert!(lineage.is_err() || installed.is_err(), "a text is two kinds of record");
        for error in [lineage.as_ref().err(), installed.as_ref().err()].into_iter().flatten() {
            safe(&error.to_string(), 400);
        }
        // The column is where, not what.
        let kind = |error: Option<&state::StateError>| {
            error.map(|error| error.to_string().split(" at line ").next().map(str::to_owned))
        };
        format!("{:?} {:?}", kind(lineage.as_ref().err()), kind(installed.as_ref().err()))
    });
}

#[test]
fn problem_documents() {
    let words = [
        "\"type\":",
        "\"detail\":",
        "urn:ietf:params:acme:error:",
        "rateLimited",
        "userActionRequired",
        "\"instance\":\"https://",
        "\"subproblems\":[{",
        "\"identifier\":{\"type\":\"dns\",\"value\":\"a.example\"}",
        "badNonce",
        "caa",
    ];
    fuzz("problem-documents", &words, |input| {
        // The first octet is the status, so that each meets each document.
        let (status, body) =
            input.split_first().map_or((400, input), |(first, rest)| (u16::from(*first) * 2 + 400, rest));
        let mut codes: Vec<_> = readers::refusals(status.min(999), body, Some(Span::HOUR), NOON)
            .iter()
            .map(safe_failure)
            .collect();
        codes.dedup();
        codes.join(" ")
    });
}

#[test]
fn directories() {
    let words = [
        "\"newOrder\":",
        "\"https://ca.example/x\"",
        "\"meta\":{",
        "\"profiles\":{",
        "\"termsOfService\":",
        "\"renewalInfo\":",
        "null",
    ];
    fuzz("directories", &words, |input| match readers::directory(input, NOON) {
        Err(failure) => safe_failure(&failure),
        Ok(greeting) => {
            let terms = greeting.terms.unwrap_or_default();
            safe(&terms, 301);
            assert!(greeting.profiles.len() <= 100);
            greeting.profiles.iter().for_each(|name| safe(name, 301));
            format!("{} {} {}", terms.is_empty(), greeting.profiles.len().min(3), greeting.eab_required)
        }
    });
}

#[test]
fn retry_after() {
    let words = [
        "GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "+",
        ".",
    ];
    fuzz("retry-after", &words, |input| {
        let text = String::from_utf8_lossy(input);
        let wish = readers::retry_after(&text, NOON);
        if let Some(wish) = wish {
            assert!((Span::ZERO..=Span::days(30)).contains(&wish), "{wish}");
            // Seconds do not depend on the clock.
            if text.trim().bytes().all(|b| b.is_ascii_digit()) {
                assert_eq!(readers::retry_after(&text, Timestamp::MAX), Some(wish));
            }
        }
        match wish {
            None => "none".to_owned(),
            Some(wish) => format!("{} {}", wish == Span::ZERO, wish == Span::days(30)),
        }
    });
}

#[test]
fn renewal_information() {
    let words = [
        "\"suggestedWindow\":",
        "\"start\":",
        "\"end\":",
        "\"explanationURL\":\"https://",
        "2026-12-01T00:00:00Z",
        "+23:59",
        ".999999999",
    ];
    fuzz("renewal-information", &words, |input| match readers::renewal_window(input) {
        None => "none".to_owned(),
        Some((window, explanation)) => {
            assert!(window.start < window.end);
            assert!(
                (Timestamp::MIN..=Timestamp::MAX).contains(&window.start) && window.end <= Timestamp::MAX
            );
            safe(explanation.as_deref().unwrap_or_default(), 301);
            assert_eq!(window.start.to_string().parse(), Ok(window.start), "a time written and read again");
            format!("a window {}", explanation.is_some())
        }
    });
}

#[test]
fn tokens_and_names() {
    let words = ["*.", "xn--", "[::1]", "192.0.2.1", "..", "-", "_wildcard.", "a.example", "."];
    fuzz("tokens-and-names", &words, |input| {
        let text = String::from_utf8_lossy(input);
        let token = Token::parse(&text);
        if let Ok(token) = &token {
            assert_eq!(token.as_str(), text);
            assert!((1..=Token::MAX).contains(&text.len()));
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
        }
        let name = SubjectName::parse(&text);
        if let Ok(name) = &name {
            let shown = name.to_string();
            assert_eq!(SubjectName::parse(&shown).as_ref(), Ok(name), "a name written and read again");
            assert!(
                shown.len() <= 2 + SubjectName::DNS_MAX
                    && !shown.starts_with('-')
                    && !shown.contains("..")
                    && !shown.contains('/')
            );
            safe(&shown, 300);
        }
        let id = LineageId::from_table_name(&text);
        if let Ok(id) = &id {
            assert_eq!(LineageId::parse(id.as_str()).as_ref(), Ok(id));
            assert!(
                !id.as_str().starts_with(['-', '.'])
                    && !id.as_str().contains('/')
                    && id.as_str().len() <= 210
            );
            safe(id.as_str(), 210);
        }
        let hook = HookId::parse(&text);
        for error in [token.as_ref().err(), name.as_ref().err(), id.as_ref().err(), hook.as_ref().err()]
            .into_iter()
            .flatten()
        {
            safe(&error.to_string(), 200);
        }
        format!("{:?} {:?} {:?} {}", token.err(), name.err(), id.err(), hook.is_ok())
    });
}

#[test]
fn smtp_dialogue() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener =
        runtime.block_on(tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).unwrap();
    let address = listener.local_addr().unwrap();
    let words = ["220 ", "250-", "250 STARTTLS\r\n", "220 go\r\n", "554 ", "421 "];
    fuzz("smtp", &words, |input| {
        runtime.block_on(async {
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                // Who hangs up on us has seen enough.
                let _ = stream.write_all(input).await;
                let _ = stream.shutdown().await;
                let mut said = Vec::new();
                let _ = stream.read_to_end(&mut said).await;
                said
            };
            let client = async {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                nolapse::probe::start_tls(Protocol::Smtp, stream).await.map(drop)
            };
            let (said, outcome) = tokio::join!(server, client);
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.is_empty() || said.starts_with("EHLO [127.0.0.1]\r\n"), "{said:?}");
            match outcome {
                Ok(()) => "ready for TLS".to_owned(),
                Err(unseen) => {
                    safe(&unseen.words, 600);
                    unseen.words.chars().take(34).collect()
                }
            }
        })
    });
}
