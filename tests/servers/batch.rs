//! Certificates that come to one service together: one check, one reload, and one that goes ahead.

use std::path::PathBuf;

use crate::stage::{Stage, words};
use crate::support::config::Config;
use crate::support::pebble::Options;

/// More than are worked on side by side.
const MANY: [&str; 12] = [
    "b01.example",
    "b02.example",
    "b03.example",
    "b04.example",
    "b05.example",
    "b06.example",
    "b07.example",
    "b08.example",
    "b09.example",
    "b10.example",
    "b11.example",
    "b12.example",
];

/// An nginx whose checks and reloads are written down.
struct Counted {
    stage: Stage,
    log: PathBuf,
}

impl Counted {
    fn new() -> Option<Self> {
        // A name that was validated is not validated again: what is to be seen is what comes after.
        let stage = Stage::with(&Options { authz_reuse: 100, ..Options::default() })?;
        let log = stage.site.path("calls");
        Some(Self { stage, log })
    }

    /// With this in place of nginx's own reload.
    fn config(&self, names: &[&str], reload: &str) -> Config {
        let check = words(&self.stage.nginx.check()).join(" ");
        let noting =
            |what: &str, command: &str| format!("echo {what} >> {} && {command}", self.log.display());
        let (check, reload) = (noting("check", &check), noting("reload", reload));
        let config = self.stage.bare().service(
            "ng",
            &["sh", "-c", &check],
            &["sh", "-c", &reload],
            &[self.stage.nginx.https],
        );
        let entry = "service = \"ng\"\nobserve-timeout = \"2s\"";
        names.iter().fold(config, |config, name| config.certificate(name, entry))
    }

    fn serve(&self, names: &[&str]) {
        self.stage.site.write(&self.config(names, &self.stage.nginx.reload()[2]));
        self.stage.nginx.serve(&self.stage.site, names, "");
    }

    /// Checks and reloads since the last question.
    fn calls(&self) -> (usize, usize) {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let _ = std::fs::remove_file(&self.log);
        let count = |word: &str| text.lines().filter(|line| *line == word).count();
        (count("check"), count("reload"))
    }

    fn shown(&self, name: &str) -> String {
        let link = std::fs::read_link(self.stage.site.live(name, ".current")).unwrap();
        link.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_batch_larger_than_the_hands_shares_one_check_and_one_reload_behind_the_one_that_goes_ahead() {
    let Some(counted) = Counted::new() else { return };
    counted.serve(&MANY);
    counted.stage.site.expect(0, &["renew"]);
    let (checks, reloads) = counted.calls();
    // Nothing worked before that could be broken: nobody goes ahead. Before, and with the reload.
    assert_eq!((checks, reloads), (2, 1), "first issuance");
    counted.stage.site.expect(0, &["renew", "--force"]);
    let (checks, reloads) = counted.calls();
    assert_eq!(reloads, 2, "the first alone, then all the others");
    assert!(checks <= 4, "{checks} checks");
    for name in MANY {
        assert_eq!(counted.shown(name), ".gen-2");
        assert!(counted.stage.shows(name), "{name}");
    }
    assert_eq!(counted.stage.orders(), 2 * MANY.len());
}

#[test]
fn f16_a_reload_that_lies_strikes_one_of_a_batch_and_the_others_are_held_back() {
    let Some(counted) = Counted::new() else { return };
    let (site, names) = (&counted.stage.site, &MANY[..4]);
    counted.serve(names);
    site.expect(0, &["renew"]);
    site.write(&counted.config(names, "true"));
    let ran = site.expect(3, &["renew", "--force"]);
    let ahead: Vec<_> = names.iter().filter(|name| counted.shown(name) == ".gen-2").collect();
    assert_eq!(ahead.len(), 1, "{ran:?}");
    for name in names.iter().filter(|name| counted.shown(name) != ".gen-2") {
        let line = site.status(name);
        let notes = line["notes"].to_string();
        assert!(notes.contains("held back") && notes.contains(ahead[0]), "{line}");
        assert!(line["advice"].as_str().unwrap().contains(&format!("nolapse deploy {name}")), "{line}");
        assert!(counted.stage.shows(name), "{name}: what worked works");
    }
    // The reload is mended: all are paid, and nothing is ordered for it.
    site.write(&counted.config(names, &counted.stage.nginx.reload()[2]));
    // The one that was lied to owes no reload, only a look, and may look before the others reload.
    site.run(&["deploy"]);
    for name in names {
        assert_eq!(counted.shown(name), ".gen-2");
        assert!(counted.stage.shows(name), "{name}");
    }
    site.expect(0, &["deploy"]);
    assert_eq!(counted.stage.orders(), 2 * names.len());
}

#[test]
fn a_pair_that_the_service_refuses_is_refused_for_one_and_the_others_keep_theirs() {
    let Some(counted) = Counted::new() else { return };
    let (site, names) = (&counted.stage.site, &MANY[..3]);
    counted.serve(names);
    site.expect(0, &["renew"]);
    // From now on the check says no as soon as any second generation is shown.
    let check = format!("! readlink {}/*/.current | grep -q gen-2", site.path("state/live").display());
    let reload = counted.stage.nginx.reload()[2].clone();
    let config = counted.stage.bare().service(
        "ng",
        &["sh", "-c", &check],
        &["sh", "-c", &reload],
        &[counted.stage.nginx.https],
    );
    let entry = "service = \"ng\"\nobserve-timeout = \"2s\"";
    site.write(&names.iter().fold(config, |config, name| config.certificate(name, entry)));
    let ran = site.run(&["renew", "--force"]);
    let refused: Vec<_> =
        names.iter().filter(|name| !site.installed(name).unwrap()["refused"].is_null()).collect();
    assert_eq!(refused.len(), 1, "{ran:?}");
    for name in names {
        assert_eq!(counted.shown(name), ".gen-1", "{name}: {ran:?}");
        assert!(counted.stage.shows(name), "{name}");
    }
}
