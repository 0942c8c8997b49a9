//! `AcmeCa` against a CA that misbehaves on purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nolapse::core::failure::{Class, Failure, Fault};
use nolapse::core::layout::Content;
use nolapse::core::name::IssuerId;
use nolapse::core::order::{OrderRequest, OrderStatus};
use nolapse::core::spec::{IssuerSpec, Profile};
use nolapse::core::time::Span;
use nolapse::ports::{Ca, Expect, Key, Store};
use nolapse::sys::clock::Clock;
use serde_json::{Value, json};
use support::acme_client::{client, csr, eab, issue, request, spec, tasks, try_client};
use support::memory_store::MemoryStore;
use support::scripted::{Answer, CHAIN, Scripted, Seen, directory};

const NAMES: [&str; 1] = ["a.example"];

fn fresh(ca: &Scripted) -> nolapse::ca::AcmeCa {
    client(spec(&ca.directory()), &Arc::new(MemoryStore::default()), None)
}

/// What `order` says when the CA answers new-order this way.
async fn refused(answer: Answer) -> Failure {
    let ca = Scripted::start(move |seen| (seen.path == "/order").then(|| answer.clone()));
    fresh(&ca).order(&request(&NAMES)).await.unwrap_err()
}

async fn saved(store: &MemoryStore) -> Value {
    let key = Key::Account(IssuerId::parse("test").unwrap());
    match store.load(&key).await.unwrap() {
        Some(entry) => serde_json::from_slice(entry.content.bytes()).unwrap(),
        None => Value::Null,
    }
}

fn seconds_until(class: Class) -> i64 {
    match class {
        Class::Limited { until } => until.since(Clock::wall().now()).whole_secs(),
        other => panic!("{other:?} names no time"),
    }
}

#[tokio::test]
async fn a_plain_order_needs_one_nonce_and_no_question_twice() {
    let ca = Scripted::start(|_| None);
    let chain = issue(&fresh(&ca), &NAMES, |_| {}).await.unwrap();
    assert_eq!(chain, CHAIN);
    let log = ca.log();
    let calls: Vec<_> = log.iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    #[rustfmt::skip]
    assert_eq!(calls, [
        "GET /dir", "HEAD /nonce", "POST /account", "POST /order", "POST /authz/0", "POST /challenge/0",
        "POST /order/0", "POST /order/0/finalize", "POST /certificate/0",
    ]);
    assert_eq!(ca.connections(), 1);
    for seen in &log {
        let agent = &seen.headers["user-agent"];
        assert!(agent.starts_with("nolapse/") && agent.contains("instant-acme"), "{agent}");
        assert_eq!(seen.headers["accept-language"], "en");
        assert!(!seen.headers.contains_key("accept-encoding"));
    }
}

#[tokio::test]
async fn a_proxys_page_instead_of_a_problem_keeps_its_status_and_its_wish() {
    let page = || Answer::text(503, "text/html", "<html>\u{1b}[31mbusy</html>");
    let failure = refused(page().with("Retry-After", "120")).await;
    assert_eq!((failure.code.as_str(), failure.fault), ("ca-down", Fault::Ca), "{failure}");
    assert!((110..=120).contains(&seconds_until(failure.class)));
    assert!(
        failure.words.contains("503") && failure.words.contains("busy") && !failure.words.contains('\u{1b}')
    );
    let failure = refused(page()).await;
    assert_eq!((failure.code.as_str(), failure.class), ("ca-down", Class::Transient));
    // Longer than any problem document: still a 503.
    let failure = refused(Answer::text(503, "text/html", vec![b'x'; 1 << 20])).await;
    assert_eq!(failure.code, "ca-down", "{failure}");
}

#[tokio::test]
async fn a_retry_after_is_believed_within_bounds() {
    let limited = || Answer::problem(429, "rateLimited", "too many");
    let failure = refused(limited().with("Retry-After", u64::MAX.to_string())).await;
    assert_eq!(failure.code, "rate-limited");
    assert!(seconds_until(failure.class) <= 7 * 86_400);
    // A date is read against the CA's own clock, which may be far from ours.
    let dated = limited()
        .with("Date", "Sat, 01 Jan 2000 00:00:00 GMT")
        .with("Retry-After", "Sat, 01 Jan 2000 01:00:00 GMT");
    assert!((3590..=3600).contains(&seconds_until(refused(dated).await.class)));
    for nonsense in ["soon", "-5", "", "1e9"] {
        let failure = refused(limited().with("Retry-After", nonsense)).await;
        assert_eq!(failure.class, Class::Refused, "{nonsense:?}");
    }
    let ca = Scripted::start(|seen| {
        let order = json!({
            "status": "pending", "authorizations": [], "finalize": format!("{}/f", seen.base),
        });
        (seen.path == "/order").then(|| {
            Answer::json(201, &order).with("Location", "/order/0").with("Retry-After", u64::MAX.to_string())
        })
    });
    let view = fresh(&ca).order(&request(&NAMES)).await.unwrap();
    assert_eq!(view.retry_after, Some(Span::DAY));
}

