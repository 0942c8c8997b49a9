//! What the tests stand on: a store in memory, pairs made on the spot, servers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nolapse::core::layout::Content;
use nolapse::core::name::{LineageId, SolverId, SubjectName, Token};
use nolapse::core::order::ChallengeTask;
use nolapse::core::record::ChallengeKind;
use nolapse::ports::{Claim, Entry, Expect, Key, Reply, Revision, Shelf, Store, StoreError};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longest wait for something that will happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A store in memory that counts how often it is asked.
#[derive(Default)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<Key, Content>>,
    pub loads: AtomicUsize,
}

impl MemoryStore {
    pub fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    pub fn put(&self, token: &str, content: &str) {
        let key = Key::Challenge(Token::parse(token).unwrap());
        self.entries.lock().unwrap().insert(key, Content::new(content.as_bytes().to_vec()));
    }
}

impl Store for MemoryStore {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let content = self.entries.lock().unwrap().get(key).cloned();
        Box::pin(async { Ok(content.map(|content| Entry { content, revision: Revision("1".into()) })) })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        _expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        self.entries.lock().unwrap().insert(key.clone(), content);
        Box::pin(async { Ok(Revision("1".into())) })
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        let keys = self.entries.lock().unwrap().keys().filter(|key| key.shelf() == shelf).cloned().collect();
        Box::pin(async { Ok(keys) })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        self.entries.lock().unwrap().remove(key);
        Box::pin(async { Ok(()) })
    }

    fn claim<'a>(&'a self, _id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(async { Ok(Claim::Held(Box::new(()))) })
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

pub fn task(name: &str, token: &str) -> ChallengeTask {
    ChallengeTask {
        terms: nolapse::core::order::Terms::default(),
        solver: SolverId::parse("http").unwrap(),
        kind: ChallengeKind::Http01,
        name: SubjectName::parse(name).unwrap(),
        token: Token::parse(token).unwrap(),
        key_authorization: format!("{token}.thumbprint-of-the-account"),
        url: "https://ca.example/challenge/1".into(),
    }
}

/// A certificate with its key, issued by a CA of its own.
pub struct Pair {
    pub root: CertificateDer<'static>,
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
    pub pem: String,
}

impl Pair {
    pub fn of(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    pub fn with(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::made(names, KeyPair::generate().unwrap(), change)
    }

    pub fn rsa(names: &[&str]) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        Self::made(names, key, |_| {})
    }

    fn made(names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let leaf = params.signed_by(&key, &ca).unwrap();
        Self {
            root: ca.der().clone(),
            chain: vec![leaf.der().clone(), ca.der().clone()],
            pem: leaf.pem() + &ca.pem(),
            key,
        }
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// The fingerprint that a sighting of this pair must have.
    pub fn fingerprint(&self) -> nolapse::core::leaf::Fingerprint {
        nolapse::codec::x509::leaf(&self.chain[0]).unwrap().fingerprint
    }

    pub fn write(&self, dir: &Path, stem: &str) {
        std::fs::write(dir.join(format!("{stem}.crt")), &self.pem).unwrap();
        std::fs::write(dir.join(format!("{stem}.key")), self.key.serialize_pem()).unwrap();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A server in the foreground, ended when dropped.
pub struct Server(Child);

impl Server {
    /// Starts it and waits until `port` answers; `None`, with a `SKIPPED:` line, when it is not
    /// installed.
    pub fn start(program: &str, args: &[&str], port: u16) -> Option<Self> {
        let started = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                println!("SKIPPED: {program} can't be started: {error}");
                return None;
            }
        };
        let mut server = Self(child);
        wait_for(|| {
            assert!(server.0.try_wait().unwrap().is_none(), "{program} ended at once");
            std::net::TcpStream::connect(local(port)).is_ok()
        });
        Some(server)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, so that masters take their workers along; killed only if that does not help.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx with these `server` blocks; its error log, at level info, is `error.log` in `dir`.
pub fn nginx(dir: &Path, servers: &str, port: u16) -> Option<Server> {
    use std::os::unix::fs::PermissionsExt;
    // Its workers run as another user.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let shown = dir.display();
    let config = format!(
        "daemon off; pid {shown}/nginx.pid; error_log {shown}/error.log info; worker_processes 1;
         events {{}}
         http {{
           access_log off;
           client_body_temp_path {shown}/b; proxy_temp_path {shown}/p; fastcgi_temp_path {shown}/f;
           uwsgi_temp_path {shown}/u; scgi_temp_path {shown}/s;
           {servers}
         }}"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    Server::start("nginx", &["-p", dir.to_str().unwrap(), "-c", file.to_str().unwrap()], port)
}

/// Waits for a condition.
pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs one test of this binary again in a process of its own, started by `sh -c` with `prelude`
/// before it, and with `stdin`.
pub fn rerun(test: &str, prelude: &str, stdin: Stdio) {
    let script = format!("{prelude} exec \"$0\" --exact {test} --ignored --nocapture");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .stdin(stdin)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}");
}

/// A store behind the trait.
pub fn shared(store: &Arc<MemoryStore>) -> Arc<dyn Store> {
    Arc::clone(store) as Arc<dyn Store>
}
