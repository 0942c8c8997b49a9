//! A second CA, which has renewal information: acme2certifier.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::Site;
use crate::support::changes::Changes;
use crate::support::ports::{self, wait_for};

/// Longest start, with what has to be fetched for the first one.
const START_MOST: Duration = Duration::from_secs(100);

/// The renewal window that is asked of the CA in one test.
const WINDOW: Duration = Duration::from_secs(1);

/// A running acme2certifier. Ends when dropped.
struct Second {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Second {
    /// `None`, with a line that starts with `SKIPPED:`, where it can't be had.
    fn start(site: &Site, percent: &str, seconds: &str) -> Option<Self> {
        let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("acme2certifier");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/acme2certifier.sh");
        let (dir, port) = (site.path("second"), ports::free());
        std::fs::create_dir(&dir).unwrap();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new(script)
            .args([venv.as_os_str(), dir.as_os_str()])
            .arg(port.to_string())
            .env("ARI_PERCENT", percent)
            .env("ARI_SECONDS", seconds)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut second = Self { child, dir, port };
        let mut ended = false;
        let up = wait_for(START_MOST, || {
            ended = !matches!(second.child.try_wait(), Ok(None));
            ended || ports::answers(port)
        });
        if ended || !up {
            println!(
                "SKIPPED: acme2certifier can't be had from its registry, or does not start:\n{}",
                second.log()
            );
            return None;
        }
        Some(second)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn root(&self) -> PathBuf {
        self.dir.join("api-cert.pem")
    }

    fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/directory", self.port)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // The script became the server; its worker ends with it.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let mut ended = || !matches!(self.child.try_wait(), Ok(None));
        if !wait_for(Duration::from_secs(15), &mut ended) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            println!("acme2certifier's log:\n{}", self.log());
        }
    }
}

fn configure(site: &Site, second: &Second, name: &str) {
    let config = site
        .config()
        .issuer("second", &second.directory(), &second.root())
        .text("contact = [\"mailto:hostmaster@example.com\"]")
        .text("[defaults]\nissuer = \"second\"\nsolver = \"way\"")
        .listener(ports::free())
        .certificate(name, "");
    site.write(&config);
}

#[test]
fn the_renewal_window_of_a_second_ca_is_read_and_kept_to() {
    let site = Site::new();
    let Some(second) = Second::start(&site, "66", "3600") else { return };
    configure(&site, &second, "later.example");
    site.expect(0, &["renew"]);
    let record = site.record("later.example").unwrap();
    assert!(record["reading"]["window"].is_object(), "{record}");
    assert_eq!(record["point"]["window"]["source"], "ari", "{record}");
    // Asked again it chooses the same instant, and orders nothing.
    let point = record["point"]["at"].clone();
    site.expect(0, &["renew"]);
    let record = site.record("later.example").unwrap();
    assert_eq!(record["point"]["at"], point);
    assert_eq!(record["current"]["number"], 1);
}

#[test]
fn f46_a_window_that_is_past_renews_once_with_replaces_and_not_for_ever() {
    let site = Site::new();
    // Opens with a certificate's life and closes a second later.
    let Some(second) = Second::start(&site, "0", "1") else { return };
    configure(&site, &second, "now.example");
    // The CA does not say what it was told of `replaces`, so it is read where it is kept for a
    // resumption.
    let changes = Changes::of(&site.path("state/lineages"));
    let mut replaces = Value::Null;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            site.expect(0, &["renew"]);
            // Where the first pass took longer than the window, it has renewed already.
            std::thread::sleep(WINDOW * 2);
            site.expect(0, &["renew"]);
        });
        changes.until(|| {
            let attempt =
                site.record("now.example").map_or(Value::Null, |mut record| record["attempt"].take());
            replaces = attempt["replaces"].clone();
            replaces.is_string()
        });
    });
    let record = site.record("now.example").unwrap();
    assert_eq!(record["current"]["number"], 2, "the CA took an order with it: {record}");
    assert_eq!(replaces, record["previous"]["leaf"]["ari-id"]);
    // The new certificate's window is soon past as well. That is a loop, and is not followed.
    std::thread::sleep(WINDOW * 2);
    for _ in 0..3 {
        site.run(&["renew"]);
    }
    assert_eq!(site.generation("now.example"), 2);
}
