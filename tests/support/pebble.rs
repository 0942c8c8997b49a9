//! Debian's `pebble`, a real and strict ACME CA, on free loopback ports.
//!
//! ```ignore
//! let Some(pebble) = Pebble::start(&Options { nonce_reject: 50, ..Options::default() }) else { return };
//! let ca = client(&pebble.directory(), &pebble.api_root());
//! ```

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

/// How the CA should behave. Percentages run from 0 to 100.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Good nonces that are refused all the same. Pebble's own default is 5.
    pub nonce_reject: u8,
    /// Authorizations that are reused for the next order. Pebble's own default is 50.
    pub authz_reuse: u8,
    /// Every challenge counts as answered; nothing is looked up. Otherwise names resolve to
    /// 127.0.0.1 and http-01 is asked for at [`Pebble::http_port`].
    pub always_valid: bool,
    /// Accounts need the binding with [`EAB_KID`] and [`EAB_KEY`].
    pub eab: bool,
    /// Where http-01 answers are looked for; a free port if `None`.
    pub http_port: Option<u16>,
    /// Where tls-alpn-01 answers are looked for; a free port if `None`.
    pub tls_port: Option<u16>,
    /// Lifetime of leaves in seconds; Pebble's own default is five years.
    pub validity: Option<u64>,
    /// `pebble-challtestsrv` answers http-01 itself, with what [`Pebble::answer`] was given.
    /// Otherwise whoever listens at [`Pebble::http_port`] does.
    pub own_http: bool,
    pub strict: bool,
    /// Names are looked up at this DNS server on loopback.
    pub dns_port: Option<u16>,
}

pub const EAB_KID: &str = "kid-1";
/// As the CA hands it out: base64url.
pub const EAB_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// A running CA. Ends when dropped.
pub struct Pebble {
    dir: PathBuf,
    ports: Ports,
    pebble: Child,
    challenge_server: Child,
    options: Options,
}

#[derive(Clone, Copy)]
struct Ports {
    acme: u16,
    management: u16,
    dns: u16,
    challenge_management: u16,
    http: u16,
    tls: u16,
}

/// Longest time until it listens.
const START_MOST: Duration = Duration::from_secs(20);
/// A port that was free can be taken before the program binds it; then everything starts anew.
const STARTS_MOST: usize = 3;

impl Pebble {
    /// `None`, with a line that starts with `SKIPPED:`, where Pebble is not installed.
    pub fn start(options: &Options) -> Option<Self> {
        for program in ["pebble", "pebble-challtestsrv"] {
            if !installed(program) {
                println!("SKIPPED: {program} is not installed (Debian: apt install pebble)");
                return None;
            }
        }
        (0..STARTS_MOST)
            .find_map(|_| Self::try_start(options.clone()))
            .or_else(|| panic!("pebble does not start"))
    }

    fn try_start(options: Options) -> Option<Self> {
        let [acme, management, dns, challenge_management, http, tls] = free_ports();
        let http = options.http_port.unwrap_or(http);
        let tls = options.tls_port.unwrap_or(tls);
        let ports = Ports { acme, management, dns, challenge_management, http, tls };
        let dir = std::env::temp_dir().join(format!("nolapse-pebble-{}-{acme}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        write_api_certificate(&dir);
        let http_listener = if options.own_http { format!("127.0.0.1:{http}") } else { String::new() };
        let challenge_server = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-http01", &http_listener, "-dns01", &format!("127.0.0.1:{dns}")])
            .args(["-management", &format!("127.0.0.1:{challenge_management}")])
            .stdin(Stdio::null())
            .stdout(log_file(&dir.join("challtestsrv.log")))
            .stderr(log_file(&dir.join("challtestsrv.err")))
            .spawn()
            .unwrap();
        let pebble = spawn_pebble(&dir, ports, &options);
        let mut started = Self { dir, ports, pebble, challenge_server, options };
        started.wait_until_listening().then_some(started)
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.ports.acme)
    }

    /// PEM of the root that vouches for Pebble's own HTTPS certificate.
    pub fn api_root(&self) -> String {
        std::fs::read_to_string(self.dir.join("api-root.pem")).unwrap()
    }

    /// Where http-01 answers are looked for, at 127.0.0.1.
    pub fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// Where tls-alpn-01 answers are looked for, at 127.0.0.1.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// `127.0.0.1:PORT` of a DNS server that says 127.0.0.1 to every name.
    pub fn dns(&self) -> String {
        format!("127.0.0.1:{}", self.ports.dns)
    }

    /// Has the test server answer one http-01 challenge (with [`Options::own_http`]).
    pub fn answer(&self, token: &str, content: &str) {
        let body = json!({ "token": token, "content": content }).to_string();
        let status = post(self.ports.challenge_management, "/add-http01", &body);
        assert!(status.contains("200"), "challtestsrv says {status}");
    }

    /// Everything Pebble logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("pebble.log")).unwrap_or_default()
    }

