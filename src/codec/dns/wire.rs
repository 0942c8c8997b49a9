//! Octets of a message, read with every length checked.

use crate::core::domain_name::DomainName;

/// Why a message could not be read. A stranger's octets never get into the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it breaks off")]
    Short,
    #[error("a name in it points in circles or is too long")]
    Name,
    #[error("a name in it has characters that no host has")]
    Octet,
    #[error("it is no answer to what was asked")]
    Stranger,
    #[error("a record in it is not as its kind must be")]
    Record,
}

/// Most steps from one compressed name to the next; a longest name has 127 labels.
const JUMPS_MAX: usize = 128;

/// A place in a whole message, which compressed names need.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub const fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    pub const fn position(&self) -> usize {
        self.at
    }

    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed::Short)?;
        let bytes = self.message.get(self.at..end).ok_or(Malformed::Short)?;
        self.at = end;
        Ok(bytes)
    }

    pub fn octet(&mut self) -> Result<u8, Malformed> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.bytes(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.bytes(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A time of TSIG: 48 bits.
    pub fn u48(&mut self) -> Result<u64, Malformed> {
        let (high, low) = (self.u16()?, self.u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// A name, compressed or not. Each pointer must lead backwards, so it ends.
    pub fn name(&mut self) -> Result<DomainName, Malformed> {
        let mut labels = String::new();
        let mut reader = *self;
        let mut end = None;
        let mut before = self.at;
        for _ in 0..JUMPS_MAX * 2 {
            let length = reader.octet()?;
            match length >> 6 {
                0 if length == 0 => {
                    self.at = end.unwrap_or(reader.at);
                    return DomainName::parse(&labels).map_err(|_| Malformed::Octet);
                }
                0 => {
                    let label = reader.bytes(usize::from(length))?;
                    let text = std::str::from_utf8(label).map_err(|_| Malformed::Octet)?;
                    if text.contains('.') {
                        return Err(Malformed::Octet);
                    }
                    if !labels.is_empty() {
                        labels.push('.');
                    }
                    labels.push_str(text);
                    if labels.len() > DomainName::MAX {
                        return Err(Malformed::Name);
                    }
                }
                3 => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(reader.octet()?);
                    end.get_or_insert(reader.at);
                    if target >= before {
                        return Err(Malformed::Name);
                    }
                    before = target;
                    reader.at = target;
                }
                _ => return Err(Malformed::Name),
            }
        }
        Err(Malformed::Name)
    }
}

/// Appends a name as it is signed and sent: uncompressed, in lower case (RFC 8945 §4.2).
pub(super) fn put_name(out: &mut Vec<u8>, name: &DomainName) {
    for label in name.labels() {
        // A label has at most 63 octets, see `DomainName::parse`.
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u48(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes()[2..]);
}

/// The twelve octets at the front: counts are of questions (zones), answers, authorities, further.
pub(super) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    put_u16(&mut out, id);
    put_u16(&mut out, flags);
    for count in counts {
        put_u16(&mut out, count);
    }
    out
}
