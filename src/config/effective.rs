//! The configuration as it counts, written as one would write it: defaults filled in, built-in
//! tables expanded, files merged. Read again it gives the same.

use std::fmt::Write as _;
use std::path::Path;

use super::agent::{AgentSettings, MetricsListen};
use super::discover::NamesSource;
use super::preset;
use super::resolve::Resolved;
use super::value;
use crate::core::channel::{Beat, ChannelKind, ChannelSpec, HeartbeatSpec};
use crate::core::form::Form;
use crate::core::labels::Labels;
use crate::core::layout::output_mode;
use crate::core::name::{HookId, IssuerId, SolverId};
use crate::core::spec::{
    Call, DnsProvider, DnsSpec, HookSpec, HttpCall, IssuerSpec, LineageSpec, Output, Profile, Rights,
    SecretSource, SignalTarget, SolverKind,
};
use crate::core::watch::WatchSpec;
use std::net::SocketAddr;

/// The effective configuration as TOML. Secrets stay where they are: only their source is named.
/// Certificates that were set aside come last, as comments.
pub fn effective(resolved: &Resolved) -> String {
    let mut page = Page::default();
    let wanted = &resolved.wanted;
    agent(&mut page, &resolved.agent);
    for issuer in wanted.issuers.values() {
        self::issuer(&mut page, issuer);
    }
    for solver in wanted.solvers.values() {
        page.table(&format!("solver.{}", solver.id));
        page.text("type", solver.kind.challenge().word());
        match &solver.kind {
            SolverKind::Http { listen } | SolverKind::TlsAlpn { listen } => {
                page.text("listen", &value::listen_text(listen));
            }
            SolverKind::Webroot { root } => page.text("webroot", root),
            SolverKind::Dns(dns) => self::dns(&mut page, dns),
            SolverKind::Persist(persist) => {
                page.list("resolvers", addresses(&persist.resolvers));
                page.list("authoritative", addresses(&persist.authoritative));
            }
        }
        if !solver.names.is_empty() {
            page.list("names", solver.names.iter().map(ToString::to_string));
        }
        if let Some(port) = solver.check_port {
            page.raw("check-port", &port.to_string());
        }
    }
    for hook in wanted.hooks.values() {
        self::hook(&mut page, hook);
    }
    for lineage in wanted.lineages.values() {
        certificate(&mut page, lineage);
    }
    for watch in wanted.watches.values() {
        self::watch(&mut page, watch);
    }
    if let Some(source) = &resolved.transparency {
        page.table("discover.ct");
        match &source.from {
            NamesSource::Exec(argv) => page.list("exec", argv),
            NamesSource::Url(url) => page.text("url", url),
        }
        page.text("timeout", &value::span_text(source.timeout));
    }
    for channel in &resolved.alerts.channels {
        self::channel(&mut page, channel);
    }
    if let Some(heartbeat) = &resolved.alerts.heartbeat {
        self::heartbeat(&mut page, heartbeat);
    }
    for (id, reason) in &wanted.broken {
        let _ = write!(page.0, "\n# set aside: {id}: {reason}\n");
    }
    page.0
}

