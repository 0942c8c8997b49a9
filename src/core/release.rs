//! Giving a certificate back to certbot: a tree that it finds as its own, and the file that makes it
//! renew. Pure: plans and settings, no file is read or written here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layout::{self, Content, FileRights, FsOp, Rendering};
use super::spec::{Call, HookSpec, KeyKind, LineageSpec, Listen, Rights, SolverKind, SolverSpec, Wanted};
use super::tree::{Tree, Version};

/// What certbot has to know of how a certificate is renewed, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    pub params: BTreeMap<String, String>,
    /// Which directory proves which name.
    pub webroots: BTreeMap<String, String>,
    /// What it can't be told, and why.
    pub untranslated: Vec<String>,
}

/// Where certbot listens if nothing is said.
const PORT: u16 = 80;

/// Certbot's parameters for `spec`, but for the account.
pub fn handover(spec: &LineageSpec, wanted: &Wanted) -> Handover {
    let mut told = Handover::default();
    let mut set = |key: &str, value: String| {
        told.params.insert(key.to_owned(), value);
    };
    if let Some(issuer) = spec.issuer().and_then(|id| wanted.issuers.get(id)) {
        set("server", issuer.directory.clone());
    }
    match spec.key {
        KeyKind::EcdsaP256 => set("key_type", "ecdsa".into()),
        KeyKind::EcdsaP384 => {
            set("key_type", "ecdsa".into());
            set("elliptic_curve", "secp384r1".into());
        }
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            set("key_type", "rsa".into());
            set("rsa_key_size", spec.key.word().trim_start_matches("rsa-").to_owned());
        }
    }
    if spec.reuse_key {
        set("reuse_key", "True".into());
    }
    let solver = spec.solvers.iter().find_map(|id| wanted.solvers.get(id));
    proof(&mut told, solver, spec);
    let hooks = |ids: &[super::name::HookId]| -> Vec<&HookSpec> {
        ids.iter().filter_map(|id| wanted.hooks.get(id)).collect()
    };
    for (key, hooks) in [
        ("pre_hook", hooks(&spec.around.before)),
        ("post_hook", hooks(&spec.around.afterwards)),
        ("renew_hook", hooks(&spec.hooks)),
    ] {
        let mut commands = Vec::new();
        for hook in hooks {
            match command(hook) {
                Ok(command) => commands.push(command),
                Err(words) => told.untranslated.push(words),
            }
        }
        if !commands.is_empty() {
            told.params.insert(key.to_owned(), commands.join(" && "));
        }
    }
    told
}

fn proof(told: &mut Handover, solver: Option<&SolverSpec>, spec: &LineageSpec) {
    let mut set = |key: &str, value: String| {
        told.params.insert(key.to_owned(), value);
    };
    let kind = solver.map(|solver| &solver.kind);
    if let Some(SolverKind::Webroot { root }) = kind {
        set("authenticator", "webroot".into());
        set("webroot_path", root.clone());
        told.webroots = spec.names.iter().map(|name| (name.to_string(), root.clone())).collect();
    } else if let Some(SolverKind::Http { listen }) = kind {
        set("authenticator", "standalone".into());
        match listen {
            Listen::Address(address) => {
                if address.port() != PORT {
                    set("http01_port", address.port().to_string());
                }
                if !address.ip().is_unspecified() {
                    set("http01_address", address.ip().to_string());
                }
            }
            Listen::Systemd(name) => {
                let words =
                    format!("certbot takes no socket from systemd ({name}); it listens at port 80 itself");
                told.untranslated.push(words);
            }
        }
    } else {
        let words = "how its names are proved: say so by  certbot reconfigure --cert-name NAME".to_owned();
        told.untranslated.push(words);
    }
}

