//! Certificates by dns-01, from pebble that asks a real bind9, observed on nginx.

use std::time::Duration;

use crate::stage::{Stage, words};
use crate::support::agent::Site;
use crate::support::bind::NameServer;
use crate::support::config::Config;
use crate::support::nginx::Nginx;
use crate::support::pebble::Options;
#[cfg(feature = "dns-providers")]
use crate::support::powerdns::{self, PowerDns};
use crate::support::{ports, served};

const APEX: &str = "_acme-challenge.example.test";

/// pebble, nginx and the program around a name server.
struct Scene {
    // Dropped before the directory it lives in.
    dns: NameServer,
    stage: Stage,
}

impl Scene {
    fn new() -> Option<Self> {
        let site = Site::new();
        let dns = NameServer::bind(&site.path("bind"))?;
        let options = Options { dns_port: Some(dns.port), ..Options::default() };
        let pebble = crate::stage::pebble(&options)?;
        let nginx = Nginx::start(&site, ports::free())?;
        Some(Self { stage: Stage { nginx, pebble, site }, dns })
    }

    /// Lines of a solver that changes the name server by signed updates.
    fn updates(&self) -> String {
        format!(
            "provider = \"rfc2136\"\nserver = {:?}\ntsig-key-file = {:?}\n{}",
            self.dns.address(),
            self.dns.key_path(),
            self.asks()
        )
    }

    /// Where the test's DNS is.
    fn asks(&self) -> String {
        format!("resolvers = [{:?}]\ncheck-port = {}", self.dns.address(), self.dns.port)
    }

    fn config(&self) -> Config {
        let Stage { nginx, pebble, site } = &self.stage;
        let (check, reload) = (nginx.check(), nginx.reload());
        site.config().pebble(pebble, &site.root()).service(
            "ng",
            &words(&check),
            &words(&reload),
            &[nginx.https],
        )
    }

    fn serve(&self, config: &Config, names: &[&str]) {
        self.stage.site.write(config);
        self.stage.nginx.serve(&self.stage.site, names, "");
    }
}

#[test]
fn apex_and_wildcard_in_one_certificate_are_issued_and_observed() {
    let Some(scene) = Scene::new() else { return };
    let config = scene
        .config()
        .text(&format!("[solver.way]\n{}", scene.updates()))
        .certificate("example.test", "names = [\"example.test\", \"*.example.test\"]\nservice = \"ng\"");
    scene.serve(&config, &["example.test"]);
    scene.dns.nsupdate("example.test", &format!("update add {APEX} 60 TXT theirs"));
    let ran = scene.stage.site.expect(0, &["renew"]);
    assert!(ran.out.contains("installed, reloaded, observed"), "{ran:?}");
    assert!(scene.stage.shows("example.test"));
    let names = served::leaf_of(&scene.stage.site.live("example.test", "cert.pem"));
    assert_eq!(served::leaf(scene.stage.nginx.https, "example.test"), Some(names));
    assert_eq!(scene.dns.texts(APEX), ["theirs"], "ours are gone, the other's stands");
    let explained = scene.stage.site.expect(0, &["explain", "example.test"]).out;
    for words in [
        format!("example.test at {APEX}, looked for"),
        format!("*.example.test at {APEX}, looked for"),
        "ns1.example.test (127.0.0.1) shows it".to_owned(),
    ] {
        assert!(explained.contains(&words), "{words:?} is not in\n{explained}");
    }
}

#[test]
fn f34_a_resolver_of_seen_by_that_lags_is_told_and_holds_nothing_up_for_ever() {
    let Some(scene) = Scene::new() else { return };
    // It has an `example.test` of its own, where nothing changes.
    let Some(inside) = NameServer::bind(&scene.stage.site.path("inside")) else { return };
    let more = format!("seen-by = [{:?}]\npropagation = \"2s\"", inside.address());
    let config = scene
        .config()
        .text(&format!("[solver.way]\n{}\n{more}", scene.updates()))
        .certificate("example.test", "service = \"ng\"");
    scene.serve(&config, &["example.test"]);
    scene.stage.site.expect(0, &["renew"]);
    let explained = scene.stage.site.expect(0, &["explain", "example.test"]).out;
    for words in ["ns1.example.test (127.0.0.1) shows it", "  127.0.0.1 has nothing there"] {
        assert!(explained.contains(words), "{words:?} is not in\n{explained}");
    }
}

/// The name server is asked for a change over HTTP, and by the CA for what came of it.
#[cfg(feature = "dns-providers")]
#[test]
fn a_vendors_interface_serves_apex_and_wildcard_and_a_wrong_key_is_said() {
    let site = Site::new();
    let Some(dns) = PowerDns::start(&site.path("pdns")) else { return };
    let Some(pebble) = crate::stage::pebble(&Options { dns_port: Some(dns.port), ..Options::default() })
    else {
        return;
    };
    dns.set_texts(APEX, &["theirs"]);
    let key = site.path("powerdns.key");
    let solver = format!(
        "[solver.way]\nprovider = \"powerdns\"\nurl = {:?}\napi-key-file = {key:?}\n\
         resolvers = [\"127.0.0.1:{port}\"]\ncheck-port = {port}\n",
        dns.url(),
        port = dns.port,
    );
    let config = site.config().pebble(&pebble, &site.root()).text(&solver);
    site.write(&config.certificate("example.test", "names = [\"example.test\", \"*.example.test\"]"));

    std::fs::write(&key, "not-the-key\n").unwrap();
    let ran = site.expect(1, &["renew"]);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(said.contains("PowerDNS Authoritative Server refuses the credentials"), "{said}");
    assert!(!said.contains("not-the-key"), "a secret is shown: {said}");

    std::fs::write(&key, format!("{}\n", powerdns::API_KEY)).unwrap();
    let ran = site.expect(0, &["renew", "--force", "example.test"]);
    assert!(!format!("{}{}", ran.out, ran.err).contains(powerdns::API_KEY), "a secret is shown: {ran:?}");
    assert!(site.live("example.test", "cert.pem").exists());
    assert_eq!(dns.texts(APEX), ["theirs"], "ours are gone, the other's stands");
}

