//! Debian's servers, as small as they go: the one certificate, one port.

use crate::support::server::{Port, Recipe};

/// Debian lets one mail server be installed: this one is unpacked beside postfix by `tests/run`.
macro_rules! exim4 {
    ($after:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/target/exim4/usr/sbin", $after)
    };
}

const NONE: Recipe = Recipe {
    service: "",
    program: "",
    package: "",
    needs: "",
    files: &[],
    args: &[],
    check: &[],
    reload: "kill -HUP $(cat @DIR@/pid)",
    port: Port::Tls,
    certificate: "",
    unprivileged: true,
    never_root: false,
    prepare: "",
    keeps_ecdsa: false,
};

pub const NGINX: Recipe = Recipe {
    service: "nginx",
    program: "nginx",
    package: "nginx-light",
    files: &[(
        "nginx.conf",
        "@ROOT@ user root;
daemon off; worker_processes 2; pid @DIR@/nginx.pid; error_log @DIR@/log;
events { worker_connections 64; }
http { access_log off; client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3;
uwsgi_temp_path @DIR@/t4; scgi_temp_path @DIR@/t5;
server { listen 127.0.0.1:@PORT@ ssl; ssl_certificate @LIVE@/fullchain.pem; ssl_certificate_key @LIVE@/privkey.pem; }
}
",
    )],
    args: &["-e", "@DIR@/log", "-c", "@DIR@/nginx.conf"],
    check: &["nginx", "-t", "-q", "-e", "stderr", "-c", "@DIR@/nginx.conf"],
    ..NONE
};

pub const APACHE2: Recipe = Recipe {
    service: "apache2",
    program: "apache2",
    package: "apache2",
    files: &[(
        "apache2.conf",
        "ServerRoot @DIR@
ServerName @NAME@
DefaultRuntimeDir @DIR@
PidFile @DIR@/apache2.pid
ErrorLog @DIR@/log
Mutex file:@DIR@ default
@ROOT@ User www-data
@ROOT@ Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
Listen 127.0.0.1:@PORT@
<VirtualHost 127.0.0.1:@PORT@>
SSLEngine on
SSLCertificateFile @LIVE@/fullchain.pem
SSLCertificateKeyFile @LIVE@/privkey.pem
</VirtualHost>
",
    )],
    args: &["-f", "@DIR@/apache2.conf", "-DFOREGROUND"],
    check: &["apache2", "-t", "-f", "@DIR@/apache2.conf"],
    reload: "kill -USR1 $(cat @DIR@/pid)",
    ..NONE
};

pub const HAPROXY: Recipe = Recipe {
    service: "haproxy",
    program: "haproxy",
    package: "haproxy",
    files: &[(
        "haproxy.cfg",
        "global
  maxconn 50
  stats socket @DIR@/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend tls
  bind 127.0.0.1:@PORT@ ssl crt @DIR@/shop.pem
  http-request return status 200 content-type text/plain string ok
",
    )],
    args: &["-W", "-db", "-f", "@DIR@/haproxy.cfg"],
    check: &["haproxy", "-c", "-q", "-f", "@DIR@/haproxy.cfg"],
    reload: "kill -USR2 $(cat @DIR@/pid)",
    certificate: "combined = '@DIR@/shop.pem'\nkey-mode = '0600'",
    ..NONE
};

pub const CADDY: Recipe = Recipe {
    service: "caddy",
    program: "caddy",
    package: "caddy",
    files: &[(
        "Caddyfile",
        "{
	admin 127.0.0.1:@SPARE@
	auto_https off
	storage file_system @DIR@/data
}
https://:@PORT@ {
	bind 127.0.0.1
	tls @LIVE@/fullchain.pem @LIVE@/privkey.pem
	respond ok
}
",
    )],
    args: &["run", "--config", "@DIR@/Caddyfile"],
    check: &["caddy", "validate", "--config", "@DIR@/Caddyfile"],
    // As its unit does.
    reload: "caddy reload --force --config @DIR@/Caddyfile --address 127.0.0.1:@SPARE@",
    ..NONE
};

pub const POSTFIX: Recipe = Recipe {
    service: "postfix",
    program: "/usr/lib/postfix/sbin/master",
    package: "postfix",
    files: &[
        (
            "main.cf",
            "compatibility_level = 3.6
queue_directory = @DIR@/spool
data_directory = @DIR@/data
myhostname = @NAME@
mydestination =
local_recipient_maps =
alias_maps =
inet_protocols = ipv4
smtpd_tls_chain_files = @LIVE@/privkey.pem, @LIVE@/fullchain.pem
smtpd_tls_security_level = may
maillog_file = @DIR@/log
maillog_file_prefixes = @DIR@
",
        ),
        (
            "master.cf",
            "127.0.0.1:@PORT@ inet n - n - 2 smtpd
rewrite unix - - n - 1 trivial-rewrite
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
",
        ),
    ],
    args: &["-d", "-c", "@DIR@"],
    check: &["postfix", "-c", "@DIR@", "check"],
    port: Port::StartTls("smtp"),
    // Its master starts as root and as nobody else.
    unprivileged: false,
    prepare: "mkdir -p @DIR@/spool @DIR@/data
chown postfix @DIR@/data
postfix -c @DIR@ check 2>/dev/null",
    ..NONE
};

