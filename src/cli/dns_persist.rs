//! `nolapse dns-persist`: the texts to set for dns-persist-01, and whether they stand.

use std::collections::BTreeSet;

use crate::cli::args::DnsPersist;
use crate::cli::{Exit, Stop, print, select};
use crate::core::time::Timestamp;
use crate::wire::{Places, Role, Wired, persist_sheets};

pub fn run(places: &Places, asked: &DnsPersist) -> Result<Exit, Stop> {
    // A day alone is its first moment, UTC.
    let day = |text: &str| if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let until = match asked.until.as_deref().map(|text| day(text).parse::<Timestamp>()) {
        None => None,
        Some(Ok(until)) => Some(until),
        Some(Err(why)) => {
            print::error(&format!("--until: {why}"));
            return Ok(Exit::Usage);
        }
    };
    let loaded = crate::cli::load(places)?;
    // The account may be opened for the first time.
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let id = select::one(&wired.agent.scene().wanted, &BTreeSet::new(), &asked.name)?;
        let mut all_stand = true;
        for sheet in persist_sheets(&wired, &id, until).await? {
            let names: Vec<_> = sheet.names.iter().map(ToString::to_string).collect();
            print::line(&sheet.line);
            print::line(&format!("  for {} by {}", names.join(", "), sheet.issuer));
            if sheet.wildcard {
                print::line(
                    "  policy=wildcard: the account may prove every name below, as the wildcard needs",
                );
            }
            for server in &sheet.servers {
                print::line(&format!("  {server}"));
            }
            match &sheet.verdict {
                Ok(None) => print::line("  → stands, without an end"),
                Ok(Some(until)) => print::line(&format!("  → stands until {}", until.brief())),
                Err(failure) => {
                    all_stand = false;
                    print::line(&format!("  → does not stand [{}]", failure.code));
                    // Of a text that servers show, the lines above told already.
                    if sheet.servers.is_empty() {
                        print::note(&failure.to_string());
                    }
                }
            }
        }
        Ok(if all_stand { Exit::Fine } else { Exit::Failed })
    })
}
