//! Small texts of others: what tools and the kernel keep in files, and what a person gives in one line.

use nolapse::codec::assignments::Assignments;
use nolapse::codec::dns::{TsigKey, resolv_conf};
use nolapse::codec::keepsake::{AccountNote, CertificateNote, listed_below, scalar};
use nolapse::codec::listening::Listener;
use nolapse::codec::persist::PersistRecord;
use nolapse::codec::renewal::{Renewal, list};
use nolapse::codec::validation::{Standing, entry_token};
use nolapse::codec::{glob, jwk, key, transparency};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::name::SubjectName;

use super::{choice, safe};

type Reader = fn(&str) -> String;

/// By the letters of their seeds, from `a`.
const READERS: [Reader; 12] = [
    renewal,
    assignments,
    notes,
    keys,
    persisting,
    transparent,
    standing,
    listening,
    resolving,
    tsig_keys,
    patterns,
    endpoints,
];
/// Longest text that lines of a shell may add up to, in octets, however often one repeats another.
const SHELL_MOST: usize = 4 << 20;

pub const WORDS: &[&str] = &[
    "[renewalparams]\n",
    "[[webroot_map]]\n",
    " = ",
    "', '",
    "export ",
    "A=\"${A}${A}\"\n",
    "${BASEDIR}",
    "'__ACME_BASE64__START_",
    "__ACME_BASE64__END_'\n",
    "\"registration\":{",
    "\"uri\":\"https://ca.example/acct/1\"",
    "\"certUrl\":",
    "names:\n  - ",
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"",
    "{\"kty\":\"RSA\",\"n\":\"",
    "\",\"d\":\"",
    "; accounturi=",
    "; policy=wildcard",
    "; persistUntil=",
    "name_value",
    "dns_names",
    "*.a.example",
    "\\n",
    " 0A 00000000:00000000 00:00000000 00000000  1000 0 12345",
    "0100007F:01BB",
    "nameserver ",
    "%eth0",
    "key \"k\" { algorithm hmac-sha256; secret \"",
    "hmac-sha512:k:",
    "[!a-z]*",
    "[]",
    "smtp://",
    "@[::1]:25",
    "?addresses=all&samples=3&every=1h",
];

/// What is read reads back once it is written, and the same text is read the same twice.
pub fn foreign_texts(input: &[u8]) -> String {
    let (which, rest) = choice(input, READERS.len());
    let text = String::from_utf8_lossy(rest);
    let said = READERS[which](&text);
    assert_eq!(READERS[which](&text), said, "the same text read twice");
    format!("{which} {said}")
}

fn renewal(text: &str) -> String {
    // What certbot would not write is lost at the first time, and nothing after that.
    let once = Renewal::parse(&Renewal::parse(text).text());
    assert_eq!(Renewal::parse(&once.text()), once, "written and read again");
    let paths: usize = once.params.values().map(|value| list(value).len()).sum();
    format!(
        "{} {} {} {}",
        once.places.len().min(2),
        once.params.len().min(2),
        once.webroots.len().min(2),
        paths.min(3)
    )
}

fn assignments(text: &str) -> String {
    let read = Assignments::parse(text, &[("BASEDIR", "/etc/dehydrated")]);
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let values: Vec<_> = names.iter().filter_map(|name| read.find(name)).collect();
    let length: usize = values.iter().map(|value| value.len()).sum();
    assert!(length <= SHELL_MOST.max(text.len()), "{length} octets of {}", text.len());
    let computed = names.iter().filter(|name| read.computed(name)).count();
    format!("{} {}", values.len().min(3), computed.min(2))
}

fn notes(text: &str) -> String {
    let certificate = CertificateNote::parse(text.as_bytes());
    let account = AccountNote::parse(text.as_bytes());
    let listed = listed_below(text, "names");
    assert!(listed.iter().chain(&scalar(text, "provider")).all(|item| !item.contains('\n')));
    format!(
        "{} {:?} {}",
        certificate.is_some_and(|note| !note.sans.is_empty()),
        account.map(|note| note.url().is_some()),
        listed.len().min(3)
    )
}

