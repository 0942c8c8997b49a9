//! The snippets inside real servers, which run without rights on high ports.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::desk::{Desk, root, skipped, succeed, text, tool};

const PATIENCE: Duration = Duration::from_secs(20);
const CHALLENGE: &str = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

/// What stands in for nolapse's loopback listener: says what it was asked.
fn stub() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let host = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let body = format!("stub {path} {}", host.unwrap_or_default());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes());
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that ends with its test.
struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    fn start(mut command: Command, port: u16, log: &Path) -> Self {
        let out = std::fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let mut server = Self { child: command.spawn().unwrap(), port, log: log.to_owned() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", server.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error}: {}", self.said()));
        answer
    }

    /// The one thing that every snippet is for, and that it does nothing else.
    fn passes_challenges_on(&self) {
        let answer = self.get(CHALLENGE);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}\n{}", self.said());
        // The CA's token and the name asked for arrive as they were sent.
        assert!(answer.contains(&format!("stub {CHALLENGE} shop.example.com")), "{answer}");
        for other in ["/", "/shop", "/.well-known/security.txt"] {
            let answer = self.get(other);
            assert!(answer.starts_with("HTTP/1.1 30"), "{other} is the server's own: {answer}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The snippet with the stub in nolapse's place.
fn snippet(name: &str, stub: u16) -> String {
    let text = text(name);
    assert!(text.contains("127.0.0.1:8089"), "{name} names the preset's port");
    text.replace("127.0.0.1:8089", &format!("127.0.0.1:{stub}"))
}

#[test]
fn nginx_passes_challenges_on() {
    let Some(nginx) = tool("nginx") else {
        return skipped("nginx_passes_challenges_on", "nginx is not installed");
    };
    let (desk, port) = (Desk::new("nginx"), free_port());
    desk.write("snippets/nolapse-http01.conf", &snippet("nginx/nolapse-http01.conf", stub()));
    let dir = desk.path("");
    let dir = dir.display();
    // One process, so that ending it ends all of it. The site asks for a password everywhere.
    let config = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr; {user}\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
         server {{ listen 127.0.0.1:{port}; auth_basic shop; auth_basic_user_file {dir}/none;\n\
         include snippets/nolapse-http01.conf;\n\
         location / {{ auth_basic off; return 301 https://$host$request_uri; }} }} }}\n",
        user = if root() { "user root;" } else { "" }
    );
    let config = desk.write("nginx.conf", &config);
    succeed(Command::new(&nginx).args(["-t", "-q", "-e", "stderr", "-c"]).arg(&config));
    let mut command = Command::new(&nginx);
    command.args(["-e", "stderr", "-c"]).arg(&config);
    Server::start(command, port, &desk.path("log")).passes_challenges_on();
}

#[test]
fn apache_passes_challenges_on() {
    let modules = Path::new("/usr/lib/apache2/modules");
    let Some(apache) = tool("apache2").filter(|_| modules.is_dir()) else {
        return skipped("apache_passes_challenges_on", "apache2 with Debian's modules is not installed");
    };
    let loads: String = ["mpm_event", "authz_core", "alias", "proxy", "proxy_http"]
        .map(|name| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display()))
        .concat();
    let user = if root() { "User www-data\nGroup www-data\n" } else { "" };
    // Once for the whole server; or by a virtual host that lets nobody in.
    for own in [false, true] {
        let (desk, port) = (Desk::new("apache"), free_port());
        let snippet = desk.write("conf/nolapse.conf", &snippet("apache2/nolapse-http01.conf", stub()));
        let include = format!("Include {}\n", snippet.display());
        let locked = format!("<Location \"/\">\nRequire all denied\n</Location>\n{include}");
        let (server, host) = if own { ("", locked.as_str()) } else { (include.as_str(), "") };
        let config = format!(
            "ServerRoot {dir}\nPidFile {dir}/pid\nDefaultRuntimeDir {dir}\nErrorLog /dev/stderr\n\
             ServerName stub\nListen 127.0.0.1:{port}\n{loads}{user}{server}\
             <VirtualHost *:{port}>\nServerName shop.example.com\n{host}\
             RedirectMatch 301 ^/(?!\\.well-known/acme-challenge/) https://shop.example.com/\n\
             </VirtualHost>\n",
            dir = desk.path("").display(),
        );
        let config = desk.write("apache2.conf", &config);
        succeed(Command::new(&apache).arg("-t").arg("-f").arg(&config));
        let mut command = Command::new(&apache);
        command.args(["-X", "-f"]).arg(&config);
        Server::start(command, port, &desk.path("log")).passes_challenges_on();
    }
}

#[test]
fn haproxy_passes_challenges_on() {
    let Some(haproxy) = tool("haproxy") else {
        return skipped("haproxy_passes_challenges_on", "haproxy is not installed");
    };
    let (desk, port) = (Desk::new("haproxy"), free_port());
    let backend = snippet("haproxy/nolapse-http01.cfg", stub());
    // The lines for the frontend stand in the comment: they are tried as they are printed.
    let lines: String = backend
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let frontend = format!(
        "defaults\n    mode http\n    timeout client 10s\n    timeout server 10s\n    timeout connect 5s\n\
         frontend web\n    bind 127.0.0.1:{port}\n{lines}\n    \
         http-request redirect scheme https unless nolapse_http01\n"
    );
    let files = [desk.write("haproxy.cfg", &frontend), desk.write("nolapse.cfg", &backend)];
    let with_files = |command: &mut Command| {
        for file in &files {
            command.arg("-f").arg(file);
        }
    };
    let mut check = Command::new(&haproxy);
    check.args(["-c", "-q"]);
    with_files(&mut check);
    assert_eq!(succeed(&mut check), "", "no warning either");
    let mut command = Command::new(&haproxy);
    command.arg("-db");
    with_files(&mut command);
    Server::start(command, port, &desk.path("log")).passes_challenges_on();
}
