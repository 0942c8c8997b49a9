//! Addresses as names of a certificate (RFC 8738): what no order could change is said before it
//! costs one.

use std::net::IpAddr;

use super::file::Spot;
use super::issuer;
use super::problem::Problems;
use crate::core::spec::{IssuerSpec, Terms};

/// What public CAs ask of an address (RFC 8738, and their own rules).
pub(super) fn judge(
    ip: IpAddr,
    terms: &Terms,
    asked: &[&IssuerSpec],
    head: &Spot<'_>,
    problems: &mut Problems,
) {
    if let IpAddr::V6(long) = ip
        && let Some(short) = long.to_ipv4_mapped()
    {
        let words = format!("{ip} is the IPv4 address {short} written as IPv6, which no CA certifies");
        problems.error_hint(head, "bad-name", words, format!("write {short}"));
    }
    if let Some(issuer) = asked.iter().find(|issuer| issuer::is_public(issuer))
        && is_inner(ip)
    {
        let words =
            format!("{ip} can't be reached from the internet; {} certifies public ones only", issuer.id);
        problems.error_hint(head, "not-public", words, "use a private CA for inner addresses");
    }
    let short_lived = |issuer: &IssuerSpec| {
        let profile = terms.profile.as_ref().or(issuer.profile.as_ref());
        profile.is_some_and(|profile| profile.name == IP_PROFILE)
    };
    if asked.iter().any(|issuer| issuer::is_lets_encrypt(issuer) && !short_lived(issuer)) {
        let words = format!("Let's Encrypt certifies addresses such as {ip} under one profile only");
        problems.error_hint(head, "ip-profile", words, format!("add `profile = \"{IP_PROFILE}\"`"));
    }
}

/// Let's Encrypt's profile for certificates of 160 hours, the only one with addresses.
pub const IP_PROFILE: &str = "shortlived";

/// Addresses that mean something else, or nothing, on another network.
fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || shared
                || ip.octets()[0] == 0
        }
        IpAddr::V6(ip) => {
            let local = ip.is_unique_local() || ip.is_unicast_link_local();
            local || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified()
        }
    }
}
