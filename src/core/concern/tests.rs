#![allow(clippy::unwrap_used)]

use super::*;
use crate::core::failure::Fault;
use crate::core::name::{HookId, IssuerId, SubjectName, WatchId};
use crate::core::order::PersistTerms;
use crate::core::persist::PersistWrong;
use crate::core::watched::{Blemish, Watched};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A certificate of 45 days with ten days left, due for renewal since five.
fn plight() -> Plight {
    Plight {
        persist: Vec::new(),
        life: Some(Interval::new(NOW - Span::days(35), NOW + Span::days(10))),
        due_at: Some(NOW - Span::days(5)),
        failing: None,
        missing: Vec::new(),
        install_owed: false,
        hooks: Vec::new(),
        owed_since: Some(NOW - Span::days(35)),
        places: Vec::new(),
        paused_until: None,
        rolled_back: None,
    }
}

fn failing() -> Failing {
    Failing {
        issuer: IssuerId::parse("letsencrypt").unwrap(),
        code: "ca-down".into(),
        words: "new-order answered 503".into(),
        fault: Fault::Ca,
        stuck: false,
        count: 1,
        since: NOW - Span::MINUTE,
        next_at: NOW + Span::MINUTE,
        reached_validation: false,
    }
}

fn row(plight: Plight) -> Row {
    Row {
        lineage: LineageId::parse("shop.example.com").unwrap(),
        issuer: IssuerId::parse("letsencrypt").ok(),
        not_after: plight.life.map(|life| life.end),
        served_until: None,
        owed: 0,
        mismatched: 0,
        standing: if plight.life.is_some() { Standing::Installed } else { Standing::Absent },
        trouble: None,
        plight: Some(Box::new(plight)),
    }
}

fn judged(row: Row) -> Concerns {
    Concerns::of(&Census::of(NOW, vec![row]), |_| None, |_| None, NOW)
}

fn told(row: Row) -> Vec<String> {
    judged(row).all.iter().map(|concern| format!("{} {}", concern.gravity, concern.code)).collect()
}

fn with_left(left: Span, life: Span, failing: Option<Failing>) -> Plight {
    let end = NOW + left;
    let kept = if life < Span::days(10) { life.over(2) } else { life.over(3) };
    let due_at = Some(end - kept).filter(|due| *due <= NOW);
    Plight { life: Some(Interval::new(end - life, end)), due_at, failing, ..plight() }
}

fn served(sight: Sight, life: Option<Interval>) -> Plight {
    let place = Misserved {
        place: "https://127.0.0.1:443".into(),
        sight,
        life,
        words: sight.word().into(),
        step: "restart it".into(),
    };
    Plight { due_at: None, places: vec![place], ..plight() }
}

#[test]
fn a_text_that_ends_or_is_lost_is_somebodys_work_before_a_renewal_needs_it() {
    let note = |until: Option<Span>, lost: bool| PersistNote {
        name: SubjectName::parse("shop.example.com").unwrap(),
        terms: PersistTerms { issuers: vec!["ca.example".into()], accounts: vec!["x".into()] },
        source: None,
        until: until.map(|left| NOW + left),
        wrong: lost.then(|| PersistWrong {
            code: "persist-account".into(),
            words: "another account".into(),
            since: NOW - Span::DAY,
        }),
    };
    let healthy = || with_left(Span::days(40), Span::days(45), None);
    let with = |note: PersistNote| row(Plight { persist: vec![note], ..healthy() });
    for (what, note, wanted) in [
        ("no end", note(None, false), &[][..]),
        ("ends in 31 days", note(Some(Span::days(31)), false), &[]),
        ("ends in 30 days", note(Some(Span::days(30)), false), &["ticket persist-ends"]),
        ("ended", note(Some(Span::days(-1)), false), &["ticket persist-ends"]),
        ("another account's", note(Some(Span::days(90)), true), &["ticket persist-lost"]),
    ] {
        assert_eq!(told(with(note)), wanted, "{what}");
    }
    let concerns = judged(with(note(Some(Span::days(31)), false)));
    assert_eq!(concerns.next_at, Some(NOW + Span::DAY), "looked at again when it is near");
}

