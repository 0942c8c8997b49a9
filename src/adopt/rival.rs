//! Another tool that renews by itself what we renew: two programs that pay for the same
//! certificate and reload the same server. Keys are not read for that.

use std::collections::BTreeSet;
use std::path::Path;

use super::reader::{FILE_MAX, Reader, ends_with};
use super::{find, usual};
use crate::core::foundling::Tool;
use crate::core::name::SubjectName;
use crate::sys::disk::Disk;

/// One certificate that another tool renews by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    pub tool: Tool,
    /// What the tool calls it.
    pub name: String,
    pub names: BTreeSet<SubjectName>,
    /// What starts the tool: a path below the root.
    pub starter: String,
    /// The file that says the tool keeps it.
    pub evidence: String,
    /// How a person stops the tool from renewing it.
    pub stop: String,
}

/// Where units stand that systemd starts by itself.
const WANTS: [&str; 2] =
    ["etc/systemd/system/timers.target.wants", "etc/systemd/system/multi-user.target.wants"];
/// Where cron looks, by a file's name or by its text.
const CRON: [&str; 6] = [
    "etc/cron.d",
    "etc/cron.hourly",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/cron.monthly",
    "var/spool/cron/crontabs",
];
/// Debian's cron file of certbot does nothing where this is there.
const SYSTEMD: &str = "run/systemd/system";

/// Looks below `root`, which is `/` but in tests. Without the right to look there is nothing to
/// tell.
pub fn rivals(disk: &Disk, root: &Path) -> Vec<Rival> {
    let reader = Reader { disk, secrets: false };
    let mut found = Vec::new();
    for tool in Tool::ALL.into_iter().filter(|tool| tool.speaks_acme()) {
        let dirs: Vec<_> = usual(tool, root).into_iter().filter(|dir| reader.there(dir)).collect();
        if dirs.is_empty() {
            continue;
        }
        let Some(starter) = starter(&reader, root, tool) else { continue };
        for find in dirs.iter().flat_map(|dir| find(&reader, tool, dir)) {
            let foundling = find.foundling;
            found.push(Rival {
                tool,
                name: foundling.name,
                names: foundling.names.into_iter().collect(),
                starter: starter.clone(),
                evidence: foundling.read.first().map(|path| path.display().to_string()).unwrap_or_default(),
                stop: foundling.stop,
            });
        }
    }
    found
}

fn starter(reader: &Reader<'_>, root: &Path, tool: Tool) -> Option<String> {
    let word = tool.word();
    let unit = |name: &&String| {
        let timed = ends_with(name, "timer") || tool == Tool::Caddy;
        timed && name.contains(word)
    };
    let in_units = WANTS.iter().find_map(|dir| {
        let names = reader.names(&root.join(dir));
        names.iter().find(unit).map(|name| format!("{dir}/{name}"))
    });
    in_units.or_else(|| {
        CRON.iter().find_map(|dir| {
            let names = reader.names(&root.join(dir));
            names
                .iter()
                .find(|name| starts(reader, root, &format!("{dir}/{name}"), name, word))
                .map(|name| format!("{dir}/{name}"))
        })
    })
}

/// Whether a file of cron's is about this tool.
fn starts(reader: &Reader<'_>, root: &Path, path: &str, name: &str, word: &str) -> bool {
    if name == word && word == Tool::Certbot.word() {
        return !reader.there(&root.join(SYSTEMD));
    }
    let text = reader
        .disk
        .read(&root.join(path), FILE_MAX)
        .map(|it| String::from_utf8_lossy(it.bytes()).into_owned());
    let says = |line: &str| {
        let line = line.trim();
        !line.starts_with('#') && words_of(line).any(|each| each == word)
    };
    name == word || text.is_ok_and(|text| text.lines().any(says))
}

/// Where units stand that say what is run.
const UNITS: [&str; 2] = ["etc/systemd/system", "usr/lib/systemd/system"];
/// Most lines that are taken from all of them.
const LINES_MAX: usize = 1_000;

