#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::core::endpoint::Endpoint;
use crate::core::leaf::Fingerprint;
use crate::core::list::List;
use crate::core::name::{IssuerId, LineageId, SubjectName};
use crate::core::record::{GenerationNumber, HookNote, Issued, Refused};
use crate::core::spec::{Around, KeyKind, Origin, Terms};
use crate::core::window::tests::leaf;

fn now() -> Timestamp {
    Timestamp::from_secs(1_700_000_000)
}

fn name(text: &str) -> SubjectName {
    SubjectName::parse(text).unwrap()
}

fn issued(number: GenerationNumber, age: Span) -> Issued {
    Issued {
        number,
        leaf: leaf(now() - age, Span::days(90), u8::try_from(number).unwrap()),
        issuer: IssuerId::parse("ca").ok(),
        profile: None,
        key_kind: KeyKind::EcdsaP256,
        names: vec![name("a.example")],
        at: now() - age,
        order: String::new(),
        revoked: false,
        digests: std::collections::BTreeMap::new(),
    }
}

fn note(sight: Sight, generation: GenerationNumber, reached: bool) -> EndpointNote {
    EndpointNote {
        sight,
        at: now(),
        next_at: now(),
        generation,
        failures: 0,
        reached,
        leaf: None,
        words: None,
        silence: None,
        tally: None,
        accepted: false,
        flaws: Vec::new(),
    }
}

fn done(generation: GenerationNumber) -> HookNote {
    HookNote { done: generation, ..HookNote::never() }
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint::parse(&format!("{host}:443")).unwrap()
}

struct World {
    spec: Option<LineageSpec>,
    record: LineageRecord,
    installed: Installed,
    disk: OnDisk,
}

/// Generation 2 on disk, nginx told, both endpoints seen with it.
fn settled() -> World {
    let id = LineageId::parse("a.example").unwrap();
    let nginx = HookId::parse("nginx").unwrap();
    let endpoints = vec![endpoint("127.0.0.1"), endpoint("[::1]")];
    let mut record = LineageRecord::new(id.clone());
    record.current = Some(issued(2, Span::days(10)));
    record.previous = Some(issued(1, Span::days(70)));
    record.last_number = 2;
    let mut installed = Installed::default();
    installed.hooks.insert(nginx.clone(), done(2));
    for endpoint in &endpoints {
        installed.endpoints.insert(endpoint.clone(), note(Sight::New, 2, true));
    }
    World {
        spec: Some(LineageSpec {
            id,
            names: vec![name("a.example")].into(),
            endpoints: endpoints.into(),
            outputs: List::default(),
            origin: Origin { file: "nolapse.toml".into(), line: 1 },
            terms: Arc::new(Terms {
                issuers: vec![IssuerId::parse("ca").unwrap()],
                profile: None,
                key: KeyKind::EcdsaP256,
                reuse_key: false,
                solvers: Vec::new(),
                on_dead_name: crate::core::spec::OnDeadName::default(),
                hooks: vec![nginx],
                observe_timeout: Span::secs(30),
                deploy_window: None,
                after: Vec::new(),
                around: Around::default(),
                rights: Arc::default(),
                labels: crate::core::labels::Labels::default(),
            }),
        }),
        record,
        installed,
        disk: OnDisk { live: Placement::Shows(2), named: None, outputs: Vec::new() },
    }
}

