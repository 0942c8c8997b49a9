//! Certificates by texts that the program tells by itself: a real resolver follows a real delegation to it.

use std::time::Duration;

use crate::stage::{Stage, words};
use crate::support::agent::Site;
use crate::support::config::Config;
use crate::support::delegation::{Delegation, dig};
use crate::support::nginx::Nginx;
use crate::support::pebble::Options;
use crate::support::ports::{self, wait_for};

struct Scene {
    dns: Delegation,
    stage: Stage,
}

impl Scene {
    fn new() -> Option<Self> {
        let site = Site::new();
        let dns = Delegation::start(&site.path("dns"))?;
        let options = Options { dns_port: Some(dns.resolver), ..Options::default() };
        let pebble = crate::stage::pebble(&options)?;
        let nginx = Nginx::start(&site, ports::free())?;
        Some(Self { stage: Stage { nginx, pebble, site }, dns })
    }

    fn config(&self, more: &str) -> Config {
        let Stage { nginx, pebble, site } = &self.stage;
        let (check, reload) = (nginx.check(), nginx.reload());
        let (ours, resolver) = (self.dns.ours, self.dns.resolver);
        site.config()
            .pebble(pebble, &site.root())
            .service("ng", &words(&check), &words(&reload), &[nginx.https])
            .text(&format!(
                "[solver.way]\nprovider = \"self\"\ndns-listen = [\"{ours}:53\"]\n\
                 zones = [\"_acme-challenge.example.test\", \"acme.test\"]\nname-server = \"ns.host.test\"\n\
                 resolvers = [\"127.0.0.1:{resolver}\"]\npropagation = \"20s\"\n{more}"
            ))
    }

    fn serve(&self, config: &Config, names: &[&str]) {
        self.stage.site.write(config);
        self.stage.nginx.serve(&self.stage.site, names, "");
    }
}

const BOTH: &str = "names = [\"example.test\", \"*.example.test\"]\nservice = \"ng\"";

#[test]
fn apex_and_wildcard_are_proved_by_a_delegation_and_an_alias_into_another_one() {
    let Some(scene) = Scene::new() else { return };
    let config = scene
        .config("")
        .certificate("example.test", BOTH)
        .certificate("alias.example.test", "service = \"ng\"");
    scene.serve(&config, &["example.test", "alias.example.test"]);
    let ran = scene.stage.site.expect(0, &["renew"]);
    assert!(ran.out.contains("observed"), "{ran:?}");
    assert!(scene.stage.shows("example.test") && scene.stage.shows("alias.example.test"));
    let left = scene.stage.site.path("state/challenges");
    assert_eq!(std::fs::read_dir(left).map_or(0, Iterator::count), 0, "nothing is left");
    let asked = dig(&["+norecurse", &format!("@{}", scene.dns.ours), "example.test", "SOA"]);
    assert!(asked.contains("refused") || asked.contains("no servers"), "nobody listens afterwards: {asked}");
}

#[test]
fn f09_a_daemon_tells_the_texts_of_a_renewal_in_another_process() {
    let Some(scene) = Scene::new() else { return };
    scene.serve(&scene.config("").certificate("example.test", BOTH), &["example.test"]);
    let daemon = scene.stage.site.daemon();
    assert!(
        wait_for(Duration::from_secs(60), || scene.stage.site.generation("example.test") == 1),
        "{}",
        daemon.log()
    );
    scene.stage.site.expect(0, &["renew", "--force", "example.test"]);
    assert_eq!(scene.stage.site.generation("example.test"), 2);
    assert!(scene.stage.shows("example.test"));
    for resolver in [scene.dns.resolver, scene.dns.second] {
        let ask = |name, kind| Delegation::dig_at(resolver, name, kind);
        assert_eq!(ask("_acme-challenge.example.test", "NS"), ["ns.host.test."], "it still answers");
        assert!(ask("acme.test", "SOA")[0].starts_with("ns.host.test. hostmaster.ns.host.test. 1 "));
    }
}

#[test]
fn an_alias_that_leads_elsewhere_is_told_before_the_ca_is() {
    let Some(scene) = Scene::new() else { return };
    scene.serve(&scene.config("").certificate("stray.example.test", ""), &["stray.example.test"]);
    let ran = scene.stage.site.expect(1, &["renew"]);
    assert!(format!("{ran:?}").contains("dns-not-delegated"), "{ran:?}");
    assert!(format!("{ran:?}").contains("stray.example.test lies in no zone"), "{ran:?}");
}
