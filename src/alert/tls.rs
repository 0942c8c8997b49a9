//! Whom a channel trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::codec::pem;
use crate::core::failure::{Failure, Fault};
use crate::sys::disk::Disk;

/// Largest file of roots, in bytes.
const ROOTS_MAX: usize = 1 << 20;

/// Those of a file, or the system's, or those compiled in where it has none. Code: `alert-ca-file`.
pub fn trusting(ca_file: Option<&str>) -> Result<ClientConfig, Failure> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::broken("alert-tls", error.to_string()))?;
    if let Some(path) = ca_file {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(read(path)?);
        if added == 0 {
            return Err(unusable(path, "it holds no certificate that can be a root"));
        }
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    if let Ok(trusting) = builder.clone().with_platform_verifier() {
        return Ok(trusting.with_no_client_auth());
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read(path: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text =
        Disk::real().read(Path::new(path), ROOTS_MAX).map_err(|error| unusable(path, &error.to_string()))?;
    let ders = pem::lenient_certificates(text.bytes()).map_err(|error| unusable(path, &error.to_string()))?;
    Ok(ders.into_iter().map(CertificateDer::from).collect())
}

fn unusable(path: &str, why: &str) -> Failure {
    Failure::refused(Fault::Config, "alert-ca-file", format!("ca-file {path}: {why}"))
}

/// For connections without TLS: reading some hundred roots would be for nothing.
pub fn trusting_nobody() -> Result<ClientConfig, Failure> {
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::broken("alert-tls", error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// The roots of a file as PEM texts of one certificate each, for who reads them himself.
pub fn roots(path: &str) -> Result<Vec<Vec<u8>>, Failure> {
    Ok(read(path)?.into_iter().map(|der| der.to_vec()).collect())
}
