use std::path::Path;
use std::process::Command;

use crate::desk::{Desk, root, run, shipped, skipped, succeed, text, tool};

/// Builds a second time with everything linked in, in the quick profile; the first time takes
/// some minutes.
fn rootfs(desk: &Desk) -> std::path::PathBuf {
    let dir = desk.path("rootfs");
    succeed(Command::new(shipped("container/build-rootfs")).arg(&dir).env("PROFILE", "dev"));
    dir
}

#[test]
fn the_image_needs_nothing_but_itself() {
    const NAME: &str = "the_image_needs_nothing_but_itself";
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) {
        return skipped(NAME, "the image is built for Linux with glibc");
    }
    let desk = Desk::new("container");
    let dir = rootfs(&desk);
    let binary = std::fs::read(dir.join("usr/bin/nolapse")).unwrap();
    assert!(is_static(&binary), "the binary asks for a loader, which the image does not have");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "[issuer.dead]\ndirectory = \"https://127.0.0.1:1/directory\"\n\
         [solver.high]\nlisten = \"127.0.0.1:{port}\"\n\
         [certificate.\"a.example\"]\nissuer = \"dead\"\nsolver = \"high\"\n"
    );
    desk.write("rootfs/etc/nolapse/nolapse.toml", &config);
    // Some uid that the image has never heard of, as Kubernetes gives; in a user namespace of
    // our own there is only one.
    let enter: &[&str] = if root() {
        &["chroot", "--userspec=12345:54321"]
    } else if tool("unshare").is_some() && run(Command::new("unshare").args(["-r", "true"])).status.success()
    {
        &["unshare", "-r", "chroot"]
    } else {
        return skipped(NAME, "neither root nor a user namespace to change the root directory with");
    };
    let inside = |arguments: &[&str]| {
        let mut command = Command::new(enter[0]);
        succeed(command.args(&enter[1..]).arg(&dir).arg("/usr/bin/nolapse").args(arguments))
    };
    assert_eq!(inside(&["--version"]).trim(), concat!("nolapse ", env!("CARGO_PKG_VERSION")));
    // As far as the CA's closed door: keys, certificates, state, and a trust store without files.
    let words = inside(&["once", "--placeholder", "--deadline", "20s"]);
    assert!(words.contains("[ca-down]"), "{words}");
    assert!(dir.join("var/lib/nolapse/live/a.example/fullchain.pem").exists());
    any_user_can_write(&dir);
}

fn any_user_can_write(dir: &Path) {
    use std::os::unix::fs::MetadataExt;
    for name in ["var/lib/nolapse", "run/nolapse", "tmp"] {
        assert_eq!(dir.join(name).metadata().unwrap().mode() & 0o7777, 0o1777, "{name}");
    }
}

/// Whether an ELF file names no program interpreter (`PT_INTERP`, 3).
fn is_static(elf: &[u8]) -> bool {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "64 bit, little endian");
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let start = usize::try_from(u64::from_le_bytes(elf[32..40].try_into().unwrap())).unwrap();
    let (size, count) = (half(54), half(56));
    (0..count).all(|number| elf[start + number * size..][..4] != 3u32.to_le_bytes())
}

#[test]
fn a_dynamic_binary_would_be_noticed() {
    let shell = std::fs::read("/bin/sh").unwrap();
    assert!(!is_static(&shell), "this host's shell is dynamic, or the reader of ELF files is wrong");
}

#[test]
fn the_containerfile_copies_that_root_and_no_more() {
    let file = text("container/Containerfile");
    let last = file.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("scratch\n"), "{last}");
    assert_eq!(last.matches("COPY").count(), 1, "{last}");
    assert!(last.contains("COPY --from=build /rootfs/ /\n"));
    assert!(file.contains("RUN packaging/container/build-rootfs /rootfs\n"));
    assert!(last.contains("\nUSER 65532:65532\n"), "never root");
    assert!(last.contains("\nENTRYPOINT [\"/usr/bin/nolapse\"]\n"));
}
