//! Certificates, chains and objects that lie, each about one thing.

mod client;

use client::{Client, Web, believing, certificates, problem};
use serde_json::json;
use test_ca::{ChainLie, Effect, Endpoint, Fault, LeafLie};
use x509_parser::parse_x509_certificate;

#[tokio::test]
async fn leaves_lie_about_dates_names_and_rights() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    for lie in [
        LeafLie::ExtraName,
        LeafLie::Year1970,
        LeafLie::Year9999,
        LeafLie::Reversed,
        LeafLie::Authority,
        LeafLie::StagingRoot,
    ] {
        ca.set_fault(Fault::new(Effect::Leaf(lie)).times(1));
        let chain = client.obtain(&web, &["a.test"], json!({})).await.certificates();
        let (_, leaf) = parse_x509_certificate(&chain[0]).unwrap();
        let (_, issuer) = parse_x509_certificate(&chain[1]).unwrap();
        leaf.verify_signature(Some(issuer.public_key())).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
        let found = [
            names == 2,
            to == 86_400,
            to == 253_402_300_799,
            to < from,
            leaf.is_ca(),
            issuer.subject().to_string().contains("STAGING"),
        ];
        let lies = [
            LeafLie::ExtraName,
            LeafLie::Year1970,
            LeafLie::Year9999,
            LeafLie::Reversed,
            LeafLie::Authority,
            LeafLie::StagingRoot,
        ];
        assert_eq!(found, lies.map(|other| other == lie), "{lie:?} and nothing else");
    }
}

#[tokio::test]
async fn chains_are_bent() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let honest = client.obtain(&web, &["a.test"], json!({})).await;
    let url = ca.requests().iter().rfind(|seen| seen.endpoint == Endpoint::Certificate).unwrap().path.clone();
    let url = ca.directory_url().replace("/directory", &url);
    let read = async |lie| {
        ca.set_fault(Fault::new(Effect::Chain(lie)).times(1));
        client.post_as_get(&url).await.ok().body
    };
    let text = async |lie| String::from_utf8(read(lie).await).unwrap();
    let counted = [
        (ChainLie::Empty, 0),
        (ChainLie::LeafOnly, 1),
        (ChainLie::NoLeaf, 1),
        (ChainLie::Backwards, 2),
        (ChainLie::Doubled, 4),
        (ChainLie::Members(1000), 1000),
        (ChainLie::OtherIssuer, 2),
        (ChainLie::WithRoot, 3),
        (ChainLie::WithText, 2),
        (ChainLie::WithEscapes, 2),
        (ChainLie::CrLf, 2),
        (ChainLie::LongLines, 2),
        (ChainLie::Padded(1 << 20), 2),
        (ChainLie::WithMark, 2),
        (ChainLie::WithNul, 2),
    ];
    for (lie, members) in counted {
        assert_eq!(text(lie).await.matches("BEGIN CERTIFICATE").count(), members, "{lie:?}");
    }
    assert!(text(ChainLie::WithKey).await.contains("PRIVATE KEY"));
    assert_eq!(text(ChainLie::OtherLabel).await.matches("BEGIN X509 CRL").count(), 2);
    assert_eq!(text(ChainLie::Truncated).await.matches("END CERTIFICATE").count(), 1);
    assert_eq!(read(ChainLie::Der).await, honest.certificates()[0].to_vec());
    let short = text(ChainLie::ShortDer).await;
    assert!(certificates(&short)[0].len() < 100, "{short}");
    assert_eq!(certificates(&text(ChainLie::Backwards).await)[1], honest.certificates()[0]);
    assert!(text(ChainLie::BadBase64).await.contains("!!!") || text(ChainLie::BadBase64).await.contains('!'));
    assert_eq!(client.post_as_get(&url).await.ok().text(), honest.chain);
}

#[tokio::test]
async fn objects_and_refusals_are_bent() {
    let ca = test_ca::Ca::start().await.unwrap();
    let client = Client::registered(&ca).await;
    let edit = |place: &str, value| Effect::Edit { place: place.to_owned(), value };
    let order = async |effect| {
        ca.set_fault(Fault::new(effect).at(Endpoint::NewOrder).times(1));
        client.try_order(&["a.test"], json!({})).await
    };
    assert_eq!(
        order(edit("/authorizations/0", Some(json!("file:///x")))).await.json()["authorizations"],
        json!(["file:///x"])
    );
    assert_eq!(order(edit("/authorizations/0", None)).await.json()["authorizations"], json!([]));
    assert_eq!(
        order(edit("/authorizations/9", Some(json!(1)))).await.json()["authorizations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let kept = order(Effect::Body(b"<html>".to_vec())).await;
    assert_eq!((kept.status, kept.text().as_str()), (201, "<html>"));
    assert!(kept.header("location").contains("/order/"));
    let nameless = order(Effect::Header { name: "location", values: Vec::new() }).await.ok();
    assert_eq!(nameless.header("location"), "");
    let moved = order(Effect::Redirect { status: 307, target: "http://elsewhere.test/".to_owned() }).await;
    assert_eq!((moved.status, moved.header("location")), (307, "http://elsewhere.test/"));
    let terms = order(Effect::NewTerms { instance: "https://ca.test/terms/2".to_owned() }).await;
    assert_eq!(terms.problem(), problem("userActionRequired", 403));
    assert_eq!(terms.json()["instance"], "https://ca.test/terms/2");
    assert_eq!(terms.links("terms-of-service"), ["https://ca.test/terms/2"]);
}
