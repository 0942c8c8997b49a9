//! dns-01 validation (RFC 8555 §8.4): the texts at `_acme-challenge`, from the one DNS server that the test gives.

use std::net::{Ipv4Addr, SocketAddr};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::net::UdpSocket;

use crate::authority::Authority;
use crate::challenge::Subject;
use crate::dice::random_bytes;
use crate::problem::Problem;

const KIND_TXT: u16 = 16;
/// What fits in any packet on loopback.
const ANSWER_LIMIT: usize = 16 * 1024;

pub(crate) async fn validate(ca: &Authority, subject: &Subject) -> Result<(), Problem> {
    validate_at(ca, subject, &format!("_acme-challenge.{}", subject.identifier)).await
}

pub(crate) async fn validate_at(ca: &Authority, subject: &Subject, name: &str) -> Result<(), Problem> {
    let texts = texts_at(ca, name).await?;
    let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, subject.key_authorization.as_bytes()));
    if texts.iter().any(|text| text == expected.as_bytes()) {
        return Ok(());
    }
    if texts.is_empty() {
        return Err(Problem::new("dns", 400, format!("{name}: no TXT record")));
    }
    Err(Problem::unauthorized(format!("{name}: {} TXT records, none is {expected}", texts.len())))
}

/// All texts of a name, in the time that a validation may take.
pub(crate) async fn texts_at(ca: &Authority, name: &str) -> Result<Vec<Vec<u8>>, Problem> {
    let Some(server) = ca.config.dns_server else {
        return Err(Problem::new("serverInternal", 500, "no DNS server was given to this CA"));
    };
    let limit = ca.config.validation_timeout;
    match tokio::time::timeout(limit, texts(server, name)).await {
        Ok(texts) => texts,
        Err(_) => Err(Problem::new("dns", 400, format!("{name}: no answer within {limit:?}"))),
    }
}

async fn texts(server: SocketAddr, name: &str) -> Result<Vec<Vec<u8>>, Problem> {
    let broken = |error: &dyn std::fmt::Display| Problem::new("dns", 400, format!("{name}: {error}"));
    let id = random_bytes::<2>();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| broken(&error))?;
    socket.connect(server).await.map_err(|error| broken(&error))?;
    socket.send(&question(id, name)).await.map_err(|error| broken(&error))?;
    let mut answer = vec![0; ANSWER_LIMIT];
    let length = socket.recv(&mut answer).await.map_err(|error| broken(&error))?;
    let answer = &answer[..length];
    if answer.len() < 12 || answer[..2] != id {
        return Err(broken(&"an answer to something else"));
    }
    match answer[3] & 0xf {
        0 | 3 => read(answer).ok_or_else(|| broken(&"the answer breaks off")),
        code => Err(broken(&format!("the DNS server says {code}"))),
    }
}

fn question(id: [u8; 2], name: &str) -> Vec<u8> {
    // Recursion wanted, one question; then EDNS, or long answers would not fit.
    let mut out = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]].concat();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(&[0, 0, 16, 0, 1]);
    out.extend_from_slice(&[0, 0, 41, 0x40, 0, 0, 0, 0, 0, 0, 0]);
    out
}

/// The texts of all TXT records, whatever name an alias led to.
fn read(answer: &[u8]) -> Option<Vec<Vec<u8>>> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?])));
    let mut at = 12;
    for _ in 0..count(4)? {
        at = past_name(answer, at)? + 4;
    }
    let mut texts = Vec::new();
    for _ in 0..count(6)? {
        at = past_name(answer, at)?;
        let (kind, length) = (count(at)?, count(at + 8)?);
        let data = answer.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if kind == usize::from(KIND_TXT) {
            let (mut text, mut rest) = (Vec::new(), data);
            while let Some((part, more)) = rest.split_first() {
                let part = usize::from(*part);
                text.extend_from_slice(more.get(..part)?);
                rest = &more[part..];
            }
            texts.push(text);
        }
    }
    Some(texts)
}

/// Where a name ends: at its root, or behind a pointer.
fn past_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}