/// TOML being written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn table(&mut self, path: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}[{path}]");
    }

    fn raw(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, text: &str) {
        self.raw(key, &quoted(text));
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.raw(key, if flag { "true" } else { "false" });
    }

    fn list<T: AsRef<str>>(&mut self, key: &str, texts: impl IntoIterator<Item = T>) {
        self.raw(key, &listed(texts));
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn listed<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

fn agent(page: &mut Page, agent: &AgentSettings) {
    page.table("agent");
    for (key, path) in
        [("state-dir", &agent.state_dir), ("live-dir", &agent.live_dir), ("run-dir", &agent.run_dir)]
    {
        page.text(key, &path.to_string_lossy());
    }
    match &agent.metrics {
        Some(MetricsListen::Address(address)) => page.text("metrics", &address.to_string()),
        Some(MetricsListen::Unix(path)) => page.text("metrics", &path.to_string_lossy()),
        None => {}
    }
    page.flag("metrics-open", agent.metrics_open);
    page.flag("status-page", agent.status_page);
    page.optional("textfile", agent.textfile.as_ref().map(|path| path.to_string_lossy()).as_deref());
    page.optional("proxy", agent.proxy.as_deref());
    page.flag("watch-config", agent.watch_config);
    page.list("resolvers", agent.resolvers.iter().map(ToString::to_string).collect::<Vec<_>>());
    page.text("log-format", agent.log_format.word());
    page.text("log-level", agent.log_level.word());
}

fn issuer(page: &mut Page, issuer: &IssuerSpec) {
    page.table(&format!("issuer.{}", issuer.id));
    page.text("directory", &issuer.directory);
    page.optional("staging", issuer.staging.as_deref());
    page.list("contact", &issuer.contact);
    page.flag("accept-terms", issuer.accept_terms);
    profile(page, issuer.profile.as_ref());
    if let Some(eab) = &issuer.eab {
        let (source, place) = source(&eab.hmac_key);
        page.raw("eab", &format!("{{ kid = {}, hmac-key-{source} = {} }}", quoted(&eab.kid), quoted(place)));
    }
    page.optional("ca-file", issuer.ca_file.as_deref());
    page.optional("proxy", issuer.proxy.as_deref());
    page.flag("insecure-http", issuer.insecure_http);
}

fn addresses(list: &[SocketAddr]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn dns(page: &mut Page, dns: &DnsSpec) {
    let secret = |page: &mut Page, stem: &str, secret: Option<&SecretSource>| {
        if let Some((kind, place)) = secret.map(source) {
            page.text(&format!("{stem}-{kind}"), place);
        }
    };
    page.text("provider", dns.provider.word());
    match &dns.provider {
        DnsProvider::Rfc2136 { server, key } => {
            page.optional("server", server.as_ref().map(ToString::to_string).as_deref());
            secret(page, "tsig-key", key.as_ref());
            page.text("ttl", &value::span_text(dns.ttl));
        }
        DnsProvider::Exec(exec) => {
            page.list("run", &exec.run);
            page.list("cleanup", exec.cleanup.iter().flatten());
            page.text("style", exec.style.word());
            page.optional("user", exec.user.as_deref());
            page.text("timeout", &value::span_text(exec.timeout));
        }
        DnsProvider::Webhook(call) => {
            page.text("url", &call.url);
            secret(page, "token", call.token.as_ref());
            if let Some((user, password)) = &call.login {
                page.text("login", user);
                secret(page, "password", Some(password));
            }
        }
        DnsProvider::AcmeDns { accounts, server } => {
            page.text("accounts", accounts);
            page.optional("server", server.as_deref());
        }
        DnsProvider::Own(own) => {
            page.list("dns-listen", own.listen.iter().map(value::listen_text));
            page.list("zones", own.zones.iter().map(ToString::to_string));
            page.text("name-server", own.name_server.as_str());
            page.list("addresses", own.addresses.iter().map(ToString::to_string));
            page.text("contact", &own.contact.as_str().replacen('.', "@", 1));
        }
        DnsProvider::Vendor(account) => {
            for (key, value) in &account.plain {
                page.text(key, value);
            }
            for (stem, place) in &account.secrets {
                secret(page, stem, Some(place));
            }
            page.text("ttl", &value::span_text(dns.ttl));
        }
    }
    page.optional("zone", dns.zone.as_ref().map(ToString::to_string).as_deref());
    page.list("resolvers", addresses(&dns.resolvers));
    page.list("authoritative", addresses(&dns.authoritative));
    page.list("seen-by", addresses(&dns.seen_by));
    page.text("propagation", &value::span_text(dns.propagation));
}

fn source(secret: &SecretSource) -> (&'static str, &str) {
    match secret {
        SecretSource::File(path) => ("file", path),
        SecretSource::Env(name) => ("env", name),
        SecretSource::Credential(name) => ("credential", name),
    }
}

fn profile(page: &mut Page, profile: Option<&Profile>) {
    match profile {
        Some(Profile { name, required: true }) => {
            page.raw("profile", &format!("{{ name = {}, required = true }}", quoted(name)));
        }
        Some(Profile { name, required: false }) => page.text("profile", name),
        None => {}
    }
}

fn hook(page: &mut Page, hook: &HookSpec) {
    // A built-in service keeps its table's kind; for any other, a hook says the same.
    let service = preset::SERVICES.contains(&hook.id.as_str());
    page.table(&format!("{}.{}", if service { "service" } else { "hook" }, hook.id));
    page.list("check", hook.check.as_deref().unwrap_or_default());
    match &hook.call {
        Call::Run(argv) => page.list(if service { "reload" } else { "run" }, argv),
        Call::Parts(dir) => page.text("run-parts", dir),
        Call::Signal { signal, target } => {
            let (key, target) = match target {
                SignalTarget::PidFile(path) => ("pid-file", path),
                SignalTarget::Process(name) => ("process", name),
            };
            page.raw("signal", &format!("{{ name = {}, {key} = {} }}", quoted(signal), quoted(target)));
        }
        Call::Http(request) => page.raw("http", &http(request)),
        Call::Haproxy(socket) => page.text("haproxy-socket", socket),
    }
    page.optional("user", hook.user.as_deref());
    if !hook.after.is_empty() {
        page.list("after", hook.after.iter().map(HookId::as_str));
    }
    page.text("timeout", &value::span_text(hook.timeout));
}

fn http(request: &HttpCall) -> String {
    let mut text = format!("{{ method = {}, url = {}", quoted(&request.method), quoted(&request.url));
    if let Some(path) = &request.body_file {
        let _ = write!(text, ", body-file = {}", quoted(path));
    }
    if !request.headers.is_empty() {
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| quoted(&format!("{name}: {value}"))).collect();
        let _ = write!(text, ", headers = [{}]", headers.join(", "));
    }
    text.push_str(" }");
    text
}

fn certificate(page: &mut Page, spec: &LineageSpec) {
    page.table(&format!("certificate.{}", quoted(spec.id.as_str())));
    page.list("names", spec.names.iter().map(ToString::to_string));
    page.list("issuer", spec.issuers.iter().map(IssuerId::as_str));
    profile(page, spec.profile.as_ref());
    page.list("solver", spec.solvers.iter().map(SolverId::as_str));
    page.list("hooks", spec.hooks.iter().map(HookId::as_str));
    for (key, hooks) in [("pre-hooks", &spec.around.before), ("post-hooks", &spec.around.afterwards)] {
        if !hooks.is_empty() {
            page.list(key, hooks.iter().map(HookId::as_str));
        }
    }
    page.list("observe", spec.endpoints.iter().map(ToString::to_string));
    page.text("observe-timeout", &value::span_text(spec.observe_timeout));
    if let Some(window) = &spec.deploy_window {
        page.list("deploy-window", window.0.iter().map(ToString::to_string));
    }
    page.text("key", spec.key.word());
    page.flag("reuse-key", spec.reuse_key);
    page.text("on-dead-name", spec.on_dead_name.word());
    page.optional("owner", spec.rights.owner.as_deref());
    page.optional("group", spec.rights.group.as_deref());
    page.text("key-mode", &mode(spec.rights.key_mode));
    labels(page, &spec.labels);
    let (trees, files): (Vec<&Output>, Vec<&Output>) =
        spec.outputs.iter().partition(|output| output.form == Form::Tree);
    for tree in trees {
        let root = Path::new(&tree.path).ancestors().nth(2).and_then(Path::to_str);
        page.optional("certbot-tree", root);
    }
    if !files.is_empty() {
        let outputs: Vec<String> = files.into_iter().map(output).collect();
        page.raw("outputs", &format!("[\n  {},\n]", outputs.join(",\n  ")));
    }
}

fn watch(page: &mut Page, spec: &WatchSpec) {
    page.table(&format!("watch.{}", quoted(spec.id.as_str())));
    for (key, paths) in [("files", &spec.files), ("trees", &spec.trees)] {
        if !paths.is_empty() {
            page.list(key, paths);
        }
    }
    if !spec.endpoints.is_empty() {
        page.list("endpoints", spec.endpoints.iter().map(ToString::to_string));
    }
    if !spec.names.is_empty() {
        page.list("names", spec.names.iter().map(ToString::to_string));
    }
    page.optional("key", spec.key.as_deref());
    page.text("every", &value::span_text(spec.every));
    page.text("timeout", &value::span_text(spec.timeout));
    for (key, bound) in [("ticket-before", spec.thresholds.ticket), ("page-before", spec.thresholds.page)] {
        page.optional(key, bound.map(value::span_text).as_deref());
    }
    labels(page, &spec.labels);
}

fn labels(page: &mut Page, labels: &Labels) {
    if !labels.is_empty() {
        let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
        page.raw("labels", &format!("{{ {} }}", pairs.join(", ")));
    }
}

fn channel(page: &mut Page, channel: &ChannelSpec) {
    page.table(&format!("alert.{}", channel.id));
    page.text("type", channel.kind.word());
    page.text("least", channel.least.word());
    labels(page, &channel.labels);
    page.text("timeout", &value::span_text(channel.timeout));
    match &channel.kind {
        ChannelKind::Exec { argv } => page.list("run", argv),
        ChannelKind::Syslog { socket } | ChannelKind::Journal { socket } => page.text("socket", socket),
        ChannelKind::Webhook(webhook) => {
            page.text("url", &webhook.url);
            if !webhook.headers.is_empty() {
                page.list("headers", webhook.headers.iter().map(|(name, value)| format!("{name}: {value}")));
            }
            page.optional("body", webhook.body.as_deref());
            secret(page, "secret", webhook.secret.as_ref());
            page.optional("ca-file", webhook.ca_file.as_deref());
        }
        ChannelKind::Email(email) => {
            let host =
                if email.host.contains(':') { format!("[{}]", email.host) } else { email.host.clone() };
            page.text("server", &format!("{host}:{}", email.port));
            page.text("tls", email.tls.word());
            page.text("from", &email.from);
            page.list("to", &email.to);
            if let Some((user, password)) = &email.login {
                page.text("user", user);
                secret(page, "password", Some(password));
            }
            page.optional("ca-file", email.ca_file.as_deref());
        }
    }
}

fn secret(page: &mut Page, stem: &str, secret: Option<&SecretSource>) {
    if let Some(secret) = secret {
        let (source, place) = source(secret);
        page.text(&format!("{stem}-{source}"), place);
    }
}

fn heartbeat(page: &mut Page, heartbeat: &HeartbeatSpec) {
    page.table("heartbeat");
    match &heartbeat.how {
        Beat::Exec { argv } => page.list("run", argv),
        Beat::Url { ping, fail, secret } => {
            page.text("url", ping);
            page.optional("fail-url", fail.as_deref());
            self::secret(page, "secret", secret.as_ref());
        }
    }
    page.text("every", &value::span_text(heartbeat.every));
    page.text("timeout", &value::span_text(heartbeat.timeout));
}

fn output(output: &Output) -> String {
    let Rights { owner, group, .. } = &*output.rights;
    let mut text = format!("{{ part = {}, path = {}", quoted(output.form.word()), quoted(&output.path));
    if let Form::Pkcs12 { password } = &output.form {
        let (source, place) = source(password);
        let _ = write!(text, ", password-{source} = {}", quoted(place));
    }
    for (key, name) in [("owner", owner), ("group", group)] {
        if let Some(name) = name {
            let _ = write!(text, ", {key} = {}", quoted(name));
        }
    }
    let _ = write!(text, ", mode = {} }}", quoted(&mode(output_mode(output))));
    text
}

fn mode(mode: u32) -> String {
    format!("{mode:04o}")
}
