//! The authorizations of an order: read, told to be ready, given up.

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus as TheirAuthorization, Authorizations,
    ChallengeStatus as TheirChallenge, Order, OrderStatus as TheirOrder,
};

use super::{AcmeCa, NONCE_ROUNDS, Session};
use crate::ca::courier::{last_challenges, last_status, recorded};
use crate::ca::problem::Call;
use crate::ca::view::{authorization_view, challenge_type};
use crate::core::failure::{Failure, Fault};
use crate::core::order::{AuthorizationView, ChallengeTask};

/// Authorizations of one order that are read: as many as a certificate may have names.
const AUTHORIZATIONS_MOST: usize = 100;

impl AcmeCa {
    pub(super) async fn read_authorizations(&self, url: &str) -> Result<Vec<AuthorizationView>, Failure> {
        let session = self.session().await?;
        let (handle, _, _) = self.handle(&session, url).await?;
        let mut order = handle.lock().await;
        places(&mut order)?;
        let known: Vec<_> = order.state().authorizations.iter().map(|a| a.state.is_some()).collect();
        let mut views = Vec::with_capacity(known.len());
        for (place, known) in known.into_iter().enumerate() {
            let seen = ask!(self, &session, Call::Authorization, {
                let mut stream = order.authorizations();
                let handle = nth(&mut stream, place).await;
                let view = |handle: &AuthorizationHandle<'_>| {
                    authorization_view(handle, &session.applicant(&last_challenges()))
                };
                match handle {
                    None => Ok(None),
                    Some(Err(error)) => Err(error),
                    Some(Ok(mut handle)) if known => match handle.refresh().await {
                        Ok(_) => Ok(Some(view(&handle))),
                        Err(error) => Err(error),
                    },
                    Some(Ok(handle)) => Ok(Some(view(&handle))),
                }
            });
            if let (Some(view), _) = self.kept(url, seen)? {
                views.push(view?);
            }
        }
        Ok(views)
    }

    pub(super) async fn tell(&self, url: &str, task: &ChallengeTask) -> Result<(), Failure> {
        let session = self.session().await?;
        let (handle, _, _) = self.handle(&session, url).await?;
        let mut order = handle.lock().await;
        let Some(place) = self.find_challenge(&session, &mut order, &task.url).await? else {
            let words = format!("the order has no such challenge for {} any more", task.name);
            return Err(Failure::transient(Fault::Ca, "challenge-gone", words));
        };
        let told = ask!(self, &session, Call::Challenge, {
            let mut stream = order.authorizations();
            match nth(&mut stream, place).await {
                Some(Ok(mut handle)) => match handle.challenge(challenge_type(task.kind)) {
                    Some(mut challenge) => match challenge.set_ready().await {
                        // Erratum 5732: a challenge may carry an error and still be tried again by
                        // the CA. Whether it failed is for the authorization to say.
                        Err(instant_acme::Error::Api(_)) if last_status() < 300 => Ok(()),
                        told => told,
                    },
                    None => Ok(()),
                },
                Some(Err(error)) => Err(error),
                None => Ok(()),
            }
        });
        let Err(failure) = told.map(|_| ()) else { return Ok(()) };
        if matches!(failure.code.as_str(), "ca-down" | "rate-limited" | "bad-nonce" | "account-missing") {
            return self.kept(url, Err(failure));
        }
        // Telling twice is refused by some CAs. If the challenge moved, the CA was told.
        let moved = ask!(self, &session, Call::Authorization, {
            let mut stream = order.authorizations();
            match nth(&mut stream, place).await {
                Some(Ok(mut handle)) => handle.refresh().await.map(|state| {
                    state.status != TheirAuthorization::Pending
                        || state
                            .challenges
                            .iter()
                            .any(|c| c.url == task.url && c.status != TheirChallenge::Pending)
                }),
                Some(Err(error)) => Err(error),
                None => Ok(false),
            }
        });
        match self.kept(url, moved)? {
            (true, _) => Ok(()),
            (false, _) => Err(failure),
        }
    }

    /// Which authorization of the order holds the challenge.
    async fn find_challenge(
        &self,
        session: &Session,
        order: &mut Order,
        challenge: &str,
    ) -> Result<Option<usize>, Failure> {
        for place in 0..places(order)? {
            let (here, _) = ask!(self, session, Call::Authorization, {
                let mut stream = order.authorizations();
                match nth(&mut stream, place).await {
                    Some(Ok(handle)) => Ok(handle.challenges.iter().any(|c| c.url == challenge)),
                    Some(Err(error)) => Err(error),
                    None => Ok(false),
                }
            })?;
            if here {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    pub(super) async fn give_up(&self, url: &str) -> Result<(), Failure> {
        let session = self.session().await?;
        let handle = match self.handle(&session, url).await {
            Ok((handle, _, _)) => handle,
            Err(gone) if gone.code == "order-gone" => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let mut order = handle.lock().await;
        // Nothing is open in an order that got past its challenges.
        if !matches!(order.state().status, TheirOrder::Pending | TheirOrder::Invalid) {
            return Ok(());
        }
        let mut first = Ok(());
        for place in 0..places(&mut order)? {
            let done = ask!(self, &session, Call::Authorization, {
                let mut stream = order.authorizations();
                match nth(&mut stream, place).await {
                    Some(Ok(mut handle)) if handle.status == TheirAuthorization::Pending => {
                        handle.deactivate().await.map(|_| ())
                    }
                    Some(Err(error)) => Err(error),
                    _ => Ok(()),
                }
            });
            first = first.and(done.map(|_| ()));
        }
        drop(order);
        self.forget(url);
        match first {
            Err(gone) if gone.code == "order-gone" => Ok(()),
            other => other,
        }
    }
}

/// How many authorizations the order has, if they are not too many to ask for.
fn places(order: &mut Order) -> Result<usize, Failure> {
    let count = order.state().authorizations.len();
    if count <= AUTHORIZATIONS_MOST {
        return Ok(count);
    }
    let words =
        format!("the CA's order has {count} authorizations; more than {AUTHORIZATIONS_MOST} are not read");
    Err(Failure::transient(Fault::Ca, "ca-answer", words))
}

/// The authorization at `place`; those before it must have been read, else they are now.
async fn nth<'a>(
    stream: &'a mut Authorizations<'_>,
    place: usize,
) -> Option<Result<AuthorizationHandle<'a>, instant_acme::Error>> {
    for _ in 0..place {
        if let Some(Err(error)) = stream.next().await {
            return Some(Err(error));
        }
    }
    stream.next().await
}
