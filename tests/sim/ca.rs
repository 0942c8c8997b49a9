//! A CA that keeps its own books: orders, authorizations, certificates. One authority serves all
//! nodes of a world; each node has its own desk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use nolapse::codec::bundle;
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::leaf::{Fingerprint, mix};
use nolapse::core::name::{SubjectName, Token};
use nolapse::core::order::{
    AuthorizationStatus, AuthorizationView, ChallengeStatus, ChallengeView, OrderStatus, OrderView, Problem,
};
use nolapse::core::record::ChallengeKind;
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::sys::clock::Clock;

use crate::board::Board;
use crate::limits::Limits;
use crate::mint::{Mint, PublicKey};
use crate::script::{Script, Trouble};
use crate::site::Site;

/// Whose knowledge of an account key a key authorization proves; it must never be logged.
pub const THUMBPRINT: &str = "CanaryThumbprintOfTheAccount";
/// How long an order lives.
const ORDER_LIVES: Span = Span::days(7);
/// When the loser of a race for an order has given it up.
const RACE_ENDS: Span = Span::MINUTE;
/// How long the CA takes to validate and to issue.
const VALIDATES: Span = Span::from_millis(1500);
const ISSUES: Span = Span::from_millis(700);

pub struct Authority {
    pub seed: u64,
    pub truth: Clock,
    pub script: Script,
    board: Board,
    mint: Arc<Mint>,
    sites: Vec<Site>,
    books: Mutex<Books>,
}

pub struct Books {
    pub calls: u64,
    pub orders: BTreeMap<String, Order>,
    /// Orders that may still be open.
    unfinished: BTreeSet<String>,
    issued: BTreeMap<Fingerprint, Issue>,
    by_ari: BTreeMap<String, Fingerprint>,
    pub limits: Limits,
    /// What was asked and told about each site.
    pub talks: Vec<Talk>,
    said_now: Option<Timestamp>,
    /// What no agent should do to a CA.
    pub breaches: Vec<String>,
}

/// What was said about the certificates of one site.
#[derive(Clone, Default)]
pub struct Talk {
    /// No new order is welcome before this.
    pub limited_until: Option<Timestamp>,
    /// The same, as far as whoever was told can be expected to remember it.
    pub told_until: Option<Timestamp>,
    /// Requests for an order in the last day, whether they were heard or not.
    asked: VecDeque<Timestamp>,
    /// Questions for renewal information in the last day, likewise.
    wondered: VecDeque<Timestamp>,
}

/// One certificate, as the CA knows it.
#[derive(Clone, Copy)]
struct Issue {
    site: usize,
    at: Timestamp,
    validity: Interval,
    revoked: Option<Timestamp>,
    replaced: bool,
}

/// One order, as the CA knows it.
#[derive(Clone)]
pub struct Order {
    pub site: usize,
    pub placed: Timestamp,
    pub names: Vec<SubjectName>,
    pub replaces: Option<String>,
    /// It replaces a certificate that nothing replaced before.
    pub free: bool,
    /// The agent got the answer with its URL.
    pub told: bool,
    /// The agent asked to give it up.
    pub abandoned: bool,
    pub downloads: u32,
    pub authorizations: Vec<Authorization>,
    pub finalized: Option<(Timestamp, PublicKey)>,
    pub chain: Option<String>,
}

#[derive(Clone)]
pub struct Authorization {
    pub name: SubjectName,
    pub token: Token,
    /// When the agent said that the answer stands.
    pub ready: Option<Timestamp>,
    pub verdict: Option<Result<(), Problem>>,
}

impl Authority {
    pub fn new(seed: u64, truth: Clock, script: Script, board: Board, sites: Vec<Site>) -> Self {
        let mint = Mint::shared(truth.now());
        let shortest = sites.iter().map(|site| site.lifetime).fold(Span::MAX, Span::min);
        let books = Mutex::new(Books {
            calls: 0,
            orders: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            issued: BTreeMap::new(),
            by_ari: BTreeMap::new(),
            limits: Limits::new(shortest),
            talks: vec![Talk::default(); sites.len()],
            said_now: None,
            breaches: Vec::new(),
        });
        Self { seed, truth, script, board, mint, sites, books }
    }

    pub fn orders(&self) -> Vec<(String, Order)> {
        self.books().orders.iter().map(|(url, order)| (url.clone(), order.clone())).collect()
    }

    /// The site that an order for these names is for.
    pub fn site_of(&self, names: &[SubjectName]) -> usize {
        let has = |site: &Site| site.names.iter().any(|name| names.contains(name));
        self.sites.iter().position(has).unwrap_or(0)
    }

