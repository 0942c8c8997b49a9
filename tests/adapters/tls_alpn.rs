use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nolapse::codec::validation::{ALPN, Flaw, Standing, server_name};
use nolapse::core::failure::Class;
use nolapse::core::name::SolverId;
use nolapse::core::order::ChallengeTask;
use nolapse::core::record::ChallengeKind;
use nolapse::core::spec::Listen;
use nolapse::ports::{Solver, Store};
use nolapse::solve::listener::{CONNECTIONS, Listener};
use nolapse::solve::stand::Listening;
use nolapse::solve::tls_alpn01::{self, CONVERSATION, HandshakeCheck, Miss, TlsAlpn01Solver};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::bench::{MemoryStore, PATIENCE, Pair, free_port, local, nginx, rerun, shared};
use crate::served::Anybody;

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

fn task(name: &str, token: &str) -> ChallengeTask {
    let task = crate::bench::task(name, token);
    ChallengeTask { kind: ChallengeKind::TlsAlpn01, ..task }
}

fn standing(name: &str, token: &str) -> Standing {
    let task = task(name, token);
    Standing { name: task.name, key_authorization: task.key_authorization }
}

fn solver(store: &Arc<MemoryStore>, port: u16, check: u16) -> TlsAlpn01Solver {
    solver_over(shared(store), port, check)
}

fn solver_over(store: Arc<dyn Store>, port: u16, check: u16) -> TlsAlpn01Solver {
    let id = SolverId::parse("tls").unwrap();
    TlsAlpn01Solver::new(id, Listen::Address(local(port)), store, check, &Clock::wall())
}

/// As another process opens it: nothing is shared but the directory.
async fn opened(dir: &Path) -> Arc<dyn Store> {
    Arc::new(DirStore::open(Disk::real(), Clock::wall(), dir).await.unwrap())
}

/// A listener with an answer for `a.example`.
async fn serving(store: &Arc<MemoryStore>) -> (Listener, SocketAddr) {
    let answered = task("a.example", "token-1");
    solver(store, free_port(), free_port()).present(&answered).await.unwrap();
    let listen = Listen::Address(local(0));
    let listener = tls_alpn01::answer(&listen, shared(store), &Clock::wall()).await.unwrap();
    let address = listener.addresses()[0];
    (listener, address)
}

/// What a CA sees: the leaf, after a handshake with this name and these protocols.
async fn handshake(
    address: SocketAddr,
    name: &str,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_sni = !name.is_empty();
    let name = if name.is_empty() { "unsent.example" } else { name };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(ALPN));
    let leaf = session.peer_certificates().unwrap()[0].to_vec();
    // Nothing but the end follows.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    assert!(rest.is_empty());
    Ok(leaf)
}

#[tokio::test]
async fn the_listener_lives_from_the_first_answer_to_the_last() {
    let store = Arc::new(MemoryStore::default());
    let port = free_port();
    let solver = solver(&store, port, port);
    solver.able().await.unwrap();
    assert!(solver.addresses().await.is_empty(), "a free look leaves no listener");
    let (first, second) = (task("a.example", "token-1"), task("192.0.2.7", "token-2"));
    for task in [&first, &second, &first] {
        solver.present(task).await.unwrap();
        solver.confirm(task).await.unwrap();
    }
    let first = solver.receipt(&first).await.unwrap();
    assert!(first.place.starts_with("challenges/tls-alpn-01-"), "{}", first.place);
    solver.clean_up(&first).await.unwrap();
    solver.clean_up(&first).await.unwrap();
    assert_eq!(solver.addresses().await, [local(port)], "another answer still stands");
    solver.clean_up(&solver.receipt(&second).await.unwrap()).await.unwrap();
    assert!(solver.addresses().await.is_empty());
    assert_eq!(store.len(), 0);
}

