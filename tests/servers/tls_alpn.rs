//! Certificates by tls-alpn-01, from pebble, on a port that others use as well; and for addresses.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::stage::{Stage, words};
use crate::support::agent::Site;
use crate::support::config::Config;
use crate::support::nginx::installed;
use crate::support::pebble::Options;
use crate::support::{ports, served};

/// Longest wait for something that a program does by itself.
const SOON: Duration = Duration::from_secs(40);
/// Debian's place of nginx's module for streams.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The solver `way`: an own listener at `listen`, looked for at the CA's port.
fn way(stage: &Stage, listen: &str) -> String {
    let port = stage.pebble.tls_port();
    format!("[solver.way]\ntype = \"tls-alpn-01\"\nlisten = {listen:?}\ncheck-port = {port}")
}

/// Issuer, solver and nginx as a service that is observed at `observed`.
fn config(stage: &Stage, listen: &str, observed: u16) -> Config {
    let (check, reload) = (stage.nginx.check(), stage.nginx.reload());
    stage.site.config().pebble(&stage.pebble, &stage.site.root()).text(&way(stage, listen)).service(
        "ng",
        &words(&check),
        &words(&reload),
        &[observed],
    )
}

fn proved_by_tls_alone(stage: &Stage) {
    let log = stage.pebble.log();
    assert!(!log.contains("Attempting to validate w/ HTTP"), "{log}");
    let left = std::fs::read_dir(stage.site.path("state/challenges")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "answers are cleaned away: {left:?}");
}

#[test]
fn a_certificate_by_an_own_listener_is_installed_and_observed() {
    let Some(stage) = Stage::new() else { return };
    let port = stage.pebble.tls_port();
    let config = config(&stage, &format!("127.0.0.1:{port}"), stage.nginx.https)
        .certificate("a.example", "names = [\"a.example\", \"b.example\"]\nservice = \"ng\"");
    stage.site.write(&config);
    stage.nginx.serve(&stage.site, &["a.example"], "");
    let ran = stage.site.expect(0, &["renew"]);
    assert!(ran.out.contains("installed, reloaded, observed"), "{ran:?}");
    assert!(stage.shows("a.example"));
    assert!(!ports::answers(port), "the port is free again");
    proved_by_tls_alone(&stage);
}

/// A program in front of the port that the CA asks at. Ends when dropped.
struct Front(Child);

