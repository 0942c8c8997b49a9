//! JSON objects with one thing wrong.

use serde_json::{Value, json};
use test_ca::{Effect, Endpoint};

use crate::case::{Case, OBJECTS, shown};
use crate::http::AWAY;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, place) in [
        (Endpoint::Directory, "/newNonce"),
        (Endpoint::Directory, "/newAccount"),
        (Endpoint::Directory, "/newOrder"),
        (Endpoint::NewOrder, "/authorizations/0"),
        (Endpoint::NewOrder, "/finalize"),
        (Endpoint::Authorization, "/challenges/0/url"),
        (Endpoint::Finalize, "/certificate"),
    ] {
        for target in AWAY {
            let what = format!("{place} is {}", shown(target));
            cases.push(Case::at(at, &what, set(place, json!(target))));
        }
        let long = format!("http://127.0.0.1/{}", "x".repeat(50_000));
        cases.push(Case::at(at, &format!("{place} is fifty thousand octets long"), set(place, json!(long))));
        for (what, value) in oddities() {
            cases.push(Case::at(at, &format!("{place} is {what}"), set(place, value)));
        }
    }
    for (at, member) in [(Endpoint::NewAccount, "location"), (Endpoint::NewOrder, "location")] {
        for target in AWAY {
            let gone = Effect::Header { name: member, values: vec![target.to_owned()] };
            cases.push(Case::at(at, &format!("stands at {}", shown(target)), gone));
        }
        cases.push(Case::at(at, "stands nowhere", Effect::Header { name: member, values: Vec::new() }));
    }
    for at in OBJECTS {
        let twice = Effect::SayTwice { member: "status".to_owned(), value: json!("invalid") };
        cases.push(Case::at(at, "the status twice, then invalid", twice));
        cases.push(Case::at(at, "a huge member that nobody knows", set("/x", json!("x".repeat(40_000)))));
        cases.push(Case::at(at, "a member named by an escape", set("/\u{1b}[2J", json!("\u{1b}[2J"))));
    }
    directory(&mut cases);
    orders(&mut cases);
    authorizations(&mut cases);
    cases
}

pub fn set(place: &str, value: Value) -> Effect {
    Effect::Edit { place: place.to_owned(), value: Some(value) }
}

fn unset(place: &str) -> Effect {
    Effect::Edit { place: place.to_owned(), value: None }
}

fn oddities() -> Vec<(&'static str, Value)> {
    vec![
        ("null", Value::Null),
        ("a number", json!(-1)),
        ("a list", json!(["x"])),
        ("an object", json!({ "x": 1 })),
        ("true", json!(true)),
    ]
}

fn directory(cases: &mut Vec<Case>) {
    let at = Endpoint::Directory;
    for (what, value) in oddities() {
        cases.push(Case::at(at, &format!("meta is {what}"), set("/meta", value)));
    }
    let profiles: serde_json::Map<_, _> = (0..1000).map(|n| (format!("p{n}\u{7}"), json!("x"))).collect();
    for (what, value) in [
        ("terms of control characters", json!({ "termsOfService": "https://ca.example/\u{1b}]0;x\u{7}" })),
        ("terms of fifty thousand octets", json!({ "termsOfService": "x".repeat(50_000) })),
        ("a thousand profiles", json!({ "profiles": profiles })),
        ("an account binding asked for", json!({ "externalAccountRequired": true })),
        ("an account binding asked for in words", json!({ "externalAccountRequired": "yes" })),
    ] {
        cases.push(Case::at(at, what, set("/meta", value)));
    }
    for member in ["newNonce", "newAccount", "newOrder", "renewalInfo", "keyChange"] {
        cases.push(Case::at(at, &format!("no {member}"), unset(&format!("/{member}"))));
    }
}

