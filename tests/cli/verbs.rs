//! The verbs and their exit codes.

use std::io::Read;
use std::process::Stdio;

use test_ca::{Effect, Endpoint, Fault};

use crate::desk::{Desk, exists, free_port, orders};

const ENTRY: &str = "[certificate.\"a.example\"]\n";

fn with_dead_ca() -> Desk {
    let desk = Desk::new();
    let port = free_port();
    desk.configure(&format!(
        "[issuer.test]\ndirectory = \"http://127.0.0.1:{port}/dir\"\ninsecure-http = true\n\
         [solver.here]\nlisten = \"127.0.0.1:{}\"\n\
         [certificate.\"a.example\"]\nissuer = \"test\"\nsolver = \"here\"\n",
        desk.port
    ));
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn renew_ends_as_the_table_of_exit_codes_says() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let config = desk.around(&ca) + "[hook.app]\nrun = [\"false\"]\n" + ENTRY;
    desk.configure(&config);
    // 10, then 0: something was renewed, then nothing is due.
    desk.run(&["renew", "--exit-code"]).ends(10).says("renewed until");
    desk.run(&["renew", "--exit-code"]).ends(0).says("kept until");
    assert_eq!(orders(&ca), 1);
    // 4: somebody else holds it.
    let lock = std::fs::File::open(desk.path("state/locks/a.example")).unwrap();
    lock.lock().unwrap();
    desk.run(&["renew", "--force", "--wait", "0s"]).ends(4).says("busy");
    assert_eq!(orders(&ca), 1);
    lock.unlock().unwrap();
    // 3: renewed, and then not reloaded.
    desk.configure(&format!("{config}hooks = [\"app\"]\n"));
    desk.run(&["renew", "--force"]).ends(3).says("NOT reloaded (app)").warns("--force");
    desk.run(&["deploy"]).ends(3);
    desk.run(&["deploy", "--skip", "ap"]).ends(2).warns("there is app");
    desk.run(&["deploy", "--skip", "app"]).ends(0);
    // 1: the CA refuses.
    ca.reject_identifier("b.example");
    desk.configure(&format!("{config}[certificate.\"b.example\"]\n"));
    desk.run(&["renew"]).ends(1).says("b.example  FAILED").says("a.example  kept");
    // 5 and 2.
    desk.configure("[agent]\n");
    desk.run(&["renew"]).ends(5);
    desk.configure(&config);
    desk.run(&["renew", "c.example"]).ends(2).warns("a.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn renew_tells_programs_as_json() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    let told = desk.run(&["renew", "--json"]).ends(0).json();
    assert_eq!((told["version"].as_u64(), told["readiness"].as_str()), (Some(1), Some("well")));
    assert_eq!(told["lineages"][0]["name"], "a.example");
    assert_eq!(told["lineages"][0]["renewed"], true);
    let told = desk.run(&["once", "--json"]).ends(0).json();
    assert_eq!(told["renewed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_entry_is_a_failure_and_the_others_are_renewed() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY + "[certificate.\"bad.example\"]\nnams = []\n"));
    desk.run(&["renew"]).ends(1).says("a.example  renewed").warns("unknown-key");
    desk.run(&["renew", "a.example"]).ends(0);
    desk.run(&["renew", "bad.example"]).ends(5).warns("can't be used");
}

#[test]
fn once_starts_a_server_although_the_ca_is_down() {
    let desk = with_dead_ca();
    desk.run(&["once"]).ends(1).warns("no usable certificate: a.example");
    desk.run(&["once", "--placeholder"]).ends(0).warns("a.example  has a self-signed placeholder");
    // Who has not asked for one has no usable certificate.
    desk.run(&["once"]).ends(1).warns("no usable certificate: a.example");
    let pem = desk.read("state/live/a.example/fullchain.pem");
    let leaf = nolapse::codec::pem::certificates(pem.as_bytes()).unwrap();
    let leaf = nolapse::codec::x509::leaf(&leaf[0]).unwrap();
    assert_eq!(leaf.names[0].to_string(), "a.example");
    assert!(desk.read("state/live/a.example/privkey.pem").contains("PRIVATE KEY"));
    // It is told for what it is.
    desk.run(&["status"]).ends(2).says("placeholder");
}

#[test]
fn what_failed_before_is_not_told_as_a_new_failure() {
    let desk = with_dead_ca();
    desk.run(&["renew"]).ends(1).says("a.example  FAILED: ");
    desk.run(&["renew"]).ends(1).says("a.example  FAILED before: ").says("nolapse renew a.example");
    desk.run(&["renew", "a.example"]).ends(1).says("a.example  FAILED: ");
}

#[test]
fn a_placeholder_takes_the_place_of_what_nobody_could_start_with() {
    // The state was lost, live/ was not, and what lies there is cut off.
    let desk = with_dead_ca();
    desk.run(&["once", "--placeholder"]).ends(0);
    let live = desk.path("state/live/a.example");
    std::fs::rename(live.join(".gen-0"), live.join(".gen-7")).unwrap();
    std::fs::remove_file(live.join(".current")).unwrap();
    std::os::unix::fs::symlink(".gen-7", live.join(".current")).unwrap();
    desk.write("state/live/a.example/.gen-7/fullchain.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    desk.run(&["once", "--placeholder"]).ends(0);
    assert!(desk.read("state/live/a.example/fullchain.pem").contains("END CERTIFICATE"));
    assert!(desk.path("state/live/a.example/.gen-7").exists(), "it is nobody's to remove");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placeholder_makes_way_for_the_real_one() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    ca.set_fault(Fault::new(Effect::Html(503)).at(Endpoint::NewOrder).times(1));
    desk.run(&["once", "--placeholder"]).ends(0);
    desk.run(&["renew", "a.example"]).ends(0).says("renewed until");
    desk.run(&["status"]).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_certificate_is_left_alone_until_it_is_not() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    desk.run(&["pause", "a.example", "--until", "2d", "--reason", "moving\u{1b}[2J house"])
        .ends(0)
        .says("paused until");
    desk.run(&["renew"]);
    assert_eq!(orders(&ca), 0);
    let told = desk.run(&["status"]);
    assert!(told.out.contains("moving") && !told.out.contains('\u{1b}'), "{}", told.out);
    desk.run(&["explain", "a.example"]).ends(0).says("paused");
    desk.run(&["pause", "a.example", "--until", "tomorrow", "--reason", "x"]).ends(2).warns("--until");
    desk.run(&["pause", "a.example", "--until", "0s", "--reason", "done"]).ends(0).says("not paused");
    desk.run(&["renew"]).ends(0);
    assert_eq!(orders(&ca), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_waits_for_its_deploy_window() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    // A day of the week that neither is today nor begins while the test runs, anywhere on earth.
    let now = nolapse::sys::clock::Clock::wall().now().secs();
    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        [usize::try_from((now / 86_400 + 3 + 3) % 7).unwrap()];
    let window = format!("deploy-window = \"{day} 02:00-05:00 Europe/Berlin\"\n");
    desk.configure(&(desk.around(&ca) + ENTRY + &window));
    let shown =
        || std::fs::read_link(desk.path("state/live/a.example/.current")).unwrap().display().to_string();
    // The first is shown at once: there is nothing to protect.
    desk.run(&["renew"]).ends(0);
    assert_eq!(shown(), ".gen-1");
    // The next is issued, and waits; that is no debt.
    desk.run(&["renew", "--force"]).ends(0).says("(deploy window)");
    assert_eq!((shown().as_str(), orders(&ca)), (".gen-1", 2));
    desk.run(&["renew"]).ends(0);
    desk.run(&["status", "--all"]).ends(0).says("gen 2 is issued and waits for its deploy window");
    desk.run(&["explain", "a.example"]).says("deploy window open?");
    desk.run(&["check", "--offline"]).ends(0).says(&format!("\"{day} 02:00-05:00 Europe/Berlin\""));
    assert_eq!(shown(), ".gen-1");
    // Somebody's chmod is put right, and brings nothing new forward.
    let key = desk.path("state/live/a.example/privkey.pem");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    desk.run(&["renew", "a.example"]).ends(0);
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.metadata().unwrap().permissions()) & 0o777,
        0o640
    );
    assert_eq!(shown(), ".gen-1");
    // A person is faster than the window.
    desk.run(&["deploy", "a.example"]).ends(0);
    assert_eq!((shown().as_str(), orders(&ca)), (".gen-2", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_chain_of_answers() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    desk.run(&["explain", "a.example"]).ends(1).warns("state");
    desk.run(&["renew"]).ends(0);
    let told =
        desk.run(&["explain", "A.Example"]).ends(0).says("gen 1").says("deploy").says("need").says("permit");
    assert!(told.out.lines().last().unwrap().starts_with("→ hold"), "{}", told.out);
    desk.run(&["explain", "b.example"]).ends(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_configuration_is_kept_until_it_is_forgotten() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let config = desk.around(&ca) + ENTRY;
    desk.configure(&(config.clone() + "[certificate.\"b.example\"]\n"));
    desk.run(&["renew"]).ends(0);
    desk.run(&["forget", "b.example"]).ends(2).warns("is in the configuration");
    desk.configure(&config);
    desk.run(&["renew"]).ends(0);
    desk.run(&["status", "--all"]).ends(0).says("retired");
    assert!(exists(&desk.path("state/live/b.example/privkey.pem")));
    desk.run(&["forget", "b.example", "--with-files"]).ends(0).says("forgotten");
    assert!(!exists(&desk.path("state/live/b.example")));
    assert!(
        desk.files("state")
            .iter()
            .all(|path| !path.ends_with("b.example") || path.starts_with(desk.path("state/locks")))
    );
    desk.run(&["forget", "b.example"]).ends(2);
    desk.run(&["status", "--all"]).ends(0).says("a.example");
}

#[test]
fn a_reader_that_leaves_early_breaks_nothing() {
    let desk = Desk::new();
    for arguments in [&["generate", "config"][..], &["generate", "completions", "bash"], &["--help"]] {
        let mut child =
            desk.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Closed before anything is read.
        drop(child.stdout.take());
        let mut words = String::new();
        child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() && words.is_empty(), "{arguments:?}: {status} {words}");
    }
}
