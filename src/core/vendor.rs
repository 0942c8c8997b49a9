//! Companies and programs that host people's DNS and have an interface for changing it: one row each, from
//! which the configuration's keys, the guide and the calls are made.

/// One of them. A vendor is its word.
#[derive(Debug)]
pub struct Vendor {
    /// As `provider` names it.
    pub word: &'static str,
    /// As people call it.
    pub name: &'static str,
    /// What can't be left out.
    pub needs: &'static [Field],
    pub takes: &'static [Field],
    pub manner: Manner,
    /// The shortest time to live that it takes, in seconds; what is shorter is made longer.
    pub least_ttl: u32,
    /// Whether our tests run it against a server. The others are as they came.
    pub tried: bool,
}

/// One key of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key; a secret's goes on with where it is.
    pub stem: &'static str,
    pub kind: FieldKind,
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    Secret,
    /// Where the interface is. Who may change a zone may have any certificate for it: https, or loopback.
    Url,
    Word(&'static [&'static str]),
}

/// What happens to texts of other programs at the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Single texts are added and taken away.
    Single,
    /// All texts of the name are replaced, if none has changed since they were read.
    Compared,
    /// All texts of the name are read, and written back with the change.
    Merged,
}

impl Manner {
    /// For the guide.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Single => "single texts",
            Self::Compared => "the name's texts, compared",
            Self::Merged => "the name's texts, merged",
        }
    }
}

impl Vendor {
    pub fn of(word: &str) -> Option<&'static Self> {
        VENDORS.iter().find(|vendor| vendor.word == word)
    }

    /// All keys of its table.
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.needs.iter().chain(self.takes)
    }

    pub fn has(&self, stem: &str) -> bool {
        self.fields().any(|field| field.stem == stem)
    }

    const fn tried(self) -> Self {
        Self { tried: true, ..self }
    }
}

