//! A question to a name server, and what it answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Malformed, Reader, header, put_name, put_u16};
use crate::core::caa::CaaRecord;
use crate::core::domain_name::DomainName;

/// The kinds of records that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    A = 1,
    Ns = 2,
    Cname = 5,
    Soa = 6,
    Txt = 16,
    Aaaa = 28,
    /// RFC 8659.
    Caa = 257,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub id: u16,
    pub name: DomainName,
    pub kind: Kind,
    /// Asks a resolver to find the answer elsewhere.
    pub recursion: bool,
    /// Wants the answer although its signatures are wrong (RFC 4035 §3.2.2): what a resolver gives only
    /// then is a zone whose DNSSEC is broken.
    pub unchecked: bool,
}

/// Largest answer by UDP that is asked for: fits in one packet on every path (RFC 9715).
pub const UDP_MAX: u16 = 1232;

pub(super) const CLASS_IN: u16 = 1;
const KIND_OPT: u16 = 41;
const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION: u16 = 0x0100;
const FLAG_UNCHECKED: u16 = 0x0010;
const CAA_CRITICAL: u8 = 0x80;

impl Query {
    pub fn to_bytes(&self) -> Vec<u8> {
        let flags =
            if self.recursion { FLAG_RECURSION } else { 0 } | if self.unchecked { FLAG_UNCHECKED } else { 0 };
        let mut out = header(self.id, flags, [1, 0, 0, 1]);
        put_name(&mut out, &self.name);
        put_u16(&mut out, self.kind as u16);
        put_u16(&mut out, CLASS_IN);
        // EDNS (RFC 6891): the root, OPT, the size we take, nothing else.
        out.push(0);
        put_u16(&mut out, KIND_OPT);
        put_u16(&mut out, UDP_MAX);
        out.extend_from_slice(&[0; 6]);
        out
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    /// Not all of it fitted: ask again by TCP.
    pub truncated: bool,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
}

/// The response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Fine,
    FormatError,
    ServerFailure,
    NoSuchName,
    NotImplemented,
    Refused,
    NotAuthoritative,
    NotInZone,
    /// A code that matters to nobody here.
    Other(u8),
}

impl Outcome {
    pub(super) const fn of(flags: u16) -> Self {
        match flags & 0xf {
            0 => Self::Fine,
            1 => Self::FormatError,
            2 => Self::ServerFailure,
            3 => Self::NoSuchName,
            4 => Self::NotImplemented,
            5 => Self::Refused,
            9 => Self::NotAuthoritative,
            10 => Self::NotInZone,
            other => Self::Other(other.to_le_bytes()[0]),
        }
    }

