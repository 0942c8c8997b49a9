//! What every request must be, and what accounts can do.

mod client;

use aws_lc_rs::hmac;
use client::{Client, Key, b64, problem};
use http::Request;
use serde_json::{Value, json};
use test_ca::{Ca, Endpoint};

#[tokio::test]
async fn the_directory_lists_resources_and_a_stranger() {
    let ca = Ca::builder()
        .terms_of_service()
        .caa_identity("ca.example")
        .external_account("kid", b"key")
        .profile("short", "a minute", std::time::Duration::from_mins(1))
        .start()
        .await
        .unwrap();
    let client = Client::new(&ca, Key::p256()).await;
    let known = ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo", "meta"];
    let members = client.directory.as_object().unwrap();
    assert!(known.iter().all(|name| members.contains_key(*name)));
    assert_eq!(members.len(), known.len() + 1, "one member no client knows");
    let meta = &client.directory["meta"];
    assert_eq!(meta["externalAccountRequired"], true);
    assert_eq!(meta["caaIdentities"], json!(["ca.example"]));
    assert_eq!(meta["profiles"], json!({ "short": "a minute" }));
    client.get(meta["termsOfService"].as_str().unwrap()).await.ok();
}

#[tokio::test]
async fn plain_http_works_too() {
    let ca = Ca::builder().plain_http().start().await.unwrap();
    assert!(ca.directory_url().starts_with("http://127.0.0.1:"));
    Client::registered(&ca).await;
}

