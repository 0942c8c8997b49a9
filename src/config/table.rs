//! Every key of the configuration: where it stands, what it holds, what it means. The reader
//! refuses what is not listed here; the guide, `check` and the sample are written from it.

use std::sync::LazyLock;

use crate::core::vendor::{FieldKind, VENDORS, Vendor};

/// A kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Agent,
    Issuer,
    Eab,
    Solver,
    Service,
    Hook,
    Signal,
    Request,
    Certificate,
    Profile,
    Output,
    Place,
    Watch,
    Discover,
    Transparency,
    Alert,
    Heartbeat,
}

impl Table {
    pub const ALL: [Self; 17] = [
        Self::Agent,
        Self::Issuer,
        Self::Eab,
        Self::Solver,
        Self::Service,
        Self::Hook,
        Self::Signal,
        Self::Request,
        Self::Certificate,
        Self::Profile,
        Self::Output,
        Self::Place,
        Self::Watch,
        Self::Discover,
        Self::Transparency,
        Self::Alert,
        Self::Heartbeat,
    ];

    /// How the table is opened in the file, or where it stands as a value.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Agent => "[agent]",
            Self::Issuer => "[issuer.NAME]",
            Self::Eab => "eab",
            Self::Solver => "[solver.NAME]",
            Self::Service => "[service.NAME]",
            Self::Hook => "[hook.NAME]",
            Self::Signal => "signal",
            Self::Request => "http",
            Self::Certificate => "[certificate.\"NAME\"]",
            Self::Profile => "profile",
            Self::Output => "outputs",
            Self::Place => "observe",
            Self::Watch => "[watch.NAME]",
            Self::Discover => "[discover]",
            Self::Transparency => "ct",
            Self::Alert => "[alert.NAME]",
            Self::Heartbeat => "[heartbeat]",
        }
    }

    /// What one such table is called in a sentence.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Agent => "the agent",
            Self::Issuer => "an issuer",
            Self::Eab => "an account binding",
            Self::Solver => "a solver",
            Self::Service => "a service",
            Self::Hook => "a hook",
            Self::Signal => "a signal",
            Self::Request => "an HTTP call",
            Self::Certificate => "a certificate",
            Self::Profile => "a profile",
            Self::Output => "an output",
            Self::Place => "a place to look at",
            Self::Watch => "a watch",
            Self::Discover => "discovery",
            Self::Transparency => "a source of names",
            Self::Alert => "an alert channel",
            Self::Heartbeat => "the heartbeat",
        }
    }

    pub const fn help(self) -> &'static str {
        match self {
            Self::Agent => "The agent itself. Every key may be left out.",
            Self::Issuer => {
                "A CA. `letsencrypt` (the default) and `letsencrypt-staging` are built in; a table of the same name \
                 changes single keys of them."
            }
            Self::Eab => {
                "External account binding, as `eab = { … }` or `[issuer.NAME.eab]`, for CAs that ask for it."
            }
            Self::Solver => {
                "A way to prove control of names. Built in: `standalone` (own listener on port 80) and `loopback` \
                 (own listener on 127.0.0.1:8089, behind the snippet that is shipped for a web server) for http-01; \
                 `tls-standalone` (port 443) and `tls-loopback` (127.0.0.1:8090) for tls-alpn-01."
            }
            Self::Service => {
                "A program that serves certificates. Built in: `nginx`, `apache2`, `haproxy`, `caddy`, `postfix`, \
                 `dovecot`, `exim4`, `mosquitto`, `postgresql` and `proftpd`; a table of the same name changes single \
                 keys of them. Exactly one of `reload`, `signal`, `http` and `haproxy-socket`."
            }
            Self::Hook => {
                "Any program or call that is told about a new certificate and whose success is owed. Exactly one of \
                 `run`, `signal`, `http` and `haproxy-socket`."
            }
            Self::Signal => "A signal, as `signal = { … }`. Exactly one of `pid-file` and `process`.",
            Self::Request => "An HTTP request, as `http = { … }` or a plain URL.",
            Self::Certificate => {
                "One certificate. Under `[certificate]`, a bare list of names is a whole certificate: \
                 `\"a.example\" = [\"a.example\", \"www.a.example\"]`. A name with dots is quoted."
            }
            Self::Profile => {
                "A profile that must be had, as `profile = { … }`; a plain name is one that is preferred."
            }
            Self::Output => "One extra rendering of a certificate, as an element of `outputs`.",
            Self::Place => {
                "A place where a certificate must be seen, as an element of `observe` where a text does not say \
                 enough. In one line the same reads `at?key=value&key=value`, and so `status` prints it."
            }
            Self::Watch => {
                "Certificates that somebody else renews, or nobody: looked at and never touched. At least one of \
                 `files`, `trees` and `endpoints`. A name with dots is quoted."
            }
            Self::Discover => "What `nolapse discover` asks beside this host. Every key may be left out.",
            Self::Transparency => {
                "A source of names from Certificate Transparency, as `ct = { … }`. Exactly one of `exec` and `url`."
            }
            Self::Alert => {
                "A way to reach people when something is wrong, see [alerting](alerting.md). In `url`, `headers` and `body`, \
                 `${secret}` stands for the secret."
            }
            Self::Heartbeat => {
                "Who is told that the agent lives, so that its silence is noticed. Exactly one of `url` and `run`."
            }
        }
    }

    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        self.written().chain(VENDOR_KEYS.iter().filter(move |key| key.table == self))
    }

    /// Those with a row of their own, without what single providers of DNS want.
    pub fn written(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.table == self)
    }

    /// The key of this name; a secret's name includes where it comes from.
    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.is(name))
    }

    /// All names that may stand in this table.
    pub fn names(self) -> impl Iterator<Item = String> {
        self.keys().flat_map(Key::names)
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// One text, or a list of them.
    Texts,
    /// A program and its arguments.
    Argv,
    Flag,
    Length,
    Mode,
    /// A TCP port.
    Port,
    /// An absolute path.
    Path,
    Address,
    Url,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `NAME-file`, `NAME-env` or `NAME-credential`.
    Secret,
    Inner(Table),
    /// A name, or a table.
    TextOr(Table),
    List(Table),
    /// Texts, or tables, or both in one list.
    TextsOr(Table),
    /// A whole number from 1 to this.
    UpTo(u8),
    /// A table of texts with keys of one's own.
    Labels,
}

