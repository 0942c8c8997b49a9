//! What the operator wants, resolved: every default filled in, every name looked up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::deploy_window::DeployWindow;
use super::dns_server::DnsServer;
use super::domain_name::DomainName;
use super::endpoint::Endpoint;
use super::form::Form;
use super::labels::Labels;
use super::lineages::Lineages;
use super::list::List;
use super::name::{HookId, IssuerId, LineageId, SolverId, SubjectName, WatchId};
use super::pattern::NamePattern;
use super::record::ChallengeKind;
use super::time::Span;
use super::vendor::Vendor;
use super::watch::WatchSpec;

/// One certificate as it should be. What many have in common they hold in common: an agent keeps
/// ten thousand of these for as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineageSpec {
    pub id: LineageId,
    /// At least one, without repeats, in the order of the configuration.
    pub names: List<SubjectName>,
    /// Where the new certificate must be seen. None: the lineage stays `unverified`.
    pub endpoints: List<Endpoint>,
    /// Renderings outside `live/`, for programs that need them elsewhere.
    pub outputs: List<Output>,
    pub origin: Origin,
    pub terms: Arc<Terms>,
}

/// What a certificate may have in common with others. Read as if it were the certificate's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Terms {
    /// At least one; the first is asked.
    pub issuers: Vec<IssuerId>,
    pub profile: Option<Profile>,
    pub key: KeyKind,
    /// Keep the key of the current generation instead of making a new one.
    pub reuse_key: bool,
    /// Tried in this order; the first that can prove a name by a kind that the CA offers.
    pub solvers: Vec<SolverId>,
    pub on_dead_name: OnDeadName,
    /// Told about each new generation, in this order: none before those that it comes after.
    pub hooks: Vec<HookId>,
    /// A hook of this certificate, and another that must be done first.
    pub after: Vec<(HookId, HookId)>,
    /// Run before an attempt at the CA, and after it however it went.
    pub around: Around,
    /// Bound on one look at one endpoint, from connect to handshake.
    pub observe_timeout: Span,
    /// When something new may be shown; always when left out.
    pub deploy_window: Option<DeployWindow>,
    pub rights: Arc<Rights>,
    /// For people: passed on with alerts.
    pub labels: Labels,
}

/// What becomes of a certificate when one of its names can't be proven any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnDeadName {
    /// All of its names or none.
    #[default]
    Fail,
    /// At last resort the others are renewed without it; it stays wanted, and is tried again.
    RenewWithout,
}

impl OnDeadName {
    pub const WORDS: &[&str] = &["fail", "renew-without"];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::RenewWithout => "renew-without",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Fail, Self::RenewWithout].into_iter().find(|choice| choice.word() == word)
    }
}

/// Hooks around an attempt, as where a server must free its port for the challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Around {
    pub before: Vec<HookId>,
    pub afterwards: Vec<HookId>,
}

impl Deref for LineageSpec {
    type Target = Terms;
    fn deref(&self) -> &Terms {
        &self.terms
    }
}

/// Where an entry stands: `conf.d/shop.toml:1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// As the operator knows it, safe to print.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Terms {
    /// Every hook that is ever called for it.
    pub fn all_hooks(&self) -> impl Iterator<Item = &HookId> {
        self.hooks.iter().chain(&self.around.before).chain(&self.around.afterwards)
    }
}

impl LineageSpec {
    /// The issuer that is asked now.
    pub fn issuer(&self) -> Option<&IssuerId> {
        self.issuers.first()
    }

    /// Whether both ask for the same set of names, in any order.
    /// Names that are wanted and not among `names`.
    pub fn missing_in(&self, names: &[SubjectName]) -> Vec<SubjectName> {
        self.names.iter().filter(|name| !names.contains(name)).cloned().collect()
    }

    pub fn same_names(&self, names: &[SubjectName]) -> bool {
        let sorted = |names: &[SubjectName]| {
            let mut names = names.to_vec();
            names.sort();
            names.dedup();
            names
        };
        *self.names == *names || sorted(&self.names) == sorted(names)
    }
}