fn keys(text: &str) -> String {
    match jwk::private_key(text.as_bytes()) {
        Ok(read) => {
            assert!(key::public_half(&read).is_ok(), "a key that is taken has a public half");
            let account = jwk::account_key(&read);
            if let Ok(account) = &account {
                let again = jwk::text(account).map(|text| jwk::private_key(text.bytes()));
                let same = matches!(&again, Ok(Ok(again)) if key::public_half(again).ok() == key::public_half(&read).ok());
                assert!(same || again.is_err(), "written and read again");
            }
            format!("a key {}", account.is_ok())
        }
        Err(why) => {
            safe(&why.to_string(), 400);
            why.to_string().chars().take(30).collect()
        }
    }
}

fn persisting(text: &str) -> String {
    match PersistRecord::parse(text.as_bytes()) {
        Ok(record) => {
            assert_eq!(PersistRecord::parse(record.to_string().as_bytes()).as_ref(), Ok(&record));
            format!("{} {}", record.wildcard, record.until.is_some())
        }
        Err(why) => why.to_string(),
    }
}

fn transparent(text: &str) -> String {
    let names = transparency::names(text);
    assert!(names.is_sorted() && names.len() <= transparency::NAMES_MAX);
    let domains = transparency::domains(&names);
    for name in &names {
        assert_eq!(SubjectName::parse(&name.to_string()).as_ref(), Ok(name));
        let Some(base) = name.base().filter(|base| base.contains('.')) else { continue };
        let lies = |domain: &String| {
            base.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        assert_eq!(domains.iter().filter(|domain| lies(domain)).count(), 1, "{base} in {domains:?}");
    }
    format!("{} {}", names.len().min(4), domains.len().min(3))
}

fn standing(text: &str) -> String {
    let token = entry_token(text).is_some();
    match Standing::parse(text.as_bytes()) {
        Some(standing) => {
            let again = Standing::parse(standing.to_text().as_bytes());
            assert!(again.as_ref() == Some(&standing), "written and read again");
            assert!(standing.token().is_some_and(|token| standing.is_of(&token)));
            format!("standing {token}")
        }
        None => format!("none {token}"),
    }
}

fn listening(text: &str) -> String {
    let read: Vec<_> = text.lines().filter_map(Listener::parse).collect();
    for listener in &read {
        let wanted = listener.address;
        assert!(listener.collides(wanted), "it collides with itself");
    }
    let kinds: Vec<_> = read.iter().take(3).map(|listener| listener.address.is_ipv6()).collect();
    format!("{kinds:?}")
}

fn resolving(text: &str) -> String {
    let servers = resolv_conf::parse(text);
    assert!((1..=resolv_conf::SERVERS_MAX).contains(&servers.len()));
    assert!(servers.iter().all(|server| server.port() == 53));
    format!("{} {}", servers.len(), servers[0].is_ipv6())
}

fn tsig_keys(text: &str) -> String {
    match TsigKey::parse(text) {
        Ok(key) => {
            let mut message = vec![0; 12];
            let _ = key.sign(&mut message, 1_800_000_000);
            assert!(message.len() > 12, "it signs");
            "a key".into()
        }
        Err(why) => {
            safe(&why.to_string(), 400);
            why.to_string().chars().take(30).collect()
        }
    }
}

fn patterns(text: &str) -> String {
    let (pattern, name) = text.split_once('\n').unwrap_or((text, "a.conf"));
    let fits = glob::fits(pattern, name);
    if !glob::is_pattern(pattern) && !pattern.contains('\\') {
        assert_eq!(fits, pattern == name, "without a star it fits itself");
    }
    assert!(glob::fits("*", name) || name.starts_with('.'));
    format!("{fits} {}", glob::is_pattern(pattern))
}

fn endpoints(text: &str) -> String {
    match Endpoint::parse(text) {
        Ok(endpoint) => {
            let shown = endpoint.to_string();
            safe(&shown, 1000);
            assert_eq!(Endpoint::parse(&shown).as_ref(), Ok(&endpoint), "{shown}: written and read again");
            format!("{:?} {}", endpoint.protocol, endpoint.sni.is_some())
        }
        Err(why) => {
            safe(&why.to_string(), 400);
            why.to_string().chars().take(30).collect()
        }
    }
}