impl Kind {
    /// For the guide.
    pub fn words(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Texts => "text or list of texts".into(),
            Self::Argv => "list: program and arguments".into(),
            Self::Flag => "`true` or `false`".into(),
            Self::Length => "time, like `\"30s\"`, `\"5m\"`, `\"1h30m\"`".into(),
            Self::Mode => "mode, like `\"0640\"`".into(),
            Self::Port => "number from 1 to 65535".into(),
            Self::Path => "absolute path".into(),
            Self::Address => "address, like `\"127.0.0.1:8089\"`".into(),
            Self::Url => "URL".into(),
            // Listed in a table of their own.
            Self::Word(PROVIDER_WORDS) => "`\"rfc2136\"` or another".into(),
            Self::Word(words) => {
                words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
            }
            Self::Secret => "where a secret is: path, environment variable, systemd credential".into(),
            Self::Inner(table) => format!("table, see [{0}](#{0})", table.header()),
            Self::TextOr(table) => format!("text, or table, see [{0}](#{0})", table.header()),
            Self::List(table) => format!("list of tables, see [{0}](#{0})", table.header()),
            Self::TextsOr(table) => format!("list of texts and tables, see [{0}](#{0})", table.header()),
            Self::UpTo(most) => format!("number from 1 to {most}"),
            Self::Labels => "table of texts, like `{ owner = \"web\" }`".into(),
        }
    }
}

/// One key of one table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub table: Table,
    pub name: &'static str,
    pub kind: Kind,
    /// What holds when it is left out; empty: nothing.
    pub default: &'static str,
    pub help: &'static str,
    /// A value for the sample, as TOML; empty: not shown there.
    pub sample: &'static str,
    /// May also stand in `[defaults]`.
    pub inherited: bool,
}

impl Key {
    pub fn is(&self, name: &str) -> bool {
        match self.kind {
            Kind::Secret => {
                name.strip_prefix(self.name).is_some_and(|suffix| SECRET_SOURCES.contains(&suffix))
            }
            _ => self.name == name,
        }
    }

    /// The names it goes by in the file.
    pub fn names(&self) -> Vec<String> {
        match self.kind {
            Kind::Secret => SECRET_SOURCES.iter().map(|suffix| format!("{}{suffix}", self.name)).collect(),
            _ => vec![self.name.to_owned()],
        }
    }
}

/// What a secret's key ends with.
pub const SECRET_SOURCES: [&str; 3] = ["-file", "-env", "-credential"];

/// Tables at the top of the file, in the order of the guide.
pub const TOP: [&str; 11] = [
    "agent",
    "issuer",
    "solver",
    "service",
    "hook",
    "defaults",
    "certificate",
    "watch",
    "discover",
    "alert",
    "heartbeat",
];

const fn key(
    table: Table,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    sample: &'static str,
    help: &'static str,
) -> Key {
    Key { table, name, kind, default, help, sample, inherited: false }
}

const fn inherited(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    sample: &'static str,
    help: &'static str,
) -> Key {
    Key { table: Table::Certificate, name, kind, default, help, sample, inherited: true }
}

use crate::core::spec::OnDeadName;
use Table::{
    Agent, Alert, Certificate, Discover, Eab, Heartbeat, Hook, Issuer, Output, Place, Profile, Request,
    Service, Signal, Solver, Transparency, Watch,
};

