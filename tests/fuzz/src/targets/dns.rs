//! Messages of DNS, as a client of name servers reads them and as a name server does.

use std::sync::LazyLock;

use nolapse::codec::dns::message::UDP_MAX;
use nolapse::codec::dns::zone::{Path, UDP_MOST};
use nolapse::codec::dns::{
    Answer, Data, DomainName, Kind, Malformed, Outcome, Query, Record, Texts, TsigKey, Update, Zones, tsig,
};
use nolapse::codec::persist::PersistRecord;
use nolapse::core::caa::{CaaSet, Candidate};
use nolapse::core::order::PersistTerms;
use nolapse::core::record::ChallengeKind;

use super::{NOON, choice, safe};

const KINDS: [Kind; 7] = [Kind::A, Kind::Ns, Kind::Cname, Kind::Soa, Kind::Txt, Kind::Aaaa, Kind::Caa];
/// The number of every question here.
const ID: u16 = 7;
/// Most records that an answer's section may hold.
const RECORDS_MOST: usize = 512;
/// Times the length of a question that an answer by UDP may have: what its author promises of those who forge
/// an asker's address.
const GAIN_MOST: usize = 9;

pub const ANSWERS_WORDS: &[&str] = &[
    "\u{1}a\u{7}example\0",
    "\0\u{10}\0\u{1}",
    "\u{1}\u{1}\0\u{1}",
    "\0\0\0\u{3c}",
    "\u{5}issue",
    "issuewild",
    "; accounturi=https://ca.example/acct/1",
    "; validationmethods=dns-01",
    "ca.example",
    "; policy=wildcard",
    "; persistUntil=1800000001",
    "\u{b}hmac-sha256\0",
    "\u{1}k\0",
];

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

/// A question of each kind, the key that a server shares with us, and what it would have signed.
struct Asked {
    queries: Vec<Query>,
    key: TsigKey,
    mac: tsig::Mac,
}

static ASKED: LazyLock<Asked> = LazyLock::new(|| {
    let ask = |kind| Query { id: ID, name: name("a.example"), kind, recursion: true, unchecked: false };
    let queries: Vec<_> = KINDS.into_iter().map(ask).collect();
    let key = TsigKey::parse("hmac-sha256:k:c2VjcmV0IG9mIHRoaXMgdGVzdA==").unwrap();
    let mac = key.sign(&mut queries[0].to_bytes(), u64::try_from(NOON.secs()).unwrap());
    Asked { queries, key, mac }
});

/// Read twice the same, no more of it than its bounds; names in it read back, nobody's signature is taken for
/// ours, and what its texts and CAA records say is judged and fit to print.
pub fn answers(input: &[u8]) -> String {
    let (which, message) = choice(input, KINDS.len());
    let query = &ASKED.queries[which];
    let read = Answer::parse(message, query);
    assert_eq!(Answer::parse(message, query), read, "the same octets read twice");
    let sealed = ASKED.key.verify(message, &ASKED.mac);
    assert_ne!(sealed, Ok(tsig::Seal::Sound), "a stranger's signature");
    let update = Update::outcome(message, ID);
    for why in [read.as_ref().err(), sealed.as_ref().err(), update.as_ref().err()].into_iter().flatten() {
        safe(&why.to_string(), 100);
    }
    let shown = match &read {
        Err(why) => format!("{why}"),
        Ok(answer) => told(answer, query),
    };
    format!("{:?} {shown} {sealed:?} {}", query.kind, update.map_or_else(|_| String::new(), Outcome::word))
}

fn told(answer: &Answer, query: &Query) -> String {
    let records = || answer.answers.iter().chain(&answer.authority);
    assert!(answer.answers.len() <= RECORDS_MOST && answer.authority.len() <= RECORDS_MOST);
    assert!(!answer.truncated || records().next().is_none(), "half an answer is none");
    for Record { name, data } in records() {
        let named = match data {
            Data::Ns(name) | Data::Cname(name) | Data::Soa(name) => Some(name),
            _ => None,
        };
        for name in named.into_iter().chain([name]) {
            assert_eq!(DomainName::parse(name.as_str()).as_ref(), Ok(name), "a name read again");
            safe(&name.to_string(), DomainName::MAX);
        }
    }
    let persisting = answer.texts(&query.name).filter(|text| persists(text)).count();
    let caa = CaaSet { at: query.name.clone(), records: answer.caa().cloned().collect() };
    let (identities, kinds) = (["ca.example".to_owned()], [ChallengeKind::Dns01]);
    let permissions = [false, true].map(|wildcard| {
        let account = wildcard.then_some("https://ca.example/acct/1");
        let candidate = Candidate { identities: &identities, account, kinds: &kinds, wildcard };
        format!("{:?}", caa.permission(&candidate))
            .chars()
            .take_while(|c| *c != '"')
            .take(30)
            .collect::<String>()
    });
    safe(&caa.to_string(), 4000);
    let kinds: Vec<_> = records().take(3).map(|record| std::mem::discriminant(&record.data)).collect();
    format!(
        "{} {} {} {persisting} {permissions:?} {kinds:?} {}",
        answer.outcome.word(),
        answer.is_sure(),
        answer.addresses().count().min(2),
        answer.alias(&query.name).is_some()
    )
}

