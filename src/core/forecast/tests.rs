use super::*;
use crate::core::name::{IssuerId, LineageId, SolverId, SubjectName};
use crate::core::record::{Pause, Reading};
use crate::core::spec::{KeyKind, Origin};
use crate::core::window::last_resort;
use crate::core::window::tests::leaf;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn day(number: i64) -> Timestamp {
    START + Span::days(number)
}

fn names() -> Vec<SubjectName> {
    vec![SubjectName::parse("a.example").unwrap()]
}

fn spec() -> LineageSpec {
    LineageSpec {
        id: LineageId::parse("a.example").unwrap(),
        names: names().into(),
        endpoints: List::default(),
        outputs: List::default(),
        origin: Origin::default(),
        terms: Arc::new(Terms {
            issuers: vec![IssuerId::parse("ca").unwrap()],
            profile: None,
            key: KeyKind::EcdsaP256,
            reuse_key: false,
            solvers: vec![SolverId::parse("web").unwrap()],
            on_dead_name: crate::core::spec::OnDeadName::default(),
            hooks: Vec::new(),
            after: Vec::new(),
            around: Around::default(),
            observe_timeout: Span::secs(30),
            deploy_window: None,
            rights: Arc::default(),
            labels: crate::core::labels::Labels::default(),
        }),
    }
}

/// Issued on day 0 for so long.
fn record(lifetime: Span) -> LineageRecord {
    let mut record = LineageRecord::new(spec().id);
    record.last_number = 1;
    record.names = names();
    record.current = Some(Issued {
        number: 1,
        leaf: leaf(START, lifetime, 1),
        issuer: IssuerId::parse("ca").ok(),
        profile: None,
        key_kind: KeyKind::EcdsaP256,
        names: names(),
        at: START,
        order: String::new(),
        revoked: false,
        digests: std::collections::BTreeMap::new(),
    });
    record
}

fn calm(from: i64, until: i64) -> Weather {
    Weather { span: Interval::new(day(from), day(until)), outage: None }
}

fn down(from: i64, until: i64, to: i64) -> Weather {
    Weather { outage: Some(Interval::new(day(from), day(to))), ..calm(from, until) }
}

#[test]
fn each_renewal_comes_at_its_point_and_starts_the_next_life() {
    let record = record(Span::days(90));
    let course = forecast(&spec(), &record, &calm(0, 200));
    let first = renewal_point(&record).unwrap().at;
    assert_eq!(course.renewals[0], first);
    assert_eq!(course.renewals.len(), 3, "{course:?}");
    assert!((course.renewals[1] - Span::days(58)) > first);
    assert_eq!((course.failures, course.lapses.len(), course.cut_at), (0, 0, None));
    assert!(course.least_left.unwrap() >= Span::days(30));
}

#[test]
fn an_outage_is_survived_while_it_is_shorter_than_what_is_left() {
    let span = |days| Span::days(days);
    let table: [(&str, Span, Weather, u32, bool); 6] = [
        ("three days, and 80 are left", span(90), down(10, 100, 13), 0, false),
        ("three days, when it is due", span(90), down(61, 100, 64), 1, false),
        ("four weeks, when it is due", span(90), down(61, 100, 89), 20, false),
        ("five weeks, when it is due", span(90), down(61, 100, 96), 20, true),
        ("three days of a life of six", Span::hours(160), down(4, 20, 6), 1, false),
        ("a week of a life of six", Span::hours(160), down(4, 20, 11), 1, true),
    ];
    for (row, lifetime, weather, failures, lapses) in table {
        let course = forecast(&spec(), &record(lifetime), &weather);
        assert_eq!(!course.lapses.is_empty(), lapses, "{row}: {course:?}");
        assert!(course.failures >= failures, "{row}: {course:?}");
        assert!(!course.renewals.is_empty(), "{row}: it comes back by itself: {course:?}");
        assert_eq!(course.cut_at, None, "{row}");
    }
}

