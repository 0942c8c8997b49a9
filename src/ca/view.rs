//! What `instant-acme` read, in our own words; and our words in its.

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus as TheirAuthorization, Challenge,
    ChallengeStatus as TheirChallenge, ChallengeType, Identifier, OrderState, OrderStatus as TheirOrder,
};
use serde_json::Value;

use super::courier::Exchange;
use super::persist::Applicant;
use super::problem::of;
use crate::codec::digest::sha256;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::name::{SubjectName, Token};
use crate::core::order::{
    AuthorizationStatus, AuthorizationView, ChallengeStatus, ChallengeView, OrderStatus, OrderView, Terms,
};
use crate::core::record::ChallengeKind;
use crate::core::time::{Interval, Span};

/// Longest wait between two looks at an order that a CA may ask for.
const POLL_WISH_MOST: Span = Span::DAY;
/// Longest explanation URL kept, in characters.
const EXPLANATION_MOST: usize = 300;

pub(super) fn identifier(name: &SubjectName) -> Identifier {
    match name {
        SubjectName::Ip(ip) => Identifier::Ip(*ip),
        name => Identifier::Dns(name.to_string()),
    }
}

pub(super) fn challenge_type(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        other => ChallengeType::Unknown(other.word().to_owned()),
    }
}

fn challenge_kind(kind: &ChallengeType) -> Option<ChallengeKind> {
    match kind {
        ChallengeType::Http01 => Some(ChallengeKind::Http01),
        ChallengeType::Dns01 => Some(ChallengeKind::Dns01),
        ChallengeType::TlsAlpn01 => Some(ChallengeKind::TlsAlpn01),
        ChallengeType::Unknown(word) => ChallengeKind::parse(word),
        _ => None,
    }
}

pub(super) fn order_view(url: &str, state: &OrderState, exchange: &Exchange) -> OrderView {
    OrderView {
        url: url.to_owned(),
        status: match state.status {
            TheirOrder::Pending => OrderStatus::Pending,
            TheirOrder::Ready => OrderStatus::Ready,
            TheirOrder::Processing => OrderStatus::Processing,
            TheirOrder::Valid => OrderStatus::Valid,
            TheirOrder::Invalid => OrderStatus::Invalid,
        },
        error: state.error.as_ref().map(of),
        retry_after: exchange.retry_after.map(|wish| wish.min(POLL_WISH_MOST)),
    }
}

pub(super) fn authorization_view(
    authorization: &AuthorizationHandle<'_>,
    applicant: &Applicant<'_>,
) -> Result<AuthorizationView, Failure> {
    let shown = authorization.identifier().to_string();
    let name = SubjectName::parse(&shown).map_err(|why| {
        let words = format!("the CA wants proof for {:?}, which is no name: {why}", plain(&shown, 100));
        Failure::transient(Fault::Ca, "ca-answer", words)
    })?;
    let challenges = authorization
        .challenges
        .iter()
        .map(|challenge| challenge_view(challenge, &name, applicant))
        .collect::<Result<_, _>>()?;
    Ok(AuthorizationView {
        name,
        status: match authorization.status {
            TheirAuthorization::Pending => AuthorizationStatus::Pending,
            TheirAuthorization::Valid => AuthorizationStatus::Valid,
            TheirAuthorization::Invalid => AuthorizationStatus::Invalid,
            TheirAuthorization::Revoked | TheirAuthorization::Expired | TheirAuthorization::Deactivated => {
                AuthorizationStatus::Dead
            }
        },
        challenges,
    })
}

fn challenge_view(
    challenge: &Challenge,
    name: &SubjectName,
    applicant: &Applicant<'_>,
) -> Result<ChallengeView, Failure> {
    let thumbprint = applicant.thumbprint;
    let kind = challenge_kind(&challenge.r#type);
    // Only kinds that we know have their tokens used, as file names among other things.
    let token = match kind {
        None => None,
        Some(ChallengeKind::DnsPersist01) => stand_in(&challenge.url),
        Some(kind) => Some(Token::parse(&challenge.token).map_err(|why| {
            let words = format!("the CA's token for {} is not used: {why}", kind.word());
            Failure::refused(Fault::Ca, "hostile-token", words)
        })?),
    };
    Ok(ChallengeView {
        kind,
        url: challenge.url.clone(),
        key_authorization: token.as_ref().map(|token| format!("{token}.{thumbprint}")).unwrap_or_default(),
        token,
        status: match challenge.status {
            TheirChallenge::Pending => ChallengeStatus::Pending,
            TheirChallenge::Processing => ChallengeStatus::Processing,
            TheirChallenge::Valid => ChallengeStatus::Valid,
            TheirChallenge::Invalid => ChallengeStatus::Invalid,
        },
        error: challenge.error.as_ref().map(of),
        terms: match kind {
            Some(ChallengeKind::DnsAccount01) => Terms::Account(applicant.account.to_owned()),
            Some(ChallengeKind::DnsPersist01) => applicant.terms(&challenge.url, name),
            _ => Terms::Token,
        },
    })
}

/// For what has no token: receipts are told apart by one.
fn stand_in(url: &str) -> Option<Token> {
    Token::parse(&sha256(url.as_bytes()).to_string()).ok()
}

/// The suggested window and where it is explained (RFC 9773 §4.2).
pub(super) fn window(info: &Value) -> Option<(Interval, Option<String>)> {
    let window = info.get("suggestedWindow")?;
    let at = |member: &str| window.get(member)?.as_str()?.parse().ok();
    let window = Interval::new(at("start")?, at("end")?);
    let explanation = info
        .get("explanationURL")
        .and_then(Value::as_str)
        .filter(|url| url.starts_with("https://"))
        .map(|url| plain(url, EXPLANATION_MOST));
    (window.end > window.start).then_some((window, explanation))
}
