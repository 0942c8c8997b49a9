//! What lies on disk after a bad day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_ca::{Effect, Endpoint, Fault, LeafLie};

use crate::desk::{Desk, is_root, orders};
use crate::served;

const ENTRY: &str = "[certificate.\"a.example\"]\n";

/// Every file and link below a directory, with its content or target.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            found.insert(path, b"directory".to_vec());
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// What is wrong with the pair that servers read, if anything.
fn unfit(desk: &Desk) -> Option<String> {
    let read = |name: &str| std::fs::read(desk.path(&format!("state/live/a.example/{name}")));
    match (read("fullchain.pem"), read("privkey.pem")) {
        (Ok(chain), Ok(key)) => served::unfit(&chain, &key),
        other => Some(format!("{other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_renewal_that_fails_anywhere_leaves_the_pair_untouched() {
    let page = |status| Effect::Raw {
        status,
        content_type: "text/html".into(),
        body: b"<html>Something went wrong</html>".to_vec(),
    };
    let problem =
        |kind: &str| Effect::Problem { kind: kind.into(), status: 403, detail: "not today".to_owned() };
    for (row, endpoint, effect) in [
        ("the order is refused", Endpoint::NewOrder, problem("unauthorized")),
        ("a proxy answers the order", Endpoint::NewOrder, Effect::Html(502)),
        ("the connection ends at the order", Endpoint::NewOrder, Effect::Close),
        ("the order's answer is lost", Endpoint::NewOrder, Effect::LoseAnswer),
        ("the authorization can't be read", Endpoint::Authorization, Effect::Html(500)),
        ("the challenge is refused", Endpoint::Challenge, problem("malformed")),
        ("the request for a certificate is refused", Endpoint::Finalize, problem("badCSR")),
        ("the order fails after it", Endpoint::Finalize, Effect::FailOrder),
        ("a leaf for another key", Endpoint::Finalize, Effect::Leaf(LeafLie::OtherKey)),
        ("a leaf without the name", Endpoint::Finalize, Effect::Leaf(LeafLie::MissingName)),
        ("clock: a leaf that has expired", Endpoint::Finalize, Effect::Leaf(LeafLie::Expired)),
        ("clock: a leaf of tomorrow", Endpoint::Finalize, Effect::Leaf(LeafLie::NotYetValid)),
        ("a page instead of a chain", Endpoint::Certificate, page(200)),
        ("nothing instead of a chain", Endpoint::Certificate, Effect::Close),
    ] {
        let desk = Desk::new();
        let ca = desk.ca().start().await.unwrap();
        desk.configure(&(desk.around(&ca) + ENTRY));
        desk.run(&["renew"]).ends(0);
        let before = tree(&desk.path("state/live"));
        ca.set_fault(Fault::new(effect).at(endpoint));
        let told = desk.run(&["renew", "--force"]);
        assert_eq!(told.code, Some(1), "{row}: {told:?}");
        assert_eq!(tree(&desk.path("state/live")), before, "{row}");
        ca.clear_faults();
        if row.starts_with("clock: ") {
            // The order is kept: our own clock may be the one that is wrong.
            continue;
        }
        let told = desk.run(&["renew", "--force"]);
        assert_eq!((told.code, unfit(&desk)), (Some(0), None), "{row}: {told:?}");
        assert_ne!(tree(&desk.path("state/live")), before, "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certbot_10655_a_failed_run_never_repoints_a_good_certificate() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    for _ in 0..3 {
        desk.run(&["renew", "--force"]).ends(0);
    }
    let before = tree(&desk.path("state/live"));
    ca.reject_identifier("a.example");
    for arguments in [&["renew", "--force"][..], &["renew"], &["deploy"], &["once"]] {
        desk.run(arguments);
        assert_eq!(tree(&desk.path("state/live")), before, "{arguments:?}");
    }
    ca.accept_identifier("a.example");
    desk.run(&["renew", "--force"]).ends(0);
    assert_eq!(unfit(&desk), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_whatever_part_of_the_state_is_lost_at_most_one_order_follows() {
    const PARTS: [&str; 5] = ["lineages", "installed", "accounts", "generations", "live"];
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + "[hook.app]\nrun = [\"true\"]\n" + ENTRY + "hooks = [\"app\"]\n"));
    desk.run(&["renew"]).ends(0);
    let whole = desk.path("whole");
    copy(&desk.path("state"), &whole);
    let leaf = served::leaf_of(&desk.path("state/live/a.example/cert.pem"));
    for lost in 1_usize..1 << PARTS.len() {
        std::fs::remove_dir_all(desk.path("state")).unwrap();
        copy(&whole, &desk.path("state"));
        let parts: Vec<_> =
            PARTS.iter().enumerate().filter(|(bit, _)| lost >> bit & 1 == 1).map(|(_, part)| *part).collect();
        for part in &parts {
            std::fs::remove_dir_all(desk.path(&format!("state/{part}"))).unwrap();
        }
        let before = placed(&ca);
        let told = desk.run(&["renew"]);
        assert_eq!(told.code, Some(0), "without {parts:?}: {told:?}");
        assert_eq!(unfit(&desk), None, "without {parts:?}");
        let after = placed(&ca) - before;
        let kept = !parts.contains(&"generations");
        assert!(after <= usize::from(!kept), "without {parts:?}: {after} orders");
        let now = served::leaf_of(&desk.path("state/live/a.example/cert.pem"));
        assert!(!kept || now == leaf, "without {parts:?}: another certificate is shown");
        // Once put right it stays so.
        desk.run(&["renew"]).ends(0);
        assert_eq!(placed(&ca) - before, after, "without {parts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_with_any_number_of_descriptors_the_pair_is_whole_and_the_next_run_is_well() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    desk.run(&["renew"]).ends(0);
    let mut well = 0;
    for most in (3..24).chain([47, 48, 56, 64]) {
        let limited = desk.command(&["renew", "--force"]);
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg(limited.get_program()).args(limited.get_args());
        command.env_clear().envs(limited.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let Ok(output) = command.output() else {
            println!("SKIPPED: prlimit is not installed (Debian: apt install util-linux)");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{most} descriptors: {said}");
        assert_eq!(unfit(&desk), None, "{most} descriptors: {said}");
        well += usize::from(output.status.success());
    }
    assert!(well >= 2, "it asks for more descriptors than it says: {well} runs went well");
    desk.run(&["renew", "--force"]).ends(0);
    assert_eq!(unfit(&desk), None);
    desk.run(&["status"]).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_every_copy_is_of_the_generation_that_is_shown() {
    const COPIES: [(&str, &str); 5] = [
        ("fullchain", "fullchain.pem"),
        ("privkey", "privkey.pem"),
        ("cert", "cert.pem"),
        ("chain", "chain.pem"),
        ("combined", "combined.pem"),
    ];
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    std::fs::create_dir(desk.path("copies")).unwrap();
    let copy = |part: &str| desk.path("copies").join(part);
    let outputs: Vec<_> = COPIES
        .iter()
        .map(|(part, _)| format!("{{ part = \"{part}\", path = \"{}\" }}", copy(part).display()))
        .collect();
    desk.configure(&format!("{}{ENTRY}outputs = [{}]\n", desk.around(&ca), outputs.join(", ")));
    let all_alike = |when: &str| {
        for (part, file) in COPIES {
            let live = std::fs::read(desk.path(&format!("state/live/a.example/{file}"))).unwrap();
            assert!(std::fs::read(copy(part)).unwrap() == live, "{when}: {part} is of another generation");
        }
    };
    desk.run(&["renew"]).ends(0);
    all_alike("issued");
    let first: Vec<_> = COPIES.iter().map(|(part, _)| std::fs::read(copy(part)).unwrap()).collect();
    desk.run(&["renew", "--force"]).ends(0);
    all_alike("renewed");
    for ((part, _), old) in COPIES.iter().zip(first) {
        std::fs::write(copy(part), old).unwrap();
        desk.run(&["renew"]).ends(0);
        all_alike(&format!("{part} was put back to the first generation by hand"));
    }
    assert_eq!(orders(&ca), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn f62_on_an_overlay_it_issues_renews_and_puts_right() {
    if !is_root() {
        println!("SKIPPED: mounting an overlay needs root");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&(desk.around(&ca) + ENTRY));
    desk.run(&["renew"]).ends(0);
    let below = tree(&desk.path("state"));
    std::fs::create_dir(desk.path("layer")).unwrap();
    // What was there comes from the layer below, as in a container that was built with it.
    let script = "mount -t tmpfs none \"$2\" && mkdir \"$2/upper\" \"$2/work\" \
        && mount -t overlay none -o lowerdir=\"$1\",upperdir=\"$2/upper\",workdir=\"$2/work\" \"$1\" || exit 77
        set -e
        \"$3\" renew --force
        rm \"$1/live/a.example/privkey.pem\"
        \"$3\" renew
        \"$3\" renew --force
        \"$3\" status
        cp -L \"$1/live/a.example/fullchain.pem\" \"$1/live/a.example/privkey.pem\" \"$4\"";
    std::fs::create_dir(desk.path("seen")).unwrap();
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .args([desk.path("state"), desk.path("layer")])
        .arg(env!("CARGO_BIN_EXE_nolapse"))
        .arg(desk.path("seen"))
        .env("NOLAPSE_CONFIG", desk.path("etc/nolapse.toml"))
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        other => {
            println!("SKIPPED: no overlay can be mounted here: {other:?}");
            return;
        }
    };
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name: &str| std::fs::read(desk.path("seen").join(name)).unwrap();
    assert_eq!(served::unfit(&read("fullchain.pem"), &read("privkey.pem")), None);
    assert_eq!(orders(&ca), 3);
    assert_eq!(tree(&desk.path("state")), below, "the layer below is as it was");
}

/// Orders that the CA took; one that names what it replaces may be refused first.
fn placed(ca: &test_ca::Ca) -> usize {
    ca.requests().iter().filter(|r| r.endpoint == Endpoint::NewOrder && r.problem.is_none()).count()
}

/// A copy with owners and modes, as a backup has it.
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}
