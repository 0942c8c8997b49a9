//! Accounts with DNS vendors, and keys of name servers, as other tools keep them.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::reader::{Reader, by_dns};
use crate::codec::assignments::Assignments;
use crate::codec::dns::TsigKey;
use crate::codec::renewal::Renewal;
use crate::core::failure::plain;
use crate::core::foundling::{FoundChallenge, FoundProvider};
use crate::core::vendor::{FieldKind, Vendor};

/// A secret that was found, by the stem of the key that it becomes.
pub type Credential = (&'static str, Zeroizing<String>);

/// A tool's word, the vendor's word here, and what each of our keys is called there.
type Way = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Of certbot's plugins, with what stands before each key in their files.
const CERTBOT: &[Way] = &[
    ("dns-bunny", "bunny", &[("api-key", "api_key")]),
    ("dns-cloudflare", "cloudflare", &[("token", "api_token")]),
    ("dns-desec", "desec", &[("token", "token")]),
    ("dns-digitalocean", "digitalocean", &[("token", "token")]),
    ("dns-dnsmadeeasy", "dnsmadeeasy", &[("api-key", "api_key"), ("api-secret", "secret_key")]),
    ("dns-gandi", "gandi", &[("token", "token")]),
    ("dns-godaddy", "godaddy", &[("api-key", "key"), ("api-secret", "secret")]),
    ("dns-infomaniak", "infomaniak", &[("token", "token")]),
    ("dns-linode", "linode", &[("token", "key")]),
    ("dns-luadns", "luadns", &[("login", "email"), ("token", "token")]),
    (
        "dns-netcup",
        "netcup",
        &[("customer", "customer_id"), ("api-key", "api_key"), ("password", "api_password")],
    ),
    ("dns-nsone", "ns1", &[("api-key", "api_key")]),
    (
        "dns-ovh",
        "ovh",
        &[
            ("application-key", "application_key"),
            ("application-secret", "application_secret"),
            ("consumer-key", "consumer_key"),
            ("endpoint", "endpoint"),
        ],
    ),
    ("dns-porkbun", "porkbun", &[("api-key", "key"), ("api-secret", "secret")]),
    ("dns-powerdns", "powerdns", &[("url", "api_url"), ("api-key", "api_key")]),
    // Its keys are Amazon's own files and variables, which are not looked for.
    ("dns-route53", "route53", &[("access-key", "access_key"), ("secret-key", "secret_key")]),
    ("dns-vultr", "vultr", &[("api-key", "key")]),
];

/// Of acme.sh's functions, with the variables that they save.
const ACME_SH: &[Way] = &[
    ("dns_ali", "alidns", &[("access-key", "Ali_Key"), ("secret-key", "Ali_Secret")]),
    ("dns_aws", "route53", &[("access-key", "AWS_ACCESS_KEY_ID"), ("secret-key", "AWS_SECRET_ACCESS_KEY")]),
    ("dns_bunny", "bunny", &[("api-key", "BUNNY_API_KEY")]),
    ("dns_cf", "cloudflare", &[("token", "CF_Token")]),
    ("dns_desec", "desec", &[("token", "DEDYN_TOKEN")]),
    ("dns_dgon", "digitalocean", &[("token", "DO_API_KEY")]),
    ("dns_gandi_livedns", "gandi", &[("token", "GANDI_LIVEDNS_TOKEN")]),
    ("dns_gcore", "gcore", &[("token", "GCORE_Key")]),
    ("dns_gd", "godaddy", &[("api-key", "GD_Key"), ("api-secret", "GD_Secret")]),
    ("dns_hetznercloud", "hetzner", &[("token", "HETZNER_TOKEN")]),
    ("dns_infomaniak", "infomaniak", &[("token", "INFOMANIAK_API_TOKEN")]),
    ("dns_inwx", "inwx", &[("login", "INWX_User"), ("password", "INWX_Password")]),
    ("dns_linode_v4", "linode", &[("token", "LINODE_V4_API_KEY")]),
    ("dns_lua", "luadns", &[("login", "LUA_Email"), ("token", "LUA_Key")]),
    ("dns_me", "dnsmadeeasy", &[("api-key", "ME_Key"), ("api-secret", "ME_Secret")]),
    ("dns_namesilo", "namesilo", &[("api-key", "Namesilo_Key")]),
    ("dns_netcup", "netcup", &[("customer", "NC_CID"), ("api-key", "NC_Apikey"), ("password", "NC_Apipw")]),
    ("dns_nsone", "ns1", &[("api-key", "NS1_Key")]),
    (
        "dns_ovh",
        "ovh",
        &[
            ("application-key", "OVH_AK"),
            ("application-secret", "OVH_AS"),
            ("consumer-key", "OVH_CK"),
            ("endpoint", "OVH_END_POINT"),
        ],
    ),
    (
        "dns_pdns",
        "powerdns",
        &[("url", "PDNS_Url"), ("server-id", "PDNS_ServerId"), ("api-key", "PDNS_Token")],
    ),
    ("dns_porkbun", "porkbun", &[("api-key", "PORKBUN_API_KEY"), ("api-secret", "PORKBUN_SECRET_API_KEY")]),
    ("dns_scaleway", "scaleway", &[("token", "SCALEWAY_API_TOKEN")]),
    ("dns_vultr", "vultr", &[("api-key", "VULTR_API_KEY")]),
];

/// What was found out about a way by DNS.
pub(super) struct Found {
    pub challenge: FoundChallenge,
    pub credentials: Vec<Credential>,
    /// The files that say so.
    pub read: Vec<PathBuf>,
}

impl Found {
    fn not(challenge: FoundChallenge) -> Self {
        Self { challenge, credentials: Vec::new(), read: Vec::new() }
    }
}

/// Certbot's plugin, with its file of credentials.
pub(super) fn of_certbot(reader: &Reader<'_>, renewal: &Renewal, plugin: &str) -> Found {
    // A plugin of somebody else's may be called after its package, too.
    let plugin = plugin.rsplit(':').next().unwrap_or(plugin);
    let prefix = plugin.replace('-', "_");
    let file = renewal.param(&format!("{prefix}_credentials")).map(PathBuf::from);
    let text =
        file.as_ref().filter(|_| reader.secrets).and_then(|file| reader.text(file)).map(Zeroizing::new);
    let (Some(file), Some(text)) = (file, text) else { return Found::not(unfound(CERTBOT, plugin)) };
    let kept = Renewal::parse(&text).places;
    let say = |key: &str| kept.get(&format!("{prefix}_{key}")).map(String::as_str).filter(|v| !v.is_empty());
    if plugin == "dns-rfc2136" {
        // Certbot's default is of a kind that is no longer made.
        let algorithm = say("algorithm").unwrap_or("HMAC-MD5");
        let key = key_clause(say("name"), algorithm, say("secret"));
        return name_server(plugin, say("server"), say("port"), key, &file);
    }
    account(CERTBOT, plugin, &file, say)
}

/// acme.sh's function, with what it saved for the certificate (`noted`) or for all.
pub(super) fn of_acme_sh(
    reader: &Reader<'_>,
    home: &Path,
    conf: &Path,
    noted: &Assignments,
    way: &str,
) -> Found {
    let for_all = home.join("account.conf");
    let text = reader.text(&for_all).filter(|_| reader.secrets).map(Zeroizing::new);
    let Some(text) = text else { return Found::not(unfound(ACME_SH, way)) };
    let saved = Assignments::parse(&text, &[]);
    let say = |key: &str| {
        let kept = format!("SAVED_{key}");
        let places = [(noted, key), (noted, &kept), (&saved, &kept), (&saved, key)];
        places.into_iter().find_map(|(place, key)| place.find(key))
    };
    if way == "dns_nsupdate" {
        let key = say("NSUPDATE_KEY").map(Path::new);
        let text = key.and_then(|key| reader.text(key)).map(Zeroizing::new);
        let from = key.unwrap_or(conf).to_owned();
        return name_server(way, say("NSUPDATE_SERVER"), say("NSUPDATE_SERVER_PORT"), text, &from);
    }
    account(ACME_SH, way, &for_all, say)
}

/// All that the vendor needs, or a word about what lacks.
fn account<'k>(ways: &[Way], way: &str, file: &Path, say: impl Fn(&str) -> Option<&'k str>) -> Found {
    let Some((_, word, keys)) = ways.iter().find(|(known, ..)| *known == way) else {
        return Found::not(by_dns(way));
    };
    let Some(vendor) = Vendor::of(word) else { return Found::not(by_dns(way)) };
    let (mut plain, mut credentials) = (Vec::new(), Vec::new());
    for field in vendor.fields() {
        let Some((_, theirs)) = keys.iter().find(|(ours, _)| *ours == field.stem) else { continue };
        match (say(theirs), field.kind) {
            (Some(value), FieldKind::Secret) => {
                credentials.push((field.stem, Zeroizing::new(value.to_owned())));
            }
            (Some(value), _) => plain.push((field.stem, value.to_owned())),
            (None, _) if vendor.needs.contains(field) => {
                let words = format!("{} does not say {theirs}", file.display());
                return Found::not(lacks(way, vendor, &words));
            }
            (None, _) => {}
        }
    }
    let provider = FoundProvider {
        word: vendor.word,
        plain,
        secrets: credentials.iter().map(|(stem, _)| *stem).collect(),
        from: file.to_owned(),
    };
    Found { challenge: FoundChallenge::Provider(provider), credentials, read: vec![file.to_owned()] }
}

