//! Going back by hand, and trying hooks.

use test_ca::Ca;

use crate::desk::{Desk, orders};

/// Three generations of one certificate, told to a hook that writes down what it was told.
async fn after_three(desk: &Desk) -> (Ca, String) {
    let ca = desk.ca().start().await.unwrap();
    let log = desk.show("told");
    let hook = desk.write("hook", &format!("#!/bin/sh\necho \"$NOLAPSE_GENERATION\" >> {log}\n"));
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = desk.around(&ca)
        + &format!("[hook.app]\nrun = [\"{}\"]\n", hook.display())
        + "[certificate.\"a.example\"]\nhooks = [\"app\"]\n";
    desk.configure(&config);
    desk.run(&["renew"]).ends(0);
    desk.run(&["renew", "--force"]).ends(0);
    desk.run(&["renew", "--force"]).ends(0);
    (ca, config)
}

fn shown(desk: &Desk) -> String {
    std::fs::read_link(desk.path("state/live/a.example/.current")).unwrap().display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_until_it_is_unpinned_and_costs_no_order() {
    let desk = Desk::new();
    let (ca, _) = after_three(&desk).await;
    assert_eq!(shown(&desk), ".gen-3");
    desk.run(&["rollback", "a.example", "--reason", "clients\u{1b}[2J break"])
        .ends(0)
        .warns("pinned to generation 2")
        .warns("nolapse unpin a.example");
    assert_eq!((shown(&desk).as_str(), orders(&ca)), (".gen-2", 3));
    // Loudly: status warns, says why and what to do, and no control character gets through.
    let told = desk.run(&["status"]).ends(1).says("pinned to gen 2 by hand").says("break");
    assert!(told.out.contains("nolapse unpin a.example") && !told.out.contains('\u{1b}'), "{}", told.out);
    desk.run(&["explain", "a.example"]).says("pinned?");
    // It holds while passes come and go, and through a renewal, which is kept for later.
    desk.run(&["renew"]).ends(0);
    assert_eq!(shown(&desk), ".gen-2");
    desk.run(&["renew", "--force"]).ends(0).says("not shown: pinned to gen 2");
    assert_eq!((shown(&desk).as_str(), orders(&ca)), (".gen-2", 4));
    // One more step back, by number.
    desk.run(&["rollback", "a.example", "--to", "1"]).ends(0);
    assert_eq!(shown(&desk), ".gen-1");
    desk.run(&["unpin", "a.example"]).ends(0).warns("no longer pinned to generation 1");
    assert_eq!(shown(&desk), ".gen-4");
    desk.run(&["unpin", "a.example"]).ends(0).warns("was not pinned");
    desk.run(&["status"]).ends(0);
    assert_eq!(desk.read("told"), "1\n2\n3\n2\n1\n4\n", "the service hears of each way it goes");
    assert_eq!(orders(&ca), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_what_is_no_improvement_is_refused_and_changes_nothing() {
    let desk = Desk::new();
    let (_ca, config) = after_three(&desk).await;
    desk.run(&["rollback", "a.example", "--to", "9"]).ends(1).warns("kept are 3, 2, 1");
    desk.run(&["rollback", "a.example", "--to", "3"]).ends(1).warns("generation-current");
    desk.run(&["rollback", "b.example"]).ends(2).warns("a.example");
    // Somebody else is at work.
    let lock = std::fs::File::open(desk.path("state/locks/a.example")).unwrap();
    lock.lock().unwrap();
    desk.run(&["rollback", "a.example", "--wait", "0s"]).ends(4).warns("nothing was changed");
    lock.unlock().unwrap();
    // Its bytes are gone.
    std::fs::remove_file(desk.path("state/generations/a.example/2")).unwrap();
    desk.run(&["rollback", "a.example"]).ends(1).warns("generation-lost");
    assert_eq!(shown(&desk), ".gen-3");
    desk.configure(&(config + "[certificate.\"new.example\"]\n"));
    desk.run(&["rollback", "new.example"]).ends(1).warns("nothing-to-return-to");
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_tried_as_they_would_run_and_nothing_is_noted() {
    let desk = Desk::new();
    let (_ca, config) = after_three(&desk).await;
    desk.run(&["test-hook", "a.example"]).ends(0).says("app  called in");
    assert_eq!(desk.read("told"), "1\n2\n3\n3\n");
    desk.run(&["test-hook", "a.example", "--hook", "other"]).ends(5).warns("it has app");
    // A check that says no keeps the call back.
    desk.configure(&config.replace("[hook.app]\n", "[hook.app]\ncheck = [\"false\"]\n"));
    desk.run(&["test-hook", "a.example"]).ends(1).says("check FAILED, so it is not called");
    assert_eq!(desk.read("told"), "1\n2\n3\n3\n");
    desk.run(&["status"]).ends(0);
    // Nothing to try on.
    desk.configure(&(config + "[certificate.\"new.example\"]\nhooks = [\"app\"]\n"));
    desk.run(&["test-hook", "new.example"]).ends(1).warns("not-installed");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_going_back_starts_from_what_is_shown() {
    let desk = Desk::new();
    let (_ca, config) = after_three(&desk).await;
    let current = desk.show("state/live/a.example/.current");
    let program = format!("#!/bin/sh\n[ \"$(readlink {current})\" != .gen-4 ]\n");
    let check = desk.write("check", &program);
    std::fs::set_permissions(&check, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    desk.configure(
        &config.replace("[hook.app]\n", &format!("[hook.app]\ncheck = [\"{}\"]\n", check.display())),
    );
    desk.run(&["renew", "--force"]).ends(3).says("REFUSED by its service");
    assert_eq!(shown(&desk), ".gen-3", "the service refused the fourth");
    desk.run(&["rollback", "a.example"]).ends(0).warns("pinned to generation 2");
    assert_eq!(shown(&desk), ".gen-2");
}
