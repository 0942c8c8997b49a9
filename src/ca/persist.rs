//! What a CA says of dns-persist-01, in the shapes of all drafts: 00 and 01 write `issuer-domain-names` and
//! `accounturi` into the challenge; 02 writes `issuerDomainNames` there, and into the directory what
//! digests of accounts begin with.

use serde_json::Value;

use crate::codec::persist::{ISSUERS_MAX, hashed_accounts, is_account, issuer_name};
use crate::core::name::SubjectName;
use crate::core::order::{PersistTerms, Terms};

/// Of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PersistMeta {
    /// `issuerDomainNames` of draft 02.
    issuers: Vec<String>,
    /// `accountHashPrefix` of draft 02.
    prefix: Option<String>,
    /// RFC 8555 §7.1.1; before draft 02 the nearest to issuers' names that a directory has.
    identities: Vec<String>,
}

/// Who asks, and for what.
pub(super) struct Applicant<'a> {
    /// Of the account's key (RFC 7638), in base64url.
    pub(super) thumbprint: &'a str,
    /// URL of the account.
    pub(super) account: &'a str,
    pub(super) meta: &'a PersistMeta,
    /// Those of the authorization as the CA wrote them.
    pub(super) challenges: &'a [Value],
}

impl PersistMeta {
    pub(super) fn read(meta: Option<&Value>) -> Self {
        let member = |name: &str| meta.and_then(|meta| meta.get(name));
        Self {
            issuers: issuers(member("issuerDomainNames")).unwrap_or_default(),
            prefix: member("accountHashPrefix")
                .and_then(Value::as_str)
                .filter(|prefix| is_account(prefix))
                .map(str::to_owned),
            identities: issuers(member("caaIdentities")).unwrap_or_default(),
        }
    }

    /// What an order would ask for, as far as it can be told without one.
    pub(super) fn terms(&self, base: &str, applicant: &Applicant<'_>) -> Option<PersistTerms> {
        match &self.prefix {
            Some(prefix) if !self.issuers.is_empty() => {
                Some(PersistTerms { issuers: self.issuers.clone(), accounts: applicant.hashed(prefix, base) })
            }
            _ if !self.identities.is_empty() => Some(PersistTerms {
                issuers: self.identities.clone(),
                accounts: vec![applicant.account.to_owned()],
            }),
            _ => None,
        }
    }
}

impl Applicant<'_> {
    /// What the challenge with this URL asks for.
    pub(super) fn terms(&self, url: &str, name: &SubjectName) -> Terms {
        let is_it = |challenge: &&Value| challenge.get("url").and_then(Value::as_str) == Some(url);
        let challenge = self.challenges.iter().find(is_it);
        let read = challenge.ok_or("its challenge could not be read again");
        match read.and_then(|challenge| self.read(challenge, name)) {
            Ok(terms) => Terms::Persist(terms),
            Err(why) => Terms::Unusable(format!("its dns-persist-01 is not used: {why}")),
        }
    }

    fn read(&self, challenge: &Value, name: &SubjectName) -> Result<PersistTerms, &'static str> {
        let base = name.base().ok_or("addresses are not proved by it")?;
        if challenge.get("issuerDomainNames").is_some() {
            let issuers = issuers(challenge.get("issuerDomainNames"))?;
            let prefix = self
                .meta
                .prefix
                .as_deref()
                .ok_or("the directory tells no accountHashPrefix, or one that is no text")?;
            return Ok(PersistTerms { issuers, accounts: self.hashed(prefix, base) });
        }
        let issuers = issuers(challenge.get("issuer-domain-names"))?;
        let account = match challenge.get("accounturi") {
            None => self.account,
            Some(uri) => uri.as_str().ok_or("its accounturi is no text")?,
        };
        if !is_account(account) {
            return Err("its accounturi can't stand in a text");
        }
        Ok(PersistTerms { issuers, accounts: vec![account.to_owned()] })
    }

    fn hashed(&self, prefix: &str, base: &str) -> Vec<String> {
        hashed_accounts(prefix, base, self.thumbprint, self.account)
    }
}

