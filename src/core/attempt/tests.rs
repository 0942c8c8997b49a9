//! Rows read as an operator would say them. Each row is one situation, what was seen in it, and
//! the move that must follow.
#![allow(clippy::unwrap_used, clippy::panic)]

mod model;

use super::*;
use crate::core::name::Token;
use crate::core::pattern::NamePattern;

fn now() -> Timestamp {
    Timestamp::from_secs(1_700_000_000)
}

fn name(text: &str) -> SubjectName {
    SubjectName::parse(text).unwrap()
}

fn attempt(phase: Phase) -> Attempt {
    Attempt {
        started: now(),
        deadline: now() + Attempt::LIFE,
        issuer: IssuerId::parse("ca").unwrap(),
        names: ["a.example", "*.a.example", "b.example", "dead.example", "192.0.2.1"].map(name).to_vec(),
        profile: None,
        key_kind: KeyKind::EcdsaP256,
        key: Fingerprint([1; 32]),
        replaces: None,
        phase,
        order: (phase > Phase::Prepared).then(|| "https://ca.example/order/1".into()),
        receipts: Vec::new(),
        sitting: Sitting::default(),
    }
}

/// The CA was told in this sitting and is being polled.
fn polled(phase: Phase) -> Attempt {
    let (attempt, action) = step(attempt(phase), Observation::Told, now());
    assert!(matches!(action, Action::Wait(_)));
    attempt
}

fn order(status: OrderStatus) -> OrderView {
    OrderView { url: "https://ca.example/order/1".into(), status, error: None, retry_after: None }
}

fn refused_order(kind: &str) -> Observation {
    Observation::Order(OrderView { error: Some(problem(kind)), ..order(OrderStatus::Invalid) })
}

fn problem(kind: &str) -> Problem {
    Problem { kind: kind.into(), detail: "because".into(), status: 400, of_names: Vec::new() }
}

fn challenge(kind: Option<ChallengeKind>, status: ChallengeStatus) -> ChallengeView {
    ChallengeView {
        terms: crate::core::order::Terms::default(),
        kind,
        url: "https://ca.example/challenge/1".into(),
        token: Token::parse("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA").ok(),
        key_authorization: "token.thumbprint".into(),
        status,
        error: None,
    }
}

fn http(status: ChallengeStatus) -> ChallengeView {
    challenge(Some(ChallengeKind::Http01), status)
}

fn authorization(of: &str, status: AuthorizationStatus, challenges: Vec<ChallengeView>) -> AuthorizationView {
    AuthorizationView { name: name(of), status, challenges }
}

fn offers(kinds: &[ChallengeKind]) -> Vec<Offer> {
    vec![Offer { solver: SolverId::parse("web").unwrap(), kinds: kinds.to_vec(), names: Vec::new() }]
}

fn seen(views: Vec<AuthorizationView>) -> Observation {
    Observation::Authorizations { views, offers: offers(&[ChallengeKind::Http01]), misses: Vec::new() }
}

/// `give-up no-challenge`, `wait 5 ms`, `reserve a.example http-01`.
fn words(action: &Action) -> String {
    let tasks = |tasks: &[ChallengeTask]| {
        tasks
            .iter()
            .flat_map(|t| [" ".to_owned(), t.name.to_string(), " ".to_owned(), t.kind.word().to_owned()])
            .collect::<String>()
    };
    match action {
        Action::Order(request) => format!(
            "order{}{}",
            if request.replaces.is_some() { " replaces" } else { "" },
            if request.profile.is_some() { " profile" } else { "" }
        ),
        Action::View => "view".into(),
        Action::Authorizations => "authorizations".into(),
        Action::Reserve(list) => format!("reserve{}", tasks(list)),
        Action::Present(_) => "present".into(),
        Action::Confirm(_) => "confirm".into(),
        Action::Tell(_) => "tell".into(),
        Action::Wait(until) => format!("wait {}", until.since(now())),
        Action::Finalize => "finalize".into(),
        Action::Download => "download".into(),
        Action::Park(failure) => format!("park {}", failure.code),
        Action::GiveUp(failure) => format!("give-up {}", failure.code),
    }
}

