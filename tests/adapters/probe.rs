use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nolapse::core::endpoint::Endpoint;
use nolapse::core::name::SubjectName;
use nolapse::core::time::Span;
use nolapse::ports::{Probe, Seen, Sighting};
use nolapse::probe::TlsProbe;
use nolapse::sys::clock::Clock;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::bench::{PATIENCE, Pair, Server, free_port, local, nginx, wait_for};

pub const WITHIN: Span = Span::secs(20);

pub fn probe() -> TlsProbe {
    TlsProbe::new(Clock::wall(), Vec::new())
}

pub fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text).unwrap()
}

/// What the one handshake of an endpoint without settings saw.
pub async fn look(text: &str) -> Seen {
    one(probe().look(&endpoint(text), WITHIN).await)
}

pub fn one(sightings: Vec<Sighting>) -> Seen {
    assert_eq!(sightings.len(), 1, "{sightings:?}");
    sightings.into_iter().next().unwrap().seen
}

pub fn unreachable(seen: Seen) -> String {
    match seen {
        Seen::Nothing { words, .. } => words,
        Seen::Served(_) => panic!("a certificate was seen: {seen:?}"),
    }
}

pub fn served(seen: Seen, pair: &Pair) -> Option<String> {
    match seen {
        Seen::Served(served) => {
            assert_eq!((served.leaf.fingerprint, served.sent.len()), (pair.fingerprint(), pair.chain.len()));
            served.distrust.map(|distrust| distrust.words)
        }
        Seen::Nothing { words, .. } => panic!("nothing was seen: {words}"),
    }
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub type Builder = rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>;

pub fn tls(versions: &[&'static rustls::SupportedProtocolVersion]) -> Builder {
    ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap()
}

pub fn config(pair: &Pair) -> ServerConfig {
    tls(rustls::ALL_VERSIONS)
        .with_no_client_auth()
        .with_single_cert(pair.chain.clone(), pair.key_der())
        .unwrap()
}

/// What a server saw of one connection.
#[derive(Debug, PartialEq, Eq)]
struct Visit {
    sni: Option<String>,
    /// How reading ended: nothing for a clean close of both layers.
    end: Option<io::ErrorKind>,
}

/// A TLS server that reports its visits.
async fn server(config: ServerConfig) -> (u16, mpsc::UnboundedReceiver<Visit>) {
    let listener = TcpListener::bind(local(0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            tokio::spawn(async move {
                let visit = match acceptor.accept(stream).await {
                    Ok(mut stream) => {
                        let sni = stream.get_ref().1.server_name().map(str::to_owned);
                        let end = stream.read_to_end(&mut Vec::new()).await.err().map(|error| error.kind());
                        Visit { sni, end }
                    }
                    Err(error) => Visit { sni: None, end: Some(error.kind()) },
                };
                let _ = tell.send(visit);
            });
        }
    });
    (port, told)
}

#[tokio::test]
async fn the_served_leaf_is_seen_and_the_server_sees_a_clean_end() {
    let pair = Pair::of(&["a.example", "127.0.0.1"]);
    let (port, mut visits) = server(config(&pair)).await;
    let distrust = served(look(&format!("a.example@127.0.0.1:{port}")).await, &pair);
    assert_eq!(distrust.as_deref(), Some("no root that this system trusts vouches for it"));
    let visit = tokio::time::timeout(PATIENCE, visits.recv()).await.unwrap().unwrap();
    assert_eq!(visit, Visit { sni: Some("a.example".into()), end: None });
    served(look(&format!("127.0.0.1:{port}")).await, &pair);
    let visit = tokio::time::timeout(PATIENCE, visits.recv()).await.unwrap().unwrap();
    assert_eq!(visit, Visit { sni: None, end: None }, "an address is no server name (RFC 6066 §3)");
}

#[tokio::test]
async fn trust_is_judged_apart() {
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let expired = Pair::with(&["a.example"], |params| {
        (params.not_before, params.not_after) = (year(2020), year(2021));
    });
    let early = Pair::with(&["a.example"], |params| {
        (params.not_before, params.not_after) = (year(2090), year(2091));
    });
    for (pair, name, distrust) in [
        (&Pair::of(&["a.example"]), "a.example", None),
        (&Pair::of(&["a.example"]), "b.example", Some("it is for other names")),
        (&expired, "a.example", Some("it has expired")),
        (&early, "a.example", Some("it is not valid yet")),
    ] {
        let (port, _visits) = server(config(pair)).await;
        let probe = TlsProbe::new(Clock::wall(), vec![pair.root.clone()]);
        let seen = one(probe.look(&endpoint(&format!("{name}@127.0.0.1:{port}")), WITHIN).await);
        assert_eq!(served(seen, pair).as_deref(), distrust);
    }
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_has_shown_its_own() {
    let pair = Pair::of(&["a.example"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.root.clone()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
    let clients = clients.build().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = tls(&[version])
            .with_client_cert_verifier(Arc::clone(&clients))
            .with_single_cert(pair.chain.clone(), pair.key_der())
            .unwrap();
        let (port, _visits) = server(config).await;
        served(look(&format!("a.example@127.0.0.1:{port}")).await, &pair);
    }
}

#[derive(Debug)]
struct Always(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

fn always(pair: Option<(&Pair, &Pair)>, version: &'static rustls::SupportedProtocolVersion) -> ServerConfig {
    let key = pair.map(|(shown, signing)| {
        let key = provider().key_provider.load_private_key(signing.key_der()).unwrap();
        Arc::new(CertifiedKey::new(shown.chain.clone(), key))
    });
    tls(&[version]).with_no_client_auth().with_cert_resolver(Arc::new(Always(key)))
}

#[tokio::test]
async fn a_certificate_without_its_key_is_not_served() {
    let (shown, other) = (Pair::of(&["a.example"]), Pair::of(&["a.example"]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (port, _visits) = server(always(Some((&shown, &other)), version)).await;
        let words = unreachable(look(&format!("a.example@127.0.0.1:{port}")).await);
        assert!(words.contains("BadSignature"), "{words}");
    }
}

/// A server that does one thing with raw bytes.
pub async fn raw_server<F, W>(serve: F) -> u16
where
    F: Fn(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(local(0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream));
        }
    });
    port
}

#[tokio::test]
async fn what_kept_the_handshake_from_happening_is_said_in_short_words() {
    let free = free_port();
    assert_eq!(unreachable(look(&format!("127.0.0.1:{free}")).await), "connection refused");

    let plain = raw_server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let plain = plain.await;
    assert_eq!(unreachable(look(&format!("127.0.0.1:{plain}")).await), "the server does not speak TLS");

    let shut = raw_server(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    });
    let shut = shut.await;
    let words = unreachable(look(&format!("127.0.0.1:{shut}")).await);
    assert_eq!(words, "the server closed the connection during the handshake");

    let (port, _visits) = server(always(None, &rustls::version::TLS13)).await;
    let words = unreachable(look(&format!("127.0.0.1:{port}")).await);
    assert!(words.starts_with("TLS alert "), "{words}");

    let words = unreachable(look("host.invalid:443").await);
    assert!(words.starts_with("host.invalid can't be resolved: "), "{words}");
}

#[tokio::test(start_paused = true)]
async fn f08_a_server_that_never_answers_ends_with_the_deadline() {
    let silent = raw_server(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let silent = silent.await;
    for text in [format!("127.0.0.1:{silent}"), format!("smtp://127.0.0.1:{silent}")] {
        let seen = one(probe().look(&endpoint(&text), Span::secs(30)).await);
        assert_eq!(unreachable(seen), "timed out after 30 s");
    }
}

#[tokio::test]
async fn the_name_asked_for_is_the_host_unless_the_endpoint_says_otherwise() {
    if std::fs::read_to_string("/etc/hosts").is_ok_and(|hosts| !hosts.contains("localhost")) {
        println!("SKIPPED: localhost is no known host here");
        return;
    }
    let pair = Pair::of(&["localhost"]);
    let (port, mut visits) = server(config(&pair)).await;
    // Two addresses where there is IPv6: the one that refuses is passed over.
    served(look(&format!("localhost:{port}")).await, &pair);
    assert_eq!(visits.recv().await.unwrap().sni.as_deref(), Some("localhost"));
    let general = endpoint(&format!("127.0.0.1:{port}"));
    let named = general.for_name(&SubjectName::Dns("a.example".into()));
    served(one(probe().look(&named, WITHIN).await), &pair);
    assert_eq!(visits.recv().await.unwrap().sni.as_deref(), Some("a.example"));
    let address = general.for_name(&SubjectName::Ip(IpAddr::from([127, 0, 0, 1])));
    served(one(probe().look(&address, WITHIN).await), &pair);
    assert_eq!(visits.recv().await.unwrap().sni, None);
}

#[tokio::test]
async fn nginx_shows_one_certificate_for_each_name_and_logs_nothing_odd() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let pairs = [("a.example", Pair::of(&["a.example"])), ("b.example", Pair::of(&["b.example"]))];
    let mut servers = String::new();
    for (name, pair) in &pairs {
        pair.write(dir.path(), name);
        let shown = dir.path().display();
        let block = format!(
            "server {{ listen 127.0.0.1:{port} ssl; server_name {name}; ssl_protocols TLSv1.2;
               ssl_certificate {shown}/{name}.crt; ssl_certificate_key {shown}/{name}.key; }}"
        );
        servers += &block;
    }
    let Some(nginx) = nginx(dir.path(), &servers, port) else { return };
    for (name, pair) in &pairs {
        served(look(&format!("{name}@127.0.0.1:{port}")).await, pair);
    }
    served(look(&format!("127.0.0.1:{port}")).await, &pairs[0].1);
    drop(nginx);
    let log = std::fs::read_to_string(dir.path().join("error.log")).unwrap();
    // Connection 1 was the test's own, to see whether nginx is up.
    let ours = log.lines().filter(|line| line.contains(": *") && !line.contains(": *1 "));
    let ends: Vec<_> = ours.collect();
    assert_eq!(ends.len(), 3, "{log}");
    for end in ends {
        assert!(end.contains("client closed connection while waiting for request"), "{end}");
    }
}

