//! Pairs that are not the program's.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::rig::NAME;
use super::shape::Files;

/// All of them, with the CA that clients are asked for.
pub struct Made {
    pub strangers: Files,
    pub self_signed: Files,
    pub other_valid: Files,
    pub expired: Files,
    pub not_yet_valid: Files,
    pub clients: PathBuf,
}

impl Made {
    pub fn below(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let clients = dir.join("clients.pem");
        std::fs::write(&clients, ca.pem()).unwrap();
        let pair = |stem: &str, name: &str, years: (i32, i32), own: bool| {
            // For the first name and the second.
            let mut params = CertificateParams::new(vec![name.to_owned(), format!("www.{name}")]).unwrap();
            params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let chain = if own {
                params.self_signed(&key).unwrap().pem()
            } else {
                params.signed_by(&key, &ca).unwrap().pem() + &ca.pem()
            };
            let [at_chain, at_key, at_both] =
                ["crt", "key", "pem"].map(|kind| dir.join(format!("{stem}.{kind}")));
            std::fs::write(&at_chain, &chain).unwrap();
            std::fs::write(&at_key, key.serialize_pem()).unwrap();
            std::fs::write(&at_both, chain + &key.serialize_pem()).unwrap();
            Files { chain: at_chain, key: at_key, combined: at_both }
        };
        Self {
            strangers: pair("stranger", "stranger.example", (2020, 2090), false),
            self_signed: pair("self-signed", NAME, (2020, 2090), true),
            other_valid: pair("other-valid", NAME, (2020, 2090), false),
            expired: pair("expired", NAME, (2020, 2021), false),
            not_yet_valid: pair("not-yet-valid", NAME, (2080, 2090), false),
            clients,
        }
    }
}