fn table(rows: Vec<(&str, Attempt, Observation, &str)>) {
    let mut wrong = Vec::new();
    for (row, attempt, seen, expected) in rows {
        let before = attempt.phase;
        let (after, action) = step(attempt, seen, now());
        assert!(after.phase >= before, "{row}: went back from {before:?} to {:?}", after.phase);
        let found = words(&action);
        if found != expected {
            wrong.push((row, found, expected));
        }
    }
    assert!(wrong.is_empty(), "(row, found, expected): {wrong:#?}");
}

#[test]
fn an_attempt_is_picked_up_wherever_it_was_left() {
    use Observation::{Order, Started};
    use OrderStatus::{Pending, Processing, Ready, Valid};
    table(vec![
        ("new", attempt(Phase::Prepared), Started, "order"),
        ("crashed with the order placed", attempt(Phase::Ordered), Started, "view"),
        ("crashed with the answer standing", attempt(Phase::Presented), Started, "view"),
        ("crashed after telling the CA", attempt(Phase::Validating), Started, "view"),
        ("crashed around the CSR", attempt(Phase::Finalizing), Started, "view"),
        ("crashed before the download", attempt(Phase::Issued), Started, "view"),
        ("the first order is pending", attempt(Phase::Prepared), Order(order(Pending)), "authorizations"),
        ("f40: the first order is ready at once", attempt(Phase::Prepared), Order(order(Ready)), "finalize"),
        (
            "the first order is processing at once",
            attempt(Phase::Prepared),
            Order(order(Processing)),
            "wait 5 ms",
        ),
        ("f40: the first order is valid at once", attempt(Phase::Prepared), Order(order(Valid)), "download"),
        (
            "found pending after the answer stood",
            attempt(Phase::Presented),
            Order(order(Pending)),
            "authorizations",
        ),
        (
            "found pending after a restart while validating",
            attempt(Phase::Validating),
            Order(order(Pending)),
            "authorizations",
        ),
        (
            "found ready after a restart while validating",
            attempt(Phase::Validating),
            Order(order(Ready)),
            "finalize",
        ),
        (
            "found ready after a crash before the CSR was sent",
            attempt(Phase::Finalizing),
            Order(order(Ready)),
            "finalize",
        ),
        (
            "found valid after a crash before the download",
            attempt(Phase::Finalizing),
            Order(order(Valid)),
            "download",
        ),
    ]);
}

/// `web` for http-01, `dns` for dns-01, in this order.
fn two_offers() -> Vec<Offer> {
    let offer = |solver: &str, kind| Offer {
        solver: SolverId::parse(solver).unwrap(),
        kinds: vec![kind],
        names: Vec::new(),
    };
    vec![offer("web", ChallengeKind::Http01), offer("dns", ChallengeKind::Dns01)]
}

/// A solver that failed for a.example, so many minutes ago.
fn miss(solver: &str, minutes: i64) -> Miss {
    Miss {
        name: name("a.example"),
        solver: SolverId::parse(solver).unwrap(),
        at: now() - Span::minutes(minutes),
    }
}

fn two_ways(of: &str, misses: &[Miss]) -> Observation {
    let kinds = [ChallengeKind::Http01, ChallengeKind::Dns01];
    let open = |kind: &ChallengeKind| challenge(Some(*kind), ChallengeStatus::Pending);
    let challenges = kinds.iter().map(open).collect();
    Observation::Authorizations {
        views: vec![authorization(of, AuthorizationStatus::Pending, challenges)],
        offers: two_offers(),
        misses: misses.to_vec(),
    }
}

#[test]
fn a_solver_that_failed_for_a_name_comes_last_for_that_name() {
    let fresh = || attempt(Phase::Ordered);
    table(vec![
        ("none failed: the first", fresh(), two_ways("a.example", &[]), "reserve a.example http-01"),
        (
            "the first failed: the second",
            fresh(),
            two_ways("a.example", &[miss("web", 20)]),
            "reserve a.example dns-01",
        ),
        (
            "both failed: the one that failed longest ago",
            fresh(),
            two_ways("a.example", &[miss("dns", 20), miss("web", 40)]),
            "reserve a.example http-01",
        ),
        (
            "it failed for another name",
            fresh(),
            two_ways("b.example", &[miss("web", 20)]),
            "reserve b.example http-01",
        ),
    ]);
}

