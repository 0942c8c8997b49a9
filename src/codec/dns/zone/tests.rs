use proptest::prelude::*;

use super::*;
use crate::codec::dns::message::{Answer, Data, Outcome, Query};

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

fn zones() -> Zones {
    Zones {
        apexes: vec![name("_acme-challenge.example.com"), name("acme.example.net")],
        name_server: name("ns.acme.example.net"),
        addresses: vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
        contact: name("hostmaster.example.com"),
    }
}

fn texts() -> Texts {
    Texts::from([
        (name("_acme-challenge.example.com"), vec!["one".to_owned(), "two".to_owned()]),
        (name("shop.deep.acme.example.net"), vec!["three".to_owned()]),
        (name("elsewhere.example.org"), vec!["four".to_owned()]),
    ])
}

fn ask(of: &str, kind: Kind) -> Answer {
    let query = Query { id: 7, name: name(of), kind, recursion: false, unchecked: false };
    let bytes = zones().answer(&query.to_bytes(), Some(&texts()), Path::Udp).unwrap();
    assert!(bytes.len() <= UDP_MOST);
    Answer::parse(&bytes, &query).unwrap()
}

/// A question with a kind of any number.
fn raw(of: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut out = header(7, 0x0100, [1, 0, 0, 0]);
    put_name(&mut out, &name(of));
    put_u16(&mut out, kind);
    put_u16(&mut out, class);
    out
}

fn code(bytes: &[u8]) -> u8 {
    bytes[3] & 0xf
}

#[test]
fn every_text_of_a_name_is_told() {
    let told = ask("_acme-challenge.example.com", Kind::Txt);
    assert!(told.authoritative && told.outcome == Outcome::Fine && !told.truncated);
    let at = name("_acme-challenge.example.com");
    assert_eq!(told.texts(&at).collect::<Vec<_>>(), [b"one".as_slice(), b"two"]);
}

#[test]
fn what_is_there_and_what_is_not() {
    for (of, kind, outcome, answers, authority) in [
        ("_acme-challenge.example.com", Kind::Soa, Outcome::Fine, 1, 0),
        ("_acme-challenge.example.com", Kind::Ns, Outcome::Fine, 1, 0),
        ("_acme-challenge.example.com", Kind::A, Outcome::Fine, 0, 1),
        ("_acme-challenge.example.com", Kind::Cname, Outcome::Fine, 0, 1),
        ("acme.example.net", Kind::Txt, Outcome::Fine, 0, 1),
        ("ns.acme.example.net", Kind::A, Outcome::Fine, 1, 0),
        ("ns.acme.example.net", Kind::Aaaa, Outcome::Fine, 1, 0),
        ("ns.acme.example.net", Kind::Txt, Outcome::Fine, 0, 1),
        ("shop.deep.acme.example.net", Kind::Txt, Outcome::Fine, 1, 0),
        ("shop.deep.acme.example.net", Kind::Ns, Outcome::Fine, 0, 1),
        // Above a name that exists.
        ("deep.acme.example.net", Kind::Txt, Outcome::Fine, 0, 1),
        ("other.acme.example.net", Kind::Txt, Outcome::NoSuchName, 0, 1),
        ("x.shop.deep.acme.example.net", Kind::Txt, Outcome::NoSuchName, 0, 1),
        ("example.com", Kind::Txt, Outcome::Refused, 0, 0),
        ("elsewhere.example.org", Kind::Txt, Outcome::Refused, 0, 0),
        ("", Kind::Ns, Outcome::Refused, 0, 0),
    ] {
        let told = ask(of, kind);
        let found = (told.outcome, told.answers.len(), told.authority.len());
        assert_eq!(found, (outcome, answers, authority), "{of} {kind:?}");
        assert_eq!(told.authoritative, outcome != Outcome::Refused, "{of} {kind:?}");
        if let Some(record) = told.authority.first() {
            assert!(name(of).lies_in(&record.name) && record.data == Data::Soa(zones().name_server), "{of}");
        }
    }
}

