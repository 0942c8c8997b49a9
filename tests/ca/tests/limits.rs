//! The limits of a public CA, on a clock that tests move.

mod client;

use std::time::Duration;

use client::{Client, Key, Web, believing, problem};
use serde_json::json;
use test_ca::{Allowance, Ca, Limits};

const HOUR: Duration = Duration::from_hours(1);

fn allowance(most: u32, per: Duration) -> Allowance {
    Allowance { most, per }
}

#[tokio::test]
async fn orders_of_one_account_are_counted_and_forgotten_with_time() {
    let limits = Limits::lets_encrypt().with(|limits| limits.orders = Some(allowance(3, 3 * HOUR)));
    let ca = Ca::builder().limits(limits).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let order = async |name: &str| client.try_order(&[name], json!({})).await;
    for name in ["a.one.test", "a.two.test", "a.three.test"] {
        order(name).await.ok();
    }
    let refused = order("a.four.test").await;
    assert_eq!(refused.problem(), problem("rateLimited", 429));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3590..=3601).contains(&wait), "one of three comes back each hour: {wait} s");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.starts_with("too many new orders (3) from this account in the last 3h0m0s, retry after 20"),
        "{detail}"
    );
    assert!(detail.ends_with(" UTC"), "{detail}");

    ca.age_limits(Duration::from_secs(wait));
    order("a.four.test").await.ok();
    assert_eq!(order("a.five.test").await.status, 429);
    ca.age_limits(3 * HOUR);
    for name in ["b.one.test", "b.two.test", "b.three.test"] {
        order(name).await.ok();
    }
    // Another account has a bucket of its own.
    Client::registered(&ca).await.try_order(&["c.test"], json!({})).await.ok();
}

#[tokio::test]
async fn the_same_set_is_issued_five_times_a_week_and_a_renewal_always() {
    let web = Web::start().await;
    let ca = believing(&web).limits(Limits::lets_encrypt()).start().await.unwrap();
    let client = Client::registered(&ca).await;
    let names = ["b.shop.test", "a.shop.test"];
    for _ in 0..5 {
        client.obtain(&web, &names, json!({})).await;
    }
    let refused = client.try_order(&["a.shop.test", "b.shop.test"], json!({})).await;
    assert_eq!(refused.problem(), problem("rateLimited", 429));
    assert!(
        refused.json()["detail"].as_str().unwrap().contains("this exact set of identifiers"),
        "{}",
        refused.text()
    );
    // One that replaces another inside its window is free of limits; before the window it is not.
    let replaced = ca.issued()[0].cert_id.clone();
    let replacing = async || client.try_order(&names, json!({ "replaces": replaced })).await;
    assert_eq!(replacing().await.status, 429);
    ca.set_renewal_window_of(&replaced, test_ca::RenewalWindow::Fraction { start: -0.5, end: 0.5 });
    replacing().await.ok();
    ca.age_limits(34 * HOUR);
    client.try_order(&names, json!({})).await.ok();
}

#[tokio::test]
async fn a_domain_an_address_and_a_name_have_their_own_limits() {
    let web = Web::start().await;
    let limits = Limits::lets_encrypt().with(|limits| {
        limits.domain = Some(allowance(2, 7 * 24 * HOUR));
        limits.accounts = Some(allowance(2, 3 * HOUR));
        limits.failures = Some(allowance(1, HOUR));
    });
    let ca = believing(&web).limits(limits).start().await.unwrap();
    let client = Client::registered(&ca).await;
    for name in ["a.shop.test", "b.shop.test"] {
        client.obtain(&web, &[name], json!({})).await;
    }
    let said = |response: &client::Response| response.json()["detail"].as_str().unwrap().to_owned();
    let refused = client.try_order(&["c.shop.test"], json!({})).await;
    assert!(said(&refused).contains("already issued for \"shop.test\""), "{}", refused.text());
    // The same names again are a renewal for this limit.
    client.try_order(&["a.shop.test"], json!({})).await.ok();

    // Nobody shows the answer, so that validation fails.
    let order = client.order(&["lost.test"]).await;
    let authorization = &order.json["authorizations"][0];
    let url = authorization.as_str().unwrap().to_owned();
    let challenge = client::http01(&client.post_as_get(&url).await.json());
    client.respond(&url, &challenge).await;
    let refused = client.try_order(&["lost.test"], json!({})).await;
    assert!(
        said(&refused).starts_with("too many failed authorizations (1) for \"lost.test\""),
        "{}",
        refused.text()
    );
    ca.age_limits(HOUR);
    client.try_order(&["lost.test"], json!({})).await.ok();

    let mut second = Client::new(&ca, Key::p256()).await;
    assert_eq!(second.register(json!({})).await.status, 201);
    let mut third = Client::new(&ca, Key::p256()).await;
    let refused = third.register(json!({})).await;
    assert!(said(&refused).contains("new registrations (2) from this IP address"), "{}", refused.text());
}
