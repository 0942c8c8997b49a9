//! The CA's own keys: a root, intermediates, roots that cross-sign, and the root of the API's TLS certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::dice::{random_bytes, random_text};
use crate::identifier::Identifier;
use crate::instant::now;

const YEAR: Duration = Duration::from_hours(365 * 24);

/// Who signs leaves, and the certificates above them.
pub(crate) struct Hierarchy {
    /// Root first; the last one signs leaves.
    issuers: Vec<CertifiedIssuer<'static, KeyPair>>,
    alternates: Vec<Alternate>,
}

struct Alternate {
    root_pem: String,
    /// The first certificate under our root (or the root itself), signed by this root instead.
    cross_signed_pem: String,
}

/// What goes into a leaf.
pub(crate) struct LeafPlan<'a> {
    pub(crate) key: &'a SubjectPublicKeyInfo,
    pub(crate) names: Vec<Identifier>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) common_name: bool,
    /// It may sign certificates itself.
    pub(crate) authority: bool,
}

impl Hierarchy {
    /// `chain_length` counts the certificates a client downloads: 1 is the leaf alone.
    pub(crate) fn new(name: &str, chain_length: usize, alternates: usize) -> Result<Self, rcgen::Error> {
        let tag = random_text::<3>();
        let (params, key) = (ca_params(&format!("{name} Root {tag}")), KeyPair::generate()?);
        let mut issuers = vec![CertifiedIssuer::self_signed(params.clone(), key)?];
        // Kept for cross-signing: the certificate right below the root, or the root when there is none.
        let mut topmost = params;
        for level in 1..chain_length {
            let params = ca_params(&format!("{name} Intermediate {level} {tag}"));
            let above = &issuers[issuers.len() - 1];
            let issuer = CertifiedIssuer::signed_by(params.clone(), KeyPair::generate()?, above)?;
            issuers.push(issuer);
            if level == 1 {
                topmost = params;
            }
        }
        let topmost_key = issuers[usize::from(chain_length > 1)].key();
        let alternates = (1..=alternates)
            .map(|n| {
                let root = CertifiedIssuer::self_signed(
                    ca_params(&format!("{name} Alternate Root {n} {tag}")),
                    KeyPair::generate()?,
                )?;
                let cross_signed_pem = topmost.signed_by(topmost_key, &root)?.pem();
                Ok(Alternate { root_pem: root.pem(), cross_signed_pem })
            })
            .collect::<Result<Vec<_>, rcgen::Error>>()?;
        Ok(Self { issuers, alternates })
    }

    pub(crate) fn root_pem(&self) -> String {
        self.issuers[0].pem()
    }

    pub(crate) fn alternate_root_pems(&self) -> Vec<String> {
        self.alternates.iter().map(|alternate| alternate.root_pem.clone()).collect()
    }

    pub(crate) fn alternates(&self) -> usize {
        self.alternates.len()
    }

    pub(crate) fn sign_leaf(&self, plan: &LeafPlan<'_>) -> Result<rcgen::Certificate, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.not_before = plan.not_before;
        params.not_after = plan.not_after;
        params.serial_number = Some(serial());
        params.distinguished_name = DistinguishedName::new();
        if plan.common_name
            // RFC 5280, appendix A: a common name has at most 64 characters.
            && let Some(name) = plan.names.iter().map(ToString::to_string).find(|name| name.len() <= 64)
        {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = plan
            .names
            .iter()
            .map(|name| match name {
                Identifier::Dns(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
                Identifier::Ip(address) => Ok(SanType::IpAddress(*address)),
            })
            .collect::<Result<_, rcgen::Error>>()?;
        params.is_ca =
            if plan.authority { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(plan.key, &self.issuers[self.issuers.len() - 1])
    }

    /// The file a client downloads (RFC 8555 §9.1): the leaf, then each issuer, the root left out.
    pub(crate) fn chain_pem(&self, leaf_pem: &str, alternate: usize) -> Option<String> {
        let intermediates: Vec<String> = self.issuers[1..].iter().rev().map(CertifiedIssuer::pem).collect();
        let mut chain = vec![leaf_pem.to_owned()];
        if alternate == 0 {
            chain.extend(intermediates);
        } else {
            let cross_signed = &self.alternates.get(alternate - 1)?.cross_signed_pem;
            chain.extend(intermediates.into_iter().take(self.issuers.len().saturating_sub(2)));
            chain.push(cross_signed.clone());
        }
        Some(chain.concat())
    }
}

/// The TLS identity of the API: a fresh root, and a certificate for the loopback names.
pub(crate) struct ApiIdentity {
    pub(crate) root_pem: String,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl ApiIdentity {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let root = CertifiedIssuer::self_signed(
            ca_params(&format!("Test CA API Root {}", random_text::<3>())),
            KeyPair::generate()?,
        )?;
        let mut params = CertificateParams::default();
        params.not_before = now() - Duration::from_hours(1);
        params.not_after = now() + YEAR;
        params.serial_number = Some(serial());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &root)?;
        Ok(Self {
            root_pem: root.pem(),
            chain: vec![leaf.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = now() - Duration::from_hours(24);
    params.not_after = now() + 20 * YEAR;
    params.serial_number = Some(serial());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Positive, unguessable, and within the 20 octets RFC 5280 §4.1.2.2 allows. Half of them need the leading zero
/// octet that careless ARI clients lose (RFC 9773 §4.1).
fn serial() -> SerialNumber {
    let mut bytes = random_bytes::<16>();
    if bytes[0] == 0 {
        bytes[0] = 1;
    }
    SerialNumber::from_slice(&bytes)
}