pub const KEY_WORDS: &[&str] = &["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"];
pub const PART_WORDS: &[&str] = &[
    "fullchain",
    "privkey",
    "cert",
    "chain",
    "combined",
    "combined-key-first",
    "cert-der",
    "privkey-der",
    "pkcs12",
];
pub const SIGNAL_WORDS: &[&str] = &["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH"];
pub const METHOD_WORDS: &[&str] = &["POST", "PUT", "PATCH", "GET"];
pub const LOG_FORMAT_WORDS: &[&str] = &["auto", "text", "json"];
pub const LOG_LEVEL_WORDS: &[&str] = &["error", "warn", "info", "debug", "trace"];
pub const SOLVER_WORDS: &[&str] = &["http-01", "tls-alpn-01", "dns-01", "dns-account-01", "dns-persist-01"];
/// Providers with code of their own; [`PROVIDER_WORDS`] are all.
pub const OWN_PROVIDERS: [&str; 5] = ["rfc2136", "exec", "webhook", "acme-dns", "self"];
pub const PROVIDER_WORDS: &[&str] = &{
    let mut words = [""; OWN_PROVIDERS.len() + VENDORS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] =
            if at < OWN_PROVIDERS.len() { OWN_PROVIDERS[at] } else { VENDORS[at - OWN_PROVIDERS.len()].word };
        at += 1;
    }
    words
};
pub const STYLE_WORDS: &[&str] = &["nolapse", "certbot-manual", "lego", "dehydrated"];
pub const ACCEPT_WORDS: &[&str] = &["installed", "any-valid"];
pub const ADDRESSES_WORDS: &[&str] = &["first", "all"];
pub const KEY_FAMILY_WORDS: &[&str] = &["ecdsa", "rsa"];
pub const PROXY_WORDS: &[&str] = &["v1", "v2"];
pub const ALERT_WORDS: &[&str] = &["exec", "webhook", "email", "syslog", "journal"];
pub const GRAVITY_WORDS: &[&str] = &["notice", "ticket", "page"];
pub const MAIL_TLS_WORDS: &[&str] = &["implicit", "starttls", "none"];
pub const TLS_WORDS: &[&str] = &["1.2", "1.3"];

