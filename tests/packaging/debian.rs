use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::desk::{Desk, knows, root, run, said, shipped, skipped, succeed, tool};

fn build(out: &Path) -> PathBuf {
    let output = run(Command::new(shipped("debian/build"))
        .args(["--binary", env!("CARGO_BIN_EXE_nolapse"), "--out"])
        .arg(out)
        .env("SOURCE_DATE_EPOCH", "1795292160")
        // What a debug binary saves by packing well is not worth a minute.
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "0"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// The package, built once for all tests.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian")))
}

#[test]
fn the_package_holds_what_it_should() {
    if tool("dpkg-deb").is_none() {
        return skipped("the_package_holds_what_it_should", "dpkg-deb is not installed");
    }
    let package = built();
    let list = succeed(Command::new("dpkg-deb").arg("-c").arg(package));
    let mut wanted = vec![
        "./usr/bin/nolapse",
        "./usr/lib/systemd/system/nolapse.service",
        "./usr/lib/systemd/system/nolapse-renew.timer",
        "./usr/lib/systemd/system/nolapse-reload@.path",
        "./usr/lib/sysusers.d/nolapse.conf",
        "./usr/lib/tmpfiles.d/nolapse.conf",
        "./usr/libexec/nolapse/ask-reload",
        "./usr/share/polkit-1/rules.d/50-nolapse.rules",
        "./etc/nginx/snippets/nolapse-http01.conf",
        "./usr/share/doc/nolapse/copyright",
        "./usr/share/doc/nolapse/changelog.gz",
    ];
    if knows("generate") {
        wanted.extend([
            "./usr/share/man/man1/nolapse.1.gz",
            "./usr/share/bash-completion/completions/nolapse",
            "./usr/share/zsh/vendor-completions/_nolapse",
            "./usr/share/fish/vendor_completions.d/nolapse.fish",
        ]);
    } else {
        skipped("the_package_holds_what_it_should", "no man pages to look for: there is no verb `generate`");
    }
    for path in wanted {
        assert!(list.lines().any(|line| line.ends_with(&format!(" {path}"))), "{path} is missing in\n{list}");
    }
    assert!(!list.contains("/etc/nolapse/nolapse.toml"), "the configuration is the administrator's");
    let version = succeed(Command::new("dpkg-deb").arg("-f").arg(package).arg("Version"));
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
    let desk = Desk::new("deb");
    let again = build(&desk.path("again"));
    assert!(std::fs::read(package).unwrap() == std::fs::read(again).unwrap(), "same input, other package");
}

#[test]
fn lintian_finds_no_error() {
    if tool("lintian").is_none() || tool("dpkg-deb").is_none() {
        return skipped("lintian_finds_no_error", "lintian or dpkg-deb is not installed");
    }
    let words = succeed(Command::new("lintian").arg("--fail-on=error").arg(built()).arg("--allow-root"));
    said(&format!("lintian: {}", if words.is_empty() { "nothing to say" } else { words.trim_end() }));
}

/// Installs into a directory with dpkg itself; maintainer scripts run on the host and respect
/// `DPKG_ROOT`.
#[test]
fn certificates_survive_removal_and_not_a_purge() {
    const NAME: &str = "certificates_survive_removal_and_not_a_purge";
    let tools = ["dpkg", "dpkg-deb", "deb-systemd-helper", "systemd-sysusers", "systemd-tmpfiles"];
    if let Some(missing) = tools.iter().find(|name| tool(name).is_none()) {
        return skipped(NAME, &format!("{missing} is not installed"));
    }
    if !root() {
        return skipped(NAME, "needs root, as dpkg does");
    }
    let desk = Desk::new("dpkg");
    let package = built();
    desk.write("root/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    desk.write("root/etc/group", "root:x:0:\n");
    for dir in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "usr/bin", "run"] {
        std::fs::create_dir_all(desk.path("root").join(dir)).unwrap();
    }
    desk.write("root/var/lib/dpkg/status", "");
    desk.write("root/var/lib/dpkg/available", "");
    let dpkg = |arguments: &[&str]| {
        let root = format!("--root={}", desk.path("root").display());
        succeed(
            Command::new("dpkg")
                .args([&root, "--force-script-chrootless", "--force-depends", "--log=/dev/null"])
                .args(arguments),
        )
    };
    dpkg(&["--install", package.to_str().unwrap()]);
    assert!(std::fs::read_to_string(desk.path("root/etc/passwd")).unwrap().contains("\nnolapse:x:"));
    let wants = desk.path("root/etc/systemd/system/multi-user.target.wants/nolapse.service");
    assert!(wants.symlink_metadata().is_ok(), "the service is enabled");
    let key = desk.write("root/var/lib/nolapse/live/shop.example.com/privkey.pem", "kept\n");
    let config = desk.write("root/etc/nolapse/nolapse.toml", "# the administrator's\n");
    // Again, as an upgrade would: nothing is reset.
    dpkg(&["--install", package.to_str().unwrap()]);
    assert!(key.exists());

    dpkg(&["--remove", "nolapse"]);
    assert!(!desk.path("root/usr/bin/nolapse").exists());
    assert!(key.exists(), "servers go on using certificates after a removal");
    dpkg(&["--purge", "nolapse"]);
    assert!(!desk.path("root/var/lib/nolapse").exists());
    assert!(config.exists(), "what an administrator wrote is not ours to remove");
    assert!(wants.symlink_metadata().is_err());
}
