//! How a CA is set up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::ca::Ca;
use crate::challenge::ChallengeKind;
use crate::effect::RetryAfter;
use crate::http01;
use crate::identifier::Identifier;
use crate::journal::{Listener, RequestRecord};
use crate::limits::Limits;
use crate::profile::Profile;
use crate::renewal::RenewalWindow;
use crate::resolver::Resolver;

const DAY: Duration = Duration::from_hours(24);

/// The settings of a [`Ca`]; every one has a default that suits a first test.
#[derive(Clone)]
pub struct CaBuilder {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) seed: u64,
    pub(crate) lifetime: Duration,
    pub(crate) backdate: Duration,
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) requested_validity: bool,
    pub(crate) common_name: bool,
    pub(crate) chain_length: usize,
    pub(crate) alternate_chains: usize,
    pub(crate) max_names: usize,
    pub(crate) terms: bool,
    pub(crate) external_accounts: BTreeMap<String, Vec<u8>>,
    pub(crate) external_accounts_once: bool,
    pub(crate) caa_identities: Vec<String>,
    pub(crate) rejected_names: BTreeSet<String>,
    pub(crate) challenges: Vec<ChallengeKind>,
    pub(crate) decoy_challenge: bool,
    pub(crate) resolver: Resolver,
    pub(crate) dns_server: Option<SocketAddr>,
    pub(crate) http_port: u16,
    pub(crate) tls_port: u16,
    pub(crate) trusting: bool,
    pub(crate) validation_delay: Duration,
    pub(crate) validation_timeout: Duration,
    pub(crate) pending_lifetime: Duration,
    pub(crate) authorization_lifetime: Duration,
    pub(crate) authorization_reuse: u8,
    pub(crate) order_reuse: bool,
    pub(crate) order_errors: bool,
    pub(crate) processing_polls: u32,
    pub(crate) poll_retry_after: Option<RetryAfter>,
    pub(crate) nonce_rejection: u8,
    pub(crate) renewal_info: bool,
    pub(crate) renewal_window: RenewalWindow,
    pub(crate) renewal_retry_after: Option<RetryAfter>,
    pub(crate) limits: Limits,
    pub(crate) on_request: Option<Listener>,
}

impl Default for CaBuilder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: true,
            seed: 0,
            lifetime: 90 * DAY,
            backdate: Duration::ZERO,
            profiles: BTreeMap::new(),
            requested_validity: false,
            common_name: false,
            chain_length: 2,
            alternate_chains: 0,
            max_names: 100,
            terms: false,
            external_accounts: BTreeMap::new(),
            external_accounts_once: false,
            caa_identities: Vec::new(),
            rejected_names: BTreeSet::new(),
            challenges: vec![ChallengeKind::Http01],
            decoy_challenge: false,
            resolver: Resolver::default(),
            dns_server: None,
            http_port: 80,
            tls_port: 443,
            trusting: false,
            validation_delay: Duration::ZERO,
            validation_timeout: http01::DEFAULT_TIMEOUT,
            pending_lifetime: 7 * DAY,
            authorization_lifetime: 30 * DAY,
            authorization_reuse: 0,
            order_reuse: false,
            order_errors: true,
            processing_polls: 0,
            poll_retry_after: None,
            nonce_rejection: 0,
            renewal_info: true,
            renewal_window: RenewalWindow::Usual,
            renewal_retry_after: Some(RetryAfter::Seconds(6 * 3600)),
            limits: Limits::default(),
            on_request: None,
        }
    }
}

impl CaBuilder {
    /// Starts the CA on the current tokio runtime. Only loopback addresses are bound.
    pub async fn start(self) -> io::Result<Ca> {
        Ca::with(self).await
    }

    /// Where to listen; the default is a free port of 127.0.0.1.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Serves the API over plain HTTP instead of TLS.
    pub fn plain_http(mut self) -> Self {
        self.tls = false;
        self
    }

    /// The seed of everything that happens in some percentage of cases.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long certificates last from the moment of issue; at least a second. The default is 90 days.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How far in the past `notBefore` lies. The end of the validity is not moved.
    pub fn backdate(mut self, backdate: Duration) -> Self {
        self.backdate = backdate;
        self
    }

    /// Advertises a profile with a lifetime of its own. With no profiles the member `profile` is passed over.
    pub fn profile(mut self, name: &str, description: &str, lifetime: Duration) -> Self {
        self.profiles.insert(name.to_owned(), Profile { description: description.to_owned(), lifetime });
        self
    }

    /// Grants `notBefore` and `notAfter` in orders; without this they are refused.
    pub fn requested_validity(mut self) -> Self {
        self.requested_validity = true;
        self
    }

    /// Puts the first fitting name into the subject; without this the subject is empty.
    pub fn common_name(mut self) -> Self {
        self.common_name = true;
        self
    }

    /// How many certificates a download has, from 1 (the leaf, signed by the root) to 3. The default is 2.
    pub fn chain_length(mut self, certificates: usize) -> Self {
        self.chain_length = certificates.clamp(1, 3);
        self
    }

    /// Offers this many alternate chains, each to a root of its own (RFC 8555 §7.4.2).
    pub fn alternate_chains(mut self, chains: usize) -> Self {
        self.alternate_chains = chains;
        self
    }

    /// The most names an order may have. The default is 100.
    pub fn max_names(mut self, names: usize) -> Self {
        self.max_names = names;
        self
    }

    /// Publishes terms of service and refuses accounts that do not agree to them.
    pub fn terms_of_service(mut self) -> Self {
        self.terms = true;
        self
    }

