//! Events as log lines, with the same field names in text and in JSON.

use tracing::{error, info, warn};

use crate::core::event::Event;
use crate::core::failure::Class;
use crate::ports::Sink;

/// Writes one line an event. How loud it is says who should care: `info` is life as planned,
/// `warn` heals by itself or is being retried, `error` needs somebody.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSink;

impl Sink for LogSink {
    fn take(&self, event: &Event) {
        match event {
            Event::Decided { lineage, verdict, reason, wake_at } => {
                info!(target: "nolapse::event", event = "decided", %lineage, verdict, reason, %wake_at, "decided");
            }
            Event::AttemptStarted { lineage, issuer, names } => {
                let names = names.join(" ");
                info!(target: "nolapse::event", event = "attempt-started", %lineage, issuer, names, "asking for a certificate");
            }
            Event::Ordered { lineage, order } => {
                info!(target: "nolapse::event", event = "ordered", %lineage, order, "ordered");
            }
            Event::AttemptFailed { lineage, failure, count, next_at } => {
                let (code, fault, words) = (&failure.code, failure.fault, &failure.words);
                let name = failure.name.as_ref().map(tracing::field::display);
                match failure.class {
                    Class::Transient | Class::Limited { .. } => {
                        warn!(target: "nolapse::event", event = "attempt-failed", %lineage, code, %fault, name, count, %next_at, words, "attempt failed");
                    }
                    Class::Refused | Class::Broken => {
                        error!(target: "nolapse::event", event = "attempt-failed", %lineage, code, %fault, name, count, %next_at, words, "attempt failed");
                    }
                }
            }
            Event::Issued { lineage, generation, leaf } => {
                let (not_after, serial, issuer) = (leaf.not_after, &leaf.serial, &leaf.issuer);
                info!(target: "nolapse::event", event = "issued", %lineage, generation, %not_after, serial, issuer, "issued");
            }
            Event::Installed { lineage, generation, path, why } => {
                info!(target: "nolapse::event", event = "installed", %lineage, generation, path, why, "installed");
            }
            Event::HookDone { lineage, hook, generation } => {
                info!(target: "nolapse::event", event = "hook-done", %lineage, %hook, generation, "told");
            }
            Event::HookFailed { lineage, hook, generation, words, next_at } => {
                warn!(target: "nolapse::event", event = "hook-failed", %lineage, %hook, generation, %next_at, words, "could not tell");
            }
            Event::Observed { lineage, endpoint, sight, fine, words } => {
                let sight = sight.word();
                if *fine {
                    info!(target: "nolapse::event", event = "observed", %lineage, %endpoint, sight, words, "observed");
                } else {
                    warn!(target: "nolapse::event", event = "observed", %lineage, %endpoint, sight, words, "not what is installed");
                }
            }
            Event::RolledBack { lineage, from, to, words } => {
                error!(target: "nolapse::event", event = "rolled-back", %lineage, from, to, words, "rolled back");
            }
            Event::AroundFailed { lineage, hook, moment, words } => {
                let moment = moment.word();
                warn!(target: "nolapse::event", event = "around-failed", %lineage, %hook, moment, words, "could not run");
            }
            Event::HeldBack { lineage, generation, by, until } => {
                warn!(target: "nolapse::event", event = "held-back", %lineage, generation, %by, %until, "waits: another went ahead and is not seen to work");
            }
            Event::Pinned { lineage, generation, reason } => {
                warn!(target: "nolapse::event", event = "pinned", %lineage, generation, reason, "went back by hand");
            }
            Event::Unpinned { lineage, generation, words } => {
                warn!(target: "nolapse::event", event = "unpinned", %lineage, generation, words, "no longer pinned");
            }
            Event::ForeignFound { lineage, path, leaf } => {
                let (issuer, not_after) = (&leaf.issuer, leaf.not_after);
                warn!(target: "nolapse::event", event = "foreign-found", %lineage, path, issuer, %not_after, "somebody else's newer pair is left alone");
            }
            // These two no verb tells in its answer.
            Event::Foreseen { lineage, words } => {
                warn!(target: "nolapse::unsaid", event = "foreseen", %lineage, words, "may not go well, as seen from here");
            }
            Event::AnswerUnseen { lineage, name, words } => {
                warn!(target: "nolapse::event", event = "answer-unseen", %lineage, name, words, "answer not seen from here");
            }
            Event::CleanUpFailed { lineage, place, words } => {
                warn!(target: "nolapse::unsaid", event = "clean-up-failed", %lineage, place, words, "could not clean up");
            }
            Event::Quarantined { key, moved_to } => {
                error!(target: "nolapse::unsaid", event = "quarantined", key, moved_to, "damaged, moved aside");
            }
            Event::TickFailed { lineage, words } => {
                error!(target: "nolapse::event", event = "tick-failed", %lineage, words, "pass failed");
            }
            Event::Retired { lineage } => {
                info!(target: "nolapse::event", event = "retired", %lineage, "left the configuration; kept and watched until `nolapse forget`");
            }
        }
    }
}
