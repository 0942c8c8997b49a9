//! Running a hook's program, and saying what became of it.

use crate::core::failure::{Failure, Fault, plain};
use crate::sys::clock::Clock;
use crate::sys::process::{CannotRun, Exit, Program};

/// Characters of a program's output kept in a failure: its end, where the reason stands.
const OUTPUT_SHOWN: usize = 600;

/// Runs `program`; success is exit code 0.
///
/// `role` is `hook` or `check`; codes are `ROLE-failed`, `ROLE-killed`, `ROLE-timeout`,
/// `ROLE-missing`. Only `check-failed` speaks about a configuration; the others speak about the
/// check itself.
pub async fn run(role: &str, program: &Program, clock: &Clock) -> Result<(), Failure> {
    let code = |end: &str| format!("{role}-{end}");
    let name = program.argv.first().map_or("", String::as_str);
    if name.contains('/') && !name.starts_with('/') {
        return Err(Failure::refused(
            Fault::Config,
            &code("missing"),
            format!(
                "{name} is relative to nowhere; write the {role}'s program as an absolute path or a bare name"
            ),
        ));
    }
    let finished = match Box::pin(program.run(clock)).await {
        Ok(finished) => finished,
        Err(error @ CannotRun::Refused { .. }) => {
            return Err(Failure::transient(Fault::Host, &code("failed"), error.to_string()));
        }
        Err(error) => {
            return Err(Failure::refused(
                Fault::Config,
                &code("missing"),
                format!("{error}; the {role} needs the path of a program that this user may run"),
            ));
        }
    };
    let said = said(&finished.output, finished.dropped);
    match finished.exit {
        Exit::Code(0) => Ok(()),
        Exit::Code(number) => Err(Failure::transient(
            Fault::Host,
            &code("failed"),
            format!("{name} ended with exit code {number}{said}"),
        )),
        Exit::Signal(number) => Err(Failure::transient(
            Fault::Host,
            &code("killed"),
            format!("{name} was killed by signal {number}{said}"),
        )),
        Exit::TimedOut => Err(Failure::transient(
            Fault::Host,
            &code("timeout"),
            format!("{name} did not end within {} and was stopped{said}", program.timeout),
        )),
    }
}

/// The end of what was printed, on one line.
fn said(output: &[u8], dropped: u64) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines.join(" / ");
    if joined.is_empty() {
        return ", and printed nothing".to_owned();
    }
    let skipped = joined.chars().count().saturating_sub(OUTPUT_SHOWN);
    let end: String = joined.chars().skip(skipped).collect();
    let begun = if skipped > 0 { "…" } else { "" };
    let more = if dropped > 0 { format!(" (and {dropped} bytes more)") } else { String::new() };
    format!(": {begun}{}{more}", plain(&end, OUTPUT_SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_what_is_kept() {
        assert_eq!(said(b" \n\n", 0), ", and printed nothing");
        assert_eq!(said(b"one\n  two\r\n", 0), ": one / two");
        assert_eq!(said(b"one", 7), ": one (and 7 bytes more)");
        let long = said(&[b"x".repeat(5000), b"why".to_vec()].concat(), 0);
        assert!(long.starts_with(": …x") && long.ends_with("xwhy"), "{long}");
        assert!(long.chars().count() < OUTPUT_SHOWN + 10);
    }

    #[test]
    fn t09_output_can_not_steer_a_terminal() {
        assert_eq!(said(b"\x1b[31mred", 0), ": \\u{1b}[31mred");
    }
}
