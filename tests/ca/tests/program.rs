//! The CA as a program: what a shell script relies on.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn it_writes_its_roots_prints_its_url_and_then_each_request() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let (root, api_root) = (home.join("root.pem"), home.join("api-root.pem"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_test-ca"))
        .args(["--plain-http", "--http-port", "5002", "--lifetime", "60s", "--resolve-all", "127.0.0.1"])
        .args(["--eab", "kid:c2VjcmV0", "--profile", "short=20s"])
        .arg("--write-root")
        .arg(&root)
        .arg("--write-api-root")
        .arg(&api_root)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap();
    for file in [&root, &api_root] {
        assert!(std::fs::read_to_string(file).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    }

    let address = url.strip_prefix("http://").unwrap().strip_suffix("/directory").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /directory HTTP/1.1\r\nhost: {address}\r\nuser-agent: tests\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "GET /directory directory 200");

    program.kill().await.unwrap();
    std::fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn it_refuses_what_it_can_not_mean() {
    for arguments in [["--lifetime", "5w"], ["--eab", "no-colon"], ["--listen", "0.0.0.0:0"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_test-ca")).args(arguments).output().await.unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}
