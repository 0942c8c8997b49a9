//! From nothing to a handshake.

use nolapse::core::time::Span;

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn the_first_certificate_is_observed_within_a_minute() {
    let mut world = World::new(1, Span::days(90));
    world.start().await;
    world.settle(Span::MINUTE).await;
    world.expect(world.orders().len() == 1, "one order");
    world.expect(world.node.reload.calls().len() == 1, "one reload");
}