#[test]
fn how_grave_what_is() {
    let days45 = Span::days(45);
    let since = |ago: Span| Failing { since: NOW - ago, count: 3, ..failing() };
    let limited = Failing { next_at: NOW + Span::days(12), ..failing() };
    let long = Interval::new(NOW - Span::days(30), NOW + Span::days(60));
    let short = Interval::new(NOW - Span::days(85), NOW + Span::days(5));
    let paused = |plight: Plight| Plight { paused_until: Some(NOW + Span::DAY), ..plight };
    let lacks = |failing| Plight {
        missing: vec![crate::core::name::SubjectName::parse("dead.example.com").unwrap()],
        failing,
        due_at: None,
        ..plight()
    };
    let table: [(&str, Row, &[&str]); 24] = [
        ("due, and not tried yet", row(plight()), &[]),
        (
            "first attempt failed",
            row(Plight { failing: Some(failing()), ..plight() }),
            &["notice renewal-failing"],
        ),
        ("renewed without a dead name", row(lacks(None)), &["ticket names-missing"]),
        (
            "and that name was tried again",
            row(lacks(Some(failing()))),
            &["notice renewal-failing", "ticket names-missing"],
        ),
        (
            "failing for two days",
            row(Plight { failing: Some(since(Span::days(2))), ..plight() }),
            &["ticket renewal-failing"],
        ),
        (
            "refused for two hours",
            row(Plight { failing: Some(Failing { stuck: true, ..since(Span::hours(2)) }), ..plight() }),
            &["ticket renewal-failing"],
        ),
        (
            "45 days, 8 left",
            row(with_left(Span::days(8), days45, Some(since(Span::days(7))))),
            &["page little-life-left"],
        ),
        (
            "45 days, 8 left, nobody tried",
            row(with_left(Span::days(8), days45, None)),
            &["page little-life-left"],
        ),
        (
            "6 days, 2 left, failing for a day",
            row(with_left(Span::days(2), Span::days(6), Some(since(Span::DAY)))),
            &["ticket renewal-failing"],
        ),
        (
            "6 days, 1 left",
            row(with_left(Span::DAY, Span::days(6), Some(since(Span::days(2))))),
            &["page little-life-left"],
        ),
        (
            "an hour of life, failing for two minutes",
            row(with_left(Span::minutes(28), Span::HOUR, Some(since(Span::minutes(2))))),
            &["ticket renewal-failing"],
        ),
        (
            "a limit until after the end",
            row(with_left(Span::days(10), days45, Some(limited))),
            &["page few-tries-left"],
        ),
        ("expired", row(with_left(Span::ZERO - Span::DAY, days45, Some(failing()))), &["page expired"]),
        (
            "nothing was ever issued, for two hours",
            row(Plight { life: None, due_at: None, failing: Some(since(Span::hours(2))), ..plight() }),
            &["ticket renewal-failing"],
        ),
        (
            "nothing installed, nothing fails",
            row(Plight { life: None, due_at: None, ..plight() }),
            &["ticket not-installed"],
        ),
        (
            "a hook that was not told",
            row(Plight { due_at: None, hooks: vec![HookId::parse("nginx").unwrap()], ..plight() }),
            &["ticket deploy-owed"],
        ),
        (
            "the old one is served, with weeks left",
            row(served(Sight::Old, Some(long))),
            &["ticket served-other"],
        ),
        (
            "the old one is served, near its end",
            row(served(Sight::Old, Some(short))),
            &["page served-ends-soon"],
        ),
        (
            "the old one is served, and it expired",
            row(served(Sight::Old, Some(Interval::new(NOW - days45, NOW - Span::HOUR)))),
            &["page served-expired"],
        ),
        ("a stranger's certificate", row(served(Sight::Wrong, Some(long))), &["page served-wrong"]),
        ("silence", row(served(Sight::Unreachable, None)), &["ticket endpoint-unreachable"]),
        ("a stranger's, paused", row(paused(served(Sight::Wrong, Some(long)))), &["notice served-wrong"]),
        (
            "paused, and little life left",
            row(paused(with_left(Span::days(8), days45, None))),
            &["page little-life-left"],
        ),
        (
            "retired",
            Row { standing: Standing::Retired, ..row(with_left(Span::ZERO - Span::DAY, days45, None)) },
            &[],
        ),
    ];
    for (situation, row, expected) in table {
        assert_eq!(told(row), expected, "{situation}");
    }
}

