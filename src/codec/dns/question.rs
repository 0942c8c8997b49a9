//! A stranger's question to us, as a name server gets it (RFC 1035 §4.1, RFC 6891).

use super::wire::Malformed;
use super::wire::Reader;
use crate::core::domain_name::DomainName;

/// One question that can be answered. Its octets are kept as they came: the answer repeats them, upper and
/// lower case and all, which resolvers check (draft-vixie-dnsext-dns0x20).
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub id: u16,
    pub flags: u16,
    /// Name, kind and class.
    pub octets: &'a [u8],
    pub name: WireName,
    pub kind: u16,
    pub class: u16,
    pub edns: Option<Edns>,
}

/// What the asker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub version: u8,
    /// Asks for DNSSEC; there is none here.
    pub dnssec: bool,
}

/// Why there is no question to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    /// Too short, or an answer itself: what is answered could go round in circles.
    Ignored,
    NotImplemented {
        id: u16,
        flags: u16,
    },
    Malformed {
        id: u16,
        flags: u16,
    },
}

pub(super) const FLAG_RESPONSE: u16 = 0x8000;
pub(super) const OPCODE: u16 = 0x7800;
pub(super) const KIND_OPT: u16 = 41;
const EDNS_DNSSEC: u32 = 0x8000;
/// Records beside a question that are read; one (EDNS) or two (a signature) is what there is.
const BESIDE_MAX: u16 = 8;

impl<'a> Question<'a> {
    pub fn read(message: &'a [u8]) -> Result<Self, Unasked> {
        let mut reader = Reader::new(message);
        let mut head = [0; 6];
        for word in &mut head {
            *word = reader.u16().map_err(|_| Unasked::Ignored)?;
        }
        let [id, flags, questions, answers, authorities, beside] = head;
        if flags & FLAG_RESPONSE != 0 {
            return Err(Unasked::Ignored);
        }
        if flags & OPCODE != 0 {
            return Err(Unasked::NotImplemented { id, flags });
        }
        let malformed = |_: Malformed| Unasked::Malformed { id, flags };
        // More than one question is an error since RFC 9619.
        if questions != 1 || answers != 0 || authorities != 0 || beside > BESIDE_MAX {
            return Err(Unasked::Malformed { id, flags });
        }
        let start = reader.position();
        let name = WireName::read(&mut reader).map_err(malformed)?;
        let (kind, class) = (reader.u16().map_err(malformed)?, reader.u16().map_err(malformed)?);
        let octets = message.get(start..reader.position()).unwrap_or_default();
        let edns = edns(&mut reader, beside).map_err(malformed)?;
        Ok(Self { id, flags, octets, name, kind, class, edns })
    }
}

fn edns(reader: &mut Reader<'_>, records: u16) -> Result<Option<Edns>, Malformed> {
    let mut found = None;
    for _ in 0..records {
        let root = skip_name(reader)?;
        let (kind, _, flags) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let length = usize::from(reader.u16()?);
        reader.bytes(length)?;
        if kind != KIND_OPT {
            continue;
        }
        // RFC 6891 §6.1.1: one, at the root.
        let edns = Edns { version: flags.to_be_bytes()[1], dnssec: flags & EDNS_DNSSEC != 0 };
        if !root || found.replace(edns).is_some() {
            return Err(Malformed::Record);
        }
    }
    Ok(found)
}

/// Whether the name that was passed over is the root.
fn skip_name(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    let mut root = true;
    loop {
        match reader.octet()? {
            0 => return Ok(root),
            length if length >= 0xc0 => return reader.octet().map(|_| false),
            length if length < 0x40 => reader.bytes(usize::from(length)).map(|_| root = false)?,
            _ => return Err(Malformed::Name),
        }
    }
}

/// A name of any octets, in lower case, as it stands in a message without compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WireName(Vec<u8>);

impl WireName {
    /// Longest name, the root's octet included (RFC 1035 §2.3.4).
    const MAX: usize = 255;

    pub fn of(name: &DomainName) -> Self {
        let mut octets = Vec::with_capacity(name.as_str().len() + 2);
        super::wire::put_name(&mut octets, name);
        Self(octets)
    }

    /// A question's name is the first in its message: there is nothing that it could point at.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut octets = Vec::with_capacity(64);
        loop {
            let length = reader.octet()?;
            octets.push(length);
            if length == 0 {
                return Ok(Self(octets));
            }
            if length >= 0x40 || octets.len() + usize::from(length) >= Self::MAX {
                return Err(Malformed::Name);
            }
            octets.extend(reader.bytes(usize::from(length))?.iter().map(u8::to_ascii_lowercase));
        }
    }

    /// How many octets stand before `zone` in it; `None` where it does not lie there.
    pub fn before(&self, zone: &Self) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = self.0.get(at..) {
            if rest == zone.0 {
                return Some(at);
            }
            match rest.first() {
                None | Some(0) => return None,
                Some(length) => at += usize::from(*length) + 1,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> WireName {
        WireName::of(&DomainName::parse(text).unwrap())
    }

    #[test]
    fn a_name_lies_in_a_zone_at_whole_labels_only() {
        for (name, zone, before) in [
            ("a.example", "example", Some(2)),
            ("example", "example", Some(0)),
            ("badexample", "example", None),
            ("example", "a.example", None),
            ("a.example", "", Some(10)),
        ] {
            assert_eq!(wire(name).before(&wire(zone)), before, "{name} in {zone}");
        }
    }
}
