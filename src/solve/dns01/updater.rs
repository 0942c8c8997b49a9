//! The vendors' interfaces, by the crate `dns-update`: the only file that names it.

use std::time::Duration;

use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::credentials::{Credentials, Missing, bad};
use super::hosted::Change;
use super::refusal::Refusal;
use crate::core::failure::Failure;
use crate::core::vendor::Vendor;

/// Time for one call of several that a change may take.
const CALL_TIME: Option<Duration> = Some(Duration::from_secs(30));

/// One vendor's interface, opened with one account. No call is made before the first change.
pub(super) struct Updater(DnsUpdater);

/// Why it was not opened.
#[derive(Debug)]
enum Unopened {
    Missing(Missing),
    /// The row and the calls here do not match, which a test prevents.
    Unknown,
    Said(Error),
}

impl From<Missing> for Unopened {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

impl Updater {
    /// Code: `dns-credentials`.
    pub(super) fn new(vendor: &Vendor, credentials: &Credentials) -> Result<Self, Failure> {
        open(vendor.word, credentials).map(Self).map_err(|unopened| match unopened {
            Unopened::Missing(Missing(stem)) => {
                bad(&format!("an account with {} needs `{stem}`", vendor.name))
            }
            Unopened::Unknown => Failure::broken("dns-client", format!("nothing speaks to {}", vendor.name)),
            Unopened::Said(error) => Refusal::Unusable(words(error)).failure(vendor, credentials),
        })
    }

    /// Makes one change. A text that is there is not added twice, and one that is gone is no error.
    pub(super) async fn make(&self, change: &Change) -> Result<(), Refusal> {
        let (name, zone) = (change.name.as_str(), change.zone.as_str());
        let text = vec![DnsRecord::TXT(change.value.clone())];
        let made = match change.add {
            Some(ttl) => self.0.add_to_rrset(name, DnsRecordType::TXT, ttl, text, zone).await,
            None => self.0.remove_from_rrset(name, DnsRecordType::TXT, text, zone).await,
        };
        let refusal = match made.map_err(refusal) {
            Ok(()) => return Ok(()),
            // Neither the name nor the zone: nothing of ours is left there.
            Err(Refusal::NotFound) if change.add.is_none() => return Ok(()),
            Err(refusal) => refusal,
        };
        if refusal.is_final() && self.shows(change).await == Some(change.add.is_some()) {
            return Ok(());
        }
        Err(refusal)
    }

    /// Whether the text is there. Some call it an error to add what is there, or to remove what is not;
    /// what they list is the truth.
    async fn shows(&self, change: &Change) -> Option<bool> {
        let listed = self.0.list_rrset(change.name.as_str(), DnsRecordType::TXT, change.zone.as_str()).await;
        let texts = listed.ok()?;
        Some(texts.iter().any(|text| matches!(text, DnsRecord::TXT(text) if *text == change.value)))
    }
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Unauthorized => Refusal::Unauthorized,
        Error::NotFound => Refusal::NotFound,
        Error::Api(said) if said.starts_with("Failed to send request") => Refusal::Unreached(said),
        Error::Api(said) if said.starts_with("Failed to read response") => Refusal::Unread(said),
        Error::Serialize(said) | Error::Parse(said) => Refusal::Unread(said),
        Error::InvalidRegion | Error::Unsupported(_) => Refusal::Unusable(words(error)),
        Error::BadRequest => Refusal::Said("BadRequest".into()),
        Error::Protocol(said) | Error::Client(said) | Error::Response(said) | Error::Api(said) => {
            Refusal::Said(said)
        }
        other => Refusal::Said(words(other)),
    }
}

fn words(error: Error) -> String {
    match error {
        Error::Protocol(said)
        | Error::Parse(said)
        | Error::Client(said)
        | Error::Response(said)
        | Error::Api(said)
        | Error::Serialize(said)
        | Error::Unsupported(said) => said,
        Error::InvalidRegion => "there is no such region".into(),
        other => other.to_string(),
    }
}

