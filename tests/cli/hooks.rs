//! Which hooks run, and when.

use std::os::unix::fs::PermissionsExt;

use test_ca::{Effect, Endpoint, Fault};

use crate::desk::{Desk, orders};

/// Writes down its word, and fails while `bad-WORD` is there.
fn hook(desk: &Desk, word: &str, more: &str) -> String {
    let path = desk.write(
        word,
        &format!(
            "#!/bin/sh\necho {word} $NOLAPSE_EVENT >> {0}\ntest ! -e {0}-bad-{word}\n",
            desk.show("told")
        ),
    );
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    format!("[hook.{word}]\nrun = [\"{}\"]\n{more}", path.display())
}

fn told(desk: &Desk) -> String {
    let text = std::fs::read_to_string(desk.path("told")).unwrap_or_default();
    let _ = std::fs::remove_file(desk.path("told"));
    text.lines().collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_waits_for_those_it_comes_after() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(
        &(desk.around(&ca)
            + &hook(&desk, "last", "after = [\"second\"]\n")
            + &hook(&desk, "second", "after = [\"first\", \"elsewhere\"]\n")
            + &hook(&desk, "first", "")
            + &hook(&desk, "elsewhere", "")
            + &hook(&desk, "free", "")
            + "[certificate.\"a.example\"]\nhooks = [\"last\", \"free\", \"second\", \"first\"]\n"),
    );
    desk.write("told-bad-second", "");
    desk.run(&["renew"]).ends(3).says("NOT reloaded (second, last)");
    assert_eq!(told(&desk), "free deploy, first deploy, second deploy");
    desk.run(&["explain", "a.example"]).says("last: yes, after second");
    std::fs::remove_file(desk.path("told-bad-second")).unwrap();
    desk.run(&["deploy"]).ends(0);
    assert_eq!(told(&desk), "second deploy, last deploy");
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_that_wait_for_each_other_or_for_nothing_that_is_there_are_refused() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(
        &(desk.around(&ca)
            + &hook(&desk, "one", "after = [\"two\"]\n")
            + &hook(&desk, "two", "after = [\"one\"]\n")
            + &hook(&desk, "three", "after = [\"for\"]\n")
            + &hook(&desk, "four", "")
            + "[certificate.\"a.example\"]\nhooks = [\"one\"]\n[certificate.\"b.example\"]\nhooks = [\"four\"]\n"),
    );
    desk.run(&["check", "--offline"]).ends(5).warns("hook-cycle").warns("did you mean \"four\"?");
    desk.run(&["renew"]).ends(5);
    assert_eq!(orders(&ca), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_around_attempts_run_once_for_all_and_never_where_nothing_is_due() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let config = desk.around(&ca)
        + "pre-hooks = [\"open\"]\npost-hooks = [\"close\"]\n"
        + &hook(&desk, "open", "")
        + &hook(&desk, "close", "")
        + "[certificate.\"a.example\"]\n[certificate.\"b.example\"]\n";
    desk.configure(&config);
    // A helper that fails keeps no certificate from being renewed, and is told of.
    desk.write("told-bad-open", "");
    let ran = desk.run(&["renew", "a.example"]).ends(0);
    assert_eq!(told(&desk), "open pre, close post");
    std::fs::remove_file(desk.path("told-bad-open")).unwrap();
    desk.run(&["renew"]).ends(0);
    assert_eq!(told(&desk), "open pre, close post");
    desk.run(&["renew"]).ends(0);
    assert_eq!(told(&desk), "", "nothing was due: {ran:?}");
    // Together: the first opens, the last closes.
    desk.run(&["renew", "--force"]).ends(0);
    let both = told(&desk);
    assert!(both == "open pre, close post" || both == "open pre, close post, open pre, close post", "{both}");
    // It closes also after a failure.
    ca.reject_identifier("a.example");
    desk.run(&["renew", "--force", "a.example"]).ends(1);
    assert_eq!(told(&desk), "open pre, close post");
    assert!(orders(&ca) >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_is_closed_also_where_a_deadline_or_a_stop_ends_the_attempt() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let config = desk.around(&ca)
        + "pre-hooks = [\"open\"]\npost-hooks = [\"close\"]\n"
        + &hook(&desk, "open", "")
        + &hook(&desk, "close", "")
        + "[certificate.\"a.example\"]\n";
    desk.configure(&config);
    ca.set_fault(Fault::new(Effect::Stall).at(Endpoint::NewOrder));
    desk.run(&["once", "--deadline", "2s"]).ends(1);
    assert_eq!(told(&desk), "open pre, close post");
    let mut daemon = desk.command(&["run"]).spawn().unwrap();
    while !std::fs::read_to_string(desk.path("told")).is_ok_and(|text| text.contains("open")) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    daemon.wait().unwrap();
    assert_eq!(told(&desk), "open pre, close post");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_gets_no_descriptor_but_its_own_three() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let seen = desk.show("seen");
    let program = format!("ls /proc/self/fd > {seen}");
    desk.configure(
        &(desk.around(&ca)
            + &format!("[hook.look]\nrun = [\"sh\", \"-c\", \"{program}\"]\n")
            + "[certificate.\"a.example\"]\nhooks = [\"look\"]\n"),
    );
    // Somebody starts us with a file and a pipe left open.
    let mut shell = std::process::Command::new("sh");
    let nolapse = desk.command(&["renew"]);
    shell.arg("-c").arg("exec 7</etc/passwd 8<&0 9>&1; exec \"$0\" renew").arg(nolapse.get_program());
    shell.env_clear().envs(nolapse.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // `ls` itself has the directory open.
    assert_eq!(desk.read("seen"), "0\n1\n2\n3\n");
}
