//! The CA as a program, for shell tests and stock clients: prints its directory URL, then a line a request.

use std::error::Error;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use test_ca::{Ca, ChallengeKind};

/// A small, real ACME CA for tests. Loopback only; nothing is kept when it ends.
#[derive(Parser)]
struct Arguments {
    /// Where to serve the API.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Serve the API over plain HTTP.
    #[arg(long)]
    plain_http: bool,
    /// The port that plays port 80 in http-01 validation.
    #[arg(long, value_name = "N", default_value_t = 80)]
    http_port: u16,
    /// The port that plays port 443 in tls-alpn-01 validation.
    #[arg(long, value_name = "N", default_value_t = 443)]
    tls_port: u16,
    /// Lifetime of certificates: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    lifetime: Duration,
    /// A profile and its lifetime; may be repeated.
    #[arg(long, value_name = "NAME=TIME", value_parser = profile)]
    profile: Vec<(String, Duration)>,
    /// The loopback address every name leads to.
    #[arg(long, value_name = "IP")]
    resolve_all: Option<IpAddr>,
    /// Demand an external account binding with this base64url MAC key; may be repeated.
    #[arg(long, value_name = "KID:KEY", value_parser = external_account)]
    eab: Vec<(String, Vec<u8>)>,
    /// Percentage of good nonces to reject.
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    nonce_rejection: u8,
    /// Percentage of valid authorizations to use again.
    #[arg(long, value_name = "PERCENT", default_value_t = 0)]
    authorization_reuse: u8,
    /// Certificates in a downloaded chain, 1 to 3.
    #[arg(long, value_name = "N", default_value_t = 2)]
    chain_length: usize,
    /// Take every applicant's word instead of validating.
    #[arg(long)]
    skip_validation: bool,
    /// Write the root that issued chains lead to.
    #[arg(long, value_name = "FILE")]
    write_root: Option<PathBuf>,
    /// Write the root of the API's TLS certificate.
    #[arg(long, value_name = "FILE")]
    write_api_root: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut builder = Ca::builder()
        .listen(arguments.listen)
        .http_port(arguments.http_port)
        .tls_port(arguments.tls_port)
        .challenges(&[ChallengeKind::Http01, ChallengeKind::TlsAlpn01])
        .lifetime(arguments.lifetime)
        .nonce_rejection(arguments.nonce_rejection)
        .authorization_reuse(arguments.authorization_reuse)
        .chain_length(arguments.chain_length)
        .on_request(|request| say(&request.to_string()));
    if arguments.plain_http {
        builder = builder.plain_http();
    }
    if arguments.skip_validation {
        builder = builder.skip_validation();
    }
    if let Some(address) = arguments.resolve_all {
        builder = builder.resolve_all(address);
    }
    for (name, lifetime) in &arguments.profile {
        builder = builder.profile(name, &format!("certificates for {} s", lifetime.as_secs()), *lifetime);
    }
    for (kid, key) in &arguments.eab {
        builder = builder.external_account(kid, key);
    }
    let ca = builder.start().await?;
    // The files are there before the URL is printed, so that a script may wait for the URL alone.
    if let Some(path) = &arguments.write_root {
        std::fs::write(path, ca.issuing_root_pem())?;
    }
    if let Some(path) = &arguments.write_api_root {
        std::fs::write(path, ca.api_root_pem())?;
    }
    say(&ca.directory_url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// A line to whoever reads; a reader that left is no reason to stop serving.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(format!("{unit:?} is not one of s, m, h, d")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is not a number"))?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}

fn profile(text: &str) -> Result<(String, Duration), String> {
    let (name, lifetime) = text.split_once('=').ok_or("expected NAME=TIME")?;
    Ok((name.to_owned(), duration(lifetime)?))
}

fn external_account(text: &str) -> Result<(String, Vec<u8>), String> {
    let (kid, key) = text.split_once(':').ok_or("expected KID:KEY")?;
    let key = URL_SAFE_NO_PAD.decode(key.trim_end_matches('=')).map_err(|error| error.to_string())?;
    Ok((kid.to_owned(), key))
}
