//! Times that a CA may name: `Retry-After` and renewal information.

use serde_json::{Value, json};
use test_ca::{Effect, Endpoint, RetryAfter};

use crate::case::{Case, shown};
use crate::objects::set;

const WISHES: [&str; 16] = [
    "0",
    "120",
    "-5",
    "1000000000000000000",
    "99999999999999999999999999",
    "1.5",
    "1e9",
    "0x10",
    "NaN",
    "soon",
    "",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Wednesday, 31-Dec-69 23:59:59 GMT",
    "Fri, 32 Foo 2026 25:61:61 GMT",
    "\u{1b}[2J",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for wish in WISHES {
        let raw = || RetryAfter::Raw(wish.to_owned());
        let what = shown(wish);
        for at in [Endpoint::Directory, Endpoint::NewOrder, Endpoint::Finalize, Endpoint::RenewalInfo] {
            cases.push(Case::at(at, &format!("503, Retry-After {what}"), Effect::Unavailable(raw())));
        }
        for at in [Endpoint::NewAccount, Endpoint::NewOrder] {
            cases.push(Case::at(at, &format!("429, Retry-After {what}"), Effect::RateLimited(Some(raw()))));
        }
        for at in [Endpoint::Order, Endpoint::RenewalInfo] {
            let header = Effect::Header { name: "retry-after", values: vec![wish.to_owned()] };
            cases.push(Case::at(at, &format!("well, Retry-After {what}"), header));
        }
    }
    let several = || vec!["1".to_owned(), "1000000".to_owned(), "soon".to_owned()];
    for at in [Endpoint::NewOrder, Endpoint::Order, Endpoint::RenewalInfo] {
        cases.push(Case::at(
            at,
            "three Retry-After",
            Effect::Header { name: "retry-after", values: several() },
        ));
    }
    cases.push(Case::at(Endpoint::NewOrder, "429 without a time", Effect::RateLimited(None)));
    for date in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "now", ""] {
        let header = Effect::Header { name: "date", values: vec![date.to_owned()] };
        cases.push(Case::at(Endpoint::Directory, &format!("its clock says {}", shown(date)), header));
    }
    windows(&mut cases);
    cases
}

fn windows(cases: &mut Vec<Case>) {
    let at = Endpoint::RenewalInfo;
    let (past, soon, later) = ("1999-01-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z");
    for (start, end) in [
        (later, soon),
        (soon, soon),
        (past, "1999-01-02T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"),
        ("0000-01-01T00:00:00Z", later),
        (soon, "9999-12-31T23:59:59Z"),
        ("9999-12-31T23:59:58Z", "9999-12-31T23:59:59Z"),
        (soon, "10000-01-01T00:00:00Z"),
        (soon, "99999999999999-01-01T00:00:00Z"),
        ("NaN", later),
        ("", ""),
        ("2026-13-45T99:99:99Z", later),
        ("2026-12-01T00:00:00+99:99", later),
        ("2026-12-01T00:00:00.123456789012345678901234567890Z", later),
        ("2026-12-01", "2026-12-03"),
        ("-2026-12-01T00:00:00Z", later),
        ("2026-12-01T23:59:60Z", later),
        ("\u{1b}[2J", later),
    ] {
        let window = json!({ "start": start, "end": end });
        let what = format!("a window from {} to {}", shown(start), shown(end));
        cases.push(Case::at(at, &what, set("/suggestedWindow", window)));
    }
    for (what, value) in [
        ("null", Value::Null),
        ("a number", json!(7)),
        ("a list", json!([soon, later])),
        ("numbers", json!({ "start": 1, "end": 2 })),
        ("a start alone", json!({ "start": soon })),
    ] {
        cases.push(Case::at(at, &format!("the window is {what}"), set("/suggestedWindow", value)));
    }
    let long = format!("https://ca.example/{}", "x".repeat(40_000));
    for url in [
        "https://ca.example/why\u{1b}]8;;http://evil.example\u{7}click",
        "https://ca.example/\u{202e}gpj.exe",
        "https://ca.example/\r\nforged: line",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "",
        &long,
    ] {
        let what = format!("explained at {}", shown(url));
        cases.push(Case::at(at, &what, set("/explanationURL", json!(url))));
    }
    for (what, value) in [("null", Value::Null), ("a number", json!(7)), ("a list", json!(["x"]))] {
        cases.push(Case::at(at, &format!("the explanation is {what}"), set("/explanationURL", value)));
    }
}
