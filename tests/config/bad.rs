//! What is refused: each row a slip, where it is found, and under which code.

use nolapse::config::{Severity, Source};

use crate::{read, read_files, shown};

/// Text · code · line · column · words that must be said. One slip a line.
#[rustfmt::skip]
const ROWS: &[(&str, &str, usize, usize, &str)] = &[
    // Broken TOML, with the place.
    ("[agent\nx = 1", "broken-toml", 1, 7, "not TOML"),
    ("[agent]\nstate-dir = /var", "broken-toml", 2, 13, "not TOML"),
    ("[certificate.*.example.com]", "broken-toml", 1, 14, "quote the name: [certificate.\"*.example.com\"]"),
    ("[agent]\nproxy = \"http://a:1\"\nproxy = \"http://b:1\"", "duplicate-key", 3, 1, "stands twice"),
    // Unknown words, with the nearest known one.
    ("[certificates.\"a.example\"]", "unknown-table", 1, 2, "did you mean `[certificate]`?"),
    ("state-dir = \"/x\"", "unknown-table", 1, 1, "[agent]"),
    ("[agent]\nstate_dir = \"/x\"", "unknown-key", 2, 1, "did you mean `state-dir`?"),
    ("[certificate.\"a.example\"]\nnmaes = [\"a.example\"]", "unknown-key", 2, 1, "did you mean `names`?"),
    ("[certificate.\"a.example\"]\nservice = \"ngnix\"", "unknown-service", 2, 11, "did you mean \"nginx\"?"),
    ("[certificate.\"a.example\"]\nissuer = [\"letsencrytp\"]", "unknown-issuer", 2, 11, "did you mean \"letsencrypt\"?"),
    ("[certificate.\"a.example\"]\nsolver = \"webroot\"", "unknown-solver", 2, 10, "add a table [solver.webroot]"),
    ("[certificate.\"a.example\"]\nhooks = [\"postfxi\"]", "unknown-hook", 2, 10, "did you mean \"postfix\"?"),
    ("[certificate.\"a.example\"]\nkey = \"rsa2048\"", "unknown-word", 2, 7, "did you mean \"rsa-2048\"?"),
    ("[service.x]\nreload = [\"x\"]\nsolver = \"nope\"", "unknown-solver", 3, 10, "there is no solver"),
    ("[defaults]\nisuer = \"letsencrypt\"", "unknown-key", 2, 1, "did you mean `issuer`?"),
    ("[defaults]\nnames = [\"a.example\"]", "not-a-default", 2, 1, "can't stand in [defaults]"),
    // Wrong types.
    ("agent = 5", "wrong-type", 1, 9, "a table is needed here"),
    ("[issuer]\nx = 5", "wrong-type", 2, 5, "a table [issuer.x]"),
    ("[certificate.\"a.example\"]\nnames = 5", "wrong-type", 2, 9, "a text or a list of texts"),
    ("[certificate.\"a.example\"]\nnames = [\"a.example\", 7]", "wrong-type", 2, 23, "a text in quotes"),
    ("[certificate.\"a.example\"]\nreuse-key = \"yes\"", "wrong-type", 2, 13, "true or false"),
    ("[certificate]\n\"a.example\" = 5", "wrong-type", 2, 15, "a table or a list of names"),
    ("[certificate.\"a.example\".outputs]\npart = \"cert\"", "wrong-type", 1, 1, "a list of tables"),
    ("[service.x]\nreload = \"systemctl reload x\"", "wrong-type", 2, 10, "no shell"),
    // Names: traversal, options, NUL, length, direction marks, IDNA.
    ("[certificate.\"../x\"]\nnames = [\"a.example\"]", "bad-name", 1, 14, "must not start with a dash or a dot"),
    ("[certificate.\"-o\"]\nnames = [\"a.example\"]", "bad-name", 1, 14, "must not start with a dash"),
    ("[certificate.\"a/b\"]\nnames = [\"a.example\"]", "bad-name", 1, 14, "only lower-case letters"),
    ("[certificate.\"a\\u0000b\"]\nnames = [\"a.example\"]", "bad-name", 1, 14, "NUL"),
    ("[certificate.a]\nnames = [\"a\\u0000b.example\"]", "bad-name", 2, 10, "NUL"),
    ("[certificate.a]\nnames = [\"a\u{202e}b.example\"]", "bad-name", 2, 10, "direction-changing"),
    ("[certificate.a]\nnames = [\"a\u{200f}.example\"]", "bad-name", 2, 10, "direction-changing"),
    ("[certificate.a]\nnames = [\"xn--a.example\"]", "bad-name", 2, 10, "punycode"),
    ("[certificate.a]\nnames = [\"ok.example\", \"a..b\"]", "bad-name", 2, 24, "two dots"),
    ("[certificate.a]\nnames = [\"https://a.example\"]", "bad-name", 2, 10, "without a scheme"),
    ("[certificate.\"x_y\"]", "bad-name", 1, 14, "`names` is left out"),
    ("[certificate.\"2001:db8::1\"]", "bad-name", 1, 14, "colon"),
    ("[certificate]\n\"a.example\" = []", "no-names", 2, 1, "at least one name"),
    ("[certificate.shop.example.com]\nkey = \"rsa-2048\"", "unquoted-name", 1, 27, "[certificate.\"shop.example.com\"]"),
    ("[certificate]\na.example = [\"a.example\"]", "unquoted-name", 2, 3, "\"a.example\" = [ … ]"),
    ("[certificate]\nnames = [\"a.example\"]", "unnamed-certificate", 2, 1, "give the certificate a name"),
    ("[issuer.\"a b\"]\ndirectory = \"https://a.example/\"", "bad-name", 1, 9, "only lower-case letters"),
    // What no order could get.
    ("[certificate.shop]", "not-public", 1, 14, "no dot"),
    ("[certificate.\"*.example.com\"]", "wildcard", 1, 14, "http-01"),
    ("[certificate.a]\nnames = [\"*.b.example\", \"www.b.example\"]", "covered-name", 1, 14, "remove www.b.example"),
    ("[certificate.\"192.0.2.7\"]\nnames = [\"192.0.2.7\"]", "ip-profile", 1, 14, "shortlived"),
    ("[certificate.\"192.0.2.7\"]\nprofile = \"classic\"", "ip-profile", 1, 14, "shortlived"),
    ("[issuer.letsencrypt]\nprofile = \"shortlived\"\n[certificate.\"192.0.2.7\"]\nprofile = \"classic\"", "ip-profile", 3, 14, "shortlived"),
    ("[certificate.a]\nnames = [\"10.1.2.3\"]\nprofile = \"shortlived\"", "not-public", 1, 14, "private CA"),
    ("[certificate.a]\nnames = [\"100.64.0.1\"]\nprofile = \"shortlived\"", "not-public", 1, 14, "private CA"),
    ("[certificate.a]\nnames = [\"[fd00::1]\"]\nprofile = \"shortlived\"", "not-public", 1, 14, "private CA"),
    ("[certificate.a]\nnames = [\"::ffff:192.0.2.7\"]\nprofile = \"shortlived\"", "bad-name", 1, 14, "write 192.0.2.7"),
    ("[solver.x]\nprovider = \"exec\"\nrun = [\"x\"]\n[certificate.\"192.0.2.7\"]\nprofile = \"shortlived\"\nsolver = \"x\"", "unprovable-name", 4, 14, "addresses are never proved by DNS"),
    ("[certificate.\"a.example\"]\nmust-staple = true", "must-staple", 2, 1, "May 2025"),
    // Issuers.
    ("[issuer.x]", "missing-key", 1, 9, "`directory`"),
    ("[issuer.x]\ndirectory = \"http://ca.example/\"", "http-directory", 2, 13, "https"),
    ("[issuer.x]\ndirectory = \"http://127.0.0.1:1/\"", "http-directory", 2, 13, "insecure-http = true"),
    ("[issuer.x]\ninsecure-http = true\ndirectory = \"http://ca.example/\"", "http-directory", 3, 13, "https"),
    ("[issuer.x]\ndirectory = \"ca.example\"", "bad-url", 2, 13, "https://host/path"),
    ("[issuer.x]\ndirectory = \"https://api.buypass.com/acme/directory\"", "ca-ended", 2, 13, "2025-10-15"),
    ("[certificate.\"a.example\"]\nissuer = \"buypass\"", "ca-ended", 2, 10, "2025-10-15"),
    ("[issuer.letsencrypt]\ncontact = \"me\"", "bad-contact", 2, 11, "mail address"),
    ("[issuer.letsencrypt]\nca-file = \"ca.pem\"", "bad-path", 2, 11, "absolute"),
    ("[issuer.letsencrypt]\nprofile = \"\"", "bad-profile", 2, 11, "one word"),
    ("[issuer.letsencrypt]\neab = { kid = \"k\", hmac-key = \"s3cr3t\" }", "secret-in-config", 2, 20, "`hmac-key-file`"),
    ("[issuer.letsencrypt]\neab = { kid = \"k\" }", "missing-key", 2, 1, "`hmac-key-env`"),
    ("[issuer.letsencrypt]\neab = { kid = \"k\", hmac-key-file = \"/a\", hmac-key-env = \"A\" }", "one-of", 2, 42, "one source"),
    ("[issuer.letsencrypt]\nproxy = \"http://me:s3cr3t@proxy:1\"", "bad-url", 2, 9, "password does not belong"),
    // Solvers, services, hooks.
    ("[solver.x]", "missing-key", 1, 9, "one of `listen`, `webroot`, `provider`"),
    ("[solver.x]\nlisten = \"[::]:80\"\nwebroot = \"/w\"", "one-of", 3, 1, "exclude each other"),
    ("[solver.x]\nlisten = \":80\"", "bad-address", 2, 10, "IP address and a port"),
    ("[solver.x]\nlisten = \"127.0.0.1:0\"", "bad-address", 2, 10, "port 0"),
    ("[solver.x]\nwebroot = \"www\"", "bad-path", 2, 11, "absolute"),
    ("[solver.x]\nwebroot = \"/var/lib/nolapse/www\"", "webroot-in-state", 2, 11, "holds the keys"),
    ("[solver.x]\ntype = \"webroot\"\nwebroot = \"/w\"", "unknown-word", 2, 8, "type = \"http-01\""),
    ("[solver.x]\ntype = \"dns-persist-01\"\nlisten = \"[::]:80\"", "one-of", 2, 8, "answers http-01 or tls-alpn-01"),
    ("[solver.x]\ntype = \"tls-alpn-01\"", "missing-key", 1, 9, "one of `listen`"),
    ("[solver.x]\ntype = \"tls-alpn-01\"\nwebroot = \"/w\"", "one-of", 2, 8, "answers http-01"),
    ("[solver.x]\ntype = \"tls-alpn-01\"\nlisten = \"[::]:443\"\nttl = \"1m\"", "one-of", 4, 7, "means nothing"),
    ("[solver.x]\ntype = \"tls-alpn-01\"\nlisten = \"[::]:443\"\n[certificate.\"*.example.com\"]\nsolver = \"x\"", "wildcard", 4, 14, "http-01 or tls-alpn-01"),
    ("[solver.x]\ntype = \"dns-01\"\nlisten = \"[::]:80\"", "one-of", 2, 8, "answers http-01 or tls-alpn-01"),
    ("[solver.x]\nprovider = \"bind\"", "unknown-word", 2, 12, "rfc2136"),
    ("[solver.x]\nlisten = \"[::]:80\"\nresolvers = [\"192.0.2.1\"]", "one-of", 3, 13, "means nothing to an HTTP solver"),
    ("[solver.x]\nprovider = \"exec\"\nrun = [\"x\"]\ntsig-key-file = \"/k\"", "one-of", 4, 17, "means nothing to exec"),
    ("[solver.x]\nprovider = \"exec\"", "missing-key", 1, 9, "needs `run`"),
    ("[solver.x]\nprovider = \"rfc2136\"\nserver = \"a b\"", "bad-value", 3, 10, "HOST or HOST:PORT"),
    ("[solver.x]\nprovider = \"rfc2136\"\ntsig-key = \"hush\"", "secret-in-config", 3, 1, "tsig-key-file"),
    ("[solver.x]\nprovider = \"webhook\"\nurl = \"http://a.example/\"", "bad-url", 3, 7, "https is needed"),
    ("[solver.x]\nprovider = \"webhook\"\nurl = \"https://a.example/\"\nlogin = \"u\"", "missing-key", 1, 9, "password-file"),
    ("[solver.x]\nprovider = \"acme-dns\"", "missing-key", 1, 9, "`accounts`"),
    ("[solver.x]\nprovider = \"self\"\nname-server = \"ns.example\"", "missing-key", 1, 9, "needs `zones`"),
    ("[solver.x]\nprovider = \"self\"\nzones = [\"acme.example\"]", "missing-key", 1, 9, "`name-server`"),
    ("[solver.x]\nprovider = \"self\"\nzones = []\nname-server = \"ns.example\"", "bad-name", 3, 9, "1 to 256"),
    ("[solver.x]\nprovider = \"self\"\nzones = [\".\"]\nname-server = \"ns.example\"", "bad-name", 3, 10, ""),
    ("[solver.x]\nprovider = \"self\"\nzones = [\"acme.example\"]\nname-server = \"ns.acme.example\"", "missing-key", 1, 9, "`addresses` is missing"),
    ("[solver.x]\nprovider = \"self\"\nzones = [\"acme.example\"]\nname-server = \"ns.example\"\ndns-listen = [\":53\"]", "bad-address", 5, 15, "IP address and a port"),
    ("[solver.x]\nprovider = \"self\"\nzones = [\"acme.example\"]\nname-server = \"ns.example\"\ncontact = \"host.master@a.example\"", "bad-value", 5, 11, "without a dot before"),
    ("[solver.x]\nprovider = \"self\"\nzones = [\"acme.example\"]\nname-server = \"ns.example\"\nzone = \"a.example\"", "one-of", 5, 8, "means nothing to self"),
    ("[solver.x]\nprovider = \"exec\"\nrun = [\"x\"]\nzones = [\"a.example\"]", "one-of", 4, 9, "means nothing to exec"),
    ("[solver.x]\ntype = \"dns-account-01\"\nwebroot = \"/w\"", "one-of", 2, 8, "answers http-01"),
    ("[solver.x]\ntype = \"dns-account-01\"", "missing-key", 1, 9, "one of `listen`, `webroot`, `provider`"),
    ("[solver.x]\ntype = \"dns-persist-01\"\nprovider = \"exec\"\nrun = [\"x\"]", "one-of", 2, 8, "answers dns-01 or dns-account-01"),
    ("[solver.x]\ntype = \"dns-persist-01\"\nseen-by = [\"192.0.2.1\"]", "one-of", 3, 11, "means nothing to dns-persist-01"),
    ("[solver.x]\nprovider = \"clodflare\"", "unknown-word", 2, 12, "did you mean \"cloudflare\"?"),
    ("[solver.x]\nprovider = \"rfc2136\"\napi-secret-file = \"/k\"", "one-of", 3, 19, "\"constellix\" or \"dnsmadeeasy\" or \"domeneshop\" or \"exoscale\" or 4 others"),
    ("[solver.x]\nprovider = \"exec\"\nrun = [\"x\"]\nttl = \"1m\"", "one-of", 4, 7, "means nothing to exec"),
    ("[solver.x]\nlisten = \"[::]:80\"\nnames = []", "no-names", 3, 9, "a solver for no name"),
    ("[solver.x]\nprovider = \"exec\"\nrun = [\"x\"]\nresolvers = [\"ns.example\"]", "bad-address", 4, 14, "IP address"),
    ("[solver.x]\nlisten = \"[::]:80\"\nnames = [\"b.example\"]\n[certificate.\"a.example\"]\nsolver = \"x\"", "unprovable-name", 4, 14, "no solver of this certificate is for a.example"),
    ("[service.x]\nobserve = []", "missing-key", 1, 10, "`reload`"),
    ("[service.x]\nreload = []", "bad-program", 2, 10, "no program"),
    ("[service.x]\nreload = [\"./x\"]", "bad-program", 2, 11, "absolute path"),
    ("[service.x]\nreload = [\"x\"]\nobserve = [\"::1:443\"]", "bad-endpoint", 3, 12, "brackets"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"gopher://a.example:70\" }]", "bad-endpoint", 2, 19, "postgres, mysql or ldap"),
    ("[certificate.\"a.example\"]\nobserve = \"a.example:443?tls=1.1\"", "bad-endpoint", 2, 11, "1.2 or 1.3"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443\", sample = 3 }]", "unknown-key", 2, 36, "did you mean `samples`?"),
    ("[certificate.\"a.example\"]\nobserve = [{ samples = 3 }]", "missing-key", 2, 12, "`at`"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443?tls=1.2\", samples = 3 }]", "bad-endpoint", 2, 19, "keys of the table"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443\", samples = 33 }]", "out-of-range", 2, 46, "1 to 32"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443\", samples = \"8\" }]", "out-of-range", 2, 46, "without quotes"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443\", tls = [\"1.2\", \"1.1\"] }]", "unknown-word", 2, 50, "1.2 or 1.3"),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443\", accept = \"any\" }]", "unknown-word", 2, 45, "\"any-valid\""),
    ("[certificate.\"a.example\"]\nobserve = [{ at = \"a.example:443\", proxy-protocol = 2 }]", "wrong-type", 2, 53, "a text in quotes"),
    ("[certificate.\"a.example\"]\nobserve = 5", "wrong-type", 2, 11, "a text or a table"),
    ("[defaults]\nobserve = [\"127.0.0.1:443\", 7]", "wrong-type", 2, 29, "a text or a table"),
    ("[service.x]\nreload = [\"x\"]\ntimeout = 30", "bad-duration", 3, 11, "write \"30s\""),
    ("[service.x]\nreload = [\"x\"]\ntimeout = \"soon\"", "bad-duration", 3, 11, "written like"),
    ("[service.x]\nreload = [\"x\"]\ntimeout = \"2h\"", "out-of-range", 3, 11, "between 1s and 1h"),
    ("[hook.x]", "missing-key", 1, 7, "one of `run`, `run-parts`, `signal`, `http`, `haproxy-socket`"),
    ("[hook.x]\nsignal = { name = \"KILL\", process = \"x\" }", "unknown-word", 2, 19, "\"HUP\""),
    ("[hook.x]\nsignal = { name = \"HUP\" }", "missing-key", 2, 1, "`pid-file`, `process`"),
    ("[hook.x]\nhttp = \"tcp://x\"", "bad-url", 2, 8, "only https:// and http://"),
    ("[hook.nginx]\nrun = [\"x\"]", "duplicate-table", 1, 7, "built-in service"),
    // Rights and places.
    ("[certificate.\"a.example\"]\nkey-mode = \"0644\"", "bad-mode", 2, 12, "readable by everybody"),
    ("[certificate.\"a.example\"]\nkey-mode = 640", "bad-mode", 2, 12, "decimal"),
    ("[certificate.\"a.example\"]\nkey-mode = 0o777", "bad-mode", 2, 12, "readable by everybody"),
    ("[certificate.\"a.example\"]\nowner = \"a:b\"", "bad-account", 2, 9, "no name of a user"),
    ("[certificate.\"a.example\"]\ncombined = \"certs/a.pem\"", "bad-path", 2, 12, "absolute"),
    ("[certificate.\"a.example\"]\ncombined = \"/a/../b.pem\"", "bad-path", 2, 12, "`..`"),
    ("[certificate.\"a.example\"]\ncombined = \"/etc/ssl/\"", "bad-path", 2, 12, "directory"),
    ("[certificate.\"a.example\"]\ncombined = \"/var/lib/nolapse/live/a/x.pem\"", "output-in-state", 2, 12, "own directories"),
    ("[certificate.\"a.example\"]\ncombined = \"/a.pem\"\noutputs = [{ part = \"cert\", path = \"/a.pem\" }]", "duplicate-output", 2, 12, "twice"),
    ("[certificate.\"a.example\"]\noutputs = [{ part = \"pkcs12\", path = \"/a.p12\" }]", "missing-key", 2, 12, "password-file"),
    ("[certificate.\"a.example\"]\noutputs = [{ part = \"pkcs12\", path = \"/a.p12\", password = \"changeit\" }]", "secret-in-config", 2, 48, "file of its own"),
    ("[certificate.\"a.example\"]\noutputs = [{ part = \"cert-der\", path = \"/a.der\", password-file = \"/p\" }]", "needless-password", 2, 50, "cert-der"),
    ("[certificate.\"a.example\"]\noutputs = [{ part = \"pkcs\", path = \"/a.p12\" }]", "unknown-word", 2, 21, "pkcs12"),
    ("[certificate.\"a.example\"]\ncertbot-tree = \"letsencrypt\"", "bad-path", 2, 16, "absolute"),
    ("[certificate.\"a.example\"]\noutputs = [{ part = \"crt\", path = \"/a.pem\" }]", "unknown-word", 2, 21, "\"cert\""),
    ("[certificate.\"a.example\"]\noutputs = [{ part = \"cert\" }]", "missing-key", 2, 12, "`path`"),
    ("[certificate.\"a.example\"]\nobserve-timeout = \"1h\"", "out-of-range", 2, 19, "between 1s and 5m"),
    ("[certificate.\"a.example\"]\ndeploy-window = \"at night\"", "bad-window", 2, 17, "\"at\" are no days"),
    ("[certificate.\"a.example\"]\ndeploy-window = \"Mo-Fr 02:00-05:00\"", "bad-window", 2, 17, "no days"),
    ("[certificate.\"a.example\"]\ndeploy-window = \"02:00-05:00 Europe/Berlinn\"", "bad-window", 2, 17, "no time zone"),
    ("[agent]\nmetrics = \"9464\"", "bad-address", 2, 11, "IP address and a port"),
    ("[agent]\nstate-dir = \"/srv/x\"\nlive-dir = \"/srv/x\"", "overlapping-places", 3, 12, "apart from `state-dir`"),
    ("[agent]\nlog-level = \"verbose\"", "unknown-word", 2, 13, "\"debug\""),
    // Watches and discovery.
    ("[watch.x]", "nothing-watched", 1, 8, "looks at nothing"),
    ("[watch.x]\nfiles = [\"etc/a.pem\"]", "bad-path", 2, 10, "absolute"),
    ("[watch.x]\nfiles = [\"/etc/**/a.pem\"]", "bad-path", 2, 10, "name the directory in `trees`"),
    ("[watch.x]\nfile = \"/etc/a.pem\"", "unknown-key", 2, 1, "did you mean `files`?"),
    ("[watch.x]\nendpoints = [\"a.example\"]", "bad-endpoint", 2, 14, ":PORT"),
    ("[watch.x]\nendpoints = [{ at = \"a:1\", acept = \"x\" }]", "unknown-key", 2, 28, "did you mean `accept`?"),
    ("[watch.x]\nfiles = [\"/a/*.pem\"]\nkey = \"/a/x.key\"", "key-of-many", 3, 7, "one certificate"),
    ("[watch.x]\nfiles = [\"/a.pem\"]\nevery = \"1s\"", "out-of-range", 3, 9, "between 1m and 7d"),
    ("[watch.x]\nfiles = [\"/a.pem\"]\npage-before = \"9d\"\nticket-before = \"8d\"", "out-of-range", 3, 15, "longer"),
    ("[watch.x]\nfiles = [\"/a.pem\"]\nnames = [\"a b\"]", "bad-name", 3, 10, ""),
    ("[watch.\"-x\"]\nfiles = [\"/a.pem\"]", "bad-name", 1, 8, "dash"),
    ("[discover]\nct = { }", "missing-key", 2, 1, "`exec`, `url`"),
    ("[discover]\nct = { exec = [\"x\"], url = \"https://a/{domain}\" }", "one-of", 2, 22, "exclude each other"),
    ("[discover]\nct = { url = \"https://ct.example.com/\" }", "bad-url", 2, 14, "{domain}"),
    // Each once.
    ("[certificate.\"a.example\"]\n[certificate.\"A.example\"]", "duplicate-certificate", 2, 14, "nolapse.toml:1"),
    ("[certificate.\"bücher.example\"]\n[certificate.\"xn--bcher-kva.example\"]", "duplicate-certificate", 2, 14, "nolapse.toml:1"),
    ("[certificate.\"a.example\"]\n[certificate.\"a.example\"]", "duplicate-key", 2, 14, "stands twice"),
    ("[certificate.\"a.example\"]\nkey = \"rsa-2048\"\nkey = \"rsa-2048\"", "duplicate-key", 3, 1, "in this certificate"),
    ("[certificate]\n\"a.example\" = [\"a.example\"]\n\"a.example\" = [\"b.example\"]", "duplicate-key", 3, 1, "stands twice"),
];

