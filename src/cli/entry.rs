//! Writing a configuration file that is not there yet.

use std::path::{Path, PathBuf};

use crate::cli::{Exit, Stop, print};
pub use crate::config::draft::quoted;
use crate::config::{self, Facts, Resolved, Source};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::{Content, FileRights, FsOp, temporary};
use crate::sys::disk::{Disk, DiskError};
use crate::sys::privilege::Identity;
use crate::wire::{self, Places};

/// Configuration is for everybody to read: secrets are elsewhere, by their place only.
const FILE_MODE: u32 = 0o644;
const DIR_MODE: u32 = 0o755;
/// Whom a credential is for, the agent, and nobody else.
const SECRET_MODE: u32 = 0o600;

/// The configuration to which something is to be added.
pub struct Ground {
    pub file: PathBuf,
    pub sources: Vec<Source>,
    pub facts: Facts,
    pub before: Resolved,
}

impl Ground {
    /// As it is now. One that can't be used is told of, and that nothing was `done` for it.
    pub fn read(places: &Places, done: &str) -> Result<Self, Stop> {
        let file = wire::config_file(places);
        let sources = wire::read_sources(&file)?;
        let facts = wire::facts(places);
        let before = config::resolve(&sources, &facts);
        if before.fatal() {
            for problem in before.problems.iter().filter(|problem| problem.is_fatal()) {
                print::note(&problem.to_string());
            }
            print::error(&format!("the configuration can't be used; mend it first, nothing was {done}"));
            return Err(Stop::Said(Exit::Configuration));
        }
        Ok(Self { file, sources, facts, before })
    }
}

/// Writes `text` durably as a new file; the directories that lead there are made. A file that is
/// there already stays as it is, also when it appears at this moment.
pub async fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    write(path, Content::new(text.as_bytes().to_vec()), FileRights::mode(FILE_MODE)).await
}

/// As [`write_new`], for the agent's user alone to read. One that is there and says the same was written
/// by a run that went no further.
pub async fn write_secret(path: &Path, secret: &str, who: &Identity) -> Result<(), Failure> {
    let content = Content::new(secret.as_bytes().to_vec());
    if path.symlink_metadata().is_ok() {
        if Disk::real().read(path, secret.len() + 1).is_ok_and(|there| there.bytes() == content.bytes()) {
            return Ok(());
        }
        let words =
            format!("{} is there and holds something else; move it away, then try again", path.display());
        return Err(Failure::refused(Fault::Config, "not-written", words));
    }
    let given = (Identity::current().uid != who.uid).then_some(who);
    let rights = FileRights {
        mode: SECRET_MODE,
        owner: given.map(|who| who.uid.to_string()),
        group: given.map(|who| who.gid.to_string()),
    };
    write(path, content, rights).await
}

async fn write(path: &Path, content: Content, rights: FileRights) -> Result<(), Failure> {
    let disk = Disk::real();
    let mut ops = Vec::new();
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut missing: Vec<_> = dir.ancestors().take_while(|each| disk.stat(each).is_err()).collect();
    missing.retain(|each| !each.as_os_str().is_empty());
    for each in missing.into_iter().rev() {
        ops.push(FsOp::MakeDir { path: each.to_owned(), rights: FileRights::mode(DIR_MODE) });
        ops.extend(each.parent().map(|parent| FsOp::SyncDir { path: parent.to_owned() }));
    }
    let Some(unfinished) = temporary(path) else {
        let words = format!("{} is no path of a file", path.display());
        return Err(Failure::refused(Fault::Config, "not-written", words));
    };
    ops.extend([
        FsOp::Discard { path: unfinished.clone() },
        FsOp::Create { path: unfinished.clone(), content, rights },
        // Takes the name only while it is free; a rename would not ask.
        FsOp::Copy { from: unfinished.clone(), to: path.to_owned() },
        FsOp::Discard { path: unfinished.clone() },
        FsOp::SyncDir { path: dir.to_owned() },
    ]);
    let done = disk.run(ops).await;
    if done.is_err() {
        // What can't be removed now is removed by the next try.
        let _ = disk.run(vec![FsOp::Discard { path: unfinished }]).await;
    }
    done.map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &DiskError) -> Failure {
    let hint = match error.source.kind() {
        std::io::ErrorKind::PermissionDenied => "; run it as root",
        std::io::ErrorKind::AlreadyExists => "; it appeared at this moment, and was left as it is",
        _ => "",
    };
    Failure::refused(Fault::Host, "not-written", format!("{} was not written: {error}{hint}", path.display()))
}

/// A TOML list of strings.
pub fn listed<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = texts.into_iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_new_file_is_whole_and_an_old_one_is_never_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/conf.d/a.toml");
        write_new(&path, "first").await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        let failure = write_new(&path, "second").await.unwrap_err();
        assert_eq!(failure.code, "not-written");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        let names: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "something unfinished was left");
    }

    #[test]
    fn any_text_is_one_toml_string() {
        for text in ["a", "a\"b", "a\nb", "]\n[issuer.x]"] {
            let table: toml::Table = format!("{0} = {0}", quoted(text)).parse().unwrap();
            assert_eq!(table[text].as_str(), Some(text));
        }
    }
}
