//! The size of the program as it ships.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod rig;

use rig::program;
use rig::table::Table;

fn main() {
    let bytes = std::fs::metadata(program()).unwrap().len();
    let mut table = Table::new(&["", "bytes", "MiB"]);
    table.row(vec!["nolapse".into(), bytes.to_string(), format!("{:.2}", bytes as f64 / f64::from(1 << 20))]);
    table.print();
    println!("size: done. NOLAPSE_BENCH_PROGRAM measures another file.");
}
