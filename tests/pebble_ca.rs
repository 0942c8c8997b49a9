//! `AcmeCa` against Debian's Pebble.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use nolapse::core::failure::{Class, Fault};
use nolapse::core::name::{IssuerId, SolverId};
use nolapse::core::order::{AuthorizationStatus, AuthorizationView, ChallengeTask, OrderStatus};
use nolapse::core::record::ChallengeKind;
use nolapse::core::spec::IssuerSpec;
use nolapse::core::time::Span;
use nolapse::ports::{Ca, Key, Shelf, Store};
use nolapse::sys::clock::Clock;
use support::acme_client::{client, csr, eab, issue, request, spec, tasks, wait_for};
use support::memory_store::MemoryStore;
use support::pebble::{EAB_KID, Options, Pebble};

fn at(pebble: &Pebble) -> IssuerSpec {
    spec(&pebble.directory())
}

#[tokio::test]
async fn a_certificate_is_issued_by_real_http_01_in_nine_requests() {
    let Some(pebble) = Pebble::start(&Options { own_http: true, ..Options::default() }) else { return };
    let store = Arc::new(MemoryStore::default());
    // The account is there already; what is counted is one renewal of a new process.
    let first = client(at(&pebble), &store, Some(&pebble.api_root()));
    let account = first.account().await.unwrap();
    let before = requests(&pebble);

    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let names = ["a.example"];
    let present = |task: &_| answer(&pebble, task);
    let chain = issue(&ca, &names, present).await.unwrap();
    assert!(chain.matches("BEGIN CERTIFICATE").count() >= 2, "{chain}");
    assert_eq!(ca.account().await.unwrap(), account);
    // Two looks at the order are what a fast CA needs; Pebble may take some more.
    let looks = requests_for(&pebble, "/my-order/") - 2;
    let spent = requests(&pebble) - before;
    assert!(spent <= 9 + looks.max(0), "{spent} requests, {looks} looks too many\n{}", pebble.log());
    assert_eq!(requests_for(&pebble, "/sign-me-up"), 1);
}

#[tokio::test]
async fn f49_an_account_that_the_ca_forgot_is_registered_again_with_the_same_key() {
    let Some(mut pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let view = ca.order(&request(&["a.example"])).await.unwrap();
    let before = saved_account(&store).await;

    pebble.restart();
    // The order went with the account.
    let gone = ca.view(&view.url).await.unwrap_err();
    assert!(["account-missing", "order-gone"].contains(&gone.code.as_str()), "{gone}");
    assert_eq!(gone.class, Class::Transient);
    issue(&ca, &["a.example"], |_| {}).await.unwrap();
    let after = saved_account(&store).await;
    assert_eq!(after["key"], before["key"]);
    assert_ne!(after["url"], before["url"]);
    let gone = ca.view(&view.url).await.unwrap_err();
    assert_eq!(gone.code, "order-gone");
    assert_eq!(requests_for(&pebble, "/sign-me-up"), 1);
}

#[tokio::test]
async fn f49_with_a_binding_that_is_spent_a_person_is_asked() {
    let Some(mut pebble) = Pebble::start(&Options { eab: true, ..always_valid() }) else { return };
    let store = Arc::new(MemoryStore::default());
    let bound = IssuerSpec { eab: Some(eab(EAB_KID)), ..at(&pebble) };
    let ca = client(bound, &store, Some(&pebble.api_root()));
    issue(&ca, &["a.example"], |_| {}).await.unwrap();

    pebble.restart();
    let failure = ca.order(&request(&["a.example"])).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("account-missing", Class::Refused), "{failure}");
    assert_eq!(requests_for(&pebble, "/sign-me-up"), 0);
}

#[tokio::test]
async fn without_the_binding_that_a_ca_wants_nothing_is_registered() {
    let Some(pebble) = Pebble::start(&Options { eab: true, ..always_valid() }) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let failure = ca.account().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.fault), ("eab-required", Fault::Config));
    // A wrong key id is the CA's to refuse, and says so.
    let wrong = IssuerSpec { eab: Some(eab("kid-unknown")), ..at(&pebble) };
    let failure = client(wrong, &store, Some(&pebble.api_root())).account().await.unwrap_err();
    assert_eq!(failure.class, Class::Refused, "{failure}");
    // With the right one the same key becomes the account's.
    let key = saved_account(&store).await["key"].clone();
    let right = IssuerSpec { eab: Some(eab(EAB_KID)), ..at(&pebble) };
    client(right, &store, Some(&pebble.api_root())).account().await.unwrap();
    assert_eq!(saved_account(&store).await["key"], key);
}

