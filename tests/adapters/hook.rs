use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nolapse::core::event::{Deployed, Deployment, Moment};
use nolapse::core::failure::{Class, Failure, Fault};
use nolapse::core::name::{HookId, LineageId};
use nolapse::core::spec::{Call, HookSpec, HttpCall, SignalTarget};
use nolapse::core::time::{Span, Timestamp};
use nolapse::hook;
use nolapse::ports::Hook;
use nolapse::sys::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bench::{Server, free_port, local, wait_for};

fn spec(call: Call) -> HookSpec {
    HookSpec {
        id: HookId::parse("web").unwrap(),
        check: None,
        call,
        user: None,
        after: Vec::new(),
        timeout: Span::secs(60),
        origin: nolapse::core::spec::Origin { file: "nolapse.toml".into(), line: 1 },
    }
}

fn built(spec: &HookSpec) -> Arc<dyn Hook> {
    hook::build(spec, &Clock::wall()).unwrap()
}

fn run(argv: &[&str]) -> HookSpec {
    spec(Call::Run(argv.iter().map(|&argument| argument.to_owned()).collect()))
}

fn lineage(id: &str, generation: u32, names: &[&str]) -> Deployed {
    Deployed {
        lineage: LineageId::parse(id).unwrap(),
        generation: generation.into(),
        directory: format!("/var/lib/nolapse/live/{id}"),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        not_after: Timestamp::from_secs(1_800_000_000),
        fingerprint: "05be".into(),
        serial: "04f1".into(),
    }
}

fn deployment(lineages: Vec<Deployed>) -> Deployment {
    Deployment {
        version: 1,
        event: Moment::Deploy,
        hook: HookId::parse("web").unwrap(),
        at: Timestamp::from_secs(1_790_000_000),
        lineages,
    }
}

fn one() -> Deployment {
    deployment(vec![lineage("a.example", 7, &["a.example", "www.a.example"])])
}

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("script");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Calls a script that keeps what it got, and answers with its environment and input.
async fn told(deployment: &Deployment) -> (BTreeMap<String, String>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    let text =
        format!("env -0 >{shown}/env; cat >{shown}/stdin; pwd >{shown}/pwd; echo \"$#:$1\" >{shown}/argv");
    let script = script(dir.path(), &text);
    built(&run(&[script.to_str().unwrap(), "$(id); rm -rf *"])).call(deployment).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("argv"), "1:$(id); rm -rf *\n", "no shell sees an argument");
    let pairs = read("env");
    let pairs = pairs.split('\0').filter_map(|pair| pair.split_once('='));
    let env = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    (env, read("stdin"), read("pwd"))
}

#[tokio::test]
async fn a_program_is_told_by_environment_and_input() {
    let (mut env, stdin, pwd) = told(&one()).await;
    // Shells add these by themselves.
    for own in ["PWD", "OLDPWD", "SHLVL", "_"] {
        env.remove(own);
    }
    let expected = [
        ("NOLAPSE_DIRECTORY", "/var/lib/nolapse/live/a.example"),
        ("NOLAPSE_EVENT", "deploy"),
        ("NOLAPSE_GENERATION", "7"),
        ("NOLAPSE_HOOK", "web"),
        ("NOLAPSE_LINEAGES", "a.example"),
        ("NOLAPSE_NAMES", "a.example www.a.example"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("RENEWED_DOMAINS", "a.example www.a.example"),
        ("RENEWED_LINEAGE", "/var/lib/nolapse/live/a.example"),
    ];
    let env: Vec<_> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(env, expected);
    assert_eq!(pwd, "/\n");
    let json: serde_json::Value = serde_json::from_str(&stdin).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["hook"], "web");
    assert_eq!(json["lineages"][0]["not-after"], "2027-01-15T08:00:00Z");
}

