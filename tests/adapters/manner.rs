//! Looks that ask for more than one plain handshake, and the protocols that come to TLS by
//! themselves: against rustls with a script before it, and against real servers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nolapse::core::leaf::Fingerprint;
use nolapse::core::silence::Silence;
use nolapse::core::time::Span;
use nolapse::ports::{Probe, Seen, Sighting};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::bench::{Pair, Server, free_port, nginx};
use crate::probe::{WITHIN, config, endpoint, look, probe, provider, raw_server, served, tls};

async fn looks(text: &str) -> Vec<Sighting> {
    probe().look(&endpoint(text), WITHIN).await
}

fn why(seen: &Seen) -> Option<Silence> {
    match seen {
        Seen::Nothing { why, .. } => Some(*why),
        Seen::Served(_) => None,
    }
}

fn fingerprint(sighting: &Sighting) -> Fingerprint {
    match &sighting.seen {
        Seen::Served(served) => served.leaf.fingerprint,
        Seen::Nothing { words, .. } => panic!("nothing was seen: {words}"),
    }
}

/// TLS with what comes before it: `(hears so many octets, says)` in turn.
async fn server(config: ServerConfig, prelude: &[(usize, &'static [u8])]) -> u16 {
    let prelude: Arc<[(usize, &'static [u8])]> = prelude.into();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    raw_server(move |mut stream| {
        let (acceptor, prelude) = (acceptor.clone(), Arc::clone(&prelude));
        async move {
            for (hears, says) in prelude.iter() {
                if stream.read_exact(&mut vec![0; *hears]).await.is_err() {
                    return;
                }
                let _ = stream.write_all(says).await;
            }
            if let Ok(mut tls) = acceptor.accept(stream).await {
                let _ = tls.read(&mut [0; 64]).await;
                let _ = tls.write_all(b"bye\r\n").await;
                let _ = tls.read_to_end(&mut Vec::new()).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn each_version_is_looked_at_by_itself() {
    let pair = Pair::of(&["a.example"]);
    for (version, ours, other) in
        [(&rustls::version::TLS12, "1.2", "1.3"), (&rustls::version::TLS13, "1.3", "1.2")]
    {
        let config = tls(&[version])
            .with_no_client_auth()
            .with_single_cert(pair.chain.clone(), pair.key_der())
            .unwrap();
        let port = server(config, &[]).await;
        served(look(&format!("a.example@127.0.0.1:{port}?tls={ours}")).await, &pair);
        let seen = look(&format!("a.example@127.0.0.1:{port}?tls={other}")).await;
        assert_eq!(why(&seen), Some(Silence::Refused), "{seen:?}");
    }
}

#[tokio::test]
async fn an_nginx_with_two_kinds_of_key_is_looked_at_by_each() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let (ecdsa, rsa) = (Pair::of(&["a.example"]), Pair::rsa(&["a.example"]));
    ecdsa.write(dir.path(), "ecdsa");
    rsa.write(dir.path(), "rsa");
    let shown = dir.path().display();
    let block = format!(
        "server {{ listen 127.0.0.1:{port} ssl; server_name a.example; ssl_protocols TLSv1.2 TLSv1.3;
           ssl_certificate {shown}/ecdsa.crt; ssl_certificate_key {shown}/ecdsa.key;
           ssl_certificate {shown}/rsa.crt; ssl_certificate_key {shown}/rsa.key; }}"
    );
    let Some(_nginx) = nginx(dir.path(), &block, port) else { return };
    for version in ["1.2", "1.3"] {
        for (key, pair) in [("ecdsa", &ecdsa), ("rsa", &rsa)] {
            served(look(&format!("a.example@127.0.0.1:{port}?key={key}&tls={version}")).await, pair);
        }
    }
}

#[tokio::test]
async fn a_header_for_a_proxy_comes_first_and_names_nobody() {
    let pair = Pair::of(&["a.example"]);
    for (version, length) in [("v1", 15), ("v2", 16)] {
        let port = server(config(&pair), &[(length, b"")]).await;
        served(look(&format!("a.example@127.0.0.1:{port}?proxy-protocol={version}")).await, &pair);
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("combined.pem"), pair.pem.clone() + &pair.key.serialize_pem()).unwrap();
    let (conf, port) = (dir.path().join("haproxy.cfg"), free_port());
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
         frontend f\n bind 127.0.0.1:{port} accept-proxy ssl crt {}/combined.pem\n http-request return status 200\n",
        dir.path().display()
    );
    std::fs::write(&conf, text).unwrap();
    let Some(_haproxy) = Server::start("haproxy", &["-db", "-q", "-f", conf.to_str().unwrap()], port) else {
        return;
    };
    for version in ["v1", "v2"] {
        served(look(&format!("a.example@127.0.0.1:{port}?proxy-protocol={version}")).await, &pair);
    }
    let seen = look(&format!("a.example@127.0.0.1:{port}")).await;
    assert_eq!(why(&seen), Some(Silence::BrokenOff), "{seen:?}");
}

/// Shows one certificate to every fourth client and another to the others.
#[derive(Debug)]
struct Mixed {
    rare: Arc<CertifiedKey>,
    usual: Arc<CertifiedKey>,
    met: AtomicUsize,
}

impl ResolvesServerCert for Mixed {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let rare = self.met.fetch_add(1, Ordering::SeqCst).is_multiple_of(4);
        Some(Arc::clone(if rare { &self.rare } else { &self.usual }))
    }
}

#[tokio::test]
async fn f16_one_backend_of_four_that_lags_is_met() {
    let (rare, usual) = (Pair::of(&["a.example"]), Pair::of(&["a.example"]));
    let certified = |pair: &Pair| {
        let key = provider().key_provider.load_private_key(pair.key_der()).unwrap();
        Arc::new(CertifiedKey::new(pair.chain.clone(), key))
    };
    let mixed = Mixed { rare: certified(&rare), usual: certified(&usual), met: AtomicUsize::new(0) };
    let config = tls(rustls::ALL_VERSIONS).with_no_client_auth().with_cert_resolver(Arc::new(mixed));
    let port = server(config, &[]).await;
    let sightings = looks(&format!("a.example@127.0.0.1:{port}?samples=20")).await;
    let of = |pair: &Pair| sightings.iter().filter(|seen| fingerprint(seen) == pair.fingerprint()).count();
    assert_eq!((sightings.len(), of(&rare), of(&usual)), (20, 5, 15));
    assert!(sightings.iter().all(|seen| seen.from.is_some_and(|ip| ip.is_loopback())));
}

#[tokio::test]
async fn a_server_that_never_says_goodbye_takes_no_time_from_the_looks_that_follow() {
    let pair = Pair::of(&["a.example"]);
    let acceptor = TlsAcceptor::from(Arc::new(config(&pair)));
    let port = raw_server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let held = acceptor.accept(stream).await;
            std::future::pending::<()>().await;
            drop(held);
        }
    })
    .await;
    // Four rounds of eight: each has less time than one goodbye may take.
    let endpoint = endpoint(&format!("a.example@127.0.0.1:{port}?samples=32"));
    let sightings = probe().look(&endpoint, Span::secs(3)).await;
    assert_eq!(sightings.len(), 32);
    assert!(sightings.iter().all(|sighting| fingerprint(sighting) == pair.fingerprint()));
}

