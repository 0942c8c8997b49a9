//! `watch`, and what is watched in `status`: certificates that nolapse does not manage.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::desk::{Desk, free_port, is_root};
use crate::pair::Pair;

/// The line of a place that ends so.
#[track_caller]
fn line<'a>(report: &'a Value, place: &str) -> &'a Value {
    let lines = report["watched"].as_array().unwrap();
    lines
        .iter()
        .find(|line| line["place"].as_str().unwrap().ends_with(place))
        .unwrap_or_else(|| panic!("{report:#}"))
}

fn codes(line: &Value) -> Vec<&str> {
    line["blemishes"].as_array().unwrap().iter().map(|blemish| blemish["code"].as_str().unwrap()).collect()
}

#[test]
fn a_configuration_of_watches_alone_looks_and_writes_nothing() {
    let desk = Desk::new();
    let bought = Pair::new(&["shop.example"], 400, 300);
    desk.write("tls/shop.crt", &bought.chain);
    desk.write("tls/shop.key", &bought.key);
    desk.configure(&format!("[watch.bought]\nfiles = [\"{}\"]\n", desk.show("tls/*.crt")));
    let before = desk.files("tls");
    desk.run(&["check", "--offline"]).ends(0);
    // Neither a state nor an agent is needed.
    desk.run(&["status"]).ends(0).says("1 watched place, nothing wrong").says("shop.example");
    desk.run(&["watch"]).ends(0).says("OK").says("shop.crt");
    assert_eq!(desk.files("tls"), before);
    assert!(!desk.path("state").exists());
    let told = desk.run(&["watch", "--json"]).ends(0).json();
    assert_eq!((&told["version"], &told["severity"]), (&Value::from(1), &Value::from("ok")));
    assert_eq!(line(&told, "shop.crt")["percent-left"], 42);
}

#[test]
fn what_is_wrong_sets_the_exit_code_and_says_what_to_do() {
    let desk = Desk::new();
    let other = Pair::new(&["b.example"], 10, 300);
    for (name, pair) in [
        ("soon.pem", Pair::new(&["soon.example"], 700, 20)),
        ("ended.pem", Pair::new(&["ended.example"], 90, -2)),
        ("mixed.pem", Pair::new(&["mixed.example"], 10, 300)),
    ] {
        desk.write(&format!("tls/{name}"), &pair.chain);
    }
    desk.write("tls/mixed.key", &other.key);
    desk.write("tls/text.pem", "no certificate");
    let all = format!("[watch.w]\nfiles = [\"{}\", \"{}\"]\n", desk.show("tls/*.pem"), desk.show("gone.pem"));
    desk.configure(&all);
    let told = desk.run(&["watch", "--json"]).ends(2).json();
    for (place, expected) in [
        ("soon.pem", "ends-soon"),
        ("ended.pem", "expired"),
        ("mixed.pem", "key-mismatch"),
        ("text.pem", "watch-no-certificate"),
        ("gone.pem", "watch-missing"),
    ] {
        assert_eq!(codes(line(&told, place)), [expected], "{place}");
    }
    assert_eq!(told["watched"][0]["severity"], "critical", "the gravest first");
    desk.run(&["status"]).ends(2).says("CRIT").says("[expired]").says("do: renew it");
    std::fs::remove_file(desk.path("tls/ended.pem")).unwrap();
    desk.run(&["watch"]).ends(1).says("WARN").says("4 need a look");
    desk.run(&["watch", "nobody"]).ends(3);
    desk.configure("");
    desk.run(&["watch"]).ends(3);
}

