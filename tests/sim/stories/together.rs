//! Several certificates of one account, behind one server.

use std::collections::BTreeSet;

use nolapse::core::event::Event;
use nolapse::core::time::Span;

use crate::plot::Harm;
use crate::script::Trouble;
use crate::site::Site;
use crate::world::World;

const LIFE: Span = Span::days(90);

/// Reloads so far: one may tell of many certificates.
fn reloads(world: &World) -> usize {
    world.node().reload.calls().iter().map(|call| call.at).collect::<BTreeSet<_>>().len()
}

fn served(world: &World, site: usize) -> Option<nolapse::core::leaf::Fingerprint> {
    world.node().server.serves_at(site).map(|leaf| leaf.fingerprint)
}

#[tokio::test(start_paused = true)]
async fn six_first_certificates_take_one_order_each_and_share_a_reload() {
    let mut world = World::of_sites(90, &[LIFE; 6]);
    world.start().await;
    world.settle(Span::minutes(5)).await;
    world.expect(world.orders().len() == 6, "one order each");
    world.expect(reloads(&world) <= 2, &format!("{} reloads", reloads(&world)));
}

#[tokio::test(start_paused = true)]
async fn all_that_were_revoked_are_replaced_one_ahead_of_the_others() {
    let mut world = World::of_sites(91, &[LIFE; 4]);
    world.start().await;
    world.settle(Span::minutes(5)).await;
    let before = reloads(&world);
    let first: Vec<_> = (0..4).map(|site| served(&world, site)).collect();
    world.run_for(Span::days(10)).await;
    world.ca.revoke_all();
    world.run_for(Span::hours(8)).await;
    world.settle(Span::minutes(30)).await;
    for (site, first) in first.into_iter().enumerate() {
        world.expect(served(&world, site) != first, &format!("site {site} serves another one"));
    }
    world.expect(world.orders().len() == 8, "one more order each");
    let reloads = reloads(&world) - before;
    world.expect(reloads <= 4, &format!("{reloads} reloads for 4 certificates"));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_fails_holds_up_no_other_certificate() {
    let mut world = World::of_sites(92, &[LIFE; 3]);
    world.start().await;
    world.settle(Span::minutes(5)).await;
    let first: Vec<_> = (0..3).map(|site| served(&world, site)).collect();
    world.script.for_span(Span::days(80), Trouble::NameFails(Site::name(1)));
    world.run_for(Span::days(63)).await;
    world.expect(served(&world, 0) != first[0] && served(&world, 2) != first[2], "the others are renewed");
    world.expect(served(&world, 1) == first[1], "this one can't be");
    world.run_for(Span::days(17)).await;
    world.settle(Span::hours(26)).await;
    world.expect(served(&world, 1) != first[1], "until its name answers again");
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_the_server_refuses_is_taken_back_and_the_others_are_renewed() {
    let mut world = World::of_sites(93, &[LIFE; 3]);
    world.start().await;
    world.settle(Span::minutes(5)).await;
    let first: Vec<_> = (0..3).map(|site| served(&world, site)).collect();
    world.doze_until(world.now() + Span::days(55)).await;
    world.script.for_span(Span::days(12), Trouble::PairRefused(Site::name(1)));
    world.run_for(Span::days(12)).await;
    world.expect(served(&world, 1) == first[1], "the old one is served where the new one is refused");
    world.expect(world.saw(|event| matches!(event, Event::RolledBack { .. })), "it was taken back");
    world.expect(served(&world, 0) != first[0] && served(&world, 2) != first[2], "the others are renewed");
    world.settle(Span::hours(26)).await;
    world.expect(served(&world, 1) != first[1], "and this one as soon as it is taken");
}

#[tokio::test(start_paused = true)]
async fn files_that_somebody_wrote_to_are_put_right_and_no_site_lapses() {
    for harm in [Harm::KeySwapped, Harm::ChainCut, Harm::Removed] {
        let mut world = World::of_sites(94, &[Span::DAY; 3]);
        world.start().await;
        world.settle(Span::minutes(5)).await;
        for _ in 0..6 {
            world.run_for(Span::hours(11)).await;
            world.node().damage(1, harm);
            world.expect(world.node().witness.laws[1].is_harmed(), &format!("{harm:?} is seen"));
        }
        world.run_for(Span::hours(8)).await;
        world.expect(!world.node().witness.laws[1].is_harmed(), &format!("{harm:?} is put right"));
        world.settle(Span::minutes(10)).await;
    }
}
