//! Orders and what belongs to them, kept by `instant-acme`, watched by us.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, NewOrder, OrderState, OrderStatus as TheirOrder};
use reqwest::Method;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::Value;

use super::account::{self, NONCE_TRIES, Registrar};
use super::courier::{Courier, Exchange, recorded};
use super::directory::Directory;
use super::http::Transport;
use super::jws::{AccountKey, BadKey};
use super::orders::{Handle, Orders};
use super::persist::Applicant;
use super::problem::{Call, of};
use super::shared::Shared;
use super::view::{identifier, order_view, window};
use crate::core::failure::{Failure, Fault, plain};
use crate::core::layout::Content;
use crate::core::order::{AuthorizationView, ChallengeTask, OrderRequest, OrderView, PersistTerms};
use crate::core::spec::{IssuerSpec, Profile};
use crate::core::time::Span;
use crate::ports::{Ca, Greeting, RenewalInfo, Reply, Secrets, Store};
use crate::sys::clock::Clock;

/// A CA that speaks ACME. Cheap to make and silent until it is asked something: an agent starts
/// without a network.
pub struct AcmeCa {
    spec: IssuerSpec,
    store: Arc<dyn Store>,
    secrets: Secrets,
    transport: Arc<Transport>,
    session: Shared<Session>,
    /// The CA said that it does not know our account.
    lost: AtomicBool,
    orders: Mutex<Orders>,
}

/// The account opened. Opened again daily and after answers that made no sense.
struct Session {
    account: Account,
    /// Of the account's own key (RFC 7638).
    thumbprint: String,
    directory: Arc<Directory>,
}

impl Session {
    /// Who asks, for reading an authorization with these challenges.
    fn applicant<'a>(&'a self, challenges: &'a [Value]) -> Applicant<'a> {
        Applicant {
            thumbprint: &self.thumbprint,
            account: self.account.id(),
            meta: &self.directory.persist,
            challenges,
        }
    }
}

/// Rounds of one call against `badNonce`; `instant-acme` makes three tries in each.
const NONCE_ROUNDS: usize = NONCE_TRIES / 3;
/// Longest that one call of the port may take, whatever number of requests it needs; waiting for
/// a turn included.
const CALL_MOST: Duration = Duration::from_secs(600);
/// Between two readings of renewal information, whatever the CA says (RFC 9773 §4.3.2).
const RENEWAL_INFO_LEAST: Span = Span::MINUTE;
const RENEWAL_INFO_MOST: Span = Span::DAY;
/// Where the CA does not say (RFC 9773 §4.3.3).
const RENEWAL_INFO_USUAL: Span = Span::hours(6);

/// Runs one call of `instant-acme`, again while the CA refuses its nonces.
macro_rules! ask {
    ($ca:expr, $session:expr, $call:expr, $made:expr) => {{
        let mut round = 1;
        loop {
            match recorded(&$ca.transport, async { $made }).await {
                (Ok(value), exchange) => break Ok((value, exchange)),
                (Err(_), exchange) if exchange.is_bad_nonce() && round < NONCE_ROUNDS => round += 1,
                (Err(error), exchange) => break Err($ca.judge($session, $call, error, &exchange)),
            }
        }
    }};
}

mod authorizations;

impl AcmeCa {
    /// `roots` is what `ca-file` holds: with it nothing else vouches for the CA. Fails where the
    /// issuer can't be used at all (no https, no certificate in `roots`); asks nothing of the
    /// network or the store.
    pub fn new(
        spec: IssuerSpec,
        store: Arc<dyn Store>,
        clock: Clock,
        secrets: Secrets,
        roots: Option<&Content>,
    ) -> Result<Self, Failure> {
        let transport = Arc::new(Transport::new(&spec, roots, clock)?);
        Ok(Self {
            spec,
            store,
            secrets,
            transport,
            session: Shared::new(),
            lost: AtomicBool::new(false),
            orders: Mutex::default(),
        })
    }

    async fn session(&self) -> Result<Arc<Session>, Failure> {
        let now = self.transport.now();
        self.session.obtain(|session| session.directory.is_fresh(now), self.open()).await
    }

