//! Alerts reach real receivers: a mail server with TLS and a password, Debian's Alertmanager, sockets
//! as the log services have them, an HTTP server, a program.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nolapse::alert;
use nolapse::config::{Facts, Source, resolve};
use nolapse::core::channel::{ChannelSpec, Message, Occasion};
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::gravity::Gravity;
use nolapse::core::layout::Content;
use nolapse::core::spec::SecretSource;
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::{Channel, Secrets};
use nolapse::sys::clock::Clock;
use serde_json::Value;

use crate::bench::free_port;

/// A running program that ends with its test.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn message(occasion: Occasion) -> Message {
    let at = Timestamp::from_secs(1_800_000_000);
    Message {
        version: 1,
        occasion,
        gravity: Gravity::Page,
        key: "nolapse/web1/renewal/letsencrypt/ca-down".into(),
        host: "web1".into(),
        code: "renewal-failing".into(),
        title: "[PAGE] shop.example.com and 299 more: 8 d left – \"grün\"\r\nBcc: evil@example.com".into(),
        text: "8 d left.\nConcerns: shop.example.com".into(),
        count: 300,
        subjects: vec!["shop.example.com".into()],
        advice: "nolapse explain shop.example.com".into(),
        labels: [("owner".to_owned(), "web".to_owned())].into(),
        since: at,
        at,
        ended_at: (occasion == Occasion::Recovered).then_some(at + Span::HOUR),
        again_at: at + Span::DAY,
    }
}

fn secrets() -> Secrets {
    Arc::new(|source| match source {
        SecretSource::Env(name) if name == "RIGHT" => Ok(Content::new(b"s3cret".to_vec())),
        SecretSource::Env(name) if name == "WRONG" => Ok(Content::new(b"guess".to_vec())),
        _ => Err(Failure::refused(Fault::Config, "secret-missing", "none")),
    })
}

/// The channel as an operator writes it.
fn spec(text: &str) -> ChannelSpec {
    let text = format!("[certificate.\"a.example\"]\n[alert.x]\n{text}\n");
    let resolved = resolve(&[Source::new("nolapse.toml", &text)], &Facts::default());
    assert!(!resolved.has_errors(), "{:?}", resolved.problems);
    resolved.alerts.channels[0].clone()
}

fn channel(text: &str) -> Arc<dyn Channel> {
    alert::build(&spec(text), &secrets(), &Clock::wall())
}

/// As an agent sends: not for ever.
async fn send(channel: &dyn Channel, message: &Message) -> Result<(), Failure> {
    let sent = tokio::time::timeout(Duration::from_secs(20), channel.send(message)).await;
    sent.expect("it takes too long")
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A CA's root and a pair for 127.0.0.1 and localhost below it.
fn pair(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let put = |name: &str, text: String| {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    (put("root.pem", root.pem()), put("cert.pem", leaf.pem()), put("key.pem", key.serialize_pem()))
}

/// `None` where there is no aiosmtpd, which was said.
fn mail_server(mode: &str, cert: &Path, key: &Path) -> Option<(Held, BufReader<ChildStdout>, u16)> {
    const PYTHON: &str = "/usr/bin/python3";
    let there = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        println!("SKIPPED: mail to a real server: no aiosmtpd here");
        return None;
    }
    let port = free_port();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alert/smtp_sink.py");
    let mut child = Command::new(PYTHON)
        .arg(script)
        .args([&port.to_string(), mode])
        .args([cert, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let held = Held(child);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    wait_until("the mail server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some((held, out, port))
}

#[tokio::test]
async fn mail_arrives_by_tls_and_with_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let (root, cert, key) = pair(dir.path());
    for mode in ["starttls", "implicit"] {
        let Some((_server, mut out, port)) = mail_server(mode, &cert, &key) else { return };
        let config = |password: &str, root: &str| {
            format!(
                "type = \"email\"\nserver = \"localhost:{port}\"\ntls = \"{mode}\"\nfrom = \"Nolapse <n@example.com>\"\n\
                 to = [\"ops@example.com\", \"b@example.com\"]\nuser = \"nolapse\"\npassword-env = \"{password}\"\n{root}"
            )
        };
        let trusted = format!("ca-file = \"{}\"\n", root.display());
        send(&*channel(&config("RIGHT", &trusted)), &message(Occasion::Raised)).await.unwrap();
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let mail: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&mail["user"], &mail["tls"]), (&"nolapse".into(), &true.into()), "{mode}");
        assert_eq!(mail["to"], serde_json::json!(["ops@example.com", "b@example.com"]));
        let subject = mail["headers"]["Subject"].as_str().unwrap();
        assert!(subject.contains("8 d left – \"grün\"  Bcc: evil@example.com"), "{subject}");
        assert_eq!(mail["headers"].get("Bcc"), None, "no header was smuggled in");
        assert_eq!(mail["headers"]["Auto-Submitted"], "auto-generated");
        assert!(mail["body"].as_str().unwrap().contains("owner: web"), "{}", mail["body"]);
        // What can't be trusted gets neither mail nor password.
        let failure = send(&*channel(&config("RIGHT", "")), &message(Occasion::Raised)).await.unwrap_err();
        assert_eq!(failure.code, "alert-mail");
        let failure =
            send(&*channel(&config("WRONG", &trusted)), &message(Occasion::Raised)).await.unwrap_err();
        assert!(failure.code == "alert-mail" && !failure.words.contains("guess"), "{failure}");
    }
}

#[tokio::test]
async fn mail_to_this_host_needs_no_tls() {
    let Some((_server, mut out, port)) = mail_server("plain", Path::new("-"), Path::new("-")) else { return };
    let text = format!(
        "type = \"email\"\nserver = \"127.0.0.1:{port}\"\ntls = \"none\"\nfrom = \"n@example.com\"\nto = \"ops@example.com\""
    );
    channel(&text).send(&message(Occasion::Recovered)).await.unwrap();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["from"], "n@example.com");
}

