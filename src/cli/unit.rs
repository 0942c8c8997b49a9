//! `nolapse generate systemd`: what this configuration needs beyond the shipped unit, as files
//! to put in place. Fits packaging/: the unit `nolapse.service`, the user `nolapse`, and a polkit
//! rule for the verb reload alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::owner::SERVICE_USER;
use crate::config::{AgentSettings, MetricsListen};
use crate::core::form::Form;
use crate::core::spec::{Call, Listen, Rights, SecretSource, SolverKind, Wanted};
use crate::wire;

/// What the unit as shipped does not give.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    config: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    live_dir: Option<PathBuf>,
    /// Directories to write, outside the state, with what for.
    writes: BTreeMap<PathBuf, String>,
    webroots: BTreeSet<PathBuf>,
    groups: BTreeSet<String>,
    owners: BTreeSet<String>,
    low_port: bool,
    signals: bool,
    sockets: BTreeSet<String>,
    credentials: BTreeSet<String>,
    variables: BTreeSet<String>,
    /// Units told to reload by `systemctl`.
    reloads: BTreeSet<String>,
    /// Units started by a check command, such as `nolapse-check@nginx.service`.
    starts: BTreeSet<String>,
}

/// Where the shipped unit may write.
const SHIPPED_STATE: &str = "/var/lib/nolapse";
const SHIPPED_RUN: &str = "/run/nolapse";
/// Hidden from the shipped unit.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// Ports below are for root and for `CAP_NET_BIND_SERVICE`, unless a sysctl says otherwise.
pub const LOW_PORTS: u16 = 1024;

impl Needs {
    pub fn of(config: &Path, settings: &AgentSettings, wanted: &Wanted) -> Self {
        let mut needs = Self::default();
        let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        needs.config = (config != Path::new(wire::CONFIG)).then_some(config);
        if settings.state_dir != Path::new(SHIPPED_STATE) {
            needs.state_dir = Some(settings.state_dir.clone());
        }
        if !settings.live_dir.starts_with(&settings.state_dir) {
            needs.live_dir = Some(settings.live_dir.clone());
        }
        if settings.run_dir != Path::new(SHIPPED_RUN) {
            needs.write(&settings.run_dir, "run-dir");
        }
        if let Some(file) = &settings.textfile {
            needs.write_beside(file, "textfile");
        }
        if let Some(MetricsListen::Unix(path)) = &settings.metrics {
            needs.write_beside(path, "metrics");
        }
        if let Some(MetricsListen::Address(address)) = &settings.metrics {
            needs.low_port |= address.port() < LOW_PORTS;
        }
        for spec in wanted.lineages.values() {
            needs.give(&spec.rights);
            for output in &spec.outputs {
                let (path, why) = (Path::new(&output.path), format!("outputs of {}", spec.id));
                match path.ancestors().nth(2) {
                    Some(root) if output.form == Form::Tree => needs.write(root, &why),
                    _ => needs.write_beside(path, &why),
                }
                needs.give(&output.rights);
            }
        }
        needs.solvers(wanted);
        needs.hooks(wanted);
        let bindings = wanted.issuers.values().filter_map(|issuer| Some(&issuer.eab.as_ref()?.hmac_key));
        let zones = wanted.solvers.values().flat_map(|solver| match &solver.kind {
            SolverKind::Dns(dns) => dns.provider.secrets(),
            SolverKind::Http { .. }
            | SolverKind::TlsAlpn { .. }
            | SolverKind::Webroot { .. }
            | SolverKind::Persist(_) => Vec::new(),
        });
        let outputs = wanted.lineages.values().flat_map(|spec| spec.outputs.iter());
        let passwords = outputs.filter_map(|output| match &output.form {
            Form::Pkcs12 { password } => Some(password),
            _ => None,
        });
        for source in bindings.chain(passwords).chain(zones) {
            match source {
                SecretSource::Credential(name) => drop(needs.credentials.insert(name.clone())),
                SecretSource::Env(name) => drop(needs.variables.insert(name.clone())),
                SecretSource::File(_) => {}
            }
        }
        needs
    }

