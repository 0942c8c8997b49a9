use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    nolapse::sys::descriptors::close_inherited();
    nolapse::cli::run(&nolapse::cli::args::Arguments::parse())
}