#[tokio::test]
async fn log_services_get_one_datagram_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 16 * 1024];
    for kind in ["syslog", "journal"] {
        let channel = channel(&format!("type = \"{kind}\"\nsocket = \"{}\"", path.display()));
        channel.send(&message(Occasion::Raised)).await.unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if kind == "syslog" {
            assert!(text.starts_with("<26>1 2027-01-15T08:00:00Z web1 nolapse "), "{text}");
            assert!(
                text.contains(
                    " alert [nolapse@32473 key=\"nolapse/web1/renewal/letsencrypt/ca-down\" occasion"
                )
            );
        } else {
            assert!(
                text.contains("\nNOLAPSE_ALERT_GRAVITY=page\n") && text.contains("PRIORITY=2\n"),
                "{text}"
            );
            assert!(text.starts_with("MESSAGE\n"), "a value of several lines goes with its length");
        }
    }
    let gone = channel("type = \"syslog\"\nsocket = \"/nonexistent/log\"");
    assert_eq!(gone.send(&message(Occasion::Raised)).await.unwrap_err().code, "alert-socket");
}

#[tokio::test]
async fn a_program_gets_the_message_on_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said");
    let run = |script: &str| format!("type = \"exec\"\nrun = [\"sh\", \"-c\", \"{script}\"]");
    channel(&run(&format!("cat > {}", said.display()))).send(&message(Occasion::Raised)).await.unwrap();
    let told: Value = serde_json::from_str(&std::fs::read_to_string(said).unwrap()).unwrap();
    assert_eq!((&told["count"], &told["occasion"]), (&300.into(), &"raised".into()));
    let failure = channel(&run("echo no >&2; exit 3")).send(&message(Occasion::Raised)).await.unwrap_err();
    assert!(failure.words.contains("exit code 3: no"), "{failure}");
}

#[tokio::test]
async fn a_webhook_sends_what_was_asked_for_and_hides_its_secret() {
    let sink = test_sink(&["200 OK", "500 No", "302 Found"]);
    let text = format!(
        "type = \"webhook\"\nurl = \"http://127.0.0.1:{}/hook/${{secret}}\"\nsecret-env = \"RIGHT\"\n\
         headers = [\"Authorization: Bearer ${{secret}}\"]\nbody = '''{{\"text\": \"${{title}}\"}}'''",
        sink.0
    );
    let channel = channel(&text);
    channel.send(&message(Occasion::Raised)).await.unwrap();
    let request = sink.1.recv().unwrap();
    assert!(request.starts_with("POST /hook/s3cret HTTP/1.1"), "{request}");
    assert!(request.contains("uthorization: Bearer s3cret"), "{request}");
    let body: Value = serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["text"], message(Occasion::Raised).title);
    for expected in ["status 500: said", "status 302"] {
        let failure = channel.send(&message(Occasion::Raised)).await.unwrap_err();
        assert!(failure.words.contains(expected) && !failure.words.contains("s3cret"), "{failure}");
    }
}