#[test]
fn kinds_that_are_never_told() {
    let (caa, any, https, transfer, changes) = (257, 255, 65, 252, 251);
    for (kind, class, refused) in [
        (caa, 1, false),
        (any, 1, false),
        (https, 1, false),
        (65535, 1, false),
        (transfer, 1, true),
        (changes, 1, true),
        // Classes of history, and any of them.
        (16, 3, true),
        (16, 255, true),
    ] {
        let answer =
            zones().answer(&raw("acme.example.net", kind, class), Some(&texts()), Path::Tcp).unwrap();
        assert_eq!(code(&answer), if refused { 5 } else { 0 }, "{kind} {class}");
        assert_eq!(answer[6..8], [0, 0], "nothing is told");
        assert_eq!(answer[9], u8::from(!refused), "and how long that holds, is");
    }
}

#[test]
fn a_question_is_repeated_in_its_own_case() {
    let mut question = raw("_acme-challenge.example.com", 16, 1);
    for (at, octet) in question.iter_mut().enumerate().skip(QUESTION_AT) {
        if at % 2 == 0 {
            octet.make_ascii_uppercase();
        }
    }
    let answer = zones().answer(&question, Some(&texts()), Path::Udp).unwrap();
    assert_eq!(answer[QUESTION_AT..question.len()], question[QUESTION_AT..]);
    assert_eq!(answer[7], 2, "both texts");
    assert_eq!(answer[2] & 1, 1, "recursion desired is repeated");
    assert_eq!(answer[3] & 0x80, 0, "and never available");
}

#[test]
fn edns_is_answered_with_edns_and_a_version_that_is_not_known_is_refused() {
    let query =
        Query { id: 1, name: name("acme.example.net"), kind: Kind::Soa, recursion: false, unchecked: false };
    let mut question = query.to_bytes();
    let plain = zones().answer(&question, Some(&texts()), Path::Udp).unwrap();
    assert_eq!(plain[11], 1, "one record beside the answer");
    let version = question.len() - 5;
    question[version] = 1;
    let refused = zones().answer(&question, Some(&texts()), Path::Udp).unwrap();
    let opt = refused.len() - 11;
    assert_eq!((code(&refused), refused[opt + 5], refused[11]), (0, 1, 1), "BADVERS is 16");
    let mut twice = query.to_bytes();
    let opt = twice[twice.len() - 11..].to_vec();
    twice.extend(opt);
    twice[11] = 2;
    assert_eq!(code(&zones().answer(&twice, Some(&texts()), Path::Udp).unwrap()), 1);
}

#[test]
fn t11_what_is_no_question_is_refused_shortly_or_not_answered() {
    let good = raw("acme.example.net", 6, 1);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    for (what, message, expected) in [
        ("nothing", Vec::new(), None),
        ("half a header", good[..11].to_vec(), None),
        ("an answer", with(2, 0x80), None),
        ("an update", with(2, 0x28), Some(4)),
        ("a notice of change", with(2, 0x20), Some(4)),
        ("no question", with(5, 0), Some(1)),
        ("two questions", with(5, 2), Some(1)),
        ("a name that points", with(QUESTION_AT, 0xc0), Some(1)),
        ("a name that breaks off", good[..QUESTION_AT + 3].to_vec(), Some(1)),
        ("no class", good[..good.len() - 2].to_vec(), Some(1)),
        ("an answer in a question", with(7, 1), Some(1)),
        ("more than there is", with(11, 1), Some(1)),
    ] {
        let answer = zones().answer(&message, Some(&texts()), Path::Udp);
        assert_eq!(answer.as_deref().map(code), expected, "{what}");
        assert!(answer.is_none_or(|answer| answer.len() == 12), "{what}");
    }
}