#[tokio::test]
async fn nulls_where_members_could_be_left_out_do_no_harm() {
    let ca = Scripted::start(|seen| {
        let base = &seen.base;
        match seen.path.as_str() {
            "/dir" => {
                let mut dir = directory(base);
                dir["meta"] = Value::Null;
                dir["renewalInfo"] = Value::Null;
                Some(Answer::json(200, &dir))
            }
            "/order" => {
                let order = json!({
                    "status": "pending", "authorizations": [format!("{base}/authz/0")], "error": null,
                    "finalize": format!("{base}/f"), "replaces": null, "profile": null, "certificate": null,
                });
                Some(Answer::json(201, &order).with("Location", format!("{base}/order/0")))
            }
            "/authz/0" => {
                let challenge = json!({
                    "type": "http-01", "url": format!("{base}/challenge/0"), "token": "t", "status": "invalid",
                    "error": { "type": null, "detail": "no", "status": "403", "subproblems": null },
                });
                let unknown = json!({ "type": "odd-99", "url": "x", "status": "pending", "token": null });
                Some(Answer::json(
                    200,
                    &json!({
                        "status": "invalid", "wildcard": null, "challenges": [unknown, challenge],
                        "identifier": { "type": "dns", "value": "a.example" },
                    }),
                ))
            }
            _ => None,
        }
    });
    let ca = fresh(&ca);
    let url = ca.order(&request(&NAMES)).await.unwrap().url;
    let views = ca.authorizations(&url).await.unwrap();
    assert_eq!(views[0].challenges[0].kind, None);
    let problem = views[0].challenges[1].error.as_ref().unwrap();
    assert_eq!((problem.detail.as_str(), problem.status), ("no", 403));
}

#[tokio::test]
async fn t07_an_answer_without_end_is_cut_off() {
    for endless in [
        Answer::text(201, "application/json", vec![b' '; 4096]).without_end(),
        Answer::text(201, "application/pem-certificate-chain", vec![b'x'; 4096]).without_end(),
    ] {
        let failure = refused(endless).await;
        assert_eq!((failure.code.as_str(), failure.class), ("ca-answer", Class::Transient), "{failure}");
    }
    let failure = refused(Answer::json(201, &json!({})).with("X-Long", "x".repeat(20_000))).await;
    assert_eq!(failure.code, "ca-answer", "{failure}");
}

#[tokio::test]
async fn t06_the_ca_cannot_send_us_elsewhere() {
    let metadata = "http://169.254.169.254/latest/meta-data";
    // By a redirect of a signed request: never followed, not even to itself.
    let failure = refused(Answer::text(307, "text/plain", "").with("Location", "/dir")).await;
    assert_eq!(failure.code, "redirected", "{failure}");
    // By a redirect of a read.
    for (target, code) in [(metadata, "foreign-url"), ("/dir", "redirected")] {
        let ca = Scripted::start(move |_| Some(Answer::text(302, "text/plain", "").with("Location", target)));
        let failure = fresh(&ca).reachable().await.unwrap_err();
        assert_eq!(failure.code, code, "{target}");
        assert!(ca.count("GET", "/dir") <= 4);
    }
    // By the directory. The last one made a library panic.
    for target in
        [metadata, "https://127.0.0.1:1/x", "file:///etc/passwd", "no url", "http://user@127.0.0.1/"]
    {
        for member in ["newNonce", "newAccount", "newOrder", "renewalInfo"] {
            let ca = Scripted::start(move |seen| {
                let mut dir = directory(&seen.base);
                dir[member] = target.into();
                (seen.path == "/dir").then(|| Answer::json(200, &dir))
            });
            let failure = fresh(&ca).reachable().await.unwrap_err();
            assert_eq!(failure.code, "foreign-url", "{member} {target}");
            assert_eq!(failure.class, Class::Refused);
        }
    }
    // By an account's or an order's address, and by what the order points to.
    for path in ["/account", "/order"] {
        let ca = Scripted::start(move |seen| {
            let order = json!({
                "status": "ready", "authorizations": ["http://169.254.169.254/a"],
                "finalize": "http://169.254.169.254/f",
            });
            (seen.path == path).then(|| Answer::json(201, &order).with("Location", metadata))
        });
        let failure = fresh(&ca).order(&request(&NAMES)).await.unwrap_err();
        assert_eq!(failure.code, "foreign-url", "{path}");
    }
    let ca = Scripted::start(move |seen| {
        let order = json!({
            "status": "ready", "authorizations": ["http://169.254.169.254/a"],
            "finalize": "http://169.254.169.254/f",
        });
        (seen.path == "/order").then(|| Answer::json(201, &order).with("Location", "/order/0"))
    });
    let ca = fresh(&ca);
    let url = ca.order(&request(&NAMES)).await.unwrap().url;
    assert_eq!(ca.authorizations(&url).await.unwrap_err().code, "foreign-url");
    assert_eq!(ca.finalize(&url, &csr(&NAMES)).await.unwrap_err().code, "foreign-url");
    assert_eq!(ca.view(metadata).await.unwrap_err().code, "foreign-url");
}

