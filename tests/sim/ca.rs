//! A CA that keeps its own books: orders, authorizations, certificates. One authority serves all
//! nodes of a world; each node has its own desk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use nolapse::codec::bundle;
use nolapse::core::failure::{Class, Failure, Fault};
use nolapse::core::leaf::{Fingerprint, mix};
use nolapse::core::name::{SubjectName, Token};
use nolapse::core::order::{
    AuthorizationStatus, AuthorizationView, ChallengeStatus, ChallengeTask, ChallengeView, OrderRequest,
    OrderStatus, OrderView, Problem,
};
use nolapse::core::record::ChallengeKind;
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::ports::{Ca, Greeting, RenewalInfo, Reply};
use nolapse::sys::clock::Clock;

use crate::board::Board;
use crate::crash::Points;
use crate::mint::{Mint, PublicKey, Wish};
use crate::script::{Script, Trouble};

/// Whose knowledge of an account key a key authorization proves; it must never be logged.
pub const THUMBPRINT: &str = "CanaryThumbprintOfTheAccount";
/// How long an order lives.
const ORDER_LIVES: Span = Span::days(7);
/// How long the CA takes to validate and to issue.
const VALIDATES: Span = Span::from_millis(1500);
const ISSUES: Span = Span::from_millis(700);
/// When renewal information is to be asked for again.
const ARI_AGAIN: Span = Span::hours(6);
/// How long a call without an answer takes to fail.
const CONNECT_TIMEOUT: Span = Span::secs(10);

pub struct Authority {
    seed: u64,
    pub truth: Clock,
    script: Script,
    board: Board,
    mint: Mint,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    calls: u64,
    lifetime: Span,
    orders: BTreeMap<String, Order>,
    /// What was issued, and for which names.
    issued: BTreeMap<Fingerprint, Interval>,
    /// No new order is welcome before this.
    limited_until: Option<Timestamp>,
    said_now: Option<Timestamp>,
    /// Orders that came although the CA had said when to come back.
    breaches: Vec<Timestamp>,
}

/// One order, as the CA knows it.
#[derive(Clone)]
pub struct Order {
    pub placed: Timestamp,
    pub names: Vec<SubjectName>,
    pub replaces: Option<String>,
    /// The agent got the answer with its URL.
    pub told: bool,
    /// The agent asked to give it up.
    pub abandoned: bool,
    pub downloads: u32,
    authorizations: Vec<Authorization>,
    finalized: Option<(Timestamp, PublicKey)>,
    chain: Option<String>,
}

#[derive(Clone)]
struct Authorization {
    name: SubjectName,
    token: Token,
    /// When the agent said that the answer stands.
    ready: Option<Timestamp>,
    verdict: Option<Result<(), Problem>>,
}

impl Authority {
    pub fn new(seed: u64, truth: Clock, script: Script, board: Board, lifetime: Span) -> Self {
        let mint = Mint::new(seed, truth.now());
        let books = Mutex::new(Books { lifetime, ..Books::default() });
        Self { seed, truth, script, board, mint, books }
    }

    pub fn orders(&self) -> Vec<(String, Order)> {
        self.books().orders.iter().map(|(url, order)| (url.clone(), order.clone())).collect()
    }

    /// Orders that the agent knows of and that are neither finished nor given up.
    pub fn open(&self) -> Vec<String> {
        let now = self.truth.now();
        let books = self.books();
        let open = books.orders.iter().filter(|(_, order)| {
            order.told
                && !order.abandoned
                && order.downloads == 0
                && now < order.placed + ORDER_LIVES
                && !order.failed()
        });
        open.map(|(url, _)| url.clone()).collect()
    }

    /// The agent died before it could save these: it can't know of them.
    pub fn lost(&self, saved: impl Fn(&str) -> bool) {
        for (url, order) in &mut self.books().orders {
            order.told &= saved(url);
        }
    }

    /// The validity of a certificate of ours.
    pub fn issued(&self, leaf: &Fingerprint) -> Option<Interval> {
        self.books().issued.get(leaf).copied()
    }

    pub fn breaches(&self) -> usize {
        self.books().breaches.len()
    }

