//! `discover` below a root made of other tools' trees, and what it drafts.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::Value;

use crate::desk::Desk;
use crate::pair::Pair;

/// A host with an nginx, a postfix, certbot, lego and a certificate that was bought by hand.
fn host(desk: &Desk) {
    let certbots = Pair::new(&["certbot.example"], 60, 29);
    desk.write(
        "host/etc/letsencrypt/archive/certbot.example/fullchain1.pem",
        &Pair::new(&["certbot.example"], 150, -60).chain,
    );
    desk.write("host/etc/letsencrypt/archive/certbot.example/fullchain2.pem", &certbots.chain);
    desk.write("host/etc/letsencrypt/archive/certbot.example/privkey2.pem", &certbots.key);
    desk.write("host/etc/letsencrypt/renewal/certbot.example.conf", "version = 2\n");
    let live = desk.path("host/etc/letsencrypt/live/certbot.example");
    std::fs::create_dir_all(&live).unwrap();
    for name in ["fullchain", "privkey"] {
        symlink(format!("../../archive/certbot.example/{name}2.pem"), live.join(format!("{name}.pem")))
            .unwrap();
    }
    let legos = Pair::new(&["lego.example"], 10, 80);
    desk.write("host/root/.lego/certificates/lego.example.crt", &legos.chain);
    desk.write("host/root/.lego/certificates/lego.example.key", &legos.key);
    desk.write("host/root/.lego/certificates/lego.example.json", "{}");
    let bought = Pair::new(&["shop.example", "www.shop.example"], 716, 14);
    desk.write("host/etc/ssl/shop.pem", &bought.chain);
    desk.write("host/etc/ssl/private/shop.key", &bought.key);
    desk.write("host/etc/ssl/idle.pem", &Pair::new(&["idle.example"], 30, 3).chain);
    desk.write(
        "host/etc/nginx/nginx.conf",
        "http { include sites-enabled/*;\n server { listen 443 ssl; server_name certbot.example;\n \
         ssl_certificate /etc/letsencrypt/live/certbot.example/fullchain.pem;\n \
         ssl_certificate_key /etc/letsencrypt/live/certbot.example/privkey.pem; } }",
    );
    desk.write(
        "host/etc/nginx/sites-enabled/shop",
        "server { listen 443 ssl; server_name shop.example;\n ssl_certificate /etc/ssl/shop.pem;\n \
         ssl_certificate_key /etc/ssl/private/shop.key; }",
    );
    desk.write(
        "host/etc/postfix/main.cf",
        "smtpd_tls_cert_file = /root/.lego/certificates/lego.example.crt\n",
    );
    desk.write("host/etc/mosquitto/mosquitto.conf", "listener 8883\ncertfile /etc/mosquitto/gone.crt\n");
}

fn names(report: &Value) -> Vec<&str> {
    report["certificates"].as_array().unwrap().iter().map(|each| each["names"][0].as_str().unwrap()).collect()
}

#[test]
fn every_certificate_is_told_once_and_the_forsaken_first() {
    let desk = Desk::with("");
    host(&desk);
    let root = desk.show("host");
    let report = desk.run(&["discover", "--root", &root, "--json"]).ends(0).json();
    assert_eq!(
        names(&report),
        ["shop.example", "certbot.example", "lego.example", "idle.example"],
        "{report:#}"
    );
    let each = |at: usize| &report["certificates"][at];
    assert_eq!(each(0)["renewed-by"], Value::Null);
    assert_eq!(each(0)["days-left"], 14);
    assert_eq!(each(0)["used-by"][0]["server"], "nginx");
    assert_eq!(each(0)["used-by"][0]["origin"], "/etc/nginx/sites-enabled/shop:2");
    assert_eq!(each(0)["files"], serde_json::json!(["/etc/ssl/shop.pem"]));
    assert_eq!(each(1)["renewed-by"]["tool"], "certbot");
    assert_eq!(each(1)["renewed-by"]["evidence"], "/etc/letsencrypt/renewal/certbot.example.conf");
    assert_eq!(
        (&each(2)["renewed-by"]["tool"], &each(2)["used-by"][0]["server"]),
        (&"lego".into(), &"postfix".into())
    );
    let codes = |at: usize| -> Vec<&str> {
        each(at)["blemishes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|blemish| blemish["code"].as_str().unwrap())
            .collect()
    };
    assert_eq!(codes(0), ["ends-soon", "nobody-renews"]);
    assert_eq!(codes(2), [""; 0]);
    assert_eq!(codes(3), ["ends-soon", "nobody-uses"]);
    assert_eq!(report["unread"][0]["file"], "/etc/mosquitto/gone.crt");
    desk.run(&["discover", "--root", &root])
        .ends(0)
        .says("4 certificates; 1 in use that nobody renews, 1 that nobody uses")
        .says("renewed by  NOBODY")
        .says("certbot (/etc/letsencrypt/renewal/certbot.example.conf)")
        .says("[watch-missing]");
    let page = include_str!("../../docs/guide/discovering.md");
    let mut keys = std::collections::BTreeSet::new();
    gather(&report, &mut keys);
    let missing: Vec<_> = keys.iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(keys.len() > 20 && missing.is_empty(), "docs/guide/discovering.md does not describe {missing:?}");
}

fn gather(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                gather(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, found)),
        _ => {}
    }
}