#[tokio::test]
async fn a_ca_sees_one_name_the_critical_digest_and_no_subject() {
    let store = Arc::new(MemoryStore::default());
    let port = free_port();
    let solver = solver(&store, port, port);
    for name in ["a.example", "192.0.2.7", "2001:db8::1", &format!("{}.example", "a".repeat(63))] {
        let task = task(name, "token-1");
        solver.present(&task).await.unwrap();
        let asked = server_name(&task.name).unwrap();
        for versions in [BOTH, &[&version::TLS12], &[&version::TLS13]] {
            let leaf = handshake(local(port), &asked, &[ALPN], versions).await.unwrap();
            standing(name, "token-1").recognise(&leaf).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &leaf).unwrap();
            let text = Command::new("openssl")
                .args(["x509", "-inform", "DER", "-noout", "-text", "-in"])
                .arg(file.path())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&text.stdout).into_owned();
            let plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(plain.contains("Subject: Subject Public Key Info"), "it has a subject: {text}");
            assert!(plain.contains("1.3.6.1.5.5.7.1.31: critical"), "{text}");
            assert_eq!(text.matches("DNS:").count() + text.matches("IP Address:").count(), 1, "{text}");
        }
        solver.clean_up(&solver.receipt(&task).await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn each_handshake_has_a_key_of_its_own() {
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    let first = handshake(address, "a.example", &[ALPN], BOTH).await.unwrap();
    let second = handshake(address, "A.Example", &[ALPN], BOTH).await.unwrap();
    assert_ne!(first, second);
    standing("a.example", "token-1").recognise(&second).unwrap();
}

#[tokio::test]
async fn t11_strangers_get_a_closed_connection_and_no_hint() {
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    let http: &[u8] = b"http/1.1";
    for (row, name, alpn) in [
        ("a browser", "a.example", &[&b"h2"[..], http][..]),
        ("a client of old", "a.example", &[http]),
        ("a client without ALPN", "a.example", &[]),
        ("the protocol among others", "a.example", &[ALPN, http]),
        ("the protocol written otherwise", "a.example", &[&b"ACME-TLS/1"[..]]),
        ("a name without a challenge", "b.example", &[ALPN]),
        ("a name below it", "www.a.example", &[ALPN]),
        ("an address without a challenge", "1.0.0.127.in-addr.arpa", &[ALPN]),
        ("no name", "", &[ALPN]),
    ] {
        let error = handshake(address, name, alpn, BOTH).await.unwrap_err();
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::UnexpectedEof, "{row}: {error}");
    }
    let requests: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"", b"\x16\x03\x01\x00\x05hello", &[0xff; 4096]];
    for request in requests {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it must end");
        // At most the alert that a greeting can't be read.
        let alert = answer.len() == 7 && answer[0] == 21;
        assert!(answer.is_empty() || alert, "{request:?} was answered with {answer:?}");
    }
}

#[tokio::test]
async fn strangers_cost_no_look_into_the_store() {
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    let before = store.loads.load(Ordering::SeqCst);
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        handshake(address, "a.example", alpn, BOTH).await.unwrap_err();
    }
    assert_eq!(store.loads.load(Ordering::SeqCst), before);
}

/// An entry that another kind of challenge put there, or a mistake, is never an answer.
#[tokio::test]
async fn only_an_answer_for_that_name_is_shown() {
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    let key = nolapse::codec::validation::entry_token("b.example").unwrap();
    for content in ["a.example token-1.thumbprint", "token-1.thumbprint", "", "b.example", "*.b.example a.b"]
    {
        store.put(key.as_str(), content);
        assert!(handshake(address, "b.example", &[ALPN], BOTH).await.is_err(), "{content:?}");
    }
    store.put(key.as_str(), "b.example token-1.thumbprint");
    handshake(address, "b.example", &[ALPN], BOTH).await.unwrap();
}

