//! Hosts that sleep, and clocks that are wrong.

use nolapse::core::time::Span;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn f24_three_weeks_of_sleep_over_the_renewal_point_end_in_a_renewal() {
    let mut world = World::observed(40, Span::days(90)).await;
    let first = world.served();
    world.doze_until(first.not_before + Span::days(49)).await;
    world.run_until(first.not_before + Span::days(50)).await;
    world.suspend(Span::days(21));
    world.until("renewal", Span::minutes(2), |world| world.served() != first).await;
    world.settle(Span::minutes(5)).await;
    world.expect(world.orders().len() == 2, "one order");
}

#[tokio::test(start_paused = true)]
async fn f25_a_clock_ten_years_off_costs_one_order_at_most_and_does_no_lasting_harm() {
    let years = Span::days(3650);
    for (row, by, stays) in [
        ("ahead for an hour", years, Span::HOUR),
        ("behind for an hour", Span::ZERO - years, Span::HOUR),
        ("ahead for ninety minutes", years, Span::minutes(90)),
        ("behind for ninety minutes", Span::ZERO - years, Span::minutes(90)),
    ] {
        let mut world = World::observed(41, Span::days(90)).await;
        world.run_for(Span::days(2)).await;
        world.set_clock(0, by);
        world.run_for(stays).await;
        world.expect(world.orders().len() <= 2, &format!("{row}: one order too many at most"));
        world.set_clock(0, Span::ZERO - by);
        world.run_for(Span::days(1)).await;
        world.settle(Span::ZERO).await;
        // The life after it is as if nothing had happened.
        let served = world.served();
        world.doze_to_renewal().await;
        world.run_for(Span::HOUR).await;
        world.expect(world.served() != served, &format!("{row}: renewed at its time"));
        world.settle(Span::ZERO).await;
        world.expect(world.orders().len() <= 3, &format!("{row}: no order too many later"));
    }
}

#[tokio::test(start_paused = true)]
async fn f25_a_host_that_boots_with_a_clock_ten_years_off_recovers_when_it_is_set() {
    for by in [Span::days(3650), Span::ZERO - Span::days(3650)] {
        let mut world = World::new(42, Span::days(90));
        world.set_clock(0, by);
        world.start().await;
        world.run_for(Span::hours(3)).await;
        world.expect(world.orders().len() <= 1, "one order at most while the clock is wrong");
        world.set_clock(0, Span::ZERO - by);
        world.settle(Span::hours(1)).await;
        world.expect(world.orders().len() <= 2, "and one more when it is right");
    }
}

/// A clock that is hours behind, as one that shows local time for UTC: what the CA issues is not valid yet by
/// it, and by everybody else's it is.
#[tokio::test(start_paused = true)]
async fn f25_a_clock_that_is_hours_behind_costs_one_order_and_delays_nothing() {
    for behind in [Span::HOUR, Span::hours(3), Span::hours(8), Span::hours(11)] {
        let mut world = World::new(43, Span::days(64));
        world.set_clock(0, Span::ZERO - behind);
        world.start().await;
        world.run_for(Span::HOUR).await;
        world.expect(
            world.node().server.serves().is_some(),
            &format!("{behind} behind: served within the hour"),
        );
        world.run_for(Span::days(3)).await;
        world.set_clock(0, behind);
        world.settle(Span::hours(1)).await;
        world.expect(world.orders().len() == 1, &format!("{behind} behind, and set: one order"));
    }
}