#[test]
fn a_port_is_compared_with_what_lies_on_disk() {
    let desk = Desk::new();
    let (served, renewed) = (Pair::new(&["a.example"], 80, 40), Pair::new(&["a.example"], 1, 89));
    let port = served.serve();
    desk.write("tls/a.crt", &renewed.chain);
    let closed = free_port();
    desk.configure(&format!(
        "[watch.w]\nfiles = [\"{}\"]\nendpoints = [\"a.example@127.0.0.1:{port}\", \"127.0.0.1:{closed}\"]\n",
        desk.show("tls/a.crt")
    ));
    let told = desk.run(&["watch", "--json"]).ends(1).json();
    assert!(codes(line(&told, &port.to_string())).contains(&"served-not-on-disk"), "{told:#}");
    assert_eq!(codes(line(&told, &closed.to_string())), ["endpoint-closed"]);
    desk.write("tls/a.crt", &served.chain);
    let told = desk.run(&["watch", "--json"]).ends(1).json();
    assert!(!codes(line(&told, &port.to_string())).contains(&"served-not-on-disk"), "{told:#}");
    let one = desk.run(&["status", "--json", "a.example"]).json();
    assert_eq!(one["watched"].as_array().unwrap().len(), 2, "{one:#}");
}

#[test]
fn a_file_that_may_not_be_read_stops_no_other() {
    if !is_root() {
        println!("SKIPPED: a file of root's alone: only root can become another user");
        return;
    }
    let desk = Desk::new();
    desk.write("tls/a.pem", &Pair::new(&["a.example"], 1, 80).chain);
    let closed = desk.write("tls/b.pem", &Pair::new(&["b.example"], 1, 80).chain);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    desk.configure(&format!("[watch.w]\nfiles = [\"{}\"]\n", desk.show("tls/*.pem")));
    let told = desk.run_as(65_534, &["watch", "--json"]).ends(1).json();
    assert_eq!(codes(line(&told, "b.pem")), ["watch-unreadable"]);
    assert_eq!(codes(line(&told, "a.pem")), [""; 0]);
}

#[test]
fn the_agent_looks_beside_its_work_and_publishes_what_it_found() {
    let desk = Desk::new();
    let pair = Pair::new(&["a.example"], 80, 200);
    desk.write("tls/a.pem", &pair.chain);
    let port = pair.serve();
    let metrics = free_port();
    let text = format!(
        "metrics = \"127.0.0.1:{metrics}\"\n[watch.w]\nfiles = [\"{}\"]\nendpoints = [\"a.example@127.0.0.1:{port}\"]\n",
        desk.show("tls/a.pem")
    );
    desk.configure(&text);
    let agent = Ends(desk.command(&["run"]).stderr(Stdio::null()).spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(60);
    let published = desk.path("run/watched.json");
    let whole = || {
        let text = std::fs::read_to_string(&published).ok()?;
        let report: Value = serde_json::from_str(&text).ok()?;
        (report["watched"].as_array()?.len() == 2).then_some(report)
    };
    let report = loop {
        if let Some(report) = whole() {
            break report;
        }
        assert!(Instant::now() < until, "nothing was published");
        std::thread::sleep(Duration::from_millis(50));
    };
    let scraped = scrape(metrics);
    // What the agent knows is not looked at a second time: the file may be gone by now.
    std::fs::remove_file(desk.path("tls/a.pem")).unwrap();
    let status = desk.run(&["status", "--json"]).ends(0).json();
    drop(agent);
    assert_eq!(codes(line(&status, "a.pem")), [""; 0]);
    assert_eq!(line(&report, "a.pem")["fingerprint"], line(&report, &port.to_string())["fingerprint"]);
    assert!(scraped.contains("nolapse_watched 2.0"), "{scraped}");
    assert!(scraped.contains("nolapse_watched_headroom_seconds{watch=\"w\",place=\""), "{scraped}");
}

/// A program that ends with its test, however that ends.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(port: u16) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn every_key_of_a_watch_is_described() {
    let page = include_str!("../../docs/guide/status.md");
    let desk = Desk::new();
    desk.configure("[watch.w]\nfiles = [\"/nonexistent.pem\"]\n");
    let told = desk.run(&["watch", "--json"]).ends(1).json();
    let lines = told["watched"][0].as_object().unwrap();
    let blemish = lines["blemishes"][0].as_object().unwrap();
    let keys = told.as_object().unwrap().keys().chain(lines.keys()).chain(blemish.keys());
    let missing: Vec<_> = keys.filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/guide/status.md does not describe {missing:?}");
}
