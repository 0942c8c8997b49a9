//! The keys of a solver that answers by DNS.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::problem::Problems;
use super::raw::Section;
use super::table::{PROVIDER_WORDS, STYLE_WORDS};
use super::value::{self, Url};
use crate::core::dns_server::DnsServer;
use crate::core::domain_name::DomainName;
use crate::core::name::BadName;
use crate::core::record::ChallengeKind;
use crate::core::spec::{
    DnsProvider, DnsSpec, ExecStyle, Listen, OwnServer, PersistSpec, SecretSource, SolverExec, SolverVendor,
    SolverWebhook,
};
use crate::core::time::Span;
use crate::core::vendor::{FieldKind, VENDORS, Vendor};

/// Longest time for one run of a program: a solver is not waited for longer.
const TIMEOUT_MOST: Span = Span::minutes(2);
const PROPAGATION_MOST: Span = Span::minutes(30);
/// Most addresses in one list.
const ADDRESSES_MAX: usize = 16;
/// Most zones of one server of ours.
const ZONES_MAX: usize = 256;
const DNS_PORT: u16 = 53;
/// Stands for a provider where there is none.
const PERSIST: &str = "dns-persist-01";

/// Keys of single providers; a key at the wrong one is a mistake that would do nothing.
const OF_PROVIDER: &[(&str, &[&str])] = &[
    ("server", &["rfc2136", "acme-dns"]),
    ("tsig-key", &["rfc2136"]),
    ("run", &["exec"]),
    ("cleanup", &["exec"]),
    ("style", &["exec"]),
    ("user", &["exec"]),
    ("timeout", &["exec"]),
    ("url", &["webhook"]),
    ("token", &["webhook"]),
    ("login", &["webhook"]),
    ("password", &["webhook"]),
    ("accounts", &["acme-dns"]),
    ("dns-listen", &["self"]),
    ("zones", &["self"]),
    ("name-server", &["self"]),
    ("addresses", &["self"]),
    ("contact", &["self"]),
];
const OF_ALL_PROVIDERS: [&str; 4] = ["resolvers", "authoritative", "seen-by", "propagation"];
/// Providers named in one hint.
const PROVIDERS_SHOWN: usize = 4;
/// Longest plain value of a vendor's key, in bytes.
const TEXT_MAX: usize = 1000;

/// Of these a text that stands needs some, too.
const OF_PERSIST: &[&str] = &["resolvers", "authoritative"];

/// Where a text that stands is looked for.
pub(super) fn persist(section: &Section<'_>, problems: &mut Problems) -> Option<PersistSpec> {
    refuse_keys(section, PERSIST, problems);
    Some(PersistSpec {
        resolvers: addresses(section, "resolvers", problems)?,
        authoritative: addresses(section, "authoritative", problems)?,
    })
}

pub(super) fn resolve(
    section: &Section<'_>,
    challenge: ChallengeKind,
    problems: &mut Problems,
) -> Option<DnsSpec> {
    let word = section.choice("provider", PROVIDER_WORDS, problems)?;
    refuse_keys(section, word, problems);
    let provider = match word {
        "rfc2136" => {
            let server = optional(section, "server", problems, DnsServer::parse).ok()?;
            DnsProvider::Rfc2136 { server, key: secret(section, "tsig-key", problems).ok()? }
        }
        "exec" => DnsProvider::Exec(exec(section, problems)?),
        "webhook" => DnsProvider::Webhook(webhook(section, problems)?),
        "self" => DnsProvider::Own(own(section, problems)?),
        "acme-dns" => DnsProvider::AcmeDns {
            accounts: section.needed_text("accounts", problems)?.parse(
                "bad-path",
                value::file_path,
                problems,
            )?,
            server: optional(section, "server", problems, url).ok()?,
        },
        _ => DnsProvider::Vendor(account(Vendor::of(word)?, section, problems)?),
    };
    let span = |key: &str, least: Span, most: Span, default: Span, problems: &mut Problems| {
        section.span(key, least, most, problems).unwrap_or(default)
    };
    Some(DnsSpec {
        challenge,
        provider,
        resolvers: addresses(section, "resolvers", problems)?,
        authoritative: addresses(section, "authoritative", problems)?,
        seen_by: addresses(section, "seen-by", problems)?,
        propagation: span("propagation", Span::ZERO, PROPAGATION_MOST, DnsSpec::PROPAGATION, problems),
        ttl: span("ttl", Span::secs(1), Span::HOUR, DnsSpec::TTL, problems),
        zone: optional(section, "zone", problems, zone).ok()?,
    })
}

