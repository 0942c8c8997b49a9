//! The core of it all under the restrictions of the shipped unit. No service manager is asked: what
//! the unit says is read from it and set up by util-linux and a seccomp filter, line by line. A line
//! that this test does not know fails it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{Stage, pebble};
use crate::support::agent::{Site, is_root};
use crate::support::nginx::Nginx;
use crate::support::pebble::Options;
use crate::support::{ports, seccomp};

/// `nobody`, in the place of the unit's user.
const UID: u32 = 65_534;

/// What can't be had without a service manager, and why.
const NOT_HERE: [(&str, &str); 6] = [
    ("DevicePolicy", "device rules of control groups; PrivateDevices leaves no other device to open"),
    ("RemoveIPC", "done by the manager when the service ends"),
    ("KeyringMode", "a keyring of its own comes from the manager"),
    ("ProtectClock", "takes capabilities and calls that are gone already"),
    ("ProtectKernelLogs", "takes a capability and a call that are gone already; /dev/kmsg is gone"),
    ("ProtectKernelModules", "takes a capability and calls that are gone already"),
];

/// What is about starting and stopping, and no restriction.
const NO_RESTRICTION: [&str; 20] = [
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "User",
    "Group",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "WatchdogSec",
    "KillMode",
    "StateDirectory",
    "StateDirectoryMode",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "ConfigurationDirectory",
    "ConfigurationDirectoryMode",
];

/// The `[Service]` section of the shipped unit.
pub struct Unit(BTreeMap<String, Vec<String>>);

impl Unit {
    pub fn shipped() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/nolapse.service");
        let text = std::fs::read_to_string(path).unwrap();
        let section = text.split("[Service]").nth(1).unwrap().split("\n[").next().unwrap();
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in section.lines().filter(|line| !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once('=') {
                lines.entry(key.to_owned()).or_default().push(value.to_owned());
            }
        }
        Self(lines)
    }

    /// The last line counts.
    pub fn says(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.last().map(String::as_str)
    }

    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    fn yes(&self, key: &str) -> bool {
        self.says(key) == Some("yes")
    }

    /// The shell words that bring this about around `"$@"`, and the keys that they stand for.
    fn script(&self, site: &Path, filter: Option<&Path>) -> (String, Vec<&'static str>) {
        let here = site.display();
        let mut text = "set -e\nmount --make-rprivate /\n".to_owned();
        let mut done = vec!["PrivateMounts"];
        let mut take = |key: &'static str, words: &str, wanted: bool| {
            if wanted {
                text.push_str(words);
                text.push('\n');
                done.push(key);
            }
        };
        // Everything of the site stays where it is, while /tmp around it becomes another one.
        take(
            "PrivateTmp",
            &format!(
                "mount --bind {here} /mnt\nmount -t tmpfs -o mode=1777 none /tmp\n\
                 mount -t tmpfs -o mode=1777 none /var/tmp\nmkdir -p {here}\nmount --bind /mnt {here}\numount /mnt"
            ),
            self.yes("PrivateTmp"),
        );
        take(
            "ProtectHome",
            "for home in /home /root /run/user; do\n test ! -d $home || mount -t tmpfs -o mode=000,ro none $home\ndone",
            self.yes("ProtectHome"),
        );
        take(
            "PrivateDevices",
            "mount -t tmpfs -o mode=755 none /mnt\n\
             for device in null zero full random urandom tty; do touch /mnt/$device; mount --bind /dev/$device /mnt/$device; done\n\
             mkdir /mnt/shm && mount -t tmpfs -o mode=1777 none /mnt/shm\nmount --rbind /mnt /dev\numount -R /mnt",
            self.yes("PrivateDevices"),
        );
        take(
            "ProtectProc",
            "mount -t proc -o hidepid=2 proc /proc",
            self.says("ProtectProc") == Some("invisible"),
        );
        // As the manager does it: all that is mounted becomes read-only, then the unit's own
        // directories are put back.
        take(
            "ProtectSystem",
            &format!(
                "cut -d' ' -f2 /proc/self/mounts | sort -u | while read -r point; do\n\
                 case $point in /dev*) ;; *) mount -o remount,bind,ro \"$point\" 2>/dev/null || true ;; esac\ndone\n\
                 for own in {here}/state {here}/run; do mount --bind $own $own; mount -o remount,bind,rw $own; done\n\
                 for own in /tmp /var/tmp; do mount -o remount,rw $own; done"
            ),
            self.says("ProtectSystem") == Some("strict"),
        );
        // Read-only with all else.
        take("ProtectControlGroups", ":", self.yes("ProtectControlGroups"));
        take("ProtectKernelTunables", ":", self.yes("ProtectKernelTunables"));
        // Name spaces of the unshare around this.
        take("PrivateIPC", ":", self.yes("PrivateIPC"));
        take("ProtectHostname", ":", self.yes("ProtectHostname"));
        if let Some(mask) = self.says("UMask") {
            take("UMask", &format!("umask {mask}"), true);
        }
        let mut prefix = "exec".to_owned();
        let mut limits = String::new();
        if let Some(most) = self.says("LimitCORE") {
            let _ = write!(limits, " --core={most}");
            done.push("LimitCORE");
        }
        if let Some(most) = self.says("TasksMax") {
            // Of the user, as control groups are the manager's.
            let _ = write!(limits, " --nproc={most}");
            done.push("TasksMax");
        }
        let _ = write!(prefix, " prlimit{limits} setpriv --reuid={UID} --regid={UID} --clear-groups");
        if self.says("CapabilityBoundingSet") == Some("") {
            prefix.push_str(" --bounding-set=-all --inh-caps=-all");
            done.push("CapabilityBoundingSet");
        }
        if self.says("AmbientCapabilities") == Some("") {
            prefix.push_str(" --ambient-caps=-all");
            done.push("AmbientCapabilities");
        }
        if self.yes("NoNewPrivileges") {
            prefix.push_str(" --no-new-privs");
            done.push("NoNewPrivileges");
        }
        if let Some(filter) = filter {
            let _ = write!(prefix, " python3 {} {}", here_loader(site).display(), filter.display());
            done.extend(seccomp::KEYS);
        }
        let _ = write!(text, "{prefix} \"$@\"");
        (text, done)
    }
}

