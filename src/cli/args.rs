//! What was typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::wire::Places;

/// Keeps TLS certificates renewed, installed, reloaded and seen being served.
#[derive(Debug, Parser)]
#[command(name = "nolapse", version, about, max_term_width = 100, propagate_version = true)]
#[command(after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(flatten)]
    pub places: Places,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 nothing is wrong; 1 a certificate failed; 2 usage; 3 renewed, but not \
installed, reloaded or observed; 4 another process works on it; 5 configuration; 10 renewed, with --exit-code. \
`status` exits as monitoring plugins do.";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a first configuration
    Init(Init),
    /// Configure one more certificate, rehearse, issue and observe it
    Add(Add),
    /// Take over what another tool keeps, without an order; shows the plan, --yes does it
    Adopt(Adopt),
    /// Give a certificate back; shows the plan, --yes does it
    Release(Release),
    /// Run the agent until it is told to stop
    Run,
    /// Make every certificate usable and end: for init containers
    Once(Once),
    /// Renew what is due, or what is named
    Renew(Renew),
    /// Pay what is owed to servers, without a new order
    Deploy(Deploy),
    /// Go back to an earlier generation, and stay there until unpin
    Rollback(Rollback),
    /// End a rollback: show the current generation again
    Unpin(Unpin),
    /// Run the real hooks of a certificate against what is installed, and look at its endpoints
    TestHook(TestHook),
    /// Say how things stand (exit 0 fine, 1 warning, 2 critical, 3 unknown)
    Status(Status),
    /// Look now at what is watched and not managed (exits as status does)
    Watch(Watch),
    /// Find every certificate of this host, who serves it and who renews it
    Discover(Discover),
    /// Show every question and answer behind one certificate's next step
    Explain(Explain),
    /// Print the texts for dns-persist-01 that a certificate's names need, and look whether they stand (else exit 1)
    DnsPersist(DnsPersist),
    /// Run the planner forward: renewals to come, tries left, and who would lapse (exit 1)
    Forecast(Forecast),
    /// Leave a certificate alone until a date
    Pause(Pause),
    /// Say that you know: nobody is told again until a date
    Ack(Ack),
    /// Test whether people are reached, and list what they were told
    Alert(Alert),
    /// Drop what is known of a certificate that left the configuration
    Forget(Forget),
    /// Check the configuration, show what it comes to, and test this host for it
    Check(Check),
    /// Find out what keeps, or would keep, certificates from being renewed: this host, its CAs, every name
    Doctor(Doctor),
    /// Print what else a set-up needs: sample, man pages, completions, units
    Generate(Generate),
}

