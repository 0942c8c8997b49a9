//! Root becomes the owner of the state before it writes any.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::desk::{Desk, is_root};

const NOBODY: u32 = 65_534;

fn given_to_nobody(path: &Path) {
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_renews_belongs_to_the_owner_of_the_state() {
    if !is_root() {
        println!("SKIPPED: becoming another user: this is not root");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    // What the hook may do is what its user may do, and no more rights are left to it.
    let hook = format!(
        "[hook.who]\nrun = [\"/bin/sh\", \"-c\", \"grep -E '^(Uid|Groups|CapEff)' /proc/self/status > {}\"]\n",
        desk.show("run/who")
    );
    desk.configure(&format!("{}{hook}[certificate.\"a.example\"]\nhooks = [\"who\"]\n", desk.around(&ca)));
    std::fs::create_dir(desk.path("state")).unwrap();
    for dir in ["state", "run"] {
        given_to_nobody(&desk.path(dir));
    }
    desk.run(&["renew"]).ends(0).says("renewed until");
    desk.run(&["once"]).ends(0);
    desk.run(&["pause", "a.example", "--until", "1h", "--reason", "test"]).ends(0);
    desk.run(&["pause", "a.example", "--until", "0s", "--reason", "test"]).ends(0);
    desk.run(&["deploy"]).ends(0);
    desk.run(&["renew", "--force", "a.example"]).ends(0);
    let files: Vec<_> = desk.files("state").into_iter().chain(desk.files("run")).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        assert_eq!(file.symlink_metadata().unwrap().uid(), NOBODY, "{}", file.display());
    }
    let who = desk.read("run/who");
    assert!(who.contains("Uid:\t65534\t65534\t65534\t65534"), "{who}");
    assert!(who.contains("CapEff:\t0000000000000000"), "{who}");
    let groups = who.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert!(!groups.split_whitespace().any(|group| group == "0"), "root's groups were kept: {who}");
    // The daemon's own user can go on from here.
    desk.run_as(NOBODY, &["renew"]).ends(0).says("kept until");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_is_shown_a_state_that_belongs_to_the_agent() {
    if !is_root() {
        println!("SKIPPED: reading another user's state: this is not root");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}[certificate.\"a.example\"]\n", desk.around(&ca)));
    // A directory of its own, and one inside a volume that a group may write.
    for (mode, inner) in [(0o711, ""), (0o2775, "/nolapse")] {
        let state = desk.path("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::set_permissions(&state, PermissionsExt::from_mode(mode)).unwrap();
        for dir in ["state", "run"] {
            given_to_nobody(&desk.path(dir));
        }
        desk.run(&["renew"]).ends(0);
        assert!(desk.path(&format!("state{inner}/lineages/a.example")).exists(), "{mode:o}");
        desk.run(&["pause", "a.example", "--until", "1h", "--reason", "moving house"]).ends(0);
        // What was published before, or not at all, is no excuse.
        std::fs::remove_file(desk.path("run/status.json")).unwrap();
        desk.run(&["status"]).ends(1).says("moving house");
        desk.run(&["explain", "a.example"]).ends(0).says("gen 1");
        desk.run(&["forecast"]).ends(0);
        desk.run(&["alert", "list"]).ends(0);
        // Whoever is neither is told who may.
        desk.run_as(12_345, &["explain", "a.example"]).ends(1).warns("run it as root");
        for file in desk.files("state") {
            assert_eq!(file.symlink_metadata().unwrap().uid(), NOBODY, "{}", file.display());
        }
        std::fs::remove_dir_all(&state).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn root_stays_root_where_the_state_is_its_own() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}[certificate.\"a.example\"]\n", desk.around(&ca)));
    std::fs::create_dir(desk.path("state")).unwrap();
    desk.run(&["renew"]).ends(0);
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(desk.path("state/version").metadata().unwrap().uid(), me);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_directory_can_be_reached_and_the_rest_can_not() {
    if !is_root() {
        println!("SKIPPED: reading as another user: this is not root");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}[certificate.\"a.example\"]\n", desk.around(&ca)));
    desk.run(&["renew"]).ends(0);
    let reads = |path: &str| {
        let mut cat = std::process::Command::new("cat");
        cat.uid(NOBODY).gid(NOBODY).arg(desk.path(path)).output().unwrap().status.success()
    };
    assert!(reads("state/live/a.example/fullchain.pem"));
    assert!(!reads("state/live/a.example/privkey.pem"));
    assert!(!reads("state/lineages/a.example") && !reads("state/version"));
}
