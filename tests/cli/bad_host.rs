//! Bad input that only a host or a CA shows: no order is placed, nothing is lost, and the words
//! say what to do.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use test_ca::{ChallengeKind, Effect, Endpoint, Fault, LeafLie};

use crate::desk::{Desk, exists, free_port, is_root, issuer, orders, self_signed};

const ENTRY: &str = "[certificate.\"a.example\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_user_or_group_is_named_and_costs_no_order() {
    for (line, code) in [
        ("group = \"no-such-group-here\"", "no-such-group"),
        ("owner = \"no-such-user-here\"", "no-such-user"),
    ] {
        let desk = Desk::new();
        let ca = desk.ca().start().await.unwrap();
        desk.configure(&format!("{}{ENTRY}{line}\n", desk.around(&ca)));
        let name = line.split('"').nth(1).unwrap();
        desk.run(&["check"]).ends(1).warns(code).warns(name);
        desk.run(&["renew"]).ends(1);
        assert_eq!(orders(&ca), 0, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f37_a_port_in_use_names_its_holder() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}{ENTRY}", desk.around(&ca)));
    let _holder = TcpListener::bind(("127.0.0.1", desk.port)).unwrap();
    let pid = format!("process {}", std::process::id());
    desk.run(&["check"]).ends(1).warns("port-in-use").warns(&pid);
    desk.run(&["renew"]).ends(1).says("port-in-use").says(&pid);
    desk.run(&["renew", "--dry-run"]).ends(1).warns(&pid);
    assert_eq!(orders(&ca), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f37_a_port_in_use_for_tls_alpn_names_its_holder_and_costs_no_order() {
    let desk = Desk::new();
    let ca = desk.ca().tls_port(desk.port).challenges(&[ChallengeKind::TlsAlpn01]).start().await.unwrap();
    let around = desk.around(&ca).replace("[solver.here]\n", "[solver.here]\ntype = \"tls-alpn-01\"\n");
    desk.configure(&format!("{around}{ENTRY}"));
    let holder = TcpListener::bind(("127.0.0.1", desk.port)).unwrap();
    // Takes connections and ends them, as whoever it is would after a greeting it can't read.
    std::thread::spawn(move || holder.incoming().for_each(drop));
    let pid = format!("process {}", std::process::id());
    desk.run(&["check"]).ends(1).warns("port-in-use").warns(&pid).warns("tls-loopback");
    desk.run(&["renew"]).ends(1).says("port-in-use").says(&pid).says("acme-tls/1");
    desk.run(&["renew", "--dry-run"]).ends(1).warns(&pid);
    assert_eq!(orders(&ca), 0);
    assert_eq!(std::fs::read_dir(desk.path("state/challenges")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_nobody_vouches_for_gets_nothing() {
    let desk = Desk::new();
    let ca = test_ca::Ca::builder().resolve_all([127, 0, 0, 1]).start().await.unwrap();
    let around = |more: &str| {
        format!(
            "[issuer.test]\ndirectory = \"{}\"\n{more}[solver.here]\nlisten = \"127.0.0.1:{}\"\n\
             [defaults]\nissuer = \"test\"\nsolver = \"here\"\n{ENTRY}",
            ca.directory_url(),
            free_port()
        )
    };
    desk.configure(&around(""));
    desk.run(&["renew"]).ends(1).says("ca-file");
    desk.run(&["check"]).warns("issuer test").warns("ca-file");
    // Roots of somebody else are no better.
    let other = desk.write("other.pem", &self_signed("ca.example"));
    desk.configure(&around(&format!("ca-file = \"{}\"\n", other.display())));
    desk.run(&["renew"]).ends(1).says("ca-file");
    // What holds no certificate is the configuration's fault.
    let whole = ca.api_root_pem().to_owned();
    for (text, why) in
        [(&whole[..whole.len() / 2], "truncated"), ("", "empty"), ("no PEM at all\n", "not PEM")]
    {
        let file = desk.write("ca.pem", text);
        desk.configure(&around(&format!("ca-file = \"{}\"\n", file.display())));
        let told =
            desk.run(&["renew"]).ends(5).warns("ca-file").warns("put the CA's root certificates there");
        assert!(!told.err.contains("[67,"), "{}", told.err);
        assert!(told.err.contains("ca.pem") || told.err.contains("issuer test"), "{why}: {}", told.err);
        desk.run(&["check"]).ends(1).warns("issuer test");
    }
    desk.configure(&around("ca-file = \"/no/such/file.pem\"\n"));
    desk.run(&["renew"]).ends(5).warns("/no/such/file.pem");
    assert_eq!(orders(&ca), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_on_a_read_only_state_no_order_is_placed() {
    if !is_root() {
        println!("SKIPPED: a read-only state: only root can take rights from another user");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}{ENTRY}", desk.around(&ca)));
    std::fs::create_dir(desk.path("state")).unwrap();
    std::fs::set_permissions(desk.path("state"), PermissionsExt::from_mode(0o555)).unwrap();
    desk.run_as(65_534, &["renew"]).ends(1).warns(&desk.show("state"));
    assert_eq!(ca.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_where_the_first_certificate_could_not_be_shown_no_order_is_placed() {
    if !is_root() {
        println!("SKIPPED: a place that can't be written: only root can take rights from another user");
        return;
    }
    let nobody = 65_534;
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.write("etc/conf.d/live.toml", &format!("[agent]\nlive-dir = \"{}\"\n", desk.show("shown")));
    desk.configure(&format!("{}{ENTRY}", desk.around(&ca)));
    for (dir, mode) in [("state", 0o755), ("shown", 0o555)] {
        std::fs::create_dir(desk.path(dir)).unwrap();
        std::fs::set_permissions(desk.path(dir), PermissionsExt::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(desk.path(dir), Some(nobody), Some(nobody)).unwrap();
    }
    desk.run_as(nobody, &["renew"]).ends(1).says("install-failed").says(&desk.show("shown"));
    assert_eq!(orders(&ca), 0);
    std::fs::set_permissions(desk.path("shown"), PermissionsExt::from_mode(0o755)).unwrap();
    desk.run_as(nobody, &["renew", "a.example"]).ends(0);
    // A renewal is worth having, wherever it is shown later.
    std::fs::set_permissions(desk.path("shown/a.example"), PermissionsExt::from_mode(0o555)).unwrap();
    desk.run_as(nobody, &["renew", "--force", "a.example"]).ends(1).says("install-failed");
    assert_eq!(orders(&ca), 2);
    std::fs::set_permissions(desk.path("shown/a.example"), PermissionsExt::from_mode(0o755)).unwrap();
    desk.run_as(nobody, &["renew", "a.example"]).ends(0);
    assert_eq!(orders(&ca), 2, "what was issued is installed");
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_on_a_full_disk_no_order_is_placed() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}{ENTRY}", desk.around(&ca)));
    std::fs::create_dir(desk.path("state")).unwrap();
    // A small volume of its own, in a name space that ends with the shell.
    let script = "mount -t tmpfs -o size=128k,mode=755 none \"$1\" || exit 77
        \"$2\" status >/dev/null 2>&1
        dd if=/dev/zero of=\"$1/filler\" bs=1k >/dev/null 2>&1
        \"$2\" check >/dev/null; echo \"check ended with $?\" >&2
        exec \"$2\" renew";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(desk.path("state"))
        .arg(env!("CARGO_BIN_EXE_nolapse"))
        .env("NOLAPSE_CONFIG", desk.path("etc/nolapse.toml"))
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) && !output.stderr.starts_with(b"unshare:") => output,
        _ => {
            println!("SKIPPED: a full disk: this user can't mount a volume of its own");
            return;
        }
    };
    let words = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("No space left"), "{words}");
    assert!(words.contains("check ended with 1") && words.contains("disk-full"), "{words}");
    assert_eq!(orders(&ca), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_a_damaged_entry_is_told_of_and_the_rest_goes_on() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let textfile = format!("[agent]\ntextfile = \"{}\"\n", desk.show("run/nolapse.prom"));
    desk.write("etc/conf.d/metrics.toml", &textfile);
    desk.configure(&format!("{}{ENTRY}[certificate.\"b.example\"]\n", desk.around(&ca)));
    desk.run(&["renew"]).ends(0);
    desk.write("state/lineages/a.example", "junk");
    let told = desk.run(&["renew"]).ends(0).says("a.example  kept").says("b.example  kept");
    assert!(told.err.contains("lineages/a.example") && told.err.contains("quarantine/"), "{}", told.err);
    for copy in ["state/lineages/a.example", "state/lineages/a.example~"] {
        desk.write(copy, "junk");
    }
    let told = desk.run(&["renew"]).ends(0).says("a.example  kept").says("b.example  kept");
    assert!(told.err.contains("lineages/a.example") && told.err.contains("quarantine/"), "{}", told.err);
    assert!(desk.read("run/nolapse.prom").contains("code=\"state-damaged\""));
    // Told once: what was put right is no news the next time.
    let told = desk.run(&["renew"]).ends(0);
    assert!(!told.err.contains("quarantine"), "{}", told.err);
    assert_eq!(orders(&ca), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t02_links_planted_in_a_webroot_lead_nowhere() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let config = issuer(&ca)
        + &format!("[solver.files]\nwebroot = \"{}\"\ncheck-port = {}\n", desk.show("www"), desk.port)
        + "[defaults]\nissuer = \"test\"\nsolver = \"files\"\n"
        + ENTRY;
    desk.configure(&config);
    std::fs::create_dir_all(desk.path("www")).unwrap();
    std::fs::create_dir_all(desk.path("victim/acme-challenge")).unwrap();
    symlink(desk.path("victim"), desk.path("www/.well-known")).unwrap();
    desk.run(&["check"]).ends(1).warns("solver files").warns(".well-known");
    desk.run(&["renew"]).ends(1).says(".well-known");
    assert_eq!(desk.files("victim").len(), 2, "something was written through the link");
    assert_eq!(orders(&ca), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t02_a_link_planted_as_an_output_is_not_followed() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let output = format!("outputs = [{{ part = \"fullchain\", path = \"{}\" }}]\n", desk.show("out/a.pem"));
    desk.configure(&format!("{}{ENTRY}{output}", desk.around(&ca)));
    let victim = desk.write("victim", "precious");
    std::fs::create_dir(desk.path("out")).unwrap();
    symlink(&victim, desk.path("out/a.pem")).unwrap();
    desk.run(&["renew"]);
    assert_eq!(desk.read("victim"), "precious");
    assert!(exists(&desk.path("state/live/a.example/fullchain.pem")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_for_another_key_is_never_installed() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}{ENTRY}", desk.around(&ca)));
    ca.set_fault(Fault::new(Effect::Leaf(LeafLie::OtherKey)).at(Endpoint::Finalize));
    desk.run(&["renew"]).ends(1).says("FAILED");
    assert!(!exists(&desk.path("state/live/a.example/fullchain.pem")));
    ca.clear_faults();
    assert_eq!(orders(&ca), 1);
    desk.run(&["renew", "a.example"]).ends(0).says("renewed until");
}

#[tokio::test(flavor = "multi_thread")]
async fn f25_a_clock_years_off_is_told() {
    if Command::new("faketime").arg("--version").output().is_err() {
        println!("SKIPPED: a clock years off: faketime is not installed (Debian: apt install faketime)");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&format!("{}{ENTRY}", desk.around(&ca)));
    for (when, code) in [("-3 years", "clock-behind"), ("+3 years", "clock-ahead")] {
        let output = Command::new("faketime")
            .args(["-f", when.replace(" years", "y").as_str(), env!("CARGO_BIN_EXE_nolapse"), "check"])
            .env("NOLAPSE_CONFIG", desk.path("etc/nolapse.toml"))
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{when}: {words}");
        assert!(words.contains(code) && words.contains("set-ntp"), "{when}: {words}");
    }
    assert_eq!(orders(&ca), 0);
}