    /// As servers' logs and `dig` write it.
    pub fn word(self) -> String {
        match self {
            Self::Fine => "NOERROR".into(),
            Self::FormatError => "FORMERR".into(),
            Self::ServerFailure => "SERVFAIL".into(),
            Self::NoSuchName => "NXDOMAIN".into(),
            Self::NotImplemented => "NOTIMP".into(),
            Self::Refused => "REFUSED".into(),
            Self::NotAuthoritative => "NOTAUTH".into(),
            Self::NotInZone => "NOTZONE".into(),
            Self::Other(code) => format!("RCODE {code}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub name: DomainName,
    pub data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Address(IpAddr),
    Ns(DomainName),
    Cname(DomainName),
    /// The name of the server that takes changes.
    Soa(DomainName),
    /// All its texts as one, as CAs compare it.
    Txt(Vec<u8>),
    /// Who may issue.
    Caa(CaaRecord),
    Other,
}

impl Answer {
    /// Most records read of one answer.
    const RECORDS_MAX: usize = 512;

    /// Reads the answer to `query`; one to another question is refused (threat T10).
    pub fn parse(bytes: &[u8], query: &Query) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?];
        reader.u16()?;
        if id != query.id || flags & FLAG_RESPONSE == 0 || flags & 0x7800 != 0 {
            return Err(Malformed::Stranger);
        }
        let outcome = Outcome::of(flags);
        // A server that can't read questions may answer without one.
        if counts[0] == 0 && outcome != Outcome::Fine {
            return Ok(Self {
                outcome,
                truncated: false,
                authoritative: false,
                answers: vec![],
                authority: vec![],
            });
        }
        let (name, kind, class) = (reader.name()?, reader.u16()?, reader.u16()?);
        if counts[0] != 1 || name != query.name || kind != query.kind as u16 || class != CLASS_IN {
            return Err(Malformed::Stranger);
        }
        let truncated = flags & FLAG_TRUNCATED != 0;
        let mut sections = [Vec::new(), Vec::new()];
        if !truncated {
            for (section, count) in sections.iter_mut().zip([counts[1], counts[2]]) {
                for _ in 0..usize::from(count).min(Self::RECORDS_MAX) {
                    section.extend(record(&mut reader)?);
                }
            }
        }
        let [answers, authority] = sections;
        let authoritative = flags & FLAG_AUTHORITATIVE != 0;
        Ok(Self { outcome, truncated, authoritative, answers, authority })
    }

    /// Whether the name has no such record, and the server is sure.
    pub fn is_sure(&self) -> bool {
        matches!(self.outcome, Outcome::Fine | Outcome::NoSuchName)
    }

    /// The texts at `name`.
    pub fn texts<'a>(&'a self, name: &'a DomainName) -> impl Iterator<Item = &'a [u8]> {
        self.answers.iter().filter(move |record| record.name == *name).filter_map(|record| {
            match &record.data {
                Data::Txt(text) => Some(text.as_slice()),
                _ => None,
            }
        })
    }

    /// Who may issue, wherever an alias led to (RFC 8659 §3 counts what stands at its end as standing
    /// here).
    pub fn caa(&self) -> impl Iterator<Item = &CaaRecord> {
        self.answers.iter().filter_map(|record| match &record.data {
            Data::Caa(caa) => Some(caa),
            _ => None,
        })
    }

    /// Every address in it, wherever an alias led to.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.answers.iter().filter_map(|record| match record.data {
            Data::Address(ip) => Some(ip),
            _ => None,
        })
    }

    /// Where `name` leads to.
    pub fn alias(&self, name: &DomainName) -> Option<&DomainName> {
        self.answers.iter().filter(|record| record.name == *name).find_map(|record| match &record.data {
            Data::Cname(target) => Some(target),
            _ => None,
        })
    }
}

