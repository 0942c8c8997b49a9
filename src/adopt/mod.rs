//! Trees of other tools, read as they lie on the disk: nothing of theirs is run or changed. One
//! file a tool; the formats themselves are read in `codec/`.

mod acme_sh;
mod acmetool;
mod caddy;
mod certbot;
mod dehydrated;
mod dns;
mod files;
mod lego;
mod reader;
mod rival;

use std::path::{Path, PathBuf};

use crate::codec::bundle::Bundle;
use crate::codec::pem::KeyDer;
use crate::core::failure::{Failure, Fault};
use crate::core::foundling::{Foundling, Tool};
use crate::sys::disk::Disk;

pub use dns::Credential;
pub use rival::{Rival, rivals};

use reader::Reader;

/// A foundling with its secrets.
pub struct Find {
    pub foundling: Foundling,
    /// Its key and chain, where they belong together.
    pub bundle: Option<Bundle>,
    /// The key of its account, where it is of a kind that can be used here.
    pub account_key: Option<KeyDer>,
    /// The secrets of the provider that its challenge names.
    pub credentials: Vec<Credential>,
}

/// Most certificates of one tool that are looked at.
const CERTIFICATES_MAX: usize = 2_000;

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub struct Quest<'a> {
    pub tool: Tool,
    /// The tool's directory; its usual places when left out.
    pub path: Option<&'a Path>,
    /// Of plain files: where the key is, if not beside the certificate.
    pub key: Option<&'a Path>,
}

/// Everything that this tool keeps there.
///
/// Codes: `adopt-nothing-found`, `adopt-unreadable`.
pub fn search(disk: &Disk, quest: &Quest<'_>) -> Result<Vec<Find>, Failure> {
    let reader = Reader { disk, secrets: true };
    let Quest { tool, path, .. } = *quest;
    if tool == Tool::Files {
        let Some(path) = path else {
            return Err(refused("adopt-nothing-found", "of plain files a path must be given".to_owned()));
        };
        return readable(disk, path).and_then(|()| files::find(&reader, path, quest.key));
    }
    let dirs = match path {
        Some(path) => {
            readable(disk, path)?;
            vec![path.to_owned()]
        }
        None => usual(tool, Path::new("/")),
    };
    let mut found: Vec<_> = dirs.iter().flat_map(|dir| find(&reader, tool, dir)).collect();
    if tool == Tool::Lego {
        lego::read_lines(&mut found, &rival::lines(&reader, Path::new("/"), tool));
    }
    if found.is_empty() {
        let places: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let words = format!(
            "no certificate of {tool} was found in {}; name its directory, and run this as root",
            places.join(", ")
        );
        return Err(refused("adopt-nothing-found", words));
    }
    Ok(found)
}

fn find(reader: &Reader<'_>, tool: Tool, dir: &Path) -> Vec<Find> {
    match tool {
        Tool::Certbot => certbot::find(reader, dir),
        Tool::Lego => lego::find(reader, dir),
        Tool::AcmeSh => acme_sh::find(reader, dir),
        Tool::Dehydrated => dehydrated::find(reader, dir),
        Tool::Caddy => caddy::find(reader, dir),
        Tool::Acmetool => acmetool::find(reader, dir),
        Tool::Files => Vec::new(),
    }
}

/// Where a tool keeps its certificates if nobody tells it otherwise, below `root`.
fn usual(tool: Tool, root: &Path) -> Vec<PathBuf> {
    let places: &[&str] = match tool {
        Tool::Certbot => &["etc/letsencrypt"],
        Tool::Lego => &["etc/lego", "var/lib/lego", "root/.lego"],
        Tool::AcmeSh => &["root/.acme.sh", "acme.sh"],
        Tool::Dehydrated => &["etc/dehydrated"],
        Tool::Caddy => &["var/lib/caddy/.local/share/caddy", "root/.local/share/caddy", "data/caddy"],
        Tool::Acmetool => &["var/lib/acme"],
        Tool::Files => &[],
    };
    places.iter().map(|place| root.join(place)).collect()
}

fn readable(disk: &Disk, path: &Path) -> Result<(), Failure> {
    disk.resolve(path).map(drop).map_err(|error| {
        refused("adopt-unreadable", format!("{}: {error}; run this as root", path.display()))
    })
}

fn refused(code: &str, words: String) -> Failure {
    Failure::refused(Fault::Config, code, words)
}
