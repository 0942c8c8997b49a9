//! A CA on loopback, by plain HTTP, that does what a test says and else the least that ACME asks
//! for. It checks nonces and signed URLs, not signatures: Pebble does that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The protected header and the payload of a signed request; `Null` otherwise.
    pub protected: Value,
    pub payload: Value,
    /// How many requests with this method and path came before.
    pub nth: usize,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Sent again and again after the body, without end.
    pub endless: bool,
}

impl Answer {
    pub fn json(status: u16, value: &Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let value = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        Self::text(status, "application/problem+json", value.to_string())
    }

    pub fn text(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), endless: false }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn without_end(mut self) -> Self {
        self.endless = true;
        self
    }
}

/// A CA under a test's control. Its thread ends with the test's process.
pub struct Scripted {
    pub base: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    log: Vec<Seen>,
    nonces: BTreeSet<String>,
    nonce_count: u64,
    accounts: Vec<Value>,
    orders: Vec<&'static str>,
    connections: usize,
}

type Script = dyn Fn(&Seen) -> Option<Answer> + Send + Sync;

impl Scripted {
    /// `script` may answer a request; where it says `None`, the CA does.
    pub fn start(script: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let script: Arc<Script> = Arc::new(script);
        let (shared, told) = (state.clone(), base.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                lock(&shared).connections += 1;
                let (state, script, base) = (shared.clone(), script.clone(), told.clone());
                std::thread::spawn(move || serve(stream, &state, &*script, &base));
            }
        });
        Self { base, state }
    }

    pub fn directory(&self) -> String {
        format!("{}/dir", self.base)
    }

    pub fn log(&self) -> Vec<Seen> {
        lock(&self.state).log.clone()
    }

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Requests for this method and path so far.
    pub fn count(&self, method: &str, path: &str) -> usize {
        self.log().iter().filter(|seen| seen.method == method && seen.path == path).count()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, state: &Mutex<State>, script: &Script, base: &str) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let jws: Value = serde_json::from_slice(&body).unwrap_or_default();
        let part = |member: &str| {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(jws[member].as_str().unwrap_or_default());
            serde_json::from_slice(&decoded.unwrap_or_default()).unwrap_or_default()
        };
        let mut seen = Seen {
            nth: 0,
            protected: part("protected"),
            payload: part("payload"),
            base: base.to_owned(),
            method,
            path,
            headers,
        };
        let head = seen.method == "HEAD";
        {
            let mut state = lock(state);
            seen.nth = state.log.iter().filter(|s| s.method == seen.method && s.path == seen.path).count();
            state.log.push(seen.clone());
        }
        let scripted = script(&seen);
        let mut answer = scripted.unwrap_or_else(|| lock(state).answer(&seen));
        if !answer.headers.iter().any(|(name, _)| name == "Replay-Nonce") && seen.method != "GET" {
            let nonce = lock(state).new_nonce();
            answer = answer.with("Replay-Nonce", nonce);
        }
        let mut text = format!("HTTP/1.1 {} X\r\n", answer.status);
        for (name, value) in &answer.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !answer.endless {
            text.extend(["Content-Length: ", &answer.body.len().to_string(), "\r\n"]);
        }
        text += "\r\n";
        let mut whole = text.into_bytes();
        if !head && answer.status != 204 {
            whole.extend_from_slice(&answer.body);
        }
        writer.write_all(&whole).ok()?;
        if answer.endless {
            // Until the client hangs up.
            loop {
                writer.write_all(&answer.body).ok()?;
            }
        }
    }
}