#[test]
fn a_solver_for_other_names_is_not_asked() {
    let Observation::Authorizations { views, mut offers, misses } = two_ways("a.example", &[]) else {
        unreachable!()
    };
    offers[0].names = vec![NamePattern::of(name("*.a.example")), NamePattern::of(name("b.example"))];
    let seen = Observation::Authorizations { views, offers, misses };
    let (_, action) = step(attempt(Phase::Ordered), seen, now());
    assert_eq!(words(&action), "reserve a.example dns-01");
}

#[test]
fn each_solver_has_one_turn_in_an_attempt_and_then_the_last_failure_counts() {
    let started = attempt(Phase::Ordered);
    let failure = Failure::transient(Fault::Host, "solver-slow", "slow");
    let unsolved = |solver: &str| Observation::Unsolved {
        name: name("a.example"),
        solver: SolverId::parse(solver).unwrap(),
        failure: failure.clone(),
    };
    let (once, action) = step(started, unsolved("web"), now());
    assert_eq!(words(&action), "authorizations");
    let (once, action) = step(once, two_ways("a.example", &[miss("web", 0)]), now());
    assert_eq!(words(&action), "reserve a.example dns-01");
    let (twice, _) = step(once, unsolved("dns"), now());
    let (_, action) = step(twice, two_ways("a.example", &[miss("web", 0), miss("dns", 0)]), now());
    assert!(words(&action).ends_with(" solver-slow"), "{action:?}");
}

#[test]
fn f35_a_refusal_of_the_ca_comes_with_what_was_seen_from_here() {
    let confirmed = Observation::Confirmed {
        tasks: Vec::new(),
        unseen: vec![(name("a.example"), "ns2 has nothing there".into())],
    };
    let (told, _) = step(attempt(Phase::Presented), confirmed, now());
    let refused =
        authorization("a.example", AuthorizationStatus::Invalid, vec![http(ChallengeStatus::Invalid)]);
    let (_, action) = step(told, seen(vec![refused]), now());
    let Action::GiveUp(failure) = action else { panic!("{action:?}") };
    assert!(failure.words.ends_with("; from here: ns2 has nothing there"), "{failure}");
}

