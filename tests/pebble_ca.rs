//! `AcmeCa` against Debian's Pebble.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use nolapse::core::failure::{Class, Fault};
use nolapse::core::order::{AuthorizationStatus, OrderStatus};
use nolapse::core::spec::IssuerSpec;
use nolapse::ports::{Ca, Key, Store};
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

fn answer(pebble: &Pebble, task: &nolapse::core::order::ChallengeTask) {
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
