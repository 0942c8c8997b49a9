use std::path::Path;
use std::sync::Arc;

use nolapse::core::failure::Class;
use nolapse::core::name::SolverId;
use nolapse::core::spec::Listen;
use nolapse::ports::{Solver, Store};
use nolapse::solve::http01::Http01Solver;
use nolapse::solve::self_check::{Miss, SelfCheck};
use nolapse::solve::stand::Listening;
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bench::{MemoryStore, Pair, free_port, local, nginx, shared, task};

fn solver(store: &Arc<MemoryStore>, port: u16, check: SelfCheck) -> Http01Solver {
    solver_over(shared(store), port, check)
}

fn solver_over(store: Arc<dyn Store>, port: u16, check: SelfCheck) -> Http01Solver {
    let id = SolverId::parse("http").unwrap();
    Http01Solver::new(id, Listen::Address(local(port)), store, check, &Clock::wall())
}

/// As another process opens it: nothing is shared but the directory.
async fn opened(dir: &Path) -> Arc<dyn Store> {
    Arc::new(DirStore::open(Disk::real(), Clock::wall(), dir).await.unwrap())
}

fn through(port: u16) -> SelfCheck {
    SelfCheck { http: port, https: free_port() }
}

/// Answers every request with the same text.
async fn stranger(answer: &'static str) -> u16 {
    let listener = TcpListener::bind(local(0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn the_listener_lives_from_the_first_answer_to_the_last() {
    let store = Arc::new(MemoryStore::default());
    let port = free_port();
    let solver = solver(&store, port, through(port));
    solver.able().await.unwrap();
    assert!(solver.addresses().await.is_empty(), "a free look leaves no listener");
    let (first, second) = (task("a.example", "token-1"), task("b.example", "token-2"));
    for task in [&first, &second, &first] {
        solver.present(task).await.unwrap();
        solver.confirm(task).await.unwrap();
    }
    let first = solver.receipt(&first).await.unwrap();
    assert_eq!(first.place, "challenges/token-1");
    solver.clean_up(&first).await.unwrap();
    solver.clean_up(&first).await.unwrap();
    assert_eq!(solver.addresses().await, [local(port)], "another answer still stands");
    solver.clean_up(&solver.receipt(&second).await.unwrap()).await.unwrap();
    assert!(solver.addresses().await.is_empty());
    assert_eq!(store.len(), 0);
}

#[tokio::test]
async fn a_running_daemon_answers_for_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let daemon = solver_over(opened(dir.path()).await, port, through(port));
    daemon.listen().await.unwrap();
    let renew = solver_over(opened(dir.path()).await, port, through(port));
    renew.able().await.unwrap();
    let task = task("a.example", "token-1");
    renew.present(&task).await.unwrap();
    renew.confirm(&task).await.unwrap();
    renew.clean_up(&renew.receipt(&task).await.unwrap()).await.unwrap();
    assert_eq!(daemon.addresses().await, [local(port)], "a daemon goes on listening");
}

#[tokio::test]
async fn f37_a_port_held_by_a_stranger_costs_no_validation() {
    let store = Arc::new(MemoryStore::default());
    let port = stranger("HTTP/1.1 404 Not Found\r\nServer: shop\u{202e}\r\nContent-Length: 0\r\n\r\n").await;
    let solver = solver(&store, port, through(port));
    let task = task("a.example", "token-1");
    solver.present(&task).await.unwrap();
    let failure = solver.confirm(&task).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "port-in-use"));
    let holder = format!("process {}", std::process::id());
    for part in [&holder, "shop\\u{202e}", "status 404", "webroot", "a.example"] {
        assert!(failure.words.contains(part), "{part} is missing: {failure}");
    }
}

#[tokio::test]
async fn f37_a_port_that_speaks_no_http_is_reported_before_an_order() {
    let store = Arc::new(MemoryStore::default());
    let port = stranger("SSH-2.0-OpenSSH_9.2\r\n").await;
    let failure = solver(&store, port, through(port)).able().await.unwrap_err();
    assert_eq!(failure.code, "port-in-use");
}

#[tokio::test]
async fn what_answered_instead_is_told() {
    let loops = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
    let elsewhere = "HTTP/1.1 301 Moved\r\nLocation: https://b.example:8443/\r\nContent-Length: 0\r\n\r\n";
    let hostile = "HTTP/1.1 200 OK\r\nServer: evil\r\nContent-Length: 9\r\n\r\n\u{1b}[31mhi\r\n";
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nxxxxxxxxxxxx";
    for (answer, words) in [
        (loops, "more than 10 redirects"),
        (elsewhere, "a CA follows to ports 80 and 443 only"),
        (hostile, "answered by evil with status 200 and another text, starting \"\\\\u{1b}[31mhi"),
        (endless, "the body"),
        ("nonsense\r\n\r\n", "could not be read"),
        ("", "could not be read"),
    ] {
        let port = stranger(answer).await;
        let miss = through(port).look(&task("a.example", "token-1"), &Clock::wall()).await.unwrap_err();
        assert!(miss.to_string().contains(words), "{answer:?}: {miss}");
    }
    let nobody = free_port();
    let miss = through(nobody).look(&task("a.example", "token-1"), &Clock::wall()).await.unwrap_err();
    assert_eq!(miss, Miss::Nobody { port: nobody });
}

/// The shipped arrangement: nginx holds the port and passes the path on, here even by way of
/// https with a certificate that nobody trusts.
#[tokio::test]
async fn nginx_in_front_redirects_and_passes_on() {
    let dir = tempfile::tempdir().unwrap();
    Pair::of(&["other.example"]).write(dir.path(), "tls");
    let (http, https, own) = (free_port(), free_port(), free_port());
    let (shown, listen) = (dir.path().display(), format!("listen 127.0.0.1:{https} ssl"));
    let servers = format!(
        "server {{ listen 127.0.0.1:{http}; server_name a.example; return 301 https://$host$request_uri; }}
         server {{ {listen}; server_name a.example;
           ssl_certificate {shown}/tls.crt; ssl_certificate_key {shown}/tls.key;
           location /.well-known/acme-challenge/ {{ proxy_pass http://127.0.0.1:{own}; }} }}
         server {{ listen 127.0.0.1:{http}; server_name b.example; }}"
    );
    let Some(_nginx) = nginx(dir.path(), &servers, http) else { return };
    let store = Arc::new(MemoryStore::default());
    let solver = solver(&store, own, SelfCheck { http, https });
    let (good, bad) = (task("a.example", "token-1"), task("b.example", "token-2"));
    for task in [&good, &bad] {
        solver.present(task).await.unwrap();
    }
    solver.confirm(&good).await.unwrap();
    let failure = solver.confirm(&bad).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "self-check-failed"));
    for part in ["nginx", "status 404", &format!("127.0.0.1:{own}"), "snippet"] {
        assert!(failure.words.contains(part), "{part} is missing: {failure}");
    }
}
