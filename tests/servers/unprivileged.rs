//! The core of it all as a user without any right, on a root that is read-only.

use std::process::Command;

use crate::stage::{Stage, pebble};
use crate::support::agent::{Site, is_root};
use crate::support::nginx::Nginx;
use crate::support::pebble::Options;
use crate::support::ports;

/// `nobody`.
const UID: u32 = 65_534;

#[test]
fn without_capabilities_on_a_read_only_root_it_issues_installs_reloads_and_observes() {
    let Some(pebble) = pebble(&Options::default()) else { return };
    let mut site = Site::new();
    if is_root() {
        site.wrapper = wrapper(&site);
        let worked = site.wrapped("true").output();
        if !worked.as_ref().is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: rights can't be dropped here: {worked:?}");
            return;
        }
        site.give(UID);
    } else {
        println!("SKIPPED: a read-only root needs root to set it up; running as the user we are");
    }
    let Some(nginx) = Nginx::start(&site, ports::free()) else { return };
    let stage = Stage { nginx, pebble, site };
    stage.wants(&["u.example"]);
    stage.site.expect(0, &["renew"]);
    assert!(stage.shows("u.example"));
    stage.site.expect(0, &["renew", "--force"]);
    assert!(stage.shows("u.example"));
    assert_eq!(stage.site.status("u.example")["standing"], "observed");
    if is_root() {
        let rights = stage.site.wrapped("cat").arg("/proc/self/status").output().unwrap();
        let rights = String::from_utf8_lossy(&rights.stdout).into_owned();
        assert!(rights.contains("CapEff:\t0000000000000000"), "{rights}");
        let outside = stage.site.path("../planted-by-a-test");
        assert!(!stage.site.wrapped("touch").arg(&outside).status().unwrap().success(), "{outside:?}");
    }
}

/// A mount namespace in which all but the site is read-only, then `nobody` without capabilities.
fn wrapper(site: &Site) -> Vec<String> {
    let read_only =
        "mount --make-rprivate / && mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro / && exec \"$@\"";
    let id = UID.to_string();
    let (user, group) = (format!("--reuid={id}"), format!("--regid={id}"));
    let drop = [
        "setpriv",
        &user,
        &group,
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    let here = site.text("");
    let unshare = ["unshare", "--mount", "sh", "-c", read_only, here.trim_end_matches('/')];
    let mount_works = Command::new(unshare[0]).args(&unshare[1..]).arg("true").output();
    let prefix = if mount_works.is_ok_and(|output| output.status.success()) {
        &unshare[..]
    } else {
        println!("SKIPPED: no mount namespace here, so the root stays writable");
        &[]
    };
    prefix.iter().chain(&drop).map(|word| (*word).to_owned()).collect()
}
