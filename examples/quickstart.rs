//! A whole life of a certificate in a minute, on this machine alone: a small CA, a small TLS
//! server and the real agent. Shows the first issuance, then renewals of a certificate that
//! lives half a minute, each one seen by a TLS handshake.
//!
//! ```text
//! cargo run --example quickstart             # ends by itself, exit 0
//! cargo run --example quickstart -- --keep   # leaves everything running to look at
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to whoever runs it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use nolapse::agent::Signal;
use nolapse::cli::publish;
use nolapse::wire::{self, Places, Role, Wired};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const NAME: &str = "shop.example";
/// How long each certificate lives: the agent renews at half-life.
const LIFETIME: Duration = Duration::from_secs(30);
/// Renewals to wait for after the first issuance.
const RENEWALS: usize = 3;
/// Longest wait for the next certificate to be served.
const PATIENCE: Duration = Duration::from_secs(60);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let keep = std::env::args().any(|argument| argument == "--keep");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(show(keep))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show(keep: bool) -> Outcome<()> {
    let began = Instant::now();
    let say = |what: &str| println!("{:5.1} s  {what}", began.elapsed().as_secs_f32());
    let dir = std::env::temp_dir().join(format!("nolapse-quickstart-{}", std::process::id()));
    fs::create_dir_all(&dir)?;

    let challenge_port = free_port()?;
    let ca = test_ca::Ca::builder()
        .resolve_all([127, 0, 0, 1])
        .http_port(challenge_port)
        .lifetime(LIFETIME)
        .start()
        .await?;
    fs::write(dir.join("ca.pem"), ca.api_root_pem())?;
    say(&format!("a small CA runs at {}", ca.directory_url()));

    let live = dir.join("state/live").join(NAME);
    let server = Server::start(live.clone()).await?;
    say(&format!("a small TLS server listens at 127.0.0.1:{}; it has no certificate yet", server.tls_port));

    let config = dir.join("nolapse.toml");
    fs::write(&config, configuration(&dir, ca.directory_url().as_str(), challenge_port, &server))?;
    say(&format!("configuration: {}", config.display()));
    println!("{}", indent(&fs::read_to_string(&config)?));

    let (stop, agent) = start_agent(&config).await?;
    say("the agent runs (this is `nolapse run`)");

    let mut seen: Vec<String> = Vec::new();
    let mut waiting_since = Instant::now();
    while seen.len() <= RENEWALS {
        if agent.is_finished() {
            return Err("the agent ended by itself".into());
        }
        if let Some(serial) = served_serial(server.tls_port).await
            && seen.last() != Some(&serial)
        {
            let known = ca.issued().into_iter().find(|issued| issued.serial == serial);
            let replaced = known.as_ref().and_then(|issued| issued.replaces.as_ref());
            say(&format!(
                "a handshake returns certificate {} {}",
                serial.get(..8).unwrap_or(&serial),
                match (seen.is_empty(), replaced) {
                    (true, _) => "→ issued ✓ installed ✓ reloaded ✓ observed ✓".to_owned(),
                    (false, Some(_)) =>
                        "→ renewed at half-life; the CA knows which one it replaces".to_owned(),
                    (false, None) => "→ renewed".to_owned(),
                }
            ));
            seen.push(serial);
            waiting_since = Instant::now();
        }
        if waiting_since.elapsed() > PATIENCE {
            return Err(format!("no new certificate was served within {PATIENCE:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    say(&format!("{} certificates in a row, nobody remembered anything", seen.len()));
    println!("\nWhat `nolapse -c {} status` says now:", config.display());
    let status = wire_status(&config).await?;
    println!("{}", indent(&status));
    if keep {
        say("everything keeps running; end it with Ctrl-C");
        tokio::signal::ctrl_c().await?;
    }
    stop.send(Signal::Stop).await?;
    agent.await??;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn configuration(dir: &Path, directory: &str, challenge_port: u16, server: &Server) -> String {
    format!(
        r#"[agent]
state-dir = "{dir}/state"
run-dir = "{dir}/run"
log-level = "error"

[issuer.demo]
directory = "{directory}"
ca-file = "{dir}/ca.pem"

[solver.demo]
listen = "127.0.0.1:{challenge_port}"
check-port = {challenge_port}

[hook.server]
http = {{ url = "http://127.0.0.1:{control}/reload" }}

[certificate."{NAME}"]
issuer = "demo"
solver = "demo"
hooks = ["server"]
observe = ["127.0.0.1:{tls}"]
"#,
        dir = dir.display(),
        control = server.control_port,
        tls = server.tls_port,
    )
}

async fn start_agent(
    config: &Path,
) -> Outcome<(mpsc::Sender<Signal>, tokio::task::JoinHandle<Result<(), nolapse::core::failure::Failure>>)> {
    let places = Places { config: Some(config.to_owned()), ..Places::default() };
    let loaded = wire::load(&places).map_err(|_| "the configuration can't be used")?;
    let wired = Wired::new(&loaded, Role::Daemon).await?;
    let (sender, receiver) = mpsc::channel(1);
    let agent = wired.agent.clone();
    let run = tokio::spawn(async move {
        let ended = agent.run(receiver, |_| ()).await;
        drop(wired);
        ended
    });
    Ok((sender, run))
}

async fn wire_status(config: &Path) -> Outcome<String> {
    let places = Places { config: Some(config.to_owned()), ..Places::default() };
    let loaded = wire::load(&places).map_err(|_| "the configuration can't be used")?;
    let wired = Wired::new(&loaded, Role::Reader).await?;
    let report = publish::report(&wired).await?;
    let line = report.lineages.first().ok_or("no certificate is known")?;
    Ok(format!(
        "{}: {} · generation {} · {} · next renewal {}",
        line.name,
        line.standing,
        line.generation.unwrap_or_default(),
        line.endpoints
            .iter()
            .map(|place| format!("{} {}", place.endpoint, place.sight.as_deref().unwrap_or("not looked at")))
            .collect::<Vec<_>>()
            .join(" · "),
        line.renews_at.map_or_else(|| "—".to_owned(), |at| at.to_string()),
    ))
}

/// A TLS server with the manners of the usual ones: it reads its files when told to reload.
struct Server {
    tls_port: u16,
    control_port: u16,
}

impl Server {
    async fn start(live: PathBuf) -> Outcome<Self> {
        let shown: Arc<RwLock<Option<Arc<ServerConfig>>>> = Arc::default();
        let tls = TcpListener::bind("127.0.0.1:0").await?;
        let control = TcpListener::bind("127.0.0.1:0").await?;
        let ports = Self { tls_port: tls.local_addr()?.port(), control_port: control.local_addr()?.port() };
        let serving = shown.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = tls.accept().await {
                let config = serving.read().ok().and_then(|config| config.clone());
                tokio::spawn(async move {
                    let Some(config) = config else { return };
                    if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = control.accept().await {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let answer = match load(&live) {
                    Ok(config) => {
                        if let Ok(mut shown) = shown.write() {
                            *shown = Some(config);
                        }
                        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
                    }
                    Err(_) => {
                        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    }
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(ports)
    }
}

fn load(live: &Path) -> Outcome<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(live.join("fullchain.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(live.join("privkey.pem"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// What a client sees: the serial of the certificate that a handshake returns.
async fn served_serial(port: u16) -> Option<String> {
    use nolapse::core::endpoint::Endpoint;
    use nolapse::core::time::Span;
    use nolapse::ports::{Probe, Seen};
    ServerName::try_from(NAME).ok()?;
    let probe = nolapse::probe::TlsProbe::new(nolapse::sys::clock::Clock::wall(), Vec::new());
    TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let endpoint = Endpoint::parse(&format!("{NAME}@127.0.0.1:{port}")).ok()?;
    match probe.look(&endpoint, Span::secs(5)).await.pop()?.seen {
        Seen::Served(served) => Some(served.leaf.serial),
        Seen::Nothing { .. } => None,
    }
}

fn free_port() -> Outcome<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn indent(text: &str) -> String {
    text.lines().flat_map(|line| ["         | ", line, "\n"]).collect()
}
