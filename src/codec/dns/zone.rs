//! What a name server of ours answers for the zones that were delegated to this host, as a function of the
//! question's octets and of the texts that stand.
//!
//! It knows its zones and nothing else: it asks nobody, follows nothing, transfers nothing, and no answer by
//! UDP is larger than [`UDP_MOST`], so who forges an asker's address gains little (RFC 5358; longer ones go
//! by TCP, which can't be forged).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::message::{CLASS_IN, Kind};
use super::question::{Edns, FLAG_RESPONSE, KIND_OPT, OPCODE, Question, Unasked, WireName};
use super::wire::{header, put_name, put_u16, put_u32};
use crate::core::domain_name::DomainName;

/// Zones, and what is the same in all of them.
#[derive(Clone, Debug)]
pub struct Zones {
    pub apexes: Vec<DomainName>,
    /// The name of this host that the delegations give.
    pub name_server: DomainName,
    /// Of the name server, where it lies in one of the zones.
    pub addresses: Vec<IpAddr>,
    /// As SOA writes a mail address.
    pub contact: DomainName,
}

/// Texts by the name at which they stand.
pub type Texts = BTreeMap<DomainName, Vec<String>>;

/// How the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Udp,
    /// By UDP, from where too many come: only who can hear us by TCP is told more.
    UdpInHaste,
    Tcp,
}

/// Largest answer by UDP in octets, whatever the asker would take. A text is 56 octets: seven of them fit,
/// and an answer is at most nine times as long as the shortest question for it.
pub const UDP_MOST: usize = 512;
/// Most texts of one name that are told.
pub const TEXTS_MAX: usize = 200;
/// Longest text told, in octets: one string.
pub const TEXT_MAX: usize = 255;

/// Seconds that resolvers may keep a text, or that there is none: none at all. Every attempt has new texts,
/// and a CA's resolver that remembers those of a second ago refuses them.
const TTL_TEXT: u32 = 0;
/// Seconds for what does not change: SOA, NS and addresses.
const TTL_LASTING: u32 = 3600;

const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
/// Recursion desired and checking disabled are repeated (RFC 1035 §4.1.1, RFC 4035 §3.1.6).
const FLAGS_REPEATED: u16 = 0x0110;
const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const BADVERS: u16 = 16;
/// Transfers: the whole zone is nobody's business.
const KINDS_OF_TRANSFER: std::ops::RangeInclusive<u16> = 251..=252;
/// Where the question begins, behind the header.
const QUESTION_AT: usize = 12;

impl Zones {
    /// The answer, or `None` for what is best not answered. Without `texts`, which could not be read then,
    /// nobody is told that there are none.
    pub fn answer(&self, message: &[u8], texts: Option<&Texts>, path: Path) -> Option<Vec<u8>> {
        let question = match Question::read(message) {
            Ok(question) => question,
            Err(Unasked::Ignored) => return None,
            Err(Unasked::NotImplemented { id, flags }) => return Some(bare(id, flags, NOTIMP)),
            Err(Unasked::Malformed { id, flags }) => return Some(bare(id, flags, FORMERR)),
        };
        if question.edns.is_some_and(|edns| edns.version != 0) {
            return Some(Reply::new(&question, BADVERS, false).bytes);
        }
        let Some((apex, before)) = self.zone_of(&question) else {
            return Some(Reply::new(&question, REFUSED, false).bytes);
        };
        if KINDS_OF_TRANSFER.contains(&question.kind) {
            return Some(Reply::new(&question, REFUSED, false).bytes);
        }
        let Some(texts) = texts else { return Some(Reply::new(&question, SERVFAIL, false).bytes) };
        let limit = match path {
            Path::Udp => UDP_MOST,
            Path::UdpInHaste => 0,
            Path::Tcp => usize::from(u16::MAX),
        };
        let full = self.tell(&question, apex, before, texts);
        if full.len() <= limit {
            return Some(full);
        }
        let mut cut = Reply::new(&question, 0, true);
        cut.set(FLAG_TRUNCATED);
        Some(cut.finish())
    }

    /// The innermost zone that the question's name lies in, and how much of the name stands before it.
    fn zone_of(&self, question: &Question<'_>) -> Option<(&DomainName, usize)> {
        if question.class != CLASS_IN {
            return None;
        }
        let inside = |apex| Some((apex, question.name.before(&WireName::of(apex))?));
        self.apexes.iter().filter_map(inside).min_by_key(|(_, before)| *before)
    }

