//! A stock client, written by others against real CAs, is content with ours.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use test_ca::{Ca, ChallengeKind, Endpoint};
use tokio::process::Command;

/// Far beyond what any step takes; only a hang meets it.
const LIMIT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn lego_obtains_and_renews_by_http01() {
    let port = free_port();
    let ca = Ca::builder().http_port(port).resolve_all(Ipv4Addr::LOCALHOST).start().await.unwrap();
    let Some(lego) = Lego::new("http01", &ca, port, &["one.example.test"]) else { return };

    lego.run(&["run"]).await;
    let first = ca.issued();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].names, ["one.example.test"]);
    lego.verify(&ca).await;

    lego.run(&["renew", "--days", "200", "--no-random-sleep"]).await;
    assert_eq!(ca.issued().len(), 2);
    assert_eq!(ca.count(Endpoint::NewAccount), 1, "the account is used again");
    lego.verify(&ca).await;
    let served = std::fs::read_to_string(lego.file("one.example.test.crt")).unwrap();
    assert!(
        served.trim_end().starts_with(ca.issued()[1].chain_pem.trim_end()),
        "the renewed chain was saved"
    );
}

#[tokio::test]
async fn lego_survives_rejected_nonces_long_chains_and_slow_orders() {
    let port = free_port();
    let ca = Ca::builder()
        .http_port(port)
        .resolve_all(Ipv4Addr::LOCALHOST)
        .chain_length(3)
        .nonce_rejection(20)
        .processing_polls(1)
        .external_account("kid-1", b"an external account's MAC key, 32+")
        .terms_of_service()
        .decoy_challenge()
        .common_name()
        .start()
        .await
        .unwrap();
    let Some(mut lego) = Lego::new("slow", &ca, port, &["one.example.test", "two.example.test"]) else {
        return;
    };
    // base64url of the MAC key above.
    let key = "YW4gZXh0ZXJuYWwgYWNjb3VudCdzIE1BQyBrZXksIDMyKw";
    lego.global.extend(["--eab", "--kid", "kid-1", "--hmac", key].map(String::from));
    lego.run(&["run"]).await;
    lego.verify(&ca).await;
}

#[tokio::test]
async fn lego_obtains_by_tls_alpn01() {
    let port = free_port();
    let ca = Ca::builder().challenges(&[ChallengeKind::TlsAlpn01]).tls_port(port);
    let ca = ca.resolve_all(Ipv4Addr::LOCALHOST).start().await.unwrap();
    let Some(mut lego) = Lego::new("tlsalpn", &ca, port, &["one.example.test"]) else { return };
    lego.global.retain(|word| word != "--http");
    lego.global.extend(["--tls".to_owned(), "--tls.port".to_owned(), format!("127.0.0.1:{port}")]);
    lego.run(&["run"]).await;
    assert_eq!(ca.issued()[0].names, ["one.example.test"]);
    lego.verify(&ca).await;
}

/// lego with a directory of its own.
struct Lego {
    home: PathBuf,
    global: Vec<String>,
}

impl Lego {
    fn new(name: &str, ca: &Ca, port: u16, domains: &[&str]) -> Option<Self> {
        if !Path::new("/usr/bin/lego").exists() {
            println!("SKIPPED: /usr/bin/lego is not installed (Debian package lego)");
            return None;
        }
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lego-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("api-root.pem"), ca.api_root_pem()).unwrap();
        std::fs::write(home.join("root.pem"), ca.issuing_root_pem()).unwrap();
        let listen = format!("127.0.0.1:{port}");
        let global = [
            ["--server", &ca.directory_url()],
            ["--path", home.to_str().unwrap()],
            ["--email", "operator@example.test"],
            ["--http.port", &listen],
        ];
        let domains = domains.iter().map(|domain| ["--domains", domain]);
        let global = global.into_iter().chain(domains).flatten().map(str::to_owned);
        let global = global.chain(["--accept-tos".to_owned(), "--http".to_owned()]).collect();
        Some(Self { home, global })
    }

    async fn run(&self, command: &[&str]) {
        let mut lego = Command::new("/usr/bin/lego");
        lego.args(&self.global).args(command).env("LEGO_CA_CERTIFICATES", self.home.join("api-root.pem"));
        succeed(lego).await;
    }

    /// OpenSSL builds the downloaded chain up to the CA's root, for the name that was asked.
    async fn verify(&self, ca: &Ca) {
        let leaf = self.file("one.example.test.crt");
        let mut openssl = Command::new("openssl");
        openssl.args([
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            "one.example.test",
        ]);
        openssl.arg("-CAfile").arg(self.home.join("root.pem")).arg("-untrusted").arg(&leaf).arg(&leaf);
        succeed(openssl).await;
        let saved = std::fs::read_to_string(leaf).unwrap();
        let served = ca.issued().pop().unwrap().chain_pem;
        assert_eq!(saved.matches("BEGIN CERTIFICATE").count(), served.matches("BEGIN CERTIFICATE").count());
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.join("certificates").join(name)
    }
}

impl Drop for Lego {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.home);
        }
    }
}

async fn succeed(mut command: Command) -> Output {
    let output = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output());
    let output = output.await.expect("the command ends in time").expect("the command starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// A port that was free a moment ago; lego has to be told one.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
