//! What a CA says and sends.

use test_ca::{Effect, Endpoint, Fault};

use crate::desk::{Desk, exists, free_port, orders};
use crate::files::tree;
use crate::served;

const ENTRY: &str = "[certificate.\"a.example\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn acme_sh_684_a_page_instead_of_a_chain_is_never_installed() {
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (row, content_type, body) in [
        ("a page with status 200", "text/html", "<html><body>Service unavailable</body></html>".to_owned()),
        ("a page that says it is a chain", "application/pem-certificate-chain", "<html></html>".to_owned()),
        ("nothing at all", "application/pem-certificate-chain", String::new()),
        ("a frame without a certificate in it", "application/pem-certificate-chain", CERTIFICATE.to_owned()),
        (
            "somebody else's certificate",
            "application/pem-certificate-chain",
            crate::desk::self_signed("b.example"),
        ),
    ] {
        let desk = Desk::new();
        let ca = desk.ca().start().await.unwrap();
        desk.configure(&(desk.around(&ca) + ENTRY));
        let effect = Effect::Raw { status: 200, content_type: content_type.into(), body: body.into_bytes() };
        ca.set_fault(Fault::new(effect).at(Endpoint::Certificate));
        let told = desk.run(&["renew"]);
        assert_eq!(told.code, Some(1), "{row}: {told:?}");
        assert!(!exists(&desk.path("state/live/a.example/fullchain.pem")), "{row}");
        ca.clear_faults();
        let told = desk.run(&["renew", "a.example"]);
        assert_eq!(told.code, Some(0), "{row}: {told:?}");
        let live = |name: &str| std::fs::read(desk.path(&format!("state/live/a.example/{name}"))).unwrap();
        assert_eq!(served::unfit(&live("fullchain.pem"), &live("privkey.pem")), None, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f35_what_is_not_seen_from_here_is_told_to_the_ca_all_the_same() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    // From here the name leads to a port where nobody is; the CA finds its way.
    let wrong = format!("check-port = {}\n", free_port());
    let around = desk.around(&ca).replace(&format!("check-port = {}\n", desk.port), &wrong);
    desk.configure(&(around + ENTRY));
    desk.run(&["renew"]).ends(0).says("renewed until");
    assert_eq!(orders(&ca), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn f50_changed_terms_are_told_with_their_link_and_the_pair_stays() {
    let desk = Desk::new();
    let ca = desk.ca().terms_of_service().start().await.unwrap();
    let config = desk.around(&ca).replacen("[issuer.test]\n", "[issuer.test]\naccept-terms = true\n", 1);
    desk.configure(&(config.clone() + ENTRY));
    desk.run(&["renew"]).ends(0);
    let before = tree(&desk.path("state/live"));
    let body = br#"{"type":"urn:ietf:params:acme:error:userActionRequired","status":403,
        "detail":"the terms have changed","instance":"https://ca.example/terms/2"}"#;
    let effect =
        Effect::Raw { status: 403, content_type: "application/problem+json".into(), body: body.to_vec() };
    ca.set_fault(Fault::new(effect).at(Endpoint::NewOrder));
    let told = desk.run(&["renew", "--force"]).ends(1);
    let said = told.out + &told.err;
    assert!(said.contains("terms-changed") && said.contains("https://ca.example/terms/2"), "{said}");
    assert_eq!(tree(&desk.path("state/live")), before);
    // One that is needed is everybody's to see, and a pass that nobody asked for does not knock again.
    desk.configure(&(config + ENTRY + "[certificate.\"b.example\"]\n"));
    desk.run(&["renew"]).ends(1);
    desk.run(&["status"]).ends(2).says("terms");
    let asked = orders(&ca);
    desk.run(&["renew"]).ends(1);
    assert_eq!(orders(&ca), asked);
    ca.clear_faults();
    desk.run(&["renew", "b.example"]).ends(0);
    desk.run(&["status"]).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f51_a_chain_of_any_length_is_installed_whole_and_leaves_no_tail() {
    let desk = Desk::new();
    let copy = desk.path("copy.pem");
    // From long to short: what opens files without truncating them leaves a tail.
    for length in [3, 2, 1, 2, 3] {
        let ca = desk.ca().chain_length(length).start().await.unwrap();
        let entry = format!("{ENTRY}combined = \"{}\"\n", copy.display());
        desk.configure(&(desk.around(&ca) + &entry));
        desk.run(&["renew", "--force"]).ends(0);
        let live = |name: &str| std::fs::read(desk.path(&format!("state/live/a.example/{name}"))).unwrap();
        let (chain, key) = (live("fullchain.pem"), live("privkey.pem"));
        assert_eq!(nolapse::codec::pem::certificates(&chain).unwrap().len(), length);
        assert_eq!(served::unfit(&chain, &key), None, "{length}");
        assert_eq!([live("cert.pem"), live("chain.pem")].concat(), chain, "{length}");
        assert_eq!(live("combined.pem"), [chain, key].concat(), "{length}");
        assert_eq!(std::fs::read(&copy).unwrap(), live("combined.pem"), "{length}");
    }
}
