//! A certificate goes back to certbot, which renews it as its own; and one that was bought by hand
//! comes to us and is renewed, while nginx's configuration stays as it is byte for byte.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use crate::adopt::{certbot, has};
use crate::stage::Stage;
use crate::support::{ports, served};

const NAME: &str = "a.example";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether certbot would renew it, and then whether it does.
fn certbot_renews(stage: &Stage) {
    let rehearsed = certbot(
        stage,
        &["renew", "--dry-run", "--no-random-sleep-on-renew", "--server", &stage.pebble.directory()],
    );
    assert!(rehearsed.status.success(), "{}", said(&rehearsed));
    assert!(said(&rehearsed).contains("live/a.example/fullchain.pem (success)"), "{}", said(&rehearsed));
    let chain = stage.site.path("cb/live/a.example/fullchain.pem");
    let before = served::leaf_of(&chain);
    let renewed = certbot(stage, &["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    assert!(renewed.status.success(), "{}", said(&renewed));
    assert_ne!(served::leaf_of(&chain), before, "{}", said(&renewed));
}

#[test]
fn what_was_never_certbots_is_given_to_it_with_our_account() {
    if !has("certbot", "certbot") {
        return;
    }
    let Some(stage) = Stage::by_files() else { return };
    let site = &stage.site;
    let config = stage.config().text("[hook.told]\nrun = [\"/bin/sh\", \"-c\", \"true\"]");
    site.write(&config);
    fs::create_dir(site.path("conf/conf.d")).unwrap();
    let entry =
        format!("[certificate.\"{NAME}\"]\nnames = [\"{NAME}\", \"www.{NAME}\"]\nhooks = [\"told\"]\n");
    site.put("conf/conf.d/a.example.toml", &entry);
    site.expect(0, &["renew"]);
    let accounts = stage.pebble.count("POST", "/sign-me-up");
    let leaf = served::leaf_of(&site.live(NAME, "cert.pem"));
    let release = ["release", NAME, "--to", "certbot", "--root", &site.text("cb")];
    let plan = site.expect(0, &release);
    assert!(plan.out.contains("authenticator = webroot") && plan.out.contains("our account"), "{plan:?}");
    assert!(!site.path("cb").exists(), "a plan changes nothing");
    site.expect(0, &[&release[..], &["--yes"]].concat());
    assert_eq!(served::leaf_of(&site.path("cb/live/a.example/fullchain.pem")), leaf);
    assert!(site.path("conf/conf.d/a.example.toml.released").exists());
    assert_eq!(site.status(NAME)["standing"], "retired");
    certbot_renews(&stage);
    assert_eq!(stage.pebble.count("POST", "/sign-me-up"), accounts, "certbot uses the account it was given");
    let orders = stage.orders();
    site.expect(0, &["renew"]);
    assert_eq!(stage.orders(), orders, "we order nothing for it any more");
}

#[test]
fn what_came_from_certbot_goes_back_as_it_came() {
    if !has("certbot", "certbot") {
        return;
    }
    let Some(stage) = Stage::by_files() else { return };
    let site = &stage.site;
    site.write(&stage.config());
    let issued = certbot(
        &stage,
        &[
            "certonly",
            "--webroot",
            "-w",
            &site.text("www"),
            "-d",
            NAME,
            "--server",
            &stage.pebble.directory(),
            "--agree-tos",
            "--register-unsafely-without-email",
            "-n",
        ],
    );
    assert!(issued.status.success(), "{}", said(&issued));
    let conf = fs::read(site.path("cb/renewal/a.example.conf")).unwrap();
    site.expect(0, &["adopt", "--from", "certbot", &site.text("cb"), "--disable-source", "--yes"]);
    site.expect(0, &["renew", "--force", NAME]);
    let leaf = served::leaf_of(&site.live(NAME, "cert.pem"));
    site.expect(0, &["release", NAME, "--to", "certbot", "--yes"]);
    assert_eq!(fs::read(site.path("cb/renewal/a.example.conf")).unwrap(), conf, "its own file is back");
    let live = site.path("cb/live/a.example");
    assert!(live.is_dir() && !live.is_symlink(), "a directory, as certbot makes it");
    assert_eq!(served::leaf_of(&live.join("fullchain.pem")), leaf, "with what we renewed");
    certbot_renews(&stage);
}

#[test]
fn who_takes_no_certificate_leaves_its_files() {
    let Some(stage) = Stage::by_files() else { return };
    let site = &stage.site;
    site.write(&stage.config().certificate("b.example", ""));
    fs::create_dir(site.path("conf/conf.d")).unwrap();
    site.put("conf/conf.d/a.toml", &format!("[certificate.\"{NAME}\"]\n"));
    site.expect(0, &["renew"]);
    let shared = site.run(&["release", "b.example", "--yes"]);
    assert!(shared.err.contains("release-entry-shared"), "{shared:?}");
    site.expect(0, &["release", NAME, "--yes"]);
    assert!(site.live(NAME, "fullchain.pem").exists() && site.path("conf/conf.d/a.toml.released").exists());
    assert_eq!(site.status(NAME)["standing"], "retired");
}

/// A root, an intermediate and a leaf of two years, as a shop would sell them.
fn bought(site: &crate::support::agent::Site, days: u32) {
    let script = format!(
        "set -e; cd {dir}; exec 2>/dev/null\n\
         openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 3650 -subj '/CN=Old Trust Root'\n\
         openssl req -newkey rsa:2048 -nodes -keyout int.key -out int.csr -subj '/CN=Old Trust EV CA'\n\
         printf 'basicConstraints=critical,CA:TRUE\\nauthorityKeyIdentifier=keyid\\nsubjectKeyIdentifier=hash' >int.ext\n\
         openssl x509 -req -in int.csr -CA root.pem -CAkey root.key -CAcreateserial -days 3000 -extfile int.ext -out int.pem\n\
         openssl req -newkey rsa:2048 -nodes -keyout shop.key -out shop.csr -subj '/CN={NAME}'\n\
         printf 'subjectAltName=DNS:{NAME},DNS:www.{NAME}\\nauthorityKeyIdentifier=keyid' >shop.ext\n\
         openssl x509 -req -in shop.csr -CA int.pem -CAkey int.key -CAcreateserial -days {days} -extfile shop.ext -out leaf.pem\n\
         mkdir -p ssl && cat leaf.pem int.pem >ssl/shop.crt && cp shop.key ssl/shop.key && chmod 640 ssl/shop.key",
        dir = site.text(".")
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "openssl made no chain");
}

#[test]
fn a_certificate_that_was_bought_by_hand_is_never_forgotten_again() {
    if !has("openssl", "openssl") {
        return;
    }
    let Some(stage) = Stage::by_files() else { return };
    let site = &stage.site;
    bought(site, 730);
    site.write(&stage.config());
    let (chain, key) = (site.path("ssl/shop.crt"), site.path("ssl/shop.key"));
    let server = format!(
        "server {{ listen 127.0.0.1:{} ssl; server_name {NAME}; ssl_certificate {}; ssl_certificate_key {}; \
         location / {{ return 200 'ok'; }} }}",
        stage.nginx.https,
        chain.display(),
        key.display()
    );
    stage.nginx.write(&server);
    stage.nginx.hang_up();
    let shows = |file: &std::path::Path| {
        ports::wait_for(Duration::from_secs(20), || {
            served::leaf(stage.nginx.https, NAME) == Some(served::leaf_of(file))
        })
    };
    assert!(shows(&chain));
    let (vhost, leaf) = (fs::read(stage.nginx.conf()).unwrap(), served::leaf_of(&chain));

    let ran = site.expect(0, &["adopt", "--from", "files", &site.text("ssl"), "--service", "ng", "--yes"]);
    assert!(ran.out.contains("Old Trust EV CA"), "{ran:?}");
    assert_eq!(stage.orders(), 0, "nothing was ordered");
    assert_eq!(served::leaf(stage.nginx.https, NAME), Some(leaf.clone()), "the port shows what it showed");
    let status = site.status(NAME);
    assert_eq!(
        (status["rungs"]["observed"].as_bool(), status["generation"].as_u64()),
        (Some(true), Some(1)),
        "{status}"
    );
    let renews = status["renews-at"].as_str().unwrap().to_owned();
    site.expect(0, &["renew"]);
    assert_eq!(stage.orders(), 0, "it is not due before {renews}");

    site.expect(0, &["renew", "--force", NAME]);
    assert_eq!(stage.orders(), 1);
    assert_ne!(served::leaf_of(&chain), leaf);
    assert!(shows(&chain), "nginx serves the renewed one");
    assert_eq!(fs::read(stage.nginx.conf()).unwrap(), vhost, "no vhost was touched");
    assert!(site.path("ssl/shop.crt.before-nolapse").exists(), "what was bought is kept");
}

#[test]
fn a_certificate_that_ended_is_replaced_by_two_commands() {
    if !has("openssl", "openssl") || !has("faketime", "faketime") {
        return;
    }
    let Some(stage) = Stage::by_files() else { return };
    let site = &stage.site;
    // One day long, from three days ago.
    let script = format!(
        "cd {} && mkdir -p ssl && faketime '3 days ago' openssl req -x509 -newkey rsa:2048 -nodes -keyout ssl/shop.key \
         -out ssl/shop.crt -days 1 -subj '/CN={NAME}' -addext 'subjectAltName=DNS:{NAME}' \
         -addext 'basicConstraints=critical,CA:FALSE' 2>/dev/null",
        site.text(".")
    );
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    site.write(&stage.config());
    let chain = site.path("ssl/shop.crt");
    let server = format!(
        "server {{ listen 127.0.0.1:{} ssl; server_name {NAME}; ssl_certificate {}; ssl_certificate_key {}; \
         location / {{ return 200 'ok'; }} }}",
        stage.nginx.https,
        chain.display(),
        site.text("ssl/shop.key")
    );
    stage.nginx.write(&server);
    stage.nginx.hang_up();
    let vhost = fs::read(stage.nginx.conf()).unwrap();
    let started = std::time::Instant::now();
    site.run(&["adopt", "--from", "files", &chain.display().to_string(), "--service", "ng", "--yes"]);
    site.expect(0, &["renew", NAME]);
    let took = started.elapsed();
    let status = site.status(NAME);
    assert_eq!(status["rungs"]["observed"], true, "{status}");
    assert_eq!(served::leaf(stage.nginx.https, NAME), Some(served::leaf_of(&site.live(NAME, "cert.pem"))));
    assert_eq!(fs::read(stage.nginx.conf()).unwrap(), vhost, "no vhost was touched");
    println!("from the first command to observed recovery: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(60), "{took:?}");
}
