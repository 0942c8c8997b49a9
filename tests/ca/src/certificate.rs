//! Issued certificates: the record kept of each, and their download (RFC 8555 §7.4.2).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;

use crate::authority::{Authority, Caller, State};
use crate::effect::Effect;
use crate::endpoint::Route;
use crate::jwk::Jwk;
use crate::problem::Problem;
use crate::reply::Reply;

#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) account: String,
    pub(crate) order: String,
    pub(crate) cert_id: String,
    pub(crate) serial: String,
    pub(crate) names: Vec<String>,
    pub(crate) profile: Option<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) leaf_der: Vec<u8>,
    pub(crate) leaf_pem: String,
    pub(crate) key: Option<Jwk>,
    /// The reason code it was revoked with (RFC 5280 §5.3.1).
    pub(crate) revoked: Option<u8>,
    /// Of the hierarchy that only lies use.
    pub(crate) staged: bool,
}

/// What the CA remembers of a certificate it issued.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IssuedCertificate {
    /// The serial number in lower-case hex, without separators.
    pub serial: String,
    /// The ARI identifier (RFC 9773 §4.1).
    pub cert_id: String,
    /// Names in the order the client listed them.
    pub names: Vec<String>,
    /// The account that ordered it.
    pub account_url: String,
    /// The order it was issued for.
    pub order_url: String,
    /// The profile the order asked for.
    pub profile: Option<String>,
    /// The ARI identifier of the predecessor the order named.
    pub replaces: Option<String>,
    /// As the leaf says, even where a fault made it lie.
    pub not_before: SystemTime,
    /// As the leaf says.
    pub not_after: SystemTime,
    /// The leaf alone.
    pub leaf_der: Vec<u8>,
    /// The default chain, as downloaded.
    pub chain_pem: String,
    /// The reason code, once revoked.
    pub revoked: Option<u8>,
}

/// What can only be read from the signed certificate itself.
pub(crate) struct LeafFacts {
    pub(crate) cert_id: String,
    pub(crate) serial: String,
    pub(crate) key: Option<Jwk>,
}

impl LeafFacts {
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, leaf) = x509_parser::parse_x509_certificate(der).ok()?;
        let key_id = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
            _ => None,
        })?;
        let serial = leaf.raw_serial();
        Some(Self {
            // RFC 9773 §4.1: key identifier and the serial's DER content octets, a leading zero included.
            cert_id: format!("{}.{}", URL_SAFE_NO_PAD.encode(key_id.0), URL_SAFE_NO_PAD.encode(serial)),
            serial: hex(serial),
            key: Jwk::from_spki(leaf.public_key()),
        })
    }
}

/// Lower-case hex of a positive DER integer, without the octet that only marks it positive.
fn hex(integer: &[u8]) -> String {
    integer.iter().skip_while(|byte| **byte == 0).fold(String::new(), |mut text, byte| {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or_default());
        text
    })
}

pub(crate) fn download(
    ca: &Authority,
    state: &State,
    caller: &Caller,
    route: &Route,
    effect: Option<&Effect>,
) -> Result<Reply, Problem> {
    let certificate = state.certificates.get(&route.id).ok_or_else(|| Problem::not_found("certificate"))?;
    caller.must_own(&certificate.account)?;
    let hierarchy = if certificate.staged { &ca.staging } else { &ca.hierarchy };
    let pem = hierarchy
        .chain_pem(&certificate.leaf_pem, route.alternate)
        .ok_or_else(|| Problem::not_found("alternate chain"))?;
    let body = match effect {
        Some(Effect::Chain(lie)) => {
            let staging = ca.staging.chain_pem("", 0).unwrap_or_default();
            lie.bend(&pem, &hierarchy.root_pem(), &staging)
        }
        _ => pem.into_bytes(),
    };
    let mut reply = Reply::with_body(200, "application/pem-certificate-chain", body);
    for n in (0..=ca.hierarchy.alternates()).filter(|n| *n != route.alternate) {
        let url = ca.url(&format!("certificate/{}", route.id));
        let url = if n == 0 { url } else { format!("{url}/alternate/{n}") };
        reply = reply.link(&url, "alternate");
    }
    Ok(reply)
}

impl Authority {
    pub(crate) fn issued_view(&self, certificate: &Certificate) -> IssuedCertificate {
        IssuedCertificate {
            serial: certificate.serial.clone(),
            cert_id: certificate.cert_id.clone(),
            names: certificate.names.clone(),
            account_url: self.url(&format!("account/{}", certificate.account)),
            order_url: self.url(&format!("order/{}", certificate.order)),
            profile: certificate.profile.clone(),
            replaces: certificate.replaces.clone(),
            not_before: certificate.not_before.into(),
            not_after: certificate.not_after.into(),
            leaf_der: certificate.leaf_der.clone(),
            chain_pem: self.hierarchy.chain_pem(&certificate.leaf_pem, 0).unwrap_or_default(),
            revoked: certificate.revoked,
        }
    }
}
