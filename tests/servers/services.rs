//! The built-in services against Debian's servers: a certificate is rotated, from ECDSA to RSA and
//! back, and what the port then shows is looked at by somebody else's code.
//!
//! Then the ways of telling them that are no command: haproxy's socket, Caddy's HTTP interface, signals.
//!
//! Each runs as root, which gives up its rights as the server does by itself, and as `nobody`, with
//! nolapse as the same user.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::recipes;
use crate::stage::pebble;
use crate::support::agent::Site;
use crate::support::config::Config;
use crate::support::pebble::{Options, Pebble};
use crate::support::ports::wait_for;
use crate::support::served;
use crate::support::server::{Ground, NOBODY, Recipe, Server};

const NAME: &str = "s.example";

/// The certificate with a key of this kind, for this server.
fn config(ground: &Ground<'_>, pebble: &Pebble, recipe: &Recipe, key: &str, how: How) -> Config {
    let (site, how) = (ground.site, how(ground));
    let service = recipe.service;
    let (check, endpoint) = (ground.check(), ground.endpoint());
    site.config()
        .pebble(pebble, &site.root())
        .listener(pebble.http_port())
        .text(&format!("[service.{service}]\n{how}\ncheck = {check:?}\nobserve = {:?}", [endpoint]))
        .certificate(
            NAME,
            &format!(
                "service = {service:?}\nkey = {key:?}\nobserve-timeout = \"{}s\"\n{}",
                if recipe.keeps_ecdsa { 3 } else { 30 },
                ground.fill(recipe.certificate)
            ),
        )
}

/// How a service is told, as lines of its table.
type How = fn(&Ground<'_>) -> String;

/// As its unit would.
fn by_command(ground: &Ground<'_>) -> String {
    format!("reload = {:?}", ground.reload())
}

/// Rotates twice; each time the port shows what lies in `live/`.
fn rotates(recipe: &'static Recipe, as_nobody: bool, how: How) {
    let Some(pebble) = pebble(&Options::default()) else { return };
    let mut site = Site::new();
    if as_nobody {
        let drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
        site.wrapper = drop.map(str::to_owned).to_vec();
        site.give(NOBODY);
    }
    let Some(ground) = Ground::new(&site, recipe, NAME, as_nobody) else { return };
    // There is nothing that a server could start with yet: its reload is owed.
    site.write(&config(&ground, &pebble, recipe, "ecdsa-p256", how));
    site.expect(3, &["renew"]);
    let mut server = ground.start();
    site.expect(0, &["deploy"]);
    shows(&site, &server);
    for key in ["rsa-2048", "ecdsa-p256"] {
        let before = server.leaf(NAME);
        site.write(&config(&ground, &pebble, recipe, key, how));
        if recipe.keeps_ecdsa && key == "rsa-2048" {
            // Nothing but a look at the port tells: its reload went well.
            let ran = site.expect(3, &["renew"]);
            assert!(ran.out.contains("NOT observed") && ran.out.contains(" old"), "{ran:?}");
            assert_eq!(server.leaf(NAME), before);
            drop(server);
            server = ground.start();
            site.expect(0, &["deploy"]);
            site.expect(0, &["renew", "--force"]);
        } else {
            site.expect(0, &["renew"]);
        }
        shows(&site, &server);
        assert_ne!(server.leaf(NAME), before, "{key}");
    }
    assert_eq!(site.status(NAME)["standing"], "observed");
}

fn shows(site: &Site, server: &Server) {
    let lies = served::leaf_of(&site.live(NAME, "cert.pem"));
    let fits = || server.leaf(NAME).as_ref() == Some(&lies);
    assert!(wait_for(Duration::from_secs(20), fits), "it shows another one:\n{}", server.log());
}

macro_rules! services {
    ($($name:ident: $recipe:ident)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn rotates_as_root() {
                if !recipes::$recipe.never_root {
                    rotates(&recipes::$recipe, false, by_command);
                }
            }

            #[test]
            fn rotates_without_rights() {
                if recipes::$recipe.unprivileged {
                    rotates(&recipes::$recipe, true, by_command);
                }
            }
        }
    )*};
}

