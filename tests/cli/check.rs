//! `check`: what the configuration comes to, and what this host lacks for it.

use std::os::unix::fs::PermissionsExt;

use crate::desk::{Desk, free_port, is_root};

#[test]
fn presets_are_shown_expanded_and_read_back_as_the_same() {
    let desk = Desk::with(
        "[certificate.\"a.example\"]\nservice = \"nginx\"\n[issuer.letsencrypt]\naccept-terms = true\n",
    );
    let first = desk
        .run(&["check", "--offline"])
        .ends(0)
        .says("reload = [\"systemctl\", \"reload\", \"nginx\"]")
        .says("observe = [\"https://a.example@127.0.0.1:443\"")
        .warns("0 errors, 0 warnings");
    desk.write("etc/nolapse.toml", &first.out);
    let second = desk.run(&["check", "--offline"]).ends(0);
    assert_eq!(first.out, second.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_host_has_no_findings() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}[certificate.\"a.example\"]\n", desk.around(&ca)));
    let told = desk.run(&["check"]).ends(0);
    assert!(!told.err.contains("error["), "{}", told.err);
    assert!(!desk.path("state").exists(), "check made something");
    assert_eq!(ca.accounts().len(), 0, "check made an account");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lack_of_a_host_is_its_own_finding() {
    let desk = Desk::new();
    let ca = desk.ca().terms_of_service().start().await.unwrap();
    let text = desk.around(&ca)
        + &format!("[solver.files]\nwebroot = \"{}\"\n", desk.show("no-www"))
        + "[hook.app]\nrun = [\"nolapse-no-such-program\"]\n"
        + "[hook.pid]\nsignal = { name = \"HUP\", pid-file = \"/no/such.pid\" }\n"
        + "[certificate.\"a.example\"]\nsolver = \"files\"\nhooks = [\"app\", \"pid\"]\nprofile = \"fast\"\n"
        + &format!("outputs = [{{ part = \"cert\", path = \"{}\" }}]\n", desk.show("no-dir/a.pem"));
    desk.configure(&text);
    let told = desk.run(&["check"]).ends(1);
    for code in [
        "hook-missing",
        "no-pid-file",
        "webroot-missing",
        "no-directory",
        "terms-not-accepted",
        "profile-missing",
    ] {
        assert!(told.err.contains(&format!("[{code}]")), "{code} is not in\n{}", told.err);
    }
    assert!(told.err.contains("  do "), "{}", told.err);
}

#[test]
fn a_dead_ca_is_a_warning_and_offline_does_not_ask_it() {
    let desk = Desk::new();
    let port = free_port();
    desk.configure(&format!(
        "[issuer.test]\ndirectory = \"http://127.0.0.1:{port}/dir\"\ninsecure-http = true\n\
         [solver.here]\nlisten = \"127.0.0.1:{}\"\n\
         [certificate.\"a.example\"]\nissuer = \"test\"\nsolver = \"here\"\n",
        desk.port
    ));
    desk.run(&["check"]).ends(0).warns("warning[ca-").warns("issuer test");
    let told = desk.run(&["check", "--offline"]).ends(0);
    assert!(!told.err.contains("issuer test"), "{}", told.err);
}

#[test]
fn what_only_root_can_read_or_write_is_told_before_the_night() {
    if !is_root() {
        println!("SKIPPED: rights of the service: only root can become another user");
        return;
    }
    let desk = Desk::with("[certificate.\"a.example\"]\n");
    std::fs::create_dir(desk.path("state")).unwrap();
    std::os::unix::fs::chown(desk.path("state"), Some(65_534), Some(65_534)).unwrap();
    std::fs::create_dir(desk.path("live")).unwrap();
    std::fs::set_permissions(desk.path("etc/nolapse.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    desk.run(&["check", "--live-dir", &desk.show("live")])
        .ends(1)
        .warns("error[configuration-closed]")
        .warns("error[not-writable]: nobody can't write the live directory")
        .warns("0755 root:root");
}