/// A CA's named product (draft-ietf-acme-profiles).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    /// Fail rather than fall back to the CA's default profile.
    pub required: bool,
}

/// Kinds of leaf keys. All public CAs take these; none takes P-521 or Ed25519.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    #[default]
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
}

impl KeyKind {
    pub const ALL: [Self; 5] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    pub const fn word(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

/// Who may read the key. Users and groups stay names until the disk needs numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rights {
    pub owner: Option<String>,
    pub group: Option<String>,
    /// Mode of every file that holds the key, such as 0o640.
    pub key_mode: u32,
    /// Mode of every file without a key.
    pub cert_mode: u32,
}

impl Rights {
    const fn open_mode() -> u32 {
        0o644
    }
}

impl Default for Rights {
    fn default() -> Self {
        Self { owner: None, group: None, key_mode: 0o640, cert_mode: Self::open_mode() }
    }
}

/// One extra rendering of a generation at an absolute path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    pub form: Form,
    /// A file, save for [`Form::Tree`]: there the directory `ROOT/live/NAME`.
    pub path: String,
    pub rights: Arc<Rights>,
}

/// Which text of a generation a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Leaf and intermediates.
    Fullchain,
    Privkey,
    /// The leaf alone.
    Cert,
    /// The intermediates alone.
    Chain,
    /// Leaf, intermediates and key in one file: the only form that two readers can't tear.
    Combined,
}

impl Part {
    pub const ALL: [Self; 5] = [Self::Fullchain, Self::Privkey, Self::Cert, Self::Chain, Self::Combined];

    /// The fixed file name under `live/NAME/`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Fullchain => "fullchain.pem",
            Self::Privkey => "privkey.pem",
            Self::Cert => "cert.pem",
            Self::Chain => "chain.pem",
            Self::Combined => "combined.pem",
        }
    }

    pub const fn holds_key(self) -> bool {
        matches!(self, Self::Privkey | Self::Combined)
    }
}

/// A CA directory and our terms with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSpec {
    pub id: IssuerId,
    /// https, or http on loopback where `insecure_http` says so.
    pub directory: String,
    /// The CA's rehearsal directory, for `renew --dry-run`.
    pub staging: Option<String>,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    pub accept_terms: bool,
    pub profile: Option<Profile>,
    pub eab: Option<Eab>,
    /// PEM file of roots that vouch for the CA's own HTTPS certificate, in place of the system's.
    pub ca_file: Option<String>,
    pub proxy: Option<String>,
    pub insecure_http: bool,
    pub origin: Origin,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eab {
    pub kid: String,
    pub hmac_key: SecretSource,
}

/// Where a secret is read from when it is needed. Never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    File(String),
    Env(String),
    /// A file of this name in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// A way to prove control of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolverSpec {
    pub id: SolverId,
    pub kind: SolverKind,
    /// The only names that it is for; all where there are none.
    pub names: Vec<NamePattern>,
    /// Where on loopback the answer is looked for before the CA is told; 80 when left out, 443 with
    /// tls-alpn-01. With DNS the port at which name servers are asked; 53 when left out.
    pub check_port: Option<u16>,
    pub origin: Origin,
}

