//! `add`: from a name to a certificate, or to a clear word why not.

use crate::desk::{Desk, exists, orders};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_rehearsed_then_issued() {
    let desk = Desk::new();
    let (production, staging) = (desk.ca().start().await.unwrap(), desk.ca().start().await.unwrap());
    let config = desk.around(&production);
    let config =
        config.replacen("insecure", &format!("staging = \"{}\"\ninsecure", staging.directory_url()), 1);
    desk.configure(&config);
    desk.run(&["add", "a.example", "www.a.example"])
        .ends(0)
        .says("names = [\"a.example\", \"www.a.example\"]")
        .says("rehearsal passed")
        .says("renewed until");
    assert_eq!((orders(&staging), orders(&production)), (1, 1));
    assert!(exists(&desk.path("state/live/a.example/fullchain.pem")));
    desk.run(&["add", "www.a.example"]).ends(2).warns("already in the certificate a.example");
    desk.run(&["add", "A.Example"]).ends(2).warns("configured already");
    assert_eq!(orders(&production), 1);
    desk.run(&["status"]).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_rehearsal_costs_nothing_and_the_entry_stays() {
    let desk = Desk::new();
    let production = desk.ca().start().await.unwrap();
    let staging = desk.ca().reject_identifier("a.example").start().await.unwrap();
    let config = desk.around(&production);
    let config =
        config.replacen("insecure", &format!("staging = \"{}\"\ninsecure", staging.directory_url()), 1);
    desk.configure(&config);
    desk.run(&["add", "a.example"]).ends(1).warns("no order was placed").warns("conf.d/a.example.toml");
    assert_eq!(orders(&production), 0);
    assert!(desk.path("etc/conf.d/a.example.toml").exists());
    desk.run(&["add", "b.example", "--no-rehearsal"]).ends(0);
    assert_eq!((orders(&staging), orders(&production)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_staging_directory_it_says_so_and_issues() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&desk.around(&ca));
    desk.run(&["add", "a.example"]).ends(0).warns("no staging directory").says("renewed until");
    assert_eq!(orders(&ca), 1);
}

#[test]
fn entries_are_shown_before_anything_is_asked() {
    let desk = Desk::with("");
    let webroot = desk.show("www");
    desk.run(&["add", "bücher.example", "--webroot", &webroot, "--service", "nginx", "--print"])
        .ends(0)
        .says(&format!("webroot = \"{webroot}\""))
        .says("service = \"nginx\"");
    assert!(!desk.path("etc/conf.d").exists());
    desk.run(&["add", "bücher.example", "--webroot", &webroot, "--no-issue"])
        .ends(0)
        .warns("no CA was asked");
    assert!(desk.path("etc/conf.d/xn--bcher-kva.example.toml").exists());
    assert!(!desk.path("state").exists());
    desk.run(&["add", "xn--bcher-kva.example", "--no-issue"]).ends(2).warns("configured already");
    desk.run(&["add", "b.example", "--service", "ngnix", "--no-issue"])
        .ends(2)
        .warns("did you mean \"nginx\"");
}

#[test]
fn hostile_names_write_nothing() {
    let desk = Desk::with("");
    let long = format!("{}.example", "a".repeat(300));
    for name in
        ["../x", "a/b", "/etc/x", "a..b", ".a", "a\u{202e}b.example", "xn--zzzzzzz99999.example", &long]
    {
        let told = desk.run(&["add", "--no-issue", "--", name]).ends(2);
        assert!(told.err.contains("error["), "{name}: {}", told.err);
        assert!(!told.err.contains('\u{202e}'), "{name}: {}", told.err);
    }
    desk.run(&["add", "-o"]).ends(2).warns("-o");
    desk.run(&["add", "--no-issue", "--", "-o"]).ends(2).warns("dash");
    assert_eq!(desk.files("etc").len(), 2, "something was written beside the configuration");
}

#[test]
fn a_broken_configuration_is_not_added_to() {
    let desk = Desk::new();
    desk.run(&["add", "a.example"]).ends(5).warns("nolapse init");
    desk.configure("[issuer.x]\nno-such = 1\n");
    desk.run(&["add", "a.example", "--no-issue"]).ends(5).warns("unknown-key").warns("nothing was added");
    assert!(!desk.path("etc/conf.d").exists());
}
