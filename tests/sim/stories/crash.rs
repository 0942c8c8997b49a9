//! Dying at each point of an issuance, and of a renewal, and going on from there.

use nolapse::core::event::Event;
use nolapse::core::time::Span;
use nolapse::sys::disk::{Fault, Trouble as DiskTrouble};

use crate::script::Trouble;
use crate::world::World;

const LIFE: Span = Span::days(90);

#[tokio::test(start_paused = true)]
async fn f02_killed_at_any_call_an_issuance_goes_on_with_the_same_order() {
    let mut world = World::new(50, LIFE);
    world.start().await;
    world.settle(Span::MINUTE).await;
    let points = world.node().points.passed();
    drop(world);
    let mut orphans = 0;
    for point in 0..points {
        let mut world = World::new(50, LIFE);
        world.node().points.die_at(point);
        world.start().await;
        world.settle(Span::minutes(10)).await;
        orphans += orphaned(&world, &format!("killed at call {point}"));
    }
    assert!(orphans <= 1, "only between the CA's order and the saving of its URL can one be lost");
}

#[tokio::test(start_paused = true)]
async fn f04_power_cut_at_any_step_of_the_disk_an_issuance_goes_on_with_the_same_order() {
    let mut world = World::new(51, LIFE);
    world.start().await;
    world.settle(Span::MINUTE).await;
    let steps = world.node().model.steps();
    drop(world);
    let mut orphans = 0;
    for step in 0..steps {
        let mut world = World::new(step + 2, LIFE);
        cut_at(&world, step);
        world.start().await;
        world.settle(Span::minutes(10)).await;
        orphans += orphaned(&world, &format!("power cut at step {step}"));
    }
    // The record with the order's URL takes some steps to become durable.
    assert!(orphans <= 12, "{orphans} orphans");
}

#[tokio::test(start_paused = true)]
async fn f04_power_cut_at_any_step_of_a_renewal_readers_see_one_generation() {
    let mut world = World::observed(52, LIFE).await;
    world.doze_to_renewal().await;
    let before = world.node().model.steps();
    world.run_for(Span::minutes(10)).await;
    let steps = world.node().model.steps() - before;
    drop(world);
    // Every third, as the plans are the same each time.
    for step in (0..steps).step_by(3) {
        let mut world = World::observed(52, LIFE).await;
        world.doze_to_renewal().await;
        world.seed = step;
        cut_at(&world, step);
        world.run_for(Span::minutes(10)).await;
        world.settle(Span::minutes(10)).await;
        world.expect(world.orders().len() <= 3, "one order, and one orphan at most");
    }
}

fn cut_at(world: &World, step: u64) {
    let skip = u32::try_from(step).unwrap();
    world.node().model.inject(Fault { trouble: DiskTrouble::PowerCut, step: None, skip, lasting: false });
}

/// Orders lost in the crash: at most one, and all others were finished.
fn orphaned(world: &World, row: &str) -> u64 {
    let orders = world.orders();
    let finished = orders.iter().filter(|(_, order)| order.downloads > 0).count();
    world.expect(finished == 1, &format!("{row}: one order is finished"));
    world.expect(orders.len() <= 2, &format!("{row}: {} orders", orders.len()));
    orders.len() as u64 - 1
}

#[tokio::test(start_paused = true)]
async fn f06_a_disk_that_fills_up_in_the_middle_of_an_issuance_costs_one_order_and_not_one_a_minute() {
    // The order is on its way in the first fifth of a second.
    for begins in (0..200).step_by(8) {
        let mut world = World::new(53, LIFE);
        world.start().await;
        world.run_for(Span::from_millis(begins)).await;
        world.script.for_span(Span::HOUR, Trouble::DiskFull);
        world.run_for(Span::HOUR).await;
        let orders = world.orders().len();
        world.expect(orders <= 1, &format!("full after {begins} ms: {orders} orders"));
        world.settle(Span::HOUR).await;
        world.expect(world.orders().len() <= 2, "one order, and one orphan at most");
    }
}

#[tokio::test(start_paused = true)]
async fn f12_a_disk_that_is_full_for_days_has_the_ca_asked_no_more_often_than_a_good_one() {
    let mut world = World::new(54, LIFE);
    // With endpoints, the look at them is what fails first each time.
    world.node_mut().spec.iter_mut().for_each(|spec| spec.endpoints = Vec::new().into());
    world.start().await;
    world.run_for(Span::days(2)).await;
    world.script.for_span(Span::days(2), Trouble::DiskFull);
    world.run_for(Span::days(2)).await;
    let (orders, questions) = world.ca.asked_today(0);
    world.expect(
        orders == 0 && questions <= 50,
        &format!("{orders} orders and {questions} questions in a day"),
    );
}

#[tokio::test(start_paused = true)]
async fn f12_what_cannot_be_noted_is_not_done_again_each_minute() {
    let mut world = World::observed(55, LIFE).await;
    world.run_for(Span::hours(5)).await;
    world.script.for_span(Span::days(2), Trouble::DiskReadOnly);
    let looked = |world: &World| world.count(|event| matches!(event, Event::Observed { .. }));
    let before = looked(&world);
    world.run_for(Span::days(2)).await;
    let looks = looked(&world) - before;
    world.expect((1..=4).contains(&looks), &format!("{looks} looks at an endpoint in two days"));
    world.settle(Span::minutes(6)).await;
}