    /// When renewal information first said: now.
    pub fn said_now(&self) -> Option<Timestamp> {
        self.books().said_now
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

impl Order {
    fn failed(&self) -> bool {
        self.authorizations.iter().any(|authorization| matches!(authorization.verdict, Some(Err(_))))
    }

    fn proven(&self) -> bool {
        self.authorizations.iter().all(|authorization| matches!(authorization.verdict, Some(Ok(()))))
    }
}

impl Books {
    fn order(&mut self, url: &str) -> Result<&mut Order, Failure> {
        self.orders
            .get_mut(url)
            .ok_or_else(|| Failure::transient(Fault::Ca, "order-gone", "the CA does not know this order"))
    }
}

/// One node's way to the CA.
pub struct Desk {
    pub authority: Arc<Authority>,
    pub points: Arc<Points>,
    /// The node's own clock: what it makes of a Retry-After.
    pub clock: Clock,
}

impl Desk {
    /// One request: a point to die at, the way there, the effect, and the way back.
    async fn ask<T>(
        &self,
        effect: impl FnOnce(&Authority, &mut Books, Timestamp) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let (authority, script) = (&*self.authority, &self.authority.script);
        self.points.pass().await;
        let calls = {
            let mut books = authority.books();
            books.calls += 1;
            books.calls
        };
        let takes = 20 + i64::try_from(mix(&[authority.seed, calls]) % 180).unwrap();
        authority.truth.sleep(Span::from_millis(takes)).await;
        if script.strikes(&Trouble::CaDown) {
            authority.truth.sleep(CONNECT_TIMEOUT).await;
            return Err(down("no connection within 10 s"));
        }
        if script.strikes(&Trouble::CaErrors) {
            return Err(down("503 Service Unavailable"));
        }
        let answer = effect(authority, &mut authority.books(), authority.truth.now());
        self.points.pass().await;
        if script.strikes(&Trouble::ReplyLost) {
            return Err(down("the connection broke"));
        }
        answer
    }

    fn place(
        &self,
        authority: &Authority,
        books: &mut Books,
        request: &OrderRequest,
        now: Timestamp,
    ) -> Result<String, Failure> {
        let limit = authority.script.find(|trouble| match trouble {
            Trouble::RateLimit(span) => Some(*span),
            _ => None,
        });
        if books.limited_until.is_some_and(|until| now < until) {
            books.breaches.push(now);
        }
        if let Some(span) = limit {
            books.limited_until = Some(now + span);
            let until = self.clock.now() + span;
            let words = "too many certificates for this set of names";
            return Err(Failure::new(Class::Limited { until }, Fault::Ca, "rate-limited", words));
        }
        if request.replaces.is_some() && authority.script.strikes(&Trouble::ReplacesRefused) {
            return Err(Failure::refused(Fault::Ca, "replaces-refused", "already replaced"));
        }
        let number = books.orders.len() as u64 + 1;
        let url = format!("https://ca.example/order/{number:04}");
        let authorizations = request
            .names
            .iter()
            .zip(0u64..)
            .map(|(name, place)| Authorization {
                name: name.clone(),
                token: Token::parse(&format!("token{number:04}of{place:04}{}", "x".repeat(20))).unwrap(),
                ready: None,
                verdict: None,
            })
            .collect();
        let order = Order {
            placed: now,
            names: request.names.clone(),
            replaces: request.replaces.clone(),
            told: false,
            abandoned: false,
            downloads: 0,
            authorizations,
            finalized: None,
            chain: None,
        };
        books.orders.insert(url.clone(), order);
        Ok(url)
    }
}

impl Authority {
    /// Brings an order up to date: what was to be validated or issued by now is.
    fn advance(&self, books: &mut Books, url: &str, now: Timestamp) -> Result<OrderView, Failure> {
        let Books { lifetime, orders, issued, .. } = books;
        let gone = || Failure::transient(Fault::Ca, "order-gone", "the CA does not know this order");
        let order = orders.get_mut(url).ok_or_else(gone)?;
        if now >= order.placed + ORDER_LIVES {
            return Err(gone());
        }
        for authorization in &mut order.authorizations {
            if authorization.verdict.is_none() && authorization.ready.is_some_and(|at| now >= at + VALIDATES)
            {
                authorization.verdict = Some(self.validate(authorization));
            }
        }
        if let Some((at, key)) = &order.finalized
            && order.chain.is_none()
            && now >= *at + ISSUES
            && !self.script.strikes(&Trouble::Processing)
        {
            let wrong = self.script.strikes(&Trouble::WrongLeaf);
            let key = if wrong { PublicKey::stranger() } else { key.clone() };
            // As public CAs do it: a little before now, for clocks that are behind.
            let start = Timestamp::from_secs(now.secs()) - lifetime.over(100).min(Span::HOUR);
            let validity = Interval::new(start, start + *lifetime);
            let serial = mix(&[self.seed, 7, issued.len() as u64]) >> 1;
            let chain = self.mint.chain(&key, &order.names, validity, serial);
            let leaf = bundle::leaf_of(chain.as_bytes()).unwrap();
            issued.insert(leaf.fingerprint, validity);
            order.chain = Some(chain);
        }
        let status = match order {
            Order { abandoned: true, chain: None, .. } => OrderStatus::Invalid,
            order if order.failed() => OrderStatus::Invalid,
            Order { chain: Some(_), .. } => OrderStatus::Valid,
            Order { finalized: Some(_), .. } => OrderStatus::Processing,
            order if order.proven() => OrderStatus::Ready,
            _ => OrderStatus::Pending,
        };
        Ok(OrderView { url: url.to_owned(), status, error: None, retry_after: None })
    }

    fn validate(&self, authorization: &Authorization) -> Result<(), Problem> {
        let answer = key_authorization(&authorization.token);
        let fails = self.script.strikes(&Trouble::NameFails(authorization.name.clone()));
        if !fails && self.board.shows(&authorization.token, &answer) {
            return Ok(());
        }
        Err(Problem {
            kind: "connection".into(),
            detail: format!("{} did not answer", authorization.name),
            status: 400,
            of_names: Vec::new(),
        })
    }

    fn view_of(authorization: &Authorization, abandoned: bool) -> AuthorizationView {
        let (status, challenge, error) = match &authorization.verdict {
            Some(Ok(())) => (AuthorizationStatus::Valid, ChallengeStatus::Valid, None),
            Some(Err(problem)) => {
                (AuthorizationStatus::Invalid, ChallengeStatus::Invalid, Some(problem.clone()))
            }
            None if abandoned => (AuthorizationStatus::Dead, ChallengeStatus::Pending, None),
            None if authorization.ready.is_some() => {
                (AuthorizationStatus::Pending, ChallengeStatus::Processing, None)
            }
            None => (AuthorizationStatus::Pending, ChallengeStatus::Pending, None),
        };
        let challenge = ChallengeView {
            kind: Some(ChallengeKind::Http01),
            url: format!("https://ca.example/challenge/{}", authorization.token.as_str()),
            token: Some(authorization.token.clone()),
            key_authorization: key_authorization(&authorization.token),
            status: challenge,
            error,
        };
        AuthorizationView { name: authorization.name.clone(), status, challenges: vec![challenge] }
    }

    fn window(&self, books: &mut Books, ari_id: &str, now: Timestamp) -> Interval {
        if self.script.strikes(&Trouble::AriNow) {
            books.said_now.get_or_insert(now);
            return Interval::new(now - Span::hours(2), now - Span::HOUR);
        }
        if self.script.strikes(&Trouble::AriAbsurd) {
            let far = Timestamp::from_secs(253_000_000_000);
            let absurd = [
                Interval::new(far, far + Span::DAY),
                Interval::new(now + Span::DAY, now),
                Interval::new(Timestamp::EPOCH, Timestamp::EPOCH + Span::DAY),
                Interval::new(now, now),
            ];
            return absurd[usize::try_from(mix(&[self.seed, books.calls]) % 4).unwrap()];
        }
        let known = books.orders.values().filter_map(|order| order.chain.as_ref()).find_map(|chain| {
            let leaf = bundle::leaf_of(chain.as_bytes()).ok()?;
            (leaf.ari_id.as_deref() == Some(ari_id)).then_some(leaf.validity())
        });
        let validity = known.unwrap_or(Interval::new(now, now + books.lifetime));
        // Two thirds into life, for a fiftieth of it.
        let start = validity.start + validity.length().times(2).over(3) - validity.length().over(50);
        Interval::new(start, start + validity.length().over(50))
    }
}

impl Ca for Desk {
    fn order<'a>(&'a self, request: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async move {
            let view = self
                .ask(|authority, books, now| {
                    let url = self.place(authority, books, request, now)?;
                    authority.advance(books, &url, now)
                })
                .await?;
            self.authority.books().order(&view.url)?.told = true;
            Ok(view)
        })
    }

