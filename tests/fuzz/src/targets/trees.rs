//! Trees of other tools that are taken over.

use std::path::Path;

use nolapse::adopt::{self, Find, Quest};
use nolapse::config::draft;
use nolapse::config::{Facts, Source, resolve};
use nolapse::core::adoption::{self, Choice, NewTable, Verdict};
use nolapse::core::foundling::Tool;
use nolapse::core::name::SubjectName;
use nolapse::core::spec::Wanted;
use nolapse::sys::disk::Disk;

use super::files::split;
use super::{NOON, choice, safe};

/// The tree's place on a disk in memory.
const ROOT: &str = "/t";

/// What begins an input: the tool, and the file that says most of one certificate.
const FIRST: [(Tool, &str); 7] = [
    (Tool::Certbot, "/renewal/a.example.conf"),
    (Tool::Lego, "/certificates/a.example.json"),
    (Tool::AcmeSh, "/a.example/a.example.conf"),
    (Tool::Dehydrated, "/domains.txt"),
    (Tool::Caddy, "/certificates/acme-v02.api.letsencrypt.org-directory/a.example/a.example.json"),
    (Tool::Acmetool, "/desired/a.example"),
    (Tool::Files, "/a.example.crt"),
];

pub const WORDS: &[&str] = &[
    "\n== /config\n",
    "\n== /account.conf\n",
    "\n== /live/a.example/fullchain.pem\n",
    "\n== /live/a.example/privkey.pem\n",
    "\n== /cli.ini\n",
    "\n== /conf/target\n",
    "\n== /renewal-hooks/deploy/x\n",
    "authenticator = webroot\n",
    "authenticator = dns-cloudflare\n",
    "dns_cloudflare_credentials = /t/cf.ini\n",
    "server = https://ca.example/directory\n",
    "renew_hook = ",
    "[renewalparams]\n",
    "[[webroot_map]]\n",
    "Le_Domain='a.example'\n",
    "Le_Alt='b.example'\n",
    "Le_Webroot='dns_cf'\n",
    "Le_ReloadCmd='__ACME_BASE64__START_",
    "__ACME_BASE64__END_'\n",
    "Le_Keylength='ec-256'\n",
    "Le_API='",
    "SAVED_CF_Token='",
    "CHALLENGETYPE=\"dns-01\"\n",
    "HOOK=\"/x\"\n",
    "WELLKNOWN=${BASEDIR}/www\n",
    "CA=\"letsencrypt\"\n",
    " > alias",
    "{\"domain\":\"a.example\",\"certUrl\":\"https://ca.example/cert/1\"}",
    "{\"sans\":[\"a.example\"],\"issuer_data\":{\"url\":\"https://ca.example/cert/1\"}}",
    "satisfy:\n  names:\n    - a.example\n",
    "request:\n  provider: https://ca.example/directory\n",
    "\u{7f}",
];

/// What is found is fit to print; what is then written is a configuration, of that certificate and of nothing
/// else.
pub fn foreign_trees(input: &[u8]) -> String {
    let (which, rest) = choice(input, FIRST.len());
    let (tool, first) = FIRST[which];
    let (disk, model) = Disk::model();
    model.make_dirs(Path::new(ROOT), 0o755);
    for (path, text) in split(rest, first) {
        let path = format!("{ROOT}{path}");
        let path = Path::new(&path);
        if let Some(dir) = path.parent() {
            // A file is in the way where one path goes through another.
            if dir.ancestors().all(|step| disk.list(step).is_ok() || disk.stat(step).is_err()) {
                model.make_dirs(dir, 0o755);
                let _ = model.put(path, text.as_bytes(), 0o600);
            }
        }
    }
    let root = Path::new(ROOT);
    let place = if tool == Tool::Files { root.join(&first[1..]) } else { root.to_owned() };
    match adopt::search(&disk, &Quest { tool, path: Some(&place), key: None }) {
        Err(failure) => {
            safe(&failure.words, nolapse::core::failure::Failure::WORDS_MAX + 1);
            format!("{tool} {}", failure.code)
        }
        Ok(finds) => {
            let told: Vec<_> = finds.iter().take(3).map(taken_over).collect();
            format!("{tool} {told:?}")
        }
    }
}

fn taken_over(find: &Find) -> String {
    let found = &find.foundling;
    safe(&found.name, 201);
    for name in &found.names {
        assert_eq!(SubjectName::parse(&name.to_string()).as_ref(), Ok(name), "a name read again");
    }
    let choice = Choice {
        agree: true,
        user: "root".into(),
        group: "root".into(),
        credentials: "/etc/nolapse/credentials".into(),
        ..Choice::default()
    };
    let adoption = match adoption::plan(found, &choice, &Wanted::default(), NOON) {
        Verdict::Adopt(adoption) => adoption,
        Verdict::Already(_) => return "already".into(),
        Verdict::Blocked(obstacle) => return obstacle.code.into(),
    };
    let mut text = draft::entry(&adoption.entry);
    for table in &adoption.tables {
        text.push('\n');
        text.push_str(&draft::table(table));
        assert!(!draft::table_file(table).contains('/'), "a file in the directory of tables");
    }
    let resolved = resolve(&[Source::new("adopted.toml", &text)], &Facts::default());
    let codes: Vec<_> = resolved.problems.iter().map(|problem| problem.code).collect();
    assert!(!codes.contains(&"broken-toml"), "{text}\n{:?}", resolved.problems);
    assert!(resolved.wanted.lineages.keys().all(|id| *id == adoption.entry.id), "{text}");
    let hooks = adoption.tables.iter().filter(|table| matches!(table, NewTable::Hook { .. })).count();
    format!("{} tables, {hooks} hooks, {:?} {codes:?}", adoption.tables.len(), adoption.filing)
        .chars()
        .take(200)
        .collect()
}
