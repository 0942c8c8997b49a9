//! The eyes that judge every strike see what they are for: a judge that is blind finds no fault.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::eyes::{self, Before};
use super::host::{Answers, Host, NAME};

type Damage = fn(&Host);

#[test]
fn damage_of_each_kind_is_seen() {
    let host = Host::new();
    host.fresh(Answers::Files, &[NAME]);
    host.well(&["renew"]);
    let first = host.path("first.pem");
    std::fs::copy(live(&host, "combined.pem"), &first).unwrap();
    let before = Before::of(&host);
    host.well(&["renew", "--force"]);
    let sees = |host: &Host| match eyes::after(host, &before) {
        Ok(_) => eyes::mended(host, &before, &None).err(),
        Err(what) => Some(what),
    };
    assert_eq!(sees(&host), None);
    host.put_aside("well");
    let table: [(&str, Damage); 9] = [
        ("the key is not the leaf's", |host| put(host, "privkey.pem")),
        ("not of one generation", |host| put(host, "combined.pem")),
        ("only [", |host| std::fs::remove_file(live(host, "chain.pem")).unwrap()),
        ("now there is none", |host| std::fs::remove_dir_all(host.path("state/live")).unwrap()),
        ("its key is lost", |host| {
            // The live directory and the copy hold it as well.
            std::fs::remove_file(host.path("state/generations").join(NAME).join("2")).unwrap();
            std::fs::remove_dir_all(host.path("state/live").join(NAME).join(".gen-2")).unwrap();
            std::os::unix::fs::symlink(".gen-1", host.path("state/live").join(NAME).join(".new")).unwrap();
            let link = |name: &str| host.path("state/live").join(NAME).join(name);
            std::fs::rename(link(".new"), link(".current")).unwrap();
            std::fs::remove_file(host.path("out/combined.pem")).unwrap();
        }),
        ("others may read", |host| {
            let key = host.path("state/live").join(NAME).join(".gen-2/privkey.pem");
            std::fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap();
        }),
        ("damaged", |host| {
            for name in [NAME.to_owned(), format!("{NAME}~")] {
                std::fs::write(host.path("state/lineages").join(name), "nonsense").unwrap();
            }
        }),
        ("was left behind", |host| {
            std::fs::write(host.path("state/keys/.a.nolapse-new"), "").unwrap();
        }),
        ("the hook heard of []", |host| std::fs::write(host.path("told"), "1\n").unwrap()),
    ];
    for (words, damage) in table {
        host.take_back("well");
        damage(&host);
        let seen = sees(&host);
        assert!(seen.as_ref().is_some_and(|seen| seen.contains(words)), "{words}: {seen:?}");
    }
}

fn live(host: &Host, file: &str) -> PathBuf {
    host.path("state/live").join(NAME).join(file)
}

/// Shows the pair of the first generation under one of the names.
fn put(host: &Host, file: &str) {
    let path = live(host, file);
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(host.path("first.pem"), path).unwrap();
    std::fs::set_permissions(live(host, file), PermissionsExt::from_mode(0o640)).unwrap();
}