impl SolverSpec {
    /// Whether it is for this name, and its kind of challenge can prove it (RFC 8555 §8.4, RFC 8737 §3,
    /// RFC 8738 §7).
    pub fn could_prove(&self, name: &SubjectName) -> bool {
        let kind_fits = match self.kind {
            SolverKind::Http { .. } | SolverKind::TlsAlpn { .. } | SolverKind::Webroot { .. } => {
                !name.is_wildcard()
            }
            SolverKind::Dns(_) | SolverKind::Persist(_) => name.base().is_some(),
        };
        kind_fits && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(name)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SolverKind {
    /// http-01 by a listener of ours.
    Http { listen: Listen },
    /// tls-alpn-01 by a listener of ours.
    TlsAlpn { listen: Listen },
    /// http-01 by files below a directory that a web server serves.
    Webroot { root: String },
    /// dns-01 or dns-account-01 by a text in DNS.
    Dns(Box<DnsSpec>),
    /// dns-persist-01 by a text in DNS that the operator set.
    Persist(PersistSpec),
}

impl SolverKind {
    /// What [`Self::way`] calls solvers other than those by DNS, which are called by their provider.
    pub const HTTP: &str = "http";
    pub const TLS_ALPN: &str = "tls-alpn";
    pub const WEBROOT: &str = "webroot";
    pub const PERSIST: &str = "dns-persist";

    /// Where it listens by itself.
    pub fn listens(&self) -> &[Listen] {
        match self {
            Self::Http { listen } | Self::TlsAlpn { listen } => std::slice::from_ref(listen),
            Self::Dns(dns) => match &dns.provider {
                DnsProvider::Own(own) => &own.listen,
                _ => &[],
            },
            Self::Webroot { .. } | Self::Persist(_) => &[],
        }
    }

    /// How an answer is set up and taken away: the word that tells what undoes it.
    pub const fn way(&self) -> &'static str {
        match self {
            Self::Http { .. } => Self::HTTP,
            Self::TlsAlpn { .. } => Self::TLS_ALPN,
            Self::Webroot { .. } => Self::WEBROOT,
            Self::Dns(dns) => dns.provider.word(),
            Self::Persist(_) => Self::PERSIST,
        }
    }

    /// What it answers.
    pub const fn challenge(&self) -> ChallengeKind {
        match self {
            Self::Http { .. } | Self::Webroot { .. } => ChallengeKind::Http01,
            Self::TlsAlpn { .. } => ChallengeKind::TlsAlpn01,
            Self::Dns(dns) => dns.challenge,
            Self::Persist(_) => ChallengeKind::DnsPersist01,
        }
    }
}

/// How a text gets into DNS, and where it must be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSpec {
    /// dns-01 or dns-account-01.
    pub challenge: ChallengeKind,
    pub provider: DnsProvider,
    /// Those of the system when there are none.
    pub resolvers: Vec<SocketAddr>,
    /// Servers to look at in place of the zone's own.
    pub authoritative: Vec<SocketAddr>,
    /// Resolvers that must see it too.
    pub seen_by: Vec<SocketAddr>,
    /// Longest wait until it is seen.
    pub propagation: Span,
    pub ttl: Span,
    /// Found when left out.
    pub zone: Option<DomainName>,
}

impl DnsSpec {
    pub const PROPAGATION: Span = Span::minutes(2);
    pub const TTL: Span = Span::secs(60);
}

/// Where a text that stands is looked for; nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersistSpec {
    /// Those of the system when there are none.
    pub resolvers: Vec<SocketAddr>,
    /// Servers to look at in place of the zone's own.
    pub authoritative: Vec<SocketAddr>,
}

/// Who changes the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsProvider {
    /// A name server, by signed updates.
    Rfc2136 {
        /// The zone's primary when left out.
        server: Option<DnsServer>,
        key: Option<SecretSource>,
    },
    Exec(SolverExec),
    Webhook(SolverWebhook),
    AcmeDns {
        /// Path of the file of accounts.
        accounts: String,
        /// URL, for accounts whose file does not say.
        server: Option<String>,
    },
    /// Nobody: we answer for it.
    Own(OwnServer),
    Vendor(SolverVendor),
}

impl DnsProvider {
    /// How [`Self::word`] calls a name server of ours.
    pub const OWN: &str = "self";

