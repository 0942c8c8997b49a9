//! A sample of the table against the whole program: what it prints, writes and starts.

use std::time::Duration;

use test_ca::{Ca, ChainLie, Delivery, Effect, Endpoint, Fault, LeafLie, RetryAfter, Stage};

use crate::laws::{is_plain, tree};
use crate::support::agent::{Ran, Site};

const NAME: &str = "a.example";
/// What the program may write to, and the list of what it executed.
const OURS: [&str; 5] = ["state", "said", "run", "www/.well-known", "executed"];
/// Memory of its own that the program may have, in octets. With the pages of its file, some 17 MiB in this profile,
/// it stays under 64 MiB. It is a limit, as the peak of a child cannot be told from that of the test before it.
const MEMORY_MOST: usize = 46 << 20;
/// Only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(180);

fn edit(place: &str, value: impl Into<serde_json::Value>) -> Effect {
    Effect::Edit { place: place.to_owned(), value: Some(value.into()) }
}

fn sample() -> Vec<(Endpoint, &'static str, Effect)> {
    use Endpoint::{Authorization, Certificate, Directory, Finalize, NewAccount, NewNonce, NewOrder, Order};
    let escapes = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\nOK    300 certificates \u{202e}";
    let problem =
        |kind: &str, status| Effect::Problem { kind: kind.to_owned(), status, detail: escapes.to_owned() };
    let token = |token: &str| edit("/challenges/0/token", token);
    vec![
        (Directory, "directory-missing", Effect::Html(404)),
        (Directory, "ca-down", Effect::Html(503)),
        (Directory, "foreign-url", edit("/newOrder", "http://169.254.169.254/latest")),
        (
            Directory,
            "foreign-url",
            Effect::Redirect { status: 302, target: "http://127.0.0.1:1/\u{1b}[2J".to_owned() },
        ),
        (Directory, "ca-down", Effect::Send(Delivery::Octets(escapes.as_bytes().to_vec()))),
        (NewNonce, "ca-answer", Effect::Header { name: "replay-nonce", values: vec!["a b".to_owned()] }),
        (NewAccount, "account-refused", problem("unauthorized", 403)),
        (NewAccount, "terms-changed", Effect::NewTerms { instance: format!("https://ca.example/{escapes}") }),
        (
            NewOrder,
            "rate-limited",
            Effect::RateLimited(Some(RetryAfter::Raw("1000000000000000000".to_owned()))),
        ),
        (NewOrder, "rejected-name", problem("rejectedIdentifier", 400)),
        (NewOrder, "refused-by-ca", problem(escapes, 418)),
        (
            NewOrder,
            "ca-answer",
            Effect::Raw {
                status: 201,
                content_type: "application/json".to_owned(),
                body: vec![b'['; 60_000],
            },
        ),
        (NewOrder, "ca-answer", Effect::Send(Delivery::Endless)),
        (NewOrder, "ca-down", Effect::Send(Delivery::Cut(Stage::Body))),
        (NewOrder, "redirected", Effect::Redirect { status: 308, target: "/new-order".to_owned() }),
        (NewOrder, "bad-nonce", Effect::BadNonce),
        (
            NewOrder,
            "foreign-url",
            Effect::Header { name: "location", values: vec!["file:///etc/passwd".to_owned()] },
        ),
        (Authorization, "hostile-token", token("../../../../tmp/x")),
        (Authorization, "hostile-token", token("/etc/cron.d/x")),
        (Authorization, "hostile-token", token("x\0y")),
        (Authorization, "hostile-token", token("$(touch owned)")),
        (Authorization, "hostile-token", token("")),
        (Authorization, "foreign-url", edit("/challenges/0/url", "http://127.0.0.1:1/x")),
        (Order, "ca-down", Effect::Close),
        (Finalize, "wrong-key", Effect::Leaf(LeafLie::OtherKey)),
        (Finalize, "already-expired", Effect::Leaf(LeafLie::Year1970)),
        (Finalize, "order-server-internal", Effect::FailOrder),
        (Certificate, "chain-unreadable", Effect::Chain(ChainLie::WithKey)),
        (Certificate, "chain-unreadable", Effect::Chain(ChainLie::Empty)),
        (Certificate, "chain-broken", Effect::Chain(ChainLie::OtherIssuer)),
        (Certificate, "ca-answer", Effect::Chain(ChainLie::Padded(1 << 20))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t03_t05_t09_the_program_says_whose_fault_and_does_nothing_else() {
    let strace = std::process::Command::new("strace").arg("-V").output().is_ok();
    if !strace {
        println!("SKIPPED: that nothing is executed: strace is not installed");
    }
    let sample = sample();
    assert!(sample.len() >= 30, "{} cases", sample.len());
    let mut others = Vec::new();
    for (number, (at, code, effect)) in sample.into_iter().enumerate() {
        let mut named = format!("{at}: {effect:?}");
        named.truncate(named.char_indices().nth(120).map_or(named.len(), |(at, _)| at));
        named.extend([" → ", code]);
        let ca = Ca::builder().plain_http().skip_validation().start().await.unwrap();
        ca.set_fault(Fault::new(effect).at(at));
        let mut site = Site::new();
        let executed = site.path("executed");
        site.wrapper = vec!["prlimit".to_owned(), format!("--data={MEMORY_MOST}")];
        if strace {
            let traced = [
                "strace",
                "-A",
                "-f",
                "-qq",
                "-e",
                "trace=execve,execveat",
                "-o",
                executed.to_str().unwrap(),
            ]
            .map(str::to_owned);
            site.wrapper.extend(traced);
        }
        let issuer = format!(
            "[issuer.hostile]\ndirectory = {:?}\ninsecure-http = true\naccept-terms = true\n[defaults]\nissuer = \"hostile\"\nsolver = \"way\"",
            ca.directory_url()
        );
        // Nobody serves the webroot: the CA takes our word for it.
        site.write(&site.config().text(&issuer).webroot(&site.path("www"), 9).certificate(NAME, ""));
        let before = tree(&site.path(""), &OURS);
        let (site, ran) = run(site, ["--log", "debug", "renew", "--force", NAME]).await;
        let said = format!("{}{}", ran.out, ran.err);
        assert!(ran.code.is_some_and(|code| code != 0), "{number} {named}: {ran:?}");
        if !said.contains(&format!("[{code}]")) {
            others.push(format!("{named}, but: {}", ran.out));
        }
        let (site, told) = run(site, ["--log", "debug", "status", "--all", NAME]).await;
        for text in [&said, &told.out, &told.err] {
            is_plain(text.as_bytes()).unwrap_or_else(|why| panic!("{number} {named}: {why}"));
        }
        assert_eq!(tree(&site.path(""), &OURS), before, "{number} {named}");
        if strace {
            let calls = std::fs::read_to_string(&executed).unwrap();
            let count = calls.lines().filter(|line| line.contains("execve") && line.contains("= 0")).count();
            assert_eq!(count, 2, "one for each run: {number} {named}: {calls}");
        }
        ca.clear_faults();
        let (site, ran) = run(site, ["--log", "debug", "renew", "--force", NAME]).await;
        if ran.code != Some(0) {
            others.push(format!("{named}, then honestly: {}", ran.out));
            continue;
        }
        assert!(site.live(NAME, "fullchain.pem").exists());
        let answers = tree(&site.path("www"), &[]).into_values().filter(|text| !text.is_empty()).count();
        assert_eq!(answers, 0, "{number} {named}: answers are left in the webroot");
    }
}

/// One run of the program, while the CA serves.
async fn run<const N: usize>(site: Site, args: [&'static str; N]) -> (Site, Ran) {
    let running = tokio::task::spawn_blocking(move || {
        let ran = site.run(&args);
        (site, ran)
    });
    tokio::time::timeout(PATIENCE, running).await.expect("the program hangs").unwrap()
}
