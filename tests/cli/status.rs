//! `status`: codes of monitoring plugins, and a schema that is written down.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::desk::{Desk, Told, is_root};

const PAGE: &str = include_str!("../../docs/guide/status.md");

/// Every key of a value, those inside it too.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_those_of_monitoring_plugins_and_every_key_is_described() {
    let desk = Desk::new();
    let ca = desk.ca().reject_identifier("b.example").start().await.unwrap();
    let config =
        desk.around(&ca) + "[hook.app]\nrun = [\"true\"]\n[certificate.\"a.example\"]\nhooks = [\"app\"]\n";
    desk.configure(&config);
    // 3: nothing is known. 2: nothing is served. 0: all is well. 1: somebody should look.
    desk.run(&["status"]).ends(3);
    std::fs::create_dir(desk.path("state")).unwrap();
    desk.run(&["status"]).ends(2);
    desk.run(&["renew"]).ends(0);
    desk.run(&["status"]).ends(0).says("OK");
    desk.run(&["pause", "a.example", "--until", "1h", "--reason", "x"]).ends(0);
    desk.run(&["status"]).ends(1).says("WARN");
    desk.run(&["pause", "a.example", "--until", "0s", "--reason", "x"]).ends(0);

    let endpoint = format!("observe = [\"127.0.0.1:{}\"]\n", crate::desk::free_port());
    desk.configure(&(config + &endpoint + "[certificate.\"b.example\"]\n"));
    let run = desk.run(&["renew", "--json"]).ends(1).json();
    let told = desk.run(&["status", "--json"]).ends(2).json();
    assert_eq!(told["version"], 1);
    // The gravest first.
    assert_eq!(told["lineages"][0]["name"], "b.example");
    assert_eq!(told["lineages"][0]["trouble"]["count"], 1);
    let mut found = BTreeSet::new();
    keys(&told, &mut found);
    keys(&run, &mut found);
    let missing: Vec<_> = found.iter().filter(|key| !PAGE.contains(&format!("`{key}`"))).collect();
    assert!(found.len() > 40, "{found:?}");
    assert!(missing.is_empty(), "docs/guide/status.md does not describe {missing:?}");

    let one = desk.run(&["status", "--json", "a.example"]).ends(0).json();
    assert_eq!(one["lineages"].as_array().unwrap().len(), 1);
    desk.run(&["status", "c.example"]).ends(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_installed_says_why_and_has_a_step() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let output = format!("combined = \"{}\"\n", desk.show("out/a.pem"));
    desk.configure(&(desk.around(&ca) + "[certificate.\"a.example\"]\n" + &output));
    desk.run(&["status"]).ends(3).warns("nolapse renew");
    std::fs::create_dir(desk.path("state")).unwrap();
    desk.run(&["status"]).ends(2).says("do: nolapse renew a.example").says("[not-installed]");
    std::fs::create_dir(desk.path("out")).unwrap();
    desk.run(&["renew"]).ends(0);
    let live = desk.path("state/live/a.example");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let rows: [(&str, &str, &dyn Fn()); 6] = [
        ("the chain was cut off", "fullchain.pem was edited", &|| {
            std::fs::write(live.join("fullchain.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
        }),
        ("the key is another one", "privkey.pem was edited", &|| {
            let key = rcgen::KeyPair::generate().unwrap();
            std::fs::write(live.join("privkey.pem"), key.serialize_pem()).unwrap();
        }),
        ("others may read the key", "has mode 0644", &|| mode(&live.join("privkey.pem"), 0o644)),
        ("the directory is gone", "gen 1 is issued and not installed", &|| {
            std::fs::remove_dir_all(&live).unwrap();
        }),
        ("an output is gone", "out/a.pem is not there", &|| {
            std::fs::remove_file(desk.path("out/a.pem")).unwrap();
        }),
        ("an output holds something else", "out/a.pem: holds something else", &|| {
            std::fs::write(desk.path("out/a.pem"), "something else").unwrap();
        }),
    ];
    for (what, why, damage) in rows {
        damage();
        let told = Told { code: None, ..desk.run(&["status"]) };
        assert!(
            told.out.contains(why) && told.out.contains("do: nolapse deploy a.example"),
            "{what}: {}",
            told.out
        );
        desk.run(&["deploy"]).ends(0);
        desk.run(&["status"]).ends(0);
    }
    assert_eq!(crate::desk::orders(&ca), 1, "a repair is no renewal");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_local_user_may_ask() {
    if !is_root() {
        println!("SKIPPED: asking as another user: this is not root");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + "[certificate.\"a.example\"]\n"));
    desk.run(&["renew"]).ends(0);
    desk.run_as(65_534, &["status"]).ends(0).says("a.example");
}
