//! The Megaphone drill. In May 2022 a certificate that had been bought by hand two years before, and
//! was known to no tool, took a business off the air for nine hours. Here nginx serves such a
//! certificate: it is found, people are told, it is adopted without an order and without a touch to
//! nginx's configuration, and the next renewal needs nobody. In the other ending it has lapsed
//! already, and two commands bring it back. `docs/guide/megaphone.md` tells the same for people.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;
use time::OffsetDateTime;

use crate::stage::Stage;
use crate::support::{ports, served};

const NAME: &str = "megaphone.example";
/// Two years, as CAs sold them.
const LIFE: time::Duration = time::Duration::days(730);
/// From the first command to the sight of the new certificate at the port.
const RECOVERY_MOST: Duration = Duration::from_secs(60);
/// For what happens by itself.
const BY_ITSELF: Duration = Duration::from_secs(90);

struct Drill {
    stage: Stage,
    vhosts: String,
}

impl Drill {
    /// nginx serves a certificate that was bought by hand and has so many days left.
    fn with(days_left: i64) -> Option<Self> {
        let stage = Stage::by_files()?;
        fs::create_dir_all(stage.site.path("host/etc/ssl")).unwrap();
        fs::create_dir_all(stage.site.path("host/etc/nginx")).unwrap();
        let mut drill = Self { stage, vhosts: String::new() };
        drill.buy("shop", days_left);
        let vhost = |root: &str, drill: &Self| {
            format!(
                "server {{ listen 127.0.0.1:{} ssl; server_name {NAME}; ssl_certificate {root}/etc/ssl/shop.pem; \
                 ssl_certificate_key {root}/etc/ssl/shop.key; location / {{ return 200 'on air'; }} }}\n",
                drill.stage.nginx.https
            )
        };
        drill.stage.nginx.write(&vhost(&drill.stage.site.text("host"), &drill));
        drill.stage.nginx.hang_up();
        drill.stage.site.put("host/etc/nginx/nginx.conf", &format!("http {{ {} }}", vhost("", &drill)));
        drill.vhosts = fs::read_to_string(drill.stage.nginx.conf()).unwrap();
        assert!(drill.shows(&drill.file("shop.pem")), "nginx serves what was bought");
        Some(drill)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.stage.site.path("host/etc/ssl").join(name)
    }