#[test]
fn every_slip_is_found_where_it_is() {
    for (text, code, line, column, words) in ROWS {
        let resolved = read(text);
        let found = resolved.problems.iter().find(|problem| problem.code == *code);
        let problem = found.unwrap_or_else(|| panic!("no {code} for {text:?} but\n{}", shown(&resolved)));
        assert_eq!(problem.severity, Severity::Error, "{problem}");
        assert_eq!((problem.line, problem.column), (*line, *column), "{problem}");
        assert!(problem.to_string().contains(words), "{words:?} is not in\n{problem}");
        assert!(!problem.to_string().contains("s3cr3t"), "a secret is shown: {problem}");
        let about_certificate = problem.key.starts_with("certificate.") && problem.code != "broken-toml";
        assert_eq!(problem.is_fatal(), !about_certificate, "{problem}");
        assert_eq!(resolved.fatal(), problem.is_fatal(), "{}", shown(&resolved));
    }
}

#[test]
fn what_is_only_suspicious_is_a_warning() {
    for (text, code) in [
        ("[certificate.\"a.example\"]", "terms-not-accepted"),
        ("", "no-certificates"),
        ("[agent]\nmetrics = \"0.0.0.0:9464\"", "metrics-exposed"),
        ("[agent]\nstatus-page = true", "page-nowhere"),
        ("[certificate.\"a.example\"]\nnames = [\"a.example\", \"A.example\"]", "repeated-name"),
        ("[certificate]\n\"a.example\" = [\"x.example\"]\n\"b.example\" = [\"x.example\"]", "shared-name"),
        (
            "[issuer.ca]\ndirectory = \"https://ca.internal/\"\n[certificate.\"*.b.example\"]\nissuer = \"ca\"",
            "wildcard",
        ),
    ] {
        let resolved = read(text);
        assert!(!resolved.has_errors(), "{}", shown(&resolved));
        assert!(resolved.problems.iter().any(|p| p.code == code), "no {code} but {}", shown(&resolved));
    }
}