#[tokio::test]
async fn a_directory_that_moved_on_the_same_host_is_followed() {
    let ca = Scripted::start(|seen| {
        let moved = Answer::text(308, "text/plain", "").with("Location", "dir/");
        match seen.path.as_str() {
            "/dir" => Some(moved),
            "/dir/" => Some(Answer::json(200, &directory(&seen.base))),
            _ => None,
        }
    });
    issue(&fresh(&ca), &NAMES, |_| {}).await.unwrap();
}

#[tokio::test]
async fn f54_a_hostile_token_is_never_used() {
    for token in ["../../etc/passwd", "", "a/b", "x\u{0}y"] {
        let ca = Scripted::start(move |seen| {
            let challenge = json!({ "type": "http-01", "url": "x", "status": "pending", "token": token });
            let authz = json!({
                "status": "pending", "challenges": [challenge],
                "identifier": { "type": "dns", "value": "a.example" },
            });
            (seen.path == "/authz/0").then(|| Answer::json(200, &authz))
        });
        let ca = fresh(&ca);
        let url = ca.order(&request(&NAMES)).await.unwrap().url;
        assert_eq!(ca.authorizations(&url).await.unwrap_err().code, "hostile-token", "{token:?}");
    }
}

/// A CA that refuses a share of all signed requests by their nonces, the same ones in each run.
fn storm(percent: usize) -> Scripted {
    let seen_so_far = AtomicUsize::new(0);
    Scripted::start(move |seen| {
        if seen.method != "POST" {
            return None;
        }
        let count = seen_so_far.fetch_add(1, Ordering::Relaxed);
        // A hash, so that refusals come in runs as chance brings them.
        let dice = count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        (dice % 100 < percent).then(|| Answer::problem(400, "badNonce", "not this one"))
    })
}

#[tokio::test]
async fn a_nonce_storm_of_one_half_is_weathered() {
    let ca = storm(50);
    let client = fresh(&ca);
    for _ in 0..20 {
        issue(&client, &NAMES, |_| {}).await.unwrap();
    }
    assert!(ca.count("HEAD", "/nonce") <= 20, "{}", ca.count("HEAD", "/nonce"));
}

#[tokio::test]
async fn a_nonce_storm_without_end_is_given_up() {
    let ca = storm(100);
    let failure = fresh(&ca).order(&request(&NAMES)).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("bad-nonce", Class::Transient));
    assert!(ca.log().len() < 60, "{} requests", ca.log().len());
    // The library's own tries and ours, for a call that the library makes.
    let ca = Scripted::start(|seen| {
        (seen.path == "/order").then(|| Answer::problem(400, "badNonce", "not this one"))
    });
    let failure = fresh(&ca).order(&request(&NAMES)).await.unwrap_err();
    assert_eq!(failure.code, "bad-nonce");
    assert!(ca.count("POST", "/order") <= 30);
    // Nine of ten refused: through at last, or given up within bounds.
    let ca = storm(90);
    let client = fresh(&ca);
    for _ in 0..5 {
        let before = ca.log().len();
        if let Err(failure) = client.order(&request(&NAMES)).await {
            assert_eq!(failure.code, "bad-nonce", "{failure}");
        }
        assert!(ca.log().len() - before < 120);
    }
}

#[tokio::test]
async fn a_new_nonce_is_taken_however_it_comes() {
    // HEAD with 204 instead of 200.
    let ca = Scripted::start(|seen| (seen.method == "HEAD").then(|| Answer::text(204, "text/plain", "")));
    issue(&fresh(&ca), &NAMES, |_| {}).await.unwrap();
    // No HEAD at all.
    let ca = Scripted::start(|seen| {
        (seen.method == "HEAD").then(|| Answer::text(405, "text/plain", "").with("Replay-Nonce", "bad one"))
    });
    issue(&fresh(&ca), &NAMES, |_| {}).await.unwrap();
    // None to be had.
    let ca = Scripted::start(|seen| {
        (seen.path == "/nonce").then(|| Answer::text(200, "text/plain", "").with("Replay-Nonce", "no\tnonce"))
    });
    assert_eq!(fresh(&ca).account().await.unwrap_err().code, "ca-answer");
}