    fn write(&mut self, dir: &Path, why: &str) {
        let outside = |place: &str| !dir.starts_with(place);
        if outside(SHIPPED_STATE) && outside(SHIPPED_RUN) {
            self.writes.entry(dir.to_owned()).or_insert_with(|| why.to_owned());
        }
    }

    fn write_beside(&mut self, file: &Path, why: &str) {
        if let Some(dir) = file.parent() {
            self.write(dir, why);
        }
    }

    fn give(&mut self, rights: &Rights) {
        self.owners.extend(rights.owner.iter().filter(|owner| *owner != SERVICE_USER).cloned());
        self.groups.extend(rights.group.iter().filter(|group| *group != SERVICE_USER).cloned());
    }

    fn solvers(&mut self, wanted: &Wanted) {
        let used = |id| wanted.lineages.values().any(|spec| spec.solvers.contains(id));
        for solver in wanted.solvers.values().filter(|solver| used(&solver.id)) {
            if let SolverKind::Webroot { root } = &solver.kind {
                self.webroots.insert(PathBuf::from(root));
            }
            for listen in solver.kind.listens() {
                match listen {
                    Listen::Address(address) => self.low_port |= address.port() < LOW_PORTS,
                    Listen::Systemd(name) => drop(self.sockets.insert(name.clone())),
                }
            }
        }
    }

    fn hooks(&mut self, wanted: &Wanted) {
        let used = |id| wanted.lineages.values().any(|spec| spec.all_hooks().any(|hook| hook == id));
        for hook in wanted.hooks.values().filter(|hook| used(&hook.id)) {
            match &hook.call {
                Call::Run(argv) => self.manager(argv),
                Call::Signal { .. } => self.signals = true,
                Call::Parts(_) | Call::Http(_) | Call::Haproxy(_) => {}
            }
            self.manager(hook.check.as_deref().unwrap_or_default());
        }
    }

    fn manager(&mut self, argv: &[String]) {
        let Some((verb, units)) = manager_call(argv) else { return };
        let set = match verb {
            "reload" => &mut self.reloads,
            "start" => &mut self.starts,
            _ => return,
        };
        set.extend(units);
    }

    /// Every file, each under a comment with its path.
    pub fn files(&self) -> String {
        let mut text = String::new();
        for (path, content) in
            [(DROP_IN, self.drop_in()), (TMPFILES, self.directories()), (POLKIT, self.rule())]
        {
            if let Some(content) = content {
                let gap = if text.is_empty() { "" } else { "\n" };
                let mark = if path == POLKIT { "//" } else { "#" };
                let _ = write!(text, "{gap}{mark} ---- {path}\n{content}");
            }
        }
        if text.is_empty() {
            text.push_str("# The shipped units and rules are enough for this configuration.\n");
        } else {
            text.push_str(AFTERWARDS);
        }
        text
    }

