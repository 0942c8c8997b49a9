//! From order to certificate, with real validation; and what stops it.

mod client;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use client::{Client, Page, Web, b64, believing, certificates, csr, http01, problem};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData as _};
use serde_json::json;
use test_ca::{Ca, Endpoint, RetryAfter};
use x509_parser::parse_x509_certificate;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn names_are_proven_and_certified() {
    let web = Web::start().await;
    let ca = believing(&web).lifetime(MINUTE).backdate(MINUTE * 2).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let names = ["b.test", "a.test", "127.0.0.1"];
    let before = SystemTime::now() - Duration::from_secs(1);
    let obtained = client.obtain(&web, &names, json!({})).await;
    assert_eq!(obtained.response.header("content-type"), "application/pem-certificate-chain");

    let leaf = obtained.certificates().remove(0);
    let (_, leaf) = parse_x509_certificate(&leaf).unwrap();
    assert_eq!(leaf.public_key().raw, obtained.key.subject_public_key_info());
    let alternatives = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(alternatives.critical, "the subject is empty (RFC 5280 §4.1.2.6)");
    assert_eq!(alternatives.value.general_names.len(), 3);
    let issued = ca.issued();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].names, names);
    assert_eq!(issued[0].order_url, obtained.order.url);
    assert_eq!(issued[0].account_url, client.kid());
    assert_eq!(issued[0].chain_pem, obtained.chain);
    assert_eq!(issued[0].not_after.duration_since(issued[0].not_before).unwrap(), MINUTE * 3);
    let end = u64::try_from(leaf.validity().not_after.timestamp()).unwrap();
    assert_eq!(SystemTime::UNIX_EPOCH + Duration::from_secs(end), issued[0].not_after);
    assert!(issued[0].not_after >= before + MINUTE);

    let hosts: BTreeSet<String> =
        web.seen.lock().unwrap().iter().map(|seen| seen.split('/').next().unwrap().to_owned()).collect();
    assert_eq!(hosts, names.map(str::to_owned).into(), "each name was asked under its own Host");
    assert_eq!(ca.count(Endpoint::Challenge), 3);
}

#[tokio::test]
async fn chains_have_the_length_asked_for_and_lead_to_the_roots() {
    for length in 1..=3 {
        let web = Web::start().await;
        let ca =
            believing(&web).chain_length(length).alternate_chains(2).common_name().start().await.unwrap();
        let client = Client::registered(&ca).await;
        let obtained = client.obtain(&web, &["a.test"], json!({})).await;
        assert_eq!(obtained.certificates().len(), length);
        check_chain(&obtained.chain, &ca.issuing_root_pem());

        let links = obtained.response.links("alternate");
        assert_eq!(links.len(), 2);
        for (link, root) in links.iter().zip(ca.alternate_root_pems()) {
            let alternate = client.post_as_get(link).await.ok();
            assert_eq!(certificates(&alternate.text())[0], obtained.certificates()[0], "the same leaf");
            check_chain(&alternate.text(), &root);
            assert_eq!(alternate.links("alternate").len(), 2, "the default and the other one");
        }
        let beyond = format!("{}/alternate/3", links[0].strip_suffix("/alternate/1").unwrap());
        assert_eq!(client.post_as_get(&beyond).await.problem(), problem("malformed", 404));
    }
}

/// Each certificate is signed by the next, and the last by the root.
#[track_caller]
fn check_chain(chain: &str, root: &str) {
    let chain: Vec<_> = certificates(chain).into_iter().chain(certificates(root)).collect();
    for pair in chain.windows(2) {
        let (_, child) = parse_x509_certificate(&pair[0]).unwrap();
        let (_, parent) = parse_x509_certificate(&pair[1]).unwrap();
        assert_eq!(child.issuer(), parent.subject());
        child.verify_signature(Some(parent.public_key())).unwrap();
    }
}

#[tokio::test]
async fn redirects_are_followed_up_to_ten() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    for (hops, outcome) in [(10, "valid"), (11, "invalid")] {
        let order = client.order(&["a.test"]).await;
        let url = order.json["authorizations"][0].as_str().unwrap();
        let challenge = http01(&client.post_as_get(url).await.json());
        let token = challenge["token"].as_str().unwrap();
        // By turns with a path, with the port named and with the port implied.
        let place = |n: i32| format!("/hop/{token}/{n}");
        let target = |n: i32| match n % 3 {
            0 => place(n),
            1 => format!("http://b.test{}", place(n)),
            _ => format!("http://c.test:{}{}", web.port, place(n)),
        };
        web.put(&format!("/.well-known/acme-challenge/{token}"), Page::Redirect(target(1)));
        for n in 1..hops {
            web.put(&place(n), Page::Redirect(target(n + 1)));
        }
        web.put(&place(hops), Page::Text(format!("{token}.{}", client.key.thumbprint())));
        assert_eq!(client.respond(url, &challenge).await["status"], outcome, "{hops}");
    }
}