#[tokio::test]
async fn a_crash_between_key_and_account_loses_neither() {
    // The first registration is done, and its answer lost.
    let ca = Scripted::start(|seen| {
        (seen.path == "/account" && seen.nth == 0).then(|| Answer::text(500, "text/plain", "oops"))
    });
    let store = Arc::new(MemoryStore::default());
    let one = client(spec(&ca.directory()), &store, None);
    assert_eq!(one.account().await.unwrap_err().code, "ca-down");
    let kept = saved(&store).await;
    assert!(kept["accounts"][0]["key"].is_string() && kept["accounts"][0]["url"].is_null());

    let two = client(spec(&ca.directory()), &store, None);
    let url = two.account().await.unwrap();
    assert_eq!(saved(&store).await["accounts"][0]["key"], kept["accounts"][0]["key"]);
    let posts: Vec<_> = ca.log().into_iter().filter(|seen| seen.path == "/account").collect();
    // First it is asked whether the account is there, then it is made.
    assert_eq!(posts[1].payload, json!({ "onlyReturnExisting": true }));
    assert_eq!(posts[2].payload["termsOfServiceAgreed"], true);
    assert!(posts.iter().all(|post| post.protected["jwk"] == posts[0].protected["jwk"]));

    // A third one knows it all, and asks nothing but the directory.
    let before = ca.log().len();
    assert_eq!(client(spec(&ca.directory()), &store, None).account().await.unwrap(), url);
    assert_eq!(ca.log().len() - before, 1);
}

#[tokio::test]
async fn two_processes_that_register_at_once_share_one_key() {
    let ca = Scripted::start(|_| None);
    let store = Arc::new(MemoryStore::default());
    let clients: Vec<_> = (0..8).map(|_| client(spec(&ca.directory()), &store, None)).collect();
    let asked: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(async move { client.account().await })).collect();
    let mut urls = Vec::new();
    for url in asked {
        urls.push(url.await.unwrap().unwrap());
    }
    urls.dedup();
    assert_eq!(urls.len(), 1);
    assert_eq!(saved(&store).await["accounts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn another_directory_is_another_account_and_no_key_is_lost() {
    let (one, two) = (Scripted::start(|_| None), Scripted::start(|_| None));
    let store = Arc::new(MemoryStore::default());
    let first = client(spec(&one.directory()), &store, None).account().await.unwrap();
    client(spec(&two.directory()), &store, None).account().await.unwrap();
    assert_eq!(saved(&store).await["accounts"].as_array().unwrap().len(), 2);
    assert_eq!(client(spec(&one.directory()), &store, None).account().await.unwrap(), first);
}

#[tokio::test]
async fn terms_are_agreed_to_only_where_they_exist_and_only_when_told() {
    let with_terms = |seen: &Seen| {
        let mut dir = directory(&seen.base);
        dir["meta"] = json!({ "termsOfService": "https://ca.example/terms\u{1b}[2J" });
        (seen.path == "/dir").then(|| Answer::json(200, &dir))
    };
    let ca = Scripted::start(with_terms);
    let unwilling = IssuerSpec { accept_terms: false, ..spec(&ca.directory()) };
    let store = Arc::new(MemoryStore::default());
    let failure = client(unwilling.clone(), &store, None).account().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("terms-not-accepted", Class::Refused));
    assert!(failure.words.contains("https://ca.example/terms\\u{1b}"), "{failure}");
    assert!(failure.words.contains("accept-terms"));
    assert_eq!(saved(&store).await, Value::Null, "nothing is kept of an account that can't be");
    assert_eq!(ca.count("POST", "/account"), 0);

    let free = Scripted::start(|_| None);
    let unwilling = IssuerSpec { directory: free.directory(), ..unwilling };
    client(unwilling, &store, None).account().await.unwrap();
    let post = free.log().into_iter().find(|seen| seen.path == "/account").unwrap();
    assert!(post.payload.get("termsOfServiceAgreed").is_none());
}

#[tokio::test]
async fn contacts_are_told_when_they_change_and_never_stop_a_renewal() {
    let ca = Scripted::start(|seen| {
        (seen.path == "/account/0" && seen.nth == 0)
            .then(|| Answer::problem(400, "invalidContact", "not today"))
    });
    let store = Arc::new(MemoryStore::default());
    client(spec(&ca.directory()), &store, None).account().await.unwrap();
    let changed = IssuerSpec { contact: vec!["mailto:ops@a.example".to_owned()], ..spec(&ca.directory()) };
    // Refused the first time: the order goes through all the same. Then told, then known.
    for told in [1, 2, 2] {
        issue(&client(changed.clone(), &store, None), &NAMES, |_| {}).await.unwrap();
        assert_eq!(ca.count("POST", "/account/0"), told);
    }
    assert_eq!(ca.count("POST", "/account"), 1);
}

#[tokio::test]
async fn a_binding_is_sent_and_a_bad_key_for_it_is_the_operators() {
    let ca = Scripted::start(|_| None);
    let bound = IssuerSpec { eab: Some(eab("kid-1")), ..spec(&ca.directory()) };
    let store = Arc::new(MemoryStore::default());
    client(bound.clone(), &store, None).account().await.unwrap();
    let post = ca.log().into_iter().find(|seen| seen.path == "/account").unwrap();
    assert!(post.payload["externalAccountBinding"]["signature"].is_string());
    assert_eq!(saved(&store).await["accounts"][0]["eab-kid"], "kid-1");

    let secrets = support::acme_client::secrets("not base64!");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let ca = nolapse::ca::AcmeCa::new(bound, store, Clock::wall(), secrets, None).unwrap();
    let failure = ca.account().await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.fault), ("eab-key", Fault::Config));
    assert!(!failure.words.contains("not base64!"), "a secret is repeated");
}

