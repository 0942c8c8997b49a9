//! Servers made to lie about the certificate they serve (F16): no success is claimed that an
//! independent look denies, and each lie gets a name and a next step of its own in `status`.
//!
//! A sample runs with the other tests. The whole campaign, some minutes a kind of server:
//!
//! ```text
//! cargo test --test servers sabotage::campaign -- --ignored --nocapture
//! ```

#[path = "sabotage/lie.rs"]
mod lie;
#[path = "sabotage/rig.rs"]
mod rig;
#[path = "sabotage/server.rs"]
mod server;

use lie::{Lie, Moment};
use rig::Rig;
use server::Kind;

const KEYS: [&str; 2] = ["ecdsa-p256", "rsa-2048"];

/// Every lie that these servers can tell, at each moment, with keys in turn.
fn cases(kind: Kind) -> Vec<(Lie, Moment, &'static str)> {
    let mut cases = Vec::new();
    for key in KEYS {
        for moment in Moment::ALL {
            for lie in Lie::ALL {
                if lie.outcome(kind, moment).is_some() {
                    cases.push((lie, moment, key));
                }
            }
        }
    }
    cases
}

/// Plays the cases and says what went wrong with which; how many were played.
fn play(kind: Kind, cases: &[(Lie, Moment, &'static str)]) -> (usize, Vec<String>) {
    let Some(mut rig) = Rig::new(kind) else { return (0, Vec::new()) };
    let mut wrong = Vec::new();
    for (lie, moment, key) in cases {
        rig.use_key(key);
        let begun = std::time::Instant::now();
        if let Err(words) = rig.play(*lie, *moment) {
            wrong.push(format!("{kind:?} {lie:?} {moment:?} {key}: {words}"));
            // A case that went wrong may leave anything behind.
            match Rig::new(kind) {
                Some(fresh) => rig = fresh,
                None => break,
            }
        }
        println!("sabotage: {kind:?} {lie:?} {moment:?} {key} {:.1} s", begun.elapsed().as_secs_f32());
    }
    (cases.len(), wrong)
}

fn sample(kind: Kind, cases: &[(Lie, Moment)]) {
    let keys = KEYS.iter().cycle();
    let cases: Vec<_> = cases.iter().zip(keys).map(|((lie, moment), key)| (*lie, *moment, *key)).collect();
    let (_, wrong) = play(kind, &cases);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn f16_a_lying_nginx_is_caught() {
    sample(
        Kind::Nginx,
        &[
            (Lie::OtherVhost, Moment::AtReload),
            (Lie::Starved, Moment::Before),
            (Lie::SecondInstance, Moment::Before),
            (Lie::FrozenWorkers, Moment::After),
            (Lie::LeafOnly, Moment::Before),
        ],
    );
}

#[test]
fn f16_a_lying_haproxy_is_caught() {
    sample(
        Kind::Haproxy,
        &[
            (Lie::Copied, Moment::Before),
            (Lie::FrozenMain, Moment::AtReload),
            (Lie::ExpectsProxy, Moment::After),
        ],
    );
}

#[test]
fn f16_a_lying_apache_is_caught() {
    sample(
        Kind::Apache,
        &[
            (Lie::ForgottenBackend, Moment::Before),
            (Lie::SelfSigned, Moment::After),
            (Lie::Broken, Moment::Before),
        ],
    );
}

#[test]
fn f16_a_lying_postfix_is_caught() {
    sample(
        Kind::Postfix,
        &[
            (Lie::SpoiltKey, Moment::Before),
            (Lie::Plain, Moment::AtReload),
            (Lie::OtherValid, Moment::Before),
        ],
    );
}

#[test]
fn f16_a_lying_dovecot_is_caught() {
    sample(
        Kind::Dovecot,
        &[(Lie::Expired, Moment::Before), (Lie::Plain, Moment::After), (Lie::Gone, Moment::After)],
    );
}

/// At least 200 lies, on all servers that are installed. `NOLAPSE_SABOTAGE=nginx,postfix/Gone` plays
/// those alone.
#[test]
#[ignore = "takes some minutes a server"]
fn campaign() {
    let asked = std::env::var("NOLAPSE_SABOTAGE").unwrap_or_default();
    let wanted = |kind: Kind, lie: Lie| {
        let (kind, both) = (format!("{kind:?}"), format!("{kind:?}/{lie:?}"));
        let is = |word: &str| word.eq_ignore_ascii_case(&kind) || word.eq_ignore_ascii_case(&both);
        asked.is_empty() || asked.split(',').any(is)
    };
    let (mut played, mut wrong) = (0, Vec::new());
    for kind in Kind::ALL {
        let cases: Vec<_> = cases(kind).into_iter().filter(|(lie, ..)| wanted(kind, *lie)).collect();
        if cases.is_empty() {
            continue;
        }
        let (number, failures) = play(kind, &cases);
        println!("sabotage: {kind:?}: {number} lies, {} not told rightly", failures.len());
        played += number;
        wrong.extend(failures);
    }
    println!("sabotage: {played} lies, {} not told rightly", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_campaign_is_large_enough() {
    let number: usize = Kind::ALL.into_iter().map(|kind| cases(kind).len()).sum();
    assert!(number >= 200, "{number} cases");
}