#[tokio::test]
async fn a_failed_challenge_ends_authorization_and_order() {
    let web = Web::start().await;
    let closed = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    drop(closed);
    let ca = Ca::builder()
        .resolve("known.test", Ipv4Addr::LOCALHOST)
        .resolve("far.test", Ipv4Addr::new(192, 0, 2, 1))
        .start()
        .await
        .unwrap();
    let client = Client::registered(&ca).await;
    let wrong = Page::Text("something else".to_owned());
    let long = Page::Text("x".repeat(100_000));
    let elsewhere = Page::Redirect("http://known.test:1/".to_owned());
    let secure = Page::Redirect("https://known.test/".to_owned());
    let cases = [
        ("known.test", web.port, None, "unauthorized", "404"),
        ("known.test", web.port, Some(wrong), "unauthorized", "something else"),
        ("known.test", web.port, Some(long), "connection", "limit"),
        ("known.test", web.port, Some(elsewhere), "connection", "port 1 "),
        ("known.test", web.port, Some(secure), "connection", "https is not followed"),
        ("known.test", closed_port, None, "connection", "refused"),
        ("unknown.test", web.port, None, "dns", "unknown.test"),
        ("far.test", web.port, None, "connection", "not a loopback address"),
    ];
    for (name, port, page, kind, detail) in cases {
        ca.set_http_port(port);
        let order = client.order(&[name]).await;
        let url = order.json["authorizations"][0].as_str().unwrap();
        let challenge = http01(&client.post_as_get(url).await.json());
        if let Some(page) = page {
            let token = challenge["token"].as_str().unwrap();
            web.put(&format!("/.well-known/acme-challenge/{token}"), page);
        }
        let authorization = client.respond(url, &challenge).await;
        assert_eq!(authorization["status"], "invalid");
        let error = &http01(&authorization)["error"];
        assert_eq!(error["type"], format!("urn:ietf:params:acme:error:{kind}"));
        assert!(error["detail"].as_str().unwrap().contains(detail), "{error} should tell {detail:?}");
        let ended = client.post_as_get(&order.url).await.ok().json();
        assert_eq!((&ended["status"], &ended["error"]), (&json!("invalid"), error));
        let key = KeyPair::generate().unwrap();
        let refused = client.finalize(&order, &csr(&[name], &key)).await;
        assert_eq!(refused.problem(), problem("orderNotReady", 403));
        let again = client.post(challenge["url"].as_str().unwrap(), &json!({})).await;
        assert_eq!(again.problem(), problem("malformed", 400), "one try is all there is");
    }
}

#[tokio::test]
async fn a_silent_applicant_is_waited_for_and_then_refused() {
    let web = Web::start().await;
    let ca = believing(&web)
        .validation_timeout(Duration::from_secs(2))
        .poll_retry_after(RetryAfter::Seconds(1))
        .start()
        .await
        .unwrap();
    let client = Client::registered(&ca).await;
    let order = client.order(&["a.test"]).await;
    let url = order.json["authorizations"][0].as_str().unwrap();
    let challenge = http01(&client.post_as_get(url).await.json());
    let token = challenge["token"].as_str().unwrap();
    web.put(&format!("/.well-known/acme-challenge/{token}"), Page::Silence);
    let asked = client.post(challenge["url"].as_str().unwrap(), &json!({})).await.ok();
    assert_eq!(asked.json()["status"], "processing");
    assert_eq!(asked.links("up"), [url]);
    let decided = client.respond(url, &challenge).await;
    let detail = http01(&decided)["error"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("no answer"), "{detail}");
}

