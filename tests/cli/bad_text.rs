//! Bad input that lint alone finds: each row exits 5 with clear words, and touches nothing.

use std::os::unix::fs::PermissionsExt;

use crate::desk::{Desk, is_root};

#[test]
fn what_is_wrong_in_a_text_is_told_with_its_place() {
    let long = "a".repeat(300);
    for (text, words) in [
        ("[certificate.\"a.example\"]\nnams = [\"a.example\"]", "did you mean `names`"),
        ("[certificate.\"a.example\"]\nreuse-key = \"yes\"", "true or false"),
        ("[certificate.\"a.example\"]\n[certificate.\"A.example\"]", "configured twice"),
        ("[certificate.\"bücher.example\"]\n[certificate.\"xn--bcher-kva.example\"]", "configured twice"),
        ("[certificate.\"a.example\"]\n[certificate.\"a.example\"]", "twice"),
        ("[certificate.\"../x\"]", "bad-name"),
        ("[certificate.\"-o\"]", "dash"),
        ("[certificate.\"a\\u0000b\"]", "NUL"),
        (&format!("[certificate.\"{long}\"]"), "at most"),
        ("[certificate.\"a\\u202Eb.example\"]", "direction"),
        ("[certificate.\"xn--zzzzzzz99999.example\"]", "bad-name"),
        ("[certificate.\"a.example\"]\nnames = [\"*.com\"]", "wildcard"),
        ("[issuer.x]\ndirectory = \"http://ca.example/dir\"", "https"),
        ("[certificate.\"a.example\"]\nservice = \"ngnix\"", "did you mean \"nginx\""),
        ("[certificate.a.example]", "quote"),
        ("[certificate.\"a.example\"", "error["),
        ("[solver.x]\nwebroot = \"relative\"\n[certificate.\"a.example\"]\nsolver = \"x\"", "bad-path"),
    ] {
        let desk = Desk::with(text);
        let told =
            desk.run(&["check", "--offline"]).ends(5).warns("error[").warns("nolapse.toml:").warns(words);
        assert!(!told.err.contains('\u{202e}') && !told.err.contains('\0'), "{}", told.err);
        assert!(!desk.path("state").exists(), "{text}");
    }
}

#[test]
fn one_bad_certificate_stops_no_other() {
    let desk = Desk::with("[certificate.\"bad.example\"]\nnams = []\n[certificate.\"good.example\"]\n");
    desk.run(&["check", "--offline"])
        .ends(5)
        .says("[certificate.\"good.example\"]")
        .says("set aside: bad.example");
}

#[test]
fn files_that_are_no_configuration() {
    let desk = Desk::new();
    desk.run(&["renew"]).ends(5).warns("nolapse init");
    desk.write("etc/nolapse.toml", "");
    desk.run(&["check", "--offline"]).ends(0).warns("no certificate is configured");
    std::fs::write(desk.path("etc/nolapse.toml"), b"\xff\xfe\x00").unwrap();
    desk.run(&["check", "--offline"]).ends(5).warns("not UTF-8");
    std::fs::remove_file(desk.path("etc/nolapse.toml")).unwrap();
    std::fs::create_dir(desk.path("etc/nolapse.toml")).unwrap();
    desk.run(&["check", "--offline"]).ends(5).warns("configuration-unreadable");
    desk.run(&["generate", "config"]).ends(0);
}

#[test]
fn a_file_that_this_user_may_not_read_says_who_may() {
    if !is_root() {
        println!("SKIPPED: an unreadable configuration: only root can become another user");
        return;
    }
    let desk = Desk::with("[certificate.\"a.example\"]\n");
    std::fs::set_permissions(desk.path("etc/nolapse.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    desk.run_as(65_534, &["check", "--offline"]).ends(5).warns("run it as root");
    desk.run_as(65_534, &["status"]).ends(3);
}

#[test]
fn bare_and_mistyped_commands_are_usage() {
    let desk = Desk::new();
    desk.run(&[]).ends(2).warns("Usage: nolapse").warns("renew");
    desk.run(&["reenw"]).ends(2).warns("renew");
    desk.run(&["once", "--deadline", "soon"]).ends(2).warns("soon");
    desk.run(&["--version"]).ends(0).says(env!("CARGO_PKG_VERSION"));
    desk.configure("[certificate.\"a.example\"]\n");
    for name in ["../x", "b.example", "a\u{1b}[31m.example"] {
        let told = desk.run(&["renew", "--", name]).ends(2).warns("a.example");
        assert!(!told.err.contains('\u{1b}'), "{}", told.err);
    }
    desk.run(&["renew", "-o"]).ends(2);
}