    async fn open(&self) -> Result<Session, Failure> {
        let directory = self.transport.directory().await?;
        let registrar = Registrar {
            spec: &self.spec,
            store: &*self.store,
            secrets: &self.secrets,
            transport: &self.transport,
            directory: &directory,
        };
        let lost = self.lost.load(Ordering::Acquire);
        let registered = registrar.open(lost).await.inspect_err(|failure| {
            // It may be the directory that is wrong: what it asks for, or where it sends us.
            if !matches!(failure.code.as_str(), "ca-down" | "rate-limited") {
                directory.distrust();
            }
        })?;
        if lost {
            self.orders().forget_all();
            self.lost.store(false, Ordering::Release);
        }
        let unusable = |BadKey| Failure::broken("crypto", "the account key can't be used");
        let thumbprint = registered.key.thumbprint();
        let own = Arc::new(registered.key);
        // `instant-acme` signs with ECDSA P-256 only: it gets such a key that nobody knows, and what it
        // signs is signed again on its way.
        let stand_in = if own.is_rsa() { Some(AccountKey::generate().map_err(unusable)?) } else { None };
        let courier = Box::new(Courier {
            transport: self.transport.clone(),
            signer: stand_in.as_ref().map(|_| own.clone()),
        });
        let key = PrivatePkcs8KeyDer::from(stand_in.as_ref().unwrap_or(&own).pkcs8());
        let opened = Account::builder_with_http(courier)
            .from_parts(registered.url, key, self.transport.directory_url().to_owned())
            .await;
        match opened {
            Ok(account) => Ok(Session { account, thumbprint, directory }),
            Err(error) => Err(self.explain(Call::Directory, error, &Exchange::default())),
        }
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order, as last read where it was read before. True when it was read just now.
    async fn handle(&self, session: &Session, url: &str) -> Result<(Handle, Exchange, bool), Failure> {
        self.transport.permitted(url)?;
        if let Some(handle) = self.orders().find(url) {
            return Ok((handle, Exchange::default(), false));
        }
        let (order, exchange) =
            ask!(self, session, Call::Order, session.account.order(url.to_owned()).await)?;
        Ok((self.orders().keep(url.to_owned(), order), exchange, true))
    }

    fn forget(&self, url: &str) {
        self.orders().forget(url);
    }

    /// What a failed call means, and whether the session still holds after it.
    fn judge(
        &self,
        session: &Session,
        call: Call,
        error: instant_acme::Error,
        exchange: &Exchange,
    ) -> Failure {
        let failure = self.explain(call, error, exchange);
        match failure.code.as_str() {
            "account-missing" => {
                self.lost.store(true, Ordering::Release);
                session.directory.distrust();
            }
            "ca-answer" | "refused-by-ca" | "malformed" => session.directory.distrust(),
            _ => {}
        }
        failure
    }

    fn explain(&self, call: Call, error: instant_acme::Error, exchange: &Exchange) -> Failure {
        use instant_acme::Error as Theirs;
        let senseless = |why: String| {
            let words = format!("the CA's answer to {call} makes no sense: {}", plain(&why, 200));
            Failure::transient(Fault::Ca, "ca-answer", words)
        };
        match error {
            Theirs::Other(inner) => match inner.downcast::<Failure>() {
                Ok(ours) => *ours,
                Err(theirs) => senseless(theirs.to_string()),
            },
            Theirs::Api(problem) => {
                let document = exchange.problem.clone().unwrap_or_else(|| of(&problem).into());
                document.failure(call, exchange.retry_after, self.transport.now())
            }
            Theirs::Crypto | Theirs::KeyRejected => {
                Failure::broken("crypto", "signing with the account key failed")
            }
            other => senseless(other.to_string()),
        }
    }

    /// With the certificate's profile, or else the issuer's.
    async fn place_with_profile(&self, request: &OrderRequest) -> Result<OrderView, Failure> {
        let profile = request.profile.as_ref().or(self.spec.profile.as_ref());
        let placed = self.place(request, profile).await;
        match (&placed, &request.profile, &self.spec.profile) {
            // Who asked does not know of the issuer's profile, so falling back is ours.
            (Err(failure), None, Some(Profile { required: false, .. }))
                if failure.code == "profile-refused" =>
            {
                tracing::info!(issuer = %self.spec.id, %failure, "the CA's default profile is used");
                self.place(request, None).await
            }
            _ => placed,
        }
    }

    async fn place(&self, request: &OrderRequest, profile: Option<&Profile>) -> Result<OrderView, Failure> {
        let session = self.session().await?;
        let identifiers: Vec<_> = request.names.iter().map(identifier).collect();
        let mut new_order = NewOrder::new(&identifiers);
        let profile =
            self.profile(profile, &session.directory).inspect_err(|_| session.directory.distrust())?;
        if let Some(profile) = profile {
            new_order = new_order.profile(profile);
        }
        // RFC 9773 §5: only where the CA has renewal information at all.
        let replaced = request.replaces.as_deref().filter(|_| session.directory.renewal_info.is_some());
        let replaces = replaced.and_then(|ari_id| ari_id.split_once('.'));
        if let Some((authority, serial)) = replaces {
            new_order = new_order.replaces(CertificateIdentifier {
                authority_key_identifier: authority.into(),
                serial: serial.into(),
            });
        }
        let call = Call::NewOrder { replaces: replaces.is_some(), profile: profile.is_some() };
        let mut round = 1;
        let (order, exchange) = loop {
            match recorded(&self.transport, session.account.new_order(&new_order)).await {
                (Ok(order), exchange) => break (order, exchange),
                (Err(_), exchange) if exchange.is_bad_nonce() && round < NONCE_ROUNDS => round += 1,
                // The CA made an order and its answer displeases the library (such as `replaces`
                // that is not repeated): the order is there, and it is read by its URL.
                (Err(instant_acme::Error::Other(_) | instant_acme::Error::Json(_)), exchange)
                    if exchange.is_success() && exchange.location.is_some() =>
                {
                    let url = exchange.location.unwrap_or_default();
                    break ask!(self, &session, Call::Order, session.account.order(url.clone()).await)?;
                }
                (Err(error), exchange) => return Err(self.judge(&session, call, error, &exchange)),
            }
        };
        let mut order = order;
        let url = order.url().to_owned();
        self.transport.permitted(&url)?;
        let view = order_view(&url, order.state(), &exchange);
        self.orders().keep(url, order);
        Ok(view)
    }

    /// The profile to ask for: never one that the CA does not advertise.
    fn profile<'a>(
        &self,
        wanted: Option<&'a Profile>,
        directory: &Directory,
    ) -> Result<Option<&'a str>, Failure> {
        match wanted {
            None => Ok(None),
            Some(profile) if directory.profiles.contains(&profile.name) => Ok(Some(&profile.name)),
            Some(profile) => {
                let offered: Vec<_> = directory.profiles.iter().map(String::as_str).collect();
                let offered = if offered.is_empty() { "no profiles".to_owned() } else { offered.join(", ") };
                if profile.required {
                    let words = format!(
                        "the CA does not offer the profile {:?}, which is required; it offers {offered}",
                        profile.name
                    );
                    return Err(Failure::refused(Fault::Config, "profile-unavailable", words));
                }
                tracing::info!(
                    issuer = %self.spec.id, profile = %profile.name, offered,
                    "the CA does not offer the preferred profile; its default is used"
                );
                Ok(None)
            }
        }
    }

    async fn look(&self, url: &str) -> Result<OrderView, Failure> {
        let session = self.session().await?;
        let (handle, mut exchange, fresh) = self.handle(&session, url).await?;
        let mut order = handle.lock().await;
        if !fresh {
            let seen = ask!(self, &session, Call::Order, order.refresh().await.map(|_| ()));
            exchange = self.kept(url, seen)?.1;
        }
        Ok(order_view(url, order.state(), &exchange))
    }

    /// Lets go of an order that the CA does not know any more.
    fn kept<T>(&self, url: &str, seen: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &seen
            && matches!(failure.code.as_str(), "order-gone" | "account-missing")
        {
            self.forget(url);
        }
        seen
    }

    async fn send_csr(&self, url: &str, csr: &[u8]) -> Result<OrderView, Failure> {
        let session = self.session().await?;
        let (handle, _, _) = self.handle(&session, url).await?;
        let mut order = handle.lock().await;
        let seen = ask!(self, &session, Call::Finalize, order.finalize_csr(csr).await);
        let ((), exchange) = self.kept(url, seen)?;
        Ok(order_view(url, order.state(), &exchange))
    }

    async fn fetch(&self, url: &str) -> Result<String, Failure> {
        let session = self.session().await?;
        let (handle, _, fresh) = self.handle(&session, url).await?;
        let mut order = handle.lock().await;
        let ready = |state: &OrderState| state.status == TheirOrder::Valid && state.certificate.is_some();
        if !fresh && !ready(order.state()) {
            let seen = ask!(self, &session, Call::Order, order.refresh().await.map(|_| ()));
            self.kept(url, seen)?;
        }
        if !ready(order.state()) {
            let words =
                format!("the order is {:?}, there is no certificate to fetch yet", order.state().status);
            return Err(Failure::transient(Fault::Ca, "order-not-ready", words));
        }
        let seen = ask!(self, &session, Call::Certificate, order.certificate().await);
        let (chain, _) = self.kept(url, seen)?;
        self.forget(url);
        chain.ok_or_else(|| Failure::transient(Fault::Ca, "order-not-ready", "the CA is still issuing"))
    }

    async fn read_renewal_info(&self, ari_id: &str) -> Result<Option<RenewalInfo>, Failure> {
        let directory = self.transport.directory().await?;
        let Some(base) = &directory.renewal_info else { return Ok(None) };
        if !ari_id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(Failure::broken("ari-id", "an ARI id holds what it must not"));
        }
        let _turn = self.transport.turn().await;
        let answer = self.transport.send(Method::GET, &format!("{base}/{ari_id}"), None).await?;
        match answer.status {
            200..300 => {}
            // A certificate that the CA does not know has no window: RFC 9773 §4.3.3 asks for a
            // look every so often all the same, and that is what `None` leads to.
            404 => return Ok(None),
            _ => return Err(answer.failure(Call::RenewalInfo, self.transport.now())),
        }
        let window = answer.json().and_then(|value| window(&value));
        let (window, explanation) = window.ok_or_else(|| {
            let words = "the CA's renewal information holds no window that begins before it ends";
            Failure::transient(Fault::Ca, "ari-invalid", words)
        })?;
        let retry_after = answer.retry_after.unwrap_or(RENEWAL_INFO_USUAL);
        let retry_after = retry_after.between(RENEWAL_INFO_LEAST, RENEWAL_INFO_MOST);
        Ok(Some(RenewalInfo { window, explanation, retry_after }))
    }
}