fn orders(cases: &mut Vec<Case>) {
    let dns = |name: &str| json!({ "type": "dns", "value": name });
    let some: Vec<_> = (0..1000).map(|n| dns(&format!("n{n}.example"))).collect();
    for at in [Endpoint::NewOrder, Endpoint::Order, Endpoint::Finalize] {
        for status in [
            "pending",
            "ready",
            "processing",
            "valid",
            "invalid",
            "deactivated",
            "unheard-of",
            "",
            "VALID",
            "\u{1b}[2J",
        ] {
            cases.push(Case::at(at, &format!("status {}", shown(status)), set("/status", json!(status))));
        }
        for (what, value) in oddities() {
            cases.push(Case::at(at, &format!("status is {what}"), set("/status", value.clone())));
            cases.push(Case::at(
                at,
                &format!("authorizations is {what}"),
                set("/authorizations", value.clone()),
            ));
            cases.push(Case::at(at, &format!("error is {what}"), set("/error", value.clone())));
            cases.push(Case::at(at, &format!("expires is {what}"), set("/expires", value)));
        }
        for member in ["status", "identifiers", "authorizations", "finalize", "expires"] {
            cases.push(Case::at(at, &format!("no {member}"), unset(&format!("/{member}"))));
        }
        cases.push(Case::at(at, "no authorizations at all", set("/authorizations", json!([]))));
        cases.push(Case::at(at, "a thousand identifiers", set("/identifiers", json!(some))));
        cases.push(Case::at(
            at,
            "identifiers of somebody else",
            set("/identifiers", json!([dns("bank.example")])),
        ));
        for expires in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "soon", "\u{1b}[2J"] {
            cases.push(Case::at(at, &format!("expires {}", shown(expires)), set("/expires", json!(expires))));
        }
        let error = json!({ "type": "urn:ietf:params:acme:error:\u{1b}[2J", "detail": "\u{1b}]0;x\u{7}\r\nforged: line" });
        cases.push(Case::at(at, "an error of escapes", set("/error", error)));
    }
    // A thousand places to ask, each of them within the CA: the order fits under the cap.
    let at = Endpoint::NewOrder;
    for count in [101, 1000] {
        let places: Vec<_> = (0..count).map(|n| json!(format!("http://127.0.0.1/a/{n}"))).collect();
        cases.push(Case::at(
            at,
            &format!("{count} authorizations elsewhere"),
            set("/authorizations", json!(places)),
        ));
    }
    // Once only: each weighs megabytes, and the memory of this process is what is measured.
    let many: Vec<_> = (0..10_000).map(|n| dns(&format!("n{n}.example"))).collect();
    cases.push(Case::at(at, "ten thousand identifiers", set("/identifiers", json!(many))));
    cases.push(Case::at(at, "replaces what nobody named", set("/replaces", json!("AAAA.BBBB"))));
    cases.push(Case::at(at, "a profile nobody named", set("/profile", json!("\u{1b}[2J"))));
}

fn authorizations(cases: &mut Vec<Case>) {
    let at = Endpoint::Authorization;
    let long = "x".repeat(60_000);
    for token in [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "x\0y",
        "x\ny",
        "x\r\nY: z",
        "%2e%2e%2f",
        "a b",
        "a.b",
        "a=",
        "a+b",
        "ä",
        "\u{202e}x",
        "-rf",
        "$(id)",
        "`id`",
        "\u{1b}[2J",
        "~",
        &"x".repeat(129),
        &long,
    ] {
        let what = format!("the token {}", shown(token));
        cases.push(Case::at(at, &what, set("/challenges/0/token", json!(token))));
    }
    for (what, value) in oddities() {
        cases.push(Case::at(at, &format!("the token is {what}"), set("/challenges/0/token", value.clone())));
        cases.push(Case::at(at, &format!("the challenges are {what}"), set("/challenges", value.clone())));
        cases.push(Case::at(at, &format!("the identifier is {what}"), set("/identifier", value.clone())));
        cases.push(Case::at(at, &format!("the status is {what}"), set("/status", value.clone())));
        cases.push(Case::at(at, &format!("wildcard is {what}"), set("/wildcard", value)));
    }
    let unknown: Vec<_> =
        (0..500).map(|n| json!({ "type": format!("odd-{n}"), "url": "x", "status": "pending" })).collect();
    for (what, value) in [
        ("an empty list of challenges", json!([])),
        ("five hundred challenges of unknown kinds", json!(unknown)),
        ("a challenge of no kind", json!([{ "url": "x", "status": "pending", "token": "t" }])),
    ] {
        cases.push(Case::at(at, what, set("/challenges", value)));
    }
    for member in [
        "status",
        "identifier",
        "challenges",
        "expires",
        "challenges/0/token",
        "challenges/0/url",
        "challenges/0/status",
        "challenges/0/type",
    ] {
        cases.push(Case::at(at, &format!("no {member}"), unset(&format!("/{member}"))));
    }
    for name in [
        "bank.example",
        "*.a.example",
        "../x",
        "",
        "-o",
        "a\0b",
        "192.0.2.1",
        "\u{1b}[2J.example",
        "ä.example",
    ] {
        let identifier = json!({ "type": "dns", "value": name });
        cases.push(Case::at(at, &format!("proof for {}", shown(name)), set("/identifier", identifier)));
    }
    for kind in ["ip", "email", "permanent-identifier", ""] {
        let identifier = json!({ "type": kind, "value": "a.example" });
        cases.push(Case::at(
            at,
            &format!("an identifier of kind {}", shown(kind)),
            set("/identifier", identifier),
        ));
    }
    for status in ["valid", "invalid", "deactivated", "expired", "revoked", "processing", "unheard-of", ""] {
        cases.push(Case::at(at, &format!("status {}", shown(status)), set("/status", json!(status))));
    }
    for (at, place) in [(at, "/challenges/0/status"), (Endpoint::Challenge, "/status")] {
        for status in ["pending", "processing", "valid", "invalid", "unheard-of", ""] {
            cases.push(Case::at(at, &format!("{place} {}", shown(status)), set(place, json!(status))));
        }
    }
    for kind in ["dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01", "../x", "\u{1b}[2J", ""] {
        cases.push(Case::at(
            at,
            &format!("a challenge of kind {}", shown(kind)),
            set("/challenges/0/type", json!(kind)),
        ));
    }
    let error = json!({ "type": "urn:ietf:params:acme:error:dns", "detail": "\u{1b}]0;x\u{7}\r\nforged: line \u{202e}" });
    cases.push(Case::at(at, "a challenge with an error of escapes", set("/challenges/0/error", error)));
}
