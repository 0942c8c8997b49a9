//! What is taken, and what it comes to.

use std::path::PathBuf;

use nolapse::config::{Facts, LogFormat, MetricsListen, Places, Resolved, Source, effective, resolve};
use nolapse::core::form::Form;
use nolapse::core::layout::output_mode;
use nolapse::core::spec::{
    Call, HttpCall, KeyKind, LineageSpec, Listen, Part, SecretSource, SignalTarget, SolverKind,
};
use nolapse::core::time::Span;

use crate::{read, read_files, shown};

fn only(text: &str) -> LineageSpec {
    let resolved = read(text);
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    assert_eq!(resolved.wanted.lineages.len(), 1);
    resolved.wanted.lineages.values().next().unwrap().clone()
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn the_commonest_case_is_six_lines() {
    let text = r#"
[issuer.letsencrypt]
accept-terms = true

[certificate."shop.example.com"]
names   = ["shop.example.com", "www.shop.example.com"]
service = "nginx"
"#;
    let resolved = read(text);
    assert_eq!(resolved.problems, []);
    let spec = only(text);
    assert_eq!(texts(&spec.names), ["shop.example.com", "www.shop.example.com"]);
    assert_eq!(texts(&spec.issuers), ["letsencrypt"]);
    assert_eq!(texts(&spec.solvers), ["loopback"]);
    assert_eq!(texts(&spec.hooks), ["nginx"]);
    assert_eq!(
        texts(&spec.endpoints),
        [
            "https://shop.example.com@127.0.0.1:443",
            "https://www.shop.example.com@127.0.0.1:443",
            "https://shop.example.com@[::1]:443",
            "https://www.shop.example.com@[::1]:443",
        ]
    );
    assert_eq!((spec.key, spec.reuse_key, spec.rights.key_mode), (KeyKind::EcdsaP256, false, 0o640));
    assert_eq!((spec.origin.to_string().as_str(), spec.observe_timeout), ("nolapse.toml:5", Span::secs(30)));
    let hook = resolved.wanted.hooks.values().next().unwrap();
    assert_eq!(hook.check.as_deref(), Some(&["nginx".to_owned(), "-t".to_owned()][..]));
    assert_eq!(hook.call, Call::Run(["systemctl", "reload", "nginx"].map(str::to_owned).to_vec()));
    let issuer = resolved.wanted.issuers.values().next().unwrap();
    assert!(issuer.accept_terms && issuer.directory.contains("acme-v02"));
    assert!(issuer.staging.as_deref().unwrap().contains("staging"));
}

#[test]
fn a_bare_list_is_a_whole_certificate() {
    let spec = only("[certificate]\n\"a.example\" = [\"a.example\", \"www.a.example\"]");
    assert_eq!(texts(&spec.names), ["a.example", "www.a.example"]);
    assert_eq!(texts(&spec.solvers), ["standalone"]);
    assert!(spec.endpoints.is_empty());
    assert_eq!(texts(&only("certificate.\"a.example\" = \"b.example\"").names), ["b.example"]);
}

#[test]
fn names_left_out_are_the_tables_own() {
    let spec = only("[certificate.\"Bücher.example\"]");
    assert_eq!(texts(&spec.names), ["xn--bcher-kva.example"]);
    assert_eq!(spec.id.as_str(), "xn--bcher-kva.example");
}

#[test]
fn one_key_of_a_built_in_table_can_be_changed() {
    let resolved = read(
        r#"
[service.nginx]
reload = ["/usr/sbin/nginx", "-s", "reload"]
[solver.loopback]
webroot = "/var/www/acme"
[issuer.letsencrypt]
directory = "https://127.0.0.1:14000/dir"
[certificate."a.example"]
service = "nginx"
"#,
    );
    assert_eq!(resolved.problems, []);
    let hook = resolved.wanted.hooks.values().next().unwrap();
    assert!(hook.check.is_some());
    assert_eq!(hook.call, Call::Run(["/usr/sbin/nginx", "-s", "reload"].map(str::to_owned).to_vec()));
    let solver = resolved.wanted.solvers.values().next().unwrap();
    assert_eq!(solver.kind, SolverKind::Webroot { root: "/var/www/acme".into() });
    // Rehearsing at another CA than the one that is asked would prove nothing.
    assert_eq!(resolved.wanted.issuers.values().next().unwrap().staging, None);
}

#[test]
fn defaults_hold_where_a_certificate_says_nothing() {
    let resolved = read(
        r#"
[defaults]
service = "nginx"
key = "rsa-3072"
group = "www-data"
[certificate]
"a.example" = ["a.example"]
[certificate."b.example"]
key = "ecdsa-p384"
observe = []
"#,
    );
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    let [a, b]: [LineageSpec; 2] =
        resolved.wanted.lineages.values().cloned().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(
        (a.key, a.rights.group.as_deref(), a.endpoints.len()),
        (KeyKind::Rsa3072, Some("www-data"), 2)
    );
    assert_eq!(
        (b.key, b.rights.group.as_deref(), b.endpoints.len()),
        (KeyKind::EcdsaP384, Some("www-data"), 0)
    );
}

#[test]
fn addresses_are_asked_for_every_name_and_hosts_for_themselves() {
    let spec = only(
        r#"
[issuer.ca]
directory = "https://ca.internal/dir"
[certificate.star]
names = ["*.example.com", "example.com", "192.0.2.7"]
issuer = "ca"
observe = ["127.0.0.1:443", "lb.example.com:443", "example.com@10.0.0.1:443", "smtp://[::1]:25"]
"#,
    );
    assert_eq!(
        texts(&spec.endpoints),
        [
            "https://nolapse-probe.example.com@127.0.0.1:443",
            "https://example.com@127.0.0.1:443",
            "https://192.0.2.7@127.0.0.1:443",
            "https://lb.example.com:443",
            "https://example.com@10.0.0.1:443",
            "smtp://nolapse-probe.example.com@[::1]:25",
            "smtp://example.com@[::1]:25",
            "smtp://192.0.2.7@[::1]:25",
        ]
    );
}

#[test]
fn one_certificate_may_serve_two_programs() {
    let spec = only("[certificate.\"mail.example\"]\nservice = [\"postfix\", \"dovecot\"]");
    assert_eq!(texts(&spec.hooks), ["postfix", "dovecot"]);
    assert_eq!(spec.endpoints.len(), 4);
    assert_eq!(texts(&spec.solvers), ["standalone"]);
}

#[test]
fn hooks_run_signal_or_ask() {
    let resolved = read(
        r#"
[hook.a]
run = ["/usr/local/bin/a", "--x"]
check = ["true"]
timeout = "5m"
[hook.b]
signal = { name = "SIGUSR1", pid-file = "/run/b.pid" }
[hook.c]
signal = { process = "nginx" }
[hook.d]
http = "http://127.0.0.1:2019/reload"
[hook.e.http]
url = "https://e.example/"
method = "PUT"
[certificate."a.example"]
hooks = ["a", "b", "c", "d", "e", "nginx"]
observe = []
"#,
    );
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    let calls: Vec<_> = resolved.wanted.hooks.values().map(|hook| hook.call.clone()).collect();
    let signal = |signal: &str, target| Call::Signal { signal: signal.into(), target };
    let request = |method: &str, url: &str| {
        Call::Http(HttpCall { method: method.into(), url: url.into(), ..HttpCall::default() })
    };
    assert_eq!(calls.len(), 6);
    assert_eq!(calls[1], signal("USR1", SignalTarget::PidFile("/run/b.pid".into())));
    assert_eq!(calls[2], signal("HUP", SignalTarget::Process("nginx".into())));
    assert_eq!(calls[3], request("POST", "http://127.0.0.1:2019/reload"));
    assert_eq!(calls[4], request("PUT", "https://e.example/"));
    assert_eq!(resolved.wanted.hooks.values().next().unwrap().timeout, Span::minutes(5));
}

#[test]
fn a_place_is_a_text_or_a_table_with_more_to_say() {
    let resolved = read(
        r#"
[service.mail]
reload = ["true"]
observe = ["smtp://127.0.0.1:25", { at = "imap://127.0.0.1:143", tls = ["1.2", "1.3"] }]

[certificate."m.example"]
service = "mail"

[certificate."w.example"]
observe = [
  "w.example@127.0.0.1:443?samples=2",
  { at = "lb.example.com:443", addresses = "all", samples = 8, accept = "any-valid" },
  { at = "postgres://127.0.0.1:5432", key = "rsa", proxy-protocol = "v2", tls = "1.3" },
]
"#,
    );
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    let seen: Vec<_> = resolved.wanted.lineages.values().map(|spec| texts(&spec.endpoints)).collect();
    assert_eq!(
        seen[1],
        [
            "https://w.example@127.0.0.1:443?samples=2",
            "https://lb.example.com:443?accept=any-valid&addresses=all&samples=8",
            "postgres://w.example@127.0.0.1:5432?key=rsa&proxy-protocol=v2&tls=1.3",
        ]
    );
    assert_eq!(
        seen[0],
        [
            "smtp://m.example@127.0.0.1:25",
            "imap://m.example@127.0.0.1:143?tls=1.2",
            "imap://m.example@127.0.0.1:143?tls=1.3",
        ]
    );
}

#[test]
fn outputs_have_rights_of_their_own() {
    let spec = only(
        r#"
[certificate."a.example"]
owner = "root"
key-mode = 0o600
combined = "/etc/haproxy/certs/a.pem"
outputs = [
  { part = "fullchain", path = "/etc/x/chain.pem", mode = "0664" },
  { part = "privkey", path = "/etc/x/key.pem", group = "ssl-cert", mode = "0640" },
]
"#,
    );
    let rows: Vec<_> = spec
        .outputs
        .iter()
        .map(|o| {
            (
                o.form.clone(),
                o.path.as_str(),
                o.rights.group.as_deref(),
                o.rights.key_mode,
                o.rights.cert_mode,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            (Part::Fullchain.into(), "/etc/x/chain.pem", None, 0o600, 0o664),
            (Part::Privkey.into(), "/etc/x/key.pem", Some("ssl-cert"), 0o640, 0o644),
            (Part::Combined.into(), "/etc/haproxy/certs/a.pem", None, 0o600, 0o644),
        ]
    );
    assert!(spec.outputs.iter().all(|output| output.rights.owner.as_deref() == Some("root")));
}

#[test]
fn outputs_of_every_form_are_read_and_written_out_again() {
    let text = r#"[issuer.letsencrypt]
accept-terms = true

[defaults]
certbot-tree = "/etc/letsencrypt"

[certificate."a.example"]
outputs = [
  { part = "combined-key-first", path = "/x/k.pem", mode = "0640" },
  { part = "cert-der", path = "/x/c.der", mode = "0600" },
  { part = "privkey-der", path = "/x/k.der" },
  { part = "pkcs12", path = "/x/a.p12", password-credential = "p12", owner = "tomcat", mode = "0400" },
]
"#;
    let resolved = read(text);
    assert_eq!(resolved.problems, []);
    let password = SecretSource::Credential("p12".into());
    let rows = |resolved: &Resolved| -> Vec<_> {
        let spec = resolved.wanted.lineages.values().next().unwrap();
        spec.outputs.iter().map(|o| (o.form.clone(), o.path.clone(), output_mode(o))).collect()
    };
    let expected = [
        (Form::KeyFirst, "/x/k.pem".to_owned(), 0o640),
        (Form::CertDer, "/x/c.der".to_owned(), 0o600),
        (Form::KeyDer, "/x/k.der".to_owned(), 0o640),
        (Form::Pkcs12 { password }, "/x/a.p12".to_owned(), 0o400),
        (Form::Tree, "/etc/letsencrypt/live/a.example".to_owned(), 0o640),
    ];
    assert_eq!(rows(&resolved), expected);
    let again = read(&effective(&resolved));
    assert_eq!(again.problems, []);
    assert_eq!(rows(&again), expected);
}

#[test]
fn secrets_are_named_by_their_source() {
    for (line, source) in [
        ("hmac-key-file = \"/etc/eab\"", SecretSource::File("/etc/eab".into())),
        ("hmac-key-env = \"EAB_KEY\"", SecretSource::Env("EAB_KEY".into())),
        ("hmac-key-credential = \"eab\"", SecretSource::Credential("eab".into())),
    ] {
        let text =
            format!("[issuer.ca]\ndirectory = \"https://ca.example/\"\n[issuer.ca.eab]\nkid = \"k\"\n{line}");
        let resolved = read(&text);
        assert!(!resolved.has_errors(), "{}", shown(&resolved));
        assert_eq!(resolved.wanted.issuers.values().next().unwrap().eab.as_ref().unwrap().hmac_key, source);
    }
}

#[test]
fn sockets_may_come_from_systemd() {
    let resolved = read("[solver.s]\nlisten = \"systemd:http\"");
    let solver = resolved.wanted.solvers.values().next().unwrap();
    assert_eq!(solver.kind, SolverKind::Http { listen: Listen::Systemd("http".into()) });
}

#[test]
fn flags_beat_the_file_and_the_file_beats_systemd() {
    let place = |state: &str| Places { state_dir: Some(PathBuf::from(state)), ..Places::default() };
    let state = |text: &str, facts: &Facts| {
        let resolved = resolve(&[Source::new("nolapse.toml", text)], facts);
        (resolved.agent.state_dir, resolved.agent.live_dir)
    };
    let written = "[agent]\nstate-dir = \"/file\"";
    let both = Facts { forced: place("/flag"), fallback: place("/unit"), ..Facts::default() };
    let unit = Facts { fallback: place("/unit"), ..Facts::default() };
    assert_eq!(state(written, &both).0, PathBuf::from("/flag"));
    assert_eq!(state(written, &unit), ("/file".into(), "/file/live".into()));
    assert_eq!(state("", &unit).0, PathBuf::from("/unit"));
    assert_eq!(state("", &Facts::default()).1, PathBuf::from("/var/lib/nolapse/live"));
}

#[test]
fn the_agents_settings_read() {
    let resolved = read(
        "[agent]\nmetrics = \"/run/nolapse/metrics.sock\"\ntextfile = \"/x/n.prom\"\nproxy = \"http://p:3128\"\n\
         watch-config = true\nlog-format = \"json\"",
    );
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    let agent = resolved.agent;
    assert_eq!(agent.metrics, Some(MetricsListen::Unix("/run/nolapse/metrics.sock".into())));
    assert_eq!((agent.watch_config, agent.log_format), (true, LogFormat::Json));
    assert_eq!(agent.proxy.as_deref(), Some("http://p:3128"));
}

#[test]
fn tables_may_be_spread_over_files() {
    let resolved = read_files(&[
        ("nolapse.toml", "[agent]\nwatch-config = true\n[issuer.letsencrypt]\naccept-terms = true"),
        ("conf.d/a.toml", "[agent]\nproxy = \"http://p:1\"\n[certificate]\n\"a.example\" = [\"a.example\"]"),
        ("conf.d/empty.toml", ""),
        ("conf.d/b.toml", "[defaults]\nkey = \"rsa-2048\""),
    ]);
    assert_eq!(resolved.problems, []);
    assert!(resolved.agent.watch_config);
    let spec = resolved.wanted.lineages.values().next().unwrap();
    assert_eq!((spec.key, spec.origin.to_string().as_str()), (KeyKind::Rsa2048, "conf.d/a.toml:4"));
    let issuer = resolved.wanted.issuers.values().next().unwrap();
    assert_eq!(issuer.proxy.as_deref(), Some("http://p:1"));
}

#[test]
fn ten_thousand_certificates_are_read_in_one_go() {
    let rows: Vec<String> = (0..10_000)
        .map(|n| format!("\"h{n}.example.com\" = [\"h{n}.example.com\", \"www.h{n}.example.com\"]"))
        .collect();
    let resolved =
        read(&format!("[issuer.letsencrypt]\naccept-terms = true\n[certificate]\n{}", rows.join("\n")));
    assert_eq!(resolved.problems, []);
    assert_eq!(resolved.wanted.lineages.len(), 10_000);
}

#[test]
fn a_configuration_of_watches_alone_is_whole() {
    let text = r#"
[watch.bought]
files = ["/etc/ssl/bought/*.pem", "/etc/ssl/bought/*.pem"]
endpoints = ["shop.example.com:443", { at = "smtp://mail.example.com:25", samples = 3 }]
ticket-before = "60d"

[watch."cluster.example.com"]
trees = ["/etc/tls/"]
"#;
    let resolved = read(text);
    assert_eq!(resolved.problems, [], "{}", shown(&resolved));
    let watches: Vec<_> = resolved.wanted.watches.values().collect();
    let [bought, cluster] = watches[..] else { panic!("{watches:?}") };
    assert_eq!(bought.files, ["/etc/ssl/bought/*.pem"]);
    assert_eq!(
        texts(&bought.endpoints),
        ["https://shop.example.com:443", "smtp://mail.example.com:25?samples=3"]
    );
    assert_eq!((bought.every, bought.thresholds.ticket), (Span::hours(6), Some(Span::days(60))));
    assert_eq!(
        (cluster.id.as_str(), &cluster.trees[..]),
        ("cluster.example.com", &["/etc/tls".to_owned()][..])
    );
    let again = read(&effective(&resolved));
    let bare = |resolved: &Resolved| crate::without_origins(&resolved.wanted);
    assert_eq!(bare(&again), bare(&resolved));
}

#[test]
fn a_listener_for_tls_alpn_is_said_to_be_one() {
    let text = "[solver.tls]\ntype = \"tls-alpn-01\"\nlisten = \"[::]:443\"\n\
                [solver.behind]\ntype = \"tls-alpn-01\"\nlisten = \"systemd:tlsalpn01\"\ncheck-port = 8443\n\
                [certificate.\"a.example\"]\nnames = [\"a.example\", \"192.0.2.7\"]\nsolver = [\"tls\", \"behind\"]\n\
                profile = \"shortlived\"";
    let resolved = read(text);
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    let solver = |name: &str| resolved.wanted.solvers.values().find(|spec| spec.id.as_str() == name).unwrap();
    let everywhere = Listen::Address("[::]:443".parse().unwrap());
    assert_eq!(solver("tls").kind, SolverKind::TlsAlpn { listen: everywhere });
    assert_eq!(solver("behind").kind, SolverKind::TlsAlpn { listen: Listen::Systemd("tlsalpn01".into()) });
    assert_eq!(solver("behind").check_port, Some(8443));
}

#[test]
fn an_address_is_read_in_any_form_and_written_in_one() {
    let spec = only(
        "[certificate.addresses]\nnames = [\"2001:DB8:0:0::1\", \"[2001:db8::2]\", \"192.0.2.7\"]\n\
         service = \"nginx\"\nprofile = \"shortlived\"",
    );
    assert_eq!(texts(&spec.names), ["2001:db8::1", "2001:db8::2", "192.0.2.7"]);
    let endpoints = texts(&spec.endpoints);
    assert!(endpoints.contains(&"https://192.0.2.7@127.0.0.1:443".to_owned()), "{endpoints:?}");
    assert!(endpoints.contains(&"https://2001:db8::1@[::1]:443".to_owned()), "{endpoints:?}");
}
