//! From a certificate on disk to one that is served.

use nolapse::core::decide::Request;
use nolapse::core::event::Event;
use nolapse::core::record::Sight;
use nolapse::core::time::Span;

use crate::script::Trouble;
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn f15_a_hook_that_fails_three_times_is_tried_again_without_a_new_order() {
    let mut world = World::new(30, Span::days(90));
    world.script.next(3, Trouble::HookFails);
    world.start().await;
    world.settle(Span::minutes(30)).await;
    let calls = world.node().reload.calls();
    world.expect(
        calls.iter().map(|call| call.well).eq([false, false, false, true]),
        "three failures, then not",
    );
    let apart = calls[2].at.since(calls[1].at);
    world.expect(apart >= Span::MINUTE, "the tries back off");
    world.expect(world.orders().len() == 1, "one order");
}

#[tokio::test(start_paused = true)]
async fn f19_a_hook_that_hangs_holds_nothing_up_but_itself() {
    let mut world = World::new(31, Span::days(90));
    world.script.next(2, Trouble::HookHangs);
    world.start().await;
    world.settle(Span::minutes(30)).await;
    world.expect(world.orders().len() == 1, "one order");
}

#[tokio::test(start_paused = true)]
async fn f16_a_reload_that_lies_is_owed_until_the_new_certificate_is_served() {
    let mut world = World::observed(32, Span::days(90)).await;
    let first = world.served();
    world.doze_to_renewal().await;
    let from = world.now();
    world.script.for_span(Span::hours(8), Trouble::ReloadLies);
    world.run_until(from + Span::hours(8)).await;
    world.expect(world.served() == first, "the server kept the old one");
    let survey = world.survey().unwrap();
    world.expect(survey.ladder.installed, "the new one is installed");
    world.expect(
        survey.ladder.endpoints_owed.iter().any(|(_, sight)| *sight == Sight::Old),
        "the endpoint is told apart as old, and owed",
    );
    // Somebody restarts the server.
    world.node().server.reload().unwrap();
    world.settle(Span::minutes(6)).await;
    world.expect(world.orders().len() == 2, "no new order for it");
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_the_server_refuses_is_rolled_back_and_not_reinstalled_before_its_time() {
    let mut world = World::observed(33, Span::days(90)).await;
    let first = world.served();
    world.doze_to_renewal().await;
    let from = world.now();
    world.script.for_span(Span::days(8), Trouble::CheckRefusesNew);
    world
        .until("rollback", Span::minutes(10), |world| {
            world.saw(|event| matches!(event, Event::RolledBack { from: 2, to: 1, .. }))
        })
        .await;
    world
        .until("the old pair", Span::MINUTE, |world| {
            world.node().server.pair().is_ok_and(|leaf| leaf == first)
        })
        .await;
    let survey = world.survey().unwrap();
    let refused = survey.world.installed.value.refused.clone().unwrap();
    world.run_until(refused.until - Span::secs(1)).await;
    world.expect(world.node().server.pair().is_ok_and(|leaf| leaf == first), "the old pair stays until then");
    world.expect(world.served() == first, "and is served");
    world.run_until(from + Span::days(8)).await;
    let rollbacks = world.count(|event| matches!(event, Event::RolledBack { .. }));
    world.expect((2..=20).contains(&rollbacks), &format!("{rollbacks} tries, ever more rarely"));
    world.settle(Span::days(2)).await;
    world.expect(world.served() != first, "the new pair is served once the server takes it");
    world.expect(world.orders().len() == 2, "no new order for it");
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_went_back_to_is_served_until_it_nears_its_end() {
    let mut world = World::observed(36, Span::days(90)).await;
    let first = world.served();
    world.doze_to_renewal().await;
    world.run_for(Span::hours(1)).await;
    let second = world.served();
    world.expect(second != first, "renewed");
    let agent = world.node().agent().unwrap();
    let id = world.node().witness.laws[0].shelves.id.clone();
    let pinned = agent.pin(&id, None, "clients break").await.unwrap();
    world.expect(pinned.number == 1, "the generation before");
    let request = Request { upkeep_only: true, hurry: true, ..Request::default() };
    agent.tick(&id, request, Span::MINUTE).await;
    world.expect(world.served() == first, "the operator's pass shows the old one");
    world.run_for(Span::days(2)).await;
    world.expect(world.served() == first, "and every other leaves it there");
    let end = first.not_after - first.lifetime().over(20);
    world.doze_until(end - Span::minutes(5)).await;
    world.expect(world.served() == first, "as long as it may be");
    world.settle(Span::minutes(20)).await;
    world.expect(world.served() == second, "the current one is back before the old one ends");
    world.expect(world.saw(|event| matches!(event, Event::Unpinned { .. })), "and that is told");
    world.expect(world.orders().len() == 2, "without an order");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_never_rolls_anything_back() {
    let mut world = World::observed(34, Span::days(90)).await;
    world.doze_to_renewal().await;
    let from = world.now();
    world.script.for_span(Span::hours(8), Trouble::ServerDown);
    world.run_until(from + Span::hours(8)).await;
    world.expect(!world.saw(|event| matches!(event, Event::RolledBack { .. })), "nothing is rolled back");
    world.settle(Span::minutes(6)).await;
    world.expect(world.orders().len() == 2, "one order");
}

#[tokio::test(start_paused = true)]
async fn f41_answers_that_could_not_be_removed_are_removed_later() {
    let mut world = World::new(35, Span::days(90));
    world.script.for_span(Span::hours(5), Trouble::CleanUpFails);
    world.start().await;
    world.run_for(Span::hours(4)).await;
    world.expect(!world.board.is_empty(), "the answers still stand");
    world.expect(world.node().reload.succeeded(&world.sites[0].id, 1) == 1, "and held nothing up");
    world.settle(Span::hours(2)).await;
}