#[tokio::test]
async fn a_refused_csr_leaves_the_order_ready() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let order = client.order(&["a.test", "b.test"]).await;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let right = csr(&["b.test", "a.test"], &key);
    assert_eq!(client.finalize(&order, &right).await.problem(), problem("orderNotReady", 403));
    client.prove(&web, &order).await;

    let mut broken = right.clone();
    *broken.last_mut().unwrap() ^= 1;
    let mut trailing = right.clone();
    trailing.push(0);
    let client::Key::P256(account_key) = &client.key else { panic!("an EC key") };
    let account_key = account_key.to_pkcs8v1().unwrap();
    let account_key = KeyPair::try_from(account_key.as_ref()).unwrap();
    for bad in [
        csr(&["a.test"], &key),
        csr(&["a.test", "b.test", "c.test"], &key),
        csr(&["a.test", "b.test"], &account_key),
        broken,
        trailing,
        b"not a CSR".to_vec(),
    ] {
        assert_eq!(client.finalize(&order, &bad).await.problem(), problem("badCSR", 400));
    }
    assert_eq!(client.post_as_get(&order.url).await.json()["status"], "ready");
    assert_eq!(client.finalize(&order, &right).await.ok().json()["status"], "valid");
    assert_eq!(client.finalize(&order, &right).await.problem(), problem("orderNotReady", 403));
    let other = Client::registered(&ca).await;
    assert_eq!(other.post_as_get(&order.url).await.problem(), problem("unauthorized", 403));
}

