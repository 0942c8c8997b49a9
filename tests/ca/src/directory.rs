//! The directory (RFC 8555 §7.1.1) and the terms of service it points to.

use serde_json::{Map, Value, json};

use crate::authority::Authority;
use crate::dice::random_text;
use crate::dns_persist01;
use crate::reply::Reply;

pub(crate) fn directory(ca: &Authority) -> Reply {
    let mut body = Map::new();
    for (member, path) in [
        ("newNonce", "new-nonce"),
        ("newAccount", "new-account"),
        ("newOrder", "new-order"),
        ("revokeCert", "revoke-cert"),
        ("keyChange", "key-change"),
    ] {
        body.insert(member.to_owned(), json!(ca.url(path)));
    }
    if ca.config.renewal_info {
        body.insert("renewalInfo".to_owned(), json!(ca.url("renewal-info")));
    }
    // A member nobody knows: clients must pass over it, and find out early if they do not.
    body.insert(random_text::<8>(), json!("clients ignore members they do not know"));
    body.insert("meta".to_owned(), Value::Object(meta(ca)));
    Reply::json(200, &Value::Object(body))
}

fn meta(ca: &Authority) -> Map<String, Value> {
    let config = &ca.config;
    let mut meta = Map::new();
    if config.terms {
        meta.insert("termsOfService".to_owned(), json!(ca.url("terms")));
    }
    if !config.external_accounts.is_empty() {
        meta.insert("externalAccountRequired".to_owned(), json!(true));
    }
    if !config.caa_identities.is_empty() {
        meta.insert("caaIdentities".to_owned(), json!(config.caa_identities));
    }
    dns_persist01::add_meta(&mut meta, ca);
    if !config.profiles.is_empty() {
        let profiles =
            config.profiles.iter().map(|(name, profile)| (name.clone(), json!(profile.description)));
        meta.insert("profiles".to_owned(), Value::Object(profiles.collect()));
    }
    meta
}

pub(crate) fn terms() -> Reply {
    Reply::with_body(200, "text/plain; charset=utf-8", "Certificates from this CA are for tests only.\n")
}
