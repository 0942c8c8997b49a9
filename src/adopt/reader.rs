//! Reading somebody else's files: bounded, and with who owns them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group};

use super::Find;
use crate::codec::bundle::{self, Bundle};
use crate::codec::jwk;
use crate::codec::pem::{self, KeyDer};
use crate::core::failure::plain;
use crate::core::foundling::{
    ASIDE, FileOwner, FoundAccount, FoundCa, FoundChallenge, Foundling, Place, Places, Tool,
};
use crate::core::name::SubjectName;
use crate::core::spec::Part;
use crate::sys::disk::{Disk, FileKind};
use crate::sys::privilege::Identity;

/// Largest file read, in bytes.
pub(super) const FILE_MAX: usize = 256 << 10;
/// Longest name shown of what a tool calls something, in characters.
const NAME_MAX: usize = 200;

pub(super) struct Reader<'a> {
    pub disk: &'a Disk,
    /// Whether keys are read; without them nothing is taken over.
    pub secrets: bool,
}

impl Reader<'_> {
    pub fn text(&self, path: &Path) -> Option<String> {
        let content = self.disk.read(path, FILE_MAX).ok()?;
        Some(String::from_utf8_lossy(content.bytes()).into_owned())
    }

    pub fn there(&self, path: &Path) -> bool {
        self.disk.resolve(path).is_ok()
    }

    /// Names in a directory; none where there is no such, or no right to look.
    pub fn names(&self, dir: &Path) -> Vec<String> {
        self.disk.list(dir).unwrap_or_default()
    }

    pub fn is_dir(&self, path: &Path) -> bool {
        let resolved = self.disk.resolve(path);
        resolved.and_then(|path| self.disk.stat(&path)).is_ok_and(|stat| stat.kind == FileKind::Dir)
    }

    /// A tool's own file about a certificate, and whether that makes the tool renew it: one that
    /// was moved aside does not, and is of use to who looks for what is there.
    pub fn source(&self, conf: &Path) -> Option<(PathBuf, bool)> {
        if self.there(conf) {
            return Some((conf.to_owned(), true));
        }
        let mut aside = conf.as_os_str().to_owned();
        aside.push(format!(".{ASIDE}"));
        let aside = PathBuf::from(aside);
        (self.secrets && self.there(&aside)).then_some((aside, false))
    }

    /// Whether a directory holds anything that would be run.
    pub fn holds_programs(&self, dir: &Path) -> bool {
        self.names(dir).iter().any(|name| !name.starts_with('.') && !name.ends_with('~'))
    }

    /// Begins a foundling with its pair and its names. `chain` may be several files that are read
    /// as one.
    pub fn foundling(&self, tool: Tool, name: &str, chain: &[PathBuf], key: &Path) -> Find {
        let mut text = Vec::new();
        let mut read = Vec::new();
        for path in chain {
            if let Ok(content) = self.disk.read(path, FILE_MAX) {
                text.extend_from_slice(content.bytes());
                text.push(b'\n');
                read.push(path.clone());
            }
        }
        let leaf = bundle::leaf_of(&text).ok();
        let bundle = self.bundle(&text, key);
        if self.secrets && self.there(key) && !read.iter().any(|path| path == key) {
            read.push(key.to_owned());
        }
        let names = leaf.as_ref().map(|leaf| leaf.names.clone()).unwrap_or_default();
        let foundling = Foundling {
            tool,
            name: plain(name, NAME_MAX),
            read,
            names,
            pair: bundle.as_ref().map(|bundle| Box::new(bundle.leaf().clone())).map_err(Clone::clone),
            key_kind: bundle
                .as_ref()
                .ok()
                .map_or_else(|| leaf.and_then(|leaf| leaf.key_kind), Bundle::key_kind),
            ca: None,
            account: None,
            challenge: FoundChallenge::Unknown,
            service: None,
            hooks: Vec::new(),
            places: Places::Files(Vec::new()),
            reuse_key: false,
            source: None,
            stop: String::new(),
            untranslated: Vec::new(),
        };
        Find { foundling, bundle: bundle.ok(), account_key: None, credentials: Vec::new() }
    }

    fn bundle(&self, chain: &[u8], key: &Path) -> Result<Bundle, String> {
        if !self.secrets {
            return Err("its key was not read".into());
        }
        let text = self.disk.read(key, FILE_MAX).map_err(|error| format!("{}: {error}", key.display()))?;
        Bundle::found(chain, text.bytes()).map_err(|error| plain(&error.to_string(), NAME_MAX))
    }

    /// A file that servers may name, if it is there.
    pub fn place(&self, part: Part, path: &Path) -> Option<Place> {
        let owner = self.owner(path)?;
        Some(Place { part, path: path.to_str()?.to_owned(), owner })
    }

    pub fn places(&self, parts: &[(Part, PathBuf)]) -> Places {
        let mut known = BTreeSet::new();
        let places = parts.iter().filter(|(_, path)| known.insert(path.clone()));
        Places::Files(places.filter_map(|(part, path)| self.place(*part, path)).collect())
    }

    /// Of the file that a path leads to in the end.
    pub fn owner(&self, path: &Path) -> Option<FileOwner> {
        let stat = self.disk.resolve(path).and_then(|path| self.disk.stat(&path)).ok()?;
        let user = Identity::of_user(stat.uid, stat.gid).name.unwrap_or_else(|| stat.uid.to_string());
        let group = Group::from_gid(Gid::from_raw(stat.gid)).ok().flatten();
        let group = group.map_or_else(|| stat.gid.to_string(), |group| group.name);
        Some(FileOwner { user, group, mode: stat.mode & 0o777 })
    }

    /// An account with its key, where that is of the one kind that our accounts have.
    pub fn account(&self, path: &Path, url: Option<&str>) -> (FoundAccount, Option<KeyDer>) {
        let account =
            |unusable| FoundAccount { path: path.to_owned(), url: url.map(ToOwned::to_owned), unusable };
        if !self.secrets {
            return (account(Some("it was not read".into())), None);
        }
        let content = match self.disk.read(path, FILE_MAX) {
            Ok(content) => content,
            Err(error) => return (account(Some(error.to_string())), None),
        };
        let is_jwk = content.bytes().trim_ascii_start().first() == Some(&b'{');
        let key = if is_jwk {
            jwk::private_key(content.bytes()).map_err(|error| error.to_string())
        } else {
            let key = pem::private_key(content.bytes()).map_err(|error| error.to_string());
            key.and_then(|key| jwk::account_key(&key).map_err(|error| error.to_string()))
        };
        match key {
            Ok(key) if url.is_some() => (account(None), Some(key)),
            Ok(_) => (account(Some("its URL at the CA is not known".into())), None),
            Err(why) => (account(Some(why)), None),
        }
    }
}