    /// Demands an external account binding; call it once for each key identifier and its MAC key.
    pub fn external_account(mut self, kid: &str, mac_key: &[u8]) -> Self {
        self.external_accounts.insert(kid.to_owned(), mac_key.to_vec());
        self
    }

    /// Lets each external account be bound once only.
    pub fn external_accounts_once(mut self) -> Self {
        self.external_accounts_once = true;
        self
    }

    /// A domain this CA answers to in CAA records; may be called several times.
    pub fn caa_identity(mut self, domain: &str) -> Self {
        self.caa_identities.push(domain.to_owned());
        self
    }

    /// Refuses orders for this name; see also [`Ca::reject_identifier`].
    pub fn reject_identifier(mut self, name: &str) -> Self {
        self.rejected_names.insert(name.to_ascii_lowercase());
        self
    }

    /// Which challenges are offered, in this order.
    pub fn challenges(mut self, kinds: &[ChallengeKind]) -> Self {
        self.challenges = kinds.to_vec();
        self
    }

    /// Lists a challenge of an unknown type, without a token, before the real ones.
    pub fn decoy_challenge(mut self) -> Self {
        self.decoy_challenge = true;
        self
    }

    /// Makes every name lead to this address, which must be loopback.
    pub fn resolve_all(mut self, address: impl Into<IpAddr>) -> Self {
        self.resolver.everything = Some(address.into());
        self
    }

    /// Makes one name lead to this address; goes before [`CaBuilder::resolve_all`].
    pub fn resolve(mut self, name: &str, address: impl Into<IpAddr>) -> Self {
        self.resolver.names.insert(name.to_ascii_lowercase(), address.into());
        self
    }

    /// Where dns-01 looks for texts; it must know every name, or follow aliases by itself.
    pub fn dns_server(mut self, server: SocketAddr) -> Self {
        self.dns_server = Some(server);
        self
    }

    /// The port that plays the standard's port 80; see also [`Ca::set_http_port`].
    pub fn http_port(mut self, port: u16) -> Self {
        self.http_port = port;
        self
    }

    /// The port that plays the standard's port 443.
    pub fn tls_port(mut self, port: u16) -> Self {
        self.tls_port = port;
        self
    }

    /// Takes every applicant's word: challenges become valid without a look. For load, not for proof.
    pub fn skip_validation(mut self) -> Self {
        self.trusting = true;
        self
    }

    /// How long a challenge stays `processing` before the look.
    pub fn validation_delay(mut self, delay: Duration) -> Self {
        self.validation_delay = delay;
        self
    }

    /// How long the look may take. The default is 5 seconds.
    pub fn validation_timeout(mut self, timeout: Duration) -> Self {
        self.validation_timeout = timeout;
        self
    }

    /// How long orders and pending authorizations last. The default is 7 days.
    pub fn pending_lifetime(mut self, lifetime: Duration) -> Self {
        self.pending_lifetime = lifetime;
        self
    }

    /// How long valid authorizations last. The default is 30 days.
    pub fn authorization_lifetime(mut self, lifetime: Duration) -> Self {
        self.authorization_lifetime = lifetime;
        self
    }

    /// In how many of 100 cases a valid authorization is used again. The default is 0.
    pub fn authorization_reuse(mut self, percent: u8) -> Self {
        self.authorization_reuse = percent;
        self
    }

    /// Answers a repeated newOrder with the order that is still open, as Let's Encrypt does.
    pub fn order_reuse(mut self) -> Self {
        self.order_reuse = true;
        self
    }

    /// Leaves `error` out of invalid orders: the reason then stands in the challenge alone.
    pub fn silent_orders(mut self) -> Self {
        self.order_errors = false;
        self
    }

    /// Keeps every finalized order `processing` until it has been read this often.
    pub fn processing_polls(mut self, polls: u32) -> Self {
        self.processing_polls = polls;
        self
    }

    /// Sent with what is worth polling: processing orders, and authorizations under validation.
    pub fn poll_retry_after(mut self, retry_after: RetryAfter) -> Self {
        self.poll_retry_after = Some(retry_after);
        self
    }

    /// Rejects this percentage of good nonces; see also [`Ca::set_nonce_rejection`].
    pub fn nonce_rejection(mut self, percent: u8) -> Self {
        self.nonce_rejection = percent;
        self
    }

    /// Offers no renewal information, and then passes over `replaces`.
    pub fn no_renewal_info(mut self) -> Self {
        self.renewal_info = false;
        self
    }

    /// The window suggested for every certificate; see also [`Ca::set_renewal_window`].
    pub fn renewal_window(mut self, window: RenewalWindow) -> Self {
        self.renewal_window = window;
        self
    }

    /// Sent with renewal information; the default is six hours, `None` leaves it out.
    pub fn renewal_retry_after(mut self, retry_after: Option<RetryAfter>) -> Self {
        self.renewal_retry_after = retry_after;
        self
    }

    /// Refuses what is too much, such as [`Limits::lets_encrypt`] says. The default refuses nothing.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Called with every request once it is answered or cut off.
    pub fn on_request(mut self, listener: impl Fn(&RequestRecord) + Send + Sync + 'static) -> Self {
        self.on_request = Some(std::sync::Arc::new(listener));
        self
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        let bad = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !self.listen.ip().is_loopback() {
            return bad(format!("{} is not a loopback address", self.listen));
        }
        if let Some(name) = self.rejected_names.iter().find(|name| {
            let kind = if name.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
            Identifier::parse(kind, name).is_err()
        }) {
            return bad(format!("{name:?} can not be an identifier, so it need not be rejected"));
        }
        Ok(())
    }
}

impl fmt::Debug for CaBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaBuilder")
            .field("listen", &self.listen)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
