use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    nolapse::cli::run(&nolapse::cli::args::Arguments::parse())
}