/// Whether a text is one of dns-persist-01; then it reads back as it is written for a zone.
fn persists(text: &[u8]) -> bool {
    let Ok(record) = PersistRecord::parse(text) else { return false };
    let terms = PersistTerms {
        issuers: vec!["ca.example".into()],
        accounts: vec!["https://ca.example/acct/1".into()],
    };
    let _ = record.judge(&terms, true, NOON);
    let line = record.zone_line(&name("_validation-persist.a.example"));
    safe(&line, 5000);
    let again = PersistRecord::parse(record.to_string().as_bytes());
    assert_eq!(again.as_ref(), Ok(&record), "written and read again");
    true
}

pub const QUESTIONS_WORDS: &[&str] = &[
    "\u{f}_acme-challenge\u{7}example\u{3}com\0",
    "\u{4}acme\u{7}example\u{3}net\0",
    "\u{2}ns\u{4}acme\u{7}example\u{3}net\0",
    "\0\u{10}\0\u{1}",
    "\0\u{6}\0\u{1}",
    "\0\u{2}\0\u{1}",
    "\0\u{1c}\0\u{1}",
    "\0\u{fc}\0\u{1}",
    "\0\0\u{29}\u{4}\0\0\0\0\0\0\0",
    "\u{1}\0\0\u{1}\0\0\0\0\0\u{1}",
];

static ZONES: LazyLock<(Zones, Texts)> = LazyLock::new(|| {
    let zones = Zones {
        apexes: vec![name("_acme-challenge.example.com"), name("acme.example.net")],
        name_server: name("ns.acme.example.net"),
        addresses: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        contact: name("hostmaster.example.com"),
    };
    let proof = |letter: &str| letter.repeat(43);
    let texts = Texts::from([
        (name("_acme-challenge.example.com"), vec![proof("a"), proof("b")]),
        (name("shop.deep.acme.example.net"), (0..40).map(|at| format!("{at:043}")).collect()),
        (name("elsewhere.example.org"), vec![proof("d")]),
    ]);
    (zones, texts)
});

/// Each way of asking is answered within its size and with the question's own octets, what is an answer itself
/// is not, and what is answered to a question that we could have asked is read by our own reader.
pub fn questions(input: &[u8]) -> String {
    let (zones, texts) = &*ZONES;
    let answer = |path, texts| {
        let answer = zones.answer(input, texts, path);
        assert_eq!(zones.answer(input, texts, path), answer, "the same question twice");
        answer
    };
    let by_udp = answer(Path::Udp, Some(texts));
    let in_haste = answer(Path::UdpInHaste, Some(texts));
    let by_tcp = answer(Path::Tcp, Some(texts));
    let unread = answer(Path::Udp, None);
    let Some(told) = by_udp else {
        assert!(in_haste.is_none() && by_tcp.is_none() && unread.is_none(), "silence is for all");
        return "nothing".to_owned();
    };
    assert!(input.len() >= 12 && input[2] & 0x80 == 0, "an answer is answered");
    for (answer, most) in [
        (Some(&told), UDP_MOST.min(GAIN_MOST * input.len())),
        (in_haste.as_ref(), input.len()),
        (unread.as_ref(), input.len()),
        (by_tcp.as_ref(), usize::from(u16::MAX)),
    ] {
        let answer = answer.expect("who is answered is answered in each way");
        assert!((12..=most).contains(&answer.len()), "{} octets for {}", answer.len(), input.len());
        assert_eq!(answer[..2], input[..2], "the question's number");
        assert!(answer[2] & 0x80 != 0);
        if answer.len() > 12 {
            let question = question(input).expect("a question that was read");
            assert_eq!(answer[12..12 + question.len()], *question, "the question as it was asked");
        }
    }
    format!(
        "{:?} {} {:?}",
        &told[2..4],
        told[7].min(3),
        read_back(input, by_tcp.as_deref().unwrap_or_default())
    )
}

/// Name, kind and class, where the name is whole.
fn question(message: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return message.get(12..at + 5),
            length => at += length + 1,
        }
    }
}

fn read_back(message: &[u8], answer: &[u8]) -> Option<Result<usize, Malformed>> {
    let question = question(message)?;
    let (labels, rest) = question.split_at(question.len() - 4);
    let mut text = String::new();
    let mut at = 0;
    while labels[at] != 0 {
        let label = labels.get(at + 1..=at + usize::from(labels[at]))?;
        text.push_str(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
        text.push('.');
        at += label.len() + 1;
    }
    let kind = KINDS.into_iter().find(|kind| (*kind as u16).to_be_bytes() == rest[..2])?;
    let name = DomainName::parse(&text).ok().filter(|_| rest[2..] == [0, 1])?;
    let id = u16::from_be_bytes([message[0], message[1]]);
    let query = Query { id, name, kind, recursion: false, unchecked: false };
    assert!(query.to_bytes().len() < usize::from(UDP_MAX));
    let read = Answer::parse(answer, &query);
    // One without a question is all that what is malformed gets.
    assert!(read.is_ok() || answer.len() == 12, "{read:?}");
    Some(read.map(|answer| answer.answers.len().min(3)))
}
