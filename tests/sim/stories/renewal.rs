//! The second certificate, and all after it.

use nolapse::core::forecast::{Weather, forecast};
use nolapse::core::time::{Interval, Span};

use crate::script::Trouble;
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn ninety_days_are_renewed_once_at_two_thirds_with_one_order() {
    let mut world = World::observed(10, Span::days(90)).await;
    let first = world.served();
    world.run_until(first.not_before + Span::days(5)).await;
    world.doze_until(first.not_before + Span::days(57)).await;
    world.run_until(first.not_before + Span::days(58)).await;
    world.expect(world.served() == first, "nothing happens before its time");
    world.run_until(first.not_before + Span::days(61)).await;
    world.expect(world.served() != first, "it is renewed at two thirds of its life");
    world.doze_until(first.not_after).await;
    let orders = world.orders();
    world.expect(orders.len() == 2, "one order a renewal");
    world.expect(orders[1].1.replaces == first.ari_id, "the order says what it replaces");
    world.settle(Span::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn weeks_of_short_lifetimes_take_no_order_too_many() {
    for (days, lifetime) in [(4, Span::DAY), (10, Span::hours(160)), (62, Span::days(45))] {
        let mut world = World::observed(11, lifetime).await;
        world.run_for(Span::days(days)).await;
        world.settle(Span::minutes(5)).await;
        let used = if lifetime < Span::days(10) { lifetime.over(2) } else { lifetime.times(2).over(3) };
        let needed = Span::days(days).millis() / (used - lifetime.over(25)).millis() + 1;
        let orders = i64::try_from(world.orders().len()).unwrap();
        world.expect(
            orders <= needed,
            &format!("{orders} orders in {days} days of {lifetime}, {needed} needed"),
        );
        world.expect(orders >= Span::days(days).millis() / lifetime.millis(), "renewed all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn f47_when_renewal_information_says_now_it_is_renewed_within_an_hour() {
    let mut world = World::observed(12, Span::days(90)).await;
    let first = world.served();
    world.doze_until(first.not_before + Span::days(20)).await;
    world.script.next(1, Trouble::AriNow);
    world.until("a look", Span::hours(7), |world| world.ca.said_now().is_some()).await;
    world.until("renewal", Span::HOUR, |world| world.served() != first).await;
    world.run_for(Span::days(2)).await;
    world.expect(world.orders().len() == 2, "once");
    world.settle(Span::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn f46_absurd_renewal_information_changes_nothing() {
    let mut world = World::new(13, Span::days(90));
    world.script.for_span(Span::days(400), Trouble::AriAbsurd);
    world.start().await;
    world.settle(Span::MINUTE).await;
    let first = world.served();
    world.run_until(first.not_before + Span::days(3)).await;
    world.doze_until(first.not_before + Span::days(57)).await;
    world.expect(world.served() == first, "not early");
    world.run_until(first.not_before + Span::days(61)).await;
    world.expect(world.served() != first, "not late");
    world.expect(world.orders().len() == 2, "one order");
}

#[tokio::test(start_paused = true)]
async fn a_refused_replaces_is_asked_again_without() {
    let mut world = World::observed(14, Span::days(90)).await;
    let first = world.served();
    world.script.next(1, Trouble::ReplacesRefused);
    world.doze_to_renewal().await;
    world.run_for(Span::HOUR).await;
    world.expect(world.served() != first, "renewed");
    world.settle(Span::ZERO).await;
    let orders = world.orders();
    world.expect(orders.len() == 2, "one order");
    world.expect(orders[1].1.replaces.is_none(), "without replaces");
}

#[tokio::test(start_paused = true)]
async fn what_a_forecast_says_is_what_the_agent_then_does() {
    let lifetime = Span::hours(160);
    let mut world = World::observed(15, lifetime).await;
    let survey = world.survey().unwrap();
    let (spec, record) = (survey.spec().unwrap(), &survey.world.record.value);
    let from = world.now();
    let outage = Interval::new(from + Span::days(8), from + Span::days(10));
    let until = from + Span::days(21);
    let foreseen =
        forecast(spec, record, &Weather { span: Interval::new(from, until), outage: Some(outage) });
    world.script.during(outage, Trouble::CaDown);
    world.run_until(until).await;
    let came: Vec<_> = world.orders().iter().skip(1).map(|(_, order)| order.placed).collect();
    world.expect(
        came.len() == foreseen.renewals.len(),
        &format!("as many renewals as foreseen: {came:?} and {:?}", foreseen.renewals),
    );
    // The first point is drawn from the real fingerprint, later ones from made-up ones: each may
    // differ by the fiftieth of a life in which it lies, and that adds up.
    for (number, (came, said)) in (1..).zip(came.iter().zip(&foreseen.renewals)) {
        let apart = came.since(*said).max(said.since(*came));
        let allowed = lifetime.over(50).times(number - 1) + Span::minutes(31);
        world.expect(apart <= allowed, &format!("renewal {number}: {came} came, {said} was foreseen"));
    }
    world.expect(foreseen.lapses.is_empty(), "no lapse was foreseen, and the laws saw none");
    world.settle(Span::ZERO).await;
}