/// In the order of the guide. One row a line: this is read as a table.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key(Agent, "state-dir", Kind::Path, "`/var/lib/nolapse`", "\"/var/lib/nolapse\"", "Keys, accounts and records. Only the agent's user may read it."),
    key(Agent, "live-dir", Kind::Path, "`live` below `state-dir`", "\"/var/lib/nolapse/live\"", "Where programs find their certificates, one directory each."),
    key(Agent, "run-dir", Kind::Path, "`/run/nolapse`", "\"/run/nolapse\"", "Holds `status.json`, which every local user may read."),
    key(Agent, "metrics", Kind::Text, "off", "\"127.0.0.1:9464\"", "Address, or absolute path of a Unix socket, that serves `/metrics`, `/livez`, `/readyz` and `/healthz`."),
    key(Agent, "metrics-open", Kind::Flag, "`false`", "false", "Says that other hosts are meant to reach `metrics`."),
    key(Agent, "status-page", Kind::Flag, "`false`", "true", "Serve a page for people there too: `/` of `metrics`."),
    key(Agent, "textfile", Kind::Path, "off", "\"/var/lib/prometheus/node-exporter/nolapse.prom\"", "Metrics as a file for node_exporter, for set-ups with a timer."),
    key(Agent, "proxy", Kind::Url, "none", "\"http://proxy.example.com:3128\"", "HTTP proxy on the way to the CAs."),
    key(Agent, "watch-config", Kind::Flag, "`false`", "false", "Take a changed configuration without a signal. A broken one changes nothing."),
    key(Agent, "resolvers", Kind::Texts, "the system's", "[\"9.9.9.9\", \"[2620:fe::fe]:53\"]", "Resolvers that are asked what the world sees of a name, by `doctor` and after a refusal; for networks with a view of their own. As `ADDRESS` or `ADDRESS:PORT`. Taken at the start."),
    key(Agent, "log-format", Kind::Word(LOG_FORMAT_WORDS), "`\"auto\"`", "\"auto\"", "`auto`: the journal's way under systemd, else text."),
    key(Agent, "log-level", Kind::Word(LOG_LEVEL_WORDS), "`\"info\"`", "\"info\"", "The least important line that is logged."),
    key(Issuer, "directory", Kind::Url, "required", "\"https://acme.example.com/directory\"", "The CA's ACME directory."),
    key(Issuer, "staging", Kind::Url, "none", "\"https://acme-staging.example.com/directory\"", "The CA's directory for rehearsals, used by `renew --dry-run`."),
    key(Issuer, "contact", Kind::Texts, "none", "[\"mailto:hostmaster@example.com\"]", "Mail addresses given to the CA."),
    key(Issuer, "accept-terms", Kind::Flag, "`false`", "true", "You have read the CA's terms of service and agree. CAs with terms give no account without."),
    key(Issuer, "profile", Kind::TextOr(Profile), "the CA's default", "\"classic\"", "The CA's certificate profile for all certificates that name none."),
    key(Issuer, "eab", Kind::Inner(Eab), "none", "", "Credentials that the CA gave you for the first contact."),
    key(Issuer, "ca-file", Kind::Path, "the system's roots", "\"/etc/ssl/private-ca.pem\"", "PEM file of the roots that vouch for the CA's own HTTPS certificate."),
    key(Issuer, "proxy", Kind::Url, "as in `[agent]`", "\"http://proxy.example.com:3128\"", "HTTP proxy on the way to this CA."),
    key(Issuer, "insecure-http", Kind::Flag, "`false`", "false", "Allow a plain `http://` directory on this host, for tests."),
    key(Eab, "kid", Kind::Text, "required", "\"key-id-from-the-ca\"", "The key's name, from the CA."),
    key(Eab, "hmac-key", Kind::Secret, "required", "\"/etc/nolapse/eab.key\"", "The key, in base64url as the CA gives it."),
    key(Solver, "type", Kind::Word(SOLVER_WORDS), "by what else is there", "\"http-01\"", "Which kind of challenge it answers: `http-01` with `listen` or `webroot`, `tls-alpn-01` with `listen` (there it must be said), `dns-01` or `dns-account-01` with `provider`, `dns-persist-01` with none of these."),
    key(Solver, "names", Kind::Texts, "all", "[\"*.example.com\", \"example.com\"]", "The only names that it is for: `shop.example.com` is that name, `*.example.com` that wildcard and every name below."),
    key(Solver, "listen", Kind::Text, "this, `webroot` or `provider`", "\"[::]:80\"", "Answer by an own listener: an address, or `systemd:NAME` for a socket of a systemd unit with `FileDescriptorName=NAME`."),
    key(Solver, "webroot", Kind::Path, "this, `listen` or `provider`", "", "Answer by files: the directory that a web server serves for these names. `.well-known/acme-challenge` is made inside."),
    key(Solver, "check-port", Kind::Port, "`80`, `443` or `53`", "80", "Port on loopback where the answer is looked for before the CA is told; CAs look at 80, with `tls-alpn-01` at 443. With DNS the port at which name servers are asked."),
    key(Solver, "provider", Kind::Word(PROVIDER_WORDS), "this, `listen` or `webroot`", "", "Answer by DNS, changed by: `rfc2136` a name server that takes signed updates, `exec` a program, `webhook` an HTTP service, `acme-dns` such a server, `self` nobody: nolapse answers DNS for zones that are delegated to this host; or one of the providers [below](#dns-providers), which have keys of their own."),
    key(Solver, "server", Kind::Text, "the zone's primary", "", "`rfc2136`: the name server that takes updates, `HOST` or `HOST:PORT`. `acme-dns`: the server's URL, for accounts whose file does not say."),
    key(Solver, "tsig-key", Kind::Secret, "none: updates are not signed", "", "`rfc2136`: the key as `tsig-keygen` or `keymgr -t` write it. hmac-sha256, hmac-sha384 or hmac-sha512."),
    key(Solver, "run", Kind::Argv, "required for `exec`", "", "`exec`: the program that sets a text and, where there is no `cleanup`, takes it away. No shell."),
    key(Solver, "cleanup", Kind::Argv, "`run`", "", "`exec`: the program that takes a text away; certbot has two."),
    key(Solver, "style", Kind::Word(STYLE_WORDS), "`\"nolapse\"`", "", "`exec`: how the program is told: our own way, or as certbot, lego or dehydrated tell theirs."),
    key(Solver, "user", Kind::Text, "the agent's user", "", "`exec`: whom the program runs as. Only an agent that is root can change it."),
    key(Solver, "timeout", Kind::Length, "`\"1m\"`", "", "`exec`: after this time, at most 2m, the program is ended and has failed."),
    key(Solver, "url", Kind::Url, "required for `webhook`", "", "`webhook`: `/present` and `/cleanup` below it are called."),
    key(Solver, "token", Kind::Secret, "none", "", "`webhook`: sent as `Authorization: Bearer`."),
    key(Solver, "login", Kind::Text, "none", "", "`webhook`: the user of HTTP's basic authentication."),
    key(Solver, "password", Kind::Secret, "required with `login`", "", "`webhook`: its password."),
    key(Solver, "accounts", Kind::Path, "required for `acme-dns`", "", "`acme-dns`: the JSON file of accounts that acme-dns-client, lego or certbot's hook wrote."),
    key(Solver, "dns-listen", Kind::Texts, "`[\"[::]:53\"]`", "", "`self`: where DNS is answered, by UDP and TCP: addresses, or `systemd:NAME` for sockets of systemd units with `FileDescriptorName=NAME`. On a host with several addresses name each."),
    key(Solver, "zones", Kind::Texts, "required for `self`", "", "`self`: the zones that are delegated to this host, such as `_acme-challenge.example.com`, or one that CNAME records lead into."),
    key(Solver, "name-server", Kind::Text, "required for `self`", "", "`self`: the host name that the delegations (NS records) call this host."),
    key(Solver, "addresses", Kind::Texts, "none", "", "`self`: the world's addresses of `name-server`, for where it lies in one of the zones itself."),
    key(Solver, "contact", Kind::Text, "`hostmaster` at `name-server`", "", "`self`: mail address of who answers for the zones; shown in SOA records."),
    key(Solver, "zone", Kind::Text, "found by asking DNS", "", "`dns-01`, `dns-account-01`: the zone that is changed."),
    key(Solver, "ttl", Kind::Length, "`\"1m\"`", "", "`rfc2136` and the providers below: the texts' time to live, from 1s to 1h; more where a provider takes no less."),
    key(Solver, "resolvers", Kind::Texts, "the system's", "", "`dns-01`, `dns-account-01`, `dns-persist-01`: the resolvers that are asked for aliases, zones and name servers, as `ADDRESS` or `ADDRESS:PORT`."),
    key(Solver, "authoritative", Kind::Texts, "the zone's servers", "", "`dns-01`, `dns-account-01`, `dns-persist-01`: where the text must be seen before the CA is told, in place of every address of every server of the zone: where DNS is split, those that the world sees."),
    key(Solver, "seen-by", Kind::Texts, "none", "", "`dns-01`, `dns-account-01`: resolvers that must see the text too, after that."),
    key(Solver, "propagation", Kind::Length, "`\"2m\"`", "", "`dns-01`, `dns-account-01`: longest wait until it is seen, up to 30m; the CA is told then all the same."),
    key(Service, "check", Kind::Argv, "none", "[\"nginx\", \"-t\"]", "Run before and after a new certificate is shown; when only the new one fails, the old one returns. `[]` switches it off."),
    key(Service, "reload", Kind::Argv, "one of four", "[\"systemctl\", \"reload\", \"nginx\"]", "Makes the service take the new certificate. No shell."),
    key(Service, "signal", Kind::Inner(Signal), "one of four", "", "A signal in place of `reload`."),
    key(Service, "http", Kind::TextOr(Request), "one of four", "", "An HTTP request in place of `reload`; any 2xx answer is success."),
    key(Service, "haproxy-socket", Kind::Path, "one of four", "", "haproxy's runtime socket in place of `reload`: takes certificates without one."),
    key(Service, "observe", Kind::TextsOr(Place), "none", "[\"127.0.0.1:443\", \"[::1]:443\"]", "Where its certificates must then be seen: `[proto://][SNI@]host:port`, proto one of `https`, `smtp`, `imap`, `pop3`, `postgres`, `mysql`, `ldap`, `ftp`."),
    key(Service, "solver", Kind::Texts, "none", "[\"loopback\"]", "Solvers for its certificates that name none."),
    key(Service, "after", Kind::Texts, "none", "[]", "Services and hooks of the same certificate that must be done first."),
    key(Service, "user", Kind::Text, "the agent's user", "\"www-data\"", "Whom `check` and `reload` run as. Only an agent that is root can change it."),
    key(Service, "timeout", Kind::Length, "`\"1m\"`", "\"1m\"", "After this time, at most 1h, `check` or `reload` is ended and has failed."),
    key(Hook, "check", Kind::Argv, "none", "[\"/usr/local/bin/check-app\"]", "Run first; its failure keeps the call back."),
    key(Hook, "run", Kind::Argv, "one of five", "[\"/usr/local/bin/restart-app\", \"--quick\"]", "A program and its arguments. No shell. The event comes as JSON on standard input."),
    key(Hook, "run-parts", Kind::Path, "one of five", "", "A directory whose programs are run in the order of their names, as certbot does; hidden files and names that end with `~` are left out."),
    key(Hook, "signal", Kind::Inner(Signal), "one of five", "", "A signal to a process."),
    key(Hook, "http", Kind::TextOr(Request), "one of five", "", "An HTTP request; any 2xx answer is success."),
    key(Hook, "haproxy-socket", Kind::Path, "one of five", "", "haproxy's runtime socket, which takes certificates without a reload."),
    key(Hook, "after", Kind::Texts, "none", "[\"nginx\"]", "Services and hooks of the same certificate that must be done first."),
    key(Hook, "user", Kind::Text, "the agent's user", "\"deploy\"", "Whom programs run as. Only an agent that is root can change it."),
    key(Hook, "timeout", Kind::Length, "`\"1m\"`", "\"1m\"", "After this time, at most 1h, the call is ended and has failed."),
    key(Signal, "name", Kind::Word(SIGNAL_WORDS), "`\"HUP\"`", "", "Which signal."),
    key(Signal, "pid-file", Kind::Path, "this or `process`", "", "File that holds the number of the process."),
    key(Signal, "process", Kind::Text, "this or `pid-file`", "", "Name of the processes, for containers that share their process namespace."),
    key(Request, "url", Kind::Url, "required", "", "Where the request goes."),
    key(Request, "method", Kind::Word(METHOD_WORDS), "`\"POST\"`", "", "The request's method."),
    key(Request, "body-file", Kind::Path, "none", "", "File that is sent in place of the event, such as the configuration that Caddy shall load."),
    key(Request, "headers", Kind::Texts, "`Content-Type: application/json`", "", "Further headers, each as `\"Name: value\"`."),
    key(Certificate, "names", Kind::Texts, "the table's own name", "[\"shop.example.com\", \"www.shop.example.com\"]", "DNS names (Unicode is fine), wildcards, IP addresses."),
    inherited("issuer", Kind::Texts, "`\"letsencrypt\"`", "[\"example-ca\"]", "The CA. Of a list the first is asked; a certificate from any of them is kept."),
    inherited("profile", Kind::TextOr(Profile), "the issuer's", "\"classic\"", "The CA's certificate profile, such as `shortlived`."),
    inherited("solver", Kind::Texts, "the service's, else `\"standalone\"`", "[\"loopback\"]", "How names are proved; the first that fits."),
    inherited("on-dead-name", Kind::Word(OnDeadName::WORDS), "`\"fail\"`", "\"renew-without\"", "What becomes of a certificate when one of its names can't be proved any more: all names or none, or near its end the others without it; it stays wanted and is tried again."),
    inherited("service", Kind::Texts, "none", "[\"nginx\"]", "What serves the certificate: gives reload, observation and solver."),
    inherited("hooks", Kind::Texts, "none", "[]", "Hooks told about a new certificate after the services; a service named here is reloaded and nothing else."),
    inherited("pre-hooks", Kind::Texts, "none", "[]", "Hooks run before the CA is asked for a certificate, as to free a port. Of several certificates the first runs them for all."),
    inherited("post-hooks", Kind::Texts, "none", "[]", "Hooks run after that, however it went; the last of several certificates runs them."),
    inherited("observe", Kind::TextsOr(Place), "the services'", "[\"127.0.0.1:443\", \"[::1]:443\"]", "Where the certificate must be seen, in place of the services' endpoints. `[]` switches observation off."),
    inherited("observe-timeout", Kind::Length, "`\"30s\"`", "\"30s\"", "Bound on one look at one endpoint, from 1s to 5m."),
    inherited("deploy-window", Kind::Texts, "always", "\"Mon-Fri 02:00-05:00 Europe/Berlin\"", "When a new certificate may be shown to servers: `[DAYS] HH:MM-HH:MM [ZONE]`, days like `Mon-Fri` or `Sat,Sun`, else all; a zone like `Europe/Berlin`, else UTC. It is issued early and waits; near the end of what is shown it waits no longer."),
    inherited("key", Kind::Word(KEY_WORDS), "`\"ecdsa-p256\"`", "\"ecdsa-p256\"", "Kind of private key."),
    inherited("reuse-key", Kind::Flag, "`false`", "false", "Keep the private key at renewals instead of making a new one."),
    inherited("owner", Kind::Text, "the agent's user", "\"root\"", "User that owns the files."),
    inherited("group", Kind::Text, "the agent's group", "\"www-data\"", "Group of the files; with `key-mode` 0640 it may read the key."),
    inherited("labels", Kind::Labels, "none", "{ owner = \"web-team\", runbook = \"https://wiki.example.com/tls\" }", "Words for people, passed on with alerts; those of `[defaults]` are added to."),
    inherited("key-mode", Kind::Mode, "`\"0640\"`", "\"0640\"", "Mode of files that hold the key."),
    key(Certificate, "outputs", Kind::List(Output), "none", "", "Copies for programs that can't read the live directory."),
    key(Certificate, "combined", Kind::Path, "none", "\"/etc/haproxy/certs/shop.pem\"", "Short for an output with chain and key in one file."),
    inherited("certbot-tree", Kind::Path, "none", "\"/etc/letsencrypt\"", "Directory in which `live/NAME` and `archive/NAME` are kept as certbot keeps them."),
    key(Profile, "name", Kind::Text, "required", "", "The profile's name at the CA."),
    key(Profile, "required", Kind::Flag, "`false`", "", "Fail rather than take the CA's default profile when it is not offered."),
    key(Output, "part", Kind::Word(PART_WORDS), "required", "", "What is in it: leaf and chain, key, leaf alone, chain alone, leaf, chain and key, or the same with the key first; leaf or key in DER; all in one PKCS#12 file."),
    key(Output, "path", Kind::Path, "required", "", "The file. Its directory must exist."),
    key(Output, "owner", Kind::Text, "the certificate's", "", "User that owns the file."),
    key(Output, "group", Kind::Text, "the certificate's", "", "Group of the file."),
    key(Output, "mode", Kind::Mode, "`key-mode` with a key, else `\"0644\"`", "", "Mode of the file."),
    key(Output, "password", Kind::Secret, "required for `pkcs12`", "", "What the PKCS#12 file is opened with: 6 to 256 printable ASCII characters."),
    key(Place, "at", Kind::Text, "required", "", "Where: `[proto://][SNI@]host:port`."),
    key(Place, "accept", Kind::Word(ACCEPT_WORDS), "`\"installed\"`", "", "`any-valid`: any certificate for the name that is valid and that this system trusts will do, for an edge that has its own."),
    key(Place, "addresses", Kind::Word(ADDRESSES_WORDS), "`\"first\"`", "", "`all`: each address of the host, 16 at most, must show it, not only the first that answers."),
    key(Place, "key", Kind::Word(KEY_FAMILY_WORDS), "any", "", "Look as a client that takes this kind of key only, where the server has a certificate of each."),
    key(Place, "proxy-protocol", Kind::Word(PROXY_WORDS), "none", "", "The listener expects a PROXY header first; that of a look is `LOCAL` or `UNKNOWN`."),
    key(Place, "samples", Kind::UpTo(32), "`1`", "", "Handshakes with each address, so that more workers or backends are met; one that shows another certificate counts for all."),
    key(Place, "tls", Kind::Texts, "either", "", "`\"1.2\"`, `\"1.3\"` or both in a list: looked at with that version alone, each on its own."),
    key(Watch, "files", Kind::Texts, "none", "[\"/etc/ssl/bought/shop.pem\"]", "Absolute paths of certificates in PEM or DER; `*`, `?` and `[…]` make a pattern within one directory level."),
    key(Watch, "trees", Kind::Texts, "none", "[\"/etc/letsencrypt/live\"]", "Directories that are walked, eight levels deep, for certificates of servers."),
    key(Watch, "endpoints", Kind::TextsOr(Place), "none", "[\"shop.example.com:443\", \"smtp://mail.example.com:25\"]", "Where certificates are seen, written as in `observe`. With `files` or `trees` beside it, what a port shows is compared with what lies on disk."),
    key(Watch, "names", Kind::Texts, "none", "[\"shop.example.com\"]", "Names that each certificate in a file must be for. An endpoint is asked for its own name anyway."),
    key(Watch, "key", Kind::Path, "the one beside the file", "\"/etc/ssl/private/shop.key\"", "The private key of the only file, to see that it fits."),
    key(Watch, "every", Kind::Length, "`\"6h\"`", "\"6h\"", "From one look at the endpoints to the next, from 1m to 7d. Files are asked about every 10m, and read when they changed."),
    key(Watch, "timeout", Kind::Length, "`\"10s\"`", "\"10s\"", "Bound on one look at one endpoint, from 1s to 5m."),
    key(Watch, "ticket-before", Kind::Length, "a fifth of its life, at most 30d", "\"30d\"", "Less left than this: somebody should act within days."),
    key(Watch, "page-before", Kind::Length, "a tenth of its life, at most 7d", "\"7d\"", "Less left than this: somebody should act now."),
    key(Watch, "labels", Kind::Labels, "none", "{ owner = \"web-team\" }", "Words for people, passed on with alerts."),
    key(Discover, "ct", Kind::Inner(Transparency), "off", "", "Where names of issued certificates are asked for. Nothing is asked unless this is set."),
    key(Transparency, "exec", Kind::Argv, "this or `url`", "[\"/usr/local/bin/ct-names\"]", "A program that is given the domains, one a line, and prints names, one a line. No shell."),
    key(Transparency, "url", Kind::Url, "this or `exec`", "", "Asked once for each domain, which stands in the place of `{domain}`; answers with names, one a line, or as JSON."),
    key(Transparency, "timeout", Kind::Length, "`\"1m\"`", "\"1m\"", "Bound on one answer, from 1s to 10m."),
    key(Alert, "type", Kind::Word(ALERT_WORDS), "required", "\"email\"", "How people are reached."),
    key(Alert, "least", Kind::Word(GRAVITY_WORDS), "`\"notice\"`", "\"ticket\"", "What weighs less is not sent here."),
    key(Alert, "labels", Kind::Labels, "none", "", "Only alerts that bear all of these labels are sent here."),
    key(Alert, "timeout", Kind::Length, "`\"30s\"`", "\"30s\"", "Bound on sending one message, from 1s to 2m."),
    key(Alert, "run", Kind::Argv, "required for `exec`", "", "A program and its arguments. No shell. The message comes as JSON on standard input."),
    key(Alert, "url", Kind::Url, "required for `webhook`", "", "Where the message is sent by `POST`."),
    key(Alert, "headers", Kind::Texts, "`Content-Type: application/json`", "", "Further headers of a webhook, each as `\"Name: value\"`."),
    key(Alert, "body", Kind::Text, "the message as JSON", "", "What a webhook sends in its place: a text with placeholders like `${title}`, see [alerting](alerting.md#a-webhook)."),
    key(Alert, "secret", Kind::Secret, "none", "", "What `${secret}` of a webhook stands for."),
    key(Alert, "server", Kind::Text, "required for `email`", "\"mail.example.com:587\"", "The mail server. Without a port 587, with `tls = \"implicit\"` 465."),
    key(Alert, "tls", Kind::Word(MAIL_TLS_WORDS), "`\"starttls\"`", "\"starttls\"", "How mail is protected on its way; `none` goes with a server on this host only."),
    key(Alert, "from", Kind::Text, "required for `email`", "\"nolapse@example.com\"", "Sender of the mail."),
    key(Alert, "to", Kind::Texts, "required for `email`", "[\"ops@example.com\"]", "Who gets the mail."),
    key(Alert, "user", Kind::Text, "none", "\"nolapse\"", "Who we are to the mail server."),
    key(Alert, "password", Kind::Secret, "none", "\"/etc/nolapse/mail.password\"", "The password of `user`."),
    key(Alert, "ca-file", Kind::Path, "the system's roots", "", "PEM file of the roots that vouch for the server."),
    key(Alert, "socket", Kind::Path, "`/dev/log`, or the journal's", "", "The datagram socket of `syslog` or `journal`."),
    key(Heartbeat, "url", Kind::Url, "this or `run`", "\"https://hc.example.com/ping/0c1f\"", "Fetched after each look at everything, at most this often: `every`."),
    key(Heartbeat, "fail-url", Kind::Url, "none", "\"https://hc.example.com/ping/0c1f/fail\"", "In its place while something is a page, with the words as body. Without it nothing is sent then."),
    key(Heartbeat, "run", Kind::Argv, "this or `url`", "", "A program in place of a URL; `ok` or `fail` is added to its arguments."),
    key(Heartbeat, "secret", Kind::Secret, "none", "", "What `${secret}` in the URLs stands for."),
    key(Heartbeat, "every", Kind::Length, "`\"1h\"`", "\"1h\"", "How often, from 1m to 7d. Whoever listens should wait for about twice as long."),
    key(Heartbeat, "timeout", Kind::Length, "`\"30s\"`", "\"30s\"", "Bound on one request or run, from 1s to 2m."),
];

