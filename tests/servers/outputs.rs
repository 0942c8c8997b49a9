//! Files in the forms that other programs want, opened by those programs: OpenSSL, Java's keytool,
//! certbot. And what happens to them: renewal, damage, another password, a tree that certbot left.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::stage::pebble;
use crate::support::agent::{Site, is_root};
use crate::support::config::Config;
use crate::support::nginx::installed;
use crate::support::pebble::{Options, Pebble};
use crate::support::served;

const NAME: &str = "o.example";
const PASSWORD: &str = "correct horse";

/// A CA and the program, no server: what is looked at here are files.
struct Desk {
    pebble: Pebble,
    site: Site,
}

impl Desk {
    fn new() -> Option<Self> {
        let pebble = pebble(&Options::default())?;
        let mut site = Site::new();
        site.secrets.push(PASSWORD.to_owned());
        fs::create_dir(site.path("out")).unwrap();
        site.put("password", &format!("{PASSWORD}\n"));
        Some(Self { pebble, site })
    }

    fn wants(&self, lines: &str) -> Config {
        let config = self.site.config().pebble(&self.pebble, &self.site.root());
        config.listener(self.pebble.http_port()).certificate(NAME, lines)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.site.path("out").join(name)
    }

    fn live(&self, name: &str) -> Vec<u8> {
        fs::read(self.site.live(NAME, name)).unwrap()
    }

    fn openssl(&self, args: &[&str]) -> Output {
        Command::new("openssl").args(args).current_dir(self.site.path("out")).output().unwrap()
    }

