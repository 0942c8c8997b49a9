use std::path::PathBuf;
use std::process::Command;

use crate::desk::{Desk, root, run, said, shipped, skipped, succeed, text, tool};

const UNITS: [&str; 8] = [
    "nolapse.service",
    "nolapse.socket",
    "nolapse-tls.socket",
    "nolapse-renew.service",
    "nolapse-renew.timer",
    "nolapse-check@.service",
    "nolapse-reload@.service",
    "nolapse-reload@.path",
];

/// The worst exposure that `systemd-analyze security` may find, times ten.
const EXPOSURE_MAX: u32 = 15;

/// The units with programs that exist here: `verify` looks for them.
fn copied(desk: &Desk) {
    for unit in UNITS {
        let unit_text = text(&format!("systemd/{unit}"));
        let mut out = Vec::new();
        for line in unit_text.lines() {
            // `ExecStart=/usr/bin/nolapse run`: the program is another, its arguments stay.
            out.push(match line.strip_prefix("ExecStart=/usr/") {
                Some(command) => {
                    let arguments = command.split_once(' ').map_or("", |(_, arguments)| arguments);
                    format!("ExecStart=/bin/true {arguments}")
                }
                None => line.to_owned(),
            });
        }
        desk.write(unit, &out.join("\n"));
    }
}

fn verified(desk: &Desk, units: &[&str]) -> String {
    let paths: Vec<PathBuf> = units.iter().map(|unit| desk.path(unit)).collect();
    // An unknown key is only a warning with exit 0: nothing may be said at all. Manual pages are
    // looked for on this host, which has none of ours.
    succeed(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(paths))
}

#[test]
fn units_verify_with_nothing_said() {
    if tool("systemd-analyze").is_none() {
        return skipped("units_verify_with_nothing_said", "systemd-analyze is not installed");
    }
    let desk = Desk::new("units");
    copied(&desk);
    let instances =
        ["nolapse-check@nginx.service", "nolapse-reload@nginx.service", "nolapse-reload@nginx.path"];
    assert_eq!(verified(&desk, &UNITS[..5]), "");
    assert_eq!(verified(&desk, &instances), "");

    desk.write("typo.service", "[Service]\nExecStart=/bin/true\nNoNewPriviledges=yes\n");
    assert_ne!(verified(&desk, &["typo.service"]), "", "a typo must be told, or this test proves nothing");
}

#[test]
fn drop_ins_verify_with_nothing_said() {
    if tool("systemd-analyze").is_none() {
        return skipped("drop_ins_verify_with_nothing_said", "systemd-analyze is not installed");
    }
    let desk = Desk::new("drop-ins");
    copied(&desk);
    for name in ["bind80.conf", "write-paths.conf"] {
        desk.write(&format!("nolapse.service.d/{name}"), &text(&format!("systemd/drop-in/{name}")));
    }
    assert_eq!(verified(&desk, &["nolapse.service"]), "");
}

#[test]
fn t16_exposure_is_low_and_printed() {
    if tool("systemd-analyze").is_none() {
        return skipped("t16_exposure_is_low_and_printed", "systemd-analyze is not installed");
    }
    let desk = Desk::new("exposure");
    copied(&desk);
    for unit in ["nolapse.service", "nolapse-renew.service"] {
        let words = succeed(
            Command::new("systemd-analyze")
                .args(["security", "--offline=yes", "--no-pager", &format!("--threshold={EXPOSURE_MAX}")])
                .arg(desk.path(unit)),
        );
        let score = words.lines().find(|line| line.contains("Overall exposure level")).unwrap();
        said(score.trim_start_matches("→ "));
    }
}

#[test]
fn the_timer_variant_has_the_same_sandbox() {
    let sandbox = |unit: &str| {
        let text = text(&format!("systemd/{unit}"));
        let from = text.find("StateDirectory=").unwrap();
        let rest = &text[from..];
        rest[..rest.find("[Install]").unwrap_or(rest.len())].trim_end().to_owned()
    };
    assert_eq!(sandbox("nolapse.service"), sandbox("nolapse-renew.service"));
}

#[test]
fn the_user_and_its_directories_are_made() {
    if tool("systemd-sysusers").is_none() || tool("systemd-tmpfiles").is_none() || !root() {
        return skipped(
            "the_user_and_its_directories_are_made",
            "needs systemd-sysusers, systemd-tmpfiles and root",
        );
    }
    let desk = Desk::new("host");
    desk.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    desk.write("etc/group", "root:x:0:\n");
    let root_option = format!("--root={}", desk.path("").display());
    succeed(Command::new("systemd-sysusers").arg(&root_option).arg(shipped("sysusers.d/nolapse.conf")));
    let passwd = std::fs::read_to_string(desk.path("etc/passwd")).unwrap();
    let entry = passwd.lines().find(|line| line.starts_with("nolapse:")).unwrap();
    assert!(entry.ends_with(":/var/lib/nolapse:/usr/sbin/nologin"), "{entry}");

    let output = run(Command::new("systemd-tmpfiles")
        .args([&root_option, "--create"])
        .arg(shipped("tmpfiles.d/nolapse.conf")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = [
        ("var/lib/nolapse", 0o711, true),
        ("var/lib/nolapse/live", 0o755, true),
        ("run/nolapse", 0o755, true),
        ("run/nolapse-reload", 0o755, false),
        ("run/nolapse-reload/ask", 0o770, false),
        ("run/nolapse-reload/done", 0o755, false),
        ("etc/nolapse/conf.d", 0o755, false),
    ];
    for (dir, mode, ours) in table {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(desk.path(dir)).unwrap();
        assert_eq!(found.mode() & 0o7777, mode, "{dir}");
        assert_eq!(found.uid() != 0, ours, "{dir} belongs to {}", found.uid());
    }
}