/// `None` for a record of another class.
fn record(reader: &mut Reader<'_>) -> Result<Option<Record>, Malformed> {
    let name = reader.name()?;
    let (kind, class) = (reader.u16()?, reader.u16()?);
    reader.u32()?;
    let length = usize::from(reader.u16()?);
    let start = reader.position();
    let mut inner = *reader;
    let raw = reader.bytes(length)?;
    if class != CLASS_IN {
        return Ok(None);
    }
    let data = match kind {
        1 => {
            let octets: [u8; 4] = raw.try_into().map_err(|_| Malformed::Record)?;
            Data::Address(IpAddr::V4(Ipv4Addr::from(octets)))
        }
        28 => {
            let octets: [u8; 16] = raw.try_into().map_err(|_| Malformed::Record)?;
            Data::Address(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        2 => Data::Ns(inner.name()?),
        5 => Data::Cname(inner.name()?),
        6 => Data::Soa(inner.name()?),
        16 => {
            let mut text = Vec::with_capacity(length);
            while inner.position() < start + length {
                let part = usize::from(inner.octet()?);
                text.extend_from_slice(inner.bytes(part)?);
            }
            Data::Txt(text)
        }
        257 => {
            let flags = inner.octet()?;
            let length = usize::from(inner.octet()?);
            let tag = inner.bytes(length)?;
            let value = raw.get(2 + length..).ok_or(Malformed::Record)?;
            // RFC 8659 §4.1: a tag is letters and digits. Another one is as good as unknown.
            let tag = String::from_utf8_lossy(tag).to_ascii_lowercase();
            let value = String::from_utf8_lossy(value).into_owned();
            Data::Caa(CaaRecord { critical: flags & CAA_CRITICAL != 0, tag, value })
        }
        _ => Data::Other,
    };
    let read = inner.position();
    if matches!(data, Data::Ns(_) | Data::Cname(_) | Data::Soa(_) | Data::Txt(_)) && read > start + length {
        return Err(Malformed::Record);
    }
    Ok(Some(Record { name, data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn query() -> Query {
        Query { id: 7, name: name("a.example"), kind: Kind::Txt, recursion: true, unchecked: false }
    }

    /// An answer with these records, each with its kind and data, at the name that was asked for.
    fn answer(flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap();
        let mut out = header(7, FLAG_RESPONSE | flags, [1, count, 0, 0]);
        put_name(&mut out, &name("A.example"));
        out.extend_from_slice(&[0, 16, 0, 1]);
        for (kind, data) in records {
            out.extend_from_slice(&[0xc0, 12]);
            put_u16(&mut out, *kind);
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            put_u16(&mut out, u16::try_from(data.len()).unwrap());
            out.extend_from_slice(data);
        }
        out
    }

    #[test]
    fn two_texts_at_one_name_and_one_in_two_parts() {
        let bytes = answer(0, &[(16, b"\x03one"), (16, b"\x02tw\x01o"), (1, &[127, 0, 0, 1])]);
        let read = Answer::parse(&bytes, &query()).unwrap();
        assert_eq!(read.texts(&name("a.example")).collect::<Vec<_>>(), [b"one".as_slice(), b"two"]);
        assert_eq!(read.answers[2].data, Data::Address("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn f38_who_may_issue_is_read_as_it_stands() {
        type Read<'a> = Option<(bool, &'a str, &'a str)>;
        let rows: [(&[u8], Read<'_>); 6] = [
            (
                b"\x00\x05issueca.example; accounturi=https://a/1",
                Some((false, "issue", "ca.example; accounturi=https://a/1")),
            ),
            (b"\x80\x09IssueWild;", Some((true, "issuewild", ";"))),
            (b"\x01\x05iodefmailto:a@b", Some((false, "iodef", "mailto:a@b"))),
            (b"\x00\x05issue", Some((false, "issue", ""))),
            (b"\x00\x09issue", None),
            (b"\x00", None),
        ];
        for (data, expected) in rows {
            let query = Query { kind: Kind::Caa, ..query() };
            let mut bytes = answer(0, &[(257, data)]);
            // The question's kind, behind its name.
            bytes[23..25].copy_from_slice(&257u16.to_be_bytes());
            let read = Answer::parse(&bytes, &query).ok();
            let told = read.as_ref().map(|read| {
                let caa = read.caa().next().unwrap();
                (caa.critical, caa.tag.as_str(), caa.value.as_str())
            });
            assert_eq!(told, expected, "{data:?}");
        }
    }

    #[test]
    fn a_question_says_whether_signatures_matter() {
        let flags = |unchecked| Query { unchecked, ..query() }.to_bytes()[3];
        assert_eq!((flags(false), flags(true)), (0, 0x10));
    }

    #[test]
    fn t10_an_answer_to_another_question_is_a_strangers() {
        let bytes = answer(0, &[]);
        for other in [
            Query { id: 8, ..query() },
            Query { name: name("b.example"), ..query() },
            Query { kind: Kind::A, ..query() },
        ] {
            assert_eq!(Answer::parse(&bytes, &other), Err(Malformed::Stranger));
        }
        assert_eq!(Answer::parse(&query().to_bytes(), &query()), Err(Malformed::Stranger));
    }

    #[test]
    fn t10_a_name_that_points_at_itself_ends_the_reading() {
        for data in [[0xc0, 40].as_slice(), &[0xc0, 0xff], &[0xff, 0xff], &[0xc0], &[5, b'a']] {
            let bytes = answer(0, &[(5, data)]);
            assert!(Answer::parse(&bytes, &query()).is_err(), "{data:?}");
        }
    }

    #[test]
    fn the_alias_and_what_the_server_thinks() {
        let mut data = Vec::new();
        put_name(&mut data, &name("b.example"));
        let read = Answer::parse(&answer(0x0403, &[(5, &data)]), &query()).unwrap();
        assert_eq!(read.alias(&name("a.example")), Some(&name("b.example")));
        assert!(read.authoritative && read.is_sure() && read.outcome == Outcome::NoSuchName);
        let cut = Answer::parse(&answer(0x0200, &[(16, b"\x03one")]), &query()).unwrap();
        assert!(cut.truncated && cut.answers.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn t10_no_octets_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Answer::parse(&bytes, &query());
            let mut likely = answer(0, &[(16, b"\x03one"), (5, &[0xc0, 12]), (6, &[0; 22])]);
            for (at, byte) in bytes.iter().enumerate() {
                let place = (at * 7 + usize::from(*byte)) % likely.len();
                if place > 1 { likely[place] ^= byte; }
            }
            let _ = Answer::parse(&likely, &query());
        }
    }
}