/// Traefik's GHSA-cwjm-3f7h-9hwq: clients that begin and never end. The oldest make room.
#[tokio::test]
async fn t11_ten_thousand_half_open_handshakes_do_not_keep_a_ca_out() {
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    let many = room_for(STRANGERS);
    if many < STRANGERS {
        println!("SKIPPED: {STRANGERS} connections, as this process may open too few files: {many} are made");
    }
    assert!(many > CONNECTIONS * 2, "a limit that low shows nothing");
    let mut idle = Vec::new();
    for number in 0..many {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            // The head of a greeting of 512 octets that never comes.
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        }
        idle.push(stream);
    }
    handshake(address, "a.example", &[ALPN], BOTH).await.unwrap();
    let is_open = |stream: &TcpStream| {
        let read = stream.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let mut open = idle.iter().filter(|stream| is_open(stream)).count();
    let begun = tokio::time::Instant::now();
    while open > CONNECTIONS && begun.elapsed() < CONVERSATION.over(2).to_std() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        open = idle.iter().filter(|stream| is_open(stream)).count();
    }
    assert!(open <= CONNECTIONS, "{open} are kept");
    let mut first = idle.swap_remove(0);
    let mut rest = Vec::new();
    // Long before its own deadline.
    let ended = tokio::time::timeout(CONVERSATION.over(2).to_std(), first.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the oldest connection must have been ended");
    let mut last = idle.pop().unwrap();
    let mut byte = [0];
    let silent = tokio::time::timeout(std::time::Duration::from_millis(20), last.read(&mut byte)).await;
    assert!(silent.is_err(), "the newest connections stay");
}

/// Strangers of threat T11.
const STRANGERS: usize = 10_000;
/// Descriptors left to the listener and to the other tests of this program.
const SPARE: u64 = 2_000;

/// As many of them as this process may have descriptors for, which it is allowed as far as it can be.
fn room_for(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap() + SPARE;
    let current = maximum.map_or(needed, |most| most.min(needed));
    let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if before < current {
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
    }
    usize::try_from(current.max(before).saturating_sub(SPARE)).unwrap().min(wanted)
}

/// With tokio's time standing still except when everybody waits, deadlines come at once.
#[tokio::test(start_paused = true)]
async fn t11_a_handshake_that_never_ends_is_cut_off() {
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    for sent in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{sent:?}");
        assert!(begun.elapsed() >= CONVERSATION.to_std(), "{sent:?}");
        assert!(begun.elapsed() < CONVERSATION.times(2).to_std(), "{sent:?}");
    }
}

#[tokio::test]
async fn a_running_daemon_answers_for_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let daemon = solver_over(opened(dir.path()).await, port, port);
    daemon.listen().await.unwrap();
    let renew = solver_over(opened(dir.path()).await, port, port);
    renew.able().await.unwrap();
    let task = task("a.example", "token-1");
    renew.present(&task).await.unwrap();
    renew.confirm(&task).await.unwrap();
    renew.clean_up(&renew.receipt(&task).await.unwrap()).await.unwrap();
    assert!(renew.confirm(&task).await.is_err(), "nobody answers after the clean-up");
    assert_eq!(daemon.addresses().await, [local(port)]);
}

#[tokio::test]
async fn of_two_challenges_for_one_name_the_later_is_answered_and_cleaned_by_its_own_only() {
    let store = Arc::new(MemoryStore::default());
    let port = free_port();
    let (one, two) = (solver(&store, port, port), solver(&store, port, port));
    let (earlier, later) = (task("a.example", "token-1"), task("a.example", "token-2"));
    one.present(&earlier).await.unwrap();
    two.present(&later).await.unwrap();
    two.confirm(&later).await.unwrap();
    let failure = one.confirm(&earlier).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "self-check-failed"));
    assert!(failure.words.contains("another challenge for this name"), "{failure}");
    let entry = store.len();
    one.clean_up(&one.receipt(&earlier).await.unwrap()).await.unwrap();
    assert_eq!(store.len(), entry, "the later answer stands");
    two.clean_up(&two.receipt(&later).await.unwrap()).await.unwrap();
    assert_eq!(store.len(), 0);
}

/// As where one name is in an ECDSA and in an RSA certificate, both ordered by one daemon.
#[tokio::test(start_paused = true)]
async fn in_one_process_the_second_challenge_for_a_name_waits_for_its_turn() {
    let store = Arc::new(MemoryStore::default());
    let port = free_port();
    let solver = solver(&store, port, port);
    let (earlier, later) = (task("a.example", "token-1"), task("a.example", "token-2"));
    solver.present(&earlier).await.unwrap();
    let begun = tokio::time::Instant::now();
    let proved = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        solver.clean_up(&solver.receipt(&earlier).await.unwrap()).await.unwrap();
    };
    let (set, ()) = tokio::join!(solver.present(&later), proved);
    set.unwrap();
    assert!((5..=6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    // One that is never taken away holds nobody up for ever.
    let third = task("a.example", "token-3");
    solver.present(&third).await.unwrap();
    assert!(begun.elapsed() < PATIENCE * 3, "{:?}", begun.elapsed());
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn a_wildcard_is_refused_in_words() {
    let store = Arc::new(MemoryStore::default());
    let solver = solver(&store, free_port(), free_port());
    let star = task("*.a.example", "token-1");
    for failure in [solver.receipt(&star).await.unwrap_err(), solver.present(&star).await.unwrap_err()] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "wildcard"));
        assert!(failure.words.contains("dns-01"), "{failure}");
    }
}