#[tokio::test]
async fn haproxy_and_apache_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::of(&["a.example"]);
    pair.write(dir.path(), "tls");
    std::fs::write(dir.path().join("combined.pem"), pair.pem.clone() + &pair.key.serialize_pem()).unwrap();
    for start in [haproxy, apache] {
        let port = free_port();
        let Some(_server) = start(dir.path(), port) else { continue };
        served(look(&format!("a.example@127.0.0.1:{port}")).await, &pair);
    }
}

fn haproxy(dir: &Path, port: u16) -> Option<Server> {
    let config = dir.join("haproxy.cfg");
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         frontend f\n bind 127.0.0.1:{port} ssl crt {}/combined.pem\n http-request return status 200\n",
        dir.display()
    );
    std::fs::write(&config, text).unwrap();
    Server::start("haproxy", &["-db", "-q", "-f", config.to_str().unwrap()], port)
}

fn apache(dir: &Path, port: u16) -> Option<Server> {
    const MODULES: &str = "/usr/lib/apache2/modules";
    if !Path::new(MODULES).exists() {
        println!("SKIPPED: no apache2 modules in {MODULES}");
        return None;
    }
    let shown = dir.display();
    let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let text = format!(
        "ServerRoot {shown}\nServerName localhost\nPidFile {shown}/apache.pid\nErrorLog {shown}/apache.log\n\
         DefaultRuntimeDir {shown}\nLoadModule mpm_event_module {MODULES}/mod_mpm_event.so\n\
         LoadModule authz_core_module {MODULES}/mod_authz_core.so\nLoadModule ssl_module {MODULES}/mod_ssl.so\n\
         Listen 127.0.0.1:{port}\n{user}SSLSessionCache none\n<VirtualHost 127.0.0.1:{port}>\nSSLEngine on\n\
         SSLCertificateFile {shown}/tls.crt\nSSLCertificateKeyFile {shown}/tls.key\n</VirtualHost>\n"
    );
    let config = dir.join("apache.conf");
    std::fs::write(&config, text).unwrap();
    Server::start("apache2", &["-f", config.to_str().unwrap(), "-DFOREGROUND"], port)
}