#[test]
fn challenges_are_chosen_by_what_the_ca_offers_and_solvers_can() {
    use AuthorizationStatus::{Dead, Invalid, Pending, Valid};
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    let fresh = || attempt(Phase::Ordered);
    let open = ChallengeStatus::Pending;
    let offered = |of: &str, kinds: &[ChallengeKind], can: &[ChallengeKind]| Observation::Authorizations {
        views: vec![authorization(of, Pending, kinds.iter().map(|k| challenge(Some(*k), open)).collect())],
        offers: offers(can),
        misses: Vec::new(),
    };
    let without_token = ChallengeView { token: None, ..http(open) };
    table(vec![
        (
            "http-01 offered and possible",
            fresh(),
            offered("a.example", &[Dns01, Http01], &[Http01]),
            "reserve a.example http-01",
        ),
        (
            "the solver prefers tls-alpn-01",
            fresh(),
            offered("a.example", &[Http01, TlsAlpn01], &[TlsAlpn01, Http01]),
            "reserve a.example tls-alpn-01",
        ),
        (
            "only dns-01 is offered",
            fresh(),
            offered("a.example", &[Dns01], &[Http01]),
            "give-up no-challenge",
        ),
        (
            "the CA wants proof for a name that was not ordered",
            fresh(),
            offered("bank.example", &[Http01], &[Http01]),
            "give-up ca-answer",
        ),
        (
            "… or for one below an ordered name",
            fresh(),
            offered("x.b.example", &[Http01], &[Http01]),
            "give-up ca-answer",
        ),
        (
            "… or for one that only ends alike",
            fresh(),
            offered("ample", &[Http01], &[Http01]),
            "give-up ca-answer",
        ),
        (
            "the CA wants proof for the domain above",
            fresh(),
            offered("example", &[Http01], &[Http01]),
            "reserve example http-01",
        ),
        ("nothing is offered", fresh(), offered("a.example", &[], &[Http01]), "give-up no-challenge"),
        ("no solver is configured", fresh(), offered("a.example", &[Http01], &[]), "give-up no-challenge"),
        (
            "a star can't be proven by http-01",
            fresh(),
            offered("*.a.example", &[Http01, Dns01], &[Http01]),
            "give-up no-challenge",
        ),
        (
            "a star by dns-01",
            fresh(),
            offered("*.a.example", &[Http01, Dns01], &[Http01, Dns01]),
            "reserve *.a.example dns-01",
        ),
        (
            "an address by http-01",
            fresh(),
            offered("192.0.2.1", &[Dns01, Http01], &[Dns01, Http01]),
            "reserve 192.0.2.1 http-01",
        ),
        (
            "an address never by dns-01",
            fresh(),
            offered("192.0.2.1", &[Dns01], &[Dns01]),
            "give-up no-challenge",
        ),
        (
            "kinds that nobody knows",
            fresh(),
            seen(vec![authorization("a.example", Pending, vec![challenge(None, open)])]),
            "give-up no-challenge",
        ),
        (
            "a challenge without a token is passed over",
            fresh(),
            seen(vec![authorization("a.example", Pending, vec![without_token.clone(), http(open)])]),
            "reserve a.example http-01",
        ),
        (
            "only a challenge without a token",
            fresh(),
            seen(vec![authorization("a.example", Pending, vec![without_token])]),
            "give-up no-challenge",
        ),
        (
            "f40: all proven before",
            fresh(),
            seen(vec![authorization("a.example", Valid, vec![])]),
            "wait 5 ms",
        ),
        (
            "one of two proven before",
            fresh(),
            seen(vec![
                authorization("a.example", Valid, vec![]),
                authorization("b.example", Pending, vec![http(open)]),
            ]),
            "reserve b.example http-01",
        ),
        (
            "expired under our hands",
            fresh(),
            seen(vec![authorization("a.example", Dead, vec![])]),
            "give-up authorization-dead",
        ),
        (
            "failed before we came",
            fresh(),
            seen(vec![authorization(
                "a.example",
                Invalid,
                vec![ChallengeView {
                    error: Some(problem("incorrectResponse")),
                    ..http(ChallengeStatus::Invalid)
                }],
            )]),
            "give-up challenge-incorrect-response",
        ),
        (
            "CAA forbids it",
            polled(Phase::Validating),
            seen(vec![authorization(
                "a.example",
                Invalid,
                vec![ChallengeView { error: Some(problem("caa")), ..http(ChallengeStatus::Invalid) }],
            )]),
            "give-up challenge-caa",
        ),
        (
            "failed without a word",
            polled(Phase::Validating),
            seen(vec![authorization("a.example", Invalid, vec![])]),
            "give-up challenge-failed",
        ),
        (
            "t09: a hostile problem type",
            polled(Phase::Validating),
            seen(vec![authorization(
                "a.example",
                Invalid,
                vec![ChallengeView {
                    error: Some(problem("\u{1b}[31mBad/../Type")),
                    ..http(ChallengeStatus::Invalid)
                }],
            )]),
            "give-up challenge-31m-bad-type",
        ),
        (
            "told, and the CA is still looking",
            polled(Phase::Validating),
            seen(vec![authorization("a.example", Pending, vec![http(ChallengeStatus::Processing)])]),
            "wait 10 ms",
        ),
        (
            "told, and the CA did not take notice",
            polled(Phase::Validating),
            seen(vec![authorization("a.example", Pending, vec![http(open)])]),
            "reserve a.example http-01",
        ),
        (
            "told before a restart: told again, which is harmless",
            attempt(Phase::Validating),
            seen(vec![authorization("a.example", Pending, vec![http(ChallengeStatus::Processing)])]),
            "reserve a.example http-01",
        ),
        (
            "the challenge failed, the authorization says pending",
            polled(Phase::Validating),
            seen(vec![authorization(
                "a.example",
                Pending,
                vec![ChallengeView { error: Some(problem("connection")), ..http(ChallengeStatus::Invalid) }],
            )]),
            "give-up challenge-connection",
        ),
        (
            "the challenge says pending with an error, as step-ca does",
            polled(Phase::Validating),
            seen(vec![authorization(
                "a.example",
                Pending,
                vec![ChallengeView { error: Some(problem("connection")), ..http(open) }],
            )]),
            "give-up challenge-connection",
        ),
        (
            "an old error of an open challenge does not stop a new sitting",
            attempt(Phase::Validating),
            seen(vec![authorization(
                "a.example",
                Pending,
                vec![ChallengeView { error: Some(problem("connection")), ..http(open) }],
            )]),
            "reserve a.example http-01",
        ),
        (
            "a dead challenge on an open authorization",
            attempt(Phase::Validating),
            seen(vec![authorization(
                "a.example",
                Pending,
                vec![ChallengeView { error: Some(problem("dns")), ..http(ChallengeStatus::Invalid) }],
            )]),
            "give-up challenge-dns",
        ),
    ]);
}

