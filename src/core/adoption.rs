//! Taking over a certificate that another tool keeps: what is to be written so that servers notice
//! nothing, and what a person has to know. Pure: nothing is read or written here.

use std::net::SocketAddr;

use super::dns_server::DnsServer;
use super::foundling::{
    FileOwner, FoundCa, FoundCall, FoundChallenge, FoundProvider, Foundling, Moment, Places,
};
use super::leaf::Leaf;
use super::name::{BadName, HookId, IssuerId, LineageId, SolverId, SubjectName};
use super::spec::{DnsProvider, KeyKind, Listen, Output, Part, Rights, SecretSource, SolverKind, Wanted};
use super::time::Timestamp;

/// What somebody says about it, where the tool does not or should not be followed.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub service: Option<String>,
    pub solver: Option<SolverId>,
    pub webroot: Option<String>,
    pub issuer: Option<IssuerId>,
    /// The CA's terms are agreed to, as far as an issuer is written.
    pub agree: bool,
    /// What the agent's user and group are called: files of theirs need no owner.
    pub user: String,
    pub group: String,
    /// Groups that the agent can give files to; `None` for root, who can give them to anybody.
    pub groups: Option<Vec<String>>,
    /// The directory in which copies of credentials are kept.
    pub credentials: String,
}

/// What is to become of one foundling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Adopt(Box<Adoption>),
    /// This certificate of ours has one of its names.
    Already(LineageId),
    Blocked(Obstacle),
}

/// Why it can't be taken over as it is, and what a person can do about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Stable and kebab-case.
    pub code: &'static str,
    pub words: String,
    pub step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    pub entry: Entry,
    /// Tables that the entry names and that are not there yet.
    pub tables: Vec<NewTable>,
    pub filing: Filing,
    /// What a person should know or do before the next renewal.
    pub notes: Vec<String>,
}

/// Whether the pair that is there becomes our first generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filing {
    /// As it was issued, with its own dates.
    Filed,
    /// Nothing to keep, for this reason: the next pass orders one.
    OrderedAnew(String),
}

/// `[certificate.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: LineageId,
    pub names: Vec<SubjectName>,
    /// `None`: as configured for all, else Let's Encrypt.
    pub issuer: Option<IssuerId>,
    pub service: Option<String>,
    pub solver: Option<SolverId>,
    pub hooks: Vec<HookId>,
    pub pre_hooks: Vec<HookId>,
    pub post_hooks: Vec<HookId>,
    pub key: KeyKind,
    pub reuse_key: bool,
    /// The root of a tree as certbot keeps it.
    pub tree: Option<String>,
    /// Of the tree's key; of outputs each has its own.
    pub rights: Option<Rights>,
    pub outputs: Vec<Output>,
}

/// A table of its own, which certificates share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewTable {
    Issuer { id: IssuerId, directory: String, accept_terms: bool },
    Solver { id: SolverId, how: NewSolver },
    Hook { id: HookId, call: FoundCall },
}

