//! A node's way to the CA: requests that take time, get lost, or find an agent that dies.

use std::sync::Arc;

use nolapse::core::failure::{Class, Failure, Fault};
use nolapse::core::leaf::mix;
use nolapse::core::name::Token;
use nolapse::core::order::{AuthorizationView, ChallengeTask, OrderRequest, OrderView};
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::{Ca, Greeting, RenewalInfo, Reply};
use nolapse::sys::clock::Clock;

use crate::ca::{Authority, Authorization, Books, Order};
use crate::crash::Points;
use crate::mint::Wish;
use crate::script::Trouble;

/// When renewal information is to be asked for again.
const ARI_AGAIN: Span = Span::hours(6);
/// How long a call without an answer takes to fail.
const CONNECT_TIMEOUT: Span = Span::secs(10);

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
        let slow = script.find(|trouble| match trouble {
            Trouble::CaSlow(span) => Some(*span),
            _ => None,
        });
        authority.truth.sleep(Span::from_millis(takes) + slow.unwrap_or(Span::ZERO)).await;
        if script.strikes(&Trouble::CaDown) {
            authority.truth.sleep(CONNECT_TIMEOUT).await;
            return Err(down("no connection within 10 s"));
        }
        if script.strikes(&Trouble::CaErrors) {
            return Err(down("503 Service Unavailable"));
        }
        if script.strikes(&Trouble::RequestLost) {
            return Err(down("the connection broke"));
        }
        let answer = effect(authority, &mut authority.books(), authority.truth.now());
        self.points.pass().await;
        if script.strikes(&Trouble::ReplyLost) {
            authority.forgive();
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
        let site = authority.site_of(&request.names);
        if let Some(until) = books.talks[site].told_until.filter(|until| now < *until) {
            books.breaches.push(format!("an order was asked for before {until}, the CA's Retry-After"));
        }
        if request.replaces.is_some() && authority.script.strikes(&Trouble::ReplacesRefused) {
            return Err(Failure::refused(Fault::Ca, "replaces-refused", "not taken now"));
        }
        let free = request.replaces.as_ref().and_then(|id| books.unreplaced(id));
        if free == Some(false) {
            return Err(Failure::refused(Fault::Ca, "replaces-refused", "already replaced"));
        }
        let free = free.is_some();
        if let Some(span) = limit.or_else(|| books.limits.order(&request.names, free, now).err()) {
            // Told to all hosts, though not all may have heard it.
            let talk = &mut books.talks[site];
            talk.limited_until = Some(now + span);
            talk.told_until = talk.limited_until;
            let until = self.clock.now() + span;
            let words = "too many certificates for this set of names";
            return Err(Failure::new(Class::Limited { until }, Fault::Ca, "rate-limited", words));
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
            site,
            placed: now,
            names: request.names.clone(),
            replaces: request.replaces.clone(),
            free,
            told: false,
            abandoned: false,
            downloads: 0,
            authorizations,
            finalized: None,
            chain: None,
        };
        books.enter(&url, order);
        Ok(url)
    }
}

impl Ca for Desk {
    fn order<'a>(&'a self, request: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async move {
            self.authority.asked(&request.names);
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
        self.authority.wondered(ari_id);
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

fn down(why: &str) -> Failure {
    Failure::transient(Fault::Ca, "ca-down", format!("the CA does not answer: {why}"))
}
