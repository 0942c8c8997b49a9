//! Certificate signing requests (RFC 8555 §7.4): whose key, for which names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::identifier::Identifier;
use crate::jwk::Jwk;
use crate::problem::Problem;

#[derive(Debug)]
pub(crate) struct Csr {
    pub(crate) key: SubjectPublicKeyInfo,
    /// The key in comparable form; none for a kind no account can have.
    pub(crate) jwk: Option<Jwk>,
    pub(crate) names: BTreeSet<Identifier>,
}

impl Csr {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, Problem> {
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|_| Problem::bad_csr("the CSR is not a DER-encoded PKCS#10 request"))?;
        if !rest.is_empty() {
            return Err(Problem::bad_csr("there are bytes after the CSR"));
        }
        request.verify_signature().map_err(|_| Problem::bad_csr("the CSR's signature does not verify"))?;
        let info = &request.certification_request_info;
        let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw)
            .map_err(|_| Problem::bad_csr("the CSR's key is of a kind this CA does not certify"))?;
        Ok(Self { key, jwk: Jwk::from_spki(&info.subject_pki), names: names(&request)? })
    }
}

/// Subject alternative names and the common name together: the order must list them all (RFC 8555 §7.4).
fn names(request: &X509CertificationRequest<'_>) -> Result<BTreeSet<Identifier>, Problem> {
    let mut names = BTreeSet::new();
    for common_name in request.certification_request_info.subject.iter_common_name() {
        let text = common_name.as_str().map_err(|_| Problem::bad_csr("the common name is not text"))?;
        let kind = if text.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        names.insert(Identifier::parse(kind, text).map_err(Problem::bad_csr)?);
    }
    let extensions = request.requested_extensions().into_iter().flatten();
    for extension in extensions {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension else { continue };
        for alternative in &alternatives.general_names {
            let name = match alternative {
                GeneralName::DNSName(name) => Identifier::parse("dns", name).map_err(Problem::bad_csr)?,
                GeneralName::IPAddress(octets) => Identifier::Ip(address(octets)?),
                other => return Err(Problem::bad_csr(format!("{other} can not be certified"))),
            };
            names.insert(name);
        }
    }
    Ok(names)
}

fn address(octets: &[u8]) -> Result<IpAddr, Problem> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .map_err(|_| Problem::bad_csr("an IP address has 4 or 16 octets"))
}