/// Says of each key that stands there for nothing where it belongs.
pub(super) fn refuse_keys(section: &Section<'_>, provider: &str, problems: &mut Problems) {
    for key in section.kind.keys().filter(|key| section.has(key)) {
        let fits = providers_with(key.name);
        let stands = provider == PERSIST && OF_PERSIST.contains(&key.name);
        if fits.is_empty() || fits.contains(&provider) || stands {
            continue;
        }
        for found in key.names().iter().filter_map(|name| section.find(name)) {
            let here = if provider == "provider" { "an HTTP solver" } else { provider };
            let words = format!("`{}` means nothing to {here}", key.name);
            let more = fits.len().saturating_sub(PROVIDERS_SHOWN);
            let shown = fits[..fits.len() - more].join("\" or \"");
            let more = if more == 0 { String::new() } else { format!(" or {more} others") };
            problems.error_hint(
                &found.spot,
                "one-of",
                words,
                format!("it belongs to provider = \"{shown}\"{more}"),
            );
        }
    }
}

/// The providers that a key means something to; none for a key of all solvers.
fn providers_with(stem: &str) -> Vec<&'static str> {
    if OF_ALL_PROVIDERS.contains(&stem) {
        return PROVIDER_WORDS.to_vec();
    }
    if stem == "zone" {
        // A server of ours knows its zones.
        return PROVIDER_WORDS.iter().filter(|word| **word != "self").copied().collect();
    }
    let own = OF_PROVIDER.iter().filter(|(key, _)| *key == stem).flat_map(|(_, fits)| fits.iter().copied());
    let ours = ["rfc2136"].into_iter().filter(|_| stem == "ttl");
    let vendors = VENDORS.iter().filter(|vendor| stem == "ttl" || vendor.has(stem));
    own.chain(ours).chain(vendors.map(|vendor| vendor.word)).collect()
}

/// What a vendor knows us by, and where it is.
fn account(vendor: &'static Vendor, section: &Section<'_>, problems: &mut Problems) -> Option<SolverVendor> {
    if !cfg!(feature = "dns-providers") {
        if let Some(found) = section.find("provider") {
            problems.error_hint(
                &found.spot,
                "left-out",
                format!("this nolapse was built without the interface of {}", vendor.name),
                "take a build with the feature `dns-providers`, or let `exec` or `webhook` do it",
            );
        }
        return None;
    }
    let mut account = SolverVendor { vendor, plain: Vec::new(), secrets: Vec::new() };
    let mut whole = true;
    for field in vendor.fields() {
        let needed = vendor.needs.contains(field);
        let read = match field.kind {
            FieldKind::Secret if needed => {
                section.secret(field.stem, problems).map(|source| account.secrets.push((field.stem, source)))
            }
            FieldKind::Secret => secret(section, field.stem, problems)
                .ok()
                .map(|source| account.secrets.extend(source.map(|source| (field.stem, source)))),
            kind if needed || section.find(field.stem).is_some() => {
                plain(kind, field.stem, section, problems)
                    .map(|value| account.plain.push((field.stem, value)))
            }
            _ => Some(()),
        };
        whole &= read.is_some();
    }
    whole.then_some(account)
}

fn plain(kind: FieldKind, stem: &str, section: &Section<'_>, problems: &mut Problems) -> Option<String> {
    let word = section.needed_text(stem, problems)?;
    match kind {
        FieldKind::Url => word.parse("bad-url", url, problems),
        FieldKind::Word(words) => section.choice(stem, words, problems).map(str::to_owned),
        FieldKind::Text | FieldKind::Secret => word.parse("bad-value", text, problems),
    }
}

fn text(text: &str) -> Result<String, BadName> {
    if text.is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(BadName("a text of 1 to 1000 bytes, without control characters, is needed here"));
    }
    Ok(text.to_owned())
}

fn exec(section: &Section<'_>, problems: &mut Problems) -> Option<SolverExec> {
    let Some(run) = section.find("run") else {
        problems.error(&section.head, "missing-key", "a solver that runs a program needs `run`");
        return None;
    };
    let program = section.argv("run", problems)?;
    if program.is_empty() {
        problems.error(&run.spot, "bad-program", "a program is needed here");
        return None;
    }
    let cleanup = match section.find("cleanup") {
        Some(_) => Some(section.argv("cleanup", problems)?).filter(|argv| !argv.is_empty()),
        None => None,
    };
    let style = section.choice("style", STYLE_WORDS, problems);
    Some(SolverExec {
        run: program,
        cleanup,
        style: ExecStyle::ALL.into_iter().find(|known| Some(known.word()) == style).unwrap_or_default(),
        user: optional(section, "user", problems, super::output::account_name).ok()?,
        timeout: section.span("timeout", Span::secs(1), TIMEOUT_MOST, problems).unwrap_or(Span::MINUTE),
    })
}

fn webhook(section: &Section<'_>, problems: &mut Problems) -> Option<SolverWebhook> {
    let address = section.needed_text("url", problems)?.parse("bad-url", url, problems)?;
    let token = secret(section, "token", problems).ok()?;
    let login = match section.find("login") {
        Some(_) => {
            Some((section.text("login", problems)?.text.to_owned(), section.secret("password", problems)?))
        }
        None => None,
    };
    if let (Some(_), Some(_), Some(found)) = (&token, &login, section.find("login")) {
        problems.error(&found.spot, "one-of", "`token` and `login` exclude each other");
        return None;
    }
    Some(SolverWebhook { url: address, token, login })
}

