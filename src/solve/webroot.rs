//! http-01 by files below a directory that a web server serves.
//!
//! The directory belongs to somebody else, perhaps to a compromised web server, and we may be
//! root. So below the root no symbolic link is followed, each step is taken from a descriptor of
//! the one before, files are made exclusively, and nothing is removed but a file of the name that
//! we gave (threats T02, T20). Directories that we made stay: others may have come to use them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::responder::PATH;
use super::self_check::SelfCheck;
use crate::core::failure::{Failure, Fault};
use crate::core::name::{SolverId, Token};
use crate::core::order::ChallengeTask;
use crate::core::record::{ChallengeKind, Receipt};
use crate::ports::{Reply, Solver};
use crate::sys::clock::Clock;

/// Writes answers for a web server to serve.
pub struct WebrootSolver {
    id: SolverId,
    root: PathBuf,
    state_dir: PathBuf,
    check: SelfCheck,
    clock: Clock,
}

/// The fixed components between a root and a token.
const DIRS: [&str; 2] = [".well-known", "acme-challenge"];

impl WebrootSolver {
    /// `root` is what the web server serves as `/`.
    ///
    /// Codes: `webroot-relative`, `webroot-overlaps` (with the state directory, whose keys a web
    /// server must never serve).
    pub fn new(
        id: SolverId,
        root: &Path,
        state_dir: &Path,
        check: SelfCheck,
        clock: &Clock,
    ) -> Result<Self, Failure> {
        if !root.is_absolute() {
            return Err(Failure::refused(
                Fault::Config,
                "webroot-relative",
                format!("the webroot {} must be an absolute path", root.display()),
            ));
        }
        keep_apart(root, state_dir)?;
        Ok(Self { id, root: root.to_owned(), state_dir: state_dir.to_owned(), check, clock: clock.clone() })
    }

    async fn on_disk(
        &self,
        root: PathBuf,
        work: impl FnOnce(&Root) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        let state_dir = self.state_dir.clone();
        let done = tokio::task::spawn_blocking(move || work(&Root::open(root, &state_dir)?)).await;
        done.unwrap_or_else(|error| Err(Failure::broken("webroot-failed", error.to_string())))
    }
}

impl Solver for WebrootSolver {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::Http01]
    }

    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(async move {
            let root = self.root.to_str().ok_or_else(|| {
                Failure::refused(
                    Fault::Config,
                    "webroot-unreadable",
                    format!("the webroot {} is not UTF-8", self.root.display()),
                )
            })?;
            Ok(Receipt {
                solver: self.id.clone(),
                kind: task.kind,
                name: task.name.clone(),
                token: task.token.clone(),
                place: format!("{}{PATH}{}", root.trim_end_matches('/'), task.token),
                by: None,
            })
        })
    }

    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        let (token, answer) = (task.token.clone(), task.key_authorization.clone());
        Box::pin(self.on_disk(self.root.clone(), move |root| root.put(&token, answer.as_bytes())))
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.check.look(task, &self.clock).await.map_err(|miss| {
                let words =
                    format!("{miss}; is {} what that server serves for this name?", self.root.display());
                Failure::transient(Fault::Host, "self-check-failed", words).blaming(Some(task.name.clone()))
            })
        })
    }

    fn clean_up<'a>(&'a self, receipt: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        // The root of then, should the configuration have moved on.
        let suffix = format!("{PATH}{}", receipt.token);
        let root = receipt.place.strip_suffix(&suffix).map(|root| PathBuf::from(format!("{root}/")));
        let token = receipt.token.clone();
        Box::pin(async move {
            let root = root.filter(|root| root.is_absolute()).ok_or_else(|| {
                let words = format!("the receipt's place {} is no file of a webroot", receipt.place);
                Failure::broken("receipt-damaged", words)
            })?;
            match self.on_disk(root, move |root| root.discard(&token)).await {
                Err(failure) if failure.code == MISSING => Ok(()),
                done => done,
            }
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(self.on_disk(self.root.clone(), Root::writable))
    }
}

const MISSING: &str = "webroot-missing";

fn keep_apart(root: &Path, state_dir: &Path) -> Result<(), Failure> {
    if root.starts_with(state_dir) || state_dir.starts_with(root) {
        return Err(Failure::refused(
            Fault::Config,
            "webroot-overlaps",
            format!(
                "the webroot {} and the state directory {} lie one inside the other; a web server must not \
                 serve keys, choose another webroot",
                root.display(),
                state_dir.display()
            ),
        ));
    }
    Ok(())
}

/// An open root.
struct Root {
    path: PathBuf,
    dir: OwnedFd,
}