#[tokio::test]
async fn certificates_renewed_together_are_told_together() {
    let several =
        deployment(vec![lineage("a", 7, &["a.example"]), lineage("b", 2, &["b.example", "c.example"])]);
    let (env, ..) = told(&several).await;
    assert_eq!(env["NOLAPSE_LINEAGES"], "a\nb");
    assert_eq!(env["NOLAPSE_GENERATION"], "7\n2");
    assert_eq!(env["NOLAPSE_DIRECTORY"], "/var/lib/nolapse/live/a\n/var/lib/nolapse/live/b");
    assert_eq!(env["RENEWED_DOMAINS"], "a.example b.example c.example");
}

#[tokio::test]
async fn a_whole_fleet_at_once_still_starts_the_program() {
    let many = (0..5000).map(|n| lineage(&format!("l{n}"), 1, &[&format!("host-{n}.a.example")])).collect();
    let (env, stdin, _) = told(&deployment(many)).await;
    assert!(!env.contains_key("NOLAPSE_NAMES") && !env.contains_key("RENEWED_LINEAGE"));
    assert_eq!(env["NOLAPSE_EVENT"], "deploy");
    let json: serde_json::Value = serde_json::from_str(&stdin).unwrap();
    assert_eq!(json["lineages"].as_array().unwrap().len(), 5000);
}

#[tokio::test]
async fn every_program_of_a_directory_is_run_by_name_also_after_one_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let parts = dir.path().join("deploy");
    std::fs::create_dir(&parts).unwrap();
    for (name, mode, end) in [
        ("20-b", 0o755, 3),
        ("10-a", 0o755, 0),
        ("30-c", 0o755, 0),
        ("40-off", 0o644, 0),
        (".d", 0o755, 0),
        ("e~", 0o755, 0),
    ] {
        let path = parts.join(name);
        let text = format!(
            "#!/bin/sh\necho {name} $NOLAPSE_EVENT $RENEWED_DOMAINS >> {}\nexit {end}\n",
            log.display()
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::symlink("/nowhere", parts.join("00-dangling")).unwrap();
    let hook = built(&spec(Call::Parts(parts.to_str().unwrap().into())));
    let failure = hook.call(&one()).await.unwrap_err();
    assert_eq!(failure.code, "hook-failed");
    assert!(failure.words.contains("20-b"), "{failure}");
    let told = std::fs::read_to_string(&log).unwrap();
    let rest = "deploy a.example www.a.example";
    assert_eq!(told, format!("10-a {rest}\n20-b {rest}\n30-c {rest}\n"));
    std::fs::remove_dir_all(&parts).unwrap();
    let failure = hook.call(&one()).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.fault), ("hook-missing", Fault::Config));
}

#[tokio::test]
async fn a_hook_runs_as_the_user_it_names_with_that_users_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = format!("echo $(id -u) $(id -G) > {}/$(id -u)", dir.path().display());
    let own = HookSpec {
        user: Some(rustix::process::geteuid().as_raw().to_string()),
        ..run(&["sh", "-c", &program])
    };
    built(&own).call(&one()).await.unwrap();
    let other = HookSpec { user: Some("nobody".into()), ..run(&["sh", "-c", &program]) };
    let told = built(&other).call(&one()).await;
    if rustix::process::geteuid().is_root() {
        told.unwrap();
        let text = std::fs::read_to_string(dir.path().join("65534")).unwrap();
        assert_eq!(text, "65534 65534\n");
    } else {
        assert_eq!(told.unwrap_err().code, "hook-missing");
    }
    let stranger = HookSpec { user: Some("no-such-user".into()), ..run(&["true"]) };
    let failure = built(&stranger).call(&one()).await.unwrap_err();
    assert!(failure.words.contains("there is no user no-such-user"), "{failure}");
}

