//! `nolapse release`: a certificate leaves our hands. To certbot it goes with a tree and the file
//! that makes certbot renew it; without `--to` its files stay where they are. The plan first.

use std::path::{Path, PathBuf};

use crate::agent::Book;
use crate::cli::args::Release;
use crate::cli::{Exit, Stop, owner, print, publish, select};
use crate::codec::bundle::Bundle;
use crate::codec::jwk;
use crate::codec::pem::{KeyDer, KeyForm};
use crate::codec::renewal::Renewal;
use crate::config;
use crate::core::failure::{Failure, Fault};
use crate::core::form::Form;
use crate::core::foundling::ASIDE;
use crate::core::layout::{Content, FileRights, FsOp};
use crate::core::name::LineageId;
use crate::core::release::{self, Handover};
use crate::core::spec::LineageSpec;
use crate::core::tree::Tree;
use crate::sys::clock::Clock;
use crate::sys::disk::{Disk, FileKind};
use crate::wire::{self, Loaded, Places, Role, Wired};

/// Certbot's directory where the certificate has no tree of its own.
const ROOT: &str = "/etc/letsencrypt";
/// Version of certbot whose files these are like.
const VERSION: &str = "2.1.0";
/// What an entry that was taken out of the configuration ends with.
const RELEASED: &str = "released";
/// Largest file of certbot's that is read, in bytes.
const FILE_MAX: usize = 256 << 10;

/// What is to be done, in order, each with what a person reads of it.
struct Steps {
    told: Vec<String>,
    ops: Vec<FsOp>,
}

pub fn run(places: &Places, release: &Release) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    let id = select::one(&loaded.resolved.wanted, &std::collections::BTreeSet::new(), &release.name)?;
    let Some(spec) = loaded.resolved.wanted.lineages.get(&id).cloned() else { return Ok(Exit::Usage) };
    let entry = entry_file(places, &loaded, &spec)?;
    let mut steps = Steps { told: Vec::new(), ops: Vec::new() };
    if release.to.is_some() {
        let root = root(release, &spec);
        to_certbot(&mut steps, &loaded, &spec, &root)?;
    } else {
        let live = loaded.settings.live_dir.join(id.as_str());
        steps.told.push(format!("stays    {}", live.display()));
        steps.told.extend(spec.outputs.iter().map(|output| format!("stays    {}", output.path)));
        steps.told.push("note     nobody renews them then".into());
    }
    let mut out = entry.as_os_str().to_owned();
    out.push(format!(".{RELEASED}"));
    steps.told.push(format!("moves    {} to {}", entry.display(), Path::new(&out).display()));
    steps.told.push(format!("keeps    what is known of {id}, as retired; nolapse forget {id} drops it"));
    print::line(&format!("release {id}{}", if release.to.is_some() { " to certbot" } else { "" }));
    for told in &steps.told {
        print::line(&format!("  {told}"));
    }
    if !release.yes {
        print::note("nothing was changed; --yes does it");
        return Ok(Exit::Fine);
    }
    // The entry goes first: from then on the agent writes nothing of it any more.
    let mut ops = vec![FsOp::Rename { from: entry.clone(), to: PathBuf::from(out) }];
    ops.extend(entry.parent().map(|dir| FsOp::SyncDir { path: dir.to_owned() }));
    ops.append(&mut steps.ops);
    wire::runtime()?.block_on(Disk::real().run(ops)).map_err(|error| {
        let words = format!("{error}; what was done before it stands, run this again or mend it by hand");
        Failure::refused(Fault::Host, "release-failed", words)
    })?;
    print::line(&format!("{id} is released"));
    tell_agent(places, &loaded)?;
    Ok(Exit::Fine)
}

/// The status file is written anew; a daemon learns of it by a signal.
fn tell_agent(places: &Places, loaded: &Loaded) -> Result<(), Stop> {
    let now = crate::cli::load(places)?;
    owner::take_its_place(&now.settings)?;
    wire::runtime()?.block_on(async {
        let wired = Wired::new(&now, Role::OneShot).await?;
        publish::write_anew(&wired).await;
        Ok::<_, Failure>(())
    })?;
    if !loaded.settings.watch_config {
        print::note("a running agent learns of it by  systemctl reload nolapse");
    }
    Ok(())
}