    /// Orders for a site that an agent knows of and that are neither finished nor given up. One that was
    /// placed in a race may live until the loser has noticed.
    pub fn open(&self, site: usize) -> Vec<String> {
        let now = self.truth.now();
        let mut books = self.books();
        let Books { orders, unfinished, .. } = &mut *books;
        unfinished.retain(|url| {
            let order = &orders[url];
            !order.abandoned && order.downloads == 0 && now < order.placed + ORDER_LIVES && !order.failed()
        });
        let settled = |url: &&String| {
            let order = &orders[*url];
            order.site == site && order.told && order.placed + RACE_ENDS <= now
        };
        unfinished.iter().filter(settled).cloned().collect()
    }

    /// The agent died before it could save these: it can't know of them.
    pub fn lost(&self, saved: impl Fn(&str) -> bool) {
        for (url, order) in &mut self.books().orders {
            order.told &= saved(url);
        }
    }

    /// The validity of a certificate of ours.
    pub fn issued(&self, leaf: &Fingerprint) -> Option<Interval> {
        self.books().issued.get(leaf).map(|issue| issue.validity)
    }

    pub fn certificates(&self) -> u64 {
        self.books().issued.len() as u64
    }

    /// Since when a certificate is revoked.
    pub fn revoked(&self, leaf: &Fingerprint) -> Option<Timestamp> {
        self.books().issued.get(leaf)?.revoked
    }

    /// All certificates so far are revoked, and renewal information says so.
    pub fn revoke_all(&self) {
        let now = self.truth.now();
        for issue in self.books().issued.values_mut() {
            issue.revoked.get_or_insert(now);
        }
    }

    /// The certificates of one site so far are revoked.
    pub fn revoke_site(&self, site: usize) {
        let now = self.truth.now();
        for issue in self.books().issued.values_mut().filter(|issue| issue.site == site) {
            issue.revoked.get_or_insert(now);
        }
    }

    /// What an agent did first that it should not.
    pub fn first_breach(&self) -> Option<String> {
        self.books().breaches.first().cloned()
    }

    /// How often one of the CA's own limits was reached.
    pub fn limits_reached(&self) -> u64 {
        self.books().limits.reached
    }

    /// Certificates issued for a site.
    pub fn certificates_of(&self, site: usize) -> u64 {
        self.books().issued.values().filter(|issue| issue.site == site).count() as u64
    }

    /// Orders for a site are refused until a date that was told.
    pub fn limited(&self, site: usize) -> bool {
        self.books().talks[site].limited_until.is_some_and(|until| self.truth.now() < until)
    }

    /// Somebody asks for an order for these names.
    pub fn asked(&self, names: &[SubjectName]) {
        let site = self.site_of(names);
        self.books().talks[site].asked.push_back(self.truth.now());
    }

    /// Somebody asks for renewal information.
    pub fn wondered(&self, ari_id: &str) {
        let mut books = self.books();
        let site = books.by_ari.get(ari_id).map(|leaf| books.issued[leaf].site);
        if let Some(site) = site {
            books.talks[site].wondered.push_back(self.truth.now());
        }
    }

    /// Requests for an order for a site in the day up to now, and questions for renewal information.
    pub fn asked_today(&self, site: usize) -> (usize, usize) {
        let from = self.truth.now() - Span::DAY;
        let mut books = self.books();
        let Talk { asked, wondered, .. } = &mut books.talks[site];
        for asked in [&mut *asked, &mut *wondered] {
            while asked.front().is_some_and(|at| *at <= from) {
                asked.pop_front();
            }
        }
        (asked.len(), wondered.len())
    }

    /// Certificates issued for a site in the day up to now.
    pub fn issued_today(&self, site: usize) -> usize {
        let from = self.truth.now() - Span::DAY;
        self.books().issued.values().filter(|issue| issue.site == site && issue.at > from).count()
    }

    /// A Retry-After that an agent could not remember binds it no more.
    pub fn forgive(&self) {
        self.books().talks.iter_mut().for_each(|talk| talk.told_until = None);
    }

