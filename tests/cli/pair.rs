//! Certificates with dates of our choice, and a server that shows one.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

/// A self-signed certificate and its key, as PEM.
pub struct Pair {
    pub chain: String,
    pub key: String,
}

impl Pair {
    /// Valid from so many days before now until so many days after it.
    pub fn new(names: &[&str], begun: i64, left: i64) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::days(begun);
        // Half a day, so that "29 days left" is no race.
        params.not_after = now + time::Duration::days(left) + time::Duration::hours(12);
        let key = KeyPair::generate().unwrap();
        Self { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    /// Shows this pair at a port of loopback as long as the test lasts.
    pub fn serve(&self) -> u16 {
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut connection = ServerConnection::new(config.clone()).unwrap();
                let _ = Stream::new(&mut connection, &mut stream).write_all(b"x");
                connection.send_close_notify();
                let _ = connection.complete_io(&mut stream);
            }
        });
        port
    }
}
