//! `nolapse adopt`: what another tool keeps becomes ours, without an order and without a touch to
//! any server's configuration. The plan first; `--yes` does it.
//!
//! The state is written before the configuration: an agent that sees the new entry finds the
//! certificate there, and orders none.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::args::Adopt;
use crate::cli::entry::{Ground, write_new, write_secret};
use crate::cli::offer::Offer;
use crate::cli::{Exit, Stop, owner, print, renew};
use crate::config::{self, Resolved, Source};
use crate::core::adoption::{self, Choice, Filing, Obstacle, Verdict};
use crate::core::decide::Request;
use crate::core::failure::{Failure, Fault};
use crate::core::foundling::{ASIDE, Places as Found, Tool};
use crate::core::layout::FsOp;
use crate::core::name::{BadName, IssuerId, LineageId, SolverId};
use crate::core::time::Span;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::sys::privilege::{self, Identity};
use crate::wire::{self, AccountFate, Find, Loaded, LogChoice, Places, Quest, Role, Wired};

/// Longest wait for a running agent that took the new entry first.
const WAIT: Span = Span::MINUTE;
/// The directory of copies of credentials, beside the configuration.
const CREDENTIALS: &str = "credentials";
/// Written where the tools' own files come from nowhere we know.
const NOTHING: &str = "nothing to adopt";

/// What is to be done, certificate by certificate.
#[derive(Default)]
struct Programme {
    accepted: Vec<Accepted>,
    already: Vec<(String, LineageId)>,
    blocked: Vec<(String, Obstacle)>,
}

struct Accepted {
    id: LineageId,
    find: Find,
    filed: bool,
    offer: Offer,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told<'a> {
    version: u32,
    done: bool,
    adopt: Vec<&'a Offer>,
    already: Vec<Already<'a>>,
    blocked: Vec<Blocked<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Already<'a> {
    called: &'a str,
    certificate: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Blocked<'a> {
    called: &'a str,
    code: &'static str,
    words: &'a str,
    step: &'a str,
}

pub fn run(places: &Places, adopt: &Adopt) -> Result<Exit, Stop> {
    let Ground { file, sources, facts, before } = Ground::read(places, "adopted")?;
    let who = owner::of(&before.agent)?;
    let choice = choice(adopt, &who, &file.with_file_name(CREDENTIALS))?;
    let (path, names) = asked(adopt);
    let finds = finds(adopt, path.as_deref(), &names)?;
    if finds.is_empty() {
        print::error(&format!(
            "{NOTHING}: no certificate of another tool was found; --from TOOL PATH says where"
        ));
        return Ok(Exit::Usage);
    }
    let conf_d = file.with_file_name("conf.d");
    let (mut programme, after) = programme(finds, &choice, adopt, &conf_d, sources, before, &facts);
    for accepted in &mut programme.accepted {
        warn(accepted, &after, &who);
    }
    if !adopt.json {
        programme.show();
    }
    if !adopt.yes {
        if adopt.json {
            programme.json(false)?;
        } else if !programme.accepted.is_empty() {
            print::note("nothing was changed; --yes does it");
        }
        return Ok(Exit::Fine);
    }
    if programme.accepted.is_empty() {
        if adopt.json {
            programme.json(true)?;
        }
        return Ok(programme.exit());
    }
    let loaded = Loaded {
        file,
        settings: after.agent.clone(),
        resolved: after,
        log: LogChoice { form: places.log_format, level: places.log.clone() },
    };
    file_all(&loaded, &mut programme, &who)?;
    write_all(&programme, &who, adopt.disable_source)?;
    let exit = show_all(places, &programme, adopt.json)?;
    if adopt.json {
        programme.json(true)?;
    }
    Ok(if programme.blocked.is_empty() { exit } else { Exit::Failed })
}

fn choice(adopt: &Adopt, who: &Identity, credentials: &Path) -> Result<Choice, Stop> {
    let bad = |flag: &str, text: &str, bad: &BadName| {
        print::error(&format!("--{flag} {text:?}: {bad}"));
        Stop::Said(Exit::Usage)
    };
    let solver =
        adopt.solver.as_deref().map(|text| SolverId::parse(text).map_err(|why| bad("solver", text, &why)));
    let issuer =
        adopt.issuer.as_deref().map(|text| IssuerId::parse(text).map_err(|why| bad("issuer", text, &why)));
    let webroot = adopt.webroot.as_ref().map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
    Ok(Choice {
        service: adopt.service.clone(),
        solver: solver.transpose()?,
        webroot: webroot.map(|dir| dir.display().to_string()),
        issuer: issuer.transpose()?,
        agree: adopt.agree_tos,
        groups: (!who.is_root()).then(|| who.groups().iter().map(|gid| group_name(*gid)).collect()),
        user: who.name.clone().unwrap_or_else(|| who.uid.to_string()),
        group: group_name(who.gid),
        credentials: credentials.display().to_string(),
    })
}