/// A mail server that says its lines in turn, one for each of ours, and keeps what it heard.
async fn mail_server(says: &'static [&'static str], pair: &Pair) -> (u16, Arc<Mutex<Vec<String>>>) {
    let acceptor = TlsAcceptor::from(Arc::new(config(pair)));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    let port = raw_server(move |stream| {
        let (acceptor, heard) = (acceptor.clone(), Arc::clone(&kept));
        async move {
            let mut stream = BufReader::new(stream);
            for line in says {
                if stream.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
                let mut reply = String::new();
                let go_ahead = *line == "220 go ahead\r\n";
                if go_ahead {
                    let Ok(tls) = acceptor.accept(stream).await else { return };
                    let mut tls = BufReader::new(tls);
                    let _ = tls.read_line(&mut reply).await;
                    heard.lock().unwrap().push(format!("TLS {reply}"));
                    let _ = tls.write_all(b"221 bye\r\n").await;
                    let end = tls.read_to_end(&mut Vec::new()).await;
                    heard.lock().unwrap().push(format!("clean end {}", end.is_ok()));
                    return;
                }
                let _ = stream.read_line(&mut reply).await;
                heard.lock().unwrap().push(reply);
            }
        }
    });
    (port.await, heard)
}

#[tokio::test]
async fn a_mail_server_is_asked_for_tls_and_left_politely() {
    let pair = Pair::of(&["mail.example"]);
    let says = &[
        "220-mail.example\r\n220 ready\r\n",
        "250-mail.example\r\n250-SIZE 1\r\n250-starttls\r\n250 HELP\r\n",
        "220 go ahead\r\n",
    ];
    let (port, heard) = mail_server(says, &pair).await;
    served(look(&format!("smtp://mail.example@127.0.0.1:{port}")).await, &pair);
    let expected = ["EHLO [127.0.0.1]\r\n", "STARTTLS\r\n", "TLS QUIT\r\n", "clean end true"];
    let arrived = || *heard.lock().unwrap() == expected;
    tokio::task::spawn_blocking({
        let heard = Arc::clone(&heard);
        move || wait_for(|| heard.lock().unwrap().len() == 4)
    })
    .await
    .unwrap();
    assert!(arrived(), "{heard:?}");
}

