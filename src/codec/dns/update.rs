//! A change of a zone (RFC 2136): one text added or taken away, never a whole set.

use super::message::{CLASS_IN, Kind, Outcome};
use super::wire::{Malformed, Reader, header, put_name, put_u16, put_u32};
use crate::core::domain_name::DomainName;

/// One change of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    pub id: u16,
    pub zone: &'a DomainName,
    pub name: &'a DomainName,
    /// At most 255 octets.
    pub text: &'a str,
    pub change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// With a time to live in seconds. A text that is there already stays there once.
    Add { ttl: u32 },
    /// Texts beside it stay.
    Remove,
}

const OPCODE_UPDATE: u16 = 5 << 11;
const CLASS_NONE: u16 = 254;

impl Update<'_> {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = header(self.id, OPCODE_UPDATE, [1, 0, 1, 0]);
        put_name(&mut out, self.zone);
        put_u16(&mut out, Kind::Soa as u16);
        put_u16(&mut out, CLASS_IN);
        put_name(&mut out, self.name);
        put_u16(&mut out, Kind::Txt as u16);
        // RFC 2136 §2.5.4: class NONE and no lifetime deletes the one record with this data.
        let (class, ttl) = match self.change {
            Change::Add { ttl } => (CLASS_IN, ttl),
            Change::Remove => (CLASS_NONE, 0),
        };
        put_u16(&mut out, class);
        put_u32(&mut out, ttl);
        let text = &self.text.as_bytes()[..self.text.len().min(255)];
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        put_u16(&mut out, u16::from(length) + 1);
        out.push(length);
        out.extend_from_slice(text);
        out
    }

    /// What a server says to the update with this id.
    pub fn outcome(bytes: &[u8], id: u16) -> Result<Outcome, Malformed> {
        let mut reader = Reader::new(bytes);
        let (theirs, flags) = (reader.u16()?, reader.u16()?);
        if theirs != id || flags & 0x8000 == 0 || flags & 0x7800 != OPCODE_UPDATE {
            return Err(Malformed::Stranger);
        }
        Ok(Outcome::of(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_names_the_one_value() {
        let (zone, name) = (DomainName::parse("b").unwrap(), DomainName::parse("a.b").unwrap());
        let update = |change| Update { id: 1, zone: &zone, name: &name, text: "xy", change }.to_bytes();
        let head = [0, 1, 0x28, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, b'b', 0, 0, 6, 0, 1];
        let owner = [1, b'a', 1, b'b', 0, 0, 16];
        let data = [0, 3, 2, b'x', b'y'];
        let added = [&head[..], &owner, &[0, 1, 0, 0, 0, 60], &data].concat();
        let removed = [&head[..], &owner, &[0, 254, 0, 0, 0, 0], &data].concat();
        assert_eq!(update(Change::Add { ttl: 60 }), added);
        assert_eq!(update(Change::Remove), removed);
    }

    #[test]
    fn only_the_answer_to_this_update_counts() {
        let said = |id: u8, flags: [u8; 2]| Update::outcome(&[0, id, flags[0], flags[1], 0, 0], 1);
        assert_eq!(said(1, [0xa8, 0]), Ok(Outcome::Fine));
        assert_eq!(said(1, [0xa8, 9]), Ok(Outcome::NotAuthoritative));
        assert_eq!(said(2, [0xa8, 0]), Err(Malformed::Stranger));
        assert_eq!(said(1, [0x80, 0]), Err(Malformed::Stranger));
        assert_eq!(said(1, [0x28, 0]), Err(Malformed::Stranger));
    }
}
