//! The status page, in a browser: Debian's Chromium, driven over `WebDriver`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::desk::{Desk, free_port};

const BROWSER: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";
/// Until a daemon, a driver or a page is there.
const SOON: Duration = Duration::from_secs(60);

/// Ends with its test, whichever way.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request; the body of the answer as text.
fn ask(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
    }
    let mut text = String::new();
    match length {
        Some(length) => reader.take(length).read_to_string(&mut text)?,
        None => reader.read_to_string(&mut text)?,
    };
    Ok(text)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Browser {
    port: u16,
    session: String,
    _driver: Process,
}

impl Browser {
    fn open(desk: &Desk) -> Self {
        let port = free_port();
        let driver = Command::new(DRIVER)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let driver = Process(driver);
        wait_for("chromedriver", || ask(port, "GET", "/status", "").is_ok());
        let profile = format!("--user-data-dir={}", desk.show("profile"));
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": BROWSER, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = ask(port, "POST", "/session", &wanted.to_string()).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let session = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Self { port, session, _driver: driver }
    }

    fn call(&self, method: &str, what: &str, body: &Value) -> Value {
        let path = format!("/session/{}{what}", self.session);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = ask(self.port, method, &path, &body).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{path}: {answer}"));
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    fn go(&self, url: &str, wide: u32, high: u32) {
        let (width, height) = (wide, high);
        // A window is never as narrow as a phone: the page is shown as on one.
        self.call(
            "POST",
            "/goog/cdp/execute",
            &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": {
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
            }}),
        );
        self.call("POST", "/url", &json!({"url": url}));
    }

    fn evaluate(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.call("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    fn picture(&self) -> Vec<u8> {
        let text = self.call("GET", "/screenshot", &Value::Null);
        base64::prelude::BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium, which the driver started.
        let _ = ask(self.port, "DELETE", &format!("/session/{}", self.session), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_is_whole_in_a_browser_on_a_desk_and_on_a_phone() {
    if !crate::desk::exists(BROWSER.as_ref()) || !crate::desk::exists(DRIVER.as_ref()) {
        println!(
            "SKIPPED: {BROWSER} or {DRIVER} is not installed (Debian packages chromium, chromium-driver)"
        );
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    let port = free_port();
    let names = ["api", "blog", "cdn", "mail", "pay", "shop"];
    let mut config = format!("metrics = \"127.0.0.1:{port}\"\nstatus-page = true\n")
        + &desk.around(&ca)
        + "[hook.relay]\nrun = [\"false\"]\n";
    for name in names {
        let hooks = if name == "mail" { "hooks = [\"relay\"]\n" } else { "" };
        let _ = write!(config, "[certificate.\"{name}.example.com\"]\n{hooks}");
    }
    desk.write("bought.pem", &crate::desk::self_signed("old.example.com"));
    let _ = write!(config, "[watch.bought]\nfiles = [\"{}\"]\n", desk.show("bought.pem"));
    ca.reject_identifier("pay.example.com");
    desk.configure(&config);
    desk.run(&["renew"]).ends(1);
    let _daemon = Process(desk.command(&["run"]).stderr(Stdio::null()).spawn().unwrap());
    wait_for("the page", || {
        ask(port, "GET", "/", "").is_ok_and(|html| html.contains("2 of 6") && html.contains("bought.pem"))
    });
    let (desk, ()) = tokio::task::spawn_blocking(move || {
        let browser = Browser::open(&desk);
        look(&browser, port);
        (desk, ())
    })
    .await
    .unwrap();
    drop(desk);
}

fn look(browser: &Browser, port: u16) {
    let url = format!("http://localhost:{port}/");
    let pictures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/images");
    for (wide, high, picture) in [(1000, 1450, "status-page.png"), (390, 844, "status-page-phone.png")] {
        browser.go(&url, wide, high);
        let text = browser.evaluate("document.body.innerText");
        let text = text.as_str().unwrap();
        for words in [
            "2 of 6 certificates need a look",
            "mail.example.com",
            "reloaded ✗",
            "What is to come",
            "relay",
            "Do:",
            "Watched, not managed",
            "old.example.com",
        ] {
            assert!(text.contains(words), "{words:?} at {wide}:\n{text}");
        }
        // Readable without pushing it sideways, with the style sheet in force and nothing refused.
        let broad = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(broad <= u64::from(wide), "{broad} pixels of content on {wide}");
        let size = browser.evaluate("parseFloat(getComputedStyle(document.querySelector('td')).fontSize)");
        assert!(size.as_f64().unwrap() >= 14.0, "{size}");
        let border = browser.evaluate("getComputedStyle(document.querySelector('header')).borderTopWidth");
        assert_eq!(border, "6px", "the style sheet is used");
        let bars = browser.evaluate("document.querySelectorAll('.bars li').length");
        assert_eq!(bars, 6, "a bar for each certificate there is");
        let drawn = "Math.min(...[...document.querySelectorAll('.bars .life')].map(bar => bar.getBoundingClientRect().width))";
        assert!(browser.evaluate(drawn).as_f64().unwrap() > 50.0, "bars are seen");
        let told = browser.call("POST", "/se/log", &json!({"type": "browser"}));
        let complaints: Vec<_> = told
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| !entry["message"].as_str().unwrap_or_default().contains("favicon.ico"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&pictures).unwrap();
            std::fs::write(pictures.join(picture), browser.picture()).unwrap();
        } else {
            assert!(browser.picture().starts_with(b"\x89PNG"), "it can be drawn");
        }
    }
    // A page of somebody else, led here by its own DNS, is told nothing.
    let foreign = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let foreign = foreign.unwrap();
    assert!(foreign.starts_with("HTTP/1.1 421 ") && !foreign.contains("example.com"), "{foreign}");
}