#[tokio::test]
async fn t05_names_from_outside_stay_data() {
    let names = ["$(touch /tmp/x)", "`id`", "a;b|c&d>e", "'\"\\", "--help", "a\nb", "\u{202e}"];
    let (env, stdin, _) = told(&deployment(vec![lineage("a", 1, &names)])).await;
    assert_eq!(env["RENEWED_DOMAINS"], names.join(" "));
    let json: serde_json::Value = serde_json::from_str(&stdin).unwrap();
    assert_eq!(json["lineages"][0]["names"], serde_json::json!(names));
}

#[tokio::test]
async fn f15_every_way_to_fail_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fails = script(dir.path(), "echo starting; echo 'nginx: [emerg] bad key' >&2; exit 3");
    let fails = fails.to_str().unwrap();
    let not_a_program = dir.path().join("text");
    std::fs::write(&not_a_program, "").unwrap();
    let (missing, not_a_program) = (dir.path().join("missing"), not_a_program.to_str().unwrap());
    for (argv, code, class, words) in [
        (vec![fails], "hook-failed", Class::Transient, "exit code 3: starting / nginx: [emerg] bad key"),
        (vec!["sh", "-c", "kill -9 $$"], "hook-killed", Class::Transient, "killed by signal 9"),
        (vec!["false"], "hook-failed", Class::Transient, "exit code 1, and printed nothing"),
        (vec!["no-such-program-here"], "hook-missing", Class::Refused, "/usr/local/sbin:/usr/local/bin"),
        (vec![missing.to_str().unwrap()], "hook-missing", Class::Refused, "missing"),
        (vec![not_a_program], "hook-missing", Class::Refused, "no execute permission"),
        (vec!["./reload.sh"], "hook-missing", Class::Refused, "absolute path"),
        (vec![], "hook-missing", Class::Refused, "no program is named"),
    ] {
        let failure = built(&run(&argv)).call(&one()).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.class), (code, class), "{failure}");
        assert!(failure.words.contains(words), "{words}: {failure}");
    }
    built(&run(&["true"])).call(&one()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f19_a_hook_that_hangs_is_stopped() {
    let hook = hook::build(&run(&["sleep", "1000"]), &Clock::wall()).unwrap();
    let failure = hook.call(&one()).await.unwrap_err();
    assert_eq!(failure.code, "hook-timeout");
    assert!(failure.words.contains("sleep did not end within 1 m"), "{failure}");
}

#[tokio::test]
async fn f19_a_flood_is_read_and_mostly_dropped() {
    let flood = run(&["sh", "-c", "yes 0123456789 | head -c 50000000; echo the reason; exit 1"]);
    let failure = built(&flood).call(&one()).await.unwrap_err();
    assert_eq!(failure.code, "hook-failed");
    assert!(failure.words.chars().count() <= Failure::WORDS_MAX, "{failure}");
    assert!(failure.words.contains("bytes more"), "{failure}");
}

#[tokio::test]
async fn a_check_speaks_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let asks =
        script(dir.path(), "test \"$NOLAPSE_EVENT\" = check && test \"$NOLAPSE_HOOK\" = web && ! read line");
    let checked = |argv: &[&str]| {
        let check = argv.iter().map(|&argument| argument.to_owned()).collect();
        built(&HookSpec { check: Some(check), ..run(&["true"]) })
    };
    assert!(built(&run(&["true"])).check().await.is_none());
    checked(&[asks.to_str().unwrap()]).check().await.unwrap().unwrap();
    for (argv, code) in [
        (vec!["sh", "-c", "echo unbalanced brace >&2; exit 1"], "check-failed"),
        (vec!["sh", "-c", "kill $$"], "check-killed"),
        (vec!["no-such-program-here", "-t"], "check-missing"),
    ] {
        let failure = checked(&argv).check().await.unwrap().unwrap_err();
        assert_eq!(failure.code, code);
    }
}

