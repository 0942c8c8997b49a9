//! What is not as it should be with one lineage, and what is no fact at all.

use super::*;
use crate::core::ladder::Ladder;
use crate::core::order::PersistTerms;
use crate::core::persist::{PersistNote, PersistWrong};
use crate::core::plight::Plight;
use crate::core::record::{Pause, Refused};

fn plight(world: &World, due_at: Option<Timestamp>) -> Option<Plight> {
    let ladder = Ladder::of(world.spec.as_ref(), &world.record, &world.installed, &world.disk, world.now);
    let (spec, shown) = (world.spec.as_ref().unwrap(), world.record.current.as_ref());
    Plight::of(spec, &world.record, &world.installed, shown, &ladder, due_at, world.now)
}

/// Everything that is amiss, in words as short as can be.
fn amiss(found: Option<Plight>) -> String {
    let Some(found) = found else { return "nothing".into() };
    let mut words = Vec::new();
    let mut say = |so: bool, word: &str| so.then(|| words.push(word.to_owned()));
    say(found.life.is_none(), "no certificate");
    say(found.due_at.is_some(), "due");
    say(found.failing.is_some(), "failing");
    say(!found.missing.is_empty(), "names missing");
    say(found.install_owed, "install owed");
    say(!found.hooks.is_empty(), "hooks owed");
    say(!found.places.is_empty(), "served otherwise");
    say(found.paused_until.is_some(), "paused");
    say(found.rolled_back.is_some(), "rolled back");
    say(!found.persist.is_empty(), "a text");
    words.join(", ")
}

#[test]
fn each_fact_is_told_by_itself() {
    let settled = World::settled;
    let text = |name: &str, until: Option<Timestamp>, lost: bool| PersistNote {
        name: names(&[name]).remove(0),
        terms: PersistTerms { issuers: vec!["ca.example".into()], accounts: vec!["x".into()] },
        source: None,
        until,
        wrong: lost.then(|| PersistWrong {
            code: "persist-account".into(),
            words: "x".into(),
            since: day(1),
        }),
    };
    let watched = |note: PersistNote| settled().with(|w| w.record.persist = vec![note]);
    let paused =
        |until| settled().with(|w| w.record.pause = Some(Pause { until, reason: "move".into(), at: day(8) }));
    let refused = |generation| {
        settled().with(|w| {
            let (at, until, words) = (day(9), day(11), "no".to_owned());
            w.installed.refused = Some(Refused { generation, returned_to: 1, at, until, count: 1, words });
        })
    };
    let saw = |sight, reached| {
        settled().with(|w| {
            let note = w.installed.endpoints.get_mut(&endpoint()).unwrap();
            (note.sight, note.reached) = (sight, reached);
        })
    };
    let now = day(10);
    for (row, world, due_at, expected) in vec![
        ("all is well", settled(), None, "nothing"),
        ("due later", settled(), Some(now + Span::from_millis(1)), "nothing"),
        ("due at this instant", settled(), Some(now), "due"),
        ("the last try failed", settled().failed(Class::Transient, 1, day(9), day(9)), None, "failing"),
        (
            "a name was added",
            settled().with(|w| w.spec().names = names(&["a.example", "b.example"]).into()),
            None,
            "names missing",
        ),
        ("a file was damaged", settled().with(|w| w.disk.live = Placement::Missing), None, "install owed"),
        ("a hook was not told", settled().with(|w| w.installed.hooks.clear()), None, "hooks owed"),
        ("the earlier one is served", saw(Sight::Old, true), None, "served otherwise"),
        ("nobody answers any more", saw(Sight::Unreachable, true), None, "served otherwise"),
        ("nobody ever answered", saw(Sight::Unreachable, false), None, "nothing"),
        ("paused for another hour", paused(now + Span::HOUR), None, "paused"),
        ("the pause ends now", paused(now), None, "nothing"),
        ("the one before was refused", refused(1), None, "nothing"),
        ("a text without an end", watched(text("a.example", None, false)), None, "nothing"),
        ("a text that ends", watched(text("a.example", Some(day(99)), false)), None, "a text"),
        ("a text that was lost", watched(text("a.example", None, true)), None, "a text"),
        ("a lost text of a name that left", watched(text("b.example", None, true)), None, "nothing"),
        ("never issued", settled().with(|w| w.record.current = None), None, "no certificate"),
    ] {
        assert_eq!(amiss(plight(&world, due_at)), expected, "{row}");
    }
    let found = plight(&refused(2), None);
    assert_eq!(found.and_then(|found| found.rolled_back).as_deref(), Some("no"), "the newest was refused");
}
