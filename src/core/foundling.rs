//! A certificate that another tool keeps, or nobody: everything that was read about it, without
//! its secrets.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::leaf::Leaf;
use super::name::SubjectName;
use super::spec::{Call, KeyKind, Part};

/// Whose files they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    Certbot,
    Lego,
    AcmeSh,
    Dehydrated,
    Caddy,
    Acmetool,
    /// A certificate and its key as plain files: bought by hand, or made by something unknown.
    Files,
}

impl Tool {
    pub const ALL: [Self; 7] =
        [Self::Certbot, Self::Lego, Self::AcmeSh, Self::Dehydrated, Self::Caddy, Self::Acmetool, Self::Files];

    /// As it is typed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certbot => "certbot",
            Self::Lego => "lego",
            Self::AcmeSh => "acme.sh",
            Self::Dehydrated => "dehydrated",
            Self::Caddy => "caddy",
            Self::Acmetool => "acmetool",
            Self::Files => "files",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.word() == word)
    }

    /// Whether it asks an ACME CA, and so what it keeps was issued by one.
    pub const fn speaks_acme(self) -> bool {
        !matches!(self, Self::Files)
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a tool's file ends with that was moved aside, so that the tool renews no more.
pub const ASIDE: &str = "nolapse";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foundling {
    pub tool: Tool,
    /// What the tool calls it; not yet a name of ours.
    pub name: String,
    /// Every file that was read about it.
    pub read: Vec<PathBuf>,
    /// What the tool asks for; of plain files, what the certificate says.
    pub names: Vec<SubjectName>,
    /// Of a key and certificate that belong together, else why there is no such pair.
    pub pair: Result<Box<Leaf>, String>,
    /// `None` for a kind that we don't make, or where there is no key.
    pub key_kind: Option<KeyKind>,
    pub ca: Option<FoundCa>,
    pub account: Option<FoundAccount>,
    pub challenge: FoundChallenge,
    /// The service of ours that the tool reloads by itself.
    pub service: Option<&'static str>,
    pub hooks: Vec<FoundHook>,
    pub places: Places,
    pub reuse_key: bool,
    /// What makes the tool renew it and can be moved aside, where there is one such file.
    pub source: Option<PathBuf>,
    /// How a person stops the tool from renewing it; empty for plain files.
    pub stop: String,
    /// What has no counterpart here, and why.
    pub untranslated: Vec<String>,
}

/// The CA, as exactly as the tool says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoundCa {
    Directory(String),
    /// Host and port alone.
    Host(String),
    /// The directory's URL without its scheme, with a dash for each slash and colon.
    Dashed(String),
}

impl FoundCa {
    /// Whether that may well be this directory.
    pub fn is(&self, directory: &str) -> bool {
        let bare = directory.split_once("://").map_or(directory, |(_, rest)| rest);
        match self {
            Self::Directory(url) => url.trim_end_matches('/') == directory.trim_end_matches('/'),
            Self::Host(host) => bare.split('/').next() == Some(host),
            Self::Dashed(dashed) => bare.trim_end_matches('/').replace(['/', ':'], "-") == *dashed,
        }
    }
}

impl fmt::Display for FoundCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(text) | Self::Host(text) | Self::Dashed(text) => f.write_str(text),
        }
    }
}

/// An account of the tool's at that CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAccount {
    /// Where its key was read.
    pub path: PathBuf,
    /// What the CA calls it, where the tool knows.
    pub url: Option<String>,
    /// Why its key can't be used here, where it can't.
    pub unusable: Option<String>,
}

/// How the tool proved the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundChallenge {
    /// It does not say.
    Unknown,
    /// By files below this directory.
    Webroot(String),
    /// By a listener of its own at this port.
    Standalone(u16),
    /// By handshakes (tls-alpn-01) at a listener of its own at this port.
    Handshake(u16),
    /// By handshakes that a server passes on to it.
    HandshakePassedOn,
    /// With the help of a web server that we know by this name.
    Server(&'static str),
    /// By a text in DNS, with credentials that were found.
    Provider(FoundProvider),
    /// In a way that must be configured here first; what a person reads about it.
    Other(String),
}

/// A provider of ours, and what it was found to be known by. Its secrets are elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProvider {
    /// As `provider` names it.
    pub word: &'static str,
    pub plain: Vec<(&'static str, String)>,
    /// The stems of their keys.
    pub secrets: Vec<&'static str>,
    /// The file that holds them.
    pub from: PathBuf,
}

/// A program that the tool runs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundHook {
    pub moment: Moment,
    /// What it is called here, where no other has the name.
    pub label: String,
    pub call: FoundCall,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundCall {
    /// A program and its arguments.
    Run(Vec<String>),
    /// Every program in a directory.
    Parts(String),
}

impl FoundCall {
    /// What a shell is given to read.
    pub fn shell(command: &str) -> Self {
        Self::Run(vec!["/bin/sh".into(), "-c".into(), command.into()])
    }

    /// Whether a hook of ours does just that.
    pub fn is(&self, call: &Call) -> bool {
        match (self, call) {
            (Self::Run(found), Call::Run(ours)) => found == ours,
            (Self::Parts(found), Call::Parts(ours)) => found == ours,
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the CA is asked.
    Before,
    /// After that, however it went.
    Afterwards,
    /// When there is a new certificate.
    Deployed,
}

/// Where other programs read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// `ROOT/live/NAME`, as certbot keeps it.
    Tree {
        root: String,
        key: FileOwner,
    },
    Files(Vec<Place>),
}

/// One file that a server may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub part: Part,
    pub path: String,
    pub owner: FileOwner,
}

/// Names where the host knows them, else numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOwner {
    pub user: String,
    pub group: String,
    pub mode: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_is_known_again_by_as_much_as_a_tool_keeps_of_it() {
        let directory = "https://acme.example:14000/v2/directory";
        for (found, is) in [
            (FoundCa::Directory(directory.into()), true),
            (FoundCa::Directory(format!("{directory}/")), true),
            (FoundCa::Directory("https://acme.example/v2/directory".into()), false),
            (FoundCa::Host("acme.example:14000".into()), true),
            (FoundCa::Host("acme.example".into()), false),
            (FoundCa::Dashed("acme.example-14000-v2-directory".into()), true),
            (FoundCa::Dashed("acme.example-v2-directory".into()), false),
        ] {
            assert_eq!(found.is(directory), is, "{found:?}");
        }
    }

    #[test]
    fn tools_are_typed_as_they_are_called() {
        for tool in Tool::ALL {
            assert_eq!(Tool::parse(tool.word()), Some(tool));
        }
        assert_eq!(Tool::parse("Certbot"), None);
    }

    #[test]
    fn a_hook_is_known_again_by_what_it_does() {
        let call = |words: &[&str]| Call::Run(words.iter().map(|word| (*word).to_owned()).collect());
        let parts = |dir: &str| Call::Parts(dir.to_owned());
        for (found, ours, same) in [
            (FoundCall::shell("reload"), call(&["/bin/sh", "-c", "reload"]), true),
            (FoundCall::shell("reload"), call(&["/bin/sh", "-c", "restart"]), false),
            (FoundCall::Parts("/etc/hooks".into()), parts("/etc/hooks"), true),
            (FoundCall::Parts("/etc/hooks".into()), parts("/etc/other"), false),
            (FoundCall::Parts("/etc/hooks".into()), call(&["/etc/hooks"]), false),
        ] {
            assert_eq!(found.is(&ours), same, "{found:?} {ours:?}");
        }
    }
}