/// The file that holds this entry and nothing that anybody else needs.
fn entry_file(places: &Places, loaded: &Loaded, spec: &LineageSpec) -> Result<PathBuf, Stop> {
    let sources = wire::read_sources(&loaded.file)?;
    let name = spec.origin.file.to_string();
    let rest: Vec<_> = sources.into_iter().filter(|source| source.name != name).collect();
    let without = config::resolve(&rest, &wire::facts(places));
    let before = &loaded.resolved.wanted;
    let ids = |wanted: &crate::core::spec::Wanted| -> Vec<LineageId> {
        wanted.lineages.keys().filter(|id| **id != spec.id).cloned().collect()
    };
    let alone = name.starts_with("conf.d/")
        && !without.fatal()
        && !without.wanted.lineages.contains_key(&spec.id)
        && ids(before) == ids(&without.wanted);
    if alone {
        return Ok(loaded.file.with_file_name(name));
    }
    let words = format!(
        "the entry of {} stands at {} with others; move it to a file of its own in conf.d first",
        spec.id, spec.origin
    );
    Err(Failure::refused(Fault::Config, "release-entry-shared", words).into())
}

fn root(release: &Release, spec: &LineageSpec) -> PathBuf {
    let own =
        spec.outputs.iter().find(|output| output.form == Form::Tree).map(|output| Path::new(&output.path));
    release
        .root
        .clone()
        .or_else(|| own?.parent()?.parent().map(Path::to_owned))
        .unwrap_or_else(|| PathBuf::from(ROOT))
}

/// What is shown now, read as the state's owner or root.
struct Held {
    bundle: Bundle,
    account: Option<(Content, String)>,
}

fn held(loaded: &Loaded, spec: &LineageSpec) -> Result<Held, Stop> {
    Ok(wire::runtime()?.block_on(async {
        let wired = Wired::new(loaded, Role::Reader).await?;
        let book = Book::new(&*wired.agent.store);
        let record = book.record(&spec.id).await?;
        let number = record.value.current.as_ref().map(|current| current.number);
        let bundle = match number {
            Some(number) => book.generation(&spec.id, number).await?,
            None => None,
        };
        let Some(bundle) = bundle else {
            let words = format!("there is no certificate of {} to give back", spec.id);
            return Err(Failure::refused(Fault::Config, "release-nothing", words));
        };
        let account = match spec.issuer() {
            Some(issuer) => wired.account(issuer).await?,
            None => None,
        };
        Ok(Held { bundle, account })
    })?)
}

fn to_certbot(steps: &mut Steps, loaded: &Loaded, spec: &LineageSpec, root: &Path) -> Result<(), Stop> {
    let disk = Disk::real();
    let held = held(loaded, spec)?;
    let place = Tree::path(&root.display().to_string(), spec.id.as_str());
    let Some(tree) = Tree::at(Path::new(&place)) else {
        let words = format!("{place} is no place for a certificate of certbot's");
        return Err(Failure::refused(Fault::Config, "release-place", words).into());
    };
    let shelves = disk.list(tree.shelves()).unwrap_or_default();
    let shown = disk.read_link(&tree.link()).ok().and_then(|link| tree.version_of(link.to_str()?));
    if let Some(version) = shown {
        steps.told.push(format!("makes    {place} a directory again; it shows version {version}"));
        steps.ops.extend(tree.hand_over(version, &shelves));
    } else if disk.stat(&tree.link()).is_ok() {
        let words = format!("{place} is there and is not ours; move it away, or name another with --root");
        return Err(Failure::refused(Fault::Host, "release-place", words).into());
    } else {
        let version = tree.next(&disk.list(tree.archive()).unwrap_or_default(), &shelves);
        steps.told.push(format!("writes   {place} and {}, version {version}", tree.archive().display()));
        let rights = crate::core::spec::Rights { key_mode: 0o600, ..crate::core::spec::Rights::default() };
        steps.ops.extend(tree.found(version, &held.bundle.render(), &rights));
    }
    let conf = root.join("renewal").join(format!("{}.conf", spec.id));
    let mut aside = conf.clone().into_os_string();
    aside.push(format!(".{ASIDE}"));
    let aside = PathBuf::from(aside);
    if disk.stat(&conf).is_ok() {
        steps.told.push(format!("stays    {}", conf.display()));
    } else if disk.stat(&aside).is_ok_and(|stat| stat.kind == FileKind::File) {
        steps.told.push(format!("moves    {} back to {}", aside.display(), conf.display()));
        steps.ops.push(FsOp::Rename { from: aside, to: conf });
        steps.ops.push(FsOp::SyncDir { path: root.join("renewal") });
    } else {
        renewal(steps, &disk, loaded, spec, root, &conf, &held)?;
    }
    Ok(())
}