#[test]
fn a_draft_is_new_and_holds_together_with_the_configuration() {
    let desk = Desk::with("[watch.\"shop.example\"]\nfiles = [\"/elsewhere.pem\"]\n");
    host(&desk);
    let root = desk.show("host");
    desk.run(&["discover", "--root", &root, "--write", "found.toml"]).ends(0).warns("found.toml is written");
    let draft = desk.read("etc/conf.d/found.toml");
    assert!(draft.contains("[watch.\"shop.example-2\"]\nfiles = [\"/etc/ssl/shop.pem\"]"), "{draft}");
    assert!(draft.contains("[watch.\"certbot.example\"]"), "{draft}");
    assert!(!draft.contains("idle.example"), "{draft}");
    desk.run(&["check", "--offline"]).ends(0);
    // Never a file that is there.
    desk.run(&["discover", "--root", &root, "--write", "found.toml"]).ends(5).warns("[draft-exists]");
    assert_eq!(desk.read("etc/conf.d/found.toml"), draft);
    desk.run(&["discover", "--root", &root, "--write", "found.txt"]).ends(5).warns("[draft-name]");
    let other = desk.show("etc/conf.d/managed.toml");
    desk.run(&["discover", "--root", &root, "--write", &other, "--as", "certificate"]).ends(0);
    let draft = desk.read("etc/conf.d/managed.toml");
    let entry = "[certificate.\"shop.example\"]\nnames = [\"shop.example\", \"www.shop.example\"]\nservice = \"nginx\"";
    assert!(draft.contains(entry), "{draft}");
    assert!(draft.contains("[watch.\"lego.example-2\"]"), "lego renews that one:\n{draft}");
}

#[test]
fn a_host_without_certificates_or_configuration_is_no_trouble() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("host")).unwrap();
    let root = desk.show("host");
    desk.run(&["discover", "--root", &root]).ends(0).says("0 certificates");
    desk.run(&["discover", "--root", &root, "--write", "found.toml"]).ends(0).warns("nothing to draft");
    assert!(!desk.path("etc").exists());
}

#[test]
fn names_that_were_issued_elsewhere_are_told_when_a_source_is_named() {
    let desk = Desk::new();
    host(&desk);
    let root = desk.show("host");
    let script =
        desk.write("ct", "#!/bin/sh\ncat > \"$0.asked\"\nprintf 'old.shop.example\\nwww.shop.example\\n'\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    desk.configure(&format!("[discover]\nct = {{ exec = [\"{}\"] }}\n", desk.show("ct")));
    let report = desk.run(&["discover", "--root", &root, "--json"]).ends(0).json();
    assert_eq!(report["elsewhere"], serde_json::json!(["old.shop.example"]));
    assert!(desk.read("ct.asked").lines().any(|domain| domain == "shop.example"));

    let port = answering(r#"[{"name_value": "vpn.shop.example\n*.shop.example"}]"#);
    desk.configure(&format!("[discover.ct]\nurl = \"http://127.0.0.1:{port}/?q={{domain}}\"\n"));
    desk.run(&["discover", "--root", &root])
        .ends(0)
        .says("issued, and not found here: vpn.shop.example, *.shop.example");

    // A source that fails takes nothing away.
    desk.configure("[discover]\nct = { exec = [\"false\"] }\n");
    desk.run(&["discover", "--root", &root]).ends(0).says("shop.example").warns("[ct-failed]");
}

/// A web server that always answers this.
fn answering(body: &'static str) -> u16 {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let mut answer = String::new();
            let _ = write!(
                answer,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    port
}
