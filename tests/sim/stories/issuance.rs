//! From nothing to a handshake.

use std::sync::Arc;

use nolapse::core::name::SubjectName;
use nolapse::core::spec::OnDeadName;
use nolapse::core::time::{Interval, Span};

use crate::node::{SHOP, shop};
use crate::script::Trouble;
use crate::world::{SETTLES_WITHIN, World};

#[tokio::test(start_paused = true)]
async fn the_first_certificate_is_observed_within_a_minute() {
    for lifetime in [Span::DAY, Span::hours(160), Span::days(45), Span::days(90)] {
        let mut world = World::new(1, lifetime);
        world.start().await;
        world.settle(Span::MINUTE).await;
        world.expect(world.orders().len() == 1, "one order");
        world.expect(world.node().reload.calls().len() == 1, "one reload");
    }
}

#[tokio::test(start_paused = true)]
async fn f01_on_a_full_disk_no_order_is_placed_and_all_is_well_when_there_is_space_again() {
    let mut world = World::new(2, Span::days(90));
    world.script.for_span(Span::days(3), Trouble::DiskFull);
    world.start().await;
    world.run_for(Span::days(3)).await;
    world.expect(world.orders().is_empty(), "no order is placed that could not be stored");
    world.settle(Span::minutes(40)).await;
    world.expect(world.orders().len() == 1, "one order");
}

#[tokio::test(start_paused = true)]
async fn f01_a_disk_that_fills_up_in_service_costs_no_order_and_no_certificate() {
    for (row, full_for, renewed_within) in [
        ("space is made while somebody looks", Span::minutes(6), Span::minutes(2)),
        ("space is made after a night", Span::hours(12), Span::minutes(6)),
    ] {
        let mut world = World::observed(3, Span::days(90)).await;
        let first = world.served();
        world.doze_to_renewal().await;
        world.run_for(Span::minutes(2)).await;
        world.script.for_span(full_for, Trouble::DiskFull);
        world.run_for(full_for).await;
        world.expect(world.orders().len() == 1, &format!("{row}: no order while the disk is full"));
        world.expect(world.served() == first, &format!("{row}: the old certificate is served"));
        world.until(row, renewed_within, |world| world.served() != first).await;
        world.settle(Span::minutes(5)).await;
        world.expect(world.orders().len() == 2, &format!("{row}: one order for the renewal"));
    }
}

/// A name of the entry dies for four lives of the certificate, and comes back.
#[tokio::test(start_paused = true)]
async fn f39_a_dead_name_is_left_out_at_last_resort_and_taken_in_when_it_is_back() {
    let mut world = World::new(16, Span::days(45));
    let mut spec = shop(&[SHOP, "www.shop.example.com"]);
    Arc::make_mut(&mut spec.terms).on_dead_name = OnDeadName::RenewWithout;
    world.node_mut().spec = Some(spec);
    world.start().await;
    world.settle(Span::minutes(5)).await;
    let first = world.served();
    let dead = SubjectName::parse("www.shop.example.com").unwrap();
    let back = first.not_after + Span::days(120);
    let gone = Interval::new(world.now() + Span::DAY, back);
    world.script.during(gone, Trouble::NameFails(dead.clone()));
    let last_resort = first.not_after - first.lifetime().over(20);
    world.run_until(last_resort).await;
    world.expect(world.served() == first, "while time is left nobody loses a name");
    world.until("the rest is renewed", Span::HOUR.times(2), |world| world.served() != first).await;
    let second = world.served();
    world.expect(!second.covers(&dead), "without the dead name");
    let orders = world.orders().len();
    // What lacks it already is renewed in its time, not at last resort.
    world.run_until(second.not_before + Span::days(33)).await;
    let third = world.served();
    world.expect(third != second && !third.covers(&dead), "renewed at two thirds, again without it");
    let tries = world.orders().len() - orders;
    world.expect(tries <= 40, &format!("the whole set is asked for about daily: {tries} orders in 33 days"));
    world.run_until(back + Span::hours(30)).await;
    world.expect(world.served().covers(&dead), "it is back in the certificate within about a day");
    world.settle(Span::hours(25)).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_fails_until_last_resort_does_not_let_the_old_names_lapse() {
    let mut world = World::observed(4, Span::days(45)).await;
    let first = world.served();
    let added = SubjectName::parse("new.shop.example.com").unwrap();
    let until = first.not_after + Span::days(2);
    world.script.during(Interval::new(world.now(), until), Trouble::NameFails(added.clone()));
    world.node_mut().spec = Some(shop(&[SHOP, "www.shop.example.com", "new.shop.example.com"]));
    world.enter().await;
    world.run_for(Span::DAY).await;
    world.doze_until(first.not_after - Span::days(3)).await;
    world.run_until(first.not_after - Span::HOUR).await;
    let served = world.served();
    world.expect(served.not_after > first.not_after, "the old set was renewed");
    world.expect(!served.covers(&added), "the old set is served");
    let survey = world.survey().unwrap();
    let trouble = survey.world.record.value.trouble.as_ref();
    world.expect(
        trouble.is_some_and(|trouble| trouble.failure.name.as_ref() == Some(&added)),
        "the failing name is blamed by name",
    );
    world.run_until(until).await;
    world.until("the new name", SETTLES_WITHIN, |world| world.served().covers(&added)).await;
    world.settle(SETTLES_WITHIN).await;
    world.expect(world.served().covers(&added), "the new name is served as soon as it can be proven");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_leaves_the_configuration_is_kept_and_not_renewed() {
    let mut world = World::observed(5, Span::days(45)).await;
    let first = world.served();
    let spec = world.node_mut().spec.take();
    world.enter().await;
    world.run_until(first.not_after + Span::days(2)).await;
    world.expect(world.orders().len() == 1, "it is not renewed");
    world.expect(world.node().server.pair().is_ok_and(|leaf| leaf == first), "its files are kept");
    world.expect(
        world.saw(|event| matches!(event, nolapse::core::event::Event::Retired { .. })),
        "it is reported as retired",
    );
    world.node_mut().spec = spec;
    world.enter().await;
    world.until("an order", Span::minutes(5), |world| world.orders().len() == 2).await;
    world.settle(Span::minutes(5)).await;
    world.expect(world.orders().len() == 2, "back in the configuration, it is renewed");
}