/// A hook as a shell would be given it; else why it can't.
fn command(hook: &HookSpec) -> Result<String, String> {
    match &hook.call {
        Call::Run(argv) => Ok(match &argv[..] {
            [sh, flag, command] if sh.ends_with("/sh") && flag == "-c" => command.clone(),
            argv => argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        }),
        Call::Parts(dir) if dir.contains("/renewal-hooks/") => {
            Err(format!("{}: certbot runs the programs in {dir} by itself", hook.id))
        }
        Call::Parts(dir) => Ok(format!("run-parts {}", quoted(dir))),
        Call::Signal { .. } | Call::Http(_) | Call::Haproxy(_) => {
            Err(format!("{} is no program, and certbot runs programs only: write one for it", hook.id))
        }
    }
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl Tree {
    /// Makes `live/NAME` a directory again, as certbot expects it: for a moment there is none. The
    /// links of our older versions go, the archive stays.
    pub fn hand_over(&self, shown: Version, shelves: &[String]) -> Vec<FsOp> {
        let aside = self.shelves().join(format!("{}.nolapse-link", self.name()));
        let mut ops = vec![
            FsOp::Discard { path: aside.clone() },
            FsOp::Rename { from: self.link(), to: aside.clone() },
            FsOp::Rename { from: self.shelf(shown), to: self.link() },
            FsOp::SyncDir { path: self.shelves().to_owned() },
            FsOp::Discard { path: aside },
        ];
        let old = shelves.iter().filter_map(|name| self.version_of(name)).filter(|version| *version != shown);
        for shelf in old.map(|version| self.shelf(version)) {
            let names = Self::PARTS.iter().map(|part| part.file_name()).chain(["README"]);
            ops.extend(names.map(|name| FsOp::Discard { path: shelf.join(name) }));
            ops.push(FsOp::DiscardDir { path: shelf });
        }
        ops
    }

    /// Writes `texts` as `version` of a tree in which there is no such certificate yet.
    pub fn found(&self, version: Version, texts: &Rendering, rights: &Rights) -> Vec<FsOp> {
        let mut ops = Vec::new();
        let closed = || FileRights::mode(0o700);
        let link = self.link();
        for dir in [
            self.shelves().parent(),
            self.archive().parent(),
            Some(self.archive()),
            Some(self.shelves()),
            Some(&link),
        ] {
            ops.extend(dir.map(|dir| FsOp::MakeDir { path: dir.to_owned(), rights: closed() }));
        }
        for part in Self::PARTS {
            let Some(content) = texts.get(&part) else { continue };
            ops.extend(layout::replace(
                &self.file(part, version),
                content.clone(),
                layout::part_rights(part, rights),
            ));
            ops.extend(layout::link(&link, part.file_name(), &self.target(part, version)));
        }
        for dir in [link.as_path(), self.shelves()] {
            ops.push(FsOp::SyncDir { path: dir.to_owned() });
        }
        ops
    }
}

/// A file of certbot's, written whole.
pub fn file(path: &Path, content: Content, mode: u32) -> Vec<FsOp> {
    let dirs: Vec<PathBuf> = path.parent().map(Path::to_owned).into_iter().collect();
    let mut ops: Vec<_> =
        dirs.into_iter().map(|path| FsOp::MakeDir { path, rights: FileRights::mode(0o700) }).collect();
    ops.extend(layout::replace(path, content, FileRights::mode(mode)));
    ops
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::core::name::{HookId, LineageId, SolverId, SubjectName};
    use crate::core::spec::{Around, OnDeadName, Origin, Terms};
    use crate::core::time::Span;

    fn hook(id: &str, call: Call) -> HookSpec {
        let (check, user, after) = (None, None, Vec::new());
        let id = HookId::parse(id).unwrap();
        HookSpec { id, check, call, user, after, timeout: Span::MINUTE, origin: Origin::default() }
    }

    fn run(words: &[&str]) -> Call {
        Call::Run(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// An entry for one name with this key, by this solver, that names these hooks.
    fn asked(key: KeyKind, kind: Option<SolverKind>, reuse_key: bool, hooks: Vec<HookSpec>) -> Handover {
        let web = SolverId::parse("web").unwrap();
        let names = vec![SubjectName::parse("a.example").unwrap()];
        let terms = Terms {
            issuers: Vec::new(),
            profile: None,
            key,
            reuse_key,
            solvers: vec![web.clone()],
            on_dead_name: OnDeadName::default(),
            hooks: hooks.iter().map(|hook| hook.id.clone()).collect(),
            after: Vec::new(),
            around: Around::default(),
            observe_timeout: Span::MINUTE,
            deploy_window: None,
            rights: Arc::default(),
            labels: crate::core::labels::Labels::default(),
        };
        let spec = LineageSpec {
            id: LineageId::parse("a.example").unwrap(),
            names: names.into(),
            endpoints: Vec::new().into(),
            outputs: Vec::new().into(),
            origin: Origin::default(),
            terms: Arc::new(terms),
        };
        let solver = |kind| {
            let id = web.clone();
            let solver =
                SolverSpec { id, kind, names: Vec::new(), check_port: None, origin: Origin::default() };
            (web.clone(), solver)
        };
        let wanted = Wanted {
            solvers: kind.into_iter().map(solver).collect(),
            hooks: hooks.into_iter().map(|hook| (hook.id.clone(), hook)).collect(),
            ..Wanted::default()
        };
        handover(&spec, &wanted)
    }

    fn listening(at: &str) -> SolverKind {
        SolverKind::Http { listen: Listen::Address(at.parse().unwrap()) }
    }

    #[test]
    fn certbot_is_told_key_and_proof_in_its_own_words() {
        let webroot = Some(SolverKind::Webroot { root: "/srv/www".into() });
        let systemd = Some(SolverKind::Http { listen: Listen::Systemd("http".into()) });
        for (what, key, kind, reuse, told, untold) in [
            (
                "a directory that a web server shows",
                KeyKind::EcdsaP256,
                webroot,
                false,
                "authenticator=webroot key_type=ecdsa webroot_path=/srv/www",
                0,
            ),
            (
                "a listener of its own",
                KeyKind::EcdsaP384,
                Some(listening("0.0.0.0:80")),
                true,
                "authenticator=standalone elliptic_curve=secp384r1 key_type=ecdsa reuse_key=True",
                0,
            ),
            (
                "behind another server",
                KeyKind::Rsa3072,
                Some(listening("127.0.0.1:8089")),
                false,
                "authenticator=standalone http01_address=127.0.0.1 http01_port=8089 key_type=rsa rsa_key_size=3072",
                0,
            ),
            (
                "a socket of systemd",
                KeyKind::EcdsaP256,
                systemd,
                false,
                "authenticator=standalone key_type=ecdsa",
                1,
            ),
            ("a way that certbot must be told", KeyKind::EcdsaP256, None, false, "key_type=ecdsa", 1),
        ] {
            let found = asked(key, kind, reuse, Vec::new());
            let params: Vec<_> = found.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!(params.join(" "), told, "{what}");
            assert_eq!(found.untranslated.len(), untold, "{what}");
        }
    }

    #[test]
    fn hooks_that_are_programs_become_one_line_and_others_are_told() {
        let found = asked(
            KeyKind::EcdsaP256,
            None,
            false,
            vec![
                hook("nginx", run(&["systemctl", "reload", "nginx"])),
                hook("said", run(&["/bin/sh", "-c", "echo new | mail root"])),
                hook("parts", Call::Parts("/etc/my hooks".into())),
                hook("own", Call::Parts("/etc/letsencrypt/renewal-hooks/deploy".into())),
                hook("haproxy", Call::Haproxy("/run/haproxy.sock".into())),
            ],
        );
        assert_eq!(
            found.params.get("renew_hook").map(String::as_str),
            Some("systemctl reload nginx && echo new | mail root && run-parts '/etc/my hooks'")
        );
        assert_eq!((found.params.get("pre_hook"), found.params.get("post_hook")), (None, None));
        let untold: Vec<_> = found.untranslated.iter().skip(1).map(|words| &words[..4]).collect();
        assert_eq!(untold, ["own:", "hapr"], "{:?}", found.untranslated);
    }

    #[test]
    fn words_reach_a_shell_as_they_are() {
        for (word, shown) in
            [("nginx", "nginx"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''"), ("$(x)", "'$(x)'")]
        {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn certbot_gets_a_directory_where_our_link_was() {
        let tree = Tree::at(Path::new("/l/live/a.example")).unwrap();
        let shelves: Vec<_> = [".a.example-2", ".a.example-3", "README"].map(str::to_owned).into();
        let ops = tree.hand_over(3, &shelves);
        let renames: Vec<_> = ops
            .iter()
            .filter_map(|op| match op {
                FsOp::Rename { from, to } => Some((from.to_str()?, to.to_str()?)),
                _ => None,
            })
            .collect();
        assert_eq!(
            renames,
            [
                ("/l/live/a.example", "/l/live/a.example.nolapse-link"),
                ("/l/live/.a.example-3", "/l/live/a.example"),
            ]
        );
        let gone = |op: &FsOp| matches!(op, FsOp::DiscardDir { path } if path.ends_with(".a.example-2"));
        assert_eq!(ops.iter().filter(|op| matches!(op, FsOp::DiscardDir { .. })).count(), 1);
        assert!(ops.iter().any(gone));
        let archived = |op: &FsOp| matches!(op, FsOp::Discard { path } if path.starts_with("/l/archive"));
        assert!(!ops.iter().any(archived), "the archive is certbot's");
    }

    #[test]
    fn a_file_of_certbots_is_replaced_whole_in_a_directory_of_its_own() {
        let ops = file(Path::new("/l/renewal/a.conf"), Content::new(b"x".to_vec()), 0o644);
        let made = FsOp::MakeDir { path: "/l/renewal".into(), rights: FileRights::mode(0o700) };
        assert_eq!(ops.first(), Some(&made));
        let created = ops.iter().find_map(|op| match op {
            FsOp::Create { rights, .. } => Some(rights.mode),
            _ => None,
        });
        assert_eq!(created, Some(0o644));
        assert!(
            ops.iter()
                .any(|op| matches!(op, FsOp::Rename { to, .. } if to == Path::new("/l/renewal/a.conf")))
        );
    }
}
