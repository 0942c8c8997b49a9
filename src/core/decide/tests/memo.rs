//! What is remembered, and that nothing of which there is something to say ever is.

use super::*;
use crate::core::census::Standing;
use crate::core::ladder::Observed;
use crate::core::memo::{Look, Memo};
use crate::core::order::PersistTerms;
use crate::core::persist::PersistNote;
use crate::core::record::{Foreign, HeldBack, Pause, Pin, Refused};
use crate::core::tally::Tally;

/// Settled, and the endpoint was seen with the leaf.
fn quiet() -> World {
    World::settled().with(|w| {
        let leaf = w.current().leaf.clone();
        w.installed.endpoints.get_mut(&endpoint()).unwrap().leaf = Some(leaf);
    })
}

fn seen(world: World, bend: impl FnOnce(&mut EndpointNote)) -> World {
    world.with(|w| bend(w.installed.endpoints.get_mut(&endpoint()).unwrap()))
}

fn told(world: World, bend: impl FnOnce(&mut HookNote)) -> World {
    world.with(|w| bend(w.installed.hooks.get_mut(&hook("nginx")).unwrap()))
}

#[test]
fn only_what_is_all_well_is_remembered() {
    let output = |shows| (std::path::PathBuf::from("/etc/ssl/a.pem"), shows);
    let text = PersistNote {
        name: names(&["a.example"]).remove(0),
        terms: PersistTerms { issuers: vec!["ca.example".into()], accounts: vec!["x".into()] },
        source: None,
        until: None,
        wrong: None,
    };
    let long = day(900);
    let rows: Vec<(&str, World, bool)> = vec![
        ("all is well", quiet(), true),
        (
            "two outputs, both written",
            quiet().with(|w| w.disk.outputs = vec![output(Placement::Shows(2)); 2]),
            true,
        ),
        (
            "one of two outputs is another's",
            quiet().with(|w| w.disk.outputs = vec![output(Placement::Shows(2)), output(Placement::Shows(1))]),
            false,
        ),
        ("another generation is shown", quiet().with(|w| w.disk.live = Placement::Shows(1)), false),
        ("it left the configuration", quiet().with(|w| w.spec = None), false),
        ("it was never issued", quiet().with(|w| w.record.current = None), false),
        ("it is due", quiet().at(day(61)), false),
        ("the last try failed", quiet().failed(Class::Transient, 1, day(9), day(9)), false),
        ("an attempt is open", quiet().attempting(Phase::Ordered, |_| {}), false),
        ("a text is watched", quiet().with(|w| w.record.persist = vec![text]), false),
        (
            "it was paused once",
            quiet().with(|w| {
                w.record.pause = Some(Pause { until: day(9), reason: "move".into(), at: day(8) });
            }),
            false,
        ),
        (
            "it is pinned",
            quiet().with(|w| {
                w.record.pin = Some(Pin { generation: 2, reason: "works".into(), at: day(8) });
            }),
            false,
        ),
        (
            "an answer still stands",
            quiet().with(|w| {
                w.record.debts = vec![Debt { receipt: receipt(), failures: 1, next_at: long }];
            }),
            false,
        ),
        (
            "a generation was refused here",
            quiet().with(|w| {
                let (at, words) = (day(9), "no".to_owned());
                w.installed.refused =
                    Some(Refused { generation: 1, returned_to: 2, at, until: long, count: 1, words });
            }),
            false,
        ),
        (
            "it waits for another",
            quiet().with(|w| {
                let by = LineageId::parse("b.example").unwrap();
                w.installed.held_back = Some(HeldBack { generation: 2, by, at: day(9), until: day(9) });
            }),
            false,
        ),
        (
            "somebody else's pair was found",
            quiet().with(|w| {
                let leaf = w.current().leaf.clone();
                w.installed.foreign = Some(Foreign { leaf, path: "/etc/ssl/a.pem".into(), since: day(9) });
            }),
            false,
        ),
        (
            "from an issuer that the entry does not list",
            quiet().with(|w| w.current().issuer = Some(ca("x"))),
            false,
        ),
        ("from nobody knows whom", quiet().with(|w| w.current().issuer = None), true),
        ("the hook was told", told(quiet(), |_| {}), true),
        ("the hook was told more than it had to be", told(quiet(), |n| n.done = 3), true),
        ("the hook failed since", told(quiet(), |n| n.failures = 1), false),
        ("the hook said something", told(quiet(), |n| n.words = Some("old".into())), false),
        ("the hook is to be told again", told(quiet(), |n| n.next_at = Some(long)), false),
        ("the hook was never told", quiet().with(|w| w.installed.hooks.clear()), false),
        ("the endpoint was never looked at", quiet().with(|w| w.installed.endpoints.clear()), false),
        ("no certificate was read", seen(quiet(), |n| n.leaf = None), false),
        ("it was seen for an earlier one", seen(quiet(), |n| n.generation = 1), false),
        ("another valid one was seen", seen(quiet(), |n| n.sight = Sight::OtherValid), false),
        ("good enough is told from the note", seen(quiet(), |n| n.accepted = true), false),
        (
            "several looks are told from the note",
            seen(quiet(), |n| n.tally = Some(Tally { made: 8, off: 0, at: Vec::new() })),
            false,
        ),
    ];
    for (row, world, kept) in rows {
        assert_eq!(Memo::of(&world.situation()).is_some(), kept, "{row}");
    }
}

#[test]
fn what_is_remembered_is_shown_as_it_was_judged() {
    let world = seen(quiet(), |note| note.words = Some("private root".into()));
    let memo = Memo::of(&world.situation()).unwrap();
    let (leaf, spec) = (&world.record.current.as_ref().unwrap().leaf, world.spec.as_ref().unwrap());
    let note = &world.installed.endpoints[&endpoint()];
    assert_eq!(memo.looks, [Look { at: note.at, next_at: note.next_at, words: Some("private root".into()) }]);
    assert_eq!((memo.generation, memo.told_at.as_slice()), (2, &[Some(day(0))][..]));
    assert_eq!(memo.renews_at, renewal_point(&world.record).map(|point| point.at));
    assert!(memo.until > world.now && memo.until <= note.next_at, "{memo:?}");
    assert_eq!(memo.plan(world.now), world.plan());
    let row = memo.row(spec);
    assert_eq!((row.standing, row.issuer), (Standing::Observed, Some(ca("letsencrypt"))));
    assert_eq!((row.not_after, row.served_until), (Some(leaf.not_after), Some(leaf.not_after)));
    assert_eq!((memo.ladder().observed, memo.ladder().paid()), (Observed::Yes, true));

    let unseen = world.with(|w| w.spec().endpoints = List::default());
    let memo = Memo::of(&unseen.situation()).unwrap();
    let row = memo.row(unseen.spec.as_ref().unwrap());
    assert_eq!((row.standing, row.served_until), (Standing::Unverified, None), "nobody looks");
    assert_eq!((memo.ladder().observed, memo.ladder().paid()), (Observed::Unverified, true));
}
