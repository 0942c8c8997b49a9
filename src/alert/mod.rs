//! Reaching people: one file for each way. None of them decides what is sent, to whom, or when;
//! whoever calls bounds the time.

mod email;
mod exec;
mod heart;
mod journal;
mod syslog;
mod template;
mod tls;
mod webhook;

use std::sync::Arc;

use crate::core::channel::{ChannelKind, ChannelSpec, HeartbeatSpec};
use crate::ports::{Channel, Heart, Secrets};
use crate::sys::clock::Clock;

/// The channel that `spec` describes. What is wrong with it shows when it is used: a channel that
/// can't be built must not keep an agent from renewing.
pub fn build(spec: &ChannelSpec, secrets: &Secrets, clock: &Clock) -> Arc<dyn Channel> {
    match &spec.kind {
        ChannelKind::Exec { argv } => Arc::new(exec::Exec::new(argv, spec.timeout, clock)),
        ChannelKind::Webhook(webhook) => Arc::new(webhook::WebhookChannel::new(webhook, secrets)),
        ChannelKind::Email(email) => Arc::new(email::EmailChannel::new(email, spec.timeout, secrets)),
        ChannelKind::Syslog { socket } => Arc::new(syslog::Syslog::new(socket)),
        ChannelKind::Journal { socket } => Arc::new(journal::Journal::new(socket)),
    }
}

/// Who is told that the agent lives.
pub fn heart(spec: &HeartbeatSpec, secrets: &Secrets, clock: &Clock) -> Arc<dyn Heart> {
    Arc::new(heart::Heartbeat::new(spec, secrets, clock))
}