#[test]
fn the_failing_name_is_blamed_and_counted_and_the_fault_is_told() {
    let failed = |kind: &str| {
        seen(vec![
            authorization("a.example", AuthorizationStatus::Valid, vec![]),
            authorization(
                "dead.example",
                AuthorizationStatus::Invalid,
                vec![ChallengeView { error: Some(problem(kind)), ..http(ChallengeStatus::Invalid) }],
            ),
        ])
    };
    for (row, kind, class, fault) in [
        ("nobody answers at its address", "connection", Class::Transient, Fault::Network),
        ("the CA itself stumbled", "serverInternal", Class::Transient, Fault::Ca),
        ("CAA names another CA", "caa", Class::Refused, Fault::Config),
        ("the CA will never sign such a name", "rejectedIdentifier", Class::Refused, Fault::Config),
    ] {
        match step(polled(Phase::Validating), failed(kind), now()).1 {
            Action::GiveUp(failure) => {
                assert_eq!((failure.class, failure.fault), (class, fault), "{row}");
                assert_eq!(failure.name, Some(name("dead.example")), "{row}");
                assert!(failure.reached_validation, "{row}");
                assert!(failure.words.contains("because"), "{row}: the CA's words are kept");
            }
            other => panic!("{row}: {other:?}"),
        }
    }
}

#[test]
fn an_invalid_order_is_explained_by_its_names_or_by_itself() {
    use AuthorizationStatus::Valid;
    let invalid = || Observation::Order(order(OrderStatus::Invalid));
    let good = || seen(vec![authorization("a.example", Valid, vec![])]);
    let after = |attempt: Attempt, first: Observation| step(attempt, first, now()).0;
    table(vec![
        (
            "refused at issuance, with words",
            attempt(Phase::Finalizing),
            refused_order("badCSR"),
            "give-up order-bad-c-s-r",
        ),
        (
            "t09: refused at issuance by a hostile type",
            attempt(Phase::Finalizing),
            refused_order("x\n\u{202e}Y"),
            "give-up order-x-y",
        ),
        ("refused at issuance, without words", attempt(Phase::Finalizing), invalid(), "authorizations"),
        (
            "… and no name is to blame",
            after(attempt(Phase::Finalizing), invalid()),
            good(),
            "give-up order-invalid",
        ),
        ("failed while validating", polled(Phase::Validating), invalid(), "authorizations"),
        (
            "… and no name is to blame, but the order has words",
            after(polled(Phase::Validating), refused_order("rejectedIdentifier")),
            good(),
            "give-up order-rejected-identifier",
        ),
        (
            "… and its names still look open",
            after(polled(Phase::Validating), invalid()),
            seen(vec![authorization(
                "a.example",
                AuthorizationStatus::Pending,
                vec![http(ChallengeStatus::Processing)],
            )]),
            "give-up order-invalid",
        ),
        ("invalid at creation", attempt(Phase::Prepared), invalid(), "authorizations"),
    ]);
}