#[test]
fn t11_many_texts_are_told_by_tcp() {
    let at = name("acme.example.net");
    let many = Texts::from([(at.clone(), vec!["v".repeat(43); 100])]);
    let query = Query { id: 3, name: at.clone(), kind: Kind::Txt, recursion: false, unchecked: false };
    let short = zones().answer(&query.to_bytes(), Some(&many), Path::Udp).unwrap();
    let read = Answer::parse(&short, &query).unwrap();
    assert!(read.truncated && read.answers.is_empty() && short.len() <= query.to_bytes().len());
    let long = zones().answer(&query.to_bytes(), Some(&many), Path::Tcp).unwrap();
    assert_eq!(Answer::parse(&long, &query).unwrap().texts(&at).count(), 100);
}

#[test]
fn t11_whoever_asks_too_much_is_sent_to_tcp_and_a_shelf_that_cannot_be_read_is_no_empty_one() {
    let query = Query {
        id: 3,
        name: name("_acme-challenge.example.com"),
        kind: Kind::Txt,
        recursion: false,
        unchecked: false,
    };
    let hasty = zones().answer(&query.to_bytes(), Some(&texts()), Path::UdpInHaste).unwrap();
    assert!(Answer::parse(&hasty, &query).unwrap().truncated && hasty.len() <= query.to_bytes().len());
    let failed = zones().answer(&query.to_bytes(), None, Path::Udp).unwrap();
    assert_eq!(Answer::parse(&failed, &query).unwrap().outcome, Outcome::ServerFailure);
}

#[test]
fn octets_that_no_host_has_are_names_all_the_same() {
    let mut question = header(7, 0, [1, 0, 0, 0]);
    question.extend_from_slice(b"\x02\0.\x04acme\x07example\x03net\0\0\x10\0\x01");
    assert_eq!(code(&zones().answer(&question, Some(&texts()), Path::Udp).unwrap()), 3);
}

proptest! {
    #[test]
    fn t11_no_octets_make_it_panic_or_talk_much(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        of in prop::sample::select(vec!["acme.example.net", "shop.deep.acme.example.net", "example.com"]),
        kind in any::<u16>(),
        flips in prop::collection::vec((0_usize..60, any::<u8>()), 0..4),
    ) {
        let _ = zones().answer(&bytes, Some(&texts()), Path::Udp);
        let mut likely = raw(of, kind, 1);
        for (at, value) in flips {
            if let Some(octet) = likely.get_mut(at) {
                *octet ^= value;
            }
        }
        for path in [Path::Udp, Path::Tcp] {
            if let Some(answer) = zones().answer(&likely, Some(&texts()), path) {
                prop_assert!(path == Path::Tcp || answer.len() <= UDP_MOST);
                prop_assert_eq!(&answer[..2], &likely[..2], "the number of its question");
                prop_assert!(answer[2] & 0x80 != 0 && zones().answer(&answer, Some(&texts()), path).is_none());
                prop_assert_eq!(answer[3] & 0x80, 0, "no recursion");
            }
        }
    }

    #[test]
    fn what_stands_is_told_and_what_does_not_is_not(
        labels in prop::collection::btree_set("[a-c]{1,2}(\\.[a-c]){0,2}", 0..6),
        asked in "[a-c]{1,2}(\\.[a-c]){0,2}",
    ) {
        let at = |label: &str| name(&format!("{label}.acme.example.net"));
        let standing: Texts = labels.iter().map(|label| (at(label), vec![label.clone()])).collect();
        let query = Query { id: 9, name: at(&asked), kind: Kind::Txt, recursion: true, unchecked: false };
        let bytes = zones().answer(&query.to_bytes(), Some(&standing), Path::Udp).unwrap();
        let read = Answer::parse(&bytes, &query).unwrap();
        let of = at(&asked);
        let told: Vec<_> = read.texts(&of).map(<[u8]>::to_vec).collect();
        let wanted: Vec<_> = labels.get(&asked).map(|label| label.as_bytes().to_vec()).into_iter().collect();
        prop_assert_eq!(told, wanted);
        let known = standing.keys().any(|name| name.lies_in(&of));
        prop_assert_eq!(read.outcome == Outcome::NoSuchName, !known);
    }
}