/// A name server that takes signed updates.
fn name_server(
    way: &str,
    server: Option<&str>,
    port: Option<&str>,
    key: Option<Zeroizing<String>>,
    file: &Path,
) -> Found {
    let other = |why: &str| {
        Found::not(FoundChallenge::Other(format!(
            "its names are proved by dns-01 ({way}), and {why}; write a [solver.NAME] with provider = \"rfc2136\" for it"
        )))
    };
    let Some(key) = key else { return other("its key was not found") };
    if let Err(why) = TsigKey::parse(&key) {
        return other(&format!("its key can't be used: {why}"));
    }
    let server = server.map(|host| match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    });
    let provider = FoundProvider {
        word: "rfc2136",
        plain: server.map(|server| ("server", server)).into_iter().collect(),
        secrets: vec!["tsig-key"],
        from: file.to_owned(),
    };
    Found {
        challenge: FoundChallenge::Provider(provider),
        credentials: vec![("tsig-key", key)],
        read: vec![file.to_owned()],
    }
}

/// As `tsig-keygen` writes it.
fn key_clause(name: Option<&str>, algorithm: &str, secret: Option<&str>) -> Option<Zeroizing<String>> {
    let (name, secret) = (name?, secret?);
    let algorithm = algorithm.to_ascii_lowercase();
    Some(Zeroizing::new(format!(
        "key \"{name}\" {{\n\talgorithm {algorithm};\n\tsecret \"{secret}\";\n}};\n"
    )))
}

