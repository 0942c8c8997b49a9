//! What Debian's certbot, lego, dehydrated and Caddy issued from a real CA is taken over: the same
//! leaf on disk and at the port, no order, no touch to nginx's configuration, and the next renewal
//! is ours, by the same account where its key can be used. acme.sh and acmetool, which can't be run
//! here, are met by trees in their documented form around a certificate that was really issued.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::stage::{Stage, pebble};
use crate::support::agent::Ran;
use crate::support::nginx::installed;
use crate::support::pebble::Options;
use crate::support::{ports, served};

const NAME: &str = "a.example";
const OTHER: &str = "www.a.example";

/// A CA, an nginx at its port for challenges, and a configuration without certificates.
struct House {
    stage: Stage,
    /// nginx's configuration as it was when the other tool's files were served.
    vhosts: String,
}

/// A tool with its package; says so where it is missing.
pub fn has(tool: &str, package: &str) -> bool {
    let there = installed(tool);
    if !there {
        println!("SKIPPED: {tool} is not installed (Debian: apt install {package})");
    }
    there
}

impl House {
    fn new(tool: &str, package: &str) -> Option<Self> {
        if !has(tool, package) {
            return None;
        }
        let stage = Stage::by_files()?;
        stage.site.write(&stage.config());
        Some(Self { stage, vhosts: String::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.site.path(name)
    }

    fn text(&self, name: &str) -> String {
        self.stage.site.text(name)
    }

    fn tool(&self, command: &mut Command) -> Output {
        let root = self.stage.site.root();
        let output = command
            .current_dir(self.path("."))
            .env("REQUESTS_CA_BUNDLE", &root)
            .env("LEGO_CA_CERTIFICATES", &root)
            .env("SSL_CERT_FILE", &root)
            .output()
            .unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{command:?}\n{}\n{}", said(&output.stdout), said(&output.stderr));
        output
    }

    /// nginx serves these files.
    fn serve(&mut self, chain: &str, key: &str) {
        let servers = format!(
            "server {{ listen 127.0.0.1:{} ssl; server_name {NAME} {OTHER}; ssl_certificate {}; \
             ssl_certificate_key {}; location / {{ return 200 'ok'; }} }}",
            self.stage.nginx.https,
            self.text(chain),
            self.text(key),
        );
        self.stage.nginx.write(&servers);
        self.stage.nginx.hang_up();
        let file = self.path(chain);
        assert!(self.shows(&file), "nginx does not serve what the tool issued");
        self.vhosts = fs::read_to_string(self.stage.nginx.conf()).unwrap();
    }

    fn shows(&self, file: &Path) -> bool {
        ports::wait_for(Duration::from_secs(20), || {
            served::leaf(self.stage.nginx.https, NAME) == Some(served::leaf_of(file))
        })
    }

    fn accounts(&self) -> usize {
        self.stage.pebble.count("POST", "/sign-me-up")
    }

    /// Takes it over by these arguments and proves all that was promised; then renews it.
    fn taken_over(&self, arguments: &[&str], chain: &str, key: &str, same_account: bool) -> Ran {
        let site = &self.stage.site;
        let (orders, accounts) = (self.stage.orders(), self.accounts());
        let leaf = served::leaf_of(&self.path(chain));
        let plan = site.expect(0, &[&["adopt"], arguments].concat());
        assert!(
            plan.out.contains("adopt a.example") && plan.out.contains("[certificate.\"a.example\"]"),
            "{plan:?}"
        );
        assert!(!site.path("conf/conf.d").exists() && site.generation(NAME) == 0, "a plan changes nothing");

        let ran = site.expect(0, &[&["adopt"], arguments, &["--yes"]].concat());
        assert_eq!(self.stage.orders(), orders, "no order at adoption");
        assert_eq!(self.accounts(), accounts, "no account at adoption");
        assert_eq!(site.generation(NAME), 1);
        assert_eq!(served::leaf_of(&self.path(chain)), leaf, "the same leaf at its old place");
        assert_eq!(served::leaf_of(&site.live(NAME, "cert.pem")), leaf, "and at ours");
        assert!(self.shows(&site.live(NAME, "cert.pem")), "and at nginx's port");
        let status = site.status(NAME);
        assert_eq!(status["rungs"]["observed"], true, "{status}");
        site.expect(0, &["check", "--offline"]);
        let again = site.expect(0, &[&["adopt"], arguments, &["--yes"]].concat());
        assert!(again.out.contains("already adopted"), "{again:?}");

        site.expect(0, &["renew"]);
        assert_eq!(self.stage.orders(), orders, "it is not due");
        site.expect(0, &["renew", "--force", NAME]);
        assert_eq!(self.stage.orders(), orders + 1);
        assert_eq!(self.accounts() == accounts, same_account, "{} accounts were asked for", self.accounts());
        assert_ne!(served::leaf_of(&self.path(chain)), leaf);
        assert_eq!(fs::read(self.path(chain)).unwrap(), fs::read(site.live(NAME, "fullchain.pem")).unwrap());
        assert_eq!(fs::read(self.path(key)).unwrap(), fs::read(site.live(NAME, "privkey.pem")).unwrap());
        assert!(self.shows(&self.path(chain)), "nginx serves the renewed one from the old place");
        assert_eq!(fs::read_to_string(self.stage.nginx.conf()).unwrap(), self.vhosts, "no vhost was touched");
        ran
    }

    fn certbot(&self, arguments: &[&str]) -> Output {
        certbot(&self.stage, arguments)
    }

    fn lego(&self) {
        let directory = self.stage.pebble.directory();
        let www = self.text("www");
        self.tool(Command::new("lego").args(["--path", "lg", "--server", &directory]).args([
            "--email",
            "a@a.example",
            "--accept-tos",
            "--http",
            "--http.webroot",
            &www,
            "-d",
            NAME,
            "-d",
            OTHER,
            "run",
        ]));
    }
}

/// Debian's certbot, with its directories in the site.
pub fn certbot(stage: &Stage, arguments: &[&str]) -> Output {
    let site = &stage.site;
    Command::new("certbot")
        .args(arguments)
        .args([
            "--config-dir",
            &site.text("cb"),
            "--work-dir",
            &site.text("cbw"),
            "--logs-dir",
            &site.text("cbl"),
        ])
        .env("REQUESTS_CA_BUNDLE", site.root())
        .current_dir(site.path("."))
        .output()
        .unwrap()
}

#[test]
fn certbots_tree_is_taken_over_with_its_hooks() {
    let Some(mut house) = House::new("certbot", "certbot") else { return };
    let hook =
        house.stage.site.script("deployed", &format!("echo \"$RENEWED_LINEAGE\" >>{}", house.text("told")));
    let (directory, www) = (house.stage.pebble.directory(), house.text("www"));
    let issued = house.certbot(&[
        "certonly",
        "--webroot",
        "-w",
        &www,
        "-d",
        NAME,
        "-d",
        OTHER,
        "--server",
        &directory,
        "--agree-tos",
        "--register-unsafely-without-email",
        "-n",
        "--deploy-hook",
        &hook,
    ]);
    assert!(issued.status.success(), "{issued:?}");
    house.serve("cb/live/a.example/fullchain.pem", "cb/live/a.example/privkey.pem");
    let told_before = fs::read_to_string(house.path("told")).unwrap_or_default();
    let ran = house.taken_over(
        &["--from", "certbot", &house.text("cb"), "--service", "ng", "--disable-source"],
        "cb/live/a.example/fullchain.pem",
        "cb/live/a.example/privkey.pem",
        // Its key is RSA.
        true,
    );
    assert!(ran.out.contains("account   taken over") || ran.out.contains("is taken over"), "{ran:?}");
    assert!(
        house.path("cb/renewal/a.example.conf.nolapse").exists()
            && !house.path("cb/renewal/a.example.conf").exists()
    );
    let told = fs::read_to_string(house.path("told")).unwrap();
    let ours = told.strip_prefix(&told_before).unwrap();
    assert_eq!(ours.lines().count(), 1, "told of the renewal, not of the adoption: {told}");
    let mode = |path: &str| fs::metadata(house.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("cb/live/a.example/privkey.pem"), 0o600);
}

#[test]
fn legos_files_are_taken_over_with_its_account() {
    let Some(mut house) = House::new("lego", "lego") else { return };
    house.lego();
    let (chain, key) = ("lg/certificates/a.example.crt", "lg/certificates/a.example.key");
    house.serve(chain, key);
    house.taken_over(&["--from", "lego", &house.text("lg"), "--service", "ng"], chain, key, true);
}

#[test]
fn dehydrateds_files_are_taken_over() {
    let Some(mut house) = House::new("dehydrated", "dehydrated") else { return };
    let well_known = house.path("www/.well-known/acme-challenge");
    fs::create_dir_all(&well_known).unwrap();
    fs::create_dir(house.path("dh")).unwrap();
    house.stage.site.put(
        "dh/config",
        &format!(
            "CA=\"{}\"\nBASEDIR={}\nWELLKNOWN=\"{}\"\nCURL_OPTS=\"--cacert {}\"\n",
            house.stage.pebble.directory(),
            house.text("dh"),
            well_known.display(),
            house.stage.site.root().display(),
        ),
    );
    house.stage.site.put("dh/domains.txt", &format!("{NAME} {OTHER}\n"));
    let config = house.text("dh/config");
    house.tool(Command::new("dehydrated").args(["--config", &config, "--register", "--accept-terms"]));
    house.tool(Command::new("dehydrated").args(["--config", &config, "--cron"]));
    let (chain, key) = ("dh/certs/a.example/fullchain.pem", "dh/certs/a.example/privkey.pem");
    house.serve(chain, key);
    // Its account has an RSA key.
    house.taken_over(&["--from", "dehydrated", &house.text("dh"), "--service", "ng"], chain, key, true);
}

#[test]
fn caddys_storage_is_taken_over_with_its_account() {
    let Some(mut house) = House::new("caddy", "caddy") else { return };
    // Caddy answers at the CA's port itself, so nginx stands elsewhere until it has done so.
    let Some(ca) = pebble(&Options::default()) else { return };
    let storage = house.text("store");
    house.stage.site.put("caddy-root.pem", &ca.api_root());
    house.stage.site.put("Caddyfile", &format!(
        "{{\n storage file_system {storage}\n http_port {}\n https_port {}\n admin off\n}}\nhttps://{NAME} {{\n tls {{\n \
         issuer acme {{\n dir {}\n email a@a.example\n trusted_roots {}\n disable_tlsalpn_challenge\n }}\n }}\n \
         respond hi\n}}\n",
        ca.http_port(),
        ports::free(),
        ca.directory(),
        house.text("caddy-root.pem"),
    ));
    let mut caddy = Command::new("caddy")
        .args(["run", "--config", &house.text("Caddyfile"), "--adapter", "caddyfile"])
        .env("HOME", house.path("."))
        .stdout(fs::File::create(house.path("caddy.out")).unwrap())
        .stderr(fs::File::create(house.path("caddy.err")).unwrap())
        .spawn()
        .unwrap();
    let folder =
        format!("store/certificates/{}", ca.directory()["https://".len()..].replace([':', '/'], "-"));
    let (chain, key) = (format!("{folder}/{NAME}/{NAME}.crt"), format!("{folder}/{NAME}/{NAME}.key"));
    let issued =
        ports::wait_for(Duration::from_secs(60), || house.path(&key).exists() && house.path(&chain).exists());
    caddy.kill().unwrap();
    caddy.wait().unwrap();
    assert!(issued, "{}", fs::read_to_string(house.path("caddy.err")).unwrap());
    house.stage.pebble = ca;
    house.stage.site.write(&house.stage.config());
    house.serve(&chain, &key);
    house.taken_over(&["--from", "caddy", &storage, "--service", "ng"], &chain, &key, true);
}

#[test]
fn acme_shs_tree_is_taken_over_where_it_installed_to() {
    let Some(mut house) = House::new("lego", "lego") else { return };
    house.lego();
    let directory = house.stage.pebble.directory();
    let home = house.path("acmesh/a.example_ecc");
    let ca = house.path("acmesh/ca").join(&directory["https://".len()..]);
    for dir in [&home, &ca, &house.path("ssl")] {
        fs::create_dir_all(dir).unwrap();
    }
    let lego = |file: &str| house.path("lg/certificates").join(file);
    for (from, to) in [("a.example.crt", "fullchain.cer"), ("a.example.key", "a.example.key")] {
        fs::copy(lego(from), home.join(to)).unwrap();
    }
    fs::copy(lego("a.example.crt"), house.path("ssl/a.pem")).unwrap();
    fs::copy(lego("a.example.key"), house.path("ssl/a.key")).unwrap();
    let account = house
        .path("lg/accounts")
        .join(directory["https://".len()..].split('/').next().unwrap().replace(':', "_"));
    let account = account.join("a@a.example");
    fs::copy(account.join("keys/a@a.example.key"), ca.join("account.key")).unwrap();
    let note: serde_json::Value =
        serde_json::from_slice(&fs::read(account.join("account.json")).unwrap()).unwrap();
    fs::write(
        ca.join("ca.conf"),
        format!("ACCOUNT_URL='{}'\n", note["registration"]["uri"].as_str().unwrap()),
    )
    .unwrap();
    // `touch` what was told, encoded as acme.sh does.
    let script = house.stage.site.script("reload", &format!("echo x >>{}", house.text("told")));
    let encoded = base64(&script);
    fs::write(home.join("a.example.conf"), format!(
        "Le_Domain='{NAME}'\nLe_Alt='{OTHER}'\nLe_Webroot='{}'\nLe_API='{directory}'\nLe_Keylength='ec-256'\n\
         Le_RealKeyPath='{}'\nLe_RealFullChainPath='{}'\nLe_ReloadCmd='__ACME_BASE64__START_{encoded}__ACME_BASE64__END_'\n",
        house.text("www"), house.text("ssl/a.key"), house.text("ssl/a.pem"),
    )).unwrap();
    house.serve("ssl/a.pem", "ssl/a.key");
    house.taken_over(
        &["--from", "acme.sh", &house.text("acmesh"), "--service", "ng"],
        "ssl/a.pem",
        "ssl/a.key",
        true,
    );
    assert_eq!(
        fs::read_to_string(house.path("told")).unwrap().lines().count(),
        1,
        "its reload command was run once"
    );
    assert_eq!(
        house.stage.site.record(NAME).unwrap()["current"]["leaf"]["key"],
        key_of(&house.path("lg/certificates/a.example.crt")),
        "acme.sh keeps its key, and so is ours kept"
    );
}

#[test]
fn acmetools_tree_is_taken_over() {
    let Some(mut house) = House::new("lego", "lego") else { return };
    house.lego();
    let (state, id) = (house.path("acme"), "q5fk2n");
    for dir in ["live", "conf", "desired", "keys/k1"] {
        fs::create_dir_all(state.join(dir)).unwrap();
    }
    let certs = state.join("certs").join(id);
    fs::create_dir_all(&certs).unwrap();
    fs::copy(house.path("lg/certificates/a.example.crt"), certs.join("fullchain")).unwrap();
    fs::copy(house.path("lg/certificates/a.example.issuer.crt"), certs.join("chain")).unwrap();
    fs::copy(house.path("lg/certificates/a.example.key"), state.join("keys/k1/privkey")).unwrap();
    symlink("../../keys/k1/privkey", certs.join("privkey")).unwrap();
    fs::write(
        certs.join("url"),
        format!("{}/certZ/1", house.stage.pebble.directory().trim_end_matches("/dir")),
    )
    .unwrap();
    for host in [NAME, OTHER] {
        symlink(format!("../certs/{id}"), state.join("live").join(host)).unwrap();
    }
    fs::write(state.join("conf/target"), format!(
        "request:\n  provider: {}\n  challenge:\n    webroot-paths:\n    - {}/.well-known/acme-challenge\n",
        house.stage.pebble.directory(), house.text("www"),
    )).unwrap();
    house.serve("acme/live/www.a.example/fullchain", "acme/live/www.a.example/privkey");
    house.taken_over(
        &["--from", "acmetool", &house.text("acme"), "--service", "ng"],
        "acme/live/a.example/fullchain",
        "acme/live/a.example/privkey",
        false,
    );
}

fn base64(path: &str) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(path)
}

fn key_of(path: &Path) -> serde_json::Value {
    let leaf = nolapse::codec::bundle::leaf_of(&fs::read(path).unwrap()).unwrap();
    leaf.key.to_string().into()
}
