//! Whose state it is, and becoming that user: what root does by hand must leave nothing behind
//! that the service can't read (docs/guide/privileges.md).

use crate::config::AgentSettings;
use crate::core::failure::{Failure, Fault};
use crate::sys::privilege::{self, Identity};

/// The user that packages make for the service.
pub const SERVICE_USER: &str = "nolapse";

/// Mode of a state directory that we make: others may pass through to `live/`, nothing more.
const STATE_MODE: u32 = 0o711;
const LIVE_MODE: u32 = 0o755;

/// Who the agent runs as on this host, as far as can be told: the owner of the state; without
/// state yet, the user of the service where root asks and there is one; else whoever asks.
pub fn of(settings: &AgentSettings) -> Result<Identity, Failure> {
    let me = Identity::current();
    if let Some((uid, gid)) = crate::wire::look::state_owner(settings) {
        return Ok(if uid == me.uid { me } else { Identity::of_user(uid, gid) });
    }
    if !me.is_root() {
        return Ok(me);
    }
    let service = Identity::named(SERVICE_USER).map_err(|error| {
        Failure::transient(
            Fault::Host,
            "users-unreadable",
            format!("this host's users can't be looked up: {error}"),
        )
    })?;
    Ok(service.unwrap_or(me))
}

/// As root, makes the directories that are missing for their owner, and becomes that user. Anybody
/// else, and root where the state is root's, stays who they are. Before the runtime starts.
pub fn take_its_place(settings: &AgentSettings) -> Result<(), Failure> {
    if !Identity::current().is_root() {
        return Ok(());
    }
    let owner = of(settings)?;
    if owner.is_root() {
        return Ok(());
    }
    make_places(settings, &owner)?;
    privilege::step_down(&owner).map_err(|error| {
        Failure::refused(
            Fault::Host,
            "cannot-step-down",
            format!(
                "{error}; {} belongs to {owner}, so run this as that user (runuser -u {owner} -- nolapse …)",
                settings.state_dir.display()
            ),
        )
    })
}

/// Makes the directories of the state that are missing, for `owner`. Only root can.
pub fn make_places(settings: &AgentSettings, owner: &Identity) -> Result<(), Failure> {
    let mut dirs = vec![(&settings.state_dir, STATE_MODE)];
    // Inside the state directory the owner makes it.
    if !settings.live_dir.starts_with(&settings.state_dir) {
        dirs.push((&settings.live_dir, LIVE_MODE));
    }
    for (dir, mode) in dirs {
        privilege::make_dir_for(owner, dir, mode).map_err(|error| {
            Failure::refused(
                Fault::Host,
                "directory-missing",
                format!("{} can't be made for {owner}: {error}", dir.display()),
            )
        })?;
    }
    Ok(())
}
