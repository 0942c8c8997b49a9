//! Writing to the terminal. The only file that names standard output and standard error; a
//! closed pipe (`nolapse status | head`) ends quietly.

use std::io::Write;

/// A line on standard output.
pub fn line(text: &str) {
    // Nobody is left to tell when standard output is closed.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Many lines on standard output, handed over some hundred at a time; the rest when dropped.
#[derive(Default)]
pub struct Lines(String);

/// Held back at most, in bytes.
const HELD: usize = 8 << 10;

impl Lines {
    pub fn add(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
        if self.0.len() >= HELD {
            text(&self.0);
            self.0.clear();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        text(&self.0);
    }
}

/// A whole text on standard output, as it is.
pub fn text(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// A line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

pub fn error(text: &str) {
    note(&format!("nolapse: {text}"));
}

/// What a test found, on standard error.
pub fn finding(finding: &crate::core::finding::Finding) {
    for row in finding_rows(finding) {
        note(&row);
    }
}

/// What a test found, its evidence and what to do about it, on lines of their own.
pub fn finding_rows(finding: &crate::core::finding::Finding) -> Vec<String> {
    let mut rows = vec![format!("{}[{}]: {}", finding.weight.word(), finding.code, finding.words)];
    for (label, text) in [("seen", &finding.evidence), ("do", &finding.fix)] {
        if !text.is_empty() {
            rows.push(format!("  {label:4}  {text}"));
        }
    }
    rows
}

/// A value as JSON on standard output.
pub fn json<T: serde::Serialize>(value: &T) -> Result<(), crate::core::failure::Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| crate::core::failure::Failure::broken("unprintable", error.to_string()))?;
    line(&text);
    Ok(())
}

/// Columns that line up, two spaces apart; the last one is not padded.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(cell);
            let missing = width.saturating_sub(cell.chars().count()) + 2;
            text.extend(std::iter::repeat_n(' ', missing));
        }
        line(text.trim_end());
    }
}