#[tokio::test]
async fn what_a_mail_server_does_instead_is_told() {
    let pair = Pair::of(&["mail.example"]);
    let none: &[&str] = &["220 hi\r\n", "250-mail\r\n250 HELP\r\n"];
    let busy: &[&str] = &["421 too busy\r\n"];
    let refuses: &[&str] = &["220 hi\r\n", "250-mail\r\n250 STARTTLS\r\n", "454 no TLS today\r\n"];
    let injected: &[&str] = &["220 hi\r\n", "250 STARTTLS\r\n", "220 go\r\n250 injected\r\n"];
    for (says, words) in [
        (none, "the SMTP server does not offer STARTTLS"),
        (busy, "the SMTP server answered to greeting: 421 too busy"),
        (refuses, "the SMTP server answered to STARTTLS: 454 no TLS today"),
        (injected, "the SMTP server sent more after its answer to STARTTLS"),
    ] {
        let (port, _heard) = mail_server(says, &pair).await;
        assert_eq!(unreachable(look(&format!("smtp://127.0.0.1:{port}")).await), words);
    }
}

#[tokio::test]
async fn postfix_is_seen_and_loses_no_connection() {
    const MASTER: &str = "/usr/lib/postfix/sbin/master";
    if !rustix::process::geteuid().is_root() || !Path::new(MASTER).exists() {
        println!("SKIPPED: postfix needs to be installed, and root to start it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (etc, port) = (dir.path().join("etc"), free_port());
    for path in ["etc", "spool", "data"] {
        std::fs::create_dir(dir.path().join(path)).unwrap();
    }
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let pair = Pair::of(&["mail.example"]);
    pair.write(dir.path(), "tls");
    let shown = dir.path().display();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {shown}/spool\ndata_directory = {shown}/data\n\
         myhostname = mail.example\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n\
         inet_protocols = ipv4\nsmtpd_tls_cert_file = {shown}/tls.crt\nsmtpd_tls_key_file = {shown}/tls.key\n\
         smtpd_tls_security_level = may\nmaillog_file = {shown}/mail.log\nmaillog_file_prefixes = {shown}\n"
    );
    let master = format!(
        "127.0.0.1:{port} inet n - n - 1 smtpd\nrewrite unix - - n - 1 trivial-rewrite\n\
         anvil unix - - n - 1 anvil\ntlsmgr unix - - n 1000? 1 tlsmgr\npostlog unix-dgram n - n - 1 postlogd\n"
    );
    std::fs::write(etc.join("main.cf"), main).unwrap();
    std::fs::write(etc.join("master.cf"), master).unwrap();
    let etc = etc.to_str().unwrap();
    let chown = Command::new("chown").args(["postfix", &format!("{shown}/data")]).status().unwrap();
    assert!(chown.success());
    // Makes the queue's directories; its warnings are about a system that this is not.
    Command::new("postfix").args(["-c", etc, "check"]).stderr(Stdio::null()).status().unwrap();
    let Some(postfix) = Server::start(MASTER, &["-d", "-c", etc], port) else { return };
    served(look(&format!("smtp://mail.example@127.0.0.1:{port}")).await, &pair);
    let log = dir.path().join("mail.log");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    // The test's own first connection, and the probe's.
    wait_for(|| text().matches("disconnect from").count() >= 2);
    drop(postfix);
    assert!(text().contains("ehlo=1 starttls=1 quit=1"), "{}", text());
    assert!(!text().contains("lost connection after STARTTLS"), "{}", text());
}
