//! Becoming the user that the state belongs to, so that what root starts by hand leaves no file
//! that the service can't read, and a program that root's hooks run has no more rights than the
//! service's.
//!
//! Linux keeps credentials by thread and the C library copies a change to all of them; the one
//! capability that is kept is not copied. So [`step_down`] belongs before the first thread.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// `None`: the number has no entry among the users, as in many containers.
    pub name: Option<String>,
}

impl Identity {
    /// Who runs this process.
    pub fn current() -> Self {
        Self::of_user(Uid::effective().as_raw(), Gid::effective().as_raw())
    }

    /// The user with this number; `gid` counts where the user database does not know it.
    pub fn of_user(uid: u32, gid: u32) -> Self {
        match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Self { uid, gid: user.gid.as_raw(), name: Some(user.name) },
            // A database that can't be asked is as good as one that does not know.
            Ok(None) | Err(_) => Self { uid, gid, name: None },
        }
    }

    /// The user of this name, if there is one.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        Ok(User::from_name(name)?.map(|user| Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            name: Some(user.name),
        }))
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Every group that the user database gives this user, the first one included.
    pub fn groups(&self) -> Vec<u32> {
        let known = self
            .name
            .as_deref()
            .and_then(|name| CString::new(name).ok())
            .and_then(|name| nix::unistd::getgrouplist(&name, Gid::from_raw(self.gid)).ok());
        known.map_or_else(|| vec![self.gid], |groups| groups.into_iter().map(Gid::as_raw).collect())
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "user number {}", self.uid),
        }
    }
}

/// Why root could not become somebody else. Nothing was written before.
#[derive(Debug, thiserror::Error)]
#[error("root can't become {who}: {what}: {source}")]
pub struct CannotStepDown {
    who: String,
    what: &'static str,
    source: io::Error,
}

/// Gives up root for good and becomes `who`, with the groups of that user. Where this process may
/// bind ports under 1024, it keeps that one right, for itself and not for programs it starts: a
/// certificate can then be asked for by hand on a host whose port 80 is free.
///
/// Call it before the first thread is started.
pub fn step_down(who: &Identity) -> Result<(), CannotStepDown> {
    let failed = |what| {
        let who = who.to_string();
        move |source: io::Error| CannotStepDown { who, what, source }
    };
    let kept = keep_ports();
    let gid = Gid::from_raw(who.gid);
    let name = who.name.as_deref().and_then(|name| CString::new(name).ok());
    match name {
        Some(name) => nix::unistd::initgroups(&name, gid),
        None => nix::unistd::setgroups(&[gid]),
    }
    .map_err(|errno| failed("its groups")(errno.into()))?;
    nix::unistd::setgid(gid).map_err(|errno| failed("its group")(errno.into()))?;
    let uid = Uid::from_raw(who.uid);
    nix::unistd::setuid(uid).map_err(|errno| failed("its number")(errno.into()))?;
    // The way back must be closed; a kernel that lets us through would be news to be told.
    if !uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(failed("giving up the way back")(io::Error::other("root could be had again")));
    }
    if kept {
        restore_ports().map_err(failed("the right to bind ports under 1024"))?;
    }
    Ok(())
}

/// Root that is somebody else for a while; see [`step_aside`].
pub struct Aside {
    groups: Vec<Gid>,
    gid: Gid,
}

/// Becomes `who` for a while, with the groups of that user; [`Aside::back`] is the way back. For a
/// verb that writes files of the service's and then files of root's; nothing is started meanwhile.
pub fn step_aside(who: &Identity) -> Result<Aside, CannotStepDown> {
    let failed = |what| {
        let who = who.to_string();
        move |errno: nix::Error| CannotStepDown { who, what, source: errno.into() }
    };
    let groups = nix::unistd::getgroups().map_err(failed("its groups"))?;
    let aside = Aside { groups, gid: Gid::effective() };
    let gid = Gid::from_raw(who.gid);
    match who.name.as_deref().and_then(|name| CString::new(name).ok()) {
        Some(name) => nix::unistd::initgroups(&name, gid),
        None => nix::unistd::setgroups(&[gid]),
    }
    .map_err(failed("its groups"))?;
    nix::unistd::setegid(gid).map_err(failed("its group"))?;
    nix::unistd::seteuid(Uid::from_raw(who.uid)).map_err(failed("its number"))?;
    Ok(aside)
}