#[test]
fn the_terms_are_asked_for_once_and_only_when_missing() {
    let resolved = read("[certificate]\n\"a.example\" = [\"a.example\"]\n\"b.example\" = [\"b.example\"]");
    assert_eq!(resolved.problems.len(), 1, "{}", shown(&resolved));
    let resolved = read("[issuer.letsencrypt]\naccept-terms = true\n[certificate.\"a.example\"]");
    assert_eq!(resolved.problems, []);
}

#[test]
fn all_problems_come_in_one_go() {
    let text = "[agent]\nproxi = 1\n[issuer.x]\n[certificate.\"a.example\"]\nkye = 1\nnames = [\"..\", \"-o\", 7]\nowner = 5\n";
    let resolved = read(text);
    let codes: Vec<_> = resolved.problems.iter().map(|problem| (problem.code, problem.line)).collect();
    assert_eq!(
        codes,
        [
            ("unknown-key", 2),
            ("missing-key", 3),
            ("unknown-key", 5),
            ("bad-name", 6),
            ("bad-name", 6),
            ("wrong-type", 6),
            ("wrong-type", 7)
        ],
        "{}",
        shown(&resolved)
    );
}

#[test]
fn no_slip_in_an_entry_hides_another() {
    // Each line is wrong by itself, and whoever mends one should not be met by the next.
    let lines = [
        "names = [\"not a name\", 3]",
        "issuer = \"nobody\"",
        "profile = 4",
        "solver = \"nothing\"",
        "service = \"ngnix\"",
        "hooks = [\"h\"]",
        "pre-hooks = [\"before\"]",
        "observe = \"x\"",
        "observe-timeout = \"9y\"",
        "deploy-window = \"never\"",
        "key = 5",
        "reuse-key = \"yes\"",
        "on-dead-name = \"hope\"",
        "owner = 1",
        "group = \"a:b\"",
        "key-mode = 640",
        "labels = { \"1\" = \"x\" }",
        "combined = \"relative\"",
        "outputs = [{ part = \"nothing\", path = \"/srv/x\" }]",
        "colour = \"red\"",
    ];
    let resolved = read(&format!("[certificate.\"a.example\"]\n{}\n", lines.join("\n")));
    for (number, line) in lines.iter().enumerate() {
        let found = resolved.problems.iter().any(|problem| problem.line == number + 2);
        assert!(found, "nothing is said of {line:?}:\n{}", shown(&resolved));
    }
    // And a certificate that is there, however mistaken, is not missed.
    for text in ["[certificat.\"a.example\"]", "[certificate.\"a.example\""] {
        let shown = shown(&read(text));
        assert!(!shown.contains("no-certificates"), "{shown}");
    }
}

