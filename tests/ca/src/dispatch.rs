//! From a request to its answer: faults first, then method, signature and nonce, then the resource.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use serde_json::Value;

use crate::authority::{Authority, Caller, State};
use crate::bomb;
use crate::delivery::Play;
use crate::effect::{Delivery, Effect};
use crate::endpoint::{Endpoint, Route};
use crate::journal::RequestRecord;
use crate::jws::{Jws, Signer};
use crate::problem::Problem;
use crate::reply::Reply;
use crate::{
    account, authorization, certificate, challenge, directory, key_change, order, renewal, revocation,
};

/// An HTTP request, its body read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) body: Vec<u8>,
    /// Where it came from.
    pub(crate) peer: IpAddr,
}

/// Answers one request; an error means: close the connection without an answer.
pub(crate) async fn answer(ca: &Arc<Authority>, request: Request) -> io::Result<Play> {
    let route = Route::of(&request.path);
    let effect = ca.state().faults.strike(route.endpoint);
    let number = ca.journal.arrived(RequestRecord {
        time: SystemTime::now(),
        method: request.method.to_string(),
        path: request.path.clone(),
        endpoint: route.endpoint,
        user_agent: request.user_agent.clone(),
        account: None,
        status: None,
        problem: None,
        struck: effect.is_some(),
    });
    match &effect {
        Some(Effect::Stall) => return std::future::pending().await,
        Some(Effect::Delay(duration)) => tokio::time::sleep(*duration).await,
        Some(Effect::Close) => {
            ca.journal.answered(number, |_| {});
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        _ => {}
    }
    let mut account = None;
    let outcome = match effect.as_ref().and_then(instead) {
        Some(outcome) => outcome,
        None => serve(ca, &request, &route, effect.as_ref(), &mut account),
    };
    let lost = matches!(effect, Some(Effect::LoseAnswer));
    let problem = outcome.as_ref().err().map(Problem::short_kind);
    let reply = finish(ca, &request, &route, outcome);
    let (reply, delivery) = match effect {
        Some(effect) if !lost => bend(effect, reply),
        _ => (reply, None),
    };
    ca.journal.answered(number, |record| {
        record.account = account;
        record.problem = problem;
        record.status = (!lost).then_some(reply.status);
    });
    if lost {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    Ok(Play { reply, delivery, headless: request.method == Method::HEAD })
}

/// What a fault makes of an honest answer, and how it goes out.
fn bend(effect: Effect, reply: Reply) -> (Reply, Option<Delivery>) {
    let bent = match effect {
        Effect::Send(delivery) => return (reply, Some(delivery)),
        Effect::Edit { place, value } => reply.edited(|document| edit(document, &place, value)),
        Effect::SayTwice { member, value } => {
            let mut text = String::from_utf8_lossy(reply.body()).into_owned();
            text.truncate(text.trim_end_matches('}').len().max(1));
            text.extend([",", &Value::String(member).to_string(), ":", &value.to_string(), "}"]);
            reply.with_other_body(text.into_bytes())
        }
        Effect::Body(body) => reply.with_other_body(body),
        Effect::Header { name, values } => reply.with_header(name, values),
        Effect::Gzip { inflated } => reply
            .with_header("content-encoding", vec!["gzip".to_owned()])
            .with_other_body(bomb::gzip(inflated)),
        _ => reply,
    };
    (bent, None)
}

fn edit(document: &mut Value, place: &str, value: Option<Value>) {
    let Some((parent, member)) = place.rsplit_once('/') else { return };
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(members)), Some(value)) => {
            members.insert(member.to_owned(), value);
        }
        (Some(Value::Object(members)), None) => {
            members.remove(member);
        }
        (Some(Value::Array(items)), value) => {
            let at = member.parse().unwrap_or(items.len()).min(items.len());
            let end = (at + 1).min(items.len());
            items.splice(at..end, value);
        }
        _ => {}
    }
}

/// What a fault answers in place of the resource, if it does.
fn instead(effect: &Effect) -> Option<Result<Reply, Problem>> {
    Some(match effect {
        Effect::Html(status) => {
            let page =
                format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
            Ok(Reply::with_body(*status, "text/html", page))
        }
        Effect::Unavailable(retry_after) => {
            let page = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>\n";
            Ok(Reply::with_body(503, "text/html", page).header("retry-after", retry_after.header_value()))
        }
        Effect::RateLimited(retry_after) => {
            let problem = Problem::new("rateLimited", 429, "too many requests of this kind");
            Err(problem.with_retry_after(retry_after.clone()))
        }
        Effect::BadNonce => Err(Problem::bad_nonce()),
        Effect::NewTerms { instance } => {
            let problem = Problem::new("userActionRequired", 403, "the terms of service have changed");
            Err(problem.with_instance(instance.clone()))
        }
        Effect::Redirect { status, target } => Ok(Reply::empty(*status).header("location", target.clone())),
        Effect::Problem { kind, status, detail } => Err(Problem::new(kind.clone(), *status, detail.clone())),
        Effect::Raw { status, content_type, body } => {
            Ok(Reply::with_body(*status, content_type, body.clone()))
        }
        _ => return None,
    })
}