#[test]
fn an_aliased_name_is_proved_in_the_other_zone() {
    let Some(scene) = Scene::new() else { return };
    let config = scene
        .config()
        .text(&format!("[solver.way]\n{}", scene.updates()))
        .certificate("alias.example.test", "service = \"ng\"");
    scene.serve(&config, &["alias.example.test"]);
    scene.stage.site.expect(0, &["renew"]);
    assert!(scene.stage.shows("alias.example.test"));
    assert!(scene.dns.texts("alias.acme.test").is_empty());
    assert!(scene.dns.log().contains("alias.acme.test"), "the other zone was changed");
}

#[test]
fn f37_the_next_solver_proves_what_the_first_could_not_set() {
    let Some(scene) = Scene::new() else { return };
    // A webroot that is not there: known from here, before the CA is told.
    let config = scene
        .config()
        .text("[solver.way]\nwebroot = \"/nonexistent/www\"")
        .text(&format!("[solver.dns]\n{}", scene.updates()))
        .certificate("a.example.test", "solver = [\"way\", \"dns\"]\nservice = \"ng\"");
    scene.serve(&config, &["a.example.test"]);
    scene.stage.site.expect(0, &["renew"]);
    assert!(scene.stage.shows("a.example.test"));
    assert_eq!(scene.stage.orders(), 1, "no second order for it");
}

#[test]
fn f37_what_the_ca_refused_by_one_solver_is_proved_by_the_next_at_the_next_attempt() {
    let Some(scene) = Scene::new() else { return };
    // Seen from here, and not at the port where the CA looks.
    let elsewhere = ports::free();
    let config = scene
        .config()
        .listener(elsewhere)
        .text(&format!("[solver.dns]\n{}", scene.updates()))
        .certificate("a.example.test", "solver = [\"way\", \"dns\"]\nservice = \"ng\"");
    scene.serve(&config, &["a.example.test"]);
    scene.stage.site.expect(1, &["renew"]);
    let record = scene.stage.site.record("a.example.test").unwrap();
    assert!(record.to_string().contains("\"misses\""), "{record}");
    scene.stage.site.expect(0, &["renew", "--force", "a.example.test"]);
    assert!(scene.stage.shows("a.example.test"));
    assert!(scene.dns.log().contains("_acme-challenge.a.example.test"), "by DNS");
}

#[test]
fn solvers_are_chosen_by_name() {
    let Some(scene) = Scene::new() else { return };
    let port = scene.stage.pebble.http_port();
    let config = scene
        .config()
        .text(&format!("[solver.dns]\nnames = [\"*.inner.example.test\"]\n{}", scene.updates()))
        .listener(port)
        .certificate(
            "a.example.test",
            "names = [\"a.example.test\", \"*.inner.example.test\"]\nsolver = [\"dns\", \"way\"]\nservice = \"ng\"",
        );
    scene.serve(&config, &["a.example.test"]);
    scene.stage.site.expect(0, &["renew"]);
    assert!(scene.stage.shows("a.example.test"));
    let log = scene.dns.log();
    assert!(log.contains("_acme-challenge.inner.example.test"), "the wildcard by DNS");
    assert!(!log.contains("adding an RR at '_acme-challenge.a.example.test'"), "the other by its listener");
}

#[test]
fn f30_what_a_killed_agent_left_in_dns_is_swept_and_nothing_else() {
    let Some(mut scene) = Scene::new() else { return };
    // Seen nowhere, so the agent waits for propagation, and is killed while it does.
    let nobody = ports::free();
    let lines = format!("authoritative = [\"127.0.0.1:{nobody}\"]\npropagation = \"1m\"");
    let config = |more: &str| {
        scene
            .config()
            .text(&format!("[solver.way]\n{}\n{more}", scene.updates()))
            .certificate("example.test", "names = [\"*.example.test\"]\nservice = \"ng\"")
    };
    let (waiting, free) = (config(&lines), config(""));
    scene.serve(&waiting, &["example.test"]);
    scene.dns.nsupdate("example.test", &format!("update add {APEX} 60 TXT theirs"));
    let running = scene.stage.site.start(&["renew"]);
    let set = ports::wait_for(Duration::from_secs(60), || scene.dns.texts(APEX).len() == 2);
    running.kill();
    assert!(set, "the text was never set:\n{}", scene.dns.log());
    assert_eq!(scene.dns.texts(APEX).len(), 2, "nobody took it away");
    scene.stage.site.write(&free);
    scene.stage.site.expect(0, &["renew"]);
    assert!(scene.stage.shows("example.test"));
    assert_eq!(scene.dns.texts(APEX), ["theirs"]);
    scene.stage.site.secrets.push(crate::support::bind::SECRET.to_owned());
}