#[test]
fn a_wrong_default_is_one_problem_however_many_inherit_it() {
    let resolved = read(
        "[defaults]\nkey-mode = \"0644\"\n[certificate]\n\"a.example\" = [\"a.example\"]\n\"b.example\" = [\"b.example\"]",
    );
    let errors: Vec<_> = resolved.problems.iter().filter(|p| p.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{}", shown(&resolved));
    assert!(resolved.fatal());
    assert_eq!(resolved.wanted.broken.len(), 2);
}

#[test]
fn doubles_across_files_name_both_places() {
    let resolved = read_files(&[
        ("nolapse.toml", "[issuer.x]\ndirectory = \"https://a.example/\"\n[agent]\nproxy = \"http://a:1\""),
        ("conf.d/a.toml", "\n[certificate.\"a.example\"]\ncombined = \"/x.pem\""),
        ("conf.d/b.toml", "[certificate.\"a.example\"]\n[certificate.\"b.example\"]\ncombined = \"/x.pem\""),
        ("conf.d/c.toml", "[issuer.x]\ndirectory = \"https://b.example/\"\n[agent]\nproxy = \"http://b:1\""),
    ]);
    let words: Vec<_> = resolved
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| (p.code, p.place(), p.words.clone()))
        .collect();
    for (row, (code, place, first)) in words.iter().zip([
        ("duplicate-certificate", "conf.d/b.toml:1:14", "conf.d/a.toml:2"),
        ("duplicate-output", "conf.d/b.toml:2:14", "conf.d/a.toml:2"),
        ("duplicate-table", "conf.d/c.toml:1:9", "nolapse.toml:1"),
        ("duplicate-key", "conf.d/c.toml:4:1", "nolapse.toml:4"),
    ]) {
        assert_eq!((row.0, row.1.as_str()), (code, place));
        assert!(row.2.contains(first), "{}", row.2);
    }
    assert_eq!(words.len(), 4);
}