    /// When renewal information first said: now.
    pub fn said_now(&self) -> Option<Timestamp> {
        self.books().said_now
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

impl Order {
    fn failed(&self) -> bool {
        self.authorizations.iter().any(|authorization| matches!(authorization.verdict, Some(Err(_))))
    }

    pub fn proven(&self) -> bool {
        self.authorizations.iter().all(|authorization| matches!(authorization.verdict, Some(Ok(()))))
    }
}

impl Books {
    pub fn enter(&mut self, url: &str, order: Order) {
        self.unfinished.insert(url.to_owned());
        self.orders.insert(url.to_owned(), order);
    }

    /// The certificate with this id was not replaced before; it counts as replaced when the
    /// order is finished. `None`: unknown here.
    pub fn unreplaced(&self, ari_id: &str) -> Option<bool> {
        Some(!self.issued[self.by_ari.get(ari_id)?].replaced)
    }

    pub fn order(&mut self, url: &str) -> Result<&mut Order, Failure> {
        self.orders
            .get_mut(url)
            .ok_or_else(|| Failure::transient(Fault::Ca, "order-gone", "the CA does not know this order"))
    }
}

impl Authority {
    /// Brings an order up to date: what was to be validated or issued by now is.
    pub fn advance(&self, books: &mut Books, url: &str, now: Timestamp) -> Result<OrderView, Failure> {
        let Books { orders, issued, by_ari, limits, breaches, .. } = books;
        let gone = || Failure::transient(Fault::Ca, "order-gone", "the CA does not know this order");
        let order = orders.get_mut(url).ok_or_else(gone)?;
        if now >= order.placed + ORDER_LIVES {
            return Err(gone());
        }
        for authorization in &mut order.authorizations {
            if authorization.verdict.is_none() && authorization.ready.is_some_and(|at| now >= at + VALIDATES)
            {
                let verdict = self.validate(authorization);
                if verdict.is_err() {
                    breaches.extend(limits.failed(&authorization.name, now));
                }
                authorization.verdict = Some(verdict);
            }
        }
        if let Some((at, key)) = &order.finalized
            && order.chain.is_none()
            && now >= *at + ISSUES
            && !self.script.strikes(&Trouble::Processing)
        {
            let wrong = self.script.strikes(&Trouble::WrongLeaf);
            let key = if wrong { PublicKey::stranger() } else { key.clone() };
            let (site, lifetime) = (order.site, self.sites[order.site].lifetime);
            // As public CAs do it: a little before now, for clocks that are behind.
            let start = Timestamp::from_secs(now.secs()) - lifetime.over(100).min(Span::HOUR);
            let validity = Interval::new(start, start + lifetime);
            let serial = mix(&[self.seed, 7, issued.len() as u64]) >> 1;
            let chain = self.mint.chain(&key, &order.names, validity, serial);
            let leaf = bundle::leaf_of(chain.as_bytes()).unwrap();
            limits.issued(&order.names, order.free, now);
            if let Some(before) = order.replaces.as_ref().and_then(|id| issued.get_mut(by_ari.get(id)?)) {
                before.replaced = true;
            }
            by_ari.extend(leaf.ari_id.map(|id| (id, leaf.fingerprint)));
            let issue = Issue { site, at: now, validity, revoked: None, replaced: false };
            issued.insert(leaf.fingerprint, issue);
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

    pub fn view_of(authorization: &Authorization, abandoned: bool) -> AuthorizationView {
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
            terms: nolapse::core::order::Terms::default(),
            kind: Some(ChallengeKind::Http01),
            url: format!("https://ca.example/challenge/{}", authorization.token.as_str()),
            token: Some(authorization.token.clone()),
            key_authorization: key_authorization(&authorization.token),
            status: challenge,
            error,
        };
        AuthorizationView { name: authorization.name.clone(), status, challenges: vec![challenge] }
    }

    pub fn window(&self, books: &mut Books, ari_id: &str, now: Timestamp) -> Interval {
        let known = books.by_ari.get(ari_id).map(|leaf| books.issued[leaf]);
        let revoked = known.is_some_and(|issue| issue.revoked.is_some());
        if revoked || self.script.strikes(&Trouble::AriNow) {
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
        let validity = known.map_or(Interval::new(now, now + self.sites[0].lifetime), |issue| issue.validity);
        let life = validity.length();
        if self.script.strikes(&Trouble::AriLate) {
            let start = validity.end - life.over(20) - Span::secs(1);
            return Interval::new(start, validity.end);
        }
        // For a fiftieth of life, two thirds into it, or half of it where it is short.
        let used = if life < Span::days(10) { life.over(2) } else { life.times(2).over(3) };
        let mut start = validity.start + used - life.over(50);
        if self.script.strikes(&Trouble::AriWanders) {
            let part = u32::try_from(mix(&[self.seed, books.calls]) % 200_000).unwrap();
            start = start + life.millionths(part) - life.over(10);
        }
        Interval::new(start, start + life.over(50))
    }
}

pub fn key_authorization(token: &Token) -> String {
    format!("{}.{THUMBPRINT}", token.as_str())
}
