//! The CA misbehaves exactly as scripted, and its log tells.

mod client;

use std::time::{Duration, SystemTime};

use client::{Client, LIMIT, Web, believing, csr, problem};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::json;
use test_ca::{Ca, Effect, Endpoint, Fault, LeafLie, RetryAfter};
use x509_parser::parse_x509_certificate;

#[tokio::test]
async fn refusals_come_as_scripted_and_end() {
    let ca = Ca::start().await.unwrap();
    let client = Client::registered(&ca).await;
    let order = async || client.try_order(&["a.test"], json!({})).await;
    let at = |effect| Fault::new(effect).at(Endpoint::NewOrder).times(1);

    ca.set_fault(at(Effect::Html(500)));
    let page = order().await;
    assert_eq!((page.status, page.header("content-type")), (500, "text/html"));
    assert!(page.text().contains("<h1>"));

    ca.set_fault(at(Effect::Unavailable(RetryAfter::Seconds(120))));
    let away = order().await;
    assert_eq!((away.status, away.header("retry-after")), (503, "120"));

    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    ca.set_fault(at(Effect::RateLimited(Some(RetryAfter::HttpDate(date)))).after(1).times(2));
    order().await.ok();
    for _ in 0..2 {
        let limited = order().await;
        assert_eq!(limited.problem(), problem("rateLimited", 429));
        assert_eq!(limited.header("retry-after"), "Sun, 17 Mar 2030 17:46:40 GMT");
    }
    ca.set_fault(at(Effect::RateLimited(None)));
    assert!(order().await.headers.get("retry-after").is_none());

    ca.set_fault(at(Effect::BadNonce));
    assert_eq!(order().await.problem(), problem("badNonce", 400));
    let kind = "https://ca.example/error/odd".to_owned();
    ca.set_fault(at(Effect::Problem { kind: kind.clone(), status: 418, detail: "odd".to_owned() }));
    assert_eq!(order().await.problem(), problem(&kind, 418));
    let body = b"\xff{".to_vec();
    ca.set_fault(at(Effect::Raw {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.clone(),
    }));
    assert_eq!(order().await.body, body);
    ca.set_fault(at(Effect::Delay(Duration::from_millis(1))));
    order().await.ok();
    order().await.ok();

    let statuses: Vec<Option<u16>> = ca
        .requests()
        .iter()
        .filter(|request| request.endpoint == Endpoint::NewOrder)
        .map(|request| request.status)
        .collect();
    let expected = [500, 503, 201, 429, 429, 429, 400, 418, 200, 201, 201];
    assert_eq!(statuses, expected.map(Some));
}

#[tokio::test]
async fn connections_end_before_or_after_the_deed() {
    let ca = Ca::start().await.unwrap();
    let mut client = Client::registered(&ca).await;
    let url = client.url("newAccount");
    client.key = client::Key::p256();
    for (effect, accounts) in [(Effect::Close, 1), (Effect::LoseAnswer, 2)] {
        ca.set_fault(Fault::new(effect).at(Endpoint::NewAccount).times(1));
        let header = json!({
            "alg": "ES256", "nonce": client.nonce().await, "url": url, "jwk": client.key.jwk(),
        });
        let jws = client.key.jws(&header, "{}");
        assert!(client.post_jws(&url, &jws).await.is_err());
        assert_eq!(ca.accounts().len(), accounts);
        assert_eq!(ca.requests().last().unwrap().status, None);
    }
}

#[tokio::test]
async fn a_stall_lasts_until_the_client_gives_up() {
    let ca = Ca::start().await.unwrap();
    let client = Client::registered(&ca).await;
    ca.set_fault(Fault::new(Effect::Stall).at(Endpoint::NewOrder));
    let before = ca.count(Endpoint::NewOrder);
    let order = client.try_order(&["a.test"], json!({}));
    let arrived = ca.wait_until(LIMIT, |ca| ca.count(Endpoint::NewOrder) > before);
    tokio::select! {
        _ = order => panic!("a stalled request was answered"),
        arrived = arrived => assert!(arrived),
    }
    let record = ca.requests().pop().unwrap();
    assert!(record.struck && record.status.is_none());
    ca.clear_faults();
    client.order(&["a.test"]).await;
}