#[test]
fn failures_end_park_or_turn_the_attempt() {
    let failed = |code: &str, class| Observation::Failed(Failure::new(class, Fault::Ca, code, "words"));
    let transient = |code| failed(code, Class::Transient);
    let limited = || failed("rate-limited", Class::Limited { until: now() + Span::HOUR });
    let with = |phase, bend: fn(&mut Attempt)| {
        let mut a = attempt(phase);
        bend(&mut a);
        a
    };
    let prefers = |a: &mut Attempt| a.profile = Some(Profile { name: "p".into(), required: false });
    let demands = |a: &mut Attempt| a.profile = Some(Profile { name: "p".into(), required: true });
    let late = |a: &mut Attempt| a.deadline = now();
    table(vec![
        ("the CA is down at newOrder", attempt(Phase::Prepared), transient("ca-down"), "give-up ca-down"),
        ("limited at newOrder", attempt(Phase::Prepared), limited(), "give-up rate-limited"),
        (
            "the CA goes down with the order open",
            attempt(Phase::Validating),
            transient("ca-down"),
            "park ca-down",
        ),
        ("limited with the order open", attempt(Phase::Finalizing), limited(), "park rate-limited"),
        (
            "the CSR is refused",
            attempt(Phase::Finalizing),
            failed("bad-csr", Class::Refused),
            "give-up bad-csr",
        ),
        (
            "the chain does not fit the key",
            attempt(Phase::Issued),
            failed("wrong-key", Class::Broken),
            "give-up wrong-key",
        ),
        (
            "the CA has forgotten the order",
            attempt(Phase::Validating),
            transient("order-gone"),
            "give-up order-gone",
        ),
        (
            "f46: `replaces` is refused",
            with(Phase::Prepared, |a| a.replaces = Some("aki.1".into())),
            failed("replaces-refused", Class::Refused),
            "order",
        ),
        (
            "f46: refused again without it",
            attempt(Phase::Prepared),
            failed("replaces-refused", Class::Refused),
            "give-up replaces-refused",
        ),
        (
            "the preferred profile is refused",
            with(Phase::Prepared, prefers),
            failed("profile-refused", Class::Refused),
            "order",
        ),
        (
            "the required profile is refused",
            with(Phase::Prepared, demands),
            failed("profile-refused", Class::Refused),
            "give-up profile-refused",
        ),
        ("finalized too early", attempt(Phase::Finalizing), transient("order-not-ready"), "wait 5 ms"),
        (
            "a failure past the deadline",
            with(Phase::Validating, late),
            transient("ca-down"),
            "give-up ca-down",
        ),
        (
            "`replaces` refused past the deadline: no order that nobody would finish",
            with(Phase::Prepared, |a| {
                a.deadline = now();
                a.replaces = Some("aki.1".into());
            }),
            failed("replaces-refused", Class::Refused),
            "give-up replaces-refused",
        ),
        (
            "still pending at the deadline",
            with(Phase::Validating, late),
            Observation::Order(order(OrderStatus::Pending)),
            "give-up attempt-expired",
        ),
        (
            "picked up past the deadline",
            with(Phase::Validating, late),
            Observation::Started,
            "give-up attempt-expired",
        ),
        (
            "f06: the certificate is there at the deadline",
            with(Phase::Finalizing, late),
            Observation::Order(order(OrderStatus::Valid)),
            "download",
        ),
    ]);
}

#[test]
fn polls_double_from_five_milliseconds_and_the_cas_wish_is_clamped() {
    let mut waits = Vec::new();
    let (mut attempt, mut action) = step(attempt(Phase::Validating), Observation::Told, now());
    for _ in 0..11 {
        let Action::Wait(until) = action else { panic!("{action:?}") };
        waits.push(until.since(now()).millis());
        (attempt, action) = step(attempt, Observation::Order(order(OrderStatus::Pending)), now());
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000]);
    for (row, wish, left, expected) in [
        ("f44: a day", Span::DAY, Span::hours(6), Span::minutes(36)),
        ("f44: nothing", Span::ZERO, Span::hours(6), Span::secs(1)),
        ("f44: in the past", Span::ZERO - Span::DAY, Span::hours(6), Span::secs(1)),
        ("three seconds", Span::secs(3), Span::hours(6), Span::secs(3)),
        ("three seconds, and five are left", Span::secs(3), Span::secs(5), Span::secs(1)),
    ] {
        let mut attempt = polled(Phase::Validating);
        attempt.deadline = now() + left;
        let view = OrderView { retry_after: Some(wish), ..order(OrderStatus::Processing) };
        match step(attempt, Observation::Order(view), now()).1 {
            Action::Wait(until) => assert_eq!(until.since(now()), expected, "{row}"),
            other => panic!("{row}: {other:?}"),
        }
    }
}

#[test]
fn f43_a_slow_ca_is_parked_after_ten_minutes_and_asked_again_later() {
    let attempt = polled(Phase::Finalizing);
    let processing = || Observation::Order(order(OrderStatus::Processing));
    let (attempt, action) = step(attempt, processing(), now() + Attempt::SITTING);
    assert!(matches!(action, Action::Wait(_)), "ten minutes are not over yet: {action:?}");
    let (attempt, action) = step(attempt, processing(), now() + Attempt::SITTING + Span::secs(1));
    assert_eq!(words(&action), "park ca-slow");
    let (attempt, action) = step(attempt, Observation::Started, now() + Span::HOUR);
    assert_eq!(words(&action), "view");
    let (_, action) = step(attempt, processing(), now() + Span::HOUR);
    assert!(matches!(action, Action::Wait(_)), "a new sitting has its own ten minutes: {action:?}");
}

