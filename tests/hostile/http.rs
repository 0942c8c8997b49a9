//! What goes wrong below JSON: pages, connections, bodies, headers, redirects.

use std::time::Duration;

use test_ca::{Delivery, Effect, Endpoint, Stage};

use crate::case::{Case, OBJECTS, WAY, shown};

/// Addresses that a CA may try to send us to.
pub const AWAY: [&str; 14] = [
    "http://169.254.169.254/latest/meta-data",
    "https://127.0.0.1:1/x",
    "http://127.0.0.1:0/x",
    "http://localhost:80/x",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "javascript:alert(1)",
    "http://user:word@127.0.0.1/x",
    "//127.0.0.1/x",
    "no url",
    "",
    "http://",
    "http://[::1",
    "http://127.0.0.1:1/\r\nX-Injected: yes",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for at in WAY {
        for status in [200, 400, 403, 404, 410, 418, 429, 500, 502, 503, 599, 999] {
            cases.push(Case::at(at, &format!("a page with status {status}"), Effect::Html(status)));
        }
        cases.push(Case::at(at, "the connection is closed", Effect::Close));
        cases.push(Case::at(at, "the answer is lost", Effect::LoseAnswer));
        for (what, stage) in [
            ("cut in the status line", Stage::StatusLine),
            ("cut in the headers", Stage::Headers),
            ("cut after the head", Stage::Head),
            ("cut in the body", Stage::Body),
        ] {
            cases.push(Case::at(at, what, Effect::Send(Delivery::Cut(stage))));
        }
        cases.push(Case::at(at, "no answer", Effect::Stall).stalling());
        let slow = Delivery::Slow { octets: 1, every: Duration::from_secs(1) };
        cases.push(Case::at(at, "an octet a second", Effect::Send(slow)).stalling());
        cases.push(Case::at(at, "a body that never ends by itself", Effect::Send(Delivery::Open)).stalling());
        cases.push(Case::at(at, "a body again and again", Effect::Send(Delivery::Endless)));
        cases.push(Case::at(at, "headers without end", Effect::Send(Delivery::EndlessHead)));
        cases.push(Case::at(at, "a length of a terabyte", Effect::Send(Delivery::Claim(1 << 40))));
        cases.push(Case::at(at, "a gzip bomb", Effect::Gzip { inflated: 64 << 20 }));
        for octets in [20_000, 300_000] {
            let long = Effect::Header { name: "x-long", values: vec!["x".repeat(octets)] };
            cases.push(Case::at(at, &format!("a header of {octets} octets"), long));
        }
        let many = Effect::Header { name: "x-many", values: vec!["x".to_owned(); 2000] };
        cases.push(Case::at(at, "two thousand headers", many));
    }
    for at in [Endpoint::Directory, Endpoint::NewOrder, Endpoint::Certificate] {
        for (what, octets) in OCTETS {
            cases.push(Case::at(at, what, Effect::Send(Delivery::Octets(octets.as_bytes().to_vec()))));
        }
    }
    for at in OBJECTS {
        for (what, body) in bodies() {
            cases.push(Case::at(at, &what, Effect::Body(body)));
        }
    }
    redirects(&mut cases);
    cases
}

const OCTETS: [(&str, &str); 10] = [
    ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n"),
    ("a TLS alert", "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{28}"),
    ("nothing but zeros", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("HTTP/0.9", "<html>welcome</html>"),
    ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 7\r\n\r\n{}"),
    (
        "a length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a chunk without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}"),
    ("a chunk of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n"),
    ("interim answers only", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"),
];

fn bodies() -> Vec<(String, Vec<u8>)> {
    let mut bodies: Vec<_> =
        ["", "null", "[]", "7", "\"x\"", "true", "{}", "{", "{\"status\":", "{}{}", "NaN", "{\"a\":1e999}"]
            .into_iter()
            .map(|text| (format!("the body {text}"), text.as_bytes().to_vec()))
            .collect();
    bodies.push(("a hundred thousand open brackets".to_owned(), vec![b'['; 100_000]));
    bodies.push(("sixty thousand open brackets".to_owned(), vec![b'['; 60_000]));
    bodies.push(("ten thousand nested objects".to_owned(), b"{\"a\":".repeat(10_000)));
    bodies.push(("a number of fifty thousand digits".to_owned(), vec![b'9'; 50_000]));
    bodies.push(("spaces up to the cap".to_owned(), vec![b' '; 64 * 1024]));
    bodies.push(("spaces beyond the cap".to_owned(), vec![b' '; 64 * 1024 + 1]));
    bodies.push(("no UTF-8".to_owned(), vec![0xff; 100]));
    bodies.push(("a byte order mark".to_owned(), b"\xef\xbb\xbf{}".to_vec()));
    bodies.push(("UTF-16".to_owned(), b"{\0}\0".to_vec()));
    bodies.push(("a lone surrogate".to_owned(), br#"{"status":"\ud800"}"#.to_vec()));
    bodies
}

fn redirects(cases: &mut Vec<Case>) {
    let gone = |status, target: &str| Effect::Redirect { status, target: target.to_owned() };
    for at in [
        Endpoint::Directory,
        Endpoint::NewNonce,
        Endpoint::NewAccount,
        Endpoint::NewOrder,
        Endpoint::Order,
        Endpoint::Certificate,
        Endpoint::RenewalInfo,
    ] {
        for status in [300, 301, 302, 303, 307, 308] {
            cases.push(Case::at(
                at,
                &format!("redirected to the directory with {status}"),
                gone(status, "/directory"),
            ));
        }
        for target in AWAY {
            cases.push(Case::at(at, &format!("redirected to {}", shown(target)), gone(307, target)));
        }
    }
    let long = format!("/{}", "x".repeat(1 << 20));
    cases.push(Case::at(Endpoint::Directory, "redirected to a path of a megabyte", gone(307, &long)));
    cases.push(Case::at(
        Endpoint::Directory,
        "redirected to itself with a query",
        gone(302, "/directory?again"),
    ));
    let two = Effect::Header { name: "location", values: vec!["/a".to_owned(), "/b".to_owned()] };
    cases.push(Case::at(Endpoint::NewOrder, "two places for one order", two));
}