#[rustfmt::skip]
#[cfg(feature = "dns-providers")]
const VENDORS: &[(&str, &str, usize, usize, &str)] = &[
    ("provider = \"cloudflare\"", "missing-key", 1, 9, "one of `token-file`, `token-env`, `token-credential`"),
    ("provider = \"cloudflare\"\ntoken = \"s3cr3t\"", "secret-in-config", 3, 1, "`token-file`"),
    ("provider = \"cloudflare\"\ntokn-file = \"/k\"", "unknown-key", 3, 1, "did you mean `token-file`?"),
    ("provider = \"cloudflare\"\ntoken-file = \"/k\"\napi-key-file = \"/k\"", "one-of", 4, 16, "means nothing to cloudflare"),
    ("provider = \"luadns\"\ntoken-file = \"/k\"", "missing-key", 1, 9, "`login`"),
    ("provider = \"powerdns\"\napi-key-file = \"/k\"\nurl = \"http://dns.example:8081\"", "bad-url", 4, 7, "https is needed"),
    ("provider = \"ovh\"\napplication-key-env = \"A\"\napplication-secret-env = \"B\"\nconsumer-key-env = \"C\"\nendpoint = \"ovh-uk\"", "unknown-word", 6, 12, "did you mean \"ovh-"),
    ("provider = \"dnsimple\"\ntoken-env = \"A\"\naccount = \"\"", "bad-value", 4, 11, "control characters"),
];
#[rustfmt::skip]
#[cfg(not(feature = "dns-providers"))]
const VENDORS: &[(&str, &str, usize, usize, &str)] = &[
    ("provider = \"cloudflare\"\ntoken-file = \"/k\"", "left-out", 2, 12, "take a build with the feature `dns-providers`"),
];

