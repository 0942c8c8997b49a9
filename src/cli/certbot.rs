//! A certbot that renews the same names: two programs that pay for the same certificate and
//! reload the same server.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::finding::Finding;
use crate::codec::{pem, x509};
use crate::core::name::SubjectName;
use crate::core::spec::Wanted;
use crate::sys::disk::Disk;

/// Largest file of certbot's that is read, in bytes.
const FILE_MAX: usize = 256 << 10;
/// Most of its certificates that are looked at.
const LINEAGES_MAX: usize = 2_000;
/// What starts certbot by itself, below the root directory.
const TIMERS: [&str; 4] = [
    "etc/systemd/system/timers.target.wants/certbot.timer",
    "etc/systemd/system/timers.target.wants/certbot-renew.timer",
    "etc/systemd/system/timers.target.wants/snap.certbot.renew.timer",
    "etc/systemd/system/multi-user.target.wants/certbot-renew.timer",
];
const CRONS: [&str; 2] = ["etc/cron.d/certbot", "etc/cron.daily/certbot"];
/// Debian's cron file does nothing where this is there.
const SYSTEMD: &str = "run/systemd/system";

/// One certificate that certbot renews.
#[derive(Debug, PartialEq, Eq)]
struct Renewal {
    name: String,
    names: BTreeSet<SubjectName>,
}

/// Looks below `root`, which is `/` but in tests.
pub fn findings(disk: &Disk, root: &Path, wanted: &Wanted) -> Vec<Finding> {
    let renewals = renewals(disk, root);
    let starter = starter(disk, root);
    let mut found = Vec::new();
    for renewal in renewals {
        let ours =
            wanted.lineages.values().find(|spec| spec.names.iter().any(|name| renewal.names.contains(name)));
        let Some(ours) = ours else { continue };
        let Some(starter) = starter else {
            continue;
        };
        let words = format!("certbot also renews {}, which is in our certificate {}", renewal.name, ours.id);
        found.push(
            Finding::warning("certbot-alive", words)
                .seen(format!("/etc/letsencrypt/renewal/{}.conf and /{starter}", renewal.name))
                .fix(format!(
                    "when the server uses our files:  certbot delete --cert-name {}  (or switch its timer off)",
                    renewal.name
                )),
        );
    }
    found
}

fn starter(disk: &Disk, root: &Path) -> Option<&'static str> {
    let there = |path: &&str| disk.stat(&root.join(path)).is_ok();
    let timer = TIMERS.into_iter().find(|path| there(path));
    timer.or_else(|| if there(&SYSTEMD) { None } else { CRONS.into_iter().find(|path| there(path)) })
}

fn renewals(disk: &Disk, root: &Path) -> Vec<Renewal> {
    let dir = root.join("etc/letsencrypt/renewal");
    // Without the directory, or the right to look, there is nothing to tell.
    let files = disk.list(&dir).unwrap_or_default();
    let mut found = Vec::new();
    for file in files.iter().take(LINEAGES_MAX) {
        let Some(name) = file.strip_suffix(".conf") else { continue };
        let Ok(text) = disk.read(&dir.join(file), FILE_MAX) else { continue };
        let text = String::from_utf8_lossy(text.bytes()).into_owned();
        let mut names = in_webroot_map(&text);
        let live = root.join("etc/letsencrypt/live").join(name).join("cert.pem");
        let leaf = disk
            .read(&live, FILE_MAX)
            .ok()
            .and_then(|text| pem::certificates(text.bytes()).ok())
            .and_then(|chain| x509::leaf(chain.first()?).ok());
        names.extend(leaf.into_iter().flat_map(|leaf| leaf.names));
        if names.is_empty() {
            names.extend(SubjectName::parse(name).ok());
        }
        found.push(Renewal { name: crate::core::failure::plain(name, 200), names });
    }
    found
}

/// `example.com = /var/www` below `[[webroot_map]]`.
fn in_webroot_map(text: &str) -> BTreeSet<SubjectName> {
    let map = text.lines().map(str::trim).skip_while(|line| *line != "[[webroot_map]]").skip(1);
    map.take_while(|line| !line.starts_with('['))
        .filter_map(|line| SubjectName::parse(line.split_once('=')?.0.trim()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{self, Facts, Source};

    #[test]
    fn a_live_certbot_for_the_same_name_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let wanted = config::resolve(
            &[Source::new("a", "[certificate.\"a.example\"]\n[certificate.\"b.example\"]\n")],
            &Facts::default(),
        )
        .wanted;
        let codes = || findings(&Disk::real(), root, &wanted);
        write(
            "etc/letsencrypt/renewal/mine.conf",
            "cert = x\n[renewalparams]\n[[webroot_map]]\na.example = /w\n",
        );
        write("etc/letsencrypt/renewal/c.example.conf", "cert = x\n");
        assert!(codes().is_empty(), "nothing starts it");
        write("etc/cron.d/certbot", "");
        assert_eq!(codes().len(), 1);
        std::fs::create_dir_all(root.join(SYSTEMD)).unwrap();
        assert!(codes().is_empty(), "Debian's cron file stands back for systemd's timer");
        write(TIMERS[0], "");
        let found = codes();
        assert!(found[0].words.contains("mine") && found[0].evidence.contains("certbot.timer"), "{found:?}");
        write("etc/letsencrypt/renewal/b.example.conf", "");
        assert_eq!(codes().len(), 2, "its name alone says what it is for");
    }
}
