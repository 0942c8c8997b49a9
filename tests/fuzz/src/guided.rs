//! The targets under libFuzzer, which feeds back the edges that each input takes through the whole program.
//!
//! `FUZZ_TARGET` names the target; without one the names of all are printed. With `FUZZ_WORDS` its dictionary
//! is printed in place of a run.

#![cfg_attr(nolapse_guided, no_main)]

#[cfg(nolapse_guided)]
mod guided {
    use std::sync::LazyLock;

    use nolapse_fuzz::targets::{TARGETS, Target};

    static TARGET: LazyLock<&Target> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        if let Some(target) = TARGETS.iter().find(|target| target.name == name) {
            return target;
        }
        for target in &TARGETS {
            println!("{}", target.name);
        }
        std::process::exit(i32::from(!name.is_empty()));
    });

    libfuzzer_sys::fuzz_target!(
        init: {
            let target = *TARGET;
            if std::env::var_os("FUZZ_WORDS").is_some() {
                print!("{}", target.dictionary());
                std::process::exit(0);
            }
        },
        |input: &[u8]| {
            // What it says matters to the other engine alone.
            let _ = (TARGET.law)(input);
        }
    );
}

#[cfg(not(nolapse_guided))]
fn main() {
    eprintln!("this program is built for libFuzzer alone: tests/fuzz/run");
    std::process::exit(2);
}
