//! dns-persist-01 validation (draft-ietf-acme-dns-persist-00 to -02): a text that stands, in place of an answer.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::authority::Authority;
use crate::challenge::Subject;
use crate::dns01::texts_at;
use crate::instant::now;
use crate::problem::Problem;

/// Drafts differ in what they call the account, and in where they say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PersistDraft {
    /// The account's URL, which the client has to know.
    Zero,
    /// The account's URL, which the challenge repeats.
    #[default]
    One,
    /// A digest of domain, key and account.
    Two,
}

/// What the CA calls itself in texts.
const ISSUER: &str = "ca.test";

/// What a challenge says beside its type.
pub(crate) fn add_terms(challenge: &mut Value, ca: &Authority, account: &str) {
    match ca.config.persist_draft {
        PersistDraft::Two => challenge["issuerDomainNames"] = json!([ISSUER]),
        draft => {
            challenge["issuer-domain-names"] = json!([ISSUER]);
            if draft == PersistDraft::One {
                challenge["accounturi"] = json!(account);
            }
        }
    }
}

/// What the directory says of it.
pub(crate) fn add_meta(meta: &mut Map<String, Value>, ca: &Authority) {
    if ca.config.persist_draft == PersistDraft::Two {
        meta.insert("issuerDomainNames".to_owned(), json!([ISSUER]));
        meta.insert("accountHashPrefix".to_owned(), json!(prefix(ca)));
    }
}

fn prefix(ca: &Authority) -> String {
    ca.url("account-hash/")
}

pub(crate) async fn validate(ca: &Authority, subject: &Subject) -> Result<(), Problem> {
    let name = format!("_validation-persist.{}", subject.identifier);
    let accounts = match ca.config.persist_draft {
        PersistDraft::Two => {
            let domain = subject.identifier.to_string();
            [domain.as_str(), "*"].map(|scope| hashed(&prefix(ca), scope, subject)).to_vec()
        }
        _ => vec![subject.account.clone()],
    };
    let texts = texts_at(ca, &name).await?;
    if texts.is_empty() {
        return Err(Problem::new("dns", 400, format!("{name}: no TXT record")));
    }
    let mut why = "no text is for this CA";
    for text in &texts {
        match allows(&String::from_utf8_lossy(text), &accounts, subject.wildcard, now().unix_timestamp()) {
            Ok(()) => return Ok(()),
            Err(reason) => why = reason,
        }
    }
    Err(Problem::unauthorized(format!("{name}: {why}")))
}

fn hashed(prefix: &str, scope: &str, subject: &Subject) -> String {
    let mut octets = vec![u8::try_from(scope.len()).unwrap_or(0)];
    octets.extend_from_slice(scope.as_bytes());
    octets.extend_from_slice(subject.thumbprint.as_bytes());
    octets.extend_from_slice(subject.account.as_bytes());
    format!("{prefix}sha-256/{}", URL_SAFE_NO_PAD.encode(digest(&SHA256, &octets)))
}

/// Strict, as Boulder is: no empty part, nothing twice, no space in a value.
fn allows(text: &str, accounts: &[String], wildcard: bool, now: i64) -> Result<(), &'static str> {
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|issuer| issuer.trim_end_matches('.').eq_ignore_ascii_case(ISSUER)) {
        return Err("no text is for this CA");
    }
    let mut members = std::collections::BTreeMap::new();
    for part in parts {
        let (tag, value) = part.split_once('=').ok_or("a parameter has no value")?;
        let (tag, value) = (tag.trim().to_ascii_lowercase(), value.trim());
        if value.is_empty() || value.contains(char::is_whitespace) || members.insert(tag, value).is_some() {
            return Err("a parameter is empty, holds a space or stands there twice");
        }
    }
    if !members.get("accounturi").is_some_and(|uri| accounts.iter().any(|account| account == uri)) {
        return Err("the text names another account");
    }
    if let Some(until) = members.get("persistuntil")
        && until.parse::<i64>().map_err(|_| "persistUntil is no number")? <= now
    {
        return Err("the text has ended");
    }
    if wildcard && members.get("policy").is_none_or(|policy| !policy.eq_ignore_ascii_case("wildcard")) {
        return Err("the text does not allow wildcards");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_hold_and_texts_that_do_not() {
        let accounts = ["https://ca.test/account/1".to_owned()];
        for (text, wildcard, holds) in [
            ("ca.test; accounturi=https://ca.test/account/1", false, true),
            ("CA.test.;accounturi=https://ca.test/account/1; policy=Wildcard", true, true),
            ("ca.test; accounturi=https://ca.test/account/1; persistUntil=101", false, true),
            ("ca.test; accounturi=https://ca.test/account/1; persistUntil=100", false, false),
            ("ca.test; accounturi=https://ca.test/account/1", true, false),
            ("ca.test; accounturi=https://ca.test/account/2", false, false),
            ("ca.test; accounturi=https://ca.test/account/1;", false, false),
            ("ca.test; accounturi=https://ca.test/account/1; a b=c d", false, false),
            ("other.test; accounturi=https://ca.test/account/1", false, false),
        ] {
            assert_eq!(allows(text, &accounts, wildcard, 100).is_ok(), holds, "{text}");
        }
    }
}
