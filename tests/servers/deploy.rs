//! After the order: hooks that fail, servers that keep the old pair, servers that refuse the new
//! one, and one reload for many.

use std::path::Path;

use crate::stage::{Stage, words};
use crate::support::haproxy::Haproxy;
use crate::support::pebble::Options;
use crate::support::{ports, served};

#[test]
fn f16_a_failing_reload_is_owed_and_paid_later_without_an_order() {
    let Some(stage) = Stage::new() else { return };
    let broken = stage.site.path("reload-is-broken");
    std::fs::write(&broken, "").unwrap();
    let reload = format!("test ! -e {} && {}", broken.display(), stage.nginx.reload()[2]);
    let config = stage.config_with_reload(&["sh", "-c", &reload]);
    stage.site.write(&config.certificate("h.example", "service = \"ng\""));
    stage.nginx.serve(&stage.site, &["h.example"], "");
    let ran = stage.site.expect(3, &["renew"]);
    assert!(ran.out.contains("installed, NOT reloaded (ng)"), "{ran:?}");
    let line = stage.site.status("h.example");
    assert_eq!(line["rungs"]["reloaded"], false, "{line}");
    assert_eq!(line["hooks"][0]["failures"], 1, "{line}");

    // Its time has not come: nothing is tried again.
    stage.site.expect(3, &["renew"]);
    assert_eq!(stage.site.status("h.example")["hooks"][0]["failures"], 1);

    std::fs::remove_file(&broken).unwrap();
    stage.site.expect(0, &["deploy"]);
    assert!(stage.shows("h.example"));
    assert_eq!(stage.orders(), 1);
    assert_eq!(stage.site.run(&["status"]).code, Some(0));
}

#[test]
fn a_reload_that_silently_keeps_the_old_certificate_is_old_and_exit_3() {
    let Some(stage) = Stage::new() else { return };
    stage.wants(&["o.example"]);
    stage.site.expect(0, &["renew"]);
    // From now on the reload says yes and does nothing.
    let config = stage.config_with_reload(&["true"]);
    stage.site.write(&config.certificate("o.example", "service = \"ng\"\nobserve-timeout = \"2s\""));
    let ran = stage.site.expect(3, &["renew", "--force"]);
    assert!(ran.out.contains("NOT observed") && ran.out.contains(" old"), "{ran:?}");
    let line = stage.site.status("o.example");
    assert_eq!(line["endpoints"][0]["sight"], "old", "{line}");
    assert_eq!(line["rungs"]["reloaded"], true, "{line}");
    assert_eq!(line["rungs"]["observed"], false, "{line}");
    assert_ne!(stage.site.run(&["status"]).code, Some(0));
    // Somebody reloads it for real: the next look sees it, and nothing was ordered for it.
    stage.nginx.hang_up();
    assert!(stage.shows("o.example"));
    stage.site.expect(0, &["deploy"]);
    assert_eq!(stage.site.status("o.example")["endpoints"][0]["sight"], "new");
    assert_eq!(stage.orders(), 2);
}

#[test]
fn f17_a_broken_vhost_of_somebody_else_owes_the_reload_and_rolls_nothing_back() {
    let Some(stage) = Stage::new() else { return };
    stage.site.write(&stage.config().certificate("v.example", "service = \"ng\"\nobserve-timeout = \"2s\""));
    stage.nginx.serve(&stage.site, &["v.example"], "");
    stage.site.expect(0, &["renew"]);
    let sane = std::fs::read_to_string(stage.nginx.conf()).unwrap();
    std::fs::write(stage.nginx.conf(), format!("{sane}\nno_such_directive on;\n")).unwrap();
    let ran = stage.site.expect(3, &["renew", "--force"]);
    assert!(ran.out.contains("NOT reloaded"), "{ran:?}");
    let second = served::leaf_of(&stage.site.live("v.example", "cert.pem"));
    assert_eq!(stage.site.generation("v.example"), 2);
    assert_eq!(shown(&stage, "v.example"), ".gen-2", "the new pair stays installed");
    assert!(stage.site.installed("v.example").unwrap()["refused"].is_null());
    std::fs::write(stage.nginx.conf(), sane).unwrap();
    stage.site.expect(0, &["deploy"]);
    assert!(stage.shows("v.example"));
    assert_eq!(served::leaf_of(&stage.site.live("v.example", "cert.pem")), second);
    assert_eq!(stage.orders(), 2);
}

#[test]
fn a_pair_that_the_check_refuses_goes_back_and_is_not_installed_again_before_its_time() {
    let Some(stage) = Stage::new() else { return };
    let marker = stage.site.path("refused-key");
    let key = stage.site.live("w.example", "privkey.pem");
    // Says no to any pair but the one whose digest stands in a file.
    let check = stage.site.script(
        "check",
        &format!(
            "test ! -e {0} || test \"$(sha256sum < {1})\" = \"$(cat {0})\"",
            marker.display(),
            key.display()
        ),
    );
    let config = stage.bare().service("ng", &[&check], &words(&stage.nginx.reload()), &[stage.nginx.https]);
    stage.site.write(&config.certificate("w.example", "service = \"ng\""));
    stage.nginx.serve(&stage.site, &["w.example"], "");
    stage.site.expect(0, &["renew"]);
    let first = served::leaf_of(&stage.site.live("w.example", "cert.pem"));
    let sum =
        std::process::Command::new("sh").arg("-c").arg(format!("sha256sum < {}", key.display())).output();
    std::fs::write(&marker, sum.unwrap().stdout).unwrap();
    refused_and_returned(&stage, "w.example", &first);

    // The check comes to its senses; by hand the pair is tried at once.
    std::fs::remove_file(&marker).unwrap();
    stage.site.expect(0, &["deploy"]);
    assert_eq!(shown(&stage, "w.example"), ".gen-2");
    assert!(stage.shows("w.example"));
    assert_eq!(stage.orders(), 2);
}