/// Of a vendor that is known here, what a person can write.
fn unfound(ways: &[Way], way: &str) -> FoundChallenge {
    let vendor = ways.iter().find(|(known, ..)| *known == way).and_then(|(_, word, _)| Vendor::of(word));
    vendor.map_or_else(|| by_dns(way), |vendor| lacks(way, vendor, "its credentials were not found"))
}

fn lacks(way: &str, vendor: &Vendor, why: &str) -> FoundChallenge {
    FoundChallenge::Other(plain(
        &format!(
            "its names are proved by dns-01 ({way}), and {why}; write a [solver.NAME] with provider = \"{}\" for it",
            vendor.word
        ),
        WORDS_MAX,
    ))
}

/// Longest sentence about what was not found, in characters.
const WORDS_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_leads_to_keys_that_the_vendor_has() {
        for (way, word, keys) in CERTBOT.iter().chain(ACME_SH) {
            let vendor = Vendor::of(word).unwrap_or_else(|| panic!("{way} leads to {word}"));
            for (ours, _) in *keys {
                assert!(vendor.has(ours), "{way}: {word} has no `{ours}`");
            }
            for field in vendor.needs {
                assert!(
                    keys.iter().any(|(ours, _)| *ours == field.stem),
                    "{way} never says `{}`",
                    field.stem
                );
            }
        }
    }
}
