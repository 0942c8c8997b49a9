//! What the program is doing when it is struck.

use super::host::{Answers, Host, NAME};

/// One command on a host in a known state.
pub struct Scene {
    pub says: &'static str,
    pub answers: Answers,
    /// Makes the state, with undisturbed runs only.
    pub stage: fn(&Host),
    pub command: &'static [&'static str],
    /// What an operator's timer and the operator do afterwards.
    pub mend: &'static [&'static [&'static str]],
}

impl Scene {
    /// Whether the CA asked a listener that was gone, or could use no socket: that order is over, and the next one
    /// waits for its time, unless it is asked for by hand.
    pub fn lost_its_order(&self, host: &Host) -> Result<bool, String> {
        let trouble = host.record()?.and_then(|record| record.trouble);
        Ok(self.answers == Answers::Listener && trouble.is_some_and(|it| it.failure.reached_validation))
    }
}

/// Everything that writes: issue, renew, install, record, mend.
pub const SCENES: &[Scene] = &[
    Scene {
        says: "a first certificate",
        answers: Answers::Files,
        stage: |_| {},
        command: &["renew"],
        mend: &[&["renew"]],
    },
    Scene {
        says: "a renewal",
        answers: Answers::Files,
        stage: |host| {
            host.well(&["renew"]);
            host.well(&["renew", "--force"]);
        },
        command: &["renew", "--force"],
        mend: &[&["renew"]],
    },
    Scene {
        says: "a first certificate by an own listener",
        answers: Answers::Listener,
        stage: |_| {},
        command: &["renew"],
        mend: &[&["renew"]],
    },
    Scene {
        says: "installing again what was deleted",
        answers: Answers::Files,
        stage: |host| {
            host.well(&["renew"]);
            std::fs::remove_dir_all(host.path("state/live").join(NAME)).unwrap();
            std::fs::remove_file(host.path("out/combined.pem")).unwrap();
        },
        command: &["renew"],
        mend: &[&["renew"]],
    },
    Scene {
        says: "a change of the record by hand",
        answers: Answers::Files,
        stage: |host| host.well(&["renew"]),
        command: &["pause", NAME, "--until", "1h", "--reason", "work on the cellar"],
        mend: &[&["pause", NAME, "--until", "0s", "--reason", "over"], &["renew"]],
    },
    Scene {
        says: "mending a damaged record",
        answers: Answers::Files,
        stage: |host| {
            host.well(&["renew"]);
            let record = host.path("state/lineages").join(NAME);
            let text = std::fs::read(&record).unwrap();
            std::fs::write(record, &text[..text.len() / 2]).unwrap();
        },
        command: &["renew"],
        mend: &[&["renew"]],
    },
];

/// The two scenes in which most is written, by their places.
pub const FIRST: usize = 0;
pub const RENEWAL: usize = 1;