    /// Where its log is written.
    pub fn log_dir(&self) -> &Path {
        &self.dir
    }

    /// Requests for paths that start with `path`, such as `/order-plz`, as Pebble logged them.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let call = format!("{method} {path}");
        self.log().lines().filter(|line| line.contains(&call)).count()
    }

    /// Ends Pebble and starts it again at the same ports: accounts and orders are gone, and the
    /// log begins anew.
    pub fn restart(&mut self) {
        stop(&mut self.pebble);
        self.pebble = spawn_pebble(&self.dir, self.ports, &self.options);
        assert!(self.wait_until_listening(), "pebble does not start again:\n{}", self.log());
    }

    /// Stops it in its tracks: connections are taken, nothing is answered.
    pub fn pause(&self) {
        tell(&self.pebble, "-STOP");
    }

    pub fn unpause(&self) {
        tell(&self.pebble, "-CONT");
    }

    fn wait_until_listening(&mut self) -> bool {
        let deadline = Instant::now() + START_MOST;
        let ports = [self.ports.acme, self.ports.management, self.ports.challenge_management];
        while Instant::now() < deadline {
            if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return true;
            }
            let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
            if ended(&mut self.pebble) || ended(&mut self.challenge_server) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        stop(&mut self.pebble);
        stop(&mut self.challenge_server);
        if std::thread::panicking() {
            println!("pebble's log:\n{}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn tell(child: &Child, signal: &str) {
    let told = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
    assert!(told.success(), "kill {signal} {}", child.id());
}

fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn_pebble(dir: &Path, ports: Ports, options: &Options) -> Child {
    let mut settings = json!({
        "listenAddress": format!("127.0.0.1:{}", ports.acme),
        "managementListenAddress": format!("127.0.0.1:{}", ports.management),
        "certificate": dir.join("api-cert.pem"),
        "privateKey": dir.join("api-key.pem"),
        "httpPort": ports.http,
        "tlsPort": ports.tls,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": options.eab,
        "domainBlocklist": ["blocked-domain.example"],
    });
    if options.eab {
        settings["externalAccountMACKeys"] = json!({ EAB_KID: EAB_KEY });
    }
    if let Some(seconds) = options.validity {
        settings["certificateValidityPeriod"] = seconds.into();
    }
    std::fs::write(dir.join("pebble.json"), json!({ "pebble": settings }).to_string()).unwrap();
    let mut command = Command::new("pebble");
    command
        .arg("-config")
        .arg(dir.join("pebble.json"))
        .args(["-dnsserver", &format!("127.0.0.1:{}", options.dns_port.unwrap_or(ports.dns))])
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject.to_string())
        .env("PEBBLE_AUTHZREUSE", options.authz_reuse.to_string())
        .stdin(Stdio::null())
        .stdout(log_file(&dir.join("pebble.log")))
        .stderr(log_file(&dir.join("pebble.err")));
    if options.always_valid {
        command.env("PEBBLE_VA_ALWAYS_VALID", "1");
    }
    if options.strict {
        command.arg("-strict");
    }
    command.spawn().unwrap()
}

fn log_file(path: &Path) -> Stdio {
    std::fs::File::create(path).unwrap().into()
}

fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|dir| dir.join(program).is_file()))
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until all are known, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// A root and a certificate for 127.0.0.1 and localhost.
fn write_api_certificate(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a leaf that is called like its issuer for self-signed.
    root.distinguished_name.push(rcgen::DnType::CommonName, "Test API Root");
    let root_key = KeyPair::generate().unwrap();
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    std::fs::write(dir.join("api-root.pem"), root_pem).unwrap();
    std::fs::write(dir.join("api-cert.pem"), leaf.pem()).unwrap();
    std::fs::write(dir.join("api-key.pem"), key.serialize_pem()).unwrap();
}

/// A POST by plain HTTP; answers with the status line.
fn post(port: u16, path: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(START_MOST)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}
