//! The daemon: it answers for others, takes changed configurations, says how it is, and ends.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::stage::Stage;
use crate::support::agent::Running;
use crate::support::ports::{self, wait_for};

/// Longest wait for something that the daemon does by itself.
const SOON: Duration = Duration::from_secs(40);

#[test]
fn f09_a_daemon_that_holds_the_port_answers_for_a_renewal_in_another_process() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["f.example"]);
    let daemon = stage.site.daemon();
    assert!(wait_for(SOON, || stage.site.generation("f.example") == 1), "{}", daemon.log());
    stage.site.expect(0, &["renew", "--force", "f.example"]);
    assert_eq!(stage.orders(), 2);
    assert!(stage.shows("f.example"));
    assert!(ports::answers(stage.pebble.http_port()), "the daemon still listens");
    ends_well(daemon);
}

#[test]
fn f56_a_bad_configuration_changes_nothing_and_a_mended_one_is_taken_at_a_hangup() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["one.example"]);
    let mut daemon = stage.site.daemon();
    assert!(wait_for(SOON, || stage.site.generation("one.example") == 1), "{}", daemon.log());
    stage.site.put("conf/nolapse.toml", "[certificate.\n");
    daemon.signal("HUP");
    daemon.wait_for_log("the old one stays in force");
    stage.site.run(&["status"]);
    assert!(stage.shows("one.example"));

    stage.wants(&["one.example", "two.example"]);
    stage.nginx.hang_up();
    daemon.signal("HUP");
    daemon.wait_for_log("configuration reloaded");
    assert!(wait_for(SOON, || stage.site.generation("two.example") == 1), "{}", daemon.log());
    assert!(stage.shows("two.example"));
    ends_well(daemon);
    assert_eq!(stage.orders(), 2);
}

#[test]
fn a_watched_configuration_is_taken_without_a_signal_and_a_bad_one_is_not() {
    let Some(stage) = Stage::new() else { return };
    let config = || stage.bare().agent("watch-config = true").certificate("w1.example", "");
    stage.site.write(&config());
    let mut daemon = stage.site.daemon();
    assert!(wait_for(SOON, || stage.site.generation("w1.example") == 1), "{}", daemon.log());
    stage.site.put("conf/nolapse.toml", "nonsense = [");
    daemon.wait_for_log("the old one stays in force");
    stage.site.write(&config().certificate("w2.example", ""));
    daemon.wait_for_log("configuration reloaded");
    assert!(wait_for(SOON, || stage.site.generation("w2.example") == 1), "{}", daemon.log());
    ends_well(daemon);
    assert_eq!(stage.orders(), 2);
}

#[test]
fn it_tells_systemd_that_it_is_ready_alive_and_stopping() {
    let Some(stage) = Stage::new() else { return };
    stage.site.write(&stage.bare().certificate("sd.example", ""));
    let path = stage.site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut command = stage.site.command(&["--log-format", "text", "run"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    let daemon = stage.site.spawn(command);
    let mut heard = String::new();
    let mut listen_for = |word: &str| {
        while !heard.contains(word) {
            let mut bytes = [0; 4096];
            let count =
                socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {word} ({error}):\n{heard}"));
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
            heard.push('\n');
        }
    };
    listen_for("READY=1");
    listen_for("WATCHDOG=1");
    daemon.signal("TERM");
    listen_for("STOPPING=1");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn it_ends_within_ten_seconds_of_sigterm_and_goes_on_where_it_was() {
    let Some(stage) = Stage::new() else { return };
    stage.site.write(&stage.bare().certificate("t.example", ""));
    stage.pebble.pause();
    let daemon = stage.site.daemon();
    assert!(wait_for(SOON, || stage.site.path("state/locks/t.example").exists()), "{}", daemon.log());
    let asked = Instant::now();
    daemon.signal("TERM");
    let ran = daemon.finish();
    stage.pebble.unpause();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // The grace, and some for a machine that is busy.
    assert!(asked.elapsed() < Duration::from_secs(14), "{:?}", asked.elapsed());
    stage.site.expect(0, &["renew", "t.example"]);
    assert_eq!(stage.orders(), 1);
}

#[test]
fn metrics_and_health_are_served_and_the_status_file_is_for_everybody() {
    let Some(stage) = Stage::new() else { return };
    let port = ports::free();
    let config = stage.config().agent(&format!("metrics = \"127.0.0.1:{port}\""));
    stage.site.write(&config.certificate("m.example", "service = \"ng\""));
    stage.nginx.serve(&stage.site, &["m.example"], "");
    let daemon = stage.site.daemon();
    let served = || wait_for(SOON, || get(port, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(served(), "{}\n{}", get(port, "/healthz"), daemon.log());
    for page in ["/livez", "/readyz"] {
        assert!(get(port, page).starts_with("HTTP/1.1 200"), "{page}: {}", get(port, page));
    }
    let metrics = get(port, "/metrics");
    for word in ["nolapse_", "m.example"] {
        assert!(metrics.contains(word), "{word}: {metrics}");
    }
    stage.site.put("seen-metrics", &metrics);
    let file = stage.site.path("run/status.json");
    let fresh = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("m.example"));
    assert!(wait_for(SOON, fresh));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    ends_well(daemon);
}

fn ends_well(daemon: Running) {
    daemon.signal("TERM");
    let ran = daemon.finish();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

/// One page, with its status line and headers.
fn get(port: u16, page: &str) -> String {
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(SOON)).unwrap();
    let asked = write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    if asked.and_then(|()| stream.read_to_string(&mut answer)).is_err() {
        return String::new();
    }
    answer
}