#[test]
fn a_ready_order_is_finalized_once_and_a_ca_that_goes_on_saying_ready_is_not_hammered() {
    let ready = || Observation::Order(order(OrderStatus::Ready));
    let (mut attempt, first) = step(polled(Phase::Validating), ready(), now());
    assert_eq!(words(&first), "finalize");
    let (mut at, mut looks) = (now(), 0);
    let end = loop {
        let (next, action) = step(attempt, ready(), at);
        attempt = next;
        match action {
            Action::Wait(until) => {
                at = until;
                looks += 1;
            }
            other => break words(&other),
        }
    };
    assert_eq!(end, "park ca-slow");
    assert!(looks < 150, "{looks} looks in ten minutes");
}

#[test]
fn an_order_that_is_never_ready_for_its_csr_is_parked() {
    let early = || Observation::Failed(Failure::transient(Fault::Ca, "order-not-ready", "not yet"));
    let mut attempt = attempt(Phase::Finalizing);
    for _ in 0..Attempt::TOO_EARLY_MOST {
        let (next, action) = step(attempt, early(), now());
        assert!(matches!(action, Action::Wait(_)), "{action:?}");
        let (next, action) = step(next, Observation::Order(order(OrderStatus::Ready)), now());
        assert_eq!(words(&action), "finalize");
        attempt = next;
    }
    assert_eq!(words(&step(attempt, early(), now()).1), "park order-not-ready");
}

#[test]
fn a_failed_challenge_is_noticed_although_the_order_stays_pending() {
    let mut attempt = polled(Phase::Validating);
    let (mut at, mut looks) = (now(), 0);
    loop {
        let (next, action) = step(attempt, Observation::Order(order(OrderStatus::Pending)), at);
        attempt = next;
        looks += 1;
        match action {
            Action::Wait(until) => at = until,
            Action::Authorizations => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(
        looks <= 12 && at.since(now()) < Span::MINUTE,
        "noticed after {looks} looks, {}",
        at.since(now())
    );
}

#[test]
fn a_name_that_is_refused_in_words_alone_is_blamed_all_the_same() {
    let names = |list: &[&str]| list.iter().map(|n| SubjectName::parse(n).unwrap()).collect::<Vec<_>>();
    let ordered = names(&["b.example", "a.b.example", "*.c.example"]);
    for (words, blamed) in [
        ("forbidden by policy: b.example", &["b.example"][..]),
        ("Cannot issue for \"a.b.example\": on a list", &["a.b.example"]),
        ("not *.c.example. Nor others.", &["*.c.example"]),
        ("neither b.example, nor a.b.example.", &["b.example", "a.b.example"]),
        ("b.example.org and xb.example are not ours", &[]),
        ("none of b.example, a.b.example, *.c.example", &[]),
        ("names", &[]),
    ] {
        let failure = Failure::refused(Fault::Config, "rejected-name", words);
        let found: Vec<_> = blaming_by_words(failure, &ordered).names().cloned().collect();
        assert_eq!(found, names(blamed), "{words}");
    }
    let known =
        Failure::refused(Fault::Config, "rejected-name", "not b.example").blaming(Some(name("*.c.example")));
    for (what, failure) in [
        ("the CA said which, whatever its words", known),
        ("it is of something else", Failure::refused(Fault::Config, "rate-limited", "not b.example")),
    ] {
        assert_eq!(blaming_by_words(failure.clone(), &ordered), failure, "{what}");
    }
}

#[test]
fn what_no_solver_can_prove_is_told_with_what_the_ca_offers() {
    use ChallengeKind::{Dns01, Http01};
    let offered = |kinds: &[ChallengeKind]| {
        let challenges = kinds.iter().map(|kind| challenge(Some(*kind), ChallengeStatus::Pending)).collect();
        unprovable(&authorization("a.example", AuthorizationStatus::Pending, challenges)).words
    };
    assert!(offered(&[]).contains("offers nothing that this release knows;"), "{}", offered(&[]));
    assert!(offered(&[Http01, Dns01]).contains("offers http-01, dns-01;"), "{}", offered(&[Http01, Dns01]));
}