    fn drop_in(&self) -> Option<String> {
        let mut text = String::new();
        if let Some(config) = &self.config {
            let _ = writeln!(text, "Environment={}", word(&format!("NOLAPSE_CONFIG={}", config.display())));
        }
        for name in &self.variables {
            let _ =
                writeln!(text, "# {name} is a secret: put it into a file of mode 0600 and name that here.");
            let _ = writeln!(text, "#EnvironmentFile=/etc/nolapse/environment");
        }
        for name in &self.credentials {
            let _ = writeln!(text, "LoadCredential={}", word(&format!("{name}:/etc/nolapse/{name}")));
        }
        let dirs = self.state_dir.iter().chain(&self.live_dir).map(|dir| (dir, "state or live directory"));
        let dirs = dirs.chain(self.writes.iter().map(|(dir, why)| (dir, why.as_str())));
        let challenges: Vec<_> = self.webroots.iter().map(|root| challenge_dir(root)).collect();
        let dirs = dirs.chain(challenges.iter().map(|dir| (dir, "answers to challenges")));
        let mut shown = BTreeSet::new();
        for (dir, why) in dirs {
            // The dash lets the unit start while the directory is missing.
            let _ =
                writeln!(text, "# {}\nReadWritePaths={}", comment(why), word(&format!("-{}", dir.display())));
            shown.insert(dir.clone());
        }
        if shown.iter().any(|dir| HOMES.iter().any(|home| dir.starts_with(home))) {
            text.push_str("# A directory above lies where the unit sees nothing.\nProtectHome=no\n");
        }
        if shown.iter().any(|dir| TEMPORARY.iter().any(|tmp| dir.starts_with(tmp))) {
            text.push_str(
                "# A directory above lies where the unit has a directory of its own.\nPrivateTmp=no\n",
            );
        }
        if !self.groups.is_empty() {
            let groups: Vec<_> = self.groups.iter().map(|group| word(group)).collect();
            let _ =
                writeln!(text, "# Groups that files are given to.\nSupplementaryGroups={}", groups.join(" "));
        }
        let mut rights = Vec::new();
        if self.low_port {
            text.push_str("# A port below 1024 is opened by nolapse itself.\n");
            rights.push("CAP_NET_BIND_SERVICE");
        }
        if self.signals {
            text.push_str(
                "# Servers of other users are signalled. Better where it can be had: a reload by systemctl.\n",
            );
            rights.push("CAP_KILL");
        }
        if !self.owners.is_empty() {
            let owners: Vec<_> = self.owners.iter().map(|owner| comment(owner)).collect();
            let _ = writeln!(
                text,
                "# Files are given to {}. Only this right does that, and it is nearly root's: better a group.",
                owners.join(", ")
            );
            rights.extend(["CAP_CHOWN", "CAP_FOWNER"]);
        }
        if !rights.is_empty() {
            let rights = rights.join(" ");
            let _ = writeln!(text, "CapabilityBoundingSet={rights}\nAmbientCapabilities={rights}");
        }
        if self.signals {
            text.push_str("ProtectProc=default\n");
        }
        for name in &self.sockets {
            let shipped = match name.as_str() {
                "http01" => "nolapse.socket",
                "tlsalpn01" => "nolapse-tls.socket",
                _ => "a socket unit of yours",
            };
            let _ = writeln!(text, "# The socket {} comes from {shipped}: enable it.", comment(name));
        }
        (!text.is_empty()).then(|| format!("[Service]\n{text}"))
    }

    fn directories(&self) -> Option<String> {
        let mut text = String::new();
        let mut line = |path: &Path, mode: &str| {
            let path = path.display().to_string().replace('%', "%%");
            let _ = writeln!(text, "d {} {mode} {SERVICE_USER} {SERVICE_USER} - -", field(&path));
        };
        if let Some(dir) = &self.state_dir {
            line(dir, "0711");
        }
        if let Some(dir) = &self.live_dir {
            line(dir, "0755");
        }
        for root in &self.webroots {
            line(&challenge_dir(root), "0755");
        }
        (!text.is_empty()).then_some(text)
    }

    fn rule(&self) -> Option<String> {
        if self.reloads.is_empty() && self.starts.is_empty() {
            return None;
        }
        let list = |units: &BTreeSet<String>| {
            let units: Vec<_> = units.iter().map(|unit| script_text(unit)).collect();
            format!("[{}]", units.join(", "))
        };
        Some(format!(
            "// Lets the user {SERVICE_USER} reload the units that the configuration reloads, and nothing else.\n\
             polkit.addRule(function (action, subject) {{\n    \
                 var allowed = {{ reload: {}, start: {} }};\n\n    \
                 if (action.id !== \"org.freedesktop.systemd1.manage-units\" || subject.user !== \"{SERVICE_USER}\") {{\n        \
                     return undefined;\n    \
                 }}\n    \
                 var verb = action.lookup(\"verb\");\n    \
                 if (verb !== \"reload\" && verb !== \"start\") {{\n        \
                     return undefined;\n    \
                 }}\n    \
                 return allowed[verb].indexOf(action.lookup(\"unit\")) >= 0 ? polkit.Result.YES : undefined;\n\
             }});\n",
            list(&self.reloads),
            list(&self.starts),
        ))
    }

    /// Units that are reloaded through the service manager.
    pub fn reloads(&self) -> &BTreeSet<String> {
        &self.reloads
    }
}