    fn tell(&self, question: &Question<'_>, apex: &DomainName, before: usize, texts: &Texts) -> Vec<u8> {
        let is = |name: &DomainName| WireName::of(name) == question.name;
        let is_host = is(&self.name_server) && !self.addresses.is_empty();
        let here = texts.iter().filter(|(name, _)| is(name)).flat_map(|(_, texts)| texts);
        let here: Vec<_> = here.filter(|text| text.len() <= TEXT_MAX).take(TEXTS_MAX).collect();
        // A name above one that exists does exist, though nothing stands there (RFC 8020).
        let below = |name: &DomainName| WireName::of(name).before(&question.name).is_some();
        let exists = before == 0
            || !here.is_empty()
            || is_host
            || (below(&self.name_server) && !self.addresses.is_empty())
            || texts.iter().any(|(name, texts)| !texts.is_empty() && name.lies_in(apex) && below(name))
            || self.apexes.iter().any(below);
        let mut reply = Reply::new(question, if exists { 0 } else { NXDOMAIN }, true);
        let apex_at = QUESTION_AT + before;
        let kind = |kind: Kind| question.kind == kind as u16;
        if kind(Kind::Txt) {
            for text in here {
                let length = [text.len().to_le_bytes()[0]];
                reply.record(Section::Answer, QUESTION_AT, Kind::Txt, TTL_TEXT, &[&length, text.as_bytes()]);
            }
        } else if kind(Kind::Soa) && before == 0 {
            reply.record(Section::Answer, apex_at, Kind::Soa, TTL_LASTING, &[&self.soa()]);
        } else if kind(Kind::Ns) && before == 0 {
            let mut server = Vec::new();
            put_name(&mut server, &self.name_server);
            reply.record(Section::Answer, apex_at, Kind::Ns, TTL_LASTING, &[&server]);
        } else if is_host && (kind(Kind::A) || kind(Kind::Aaaa)) {
            for address in &self.addresses {
                match address {
                    IpAddr::V4(ip) if kind(Kind::A) => {
                        reply.record(Section::Answer, QUESTION_AT, Kind::A, TTL_LASTING, &[&ip.octets()]);
                    }
                    IpAddr::V6(ip) if kind(Kind::Aaaa) => {
                        reply.record(Section::Answer, QUESTION_AT, Kind::Aaaa, TTL_LASTING, &[&ip.octets()]);
                    }
                    _ => {}
                }
            }
        }
        if reply.answers == 0 {
            // How long "nothing" may be kept: the smaller of this and of the SOA's last number (RFC 2308 §5).
            reply.record(Section::Authority, apex_at, Kind::Soa, TTL_TEXT, &[&self.soa()]);
        }
        reply.finish()
    }

    fn soa(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_name(&mut out, &self.name_server);
        put_name(&mut out, &self.contact);
        // Serial, refresh, retry and expiry are for secondaries, which there are none of.
        for number in [1, TTL_LASTING, TTL_LASTING, TTL_LASTING * 24, TTL_TEXT] {
            put_u32(&mut out, number);
        }
        out
    }
}

/// An answer that repeats nothing but the number of its question.
fn bare(id: u16, flags: u16, code: u16) -> Vec<u8> {
    header(id, FLAG_RESPONSE | flags & (OPCODE | FLAGS_REPEATED) | code, [0; 4])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Answer,
    Authority,
}

/// An answer being written: header, question, records, then EDNS.
struct Reply {
    bytes: Vec<u8>,
    answers: u16,
    authorities: u16,
    edns: Option<Edns>,
}

impl Reply {
    /// Without records it is complete as it is, save for EDNS, which a refusal with an extended code has.
    fn new(question: &Question<'_>, code: u16, authoritative: bool) -> Self {
        let authority = if authoritative { FLAG_AUTHORITATIVE } else { 0 };
        let flags = FLAG_RESPONSE | question.flags & FLAGS_REPEATED | authority | code & 0xf;
        let mut bytes = header(question.id, flags, [1, 0, 0, 0]);
        bytes.extend_from_slice(question.octets);
        let mut reply = Self { bytes, answers: 0, authorities: 0, edns: question.edns };
        if !authoritative {
            reply.put_edns(code);
        }
        reply
    }

    fn set(&mut self, flag: u16) {
        let flags = u16::from_be_bytes([self.bytes[2], self.bytes[3]]) | flag;
        self.bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    }

    /// `name_at` is where the record's name stands in the question, which saves writing it anew.
    fn record(&mut self, section: Section, name_at: usize, kind: Kind, ttl: u32, data: &[&[u8]]) {
        let length: usize = data.iter().map(|part| part.len()).sum();
        // At most 255 octets of text, or two names and five numbers.
        let (Ok(length), Ok(pointer)) = (u16::try_from(length), u16::try_from(name_at)) else { return };
        put_u16(&mut self.bytes, 0xc000 | pointer);
        put_u16(&mut self.bytes, kind as u16);
        put_u16(&mut self.bytes, CLASS_IN);
        put_u32(&mut self.bytes, ttl);
        put_u16(&mut self.bytes, length);
        for part in data {
            self.bytes.extend_from_slice(part);
        }
        match section {
            Section::Answer => self.answers += 1,
            Section::Authority => self.authorities += 1,
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes[8..10].copy_from_slice(&self.authorities.to_be_bytes());
        self.put_edns(0);
        self.bytes
    }

    fn put_edns(&mut self, code: u16) {
        let Some(edns) = self.edns else { return };
        self.bytes.push(0);
        put_u16(&mut self.bytes, KIND_OPT);
        put_u16(&mut self.bytes, super::message::UDP_MAX);
        let dnssec = if edns.dnssec { 0x8000 } else { 0 };
        put_u32(&mut self.bytes, u32::from(code >> 4) << 24 | dnssec);
        put_u16(&mut self.bytes, 0);
        self.bytes[10..12].copy_from_slice(&1_u16.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