/// One to ten names (draft 02 §4; more or none must be refused).
fn issuers(list: Option<&Value>) -> Result<Vec<String>, &'static str> {
    let list = list.and_then(Value::as_array).ok_or("it names no issuers")?;
    if list.is_empty() || list.len() > ISSUERS_MAX {
        return Err("it names no issuer, or more than ten");
    }
    let names: Option<Vec<_>> = list.iter().map(|name| issuer_name(name.as_str()?)).collect();
    names.ok_or("it names an issuer that is no domain name")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://ca.example/challenge/1";

    fn terms_of(challenge: &Value, meta: &Value) -> Terms {
        let mut challenge = challenge.clone();
        challenge["url"] = json!(URL);
        let meta = PersistMeta::read(Some(meta));
        let applicant = Applicant {
            thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            account: "https://ca.example/acct/123",
            meta: &meta,
            challenges: &[json!({ "type": "http-01", "url": "https://ca.example/challenge/0" }), challenge],
        };
        applicant.terms(URL, &SubjectName::parse("*.example.com").unwrap())
    }

    #[test]
    fn the_shape_is_chosen_from_what_the_ca_sends() {
        let hashed = "https://ca.example/h/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw";
        let any = "https://ca.example/h/sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug";
        let prefix = json!({ "accountHashPrefix": "https://ca.example/h/" });
        for (what, challenge, meta, accounts) in [
            (
                "draft 00",
                json!({ "issuer-domain-names": ["Ca.Example"] }),
                json!({}),
                vec!["https://ca.example/acct/123"],
            ),
            (
                "draft 01, its accounturi word for word",
                json!({ "issuer-domain-names": ["ca.example"], "accounturi": "https://ca.example/ACCT/9" }),
                prefix.clone(),
                vec!["https://ca.example/ACCT/9"],
            ),
            ("draft 02", json!({ "issuerDomainNames": ["ca.example"] }), prefix.clone(), vec![hashed, any]),
            (
                "both: the newer",
                json!({ "issuerDomainNames": ["ca.example"], "issuer-domain-names": ["x.example"] }),
                prefix.clone(),
                vec![hashed, any],
            ),
        ] {
            let wanted = PersistTerms {
                issuers: vec!["ca.example".into()],
                accounts: accounts.into_iter().map(str::to_owned).collect(),
            };
            assert_eq!(terms_of(&challenge, &meta), Terms::Persist(wanted), "{what}");
        }
    }

    #[test]
    fn t10_what_no_client_may_follow_is_not_followed() {
        let many: Vec<_> = (0..11).map(|n| format!("ca{n}.example")).collect();
        let prefix = json!({ "accountHashPrefix": "https://ca.example/h/" });
        for (challenge, meta) in [
            (json!({}), json!({})),
            (json!({ "issuer-domain-names": [] }), json!({})),
            (json!({ "issuer-domain-names": many }), json!({})),
            (json!({ "issuer-domain-names": "ca.example" }), json!({})),
            (json!({ "issuer-domain-names": ["ca.example", 7] }), json!({})),
            (json!({ "issuer-domain-names": ["ca.example; policy=wildcard"] }), json!({})),
            (json!({ "issuer-domain-names": ["ca.example"], "accounturi": "x; policy=wildcard" }), json!({})),
            (json!({ "issuer-domain-names": ["ca.example"], "accounturi": 7 }), json!({})),
            (json!({ "issuerDomainNames": ["ca.example"] }), json!({})),
            (json!({ "issuerDomainNames": ["ca.example"] }), json!({ "accountHashPrefix": "a;b" })),
            (json!({ "issuerDomainNames": [] }), prefix),
        ] {
            assert!(matches!(terms_of(&challenge, &meta), Terms::Unusable(_)), "{challenge} {meta}");
        }
    }
}