impl Front {
    fn start(mut command: Command, site: &Site, port: u16) -> Self {
        let log = std::fs::File::create(site.path("front.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let front = Self(command.spawn().unwrap());
        let up = ports::wait_for(SOON, || ports::answers(port));
        assert!(up, "{}", std::fs::read_to_string(site.path("front.log")).unwrap());
        front
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        ports::wait_for(SOON, || matches!(self.0.try_wait(), Ok(Some(_))));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is shipped, at a test's ports: where clients come, nolapse, the server behind.
fn shipped(name: &str, port: u16, nolapse: u16, https: u16) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    for part in ["127.0.0.1:8090", "127.0.0.1:8443"] {
        assert!(text.contains(part), "{name} names {part}");
    }
    text.replace("127.0.0.1:8090", &format!("127.0.0.1:{nolapse}"))
        .replace("127.0.0.1:8443", &format!("127.0.0.1:{https}"))
        .replace("listen 443;", &format!("listen 127.0.0.1:{port};"))
        .replace("bind :443", &format!("bind 127.0.0.1:{port}"))
        .lines()
        .filter(|line| !line.contains("[::]:443"))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// With a front on the CA's port: certificates are issued through it, ordinary clients are served
/// through it before, meanwhile and after, and what they are served is what was issued.
fn shares_its_port(stage: &Stage, own: u16, name: &str) {
    let port = stage.pebble.tls_port();
    let config = config(stage, &format!("127.0.0.1:{own}"), port)
        .certificate(name, "service = \"ng\"")
        .certificate("second.example", "service = \"ng\"");
    stage.site.write(&config);
    stage.nginx.serve(&stage.site, &[name, "second.example"], "");
    let ran = stage.site.expect(0, &["renew"]);
    assert!(ran.out.contains("observed"), "{ran:?}");
    let installed = served::leaf_of(&stage.site.live(name, "cert.pem"));
    assert_eq!(served::leaf(port, name), Some(installed.clone()), "through the front");
    proved_by_tls_alone(stage);
    let (mut connection, _) = served::connect(port, name).unwrap();
    assert!(served::ask(&mut connection, name).unwrap().contains(" 200 "), "an ordinary request");
    // Ordinary clients never notice that the next one is proved.
    let renewing = stage.site.start(&["renew", "--force", name]);
    let mut served_meanwhile = 0;
    let renewed = ports::wait_for(SOON, || {
        assert!(served::leaf(port, name).is_some(), "a client was turned away");
        served_meanwhile += 1;
        stage.site.generation(name) == 2
    });
    let ran = renewing.finish();
    assert!(renewed && ran.code == Some(0), "{ran:?}");
    assert!(served_meanwhile > 1, "somebody was served meanwhile");
    let renewed = served::leaf_of(&stage.site.live(name, "cert.pem"));
    assert_ne!(installed, renewed);
    assert!(ports::wait_for(SOON, || served::leaf(port, name).as_ref() == Some(&renewed)));
}

/// A second nginx in front, with the shipped snippet bent by `change` and more `server` blocks.
fn nginx_in_front(
    stage: &Stage,
    own: u16,
    https: u16,
    change: fn(String) -> String,
    more: &str,
) -> Option<Front> {
    if !std::path::Path::new(STREAM).exists() {
        println!("SKIPPED: nginx's stream module is not installed (Debian: apt install libnginx-mod-stream)");
        return None;
    }
    let port = stage.pebble.tls_port();
    let snippet = change(shipped("nginx/nolapse-tls-alpn.conf", port, own, https));
    let dir = stage.site.path("front");
    std::fs::create_dir(&dir).unwrap();
    let shown = dir.display();
    stage.site.put("front/nolapse-tls-alpn.conf", &snippet);
    stage.site.put(
        "front/nginx.conf",
        &format!(
            "load_module {STREAM};\ndaemon off; pid {shown}/pid; error_log {shown}/error.log;\nevents {{}}\n\
             stream {{ include {shown}/nolapse-tls-alpn.conf; {more} }}\n"
        ),
    );
    let mut command = Command::new("nginx");
    command.arg("-e").arg(dir.join("error.log")).arg("-c").arg(dir.join("nginx.conf"));
    Some(Front::start(command, &stage.site, port))
}

#[test]
fn nginx_shares_its_port_by_ssl_preread() {
    let Some(stage) = Stage::new() else { return };
    let own = ports::free();
    let Some(_front) = nginx_in_front(&stage, own, stage.nginx.https, |snippet| snippet, "") else { return };
    shares_its_port(&stage, own, "shop.example");
}

/// What the guide says of the client's address: behind each line of the map is something that takes
/// the PROXY header.
#[test]
fn nginx_shares_its_port_and_hands_the_clients_address_on() {
    let Some(stage) = Stage::new() else { return };
    let (own, dropping, https) = (ports::free(), ports::free(), ports::free());
    let more = format!(
        "server {{ listen 127.0.0.1:{dropping} proxy_protocol; proxy_pass 127.0.0.1:{own}; }}\n\
         server {{ listen 127.0.0.1:{https} proxy_protocol; proxy_pass 127.0.0.1:{}; }}",
        stage.nginx.https
    );
    let change = |snippet: String| snippet.replace("ssl_preread on;", "ssl_preread on; proxy_protocol on;");
    let Some(_front) = nginx_in_front(&stage, dropping, https, change, &more) else { return };
    shares_its_port(&stage, own, "shop.example");
}

#[test]
fn haproxy_shares_its_port_by_alpn() {
    if !installed("haproxy") {
        println!("SKIPPED: haproxy is not installed (Debian: apt install haproxy)");
        return;
    }
    let Some(stage) = Stage::new() else { return };
    let (port, own, inner) = (stage.pebble.tls_port(), ports::free(), ports::free());
    // As the shipped file says: what ends TLS takes the PROXY header. Here that is a second haproxy
    // frontend, which hands on to nginx what is left of it.
    let snippet = shipped("haproxy/nolapse-tls-alpn.cfg", port, own, inner);
    let https = stage.nginx.https;
    stage.site.put(
        "front.cfg",
        &format!(
            "global\n  maxconn 50\n{snippet}\nfrontend inner\n  mode tcp\n  timeout client 1h\n  \
             bind 127.0.0.1:{inner} accept-proxy\n  default_backend nginx\nbackend nginx\n  mode tcp\n  \
             timeout connect 5s\n  timeout server 1h\n  server nginx 127.0.0.1:{https}\n"
        ),
    );
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(stage.site.path("front.cfg"));
    let _front = Front::start(command, &stage.site, port);
    shares_its_port(&stage, own, "shop.example");
}

#[test]
fn f09_a_daemon_that_holds_the_port_answers_for_a_renewal_in_another_process() {
    let Some(stage) = Stage::new() else { return };
    let port = stage.pebble.tls_port();
    let config = config(&stage, &format!("127.0.0.1:{port}"), stage.nginx.https)
        .certificate("f.example", "service = \"ng\"");
    stage.site.write(&config);
    stage.nginx.serve(&stage.site, &["f.example"], "");
    let daemon = stage.site.daemon();
    assert!(ports::wait_for(SOON, || stage.site.generation("f.example") == 1), "{}", daemon.log());
    stage.site.expect(0, &["renew", "--force", "f.example"]);
    assert_eq!(stage.orders(), 2);
    assert!(stage.shows("f.example"));
    assert!(ports::answers(port), "the daemon still listens");
    // To everybody but a CA it is a closed door.
    assert_eq!(served::leaf(port, "f.example"), None);
    proved_by_tls_alone(&stage);
}

/// Two orders for one name at once: a handshake can't tell them apart, so they take turns.
#[test]
fn one_name_in_two_certificates_is_proved_for_both() {
    let Some(stage) = Stage::new() else { return };
    let port = stage.pebble.tls_port();
    let names = "names = [\"t.example\"]\nservice = \"ng\"";
    let config = config(&stage, &format!("127.0.0.1:{port}"), stage.nginx.https)
        .certificate("ecdsa", names)
        .certificate("rsa", &format!("{names}\nkey = \"rsa-2048\"\nobserve = []"));
    stage.site.write(&config);
    stage.nginx.serve(&stage.site, &["ecdsa"], "");
    stage.site.run(&["renew"]);
    assert_eq!((stage.site.generation("ecdsa"), stage.site.generation("rsa")), (1, 1));
    assert_eq!(stage.orders(), 2, "neither was refused");
    proved_by_tls_alone(&stage);
}

#[test]
fn a_socket_that_was_handed_over_is_used() {
    let Some(mut stage) = Stage::new() else { return };
    let socket = TcpListener::bind(("127.0.0.1", stage.pebble.tls_port())).unwrap();
    let config =
        config(&stage, "systemd:tlsalpn01", stage.nginx.https).certificate("s.example", "service = \"ng\"");
    stage.site.write(&config);
    stage.nginx.serve(&stage.site, &["s.example"], "");
    // What systemd does: the socket as descriptor 3, and three variables.
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=tlsalpn01; \
                  export LISTEN_PID LISTEN_FDS LISTEN_FDNAMES; exec \"$@\" 3<&0 </dev/null";
    stage.site.wrapper = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
    let mut command = stage.site.command(&["renew"]);
    let socket: std::os::fd::OwnedFd = socket.into();
    let output = command.stdin(Stdio::from(socket)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stage.site.wrapper.clear();
    assert!(stage.shows("s.example"));
    proved_by_tls_alone(&stage);
}

#[test]
fn f37_a_server_that_keeps_the_port_to_itself_is_named_before_an_order() {
    let Some(stage) = Stage::new() else { return };
    // nginx has the port and knows nothing of the protocol.
    stage.wants(&["first.example"]);
    stage.site.expect(0, &["renew"]);
    let port = stage.nginx.https;
    let config = stage
        .config()
        .text(&format!(
            "[solver.tls]\ntype = \"tls-alpn-01\"\nlisten = \"127.0.0.1:{port}\"\ncheck-port = {port}"
        ))
        .certificate("first.example", "service = \"ng\"")
        .certificate("k.example", "solver = \"tls\"");
    stage.site.write(&config);
    let ran = stage.site.expect(1, &["renew"]);
    let said = format!("{}{}", ran.out, ran.err);
    for part in ["port-in-use", "held by nginx", "acme-tls/1"] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    assert_eq!(stage.orders(), 1, "none for what can't be proved from here");
}

#[test]
fn f30_what_a_killed_agent_left_is_swept_at_the_next_pass() {
    let Some(stage) = Stage::new() else { return };
    // A front that takes connections and says nothing: the look for the answer waits.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, own) = (stage.pebble.tls_port(), silent.local_addr().unwrap().port());
    let solver = |check: u16| {
        format!("[solver.way]\ntype = \"tls-alpn-01\"\nlisten = \"127.0.0.1:{port}\"\ncheck-port = {check}")
    };
    let config = |check: u16| {
        let config = stage.site.config().pebble(&stage.pebble, &stage.site.root()).text(&solver(check));
        config.certificate("x.example", "")
    };
    stage.site.write(&config(own));
    let running = stage.site.start(&["renew"]);
    let answers = || std::fs::read_dir(stage.site.path("state/challenges")).map_or(0, Iterator::count);
    assert!(ports::wait_for(SOON, || answers() == 1), "{}", running.log());
    running.kill();
    assert_eq!(answers(), 1, "nobody took it away");
    stage.site.write(&config(port));
    stage.site.expect(0, &["renew"]);
    proved_by_tls_alone(&stage);
    drop(silent);
}

/// RFC 8738: pebble connects to the address itself, with the name of reverse DNS.
#[test]
fn an_address_is_certified_by_either_kind_and_observed() {
    for by_tls in [true, false] {
        let Some(stage) = Stage::with(&Options { strict: true, ..Options::default() }) else { return };
        let observed = stage.nginx.https;
        let (check, reload) = (stage.nginx.check(), stage.nginx.reload());
        let base = stage.site.config().pebble(&stage.pebble, &stage.site.root());
        let base = if by_tls {
            base.text(&way(&stage, &format!("127.0.0.1:{}", stage.pebble.tls_port())))
        } else {
            base.listener(stage.pebble.http_port())
        };
        let config = base.service("ng", &words(&check), &words(&reload), &[observed]).certificate(
            "box",
            "names = [\"127.0.0.1\", \"box.example\"]\nservice = \"ng\"\nprofile = \"shortlived\"",
        );
        stage.site.write(&config);
        // No server name is sent for an address: the first server answers.
        stage.nginx.serve(&stage.site, &["box"], "");
        let ran = stage.site.expect(0, &["renew"]);
        assert!(ran.out.contains("observed"), "{ran:?}");
        assert!(stage.shows("box"));
        let mut openssl = Command::new("openssl")
            .args(["x509", "-noout", "-ext", "subjectAltName"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pem = std::fs::read(stage.site.live("box", "cert.pem")).unwrap();
        openssl.stdin.take().unwrap().write_all(&pem).unwrap();
        let names = String::from_utf8_lossy(&openssl.wait_with_output().unwrap().stdout).into_owned();
        assert!(names.contains("IP Address:127.0.0.1") && names.contains("DNS:box.example"), "{names}");
        // Nothing is due: the names on disk are the names that are wanted.
        stage.site.expect(0, &["renew", "--exit-code"]);
        assert_eq!(stage.orders(), 1);
        assert_eq!(stage.site.status("box")["standing"], "observed");
    }
}