#[test]
fn an_account_with_a_dns_vendor_is_read_as_strictly() {
    for (text, code, line, column, words) in VENDORS {
        let resolved = read(&format!("[solver.x]\n{text}"));
        let found = resolved.problems.iter().find(|problem| problem.code == *code);
        let problem = found.unwrap_or_else(|| panic!("no {code} for {text:?} but\n{}", shown(&resolved)));
        assert_eq!((problem.line, problem.column), (*line, *column), "{problem}");
        assert!(problem.to_string().contains(words), "{words:?} is not in\n{problem}");
        assert!(!problem.to_string().contains("s3cr3t"), "a secret is shown: {problem}");
    }
}

#[test]
fn hostile_sizes_are_bounded() {
    let resolved = nolapse::config::resolve(
        &[Source::new("big.toml", " ".repeat(Source::TEXT_MAX + 1))],
        &nolapse::config::Facts::default(),
    );
    assert!(resolved.fatal() && resolved.problems[0].code == "too-large");

    let many: Vec<String> = (0..2000).map(|n| format!("\"{n}.example\" = 5")).collect();
    let resolved = read(&format!("[certificate]\n{}\n[agent]\nx = 1", many.join("\n")));
    assert!(resolved.problems.len() < 600 && resolved.left_out > 1000);
    assert!(resolved.fatal() || resolved.wanted.broken.len() == 2000, "nothing is lost silently");
    assert_eq!(resolved.wanted.broken.len(), 2000);

    let names: Vec<String> = (0..101).map(|n| format!("\"n{n}.example\"")).collect();
    let resolved = read(&format!("[certificate]\na = [{}]", names.join(",")));
    assert_eq!(resolved.problems[0].code, "too-many");

    read(&"[".repeat(100_000));
    read(&format!("a = {}", "[".repeat(100_000)));
    read(&format!("[certificate.{}]", vec!["a"; 50_000].join(".")));
}