#[tokio::test]
async fn orders_say_what_is_wrong_with_them() {
    let ca = Ca::builder().reject_identifier("Bad.test").max_names(3).start().await.unwrap();
    let client = Client::registered(&ca).await;
    ca.reject_identifier("worse.test");
    let refused = client.try_order(&["bad.test", "good.test", "worse.test"], json!({})).await;
    assert_eq!(refused.problem(), problem("rejectedIdentifier", 400));
    let named: Vec<_> = refused.json()["subproblems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sub| sub["identifier"].clone())
        .collect();
    let dns = |name: &str| json!({ "type": "dns", "value": name });
    assert_eq!(named, [dns("bad.test"), dns("worse.test")]);
    ca.accept_identifier("worse.test");
    client.try_order(&["good.test", "worse.test"], json!({})).await.ok();

    let wildcard = client.try_order(&["*.good.test"], json!({})).await;
    assert_eq!(wildcard.problem(), problem("rejectedIdentifier", 400), "http-01 proves no wildcard");
    for names in [&["a_b.test"][..], &[], &["a.test", "b.test", "c.test", "d.test"]] {
        assert_eq!(client.try_order(names, json!({})).await.problem(), problem("malformed", 400));
    }
    let mail = json!({ "identifiers": [{ "type": "email", "value": "a@b.test" }] });
    let mail = client.post(&client.url("newOrder"), &mail).await;
    assert_eq!(mail.problem(), problem("unsupportedIdentifier", 400));
    let dated = client.try_order(&["a.test"], json!({ "notAfter": "2030-01-01T00:00:00Z" })).await;
    assert_eq!(dated.problem(), problem("malformed", 400));
}

#[tokio::test]
async fn profiles_choose_the_lifetime() {
    let web = Web::start().await;
    let ca = believing(&web)
        .lifetime(MINUTE * 60)
        .profile("short", "twenty seconds", Duration::from_secs(20))
        .start()
        .await
        .unwrap();
    let client = Client::registered(&ca).await;
    let unknown = client.try_order(&["a.test"], json!({ "profile": "long" })).await;
    assert_eq!(unknown.problem(), problem("invalidProfile", 400));
    let short = client.obtain(&web, &["a.test"], json!({ "profile": "short" })).await;
    assert_eq!(short.order.json["profile"], "short");
    client.obtain(&web, &["a.test"], json!({})).await;
    ca.set_lifetime(MINUTE);
    client.obtain(&web, &["a.test"], json!({})).await;
    let lifetimes: Vec<u64> = ca
        .issued()
        .iter()
        .map(|issued| issued.not_after.duration_since(issued.not_before).unwrap().as_secs())
        .collect();
    assert_eq!(lifetimes, [20, 3600, 60]);
    assert_eq!(ca.issued()[0].profile.as_deref(), Some("short"));

    // A CA without profiles passes over the member.
    let plain = Ca::start().await.unwrap();
    let client = Client::registered(&plain).await;
    let order = client.order_with(&["a.test"], json!({ "profile": "any" })).await;
    assert!(order.json.get("profile").is_none());
}

#[tokio::test]
async fn dates_are_granted_where_they_are() {
    let web = Web::start().await;
    let ca = believing(&web).requested_validity().start().await.unwrap();
    let client = Client::registered(&ca).await;
    let (from, to) = ("2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z");
    client.obtain(&web, &["a.test"], json!({ "notBefore": from, "notAfter": to })).await;
    let issued = ca.issued().remove(0);
    assert_eq!(issued.not_before, SystemTime::UNIX_EPOCH + Duration::from_hours(525_960));
    assert_eq!(issued.not_after, issued.not_before + Duration::from_hours(24));
    let backwards = client.try_order(&["a.test"], json!({ "notBefore": to, "notAfter": from })).await;
    assert_eq!(backwards.problem(), problem("malformed", 400));
}

#[tokio::test]
async fn proofs_are_reused_until_they_end() {
    let web = Web::start().await;
    let ca = believing(&web).authorization_reuse(100).order_reuse().start().await.unwrap();
    let client = Client::registered(&ca).await;
    let first = client.obtain(&web, &["a.test"], json!({})).await;
    let second = client.order(&["a.test"]).await;
    assert_eq!(second.json["status"], "ready");
    assert_eq!(second.json["authorizations"], first.order.json["authorizations"]);
    assert_eq!(client.order(&["a.test"]).await.url, second.url, "the open order is given again");
    assert_ne!(client.order(&["a.test", "b.test"]).await.url, second.url);

    ca.expire_authorizations();
    assert_eq!(client.post_as_get(&second.url).await.json()["status"], "invalid");
    let third = client.order(&["a.test"]).await;
    assert_eq!(third.json["status"], "pending");
    let url = third.json["authorizations"][0].as_str().unwrap();
    let given_up = client.post(url, &json!({ "status": "deactivated" })).await.ok().json();
    assert_eq!(given_up["status"], "deactivated");
    assert_eq!(client.post_as_get(&third.url).await.json()["status"], "invalid");
}

#[tokio::test]
async fn orders_end_in_time() {
    let ca = Ca::builder().pending_lifetime(Duration::ZERO).silent_orders().start().await.unwrap();
    let client = Client::registered(&ca).await;
    let order = client.order(&["a.test"]).await;
    assert_eq!(order.json["status"], "invalid");
    assert!(order.json.get("error").is_none(), "silent orders");
}

#[tokio::test]
async fn trust_skips_the_look_and_decoys_are_offered() {
    let ca = Ca::builder().skip_validation().decoy_challenge().start().await.unwrap();
    let client = Client::registered(&ca).await;
    let order = client.order(&["nowhere.test"]).await;
    let url = order.json["authorizations"][0].as_str().unwrap();
    let authorization = client.post_as_get(url).await.json();
    let decoy = &authorization["challenges"][0];
    assert!(decoy["type"] != "http-01" && decoy.get("token").is_none());
    let decided = client.respond(url, &http01(&authorization)).await;
    assert_eq!(decided["status"], "valid");
    assert_eq!(decided["challenges"].as_array().unwrap().len(), 1);
    assert_eq!(client.post_as_get(&order.url).await.json()["status"], "ready");
}

#[tokio::test]
async fn certificates_are_revoked_by_those_who_may() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let url = client.url("revokeCert");
    let order = async |reason: u8| {
        let obtained = client.obtain(&web, &["a.test"], json!({})).await;
        (json!({ "certificate": b64(&obtained.certificates()[0]), "reason": reason }), obtained.key)
    };

    let (request, key) = order(1).await;
    let mut stranger = Client::registered(&ca).await;
    assert_eq!(stranger.post(&url, &request).await.problem(), problem("unauthorized", 403));
    let jwk = stranger.post_with_jwk(&url, &request.to_string()).await;
    assert_eq!(jwk.problem(), problem("unauthorized", 403), "any key will not do");

    // With the certificate's own key.
    let pkcs8 = key.serialize_der();
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8).unwrap();
    stranger.key = client::Key::P256(key);
    stranger.post_with_jwk(&url, &request.to_string()).await.ok();
    assert_eq!(client.post(&url, &request).await.problem(), problem("alreadyRevoked", 400));
    assert_eq!(ca.issued()[0].revoked, Some(1));

    // By the account; then by another account that has proven the name.
    let (request, _) = order(7).await;
    assert_eq!(client.post(&url, &request).await.problem(), problem("badRevocationReason", 400));
    let (request, _) = order(4).await;
    client.post(&url, &request).await.ok();
    let (request, _) = order(0).await;
    let other = Client::registered(&ca).await;
    other.obtain(&web, &["a.test"], json!({})).await;
    other.post(&url, &request).await.ok();
    let unknown = client.post(&url, &json!({ "certificate": b64("x") })).await;
    assert_eq!(unknown.problem(), problem("malformed", 404));
}