#[derive(Debug, Args)]
pub struct Init {
    /// Accept the CA's terms of service
    #[arg(long)]
    pub agree_tos: bool,
    /// Contact for the CA account, as an e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub contact: Vec<String>,
    /// Issuer to set up
    #[arg(long, default_value = "letsencrypt", value_name = "NAME")]
    pub issuer: String,
    /// ACME directory URL, for an issuer that is not built in
    #[arg(long, value_name = "URL")]
    pub directory: Option<String>,
    /// PEM file of the roots that vouch for a private CA
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print the file instead of writing it
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
pub struct DnsPersist {
    /// A certificate of the configuration, or one of its names
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Let the text end at a date: 2027-03-01 or 2027-03-01T12:00:00Z
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
}

#[derive(Debug, Args)]
pub struct Add {
    /// Names of the certificate; the first also names the entry
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Service that serves it
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Directory that a web server serves, for http-01 by files
    #[arg(long, value_name = "DIR")]
    pub webroot: Option<PathBuf>,
    /// Write and show the entry, but ask no CA
    #[arg(long)]
    pub no_issue: bool,
    /// Skip the rehearsal against the CA's staging directory
    #[arg(long)]
    pub no_rehearsal: bool,
    /// Print the entry instead of writing it
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
pub struct Adopt {
    /// Where the tool keeps its files, with a slash in it; then what it calls its certificates
    #[arg(value_name = "PATH|NAME")]
    pub what: Vec<String>,
    /// certbot, lego, acme.sh, dehydrated, caddy, acmetool, or files; all tools when left out
    #[arg(long, value_name = "TOOL", value_parser = tool)]
    pub from: Option<crate::core::foundling::Tool>,
    /// Of plain files: the private key, where it does not lie beside the certificate
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Service that serves it
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Solver that proves it from now on
    #[arg(long, value_name = "NAME", conflicts_with = "webroot")]
    pub solver: Option<String>,
    /// Directory that a web server serves, for http-01 by files
    #[arg(long, value_name = "DIR")]
    pub webroot: Option<PathBuf>,
    /// Issuer that renews it
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
    /// Accept the terms of service of an issuer that is written down
    #[arg(long)]
    pub agree_tos: bool,
    /// Also keep the other tool from renewing, where moving one file aside does that
    #[arg(long)]
    pub disable_source: bool,
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Print the plan, and what was done, as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Release {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// To certbot, with a tree that it renews; its files stay and nobody renews them when left out
    #[arg(long, value_name = "TOOL", value_parser = ["certbot"])]
    pub to: Option<String>,
    /// Certbot's directory; that of the certificate's own tree when left out
    #[arg(long, value_name = "DIR", requires = "to")]
    pub root: Option<PathBuf>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Once {
    /// Where nothing can be issued, install a self-signed pair so that a server can start
    #[arg(long)]
    pub placeholder: bool,
    /// Longest time to take, such as 30s or 5m
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = time)]
    pub deadline: crate::core::time::Span,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Renew {
    /// Certificates; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Renew although nothing is due; spends one order and one certificate of the CA's limits each
    #[arg(long)]
    pub force: bool,
    /// Go through a whole order against the CA's staging directory and install nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Longest wait for another process that works on the same certificate
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub wait: crate::core::time::Span,
    /// Exit with 10 instead of 0 when something was renewed
    #[arg(long)]
    pub exit_code: bool,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// Certificates; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Put our certificate back where somebody else's was found
    #[arg(long)]
    pub take_back: bool,
    /// Regard this service or hook as done
    #[arg(long, value_name = "HOOK")]
    pub skip: Option<String>,
    /// Longest wait for another process that works on the same certificate
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub wait: crate::core::time::Span,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Rollback {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The generation to show; the one before what is shown now when left out
    #[arg(long, value_name = "NUMBER")]
    pub to: Option<u64>,
    /// Why, for whoever reads the status
    #[arg(long, default_value = "no reason given", value_name = "TEXT")]
    pub reason: String,
    /// Longest wait for another process that works on the same certificate
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub wait: crate::core::time::Span,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Unpin {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Longest wait for another process that works on the same certificate
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub wait: crate::core::time::Span,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TestHook {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only this service or hook
    #[arg(long, value_name = "HOOK")]
    pub hook: Option<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Certificates; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// List every certificate, the healthy ones too
    #[arg(long)]
    pub all: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// Tables of [watch.NAME]; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Discover {
    /// List what nobody uses, too
    #[arg(long)]
    pub all: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Draft entries into a new file; a plain name means one in conf.d
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// What to draft for certificates that nobody renews
    #[arg(long = "as", value_enum, default_value = "watch", requires = "write")]
    pub draft: Draft,
    /// Look below this directory, as into a container or an image; asks no sockets
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Ask only listeners at this port; may be given more than once
    #[arg(long, value_name = "NUMBER")]
    pub port: Vec<u16>,
}

/// Kinds of entries that can be drafted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Draft {
    /// Looked at and never touched
    Watch,
    /// Renewed by nolapse, with the service that uses it
    Certificate,
}

#[derive(Debug, Args)]
pub struct Explain {
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Forecast {
    /// Certificates; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How far to look ahead
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
    /// What if no CA answered for so long from now, such as 3d
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub ca_down: Option<crate::core::time::Span>,
    /// List every certificate
    #[arg(long)]
    pub all: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Look at the configuration only, not at this host
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Certificates; all when left out
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Longest time to look at names, such as 30s or 2m
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = time)]
    pub within: crate::core::time::Span,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Pause {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Date and time, such as 2026-12-01T00:00:00Z, or a span such as 12h or 3d; 0s ends a pause
    #[arg(long, value_name = "WHEN")]
    pub until: String,
    /// Why, for whoever reads the status
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct Ack {
    /// A certificate, or what an alert names: watch/NAME, channel/NAME, agent
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Date and time, such as 2026-12-01T00:00:00Z, or a span such as 12h or 3d, at most 30d; 0s ends it
    #[arg(long, value_name = "WHEN")]
    pub until: String,
    /// Why, for whoever reads the status
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct Alert {
    #[command(subcommand)]
    pub what: AlertWhat,
}

#[derive(Debug, Subcommand)]
pub enum AlertWhat {
    /// Send a test on every channel, and say of each what happened
    Test {
        /// Only this channel
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
    },
    /// What stands that people were told of, and what they acknowledged
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Forget {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Also remove its files under live/
    #[arg(long)]
    pub with_files: bool,
}

#[derive(Debug, Args)]
pub struct Generate {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// A commented sample configuration
    Config,
    /// Man pages, into a directory
    Man {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Shell completions, to standard output
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// What a configuration needs of systemd and polkit, to standard output
    Systemd,
}

/// Longest time that can be given on the command line.
const TIME_MAX: crate::core::time::Span = crate::core::time::Span::days(3650);

/// Reads `30s`, `5m`, `12h`, `3d`.
pub fn time(text: &str) -> Result<crate::core::time::Span, String> {
    use crate::core::time::Span;
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().map_err(|_| format!("{text:?} is not a time such as 30s, 5m or 12h"))?;
    let unit = match unit.trim() {
        "" | "s" => Span::secs(1),
        "m" | "min" => Span::MINUTE,
        "h" => Span::HOUR,
        "d" => Span::DAY,
        _ => return Err(format!("{text:?}: the unit is s, m, h or d")),
    };
    let span = unit.times(number);
    if span > TIME_MAX { Err(format!("{text:?} is longer than ten years")) } else { Ok(span) }
}

fn tool(text: &str) -> Result<crate::core::foundling::Tool, String> {
    use crate::core::foundling::Tool;
    Tool::parse(text).ok_or_else(|| {
        let tools: Vec<_> = Tool::ALL.iter().map(|tool| tool.word()).collect();
        format!("{text:?} is none of {}", tools.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_read_as_people_write_them() {
        use crate::core::time::Span;
        for (text, span) in
            [("30s", Span::secs(30)), ("5m", Span::minutes(5)), ("3d", Span::days(3)), ("7", Span::secs(7))]
        {
            assert_eq!(time(text), Ok(span));
        }
        for text in ["", "s", "5 weeks", "-3s", "99999999999999999999s", "9999999d"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