/// Answers one request after the other with these status lines, and tells of each.
fn test_sink(answers: &'static [&'static str]) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..read]);
                let all = String::from_utf8_lossy(&text).into_owned();
                let length = all
                    .to_ascii_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
                let body = all.split_once("\r\n\r\n").map(|(_, body)| body.len());
                if read == 0 || body.is_some_and(|body| body >= length.unwrap_or(0)) {
                    break;
                }
            }
            let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
            let reply = format!("HTTP/1.1 {answer}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsaid");
            std::io::Write::write_all(&mut stream, reply.as_bytes()).unwrap();
        }
    });
    (port, receiver)
}

/// The shipped example, with its receiver on this host.
fn example(name: &str, from: &str, to: &str) -> ChannelSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config/alerting.toml");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    let resolved = resolve(&[Source::new("alerting.toml", text.replace(from, to))], &Facts::default());
    assert!(!resolved.has_errors(), "{:?}", resolved.problems);
    resolved.alerts.channels.into_iter().find(|channel| channel.id.as_str() == name).unwrap()
}

#[tokio::test]
async fn slack_and_pagerduty_get_the_fields_that_they_know() {
    let any: Secrets = Arc::new(|_| Ok(Content::new(b"T0/B0/x".to_vec())));
    let sink = test_sink(&["200 OK", "202 Accepted", "202 Accepted"]);
    let here = format!("http://127.0.0.1:{}", sink.0);
    let body = |request: String| -> Value {
        serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let slack = alert::build(&example("slack", "https://hooks.slack.com", &here), &any, &Clock::wall());
    slack.send(&message(Occasion::Raised)).await.unwrap();
    let request = sink.1.recv().unwrap();
    assert!(request.starts_with("POST /services/T0/B0/x "), "{request}");
    assert!(body(request)["text"].as_str().unwrap().contains("shop.example.com"));
    let pager =
        alert::build(&example("pagerduty", "https://events.pagerduty.com", &here), &any, &Clock::wall());
    for (occasion, action) in [(Occasion::Raised, "trigger"), (Occasion::Recovered, "resolve")] {
        pager.send(&message(occasion)).await.unwrap();
        let event = body(sink.1.recv().unwrap());
        assert_eq!((&event["event_action"], &event["routing_key"]), (&action.into(), &"T0/B0/x".into()));
        assert_eq!(event["dedup_key"], message(occasion).key);
        assert_eq!(event["payload"]["severity"], "critical");
    }
}

#[tokio::test]
async fn alertmanager_opens_and_closes_what_the_example_sends() {
    const PROGRAM: &str = "/usr/bin/prometheus-alertmanager";
    if !Path::new(PROGRAM).exists() {
        println!("SKIPPED: alerts to a real Alertmanager: it is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("alertmanager.yml");
    std::fs::write(&config, "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n").unwrap();
    let port = free_port();
    let child = Command::new(PROGRAM)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", dir.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _held = Held(child);
    let here = format!("127.0.0.1:{port}");
    let client = fetcher(&here);
    wait_until("Alertmanager", || client("/-/ready").is_some_and(|text| text.contains("200 OK")));
    let spec = example("alertmanager", "127.0.0.1:9093", &here);
    let channel = alert::build(&spec, &secrets(), &Clock::wall());
    let now = Clock::wall().now();
    let open =
        Message { since: now - Span::HOUR, at: now, again_at: now + Span::DAY, ..message(Occasion::Raised) };
    channel.send(&open).await.unwrap();
    let active = || client("/api/v2/alerts?active=true").unwrap_or_default();
    assert!(active().contains("\"alertname\":\"renewal-failing\""), "{}", active());
    assert!(active().contains("\"severity\":\"critical\""), "{}", active());
    let over = Message { ended_at: Some(now), occasion: Occasion::Recovered, ..open };
    channel.send(&over).await.unwrap();
    wait_until("the end of the alert", || !active().contains("renewal-failing"));
}

/// A GET over plain HTTP: the whole answer.
fn fetcher(address: &str) -> impl Fn(&str) -> Option<String> {
    let address = address.to_owned();
    move |path| {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(&address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}