    fn view<'a>(&'a self, order: &'a str) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(self.ask(move |authority, books, now| authority.advance(books, order, now)))
    }

    fn authorizations<'a>(&'a self, order: &'a str) -> Reply<'a, Result<Vec<AuthorizationView>, Failure>> {
        Box::pin(self.ask(move |authority, books, now| {
            authority.advance(books, order, now)?;
            let order = books.order(order)?;
            let abandoned = order.abandoned;
            Ok(order.authorizations.iter().map(|one| Authority::view_of(one, abandoned)).collect())
        }))
    }

    fn ready<'a>(&'a self, order: &'a str, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.ask(move |_, books, now| {
            let order = books.order(order)?;
            let found = order.authorizations.iter_mut().find(|one| one.token == task.token);
            found.unwrap().ready.get_or_insert(now);
            Ok(())
        }))
    }

    fn finalize<'a>(&'a self, order: &'a str, csr: &'a [u8]) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(self.ask(move |authority, books, now| {
            authority.advance(books, order, now)?;
            let asked = books.order(order)?;
            if !asked.proven() || asked.finalized.is_some() {
                return Err(Failure::transient(Fault::Ca, "order-not-ready", "orderNotReady"));
            }
            let mut wish = Wish::read(csr);
            let mut names = asked.names.clone();
            wish.names.sort();
            names.sort();
            if wish.names != names {
                return Err(Failure::refused(Fault::Ours, "bad-csr", "the CSR is for other names"));
            }
            asked.finalized = Some((now, wish.key));
            authority.advance(books, order, now)
        }))
    }

    fn download<'a>(&'a self, order: &'a str) -> Reply<'a, Result<String, Failure>> {
        Box::pin(self.ask(move |_, books, _| {
            let order = books.order(order)?;
            order.downloads += 1;
            Ok(order.chain.clone().unwrap())
        }))
    }

    fn renewal_info<'a>(&'a self, ari_id: &'a str) -> Reply<'a, Result<Option<RenewalInfo>, Failure>> {
        Box::pin(self.ask(move |authority, books, now| {
            let window = authority.window(books, ari_id, now);
            Ok(Some(RenewalInfo { window, explanation: None, retry_after: ARI_AGAIN }))
        }))
    }

    fn skew(&self) -> Reply<'_, Result<Option<Span>, Failure>> {
        Box::pin(async move {
            let date = self.reachable().await?.date;
            Ok(date.map(|date| self.clock.now().since(date)))
        })
    }

    fn reachable(&self) -> Reply<'_, Result<Greeting, Failure>> {
        Box::pin(async move {
            self.points.pass().await;
            if self.authority.script.strikes(&Trouble::CaDown) {
                self.authority.truth.sleep(CONNECT_TIMEOUT).await;
                return Err(down("no connection within 10 s"));
            }
            let date = Some(self.authority.truth.now());
            Ok(Greeting { date, renewal_info: true, ..Greeting::default() })
        })
    }

    fn abandon<'a>(&'a self, order: &'a str) -> Reply<'a, Result<(), Failure>> {
        // Noted as asked for whether the CA hears it or not: more can't be done.
        if let Ok(order) = self.authority.books().order(order) {
            order.abandoned = true;
        }
        Box::pin(self.ask(|_, _, _| Ok(())))
    }

    fn account(&self) -> Reply<'_, Result<String, Failure>> {
        Box::pin(async { Ok("https://ca.example/account/1".into()) })
    }
}

fn key_authorization(token: &Token) -> String {
    format!("{}.{THUMBPRINT}", token.as_str())
}

fn down(why: &str) -> Failure {
    Failure::transient(Fault::Ca, "ca-down", format!("the CA does not answer: {why}"))
}