/// In the order of the table of vendors.
#[rustfmt::skip]
fn open(word: &str, known: &Credentials) -> Result<DnsUpdater, Unopened> {
    let need = |stem| known.need(stem);
    let may = |stem| known.may(stem);
    let own = |stem| known.need(stem).map(str::to_owned);
    let perhaps = |stem| known.may(stem).map(str::to_owned);
    Ok(match word {
        "alidns" => DnsUpdater::new_alidns(need("access-key")?, need("secret-key")?, may("region"), may("session-token"), None::<&str>, CALL_TIME)?,
        "arvancloud" => DnsUpdater::new_arvancloud(need("api-key")?, CALL_TIME)?,
        "autodns" => DnsUpdater::new_autodns(need("login")?, need("password")?, None, CALL_TIME)?,
        "azure" => DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: own("tenant")?,
            client_id: own("client-id")?,
            client_secret: own("client-secret")?,
            subscription_id: own("subscription")?,
            resource_group: own("resource-group")?,
            environment: AzureEnvironment::from_str_lossy(may("environment").unwrap_or("public")),
            request_timeout: CALL_TIME,
        })?,
        "baiducloud" => DnsUpdater::new_baiducloud(need("access-key")?, need("secret-key")?, CALL_TIME)?,
        "bluecat" => DnsUpdater::new_bluecatv2(BluecatV2Config {
            server_url: own("url")?,
            username: own("login")?,
            password: own("password")?,
            config_name: own("configuration")?,
            view_name: own("view")?,
            skip_deploy: false,
            request_timeout: CALL_TIME,
        })?,
        "bunny" => DnsUpdater::new_bunny(need("api-key")?, CALL_TIME)?,
        "cloudflare" => DnsUpdater::new_cloudflare(need("token")?, CALL_TIME)?,
        "cloudns" => DnsUpdater::new_cloudns(may("auth-id"), may("sub-auth-id"), need("password")?, CALL_TIME)?,
        "constellix" => DnsUpdater::new_constellix(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "cpanel" => DnsUpdater::new_cpanel(need("url")?, need("login")?, need("token")?, CALL_TIME)?,
        "desec" => DnsUpdater::new_desec(need("token")?, CALL_TIME)?,
        "digitalocean" => DnsUpdater::new_digitalocean(need("token")?, CALL_TIME)?,
        "dnsimple" => DnsUpdater::new_dnsimple(need("token")?, need("account")?, CALL_TIME)?,
        "dnsmadeeasy" => DnsUpdater::new_dnsmadeeasy(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "domeneshop" => DnsUpdater::new_domeneshop(need("token")?, need("api-secret")?, CALL_TIME)?,
        "dreamhost" => DnsUpdater::new_dreamhost(need("api-key")?, CALL_TIME)?,
        "dynu" => DnsUpdater::new_dynu(need("api-key")?, CALL_TIME)?,
        "easydns" => DnsUpdater::new_easydns(need("token")?, need("api-key")?, CALL_TIME)?,
        "edgedns" => DnsUpdater::new_edgedns(EdgeDnsConfig {
            host: bare(need("host")?)?,
            client_token: own("client-token")?,
            client_secret: own("client-secret")?,
            access_token: own("access-token")?,
            account_switch_key: None,
            request_timeout: CALL_TIME,
        })?,
        "exoscale" => DnsUpdater::new_exoscale(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "gandi" => DnsUpdater::new_gandiv5(need("token")?, CALL_TIME)?,
        "gcore" => DnsUpdater::new_gcore(need("token")?, CALL_TIME)?,
        "glesys" => DnsUpdater::new_glesys(need("login")?, need("api-key")?, CALL_TIME)?,
        "godaddy" => DnsUpdater::new_godaddy(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "google-cloud" => DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
            service_account_json: own("service-account")?,
            project_id: own("project")?,
            managed_zone: perhaps("managed-zone"),
            private_zone: false,
            impersonate_service_account: perhaps("impersonate"),
            request_timeout: CALL_TIME,
        })?,
        "hetzner" => DnsUpdater::new_hetzner(need("token")?, CALL_TIME)?,
        "hostingde" => DnsUpdater::new_hostingde(need("api-key")?, CALL_TIME)?,
        "hostinger" => DnsUpdater::new_hostinger(need("token")?, CALL_TIME)?,
        "huaweicloud" => DnsUpdater::new_huaweicloud(need("access-key")?, need("secret-key")?, need("region")?, CALL_TIME)?,
        "ibmcloud" => DnsUpdater::new_ibmcloud(need("login")?, need("api-key")?, CALL_TIME)?,
        "infoblox" => DnsUpdater::new_infoblox(InfobloxConfig {
            host: own("url")?,
            port: None,
            username: own("login")?,
            password: own("password")?,
            wapi_version: None,
            dns_view: perhaps("view"),
            request_timeout: CALL_TIME,
        })?,
        "infomaniak" => DnsUpdater::new_infomaniak(need("token")?, CALL_TIME)?,
        "inwx" => DnsUpdater::new_inwx(need("login")?, need("password")?, false, CALL_TIME)?,
        "ionos" => DnsUpdater::new_ionos(need("api-key")?, CALL_TIME)?,
        "ipv64" => DnsUpdater::new_ipv64(need("api-key")?, CALL_TIME)?,
        "lightsail" => DnsUpdater::new_lightsail(LightsailConfig {
            access_key_id: own("access-key")?,
            secret_access_key: own("secret-key")?,
            session_token: perhaps("session-token"),
            region: perhaps("region"),
            domain: None,
            request_timeout: CALL_TIME,
        })?,
        "linode" => DnsUpdater::new_linode(need("token")?, CALL_TIME)?,
        "luadns" => DnsUpdater::new_luadns(need("login")?, need("token")?, CALL_TIME)?,
        "mythicbeasts" => DnsUpdater::new_mythicbeasts(need("login")?, need("password")?, CALL_TIME)?,
        "namedotcom" => DnsUpdater::new_namedotcom(need("login")?, need("token")?, CALL_TIME)?,
        "namesilo" => DnsUpdater::new_namesilo(need("api-key")?, CALL_TIME)?,
        "netcup" => DnsUpdater::new_netcup(need("customer")?, need("api-key")?, need("password")?, CALL_TIME)?,
        "netlify" => DnsUpdater::new_netlify(need("token")?, CALL_TIME)?,
        "nifcloud" => DnsUpdater::new_nifcloud(need("access-key")?, need("secret-key")?, CALL_TIME)?,
        "ns1" => DnsUpdater::new_ns1(need("api-key")?, CALL_TIME)?,
        "oraclecloud" => DnsUpdater::new_oraclecloud(OracleCloudConfig {
            tenancy_ocid: own("tenancy")?,
            user_ocid: own("user-id")?,
            fingerprint: own("fingerprint")?,
            private_key_pem: own("private-key")?,
            private_key_password: None,
            region: own("region")?,
            compartment_ocid: own("compartment")?,
            request_timeout: CALL_TIME,
        })?,
        "ovh" => DnsUpdater::new_ovh(need("application-key")?, need("application-secret")?, need("consumer-key")?, ovh(may("endpoint"))?, CALL_TIME)?,
        "plesk" => DnsUpdater::new_plesk(need("url")?, need("api-key")?, CALL_TIME)?,
        "porkbun" => DnsUpdater::new_porkbun(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "powerdns" => DnsUpdater::new_pdns(need("api-key")?, Some(need("url")?), may("server-id"), CALL_TIME)?,
        "route53" => DnsUpdater::new_route53(Route53Config {
            access_key_id: own("access-key")?,
            secret_access_key: own("secret-key")?,
            session_token: perhaps("session-token"),
            region: perhaps("region"),
            hosted_zone_id: perhaps("hosted-zone"),
            private_zone_only: None,
            endpoint: perhaps("url"),
        })?,
        "safedns" => DnsUpdater::new_safedns(need("token")?, CALL_TIME)?,
        "scaleway" => DnsUpdater::new_scaleway(need("token")?, CALL_TIME)?,
        "selectel" => DnsUpdater::new_selectel(need("login")?, need("password")?, need("account")?, need("project")?, CALL_TIME)?,
        "simply" => DnsUpdater::new_simplycom(need("account")?, need("api-key")?, CALL_TIME)?,
        "spaceship" => DnsUpdater::new_spaceship(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "tencentcloud" => DnsUpdater::new_tencentcloud(need("access-key")?, need("secret-key")?, may("region"), may("session-token"), CALL_TIME)?,
        "transip" => DnsUpdater::new_transip(need("login")?, need("private-key")?, true, CALL_TIME)?,
        "ultradns" => DnsUpdater::new_ultradns(need("login")?, need("password")?, perhaps("url"), CALL_TIME)?,
        "vercel" => DnsUpdater::new_vercel(need("token")?, may("team"), CALL_TIME)?,
        "volcengine" => DnsUpdater::new_volcengine(VolcengineConfig {
            access_key: own("access-key")?,
            secret_key: own("secret-key")?,
            region: perhaps("region"),
            host: None,
            scheme: None,
            request_timeout: CALL_TIME,
        })?,
        "vultr" => DnsUpdater::new_vultr(need("api-key")?, CALL_TIME)?,
        "websupport" => DnsUpdater::new_websupport(need("api-key")?, need("api-secret")?, CALL_TIME)?,
        "yandexcloud" => DnsUpdater::new_yandexcloud(YandexCloudConfig {
            iam_token_b64: STANDARD.encode(need("service-account")?),
            folder_id: own("folder")?,
            request_timeout: CALL_TIME,
        })?,
        "zoneeu" => DnsUpdater::new_zoneeu(need("login")?, need("api-key")?, CALL_TIME)?,
        _ => return Err(Unopened::Unknown),
    })
}

/// A host's name that would turn into a URL without encryption, or into another one, is none.
fn bare(host: &str) -> Result<String, Error> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    if host.bytes().all(fits) {
        return Ok(host.to_owned());
    }
    Err(Error::Client("`host` is a plain host name".into()))
}

fn ovh(endpoint: Option<&str>) -> Result<OvhEndpoint, Error> {
    endpoint.map_or(Ok(OvhEndpoint::OvhEu), str::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::vendor::{FieldKind, VENDORS};

    /// A value that every constructor takes.
    fn credentials(vendor: &Vendor, without: Option<&str>) -> Credentials {
        let value = |stem: &str| match stem {
            "region" => "eu-central-1",
            "endpoint" => "ovh-ca",
            "url" => "https://dns.example",
            _ => "x",
        };
        let fields = || vendor.fields().filter(|field| Some(field.stem) != without);
        let of = |secret: bool| -> Vec<(&'static str, &str)> {
            let fields = fields().filter(|field| (field.kind == FieldKind::Secret) == secret);
            fields.map(|field| (field.stem, value(field.stem))).collect()
        };
        Credentials::of(&of(false), &of(true))
    }

    #[test]
    fn every_row_opens_its_interface_with_all_its_keys_and_with_none_missing() {
        for vendor in VENDORS {
            match open(vendor.word, &credentials(vendor, None)) {
                Ok(_) => {}
                // It looks into the key, which "x" is none.
                Err(Unopened::Said(_)) if vendor.has("private-key") => {}
                Err(why) => panic!("{}: {why:?}", vendor.word),
            }
            for field in vendor.needs {
                let opened = open(vendor.word, &credentials(vendor, Some(field.stem)));
                let missing = opened.err();
                assert!(
                    matches!(missing, Some(Unopened::Missing(Missing(stem))) if stem == field.stem),
                    "{} without `{}`: {missing:?}",
                    vendor.word,
                    field.stem
                );
            }
        }
    }

    #[test]
    fn a_host_that_is_a_url_is_refused() {
        for host in ["http://evil.example", "a.example/b", "user@a.example", "a.example:80"] {
            assert!(bare(host).is_err(), "{host}");
        }
    }
}