impl World {
    fn with(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    fn spec(&mut self) -> &mut LineageSpec {
        self.spec.as_mut().unwrap()
    }

    fn terms(&mut self) -> &mut Terms {
        Arc::make_mut(&mut self.spec().terms)
    }

    fn see(&mut self, host: &str, sight: Sight, generation: GenerationNumber, reached: bool) {
        self.installed.endpoints.insert(endpoint(host), note(sight, generation, reached));
    }

    /// `issued installed reloaded observed`, as far as it has come, and `paid`.
    fn climb(&self) -> String {
        let ladder = Ladder::of(self.spec.as_ref(), &self.record, &self.installed, &self.disk, now());
        let observed = match ladder.observed {
            Observed::Yes => "observed",
            Observed::No => "",
            Observed::Unverified => "unverified",
        };
        let rung = |there: bool, word: &'static str| if there { word } else { "" };
        [
            rung(ladder.issued, "issued"),
            rung(ladder.installed, "installed"),
            rung(ladder.reloaded(), "reloaded"),
            observed,
            rung(ladder.paid(), "paid"),
        ]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
    }
}

#[test]
#[expect(clippy::large_stack_arrays, reason = "a table of rows, in a test")]
fn anything_short_of_observed_is_owed() {
    let foreign = || Placement::Foreign(Box::new(leaf(now(), Span::days(90), 77)));
    let nginx = || HookId::parse("nginx").unwrap();
    let rows = [
        ("all seen", settled(), "issued installed reloaded observed paid"),
        ("never issued", settled().with(|w| w.record.current = None), ""),
        (
            "issued, not on disk",
            settled().with(|w| w.disk.live = Placement::Shows(1)),
            "issued reloaded observed",
        ),
        (
            "somebody edited it",
            settled().with(|w| w.disk.live = Placement::Drifted("edited".into())),
            "issued reloaded observed",
        ),
        (
            "somebody else's pair is there",
            settled().with(|w| w.disk.live = foreign()),
            "issued reloaded observed",
        ),
        (
            "an extra copy is missing",
            settled().with(|w| w.disk.outputs = vec![(PathBuf::from("/x"), Placement::Missing)]),
            "issued reloaded observed",
        ),
        (
            "nginx was not told",
            settled().with(|w| {
                w.installed.hooks.insert(nginx(), done(1));
            }),
            "issued installed observed",
        ),
        ("nginx's note was lost", settled().with(|w| w.installed.hooks.clear()), "issued installed observed"),
        (
            "nginx was told of a later one before going back",
            settled().with(|w| {
                w.installed.hooks.insert(nginx(), done(3));
            }),
            "issued installed reloaded observed paid",
        ),
        (
            "one endpoint serves the old one",
            settled().with(|w| w.see("[::1]", Sight::Old, 2, true)),
            "issued installed reloaded",
        ),
        (
            "one endpoint serves another valid one",
            settled().with(|w| w.see("[::1]", Sight::OtherValid, 2, true)),
            "issued installed reloaded",
        ),
        (
            "one endpoint serves a wrong one",
            settled().with(|w| w.see("[::1]", Sight::Wrong, 2, true)),
            "issued installed reloaded",
        ),
        (
            "one endpoint went silent",
            settled().with(|w| w.see("[::1]", Sight::Unreachable, 2, true)),
            "issued installed reloaded",
        ),
        (
            "one endpoint never answered: no IPv6 here",
            settled().with(|w| w.see("[::1]", Sight::Unreachable, 2, false)),
            "issued installed reloaded observed paid",
        ),
        (
            "no endpoint ever answered",
            settled().with(|w| {
                w.see("[::1]", Sight::Unreachable, 2, false);
                w.see("127.0.0.1", Sight::Unreachable, 2, false);
            }),
            "issued installed reloaded unverified paid",
        ),
        (
            "one endpoint was seen with the generation before",
            settled().with(|w| w.see("[::1]", Sight::New, 1, true)),
            "issued installed reloaded",
        ),
        ("not looked yet", settled().with(|w| w.installed.endpoints.clear()), "issued installed reloaded"),
        (
            "nowhere to look: unverified, never observed",
            settled().with(|w| w.spec().endpoints = List::default()),
            "issued installed reloaded unverified paid",
        ),
        (
            "nobody to tell",
            settled().with(|w| w.terms().hooks.clear()),
            "issued installed reloaded observed paid",
        ),
        (
            "left the configuration with everything in place",
            settled().with(|w| w.spec = None),
            "issued installed reloaded unverified paid",
        ),
        (
            "its service refused it: gone back to generation 1, which is seen, and 2 is owed",
            settled().with(|w| {
                w.record.previous = Some(issued(1, Span::days(40)));
                w.installed.refused = Some(Refused {
                    generation: 2,
                    returned_to: 1,
                    at: now(),
                    until: now() + Span::HOUR,
                    count: 1,
                    words: String::new(),
                });
                w.disk.live = Placement::Shows(1);
                w.see("[::1]", Sight::New, 1, true);
                w.see("127.0.0.1", Sight::New, 1, true);
            }),
            "issued installed reloaded observed",
        ),
    ];
    for (row, world, expected) in rows {
        assert_eq!(world.climb(), expected, "{row}");
    }
}

#[test]
fn what_is_owed_is_told_by_name() {
    let world = settled().with(|w| {
        w.see("[::1]", Sight::Old, 2, true);
        w.installed.hooks.clear();
    });
    let ladder = Ladder::of(world.spec.as_ref(), &world.record, &world.installed, &world.disk, now());
    assert_eq!(ladder.hooks_owed, [HookId::parse("nginx").unwrap()]);
    assert_eq!(ladder.endpoints_owed, [("https://[::1]:443".to_owned(), Sight::Old)]);
}

#[test]
fn a_served_leaf_is_ours_new_or_old_or_somebody_elses() {
    let mut record = settled().record;
    record.past = vec![Fingerprint([7; 32])];
    let target = record.current.clone().unwrap().leaf;
    let stranger = leaf(now() - Span::days(1), Span::days(90), 99);
    let asked = name("a.example");
    let look = |served: Leaf, asked: Option<&SubjectName>| judge(&served, asked, &record, &target, now());
    let rows = [
        ("the current one", look(target.clone(), Some(&asked)), Sight::New),
        ("the one before", look(record.previous.clone().unwrap().leaf, Some(&asked)), Sight::Old),
        ("one long past", look(leaf(now() - Span::days(200), Span::days(90), 7), Some(&asked)), Sight::Old),
        ("another valid one", look(stranger.clone(), Some(&asked)), Sight::OtherValid),
        ("another valid one, asked without a name", look(stranger.clone(), None), Sight::OtherValid),
        ("another one for another name", look(stranger.clone(), Some(&name("b.example"))), Sight::Wrong),
        (
            "another one that expired",
            look(leaf(now() - Span::days(91), Span::days(90), 99), Some(&asked)),
            Sight::Wrong,
        ),
        (
            "another one that is not valid yet",
            look(leaf(now() + Span::days(1), Span::days(90), 99), Some(&asked)),
            Sight::Wrong,
        ),
        (
            "a self-signed one",
            look(Leaf { self_signed: true, ..stranger.clone() }, Some(&asked)),
            Sight::Wrong,
        ),
        (
            "one for half of our names, asked without a name",
            {
                let mut target = target.clone();
                target.names.push(name("b.example"));
                judge(&stranger, None, &record, &target, now())
            },
            Sight::Wrong,
        ),
        (
            "a wildcard for the name",
            look(Leaf { names: vec![name("*.example.org")], ..stranger }, Some(&name("x.example.org"))),
            Sight::OtherValid,
        ),
    ];
    for (row, found, expected) in rows {
        assert_eq!(found, expected, "{row}");
    }
}

#[test]
fn looks_come_soon_while_owed_and_rarely_after() {
    let look = |sight, failures, reached, lifetime| {
        next_look(
            &LineageId::parse("a.example").unwrap(),
            &EndpointNote { failures, ..note(sight, 2, reached) },
            lifetime,
        )
    };
    let quarter = Span::days(90);
    for (row, found, expected) in [
        ("old, just now", look(Sight::Old, 1, true, quarter), Span::secs(10)),
        ("old, the second time", look(Sight::Old, 2, true, quarter), Span::secs(30)),
        ("old, the third time", look(Sight::Old, 3, true, quarter), Span::MINUTE),
        ("old, for ever", look(Sight::Old, u32::MAX, true, quarter), Span::minutes(5)),
        ("went silent", look(Sight::Unreachable, 9, true, quarter), Span::minutes(5)),
        ("never answered", look(Sight::Unreachable, 9, false, quarter), Span::minutes(30)),
        ("old, of a minute-long life", look(Sight::Old, 1, true, Span::MINUTE), Span::secs(1)),
    ] {
        assert_eq!(found, expected, "{row}");
    }
}

#[test]
fn looks_at_what_is_right_spread_over_half_an_hour_and_never_move() {
    let wait = |name: &str, lifetime| {
        next_look(&LineageId::parse(name).unwrap(), &note(Sight::New, 2, true), lifetime)
    };
    let waits: std::collections::BTreeSet<_> = (0..1000)
        .map(|number| wait(&format!("host-{number}.example"), Span::days(90)))
        .inspect(|wait| assert!(*wait > Span::minutes(330) && *wait <= Span::hours(6), "{wait}"))
        .collect();
    assert!(waits.len() > 600, "{} different waits of 1000", waits.len());
    assert_eq!(wait("a.example", Span::days(90)), wait("a.example", Span::days(90)));
    let hourly = wait("a.example", Span::HOUR);
    assert!(hourly > Span::minutes(13) && hourly <= Span::minutes(15), "{hourly}");
}

#[test]
fn hooks_are_tried_again_at_least_hourly_and_never_in_a_loop() {
    let waits: Vec<_> = (0..8).map(|n| next_hook_try(n, Span::days(90)).whole_secs()).collect();
    assert_eq!(waits, [30, 30, 120, 600, 1800, 3600, 3600, 3600]);
    assert_eq!(next_hook_try(u32::MAX, Span::days(90)), Span::HOUR);
    assert_eq!(next_hook_try(9, Span::HOUR), Span::secs(150), "scaled with an hour-long life");
    assert_eq!(next_hook_try(0, Span::secs(20)), Span::secs(1), "never less than a second");
}