#[tokio::test]
async fn a_damaged_account_is_never_replaced_in_silence() {
    let ca = Scripted::start(|_| None);
    let newer = r#"{"schema":99,"accounts":[]}"#.to_owned();
    let bad_key = format!(r#"{{"schema":1,"accounts":[{{"directory":"{}","key":"AAAA"}}]}}"#, ca.directory());
    for content in [newer, bad_key, "{".to_owned(), String::new()] {
        let store = Arc::new(MemoryStore::default());
        let key = Key::Account(IssuerId::parse("test").unwrap());
        store.swap(&key, Expect::Absent, Content::new(content.clone().into_bytes())).await.unwrap();
        let failure = client(spec(&ca.directory()), &store, None).account().await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.class), ("account-damaged", Class::Broken), "{content}");
        assert_eq!(store.load(&key).await.unwrap().unwrap().content.bytes(), content.as_bytes());
    }
    assert_eq!(ca.count("POST", "/account"), 0);
}

#[tokio::test]
async fn a_profile_is_asked_for_where_it_is_offered() {
    let offering = |seen: &Seen| {
        let mut dir = directory(&seen.base);
        dir["meta"] = json!({ "profiles": { "short": "6 days" } });
        match (seen.path.as_str(), &seen.payload["profile"]) {
            ("/dir", _) => Some(Answer::json(200, &dir)),
            ("/order", Value::String(_)) if seen.nth == 1 => {
                Some(Answer::problem(400, "malformed", "this profile is closed today"))
            }
            _ => None,
        }
    };
    let ca = Scripted::start(offering);
    let client = fresh(&ca);
    let with = |name: &str, required| OrderRequest {
        profile: Some(Profile { name: name.to_owned(), required }),
        ..request(&NAMES)
    };
    client.order(&with("short", true)).await.unwrap();
    let failure = client.order(&with("short", false)).await.unwrap_err();
    assert_eq!(failure.code, "profile-refused");
    client.order(&with("long", false)).await.unwrap();
    let failure = client.order(&with("long", true)).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.class), ("profile-unavailable", Class::Refused));
    assert!(failure.words.contains("short"), "what is offered is said: {failure}");
    let asked: Vec<_> = ca
        .log()
        .into_iter()
        .filter(|seen| seen.path == "/order")
        .map(|seen| seen.payload.get("profile").cloned())
        .collect();
    assert_eq!(asked, [Some(json!("short")), Some(json!("short")), None]);
}

#[tokio::test]
async fn the_issuers_profile_stands_in_where_a_certificate_names_none() {
    let script = |seen: &Seen| {
        let mut dir = directory(&seen.base);
        dir["meta"] = json!({ "profiles": { "short": "6 days", "closed": "for others" } });
        match (seen.path.as_str(), seen.payload["profile"].as_str()) {
            ("/dir", _) => Some(Answer::json(200, &dir)),
            ("/order", Some("closed")) => Some(Answer::problem(400, "invalidProfile", "not for you")),
            _ => None,
        }
    };
    for (name, required, asked) in [
        ("short", true, vec![Some("short")]),
        ("closed", false, vec![Some("closed"), None]),
        ("closed", true, vec![Some("closed")]),
    ] {
        let ca = Scripted::start(script);
        let profile = Some(Profile { name: name.to_owned(), required });
        let spec = IssuerSpec { profile, ..spec(&ca.directory()) };
        let placed = client(spec, &Arc::new(MemoryStore::default()), None).order(&request(&NAMES)).await;
        assert_eq!(placed.is_ok(), name == "short" || !required);
        let orders: Vec<_> = ca.log().into_iter().filter(|seen| seen.path == "/order").collect();
        let seen: Vec<_> = orders.iter().map(|order| order.payload["profile"].as_str()).collect();
        assert_eq!(seen, asked);
    }
}