pub const DOVECOT: Recipe = Recipe {
    service: "dovecot",
    program: "dovecot",
    package: "dovecot-imapd",
    files: &[(
        "dovecot.conf",
        "base_dir = @DIR@/run
state_dir = @DIR@/state
log_path = @DIR@/log
@NOBODY@ default_internal_user = nobody
@NOBODY@ default_internal_group = nogroup
@NOBODY@ default_login_user = nobody
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <@LIVE@/fullchain.pem
ssl_key = <@LIVE@/privkey.pem
service imap-login {
  chroot =
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = @PORT@
    ssl = yes
  }
}
service anvil {
  chroot =
}
passdb {
  driver = static
  args = nopassword=y
}
",
    )],
    args: &["-F", "-c", "@DIR@/dovecot.conf"],
    check: &["doveconf", "-n", "-c", "@DIR@/dovecot.conf"],
    ..NONE
};

pub const MOSQUITTO: Recipe = Recipe {
    service: "mosquitto",
    program: "mosquitto",
    package: "mosquitto",
    files: &[(
        "mosquitto.conf",
        "@ROOT@ user mosquitto
listener @PORT@ 127.0.0.1
allow_anonymous true
certfile @LIVE@/fullchain.pem
keyfile @LIVE@/privkey.pem
",
    )],
    args: &["-c", "@DIR@/mosquitto.conf"],
    // It has given up root when it reads them again.
    certificate: "@ROOT@ group = 'mosquitto'",
    keeps_ecdsa: true,
    ..NONE
};

pub const POSTGRESQL: Recipe = Recipe {
    service: "postgresql",
    program: "@PG@/postgres",
    package: "postgresql",
    files: &[(
        "more.conf",
        "ssl = on
ssl_cert_file = '@LIVE@/fullchain.pem'
ssl_key_file = '@LIVE@/privkey.pem'
listen_addresses = '127.0.0.1'
unix_socket_directories = '@DIR@'
port = @PORT@
fsync = off
",
    )],
    args: &["-D", "@DIR@/data"],
    port: Port::StartTls("postgres"),
    // It refuses a key that others may read, and one of another user's.
    certificate: "key-mode = '0600'",
    never_root: true,
    prepare: "@PG@/initdb -D @DIR@/data -N --auth=trust --no-locale >/dev/null
cat @DIR@/more.conf >>@DIR@/data/postgresql.conf",
    ..NONE
};

pub const EXIM4: Recipe = Recipe {
    service: "exim4",
    program: "unshare",
    needs: exim4!("/exim4"),
    package: "exim4-daemon-light, as tests/run does",
    files: &[(
        "exim4.conf",
        "primary_hostname = @NAME@
spool_directory = @DIR@/spool
log_file_path = @DIR@/spool/log%s
pid_file_path = @DIR@/exim.pid
daemon_smtp_ports = @PORT@
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = @LIVE@/fullchain.pem
tls_privatekey = @LIVE@/privkey.pem
keep_environment =
acl_smtp_rcpt = deny
",
    )],
    args: &[
        "--mount",
        "sh",
        "-ec",
        // It starts itself anew at its own path when it is told to reload.
        concat!(
            "mount -t overlay overlay -o lowerdir=",
            exim4!(""),
            ":/usr/sbin /usr/sbin\nexec exim4 -C @DIR@/exim4.conf -bdf"
        ),
    ],
    check: &[exim4!("/exim4"), "-C", "@DIR@/exim4.conf", "-bV"],
    port: Port::StartTls("smtp"),
    certificate: "group = 'Debian-exim'",
    // Only root and its own administrators may start it.
    unprivileged: false,
    prepare: "install -d -o Debian-exim @DIR@/spool",
    ..NONE
};

pub const PROFTPD: Recipe = Recipe {
    service: "proftpd",
    program: "proftpd",
    package: "proftpd-core proftpd-mod-crypto",
    needs: "/usr/lib/proftpd/mod_tls.so",
    files: &[
        (
            "proftpd.conf",
            "ModulePath /usr/lib/proftpd
LoadModule mod_tls.c
ServerName @NAME@
ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
Port @PORT@
User nobody
Group nogroup
PidFile @DIR@/proftpd.pid
ScoreboardFile none
SystemLog @DIR@/log
WtmpLog off
TransferLog none
DelayEngine off
AuthUserFile @DIR@/users
AuthOrder mod_auth_file.c
UseReverseDNS off
TLSEngine on
TLSLog @DIR@/log.tls
TLSECCertificateFile @LIVE@/fullchain.pem
TLSECCertificateKeyFile @LIVE@/privkey.pem
TLSCertificateChainFile @LIVE@/chain.pem
",
        ),
        ("users", ""),
    ],
    args: &["-n", "-c", "@DIR@/proftpd.conf"],
    port: Port::StartTls("ftp"),
    check: &["proftpd", "--configtest", "-c", "@DIR@/proftpd.conf"],
    prepare: "chmod 600 @DIR@/users",
    ..NONE
};
