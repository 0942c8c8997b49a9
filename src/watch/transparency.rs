//! Asking a source of Certificate Transparency for names. Only what the operator named is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::codec::transparency;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::name::SubjectName;
use crate::core::time::Span;
use crate::sys::clock::Clock;
use crate::sys::process::Program;

/// Largest answer read, in bytes: tens of thousands of certificates.
const BODY_MAX: usize = 16 << 20;
/// Characters of a program's output kept in a failure.
const SHOWN: usize = 300;

/// Runs a program that is given the domains on standard input. Code: `ct-failed`.
pub async fn by_program(
    argv: &[String],
    domains: &[String],
    timeout: Span,
    clock: &Clock,
) -> Result<Vec<SubjectName>, Failure> {
    let mut stdin = domains.join("\n").into_bytes();
    stdin.push(b'\n');
    let program = Program { argv: argv.to_vec(), env: Vec::new(), stdin, timeout, user: None };
    let finished = program.run(clock).await.map_err(|error| failed(&error.to_string()))?;
    let said = String::from_utf8_lossy(&finished.output);
    if !finished.exit.success() {
        return Err(failed(&format!("{}: {}", finished.exit, plain(said.trim(), SHOWN))));
    }
    Ok(transparency::names(&said))
}

/// Asks a URL once for each domain, one after the other. Code: `ct-failed`.
pub async fn by_url(
    url: impl Fn(&str) -> String,
    domains: &[String],
    timeout: Span,
    clock: &Clock,
) -> Result<Vec<SubjectName>, Failure> {
    let client = crate::sys::http::client()
        .tls_backend_preconfigured(trusting()?)
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("nolapse/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::broken("ct-client", error.to_string()))?;
    let mut names = BTreeSet::new();
    for domain in domains {
        let url: Url = url(domain).parse().map_err(|_| failed("its URL can't be read"))?;
        let answer = clock.timeout(timeout, body(&client, url)).await;
        let text = answer.ok_or_else(|| failed(&format!("no answer within {timeout}")))??;
        names.extend(transparency::names(&text));
        if names.len() >= transparency::NAMES_MAX {
            break;
        }
    }
    Ok(names.into_iter().collect())
}

async fn body(client: &Client, url: Url) -> Result<String, Failure> {
    let unanswered = |error: reqwest::Error| failed(&error.without_url().to_string());
    let mut response = client.get(url).send().await.map_err(unanswered)?;
    if !response.status().is_success() {
        return Err(failed(&format!("it answered with status {}", response.status().as_u16())));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if bytes.len() + chunk.len() > BODY_MAX {
            return Err(failed(&format!("its answer is larger than {} MiB", BODY_MAX >> 20)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(why: &str) -> Failure {
    let words = format!("the source of Certificate Transparency gave no names: {}", plain(why, SHOWN));
    Failure::transient(Fault::Network, "ct-failed", words)
}

fn trusting() -> Result<ClientConfig, Failure> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::broken("ct-client", error.to_string()))?;
    if let Ok(trusting) = builder.clone().with_platform_verifier() {
        return Ok(trusting.with_no_client_auth());
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
