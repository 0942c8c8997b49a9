//! `nolapse pause`: leave a certificate alone until a date.

use crate::agent::Book;
use crate::cli::args::{self, Pause};
use crate::cli::{Exit, Stop, print, publish, select};
use crate::core::failure::{Failure, Fault, plain};
use crate::core::record;
use crate::core::time::Timestamp;
use crate::wire::Places;
use crate::wire::{Role, Wired};

/// Longest reason kept, in characters.
const REASON_MAX: usize = 200;

pub fn run(places: &Places, pause: &Pause) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let id = select::one(&wired.agent.scene().wanted, &std::collections::BTreeSet::new(), &pause.name)?;
        let now = wired.agent.clock.now();
        let until = match pause.until.parse::<Timestamp>() {
            Ok(at) => at,
            Err(not_a_date) => {
                let Ok(span) = args::time(&pause.until) else {
                    print::error(&format!("--until: {not_a_date}, nor a time such as 12h or 3d"));
                    return Ok(Exit::Usage);
                };
                now + span
            }
        };
        let book = Book::new(&*wired.agent.store);
        let mut record = book.record(&id).await?;
        record.value.pause =
            (until > now).then(|| record::Pause { until, reason: plain(&pause.reason, REASON_MAX), at: now });
        let end = record.value.leaf().map(|leaf| leaf.not_after);
        book.save_record(&mut record).await.map_err(|failure| {
            if failure.code == "state-changed" {
                Failure::transient(
                    Fault::Ours,
                    "state-changed",
                    "the agent wrote at the same moment; say it again",
                )
            } else {
                failure
            }
        })?;
        if until > now {
            print::line(&format!("{id} is paused until {}", until.brief()));
            if end.is_some_and(|end| end <= until) {
                print::note("warning: it expires while it is paused");
            }
        } else {
            print::line(&format!("{id} is not paused"));
        }
        publish::write_anew(&wired).await;
        Ok(Exit::Fine)
    })
}
