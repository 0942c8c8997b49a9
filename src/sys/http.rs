//! Where every HTTP client of ours begins.

/// HTTP/1.1, and nothing is unpacked on the way: bounds are on what was sent, and no answer becomes a
/// thousand times its size. Said here because the crate behind the DNS providers switches both on for
/// every client that does not refuse.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().http1_only().no_gzip().no_deflate().no_brotli().no_zstd()
}

#[cfg(test)]
mod tests {
    use super::client;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn t07_nothing_is_asked_for_packed_and_nothing_is_unpacked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // What gzip makes of nothing.
            let packed = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                packed.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&packed).await.unwrap();
            String::from_utf8(head).unwrap().to_ascii_lowercase()
        });
        let answer = client().no_proxy().build().unwrap().get(url).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap().len(), 20);
        let head = served.await.unwrap();
        assert!(head.starts_with("get / http/1.1") && !head.contains("accept-encoding"), "{head}");
    }
}
