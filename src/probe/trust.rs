//! Judging a chain the way a client of this host would, without acting on the verdict.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};

use crate::core::failure::plain;
use crate::core::time::Timestamp;
use crate::ports::Distrust;

/// Roots that vouch for chains: the system's, those compiled in where the system has none, and
/// extra ones. Read once, when first asked.
pub struct Trust {
    provider: Arc<CryptoProvider>,
    extra: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Result<Arc<dyn ServerCertVerifier>, String>>,
}

/// Longest reason, in characters.
const REASON_MAX: usize = 200;

impl Trust {
    pub fn new(provider: Arc<CryptoProvider>, extra: Vec<CertificateDer<'static>>) -> Self {
        Self { provider, extra, verifier: OnceLock::new() }
    }

    /// `None` when a client would take the chain for `name` at `now`, else why not.
    pub fn distrust(
        &self,
        chain: &[CertificateDer<'static>],
        name: &ServerName<'_>,
        now: Timestamp,
    ) -> Option<Distrust> {
        let (leaf, above) = chain.split_first()?;
        let verifier = match self.verifier.get_or_init(|| self.load()) {
            Ok(verifier) => verifier,
            Err(why) => return Some(Distrust { unrooted: false, words: why.clone() }),
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.secs()).unwrap_or(0)));
        let error = verifier.verify_server_cert(leaf, above, name, &[], now).err()?;
        let unrooted = matches!(error, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        Some(Distrust { unrooted, words: reason(&error) })
    }

    fn load(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let provider = Arc::clone(&self.provider);
        match rustls_platform_verifier::Verifier::new_with_extra_roots(self.extra.clone(), provider) {
            Ok(verifier) => Ok(Arc::new(verifier)),
            // An image FROM scratch has no roots of its own.
            Err(_) => self.load_bundled().map_err(|error| plain(&error, REASON_MAX)),
        }
    }

    fn load_bundled(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // An extra root that can't be read vouches for nothing; the others still do.
        roots.add_parsable_certificates(self.extra.iter().cloned());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        Ok(verifier.build().map_err(|error| format!("no roots to judge by: {error}"))?)
    }
}

fn reason(error: &rustls::Error) -> String {
    let known = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => "no root that this system trusts vouches for it",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for other names"
            }
            CertificateError::Revoked => "it was revoked",
            CertificateError::BadSignature => "a signature in its chain is wrong",
            _ => return plain(&problem.to_string(), REASON_MAX),
        },
        _ => return plain(&error.to_string(), REASON_MAX),
    };
    known.to_owned()
}
