//! The public status file while it is being written: line by line as lineages are looked at, on
//! disk from the start. Ten thousand lines in memory would be more than all the rest.

use std::io;
use std::path::Path;

use crate::agent::View;
use crate::cli::report::{self, Line, Report, Severity, VERSION};
use crate::core::name::LineageId;
use crate::core::time::Timestamp;
use crate::sys::spool::{Part, Spool};

/// The lines of a report in the making.
#[derive(Default)]
pub struct Sheet {
    /// None: nobody wants the report, or there was no place for it.
    spool: Option<Spool>,
    lines: Vec<Noted>,
    /// The text of one line.
    text: Vec<u8>,
    /// What went wrong first; nothing is added after it.
    failed: Option<io::Error>,
}

struct Noted {
    severity: Severity,
    name: LineageId,
    /// Where the line begins.
    at: u64,
    /// Of the line and the comma behind it, in bytes.
    length: u32,
}

/// Mode of the file: for everybody.
const MODE: u32 = 0o644;

impl Sheet {
    /// A sheet for a report below `run_dir`, where that is, of about `lines` lines.
    pub fn below(run_dir: &Path, lines: usize) -> Self {
        let spool = match Spool::new(run_dir) {
            Ok(spool) => Some(spool),
            Err(error) => {
                // The report is not worth failing for.
                tracing::debug!(%error, "there is no place for the public status file");
                None
            }
        };
        let lines = if spool.is_some() { Vec::with_capacity(lines) } else { Vec::new() };
        Self { spool, lines, ..Self::default() }
    }

    /// Whether lines are of any use to it.
    pub const fn is_wanted(&self) -> bool {
        self.spool.is_some()
    }

    /// Adds a line. Where that fails, [`Sheet::write`] says so.
    pub fn push(&mut self, name: LineageId, line: &Line) {
        self.add(name, |text| serde_json::to_writer(text, line).map(|()| line.severity));
    }

    /// As [`Sheet::push`] of the line of a view.
    pub fn push_view(&mut self, name: LineageId, view: &View) {
        self.add(name, |text| report::write(view, text));
    }

    fn add(&mut self, name: LineageId, put: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<Severity>) {
        let (Some(spool), None) = (&mut self.spool, &self.failed) else { return };
        self.text.clear();
        let severity = put(&mut self.text).map_err(io::Error::from);
        self.text.push(b',');
        match severity.and_then(|severity| Ok((severity, spool.add(&self.text)?))) {
            Ok((severity, range)) => {
                // A line has some hundred bytes for each of at most some thousand places.
                let length = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
                self.lines.push(Noted { severity, name, at: range.start, length });
            }
            Err(error) => self.failed = Some(error),
        }
    }

    /// The names of all lines, sorted.
    pub fn names(&self) -> Vec<LineageId> {
        let mut names: Vec<_> = self.lines.iter().map(|line| line.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Writes the JSON of [`Report::new`] with these lines. Blocks until it is written.
    pub fn write(mut self, path: &Path, at: Timestamp) -> io::Result<()> {
        let Some(spool) = self.spool.take() else { return Ok(()) };
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.lines.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.name.cmp(&b.name)));
        let severity = self.lines.first().map_or(Severity::Ok, |line| line.severity);
        let mut head = serde_json::to_vec(&Report {
            version: VERSION,
            at,
            severity,
            lineages: Vec::new(),
            acks: Vec::new(),
        })?;
        // The list is the last field.
        head.truncate(head.len().saturating_sub(LIST_END.len()));
        // No comma behind the last.
        if let Some(last) = self.lines.last_mut() {
            last.length -= 1;
        }
        let lines = self.lines.into_iter().map(|line| line.at..line.at + u64::from(line.length));
        let lines = lines.map(Part::Spooled);
        let parts = std::iter::once(Part::Text(head)).chain(lines).chain([Part::Text(LIST_END.to_vec())]);
        spool.replace(path, MODE, parts)
    }
}

const LIST_END: &[u8] = b"]}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::failure::Failure;

    #[test]
    fn a_sheet_is_the_report_of_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        let at = Timestamp::from_secs(1_800_000_000);
        let failure = Failure::broken("x", "a \"word\"");
        let lines = [
            Line::broken("b.example", "no"),
            Line::unreadable("c.example", &failure),
            Line::broken("a.example", "why"),
        ];
        for count in 0..=lines.len() {
            let mut sheet = Sheet::below(dir.path(), 2);
            for line in &lines[..count] {
                sheet.push(LineageId::parse(&line.name).unwrap(), line);
            }
            assert_eq!(sheet.names().len(), count);
            sheet.write(&path, at).unwrap();
            let report = serde_json::to_string(&Report::new(at, lines[..count].to_vec())).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), report);
        }
    }

    #[test]
    fn without_a_run_directory_nothing_is_written_and_nothing_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut sheet = Sheet::below(&dir.path().join("run"), 1);
        assert!(!sheet.is_wanted());
        sheet.push(LineageId::parse("a").unwrap(), &Line::broken("a", "no"));
        sheet.write(&dir.path().join("run/status.json"), Timestamp::EPOCH).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