fn group_name(gid: u32) -> String {
    let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

/// A path has a slash in it, a name never.
fn asked(adopt: &Adopt) -> (Option<PathBuf>, Vec<String>) {
    let is_path = |word: &&String| word.contains('/') || *word == ".";
    let path = adopt.what.iter().find(is_path).map(|path| {
        let path = PathBuf::from(path.trim_end_matches('/'));
        std::path::absolute(&path).unwrap_or(path)
    });
    (path, adopt.what.iter().filter(|word| !is_path(word)).cloned().collect())
}

/// What is there of what was asked for.
fn finds(adopt: &Adopt, path: Option<&Path>, names: &[String]) -> Result<Vec<Find>, Stop> {
    let quest = |tool| Quest { tool, path, key: adopt.key.as_deref() };
    let mut finds = match (adopt.from, path) {
        (Some(tool), _) => wire::search(&quest(tool))?,
        (None, Some(_)) => {
            print::error(
                "whose directory is it?  --from certbot, lego, acme.sh, dehydrated, caddy, acmetool or files",
            );
            return Err(Stop::Said(Exit::Usage));
        }
        (None, None) => {
            let tools = Tool::ALL.into_iter().filter(|tool| tool.speaks_acme());
            tools.filter_map(|tool| wire::search(&quest(tool)).ok()).flatten().collect()
        }
    };
    let is_asked = |find: &Find| {
        let found = &find.foundling;
        names
            .iter()
            .any(|name| found.name == *name || found.names.iter().any(|each| each.to_string() == *name))
    };
    if !names.is_empty() {
        let there: Vec<_> = finds.iter().map(|find| find.foundling.name.clone()).collect();
        finds.retain(is_asked);
        if finds.is_empty() && !there.is_empty() {
            print::error(&format!("none of these was found; there is {}", there.join(", ")));
            return Err(Stop::Said(Exit::Usage));
        }
    }
    Ok(finds)
}

/// Judges one after the other, each as if those before it were configured already.
fn programme(
    finds: Vec<Find>,
    choice: &Choice,
    adopt: &Adopt,
    conf_d: &Path,
    mut sources: Vec<Source>,
    before: Resolved,
    facts: &config::Facts,
) -> (Programme, Resolved) {
    let now = Clock::wall().now();
    let (mut programme, mut resolved) = (Programme::default(), before);
    for find in finds {
        let called = find.foundling.name.clone();
        let adoption = match adoption::plan(&find.foundling, choice, &resolved.wanted, now) {
            Verdict::Adopt(adoption) => *adoption,
            Verdict::Already(id) => {
                programme.already.push((called, id));
                continue;
            }
            Verdict::Blocked(obstacle) => {
                programme.blocked.push((called, obstacle));
                continue;
            }
        };
        let offer = Offer::of(&find.foundling, &adoption, conf_d, adopt.disable_source);
        let mut together = sources.clone();
        for written in &offer.writes {
            let name = written.path.strip_prefix(conf_d.parent().unwrap_or(conf_d)).unwrap_or(&written.path);
            together.push(Source::new(name.display().to_string(), &written.text));
        }
        let next = config::resolve(&together, facts);
        if next.wanted.lineages.contains_key(&adoption.entry.id) && !next.fatal() {
            let (id, filed) = (adoption.entry.id, adoption.filing == Filing::Filed);
            programme.accepted.push(Accepted { id, find, filed, offer });
            (sources, resolved) = (together, next);
            continue;
        }
        let known: Vec<_> = resolved.problems.iter().map(ToString::to_string).collect();
        let new = next.problems.iter().map(ToString::to_string).filter(|problem| !known.contains(problem));
        let words = new.collect::<Vec<_>>().join("; ");
        let step = "configure what is missing, or choose with --service, --solver, --webroot, --issuer";
        programme.blocked.push((called, Obstacle { code: "adopt-unresolved", words, step }));
    }
    (programme, resolved)
}

/// What only this host can say of it.
fn warn(accepted: &mut Accepted, after: &Resolved, who: &Identity) {
    let Some(spec) = after.wanted.lineages.get(&accepted.id) else { return };
    let notes = &mut accepted.offer.notes;
    if let Some(issuer) = spec.issuer().and_then(|id| after.wanted.issuers.get(id)) {
        notes.push(format!("it is renewed by issuer {}, {}", issuer.id, issuer.directory));
        let taken = accepted.find.account_key.is_some();
        if !issuer.accept_terms && !taken {
            notes.push(format!(
                "issuer {} wants its terms accepted first: write  accept-terms = true  into its table",
                issuer.id
            ));
        }
    }
    let outside = match &accepted.find.foundling.places {
        Found::Tree { root, .. } => Some(root.clone()),
        Found::Files(files) => files.first().map(|place| place.path.clone()),
    };
    if let (Some(path), false) = (outside, who.is_root()) {
        notes.push(format!(
            "the agent runs as {who} and must be able to write there ({path}): see privileges.md"
        ));
    }
}

impl Programme {
    fn show(&self) {
        for (called, id) in &self.already {
            print::line(&format!("{called}: already adopted, as {id}"));
        }
        for (called, obstacle) in &self.blocked {
            print::error(&format!("{called} is left out: {} [{}]", obstacle.words, obstacle.code));
            print::note(&format!("  do    {}", obstacle.step));
        }
        for accepted in &self.accepted {
            accepted.offer.show();
        }
    }

    fn exit(&self) -> Exit {
        if self.blocked.is_empty() { Exit::Fine } else { Exit::Failed }
    }

    fn json(&self, done: bool) -> Result<(), Failure> {
        print::json(&Told {
            version: 1,
            done,
            adopt: self.accepted.iter().map(|accepted| &accepted.offer).collect(),
            already: self
                .already
                .iter()
                .map(|(called, id)| Already { called, certificate: id.to_string() })
                .collect(),
            blocked: self
                .blocked
                .iter()
                .map(|(called, it)| Blocked { called, code: it.code, words: &it.words, step: it.step })
                .collect(),
        })
    }
}

/// Files accounts and pairs in the state, as the user that it belongs to.
fn file_all(loaded: &Loaded, programme: &mut Programme, who: &Identity) -> Result<(), Stop> {
    let me = Identity::current();
    let aside = if me.is_root() && !who.is_root() {
        owner::make_places(&loaded.settings, who)?;
        let failed = |error: privilege::CannotStepDown| {
            Failure::refused(Fault::Host, "cannot-step-down", error.to_string())
        };
        Some(privilege::step_aside(who).map_err(failed)?)
    } else {
        None
    };
    let filed = wire::runtime()?.block_on(async {
        let wired = Wired::new(loaded, Role::OneShot).await?;
        for accepted in &mut programme.accepted {
            let (fate, number) = wired.adopt(&accepted.id, &accepted.find, accepted.filed).await?;
            accepted.offer.account = match fate {
                AccountFate::Taken => "taken over".into(),
                AccountFate::OursStays => "ours with that CA stays".into(),
                AccountFate::None => accepted.offer.account.clone(),
            };
            let number = number.map_or_else(|| "nothing".into(), |number| format!("generation {number}"));
            tracing::debug!(lineage = %accepted.id, %number, "filed");
        }
        Ok::<_, Failure>(())
    });
    if let Some(aside) = aside {
        aside.back().map_err(|error| Failure::refused(Fault::Host, "cannot-step-down", error.to_string()))?;
    }
    Ok(filed?)
}

/// Copies credentials, then writes the configuration, the entry of a certificate after what it names, and
/// moves aside what makes the other tool renew.
fn write_all(programme: &Programme, who: &Identity, disables: bool) -> Result<(), Stop> {
    wire::runtime()?.block_on(async {
        for accepted in &programme.accepted {
            for copied in &accepted.offer.copies {
                let credentials = &accepted.find.credentials;
                if let Some((_, secret)) = credentials.iter().find(|(key, _)| *key == copied.key) {
                    write_secret(&copied.path, secret, who).await?;
                }
            }
            for written in &accepted.offer.writes {
                write_new(&written.path, &written.text).await?;
            }
            if let (true, Some(source)) = (disables, &accepted.find.foundling.source) {
                disable(source).await?;
            }
        }
        Ok(())
    })
}

async fn disable(source: &Path) -> Result<(), Failure> {
    let Some(dir) = source.parent() else { return Ok(()) };
    let mut name = source.as_os_str().to_owned();
    name.push(format!(".{ASIDE}"));
    let ops = vec![
        FsOp::Rename { from: source.to_owned(), to: name.into() },
        FsOp::SyncDir { path: dir.to_owned() },
    ];
    Disk::real().run(ops).await.map_err(|error| {
        let words = format!("{error}; the certificate is adopted, and the other tool still renews it");
        Failure::refused(Fault::Host, "adopt-source-active", words)
    })
}

/// A pass without orders: shows what was filed, and looks at the endpoints.
fn show_all(places: &Places, programme: &Programme, json: bool) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    owner::take_its_place(&loaded.settings)?;
    let ids: Vec<_> = programme.accepted.iter().map(|accepted| accepted.id.clone()).collect();
    let exit = wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let request = Request { upkeep_only: true, hurry: true, ..Request::default() };
        let summary = if json {
            wired.agent.pass_over(ids, &request, WAIT, Some).await
        } else {
            renew::pass(&wired, ids, &request, WAIT, false).await?
        };
        Ok::<_, Stop>(renew::exit(&summary, false, false))
    })?;
    if !json && !loaded.settings.watch_config {
        print::note("a running agent learns of it by  systemctl reload nolapse");
    }
    Ok(exit)
}
