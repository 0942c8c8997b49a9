//! What becomes a generation and what does not: a CA that answers rightly, wrongly and hostilely,
//! and stored values that got damaged.
#![allow(clippy::unwrap_used, clippy::panic)]

use nolapse::codec::bundle::{Bundle, BundleError, Expected, digests, pair_of};
use nolapse::codec::form::{self, Source};
use nolapse::codec::pkcs12::Password;
use nolapse::codec::{digest, pem};
use nolapse::core::failure::{Class, Fault};
use nolapse::core::form::Form;
use nolapse::core::layout::Content;
use nolapse::core::name::SubjectName;
use nolapse::core::record::Issued;
use nolapse::core::spec::{KeyKind, Part, SecretSource};
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::sys::keys::{Keys, PLACEHOLDER_ISSUER, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use time::OffsetDateTime;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn names(texts: &[&str]) -> Vec<SubjectName> {
    texts.iter().map(|text| SubjectName::parse(text).unwrap()).collect()
}

async fn key(kind: KeyKind) -> PrivateKey {
    Keys::random().make(kind).await.unwrap()
}

fn at(when: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(when.secs()).unwrap()
}

/// A root, and what it issued.
fn root(name: &str) -> Issuer {
    CertifiedIssuer::self_signed(ca(name), KeyPair::generate().unwrap()).unwrap()
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn leaf(names: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = at(NOW - Span::HOUR);
    params.not_after = at(NOW + Span::days(45));
    params.use_authority_key_identifier_extension = true;
    params
}

/// A leaf for `key` and its issuer, as a CA would send them.
fn issue(params: &CertificateParams, key: &PrivateKey, issuer: &Issuer) -> String {
    format!("{}{}", issue_alone(params, key, issuer), issuer.pem())
}

fn issue_alone(params: &CertificateParams, key: &PrivateKey, issuer: &Issuer) -> String {
    let pair = KeyPair::from_pem(std::str::from_utf8(key.pem().bytes()).unwrap()).unwrap();
    params.signed_by(&pair, issuer).unwrap().pem()
}

fn receive(
    chain: &str,
    key: &PrivateKey,
    wanted: &[&str],
) -> Result<Bundle, nolapse::core::failure::Failure> {
    Bundle::receive(chain, &key.pem(), &Expected { names: &names(wanted), now: NOW })
}

#[tokio::test]
async fn f53_f26_only_a_right_answer_becomes_a_generation() {
    let (ours, theirs) = (key(KeyKind::EcdsaP256).await, key(KeyKind::EcdsaP256).await);
    let (trusted, stranger) = (root("Root"), root("Root"));
    let good = leaf(&["a.example", "www.a.example"]);
    let dated = |start: Timestamp, end: Timestamp| {
        let mut params = leaf(&["a.example", "www.a.example"]);
        (params.not_before, params.not_after) = (at(start), at(end));
        issue(&params, &ours, &trusted)
    };
    let mut authority = leaf(&["a.example", "www.a.example"]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut old = ca("Old intermediate");
    old.not_after = at(NOW - Span::DAY);
    let old = CertifiedIssuer::signed_by(old, KeyPair::generate().unwrap(), &trusted).unwrap();
    let server =
        CertifiedIssuer::signed_by(leaf(&["evil.example"]), KeyPair::generate().unwrap(), &trusted).unwrap();

    let whole = issue(&good, &ours, &trusted);
    let table = [
        ("leaf and issuer", whole.clone(), None),
        ("a leaf alone", issue_alone(&good, &ours, &trusted), None),
        (
            "more names than asked for",
            issue(&leaf(&["a.example", "www.a.example", "b.example"]), &ours, &trusted),
            None,
        ),
        ("a wildcard in place of a name", issue(&leaf(&["a.example", "*.a.example"]), &ours, &trusted), None),
        ("another key", issue(&good, &theirs, &trusted), Some("wrong-key")),
        ("a name is missing", issue(&leaf(&["a.example"]), &ours, &trusted), Some("names-missing")),
        ("no names at all", issue(&leaf(&[]), &ours, &trusted), Some("names-missing")),
        (
            "a CA's name alike, another key",
            issue_alone(&good, &ours, &trusted) + &stranger.pem(),
            Some("chain-broken"),
        ),
        (
            "issued by a server's certificate",
            issue(&good, &ours, &server) + &trusted.pem(),
            Some("chain-broken"),
        ),
        ("root first", trusted.pem() + &issue_alone(&good, &ours, &trusted), Some("leaf-is-ca")),
        ("a CA certificate for us", issue(&authority, &ours, &trusted), Some("leaf-is-ca")),
        ("starts tomorrow", dated(NOW + Span::DAY, NOW + Span::days(9)), Some("not-yet-valid")),
        ("starts now", dated(NOW, NOW + Span::days(9)), None),
        ("ended yesterday", dated(NOW - Span::days(9), NOW - Span::DAY), Some("already-expired")),
        ("ends now", dated(NOW - Span::days(9), NOW), Some("already-expired")),
        ("ends before it starts", dated(NOW + Span::DAY, NOW - Span::DAY), Some("not-yet-valid")),
        ("an expired intermediate", issue(&good, &ours, &old), Some("already-expired")),
        ("cut off", whole[..whole.len() - 40].to_owned(), Some("chain-unreadable")),
        ("with a key in it", whole.clone() + &pem::encode("PRIVATE KEY", b"x"), Some("chain-unreadable")),
        ("not DER", pem::encode("CERTIFICATE", b"x"), Some("chain-unreadable")),
        ("empty", String::new(), Some("chain-unreadable")),
    ];
    for (row, chain, code) in table {
        match (receive(&chain, &ours, &["a.example", "www.a.example"]), code) {
            (Ok(bundle), None) => assert_eq!(bundle.leaf().key, ours.fingerprint(), "{row}"),
            (Err(failure), Some(code)) => {
                assert_eq!(failure.code, code, "{row}: {failure}");
                assert_eq!((failure.class, failure.fault), (Class::Transient, Fault::Ca), "{row}");
            }
            (Ok(_), Some(code)) => panic!("{row}: taken, not {code}"),
            (Err(failure), None) => panic!("{row}: {failure}"),
        }
    }
}

#[tokio::test]
async fn f53_the_missing_name_is_blamed_by_name() {
    let ours = key(KeyKind::EcdsaP256).await;
    let chain = issue(&leaf(&["a.example"]), &ours, &root("Root"));
    let failure = receive(&chain, &ours, &["a.example", "b.example", "192.0.2.7"]).unwrap_err();
    assert_eq!(failure.name, Some(SubjectName::parse("b.example").unwrap()));
    assert!(failure.words.contains("b.example, 192.0.2.7"), "{failure}");
}

#[tokio::test]
async fn a_key_of_ours_that_cannot_be_read_is_not_the_cas_fault() {
    let ours = key(KeyKind::EcdsaP256).await;
    let chain = issue(&leaf(&["a.example"]), &ours, &root("Root"));
    let failure =
        Bundle::receive(&chain, &Content::default(), &Expected { names: &[], now: NOW }).unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.class, failure.fault),
        ("key-unreadable", Class::Broken, Fault::Ours)
    );
}

#[tokio::test]
async fn every_kind_of_key_goes_all_the_way() {
    for kind in KeyKind::ALL {
        let ours = key(kind).await;
        assert_eq!(ours.kind(), kind);
        let bundle =
            receive(&issue(&leaf(&["a.example"]), &ours, &root("Root")), &ours, &["a.example"]).unwrap();
        assert_eq!((bundle.leaf().key_kind, bundle.key_kind()), (Some(kind), Some(kind)));
        assert_eq!(bundle.leaf().key, ours.fingerprint(), "{kind:?}");
        assert!(bundle.leaf().ari_id.is_some(), "{kind:?}");
        let read = Bundle::from_content(&bundle.to_content()).unwrap();
        assert_eq!(read, bundle, "{kind:?}");
        assert_eq!(read.render(), bundle.render(), "{kind:?}");
        let again = PrivateKey::from_pem(&read.key_pem()).unwrap();
        assert_eq!((again.fingerprint(), again.kind()), (ours.fingerprint(), kind));
    }
}

#[tokio::test]
async fn the_texts_of_a_generation() {
    let ours = key(KeyKind::EcdsaP256).await;
    let chain = issue(&leaf(&["a.example"]), &ours, &root("Root"));
    // Comments and foreign line ends of a CA do not reach the disk.
    let noisy = format!("subject=\u{1b}[2J\r\n{}", chain.replace('\n', "\r\n"));
    let bundle = receive(&noisy, &ours, &["a.example"]).unwrap();
    let texts = bundle.render();
    let text = |part: Part| String::from_utf8(texts[&part].bytes().to_vec()).unwrap();
    assert_eq!(text(Part::Fullchain), chain.replace("\r\n", "\n"));
    assert_eq!(text(Part::Cert) + &text(Part::Chain), text(Part::Fullchain));
    assert_eq!(text(Part::Combined), text(Part::Fullchain) + &text(Part::Privkey));
    assert!(!text(Part::Fullchain).contains("PRIVATE"));
    let hashes = digests(&texts);
    assert_eq!(hashes.len(), Part::ALL.len());
    assert_eq!(hashes[&Part::Cert], digest::sha256(text(Part::Cert).as_bytes()));
    let alone = receive(&text(Part::Cert), &ours, &["a.example"]).unwrap();
    assert!(alone.render()[&Part::Chain].is_empty());
}

#[tokio::test]
async fn any_damage_to_a_stored_generation_is_noticed() {
    let ours = key(KeyKind::EcdsaP256).await;
    let bundle = receive(&issue(&leaf(&["a.example"]), &ours, &root("Root")), &ours, &["a.example"]).unwrap();
    let stored = bundle.to_content();
    for index in 0..stored.len() {
        let mut bytes = stored.bytes().to_vec();
        bytes[index] ^= 1;
        assert!(Bundle::from_content(&Content::new(bytes)).is_err(), "byte {index}");
        let cut = stored.bytes()[..index].to_vec();
        assert!(Bundle::from_content(&Content::new(cut)).is_err(), "cut at {index}");
    }
    let more = [stored.bytes(), b"x"].concat();
    assert!(Bundle::from_content(&Content::new(more)).is_err());
}

#[tokio::test]
async fn stored_generations_of_other_releases_and_torn_pairs_are_told_apart() {
    let (ours, theirs) = (key(KeyKind::EcdsaP256).await, key(KeyKind::EcdsaP256).await);
    let bundle = receive(&issue(&leaf(&["a.example"]), &ours, &root("Root")), &ours, &["a.example"]).unwrap();
    let stored = String::from_utf8(bundle.to_content().bytes().to_vec()).unwrap();
    let (head, body) = stored.split_once("\n\n").unwrap();
    let read = |text: String| Bundle::from_content(&Content::new(text.into_bytes()));
    let sealed =
        |head: &str, body: &str| format!("{head}\nsha256: {}\n\n{body}", digest::sha256(body.as_bytes()));
    let ours_head = "nolapse-generation: 1\nkey: pem";
    assert!(head.starts_with(ours_head));

    assert_eq!(read(stored.replacen(": 1", ": 2", 1)), Err(BundleError::Newer { found: 2, known: 1 }));
    let elsewhere = sealed("nolapse-generation: 1\nkey: handle", body);
    assert_eq!(read(elsewhere), Err(BundleError::KeyElsewhere("handle".to_owned())));
    let own = String::from_utf8(ours.pem().bytes().to_vec()).unwrap();
    let other = String::from_utf8(theirs.pem().bytes().to_vec()).unwrap();
    assert_eq!(read(sealed(ours_head, &body.replace(&own, &other))), Err(BundleError::Mismatched));
    assert_eq!(read(sealed(ours_head, &body.replace(&own, ""))), Err(BundleError::Pem(pem::PemError::NoKey)));
}

#[tokio::test]
async fn a_pair_found_on_disk() {
    let (ours, theirs) = (key(KeyKind::Rsa2048).await, key(KeyKind::EcdsaP384).await);
    let bundle = receive(&issue(&leaf(&["a.example"]), &ours, &root("Root")), &ours, &["a.example"]).unwrap();
    let texts = bundle.render();
    let text = |part: Part| texts[&part].bytes();
    assert_eq!(pair_of(text(Part::Fullchain), text(Part::Privkey)).as_ref(), Ok(bundle.leaf()));
    assert_eq!(pair_of(text(Part::Combined), text(Part::Combined)).as_ref(), Ok(bundle.leaf()));
    assert_eq!(pair_of(text(Part::Fullchain), theirs.pem().bytes()), Err(BundleError::Mismatched));
    assert_eq!(pair_of(b"", text(Part::Privkey)), Err(BundleError::Pem(pem::PemError::NoCertificate)));
    assert_eq!(pair_of(text(Part::Fullchain), b""), Err(BundleError::Pem(pem::PemError::NoKey)));
}

#[tokio::test]
async fn a_placeholder_is_a_generation_too() {
    let ours = key(KeyKind::EcdsaP256).await;
    let wanted = ["a.example", "*.a.example", "192.0.2.7", "2001:db8::1"];
    let validity = Interval::new(NOW, NOW + Span::days(7));
    let text = ours.placeholder(&names(&wanted), validity).unwrap();
    let bundle = receive(&text, &ours, &wanted).unwrap();
    assert_eq!(bundle.leaf().validity(), validity);
    assert_eq!((bundle.leaf().issuer.as_str(), bundle.leaf().self_signed), (PLACEHOLDER_ISSUER, true));
    assert_eq!(bundle.leaf().ari_id, None, "no CA is asked about it");
    assert!(Bundle::from_content(&bundle.to_content()).is_ok());
}

#[test]
fn t12_no_part_of_a_key_is_printed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ours = runtime.block_on(key(KeyKind::EcdsaP256));
    let bundle = receive(&issue(&leaf(&["a.example"]), &ours, &root("Root")), &ours, &["a.example"]).unwrap();
    let secret = String::from_utf8(ours.pem().bytes().to_vec()).unwrap();
    let printed = format!("{ours:?} {bundle:?} {:?} {:?}", bundle.to_content(), bundle.render());
    for line in secret.lines().filter(|line| !line.starts_with('-')) {
        assert!(!printed.contains(&line[..16]), "{printed}");
    }
}