impl State {
    fn new_nonce(&mut self) -> String {
        self.nonce_count += 1;
        let nonce = format!("nonce-{}", self.nonce_count);
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn answer(&mut self, seen: &Seen) -> Answer {
        let base = &seen.base;
        let post = seen.method == "POST";
        if post {
            if !self.nonces.remove(seen.protected["nonce"].as_str().unwrap_or_default()) {
                return Answer::problem(400, "badNonce", "this nonce is not mine, or was used");
            }
            if seen.protected["url"] != format!("{base}{}", seen.path) {
                return Answer::problem(401, "unauthorized", "signed for another URL");
            }
        }
        let parts: Vec<_> = seen.path.trim_start_matches('/').split('/').collect();
        match (seen.method.as_str(), parts.as_slice()) {
            ("GET", ["dir"]) => Answer::json(200, &directory(base)),
            ("HEAD", ["nonce"]) => Answer::text(200, "text/plain", ""),
            ("GET", ["nonce"]) => {
                let nonce = self.new_nonce();
                Answer::text(204, "text/plain", "").with("Replay-Nonce", nonce)
            }
            ("POST", ["account"]) => {
                let jwk = seen.protected["jwk"].clone();
                let known = self.accounts.iter().position(|account| *account == jwk);
                let (status, number) = match known {
                    Some(number) => (200, number),
                    None if seen.payload["onlyReturnExisting"] == true => {
                        return Answer::problem(400, "accountDoesNotExist", "no account has this key");
                    }
                    None => {
                        self.accounts.push(jwk);
                        (201, self.accounts.len() - 1)
                    }
                };
                Answer::json(status, &json!({ "status": "valid" }))
                    .with("Location", format!("{base}/account/{number}"))
            }
            ("POST", ["account", _]) => Answer::json(200, &json!({ "status": "valid" })),
            ("POST", ["order"]) => {
                self.orders.push("pending");
                let number = self.orders.len() - 1;
                let mut order = self.order(base, number);
                if let Some(replaces) = seen.payload.get("replaces") {
                    order["replaces"] = replaces.clone();
                }
                Answer::json(201, &order).with("Location", format!("/order/{number}"))
            }
            ("POST", [kind, number, ..]) => {
                let Ok(number) = number.parse::<usize>() else { return nothing() };
                if number >= self.orders.len() {
                    return nothing();
                }
                match (*kind, parts.get(2)) {
                    ("order", None) => Answer::json(200, &self.order(base, number)),
                    ("order", Some(&"finalize")) => {
                        self.orders[number] = "valid";
                        Answer::json(200, &self.order(base, number))
                    }
                    ("authz", None) => Answer::json(200, &self.authorization(base, number)),
                    ("challenge", None) => {
                        self.orders[number] = "ready";
                        Answer::json(200, &self.authorization(base, number)["challenges"][0])
                    }
                    ("certificate", None) => Answer::text(200, "application/pem-certificate-chain", CHAIN),
                    _ => nothing(),
                }
            }
            _ => nothing(),
        }
    }

    fn order(&self, base: &str, number: usize) -> Value {
        let mut order = json!({
            "status": self.orders[number],
            "identifiers": [{ "type": "dns", "value": "a.example" }],
            "authorizations": [format!("{base}/authz/{number}")],
            "finalize": format!("{base}/order/{number}/finalize"),
        });
        if self.orders[number] == "valid" {
            order["certificate"] = format!("{base}/certificate/{number}").into();
        }
        order
    }

    fn authorization(&self, base: &str, number: usize) -> Value {
        let status = if self.orders[number] == "pending" { "pending" } else { "valid" };
        json!({
            "status": status,
            "identifier": { "type": "dns", "value": "a.example" },
            "challenges": [{
                "type": "http-01", "url": format!("{base}/challenge/{number}"), "token": "a-token_1",
                "status": status,
            }],
        })
    }
}

pub const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

/// What the CA's directory says where the script says nothing else.
pub fn directory(base: &str) -> Value {
    json!({
        "newNonce": format!("{base}/nonce"),
        "newAccount": format!("{base}/account"),
        "newOrder": format!("{base}/order"),
    })
}

fn nothing() -> Answer {
    Answer::problem(404, "malformed", "there is nothing here")
}