#[test]
fn time_alone_makes_it_graver_and_the_date_is_known() {
    let mut now = NOW;
    let row = row(with_left(Span::days(14), Span::days(45), Some(failing())));
    let census = Census::of(NOW, vec![row]);
    let mut steps = Vec::new();
    for _ in 0..4 {
        let concerns = Concerns::of(&census, |_| None, |_| None, now);
        let concern = &concerns.all[0];
        steps.push((now.since(NOW).whole_secs() / 3600, concern.gravity, concern.code.clone()));
        assert_eq!(concern.cause, "renewal/letsencrypt/ca-down", "one alert through it all");
        let Some(next) = concerns.next_at else { break };
        assert!(next > now);
        now = next;
    }
    let expected = [
        (0, Gravity::Notice, "renewal-failing"),
        (23, Gravity::Ticket, "renewal-failing"),
        (120, Gravity::Page, "little-life-left"),
        (336, Gravity::Page, "expired"),
    ];
    assert_eq!(steps, expected.map(|(hour, gravity, code)| (hour, gravity, code.to_owned())));
}

#[test]
fn what_was_taken_back_is_a_page_once_the_old_one_ends_soon() {
    for (left, expected) in [
        (Span::days(10), &["ticket rolled-back"][..]),
        (Span::days(8), &["page little-life-left", "ticket rolled-back"]),
    ] {
        let old = Interval::new(NOW + left - Span::days(45), NOW + left);
        let plight = Plight {
            life: Some(old),
            due_at: None,
            rolled_back: Some("the check refused it".into()),
            ..plight()
        };
        assert_eq!(told(row(plight)), expected, "{left}");
    }
}

#[test]
fn what_is_well_and_ends_untold_is_a_page_all_the_same() {
    let row = Row { plight: None, not_after: Some(NOW), standing: Standing::Observed, ..row(plight()) };
    assert_eq!(told(row), ["page expired"]);
}

#[test]
fn what_nobody_manages_is_a_concern_with_its_own_words() {
    let blemish = Blemish {
        code: "watch-ends-soon",
        gravity: Gravity::Page,
        words: "ends in 3 d".into(),
        advice: "buy".into(),
    };
    let watched = Watched {
        watch: WatchId::parse("bought").unwrap(),
        place: "/etc/ssl/shop.pem".into(),
        seen_at: crate::core::time::Timestamp::EPOCH,
        fingerprint: None,
        names: Vec::new(),
        begins: None,
        ends: None,
        blemishes: vec![blemish],
    };
    let census = Census { watched: vec![watched], ..Census::of(NOW, Vec::new()) };
    let labels = Labels::new([("owner".to_owned(), "web".to_owned())].into());
    let concerns = Concerns::of(&census, |_| None, |_| Some(&labels), NOW);
    assert_eq!(concerns.all[0].subject, "watch/bought /etc/ssl/shop.pem");
    assert_eq!(concerns.all[0].cause, "watch/bought/watch-ends-soon");
    assert_eq!(concerns.all[0].labels.value("owner"), Some("web"));
}

#[test]
fn labels_are_those_of_the_certificate() {
    let labels = Labels::new([("owner".to_owned(), "web".to_owned())].into());
    let census = Census::of(NOW, vec![row(Plight { failing: Some(failing()), ..plight() })]);
    let concerns = Concerns::of(&census, |_| Some(&labels), |_| None, NOW);
    assert_eq!(concerns.all[0].labels.value("owner"), Some("web"));
    assert!(concerns.all[0].words.contains("fault: CA, 1 try"), "{}", concerns.all[0].words);
}

#[test]
fn what_ends_at_this_instant_has_ended() {
    let well = || row(with_left(Span::days(40), Span::days(45), None));
    let served = |until| told(Row { served_until: Some(until), plight: None, ..well() });
    assert_eq!(served(NOW), ["page served-expired"]);
    assert_eq!(served(NOW + Span::from_millis(1)), [""; 0]);
}