/// What single providers of DNS want and no row above names.
static VENDOR_KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys: Vec<Key> = Vec::new();
    for field in VENDORS.iter().flat_map(Vendor::fields) {
        let named = |key: &Key| key.name == field.stem;
        if !Solver.written().any(named) && !keys.iter().any(named) {
            let kind = match field.kind {
                FieldKind::Text => Kind::Text,
                FieldKind::Secret => Kind::Secret,
                FieldKind::Url => Kind::Url,
                FieldKind::Word(words) => Kind::Word(words),
            };
            keys.push(key(Solver, field.stem, kind, "none", "", field.help));
        }
    }
    keys
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_explained_and_stands_once() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(key.help.ends_with('.') && !key.default.is_empty(), "{}", key.name);
            let twins = KEYS[at + 1..].iter().filter(|k| k.table == key.table && k.name == key.name);
            assert_eq!(twins.count(), 0, "{}", key.name);
        }
        for table in Table::ALL {
            assert!(table.keys().count() > 0);
        }
    }

    #[test]
    fn what_a_vendor_wants_means_the_same_as_a_key_of_that_name() {
        for field in VENDORS.iter().flat_map(Vendor::fields) {
            let key = Solver.keys().find(|key| key.name == field.stem).map(|key| key.kind);
            let wanted = match field.kind {
                FieldKind::Text => Kind::Text,
                FieldKind::Secret => Kind::Secret,
                FieldKind::Url => Kind::Url,
                FieldKind::Word(words) => Kind::Word(words),
            };
            assert_eq!(key, Some(wanted), "{}", field.stem);
        }
    }

    #[test]
    fn a_secret_goes_by_its_sources_only() {
        assert!(Table::Eab.key("hmac-key").is_none());
        assert!(Table::Eab.key("hmac-key-env").is_some());
    }
}
