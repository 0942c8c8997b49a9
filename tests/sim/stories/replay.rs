//! A seed is a life: the same one again, event for event.

use nolapse::core::time::Span;

use crate::script::Trouble;
use crate::world::World;

async fn life(seed: u64) -> String {
    let mut world = World::new(seed, Span::days(45));
    world.script.next(2, Trouble::HookFails);
    world.script.for_span(Span::minutes(20), Trouble::CaErrors);
    world.start().await;
    world.run_for(Span::days(1)).await;
    world.doze_until(world.now() + Span::days(26)).await;
    world.run_for(Span::days(3)).await;
    world.power_cut(0, seed).await;
    world.run_for(Span::days(1)).await;
    world.settle(Span::HOUR).await;
    world.node_mut().stop().await;
    world.journal.tail()
}

#[tokio::test(start_paused = true)]
async fn a_seed_replays_event_for_event() {
    assert_eq!(life(60).await, life(60).await);
    assert_ne!(life(60).await, life(61).await, "the seed changes nothing");
}