#[test]
fn f28_after_an_outage_the_next_try_comes_within_the_hour() {
    let course = forecast(&spec(), &record(Span::days(90)), &down(61, 100, 80));
    let wait = course.renewals[0].since(day(80));
    assert!(wait <= Span::HOUR, "{wait}");
}

#[test]
fn a_lapse_lasts_from_the_end_to_the_next_certificate() {
    let course = forecast(&spec(), &record(Span::days(90)), &down(61, 120, 95));
    let [lapse] = course.lapses[..] else { panic!("{course:?}") };
    assert_eq!((lapse.start, lapse.end), (day(90), course.renewals[0]));
    let endless = forecast(&spec(), &record(Span::days(90)), &down(61, 120, 400));
    assert_eq!(endless.lapses, [Interval::new(day(90), day(120))]);
}

#[test]
fn what_was_never_issued_is_issued_at_once_and_never_lapses() {
    let empty = LineageRecord::new(spec().id);
    let course = forecast(&spec(), &empty, &calm(0, 10));
    assert_eq!(course.renewals, [day(0)]);
    assert_eq!(tries_left(&spec(), &empty, day(0)), None);
    let without = forecast(&spec(), &empty, &down(0, 10, 30));
    assert_eq!((without.renewals.len(), without.lapses.len()), (0, 0));
    assert!(without.failures > 3);
}

#[test]
fn a_pause_past_the_end_is_a_lapse_that_is_foreseen() {
    let mut paused = record(Span::days(90));
    paused.pause = Some(Pause { until: day(91), reason: "migration".into(), at: day(0) });
    let course = forecast(&spec(), &paused, &calm(50, 120));
    assert_eq!(course.lapses.len(), 1, "{course:?}");
    assert!(course.renewals[0] >= day(91));
}

#[test]
fn the_ca_s_wish_counts_as_last_read() {
    let mut wished = record(Span::days(90));
    wished.reading = Some(Reading {
        ari_id: wished.leaf().unwrap().ari_id.clone().unwrap(),
        window: Some(Interval::new(day(20), day(21))),
        explanation: None,
        at: day(1),
        next_at: day(2),
    });
    let course = forecast(&spec(), &wished, &calm(5, 40));
    assert!(course.renewals[0] >= day(20) && course.renewals[0] <= day(21), "{course:?}");
}

#[test]
fn tries_are_counted_as_they_would_be_made() {
    let spec = spec();
    let of = |lifetime, now| tries_left(&spec, &record(lifetime), now).unwrap();
    assert_eq!(of(Span::days(90), day(0)), TRIES_MAX);
    assert_eq!(of(Span::days(90), day(90)), 0, "it has ended");
    let late = of(Span::days(90), day(90) - Span::minutes(5));
    assert!((2..=6).contains(&late), "{late}");
    let short = of(Span::hours(160), START);
    assert!(short > 10, "{short}");
}

#[test]
fn so_many_steps_end_a_course_and_that_is_said() {
    let course = forecast(&spec(), &record(Span::secs(60)), &calm(0, 365));
    assert!(course.cut_at.is_some_and(|at| at < day(365)), "{:?}", course.cut_at);
}

proptest::proptest! {
    #[test]
    fn without_an_outage_nothing_lapses_and_nothing_is_renewed_in_its_last_resort(
        hours in 24i64..10_000, age in 0i64..30, days in 1i64..300
    ) {
        let lifetime = Span::hours(hours);
        let record = record(lifetime);
        let now = START + lifetime.over(100).times(age);
        let course = forecast(
            &spec(), &record, &Weather { span: Interval::new(now, now + Span::days(days)), outage: None },
        );
        proptest::prop_assert_eq!(&course.lapses, &[]);
        let least = last_resort(record.leaf().unwrap()).since(START);
        proptest::prop_assert!(course.least_left.is_none_or(|left| left >= lifetime - least));
        proptest::prop_assert!(course.renewals.is_sorted());
    }
}
