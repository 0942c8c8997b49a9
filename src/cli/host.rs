//! What this host must give for a configuration to work: directories, users, programs, ports,
//! rights. Each test stands alone, so that one bad entry hides no other.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::cli::mount::Mount;
use crate::cli::unit::{LOW_PORTS, Needs, manager_call};
use crate::config::{AgentSettings, MetricsListen};
use crate::core::finding::Finding;
use crate::core::form::Form;
use crate::core::record::ChallengeKind;
use crate::core::spec::{Call, Listen, SignalTarget, Wanted};
use crate::core::time::Span;
use crate::sys::disk::Disk;
use crate::sys::privilege::Identity;
use crate::sys::process::Program;
use crate::wire::look;

/// Less free space than this is a warning: records, and two generations of each certificate.
const FREE_LEAST: u64 = 32 << 20;
/// Less than this is none: one generation, and a record anew beside its copy.
const FREE_NEEDED: u64 = 64 << 10;
/// Fewer files than this that can still be made is a warning: a generation has six, with its directory.
const FILES_LEAST: u64 = 256;
/// Largest unit file and polkit rule that is read, in bytes.
const UNIT_MAX: usize = 256 << 10;
pub(super) const UNIT_DIRS: [&str; 3] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];
const RULE_DIRS: [&str; 4] = [
    "/etc/polkit-1/rules.d",
    "/run/polkit-1/rules.d",
    "/usr/local/share/polkit-1/rules.d",
    "/usr/share/polkit-1/rules.d",
];

/// What to do about a port of ours that somebody else holds.
const HTTP_WAY_OUT: &str = "let that server pass /.well-known/acme-challenge/ on to a loopback listener \
                            (service = …), use a webroot, or stop it";
const DNS_WAY_OUT: &str = "let `dns-listen` name an address that the other server leaves free, or stop it";
const TLS_WAY_OUT: &str = "let that server pass connections with the ALPN protocol acme-tls/1 on to a loopback \
                           listener (solver = \"tls-loopback\"), prove by another kind, or stop it";

/// A configuration, and who the agent runs as here.
pub struct Host<'a> {
    pub settings: &'a AgentSettings,
    pub wanted: &'a Wanted,
    pub owner: &'a Identity,
}