const DROP_IN: &str = "/etc/systemd/system/nolapse.service.d/50-configuration.conf";
const TMPFILES: &str = "/etc/tmpfiles.d/nolapse-configuration.conf";
const POLKIT: &str = "/etc/polkit-1/rules.d/49-nolapse.rules";
const AFTERWARDS: &str =
    "\n# Then: systemd-tmpfiles --create; systemctl daemon-reload; systemctl restart nolapse\n";

/// The verb and the units of a `systemctl` command.
pub fn manager_call(argv: &[String]) -> Option<(&str, Vec<String>)> {
    let program = argv.first()?;
    if program.rsplit('/').next() != Some("systemctl") {
        return None;
    }
    let mut words = argv.iter().skip(1).filter(|word| !word.starts_with('-'));
    let verb = words.next()?;
    let units = words.map(|unit| if unit.contains('.') { unit.clone() } else { format!("{unit}.service") });
    Some((verb, units.collect()))
}

fn challenge_dir(root: &Path) -> PathBuf {
    root.join(".well-known/acme-challenge")
}

/// One word of a unit file: quoted where it must be, specifiers switched off.
fn word(text: &str) -> String {
    let text = text.replace('%', "%%");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// One field of a tmpfiles line.
fn field(text: &str) -> String {
    if text.contains([' ', '\t', '"', '\\']) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text.to_owned()
    }
}

/// Text of the configuration in a comment: on one line.
fn comment(text: &str) -> String {
    crate::core::failure::plain(text, 200)
}

/// A text of JavaScript.
fn script_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Facts, Source};

    fn needs(text: &str) -> Needs {
        let resolved = config::resolve(&[Source::new("a.toml", text)], &Facts::default());
        assert!(!resolved.has_errors(), "{:?}", resolved.problems);
        Needs::of(Path::new(wire::CONFIG), &resolved.agent, &resolved.wanted)
    }

    #[test]
    fn a_plain_set_up_needs_its_reload_only() {
        let text = needs("[certificate.\"a.example\"]\nservice = \"nginx\"\n").files();
        assert!(text.contains("reload: [\"nginx.service\"]") && !text.contains("ReadWritePaths"), "{text}");
        let nothing =
            needs("[solver.s]\nlisten = \"127.0.0.1:8089\"\n[certificate.\"a.example\"]\nsolver = \"s\"\n");
        assert!(nothing.files().contains("are enough"), "{}", nothing.files());
    }

    #[test]
    fn all_that_a_configuration_touches_is_named() {
        let text = needs(
            r#"
            [agent]
            state-dir = "/srv/acme"
            [solver.files]
            webroot = "/var/www/a b"
            [solver.standalone]
            listen = "[::]:80"
            [hook.mail]
            run = ["/usr/bin/systemctl", "--quiet", "reload", "exim4", "sasl.socket"]
            [hook.app]
            signal = { name = "HUP", process = "app" }
            [certificate."a.example"]
            solver = ["files", "standalone"]
            hooks = ["mail", "app"]
            group = "ssl-cert"
            outputs = [{ part = "combined", path = "/etc/haproxy/certs/a.pem", group = "haproxy" }]
            "#,
        )
        .files();
        for line in [
            "ReadWritePaths=-/srv/acme",
            "ReadWritePaths=\"-/var/www/a b/.well-known/acme-challenge\"",
            "ReadWritePaths=-/etc/haproxy/certs",
            "SupplementaryGroups=haproxy ssl-cert",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_KILL",
            "d /srv/acme 0711 nolapse nolapse - -",
            "reload: [\"exim4.service\", \"sasl.socket\"]",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("CAP_CHOWN"), "{text}");
    }

    #[test]
    fn t05_texts_of_the_configuration_stay_inside_their_line() {
        assert_eq!(word("a\nUser=root"), "\"a\\nUser=root\"");
        assert_eq!(word("/x/%h"), "/x/%%h");
        assert_eq!(script_text("\"]; evil(); [\""), r#""\"]; evil(); [\"""#);
    }
}
