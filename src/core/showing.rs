//! What each name server showed of a proof by DNS, when it was last looked for: kept for people.

use serde::{Deserialize, Serialize};

use super::failure::plain;
use super::name::SubjectName;
use super::record::LineageRecord;
use super::time::Timestamp;

/// The last round of questions about one name's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Showing {
    pub name: SubjectName,
    /// The name in DNS that was asked for, behind all aliases.
    pub place: String,
    pub at: Timestamp,
    /// Those that lack it first.
    pub servers: Vec<Shown>,
    /// Servers beyond [`Showing::SERVERS_MAX`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
}

/// One address of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Shown {
    /// The expected text was there.
    pub seen: bool,
    /// `ns1.example.com (192.0.2.53) shows it`; safe to print.
    pub words: String,
}

impl Showing {
    /// Servers kept of one name.
    pub const SERVERS_MAX: usize = 8;
    /// Names kept of one lineage: those looked for last.
    pub const NAMES_MAX: usize = 24;
    /// Longest text of one server, in characters.
    const WORDS_MAX: usize = 160;

    pub fn new(
        name: SubjectName,
        place: String,
        at: Timestamp,
        servers: impl IntoIterator<Item = Shown>,
    ) -> Self {
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort_by_key(|one| one.seen);
        let more = u32::try_from(servers.len().saturating_sub(Self::SERVERS_MAX)).unwrap_or(u32::MAX);
        servers.truncate(Self::SERVERS_MAX);
        for one in &mut servers {
            one.words = plain(&one.words, Self::WORDS_MAX);
        }
        Self { name, place, at, servers, more }
    }
}

impl LineageRecord {
    /// Puts it in the place of what was shown of the same name before.
    pub fn note_showing(&mut self, showing: Showing) {
        self.showings.retain(|known| known.name != showing.name);
        self.showings.push(showing);
        let surplus = self.showings.len().saturating_sub(Showing::NAMES_MAX);
        self.showings.drain(..surplus);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::LineageId;

    fn showing(name: &str, count: usize) -> Showing {
        let servers =
            (0..count).map(|at| Shown { seen: at % 2 == 0, words: format!("ns{at} {}", "x".repeat(900)) });
        Showing::new(SubjectName::parse(name).unwrap(), "p".into(), Timestamp::EPOCH, servers)
    }

    #[test]
    fn a_flood_of_servers_and_names_stays_small_and_keeps_who_lacks_it() {
        let mut record = LineageRecord::new(LineageId::parse("a").unwrap());
        for at in 0..100 {
            record.note_showing(showing(&format!("n{at}.example"), 16));
        }
        record.note_showing(showing("n99.example", 16));
        assert_eq!(record.showings.len(), Showing::NAMES_MAX);
        let last = record.showings.last().unwrap();
        assert_eq!((last.servers.len(), last.more), (Showing::SERVERS_MAX, 8));
        assert!(last.servers.iter().all(|one| !one.seen), "those that lack it are told first");
        let size = serde_json::to_string(&record).unwrap().len();
        assert!(size < 64 << 10, "{size} bytes");
    }
}
