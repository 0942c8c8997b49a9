//! What a CA's directory offers (RFC 8555 §7.1.1, RFC 9773 §3, draft-ietf-acme-profiles).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Url;
use serde_json::Value;

use super::persist::PersistMeta;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::time::{Span, Timestamp};
use crate::ports::Greeting;

/// A directory that has at least what no order can do without.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    /// Without a trailing slash.
    pub(super) renewal_info: Option<String>,
    /// The CA's URL of its terms; any scheme, for showing only.
    pub(super) terms: Option<String>,
    pub(super) profiles: BTreeSet<String>,
    pub(super) eab_required: bool,
    pub(super) persist: PersistMeta,
    pub(super) caa_identities: Vec<String>,
    /// All of it, put right for `instant-acme`.
    pub(super) document: Value,
    /// The CA's clock when it answered.
    date: Option<Timestamp>,
    read_at: Timestamp,
    distrusted: AtomicBool,
}

/// A directory is read again after so long: CAs change terms, profiles and addresses.
const AGE_MOST: Span = Span::DAY;
/// Profiles read of one directory.
const PROFILES_MOST: usize = 100;
/// Names read by which CAA records know the CA; Let's Encrypt has one.
const IDENTITIES_MOST: usize = 16;
/// Longest profile name or terms URL kept, in characters.
const TEXT_MOST: usize = 300;

impl Directory {
    /// Unknown members are ignored: Let's Encrypt adds a random one on purpose.
    /// `permitted` says which URLs may be asked, and puts them right.
    pub(super) fn read(
        document: Option<Value>,
        permitted: impl Fn(&str) -> Result<Url, Failure>,
        now: Timestamp,
        date: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let not_acme = || {
            Failure::refused(
                Fault::Config,
                "directory-missing",
                "what answers at the issuer's `directory` is no ACME directory; check its URL",
            )
        };
        let mut document = document.ok_or_else(not_acme)?;
        for member in
            ["newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange", "renewalInfo"]
        {
            let Some(url) = document.get(member) else { continue };
            let url = url.as_str().map(&permitted).transpose()?.map(|url| Value::String(url.into()));
            if let Some(members) = document.as_object_mut() {
                match url {
                    Some(url) => members.insert(member.to_owned(), url),
                    None => members.remove(member),
                };
            }
        }
        let url = |member: &str| document.get(member).and_then(Value::as_str).map(str::to_owned);
        let (Some(new_nonce), Some(new_account), Some(_)) =
            (url("newNonce"), url("newAccount"), url("newOrder"))
        else {
            return Err(not_acme());
        };
        let renewal_info = url("renewalInfo").map(|url| url.trim_end_matches('/').to_owned());
        let meta = document.get("meta");
        let member = |name: &str| meta.and_then(|meta| meta.get(name));
        let profiles = member("profiles")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|profiles| profiles.keys())
            .take(PROFILES_MOST)
            .map(|name| plain(name, TEXT_MOST))
            .collect();
        let read = Self {
            new_nonce,
            new_account,
            renewal_info,
            terms: member("termsOfService")
                .and_then(Value::as_str)
                .filter(|url| !url.is_empty())
                .map(|url| plain(url, TEXT_MOST)),
            profiles,
            eab_required: member("externalAccountRequired").and_then(Value::as_bool).unwrap_or(false),
            persist: PersistMeta::read(meta),
            caa_identities: member("caaIdentities")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .take(IDENTITIES_MOST)
                .map(|name| plain(&name.to_ascii_lowercase(), TEXT_MOST))
                .collect(),
            document: Value::Null,
            date,
            read_at: now,
            distrusted: AtomicBool::new(false),
        };
        // `instant-acme` reads nothing of meta but profiles, and those only as text.
        if let Some(members) = document.as_object_mut() {
            members.insert("meta".to_owned(), Value::Object(serde_json::Map::new()));
        }
        Ok(Self { document, ..read })
    }

    /// Whether it may be used without being read again.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        // A clock that was put back makes it no fresher.
        let age = now.since(self.read_at);
        !self.distrusted.load(Ordering::Acquire) && age >= Span::ZERO && age < AGE_MOST
    }

    /// The CA answered as if it were another one: it is read again before the next use.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    /// How far our clock was ahead of the CA's when this was read.
    pub(super) fn skew(&self) -> Option<Span> {
        self.date.map(|date| self.read_at.since(date))
    }

    pub(super) fn greeting(&self) -> Greeting {
        Greeting {
            date: self.date,
            terms: self.terms.clone(),
            profiles: self.profiles.iter().cloned().collect(),
            renewal_info: self.renewal_info.is_some(),
            eab_required: self.eab_required,
            caa_identities: self.caa_identities.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(document: Option<Value>) -> Result<Directory, Failure> {
        Directory::read(document, |url| Ok(Url::parse(url).unwrap()), Timestamp::EPOCH, None)
    }

    fn with(more: &Value) -> Value {
        let mut document = json!({
            "newNonce": "https://ca/nonce", "newAccount": "https://ca/account", "newOrder": "https://ca/order",
        });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    }

    #[test]
    fn a_bare_directory_is_enough() {
        let greeting = read(Some(with(&json!({})))).unwrap().greeting();
        assert_eq!(greeting, Greeting::default());
    }

    #[test]
    fn what_a_ca_offers_is_seen() {
        let directory = read(Some(with(&json!({
            "renewalInfo": "https://ca/ari/",
            "keyChange": 7,
            "ckUmcKZvZxg": "https://community.example/random",
            "meta": {
                "termsOfService": "https://ca/terms", "externalAccountRequired": true,
                "caaIdentities": ["CA.example", 7],
                "profiles": { "short": "6 days", "odd": null },
            },
        }))))
        .unwrap();
        assert_eq!(directory.renewal_info.as_deref(), Some("https://ca/ari"));
        assert!(directory.document.get("keyChange").is_none());
        let greeting = directory.greeting();
        assert_eq!(greeting.profiles, ["odd", "short"]);
        assert_eq!(greeting.terms.as_deref(), Some("https://ca/terms"));
        assert!(greeting.eab_required && greeting.renewal_info);
        assert_eq!(greeting.caa_identities, ["ca.example"]);
    }

    #[test]
    fn wrong_shapes_lose_the_member_only() {
        for meta in [
            json!(null),
            json!(7),
            json!({ "profiles": ["x"], "termsOfService": 1, "externalAccountRequired": "yes", "caaIdentities": "ca.example" }),
        ] {
            let greeting = read(Some(with(&json!({ "meta": meta })))).unwrap().greeting();
            assert_eq!(greeting, Greeting::default(), "{meta}");
        }
    }

    #[test]
    fn a_day_or_distrust_makes_it_stale() {
        let directory = read(Some(with(&json!({})))).unwrap();
        assert!(directory.is_fresh(Timestamp::EPOCH + Span::hours(23)));
        assert!(!directory.is_fresh(Timestamp::EPOCH + Span::hours(24)));
        directory.distrust();
        assert!(!directory.is_fresh(Timestamp::EPOCH));
    }

    #[test]
    fn a_page_that_is_no_directory_is_told_apart() {
        for document in
            [None, Some(json!([])), Some(json!({ "newNonce": "https://ca/x" })), Some(json!("hello"))]
        {
            assert_eq!(read(document).unwrap_err().code, "directory-missing");
        }
    }
}
