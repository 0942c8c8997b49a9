//! What is discovered of real servers: Debian's own configurations, and an nginx that runs.

use serde_json::Value;

use crate::support::agent::Site;
use crate::support::nginx::Nginx;
use crate::support::{ports, served};

/// A certificate by openssl, as somebody would make one by hand.
fn made(site: &Site, name: &str, names: &[&str]) -> bool {
    let alternatives: Vec<_> = names.iter().map(|name| format!("DNS:{name}")).collect();
    let status = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "20",
        ])
        .args(["-subj", "/CN=by hand", "-addext", &format!("subjectAltName={}", alternatives.join(","))])
        .arg("-keyout")
        .arg(site.path(&format!("host/etc/ssl/{name}.key")))
        .arg("-out")
        .arg(site.path(&format!("host/etc/ssl/{name}.pem")))
        .stderr(std::process::Stdio::null())
        .status();
    let made = status.is_ok_and(|status| status.success());
    if !made {
        println!("SKIPPED: openssl made no certificate (Debian: apt install openssl)");
    }
    made
}

fn json(site: &Site, args: &[&str]) -> Value {
    let ran = site.expect(0, args);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_running_nginx_is_tied_to_its_files_and_watched_from_the_draft() {
    let site = Site::new();
    std::fs::create_dir_all(site.path("host/etc/ssl")).unwrap();
    std::fs::create_dir_all(site.path("host/etc/nginx")).unwrap();
    if !made(&site, "shop", &["shop.example"]) {
        return;
    }
    let Some(nginx) = Nginx::start(&site, ports::free()) else { return };
    let block = |root: &str| {
        format!(
            "server {{ listen 127.0.0.1:{} ssl; server_name shop.example; ssl_certificate {root}/etc/ssl/shop.pem; \
             ssl_certificate_key {root}/etc/ssl/shop.key; }}\n",
            nginx.https
        )
    };
    nginx.write(&block(&site.text("host")));
    nginx.hang_up();
    assert!(ports::wait_for(std::time::Duration::from_secs(20), || served::leaf(
        nginx.https,
        "shop.example"
    )
    .is_some()));
    site.put("host/etc/nginx/nginx.conf", &format!("http {{ {} }}", block("")));
    site.write(&site.config().text("[watch.none]\nfiles = [\"/nowhere.pem\"]\n"));

    let (root, port) = (site.text("host"), nginx.https.to_string());
    let report = json(&site, &["discover", "--root", &root, "--port", &port, "--json"]);
    let each = &report["certificates"][0];
    assert_eq!(report["certificates"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(each["names"][0], "shop.example");
    assert_eq!(each["used-by"][0]["ports"][0], nginx.https);
    assert_eq!(each["renewed-by"], Value::Null);
    let endpoints: Vec<_> =
        each["served-at"].as_array().unwrap().iter().map(|port| port["endpoint"].as_str().unwrap()).collect();
    assert_eq!(
        endpoints,
        [format!("https://127.0.0.1:{port}"), format!("https://shop.example@127.0.0.1:{port}")]
    );
    if crate::support::agent::is_root() {
        let process = each["served-at"][0]["process"].as_str().unwrap();
        assert!(process.starts_with("nginx ("), "{process}");
    }
    site.expect(0, &["discover", "--root", &root, "--port", &port, "--write", "found.toml"]);
    let watched = site.run(&["watch", "shop.example", "--json"]);
    let watched: Value = serde_json::from_str(&watched.out).unwrap();
    let places = watched["watched"].as_array().unwrap();
    // The file lies below the root that was looked at, not here; both endpoints answer.
    let seen = places.iter().filter(|line| line["fingerprint"] == each["fingerprint"]).count();
    assert_eq!((places.len(), seen), (3, 2), "{watched:#}");
}

#[test]
fn debians_own_configurations_are_read() {
    let site = Site::new();
    site.write(&site.config());
    // No sockets: this host's belong to others.
    let report = json(&site, &["discover", "--root", "/", "--all", "--json"]);
    let certificates = report["certificates"].as_array().unwrap();
    let unread = report["unread"].as_array().unwrap();
    let mut known = 0;
    for (server, file, setting, certificate) in [
        ("postfix", "/etc/postfix/main.cf", "smtpd_tls_cert_file=", "/etc/ssl/certs/ssl-cert-snakeoil.pem"),
        ("dovecot", "/etc/dovecot/conf.d/10-ssl.conf", "\nssl_cert = <", "/etc/dovecot/private/dovecot.pem"),
    ] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if !text.contains(&format!("{setting}{certificate}")) {
            println!("SKIPPED: {server} is not installed as Debian does it (apt install {server})");
            continue;
        }
        known += 1;
        let named = |users: &Value| users["server"] == server;
        let used = certificates.iter().find(|each| {
            each["files"].as_array().unwrap().iter().any(|file| file == certificate)
                && each["used-by"].as_array().unwrap().iter().any(named)
        });
        let seen = used.is_some()
            || unread.iter().any(|each| each["file"] == certificate && named(&each["used-by"]));
        assert!(seen, "{server}: {report:#}");
    }
    println!("{known} servers' configurations were compared");
}