/// A TLS server that shows one certificate for everything.
async fn shows(pair: (Vec<u8>, Vec<u8>), alpn: &[&[u8]]) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(PrivateKeyDer::try_from(pair.1).unwrap()).unwrap();
    let pair = CertifiedKey::new(vec![CertificateDer::from(pair.0)], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(local(0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                stream.shutdown().await
            });
        }
    });
    port
}

/// A validation certificate for `a.example` and `token-1`, bent by `change`.
fn bent(change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    let digest = standing("a.example", "token-1").digest();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest.0)];
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().to_vec(), key.serialize_der())
}

#[tokio::test]
async fn what_a_ca_would_object_to_is_told_before_it_is_asked() {
    let good = standing("a.example", "token-1");
    let second = || SanType::DnsName("b.example".try_into().unwrap());
    let other = standing("a.example", "token-2").digest();
    let plain = |params: &mut CertificateParams| {
        let digest = standing("a.example", "token-1").digest();
        let mut content = vec![4, 32];
        content.extend(digest.0);
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 31];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&oid, content)];
    };
    let ours = Pair::of(&["a.example"]);
    let foreign = (ours.chain[0].to_vec(), ours.key.serialize_der());
    for (row, pair, flaw) in [
        ("as it should be", bent(|_| {}), None),
        ("a subject does no harm", bent(|p| p.distinguished_name.push(DnType::CommonName, "x")), None),
        (
            "two names",
            bent(|p| p.subject_alt_names.push(second())),
            Some("a validation for a.example, b.example"),
        ),
        ("another name", bent(|p| p.subject_alt_names = vec![second()]), Some("a validation for b.example")),
        (
            "the name twice",
            bent(|p| p.subject_alt_names.push(SanType::DnsName("a.example".try_into().unwrap()))),
            Some("a validation for"),
        ),
        (
            "a mail address too",
            bent(|p| p.subject_alt_names.push(SanType::Rfc822Name("a@a.example".try_into().unwrap()))),
            Some("a validation for"),
        ),
        (
            "no extension",
            bent(|p| p.custom_extensions.clear()),
            Some("an ordinary certificate for a.example"),
        ),
        ("not critical", bent(plain), Some("not critical")),
        (
            "another digest",
            bent(|p| p.custom_extensions = vec![CustomExtension::new_acme_identifier(&other.0)]),
            Some("another challenge"),
        ),
        ("the server's own certificate", foreign, Some("an ordinary certificate for a.example")),
    ] {
        assert_eq!(good.recognise(&pair.0).is_ok(), flaw.is_none(), "{row}");
        let port = shows(pair, &[ALPN]).await;
        let check = HandshakeCheck::of(&Listen::Address(local(1)), port);
        let seen = check.look(&good, &Clock::wall()).await.err().map(|miss| miss.to_string());
        match flaw {
            None => assert_eq!(seen, None, "{row}"),
            Some(words) => assert!(seen.as_ref().is_some_and(|seen| seen.contains(words)), "{row}: {seen:?}"),
        }
    }
    assert_eq!(
        good.recognise(b"no certificate").map_err(|flaw| matches!(flaw, Flaw::Unreadable(_))),
        Err(true)
    );
}

