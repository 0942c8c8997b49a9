//! dns-01: texts from a DNS server of the test's.

mod client;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use client::{Client, b64, csr};
use rcgen::KeyPair;
use serde_json::Value;
use test_ca::{Ca, ChallengeKind};
use tokio::net::UdpSocket;

/// Texts that stand at every name.
type Texts = Arc<Mutex<Vec<String>>>;

/// Answers each question with all texts, by a pointer to the name that was asked for.
async fn dns(texts: Texts) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut question).await.unwrap();
            // The question ends before EDNS, whose record has 11 octets.
            let mut answer = question[..length - 11].to_vec();
            let texts = texts.lock().unwrap().clone();
            answer[2..12].copy_from_slice(&[
                0x81,
                0x80,
                0,
                1,
                0,
                u8::try_from(texts.len()).unwrap(),
                0,
                0,
                0,
                0,
            ]);
            for text in texts {
                let length = u8::try_from(text.len()).unwrap();
                answer.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, length + 1, length]);
                answer.extend_from_slice(text.as_bytes());
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

fn value(client: &Client, challenge: &Value) -> String {
    let authorization = format!("{}.{}", challenge["token"].as_str().unwrap(), client.key.thumbprint());
    b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, authorization.as_bytes()))
}

async fn started(texts: &Texts) -> Ca {
    let server = dns(Arc::clone(texts)).await;
    Ca::builder().challenges(&[ChallengeKind::Dns01]).dns_server(server).start().await.unwrap()
}

#[tokio::test]
async fn apex_and_wildcard_are_proven_by_two_texts_at_one_name() {
    let texts = Texts::default();
    let ca = started(&texts).await;
    let client = Client::registered(&ca).await;
    let names = ["a.test", "*.a.test"];
    let order = client.order(&names).await;
    for url in order.json["authorizations"].as_array().unwrap() {
        let url = url.as_str().unwrap();
        let authorization = client.post_as_get(url).await.ok().json();
        let challenge = &authorization["challenges"][0];
        assert_eq!(challenge["type"], "dns-01");
        texts.lock().unwrap().push(value(&client, challenge));
        assert_eq!(client.respond(url, challenge).await["status"], "valid");
    }
    let key = KeyPair::generate().unwrap();
    let done = client.finalize(&order, &csr(&names, &key)).await.ok().json();
    assert_eq!(done["status"], "valid", "{done}");
}

#[tokio::test]
async fn a_missing_and_a_wrong_text_fail_in_other_words() {
    for (row, there, kind) in [("nothing", None, "dns"), ("another text", Some("theirs"), "unauthorized")] {
        let texts = Texts::default();
        texts.lock().unwrap().extend(there.map(str::to_owned));
        let ca = started(&texts).await;
        let client = Client::registered(&ca).await;
        let order = client.order(&["a.test"]).await;
        let url = order.json["authorizations"][0].as_str().unwrap();
        let authorization = client.post_as_get(url).await.ok().json();
        let decided = client.respond(url, &authorization["challenges"][0]).await;
        assert_eq!(decided["status"], "invalid", "{row}");
        let found = decided["challenges"][0]["error"]["type"].as_str().unwrap();
        assert!(found.ends_with(kind), "{row}: {found}");
    }
}