services! {
    nginx: NGINX
    apache2: APACHE2
    haproxy: HAPROXY
    caddy: CADDY
    postfix: POSTFIX
    dovecot: DOVECOT
    mosquitto: MOSQUITTO
    postgresql: POSTGRESQL
    exim4: EXIM4
    proftpd: PROFTPD
}

#[test]
fn caddy_is_told_by_a_request_that_brings_its_configuration() {
    rotates(&recipes::CADDY, true, |ground| {
        format!(
            "http = {{ url = \"http://127.0.0.1:{}/load\", body-file = {:?}, \
             headers = [\"Content-Type: text/caddyfile\", \"Cache-Control: must-revalidate\"] }}",
            ground.spare,
            ground.dir().join("Caddyfile")
        )
    });
}

#[test]
fn nginx_is_told_by_a_signal() {
    rotates(&recipes::NGINX, true, |ground| {
        format!("signal = {{ pid-file = {:?} }}", ground.dir().join("pid"))
    });
}

fn by_socket(ground: &Ground<'_>) -> String {
    format!("haproxy-socket = {:?}", ground.dir().join("admin.sock"))
}

#[test]
fn haproxy_takes_new_pairs_by_its_socket() {
    rotates(&recipes::HAPROXY, true, by_socket);
}

/// One command on haproxy's socket, by code of the test's own.
fn asked(ground: &Ground<'_>, command: &str) -> String {
    let mut socket = UnixStream::connect(ground.dir().join("admin.sock")).unwrap();
    socket.write_all(command.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn haproxys_socket_reloads_nothing_and_says_what_it_does_not_take() {
    let Some(pebble) = pebble(&Options::default()) else { return };
    let site = Site::new();
    let recipe = &recipes::HAPROXY;
    let Some(ground) = Ground::new(&site, recipe, NAME, false) else { return };
    let wants = |config: Config| site.write(&config);
    let plain = || config(&ground, &pebble, recipe, "ecdsa-p256", by_socket);
    wants(plain());
    let ran = site.expect(3, &["renew"]);
    assert!(ran.out.contains("NOT reloaded"), "{ran:?}");
    let words = || site.status(NAME)["hooks"][0]["words"].to_string();
    assert!(words().contains("is it running"), "{}", words());
    let server = ground.start();
    site.expect(0, &["deploy"]);
    let worker = |text: String| text.lines().find(|line| line.starts_with("Pid:")).map(str::to_owned);
    let before = worker(asked(&ground, "show info\n"));

    // Somebody's transaction that was left open does not keep the new pair out.
    let file = ground.dir().join("shop.pem");
    let old = std::fs::read_to_string(&file).unwrap();
    let said = asked(&ground, &format!("set ssl cert {} <<\n{old}\n", file.display()));
    assert!(said.starts_with("Transaction created"), "{said}");
    site.expect(0, &["renew", "--force"]);
    shows(&site, &server);
    assert_eq!(worker(asked(&ground, "show info\n")), before, "the process is the one that was there");
    assert!(before.is_some());

    // A certificate of which haproxy knows nothing: owed, with the reason.
    wants(plain().certificate("other.example", "service = \"haproxy\"\nobserve = []"));
    let ran = site.expect(3, &["renew"]);
    assert!(ran.out.contains("NOT reloaded"), "{ran:?}");
    let words = site.status("other.example")["hooks"][0]["words"].to_string();
    assert!(words.contains("none of them is the new certificate of other.example"), "{words}");

    // A socket without the right to change anything.
    let conf = ground.dir().join("haproxy.cfg");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, text.replace("level admin", "level user")).unwrap();
    wants(plain());
    drop(server);
    let server = ground.start();
    site.expect(3, &["renew", "--force", NAME]);
    let words = site.status(NAME)["hooks"][0]["words"].to_string();
    assert!(words.contains("haproxy does not take"), "{words}");
    drop(server);
}
