//! Several agents for one lineage.

use nolapse::core::time::Span;

use crate::world::{Cast, World};

#[tokio::test(start_paused = true)]
async fn f09_a_host_that_wakes_after_its_claim_ran_out_leaves_no_order_and_no_answer_behind() {
    let mut taken_over = 0;
    // An order is on its way for a tenth of a second.
    for (round, begins) in (0..1200).step_by(15).enumerate() {
        let cast = Cast {
            seed: 80,
            lifetimes: vec![Span::days(90)],
            nodes: 2,
            agents: 1,
            shared: true,
            bug: None,
            keeps: true,
        };
        let mut world = World::with(cast);
        world.start().await;
        world.run_for(Span::from_millis(begins)).await;
        world.freeze(round % 2, Span::minutes(15));
        world.run_for(Span::minutes(17)).await;
        world.settle(Span::minutes(40)).await;
        let orders = world.orders();
        let left = orders.iter().filter(|(_, order)| order.downloads == 0 && !order.abandoned).count();
        world.expect(left == 0, &format!("asleep after {begins} ms: {left} orders are left open"));
        world.expect(orders.len() <= 2, &format!("asleep after {begins} ms: {} orders", orders.len()));
        taken_over += usize::from(orders.len() == 2);
    }
    assert!(taken_over > 0, "no race was ever lost: the story shows nothing");
}

#[tokio::test(start_paused = true)]
async fn f09_two_agents_on_one_host_and_three_hosts_on_one_store_take_one_order_a_renewal() {
    for (row, nodes, agents, shared) in
        [("two agents on one host", 1, 2, false), ("three hosts on one store", 3, 1, true)]
    {
        let cast =
            Cast { seed: 81, lifetimes: vec![Span::days(45)], nodes, agents, shared, bug: None, keeps: true };
        let mut world = World::with(cast);
        world.start().await;
        world.settle(Span::minutes(5)).await;
        world.expect(world.orders().len() == 1, &format!("{row}: one order"));
        world.doze_to_renewal().await;
        world.run_for(Span::HOUR).await;
        world.settle(Span::minutes(5)).await;
        world.expect(world.orders().len() == 2, &format!("{row}: one more for the renewal"));
    }
}
