//! Alerts and the heartbeat by the real program: a timer's runs, and a daemon.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::desk::{Desk, free_port};

/// An issuer that nobody answers for, and a channel that writes down what it is told.
fn config(desk: &Desk, port: u16) -> String {
    format!(
        "[issuer.test]\ndirectory = \"http://127.0.0.1:{port}/dir\"\ninsecure-http = true\n\
         [solver.here]\nlisten = \"127.0.0.1:{0}\"\ncheck-port = {0}\n\
         [defaults]\nissuer = \"test\"\nsolver = \"here\"\nlabels = {{ owner = \"web\" }}\n\
         [certificate.\"a.example\"]\nlabels = {{ runbook = \"https://wiki.example/a\" }}\n\
         [alert.file]\ntype = \"exec\"\nrun = [\"sh\", \"-c\", \"cat >> {1}\"]\n",
        desk.port,
        desk.show("told")
    )
}

fn told(desk: &Desk) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(desk.path("told")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Answers every request with 200 and keeps its first line and body.
fn sink() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                text.extend_from_slice(&buffer[..read]);
                if text.starts_with(b"GET") && text.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            kept.lock().unwrap().push(String::from_utf8_lossy(&text).into_owned());
        }
    });
    (port, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_timer_the_first_failure_is_told_once_and_then_that_it_is_over() {
    let desk = Desk::new();
    let (port, heard) = sink();
    let dead = config(&desk, free_port());
    let beat = format!(
        "[heartbeat]\nurl = \"http://127.0.0.1:{port}/ping\"\nfail-url = \"http://127.0.0.1:{port}/fail\"\n"
    );
    desk.configure(&(dead.clone() + &beat));
    desk.run(&["renew"]).ends(1);
    let [first] = &told(&desk)[..] else { panic!("{:?}", told(&desk)) };
    assert_eq!((&first["occasion"], &first["gravity"]), (&"raised".into(), &"notice".into()), "{first}");
    assert_eq!(first["code"], "renewal-failing");
    assert_eq!(first["labels"]["owner"], "web");
    assert_eq!(first["labels"]["runbook"], "https://wiki.example/a");
    desk.run(&["renew"]).ends(1);
    assert_eq!(told(&desk).len(), 1, "the same is not told again");
    desk.run(&["alert", "list"]).ends(0).says("NOTICE  a.example");
    // Somebody knows.
    desk.run(&["ack", "a.example", "--until", "60d", "--reason", "x"]).ends(2).warns("at most 30 d");
    desk.run(&["ack", "b.example", "--until", "1d", "--reason", "x"]).ends(2);
    desk.run(&["ack", "a.example", "--until", "1d", "--reason", "CA moves"]).ends(0);
    desk.run(&["alert", "list"]).ends(0).says("acknowledged: a.example").says("CA moves");
    desk.run(&["status"]).says("CA moves");
    let status = desk.run(&["status", "--json"]).json();
    assert_eq!(status["acks"][0]["subject"], "a.example", "{status}");
    // The CA answers again.
    let ca = desk.ca().start().await.unwrap();
    let alive = dead.replace(
        dead.lines().find(|line| line.starts_with("directory")).unwrap(),
        &format!("directory = \"{}\"", ca.directory_url()),
    );
    desk.configure(&(alive + &beat));
    desk.run(&["renew", "a.example"]).ends(0);
    let last = told(&desk).pop().unwrap();
    assert_eq!(last["occasion"], "recovered", "{last}");
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 3, "one for each run: {heard:?}");
    assert!(heard.iter().all(|request| request.starts_with("GET /ping")), "nothing was a page: {heard:?}");
}

#[test]
fn alert_test_fires_every_channel_and_says_what_happened() {
    let desk = Desk::new();
    let config = config(&desk, free_port());
    desk.configure(&format!(
        "{config}[alert.broken]\ntype = \"exec\"\nrun = [\"sh\", \"-c\", \"echo oh no; exit 1\"]\n"
    ));
    let ran = desk.run(&["alert", "test"]).ends(1);
    let ran = ran.says("broken (exec)  FAILED: sh ended with exit code 1: oh no [alert-program]");
    ran.says("file (exec)  ok");
    assert_eq!(told(&desk)[0]["occasion"], "test");
    desk.run(&["alert", "test", "file"]).ends(0);
    desk.run(&["alert", "test", "fiel"]).ends(2).warns("there is broken, file");
    desk.configure("[certificate.\"a.example\"]\n");
    desk.run(&["alert", "test"]).ends(5).warns("nobody is told anything");
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_tells_beats_and_says_when_its_configuration_is_refused() {
    let desk = Desk::new();
    let (port, heard) = sink();
    let config = config(&desk, free_port())
        + &format!("[heartbeat]\nurl = \"http://127.0.0.1:{port}/ping\"\nevery = \"1m\"\n");
    desk.configure(&config);
    let child = desk.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let daemon = Daemon(child);
    let has = |code: &'static str| {
        let desk = &desk;
        move || told(desk).into_iter().find(|message| message["code"] == code)
    };
    assert_eq!(wait_for("the alert", has("renewal-failing"))["gravity"], "notice");
    wait_for("the heartbeat", || heard.lock().unwrap().first().cloned());
    // A one-shot beside it leaves the telling to it.
    desk.run(&["renew"]).ends(1);
    desk.configure(&format!("{config}[nonsense]\n"));
    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let refused = wait_for("the refusal", has("reload-refused"));
    assert_eq!((&refused["gravity"], &refused["subjects"][0]), (&"ticket".into(), &"agent".into()));
    assert_eq!(told(&desk).iter().filter(|message| message["code"] == "renewal-failing").count(), 1);
}

/// A certificate that ends in so many days, as somebody bought it.
fn bought(desk: &Desk, days: i64) {
    let mut params = rcgen::CertificateParams::new(["old.example".to_owned()]).unwrap();
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
    params.not_before = params.not_after - time::Duration::days(730);
    let key = rcgen::KeyPair::generate().unwrap();
    desk.write("bought.pem", &params.self_signed(&key).unwrap().pem());
}

#[test]
fn by_a_timer_what_is_watched_is_told_of_too() {
    let desk = Desk::new();
    bought(&desk, 5);
    desk.configure(&format!(
        "[watch.bought]\nfiles = [\"{}\"]\nlabels = {{ owner = \"shop\" }}\n\
         [alert.file]\ntype = \"exec\"\nrun = [\"sh\", \"-c\", \"cat >> {}\"]\n",
        desk.show("bought.pem"),
        desk.show("told")
    ));
    desk.run(&["renew"]).ends(0);
    let messages = told(&desk);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let message = &messages[0];
    assert_eq!((message["occasion"].as_str(), message["gravity"].as_str()), (Some("raised"), Some("page")));
    assert_eq!(
        (message["code"].as_str(), message["labels"]["owner"].as_str()),
        (Some("ends-soon"), Some("shop"))
    );
    desk.run(&["renew"]).ends(0);
    assert_eq!(told(&desk).len(), 1, "once");
    bought(&desk, 600);
    desk.run(&["renew"]).ends(0);
    let messages = told(&desk);
    assert_eq!(messages.last().unwrap()["occasion"], "recovered", "{messages:#?}");
    let seen: serde_json::Value = serde_json::from_str(&desk.read("run/watched.json")).unwrap();
    assert_eq!(seen["severity"], "ok");
}