    /// A certificate with its key, by a CA that speaks no ACME.
    fn buy(&self, name: &str, days_left: i64) {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "Paper CA");
        let issuer = Issuer::from_params(&ca, &ca_key);
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new([NAME.to_owned()]).unwrap();
        leaf.use_authority_key_identifier_extension = true;
        leaf.not_after = OffsetDateTime::now_utc() + time::Duration::days(days_left);
        leaf.not_before = leaf.not_after - LIFE;
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        fs::write(self.file(&format!("{name}.pem")), leaf.pem()).unwrap();
        let path = self.file(&format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn served(&self) -> Option<Vec<u8>> {
        served::leaf(self.stage.nginx.https, NAME)
    }

    fn shows(&self, file: &std::path::Path) -> bool {
        ports::wait_for(Duration::from_secs(20), || self.served() == Some(served::leaf_of(file)))
    }

    fn untouched(&self) {
        assert_eq!(fs::read_to_string(self.stage.nginx.conf()).unwrap(), self.vhosts, "no vhost was touched");
    }
}

#[test]
fn what_was_bought_by_hand_is_found_told_of_adopted_and_renewed_by_nobody() {
    let Some(drill) = Drill::with(25) else { return };
    let site = &drill.stage.site;
    let told = site.text("told");
    let pager = site.script("pager", &format!("cat >>{told}"));
    // Two more of the same make: one at its beginning, one at its end.
    drill.buy("young", 700);
    drill.buy("old", 5);
    let watches = ["shop", "young", "old"]
        .map(|name| format!("[watch.{name}]\nfiles = [{:?}]\n", drill.file(&format!("{name}.pem"))));
    let config = drill
        .stage
        .config()
        .agent("watch-config = true")
        .text(&format!("[alert.pager]\ntype = \"exec\"\nrun = [{pager:?}]\n"))
        .text(&watches.concat());
    site.write(&config);

    // Found: where it lies, who serves it, and that nobody renews it.
    let (root, port) = (site.text("host"), drill.stage.nginx.https.to_string());
    let ran = site.expect(0, &["discover", "--root", &root, "--port", &port, "--json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let found = report["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .find(|each| each["files"].as_array().unwrap().iter().any(|file| file == "/etc/ssl/shop.pem"))
        .unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(found["names"][0], NAME);
    assert_eq!(found["renewed-by"], Value::Null);
    assert!(matches!(found["days-left"].as_i64(), Some(24 | 25)), "{found:#}");
    assert_eq!(found["used-by"][0]["server"], "nginx");
    assert!(!found["served-at"].as_array().unwrap().is_empty(), "{found:#}");

    // Told: the one at its end gets somebody up, the one with weeks left is a ticket, the young
    // one is nobody's trouble.
    let mut daemon = site.daemon();
    let messages = || -> Vec<Value> {
        let text = fs::read_to_string(&told).unwrap_or_default();
        serde_json::Deserializer::from_str(&text).into_iter().flatten().collect()
    };
    let of = |watch: &str, gravity: &str| {
        messages().iter().any(|message| {
            message["gravity"] == gravity
                && message["subjects"].to_string().contains(&format!("watch/{watch}"))
        })
    };
    let both = ports::wait_for(BY_ITSELF, || of("old", "page") && of("shop", "ticket"));
    assert!(both, "{:#?}\n{}", messages(), daemon.log());
    assert!(!messages().iter().any(|message| message.to_string().contains("watch/young")));

    // Adopted: no order, no vhost, the same leaf at the port.
    let bought = served::leaf_of(&drill.file("shop.pem"));
    assert_eq!(drill.stage.orders(), 0);
    let file = drill.file("shop.pem").display().to_string();
    let plan = site.expect(0, &["adopt", "--from", "files", &file, "--service", "ng"]);
    assert!(plan.out.contains(&format!("adopt {NAME}")), "{plan:?}");
    let orders = drill.stage.orders();
    assert_eq!((orders, drill.served()), (0, Some(bought.clone())), "a plan changes nothing");
    site.expect(0, &["adopt", "--from", "files", &file, "--service", "ng", "--yes"]);

    // Renewed: the running agent takes the entry, finds that less than a third of its life is left,
    // and does the rest. Nobody says anything more.
    let renewed = ports::wait_for(BY_ITSELF, || {
        let lies = served::leaf_of(&drill.file("shop.pem"));
        lies != bought && drill.served() == Some(lies)
    });
    assert!(renewed, "{}", daemon.log());
    assert_eq!(drill.stage.orders(), 1, "one order, for the renewal");
    drill.untouched();
    let observed = ports::wait_for(BY_ITSELF, || site.status(NAME)["rungs"]["observed"] == true);
    assert!(observed, "{}", site.status(NAME));
    daemon.signal("TERM");
    daemon.wait_for_log("stopped");
}

#[test]
fn what_has_lapsed_is_back_within_a_minute_of_the_first_command() {
    let Some(drill) = Drill::with(-1) else { return };
    let site = &drill.stage.site;
    site.write(&drill.stage.config());
    let lapsed = drill.served();
    let file = drill.file("shop.pem").display().to_string();
    let start = Instant::now();
    // What has ended is filed nowhere: adopted, and owed.
    site.expect(3, &["adopt", "--from", "files", &file, "--service", "ng", "--yes"]);
    site.expect(0, &["renew", NAME]);
    let back = ports::wait_for(RECOVERY_MOST, || {
        let lies = served::leaf_of(&drill.file("shop.pem"));
        Some(&lies) != lapsed.as_ref() && drill.served() == Some(lies)
    });
    let took = start.elapsed();
    assert!(back && took < RECOVERY_MOST, "{took:?}");
    assert_eq!(site.status(NAME)["rungs"]["observed"], true);
    drill.untouched();
    println!("from the first command to the new certificate at the port: {took:?}");
}