#[test]
fn a_key_that_nginx_itself_finds_too_small_goes_back() {
    let Some(stage) = Stage::new() else { return };
    stage.site.write(&stage.config().certificate("s.example", "service = \"ng\"\nkey = \"rsa-3072\""));
    // Level 3 wants 128 bits of security: RSA 3072 has them, RSA 2048 has 112. The leaf alone is
    // served, as Pebble's own intermediate would be too small as well.
    stage.nginx.write(&format!(
        "server {{ listen 127.0.0.1:{} ssl; server_name s.example; ssl_ciphers DEFAULT:@SECLEVEL=3; \
         ssl_certificate {}; ssl_certificate_key {}; }}",
        stage.nginx.https,
        stage.site.text("state/live/s.example/cert.pem"),
        stage.site.text("state/live/s.example/privkey.pem"),
    ));
    let ran = stage.site.run(&["renew"]);
    if !stage.nginx.accepts() {
        println!("SKIPPED: this OpenSSL does not take SECLEVEL=3 with the leaf of this CA: {ran:?}");
        return;
    }
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let first = served::leaf_of(&stage.site.live("s.example", "cert.pem"));
    stage.site.write(&stage.config().certificate("s.example", "service = \"ng\"\nkey = \"rsa-2048\""));
    refused_and_returned(&stage, "s.example", &first);
}

/// A renewal is refused by the service's check, so the pair before it is shown and served.
fn refused_and_returned(stage: &Stage, name: &str, first: &[u8]) {
    stage.site.run(&["renew", "--force"]);
    assert_eq!(shown(stage, name), ".gen-1");
    assert_eq!(served::leaf_of(&stage.site.live(name, "cert.pem")), first);
    assert_eq!(stage.site.generation(name), 2, "the refused generation is kept");
    let line = stage.site.status(name);
    let told = line["notes"].to_string() + &line["advice"].to_string();
    assert!(told.contains("gen 2") || told.contains("generation 2"), "{line}");
    assert_ne!(line["severity"], "ok", "{line}");
    assert_eq!(served::leaf(stage.nginx.https, name).as_deref(), Some(first));
    // The next pass leaves it alone and orders nothing.
    stage.site.run(&["renew"]);
    assert_eq!(shown(stage, name), ".gen-1");
    assert_eq!(stage.orders(), 2);
}

#[test]
fn haproxy_takes_the_combined_pem_by_reload_and_keeps_a_connection_open() {
    let Some(stage) = Stage::new() else { return };
    let name = "hap.example";
    let pem = stage.site.text("hap.pem");
    let first = |reload: &[&str], check: &[&str], port: u16| {
        let config = stage.bare().service("hap", check, reload, &[port]);
        config.certificate(name, &format!("service = \"hap\"\ncombined = {pem:?}"))
    };
    stage.site.write(&first(&["true"], &[], ports::free()));
    stage.site.expect(0, &["renew"]);
    let Some(haproxy) = Haproxy::start(&stage.site, &pem) else { return };
    let (check, reload) = (haproxy.check(), haproxy.reload());
    stage.site.write(&first(&words(&reload), &words(&check), haproxy.https));
    let (mut open, before) = served::connect(haproxy.https, name).unwrap();
    assert!(served::ask(&mut open, name).unwrap().starts_with("HTTP/1.1 200"));

    stage.site.expect(0, &["renew", "--force"]);
    let after = served::leaf_of(Path::new(&pem));
    assert_ne!(before, after);
    assert_eq!(served::leaf(haproxy.https, name), Some(after), "{}", haproxy.log());
    assert_eq!(stage.site.status(name)["standing"], "observed");
    // The connection from before the reload still answers.
    let answer = served::ask(&mut open, name);
    assert!(answer.as_ref().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")), "{answer:?}");
    assert_eq!(served::unfit_combined(&std::fs::read(&pem).unwrap()), None);
}

#[test]
fn f18_five_certificates_renewed_together_share_one_reload() {
    let Some(stage) = Stage::with(&Options { authz_reuse: 100, ..Options::default() }) else { return };
    let counted = stage.site.path("reloads");
    let reload = format!("echo x >> {} && {}", counted.display(), stage.nginx.reload()[2]);
    let names = ["a1.example", "a2.example", "a3.example", "a4.example", "a5.example"];
    let config = stage.config_with_reload(&["sh", "-c", &reload]);
    let config = names.iter().fold(config, |config, name| config.certificate(name, "service = \"ng\""));
    stage.site.write(&config);
    stage.nginx.serve(&stage.site, &names, "");
    stage.site.expect(0, &["renew"]);
    assert_eq!(stage.orders(), 5);
    assert_eq!(std::fs::read_to_string(&counted).unwrap().lines().count(), 1, "reloads");
    for name in names {
        assert!(stage.shows(name), "{name}");
    }
}

/// The generation directory that the live link points to.
fn shown(stage: &Stage, name: &str) -> String {
    std::fs::read_link(stage.site.live(name, ".current")).unwrap().to_str().unwrap().to_owned()
}