impl Host<'_> {
    /// What root sees best: other users' sockets, rules, the user database.
    pub fn as_root(&self) -> Vec<Finding> {
        let mut found = self.users();
        found.extend(self.ports());
        found.extend(self.rules());
        found
    }

    /// What only the agent's own user can tell, as which this must run.
    pub fn as_owner(&self) -> Vec<Finding> {
        let mut found = self.directories();
        found.extend(self.volume());
        found.extend(self.programs());
        found
    }

    fn users(&self) -> Vec<Finding> {
        let disk = Disk::real();
        let (mut owners, mut groups) = (BTreeMap::new(), BTreeMap::new());
        for spec in self.wanted.lineages.values() {
            for rights in
                std::iter::once(&spec.rights).chain(spec.outputs.iter().map(|output| &output.rights))
            {
                if let Some(name) = &rights.owner {
                    owners.entry(name).or_insert(&spec.id);
                }
                if let Some(name) = &rights.group {
                    groups.entry(name).or_insert(&spec.id);
                }
            }
        }
        let mut found = Vec::new();
        for (name, id) in owners {
            match disk.user_id(name) {
                Ok(Some(uid)) if uid == self.owner.uid || self.owner.is_root() => {}
                Ok(Some(_)) if unit_says("CAP_CHOWN") => {}
                Ok(Some(_)) => found.push(
                    Finding::error("owner-not-given", format!("{} can't give files to {name}", self.owner))
                        .seen(format!("certificate {id} has owner = \"{name}\"; only root may do that"))
                        .fix("use  group  instead, or see  nolapse generate systemd"),
                ),
                Ok(None) => found.push(
                    Finding::error(
                        "no-such-user",
                        format!("there is no user {name}, owner of certificate {id}"),
                    )
                    .fix(format!("install the program that brings it, or  useradd --system {name}")),
                ),
                Err(error) => found.push(unreadable(name, &error)),
            }
        }
        let member = self.owner.groups();
        for (name, id) in groups {
            match disk.group_id(name) {
                Ok(Some(gid)) if member.contains(&gid) || self.owner.is_root() => {}
                Ok(Some(_)) if unit_lists("SupplementaryGroups=", name) => {}
                Ok(Some(_)) => found.push(
                    Finding::error("group-not-given", format!("{} is not in the group {name}", self.owner))
                        .seen(format!("certificate {id} has group = \"{name}\""))
                        .fix(format!("usermod -aG {name} {}, or see  nolapse generate systemd", self.owner)),
                ),
                Ok(None) => found.push(
                    Finding::error(
                        "no-such-group",
                        format!("there is no group {name}, group of certificate {id}"),
                    )
                    .fix(format!("install the program that brings it, or  groupadd --system {name}")),
                ),
                Err(error) => found.push(unreadable(name, &error)),
            }
        }
        found
    }

    /// Listeners of ours that somebody else has, or that need a right.
    fn ports(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let used = |id| self.wanted.lineages.values().any(|spec| spec.solvers.contains(id));
        let solvers = self.wanted.solvers.values().filter(|solver| used(&solver.id));
        let mut wants: Vec<_> = solvers
            .flat_map(|solver| {
                let way_out = match solver.kind.challenge() {
                    ChallengeKind::TlsAlpn01 => TLS_WAY_OUT,
                    ChallengeKind::Http01 => HTTP_WAY_OUT,
                    _ => DNS_WAY_OUT,
                };
                let wants = move |listen: &Listen| (format!("solver {}", solver.id), listen.clone(), way_out);
                solver.kind.listens().iter().map(wants)
            })
            .collect();
        if let Some(MetricsListen::Address(address)) = self.settings.metrics {
            wants.push(("metrics".into(), Listen::Address(address), HTTP_WAY_OUT));
        }
        for (what, listen, way_out) in wants {
            let address = match listen {
                Listen::Address(address) => address,
                Listen::Systemd(name) => {
                    if !socket_unit_exists(&name) {
                        found.push(
                            Finding::warning(
                                "socket-missing",
                                format!("{what}: no socket unit is named {name}"),
                            )
                            .seen(format!("no *.socket in {} says FileDescriptorName={name}", UNIT_DIRS[0]))
                            .fix(
                                "nolapse.socket has the name http01, nolapse-tls.socket tlsalpn01: \
                                 systemctl enable --now nolapse.socket",
                            ),
                        );
                    }
                    continue;
                }
            };
            if let Some(rival) = look::rival(address, self.owner) {
                found.push(
                    Finding::error("port-in-use", format!("{what} can't listen on {address}"))
                        .seen(format!("port {} is held by {rival}", address.port()))
                        .fix(way_out),
                );
            }
            if needs_right(address.port()) && !self.owner.is_root() && !unit_says("CAP_NET_BIND_SERVICE") {
                found.push(
                    Finding::error(
                        "port-forbidden",
                        format!("{what}: {} may not listen on {address}", self.owner),
                    )
                    .seen("ports under 1024 need CAP_NET_BIND_SERVICE, and no drop-in of the unit gives it")
                    .fix("nolapse generate systemd  prints the drop-in; or enable nolapse.socket"),
                );
            }
        }
        found
    }

    /// Reloads through the service manager need a rule, unless the agent is root.
    fn rules(&self) -> Vec<Finding> {
        if self.owner.is_root() {
            return Vec::new();
        }
        let needs = Needs::of(Path::new(""), self.settings, self.wanted);
        let texts: Vec<_> = RULE_DIRS.iter().flat_map(|dir| texts_in(Path::new(dir), ".rules")).collect();
        let allowed = |unit: &str| {
            let short = unit.strip_suffix(".service").unwrap_or(unit);
            texts.iter().any(|text| {
                text.contains("nolapse") && (text.contains(unit) || text.contains(&format!("\"{short}\"")))
            })
        };
        let missing = needs.reloads().iter().filter(|unit| !allowed(unit));
        missing
            .map(|unit| {
                Finding::warning("reload-not-allowed", format!("{} may not reload {unit}", self.owner))
                    .seen("no polkit rule that can be read names nolapse and this unit")
                    .fix("nolapse generate systemd  prints the rule")
            })
            .collect()
    }

    fn directories(&self) -> Vec<Finding> {
        let mut dirs = BTreeMap::<PathBuf, String>::new();
        let settings = self.settings;
        let mut add = |dir: &Path, what: String| {
            dirs.entry(dir.to_owned()).or_insert(what);
        };
        add(&settings.state_dir, "the state directory".into());
        add(&settings.live_dir, "the live directory".into());
        if let Some(dir) = settings.textfile.as_deref().and_then(Path::parent) {
            add(dir, "the directory of textfile".into());
        }
        for spec in self.wanted.lineages.values() {
            for output in &spec.outputs {
                // Of a tree only the root must be there.
                let up = if output.form == Form::Tree { 2 } else { 1 };
                if let Some(dir) = Path::new(&output.path).ancestors().nth(up) {
                    add(dir, format!("the directory of an output of {}", spec.id));
                }
            }
        }
        let mut found: Vec<_> = dirs
            .iter()
            .filter_map(|(dir, what)| self.directory(dir, what, dir.starts_with(&settings.state_dir)))
            .collect();
        if !settings.run_dir.exists() {
            found.push(
                Finding::warning("no-run-dir", format!("{} does not exist", settings.run_dir.display())).fix(
                    "other users can't ask  nolapse status  until it does; the unit and tmpfiles make it",
                ),
            );
        }
        found
    }

    /// `own`: made by us where it is missing.
    fn directory(&self, dir: &Path, what: &str, own: bool) -> Option<Finding> {
        let make = |mode| format!("install -d -o {0} -m {mode} {1}", self.owner, dir.display());
        if dir.exists() {
            let error = access(dir, Access::WRITE_OK | Access::EXEC_OK).err()?;
            let fix = if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem {
                "mount it for writing, or choose another directory".to_owned()
            } else {
                format!("chown {} {}, or give its group the right to write", self.owner, dir.display())
            };
            return Some(
                Finding::error(
                    "not-writable",
                    format!("{} can't write {what} {}", self.owner, dir.display()),
                )
                .seen(format!("{error}; {}", looks(dir)))
                .fix(fix),
            );
        }
        let above = dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
        if own && access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
            return None;
        }
        // Servers pass through the state to live/, and look into that.
        let mode = if dir == self.settings.state_dir { "0711" } else { "0755" };
        Some(
            Finding::error("no-directory", format!("{what} {} does not exist", dir.display()))
                .seen(format!("what is there: {}", looks(above)))
                .fix(make(mode)),
        )
    }

    /// Where the state lies must last, and have room.
    fn volume(&self) -> Vec<Finding> {
        let dir = &self.settings.state_dir;
        let real = dir.ancestors().find_map(|above| above.canonicalize().ok()).unwrap_or_else(|| dir.clone());
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let in_container = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
            || ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists());
        let mut found = Vec::new();
        let mount = Mount::of(&table, &real);
        if let Some((mount, why)) =
            mount.and_then(|mount| Some((mount.clone(), mount.transience(in_container)?)))
        {
            found.push(
                Finding::warning(
                    "state-does-not-last",
                    format!("the state in {} does not last: {why}", dir.display()),
                )
                .seen(format!("{} is mounted at {}", mount.kind, mount.point))
                .fix(
                    "put state-dir on a persistent volume; each loss costs a new account and an order for \
                         every certificate, and CAs allow few of the same names a week",
                ),
            );
        }
        found.extend(self.rooms());
        found
    }

    /// Room on each volume that is written to, by octets and by files.
    fn rooms(&self) -> Vec<Finding> {
        let (state, live) = (&self.settings.state_dir, &self.settings.live_dir);
        let outputs = self.wanted.lineages.values().flat_map(|spec| spec.outputs.iter());
        let dirs = [(state.as_path(), "the state"), (live.as_path(), "live certificates")]
            .into_iter()
            .chain(outputs.filter_map(|output| Some((Path::new(&output.path).parent()?, "outputs"))));
        let mut volumes = BTreeMap::new();
        for (dir, what) in dirs {
            // What is not there yet will be made on the volume above.
            let there = dir.ancestors().find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
            if let Some((above, meta)) = there {
                volumes.entry(meta.dev()).or_insert((above, dir, what));
            }
        }
        let disk = Disk::real();
        let mut found = Vec::new();
        for (above, dir, what) in volumes.into_values() {
            let short = |seen: String| {
                Finding::warning(
                    "disk-nearly-full",
                    format!("little room is left for {what} in {}", dir.display()),
                )
                .seen(seen)
                .fix("free some; on a full disk no order is placed")
            };
            // Where it can't be told, the tests of the directory say why.
            match disk.free_space(above) {
                Ok(free) if free < FREE_NEEDED => found.push(
                    Finding::error("disk-full", format!("no room is left for {what} in {}", dir.display()))
                        .seen(format!("{} KiB are free", free >> 10))
                        .fix("free some; no order is placed until what it gives could be stored"),
                ),
                Ok(free) if free < FREE_LEAST => found.push(short(format!("{} KiB are free", free >> 10))),
                _ => {}
            }
            if let Ok(Some(free)) = disk.free_files(above)
                && free < FILES_LEAST
            {
                found.push(short(format!("{free} more files can be made (inodes)")));
            }
        }
        found
    }

    fn programs(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let used = |id| self.wanted.lineages.values().any(|spec| spec.all_hooks().any(|hook| hook == id));
        for hook in self.wanted.hooks.values().filter(|hook| used(&hook.id)) {
            let mut argvs: Vec<_> = hook.check.iter().map(|argv| ("check", argv)).collect();
            match &hook.call {
                Call::Run(argv) => argvs.push(("command", argv)),
                Call::Signal { target: SignalTarget::PidFile(path), .. } => {
                    if let Err(error) = access(Path::new(path), Access::READ_OK) {
                        found.push(
                            Finding::warning("no-pid-file", format!("{}: {path} can't be read", hook.id))
                                .seen(error.to_string())
                                .fix("start the server, or let this user read the file"),
                        );
                    }
                }
                Call::Parts(dir) => {
                    if let Err(error) = access(Path::new(dir), Access::READ_OK | Access::EXEC_OK) {
                        let what = format!("{}: the programs in {dir} can't be listed", hook.id);
                        let found_there = Finding::error("hook-missing", what).seen(error.to_string());
                        found.push(found_there.fix("make the directory, or let this user read it"));
                    }
                }
                Call::Haproxy(socket) => {
                    if let Err(error) = access(Path::new(socket), Access::WRITE_OK) {
                        found.push(
                            Finding::warning("no-haproxy-socket", format!("{}: {socket} can't be opened", hook.id))
                                .seen(error.to_string())
                                .fix("start haproxy with `stats socket … level admin`, and let this user's group write to it"),
                        );
                    }
                }
                Call::Signal { target: SignalTarget::Process(_), .. } | Call::Http(_) => {}
            }
            if let Some(user) = hook.user.as_ref().filter(|_| !rustix::process::geteuid().is_root()) {
                let what = format!("{} is to run as {user}, and only root can become somebody else", hook.id);
                let fix = "run the agent as root, or let the hook ask systemd to start a unit of that user";
                found.push(
                    Finding::warning("hook-user", what).seen(format!("the agent is {}", self.owner)).fix(fix),
                );
            }
            for (role, argv) in argvs {
                found.extend(self.program(hook.id.as_str(), role, argv));
            }
        }
        found
    }

    fn program(&self, hook: &str, role: &str, argv: &[String]) -> Option<Finding> {
        let program = Program {
            argv: argv.to_vec(),
            env: Vec::new(),
            stdin: Vec::new(),
            timeout: Span::MINUTE,
            user: None,
        };
        let what = format!("the {role} of {hook} can't run");
        let fix = if manager_call(argv).is_some() {
            "this host has no systemd; tell the server by  signal  or  http  instead".to_owned()
        } else {
            format!("install it, or mend [service.{hook}] or [hook.{hook}]")
        };
        match program.locate() {
            Ok(path) => access(&path, Access::EXEC_OK).err().map(|error| {
                Finding::error("hook-forbidden", what)
                    .seen(format!("{error} for {}; {}", self.owner, looks(&path)))
                    .fix("let this user execute it")
            }),
            Err(error) => Some(Finding::error("hook-missing", what).seen(error.to_string()).fix(fix)),
        }
    }
}