#[tokio::test]
async fn a_process_is_told_by_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let (shown, pid_file) = (dir.path().display(), dir.path().join("pid"));
    let text =
        format!("trap 'echo hup >>{shown}/heard' HUP; echo $$ >{shown}/pid; while :; do sleep 0.05; done");
    // A name that no other process has.
    let name = format!("nlps-{}", std::process::id());
    std::os::unix::fs::symlink("/bin/sh", dir.path().join(&name)).unwrap();
    let mut child =
        Command::new(dir.path().join(&name)).args(["-c", &text]).stdin(Stdio::null()).spawn().unwrap();
    wait_for(|| std::fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n')));
    let heard = || std::fs::read_to_string(dir.path().join("heard")).unwrap_or_default().lines().count();
    let by = |signal: &str, target| spec(Call::Signal { signal: signal.into(), target });
    let by_file = by("SIGHUP", SignalTarget::PidFile(pid_file.to_str().unwrap().into()));
    built(&by_file).call(&one()).await.unwrap();
    wait_for(|| heard() == 1);
    let by_name = by("HUP", SignalTarget::Process(name));
    built(&by_name).call(&one()).await.unwrap();
    wait_for(|| heard() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = [(by_file, "pid-file"), (by_name, "no-process")];
    for (spec, code) in gone {
        // A child that the shell had just forked bears its name until it becomes `sleep`.
        let end = Instant::now() + Duration::from_secs(20);
        let failure = loop {
            match built(&spec).call(&one()).await {
                Err(failure) => break failure,
                Ok(()) => assert!(Instant::now() < end, "somebody still answers to it"),
            }
        };
        assert_eq!(failure.code, code);
    }
    std::fs::write(&pid_file, "1\n").unwrap();
    let init = by("HUP", SignalTarget::PidFile(pid_file.to_str().unwrap().into()));
    assert_eq!(built(&init).call(&one()).await.unwrap_err().code, "pid-file");
    for signal in ["KILL", "STOP", "", "9", "HUP; rm"] {
        let spec = by(signal, SignalTarget::Process("nginx".into()));
        assert_eq!(hook::build(&spec, &Clock::wall()).err().unwrap().code, "signal-unknown", "{signal}");
    }
}

#[tokio::test]
async fn nginx_takes_a_hup_by_its_pid_file() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let block = |text: &str| format!("server {{ listen 127.0.0.1:{port}; return 200 {text}; }}");
    let Some(nginx) = crate::bench::nginx(dir.path(), &block("old"), port) else { return };
    let body = || {
        let mut stream = std::net::TcpStream::connect(local(port)).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        std::io::read_to_string(stream).unwrap()
    };
    assert!(body().ends_with("old"));
    let config = dir.path().join("nginx.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("return 200 old", "return 200 new")).unwrap();
    let target = SignalTarget::PidFile(dir.path().join("nginx.pid").to_str().unwrap().into());
    let spec = HookSpec {
        check: Some(["nginx", "-t", "-q", "-c", config.to_str().unwrap()].map(str::to_owned).to_vec()),
        ..spec(Call::Signal { signal: "HUP".into(), target })
    };
    let hook = built(&spec);
    hook.check().await.unwrap().unwrap();
    hook.call(&one()).await.unwrap();
    wait_for(|| body().ends_with("new"));
    assert!(nginx.pid() > 1);
    std::fs::write(&config, "http {").unwrap();
    let failure = hook.check().await.unwrap().unwrap_err();
    assert_eq!(failure.code, "check-failed");
    assert!(failure.words.contains("unexpected end of file"), "{failure}");
}

/// Answers every request with the same text and keeps what it was sent.
async fn service(answer: &'static str) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind(local(0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !(request.ends_with(b"}\n")
                || request.ends_with(b"\r\n\r\n") && request.starts_with(b"GET"))
            {
                match stream.read(&mut chunk).await {
                    Ok(count) if count > 0 => request.extend_from_slice(&chunk[..count]),
                    _ => break,
                }
            }
            *kept.lock().unwrap() = String::from_utf8_lossy(&request).into_owned();
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, heard)
}

fn request(method: &str, url: String) -> HookSpec {
    spec(Call::Http(HttpCall { method: method.into(), url, ..HttpCall::default() }))
}