#[tokio::test]
async fn only_loopback_is_bound() {
    let refused = Ca::builder().listen("0.0.0.0:0".parse().unwrap()).start().await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_dropped_ca_is_gone() {
    let ca = Ca::start().await.unwrap();
    let address = ca.directory_url().split('/').nth(2).unwrap().to_owned();
    tokio::net::TcpStream::connect(&address).await.unwrap();
    drop(ca);
    let mut refused = false;
    for _ in 0..1000 {
        refused = tokio::net::TcpStream::connect(&address).await.is_err();
        if refused {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(refused);
}

#[tokio::test]
async fn new_nonce_answers_each_method_its_own_way() {
    let ca = Ca::start().await.unwrap();
    let client = Client::registered(&ca).await;
    let url = client.url("newNonce");
    let get = client.get(&url).await;
    assert_eq!(get.status, 204);
    let head = client.send(Request::head(&url).header("user-agent", "tests"), "").await.unwrap();
    assert_eq!(head.status, 200);
    assert_ne!(get.header("replay-nonce"), head.header("replay-nonce"));
    assert_eq!(get.header("cache-control"), "no-store");
    assert_eq!(get.links("index"), [ca.directory_url()]);
    client.post_as_get(&ca.directory_url()).await.ok();
}

#[tokio::test]
async fn a_nonce_is_good_once() {
    let ca = Ca::start().await.unwrap();
    let client = Client::registered(&ca).await;
    let url = client.kid().to_owned();
    let header = client.header(&url).await;
    let jws = client.key.jws(&header, "");
    client.post_jws(&url, &jws).await.unwrap().ok();
    let replayed = client.post_jws(&url, &jws).await.unwrap();
    assert_eq!(replayed.problem(), problem("badNonce", 400));

    // The nonce that comes with the refusal is good.
    let mut header = header;
    header["nonce"] = json!(replayed.header("replay-nonce"));
    client.post_jws(&url, &client.key.jws(&header, "")).await.unwrap().ok();
}

#[tokio::test]
async fn nonce_rejection_repeats_with_its_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let ca = Ca::builder().seed(7).start().await.unwrap();
        let client = Client::registered(&ca).await;
        ca.set_nonce_rejection(50);
        let mut run = Vec::new();
        for _ in 0..20 {
            run.push(client.post_as_get(client.kid()).await.status);
        }
        assert!(run.contains(&200) && run.contains(&400), "{run:?}");
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn crooked_requests_are_refused() {
    let ca = Ca::start().await.unwrap();
    let client = Client::registered(&ca).await;
    let url = client.kid().to_owned();
    let send = async |change: &dyn Fn(&mut Value)| {
        let mut header = client.header(&url).await;
        change(&mut header);
        client.post_jws(&url, &client.key.jws(&header, "")).await.unwrap().problem()
    };
    assert_eq!(send(&|h| h["url"] = json!("https://127.0.0.1/other")).await, problem("unauthorized", 403));
    assert_eq!(send(&|h| drop(h.as_object_mut().unwrap().remove("url"))).await, problem("unauthorized", 403));
    assert_eq!(send(&|h| drop(h.as_object_mut().unwrap().remove("nonce"))).await, problem("badNonce", 400));
    assert_eq!(send(&|h| drop(h.as_object_mut().unwrap().remove("kid"))).await, problem("malformed", 400));
    assert_eq!(send(&|h| h["jwk"] = client.key.jwk()).await, problem("malformed", 400));
    assert_eq!(send(&|h| h["crit"] = json!(["b64"])).await, problem("malformed", 400));
    assert_eq!(send(&|h| h["alg"] = json!("none")).await, problem("badSignatureAlgorithm", 400));
    assert_eq!(send(&|h| h["alg"] = json!("RS256")).await, problem("malformed", 400));
    assert_eq!(send(&|h| h["kid"] = json!(format!("{url}x"))).await, problem("accountDoesNotExist", 400));

    // A signature over other bytes, padding, and an unprotected header.
    let good = client.key.jws(&client.header(&url).await, "");
    let mut forged = good.clone();
    forged["payload"] = json!(b64("{}"));
    assert_eq!(client.post_jws(&url, &forged).await.unwrap().problem(), problem("malformed", 400));
    let mut padded = good.clone();
    padded["signature"] = json!(format!("{}==", good["signature"].as_str().unwrap()));
    assert_eq!(client.post_jws(&url, &padded).await.unwrap().problem(), problem("malformed", 400));
    let mut unprotected = good.clone();
    unprotected["header"] = json!({});
    assert_eq!(client.post_jws(&url, &unprotected).await.unwrap().problem(), problem("malformed", 400));

    let body = good.to_string();
    let plain = Request::post(&url).header("user-agent", "tests").header("content-type", "application/json");
    assert_eq!(client.send(plain, &body).await.unwrap().problem(), problem("malformed", 415));
    let nameless = Request::post(&url).header("content-type", "application/jose+json");
    assert_eq!(client.send(nameless, &body).await.unwrap().problem(), problem("malformed", 400));
    assert_eq!(client.get(&url).await.problem(), problem("malformed", 405));
    assert_eq!(client.get(&format!("{url}/nowhere")).await.problem(), problem("malformed", 404));

    // After all that the honest request still passes: its nonce was not spent.
    client.post_jws(&url, &good).await.unwrap().ok();
}

#[tokio::test]
async fn accounts_are_made_found_changed_and_closed() {
    let ca = Ca::builder().terms_of_service().start().await.unwrap();
    let mut client = Client::new(&ca, Key::p256()).await;
    let existing = json!({ "onlyReturnExisting": true });
    assert_eq!(client.register(existing.clone()).await.problem(), problem("accountDoesNotExist", 400));
    assert_eq!(client.register(json!({})).await.problem(), problem("userActionRequired", 403));
    let agreed = |contact: &str| json!({ "termsOfServiceAgreed": true, "contact": [contact] });
    assert_eq!(client.register(agreed("tel:+1")).await.problem(), problem("unsupportedContact", 400));
    assert_eq!(client.register(agreed("mailto:nobody")).await.problem(), problem("invalidContact", 400));
    assert_eq!(client.register(agreed("mailto:a@b.test")).await.status, 201);
    let url = client.kid().to_owned();
    assert_eq!(client.register(existing.clone()).await.status, 200);
    assert_eq!(client.kid(), url, "the same account");
    assert_eq!(ca.accounts(), [url.as_str()]);

    let changed = client.post(&url, &json!({ "contact": ["mailto:c@d.test"] })).await.ok().json();
    assert_eq!(changed["contact"], json!(["mailto:c@d.test"]));
    assert_eq!(client.post_as_get(&url).await.ok().json(), changed);

    let closed = client.post(&url, &json!({ "status": "deactivated" })).await.ok().json();
    assert_eq!(closed["status"], "deactivated");
    assert_eq!(client.post_as_get(&url).await.problem(), problem("unauthorized", 401));
    assert_eq!(client.register(existing).await.problem(), problem("unauthorized", 401));

    let others = Client::registered(&ca).await;
    assert_eq!(others.post_as_get(&url).await.problem(), problem("unauthorized", 403));
    ca.forget_accounts();
    assert_eq!(others.post_as_get(others.kid()).await.problem(), problem("accountDoesNotExist", 400));
}

#[tokio::test]
async fn every_promised_key_kind_can_sign() {
    let ca = Ca::start().await.unwrap();
    for key in [Key::p256(), Key::p384(), Key::rsa()] {
        let mut client = Client::new(&ca, key).await;
        assert_eq!(client.register(json!({})).await.status, 201, "{}", client.key.algorithm());
        client.post_as_get(client.kid()).await.ok();
    }
    assert_eq!(ca.count(Endpoint::NewAccount), 3);
}

#[tokio::test]
async fn external_accounts_are_bound_once() {
    let ca =
        Ca::builder().external_account("kid-1", b"secret").external_accounts_once().start().await.unwrap();
    let mut client = Client::new(&ca, Key::p256()).await;
    assert_eq!(client.register(json!({})).await.problem(), problem("externalAccountRequired", 403));
    let url = client.url("newAccount");
    let bind = |kid: &str, secret: &[u8], url: &str, key: &Key| {
        let protected = b64(json!({ "alg": "HS256", "kid": kid, "url": url }).to_string());
        let payload = b64(key.jwk().to_string());
        let mac = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = b64(hmac::sign(&mac, format!("{protected}.{payload}").as_bytes()));
        let binding = json!({ "protected": protected, "payload": payload, "signature": signature });
        json!({ "externalAccountBinding": binding })
    };
    for (wrong, answer) in [
        (bind("kid-1", b"guess", &url, &client.key), problem("unauthorized", 403)),
        (bind("kid-2", b"secret", &url, &client.key), problem("unauthorized", 403)),
        (bind("kid-1", b"secret", "https://other", &client.key), problem("malformed", 400)),
        (bind("kid-1", b"secret", &url, &Key::p256()), problem("malformed", 400)),
    ] {
        assert_eq!(client.register(wrong).await.problem(), answer);
    }
    let right = bind("kid-1", b"secret", &url, &client.key);
    assert_eq!(client.register(right).await.status, 201);
    let mut second = Client::new(&ca, Key::p256()).await;
    let again = bind("kid-1", b"secret", &url, &second.key);
    assert_eq!(second.register(again).await.problem(), problem("unauthorized", 403));
}

#[tokio::test]
async fn the_account_key_can_be_changed() {
    let ca = Ca::start().await.unwrap();
    let mut client = Client::registered(&ca).await;
    let other = Client::registered(&ca).await;
    let url = client.url("keyChange");
    let inner = |client: &Client, new: &Key, nonce: Option<&str>| {
        let mut header = json!({ "alg": new.algorithm(), "jwk": new.jwk(), "url": url });
        if let Some(nonce) = nonce {
            header["nonce"] = json!(nonce);
        }
        let payload = json!({ "account": client.kid(), "oldKey": client.key.jwk() });
        new.jws(&header, &payload.to_string())
    };
    let new = Key::p384();
    let nonce = client.nonce().await;
    let refused = client.post(&url, &inner(&client, &new, Some(&nonce))).await;
    assert_eq!(refused.problem(), problem("malformed", 400));
    let refused = client.post(&url, &inner(&other, &new, None)).await;
    assert_eq!(refused.problem(), problem("malformed", 400));
    let taken = client.post(&url, &inner(&client, &other.key, None)).await;
    assert_eq!(taken.problem(), problem("malformed", 409));
    assert_eq!(taken.header("location"), other.kid());

    client.post(&url, &inner(&client, &new, None)).await.ok();
    assert_eq!(
        client.post_as_get(client.kid()).await.problem(),
        problem("malformed", 400),
        "the old key is out"
    );
    client.key = new;
    client.post_as_get(client.kid()).await.ok();
}