/// Whether the unit or a drop-in of it holds this word.
fn unit_says(word: &str) -> bool {
    unit_texts().iter().any(|text| settings_of(text).any(|line| line.contains(word)))
}

/// Whether it is one of the words of a setting.
fn unit_lists(key: &str, word: &str) -> bool {
    let says = |line: &str| {
        line.strip_prefix(key).is_some_and(|words| words.split_whitespace().any(|each| each == word))
    };
    unit_texts().iter().any(|text| settings_of(text).any(says))
}

/// Whether this process could do that, with its effective user and groups.
pub(super) fn access(path: &Path, how: Access) -> std::io::Result<()> {
    Ok(rustix::fs::accessat(CWD, path, how, AtFlags::EACCESS)?)
}

/// `0750 root:www-data /srv/x`.
pub(super) fn looks(path: &Path) -> String {
    let Ok(meta) = std::fs::metadata(path) else { return format!("{} can't be looked at", path.display()) };
    let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(meta.gid())).ok().flatten();
    let group = group.map_or_else(|| meta.gid().to_string(), |group| group.name);
    let owner = Identity::of_user(meta.uid(), meta.gid());
    let owner = owner.name.unwrap_or_else(|| meta.uid().to_string());
    format!("{:04o} {owner}:{group} {}", meta.mode() & 0o7777, path.display())
}

