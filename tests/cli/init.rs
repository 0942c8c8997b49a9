//! `init` writes a first configuration, once.

use std::os::unix::fs::PermissionsExt;

use crate::desk::Desk;

#[test]
fn terms_are_accepted_by_a_person() {
    let desk = Desk::new();
    desk.run(&["init"]).ends(2).warns("https://letsencrypt.org/repository/");
    assert!(!desk.path("etc").exists());
    desk.run(&["init", "--agree-tos", "--contact", "ops@example.com"])
        .ends(0)
        .says("accept-terms = true")
        .says("contact = [\"ops@example.com\"]");
    let mode = desk.path("etc/nolapse.toml").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    desk.run(&["check", "--offline"]).ends(0).warns("no certificate is configured");
}

#[test]
fn what_is_there_is_never_overwritten() {
    let desk = Desk::new();
    desk.write("etc/nolapse.toml", "# mine\n");
    desk.run(&["init", "--agree-tos"]).ends(1).warns("left as it is").says("[issuer.letsencrypt]");
    assert_eq!(desk.read("etc/nolapse.toml"), "# mine\n");
    desk.write(
        "etc/nolapse.toml",
        "[issuer.letsencrypt]\naccept-terms = true\n[certificate.\"a.example\"]\n",
    );
    desk.run(&["init", "--agree-tos"]).ends(0).warns("nothing to do");
}

#[test]
fn a_private_ca_becomes_the_default() {
    let desk = Desk::new();
    desk.run(&[
        "init",
        "--issuer",
        "home",
        "--directory",
        "https://ca.home.arpa/acme",
        "--ca-file",
        "/etc/ssl/home.pem",
    ])
    .ends(0);
    desk.run(&["add", "a.home.arpa", "--no-issue"]).ends(0);
    desk.run(&["check", "--offline"])
        .ends(0)
        .says("issuer = [\"home\"]")
        .says("ca-file = \"/etc/ssl/home.pem\"");
}

#[test]
fn nothing_is_written_for_bad_arguments() {
    let desk = Desk::new();
    for arguments in [
        &["--issuer", "home", "--directory", "http://ca.example/dir"][..],
        &["--issuer", "../x", "--directory", "https://ca.example/dir"],
        &["--issuer", "home"],
        &["--agree-tos", "--contact", "no address"],
    ] {
        let told = desk.run(&[&["init"], arguments].concat()).ends(2);
        assert!(told.err.contains("error["), "{arguments:?}: {}", told.err);
        assert!(!desk.path("etc").exists(), "{arguments:?}");
    }
    let told = desk.run(&["init", "--agree-tos", "--print"]).ends(0).says("accept-terms");
    assert!(told.err.is_empty() && !desk.path("etc").exists());
}
