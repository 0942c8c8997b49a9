use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nolapse::core::spec::Listen;
use nolapse::solve::listener::{CONNECTIONS, Listener};
use nolapse::solve::responder::{self, CONNECTION_LIFE, HEADER_TIME, PATH};
use nolapse::sys::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{MemoryStore, PATIENCE, local, rerun, shared};

async fn serving(store: &Arc<MemoryStore>) -> (Listener, SocketAddr) {
    let listen = Listen::Address(local(0));
    let listener = responder::answer(&listen, shared(store), &Clock::wall()).await.unwrap();
    let address = listener.addresses()[0];
    (listener, address)
}

/// Sends raw bytes and reads to the end.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it must end");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(address: SocketAddr, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn a_standing_answer_is_served_as_it_is() {
    let store = Arc::new(MemoryStore::default());
    store.put("token-1", "token-1.thumbprint");
    let (_responder, address) = serving(&store).await;
    let answer = get(address, &format!("{PATH}token-1")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ntoken-1.thumbprint"), "{answer}");
    let lower = answer.to_ascii_lowercase();
    assert!(lower.contains("connection: close") && lower.contains("content-type: application/octet-stream"));
    assert!(!lower.contains("server:"), "{answer}");

    let head = raw(address, format!("HEAD {PATH}token-1 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let old = raw(address, format!("GET {PATH}token-1 HTTP/1.0\r\n\r\n").as_bytes()).await;
    assert!(old.contains(" 200 OK") && old.ends_with("token-1.thumbprint"), "{old}");
    let post = raw(address, format!("POST {PATH}token-1 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
}

#[tokio::test]
async fn only_a_key_authorization_of_that_token_goes_out() {
    let store = Arc::new(MemoryStore::default());
    store.put("token-1", "-----BEGIN PRIVATE KEY-----");
    store.put("token-2", "token-2");
    let (_responder, address) = serving(&store).await;
    for token in ["token-1", "token-2", "unknown"] {
        let answer = get(address, &format!("{PATH}{token}")).await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("not found\n"), "{answer}");
    }
}

#[tokio::test]
async fn t03_hostile_tokens_never_reach_the_store() {
    let store = Arc::new(MemoryStore::default());
    let (_responder, address) = serving(&store).await;
    let long = "a".repeat(129);
    for token in [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "....//",
        "a/b",
        "a/",
        "a%00",
        "a.b",
        "a;b",
        "a+b",
        "a=",
        "a\\b",
        "caf%C3%A9",
        "<script>",
        "$(id)",
        &long,
    ] {
        let answer = get(address, &format!("{PATH}{token}")).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["404", "400"].contains(&status), "{token:?}: {answer}");
        assert!(token.len() < 3 || !answer.contains(token), "{token:?} was echoed: {answer}");
    }
    for path in
        ["/", "/.well-known/", PATH, "/.well-known/acme-challenge", "*", "/.WELL-KNOWN/acme-challenge/a"]
    {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    for request in ["\r\n\r\n\r\n", "GARBAGE\0\r\n\r\n", "GET \r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("200 OK"), "{request:?}: {answer}");
    }
    assert_eq!(store.loads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn t11_a_huge_header_is_refused() {
    let store = Arc::new(MemoryStore::default());
    let (_responder, address) = serving(&store).await;
    let request = format!("GET {PATH}a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it must end");
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert_eq!(store.loads.load(Ordering::SeqCst), 0);
}

/// The connections stay open and silent, or send half a request: the oldest make room.
#[tokio::test]
async fn t11_half_open_connections_do_not_keep_a_ca_out() {
    let store = Arc::new(MemoryStore::default());
    store.put("token-1", "token-1.thumbprint");
    let (_responder, address) = serving(&store).await;
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS + 50 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /.well-known/acme-challenge/token-1 HTTP/1.1\r\nHost: a").await.unwrap();
        }
        idle.push(stream);
    }
    let answer = get(address, &format!("{PATH}token-1")).await;
    assert!(answer.ends_with("token-1.thumbprint"), "{answer}");
    let mut first = idle.swap_remove(0);
    let mut rest = Vec::new();
    // Long before its own deadline.
    let ended = tokio::time::timeout(HEADER_TIME.over(2).to_std(), first.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the oldest connection must have been ended");
    let mut last = idle.pop().unwrap();
    let mut byte = [0];
    let silent = tokio::time::timeout(std::time::Duration::from_millis(20), last.read(&mut byte)).await;
    assert!(silent.is_err(), "the newest connections stay");
}

/// With tokio's time standing still except when everybody waits, deadlines come at once.
#[tokio::test(start_paused = true)]
async fn t11_a_slow_sender_is_cut_off() {
    let store = Arc::new(MemoryStore::default());
    let (_responder, address) = serving(&store).await;
    for sent in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let took = begun.elapsed();
        assert!(took >= HEADER_TIME.to_std() && took < CONNECTION_LIFE.to_std(), "{sent:?}: {took:?}");
        assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{sent:?}");
    }
}

#[tokio::test]
async fn dropping_it_frees_the_port_and_ends_connections() {
    let store = Arc::new(MemoryStore::default());
    let (responder, address) = serving(&store).await;
    let mut open = TcpStream::connect(address).await.unwrap();
    drop(responder);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, open.read_to_end(&mut rest)).await.expect("it must end");
    let again = responder::answer(&Listen::Address(address), shared(&store), &Clock::wall()).await;
    assert!(again.is_ok(), "{:?}", again.err());
}

#[test]
fn a_socket_from_systemd_is_used() {
    let listener = std::net::TcpListener::bind(local(0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // What systemd does: the socket as descriptor 3, and three variables.
    let prelude = format!("exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http EXPECTED_PORT={port}");
    let socket: std::os::fd::OwnedFd = listener.into();
    rerun("responder::inside_a_unit", &prelude, socket.into());
}

/// Run by [`a_socket_from_systemd_is_used`].
#[tokio::test]
#[ignore = "needs a socket handed over"]
async fn inside_a_unit() {
    let port: u16 = std::env::var("EXPECTED_PORT").unwrap().parse().unwrap();
    let store = Arc::new(MemoryStore::default());
    store.put("token-1", "token-1.thumbprint");
    // Twice: a reloaded configuration asks again.
    for _ in 0..2 {
        let listen = Listen::Systemd("http".into());
        let responder = responder::answer(&listen, shared(&store), &Clock::wall()).await.unwrap();
        assert_eq!(responder.addresses(), [local(port)]);
        assert!(get(local(port), &format!("{PATH}token-1")).await.ends_with("thumbprint"));
    }
    let other = responder::answer(&Listen::Systemd("https".into()), shared(&store), &Clock::wall()).await;
    let failure = other.err().unwrap();
    assert_eq!(failure.code, "socket-missing");
    assert!(failure.words.contains("handed over http,"), "{failure}");
}