#[tokio::test]
async fn what_is_replaced_is_said_only_where_it_is_understood() {
    let replacing = OrderRequest { replaces: Some("AKI.SERIAL".to_owned()), ..request(&NAMES) };
    // No renewal information: not sent.
    let ca = Scripted::start(|_| None);
    fresh(&ca).order(&replacing).await.unwrap();
    assert!(ca.log().iter().all(|seen| seen.payload.get("replaces").is_none()));
    let with_ari = |seen: &Seen| {
        let mut dir = directory(&seen.base);
        dir["renewalInfo"] = format!("{}/ari", seen.base).into();
        (seen.path == "/dir").then(|| Answer::json(200, &dir))
    };
    let ca = Scripted::start(with_ari);
    fresh(&ca).order(&replacing).await.unwrap();
    assert!(ca.log().iter().any(|seen| seen.payload["replaces"] == "AKI.SERIAL"));
    let ca = Scripted::start(move |seen| {
        let refused = (seen.path == "/order").then(|| Answer::problem(409, "alreadyReplaced", "by another"));
        with_ari(seen).or(refused)
    });
    assert_eq!(fresh(&ca).order(&replacing).await.unwrap_err().code, "replaces-refused");
    // A CA that takes it and does not repeat it: the order stands, and is not made twice.
    let ca = Scripted::start(move |seen| {
        let forgetful = (seen.path == "/order").then(|| {
            let order = json!({
                "status": "pending", "authorizations": [], "finalize": format!("{}/f", seen.base),
            });
            Answer::json(201, &order).with("Location", "/order/0")
        });
        let read = (seen.path == "/order/0").then(|| {
            let order =
                json!({ "status": "ready", "authorizations": [], "finalize": format!("{}/f", seen.base) });
            Answer::json(200, &order)
        });
        with_ari(seen).or(forgetful).or(read)
    });
    let view = fresh(&ca).order(&replacing).await.unwrap();
    assert_eq!(view.status, OrderStatus::Ready);
    assert_eq!(ca.count("POST", "/order"), 1);
}

#[tokio::test]
async fn renewal_information_is_read_with_care() {
    let (start, end) = ("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z");
    let info = |start: &str, end: &str| json!({ "suggestedWindow": { "start": start, "end": end } });
    let explained = |url: &str| {
        let mut info = info(start, end);
        info["explanationURL"] = url.into();
        Answer::json(200, &info)
    };
    let good = || Answer::json(200, &info(start, end));
    let wish = |value: &str| good().with("Retry-After", value);
    #[rustfmt::skip]
    let table = [
        ("says when to come back", wish("7200"), Ok::<_, &str>(Some(Span::hours(2)))),
        ("does not say", good(), Ok(Some(Span::hours(6)))),
        ("says nonsense", wish("later"), Ok(Some(Span::hours(6)))),
        ("wants us every second", wish("1"), Ok(Some(Span::MINUTE))),
        ("wants us never", wish("99999999999999999999"), Ok(Some(Span::DAY))),
        ("does not know the certificate", Answer::problem(404, "malformed", "?"), Ok(None)),
        ("gives a window that ends first", Answer::json(200, &info(end, start)), Err("ari-invalid")),
        ("gives an empty window", Answer::json(200, &info(start, start)), Err("ari-invalid")),
        ("gives no dates", Answer::json(200, &info("now", "then")), Err("ari-invalid")),
        ("gives no JSON", Answer::text(200, "text/html", "<html>"), Err("ari-invalid")),
        ("is in trouble", Answer::text(502, "text/html", "<html>"), Err("ca-down")),
    ];
    for (what, answer, expected) in table {
        let seen = ari(answer).await.map(|info| info.map(|info| info.retry_after));
        assert_eq!(seen.map_err(|failure| failure.code), expected.map_err(str::to_owned), "a CA that {what}");
    }
    let explanation = |answer| async { ari(answer).await.unwrap().unwrap().explanation };
    let said = explanation(explained("https://ca.example/why\u{202e}")).await;
    assert_eq!(said.as_deref(), Some("https://ca.example/why\\u{202e}"));
    assert_eq!(explanation(explained("javascript:alert(1)")).await, None);
    let plain = Scripted::start(|_| None);
    assert_eq!(fresh(&plain).renewal_info("AKI.SERIAL").await.unwrap(), None, "no such service");
}

/// What renewal information a CA with this answer gives. It takes no account to ask.
async fn ari(answer: Answer) -> Result<Option<nolapse::ports::RenewalInfo>, Failure> {
    let ca = Scripted::start(move |seen| {
        let mut dir = directory(&seen.base);
        dir["renewalInfo"] = format!("{}/ari/", seen.base).into();
        match seen.path.as_str() {
            "/dir" => Some(Answer::json(200, &dir)),
            "/ari/AKI.SERIAL" => Some(answer.clone()),
            _ => None,
        }
    });
    let seen = fresh(&ca).renewal_info("AKI.SERIAL").await;
    assert_eq!(ca.count("POST", "/account"), 0);
    seen
}

