//! The same doors in the words of each server.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::kind::Kind;
use super::server::{Server, argv};
use super::shape::{Door, Files, Shape};

const APACHE_MODULES: &str = "/usr/lib/apache2/modules";
/// The port is the first server's to share.
const FIRST: &str = " reuseport default_server";
/// Who is served something else than everybody.
const ELSEWHERE: &str = "elsewhere.example";

impl Server {
    /// Writes the configuration. Needs a start or a reload to count.
    pub fn shape(&self, doors: &[Door<'_>]) {
        let broken = doors.iter().any(|door| door.shape.broken);
        let text = match self.kind {
            Kind::Nginx => self.nginx(doors, broken),
            Kind::Haproxy => self.haproxy(doors, broken),
            Kind::Apache => self.apache(doors, broken),
            Kind::Caddy => self.caddy(doors, broken),
            Kind::Dovecot => self.dovecot(doors, broken),
            Kind::Proftpd => self.proftpd(doors, broken),
            Kind::Postgres => return self.postgres(doors[0].shape, broken),
            Kind::Postfix => return self.postfix(doors, broken),
        };
        replace(&self.conf(), &text);
    }

    fn address(&self, door: &Door<'_>) -> SocketAddr {
        SocketAddr::new(self.ip, door.port)
    }

    fn nginx(&self, doors: &[Door<'_>], broken: bool) -> String {
        let dir = self.dir.display();
        let mut servers = String::new();
        for door in doors {
            let (shape, address) = (door.shape, self.address(door));
            let mut tail = String::new();
            for (on, word) in [(!shape.plain, " ssl"), (shape.proxy, " proxy_protocol")] {
                if on {
                    tail.push_str(word);
                }
            }
            let clients = shape.clients.as_ref().map_or_else(String::new, |ca| {
                format!("ssl_verify_client on; ssl_client_certificate {};", ca.display())
            });
            let mut server = |name: &str, files: &Files, more: &str, inside: &str| {
                let _ = writeln!(
                    servers,
                    "server {{ listen {address}{tail}{more}; server_name {name}; ssl_certificate {}; \
                     ssl_certificate_key {}; {clients}{inside} location / {{ return 200 'ok'; }} }}",
                    files.chain.display(),
                    files.key.display(),
                );
            };
            match (&shape.default, door.name) {
                (Some(default), _) => {
                    server("_", default, FIRST, "");
                    server(ELSEWHERE, &shape.files, "", "");
                }
                (None, _) if shape.rejects => {
                    server("_", &shape.files, FIRST, "ssl_reject_handshake on;");
                    server(ELSEWHERE, &shape.files, "", "");
                }
                (None, Some(name)) => server(name, &shape.files, "", ""),
                (None, None) => server("_", &shape.files, FIRST, ""),
            }
        }
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = write!(temporary, "{kind}_temp_path {dir}/{kind};");
        }
        let broken = if broken { "no_such_directive on;" } else { "" };
        format!(
            "daemon off; user root; worker_processes 2; pid {dir}/pid; error_log {dir}/error.log;\n\
             events {{ worker_connections 128; }}\nhttp {{ access_log off; {temporary}\n\
             ssl_session_cache shared:S:1m;\n{servers}{broken} }}\n"
        )
    }

    fn haproxy(&self, doors: &[Door<'_>], broken: bool) -> String {
        let mut binds = String::new();
        for first in doors.iter().filter(|door| door.name.is_none()) {
            let (shape, address) = (first.shape, self.address(first));
            let list = self.dir.join(format!("crt-list-{}", first.port));
            let mut entries = String::new();
            if let Some(default) = &shape.default {
                let _ = writeln!(entries, "{}", default.combined.display());
            }
            let elsewhere = shape.default.is_some() || shape.rejects;
            let filter = if elsewhere { ELSEWHERE } else { "" };
            let mut named =
                doors.iter().filter(|door| door.port == first.port && door.name.is_some()).peekable();
            // An entry without a name stands for all that its certificate has.
            let filter = if named.peek().is_some() { super::rig::NAME } else { filter };
            let _ = writeln!(entries, "{} {filter}", shape.files.combined.display());
            for door in named {
                let name = door.name.unwrap_or_default();
                let _ = writeln!(entries, "{} {name}", door.shape.files.combined.display());
            }
            replace(&list, &entries);
            let strict = if shape.rejects { "strict-sni" } else { "" };
            let tls =
                if shape.plain { String::new() } else { format!("ssl crt-list {} {strict}", list.display()) };
            let proxy = if shape.proxy { "accept-proxy" } else { "" };
            let clients = shape
                .clients
                .as_ref()
                .map_or_else(String::new, |ca| format!("verify required ca-file {}", ca.display()));
            let _ = writeln!(binds, "  bind {address} {tls} {clients} {proxy}");
        }
        let broken = if broken { "  no-such-keyword\n" } else { "" };
        format!(
            "global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
             timeout server 60s\nfrontend f\n{binds}  http-request return status 200\n{broken}"
        )
    }

    fn apache(&self, doors: &[Door<'_>], broken: bool) -> String {
        let dir = self.dir.display();
        let (mut hosts, mut listens) = (String::new(), String::new());
        for door in doors {
            let (shape, address) = (door.shape, self.address(door));
            if door.name.is_none() {
                let _ = writeln!(listens, "Listen {address}");
            }
            let mut host = |name: &str, files: &Files| {
                let _ = writeln!(hosts, "<VirtualHost {address}>\nServerName {name}");
                if !shape.plain {
                    let _ = writeln!(
                        hosts,
                        "SSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}",
                        files.chain.display(),
                        files.key.display()
                    );
                    if let Some(ca) = &shape.clients {
                        let _ =
                            writeln!(hosts, "SSLVerifyClient require\nSSLCACertificateFile {}", ca.display());
                    }
                }
                hosts.push_str("</VirtualHost>\n");
            };
            match &shape.default {
                Some(default) => {
                    host("default.example", default);
                    host(ELSEWHERE, &shape.files);
                }
                None => host(door.name.unwrap_or("default.example"), &shape.files),
            }
        }
        let broken = if broken { "NoSuchDirective on\n" } else { "" };
        format!(
            "ServerRoot {dir}\nServerName localhost\nPidFile {dir}/apache.pid\nErrorLog {dir}/error.log\n\
             DefaultRuntimeDir {dir}\nLoadModule mpm_event_module {APACHE_MODULES}/mod_mpm_event.so\n\
             LoadModule authz_core_module {APACHE_MODULES}/mod_authz_core.so\n\
             LoadModule socache_shmcb_module {APACHE_MODULES}/mod_socache_shmcb.so\n\
             LoadModule ssl_module {APACHE_MODULES}/mod_ssl.so\nSSLSessionCache shmcb:{dir}/sessions(51200)\n\
             StartServers 1\nServerLimit 4\nMinSpareThreads 4\nThreadsPerChild 8\nMaxRequestWorkers 32\n\
             {listens}User www-data\nGroup www-data\n{hosts}{broken}"
        )
    }

    fn caddy(&self, doors: &[Door<'_>], broken: bool) -> String {
        let (dir, ip) = (self.dir.display(), self.ip);
        let mut sites = String::new();
        for door in doors {
            let (shape, port) = (door.shape, door.port);
            let mut site = |name: &str, files: &Files| {
                if shape.plain {
                    let _ = writeln!(sites, "http://{name}:{port} {{\n\tbind {ip}\n\trespond ok\n}}");
                    return;
                }
                let clients = shape.clients.as_ref().map_or_else(String::new, |ca| {
                    format!(
                        " {{\n\t\tclient_auth {{\n\t\t\tmode require_and_verify\n\t\t\t\
                         trusted_ca_cert_file {}\n\t\t}}\n\t}}",
                        ca.display()
                    )
                });
                let _ = writeln!(
                    sites,
                    "https://{name}:{port} {{\n\tbind {ip}\n\ttls {} {}{clients}\n\trespond ok\n}}",
                    files.chain.display(),
                    files.key.display()
                );
            };
            match (&shape.default, door.name) {
                (Some(default), _) => {
                    site("", default);
                    site(ELSEWHERE, &shape.files);
                }
                (None, name) => site(name.unwrap_or_default(), &shape.files),
            }
        }
        let broken = if broken { "no_such_option\n" } else { "" };
        format!(
            "{{\n\tadmin unix//{dir}/admin.sock\n\tauto_https off\n\t\
             storage file_system {dir}/data\n{broken}}}\n{sites}"
        )
    }

    fn postfix(&self, doors: &[Door<'_>], broken: bool) {
        let (dir, shown) = (&self.dir, self.dir.display());
        let fresh = !dir.join("etc").exists();
        for name in ["etc", "spool", "data"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        let broken = if broken { "no equals sign\n" } else { "" };
        let shape = doors[0].shape;
        // An smtpd that was busy before a reload serves on with what it read then, for as long as
        // connections come: one process for each connection shows the configuration as it is.
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {shown}/spool\ndata_directory = {shown}/data\n\
             myhostname = mail.example\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n\
             inet_protocols = all\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
             maillog_file = {shown}/mail.log\n\
             smtpd_peername_lookup = no\nmax_use = 1\n\
             maillog_file_prefixes = {shown}\n{broken}",
            shape.files.chain.display(),
            shape.files.key.display()
        );
        replace(&dir.join("etc/main.cf"), &main);
        let mut master = String::new();
        for door in doors {
            let (shape, address) = (door.shape, self.address(door));
            let level = if shape.plain { "none" } else { "may" };
            let proxy = if shape.proxy { " -o smtpd_upstream_proxy_protocol=haproxy" } else { "" };
            let _ = writeln!(
                master,
                "{address} inet n - n - 8 smtpd -o smtpd_tls_security_level={level}{proxy} \
                 -o smtpd_tls_cert_file={} -o smtpd_tls_key_file={}",
                shape.files.chain.display(),
                shape.files.key.display()
            );
        }
        master.push_str(
            "rewrite unix - - n - 1 trivial-rewrite\n\
             anvil unix - - n - 1 anvil\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
             postlog unix-dgram n - n - 1 postlogd\n",
        );
        replace(&dir.join("etc/master.cf"), &master);
        if fresh {
            let data = format!("{shown}/data");
            assert!(Command::new("chown").args(["postfix", &data]).status().unwrap().success());
            // Makes the queue's directories; its warnings are about a system that this is not.
            let mut made = argv("postfix", &["-c", &self.etc(), "check"]);
            made.stderr(Stdio::null()).status().unwrap();
        }
    }

    fn dovecot(&self, doors: &[Door<'_>], broken: bool) -> String {
        let dir = self.dir.display();
        let (listen, shape, port) = (self.ip, doors[0].shape, doors[0].port);
        let tls = if shape.plain { "no" } else { "yes" };
        let proxy = if shape.proxy { "haproxy = yes" } else { "" };
        let broken = if broken { "no_such_setting = 1\n" } else { "" };
        let mut names = String::new();
        for door in &doors[1..] {
            let _ = writeln!(
                names,
                "local_name {} {{\n  ssl_cert = <{}\n  ssl_key = <{}\n}}",
                door.name.unwrap_or_default(),
                door.shape.files.chain.display(),
                door.shape.files.key.display()
            );
        }
        format!(
            "protocols = imap\nbase_dir = {dir}/run\nstate_dir = {dir}/run\nlog_path = {dir}/mail.log\n\
             listen = {listen}\nssl = {tls}\nssl_cert = <{}\nssl_key = <{}\nmail_location = maildir:{dir}/mail\n\
             haproxy_trusted_networks = 127.0.0.0/8\nhaproxy_timeout = 2s\n\
             service imap-login {{\n  chroot =\n  inet_listener imap {{\n    port = {port}\n    {proxy}\n  }}\n  \
             inet_listener imaps {{\n    port = 0\n  }}\n}}\nservice anvil {{\n  chroot =\n}}\n\
             passdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
             userdb {{\n  driver = static\n  args = uid=65534 gid=65534 home={dir}/mail\n}}\n{names}{broken}",
            shape.files.chain.display(),
            shape.files.key.display(),
        )
    }

    fn proftpd(&self, doors: &[Door<'_>], broken: bool) -> String {
        let (dir, ip) = (self.dir.display(), self.ip);
        let users = self.dir.join("users");
        if !users.exists() {
            std::fs::write(&users, "").unwrap();
            let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&users, closed).unwrap();
        }
        let mut hosts = String::new();
        for door in doors {
            let (shape, port) = (door.shape, door.port);
            let tls = if shape.plain { "off" } else { "on" };
            let words = format!(
                "Port {port}\nTLSEngine {tls}\nTLSLog {dir}/tls.log\nTLSECCertificateFile {chain}\n\
                 TLSECCertificateKeyFile {}\nTLSCertificateChainFile {chain}\nAuthUserFile {dir}/users\n\
                 AuthOrder mod_auth_file.c\n",
                shape.files.key.display(),
                chain = shape.files.chain.display(),
            );
            if hosts.is_empty() {
                let _ = writeln!(hosts, "{words}");
            } else {
                let _ = writeln!(hosts, "<VirtualHost {ip}>\n{words}</VirtualHost>");
            }
        }
        let broken = if broken { "NoSuchDirective on\n" } else { "" };
        format!(
            "ModulePath /usr/lib/proftpd\nLoadModule mod_tls.c\nServerName mail.example\n\
             ServerType standalone\nDefaultAddress {ip}\nSocketBindTight on\nUseIPv6 off\n\
             User nobody\nGroup nogroup\nPidFile {dir}/proftpd.pid\nScoreboardFile none\n\
             SystemLog {dir}/error.log\nWtmpLog off\nTransferLog none\nDelayEngine off\n\
             UseReverseDNS off\n{hosts}{broken}"
        )
    }

    fn postgres(&self, shape: &Shape, broken: bool) {
        let (dir, ip, port) = (self.dir.display(), self.ip, self.port);
        let data = self.dir.join("data");
        if !data.exists() {
            // Its data, its socket and its log are its own.
            assert!(Command::new("chown").arg("postgres").arg(&self.dir).status().unwrap().success());
            let shown = data.to_str().unwrap();
            let made = self
                .as_postgres("initdb", &["-D", shown, "-N", "--auth=trust", "--no-locale"])
                .stdout(Stdio::null())
                .status();
            assert!(made.unwrap().success(), "initdb");
        }
        let files = &shape.files;
        let open = files.key.metadata().is_ok_and(|key| {
            // What it refuses: a key that others may read, or that is neither root's nor its own.
            std::os::unix::fs::MetadataExt::mode(&key) & 0o007 != 0
        });
        let copied = files.key.starts_with(self.dir.parent().unwrap().join("copy"));
        if open || copied {
            let mut give = Command::new("sh");
            give.args(["-c", "chown postgres \"$0\" && chmod 600 \"$0\""]).arg(&files.key);
            assert!(give.status().unwrap().success());
        }
        let tls = if shape.plain { "off" } else { "on" };
        let broken = if broken { "no equals sign\n" } else { "" };
        let text = format!(
            "ssl = {tls}\nssl_cert_file = '{}'\nssl_key_file = '{}'\nlisten_addresses = '{ip}'\n\
             unix_socket_directories = '{dir}'\nport = {port}\nfsync = off\nmax_connections = 30\n\
             shared_buffers = 1MB\n{broken}",
            files.chain.display(),
            files.key.display()
        );
        replace(&data.join("postgresql.conf"), &text);
    }
}

/// As an editor does it: no reload may see half a file.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}
