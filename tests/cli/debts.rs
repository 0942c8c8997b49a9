//! Answers that a crash left behind, after the configuration has changed: what set each up takes it away, or it is
//! told that nobody can.

use nolapse::codec::state;
use nolapse::core::layout::Content;
use nolapse::core::name::{LineageId, SolverId, SubjectName, Token};
use nolapse::core::record::{ChallengeKind, Debt, LineageRecord, Receipt};
use nolapse::core::time::Timestamp;
use nolapse::ports::{Expect, Key, Shelf, Store};
use nolapse::solve::dns01::record::ProofRecord;
use nolapse::solve::texts::StandingTexts;
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use std::sync::Arc;

use crate::desk::Desk;

const NAME: &str = "a.example";

fn debt(solver: &str, by: Option<&str>, token: &str, place: &str) -> Debt {
    let receipt = Receipt {
        solver: SolverId::parse(solver).unwrap(),
        kind: if place.contains(" TXT ") { ChallengeKind::Dns01 } else { ChallengeKind::Http01 },
        name: SubjectName::parse(NAME).unwrap(),
        token: Token::parse(token).unwrap(),
        place: place.to_owned(),
        by: by.map(Into::into),
    };
    Debt { receipt, failures: 0, next_at: Timestamp::from_secs(0) }
}

async fn store(desk: &Desk) -> DirStore {
    DirStore::open(Disk::real(), Clock::wall(), &desk.path("state")).await.unwrap()
}

async fn record(desk: &Desk) -> LineageRecord {
    let key = Key::Lineage(LineageId::parse(NAME).unwrap());
    state::decode_record(&store(desk).await.load(&key).await.unwrap().unwrap().content).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_set_an_answer_up_takes_it_away_whatever_its_solver_is_now() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let entry = format!("[certificate.\"{NAME}\"]\n");
    desk.configure(&(desk.around(&ca) + &entry));
    desk.run(&["renew"]).ends(0);
    // Then a crash, and `left` is a listener now; `gone` is in no table any more.
    let left = "[solver.left]\nlisten = \"127.0.0.1:1\"\n";
    desk.configure(&(desk.around(&ca) + left + &entry));
    let file = desk.write("www/.well-known/acme-challenge/token-file", "answer");
    let standing = "_acme-challenge.a.example. TXT text in a.example.";
    let store = Arc::new(store(&desk).await);
    let shelved = Key::Challenge(Token::parse("token-shelf").unwrap());
    store.swap(&shelved, Expect::Absent, Content::new(b"answer".to_vec())).await.unwrap();
    StandingTexts::new(store.clone(), &Clock::wall())
        .set(&ProofRecord::parse(standing).unwrap())
        .await
        .unwrap();
    assert_eq!(store.list(Shelf::Challenges).await.unwrap().len(), 2);
    let rows = [
        ("a file of a webroot", debt("left", Some("webroot"), "token-file", file.to_str().unwrap()), true),
        (
            "an answer of a listener that is gone",
            debt("gone", Some("http"), "token-shelf", "challenges/token-shelf"),
            true,
        ),
        ("a text of our own name server", debt("left", Some("self"), "token-own", standing), true),
        ("a text that somebody else set for us", debt("left", Some("rfc2136"), "token-dns", standing), false),
        (
            "the same, and nobody has the name now",
            debt("gone", Some("rfc2136"), "token-lost", standing),
            false,
        ),
        ("one of a release that did not say", debt("left", None, "token-old", "challenges/token-old"), true),
    ];
    let mut planted = record(&desk).await;
    planted.debts = rows.iter().map(|(_, debt, _)| debt.clone()).collect();
    let key = Key::Lineage(LineageId::parse(NAME).unwrap());
    store.swap(&key, Expect::Anything, state::encode_record(&planted).unwrap()).await.unwrap();
    let told = desk.run(&["renew"]);
    let owed = record(&desk).await.debts;
    for (what, debt, paid) in &rows {
        let is_owed = owed.iter().any(|owed| owed.receipt == debt.receipt);
        assert_eq!(is_owed, !paid, "{what}: {told:?}");
    }
    assert!(!file.exists());
    assert!(store.list(Shelf::Challenges).await.unwrap().is_empty());
    for said in [
        "set by solver left as rfc2136, which is http now and can't take it away",
        "_acme-challenge.a.example. TXT text in a.example.",
        "[solver-changed]",
        "[no-such-solver]",
    ] {
        assert!(told.err.contains(said), "{said:?} is not in\n{}", told.err);
    }
    assert!(owed.iter().all(|debt| debt.failures == 1), "{owed:?}");
}