#[tokio::test]
async fn half_of_all_nonces_refused_is_no_trouble() {
    let Some(pebble) = Pebble::start(&Options { nonce_reject: 50, ..always_valid() }) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    for number in 0..10 {
        issue(&ca, &[&format!("n{number}.example")], |_| {}).await.unwrap();
    }
    // Each refusal brings the nonce for the next try.
    assert!(requests_for(&pebble, "/nonce-plz") <= 20, "{}", requests_for(&pebble, "/nonce-plz"));
}

#[tokio::test]
async fn authorizations_that_are_valid_already_need_no_challenge() {
    let Some(pebble) = Pebble::start(&Options { authz_reuse: 100, ..always_valid() }) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    issue(&ca, &["a.example"], |_| {}).await.unwrap();
    let view = ca.order(&request(&["a.example"])).await.unwrap();
    assert_eq!(view.status, OrderStatus::Ready);
    let views = ca.authorizations(&view.url).await.unwrap();
    assert_eq!(views[0].status, AuthorizationStatus::Valid);
    issue(&ca, &["a.example"], |_| panic!("nothing to prove")).await.unwrap();
}

#[tokio::test]
async fn an_order_is_resumed_by_its_url_in_another_process() {
    let Some(pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let fresh = || client(at(&pebble), &store, Some(&pebble.api_root()));
    let names = ["a.example", "*.b.example"];
    // Each step by a client that knows nothing but the order's URL.
    let url = fresh().order(&request(&names)).await.unwrap().url;
    let views = fresh().authorizations(&url).await.unwrap();
    let shown: BTreeSet<_> = views.iter().map(|view| view.name.to_string()).collect();
    assert_eq!(shown, BTreeSet::from(names.map(str::to_owned)), "a wildcard keeps its star");
    for view in &views {
        let kind = if view.name.is_wildcard() { ChallengeKind::Dns01 } else { ChallengeKind::Http01 };
        let task = task(view, kind);
        fresh().ready(&url, &task).await.unwrap();
        // Telling twice is harmless.
        fresh().ready(&url, &task).await.unwrap();
    }
    let ca = fresh();
    let view = ca.view(&url).await.unwrap();
    wait_for(&ca, view, OrderStatus::Ready).await.unwrap();
    let sent = fresh().finalize(&url, &csr(&names)).await.unwrap();
    wait_for(&fresh(), sent, OrderStatus::Valid).await.unwrap();
    let chain = fresh().download(&url).await.unwrap();
    assert_eq!(fresh().download(&url).await.unwrap(), chain, "a lost certificate is fetched again");
    assert_eq!(requests_for(&pebble, "/order-plz"), 1);
}

#[tokio::test]
async fn a_failed_challenge_tells_which_name_and_why() {
    let Some(pebble) = Pebble::start(&Options { own_http: true, ..Options::default() }) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let view = ca.order(&request(&["a.example"])).await.unwrap();
    let views = ca.authorizations(&view.url).await.unwrap();
    ca.ready(&view.url, &tasks(&views)[0]).await.unwrap();
    let failed = loop {
        let views = ca.authorizations(&view.url).await.unwrap();
        if views[0].status != AuthorizationStatus::Pending {
            break views;
        }
        Clock::wall().sleep(Span::from_millis(20)).await;
    };
    assert_eq!(failed[0].status, AuthorizationStatus::Invalid);
    let problem = failed[0].challenges.iter().find_map(|c| c.error.as_ref()).unwrap();
    assert_eq!(problem.kind, "unauthorized");
    assert_eq!(ca.view(&view.url).await.unwrap().status, OrderStatus::Invalid);
    ca.abandon(&view.url).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_order_has_no_open_authorizations() {
    let Some(pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let view = ca.order(&request(&["a.example", "b.example"])).await.unwrap();
    ca.abandon(&view.url).await.unwrap();
    for view in ca.authorizations(&view.url).await.unwrap() {
        assert_eq!(view.status, AuthorizationStatus::Dead, "{}", view.name);
    }
}

#[tokio::test]
async fn finalizing_too_early_is_told_apart() {
    let Some(pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let view = ca.order(&request(&["a.example"])).await.unwrap();
    let early = ca.finalize(&view.url, &csr(&["a.example"])).await.unwrap_err();
    assert_eq!((early.code.as_str(), early.class), ("order-not-ready", Class::Transient));
    let early = ca.download(&view.url).await.unwrap_err();
    assert_eq!(early.code, "order-not-ready");
}

#[tokio::test]
async fn a_ca_whose_certificate_nobody_vouches_for_is_not_talked_to() {
    let Some(pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let unsafe_spec = IssuerSpec { ca_file: None, ..at(&pebble) };
    let failure = client(unsafe_spec, &store, None).reachable().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("tls-untrusted", Class::Refused), "{failure}");
    assert!(failure.words.contains("ca-file"), "{failure}");
    let other = Pebble::start(&always_valid()).unwrap();
    let failure = client(at(&pebble), &store, Some(&other.api_root())).reachable().await.unwrap_err();
    assert_eq!(failure.code, "tls-untrusted", "{failure}");
}

#[tokio::test]
async fn pebble_greets() {
    let Some(pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = client(at(&pebble), &store, Some(&pebble.api_root()));
    let greeting = ca.reachable().await.unwrap();
    assert!(greeting.terms.is_some() && greeting.date.is_some());
    assert!(!greeting.eab_required);
    assert_eq!(store.list(Shelf::Accounts).await.unwrap(), [], "a look makes no account");
}

#[tokio::test]
async fn many_orders_share_one_account_one_connection_and_their_nonces() {
    const ORDERS: usize = 60;
    let Some(pebble) = Pebble::start(&always_valid()) else { return };
    let store = Arc::new(MemoryStore::default());
    let ca = Arc::new(client(at(&pebble), &store, Some(&pebble.api_root())));
    let placed: Vec<_> = (0..ORDERS)
        .map(|number| {
            let ca = ca.clone();
            tokio::spawn(async move { ca.order(&request(&[&format!("n{number}.example")])).await })
        })
        .collect();
    let mut urls = BTreeSet::new();
    for placed in placed {
        urls.insert(placed.await.unwrap().unwrap().url);
    }
    assert_eq!(urls.len(), ORDERS);
    assert_eq!(requests_for(&pebble, "/dir"), 1);
    assert_eq!(requests_for(&pebble, "/sign-me-up"), 1);
    // Not more nonces than calls can be under way at a time.
    assert!(requests_for(&pebble, "/nonce-plz") <= 16, "{}", requests_for(&pebble, "/nonce-plz"));
}

fn always_valid() -> Options {
    Options { always_valid: true, ..Options::default() }
}

fn task(view: &AuthorizationView, kind: ChallengeKind) -> ChallengeTask {
    let challenge = view.challenges.iter().find(|c| c.kind == Some(kind)).unwrap();
    ChallengeTask {
        terms: nolapse::core::order::Terms::default(),
        solver: SolverId::parse("test").unwrap(),
        kind,
        name: view.name.clone(),
        token: challenge.token.clone().unwrap(),
        key_authorization: challenge.key_authorization.clone(),
        url: challenge.url.clone(),
    }
}

async fn saved_account(store: &MemoryStore) -> serde_json::Value {
    let key = Key::Account(IssuerId::parse("test").unwrap());
    let entry = store.load(&key).await.unwrap().unwrap();
    let book: serde_json::Value = serde_json::from_slice(entry.content.bytes()).unwrap();
    assert_eq!(book["accounts"].as_array().unwrap().len(), 1);
    book["accounts"][0].clone()
}

fn answer(pebble: &Pebble, task: &ChallengeTask) {
    pebble.answer(task.token.as_str(), &task.key_authorization);
}

/// Requests that Pebble logged.
fn requests(pebble: &Pebble) -> i64 {
    requests_for(pebble, "/")
}

fn requests_for(pebble: &Pebble, path: &str) -> i64 {
    let count = ["GET", "HEAD", "POST"].iter().map(|method| pebble.count(method, path)).sum::<usize>();
    i64::try_from(count).unwrap()
}