/// How a new solver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewSolver {
    /// By files below this directory.
    Webroot(String),
    /// By a listener at this port of every address, which something leads port 80 to.
    Port(u16),
    /// By handshakes (tls-alpn-01) at this port of every address, which something leads port 443 to.
    TlsPort(u16),
    /// By a text in DNS.
    Provider {
        word: &'static str,
        plain: Vec<(&'static str, String)>,
        /// The stems of their keys, and the files that hold copies of them.
        secrets: Vec<(&'static str, String)>,
    },
}

/// The port that http-01 is asked at (RFC 8555 §8.3).
const HTTP: u16 = 80;
/// The built-in solver that listens there.
const STANDALONE: &str = "standalone";
/// The port that tls-alpn-01 is asked at (RFC 8737 §3).
const TLS: u16 = 443;
/// The built-in solver that listens there, and the one that servers pass handshakes on to.
const TLS_STANDALONE: &str = "tls-standalone";
const TLS_LOOPBACK: &str = "tls-loopback";
/// Modes that a key, and a file without one, may have in our configuration.
const KEY_MODES: u32 = 0o640;
const CERT_MODES: u32 = 0o664;

/// Judges one foundling against what is configured.
pub fn plan(found: &Foundling, choice: &Choice, wanted: &Wanted, now: Timestamp) -> Verdict {
    match adoption(found, choice, wanted, now) {
        Ok(adoption) => Verdict::Adopt(Box::new(adoption)),
        Err(Refusal::Already(id)) => Verdict::Already(id),
        Err(Refusal::Blocked(obstacle)) => Verdict::Blocked(obstacle),
    }
}

enum Refusal {
    Already(LineageId),
    Blocked(Obstacle),
}

fn blocked(code: &'static str, words: String, step: &'static str) -> Refusal {
    Refusal::Blocked(Obstacle { code, words, step })
}

fn adoption(
    found: &Foundling,
    choice: &Choice,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Adoption, Refusal> {
    let leaf = found.pair.as_deref().ok();
    let names = if found.names.is_empty() {
        leaf.map(|leaf| leaf.names.clone()).unwrap_or_default()
    } else {
        found.names.clone()
    };
    if let Some(ours) =
        wanted.lineages.values().find(|spec| spec.names.iter().any(|name| names.contains(name)))
    {
        return Err(Refusal::Already(ours.id.clone()));
    }
    if names.is_empty() {
        let words = format!("{}: nothing says which names it is for", found.name);
        return Err(blocked("adopt-nameless", words, "configure it with  nolapse add NAME…"));
    }
    let mut id = id_of(found, &names)?;
    if wanted.lineages.contains_key(&id) || wanted.broken.contains_key(&id) {
        if matches!(found.places, Places::Tree { .. }) {
            let words = format!("another certificate of ours is called {id}");
            return Err(blocked("adopt-name-taken", words, "give that one another name first"));
        }
        id = free(
            &id,
            |id| wanted.lineages.contains_key(id) || wanted.broken.contains_key(id),
            LineageId::parse,
        );
    }
    let mut drawn = Drawn { wanted, tables: Vec::new(), notes: Vec::new() };
    let issuer = drawn.issuer(found, choice)?;
    let (service, solver) = drawn.proof(found, choice)?;
    let mut hooks = |moment: Moment| -> Result<Vec<HookId>, Refusal> {
        let of = found.hooks.iter().filter(|hook| hook.moment == moment);
        let mut ids = Vec::new();
        for hook in of {
            let id = drawn.hook(&hook.label, &hook.call)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    };
    let (pre_hooks, post_hooks) = (hooks(Moment::Before)?, hooks(Moment::Afterwards)?);
    let deployed = hooks(Moment::Deployed)?;
    let key = leaf.and_then(|leaf| leaf.key_kind).or(found.key_kind);
    if leaf.is_some() && key.is_none() {
        drawn.notes.push("its key is of a kind that is not made here; the next one is ECDSA P-256".into());
    }
    let (tree, rights, outputs) = places(found, choice, &mut drawn.notes);
    Ok(Adoption {
        filing: filing(leaf, &found.pair, now),
        entry: Entry {
            id,
            names,
            issuer,
            service,
            solver,
            hooks: deployed,
            pre_hooks,
            post_hooks,
            key: key.unwrap_or_default(),
            reuse_key: found.reuse_key,
            tree,
            rights,
            outputs,
        },
        tables: drawn.tables,
        notes: drawn.notes,
    })
}

/// A tree's name is in the paths that servers name, so it has to stay.
fn id_of(found: &Foundling, names: &[SubjectName]) -> Result<LineageId, Refusal> {
    let id = LineageId::from_table_name(&found.name);
    if let Places::Tree { .. } = found.places {
        return id.ok().filter(|id| id.as_str() == found.name).ok_or_else(|| {
            let words =
                format!("{:?} can't be the name of a certificate here, and it is in its paths", found.name);
            blocked("adopt-name-unfit", words, "rename it there first, or configure it anew")
        });
    }
    let first = names.iter().find(|name| name.base().is_some()).or(names.first());
    id.or_else(|_| {
        LineageId::from_table_name(&first.map(ToString::to_string).unwrap_or_default().replace(':', "-"))
    })
    .map_err(|bad| {
        blocked(
            "adopt-name-unfit",
            format!("{:?}: {bad}", found.name),
            "configure it with  nolapse add NAME…",
        )
    })
}

fn filing(leaf: Option<&Leaf>, pair: &Result<Box<Leaf>, String>, now: Timestamp) -> Filing {
    Filing::OrderedAnew(match (leaf, pair) {
        (_, Err(why)) => why.clone(),
        (Some(leaf), _) if leaf.self_signed => "it is self-signed, so no CA vouches for it".into(),
        (Some(leaf), _) if now >= leaf.not_after => format!("it ended {}", leaf.not_after.brief()),
        (Some(leaf), _) if now < leaf.not_before => format!("it begins {} only", leaf.not_before.brief()),
        _ => return Filing::Filed,
    })
}

impl NewSolver {
    /// Every address, with that port.
    pub fn listen(port: u16) -> SocketAddr {
        SocketAddr::from(([0u16; 8], port))
    }

    fn is(&self, kind: &SolverKind) -> bool {
        match (self, kind) {
            (Self::Webroot(root), SolverKind::Webroot { root: known }) => root == known,
            (Self::Port(port), SolverKind::Http { listen: Listen::Address(known) })
            | (Self::TlsPort(port), SolverKind::TlsAlpn { listen: Listen::Address(known) }) => {
                *known == Self::listen(*port)
            }
            (Self::Provider { word, plain, secrets }, SolverKind::Dns(dns)) => {
                let same = |known: &[(&str, SecretSource)]| {
                    let file = |path: &String| SecretSource::File(path.clone());
                    known.len() == secrets.len()
                        && secrets.iter().all(|(stem, path)| known.contains(&(*stem, file(path))))
                };
                match &dns.provider {
                    DnsProvider::Vendor(account) => {
                        account.vendor.word == *word && account.plain == *plain && same(&account.secrets)
                    }
                    DnsProvider::Rfc2136 { server, key } => {
                        let wanted = plain.first().map(|(_, server)| server.as_str());
                        let known: Vec<_> = key.iter().map(|key| ("tsig-key", key.clone())).collect();
                        let at = wanted.map(|text| DnsServer::parse(text).ok());
                        *word == dns.provider.word() && at.flatten() == *server && same(&known)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// A provider with copies of its credentials in files of the solver's name.
    fn provider(found: &FoundProvider, id: &SolverId, dir: &str) -> Self {
        let file = |stem: &&'static str| (*stem, format!("{dir}/{id}.{stem}"));
        Self::Provider {
            word: found.word,
            plain: found.plain.clone(),
            secrets: found.secrets.iter().map(file).collect(),
        }
    }
}

/// What is written besides the entry, as it is found out.
struct Drawn<'a> {
    wanted: &'a Wanted,
    tables: Vec<NewTable>,
    notes: Vec<String>,
}

impl Drawn<'_> {
    fn issuer(&mut self, found: &Foundling, choice: &Choice) -> Result<Option<IssuerId>, Refusal> {
        if let Some(id) = &choice.issuer {
            if self.wanted.issuers.contains_key(id) {
                return Ok(Some(id.clone()));
            }
            let words = format!("no issuer {id} is configured");
            return Err(blocked(
                "adopt-issuer-unknown",
                words,
                "write its table, or name another with --issuer",
            ));
        }
        let Some(ca) = &found.ca else {
            if !found.tool.speaks_acme() {
                let who = "it was not issued by ACME, as far as can be told; its renewal is asked of the issuer \
                           that the entry names, or else of the usual one (--issuer chooses)";
                self.notes.push(who.into());
            }
            return Ok(None);
        };
        if let Some(spec) = self.wanted.issuers.values().find(|spec| ca.is(&spec.directory)) {
            return Ok(Some(spec.id.clone()));
        }
        let FoundCa::Directory(directory) = ca else {
            let words =
                format!("its CA is {ca}, which is no issuer of ours, and {} keeps no more of it", found.tool);
            return Err(blocked(
                "adopt-issuer-unknown",
                words,
                "write an [issuer.NAME] with its directory first",
            ));
        };
        let host = directory.split_once("://").map_or(&**directory, |(_, rest)| rest);
        let base = IssuerId::parse(&slug(host.split('/').next().unwrap_or_default())).map_err(|_| {
            let words = format!("its CA's directory {directory:?} is no URL");
            blocked("adopt-issuer-unknown", words, "write an [issuer.NAME] with its directory first")
        })?;
        let id = free(&base, |id| self.wanted.issuers.contains_key(id), IssuerId::parse);
        let directory = directory.clone();
        self.tables.push(NewTable::Issuer { id: id.clone(), directory, accept_terms: choice.agree });
        Ok(Some(id))
    }

    /// The service that serves it and the solver that proves it; `None` where the other says enough.
    fn proof(
        &mut self,
        found: &Foundling,
        choice: &Choice,
    ) -> Result<(Option<String>, Option<SolverId>), Refusal> {
        let service = choice.service.clone().or(found.service.map(ToOwned::to_owned));
        let solver = match (&choice.solver, &choice.webroot, &found.challenge) {
            (Some(id), ..) if self.wanted.solvers.contains_key(id) => Some(id.clone()),
            (Some(id), ..) => {
                let words = format!("no solver {id} is configured");
                return Err(blocked("adopt-solver-unknown", words, "write its table, or name another"));
            }
            (None, Some(root), _) | (None, None, FoundChallenge::Webroot(root)) => {
                Some(self.solver(NewSolver::Webroot(root.clone()))?)
            }
            (None, None, FoundChallenge::Standalone(HTTP)) => SolverId::parse(STANDALONE).ok(),
            (None, None, FoundChallenge::Standalone(port)) => Some(self.solver(NewSolver::Port(*port))?),
            (None, None, FoundChallenge::Handshake(TLS)) => SolverId::parse(TLS_STANDALONE).ok(),
            (None, None, FoundChallenge::Handshake(port)) => Some(self.solver(NewSolver::TlsPort(*port))?),
            (None, None, FoundChallenge::HandshakePassedOn) => {
                self.notes.push(format!(
                    "the server that passed handshakes of acme-tls/1 on to {} must pass them on to 127.0.0.1:8090 \
                     (solver {TLS_LOOPBACK}; files for nginx and haproxy are shipped)",
                    found.tool
                ));
                SolverId::parse(TLS_LOOPBACK).ok()
            }
            (None, None, FoundChallenge::Provider(provider)) => {
                Some(self.provider(provider, &choice.credentials)?)
            }
            (None, None, FoundChallenge::Server(name)) => {
                self.notes.push(format!(
                    "{} changed {name}'s configuration for each challenge, nolapse never does: the server for port \
                     80 needs the shipped snippet once, or name another way with --webroot or --solver",
                    found.tool
                ));
                None
            }
            (None, None, FoundChallenge::Other(words)) => {
                let step = "configure a solver for it, then name it with --solver; or --webroot DIR";
                return Err(blocked("adopt-challenge", words.clone(), step));
            }
            (None, None, FoundChallenge::Unknown) => {
                if found.tool.speaks_acme() {
                    let how = if service.is_some() {
                        "as its service is"
                    } else {
                        "as certificates are by default"
                    };
                    self.notes.push(format!(
                        "{} does not keep how it proved the names; they will be proved {how} (--webroot and \
                         --solver choose)",
                        found.tool
                    ));
                }
                None
            }
        };
        Ok((service, solver))
    }

    /// A solver that does this: one that there is, else a new one.
    fn solver(&mut self, how: NewSolver) -> Result<SolverId, Refusal> {
        if let Some(spec) = self.wanted.solvers.values().find(|spec| how.is(&spec.kind)) {
            return Ok(spec.id.clone());
        }
        let base = match &how {
            NewSolver::Webroot(root) => format!("webroot{root}"),
            NewSolver::Port(port) => format!("{STANDALONE}-{port}"),
            NewSolver::TlsPort(port) => format!("{TLS_STANDALONE}-{port}"),
            NewSolver::Provider { word, .. } => (*word).to_owned(),
        };
        let base = SolverId::parse(&slug(&base)).map_err(|bad| unnamed(&base, &bad))?;
        let id = free(&base, |id| self.wanted.solvers.contains_key(id), SolverId::parse);
        self.tables.push(NewTable::Solver { id: id.clone(), how });
        Ok(id)
    }

    /// One of the same name that does the same was written for another certificate of that tool.
    fn provider(&mut self, found: &FoundProvider, dir: &str) -> Result<SolverId, Refusal> {
        let base = format!("{}{}", found.word, found.from.display());
        let base = SolverId::parse(&slug(&base)).map_err(|bad| unnamed(&base, &bad))?;
        if let Some(spec) = self.wanted.solvers.get(&base)
            && NewSolver::provider(found, &base, dir).is(&spec.kind)
        {
            return Ok(base);
        }
        let id = free(&base, |id| self.wanted.solvers.contains_key(id), SolverId::parse);
        let how = NewSolver::provider(found, &id, dir);
        self.notes.push(format!(
            "a change of the credentials in {} no longer counts for it: the copies are what is used",
            found.from.display()
        ));
        self.tables.push(NewTable::Solver { id: id.clone(), how });
        Ok(id)
    }

    fn hook(&mut self, label: &str, call: &FoundCall) -> Result<HookId, Refusal> {
        let new = self.tables.iter().find_map(|table| match table {
            NewTable::Hook { id, call: known } if known == call => Some(id.clone()),
            _ => None,
        });
        let there = self.wanted.hooks.values().find(|hook| call.is(&hook.call) && hook.check.is_none());
        if let Some(id) = new.or_else(|| there.map(|hook| hook.id.clone())) {
            return Ok(id);
        }
        let base = HookId::parse(&slug(label)).map_err(|bad| unnamed(label, &bad))?;
        let taken = |id: &HookId| {
            let new = |table: &NewTable| matches!(table, NewTable::Hook { id: new, .. } if new == id);
            self.wanted.hooks.contains_key(id) || self.tables.iter().any(new)
        };
        let id = free(&base, taken, HookId::parse);
        self.tables.push(NewTable::Hook { id: id.clone(), call: call.clone() });
        Ok(id)
    }
}

/// Longest name made from something else, in characters.
const NAME_MOST: usize = 100;

/// As much of a text as a name of ours may hold.
fn slug(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = text.chars().take(NAME_MOST).map(fits).collect();
    slug.trim_matches('-').to_owned()
}

fn unnamed(text: &str, bad: &BadName) -> Refusal {
    blocked(
        "adopt-name-unfit",
        format!("nothing here can be named after {text:?}: {bad}"),
        "configure it by hand",
    )
}

/// `base`, or `base-2` and so on.
fn free<T: Clone + std::fmt::Display, E>(
    base: &T,
    taken: impl Fn(&T) -> bool,
    parse: impl Fn(&str) -> Result<T, E>,
) -> T {
    let numbered = (2..u32::MAX).filter_map(|number| parse(&format!("{base}-{number}")).ok());
    // There are fewer of them than numbers.
    std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_else(|| base.clone())
}

/// The places where other programs read it stay, with their owners and, as far as a key may have
/// them, their modes.
fn places(
    found: &Foundling,
    choice: &Choice,
    notes: &mut Vec<String>,
) -> (Option<String>, Option<Rights>, Vec<Output>) {
    let mut rights = |owner: &FileOwner, what: &str| {
        let key_mode = owner.mode & KEY_MODES | 0o400;
        if owner.mode & 0o007 != 0 {
            notes.push(format!(
                "{what} was open to everybody ({:04o}); it becomes {key_mode:04o}",
                owner.mode
            ));
        }
        let mut user = (owner.user != choice.user).then(|| owner.user.clone());
        let mut group = (owner.group != choice.group).then(|| owner.group.clone());
        if let Some(groups) = &choice.groups {
            // Asking for what can't be given would fail the next renewal.
            let lost: Vec<_> =
                user.take().into_iter().chain(group.take_if(|group| !groups.contains(group))).collect();
            if !lost.is_empty() {
                let (lost, agent) = (lost.join(" and "), &choice.user);
                notes.push(format!(
                    "{what} belonged to {lost}; the agent runs as {agent} and can't give it back"
                ));
            }
        }
        Rights { owner: user, group, key_mode, cert_mode: owner.mode & CERT_MODES | 0o400 }
    };
    match &found.places {
        Places::Tree { root, key } => {
            let rights = rights(key, "its key");
            (Some(root.clone()), Some(Rights { cert_mode: 0o644, ..rights }), Vec::new())
        }
        Places::Files(files) => {
            let outputs = files.iter().map(|place| {
                let rights = if place.part.holds_key() {
                    rights(&place.owner, &place.path)
                } else {
                    let plain = FileOwner { mode: place.owner.mode & !0o007, ..place.owner.clone() };
                    Rights { cert_mode: place.owner.mode & CERT_MODES | 0o400, ..rights(&plain, &place.path) }
                };
                Output { form: place.part.into(), path: place.path.clone(), rights: rights.into() }
            });
            (None, None, outputs.collect())
        }
    }
}

/// What a file among a tool's holds, by a usual name for it.
pub fn part_of(file_name: &str) -> Option<Part> {
    Part::ALL.into_iter().find(|part| {
        let stem = part.file_name().trim_end_matches(".pem");
        file_name == part.file_name() || file_name == stem
    })
}

#[cfg(test)]
mod tests;