    /// Standard output of OpenSSL, which must succeed.
    fn opened(&self, args: &[&str]) -> String {
        let output = self.openssl(args);
        assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// All files of all forms are of the generation under `live/`.
    fn all_fit(&self) {
        let (chain, key) = (self.live("fullchain.pem"), self.live("privkey.pem"));
        assert_eq!(fs::read(self.out("key-first.pem")).unwrap(), [key.clone(), chain.clone()].concat());
        assert_eq!(fs::read(self.out("both.pem")).unwrap(), [chain.clone(), key.clone()].concat());
        assert_eq!(fs::read(self.out("cert.der")).unwrap(), served::leaf_in(&chain));
        let (live_key, live_cert) = (self.site.live(NAME, "privkey.pem"), self.site.live(NAME, "cert.pem"));
        let (live_key, live_cert) = (live_key.to_str().unwrap(), live_cert.to_str().unwrap());
        let cert = self.opened(&["x509", "-inform", "DER", "-in", "cert.der"]);
        assert_eq!(cert, self.opened(&["x509", "-in", live_cert]));
        let public = self.opened(&["pkey", "-in", live_key, "-pubout"]);
        assert_eq!(self.opened(&["pkey", "-inform", "DER", "-in", "key.der", "-pubout"]), public);
        let pkcs12 = |more: &[&str]| {
            let args = ["pkcs12", "-in", "keys.p12", "-passin", "file:../password", "-nodes"];
            self.opened(&[&args[..], more].concat())
        };
        let all = pkcs12(&[]);
        assert_eq!(all.matches("BEGIN CERTIFICATE").count(), count(&chain, "BEGIN CERTIFICATE"));
        assert!(all.contains(&format!("friendlyName: {NAME}")), "{all}");
        let leaf = pkcs12(&["-clcerts", "-nokeys"]);
        assert_eq!(served::leaf_in(leaf.as_bytes()), served::leaf_in(&chain));
        fs::write(self.out("from.p12"), pkcs12(&["-nocerts"])).unwrap();
        assert_eq!(self.opened(&["pkey", "-in", "from.p12", "-pubout"]), public);
        fs::remove_file(self.out("from.p12")).unwrap();
    }
}

/// Every single-file form, some with rights of their own.
fn every_form(site: &Site) -> String {
    let mut lines = "combined = 'OUT/both.pem'\nkey-mode = '0600'\noutputs = [\n".to_owned();
    let other = if is_root() { "owner = 'nobody', group = 'nogroup', " } else { "" };
    for (part, file, more) in [
        ("combined-key-first", "key-first.pem", "mode = '0640'"),
        ("cert-der", "cert.der", "mode = '0664'"),
        ("privkey-der", "key.der", ""),
        ("pkcs12", "keys.p12", "password-file = 'PASSWORD', mode = '0440'"),
    ] {
        let owned = if part == "pkcs12" { other } else { "" };
        let _ = writeln!(lines, "  {{ part = '{part}', path = 'OUT/{file}', {owned}{more} }},");
    }
    lines.push_str("]\n");
    lines.replace("OUT", &site.text("out")).replace("PASSWORD", &site.text("password")).replace(",  }", " }")
}

fn count(text: &[u8], word: &str) -> usize {
    String::from_utf8_lossy(text).matches(word).count()
}

#[test]
fn every_form_opens_in_the_tools_it_is_for_and_follows_each_generation() {
    for key in ["ecdsa-p256", "rsa-2048"] {
        let Some(desk) = Desk::new() else { return };
        desk.site.write(&desk.wants(&format!("key = '{key}'\n{}", every_form(&desk.site))));
        desk.site.expect(0, &["renew"]);
        desk.all_fit();
        java_opens(&desk);
        for (file, mode) in [
            ("both.pem", 0o600),
            ("key-first.pem", 0o640),
            ("cert.der", 0o664),
            ("key.der", 0o600),
            ("keys.p12", 0o440),
        ] {
            assert_eq!(fs::metadata(desk.out(file)).unwrap().mode() & 0o7777, mode, "{file}");
        }
        if is_root() {
            let owned = fs::metadata(desk.out("keys.p12")).unwrap();
            assert_eq!((owned.uid(), owned.gid()), (65_534, 65_534));
            assert_eq!(fs::metadata(desk.out("key.der")).unwrap().uid(), 0);
        }
        let before = fs::read(desk.out("keys.p12")).unwrap();
        desk.site.expect(0, &["renew", "--force"]);
        assert_ne!(fs::read(desk.out("keys.p12")).unwrap(), before);
        desk.all_fit();
        java_opens(&desk);
    }
}

fn java_opens(desk: &Desk) {
    if !installed("keytool") {
        println!("SKIPPED: keytool is not installed (Debian: apt install default-jre-headless)");
        return;
    }
    let java = Command::new("keytool")
        .args(["-J-XX:TieredStopAtLevel=1", "-J-Xshare:auto", "-list", "-v", "-storetype", "PKCS12"])
        .arg("-storepass:file")
        .arg(desk.site.path("password"))
        .arg("-keystore")
        .arg(desk.out("keys.p12"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&java.stdout).into_owned();
    assert!(java.status.success(), "{said}{}", String::from_utf8_lossy(&java.stderr));
    assert!(said.contains(&format!("Alias name: {NAME}")), "{said}");
    assert!(said.contains("Entry type: PrivateKeyEntry"), "{said}");
    let chain = count(&desk.live("fullchain.pem"), "BEGIN CERTIFICATE");
    assert!(said.contains(&format!("Certificate chain length: {chain}")), "{said}");
}

#[test]
fn an_output_that_somebody_changed_is_put_right_and_untouched_ones_are_left_alone() {
    let Some(desk) = Desk::new() else { return };
    desk.site.write(&desk.wants(&every_form(&desk.site)));
    desk.site.expect(0, &["renew"]);
    let inode = |file: &str| fs::metadata(desk.out(file)).unwrap().ino();
    let all = ["both.pem", "key-first.pem", "cert.der", "key.der", "keys.p12"];
    let inodes = || all.map(inode);
    let before = inodes();
    desk.site.expect(0, &["renew"]);
    assert_eq!(inodes(), before, "nothing is written where nothing differs");

    for (file, what, harm) in [
        ("keys.p12", "one byte is another", harm_byte as fn(&Path)),
        ("keys.p12", "cut short", harm_length),
        ("key.der", "a byte at its end", harm_end),
        ("cert.der", "gone", |path: &Path| fs::remove_file(path).unwrap()),
        ("key-first.pem", "emptied", |path: &Path| fs::write(path, "").unwrap()),
        ("key-first.pem", "a byte at its end", harm_end),
    ] {
        harm(&desk.out(file));
        desk.site.expect(0, &["renew"]);
        desk.all_fit();
        assert_eq!(inode("both.pem"), before[0], "{file} {what}: the others stay");
    }

    // Another password makes another file; one that nobody can use makes none and says so.
    desk.site.put("password", "another password\n");
    desk.site.expect(0, &["renew"]);
    desk.all_fit();
    let there = fs::read(desk.out("keys.p12")).unwrap();
    for (text, code) in [("päss-wörter", "password-unfit"), ("", "secret-missing")] {
        desk.site.put("password", text);
        let ran = desk.site.run(&["renew"]);
        assert_ne!(ran.code, Some(0), "{ran:?}");
        assert!(format!("{}{}", ran.out, ran.err).contains(code), "{code}: {ran:?}");
        assert_eq!(fs::read(desk.out("keys.p12")).unwrap(), there, "the old one stays whole");
    }
    desk.site.put("password", "another password\n");
    desk.site.expect(0, &["deploy"]);
    desk.all_fit();
    assert_eq!(desk.pebble.count("POST", "/order-plz"), 1, "no order was needed for any of it");
}

#[test]
fn what_two_generations_share_does_not_keep_a_rollback_busy() {
    let Some(desk) = Desk::new() else { return };
    // The chain is the CA's, and the key is kept: both files fit either generation.
    let shared = "reuse-key = true\noutputs = [\n  { part = 'chain', path = 'OUT/chain.pem' },\n  \
                  { part = 'privkey-der', path = 'OUT/key.der' },\n  { part = 'cert-der', path = 'OUT/cert.der' },\n]\n";
    desk.site.write(&desk.wants(&shared.replace("OUT", &desk.site.text("out"))));
    desk.site.expect(0, &["renew"]);
    let first = fs::read(desk.out("cert.der")).unwrap();
    desk.site.expect(0, &["renew", "--force"]);
    assert_ne!(fs::read(desk.out("cert.der")).unwrap(), first);
    desk.site.expect(0, &["rollback", NAME]);
    assert_eq!(fs::read(desk.out("cert.der")).unwrap(), first);
    let inodes =
        || ["chain.pem", "key.der", "cert.der"].map(|file| fs::metadata(desk.out(file)).unwrap().ino());
    let before = inodes();
    desk.site.expect(0, &["renew"]);
    assert_eq!(inodes(), before, "nothing is written where nothing differs");
}

fn harm_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn harm_length(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn harm_end(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.push(b'\n');
    fs::write(path, bytes).unwrap();
}

/// What certbot itself says of a lineage in this tree, by the code that `certbot certificates` and
/// its renewals use: consistent or not, the version shown and all that there are.
fn certbot_reads(root: &str) -> Option<String> {
    const READER: &str = r#"
import sys
from unittest import mock
from certbot._internal import storage
root, name = sys.argv[1:3]
config = mock.MagicMock(config_dir=root, renewal_configs_dir=root + "/renewal",
    live_dir=root + "/live", default_archive_dir=root + "/archive", archive_dir=root + "/archive")
certificate = storage.RenewableCert(root + "/renewal/" + name + ".conf", config)
print(certificate._consistent(), certificate.names(), certificate.latest_common_version(),
    sorted(certificate.available_versions("privkey")),
    [certificate.current_version(kind) for kind in storage.ALL_FOUR], certificate.next_free_version())
"#;
    let mut conf = format!("version = 2.1.0\narchive_dir = {root}/archive/{NAME}\n");
    for kind in ["cert", "privkey", "chain", "fullchain"] {
        let _ = writeln!(conf, "{kind} = {root}/live/{NAME}/{kind}.pem");
    }
    conf.push_str("[renewalparams]\naccount = none\nserver = https://localhost/\n");
    let _ = fs::create_dir(format!("{root}/renewal"));
    fs::write(format!("{root}/renewal/{NAME}.conf"), conf).unwrap();
    let read = Command::new("/usr/bin/python3").args(["-c", READER, root, NAME]).output().unwrap();
    let said = String::from_utf8_lossy(&read.stderr).into_owned();
    if said.contains("No module named 'certbot'") {
        println!("SKIPPED: certbot is not installed (Debian: apt install certbot)");
        return None;
    }
    assert!(read.status.success(), "{said}");
    Some(String::from_utf8(read.stdout).unwrap().trim().to_owned())
}

#[test]
fn a_tree_is_what_certbot_itself_expects_and_one_rename_moves_all_four_links() {
    let Some(desk) = Desk::new() else { return };
    let root = desk.site.text("out/letsencrypt");
    desk.site.write(&desk.wants(&format!("certbot-tree = {root:?}\n")));
    desk.site.expect(0, &["renew"]);
    desk.site.expect(0, &["renew", "--force"]);
    let live = PathBuf::from(&root).join("live").join(NAME);
    for part in ["cert", "privkey", "chain", "fullchain"] {
        let link = live.join(format!("{part}.pem"));
        let target = fs::read_link(&link).unwrap();
        assert_eq!(target, Path::new(&format!("../../archive/{NAME}/{part}2.pem")));
        assert_eq!(fs::read(&link).unwrap(), desk.live(&format!("{part}.pem")));
        assert!(PathBuf::from(&root).join(format!("archive/{NAME}/{part}1.pem")).is_file());
    }
    assert!(live.join("README").is_file() && PathBuf::from(&root).join("live/README").is_file());
    if let Some(said) = certbot_reads(&root) {
        assert_eq!(said, format!("True ['{NAME}'] 2 [1, 2] [2, 2, 2, 2] 3"));
    }

    // Each kind of harm is seen and put right, without an order and without a new version.
    let file = |part: &str| PathBuf::from(&root).join(format!("archive/{NAME}/{part}2.pem"));
    for (what, harm) in [
        ("an edited file", Box::new(|| fs::write(file("cert"), "x").unwrap()) as Box<dyn Fn()>),
        ("a file that is gone", Box::new(|| fs::remove_file(file("chain")).unwrap())),
        ("a link that is gone", Box::new(|| fs::remove_file(live.join("privkey.pem")).unwrap())),
        (
            "a link to an older version",
            Box::new(|| {
                fs::remove_file(live.join("cert.pem")).unwrap();
                symlink(format!("../../archive/{NAME}/cert1.pem"), live.join("cert.pem")).unwrap();
            }),
        ),
    ] {
        harm();
        desk.site.expect(0, &["renew"]);
        for part in ["cert", "privkey", "chain", "fullchain"] {
            assert_eq!(
                fs::read(live.join(format!("{part}.pem"))).unwrap(),
                desk.live(&format!("{part}.pem")),
                "{what}: {part}"
            );
        }
    }
    assert_eq!(desk.pebble.count("POST", "/order-plz"), 2);
}

#[test]
fn a_tree_that_certbot_left_is_kept_and_numbered_on() {
    let Some(desk) = Desk::new() else { return };
    let root = desk.site.path("out/letsencrypt");
    let (live, archive) = (root.join("live").join(NAME), root.join("archive").join(NAME));
    fs::create_dir_all(&live).unwrap();
    fs::create_dir_all(&archive).unwrap();
    for part in ["cert", "privkey", "chain", "fullchain"] {
        fs::write(archive.join(format!("{part}7.pem")), format!("certbot's {part}\n")).unwrap();
        symlink(format!("../../archive/{NAME}/{part}7.pem"), live.join(format!("{part}.pem"))).unwrap();
    }
    desk.site.write(&desk.wants(&format!("certbot-tree = {:?}\n", root.to_str().unwrap())));
    desk.site.expect(0, &["renew"]);
    assert_eq!(
        fs::read_link(live.join("cert.pem")).unwrap(),
        Path::new(&format!("../../archive/{NAME}/cert8.pem"))
    );
    assert_eq!(fs::read(live.join("fullchain.pem")).unwrap(), desk.live("fullchain.pem"));
    assert_eq!(fs::read_to_string(archive.join("privkey7.pem")).unwrap(), "certbot's privkey\n");
    let aside = root.join("live").join(format!("{NAME}.before-nolapse"));
    assert!(aside.join("cert.pem").is_symlink());
    if let Some(said) = certbot_reads(root.to_str().unwrap()) {
        assert_eq!(said, format!("True ['{NAME}'] 8 [7, 8] [8, 8, 8, 8] 9"));
    }
}