fn unreadable(name: &str, error: &std::io::Error) -> Finding {
    Finding::warning("users-unreadable", format!("{name} can't be looked up")).seen(error.to_string())
}

fn needs_right(port: u16) -> bool {
    let least = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(LOW_PORTS);
    port < least
}

fn unit_texts() -> Vec<String> {
    let mut texts = Vec::new();
    for dir in UNIT_DIRS {
        let dir = Path::new(dir);
        texts.extend(text(&dir.join("nolapse.service")));
        texts.extend(texts_in(&dir.join("nolapse.service.d"), ".conf"));
    }
    texts
}

fn settings_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']))
}

fn socket_unit_exists(name: &str) -> bool {
    let wanted = format!("FileDescriptorName={name}");
    UNIT_DIRS
        .iter()
        .flat_map(|dir| texts_in(Path::new(dir), ".socket"))
        .any(|text| settings_of(&text).any(|line| line == wanted))
}

fn texts_in(dir: &Path, ending: &str) -> Vec<String> {
    let names: BTreeSet<_> = Disk::real().list(dir).unwrap_or_default().into_iter().collect();
    names.iter().filter(|name| name.ends_with(ending)).filter_map(|name| text(&dir.join(name))).collect()
}

fn text(path: &Path) -> Option<String> {
    let content = Disk::real().read(path, UNIT_MAX).ok()?;
    String::from_utf8(content.bytes().to_vec()).ok()
}
