//! Hooks, and a run that nobody watches.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::desk::{Desk, orders};

/// Longest that a run without anybody to ask may take.
const ALONE_MOST: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn f21_of_five_targets_only_the_missing_ones_are_told_again() {
    const TARGETS: [&str; 5] = ["h0", "h1", "h2", "h3", "h4"];
    for down in [vec![], vec![0], vec![1, 3], vec![0, 2, 4], vec![0, 1, 2, 3, 4]] {
        let desk = Desk::new();
        let ca = desk.ca().start().await.unwrap();
        let mut config = desk.around(&ca);
        for name in TARGETS {
            let run = format!("echo x >> {0}.told; test ! -e {0}.down", desk.show(name));
            let _ = writeln!(config, "[hook.{name}]\nrun = [\"sh\", \"-c\", \"{run}\"]");
        }
        let _ = writeln!(config, "[certificate.\"a.example\"]\nhooks = {TARGETS:?}");
        desk.configure(&config);
        for index in &down {
            desk.write(&format!("{}.down", TARGETS[*index]), "");
        }
        desk.run(&["renew"]).ends(if down.is_empty() { 0 } else { 3 });
        for index in &down {
            std::fs::remove_file(desk.path(&format!("{}.down", TARGETS[*index]))).unwrap();
        }
        desk.run(&["deploy"]).ends(0);
        for (index, name) in TARGETS.iter().enumerate() {
            let told = desk.read(&format!("{name}.told")).lines().count();
            let expected = if down.contains(&index) { 2 } else { 1 };
            assert_eq!(told, expected, "{name} with {down:?} down");
        }
        assert_eq!(orders(&ca), 1, "{down:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certbot_9805_nothing_is_asked_in_a_renewal() {
    for (row, agreed, orders_placed) in [("the terms are not agreed to", false, 0), ("all is said", true, 1)]
    {
        let desk = Desk::new();
        let ca = desk.ca().terms_of_service().start().await.unwrap();
        let mut config = desk.around(&ca) + "[certificate.\"a.example\"]\n";
        if agreed {
            config = config.replacen("[issuer.test]\n", "[issuer.test]\naccept-terms = true\n", 1);
        }
        desk.configure(&config);
        // A terminal that waits for somebody: open, and silent for ever.
        let started = Instant::now();
        let mut child = desk
            .command(&["renew"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > ALONE_MOST {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{row}: it waits for an answer");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.success(), agreed, "{row}");
        assert_eq!(orders(&ca), orders_placed, "{row}");
    }
}
