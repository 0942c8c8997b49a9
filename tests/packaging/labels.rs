//! What security modules let a web server read.

use std::process::Command;

use crate::desk::{Desk, shipped, skipped, succeed, text, tool};

#[test]
fn apparmor_takes_the_abstraction() {
    let Some(parser) = tool("apparmor_parser") else {
        return skipped("apparmor_takes_the_abstraction", "apparmor_parser is not installed");
    };
    let desk = Desk::new("apparmor");
    let profile = desk.write(
        "profile",
        "include <tunables/global>\nprofile nolapse-test /usr/sbin/nginx {\n  include <abstractions/base>\n  \
         include <abstractions/nolapse-live>\n}\n",
    );
    let parse = |arguments: &[&str]| {
        succeed(Command::new(&parser).args(arguments).arg("-I").arg(shipped("apparmor")).arg(&profile))
    };
    // Compiled, not loaded.
    parse(&["--skip-kernel-load", "--skip-cache"]);
    let read = parse(&["--preprocess"]);
    assert!(read.contains("/var/lib/nolapse/live/** r,"), "{read}");
}

#[test]
fn selinux_takes_the_module() {
    let (Some(check), Some(package)) = (tool("checkmodule"), tool("semodule_package")) else {
        return skipped("selinux_takes_the_module", "checkmodule or semodule_package is not installed");
    };
    let desk = Desk::new("selinux");
    let module = desk.path("nolapse.mod");
    succeed(Command::new(check).args(["-M", "-m", "-o"]).arg(&module).arg(shipped("selinux/nolapse.te")));
    succeed(
        Command::new(package)
            .arg("-o")
            .arg(desk.path("nolapse.pp"))
            .arg("-m")
            .arg(&module)
            .arg("-f")
            .arg(shipped("selinux/nolapse.fc")),
    );
    assert!(desk.path("nolapse.pp").metadata().unwrap().len() > 0);
}

#[test]
fn t01_only_live_is_for_servers() {
    for line in text("selinux/nolapse.fc").lines() {
        let (path, label) = line.split_once('\t').unwrap();
        assert_eq!(label.contains(":cert_t:"), path.starts_with("/var/lib/nolapse/live"), "{line}");
    }
    let rules = text("apparmor/abstractions/nolapse-live");
    for rule in rules.lines().map(str::trim).filter(|line| line.starts_with('/')) {
        assert!(rule.starts_with("/var/lib/nolapse/live/") && rule.ends_with(" r,"), "{rule}");
    }
}