#[tokio::test]
async fn waiting_for_what_never_comes_ends() {
    let ca = Ca::start().await.unwrap();
    assert!(!ca.wait_until(Duration::from_millis(1), |ca| ca.count(Endpoint::NewOrder) > 0).await);
}

#[tokio::test]
async fn leaves_lie_on_demand() {
    let web = Web::start().await;
    let ca = believing(&web).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let names = ["a.test", "b.test"];
    let now = || {
        i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
    };
    for lie in [LeafLie::OtherKey, LeafLie::MissingName, LeafLie::Expired, LeafLie::NotYetValid] {
        ca.set_fault(Fault::new(Effect::Leaf(lie)).times(1));
        let obtained = client.obtain(&web, &names, json!({})).await;
        let leaf = obtained.certificates().remove(0);
        let (_, leaf) = parse_x509_certificate(&leaf).unwrap();
        let own_key = leaf.public_key().raw == obtained.key.subject_public_key_info();
        let count = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        let validity = leaf.validity();
        let (expired, early) =
            (validity.not_after.timestamp() < now(), validity.not_before.timestamp() > now());
        let found = [!own_key, count < 2, expired, early];
        let expected = [LeafLie::OtherKey, LeafLie::MissingName, LeafLie::Expired, LeafLie::NotYetValid];
        assert_eq!(found, expected.map(|other| other == lie), "{lie:?} and nothing else");
    }
    let honest = client.obtain(&web, &names, json!({})).await;
    assert_eq!(honest.certificates().len(), 2);
}

#[tokio::test]
async fn orders_are_held_back() {
    let ca = Ca::builder()
        .skip_validation()
        .authorization_reuse(100)
        .poll_retry_after(RetryAfter::Seconds(3))
        .start()
        .await
        .unwrap();
    let client = Client::registered(&ca).await;
    let web = Web::start().await;
    let finalize = async |effect| {
        ca.set_fault(Fault::new(effect).times(1));
        let order = client.order(&["a.test"]).await;
        client.prove(&web, &order).await;
        let reply = client.finalize(&order, &csr(&["a.test"], &KeyPair::generate().unwrap())).await.ok();
        (order.url, reply)
    };
    let poll =
        async |url: &str| client.post_as_get(url).await.ok().json()["status"].as_str().unwrap().to_owned();

    let (url, reply) = finalize(Effect::Processing(Some(2))).await;
    assert_eq!(reply.json()["status"], "processing");
    assert_eq!(reply.header("retry-after"), "3");
    assert!(reply.json().get("certificate").is_none());
    assert_eq!([poll(&url).await, poll(&url).await, poll(&url).await], ["processing", "processing", "valid"]);

    let (url, _) = finalize(Effect::Processing(None)).await;
    for _ in 0..10 {
        assert_eq!(poll(&url).await, "processing");
    }
    ca.clear_faults();
    assert_eq!(poll(&url).await, "valid");

    let (_, reply) = finalize(Effect::FailOrder).await;
    assert_eq!(reply.json()["status"], "invalid");
    assert_eq!(reply.json()["error"]["type"], "urn:ietf:params:acme:error:serverInternal");
}

#[tokio::test]
async fn listeners_hear_every_answer() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let ca = Ca::builder()
        .on_request(move |request| sender.send(request.to_string()).unwrap())
        .start()
        .await
        .unwrap();
    let client = Client::new(&ca, client::Key::p256()).await;
    client.get(&format!("{}x", ca.directory_url())).await;
    let lines: Vec<String> = receiver.try_iter().collect();
    assert_eq!(lines, ["GET /directory directory 200", "GET /directoryx unknown 404 malformed"]);
}
