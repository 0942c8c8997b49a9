//! Renewal information and replacement (RFC 9773).

mod client;

use std::time::{Duration, SystemTime};

use client::{Client, Obtained, Web, b64, believing, csr, problem};
use rcgen::KeyPair;
use serde_json::{Value, json};
use test_ca::{Ca, RenewalWindow, RetryAfter};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::ParsedExtension;

/// The identifier as a client computes it.
fn cert_id(obtained: &Obtained) -> String {
    let leaf = obtained.certificates().remove(0);
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let key = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref(),
        _ => None,
    });
    format!("{}.{}", b64(key.unwrap().0), b64(leaf.raw_serial()))
}

/// Start and end of the window, in seconds since `origin`.
fn window(info: &Value, origin: SystemTime) -> (f64, f64) {
    let at = |member: &str| {
        let text = info["suggestedWindow"][member].as_str().unwrap();
        (OffsetDateTime::parse(text, &Rfc3339).unwrap() - OffsetDateTime::from(origin)).as_seconds_f64()
    };
    (at("start"), at("end"))
}

#[tokio::test]
async fn the_window_lies_where_it_is_put() {
    let web = Web::start().await;
    let lifetime = Duration::from_hours(100);
    let ca = believing(&web).lifetime(lifetime).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let obtained = client.obtain(&web, &["a.test"], json!({})).await;
    let issued = ca.issued().remove(0);
    assert_eq!(issued.cert_id, cert_id(&obtained));
    let url = format!("{}/{}", client.url("renewalInfo"), issued.cert_id);
    let hours = async || {
        let (start, end) = window(&client.get(&url).await.ok().json(), issued.not_before);
        (start / 3600.0, end / 3600.0)
    };
    let info = client.get(&url).await.ok();
    assert_eq!(info.header("retry-after"), "21600");
    assert_eq!(hours().await, (49.0, 51.0), "the middle, for less than ten days");

    ca.set_renewal_window(RenewalWindow::Fraction { start: 0.25, end: 0.5 });
    assert_eq!(hours().await, (25.0, 50.0));
    let (start, end) = (issued.not_before, issued.not_before + Duration::from_hours(1));
    let explanation = Some("https://ca.example/incident".to_owned());
    ca.set_renewal_window_of(&issued.cert_id, RenewalWindow::Explicit { start, end, explanation });
    assert_eq!(hours().await, (0.0, 1.0));
    assert_eq!(client.get(&url).await.json()["explanationURL"], "https://ca.example/incident");

    // Revocation moves the usual window into the past.
    ca.set_renewal_window_of(&issued.cert_id, RenewalWindow::Usual);
    assert!(ca.revoke(&issued.serial, 4));
    assert!(!ca.revoke("00", 4));
    let (_, end) = window(&client.get(&url).await.json(), SystemTime::now());
    assert!(end < 0.0);

    assert_eq!(client.get(&format!("{url}x")).await.problem(), problem("malformed", 404));
    assert_eq!(client.post_as_get(&url).await.problem(), problem("malformed", 405), "it is a plain GET");
}

#[tokio::test]
async fn a_longer_life_is_renewed_in_its_last_third() {
    let web = Web::start().await;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let ca = believing(&web)
        .lifetime(Duration::from_hours(300 * 24))
        .renewal_retry_after(Some(RetryAfter::HttpDate(date)))
        .start()
        .await
        .unwrap();
    let client = Client::registered(&ca).await;
    client.obtain(&web, &["a.test"], json!({})).await;
    let issued = ca.issued().remove(0);
    let info = client.get(&format!("{}/{}", client.url("renewalInfo"), issued.cert_id)).await.ok();
    assert_eq!(info.header("retry-after"), "Sun, 17 Mar 2030 17:46:40 GMT");
    let (start, end) = window(&info.json(), issued.not_before);
    assert_eq!((start / 86_400.0, end / 86_400.0), (197.0, 203.0));
}

#[tokio::test]
async fn a_certificate_is_replaced_once() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    client.obtain(&web, &["a.test", "b.test"], json!({})).await;
    let replaces = json!({ "replaces": ca.issued()[0].cert_id });

    let unknown = client.try_order(&["a.test"], json!({ "replaces": "AAAA.AAAA" })).await;
    assert_eq!(unknown.problem(), problem("malformed", 400));
    let unrelated = client.try_order(&["c.test"], replaces.clone()).await;
    assert_eq!(unrelated.problem(), problem("malformed", 400));
    let stranger = Client::registered(&ca).await;
    let foreign = stranger.try_order(&["a.test"], replaces.clone()).await;
    assert_eq!(foreign.problem(), problem("unauthorized", 403));

    // An order that came to nothing does not stand in the way; one that lives does.
    let abandoned = client.order_with(&["a.test"], replaces.clone()).await;
    assert_eq!(abandoned.json["replaces"], replaces["replaces"]);
    let busy = client.try_order(&["a.test"], replaces.clone()).await;
    assert_eq!(busy.problem(), problem("alreadyReplaced", 409));
    let authorization = abandoned.json["authorizations"][0].as_str().unwrap();
    client.post(authorization, &json!({ "status": "deactivated" })).await.ok();
    client.obtain(&web, &["a.test", "c.test"], replaces.clone()).await;
    let done = client.try_order(&["a.test"], replaces.clone()).await;
    assert_eq!(done.problem(), problem("alreadyReplaced", 409));
    assert_eq!(json!(ca.issued()[1].replaces), replaces["replaces"]);
}

#[tokio::test]
async fn a_ca_without_renewal_information_passes_over_replaces() {
    let ca = Ca::builder().no_renewal_info().skip_validation().start().await.unwrap();
    let client = Client::registered(&ca).await;
    assert!(client.directory.get("renewalInfo").is_none());
    let order = client.order_with(&["a.test"], json!({ "replaces": "AAAA.AAAA" })).await;
    assert!(order.json.get("replaces").is_none());
    let refused = client.finalize(&order, &csr(&["a.test"], &KeyPair::generate().unwrap())).await;
    assert_eq!(refused.problem(), problem("orderNotReady", 403));
}
