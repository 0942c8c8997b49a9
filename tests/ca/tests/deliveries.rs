//! Answers that no server should send, as they arrive at a socket.

use std::time::Duration;

use serde_json::{Value, json};
use test_ca::{Ca, Delivery, Effect, Endpoint, Fault, Stage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_mins(1);

/// What comes back for one plain request of the directory, until the CA hangs up or `most` octets are there.
async fn asked(ca: &Ca, effect: Effect, most: usize) -> (String, bool) {
    ca.set_fault(Fault::new(effect).at(Endpoint::Directory).times(1));
    let url = ca.directory_url();
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /directory HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    let reading = async {
        while seen.len() < most {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return true,
                Ok(n) => seen.extend_from_slice(&piece[..n]),
            }
        }
        false
    };
    let ended = tokio::time::timeout(LIMIT, reading).await.unwrap();
    (String::from_utf8_lossy(&seen).into_owned(), ended)
}

async fn plain() -> Ca {
    Ca::builder().plain_http().start().await.unwrap()
}

/// Head and body.
fn parts(seen: &str) -> (&str, &str) {
    seen.split_once("\r\n\r\n").unwrap_or((seen, ""))
}

fn body(seen: &str) -> Value {
    serde_json::from_str(parts(seen).1).unwrap_or_else(|_| panic!("{seen}"))
}

#[tokio::test]
async fn an_answer_ends_where_it_is_cut() {
    let ca = plain().await;
    let cut = async |stage| asked(&ca, Effect::Send(Delivery::Cut(stage)), usize::MAX).await;
    let (whole, _) =
        asked(&ca, Effect::Send(Delivery::Slow { octets: 100_000, every: Duration::ZERO }), usize::MAX).await;
    assert!(body(&whole)["newOrder"].is_string());
    let (line, ended) = cut(Stage::StatusLine).await;
    assert!(ended && line == "HTTP/1", "{line}");
    let (headers, _) = cut(Stage::Headers).await;
    assert!(headers.starts_with("HTTP/1.1 200") && !headers.contains("\r\n\r\n"), "{headers}");
    let (head, _) = cut(Stage::Head).await;
    assert!(head.ends_with("\r\n\r\n") && head.contains("content-length: "), "{head}");
    let (half, _) = cut(Stage::Body).await;
    assert!(half.len() > head.len() && serde_json::from_str::<Value>(parts(&half).1).is_err(), "{half}");
}

#[tokio::test]
async fn lengths_lie_and_ends_do_not_come() {
    let ca = plain().await;
    let (claimed, ended) = asked(&ca, Effect::Send(Delivery::Claim(1 << 40)), usize::MAX).await;
    assert!(ended && claimed.contains("content-length: 1099511627776\r\n"), "{claimed}");
    let (endless, ended) = asked(&ca, Effect::Send(Delivery::Endless), 200_000).await;
    assert!(!ended && endless.len() >= 200_000 && !parts(&endless).0.contains("content-length"));
    let (endless, ended) = asked(&ca, Effect::Send(Delivery::EndlessHead), 200_000).await;
    assert!(!ended && endless.len() >= 200_000 && !endless.contains("\r\n\r\n"));
    let (open, ended) = asked(&ca, Effect::Send(Delivery::Open), 300).await;
    assert!(!ended && open.contains("newNonce"), "{open}");
    let (exactly, ended) =
        asked(&ca, Effect::Send(Delivery::Octets(b"SSH-2.0-x\r\n".to_vec())), usize::MAX).await;
    assert!(ended && exactly == "SSH-2.0-x\r\n");
}

#[tokio::test]
async fn headers_hold_what_http_forbids() {
    let ca = plain().await;
    let split = Effect::Header {
        name: "retry-after",
        values: vec!["1\r\nX-Injected: yes".to_owned(), "2".to_owned()],
    };
    let (seen, _) = asked(&ca, split, usize::MAX).await;
    assert!(parts(&seen).0.contains("retry-after: 1\r\nX-Injected: yes\r\nretry-after: 2\r\n"), "{seen}");
    let (seen, _) = asked(&ca, Effect::Html(999), usize::MAX).await;
    assert!(seen.starts_with("HTTP/1.1 999 "), "{seen}");
}

#[tokio::test]
async fn json_is_changed_in_one_place() {
    let ca = plain().await;
    let edit = |place: &str, value: Option<Value>| Effect::Edit { place: place.to_owned(), value };
    let table = [
        (edit("/newOrder", Some(json!(7))), "newOrder", json!(7)),
        (edit("/newOrder", None), "newOrder", Value::Null),
        (edit("/fresh", Some(json!(["x"]))), "fresh", json!(["x"])),
        (
            Effect::SayTwice { member: "newOrder".to_owned(), value: json!("again") },
            "newOrder",
            json!("again"),
        ),
    ];
    for (effect, member, expected) in table {
        let (seen, _) = asked(&ca, effect, 300).await;
        let text = parts(&seen).1;
        let twice = text.matches("\"newOrder\"").count();
        assert!(twice <= 2 && body(&seen)[member] == expected, "{seen}");
    }
}

#[tokio::test]
async fn a_bomb_is_small_and_becomes_large() {
    let ca = plain().await;
    ca.set_fault(Fault::new(Effect::Gzip { inflated: 1 << 20 }).at(Endpoint::Directory).times(1));
    let (seen, _) = asked(&ca, Effect::Close, 5_000).await;
    assert!(seen.contains("content-encoding: gzip") && seen.len() < 20_000, "{} octets", seen.len());
}