/// Writes what makes certbot renew it, with an account of certbot's or else ours.
fn renewal(
    steps: &mut Steps,
    disk: &Disk,
    loaded: &Loaded,
    spec: &LineageSpec,
    root: &Path,
    conf: &Path,
    held: &Held,
) -> Result<(), Stop> {
    let Handover { mut params, webroots, untranslated } = release::handover(spec, &loaded.resolved.wanted);
    let server = params.get("server").cloned().unwrap_or_default();
    let bare = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
    let accounts = root.join("accounts").join(bare);
    let there = disk.list(&accounts).unwrap_or_default();
    let usable = |id: &&String| disk.read(&accounts.join(id).join("private_key.json"), FILE_MAX).is_ok();
    if let Some(id) = there.iter().find(usable) {
        params.insert("account".into(), id.clone());
    } else if let Some((key, url)) = &held.account {
        if let Some(id) = give_account(steps, &accounts, key, url)? {
            params.insert("account".into(), id);
        }
    } else {
        steps.told.push(
            "note     certbot has no account with that CA, and we have none to give:  certbot register"
                .into(),
        );
    }
    steps.told.push(format!("writes   {}", conf.display()));
    let place = |part: &str| root.join("live").join(spec.id.as_str()).join(part).display().to_string();
    let mut places: std::collections::BTreeMap<_, _> = Tree::PARTS
        .iter()
        .map(|part| (part.file_name().trim_end_matches(".pem").to_owned(), place(part.file_name())))
        .collect();
    places.insert("archive_dir".into(), root.join("archive").join(spec.id.as_str()).display().to_string());
    places.insert("version".into(), VERSION.into());
    let text = Renewal { places, params, webroots }.text();
    steps.told.extend(text.lines().map(|line| format!("  + {line}")));
    steps.told.extend(untranslated.into_iter().map(|words| format!("left out {words}")));
    steps.ops.extend(release::file(conf, Content::new(text.into_bytes()), 0o644));
    Ok(())
}

/// Our account in certbot's form; answers with what certbot calls it.
fn give_account(
    steps: &mut Steps,
    accounts: &Path,
    key: &Content,
    url: &str,
) -> Result<Option<String>, Stop> {
    let key = KeyDer { form: KeyForm::Pkcs8, der: key.clone() };
    let unfit = |why: &dyn std::fmt::Display| {
        Failure::broken("account-damaged", format!("our account's key can't be given to certbot: {why}"))
    };
    let Ok(text) = jwk::text(&key) else {
        steps.told.push(
            "note     our account has an RSA key, which is not given to certbot:  certbot register".into(),
        );
        return Ok(None);
    };
    let half = crate::codec::key::public_half(&key).map_err(|error| unfit(&error))?;
    // Certbot names accounts by a hash, and takes any name.
    let id: String = half.fingerprint.to_string().chars().take(32).collect();
    let home = accounts.join(&id);
    steps.told.push(format!("writes   {} (our account {url})", home.display()));
    let above: Vec<_> = accounts.ancestors().take_while(|dir| Disk::real().stat(dir).is_err()).collect();
    let open = || FileRights::mode(0o700);
    steps
        .ops
        .extend(above.into_iter().rev().map(|dir| FsOp::MakeDir { path: dir.to_owned(), rights: open() }));
    let regr = serde_json::json!({ "body": {}, "uri": url }).to_string();
    let meta = serde_json::json!({
        "creation_dt": Clock::wall().now().to_string(), "creation_host": "localhost", "register_to_eff": null
    });
    for (name, content, mode) in [
        ("private_key.json", text, 0o400),
        ("regr.json", Content::new(regr.into_bytes()), 0o644),
        ("meta.json", Content::new(meta.to_string().into_bytes()), 0o644),
    ] {
        steps.ops.extend(release::file(&home.join(name), content, mode));
    }
    Ok(Some(id))
}
