//! What a server says before TLS begins.

use std::net::{Ipv4Addr, SocketAddr};

use nolapse::core::endpoint::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::{choice, safe};

/// By the letters of their seeds, from `a`.
const PROTOCOLS: [Protocol; 7] = [
    Protocol::Smtp,
    Protocol::Imap,
    Protocol::Pop3,
    Protocol::Ftp,
    Protocol::Ldap,
    Protocol::Postgres,
    Protocol::Mysql,
];

pub const DIALOGUES_WORDS: &[&str] = &[
    "220 ",
    "220-",
    "250-",
    "250 STARTTLS\r\n",
    "220 go\r\n",
    "554 ",
    "421 ",
    "* OK ",
    "* BYE ",
    "* CAPABILITY IMAP4rev1 STARTTLS\r\n",
    "a1 OK\r\n",
    "a2 OK\r\n",
    "a BAD\r\n",
    "{3}\r\n",
    "+OK\r\n",
    "-ERR\r\n",
    "STLS\r\n.\r\n",
    "234 \r\n",
    "530 ",
    "\0\0\0",
    "\u{a}",
    "5.5.5-10.11\0",
    "#08S01",
    "\r\n",
];

struct Stage {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bound = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = runtime.block_on(bound).unwrap();
        let address = listener.local_addr().unwrap();
        Self { runtime, listener, address }
    }
}

thread_local! {
    static STAGE: Stage = Stage::new();
}

/// It ends, with words fit to print or at the point where TLS begins; and nothing of what the server said is
/// said back to it.
pub fn dialogues(input: &[u8]) -> String {
    let (which, script) = choice(input, PROTOCOLS.len());
    let protocol = PROTOCOLS[which];
    STAGE.with(|stage| stage.runtime.block_on(play(stage, protocol, script)))
}

async fn play(stage: &Stage, protocol: Protocol, script: &[u8]) -> String {
    let server = async {
        let (mut stream, _) = stage.listener.accept().await.unwrap();
        // Who hangs up on us has seen enough.
        let _ = stream.write_all(script).await;
        let _ = stream.shutdown().await;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        said
    };
    let client = async {
        let stream = TcpStream::connect(stage.address).await.unwrap();
        nolapse::probe::start_tls(protocol, stream).await.map(drop)
    };
    let (said, outcome) = tokio::join!(server, client);
    assert!(said.len() < 200, "{} octets are said", said.len());
    if protocol == Protocol::Smtp {
        assert!(said.is_empty() || said.starts_with(b"EHLO [127.0.0.1]\r\n"), "{said:?}");
    }
    match outcome {
        Ok(()) => format!("{} ready for TLS", protocol.word()),
        Err(unseen) => {
            safe(&unseen.words, 600);
            let words: String = unseen.words.chars().take(34).collect();
            format!("{} {words}", protocol.word())
        }
    }
}
