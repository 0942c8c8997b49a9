//! dns-persist-01 and dns-account-01, from the tests' own CA that asks real name servers.

use std::time::Duration;

use crate::support::agent::Site;
use crate::support::bind::NameServer;
use crate::support::config::Config;
use crate::support::delegation::Delegation;
use crate::support::ports::wait_for;
use test_ca::{Ca, ChallengeKind, Endpoint, PersistDraft};

const PLACE: &str = "_validation-persist.example.test";

struct Scene {
    dns: NameServer,
    ca: Ca,
    site: Site,
}

impl Scene {
    async fn new(draft: PersistDraft) -> Option<Self> {
        let site = Site::new();
        let dns = NameServer::bind(&site.path("bind"))?;
        let ca = Ca::builder()
            .challenges(&[ChallengeKind::DnsPersist01])
            .persist_draft(draft)
            .caa_identity("ca.test")
            .dns_server(dns.address().parse().unwrap())
            .start()
            .await
            .unwrap();
        let scene = Self { dns, ca, site };
        scene.wants("example.test", "");
        Some(scene)
    }

    fn wants(&self, name: &str, lines: &str) {
        let resolver = self.dns.address();
        let config = base(&self.site, &self.ca)
            .text(&format!(
                "[solver.way]\ntype = \"dns-persist-01\"\nresolvers = [{resolver:?}]\ncheck-port = {}",
                self.dns.port
            ))
            .certificate(name, lines);
        self.site.write(&config);
    }

    /// Sets what the program tells to set, whole lines of a zone file.
    fn set(&self, line: &str) {
        let (name, data) = line.split_once(" IN TXT ").unwrap();
        self.dns.nsupdate("example.test", &format!("update add {name} 60 TXT {data}"));
    }

    fn unset(&self) {
        self.dns.nsupdate("example.test", &format!("update delete {PLACE} TXT"));
    }
}

fn base(site: &Site, ca: &Ca) -> Config {
    site.put("ca-root.pem", ca.api_root_pem());
    site.config()
        .issuer("test", &ca.directory_url(), &site.path("ca-root.pem"))
        .text("[defaults]\nissuer = \"test\"\nsolver = \"way\"")
}

