//! A CA that is away, slow, or wrong.

use nolapse::core::event::Event;
use nolapse::core::time::{Interval, Span};

use crate::script::Trouble;
use crate::world::{SETTLES_WITHIN, World};

#[tokio::test(start_paused = true)]
async fn f48_after_nine_days_without_a_ca_it_is_renewed_within_half_an_hour() {
    for (seed, trouble) in [(20, Trouble::CaDown), (21, Trouble::CaErrors)] {
        let mut world = World::observed(seed, Span::days(90)).await;
        let first = world.served();
        world.doze_to_renewal().await;
        let from = world.now();
        world.script.for_span(Span::days(9), trouble);
        world.run_for(Span::hours(12)).await;
        world.doze_until(from + Span::days(8)).await;
        world.run_until(from + Span::days(9)).await;
        world.expect(world.served() == first, "there was no way to renew");
        world.until("renewal", Span::minutes(31), |world| world.served() != first).await;
        world.settle(Span::minutes(5)).await;
        world.expect(world.orders().len() == 2, "one order");
    }
}

#[tokio::test(start_paused = true)]
async fn f45_a_retry_after_is_obeyed_to_the_second_even_at_last_resort() {
    let mut world = World::observed(22, Span::days(45)).await;
    let first = world.served();
    // Down until the last twentieth of life, then limited for most of what is left.
    let last_resort = first.not_after - Span::days(45).over(20);
    world.script.during(Interval::new(first.not_before + Span::days(25), last_resort), Trouble::CaDown);
    world.doze_until(last_resort - Span::DAY).await;
    world.run_until(last_resort).await;
    world.script.next(1, Trouble::RateLimit(Span::hours(30)));
    world.until("429", Span::HOUR, |world| {
        world.saw(|event| matches!(event, Event::AttemptFailed { failure, .. } if failure.code == "rate-limited"))
    })
    .await;
    let limited = world.now();
    world.until("order", Span::hours(31), |world| world.orders().len() == 2).await;
    let placed = world.orders()[1].1.placed;
    let waited = placed.since(limited);
    world.expect(
        waited >= Span::hours(30) - Span::secs(1) && waited <= Span::hours(30) + Span::secs(5),
        &format!("the order came after {waited}, neither before nor long after the CA's time"),
    );
    world.settle(Span::minutes(5)).await;
}

#[tokio::test(start_paused = true)]
async fn f43_an_order_that_is_processing_for_ever_is_given_up_and_replaced() {
    let mut world = World::observed(23, Span::days(90)).await;
    let first = world.served();
    world.doze_to_renewal().await;
    world.script.for_span(Span::days(2), Trouble::Processing);
    world.run_for(Span::days(2)).await;
    world.expect(world.served() == first, "nothing was issued");
    world.expect(world.orders().len() <= 10, "one order each six hours");
    world.settle(SETTLES_WITHIN).await;
    world.expect(world.served() != first, "renewed");
}

#[tokio::test(start_paused = true)]
async fn f26_a_certificate_for_another_key_is_never_shown_and_soon_replaced() {
    let mut world = World::observed(24, Span::days(90)).await;
    let first = world.served();
    world.script.next(1, Trouble::WrongLeaf);
    world.doze_to_renewal().await;
    world.run_for(Span::HOUR).await;
    world.settle(Span::ZERO).await;
    world.expect(world.served() != first, "renewed");
    world.expect(world.orders().len() == 3, "one order for the wrong one, one for the right one");
    let orders = world.orders();
    let apart = orders[2].1.placed.since(orders[1].1.placed);
    world.expect(apart < Span::minutes(15), &format!("the second order came after {apart}"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_costs_one_orphan_at_most() {
    let mut world = World::new(25, Span::days(90));
    world.start().await;
    world.settle(Span::MINUTE).await;
    let points = world.node().points.passed();
    drop(world);
    // The answers of one request after another are lost.
    for lost in 0..points / 2 {
        let mut world = World::new(25, Span::days(90));
        world.script.skip_then(u32::try_from(lost).unwrap(), Trouble::ReplyLost);
        world.start().await;
        world.settle(Span::hours(2)).await;
        world.expect(world.orders().len() <= 2, &format!("answer {lost} lost: at most one orphan"));
    }
}

#[tokio::test(start_paused = true)]
async fn f29_after_two_years_of_failing_the_first_good_hour_is_used() {
    let mut world = World::observed(26, Span::days(45)).await;
    let first = world.served();
    let end = first.not_before + Span::days(730);
    let sample = Span::hours(4);
    world.script.during(Interval::new(first.not_before + Span::days(20), end), Trouble::CaErrors);
    // Most of it asleep: what is tried in some weeks of it, at both ends, is enough to see.
    world.doze_until(first.not_before + Span::days(25)).await;
    world.run_for(sample).await;
    world.doze_until(end - sample).await;
    world.run_until(end).await;
    world.until("renewal", Span::minutes(31), |world| world.served() != first).await;
    world.settle(Span::minutes(5)).await;
    world.expect(world.orders().len() == 2, "one order");
}

#[tokio::test(start_paused = true)]
async fn f30_a_certificate_that_ended_months_ago_does_not_have_its_ca_asked_every_minute() {
    let mut world = World::observed(27, Span::days(45)).await;
    let first = world.served();
    let end = first.not_after + Span::days(90);
    world.script.during(Interval::new(first.not_before + Span::days(20), end), Trouble::CaErrors);
    world.doze_until(end - Span::days(2)).await;
    world.run_for(Span::DAY).await;
    let (asked, _) = world.ca.asked_today(0);
    world.expect(
        (24..=49).contains(&asked),
        &format!("{asked} requests for an order in a day: as often as free looks say that all is well"),
    );
}

/// The longest outage that the scoreboard asks for (S02): from the first try on, then one good hour,
/// then none again for as long.
#[tokio::test(start_paused = true)]
async fn s02_one_good_hour_after_weeks_without_a_ca_is_enough() {
    for (seed, lifetime, outage) in [
        (28, Span::days(90), Span::days(28)),
        (29, Span::days(45), Span::days(14)),
        (30, Span::hours(160), Span::hours(76)),
    ] {
        let mut world = World::observed(seed, lifetime).await;
        let first = world.served();
        world.doze_to_renewal().await;
        let from = world.now();
        let good = Interval::new(from + outage, from + outage + Span::HOUR);
        world.script.during(Interval::new(from, good.start), Trouble::CaDown);
        world.script.during(Interval::new(good.end, good.end + outage), Trouble::CaDown);
        world.run_until(good.start).await;
        world.expect(world.served() == first, "there was no way to renew");
        world.expect(first.not_after > good.start, "it has not ended yet");
        world.run_until(good.end).await;
        world.expect(
            world.served() != first,
            &format!("renewed in the good hour after {outage} of {lifetime}"),
        );
        world.expect(world.orders().len() == 2, "one order");
        world.settle(outage + SETTLES_WITHIN).await;
    }
}