#[tokio::test]
async fn telling_twice_is_harmless_and_an_error_on_the_way_is_not_the_end() {
    // The second telling is refused, as some CAs do; the authorization shows that it went through.
    let ca = Scripted::start(|seen| {
        (seen.path == "/challenge/0" && seen.nth > 0)
            .then(|| Answer::problem(400, "malformed", "the challenge is not pending"))
    });
    let client = fresh(&ca);
    let url = client.order(&request(&NAMES)).await.unwrap().url;
    let task = tasks(&client.authorizations(&url).await.unwrap()).remove(0);
    client.ready(&url, &task).await.unwrap();
    client.ready(&url, &task).await.unwrap();

    // Erratum 5732: processing, with an error in it, is still processing.
    let ca = Scripted::start(|seen| {
        let processing = json!({
            "type": "http-01", "url": format!("{}/challenge/0", seen.base), "token": "a-token_1",
            "status": "processing", "error": { "type": "x", "detail": "not yet" },
        });
        (seen.path == "/challenge/0").then(|| Answer::json(200, &processing))
    });
    let client = fresh(&ca);
    let url = client.order(&request(&NAMES)).await.unwrap().url;
    let task = tasks(&client.authorizations(&url).await.unwrap()).remove(0);
    client.ready(&url, &task).await.unwrap();

    // Refused, and the challenge did not move: that is a failure.
    let ca = Scripted::start(|seen| {
        (seen.path == "/challenge/0").then(|| Answer::problem(403, "unauthorized", "not you"))
    });
    let client = fresh(&ca);
    let url = client.order(&request(&NAMES)).await.unwrap().url;
    let task = tasks(&client.authorizations(&url).await.unwrap()).remove(0);
    assert_eq!(client.ready(&url, &task).await.unwrap_err().code, "refused-by-ca");
}

#[tokio::test]
async fn f49_a_forgotten_account_is_restored_within_the_order_that_found_out() {
    let ca = Scripted::start(|seen| {
        (seen.path == "/order" && seen.nth == 0)
            .then(|| Answer::problem(400, "accountDoesNotExist", "who are you?"))
    });
    let store = Arc::new(MemoryStore::default());
    issue(&client(spec(&ca.directory()), &store, None), &NAMES, |_| {}).await.unwrap();
    let jwks: Vec<_> = ca
        .log()
        .into_iter()
        .filter(|seen| seen.path == "/account")
        .map(|seen| seen.protected["jwk"].clone())
        .collect();
    assert_eq!(jwks.len(), 2);
    assert_eq!(jwks[0], jwks[1], "a second account is never made");
}

#[tokio::test]
async fn t07_an_order_with_more_authorizations_than_names_can_be_is_not_followed() {
    let ca = Scripted::start(|seen| {
        let places: Vec<_> = (0..101).map(|_| format!("{}/authz/0", seen.base)).collect();
        let order =
            json!({ "status": "pending", "authorizations": places, "finalize": format!("{}/f", seen.base) });
        (seen.path == "/order").then(|| Answer::json(201, &order).with("Location", "/order/0"))
    });
    let client = fresh(&ca);
    let url = client.order(&request(&NAMES)).await.unwrap().url;
    let failure = client.authorizations(&url).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.fault), ("ca-answer", Fault::Ca), "{failure}");
    assert!(client.abandon(&url).await.is_err());
    assert_eq!(ca.count("POST", "/authz/0"), 0);
}

#[tokio::test]
async fn a_directory_that_asks_too_much_is_read_again() {
    // Each is mended at the CA; nobody waits for the day that a directory is kept.
    for meta in
        [json!({ "externalAccountRequired": true }), json!({ "profiles": { "other": "not the wanted one" } })]
    {
        let ca = Scripted::start(move |seen| {
            let mut dir = directory(&seen.base);
            dir["meta"] =
                if seen.nth == 0 { meta.clone() } else { json!({ "profiles": { "wanted": "it is there" } }) };
            (seen.path == "/dir").then(|| Answer::json(200, &dir))
        });
        let profile = Some(Profile { name: "wanted".to_owned(), required: true });
        let spec = IssuerSpec { profile, ..spec(&ca.directory()) };
        let client = client(spec, &Arc::new(MemoryStore::default()), None);
        let failure = client.order(&request(&NAMES)).await.unwrap_err();
        assert!(["eab-required", "profile-unavailable"].contains(&failure.code.as_str()), "{failure}");
        client.order(&request(&NAMES)).await.unwrap();
        assert_eq!(ca.count("GET", "/dir"), 2);
    }
}

#[tokio::test]
async fn an_order_that_is_gone_says_so() {
    let ca = Scripted::start(|_| None);
    let client = fresh(&ca);
    let url = format!("{}/order/7", ca.base);
    assert_eq!(client.view(&url).await.unwrap_err().code, "order-gone");
    assert_eq!(client.authorizations(&url).await.unwrap_err().code, "order-gone");
    assert_eq!(client.download(&url).await.unwrap_err().code, "order-gone");
    client.abandon(&url).await.unwrap();
}

#[tokio::test]
async fn a_chain_larger_than_any_real_one_is_not_read() {
    let ca = Scripted::start(|seen| {
        (seen.path == "/certificate/0")
            .then(|| Answer::text(200, "application/pem-certificate-chain", vec![b'x'; 300 * 1024]))
    });
    let failure = issue(&fresh(&ca), &NAMES, |_| {}).await.unwrap_err();
    assert_eq!(failure.code, "ca-answer");
    // A large one is; other answers may not be so large.
    let ca = Scripted::start(|seen| {
        (seen.path == "/certificate/0")
            .then(|| Answer::text(200, "application/pem-certificate-chain", vec![b'x'; 200 * 1024]))
    });
    assert_eq!(issue(&fresh(&ca), &NAMES, |_| {}).await.unwrap().len(), 200 * 1024);
}