#[tokio::test]
async fn what_answered_instead_is_told() {
    let good = standing("a.example", "token-1");
    let usual = || {
        let pair = Pair::of(&["other.example"]);
        (pair.chain[0].to_vec(), pair.key.serialize_der())
    };
    let silent = shows(usual(), &[b"http/1.1"]).await;
    let careless = shows(usual(), &[]).await;
    let nobody = free_port();
    let other = Miss::OtherProtocol { port: silent };
    for (port, expected) in [
        (silent, other),
        (careless, Miss::OtherProtocol { port: careless }),
        (nobody, Miss::Nobody { port: nobody }),
    ] {
        let check = HandshakeCheck::of(&Listen::Address(local(1)), port);
        assert_eq!(check.look(&good, &Clock::wall()).await, Err(expected));
    }
    let store = Arc::new(MemoryStore::default());
    let (_listener, address) = serving(&store).await;
    let check = HandshakeCheck::of(&Listen::Address(address), address.port());
    let unknown = standing("b.example", "token-1");
    assert_eq!(check.look(&unknown, &Clock::wall()).await, Err(Miss::Closed { port: address.port() }));
}

#[tokio::test]
async fn f37_a_server_that_holds_the_port_is_named() {
    let usual = Pair::of(&["other.example"]);
    let port = shows((usual.chain[0].to_vec(), usual.key.serialize_der()), &[b"h2", b"http/1.1"]).await;
    let store = Arc::new(MemoryStore::default());
    let solver = solver(&store, port, port);
    let task = task("a.example", "token-1");
    let before = solver.able().await.unwrap_err();
    assert_eq!(store.len(), 0, "a free look leaves nothing");
    solver.present(&task).await.unwrap();
    let after = solver.confirm(&task).await.unwrap_err();
    let holder = format!("process {}", std::process::id());
    for failure in [before, after] {
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "port-in-use"));
        for part in [&holder, "acme-tls/1", "does not speak"] {
            assert!(failure.words.contains(part), "{part} is missing: {failure}");
        }
    }
}

/// The shipped arrangement: nginx holds the port, passes the protocol on, and keeps all other
/// connections.
#[tokio::test]
async fn nginx_that_does_not_pass_the_protocol_on_is_told_how() {
    let dir = tempfile::tempdir().unwrap();
    Pair::of(&["other.example"]).write(dir.path(), "tls");
    let (https, own) = (free_port(), free_port());
    let shown = dir.path().display();
    let server = format!(
        "server {{ listen 127.0.0.1:{https} ssl; ssl_certificate {shown}/tls.crt; ssl_certificate_key {shown}/tls.key; }}"
    );
    let Some(_nginx) = nginx(dir.path(), &server, https) else { return };
    let store = Arc::new(MemoryStore::default());
    let solver = solver(&store, own, https);
    let task = task("a.example", "token-1");
    solver.present(&task).await.unwrap();
    let failure = solver.confirm(&task).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "self-check-failed"));
    for part in ["does not speak acme-tls/1", &format!("127.0.0.1:{own}"), "ssl_preread"] {
        assert!(failure.words.contains(part), "{part} is missing: {failure}");
    }
}

#[test]
fn a_socket_from_systemd_is_used() {
    let listener = std::net::TcpListener::bind(local(0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // What systemd does: the socket as descriptor 3, and three variables.
    let prelude =
        format!("exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=tlsalpn01 EXPECTED_PORT={port}");
    let socket: std::os::fd::OwnedFd = listener.into();
    rerun("tls_alpn::inside_a_unit", &prelude, Stdio::from(socket));
}

/// Run by [`a_socket_from_systemd_is_used`].
#[tokio::test]
#[ignore = "needs a socket handed over"]
async fn inside_a_unit() {
    let port: u16 = std::env::var("EXPECTED_PORT").unwrap().parse().unwrap();
    let store = Arc::new(MemoryStore::default());
    let id = SolverId::parse("tls").unwrap();
    let listen = Listen::Systemd("tlsalpn01".into());
    // Twice: a reloaded configuration asks again.
    for token in ["token-1", "token-2"] {
        let solver = TlsAlpn01Solver::new(id.clone(), listen.clone(), shared(&store), port, &Clock::wall());
        let task = task("a.example", token);
        solver.present(&task).await.unwrap();
        assert_eq!(solver.addresses().await, [local(port)]);
        solver.confirm(&task).await.unwrap();
        solver.clean_up(&solver.receipt(&task).await.unwrap()).await.unwrap();
    }
}