    pub const fn word(&self) -> &'static str {
        match self {
            Self::Rfc2136 { .. } => "rfc2136",
            Self::Exec(_) => "exec",
            Self::Webhook(_) => "webhook",
            Self::AcmeDns { .. } => "acme-dns",
            Self::Own(_) => Self::OWN,
            Self::Vendor(vendor) => vendor.vendor.word,
        }
    }

    /// What it is known by there.
    pub fn secrets(&self) -> Vec<&SecretSource> {
        match self {
            Self::Rfc2136 { key, .. } => key.iter().collect(),
            Self::Webhook(call) => {
                call.token.iter().chain(call.login.iter().map(|(_, password)| password)).collect()
            }
            Self::Vendor(vendor) => vendor.secrets.iter().map(|(_, source)| source).collect(),
            Self::Exec(_) | Self::AcmeDns { .. } | Self::Own(_) => Vec::new(),
        }
    }
}

/// A name server of ours, for zones that were delegated to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnServer {
    /// Each for UDP and TCP.
    pub listen: Vec<Listen>,
    pub zones: Vec<DomainName>,
    /// What the delegations (NS) call this host.
    pub name_server: DomainName,
    /// Of `name_server`, for where it lies in one of the zones.
    pub addresses: Vec<IpAddr>,
    /// Mailbox of who answers for the zones, as SOA writes it.
    pub contact: DomainName,
}

/// An account with somebody who hosts DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolverVendor {
    pub vendor: &'static Vendor,
    /// By the stems of their keys; those that the vendor needs are among these two.
    pub plain: Vec<(&'static str, String)>,
    pub secrets: Vec<(&'static str, SecretSource)>,
}

/// A program that changes a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolverExec {
    pub run: Vec<String>,
    /// In place of `run` when a text is taken away.
    pub cleanup: Option<Vec<String>>,
    pub style: ExecStyle,
    pub user: Option<String>,
    pub timeout: Span,
}

/// How a program is told what to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecStyle {
    #[default]
    Nolapse,
    CertbotManual,
    Lego,
    Dehydrated,
}

impl ExecStyle {
    pub const ALL: [Self; 4] = [Self::Nolapse, Self::CertbotManual, Self::Lego, Self::Dehydrated];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Nolapse => "nolapse",
            Self::CertbotManual => "certbot-manual",
            Self::Lego => "lego",
            Self::Dehydrated => "dehydrated",
        }
    }
}

/// A service that is asked to change a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolverWebhook {
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<SecretSource>,
    /// User and password, where there is no token.
    pub login: Option<(String, SecretSource)>,
}

/// Where a listener for challenges waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `[::]:80`, `127.0.0.1:8089`.
    Address(std::net::SocketAddr),
    /// A socket handed over by systemd, by its `FileDescriptorName=`.
    Systemd(String),
}

/// A program or call that is told about a new generation and whose success is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSpec {
    pub id: HookId,
    /// Run before the call; its failure keeps the call back.
    pub check: Option<Vec<String>>,
    pub call: Call,
    /// Whom its programs run as; only root can change that. The agent's own user when left out.
    pub user: Option<String>,
    /// Hooks that must be done with a generation before this one is told.
    pub after: Vec<HookId>,
    pub timeout: Span,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A program and its arguments; no shell.
    Run(Vec<String>),
    /// Every program in a directory, in the order of their names.
    Parts(String),
    Signal {
        signal: String,
        target: SignalTarget,
    },
    Http(HttpCall),
    /// The runtime socket of haproxy, which takes certificates without a reload.
    Haproxy(String),
}

/// One HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpCall {
    pub method: String,
    pub url: String,
    /// A file sent in place of the event, such as the configuration to load.
    pub body_file: Option<String>,
    /// Names and values; none of them secret.
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalTarget {
    PidFile(String),
    /// Every process with this name that this process can see.
    Process(String),
}

/// Everything resolved, the broken entries apart: one bad certificate never stops the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub lineages: Lineages,
    pub issuers: BTreeMap<IssuerId, IssuerSpec>,
    pub solvers: BTreeMap<SolverId, SolverSpec>,
    pub hooks: BTreeMap<HookId, HookSpec>,
    /// What is looked at and never touched.
    pub watches: BTreeMap<WatchId, WatchSpec>,
    /// Certificates whose entry can't be used, with the reason: kept, never renewed, reported.
    pub broken: BTreeMap<LineageId, String>,
}