#[tokio::test]
async fn an_agent_starts_without_its_ca() {
    // A port that was free a moment ago: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = Arc::new(MemoryStore::default());
    let ca = Arc::new(client(spec(&format!("http://127.0.0.1:{port}/dir")), &store, None));
    for failure in [
        ca.reachable().await.unwrap_err(),
        ca.account().await.unwrap_err(),
        ca.renewal_info("A.B").await.unwrap_err(),
    ] {
        let seen = (failure.code.as_str(), failure.class, failure.fault);
        assert_eq!(seen, ("ca-down", Class::Transient, Fault::Network), "{failure}");
    }
    assert_eq!(saved(&store).await, Value::Null);
}

#[tokio::test]
async fn what_an_issuer_cannot_be_is_said_at_once() {
    let base = spec("https://ca.example/dir");
    #[rustfmt::skip]
    let table = [
        ("http://ca.example/dir", true, None, "directory-insecure"),
        ("http://127.0.0.1/dir", false, None, "directory-insecure"),
        ("ftp://127.0.0.1/dir", true, None, "directory-insecure"),
        ("https://user:word@ca.example/dir", false, None, "directory-insecure"),
        ("ca.example", false, None, "directory-url"),
        ("https://ca.example/dir", false, Some(""), "ca-file"),
        ("https://ca.example/dir", false, Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "ca-file"),
        ("https://ca.example/dir", false, Some("-----BEGIN CERTIFICATE-----\nMIIB"), "ca-file"),
    ];
    for (directory, insecure_http, roots, code) in table {
        let spec = IssuerSpec { directory: directory.to_owned(), insecure_http, ..base.clone() };
        let failure = try_client(spec, &Arc::new(MemoryStore::default()), roots).err().unwrap();
        assert_eq!((failure.code.as_str(), failure.class), (code, Class::Refused), "{directory}");
        assert!(!failure.words.contains("word@"), "a password is repeated");
    }
    let spec = IssuerSpec { proxy: Some("http://[proxy".to_owned()), ..base.clone() };
    let failure = try_client(spec, &Arc::new(MemoryStore::default()), None).err().unwrap();
    assert_eq!(failure.code, "proxy-url");
    for directory in ["https://ca.example/dir", "https://[2001:db8::1]:8443/dir"] {
        let spec = IssuerSpec { directory: directory.to_owned(), ..base.clone() };
        assert!(try_client(spec, &Arc::new(MemoryStore::default()), None).is_ok());
    }
}

#[tokio::test]
async fn a_proxy_is_used_where_one_is_named() {
    // Nothing listens at port 1: only the proxy knows this CA.
    let proxy = Scripted::start(|seen| {
        (seen.path == "http://127.0.0.1:1/dir").then(|| Answer::json(200, &directory("http://127.0.0.1:1")))
    });
    let through = IssuerSpec { proxy: Some(proxy.base.clone()), ..spec("http://127.0.0.1:1/dir") };
    client(through, &Arc::new(MemoryStore::default()), None).reachable().await.unwrap();
    assert_eq!(proxy.log().len(), 1);
}

#[tokio::test]
async fn a_page_that_is_no_directory_is_the_operators_to_mend() {
    for answer in [
        Answer::text(200, "text/html", "<html>welcome</html>"),
        Answer::json(200, &json!({ "newOrder": 7 })),
        Answer::text(404, "text/html", "nothing"),
    ] {
        let ca = Scripted::start(move |_| Some(answer.clone()));
        let failure = fresh(&ca).reachable().await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.fault), ("directory-missing", Fault::Config));
    }
}

#[tokio::test]
async fn two_hundred_orders_at_once_share_what_there_is() {
    let ca = Scripted::start(|_| None);
    let client = Arc::new(fresh(&ca));
    let placed: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { issue(&*client, &NAMES, |_| {}).await })
        })
        .collect();
    for chain in placed {
        assert_eq!(chain.await.unwrap().unwrap(), CHAIN);
    }
    assert_eq!(
        (ca.count("GET", "/dir"), ca.count("POST", "/account"), ca.count("POST", "/order")),
        (1, 1, 200)
    );
    // One for each call that may be under way; a connection more where two were opened for one.
    let fetched = (ca.count("HEAD", "/nonce"), ca.connections());
    assert!(fetched.0 <= 16 && fetched.1 <= 32, "{fetched:?} nonces and connections");
    let spent = ca.log().len();
    assert!(spent <= 200 * 82 / 10, "{spent} requests");
}

#[tokio::test]
async fn a_dead_ca_is_asked_once_for_all_who_wait() {
    let ca = Scripted::start(|seen| {
        (seen.path == "/dir").then(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            Answer::text(503, "text/html", "down")
        })
    });
    let client = Arc::new(fresh(&ca));
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.order(&request(&NAMES)).await })
        })
        .collect();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().unwrap_err().code, "ca-down");
    }
    assert_eq!(ca.count("GET", "/dir"), 1);
}