#[tokio::test]
async fn a_service_is_told_by_a_request() {
    let (port, heard) = service("HTTP/1.1 204 No Content\r\n\r\n").await;
    built(&request("POST", format!("http://127.0.0.1:{port}/reload?x=1"))).call(&one()).await.unwrap();
    let said = heard.lock().unwrap().clone();
    assert!(said.starts_with("POST /reload?x=1 HTTP/1.1\r\n"), "{said}");
    assert!(said.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["lineages"][0]["lineage"], "a.example");

    built(&request("get", format!("http://127.0.0.1:{port}/"))).call(&one()).await.unwrap();
    let said = heard.lock().unwrap().clone();
    assert!(said.starts_with("GET / ") && said.ends_with("\r\n\r\n"), "a GET has no body: {said}");
}

#[tokio::test]
async fn anything_but_2xx_is_a_failure() {
    for (answer, words) in [
        ("HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\n\u{1b}[31mwhy?", "status 500: \\u{1b}[31mwhy?"),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "status 302"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\nnope", "status 404: nope"),
    ] {
        let (port, _heard) = service(answer).await;
        let failure =
            built(&request("POST", format!("http://u:pass@127.0.0.1:{port}/hooks/secret?k=secret")))
                .call(&one())
                .await
                .unwrap_err();
        assert_eq!(failure.code, "hook-failed");
        let place = format!("POST http://127.0.0.1:{port} answered");
        assert!(failure.words.contains(words) && failure.words.contains(&place), "{failure}");
        assert!(!failure.words.contains("secret") && !failure.words.contains("pass"), "t12: {failure}");
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let endless = Box::leak(format!("HTTP/1.1 500 Oops\r\n\r\n{}", "x".repeat(4_000_000)).into_boxed_str());
    let (port, _heard) = service(endless).await;
    let failure =
        built(&request("POST", format!("http://127.0.0.1:{port}/"))).call(&one()).await.unwrap_err();
    assert!(failure.words.chars().count() < 500, "{failure}");
}

#[tokio::test]
async fn nobody_there_and_no_answer_are_told_apart() {
    let free = free_port();
    let nobody = request("POST", format!("http://127.0.0.1:{free}/secret"));
    let failure = built(&nobody).call(&one()).await.unwrap_err();
    assert_eq!(failure.code, "hook-unreachable");
    assert!(failure.words.contains("refused") && !failure.words.contains("secret"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn f08_a_service_that_never_answers_ends_with_the_timeout() {
    let (port, _heard) = service("").await;
    let silent = request("POST", format!("http://127.0.0.1:{port}/"));
    let failure = built(&silent).call(&one()).await.unwrap_err();
    assert_eq!(failure.code, "hook-timeout");
}

#[tokio::test]
async fn an_untrusted_https_service_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    crate::bench::Pair::of(&["localhost"]).write(dir.path(), "tls");
    let shown = dir.path().display();
    let servers = format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {shown}/tls.crt;
           ssl_certificate_key {shown}/tls.key; return 204; }}"
    );
    let Some(_nginx): Option<Server> = crate::bench::nginx(dir.path(), &servers, port) else { return };
    let failure =
        built(&request("POST", format!("https://localhost:{port}/"))).call(&one()).await.unwrap_err();
    assert_eq!(failure.code, "hook-unreachable");
    assert!(failure.words.contains("UnknownIssuer"), "{failure}");
}

#[test]
fn unusable_requests_are_refused_when_built() {
    for (method, url) in [
        ("POST", "not a url"),
        ("POST", "ftp://a.example/"),
        ("POST", "file:///etc/passwd"),
        ("DELETE", "http://127.0.0.1/"),
        ("P OST", "http://127.0.0.1/"),
    ] {
        let failure = hook::build(&request(method, url.into()), &Clock::wall()).err().unwrap();
        assert_eq!(failure.code, "hook-url", "{method} {url}");
    }
}