/// A name server of ours. Zones that nobody could delegate to it are refused.
fn own(section: &Section<'_>, problems: &mut Problems) -> Option<OwnServer> {
    let mut listen = Vec::new();
    match section.find("dns-listen") {
        Some(found) => {
            for word in section.texts("dns-listen", problems)? {
                listen.push(word.parse("bad-address", value::listen, problems)?);
            }
            if listen.is_empty() || listen.len() > ADDRESSES_MAX {
                let words = format!("`dns-listen` has 1 to {ADDRESSES_MAX} addresses");
                problems.error(&found.spot, "bad-address", words);
                return None;
            }
        }
        None => listen.push(Listen::Address((Ipv6Addr::UNSPECIFIED, DNS_PORT).into())),
    }
    let Some(found) = section.find("zones") else {
        problems.error(&section.head, "missing-key", "provider = \"self\" needs `zones`");
        return None;
    };
    let mut zones = Vec::new();
    for word in section.texts("zones", problems)? {
        zones.push(word.parse("bad-name", zone, problems)?);
    }
    if zones.is_empty() || zones.len() > ZONES_MAX {
        problems.error(&found.spot, "bad-name", format!("`zones` has 1 to {ZONES_MAX} names"));
        return None;
    }
    let name_server = section.needed_text("name-server", problems)?.parse("bad-name", zone, problems)?;
    let mut addresses = Vec::new();
    if section.find("addresses").is_some() {
        let words = section.texts("addresses", problems)?;
        for word in words.iter().take(ADDRESSES_MAX) {
            addresses.push(word.parse("bad-address", ip, problems)?);
        }
    }
    if addresses.is_empty() && zones.iter().any(|zone| name_server.lies_in(zone)) {
        problems.error_hint(
            &section.head,
            "missing-key",
            format!(
                "{name_server} lies in a zone that only this host can tell of, and `addresses` is missing"
            ),
            "write the addresses at which the world reaches this host, or a `name-server` in another zone",
        );
        return None;
    }
    let contact = match section.find("contact") {
        Some(_) => section.needed_text("contact", problems)?.parse("bad-value", mailbox, problems)?,
        None => mailbox(&format!("hostmaster@{name_server}")).unwrap_or_else(|_| name_server.clone()),
    };
    Some(OwnServer { listen, zones, name_server, addresses, contact })
}

/// As SOA writes a mail address (RFC 1035 §8): `host.master@a.example` would need an escaped dot.
fn mailbox(text: &str) -> Result<DomainName, BadName> {
    const HELP: BadName = BadName("a mail address is needed here, without a dot before its @");
    let (user, host) = text.split_once('@').ok_or(HELP)?;
    if user.is_empty() || user.contains('.') {
        return Err(HELP);
    }
    DomainName::parse(&format!("{user}.{}", super::domain::ascii(host)?))
}

fn ip(text: &str) -> Result<IpAddr, BadName> {
    text.parse().map_err(|_| BadName("an IP address is needed here"))
}

/// Something was wrong, and was reported.
struct Reported;

/// What may be left out.
fn optional<T>(
    section: &Section<'_>,
    key: &str,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Result<T, BadName>,
) -> Result<Option<T>, Reported> {
    match section.find(key) {
        Some(_) => section.parsed(key, "bad-value", parse, problems).map(Some).ok_or(Reported),
        None => Ok(None),
    }
}

fn secret(
    section: &Section<'_>,
    stem: &str,
    problems: &mut Problems,
) -> Result<Option<SecretSource>, Reported> {
    let mut names = section.kind.keys().filter(|key| key.name == stem).flat_map(super::table::Key::names);
    if names.any(|name| section.find(&name).is_some()) {
        return section.secret(stem, problems).map(Some).ok_or(Reported);
    }
    Ok(None)
}

pub(super) fn addresses(
    section: &Section<'_>,
    key: &str,
    problems: &mut Problems,
) -> Option<Vec<SocketAddr>> {
    let Some(found) = section.find(key) else { return Some(Vec::new()) };
    let words = section.texts(key, problems)?;
    if words.len() > ADDRESSES_MAX {
        problems.error(&found.spot, "too-many", format!("`{key}` has at most {ADDRESSES_MAX} addresses"));
        return None;
    }
    words.iter().map(|word| word.parse("bad-address", DnsServer::address, problems)).collect()
}

fn zone(text: &str) -> Result<DomainName, BadName> {
    let zone = DomainName::parse(&super::domain::ascii(text)?)?;
    if zone.is_root() { Err(BadName("the root is nobody's zone")) } else { Ok(zone) }
}

fn url(text: &str) -> Result<String, BadName> {
    let url = Url::parse(text)?;
    if url.https || url.is_loopback() {
        return Ok(text.to_owned());
    }
    Err(BadName(
        "who may change a zone may have any certificate for it: https is needed, or a host's own loopback",
    ))
}
