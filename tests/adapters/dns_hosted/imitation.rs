//! Vendors' interfaces imitated on loopback, over one list of texts.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Longest request that is read, in bytes.
const REQUEST_MAX: usize = 64 << 10;

/// One text: an id, where it stands, what it says, and for how long it may be kept, in seconds.
#[derive(Clone, Debug)]
pub struct Text {
    id: usize,
    pub name: String,
    pub value: String,
    pub ttl: u64,
}

/// A request as it came.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    /// All of the head, for what must be told in it.
    pub head: String,
    pub body: String,
}

/// What an interface does with one request: a status and a body.
pub type Interface = fn(&mut Vec<Text>, &Asked) -> (u16, String);

/// A service that answers as an [`Interface`] does.
#[derive(Clone)]
pub struct Imitation {
    texts: Arc<Mutex<Vec<Text>>>,
    interface: Interface,
}

impl Imitation {
    /// With the text of another program at `name`.
    pub fn of(interface: Interface, name: &str) -> Self {
        let other = Text { id: 1, name: name.to_owned(), value: "another program's".into(), ttl: 300 };
        Self { texts: Arc::new(Mutex::new(vec![other])), interface }
    }

    /// Serves without encryption; where.
    pub async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move { service.serve(stream).await });
            }
        });
        url
    }

    pub fn values(&self) -> Vec<String> {
        let mut values: Vec<_> = self.texts.lock().unwrap().iter().map(|text| text.value.clone()).collect();
        values.sort();
        values
    }

    pub fn ttl_of(&self, value: &str) -> Option<u64> {
        self.texts.lock().unwrap().iter().find(|text| text.value == value).map(|text| text.ttl)
    }

    /// All requests of one connection.
    pub async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        while let Some(asked) = read(&mut stream).await {
            let (status, body) = (self.interface)(&mut self.texts.lock().unwrap(), &asked);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The next request; none when the other side is done.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        assert!(head.len() < REQUEST_MAX, "a request without end");
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0).min(REQUEST_MAX)];
    stream.read_exact(&mut body).await.ok()?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    Some(Asked { method, path, query, head, body: String::from_utf8(body).unwrap() })
}

