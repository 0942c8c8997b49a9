//! A first certificate and the ones after it.

use crate::stage::{Stage, pebble};
use crate::support::agent::Site;
use crate::support::nginx::Nginx;
use crate::support::pebble::Options;
use crate::support::served;

#[test]
fn a_certificate_by_listener_is_installed_reloaded_and_observed_then_renewed_by_force() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["a.example"]);
    let ran = stage.site.expect(0, &["renew"]);
    assert!(ran.out.contains("installed, reloaded, observed"), "{ran:?}");
    assert!(stage.shows("a.example"));
    let first = served::leaf_of(&stage.site.live("a.example", "cert.pem"));

    // Nothing is due: no order, and the code says that nothing was renewed.
    stage.site.expect(0, &["renew", "--exit-code"]);
    assert_eq!(stage.orders(), 1);

    let ran = stage.site.expect(10, &["renew", "--force", "--exit-code", "a.example"]);
    assert!(ran.err.contains("--force: this spends one"), "{ran:?}");
    assert_eq!(stage.orders(), 2);
    assert!(stage.shows("a.example"));
    assert_ne!(first, served::leaf_of(&stage.site.live("a.example", "cert.pem")));
    assert_eq!(stage.site.generation("a.example"), 2);
    assert_eq!(stage.site.status("a.example")["standing"], "observed");
}

#[test]
fn a_certificate_by_webroot_is_proven_through_nginx() {
    let Some(pebble) = pebble(&Options::default()) else { return };
    let site = Site::new();
    let Some(nginx) = Nginx::start(&site, pebble.http_port()) else { return };
    let config = site
        .config()
        .pebble(&pebble, &site.root())
        .webroot(&site.path("www"), pebble.http_port())
        .service("ng", &[], &crate::stage::words(&nginx.reload()), &[nginx.https])
        .certificate("shop.example", "names = [\"shop.example\", \"www.shop.example\"]\nservice = \"ng\"");
    site.write(&config);
    nginx.serve(&site, &["shop.example"], "");
    site.expect(0, &["renew"]);
    assert_eq!(
        served::leaf(nginx.https, "shop.example"),
        Some(served::leaf_of(&site.live("shop.example", "cert.pem")))
    );
    let answers = site.path("www/.well-known/acme-challenge");
    let left: Vec<_> = std::fs::read_dir(&answers).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "answers are cleaned away: {left:?}");
}

#[test]
fn half_of_all_nonces_refused_still_gives_certificates() {
    let Some(stage) = Stage::with(&Options { nonce_reject: 50, ..Options::default() }) else { return };
    stage.wants(&["n.example"]);
    stage.site.expect(0, &["renew"]);
    assert!(stage.shows("n.example"));
    stage.site.expect(0, &["renew", "--force"]);
    assert!(stage.shows("n.example"));
}

#[test]
fn a_reused_authorization_needs_no_second_challenge() {
    let Some(stage) = Stage::with(&Options { authz_reuse: 100, ..Options::default() }) else { return };
    stage.wants(&["r.example"]);
    stage.site.expect(0, &["renew"]);
    let answered = stage.pebble.count("POST", "/chalZ/");
    stage.site.expect(0, &["renew", "--force"]);
    assert_eq!(stage.pebble.count("POST", "/chalZ/"), answered, "the CA was not asked to validate again");
    assert_eq!(stage.orders(), 2);
    assert!(stage.shows("r.example"));
}

#[test]
fn keys_are_of_the_kind_that_is_configured_and_nginx_takes_them() {
    let Some(stage) = Stage::new() else { return };
    let kinds = [("p384.example", "ecdsa-p384", "384"), ("rsa.example", "rsa-2048", "2048")];
    let config = kinds.iter().fold(stage.config(), |config, (name, kind, _)| {
        config.certificate(name, &format!("service = \"ng\"\nkey = {kind:?}"))
    });
    stage.site.write(&config);
    let names = kinds.map(|(name, ..)| name);
    stage.nginx.serve(&stage.site, &names, "");
    stage.site.expect(0, &["renew"]);
    for (name, _, bits) in kinds {
        assert!(stage.shows(name), "{name}");
        let told = std::process::Command::new("openssl")
            .args(["pkey", "-noout", "-text", "-in"])
            .arg(stage.site.live(name, "privkey.pem"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        // The first line only; the rest is the key itself and must not get into a test's output.
        let head = text.lines().next().unwrap_or_default().to_owned();
        assert!(head.contains(bits), "{name}: {head}");
    }
}

/// Pebble refuses one name by its own policy, and says which in words alone.
#[test]
fn f39_a_name_that_the_ca_does_not_take_is_left_out_where_the_entry_allows_it() {
    let Some(stage) = Stage::new() else { return };
    let lines = "names = [\"ok.example\", \"blocked-domain.example\"]\nservice = \"ng\"\n";
    let entry = |more: &str| stage.config().certificate("ok.example", &format!("{lines}{more}"));
    stage.site.write(&entry("on-dead-name = \"renew-without\""));
    stage.nginx.serve(&stage.site, &["ok.example"], "");
    for _ in 0..3 {
        let ran = stage.site.expect(1, &["renew", "ok.example"]);
        assert!(ran.out.contains("blocked-domain.example"), "{ran:?}");
    }
    assert_eq!(stage.site.status("ok.example")["trouble"]["name"], "blocked-domain.example");
    let ran = stage.site.run(&["renew", "ok.example"]);
    assert!(stage.shows("ok.example"), "{ran:?}");
    let told = stage.site.status("ok.example");
    let notes = told["notes"].to_string();
    assert!(notes.contains("wanted, and not in the certificate: blocked-domain.example"), "{notes}");
    // The name leaves the entry, and all is well again without another order.
    let orders = stage.orders();
    let without = stage.config().certificate("ok.example", "service = \"ng\"");
    stage.site.write(&without);
    stage.site.expect(0, &["renew"]);
    assert_eq!(stage.orders(), orders);
    assert!(stage.site.status("ok.example")["trouble"].is_null());
}

/// As many names as public CAs put into one certificate, one of them written as people write it.
#[test]
fn a_hundred_names_are_one_order_and_one_certificate() {
    let Some(stage) = Stage::new() else { return };
    let mut names: Vec<_> = (0..99).map(|n| format!("\"n{n}.example\"")).collect();
    names.push("\"bücher.example\"".into());
    let lines = format!(
        "service = \"ng\"\nnames = [{}]\nobserve = [\"127.0.0.1:{}\"]",
        names.join(", "),
        stage.nginx.https
    );
    stage.site.write(&stage.config().certificate("n0.example", &lines));
    stage.nginx.serve(&stage.site, &["n0.example"], "");
    let ran = stage.site.expect(0, &["renew"]);
    assert!(ran.out.contains("observed"), "{ran:?}");
    assert_eq!((stage.orders(), stage.pebble.count("POST", "/chalZ/")), (1, 100));
    let record = stage.site.record("n0.example").unwrap();
    let held = record["current"]["leaf"]["names"].as_array().unwrap();
    assert_eq!(held.len(), 100);
    assert!(held.iter().any(|name| name == "xn--bcher-kva.example"), "{held:?}");
}