impl Find {
    pub(super) fn with_dns(&mut self, found: super::dns::Found) {
        self.foundling.read.extend(found.read);
        self.foundling.challenge = found.challenge;
        self.credentials = found.credentials;
    }

    pub(super) fn with_account(&mut self, (account, key): (FoundAccount, Option<KeyDer>)) {
        self.foundling.read.push(account.path.clone());
        self.foundling.account = Some(account);
        self.account_key = key;
    }
}

/// Names from texts; what is none is left out.
pub(super) fn subjects<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Vec<SubjectName> {
    let mut names: Vec<_> =
        texts.into_iter().filter_map(|text| SubjectName::parse(text.as_ref().trim()).ok()).collect();
    let mut known = BTreeSet::new();
    names.retain(|name| known.insert(name.clone()));
    names
}

/// `https://acme.example:14000/dir` as `acme.example:14000/dir`.
pub(super) fn schemeless(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// The host, with its port, of a URL.
pub(super) fn host(url: &str) -> Option<&str> {
    schemeless(url).split('/').next().filter(|host| !host.is_empty())
}

/// By the host of any URL of its own.
pub(super) fn ca_of(url: Option<&str>) -> Option<FoundCa> {
    url.and_then(host).map(|host| FoundCa::Host(host.to_owned()))
}

/// What cannot be asked here, in a sentence about how names are proved.
pub(super) fn by_dns(how: &str) -> FoundChallenge {
    let how = plain(how, NAME_MAX);
    FoundChallenge::Other(format!(
        "its names are proved by dns-01 ({how}), and that set-up is not taken over"
    ))
}

pub(super) fn ends_with(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == extension)
}
