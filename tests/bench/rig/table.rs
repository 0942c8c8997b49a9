//! Tables for people.

use std::time::Duration;

use super::cost::{Cost, median};

/// Rows under a head, each column as wide as it must be.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn print(&self) {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap();
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(
                    |(at, (cell, width))| {
                        if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    },
                )
                .collect();
            println!("  {}", cells.join("  "));
        }
    }
}

/// `12.3 (12.0-13.1)`: median, least and most, in milliseconds.
pub fn millis(values: &[Duration]) -> String {
    let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
    format!("{:.1} ({:.1}-{:.1})", ms(median(values.iter().copied())), ms(*least), ms(*most))
}

pub fn ms(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}

pub fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// The cells that most rows end with: CPU, wall, peak.
pub fn cells(costs: &[Cost]) -> [String; 3] {
    let cpu: Vec<_> = costs.iter().map(|cost| cost.cpu).collect();
    let wall: Vec<_> = costs.iter().map(|cost| cost.wall).collect();
    [millis(&cpu), millis(&wall), mib(costs.iter().map(|cost| cost.peak_kib).max().unwrap())]
}