#[tokio::test]
async fn law_an_output_says_by_itself_which_generation_it_is_of() {
    let root = root("Root");
    let mut generations = Vec::new();
    for (number, kind) in (1..).zip([KeyKind::EcdsaP256, KeyKind::Rsa2048]) {
        let ours = key(kind).await;
        let bundle = receive(&issue(&leaf(&["a.example"]), &ours, &root), &ours, &["a.example"]).unwrap();
        let texts = bundle.render();
        let issued = Issued {
            number,
            leaf: bundle.leaf().clone(),
            issuer: None,
            profile: None,
            key_kind: kind,
            names: names(&["a.example"]),
            at: NOW,
            order: String::new(),
            revoked: false,
            digests: digests(&texts),
        };
        generations.push((bundle, texts, issued));
    }
    let (right, wrong) = (Password::new(b"changeit").unwrap(), Password::new(b"changed it").unwrap());
    let single = [
        Form::KeyFirst,
        Form::CertDer,
        Form::KeyDer,
        Form::Pkcs12 { password: SecretSource::Env("P".into()) },
    ];
    // The chain alone is the CA's, so it is of both.
    let texts = Part::ALL.into_iter().filter(|part| *part != Part::Chain).map(Form::from);
    for form in texts.chain(single) {
        for (bundle, texts, issued) in &generations {
            let source = Source { bundle, texts, name: "a.example" };
            let content = form::encode(&form, &source, Some(&right)).unwrap();
            let shows = |bytes: &[u8], issued: &Issued, word: &Password| {
                form::shows(&form, bytes, issued, Some(word))
            };
            for (_, _, other) in &generations {
                let same = other.number == issued.number;
                assert_eq!(shows(content.bytes(), other, &right), same, "{form:?}");
            }
            let sealed = matches!(form, Form::Pkcs12 { .. });
            assert_eq!(shows(content.bytes(), issued, &wrong), !sealed, "{form:?}: another password");
            // Whatever byte changes, whatever is missing, whatever comes after: it is nobody's.
            for at in (0..content.len()).step_by(content.len() / 40) {
                let mut bytes = content.bytes().to_vec();
                bytes[at] ^= 4;
                assert!(!shows(&bytes, issued, &right), "{form:?}: byte {at}");
                assert!(!shows(&content.bytes()[..at], issued, &right), "{form:?}: cut at {at}");
            }
            assert!(!shows(&[content.bytes(), b"\n"].concat(), issued, &right), "{form:?}");
            let told = form::leaf_in(&form, content.bytes(), Some(&right));
            let key_alone = matches!(form, Form::KeyDer | Form::Text(Part::Privkey));
            assert_eq!(told, (!key_alone).then(|| issued.leaf.clone()), "{form:?}");
        }
    }
}
