//! Refusals: problem documents, nonces, terms, limits.

use std::time::Duration;

use serde_json::json;
use test_ca::{Allowance, Effect, Endpoint, Limits};

use crate::case::{Asked, Case, SIGNED, shown};

const KINDS: [&str; 29] = [
    "accountDoesNotExist",
    "alreadyReplaced",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
    "about:blank",
    "\u{1b}[2J",
    "https://ca.example/odd",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let problem = |kind: &str, status, detail: &str| Effect::Problem {
        kind: kind.to_owned(),
        status,
        detail: detail.to_owned(),
    };
    for kind in KINDS {
        for at in [Endpoint::NewAccount, Endpoint::NewOrder, Endpoint::Finalize] {
            let what = format!("refused with {}", shown(kind));
            cases.push(Case::at(
                at,
                &what,
                problem(kind, 403, "\u{1b}]0;owned\u{7}\r\nOK  all is well \u{202e}"),
            ));
        }
    }
    let long = "x".repeat(60_000);
    for (what, detail) in [("nothing", ""), ("sixty thousand octets", long.as_str()), ("NUL", "\0\0\0")] {
        cases.push(Case::at(
            Endpoint::NewOrder,
            &format!("a refusal that says {what}"),
            problem("malformed", 400, detail),
        ));
    }
    let subproblems = |count: usize| {
        let each =
            json!({ "type": 7, "detail": "\u{1b}[2J", "identifier": { "type": "dns", "value": "../x" } });
        json!({ "type": "x", "subproblems": vec![each; count] }).to_string().into_bytes()
    };
    for count in [1, 500] {
        let raw = Effect::Raw {
            status: 400,
            content_type: "application/problem+json".to_owned(),
            body: subproblems(count),
        };
        cases.push(Case::at(Endpoint::NewOrder, &format!("{count} subproblems of no shape"), raw));
    }
    for instance in [
        "https://ca.example/terms/2",
        "javascript:alert(1)",
        "https://ca.example/\u{1b}]0;x\u{7}",
        "",
        "file:///etc/passwd",
    ] {
        for at in [Endpoint::NewAccount, Endpoint::NewOrder] {
            let what = format!("new terms at {}", shown(instance));
            cases.push(Case::at(at, &what, Effect::NewTerms { instance: instance.to_owned() }));
        }
    }
    nonces(&mut cases);
    limits(&mut cases);
    cases
}

fn nonces(cases: &mut Vec<Case>) {
    for at in SIGNED {
        cases.push(Case::at(at, "no nonce is good", Effect::BadNonce));
        for times in [1, 3, 8] {
            cases.push(Case::at(at, "no nonce is good", Effect::BadNonce).times(times));
        }
    }
    let long = "x".repeat(10_000);
    for at in [Endpoint::NewNonce, Endpoint::NewAccount, Endpoint::NewOrder, Endpoint::Finalize] {
        let header = |values: &[&str]| Effect::Header {
            name: "replay-nonce",
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        cases.push(Case::at(at, "no nonce comes", header(&[])));
        cases.push(Case::at(at, "two nonces come", header(&["one", "two"])));
        for nonce in ["", "a b", "a=", "stale", "a\r\nX-Injected: yes", "a\0b", "\u{1b}[2J", &long] {
            cases.push(Case::at(at, &format!("the nonce {} comes", shown(nonce)), header(&[nonce])));
        }
    }
    for percent in [50, 90, 100] {
        let storm = Case::policy(&format!("{percent} nonces of 100 are refused"), Asked::Certificate);
        cases.push(Case { nonce_rejection: percent, ..storm });
    }
}

fn limits(cases: &mut Vec<Case>) {
    let mut limited = |what: &str, setting| cases.push(Case::policy(what, Asked::Another).set(setting));
    limited("the limits of Let's Encrypt", |builder| builder.limits(Limits::lets_encrypt()));
    limited("one order in three hours", |builder| {
        builder.limits(Limits::default().with(|limits| limits.orders = Some(one(3))))
    });
    limited("one certificate a week for a domain", |builder| {
        builder.limits(Limits::default().with(|limits| limits.domain = Some(one(7 * 24))))
    });
    limited("one certificate a week for a set of names", |builder| {
        builder.limits(Limits::default().with(|limits| limits.exact_set = Some(one(7 * 24))))
    });
}

/// Used up by the certificate that is there before the client asks for another.
fn one(hours: u64) -> Allowance {
    Allowance { most: 1, per: Duration::from_secs(hours * 3600) }
}