fn here_loader(site: &Path) -> PathBuf {
    site.join("load-filter.py")
}

#[test]
fn f20_t16_under_the_shipped_units_restrictions_it_issues_installs_reloads_and_observes() {
    if !is_root() {
        println!("SKIPPED: a sandbox needs root to set it up");
        return;
    }
    let unit = Unit::shipped();
    let Some(pebble) = pebble(&Options::default()) else { return };
    let mut site = Site::new();
    for name in ["state", "run"] {
        std::fs::create_dir_all(site.path(name)).unwrap();
        std::os::unix::fs::chown(site.path(name), Some(UID), Some(UID)).unwrap();
    }
    let filter = seccomp::Filter::of(&unit);
    let filter = match filter {
        Ok(filter) => {
            std::fs::write(site.path("filter"), filter.program()).unwrap();
            site.put("load-filter.py", seccomp::LOADER);
            Some(site.path("filter"))
        }
        Err(why) => {
            println!("SKIPPED: the filter of system calls: {why}");
            None
        }
    };
    let root = site.path("").join(".").canonicalize().unwrap();
    let (script, done) = unit.script(&root, filter.as_deref());
    let unknown: Vec<_> = unit
        .0
        .keys()
        .filter(|key| {
            let known = done.contains(&key.as_str())
                || NO_RESTRICTION.contains(&key.as_str())
                || NOT_HERE.iter().any(|(known, _)| known == key);
            !known && (filter.is_some() || !seccomp::KEYS.contains(&key.as_str()))
        })
        .collect();
    assert!(unknown.is_empty(), "the unit has restrictions that this test does not bring about: {unknown:?}");

    // The web server is another service: outside, and of the same user only because it reads keys.
    site.wrapper =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned).to_vec();
    site.give(UID);
    let Some(nginx) = Nginx::start(&site, ports::free()) else { return };
    site.wrapper =
        ["unshare", "--mount", "--ipc", "--uts", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let worked = site.wrapped("true").output().unwrap();
    if !worked.status.success() {
        println!("SKIPPED: no sandbox can be set up here: {}", String::from_utf8_lossy(&worked.stderr));
        return;
    }
    let stage = Stage { nginx, pebble, site };
    // `nginx -t` writes, so in life it is asked for through systemd; the signal is enough here.
    let serve = |names: &[&str]| {
        let reload = stage.nginx.reload();
        let config = stage.bare().service("ng", &[], &crate::stage::words(&reload), &[stage.nginx.https]);
        let config = names.iter().fold(config, |config, name| config.certificate(name, "service = \"ng\""));
        stage.site.write(&config);
        stage.nginx.serve(&stage.site, names, "");
    };
    serve(&["sandbox.example"]);
    stage.site.expect(0, &["renew"]);
    assert!(stage.shows("sandbox.example"));
    stage.site.expect(0, &["renew", "--force"]);
    assert!(stage.shows("sandbox.example"));
    assert_eq!(stage.site.status("sandbox.example")["standing"], "observed");
    let daemon = stage.site.daemon();
    serve(&["sandbox.example", "second.example"]);
    daemon.signal("HUP");
    let there = || stage.site.generation("second.example") == 1;
    assert!(ports::wait_for(std::time::Duration::from_secs(40), there), "{}", daemon.log());
    assert!(stage.shows("second.example"));
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
    the_walls_hold(&stage, filter.is_some());
    for (key, why) in NOT_HERE.iter().filter(|(key, _)| unit.says(key).is_some()) {
        println!("not brought about here: {key}= ({why})");
    }
}