impl Asked {
    /// A header's value.
    fn header(&self, name: &str) -> &str {
        let found = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        found.unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn asks(&self, key: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }
}

fn add(texts: &mut Vec<Text>, name: &str, value: &str, ttl: u64) -> usize {
    let id = texts.iter().map(|text| text.id).max().unwrap_or(0) + 1;
    texts.push(Text { id, name: name.to_owned(), value: value.to_owned(), ttl });
    id
}

/// Without the quotes that zone files have.
fn unquoted(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

/// Infoblox WAPI: objects `record:txt`, each with a reference.
pub fn infoblox(texts: &mut Vec<Text>, asked: &Asked) -> (u16, String) {
    // user:hush-hush
    if asked.header("authorization") != "Basic dXNlcjpodXNoLWh1c2g=" {
        return (401, "Authorization Required".into());
    }
    let Some((_, object)) = asked.path.split_once("/record:txt") else {
        return (404, "no such object".into());
    };
    match asked.method.as_str() {
        "GET" => {
            let here = texts.iter().filter(|text| asked.asks("name") == Some(text.name.as_str()));
            let list: Vec<Value> = here
                .map(|text| json!({ "_ref": format!("record:txt/{}", text.id), "name": text.name, "text": text.value }))
                .collect();
            (200, Value::from(list).to_string())
        }
        "POST" => {
            let body = asked.json();
            let ttl = body["ttl"].as_u64().unwrap();
            let id =
                add(texts, body["name"].as_str().unwrap(), &unquoted(body["text"].as_str().unwrap()), ttl);
            (201, Value::from(format!("record:txt/{id}")).to_string())
        }
        _ => {
            let before = texts.len();
            texts.retain(|text| object != format!("/{}", text.id));
            if texts.len() == before { (404, "gone".into()) } else { (200, Value::from(object).to_string()) }
        }
    }
}

/// Amazon Route 53: whole sets of records, as XML. The signature's key is looked at, not the signature.
pub fn route53(texts: &mut Vec<Text>, asked: &Asked) -> (u16, String) {
    if !asked.header("authorization").contains("Credential=AKIAKNOWN/") {
        return (
            403,
            "<ErrorResponse><Error><Code>InvalidClientTokenId</Code></Error></ErrorResponse>".into(),
        );
    }
    if asked.path.ends_with("/hostedzonesbyname") {
        let zone = |id: &str, name: &str| {
            format!(
                "<HostedZone><Id>/hostedzone/{id}</Id><Name>{name}.</Name><CallerReference>r</CallerReference>\
                 <Config><PrivateZone>false</PrivateZone></Config></HostedZone>"
            )
        };
        let zones = format!("{}{}", zone("ZOTHER", "test"), zone("ZOURS", "example.test"));
        let list = format!(
            "<ListHostedZonesByNameResponse><HostedZones>{zones}</HostedZones><IsTruncated>false</IsTruncated>\
             <MaxItems>100</MaxItems></ListHostedZonesByNameResponse>"
        );
        return (200, list);
    }
    assert!(asked.path.contains("/hostedzone/ZOURS/rrset"), "{}", asked.path);
    let name = "_acme-challenge.example.test";
    if asked.method == "GET" {
        let one = |text: &Text| format!("<ResourceRecord><Value>\"{}\"</Value></ResourceRecord>", text.value);
        let values = texts.iter().map(one).collect::<Vec<_>>().concat();
        let set = if values.is_empty() {
            String::new()
        } else {
            format!(
                "<ResourceRecordSet><Name>{name}.</Name><Type>TXT</Type><TTL>{}</TTL>\
                 <ResourceRecords>{values}</ResourceRecords></ResourceRecordSet>",
                texts[0].ttl
            )
        };
        let list = format!(
            "<ListResourceRecordSetsResponse><ResourceRecordSets>{set}</ResourceRecordSets>\
             <IsTruncated>false</IsTruncated><MaxItems>300</MaxItems></ListResourceRecordSetsResponse>"
        );
        return (200, list);
    }
    let between = |from: &str, to: &str| -> Vec<String> {
        let parts = asked.body.split(from).skip(1).filter_map(|part| part.split_once(to));
        parts.map(|(inside, _)| inside.replace("&quot;", "\"")).collect()
    };
    let values: Vec<String> = between("<Value>", "</Value>").iter().map(|value| unquoted(value)).collect();
    let ttl = between("<TTL>", "</TTL>")[0].parse().unwrap();
    match between("<Action>", "</Action>")[0].as_str() {
        "UPSERT" | "CREATE" => {
            texts.clear();
            for value in &values {
                add(texts, name, value, ttl);
            }
        }
        action => {
            assert_eq!(action, "DELETE");
            // The real one takes it only where it names all that is there.
            if texts.iter().map(|text| &text.value).collect::<Vec<_>>() != values.iter().collect::<Vec<_>>() {
                return (
                    400,
                    "<ErrorResponse><Error><Code>InvalidChangeBatch</Code></Error></ErrorResponse>".into(),
                );
            }
            texts.clear();
        }
    }
    (200, "<ChangeResourceRecordSetsResponse/>".into())
}

/// Cloudflare: zones by name, records by id.
pub fn cloudflare(texts: &mut Vec<Text>, asked: &Asked) -> (u16, String) {
    let said = |result: Value| (200, json!({ "errors": [], "success": true, "result": result }).to_string());
    if asked.header("authorization") != "Bearer hush-hush" {
        let no = json!({ "errors": [{ "code": 9109, "message": "Invalid access token" }], "success": false, "result": null });
        return (403, no.to_string());
    }
    match (asked.method.as_str(), asked.path.trim_start_matches("/client/v4")) {
        ("GET", "/zones") if asked.asks("name") == Some("example.test") => {
            said(json!([{ "id": "zone-1", "name": "example.test" }]))
        }
        ("GET", "/zones") => said(json!([])),
        ("GET", "/zones/zone-1/dns_records") => {
            let here = texts.iter().filter(|text| asked.asks("name") == Some(text.name.as_str()));
            let list: Vec<Value> = here
                .map(|text| {
                    json!({ "id": text.id.to_string(), "type": "TXT", "content": format!("\"{}\"", text.value) })
                })
                .collect();
            said(Value::from(list))
        }
        ("POST", "/zones/zone-1/dns_records") => {
            let body = asked.json();
            assert_eq!(body["type"], "TXT");
            let value = unquoted(body["content"].as_str().unwrap());
            let id = add(texts, body["name"].as_str().unwrap(), &value, body["ttl"].as_u64().unwrap());
            said(json!({ "id": id.to_string() }))
        }
        ("DELETE", path) => {
            let id = path.rsplit('/').next().unwrap();
            texts.retain(|text| text.id.to_string() != id);
            said(json!({ "id": id }))
        }
        _ => (404, "{}".into()),
    }
}

/// Hetzner Cloud DNS: actions on sets of records, which say no to what is there already.
pub fn hetzner(texts: &mut Vec<Text>, asked: &Asked) -> (u16, String) {
    if asked.header("authorization") != "Bearer hush-hush" {
        return (401, json!({ "error": { "code": "unauthorized" } }).to_string());
    }
    let name = "_acme-challenge.example.test";
    let at = "/v1/zones/example.test/rrsets";
    let done = || (201, json!({ "action": { "id": 1 } }).to_string());
    let Some(action) = asked.path.strip_prefix(at) else { return (404, "{}".into()) };
    if action.is_empty() {
        let records: Vec<Value> =
            texts.iter().map(|text| json!({ "value": format!("\"{}\"", text.value) })).collect();
        let set = json!({ "name": "_acme-challenge", "type": "TXT", "records": records });
        return (200, json!({ "rrsets": [set] }).to_string());
    }
    let body = asked.json();
    let values: Vec<String> = body["records"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| unquoted(record["value"].as_str().unwrap()))
        .collect();
    match action.strip_prefix("/_acme-challenge/TXT/actions/") {
        Some("add_records") if texts.iter().any(|text| values.contains(&text.value)) => {
            (422, json!({ "error": { "code": "uniqueness_error" } }).to_string())
        }
        Some("add_records") => {
            for value in &values {
                add(texts, name, value, 3600);
            }
            done()
        }
        Some("remove_records") if !texts.iter().any(|text| values.contains(&text.value)) => {
            (422, json!({ "error": { "code": "no_such_record" } }).to_string())
        }
        Some("remove_records") => {
            texts.retain(|text| !values.contains(&text.value));
            done()
        }
        Some("change_ttl") => {
            for text in texts.iter_mut() {
                text.ttl = body["ttl"].as_u64().unwrap();
            }
            done()
        }
        _ => (404, "{}".into()),
    }
}
