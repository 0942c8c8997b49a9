//! Texts that the configuration gives: the effective one, the sample, the guide; and the
//! examples that are shipped.

use std::fs;
use std::path::{Path, PathBuf};

use nolapse::config::{Facts, Source, effective, reference, resolve, sample};
use toml::{Table, Value};

use crate::{read, shown, without_origins};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn examples() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root().join("examples/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    files.sort();
    files
}

/// The sample with every setting switched on.
fn switched_on(sample: &str) -> String {
    let setting =
        |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '));
    sample.lines().filter(setting).map(|line| &line[1..]).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_example_loads_without_a_problem() {
    let files = examples();
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let resolved = read(&text);
        assert!(resolved.problems.is_empty(), "{}\n{}", path.display(), shown(&resolved));
        assert!(!resolved.wanted.lineages.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_sample_is_valid_as_it_is_and_with_everything_switched_on() {
    let resolved = read(&sample());
    assert!(!resolved.has_errors(), "{}", shown(&resolved));
    let on = switched_on(&sample());
    let resolved = read(&on);
    assert!(resolved.problems.is_empty(), "{on}\n{}", shown(&resolved));
    assert_eq!(resolved.wanted.lineages.len(), 1);
}

#[test]
fn the_sample_names_every_key() {
    let sample = sample();
    for key in nolapse::config::table::KEYS {
        let inner = ["signal", "http", "profile", "outputs", "observe"].contains(&key.table.header());
        assert!(inner || key.names().iter().any(|name| sample.contains(name)), "{}", key.name);
    }
}

#[test]
fn the_effective_configuration_reads_back_as_the_same() {
    let mut texts: Vec<String> = examples().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.push(switched_on(&sample()));
    texts.push(
        r#"
[agent]
state-dir = "/srv/state"
metrics = "[::1]:9464"
proxy = "http://proxy:3128"
log-level = "debug"
[service.nginx]
check = []
[service.own]
reload = ["/bin/own \"quoted\" \\ \t"]
observe = ["localhost:8443"]
[hook.sig]
signal = { pid-file = "/run/x.pid" }
timeout = "1m30s"
[issuer.ca]
directory = "https://ca.internal/dir"
profile = { name = "p", required = true }
eab = { kid = "k", hmac-key-credential = "eab" }
[certificate.star]
names = ["*.example.com", "bücher.example", "192.0.2.7", "2001:db8::1"]
issuer = "ca"
profile = "shortlived"
service = ["nginx", "own"]
hooks = "sig"
owner = "1000"
combined = "/x.pem"
outputs = [{ part = "chain", path = "/y.pem", mode = "0600", group = "adm" }]
[certificate."*.b.internal"]
issuer = "ca"
"#
        .to_owned(),
    );
    texts.push(
        r#"
[solver.updates]
provider = "rfc2136"
server = "ns1.example.com:5353"
tsig-key-credential = "tsig"
zone = "bücher.example"
ttl = "30s"
names = ["*.example.com", "bücher.example"]
resolvers = ["192.0.2.53", "[2001:db8::53]:5353"]
authoritative = ["192.0.2.1"]
seen-by = ["192.0.2.9"]
propagation = "0s"
[solver.script]
provider = "exec"
run = ["/usr/local/bin/auth.sh"]
cleanup = ["/usr/local/bin/cleanup.sh"]
style = "certbot-manual"
user = "acme"
timeout = "30s"
[solver.hook]
type = "dns-01"
provider = "webhook"
url = "https://dns.example.com/hook"
login = "u"
password-env = "DNS_PASSWORD"
[solver.other]
provider = "webhook"
url = "http://127.0.0.1:8053/"
token-file = "/etc/nolapse/token"
[solver.acme-dns]
provider = "acme-dns"
accounts = "/etc/acmedns/clientstorage.json"
server = "https://auth.example.com"
[certificate."*.example.com"]
names = ["*.example.com", "example.com"]
solver = ["updates", "script", "hook", "other", "acme-dns"]
"#
        .to_owned(),
    );
    #[cfg(feature = "dns-providers")]
    texts.push(
        r#"
[solver.cloud]
provider = "route53"
access-key = "AKIAEXAMPLE"
secret-key-credential = "aws"
session-token-env = "AWS_SESSION_TOKEN"
region = "eu-central-1"
ttl = "10s"
zone = "example.com"
[solver.own]
provider = "powerdns"
url = "http://127.0.0.1:8081"
api-key-file = "/etc/nolapse/powerdns.key"
[certificate."*.example.com"]
solver = ["cloud", "own"]
"#
        .to_owned(),
    );
    for text in texts {
        let first = read(&text);
        let page = effective(&first);
        let second = resolve(&[Source::new("effective", page.clone())], &Facts::default());
        assert!(!second.fatal(), "{page}\n{}", shown(&second));
        assert!(first.wanted.broken.is_empty(), "{}", shown(&first));
        assert_eq!(without_origins(&first.wanted), without_origins(&second.wanted), "{page}");
        assert_eq!(first.agent, second.agent, "{page}");
        assert_eq!(effective(&second), page);
    }
}

#[test]
fn what_is_set_aside_is_told_in_the_effective_configuration() {
    let page = effective(&read("[certificate.\"a.example\"]\nkey = \"dsa\"\n[certificate.\"b.example\"]"));
    assert!(page.contains("# set aside: a.example: nolapse.toml:2:7:"), "{page}");
    assert!(page.parse::<Table>().unwrap()["certificate"].get("b.example").is_some());
}

#[test]
fn problems_print_as_in_the_fixtures() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("tests/fixtures/config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            golden(&path.with_extension("txt"), &shown(&read(&text)));
        }
    }
    assert!(seen >= 3);
}

#[test]
fn the_guide_lists_every_key_as_it_is() {
    let path = root().join("docs/guide/configuration.md");
    let guide = fs::read_to_string(&path).unwrap();
    let (before, rest) = guide.split_once(BEGIN).expect("the guide has a place for the reference");
    let (_, after) = rest.split_once(END).expect("the reference ends");
    golden(&path, &format!("{before}{BEGIN}\n\n{}\n{END}{after}", reference()));
}

#[test]
fn toml_blocks_of_the_guide_load() {
    let guide = fs::read_to_string(root().join("docs/guide/configuration.md")).unwrap();
    let by_hand = guide.split(BEGIN).next().unwrap();
    let mut blocks = 0;
    for block in by_hand.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let resolved = read(text);
        assert!(!resolved.has_errors(), "{text}\n{}", shown(&resolved));
        assert!(text.parse::<Table>().is_ok_and(|table| table.values().all(Value::is_table)), "{text}");
        blocks += 1;
    }
    assert!(blocks >= 3);
}

const BEGIN: &str = "<!-- reference: begin -->";
const END: &str = "<!-- reference: end -->";

/// Compares a file with what it should hold; `BLESS=1` writes it instead.
fn golden(path: &Path, wanted: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, wanted).unwrap();
        return;
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{} is out of date; BLESS=1 renews it. It should be:\n{wanted}", path.display());
}
