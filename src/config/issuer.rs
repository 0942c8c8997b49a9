//! `[issuer.NAME]`: a CA and our terms with it.

use toml::de::DeValue;

use super::agent;
use super::preset::{ENDED, LETS_ENCRYPT, PUBLIC_CAS};
use super::problem::Problems;
use super::raw::{Section, wrong_type};
use super::table::Table;
use super::value::{self, Url};
use crate::core::name::{BadName, IssuerId};
use crate::core::spec::{Eab, IssuerSpec, Profile};

/// Reads one issuer; `None` when it can't be used, which was then reported.
pub(super) fn resolve(
    id: IssuerId,
    section: &Section<'_>,
    agent_proxy: Option<&str>,
    problems: &mut Problems,
) -> Option<IssuerSpec> {
    let insecure_http = section.flag("insecure-http", problems).unwrap_or(false);
    section.needed_text("directory", problems);
    let directory = url(section, "directory", insecure_http, problems);
    // Another directory's rehearsals are not the preset's.
    let staging_section =
        if section.own().find("directory").is_some() { section.own() } else { section.clone() };
    let staging = url(&staging_section, "staging", insecure_http, problems);
    let contact = contacts(section, problems);
    let eab = match section.inner("eab", Table::Eab, problems) {
        Some(eab) => Some(account_binding(&eab, problems)?),
        None => None,
    };
    Some(IssuerSpec {
        id,
        directory: directory?,
        staging,
        contact,
        accept_terms: section.flag("accept-terms", problems).unwrap_or(false),
        profile: profile(section, problems),
        eab,
        ca_file: section.parsed("ca-file", "bad-path", value::file_path, problems),
        proxy: agent::proxy(section, problems).or_else(|| agent_proxy.map(str::to_owned)),
        insecure_http,
        origin: section.head.place(),
    })
}

/// Whether a CA follows the rules for publicly trusted certificates.
pub(super) fn is_public(issuer: &IssuerSpec) -> bool {
    Url::parse(&issuer.directory).is_ok_and(|url| PUBLIC_CAS.iter().any(|domain| url.is_below(domain)))
}

pub(super) fn is_lets_encrypt(issuer: &IssuerSpec) -> bool {
    Url::parse(&issuer.directory).is_ok_and(|url| url.is_below(LETS_ENCRYPT))
}

/// The `profile` key, which certificates have too: a name, or a table with `required`.
pub(super) fn profile(section: &Section<'_>, problems: &mut Problems) -> Option<Profile> {
    let found = section.find("profile")?;
    match found.value {
        DeValue::String(name) => {
            let name =
                profile_name(name).map_err(|why| problems.error(&found.spot, "bad-profile", why.0)).ok()?;
            Some(Profile { name, required: false })
        }
        DeValue::Table(_) => {
            let inner = section.inner("profile", Table::Profile, problems)?;
            inner.needed_text("name", problems)?;
            let name = inner.parsed("name", "bad-profile", profile_name, problems)?;
            Some(Profile { name, required: inner.flag("required", problems).unwrap_or(false) })
        }
        other => {
            wrong_type(&found.spot, "a profile's name or a table", other, problems);
            None
        }
    }
}

/// Most contacts of an account.
const CONTACTS_MAX: usize = 10;

fn profile_name(text: &str) -> Result<String, BadName> {
    if text.is_empty() || text.len() > 100 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(BadName("a profile's name is one word of the CA's list, at most 100 characters"));
    }
    Ok(text.to_owned())
}

fn url(section: &Section<'_>, key: &str, insecure_http: bool, problems: &mut Problems) -> Option<String> {
    let word = section.text(key, problems)?;
    let url = word.parse("bad-url", Url::parse, problems)?;
    if let Some((_, product, day)) = ENDED.iter().find(|(domain, _, _)| url.is_below(domain)) {
        problems.error_hint(
            &word.spot,
            "ca-ended",
            format!("{product} ended on {day}; it issues no certificates any more"),
            "choose another CA; `letsencrypt` is built in",
        );
        return None;
    }
    let safe = url.https || (insecure_http && url.is_loopback());
    if !safe {
        let hint = if url.is_loopback() {
            "for a test CA on this host, say `insecure-http = true`"
        } else {
            "write https://; for a CA with an own root, name it in `ca-file`"
        };
        problems.error_hint(
            &word.spot,
            "http-directory",
            "over plain http anybody on the way could answer in the CA's name",
            hint,
        );
        return None;
    }
    Some(word.text.to_owned())
}

fn contacts(section: &Section<'_>, problems: &mut Problems) -> Vec<String> {
    let words = section.texts("contact", problems).unwrap_or_default();
    if words.len() > CONTACTS_MAX
        && let Some(word) = words.get(CONTACTS_MAX)
    {
        problems.error(&word.spot, "too-many", format!("an account has at most {CONTACTS_MAX} contacts"));
    }
    words.iter().filter_map(|word| word.parse("bad-contact", contact, problems)).collect()
}

fn contact(text: &str) -> Result<String, BadName> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    // RFC 8555 §7.3: no "hfields" and only one address in a mailto URL.
    let plain =
        address.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?' | b'<' | b'>' | b'/'));
    let whole = address.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.contains('.') && !host.contains('@') && !host.ends_with('.')
    });
    if !plain || !whole || address.len() > 254 {
        return Err(BadName("a contact is one mail address, like \"hostmaster@example.com\""));
    }
    Ok(format!("mailto:{address}"))
}

fn account_binding(section: &Section<'_>, problems: &mut Problems) -> Option<Eab> {
    let hmac_key = section.secret("hmac-key", problems);
    section.needed_text("kid", problems);
    let kid = section.parsed(
        "kid",
        "bad-kid",
        |text| {
            let fits = !text.is_empty() && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic());
            if fits {
                Ok(text.to_owned())
            } else {
                Err(BadName("a key's name is one word, as the CA gave it"))
            }
        },
        problems,
    );
    Some(Eab { kid: kid?, hmac_key: hmac_key? })
}
