//! Users and groups by name. The host's own lookup (NSS) decides, as directories of users are
//! common on servers; decimal numbers always work, also where there is no `/etc/passwd` at all.

use std::io;

use nix::unistd::{Group, User};

pub fn user_id(name: &str) -> io::Result<Option<u32>> {
    match number(name) {
        Some(number) => Ok(Some(number)),
        None => Ok(User::from_name(name)?.map(|user| user.uid.as_raw())),
    }
}

pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    match number(name) {
        Some(number) => Ok(Some(number)),
        None => Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())),
    }
}

/// The highest number means "leave as it is" to the kernel, so it is nobody's.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number| *number != u32::MAX && name.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        for (name, id) in [
            ("root", Some(0)),
            ("0", Some(0)),
            ("65534", Some(65_534)),
            ("no-such-user-of-nolapse", None),
            ("", None),
            ("+5", None),
            ("4294967295", None),
        ] {
            assert_eq!(user_id(name).unwrap(), id, "user {name:?}");
            assert_eq!(group_id(name).unwrap(), id, "group {name:?}");
        }
    }
}