/// The first line of a zone file in an output.
fn line_of(text: &str) -> String {
    text.lines().find(|line| line.contains(" IN TXT ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_that_is_told_proves_the_name_in_the_shape_of_each_draft() {
    for draft in [PersistDraft::Zero, PersistDraft::One, PersistDraft::Two] {
        let Some(scene) = Scene::new(draft).await else { return };
        let told = scene.site.expect(1, &["dns-persist", "example.test"]);
        assert!(told.out.contains("does not stand [persist-missing]"), "{draft:?} {told:?}");
        let line = line_of(&told.out);
        assert!(line.starts_with(&format!("{PLACE}. IN TXT \"ca.test; accounturi=")), "{line}");
        assert_eq!(line.contains("sha-256/"), draft == PersistDraft::Two, "{line}");
        assert!(!line.contains("policy"), "never of itself: {line}");
        // The CA may see what can't be seen from here, so it is asked; what it says comes with what we saw.
        let early = scene.site.expect(1, &["renew"]);
        assert!(format!("{early:?}").contains("the text for dns-persist-01 is missing; set"), "{early:?}");
        scene.set(&line);
        let told = scene.site.expect(0, &["dns-persist", "example.test"]);
        assert!(told.out.contains("→ stands, without an end"), "{told:?}");
        scene.site.expect(0, &["renew", "--force"]);
        assert_eq!(scene.site.generation("example.test"), 1, "{draft:?}");
        assert_eq!(scene.dns.texts(PLACE).len(), 1, "the text is the operator's, and stays");
    }
}

/// The CA may see what can't be seen from here, so it is asked in the end; what it says comes with what we saw.
#[tokio::test(flavor = "multi_thread")]
async fn f35_an_order_waits_once_for_a_text_that_nobody_seems_to_have_set() {
    let Some(scene) = Scene::new(PersistDraft::One).await else { return };
    let said = || (scene.ca.count(Endpoint::NewOrder), scene.ca.count(Endpoint::Challenge));
    let until = |words: &str| {
        let daemon = scene.site.daemon();
        let heard = wait_for(Duration::from_secs(60), || daemon.log().contains(words));
        assert!(heard, "{}", daemon.log());
    };
    until("persist-absent");
    assert_eq!(said(), (1, 0));
    let second = format!("{:?}", scene.site.expect(1, &["renew", "example.test"]));
    assert!(second.contains("the text for dns-persist-01 is missing; set"), "{second}");
    assert_eq!(said(), (1, 1), "the order that waited is gone on with");
    // A command does not wait at all.
    for (name, verb) in [("hand.example.test", "renew"), ("once.example.test", "once")] {
        scene.wants(name, "");
        scene.site.expect(1, &[verb]);
    }
    assert_eq!(said(), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_needs_a_text_that_says_so() {
    let Some(scene) = Scene::new(PersistDraft::One).await else { return };
    let apex = line_of(&scene.site.expect(1, &["dns-persist", "example.test"]).out);
    scene.set(&apex);
    scene.wants("star", "names = [\"example.test\", \"*.example.test\"]");
    let told = scene.site.expect(1, &["dns-persist", "star"]);
    assert!(told.out.contains("[persist-wildcard]") && told.out.contains("every name below"), "{told:?}");
    let line = line_of(&told.out);
    assert!(line.contains("; policy=wildcard"), "{line}");
    let ran = scene.site.expect(1, &["renew", "star"]);
    assert!(format!("{ran:?}").contains("persist-wildcard"), "{ran:?}");
    scene.unset();
    scene.set(&line);
    scene.site.expect(0, &["renew", "--force", "star"]);
    assert_eq!(scene.site.generation("star"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_ends_or_is_anothers_is_told_apart() {
    let Some(scene) = Scene::new(PersistDraft::One).await else { return };
    let told = scene.site.expect(1, &["dns-persist", "example.test", "--until", "2020-01-01"]);
    let line = line_of(&told.out);
    assert!(line.contains("; persistUntil=1577836800"), "{line}");
    for (what, line, code) in [
        ("ended", line.clone(), "persist-ended"),
        ("another account's", line.replace("/account/", "/account/x"), "persist-account"),
        ("hostile", format!("{PLACE}. IN TXT \"\\027[31mca.test; accounturi=a\\010b\""), "persist-missing"),
    ] {
        scene.unset();
        scene.set(&line);
        let told = scene.site.expect(1, &["dns-persist", "example.test"]);
        assert!(told.out.contains(&format!("[{code}]")), "{what}: {told:?}");
        assert!(!told.out.contains('\u{1b}'), "{what}: {told:?}");
    }
    let far = scene.site.expect(1, &["dns-persist", "example.test", "--until", "2100-01-01"]);
    scene.unset();
    scene.set(&line_of(&far.out));
    let told = scene.site.expect(0, &["dns-persist", "example.test"]);
    assert!(told.out.contains("→ stands until "), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_comes_near_is_told_by_status_and_explain() {
    let Some(scene) = Scene::new(PersistDraft::Two).await else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let told = scene.site.expect(1, &["dns-persist", "example.test"]);
    let line = line_of(&told.out);
    // In twenty days, and three weeks before the certificate.
    let ends =
        line.strip_suffix('"').map(|line| format!("{line}; persistUntil={}\"", now + 20 * 86_400)).unwrap();
    scene.set(&ends);
    scene.site.expect(0, &["renew"]);
    let status = scene.site.run(&["status", "--all"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.out.contains("nolapse dns-persist example.test  prints  [persist-ends]"), "{status:?}");
    let explained = scene.site.run(&["explain", "example.test"]);
    assert!(
        explained.out.contains("persist the text that proves example.test (dns-persist-01) ends "),
        "{explained:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_account_has_a_place_of_its_own_for_dns_account_01() {
    let site = Site::new();
    let Some(dns) = Delegation::start(&site.path("dns")) else { return };
    let ca = Ca::builder()
        .challenges(&[ChallengeKind::DnsAccount01])
        .dns_server(([127, 0, 0, 1], dns.resolver).into())
        .start()
        .await
        .unwrap();
    let config = base(&site, &ca)
        .text(&format!(
            "[solver.way]\ntype = \"dns-account-01\"\nprovider = \"self\"\ndns-listen = [\"{}:53\"]\n\
             zones = [\"_acme-challenge.example.test\"]\nname-server = \"ns.host.test\"\n\
             resolvers = [\"127.0.0.1:{}\"]\npropagation = \"20s\"",
            dns.ours, dns.resolver
        ))
        .certificate("example.test", "names = [\"example.test\", \"*.example.test\"]");
    site.write(&config);
    site.expect(0, &["renew"]);
    assert_eq!(site.generation("example.test"), 1);
}
