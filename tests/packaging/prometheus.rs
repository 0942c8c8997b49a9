//! Rules and dashboard by promtool, and against what the real program says of itself.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::desk::{Desk, shipped, skipped, text};

const PROMTOOL: &str = "promtool";

fn promtool(arguments: &[&str], input: Option<&str>) -> Option<(bool, String)> {
    use std::io::Write;
    let child = Command::new(PROMTOOL)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        skipped("prometheus", "promtool is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// The metrics of a run in which something was issued, and something failed.
async fn real_metrics() -> String {
    let desk = Desk::new("prometheus");
    let port = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let ca = test_ca::Ca::builder()
        .plain_http()
        .resolve_all([127, 0, 0, 1])
        .http_port(port)
        .start()
        .await
        .unwrap();
    ca.reject_identifier("b.example");
    let show = |name: &str| desk.path(name).display().to_string();
    let config = format!(
        "[agent]\nstate-dir = \"{}\"\nrun-dir = \"{}\"\ntextfile = \"{}\"\n\
         [issuer.test]\ndirectory = \"{}\"\ninsecure-http = true\n\
         [solver.here]\nlisten = \"127.0.0.1:{port}\"\ncheck-port = {port}\n\
         [defaults]\nissuer = \"test\"\nsolver = \"here\"\n\
         [certificate.\"a.example\"]\n[certificate.\"b.example\"]\n",
        show("state"),
        show("run"),
        show("nolapse.prom"),
        ca.directory_url()
    );
    let config = desk.write("nolapse.toml", &config);
    let ran = Command::new(env!("CARGO_BIN_EXE_nolapse"))
        .env_clear()
        .arg("--config")
        .arg(config)
        .arg("renew")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
    std::fs::read_to_string(desk.path("nolapse.prom")).unwrap()
}

fn named(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Every metric of ours that a text names.
fn asked(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|word| word.starts_with("nolapse_")).map(str::to_owned).collect()
}

#[test]
fn promtool_likes_the_rules_and_they_say_what_they_should() {
    let rules = shipped("prometheus/nolapse.rules.yml").display().to_string();
    let tests = shipped("prometheus/nolapse.test.yml").display().to_string();
    for arguments in [["check", "rules", &rules], ["test", "rules", &tests]] {
        let Some((well, said)) = promtool(&arguments, None) else { return };
        assert!(well, "promtool {arguments:?}:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_panels_ask_for_what_is_there() {
    let metrics = real_metrics().await;
    let there = named(&metrics);
    for name in ["prometheus/nolapse.rules.yml", "prometheus/nolapse.test.yml", "grafana/nolapse.json"] {
        let asked = asked(&text(name));
        assert!(asked.len() > 3, "{name} asks for nothing");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{name} asks for {missing:?}, and the program has\n{there:#?}");
    }
    if let Some((well, said)) = promtool(&["check", "metrics"], Some(&metrics)) {
        assert!(well, "promtool check metrics:\n{said}\n{metrics}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    let board: serde_json::Value = serde_json::from_str(&text("grafana/nolapse.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id stands twice");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{}", panel["title"]);
        assert!(!panel["targets"][0]["expr"].as_str().unwrap().is_empty());
    }
}