impl Root {
    fn open(path: PathBuf, state_dir: &Path) -> Result<Self, Failure> {
        // Links in the root's own path are the operator's; where they lead is what counts.
        let real = path.canonicalize().map_err(|error| trouble(&path, &error))?;
        keep_apart(&real, &state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned()))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match retry_on_intr(|| rustix::fs::openat(CWD, &path, flags, Mode::empty())) {
            Ok(dir) => Ok(Self { path, dir }),
            Err(errno) => Err(trouble(&path, &errno.into())),
        }
    }

    fn put(&self, token: &Token, answer: &[u8]) -> Result<(), Failure> {
        let (dir, path) = self.descend(Missing::Make)?;
        let path = path.join(token.as_str());
        let file = match create(&dir, token) {
            // An earlier try's answer, or something planted: either way it goes, never through it.
            Err(Errno::EXIST) => remove(&dir, token)
                .and_then(|()| create(&dir, token))
                .map_err(|e| trouble(&path, &e.into()))?,
            made => made.map_err(|errno| trouble(&path, &errno.into()))?,
        };
        let written = File::from(file).write_all(answer);
        written.map_err(|error| {
            let _ = remove(&dir, token);
            trouble(&path, &error)
        })
    }

    fn discard(&self, token: &Token) -> Result<(), Failure> {
        let (dir, path) = self.descend(Missing::Fail)?;
        match remove(&dir, token) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(trouble(&path.join(token.as_str()), &errno.into())),
        }
    }

    fn writable(&self) -> Result<(), Failure> {
        let (dir, path) = self.descend(Missing::Stay)?;
        rustix::fs::accessat(&dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(|errno| trouble(&path, &errno.into()))
    }

    /// Opens the directory for tokens, one component after the other.
    fn descend(&self, missing: Missing) -> Result<(OwnedFd, PathBuf), Failure> {
        let mut path = self.path.clone();
        let mut dir = self.dir.try_clone().map_err(|error| trouble(&path, &error))?;
        for name in DIRS {
            let next = path.join(name);
            dir = match (step(&dir, name), missing) {
                (Ok(found), _) => found,
                (Err(Errno::NOENT), Missing::Stay) => return Ok((dir, path)),
                (Err(Errno::NOENT), Missing::Make) => {
                    make(&dir, name).map_err(|errno| misstep(&dir, name, &next, errno))?
                }
                (Err(errno), _) => return Err(misstep(&dir, name, &next, errno)),
            };
            path = next;
        }
        Ok((dir, path))
    }
}

/// What to do about a directory that is not there.
#[derive(Clone, Copy)]
enum Missing {
    Make,
    Fail,
    /// The last one that is there will do.
    Stay,
}

const STEP: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn step(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(dir, name, STEP | OFlags::PATH, Mode::empty()))
}

fn make(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    const MODE: Mode = Mode::from_raw_mode(0o755);
    match retry_on_intr(|| rustix::fs::mkdirat(dir, name, MODE)) {
        Ok(()) => {
            let made = retry_on_intr(|| rustix::fs::openat(dir, name, STEP | OFlags::RDONLY, Mode::empty()))?;
            // The umask of an agent is strict, and a web server must get in. Only an empty directory is
            // opened up: should another have been moved here meanwhile, it keeps its secrets.
            if retry_on_intr(|| is_empty(&made))? {
                retry_on_intr(|| rustix::fs::fchmod(&made, MODE))?;
            }
            Ok(made)
        }
        Err(Errno::EXIST) => step(dir, name),
        Err(errno) => Err(errno),
    }
}

/// Opens the directory anew to read it, so this too can be interrupted.
fn is_empty(dir: &OwnedFd) -> Result<bool, Errno> {
    let own = |entry: &DirEntry| [c".", c".."].contains(&entry.file_name());
    for entry in Dir::read_from(dir)? {
        if !own(&entry?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn create(dir: &OwnedFd, token: &Token) -> Result<OwnedFd, Errno> {
    const MODE: Mode = Mode::from_raw_mode(0o644);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = retry_on_intr(|| rustix::fs::openat(dir, token.as_str(), flags, MODE))?;
    retry_on_intr(|| rustix::fs::fchmod(&file, MODE))?;
    Ok(file)
}

fn remove(dir: &OwnedFd, token: &Token) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::unlinkat(dir, token.as_str(), AtFlags::empty()))
}

/// Says why a step was not possible; a link is told apart, as it may be an attack.
fn misstep(dir: &OwnedFd, name: &str, path: &Path, errno: Errno) -> Failure {
    let is_link = matches!(errno, Errno::NOTDIR | Errno::LOOP)
        && rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    if is_link {
        return Failure::refused(
            Fault::Host,
            "webroot-link",
            format!(
                "{} is a symbolic link and is not followed; if you made it, name the directory it leads to as \
                 the webroot, if not, find out who did",
                path.display()
            ),
        );
    }
    trouble(path, &errno.into())
}

fn trouble(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::refused(
            Fault::Config,
            MISSING,
            format!("{shown} does not exist; the webroot is the directory that the web server serves"),
        ),
        io::ErrorKind::PermissionDenied => Failure::refused(
            Fault::Host,
            "webroot-forbidden",
            format!("{shown} can't be written by this user; give it that right, or use a listener"),
        ),
        _ => Failure::transient(Fault::Host, "webroot-failed", format!("{shown}: {error}")),
    }
}