impl Ca for AcmeCa {
    fn order<'a>(&'a self, request: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(in_time(async move {
            match self.place_with_profile(request).await {
                // Nothing was ordered; with the account opened again it may be.
                Err(failure) if failure.code == "account-missing" && self.lost.load(Ordering::Acquire) => {
                    self.place_with_profile(request).await
                }
                placed => placed,
            }
        }))
    }

    fn skew(&self) -> Reply<'_, Result<Option<Span>, Failure>> {
        Box::pin(async move { Ok(self.session().await?.directory.skew()) })
    }

    fn view<'a>(&'a self, order: &'a str) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(in_time(self.look(order)))
    }

    fn authorizations<'a>(&'a self, order: &'a str) -> Reply<'a, Result<Vec<AuthorizationView>, Failure>> {
        Box::pin(in_time(self.read_authorizations(order)))
    }

    fn ready<'a>(&'a self, order: &'a str, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(in_time(self.tell(order, task)))
    }

    fn finalize<'a>(&'a self, order: &'a str, csr: &'a [u8]) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(in_time(self.send_csr(order, csr)))
    }

    fn download<'a>(&'a self, order: &'a str) -> Reply<'a, Result<String, Failure>> {
        Box::pin(in_time(self.fetch(order)))
    }

    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Reply<'a, Result<Option<RenewalInfo>, Failure>> {
        Box::pin(in_time(self.read_renewal_info(ari_id)))
    }

    fn has_renewal_info(&self) -> Reply<'_, bool> {
        Box::pin(async {
            let directory = self.transport.directory_in_hand().await;
            directory.is_none_or(|directory| directory.renewal_info.is_some())
        })
    }

    fn reachable(&self) -> Reply<'_, Result<Greeting, Failure>> {
        Box::pin(async move {
            let directory = self.transport.read_directory().await?;
            Ok(directory.greeting())
        })
    }

    fn abandon<'a>(&'a self, order: &'a str) -> Reply<'a, Result<(), Failure>> {
        Box::pin(in_time(self.give_up(order)))
    }

    fn caa_identities(&self) -> Reply<'_, Result<Vec<String>, Failure>> {
        Box::pin(async move { Ok(self.session().await?.directory.caa_identities.clone()) })
    }

    fn known_account(&self) -> Reply<'_, Result<Option<String>, Failure>> {
        Box::pin(async move {
            let kept = account::kept(&*self.store, &self.spec).await?;
            Ok(kept.map(|(_, url)| url))
        })
    }

    fn account(&self) -> Reply<'_, Result<String, Failure>> {
        Box::pin(async move { Ok(self.session().await?.account.id().to_owned()) })
    }

    fn persist_terms<'a>(&'a self, base: &'a str) -> Reply<'a, Result<Option<PersistTerms>, Failure>> {
        Box::pin(async move {
            let session = self.session().await?;
            Ok(session.directory.persist.terms(base, &session.applicant(&[])))
        })
    }
}

/// The call's end, or its deadline's: a CA may answer each of many requests just in time.
async fn in_time<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(CALL_MOST, call).await.unwrap_or_else(|_| {
        let words = format!("the CA takes more than {} min to answer", CALL_MOST.as_secs() / 60);
        Err(Failure::transient(Fault::Ca, "ca-down", words))
    })
}