/// The lines of cron and of systemd's units that run this tool.
pub(super) fn lines(reader: &Reader<'_>, root: &Path, tool: Tool) -> Vec<String> {
    let of_units = UNITS.iter().flat_map(|dir| {
        let names = reader.names(&root.join(dir));
        names
            .into_iter()
            .filter(|name| ends_with(name, "service"))
            .map(move |name| (format!("{dir}/{name}"), true))
    });
    let of_cron = CRON.iter().flat_map(|dir| {
        reader.names(&root.join(dir)).into_iter().map(move |name| (format!("{dir}/{name}"), false))
    });
    let mut found = Vec::new();
    for (path, is_unit) in of_units.chain(of_cron) {
        let Ok(content) = reader.disk.read(&root.join(path), FILE_MAX) else { continue };
        // A backslash at a line's end goes on with the next one.
        let text = String::from_utf8_lossy(content.bytes()).replace("\\\n", " ");
        let runs = |line: &&str| {
            let counts = if is_unit { line.starts_with("ExecStart") } else { !line.starts_with('#') };
            counts
                && words_of(line.split_once('=').filter(|_| is_unit).map_or(line, |(_, run)| run))
                    .any(|word| word == tool.word())
        };
        found.extend(text.lines().map(str::trim).filter(runs).map(ToOwned::to_owned));
        found.truncate(LINES_MAX);
    }
    found
}

/// The words of a line as programs are named: `/root/.acme.sh/acme.sh` ends with one.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_run_a_tool_are_read_from_units_and_cron() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "etc/systemd/system/lego.service",
            "# lego\n[Service]\nExecStartPre=/bin/true\nExecStart=/usr/bin/lego \\\n  --tls renew\n",
        );
        write("etc/cron.d/renewals", "# lego --dns x renew\n0 3 * * * root /usr/bin/lego --http renew\n");
        write("etc/cron.d/other", "0 3 * * * root legoland\n");
        let disk = Disk::real();
        let lines = lines(&Reader { disk: &disk, secrets: false }, dir.path(), Tool::Lego);
        assert_eq!(
            lines,
            ["ExecStart=/usr/bin/lego    --tls renew", "0 3 * * * root /usr/bin/lego --http renew"]
        );
    }

    #[test]
    fn a_tool_that_is_started_for_one_of_our_names_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let found = || {
            let found = rivals(&Disk::real(), root);
            found
                .into_iter()
                .map(|rival| format!("{} {} {}", rival.tool, rival.name, rival.starter))
                .collect::<Vec<_>>()
        };
        write("etc/letsencrypt/renewal/mine.conf", "[renewalparams]\n[[webroot_map]]\na.example = /w\n");
        assert!(found().is_empty(), "nothing starts it");
        write("etc/cron.d/certbot", "");
        assert_eq!(found(), ["certbot mine etc/cron.d/certbot"]);
        std::fs::create_dir_all(root.join(SYSTEMD)).unwrap();
        assert!(found().is_empty(), "Debian's cron file stands back for systemd's timer");
        write("etc/systemd/system/timers.target.wants/snap.certbot.renew.timer", "");
        assert_eq!(found().len(), 1);
        assert_eq!(rivals(&Disk::real(), root)[0].names.len(), 1);

        write("root/.acme.sh/b.example/b.example.conf", "Le_Domain='b.example'\nLe_Alt='www.b.example'\n");
        write("var/spool/cron/crontabs/root", "# acme.sh --cron\n");
        assert_eq!(found().len(), 1, "a comment starts nothing");
        write(
            "var/spool/cron/crontabs/root",
            "5 0 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\"\n",
        );
        assert_eq!(found()[1], "acme.sh b.example var/spool/cron/crontabs/root");
        write("var/lib/lego/certificates/c.example.json", "{\"domain\":\"c.example\"}");
        write("etc/cron.d/renewals", "0 3 * * * root /usr/bin/lego --path /var/lib/lego renew\n");
        assert_eq!(found().len(), 3);
    }
}
