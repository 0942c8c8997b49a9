//! Who vouches for the CA's own HTTPS certificate.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::spec::IssuerSpec;

pub(super) fn read_roots(pem: &Content, spec: &IssuerSpec) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    let file = spec.ca_file.as_deref().unwrap_or("ca-file");
    let bad = |why: String| {
        let words = format!(
            "{file} of issuer {} can't be used as `ca-file`: {why}; put the CA's root certificates there, whole and in PEM",
            spec.id
        );
        Failure::refused(Fault::Config, "ca-file", words)
    };
    for certificate in CertificateDer::pem_slice_iter(pem.bytes()) {
        let certificate = certificate.map_err(|error| bad(damage(&error)))?;
        store.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(bad("it holds no PEM certificate".to_owned()));
    }
    Ok(store)
}

/// The crate tells which octets it missed, by number.
fn damage(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block in it has no end, so it was cut off".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a block in it begins with a broken line".to_owned(),
        other => format!("a block in it is damaged: {other}"),
    }
}

/// Trusts the given roots alone, else the system's, else (a container without any) those that
/// came with this program.
pub(super) fn tls(roots: Option<RootCertStore>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::broken("tls-config", error.to_string()))?;
    let mut config = match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => match rustls_platform_verifier::Verifier::new(provider) {
            Ok(verifier) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
            Err(error) => {
                tracing::info!(%error, "no system root certificates; the built-in ones are used");
                let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        },
    };
    // RFC 8555 asks for HTTPS, not for a version; the few workers gain nothing from HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The TLS error somewhere inside. An `io::Error` hides what it holds from `source()`.
pub(super) fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = tls_error(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}