fn serve(
    ca: &Arc<Authority>,
    request: &Request,
    route: &Route,
    effect: Option<&Effect>,
    account: &mut Option<String>,
) -> Result<Reply, Problem> {
    // RFC 8555 §6.1.
    if request.user_agent.is_none() {
        return Err(Problem::malformed("the request has no User-Agent"));
    }
    let get = request.method == Method::GET;
    match route.endpoint {
        Endpoint::Unknown => return Err(Problem::not_found("resource")),
        Endpoint::Directory if get => return Ok(directory::directory(ca)),
        Endpoint::Terms if get => return Ok(directory::terms()),
        // RFC 8555 §7.2 sets these two statuses apart.
        Endpoint::NewNonce if get => return Ok(Reply::empty(204)),
        Endpoint::NewNonce if request.method == Method::HEAD => return Ok(Reply::empty(200)),
        Endpoint::RenewalInfo if get => return renewal::info(ca, &ca.state(), route),
        _ => {}
    }
    let unsigned = matches!(route.endpoint, Endpoint::Terms | Endpoint::RenewalInfo);
    if request.method != Method::POST || unsigned {
        return Err(Problem::malformed("this resource does not take this method").with_status(405));
    }
    let state = &mut *ca.state();
    let (caller, payload) = authenticate(ca, state, request, route.endpoint)?;
    account.clone_from(&caller.account);
    let read_only = || {
        if payload.is_empty() { Ok(()) } else { Err(Problem::malformed("POST-as-GET has an empty payload")) }
    };
    match route.endpoint {
        // RFC 8555 §6.3: these two take POST-as-GET beside GET.
        Endpoint::Directory => read_only().map(|()| directory::directory(ca)),
        Endpoint::NewNonce => read_only().map(|()| Reply::empty(204)),
        Endpoint::NewAccount => account::new_account(ca, state, &caller, request.peer, &payload),
        Endpoint::Account => account::read_or_update(ca, state, &caller, route, &payload),
        Endpoint::KeyChange => key_change::change(ca, state, &caller, &payload),
        Endpoint::NewOrder => order::new_order(ca, state, &caller, &payload),
        Endpoint::Order => read_only().and_then(|()| order::read(ca, state, &caller, route)),
        Endpoint::Finalize => order::finalize(ca, state, &caller, route, &payload, effect),
        Endpoint::Authorization => authorization::read_or_update(ca, state, &caller, route, &payload),
        Endpoint::Challenge => challenge::read_or_respond(ca, state, &caller, route, &payload),
        Endpoint::Certificate => {
            read_only().and_then(|()| certificate::download(ca, state, &caller, route, effect))
        }
        Endpoint::RevokeCert => revocation::revoke(state, &caller, &payload),
        Endpoint::RenewalInfo | Endpoint::Terms | Endpoint::Unknown => Err(Problem::not_found("resource")),
    }
}

/// Who signed, and what (RFC 8555 §6.2–§6.5).
fn authenticate(
    ca: &Authority,
    state: &mut State,
    request: &Request,
    endpoint: Endpoint,
) -> Result<(Caller, Vec<u8>), Problem> {
    if request.content_type.as_deref() != Some("application/jose+json") {
        return Err(Problem::malformed("the content type must be application/jose+json").with_status(415));
    }
    let jws = Jws::parse(&request.body)?;
    let asked = format!("{}{}", ca.base, request.path);
    if jws.url.as_deref() != Some(&asked) {
        // RFC 8555 §6.4.
        let found = jws.url.as_deref().unwrap_or_default();
        return Err(Problem::unauthorized(format!("the JWS is for {found:?}, the request for {asked:?}")));
    }
    let caller = match &jws.signer {
        Signer::Jwk(key) if matches!(endpoint, Endpoint::NewAccount | Endpoint::RevokeCert) => {
            Caller { key: key.clone(), account: None }
        }
        Signer::Jwk(_) => return Err(Problem::malformed("this resource takes a kid, not a jwk")),
        Signer::Kid(_) if endpoint == Endpoint::NewAccount => {
            return Err(Problem::malformed("newAccount takes a jwk, not a kid"));
        }
        Signer::Kid(kid) => {
            let found = ca.id_in("account", kid).and_then(|id| state.accounts.get_key_value(id));
            let (id, account) = found.ok_or_else(|| {
                Problem::new("accountDoesNotExist", 400, format!("{kid:?} is not an account here"))
            })?;
            if account.deactivated {
                return Err(account::deactivated());
            }
            Caller { key: account.key.clone(), account: Some(id.clone()) }
        }
    };
    jws.verify(&caller.key)?;
    let fresh = jws.nonce.as_deref().is_some_and(|nonce| state.nonces.spend(nonce));
    if !fresh || state.dice.hits(state.nonce_rejection) {
        return Err(Problem::bad_nonce());
    }
    Ok((caller, jws.payload))
}

/// What every answer carries: a nonce where one is due (RFC 8555 §6.5), the way to the directory (§7.1).
fn finish(ca: &Authority, request: &Request, route: &Route, outcome: Result<Reply, Problem>) -> Reply {
    let mut reply = outcome.unwrap_or_else(Problem::into_reply).header("cache-control", "no-store");
    if request.method == Method::POST || route.endpoint == Endpoint::NewNonce {
        let nonce = ca.state().nonces.issue();
        reply = reply.header("replay-nonce", nonce);
    }
    if route.endpoint != Endpoint::Directory {
        reply = reply.link(&ca.url("directory"), "index");
    }
    reply
}