impl Aside {
    pub fn back(self) -> Result<(), CannotStepDown> {
        let failed = |what| {
            move |errno: nix::Error| CannotStepDown { who: "root again".into(), what, source: errno.into() }
        };
        nix::unistd::seteuid(Uid::from_raw(0)).map_err(failed("its number"))?;
        nix::unistd::setegid(self.gid).map_err(failed("its group"))?;
        nix::unistd::setgroups(&self.groups).map_err(failed("its groups"))
    }
}

/// Asks the kernel to let capabilities outlive the change of user, where there is one to keep.
fn keep_ports() -> bool {
    let may = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.permitted.contains(CapabilitySet::NET_BIND_SERVICE));
    may && rustix::thread::set_keep_capabilities(true).is_ok()
}

/// Drops all capabilities but one.
fn restore_ports() -> io::Result<()> {
    let only = CapabilitySet::NET_BIND_SERVICE;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: only, permitted: only, inheritable: CapabilitySet::empty() },
    )?;
    rustix::thread::set_keep_capabilities(false)?;
    Ok(())
}

/// Makes a directory with all that leads to it; what is new belongs to `who`, with `mode` for the
/// last one and 0755 for those above it. Answers with what was made.
pub fn make_dir_for(who: &Identity, dir: &Path, mode: u32) -> io::Result<Vec<PathBuf>> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let mut missing: Vec<_> = dir.ancestors().take_while(|each| !each.exists()).collect();
    missing.reverse();
    let mut made = Vec::new();
    for each in missing.into_iter().filter(|each| !each.as_os_str().is_empty()) {
        // Closed until it is given away, so that nobody uses it half made.
        std::fs::DirBuilder::new().mode(0o700).create(each)?;
        let last = each == dir;
        // Directories on the way stay root's: the service has no business renaming what it is in.
        if last {
            std::os::unix::fs::lchown(each, Some(who.uid), Some(who.gid))?;
        }
        let mode = if last { mode } else { 0o755 };
        std::fs::set_permissions(each, std::fs::Permissions::from_mode(mode))?;
        made.push(each.to_owned());
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout)]
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn users_are_known_by_name_and_by_number() {
        let root = Identity::named("root").unwrap().unwrap();
        assert!(root.is_root() && root.to_string() == "root" && root.groups().contains(&0));
        assert_eq!(Identity::named("no-such-user-of-nolapse").unwrap(), None);
        let stranger = Identity::of_user(3_999_999, 77);
        assert_eq!((stranger.to_string().as_str(), stranger.gid), ("user number 3999999", 77));
        assert_eq!(stranger.groups(), [77]);
    }

    #[test]
    fn a_directory_is_made_for_its_user_and_what_leads_there_is_not() {
        let me = Identity::current();
        if !me.is_root() {
            println!("SKIPPED: only root can give directories away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (above, inner) = (dir.path().join("a"), dir.path().join("a/b"));
        let who = Identity { uid: 4321, gid: 4322, name: None };
        assert_eq!(make_dir_for(&who, &inner, 0o711).unwrap(), [above.clone(), inner.clone()]);
        let (above, inner) = (above.metadata().unwrap(), inner.metadata().unwrap());
        assert_eq!((inner.uid(), inner.gid(), inner.mode() & 0o777), (4321, 4322, 0o711));
        assert_eq!((above.uid(), above.mode() & 0o777), (0, 0o755));
        assert!(make_dir_for(&who, dir.path(), 0o711).unwrap().is_empty());
    }
}