impl PartialEq for Vendor {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Eq for Vendor {}

const fn vendor(
    word: &'static str,
    name: &'static str,
    needs: &'static [Field],
    takes: &'static [Field],
    manner: Manner,
    least_ttl: u32,
) -> Vendor {
    Vendor { word, name, needs, takes, manner, least_ttl, tried: false }
}

const fn text(stem: &'static str, help: &'static str) -> Field {
    Field { stem, kind: FieldKind::Text, help }
}

const fn secret(stem: &'static str, help: &'static str) -> Field {
    Field { stem, kind: FieldKind::Secret, help }
}

const ACCESS_KEY: Field = text("access-key", "the access key's id");
const ACCESS_TOKEN: Field = secret("access-token", "the access token");
const ACCOUNT: Field = text("account", "the account's number or name");
const API_KEY: Field = secret("api-key", "the key of its interface");
const API_SECRET: Field = secret("api-secret", "what goes with `api-key`");
const APPLICATION_KEY: Field = secret("application-key", "the application's key");
const APPLICATION_SECRET: Field = secret("application-secret", "what goes with `application-key`");
const AUTH_ID: Field = text("auth-id", "the user's id, where there is no `sub-auth-id`");
const CLIENT_ID: Field = text("client-id", "the application's id");
const CLIENT_SECRET: Field = secret("client-secret", "the application's secret");
const CLIENT_TOKEN: Field = secret("client-token", "the client's token");
const COMPARTMENT: Field = text("compartment", "the compartment's OCID");
const CONFIGURATION: Field = text("configuration", "the configuration's name");
const CONSUMER_KEY: Field = secret("consumer-key", "what the application was granted");
const CUSTOMER: Field = text("customer", "the customer's number");
const ENDPOINT: Field = Field {
    stem: "endpoint",
    kind: FieldKind::Word(&[
        "ovh-eu",
        "ovh-us",
        "ovh-ca",
        "kimsufi-eu",
        "kimsufi-ca",
        "soyoustart-eu",
        "soyoustart-ca",
    ]),
    help: "which of its interfaces; `ovh-eu` when left out",
};
const ENVIRONMENT: Field = Field {
    stem: "environment",
    kind: FieldKind::Word(&["public", "china", "usgovernment"]),
    help: "which cloud; `public` when left out",
};
const FINGERPRINT: Field = text("fingerprint", "the fingerprint of `private-key`");
const FOLDER: Field = text("folder", "the folder's id");
const HOST: Field = text("host", "the interface's host name, as in the credentials");
const HOSTED_ZONE: Field = text("hosted-zone", "the zone's id there, where a private zone has the same name");
const IMPERSONATE: Field = text("impersonate", "a service account to act as");
const LOGIN: Field = text("login", "the user's name");
const MANAGED_ZONE: Field = text("managed-zone", "the zone's name there, where it is not found");
const PASSWORD: Field = secret("password", "the password of `login`");
const PRIVATE_KEY: Field = secret("private-key", "the private key, in PEM, without a passphrase");
const PROJECT: Field = text("project", "the project's id");
const REGION: Field = text("region", "the region");
const RESOURCE_GROUP: Field = text("resource-group", "the zone's resource group");
const SECRET_KEY: Field = secret("secret-key", "what goes with `access-key`");
const SERVER_ID: Field = text("server-id", "the server's id; `localhost` when left out");
const SERVICE_ACCOUNT: Field = secret("service-account", "the service account's key, as downloaded");
const SESSION_TOKEN: Field = secret("session-token", "what goes with a key that was lent");
const SUBSCRIPTION: Field = text("subscription", "the subscription's id");
const SUB_AUTH_ID: Field = text("sub-auth-id", "the sub-user's id");
const TEAM: Field = text("team", "the team's id");
const TENANCY: Field = text("tenancy", "the tenancy's OCID");
const TENANT: Field = text("tenant", "the directory's id");
const TOKEN: Field = secret("token", "the token of its interface");
const URL: Field = Field { stem: "url", kind: FieldKind::Url, help: "where its interface is" };
const USER_ID: Field = text("user-id", "the user's OCID");
const VIEW: Field = text("view", "the view's name");

use Manner::{Compared, Merged, Single};

/// In the order of their words. One row a line: this is read as a table.
#[rustfmt::skip]
pub const VENDORS: &[Vendor] = &[
    vendor("alidns", "Alibaba Cloud DNS", &[ACCESS_KEY, SECRET_KEY], &[REGION, SESSION_TOKEN], Single, 600),
    vendor("arvancloud", "ArvanCloud", &[API_KEY], &[], Single, 600),
    vendor("autodns", "AutoDNS (InternetX)", &[LOGIN, PASSWORD], &[], Single, 60),
    vendor("azure", "Azure DNS", &[TENANT, CLIENT_ID, CLIENT_SECRET, SUBSCRIPTION, RESOURCE_GROUP], &[ENVIRONMENT], Compared, 1),
    vendor("baiducloud", "Baidu Cloud", &[ACCESS_KEY, SECRET_KEY], &[], Single, 300),
    vendor("bluecat", "BlueCat Address Manager (v2)", &[URL, LOGIN, PASSWORD, CONFIGURATION, VIEW], &[], Single, 1),
    vendor("bunny", "bunny.net", &[API_KEY], &[], Single, 60),
    vendor("cloudflare", "Cloudflare", &[TOKEN], &[], Single, 60).tried(),
    vendor("cloudns", "ClouDNS", &[PASSWORD], &[AUTH_ID, SUB_AUTH_ID], Single, 60),
    vendor("constellix", "Constellix", &[API_KEY, API_SECRET], &[], Merged, 60),
    vendor("cpanel", "cPanel", &[URL, LOGIN, TOKEN], &[], Single, 300),
    vendor("desec", "deSEC", &[TOKEN], &[], Merged, 3600),
    vendor("digitalocean", "DigitalOcean", &[TOKEN], &[], Single, 30),
    vendor("dnsimple", "DNSimple", &[TOKEN, ACCOUNT], &[], Single, 60),
    vendor("dnsmadeeasy", "DNS Made Easy", &[API_KEY, API_SECRET], &[], Single, 60),
    vendor("domeneshop", "Domeneshop", &[TOKEN, API_SECRET], &[], Single, 60),
    vendor("dreamhost", "DreamHost", &[API_KEY], &[], Single, 1),
    vendor("dynu", "Dynu", &[API_KEY], &[], Single, 300),
    vendor("easydns", "easyDNS", &[TOKEN, API_KEY], &[], Single, 60),
    vendor("edgedns", "Akamai Edge DNS", &[HOST, CLIENT_TOKEN, CLIENT_SECRET, ACCESS_TOKEN], &[], Merged, 60),
    vendor("exoscale", "Exoscale", &[API_KEY, API_SECRET], &[], Single, 60),
    vendor("gandi", "Gandi LiveDNS", &[TOKEN], &[], Merged, 300),
    vendor("gcore", "Gcore", &[TOKEN], &[], Merged, 120),
    vendor("glesys", "GleSYS", &[LOGIN, API_KEY], &[], Single, 60),
    vendor("godaddy", "GoDaddy", &[API_KEY, API_SECRET], &[], Merged, 600),
    vendor("google-cloud", "Google Cloud DNS", &[SERVICE_ACCOUNT, PROJECT], &[MANAGED_ZONE, IMPERSONATE], Compared, 1),
    vendor("hetzner", "Hetzner Cloud DNS", &[TOKEN], &[], Merged, 60).tried(),
    vendor("hostingde", "hosting.de", &[API_KEY], &[], Single, 60),
    vendor("hostinger", "Hostinger", &[TOKEN], &[], Merged, 60),
    vendor("huaweicloud", "Huawei Cloud", &[ACCESS_KEY, SECRET_KEY, REGION], &[], Merged, 300),
    vendor("ibmcloud", "IBM Cloud (classic)", &[LOGIN, API_KEY], &[], Single, 60),
    vendor("infoblox", "Infoblox WAPI", &[URL, LOGIN, PASSWORD], &[VIEW], Single, 1).tried(),
    vendor("infomaniak", "Infomaniak", &[TOKEN], &[], Single, 300),
    vendor("inwx", "INWX", &[LOGIN, PASSWORD], &[], Single, 300),
    vendor("ionos", "IONOS", &[API_KEY], &[], Single, 300),
    vendor("ipv64", "IPv64", &[API_KEY], &[], Single, 1),
    vendor("lightsail", "Amazon Lightsail", &[ACCESS_KEY, SECRET_KEY], &[SESSION_TOKEN, REGION], Single, 1),
    vendor("linode", "Linode (Akamai)", &[TOKEN], &[], Single, 300),
    vendor("luadns", "LuaDNS", &[LOGIN, TOKEN], &[], Single, 300),
    vendor("mythicbeasts", "Mythic Beasts", &[LOGIN, PASSWORD], &[], Merged, 60),
    vendor("namedotcom", "Name.com", &[LOGIN, TOKEN], &[], Single, 300),
    vendor("namesilo", "NameSilo", &[API_KEY], &[], Single, 3600),
    vendor("netcup", "netcup", &[CUSTOMER, API_KEY, PASSWORD], &[], Single, 1),
    vendor("netlify", "Netlify", &[TOKEN], &[], Single, 300),
    vendor("nifcloud", "NIFCLOUD", &[ACCESS_KEY, SECRET_KEY], &[], Merged, 60),
    vendor("ns1", "NS1 (IBM)", &[API_KEY], &[], Merged, 60),
    vendor("oraclecloud", "Oracle Cloud", &[TENANCY, USER_ID, FINGERPRINT, PRIVATE_KEY, REGION, COMPARTMENT], &[], Single, 30),
    vendor("ovh", "OVHcloud", &[APPLICATION_KEY, APPLICATION_SECRET, CONSUMER_KEY], &[ENDPOINT], Single, 60),
    vendor("plesk", "Plesk", &[URL, API_KEY], &[], Single, 300),
    vendor("porkbun", "Porkbun", &[API_KEY, API_SECRET], &[], Single, 600),
    vendor("powerdns", "PowerDNS Authoritative Server", &[URL, API_KEY], &[SERVER_ID], Merged, 1).tried(),
    vendor("route53", "Amazon Route 53", &[ACCESS_KEY, SECRET_KEY], &[SESSION_TOKEN, REGION, HOSTED_ZONE, URL], Merged, 1).tried(),
    vendor("safedns", "ANS SafeDNS", &[TOKEN], &[], Single, 60),
    vendor("scaleway", "Scaleway", &[TOKEN], &[], Single, 60),
    vendor("selectel", "Selectel (v2)", &[LOGIN, PASSWORD, ACCOUNT, PROJECT], &[], Merged, 60),
    vendor("simply", "Simply.com", &[ACCOUNT, API_KEY], &[], Single, 60),
    vendor("spaceship", "Spaceship", &[API_KEY, API_SECRET], &[], Single, 60),
    vendor("tencentcloud", "Tencent Cloud DNSPod", &[ACCESS_KEY, SECRET_KEY], &[REGION, SESSION_TOKEN], Single, 600),
    vendor("transip", "TransIP", &[LOGIN, PRIVATE_KEY], &[], Single, 60),
    vendor("ultradns", "UltraDNS (Vercara)", &[LOGIN, PASSWORD], &[URL], Merged, 60),
    vendor("vercel", "Vercel", &[TOKEN], &[TEAM], Single, 60),
    vendor("volcengine", "Volcano Engine", &[ACCESS_KEY, SECRET_KEY], &[REGION], Single, 600),
    vendor("vultr", "Vultr", &[API_KEY], &[], Single, 60),
    vendor("websupport", "WebSupport", &[API_KEY, API_SECRET], &[], Single, 60),
    vendor("yandexcloud", "Yandex Cloud", &[SERVICE_ACCOUNT, FOLDER], &[], Merged, 60),
    vendor("zoneeu", "Zone.eu", &[LOGIN, API_KEY], &[], Single, 60),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_each_says_all_that_is_needed() {
        assert!(VENDORS.is_sorted_by(|one, next| one.word < next.word));
        for vendor in VENDORS {
            let secrets = vendor.needs.iter().filter(|field| field.kind == FieldKind::Secret);
            assert!(secrets.count() > 0, "{} would be changed by anybody", vendor.word);
            assert!(vendor.least_ttl >= 1 && !vendor.name.is_empty(), "{}", vendor.word);
        }
    }

    #[test]
    fn one_key_means_one_thing_everywhere() {
        let fields: Vec<&Field> = VENDORS.iter().flat_map(Vendor::fields).collect();
        for one in &fields {
            for other in fields.iter().filter(|other| other.stem == one.stem) {
                assert_eq!(one, other, "{}", one.stem);
            }
        }
    }

    #[test]
    fn a_vendor_is_itself_and_nobody_else() {
        assert_eq!(Vendor::of("cloudflare"), Vendor::of("cloudflare"));
        assert_ne!(Vendor::of("cloudflare"), Vendor::of("route53"));
        assert_eq!(Vendor::of("clouds"), None);
    }
}