#[tokio::test]
async fn every_protocol_comes_to_tls_and_ends() {
    const MYSQL: &[u8] = b"\x27\0\0\0\x0a8.0.36\0abcd12345678\0\xff\xff\x21\x02\0\xff\xc1\x15123456789\0";
    let pair = Pair::of(&["a.example"]);
    // The longest that a client may send is what each step waits for.
    for (protocol, prelude) in [
        (
            "smtp",
            vec![
                (0, &b"220 hi\r\n"[..]),
                ("EHLO [127.0.0.1]\r\n".len(), b"250 STARTTLS\r\n"),
                ("STARTTLS\r\n".len(), b"220 go\r\n"),
            ],
        ),
        (
            "imap",
            vec![
                (0, b"* OK hi\r\n"),
                ("a1 CAPABILITY\r\n".len(), b"* CAPABILITY STARTTLS\r\na1 OK\r\n"),
                ("a2 STARTTLS\r\n".len(), b"a2 OK\r\n"),
            ],
        ),
        (
            "pop3",
            vec![
                (0, b"+OK hi\r\n"),
                ("CAPA\r\n".len(), b"+OK\r\nSTLS\r\n.\r\n"),
                ("STLS\r\n".len(), b"+OK\r\n"),
            ],
        ),
        ("postgres", vec![(8, &b"S"[..])]),
        ("mysql", vec![(0, MYSQL), (36, b"")]),
        ("ldap", vec![(31, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")]),
    ] {
        let port = server(config(&pair), &prelude).await;
        served(look(&format!("{protocol}://a.example@127.0.0.1:{port}")).await, &pair);
        // TLS at once, or another protocol, is told apart from silence.
        let other = if protocol == "smtp" { "imap" } else { "smtp" };
        if prelude[0].0 == 0 {
            let seen = look(&format!("{other}://a.example@127.0.0.1:{port}")).await;
            assert_eq!(why(&seen), Some(Silence::NotSpoken), "{other} at {protocol}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_leaf_alone_is_sent_alone() {
    let pair = Pair::of(&["a.example"]);
    let config = tls(rustls::ALL_VERSIONS)
        .with_no_client_auth()
        .with_single_cert(pair.chain[..1].to_vec(), pair.key_der())
        .unwrap();
    let port = server(config, &[]).await;
    match look(&format!("a.example@127.0.0.1:{port}")).await {
        Seen::Served(served) => {
            assert_eq!((served.sent.len(), served.sent[0].signer), (1, None));
            assert!(served.distrust.is_some_and(|distrust| distrust.unrooted));
        }
        Seen::Nothing { words, .. } => panic!("{words}"),
    }
    let whole = server(crate::probe::config(&pair), &[]).await;
    match look(&format!("a.example@127.0.0.1:{whole}")).await {
        Seen::Served(served) => {
            let signers: Vec<_> = served.sent.iter().map(|member| member.signer).collect();
            assert_eq!(signers, [Some(1), Some(1)]);
        }
        Seen::Nothing { words, .. } => panic!("{words}"),
    }
}

#[tokio::test]
async fn dovecot_is_seen_by_imap_and_pop3_and_loses_no_connection() {
    let modules = ["/usr/lib/dovecot/imap-login", "/usr/lib/dovecot/pop3-login"];
    if !rustix::process::geteuid().is_root() || !modules.iter().all(|path| Path::new(path).exists()) {
        println!("SKIPPED: dovecot-imapd and dovecot-pop3d need to be installed, and root to start them");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let pair = Pair::of(&["mail.example"]);
    pair.write(dir.path(), "tls");
    let (imap, pop3, shown) = (free_port(), free_port(), dir.path().display());
    let text = format!(
        "protocols = imap pop3\nbase_dir = {shown}/run\nstate_dir = {shown}/run\nlog_path = {shown}/mail.log\n\
         listen = 127.0.0.1\nssl = yes\nssl_cert = <{shown}/tls.crt\nssl_key = <{shown}/tls.key\n\
         mail_location = maildir:{shown}/mail\n\
         service imap-login {{\n chroot =\n inet_listener imap {{\n port = {imap}\n }}\n inet_listener imaps {{\n port = 0\n }}\n}}\n\
         service pop3-login {{\n chroot =\n inet_listener pop3 {{\n port = {pop3}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n}}\n\
         service anvil {{\n chroot =\n}}\n\
         passdb {{\n driver = static\n args = nopassword=y\n}}\n\
         userdb {{\n driver = static\n args = uid=65534 gid=65534 home={shown}/mail\n}}\n"
    );
    let conf = dir.path().join("dovecot.conf");
    std::fs::write(&conf, text).unwrap();
    let Some(dovecot) = Server::start("dovecot", &["-F", "-c", conf.to_str().unwrap()], imap) else { return };
    served(look(&format!("imap://mail.example@127.0.0.1:{imap}")).await, &pair);
    served(look(&format!("pop3://mail.example@127.0.0.1:{pop3}")).await, &pair);
    drop(dovecot);
    let log = std::fs::read_to_string(dir.path().join("mail.log")).unwrap();
    // The test's own first connection is one; a look that hangs up would be another.
    let lost = log.lines().filter(|line| line.contains("Connection closed") && line.contains("TLS"));
    assert_eq!(lost.count(), 0, "{log}");
}

#[tokio::test]
async fn postgres_is_seen_and_logs_nothing() {
    let Some(bin) = newest_postgres() else {
        println!("SKIPPED: postgresql is not installed below /usr/lib/postgresql");
        return;
    };
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: root is needed to start postgresql as its own user");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let pair = Pair::of(&["db.example"]);
    pair.write(dir.path(), "tls");
    let (port, data) = (free_port(), dir.path().join("data"));
    std::fs::set_permissions(dir.path().join("tls.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for path in [dir.path().to_owned(), dir.path().join("tls.key"), dir.path().join("tls.crt")] {
        assert!(Command::new("chown").arg("postgres").arg(path).status().unwrap().success());
    }
    let made = Command::new("setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(format!("{bin}/initdb"))
        .args(["--no-sync", "-A", "reject", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let shown = dir.path().display();
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".into(),
        format!("unix_socket_directories={shown}"),
        "ssl=on".into(),
        format!("ssl_cert_file={shown}/tls.crt"),
        format!("ssl_key_file={shown}/tls.key"),
        "logging_collector=off".into(),
        "log_connections=on".into(),
    ];
    let program = format!("{bin}/postgres");
    let (log, data) = (format!("{shown}/log"), data.to_str().unwrap().to_owned());
    let script = format!("exec \"$0\" \"$@\" 2>{log}");
    let mut words = vec![
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
        "sh",
        "-c",
        &script,
        &program,
        "-D",
        &data,
    ];
    for setting in &settings {
        words.extend(["-c", setting]);
    }
    let Some(postgres) = Server::start("setpriv", &words, port) else { return };
    let text = format!("postgres://db.example@127.0.0.1:{port}");
    // The port opens a moment before connections are taken.
    let mut seen = look(&text).await;
    for _ in 0..50 {
        if why(&seen).is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        seen = look(&text).await;
    }
    served(seen, &pair);
    drop(postgres);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("SSL error") && !log.contains("incomplete startup packet"), "{log}");
}

fn newest_postgres() -> Option<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions
        .filter(|dir| dir.path().join("bin/initdb").exists())
        .max_by_key(std::fs::DirEntry::file_name)?;
    Some(newest.path().join("bin").to_str()?.to_owned())
}