/// What the sandbox forbids does fail in it; else nothing was shown.
fn the_walls_hold(stage: &Stage, filtered: bool) {
    let inside = |script: &str| {
        let output = stage.site.wrapped("sh").args(["-c", script]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (_, rights) = inside("cat /proc/self/status");
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(rights.contains(line), "{line:?} is not in\n{rights}");
    }
    assert!(inside("touch \"$PWD\" 2>/dev/null; umask").1.contains("0077"));
    assert_eq!(inside("ulimit -c").1.trim(), "0");
    let state = stage.site.text("state");
    assert!(inside(&format!("touch {state}/probe && rm {state}/probe")).0, "the state can be written");
    for (what, script) in [
        ("writing beside the state", format!("touch {}/planted", stage.site.text("conf"))),
        ("writing to /etc", "touch /etc/planted-by-a-test".to_owned()),
        ("writing to /usr", "touch /usr/planted-by-a-test".to_owned()),
        ("looking into homes", "ls /root".to_owned()),
        ("seeing processes of others", "test -e /proc/1/status".to_owned()),
        ("devices", "test -e /dev/kmsg || test -e /dev/kvm || test -e /dev/vda".to_owned()),
        ("control groups", "mkdir /sys/fs/cgroup/planted".to_owned()),
        ("kernel settings", "echo x > /proc/sys/kernel/hostname".to_owned()),
    ] {
        assert!(!inside(&script).0, "{what} is possible in the sandbox");
    }
    let planted =
        Command::new("ls").args(["/etc/planted-by-a-test", "/usr/planted-by-a-test"]).output().unwrap();
    assert!(!planted.status.success(), "{planted:?}");
    if filtered {
        for (what, program) in [
            ("name spaces", "import os; os.unshare(0x10000000)"),
            ("packet sockets", "import socket; socket.socket(17, 3, 0)"),
            ("memory that is written and run", "import mmap; mmap.mmap(-1, 4096, prot=7)"),
            (
                "mounting",
                "import ctypes, sys; sys.exit(ctypes.CDLL(None).mount(b'none', b'/mnt', b'tmpfs', 0, 0) == -1)",
            ),
            (
                "a schedule of its own",
                "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
            ),
        ] {
            let output = stage.site.wrapped("python3").args(["-c", program]).output().unwrap();
            assert!(!output.status.success(), "{what} is possible in the sandbox");
        }
        let harmless = stage.site.wrapped("python3").args(["-c", "import socket; socket.socket()"]).output();
        assert!(harmless.unwrap().status.success(), "python3 itself does not work in there");
    }
}
